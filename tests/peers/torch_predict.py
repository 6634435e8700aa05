"""Names the cells of a data set's packs with PyTorch, as somebody would write it: a DataLoader and a network.

Usage: torch_predict.py --model FILE.safetensors --packs FOLDER --out ANSWERS.csv [--trial N] [--limit N]

Packs are zip files of PNG files. Network, weights, side and normalisation are those of the model file; an answer is
the mean over eight views, as Cellmill's. The best layout and the best number of loading processes (0, 1, 2) are chosen
by a trial of N cells each. Prints {"n", "seconds", "cells_per_s", "workers", "trials", ...}; the time is that of the loop,
without imports and without loading the model.
"""

import argparse
import csv
import json
import os
import pathlib
import struct
import time
import zipfile

import numpy as np
import torch
from PIL import Image

import torch_models

BATCH = 256


def arguments():
    it = argparse.ArgumentParser()
    it.add_argument("--model", required=True)
    it.add_argument("--packs", required=True)
    it.add_argument("--out", required=True)
    it.add_argument("--trial", type=int, default=5000)
    it.add_argument("--limit", type=int)
    return it.parse_args()


class Cells(torch.utils.data.Dataset):
    """The pictures of packs, resized."""

    def __init__(self, packs, side):
        self.side, self.open = side, {}
        self.cells = []
        for pack in packs:
            with zipfile.ZipFile(pack) as names:
                self.cells += [(str(pack), name) for name in sorted(names.namelist())]

    def __len__(self):
        return len(self.cells)

    def __getitem__(self, at):
        pack, name = self.cells[at]
        # Each process opens its own: a position in a file that was opened before a fork is that of all.
        own = (os.getpid(), pack)
        if own not in self.open:
            self.open[own] = zipfile.ZipFile(pack)
        with self.open[own].open(name) as file:
            image = Image.open(file).convert("RGB")
        grows = self.side > min(image.size)
        if image.size != (self.side, self.side):
            image = image.resize((self.side, self.side), Image.Resampling.BILINEAR if grows else Image.Resampling.BOX)
        return at, torch.from_numpy(np.array(image)).permute(2, 0, 1)


def load(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        spec = json.loads(json.loads(file.read(size))["__metadata__"]["cellmill"])
    model = torch_models.build(spec["architecture"])
    missing, unknown = model.load_state_dict(torch_models.read_safetensors(path), strict=False)
    assert not unknown and all(it.endswith("num_batches_tracked") for it in missing), (missing, unknown)
    return model.eval(), spec


class Answers:
    """The classes of pictures: the mean of the logits over eight views."""

    def __init__(self, model, spec, layout):
        self.layout = layout
        self.model = model.to(memory_format=layout)
        self.gray = spec["gray"]
        it = spec["normalisation"]
        self.mean = torch.tensor(it["mean"]).view(1, 3, 1, 1)
        self.deviation = torch.tensor(it["deviation"]).view(1, 3, 1, 1)

    def __call__(self, pixels):
        x = pixels.float() / 255
        if self.gray:
            x = (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True).expand(-1, 3, -1, -1)
        x = ((x - self.mean) / self.deviation).contiguous(memory_format=self.layout)
        logits = 0
        for turns in range(4):
            for mirrored in (False, True):
                view = torch.rot90(x, turns, (2, 3))
                view = view.flip(3) if mirrored else view
                logits = logits + self.model(view.contiguous(memory_format=self.layout))
        return logits.argmax(1)


def run(answers, cells, n, workers):
    """Answers of the first n cells, and the seconds that took."""
    some = torch.utils.data.Subset(cells, range(n))
    begun = time.perf_counter()
    loader = torch.utils.data.DataLoader(some, BATCH, num_workers=workers)
    found = []
    with torch.inference_mode():
        for at, pixels in loader:
            found += zip(at.tolist(), answers(pixels).tolist())
    return found, time.perf_counter() - begun


def best_layout(model, spec, cells):
    """The layout that answers a batch sooner."""
    pixels = torch.stack([cells[it][1] for it in range(min(BATCH, len(cells)))])
    times = {}
    for name in ("contiguous_format", "channels_last"):
        answers = Answers(model, spec, getattr(torch, name))
        with torch.inference_mode():
            answers(pixels)
            begun = time.perf_counter()
            answers(pixels)
        times[name] = time.perf_counter() - begun
    return min(times, key=times.get)


def main():
    given = arguments()
    model, spec = load(given.model)
    packs = sorted(pathlib.Path(given.packs).glob("*.zip"))
    cells = Cells(packs, spec["architecture"]["side"])
    layout = best_layout(model, spec, cells)
    answers = Answers(model, spec, getattr(torch, layout))
    n = min(len(cells), given.limit or len(cells))
    n_trial = min(n, given.trial)
    trials = {workers: n_trial / run(answers, cells, n_trial, workers)[1] for workers in (0, 1, 2)}
    workers = max(trials, key=trials.get)
    found, seconds = run(answers, cells, n, workers)
    with open(given.out, "w", newline="") as file:
        csv.writer(file).writerows((cells.cells[at][1], answer) for at, answer in found)
    told = {"n": n, "seconds": seconds, "cells_per_s": n / seconds, "workers": workers, "layout": layout}
    print(json.dumps({**told, "trials": {str(it): rate for it, rate in trials.items()}, "torch": torch.__version__}))


main()
