"""Writes crates/nets/tests/golden/{layers,networks}.json: what PyTorch computes, for tests/golden.rs.

Usage, at the root: python tests/peers/torch_golden.py. Inputs come from a recurrence that the Rust test
repeats, so that only results are kept: s = (1103515245 s + 12345) mod 2^31, value = ((s >> 16) mod 2001 - 1000)
/ 1000, starting with s = the case's number. Pictures are drawn channels last, weights in PyTorch's order.
All is computed in float64, which is what float32 is held against. The learning rate is low, see
crates/nets/examples/losses.rs.
"""

import json
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, "tests/peers")
from torch_models import build, optimiser, schedule

FOLDER = "crates/nets/tests/golden"


torch.set_num_threads(1)


class Draws:
    def __init__(self, number):
        self.state = number

    def draw(self, *shape, kind=torch.float64):
        count, out = 1, []
        for side in shape:
            count *= side
        for _ in range(count):
            self.state = (1103515245 * self.state + 12345) % 2**31
            out.append(((self.state >> 16) % 2001 - 1000) / 1000)
        return torch.tensor(out, dtype=kind).reshape(shape)


def last(x):
    """Channels last, as a flat list of nine digits."""
    x = x.detach()
    x = x.permute(0, 2, 3, 1) if x.dim() == 4 else x
    return rounded(x)


def rounded(x):
    return [float(f"{it:.9g}") for it in x.detach().reshape(-1).tolist()]


def first(x):
    return x.permute(0, 3, 1, 2).contiguous().requires_grad_()


def run(y, x, parameters, draws, pictures):
    """Output and gradients for drawn gradients of the output."""
    shape = (y.shape[0], *y.shape[2:], y.shape[1]) if y.dim() == 4 else y.shape
    dy = draws.draw(*shape)
    (y * (dy.permute(0, 3, 1, 2) if y.dim() == 4 else dy)).sum().backward()
    return {
        "y": last(y),
        "dx": last(x.grad) if pictures else rounded(x.grad),
        "parameters": [rounded(it.grad) for it in parameters],
    }


def convolution(number, n, h, w, c, o, kernel, stride, padding, depthwise):
    draws = Draws(number)
    x = first(draws.draw(n, h, w, c))
    weight = draws.draw(o, 1 if depthwise else c, kernel, kernel).requires_grad_()
    y = F.conv2d(x, weight, None, stride, padding, 1, c if depthwise else 1)
    shape = {"number": number, "x": [n, h, w, c], "weight": list(weight.shape), "stride": stride, "padding": padding}
    return {**shape, **run(y, x, [weight], draws, True)}


def batch_norm(number, shape, relu):
    draws = Draws(number)
    x = draws.draw(*shape)
    x = first(x) if len(shape) == 4 else x.requires_grad_()
    gamma, beta = (draws.draw(shape[-1]).requires_grad_() for _ in range(2))
    mean, variance = torch.zeros(shape[-1], dtype=torch.float64), torch.ones(shape[-1], dtype=torch.float64)
    y = F.batch_norm(x, mean, variance, gamma, beta, True)
    y = F.relu(y) if relu else y
    out = run(y, x, [gamma, beta], draws, len(shape) == 4)
    return {"number": number, "x": shape, "relu": relu, **out, "statistics": [rounded(mean), rounded(variance)]}


def linear(number, n, c, o):
    draws = Draws(number)
    x = draws.draw(n, c).requires_grad_()
    weight, bias = draws.draw(o, c).requires_grad_(), draws.draw(o).requires_grad_()
    y = F.linear(x, weight, bias)
    return {"number": number, "x": [n, c], "weight": [o, c], **run(y, x, [weight, bias], draws, False)}


def pool(number, n, h, w, c):
    draws = Draws(number)
    x = first(draws.draw(n, h, w, c))
    return {"number": number, "x": [n, h, w, c], **run(x.mean((2, 3)), x, [], draws, True)}


def loss(number, n, weights, smoothing):
    draws = Draws(number)
    logits = draws.draw(n, len(weights)).mul(5).requires_grad_()
    labels = [(7 * at + 1) % len(weights) for at in range(n)]
    weight = torch.tensor(weights, dtype=torch.float64)
    it = F.cross_entropy(logits, torch.tensor(labels), weight, label_smoothing=smoothing)
    it.backward()
    case = {"number": number, "labels": labels, "weights": weights, "smoothing": smoothing}
    return {**case, "value": it.item(), "gradient": rounded(logits.grad)}


def rates(peak, warm_up, total):
    adam = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=peak)
    rate = schedule(adam, warm_up, total)
    out = []
    for _ in range(total):
        out.append(adam.param_groups[0]["lr"])
        adam.step()
        rate.step()
    return {"peak": peak, "warm_up": warm_up, "total": total, "rates": rounded(torch.tensor(out, dtype=torch.float64))}


def adam_steps(number, count, peak, decay, steps):
    """Values after a few steps of drawn gradients, with and without decay."""
    draws = Draws(number)
    start = draws.draw(count)
    values = [start.clone().requires_grad_() for _ in range(2)]
    groups = [{"params": values[:1], "weight_decay": decay}, {"params": values[1:], "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=peak)
    for _ in range(steps):
        gradient = draws.draw(count)
        for it in values:
            it.grad = gradient.clone()
        adam.step()
    case = {"number": number, "count": count, "peak": peak, "decay": decay, "steps": steps}
    return {**case, "decayed": rounded(values[0]), "plain": rounded(values[1])}


def network(family, side, batch, steps=20, rate=2e-6, n_classes=3, **shape):
    """Losses of a few steps on drawn batches, and what the network says of the first batch after them."""
    settings = {"family": family, "side": side, "n_classes": n_classes, "batch": batch, **shape}
    model = build(settings).double()
    draws = Draws(77)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                bound = (6 / parameter[0].numel()) ** 0.5
                parameter.copy_(draws.draw(*parameter.shape) * bound)
        for name, parameter in model.named_parameters():
            # Of convolutions too, which PyTorch draws.
            if name.endswith(".bias"):
                parameter.zero_()
    adam = optimiser(model, rate, 0.05)
    falls = schedule(adam, 4, steps)
    weights = [0.5 + at for at in range(n_classes)]
    batches = [draws.draw(batch, side, side, 3).permute(0, 3, 1, 2) for _ in range(4)]
    losses = []
    for step in range(steps):
        logits = model(batches[step % 4])
        logits = logits.movedim(1, -1).reshape(-1, n_classes)
        labels = torch.tensor([(at * (step % 4 + 1) + at // 3) % n_classes for at in range(len(logits))])
        it = F.cross_entropy(logits, labels, torch.tensor(weights, dtype=torch.float64), label_smoothing=0.1)
        adam.zero_grad()
        it.backward()
        adam.step()
        falls.step()
        losses.append(it.item())
    model.eval()
    said = model(batches[0]).movedim(1, -1).reshape(-1)
    settings |= {"weights": weights, "learning_rate": rate, "weight_decay": 0.05, "warm_up": 4, "smoothing": 0.1}
    said = {"logits": rounded(said[:: max(1, len(said) // 96)])}
    return {**settings, "losses": rounded(torch.tensor(losses, dtype=torch.float64)), **said}


layers = {
    "convolutions": [
        convolution(1, 2, 6, 5, 3, 4, 3, 2, 1, False),
        convolution(2, 1, 4, 4, 5, 2, 3, 1, 1, False),
        convolution(3, 3, 3, 2, 4, 6, 1, 1, 0, False),
    ],
    "depthwise": [convolution(4, 2, 5, 4, 3, 3, 3, 1, 1, True), convolution(5, 1, 5, 6, 17, 17, 3, 2, 1, True)],
    "batch_norms": [batch_norm(6, [2, 4, 3, 3], True), batch_norm(7, [6, 5], False)],
    "linears": [linear(8, 3, 5, 4)],
    "pools": [pool(9, 2, 3, 2, 4)],
    "losses": [loss(10, 4, [1.0, 1.0, 1.0], 0.0), loss(11, 5, [0.5, 2.0, 1.0, 0.25], 0.1)],
    "schedules": [rates(0.01, 3, 10)],
    "adams": [adam_steps(12, 7, 0.01, 0.1, 6)],
}
json.dump(layers, open(f"{FOLDER}/layers.json", "w"))
small = {"scale": "small", "features": 16}
networks = [
    network("mobilenet", 32, 24, **small),
    network("mobilenet", 17, 16, n_classes=2, **small),
    network("resnet18", 33, 8, **small),
    network("vgg11", 20, 8, **small),
    network("efficientnet_lite0", 35, 12, **small),
    network("unet", 16, 3, base=4, depth=3),
]
json.dump({"torch": torch.__version__, "networks": networks}, open(f"{FOLDER}/networks.json", "w"))
