"""LocalStack as a plain process: bound to 127.0.0.1, with Lambda functions as processes. Run by `up --engine localstack`.

Stock LocalStack needs Docker for functions and listens on every address, whatever GATEWAY_LISTEN says. Both are replaced
here from outside, nothing of it is changed on disk. Only `provided.*` runtimes are served: a function is the file
`bootstrap` of its zip, which asks a small Runtime API for its work.
"""
import dataclasses
import http.server
import json
import os
import pathlib
import queue
import subprocess
import threading
import time
import urllib.parse

from localstack import config
from localstack.runtime.main import main
from localstack.runtime.server import twisted
from localstack.services.lambda_.invocation import plugins

# A function that is not asking for work by then has not started.
START_LIMIT_S = 10
# What a process wrote just before its answer may still be in the pipe.
LOG_GRACE_S = 0.01
KEPT_LOG_LINES = 2000


def register(server, gateway, listen, ssl_creds=None):
    """Listens where `listen` says and nowhere else, without TLS."""
    site = twisted.TwistedGateway(gateway)
    for at in listen:
        endpoint = twisted.endpoints.TCP4ServerEndpoint(twisted.reactor, at.port, interface=at.host)
        endpoint.listen(site)


@dataclasses.dataclass
class Invocation:
    """One call on its way to a function and back."""

    id: str
    arn: str
    trace: str
    payload: bytes
    deadline_ms: int
    ended: threading.Event = dataclasses.field(default_factory=threading.Event)
    answer: bytes = b""
    is_error: bool = False

    def end(self, answer, is_error):
        if not self.ended.is_set():
            self.answer, self.is_error = answer, is_error
            self.ended.set()


class Handler(http.server.BaseHTTPRequestHandler):
    """The Runtime API of Lambda: a process asks for the next invocation and posts its answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        api = self.server
        if not self.path.endswith("/runtime/invocation/next"):
            return self.reply(404)
        api.asked.set()
        invocation = api.waiting.get()
        if invocation is None:
            return self.reply(410)
        api.running = invocation
        return self.reply(
            200,
            invocation.payload,
            {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": invocation.id,
                "Lambda-Runtime-Invoked-Function-Arn": invocation.arn,
                "Lambda-Runtime-Trace-Id": invocation.trace,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            },
        )

    def do_POST(self):
        api, body = self.server, self.body()
        parts = self.path.split("/runtime/", 1)[-1].split("/")
        if parts[:2] == ["init", "error"]:
            api.init_error = body.decode(errors="replace")
            api.asked.set()
        elif len(parts) == 3 and parts[0] == "invocation":
            invocation = api.running
            if invocation and invocation.id == parts[1]:
                invocation.end(body, parts[2] == "error")
        self.reply(202, b'{"status":"OK"}')

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def reply(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class RuntimeApi(http.server.ThreadingHTTPServer):
    """The side of Lambda that one process talks to."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.waiting = queue.Queue()
        self.running = None
        self.asked = threading.Event()
        self.init_error = None
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Process:
    """One process of a function; replaced when it dies, as Lambda replaces it."""

    def __init__(self, folder, environment):
        self.api = RuntimeApi()
        self.lines = []
        bootstrap = pathlib.Path(folder) / "bootstrap"
        bootstrap.chmod(0o755)
        host, port = self.api.server_address
        self.child = subprocess.Popen(
            [str(bootstrap)], cwd=folder, env={**environment, "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )
        threading.Thread(target=self.read, daemon=True).start()
        if not self.api.asked.wait(START_LIMIT_S) or self.api.init_error or not self.is_alive():
            said = self.api.init_error or "".join(self.lines[-20:])
            self.end()
            raise RuntimeError(f"the function did not start: {said}")

    def read(self):
        for line in self.child.stdout:
            self.lines.append(line)
            del self.lines[:-KEPT_LOG_LINES]
        status = self.child.wait()
        message = {"errorType": "Runtime.ExitError", "errorMessage": f"Runtime exited with error: exit status {status}"}
        if self.api.running:
            self.api.running.end(json.dumps(message).encode(), True)
        self.api.asked.set()

    def is_alive(self):
        return self.child.poll() is None

    def end(self):
        self.api.waiting.put(None)
        self.child.terminate()
        try:
            self.child.wait(2)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.api.shutdown()
        self.api.server_close()


def executor():
    """The class that LocalStack asks for in place of its container executor; made late, when its own parts are loaded."""
    from localstack.services.lambda_.invocation.lambda_models import InvocationResult
    from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

    class ProcessExecutor(RuntimeExecutor):
        process = None

        def start(self, env_vars):
            self.folder = str(self.function_version.config.code.get_unzipped_code_location())
            given = {name: str(value) for name, value in env_vars.items()}
            # The folders of the container do not exist here.
            own = {"PATH": os.environ["PATH"], "LAMBDA_TASK_ROOT": self.folder, "LAMBDA_RUNTIME_DIR": self.folder}
            self.environment = {**given, **own, "_HANDLER": "bootstrap"}
            self.process = Process(self.folder, self.environment)

        def stop(self):
            if self.process:
                self.process.end()

        def invoke(self, payload):
            if not self.process.is_alive():
                self.process.end()
                self.process = Process(self.folder, self.environment)
            process, limit = self.process, self.function_version.config.timeout
            began, n_before = time.time(), len(process.lines)
            invocation = Invocation(
                payload["invoke-id"], payload["invoked-function-arn"], payload["trace-id"], payload["payload"].encode(),
                int((began + limit) * 1000),
            )
            process.api.waiting.put(invocation)
            if not invocation.ended.wait(limit):
                # It starts anew with the next invocation, as on Lambda.
                process.child.kill()
                text = f"RequestId: {invocation.id} Error: Task timed out after {limit}.00 seconds"
                invocation.end(json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": text}).encode(), True)
            time.sleep(LOG_GRACE_S)
            took_ms = (time.time() - began) * 1000
            logs = "".join([
                f"START RequestId: {invocation.id} Version: {self.function_version.id.qualifier}\n",
                *process.lines[n_before:],
                f"END RequestId: {invocation.id}\n",
                f"REPORT RequestId: {invocation.id}\tDuration: {took_ms:.2f} ms\n",
            ])
            return InvocationResult(invocation.id, invocation.answer, is_error=invocation.is_error, logs=logs)

        def get_logs(self):
            return "".join(self.process.lines) if self.process else ""

        def get_address(self):
            return "127.0.0.1"

        def get_endpoint_from_executor(self):
            return "127.0.0.1"

        def get_runtime_endpoint(self):
            return f"http://127.0.0.1:{config.GATEWAY_LISTEN[0].port}/_localstack_lambda/{urllib.parse.quote(self.id)}"

        @classmethod
        def prepare_version(cls, function_version):
            if function_version.config.code:
                function_version.config.code.prepare_for_execution()

        @classmethod
        def cleanup_version(cls, function_version):
            pass

    return ProcessExecutor


EXECUTOR = []


def load(*_, **__):
    if not EXECUTOR:
        EXECUTOR.append(executor())
    return EXECUTOR[0]


if __name__ == "__main__":
    twisted.TwistedRuntimeServer.register = register
    plugins.DockerRuntimeExecutorPlugin.load = load
    main()
