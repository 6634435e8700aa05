"""A job as its worker sees it: a directory of the shared folder, a log, percent and the time that is left."""

import csv
import json
import logging
import os
import sys

import protocol

FOLDERS = {protocol.DATA: "datasets", protocol.TRAIN: "projects", protocol.PREDICT: "projects"}
LOG_LINE = "%(asctime)s - %(levelname)s - %(message)s"
DEFAULT_ETA_S = 1800


class Job:
    def __init__(self, server, root, kind, row):
        self.server, self.root, self.kind, self.row = server, root, kind, row
        self.folder = os.path.join(root, FOLDERS[kind], row["dir"])
        for needed in ("csv", "img"):
            if not os.path.isdir(os.path.join(root, needed)):
                raise RuntimeError(f"{root} has no folder {needed}: is it the server's?")
        if not os.path.isdir(self.folder):
            raise RuntimeError(f"{self.folder} is not there: is {root} the server's folder?")
        self.percent, self.eta_s = 0, DEFAULT_ETA_S
        self.log = logging.getLogger(row["dir"])
        self.log.setLevel(logging.INFO)
        self.log.propagate = False
        self.handlers = [
            logging.StreamHandler(sys.stdout),
            logging.FileHandler(os.path.join(self.folder, "log.txt"), encoding="utf-8"),
        ]
        for handler in self.handlers:
            handler.setFormatter(logging.Formatter(LOG_LINE))
            self.log.addHandler(handler)

    def close(self):
        for handler in self.handlers:
            self.log.removeHandler(handler)
            handler.close()

    def report(self, percent, eta_s):
        """Percent and seconds that are left. 100 is for done()."""
        self.percent, self.eta_s = min(int(percent), 99), int(eta_s)
        self._say(protocol.PROCESSING)

    def done(self):
        self.percent, self.eta_s = 100, 0
        self._say(protocol.DONE)

    def error(self):
        self._say(protocol.ERROR)

    def _say(self, status):
        self.server.report(self.kind, self.row["id"], status, self.percent, self.eta_s)

    def path(self, *parts):
        """A file of the job's directory; the folders above it are made."""
        path = os.path.join(self.folder, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def shared(self, key):
        """A file of the shared folder. Tables hold paths below it, with or without it in front."""
        return key if key.startswith(self.root) else os.path.join(self.root, key.lstrip("/"))

    def read_json(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return json.load(file)

    def write_json(self, name, value, indent=2):
        with open(self.path(name), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=indent, ensure_ascii=False)

    def write_table(self, name, header, rows):
        with open(self.path(name), "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            table.writerow(header)
            table.writerows(rows)


def read_table(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
