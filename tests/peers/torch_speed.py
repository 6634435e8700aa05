"""Measures a network of crates/nets in PyTorch, in turns that another program asks for, so that both alternate.

Usage: torch_speed.py --net NAME --mode infer|train [--layout nchw|channels_last] [--threads N] [--device cpu|cuda:0]
[--compile]. Says {"ready": true, ...} when it is warm, then answers each line `run SECONDS` as crates/nets/examples/speed.rs
does: {"images_per_second": by the median step, "cpu_ms_per_image": the least of all steps, "peak_mib"}. Sleeps between.
"""

import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

from torch_models import optimiser
from torch_speed_nets import NETS

# Warm-up steps: the first ones choose kernels and ask for memory.
WARM_UP = 2
TRIAL_STEPS = 2


def arguments():
    it = argparse.ArgumentParser()
    it.add_argument("--net", choices=NETS, required=True)
    it.add_argument("--mode", choices=["infer", "train"], required=True)
    it.add_argument("--layout", choices=["nchw", "channels_last"], default="channels_last")
    it.add_argument("--threads", type=int, default=1)
    it.add_argument("--device", default="cpu")
    it.add_argument("--compile", action="store_true")
    return it.parse_args()


def memory(name, device):
    """Bytes of this process, or on the card."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) if name == "VmHWM" else 0
    with open("/proc/self/status") as lines:
        found = [line for line in lines if line.startswith(name + ":")]
    return int(found[0].split()[1]) * 1024 if found else None


class Bench:
    def __init__(self, given):
        self.device = torch.device(given.device)
        make, shape = NETS[given.net]
        model, x = make().to(self.device), torch.randn(shape, device=self.device)
        self.batch = shape[0]
        if given.layout == "channels_last":
            model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        self.n_parameters = sum(it.numel() for it in model.parameters())
        self.model, self.x, self.is_training = model, x, given.mode == "train"
        self.call = torch.compile(model) if given.compile else model
        self.adam, self.optimiser = None, None
        model.train(self.is_training)
        if self.is_training:
            with torch.no_grad():
                out = model(x[:2])
            self.labels = torch.randint(0, out.shape[1], (self.batch, *out.shape[2:]), device=self.device)
            self.choose_optimiser()
        self.steps(WARM_UP)

    def step(self):
        if not self.is_training:
            with torch.inference_mode():
                self.call(self.x)
            return
        self.adam.zero_grad(set_to_none=True)
        F.cross_entropy(self.call(self.x), self.labels).backward()
        self.adam.step()

    def steps(self, n):
        for _ in range(n):
            self.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def choose_optimiser(self):
        """The fastest of AdamW's three implementations: PyTorch is compared at its best."""
        groups = optimiser(self.model, 1e-5, 0.05).param_groups
        groups = [{"params": it["params"], "weight_decay": it["weight_decay"]} for it in groups]
        found = []
        for name, settings in {"loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}.items():
            self.adam = torch.optim.AdamW([dict(it) for it in groups], lr=1e-5, **settings)
            self.steps(1)
            begun = time.process_time()
            self.steps(TRIAL_STEPS)
            found.append((time.process_time() - begun, name, self.adam))
        _, self.optimiser, self.adam = min(found, key=lambda it: it[0])

    def run(self, seconds):
        # Not counted: caches are cold after a pause.
        self.steps(1)
        walls, cpus, begun = [], [], time.perf_counter()
        while len(walls) < 3 or time.perf_counter() - begun < seconds:
            wall, cpu = time.perf_counter(), time.process_time()
            self.steps(1)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        peak = memory("VmHWM", self.device) / 2**20
        return {
            "images_per_second": self.batch / statistics.median(walls),
            "cpu_ms_per_image": 1e3 * min(cpus) / self.batch,
            "peak_mib": peak,
        }


def versions():
    named = {"torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability()}
    for line in torch.__config__.show().splitlines():
        for name, text in {"mkl": "Math Kernel Library Version ", "onednn": "MKL-DNN "}.items():
            if text in line:
                named[name] = line.split(text)[1].split(" ")[0]
    if torch.cuda.is_available():
        named |= {"cuda": torch.version.cuda, "card": torch.cuda.get_device_name()}
    return named


def say(it):
    print(json.dumps(it), flush=True)


def main():
    given = arguments()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    idle = memory("VmRSS", torch.device("cpu"))
    bench = Bench(given)
    told = {"n_parameters": bench.n_parameters, "optimiser": bench.optimiser, "idle_bytes": idle}
    say({"ready": True, **told, "versions": versions()})
    for line in sys.stdin:
        say(bench.run(float(line.split()[1])))


main()
