"""The networks of crates/nets/examples/speed.rs in PyTorch, and the shapes of their batches: those of the papers."""

import torch
import torch.nn.functional as F
from torch import nn

CLASSES = 7
PIXEL_CLASSES = 3


def unit(inputs, outputs, kernel=3, stride=1, groups=1, relu=True):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *[nn.ReLU(inplace=True)] * relu)


class Pooled(nn.Module):
    """The mean over all positions, and classes."""

    def __init__(self, body, channels):
        super().__init__()
        self.body, self.classes = body, nn.Linear(channels, CLASSES)

    def forward(self, x):
        return self.classes(self.body(x).mean((2, 3)))


def mobilenet():
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    layers, channels = [unit(3, 32, 3, 2)], 32
    for outputs, stride in blocks:
        layers += [unit(channels, channels, 3, stride, channels), unit(channels, outputs, 1)]
        channels = outputs
    return Pooled(nn.Sequential(*layers), channels)


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first, self.second = unit(inputs, outputs, 3, stride), unit(outputs, outputs, relu=False)
        self.shortcut = unit(inputs, outputs, 1, stride, relu=False) if inputs != outputs else nn.Identity()

    def forward(self, x):
        return F.relu(self.second(self.first(x)) + self.shortcut(x), inplace=True)


def resnet18():
    layers, channels = [unit(3, 64, 7, 2), nn.MaxPool2d(2)], 64
    for at, outputs in enumerate([64, 64, 128, 128, 256, 256, 512, 512]):
        layers.append(Residual(channels, outputs, 2 if at > 0 and at % 2 == 0 else 1))
        channels = outputs
    return Pooled(nn.Sequential(*layers), channels)


def vgg(stages):
    layers, channels = [], 3
    for outputs, n in zip([64, 128, 256, 512, 512], stages):
        for _ in range(n):
            layers += [nn.Conv2d(channels, outputs, 3, 1, 1), nn.ReLU(inplace=True)]
            channels = outputs
        layers.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(2 * 2 * 512, 512), nn.ReLU(inplace=True), nn.Linear(512, CLASSES)]
    return nn.Sequential(*layers, *head)


class Level(nn.Module):
    """A level of a U-Net and all below."""

    def __init__(self, inputs, channels, depth):
        super().__init__()
        self.encode = nn.Sequential(unit(inputs, channels), unit(channels, channels))
        self.below = None
        if depth > 0:
            self.below = Level(channels, 2 * channels, depth - 1)
            self.up = nn.ConvTranspose2d(2 * channels, channels, 2, 2)
            self.decode = nn.Sequential(unit(2 * channels, channels), unit(channels, channels))

    def forward(self, x):
        x = self.encode(x)
        if self.below is None:
            return x
        return self.decode(torch.cat([x, self.up(self.below(F.max_pool2d(x, 2)))], 1))


# How to make each, and the shape of a batch.
NETS = {
    "mobilenet": (mobilenet, (64, 3, 100, 100)),
    "resnet18": (resnet18, (64, 3, 100, 100)),
    "vgg11": (lambda: vgg([1, 1, 2, 2, 2]), (64, 3, 64, 64)),
    "vgg16": (lambda: vgg([2, 2, 3, 3, 3]), (64, 3, 64, 64)),
    "unet": (lambda: nn.Sequential(Level(1, 16, 4), nn.Conv2d(16, PIXEL_CLASSES, 1)), (4, 1, 256, 256)),
}
