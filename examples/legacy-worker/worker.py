"""A worker for Cellmill's legacy endpoints, standard library only.

    python3 worker.py --root /data/lab --url http://127.0.0.1:8750 --crops 7 --predicts 5

`--root` is the server's folder. It asks for one job after the other, works on it, and says so.
"""

import argparse
import os
import time

import cells
import job as jobs
import projects
import protocol

POLL_S = 5
START = 4


def main():
    options = parse()
    server = protocol.Server(options.url)
    root = os.path.abspath(options.root)
    asked = (
        (protocol.DATA, options.crops, cells.run),
        (protocol.TRAIN, options.predicts, projects.train),
        (protocol.PREDICT, options.predicts, projects.predict),
    )
    n_done = 0
    while options.jobs is None or n_done < options.jobs:
        for kind, model_kind, run in asked:
            row = server.take(kind, model_kind)
            if row is not None:
                work(server, root, kind, row, run)
                n_done += 1
                break
        else:
            time.sleep(options.poll)


def work(server, root, kind, row, run):
    """One job, from its start to done or error."""
    try:
        job = jobs.Job(server, root, kind, row)
    except (RuntimeError, OSError) as error:
        print(error, flush=True)
        server.report(kind, row["id"], protocol.ERROR, 0, 0)
        return
    try:
        job.log.info("begins with job %s", row["id"])
        job.report(START, 60)
        run(job)
        job.done()
    except Exception as error:  # whatever it is: the server must hear of it
        job.log.error("%s: %s", type(error).__name__, error)
        job.error()
    finally:
        job.close()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="the folder that the server keeps everything in")
    parser.add_argument("--url", default="http://127.0.0.1:8750", help="where the server answers")
    parser.add_argument("--crops", type=int, default=7, help="the kind of detector whose data jobs it takes")
    parser.add_argument("--predicts", type=int, default=5, help="the kind of model whose predictions it makes")
    parser.add_argument("--poll", type=float, default=POLL_S, help="seconds between two questions")
    parser.add_argument("--jobs", type=int, help="end after this many jobs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
