"""The networks of crates/nets in PyTorch: same names, shapes and defaults. Used by the other torch_*.py.

`build(settings)` makes one of `FAMILIES`, or a U-Net. Nothing here depends on anything but torch and numpy.
"""

import json
import struct

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

WIDTH = {"small": 0.5, "normal": 1.0, "big": 1.5}


class Shape:
    """Channels at a scale, and strides at a side: the papers halve 224 pixels, smaller pictures fewer times."""

    def __init__(self, scale, side):
        self.scale = scale
        self.left = 2 if side < 32 else 3 if side < 64 else 4 if side < 128 else 5

    def width(self, channels):
        return (int(channels * WIDTH[self.scale]) + 4) // 8 * 8

    def halves(self):
        self.left -= 1
        return self.left >= 0

    def stride(self, halves):
        return 2 if halves and self.halves() else 1


class Same(nn.Module):
    """TensorFlow's border: as many outputs as inputs / stride, rounded up; the odd pixel of border is right and below."""

    def __init__(self, kernel, stride):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        border = []
        for side in (x.shape[3], x.shape[2]):
            both = max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)
            border += [both // 2, both - both // 2]
        return F.pad(x, border)


class Unit(nn.Sequential):
    """A convolution, batch normalisation and what comes after; `0` and `1` in a file."""

    def __init__(self, inputs, outputs, kernel, stride=1, after=nn.ReLU, groups=1, same=False, epsilon=1e-5):
        padding = 0 if same else kernel // 2
        layers = [nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)]
        layers.append(nn.BatchNorm2d(outputs, eps=epsilon))
        if after is not None:
            layers.append(after())
        super().__init__(*layers)
        self.border = [Same(kernel, stride)] if same else []

    def forward(self, x):
        for it in self.border:
            x = it(x)
        return super().forward(x)


class Classifier(nn.Module):
    """A body `body(x)`, the mean over all positions, features and classes."""

    def add_head(self, channels, features, n_classes):
        self.features = nn.Sequential(nn.Linear(channels, features, bias=False), nn.BatchNorm1d(features), nn.ReLU())
        self.classes = nn.Linear(features, n_classes)

    def pooled(self, x):
        return self.body(x).mean((2, 3))

    def forward(self, x):
        return self.classes(self.features(self.pooled(x)))


class MobileNet(Classifier):
    BLOCKS = [(64, 0), (128, 1), (128, 0), (256, 1), (256, 0), (512, 1)] + [(512, 0)] * 5 + [(1024, 1), (1024, 0)]

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.depthwise = Unit(inputs, inputs, 3, stride, groups=inputs)
            self.pointwise = Unit(inputs, outputs, 1)

        def forward(self, x):
            return self.pointwise(self.depthwise(x))

    def __init__(self, scale, side, n_classes, features):
        super().__init__()
        shape = Shape(scale, side)
        channels = shape.width(32)
        self.stem = Unit(3, channels, 3, shape.stride(True))
        blocks = []
        for outputs, halves in self.BLOCKS:
            blocks.append(self.Block(channels, shape.width(outputs), shape.stride(halves)))
            channels = shape.width(outputs)
        self.blocks = nn.Sequential(*blocks)
        self.add_head(channels, features, n_classes)

    def body(self, x):
        return self.blocks(self.stem(x))


class ResNet(Classifier):
    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.first = Unit(inputs, outputs, 3, stride)
            self.second = Unit(outputs, outputs, 3, after=None)
            if stride > 1 or inputs != outputs:
                self.shortcut = Unit(inputs, outputs, 1, stride, after=None)

        def forward(self, x):
            beside = self.shortcut(x) if hasattr(self, "shortcut") else x
            return F.relu(self.second(self.first(x)) + beside)

    def __init__(self, n_blocks, scale, side, n_classes, features):
        super().__init__()
        shape = Shape(scale, side)
        channels = shape.width(64)
        self.stem = Unit(3, channels, 7, shape.stride(True))
        self.pools = shape.halves()
        stages = []
        for stage, (outputs, n) in enumerate(zip((64, 128, 256, 512), n_blocks)):
            blocks = []
            for at in range(n):
                blocks.append(self.Block(channels, shape.width(outputs), shape.stride(stage > 0 and at == 0)))
                channels = shape.width(outputs)
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.add_head(channels, features, n_classes)

    def body(self, x):
        x = self.stem(x)
        return self.stages(F.max_pool2d(x, 3, 2, 1) if self.pools else x)


class Vgg(Classifier):
    def __init__(self, n_convolutions, scale, side, n_classes, features):
        super().__init__()
        shape = Shape(scale, side)
        channels, stages, self.pools = 3, [], []
        for outputs, n in zip((64, 128, 256, 512, 512), n_convolutions):
            stage = []
            for _ in range(n):
                stage.append(nn.Conv2d(channels, shape.width(outputs), 3, 1, 1))
                channels = shape.width(outputs)
            stages.append(nn.ModuleList(stage))
            self.pools.append(shape.halves())
        self.stages = nn.ModuleList(stages)
        self.add_head(channels, features, n_classes)

    def body(self, x):
        for stage, pools in zip(self.stages, self.pools):
            for it in stage:
                x = F.relu(it(x))
            x = F.max_pool2d(x, 2) if pools else x
        return x


class EfficientNetLite0(Classifier):
    # Blocks, kernel, whether the first halves the picture, expansion, outputs.
    STAGES = [(1, 3, 0, 1, 16), (2, 3, 1, 6, 24), (2, 5, 1, 6, 40), (3, 3, 1, 6, 80), (3, 5, 0, 6, 112), (4, 5, 1, 6, 192), (1, 3, 0, 6, 320)]

    class Block(nn.Module):
        def __init__(self, inputs, outputs, kernel, stride, expansion):
            super().__init__()
            wide = inputs * expansion
            if expansion > 1:
                self.expand = Unit(inputs, wide, 1, after=nn.ReLU6, epsilon=1e-3)
            self.depthwise = Unit(wide, wide, kernel, stride, nn.ReLU6, wide, same=True, epsilon=1e-3)
            self.project = Unit(wide, outputs, 1, after=None, epsilon=1e-3)
            self.residual = stride == 1 and inputs == outputs

        def forward(self, x):
            y = self.expand(x) if hasattr(self, "expand") else x
            y = self.project(self.depthwise(y))
            return y + x if self.residual else y

    def __init__(self, scale, side, n_classes, features):
        super().__init__()
        shape = Shape(scale, side)
        channels = shape.width(32)
        self.stem = Unit(3, channels, 3, shape.stride(True), nn.ReLU6, same=True, epsilon=1e-3)
        blocks = []
        for n, kernel, halves, expansion, outputs in self.STAGES:
            for at in range(n):
                stride = shape.stride(halves and at == 0)
                blocks.append(self.Block(channels, shape.width(outputs), kernel, stride, expansion))
                channels = shape.width(outputs)
        self.blocks = nn.Sequential(*blocks)
        self.head = Unit(channels, shape.width(1280), 1, after=nn.ReLU6, epsilon=1e-3)
        self.add_head(shape.width(1280), features, n_classes)

    def body(self, x):
        return self.head(self.blocks(self.stem(x)))


class UNet(nn.Module):
    """A level and all below it; the outermost has the layer of classes too."""

    def __init__(self, base, depth, n_classes=None, inputs=3):
        super().__init__()
        self.encode = self.two_units(inputs, base)
        self.below = UNet(2 * base, depth - 1, None, base) if depth > 1 else self.two_units(base, 2 * base)
        self.up = nn.ConvTranspose2d(2 * base, base, 2, 2)
        self.decode = self.two_units(2 * base, base)
        if n_classes:
            self.classes = nn.Conv2d(base, n_classes, 1)

    @staticmethod
    def two_units(inputs, channels):
        it = nn.Sequential()
        it.add_module("first", Unit(inputs, channels, 3))
        it.add_module("second", Unit(channels, channels, 3))
        return it

    def forward(self, x):
        x = self.encode(x)
        up = self.up(self.below(F.max_pool2d(x, 2)))
        y = self.decode(torch.cat([up, x], 1))
        return self.classes(y) if hasattr(self, "classes") else y


FAMILIES = {
    "mobilenet": MobileNet,
    "efficientnet_lite0": EfficientNetLite0,
    "resnet18": lambda *it: ResNet([2, 2, 2, 2], *it),
    "resnet34": lambda *it: ResNet([3, 4, 6, 3], *it),
    "vgg11": lambda *it: Vgg([1, 1, 2, 2, 2], *it),
    "vgg16": lambda *it: Vgg([2, 2, 3, 3, 3], *it),
}


def build(it):
    """A network of settings: family, scale, side, n_classes, features; for `unet`: base, depth, n_classes."""
    if it["family"] == "unet":
        return UNet(it["base"], it["depth"], it["n_classes"])
    return FAMILIES[it["family"]](it["scale"], it["side"], it["n_classes"], it["features"])


def body_size(model):
    """Parameters of a classifier's body: what published counts leave out is the head."""
    return sum(it.numel() for name, it in model.named_parameters() if not name.startswith(("features.", "classes.")))


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
