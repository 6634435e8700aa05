"""Where an emulator runs: its folder of state, its Python environment, its process. Standard library only."""
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
DEFAULT_STATE = ROOT / "target" / "localstack"
DEFAULT_LAMBDAS = ROOT / "target" / "lambda"
REGION = "us-east-1"

# Packages of LocalStack published later than this break it (see README.md).
LOCALSTACK = "localstack-core[runtime]==4.14.0"
LOCALSTACK_NOT_AFTER = "2026-03-05T00:00:00Z"


class Problem(Exception):
    """What a person reads: what is wrong, the rule, and a hint."""


def fail(problem):
    print(f"error: {problem}", file=sys.stderr)
    raise SystemExit(1)


def note(text):
    print(text, file=sys.stderr, flush=True)


class Home:
    """The files of one emulator."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        self.process = self.folder / "process.json"
        self.pid = self.folder / "pid"
        self.log = self.folder / "emulator.log"
        self.env = self.folder / "env"
        self.outputs = self.folder / "stack.json"
        self.work = self.folder / "work"
        self.workers = self.folder / "workers.json"

    def running(self):
        """What `up` wrote about the process, if that very process still lives."""
        try:
            known = json.loads(self.process.read_text())
        except (OSError, ValueError):
            return None
        return known if started_at(known["pid"]) == known["started"] else None


# ---- Python environments


def environment(engine, state):
    """The interpreter of the engine's environment; makes it if need be. `<ENGINE>_VENV` names another one."""
    named = os.environ.get(f"{engine.upper()}_VENV")
    if named:
        python = pathlib.Path(named) / "bin" / "python"
        if not python.exists():
            raise Problem(f"`{engine.upper()}_VENV` is `{named}`, which has no `bin/python`\nhint: unset it")
        return python
    folder = state / f"venv-{engine}"
    python, done = folder / "bin" / "python", folder / "complete"
    wanted = LOCALSTACK if engine == "localstack" else requirements().read_text()
    if done.exists() and done.read_text() == wanted:
        return python
    base = interpreter(engine)
    note(f"installing {engine} into `{folder}`, once")
    call([base, "-m", "venv", "--clear", folder])
    if engine == "ministack":
        call([python, *PIP, "--require-hashes", "-r", requirements()])
    else:
        call([python, *PIP, "uv==0.13.9"])
        uv = folder / "bin" / "uv"
        call([uv, "pip", "install", "-q", "--python", python, "--exclude-newer", LOCALSTACK_NOT_AFTER, LOCALSTACK])
    done.write_text(wanted)
    return python


def interpreter(engine):
    """A Python that the engine runs on: this one, or the newest on the path."""
    oldest = (3, 12) if engine == "localstack" else (3, 10)
    newer = [f"python3.{minor}" for minor in (13, 12, 11, 10) if (3, minor) >= oldest]
    for python in [sys.executable, *filter(shutil.which, newer)]:
        # A name on the path may be a shim that leads nowhere.
        asked = subprocess.run([python, "-c", f"import sys; sys.exit(sys.version_info < {oldest})"], capture_output=True)
        if asked.returncode == 0:
            return python
    raise Problem(
        f"{engine} needs Python {oldest[0]}.{oldest[1]} or later, this is {platform.python_version()}\n"
        f"hint: install one, or run `python3.13 {sys.argv[0]}`"
    )


PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def requirements():
    return HERE / "requirements-ministack.txt"


def call(command):
    """Runs a command; what it says is shown only when it fails."""
    command = [str(it) for it in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"`{' '.join(command)}` failed\n{done.stdout.strip()}")


# ---- The process


def start(engine, python, home, port, auth, endpoint=None):
    """Starts the emulator on 127.0.0.1 and waits until it is healthy; says the seconds that took."""
    if answers(port):
        raise Problem(f"port {port} of 127.0.0.1 is taken by another program\nhint: choose one with `--port`")
    home.work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open(home.log, "wb") as log:
        process = subprocess.Popen(
            command(engine, python), cwd=home.work, env=variables(engine, home, port, auth, endpoint),
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )
    known = {"pid": process.pid, "started": started_at(process.pid), "engine": engine, "port": port, "auth": auth}
    home.process.write_text(json.dumps(known))
    home.pid.write_text(f"{process.pid}\n")
    limit = 10 if engine == "ministack" else 60
    try:
        while not healthy(port):
            if process.poll() is not None:
                raise Problem(f"{engine} ended with status {process.returncode}\n{tail(home.log)}")
            if time.monotonic() - began > limit:
                raise Problem(f"{engine} is not healthy after {limit} s\n{tail(home.log)}")
            time.sleep(0.05)
        check_loopback(process.pid)
    except BaseException:
        stop(home)
        raise
    return time.monotonic() - began


def command(engine, python):
    if engine == "ministack":
        return [str(python), "-m", "ministack"]
    return [str(python), str(HERE / "localstack_host.py")]


def variables(engine, home, port, auth, endpoint=None):
    """The emulator's environment. Functions inherit it, so nothing of the caller's goes in but the search path."""
    folder = str(home.work)
    common = {
        "PATH": os.environ.get("PATH", os.defpath), "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8",
        # Functions find the emulator by this; the template knows nothing of it.
        "AWS_ENDPOINT_URL": endpoint or f"http://127.0.0.1:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if engine == "ministack":
        return {
            **common, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "STATE_DIR": f"{folder}/state",
            "AUTH": "true" if auth else "false",
        }
    return {
        **common, "GATEWAY_LISTEN": f"127.0.0.1:{port}", "FILESYSTEM_ROOT": folder, "OVERRIDE_IN_DOCKER": "false",
        "S3_SKIP_SIGNATURE_VALIDATION": "0", "DISABLE_EVENTS": "1", "SKIP_SSL_CERT_DOWNLOAD": "1", "DNS_ADDRESS": "0",
        "EAGER_SERVICE_LOADING": "0", "LOCALSTACK_HOST": f"127.0.0.1:{port}", "SQS_ENDPOINT_STRATEGY": "path",
        # Its free edition has no HTTP APIs and no dashboards; the rest of the stack is there.
        "CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES": "1",
    }


def healthy(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_localstack/health", timeout=2) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def answers(port):
    import socket

    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop(home):
    """Ends the process that `up` started, and what that process started. Says whether there was one."""
    known = home.running()
    if known is None:
        forget(home)
        return False
    family = {pid: started_at(pid) for pid in descendants(known["pid"])}
    family[known["pid"]] = known["started"]
    end(known["pid"], known["started"], signal.SIGTERM)
    # LocalStack takes about 6 s.
    if not gone({known["pid"]: known["started"]}, 20):
        end(known["pid"], known["started"], signal.SIGKILL)
    # Lambda processes go with the emulator; none may stay behind when they do not.
    for number in (signal.SIGTERM, signal.SIGKILL):
        if gone(family, 2):
            break
        for pid, started in family.items():
            end(pid, started, number)
    forget(home)
    return True


def forget(home):
    for file in (home.process, home.pid):
        file.unlink(missing_ok=True)


def end(pid, started, number):
    if started_at(pid) == started:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def gone(family, seconds):
    until = time.monotonic() + seconds
    while any(started_at(pid) == started for pid, started in family.items()):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def started_at(pid):
    """When a process started, in the system's own words: with the pid it names one process for ever. None: it is over."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if pathlib.Path("/proc/self").exists():
            return None
        said = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return said.stdout.strip() or None
    # The name in brackets may hold blanks; what follows it does not. A zombie is over.
    fields = stat[stat.rindex(")") + 2:].split()
    return None if fields[0] == "Z" else fields[19]


def descendants(pid):
    said = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False)
    pairs = [tuple(map(int, line.split())) for line in said.stdout.splitlines()]
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in pairs if parent in new} - found
        found |= new
    return found


def tail(log, lines=15):
    text = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(f"  {line}" for line in text)


# ---- Loopback only


def check_loopback(pid):
    """Refuses an emulator that other machines could reach: it lets anybody do anything with your files."""
    open_to_all = [at for at in listening(pid) if not is_loopback(at)]
    if open_to_all:
        raise Problem(f"the emulator listens on {', '.join(open_to_all)}, not only on this machine; it was ended")


def listening(pid):
    """The addresses that a process and its children listen on."""
    if not pathlib.Path("/proc/net/tcp").exists():
        said = subprocess.run(
            ["lsof", "-nP", "-a", "-p", str(pid), "-iTCP", "-sTCP:LISTEN", "-Fn"], capture_output=True, text=True, check=False
        )
        return [line[1:].rsplit(":", 1)[0] for line in said.stdout.splitlines() if line.startswith("n")]
    inodes = {inode for it in {pid} | descendants(pid) for inode in sockets(it)}
    found = []
    for table in ("tcp", "tcp6"):
        try:
            rows = pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.append(address(fields[1].split(":")[0]))
    return found


def sockets(pid):
    try:
        links = list(pathlib.Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for link in links:
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link))
        except OSError:
            continue
        if match:
            yield match[1]


def address(text):
    """The kernel writes addresses as words in the machine's own byte order."""
    import ipaddress

    words = [bytes.fromhex(text[at:at + 8]) for at in range(0, len(text), 8)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return str(ipaddress.ip_address(b"".join(words)))


def is_loopback(text):
    import ipaddress

    try:
        found = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return text == "localhost"
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
