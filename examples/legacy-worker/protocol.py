"""The four endpoints of a worker, as their predecessor's clients speak them: JSON by POST, no sign-in."""

import json
import urllib.request

# Kinds of jobs.
DATA, TRAIN, PREDICT = 1, 2, 3
# States of a job, as far as a worker says them.
READY, PROCESSING, ERROR, DONE = 1, 2, 3, 4

TIMEOUT_S = 600


class Server:
    """One server. Whatever goes wrong on the way is printed, and the answer is None: the next poll is the retry."""

    def __init__(self, url):
        self.url = url.rstrip("/")

    def take(self, kind, model_kind):
        """A job that is now ours, as the server's row of it, or None when there is nothing to do."""
        answer = self._post("/api1/job", {"id": 0, "status": READY, "type": kind, "mtype": model_kind})
        job = (answer or {}).get("data") or {}
        return job if job.get("status") == READY and job.get("dir") else None

    def report(self, kind, job_id, status, percent, eta_s):
        """Says how far a job came, or how it ended."""
        body = {"id": job_id, "status": status, "percent": percent, "ETA": eta_s, "type": kind}
        answer = self._post("/api1/jobresult", body)
        return answer is not None and answer.get("status") == 0

    def _post(self, path, body):
        # Without blanks, as the server's tests have it.
        data = json.dumps(body, separators=(",", ":")).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", flush=True)
            return None
