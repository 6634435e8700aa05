"""Workers beside an emulator: no emulator runs containers, so `worker-gpu` runs as plain processes. Standard library only."""
import json
import os
import signal
import subprocess
import sys
import time

import home as homes
from home import Problem


def program(named, profile, build):
    """The worker's program: the one named, else the one that cargo built."""
    if named:
        return named
    folder = homes.ROOT / "target"
    if os.environ.get("CARGO_TARGET_DIR"):
        folder = homes.ROOT / os.environ["CARGO_TARGET_DIR"]
    found = folder / ("debug" if profile == "dev" else profile) / "worker-gpu"
    if build:
        # What cargo says goes where progress goes: stdout may be read by a program.
        command = ["cargo", "build", "--locked", "--profile", profile, "-p", "cellmill-worker-gpu"]
        subprocess.run(command, check=True, cwd=homes.ROOT, stdout=sys.stderr)
    if not found.exists():
        raise Problem(f"there is no worker at `{found}`\nhint: add `--build`, or name one with `--worker`")
    return found


def start(home, count, found, environment):
    """Starts workers of class cpu over the stack; `stop` ends them."""
    known, processes = [], []
    for number in range(1, count + 1):
        with open(home.folder / f"worker-{number}.log", "wb") as log:
            process = subprocess.Popen(
                [str(found), "--class", "cpu", "--class", "gpu", "--device", "cpu"], cwd=home.folder,
                env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        known.append({"pid": process.pid, "started": homes.started_at(process.pid)})
        home.workers.write_text(json.dumps(known))
        processes.append(process)
    # One that can't start says so at once.
    time.sleep(0.5)
    for number, process in enumerate(processes, 1):
        if process.poll() is not None:
            log = homes.tail(home.folder / f"worker-{number}.log")
            raise Problem(f"worker {number} ended with status {process.returncode}\n{log}")
    return known


def stop(home):
    """Ends the workers in the order that AWS does: told to, and killed after 30 s."""
    try:
        known = {it["pid"]: it["started"] for it in json.loads(home.workers.read_text())}
    except (OSError, ValueError):
        return 0
    for number, seconds in ((signal.SIGTERM, 30), (signal.SIGKILL, 5)):
        for pid, started in known.items():
            homes.end(pid, started, number)
        if homes.gone(known, seconds):
            break
    home.workers.unlink(missing_ok=True)
    return len(known)
