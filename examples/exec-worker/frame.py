"""The protocol of `worker-gpu --exec`: a line of JSON in, lines of JSON out."""

import json
import signal
import sys
import threading

_wishes = set()


def begin():
    """The job. From here on wishes are listened for."""
    job = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGTERM, lambda *_: _wishes.add("end"))
    threading.Thread(target=_listen, daemon=True).start()
    return job


def _listen():
    for line in sys.stdin:
        _wishes.add("stop" if json.loads(line).get("stop") else "end")
    # The worker is gone.
    _wishes.add("end")


def should_end():
    """The result is not wanted here any more: save a checkpoint, and end."""
    return "end" in _wishes


def should_stop():
    """The best so far is wanted, now."""
    return "stop" in _wishes


def cells(job):
    """The cells of a project's unit, in their order."""
    with open(job["cells"], encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def progress(percent, eta_s=None, step=None):
    say(percent=percent, eta_s=eta_s, step=step)


def checkpoint(name):
    """A file of the folder `checkpoints` that is complete."""
    say(checkpoint=name)


def resumed():
    """The checkpoint of the job is what this attempt goes on from."""
    say(resumed=True)


def nothing_to_keep():
    """A stop came before there was anything."""
    say(nothing=True)
    sys.exit(0)


def log(text):
    say(log=text)


def fail(error, permanent=False):
    say(error=error, permanent=permanent)
    sys.exit(1)


def say(**message):
    known = {key: value for key, value in message.items() if value is not None}
    print(json.dumps(known), flush=True)
