"""Trains what `cargo run --release -p cellmill-nets --example losses -- --out DIR` trained, in PyTorch.

Usage: torch_losses.py DIR. Reads DIR/{settings.json,weights.safetensors,batches.safetensors} and prints
{"losses": [...], "largest_difference": ..., "relative_difference": ...} against DIR/losses.json as JSON. `float64_difference` says how far
PyTorch's own losses lie from those that it computes in float64: what rounding alone does.
"""

import json
import sys

import torch

from torch_models import build, optimiser, read_safetensors, schedule


# One thread: two programs that spin on two processors stand still.
torch.set_num_threads(1)


def train(folder, settings, kind):
    model = build(settings)
    missing, unknown = model.load_state_dict(read_safetensors(f"{folder}/weights.safetensors"), strict=False)
    assert not unknown and all(it.endswith("num_batches_tracked") for it in missing), (missing, unknown)
    model = model.to(kind)
    batches = read_safetensors(f"{folder}/batches.safetensors")
    weights = torch.tensor(settings["class_weights"], dtype=kind)
    loss_of = torch.nn.CrossEntropyLoss(weight=weights, label_smoothing=settings["label_smoothing"])
    adam = optimiser(model, settings["learning_rate"], settings["weight_decay"])
    rate = schedule(adam, settings["warm_up"], settings["total"])
    losses = []
    for step in range(settings["steps"]):
        x = batches[f"x.{step}"].permute(0, 3, 1, 2).to(kind)
        logits = model(x)
        # Of pictures or of pixels: the classes are the last axis either way.
        logits = logits.movedim(1, -1).reshape(-1, logits.shape[1])
        loss = loss_of(logits, batches[f"y.{step}"].long())
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()
        losses.append(loss.item())
    return losses


def distance(a, b):
    return max(abs(a - b) for a, b in zip(a, b, strict=True))


folder = sys.argv[1]
settings = json.load(open(f"{folder}/settings.json"))
losses = train(folder, settings, torch.float32)
exact = train(folder, settings, torch.float64)
own = json.load(open(f"{folder}/losses.json"))["losses"]
relative = max(abs(a - b) / abs(a) for a, b in zip(losses, own, strict=True))
differences = {"relative_difference": relative, "largest_difference": distance(losses, own), "own_float64_difference": distance(own, exact)}
print(json.dumps({"losses": losses, **differences, "float64_difference": distance(losses, exact), "torch": torch.__version__}))
