"""The protocol of `worker-gpu --exec`: a line of JSON in, lines of JSON out."""

import json
import signal
import sys
import threading

_wanted = threading.Event()


def begin():
    """The job. From here on a stop is listened for."""
    job = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGTERM, lambda *_: _wanted.set())
    threading.Thread(target=_listen, daemon=True).start()
    return job


def _listen():
    # Any further line means that the result is not wanted now; the end of the input, that the worker is gone.
    sys.stdin.readline()
    _wanted.set()


def should_stop():
    return _wanted.is_set()


def cells(job):
    """The cells of a project's unit, in their order."""
    with open(job["cells"], encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def progress(percent, eta_s=None, step=None):
    say(percent=percent, eta_s=eta_s, step=step)


def checkpoint(name):
    """A file of the folder `checkpoints` that is complete."""
    say(checkpoint=name)


def log(text):
    say(log=text)


def fail(error, permanent=False):
    say(error=error, permanent=permanent)
    sys.exit(1)


def say(**message):
    known = {key: value for key, value in message.items() if value is not None}
    print(json.dumps(known), flush=True)
