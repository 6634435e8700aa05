"""Training and prediction jobs, over the cells of a data set."""

import os
import re
import shutil

import job as jobs
from classifier import Classifier, features
from split import test_and_train

MODEL = "Modelak.model"
AUTOKERAS = 5
LABELS = ("File Name", "Label")
# Cells are judged in this many pieces, so that percent moves.
PIECES = 20


def train(job):
    info = job.read_json("info.json")
    cells = cells_of(job, info)
    types = [int(kind) for kind in info["types"]]
    if len({int(cell["celltype"]) for cell in cells}) < 2:
        raise RuntimeError("a training needs cells of at least 2 classes")
    test, learn = ([cells[at] for at in part] for part in test_and_train(len(cells)))
    for name, part in (("train", learn), ("test", test)):
        fill(job, name, part)
    job.report(10, 60)
    samples, labels = samples_of(job, learn)
    model = Classifier.untrained(types, samples)
    model.fit(samples, labels, lambda done: job.report(10 + 80 * done, 60 * (1 - done)))
    loss, accuracy = model.loss_and_accuracy(samples, labels)
    _, tested = model.loss_and_accuracy(*samples_of(job, test))
    model.save(job.path(MODEL))
    job.log.info("loss %.4f, accuracy %.3f, on the test part %.3f", loss, accuracy, tested)
    size = int(info["parameter_resize"])
    job.write_json(
        "mod.json",
        {
            "n_train": len(learn),
            "n_classes": len(types),
            "input_shape": f"{size}x{size}x3",
            "history": [{"model_id": 0, "loss": loss, "metric_value": accuracy}],
            "model_count": 1,
            "best_model": 0,
            "loss": loss,
            "metric_value": accuracy,
            "evaluate_value": tested,
            "id": 0,
            "type": AUTOKERAS,
            "types": types,
            "pid": job.row["id"],
            "path": os.path.abspath(job.path(MODEL)),
            "desc": "未保存的模型",
            "recall": -1,
            "precision": accuracy,
        },
    )


def predict(job):
    info = job.read_json("info.json")
    model = Classifier.load(info["modpath"])
    cells = cells_of(job, info)
    fill(job, "predict", cells)
    job.report(10, 60)
    is_labelled = int(info["parameter_type"]) == 1
    found, result = [], {}
    for n, cell in enumerate(cells, 1):
        answer, certainty = model.predict(features(job.shared(cell["cellpath"])))
        truth = int(cell["celltype"]) if is_labelled else answer
        name = os.path.basename(cell["cellpath"])
        x1, y1, x2, y2 = place_of(name)
        found.append(
            {
                "predict": answer,
                "type": truth,
                "url": f"projects/{info['dir']}/predict/{cell['celltype']}/{name}",
                "score": round(certainty, 2),
                **dict(x1=x1, y1=y1, x2=x2, y2=y2),
                "imgid": int(cell["imgid"]),
            }
        )
        total, correct = result.get(truth, (0, 0))
        result[truth] = (total + 1, correct + (answer == truth))
        if n % max(len(cells) // PIECES, 1) == 0:
            job.report(10 + 85 * n / len(cells), (len(cells) - n) / 100)
    info["crop_cells"] = found
    info["result"] = [{"type": kind, "total": n, "correct": right} for kind, (n, right) in sorted(result.items())]
    job.write_json("predict2.json", info)
    job.log.info("%d cells: %s", len(found), info["result"])


def cells_of(job, info):
    """The rows of the chosen classes, in the order of the classes; all of them when none is chosen."""
    rows = jobs.read_table(os.path.join(job.root, "datasets", info["ddir"], "cellslist.csv"))
    rows = [row for row in rows if row.get("duplicate", "0") != "1"]
    types = [str(kind) for kind in info["types"] or []]
    if not types:
        return rows
    return [row for kind in types for row in rows if row["celltype"] == kind]


def fill(job, folder, cells):
    """Copies cells to `<folder>/<class>/` and lists them."""
    labels = []
    for cell in cells:
        name = os.path.basename(cell["cellpath"])
        shutil.copyfile(job.shared(cell["cellpath"]), job.path(folder, cell["celltype"], name))
        labels.append((f"{cell['celltype']}/{name}", cell["celltype"]))
    job.write_table(f"{folder}_labels.csv", LABELS, labels)


def samples_of(job, cells):
    paths = [job.shared(cell["cellpath"]) for cell in cells]
    return [features(path) for path in paths], [int(cell["celltype"]) for cell in cells]


def place_of(name):
    """The box that was cut, from a cell's name: 13 numbers stand at its end, or 9 in older ones."""
    numbers = re.findall(r"(?<=_)\d+", name.removesuffix(".png"))[-13:]
    return [int(number) for number in numbers[4:8]]
