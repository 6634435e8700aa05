"""The classifier of crates/nets in PyTorch: same names, shapes and defaults. Used by the other torch_*.py."""

import json
import struct

import numpy as np
import torch
from torch import nn

BLOCKS = [(64, 0), (128, 1), (128, 0), (256, 1), (256, 0), (512, 1)] + [(512, 0)] * 5 + [(1024, 1), (1024, 0)]
WIDTH = {"small": 0.5, "normal": 1.0, "big": 1.5}


def unit(mapping, channels):
    return nn.Sequential(mapping, nn.BatchNorm2d(channels), nn.ReLU())


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.depthwise = unit(nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), inputs)
        self.pointwise = unit(nn.Conv2d(inputs, outputs, 1, bias=False), outputs)

    def forward(self, x):
        return self.pointwise(self.depthwise(x))


class MobileNet(nn.Module):
    def __init__(self, scale, side, n_classes, features):
        super().__init__()
        halvings = 2 if side < 32 else 3 if side < 64 else 4 if side < 128 else 5
        width = lambda channels: int(channels * WIDTH[scale])
        channels = width(32)
        self.stem = unit(nn.Conv2d(3, channels, 3, 2, 1, bias=False), channels)
        halvings -= 1
        blocks = []
        for outputs, halves in BLOCKS:
            stride = 2 if halves and halvings > 0 else 1
            halvings -= stride - 1
            blocks.append(Block(channels, width(outputs), stride))
            channels = width(outputs)
        self.blocks = nn.Sequential(*blocks)
        self.features = nn.Sequential(nn.Linear(channels, features, bias=False), nn.BatchNorm1d(features), nn.ReLU())
        self.classes = nn.Linear(features, n_classes)

    def forward(self, x):
        return self.classes(self.features(self.blocks(self.stem(x)).mean((2, 3))))


def optimiser(model, learning_rate, weight_decay):
    """AdamW with decay on weights of convolutions and linear layers only."""
    groups = [[], []]
    for parameter in model.parameters():
        groups[parameter.dim() > 1].append(parameter)
    decays = [{"params": groups[1], "weight_decay": weight_decay}, {"params": groups[0], "weight_decay": 0.0}]
    return torch.optim.AdamW(decays, lr=learning_rate)


def schedule(adam, warm_up, total):
    """A linear rise over `warm_up` steps (2 or more), then half a cosine."""
    rise = torch.optim.lr_scheduler.LinearLR(adam, 1 / warm_up, 1.0, warm_up - 1)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, total - warm_up)
    return torch.optim.lr_scheduler.SequentialLR(adam, [rise, fall], [warm_up])


def read_safetensors(path):
    """Tensors by name, without the safetensors package."""
    data = open(path, "rb").read()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    kinds = {"F32": np.float32, "U32": np.uint32, "I64": np.int64}
    out = {}
    for name, it in header.items():
        if name != "__metadata__":
            begin, end = it["data_offsets"]
            values = np.frombuffer(data[8 + size + begin : 8 + size + end], kinds[it["dtype"]])
            out[name] = torch.from_numpy(values.reshape(it["shape"]).astype(kinds[it["dtype"]]))
    return out
