"""Writes what tests/weights.rs and tests/keras.rs of crates/nets read: small files of weights as other programs write
them, and what a network with the published weights of EfficientNet-Lite0 says.

Usage, at the root: python tests/peers/weights_golden.py [EFFICIENTNET_LITE0_SAFETENSORS]. Needs torch, numpy and
h5py. Without the argument, golden/efficientnet_lite0.json is left as it is.
"""

import json
import sys
from collections import OrderedDict

import h5py
import numpy as np
import torch

sys.path.insert(0, "tests/peers")
from torch_models import build, read_safetensors

FOLDER = "crates/nets/tests/golden"


def rounded(x):
    return [float(f"{it:.9g}") for it in np.asarray(x).reshape(-1).tolist()]


def torch_file():
    """Views, shared numbers, small floats, counters, and what training programs put around a table."""
    base = torch.arange(24, dtype=torch.float32) / 8 - 1
    table = OrderedDict()
    table["module.whole"] = base.reshape(2, 3, 4)
    table["module.turned"] = base.reshape(4, 6).t()
    table["module.part"] = base[5:11]
    table["module.half"] = torch.tensor([1.5, -2.0, 6.1e-5, 65504.0], dtype=torch.float16)
    table["module.brain"] = torch.tensor([1.5, -2.0, 1e20], dtype=torch.bfloat16)
    table["module.double"] = torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    table["module.parameter"] = torch.nn.Parameter(base[:4].clone())
    table["module.num_batches_tracked"] = torch.tensor(7)
    torch.save({"epoch": 3, "rate": 0.1, "state_dict": table, "notes": ["a", None, True]}, f"{FOLDER}/weights.pth")
    kept = {name: it for name, it in table.items() if it.is_floating_point()}
    return {name.removeprefix("module."): [list(it.shape), rounded(it.detach().float())] for name, it in kept.items()}


def keras_unet():
    """A U-Net with Keras's layers and layout, drawn; what it says of a drawn picture is computed in float64."""
    rng = np.random.default_rng(5)
    base, classes = 2, 3
    torch.manual_seed(0)
    model = build({"family": "unet", "base": base, "depth": 1, "n_classes": classes}).double().eval()
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    value = lambda x: torch.from_numpy(x.astype(np.float64))
    with h5py.File(f"{FOLDER}/unet.h5", "w") as file:
        file.attrs["backend"] = "tensorflow"
        root = file.create_group("model_weights")
        names = []

        def layer(name, **values):
            names.append(name)
            group = root.create_group(name).create_group(name)
            for key, it in values.items():
                group.create_dataset(f"{key}:0", data=it)

        numbers = iter(range(100))
        for unit in (*model.encode, *model.below, None, *model.decode):
            at = next(numbers)
            suffix = f"_{at}" if at else ""
            if unit is None:
                next_up = model.up
                weight, bias = draw(2, 2, base, 2 * base), draw(base)
                next_up.weight.data, next_up.bias.data = value(weight.transpose(3, 2, 0, 1)), value(bias)
                layer("conv2d_transpose", kernel=weight, bias=bias)
                numbers = iter(range(at, 100))
                continue
            convolution, norm = unit[0], unit[1]
            o, i, _, _ = convolution.weight.shape
            weight, bias = draw(3, 3, i, o), draw(o)
            gamma, beta, mean, variance = draw(o), draw(o), draw(o), rng.uniform(0.01, 2, o).astype(np.float32)
            layer(f"conv2d{suffix}", kernel=weight, bias=bias)
            layer(f"batch_normalization{suffix}", gamma=gamma, beta=beta, moving_mean=mean, moving_variance=variance)
            convolution.weight.data = value(weight.transpose(3, 2, 0, 1))
            convolution.bias = torch.nn.Parameter(value(bias))
            norm.weight.data, norm.bias.data = value(gamma), value(beta)
            norm.running_mean, norm.running_var, norm.eps = value(mean), value(variance), 1e-3
        weight, bias = draw(1, 1, base, classes), draw(classes)
        layer(f"conv2d_{next(numbers)}", kernel=weight, bias=bias)
        model.classes.weight.data, model.classes.bias.data = value(weight.transpose(3, 2, 0, 1)), value(bias)
        root.attrs["layer_names"] = np.array(names, dtype="S")
        moments = file.create_group("optimizer_weights").create_group("adam")
        moments.create_dataset("m:0", data=draw(4))
    x = draw(1, 4, 6, 3)
    y = model(value(x.transpose(0, 3, 1, 2))).permute(0, 2, 3, 1)
    return {"base": base, "classes": classes, "shape": list(x.shape), "x": rounded(x), "y": rounded(y.detach())}


def lite0(path):
    """The published network on pictures that a formula draws, after its recipe, in float64."""
    values = {name: it.numpy().astype(np.float64) for name, it in read_safetensors(path).items()}
    model = build({"family": "efficientnet_lite0", "scale": "normal", "side": 224, "n_classes": 2, "features": 2})
    model = model.double().eval()

    def unit(it, convolution, norm):
        it[0].weight.data = torch.from_numpy(values[f"{convolution}.weight"])
        for ours, theirs in (("weight", "weight"), ("bias", "bias"), ("running_mean", "running_mean"), ("running_var", "running_var")):
            getattr(it[1], ours).data = torch.from_numpy(values[f"{norm}.{theirs}"])

    unit(model.stem, "_conv_stem", "_bn0")
    unit(model.head, "_conv_head", "_bn1")
    for at, block in enumerate(model.blocks):
        if hasattr(block, "expand"):
            unit(block.expand, f"_blocks.{at}._expand_conv", f"_blocks.{at}._bn0")
        unit(block.depthwise, f"_blocks.{at}._depthwise_conv", f"_blocks.{at}._bn1")
        unit(block.project, f"_blocks.{at}._project_conv", f"_blocks.{at}._bn2")
    pictures = []
    for number in (1, 2, 3):
        y, x, c = np.meshgrid(np.arange(224), np.arange(224), np.arange(3), indexing="ij")
        bytes_ = (number * y + (c + 1) * x + (x * y >> (4 + number))) % 256
        with torch.no_grad():
            pixels = torch.from_numpy((bytes_ - 127) / 128).permute(2, 0, 1)[None]
            features = model.pooled(pixels)[0].numpy()
        logits = values["_fc.weight"] @ features + values["_fc.bias"]
        top = logits.argsort()[::-1][:8]
        said = {"features": rounded(features[:: 1280 // 64]), "classes": top.tolist(), "logits": rounded(logits[top])}
        pictures.append({"number": number, **said})
    return {"side": 224, "pictures": pictures}


expected = {"torch": torch_file(), "unet": keras_unet()}
json.dump(expected, open(f"{FOLDER}/weights.json", "w"))
if len(sys.argv) > 1:
    json.dump(lite0(sys.argv[1]), open(f"{FOLDER}/efficientnet_lite0.json", "w"))
