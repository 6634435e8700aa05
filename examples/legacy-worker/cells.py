"""Data jobs: every doctor's point becomes a cell, cut from its image."""

import os
import time

import job as jobs
import png

COLUMNS = (
    "batchid,medicalid,imgid,imgname,imgpath,p1n0,parameter_gray,parameter_size,parameter_type,parameter_mid,"
    "parameter_cache,cellpath,x1,y1,x2,y2,celltype,kx1,ky1,kx2,ky2"
).split(",")
BY_POINTS = 1


def run(job):
    info = job.read_json("info.json")
    if int(info["parameter_type"]) != BY_POINTS:
        raise RuntimeError("this worker has no detector: it cuts at points (parameter_type 1)")
    images = jobs.read_table(os.path.join(job.folder, "filelist.csv"))
    rows, counts = [], {}
    began = time.monotonic()
    for n, image in enumerate(images, 1):
        if not image["csvpath"]:
            job.log.info("no points for %s, skipped", image["imgpath"])
        else:
            rows += cut(job, info, image)
        left = (time.monotonic() - began) / n * (len(images) - n)
        job.report(95 * n / len(images), left)
    for row in rows:
        counts[int(row["celltype"])] = counts.get(int(row["celltype"]), 0) + 1
    job.write_table("cellslist.csv", COLUMNS, ([row[name] for name in COLUMNS] for row in rows))
    describe(job, info, rows, counts)
    job.log.info("%d cells of %d images: %s", len(rows), len(images), counts)


def cut(job, info, image):
    """The cells of one image: a row of the table each, and a PNG where none lies yet."""
    picture = png.read(job.shared(image["imgpath"]))
    rows = []
    for point in jobs.read_table(job.shared(image["csvpath"])):
        x, y, kind = (int(float(point[name])) for name in ("X", "Y", "Type"))
        box = box_around(x, y, int(info["parameter_size"]), picture.width, picture.height)
        kernel = kernel_of(point, x, y, picture.width, picture.height)
        row = {
            **{name: image[name] for name in ("batchid", "medicalid", "imgid", "imgname", "imgpath", "p1n0")},
            **{name: info[name] for name in COLUMNS if name.startswith("parameter_")},
            **dict(zip(("x1", "y1", "x2", "y2"), box)),
            "celltype": kind,
            **dict(zip(("kx1", "ky1", "kx2", "ky2"), kernel)),
        }
        row["imgpath"] = job.shared(image["imgpath"])
        row["cellpath"] = cell_path(job, row)
        os.makedirs(os.path.dirname(row["cellpath"]), exist_ok=True)
        if not (int(info["parameter_cache"]) == 1 and os.path.exists(row["cellpath"])):
            png.write(row["cellpath"], picture.crop(*box))
        rows.append(row)
    return rows


def box_around(x, y, size, width, height):
    """A square of `size` around a point, shifted inside the image; the largest square that fits in a smaller one."""
    size = min(size, width, height)
    left = min(max((2 * x - size) // 2, 0), width - size)
    top = min(max((2 * y - size) // 2, 0), height - size)
    return left, top, left + size, top + size


def kernel_of(point, x, y, width, height):
    """The cell itself: the doctor's box where there is one, else 50 pixels to each side."""
    if all(point.get(name) for name in ("x1", "y1", "x2", "y2")):
        return tuple(int(float(point[name])) for name in ("x1", "y1", "x2", "y2"))
    return max(x - 50, 0), max(y - 50, 0), min(x + 50, width), min(y + 50, height)


def cell_path(job, row):
    """`scratch/<batch>/<case>/cells/<cell name>`, absolute."""
    # Names are read from the right, but `.` parts batch, case and number on the left.
    batch, case = (row[name].replace(".", "%2E") for name in ("batchid", "medicalid"))
    parts = [row[f"parameter_{name}"] for name in ("gray", "size", "type", "mid")]
    parts += [row[name] for name in ("x1", "y1", "x2", "y2", "celltype", "kx1", "ky1", "kx2", "ky2")]
    name = f"{batch}.{case}.{row['imgid']}.{row['imgname']}_{'_'.join(map(str, parts))}.png"
    return os.path.join(job.root, "scratch", row["batchid"], row["medicalid"], "cells", name)


def describe(job, info, rows, counts):
    """info2.json with everything, info.json without the lists."""
    distinct = lambda *names: len({tuple(row[name] for name in names) for row in rows})
    info.update(
        status=2,
        origin_imgs=sorted({row["imgpath"][len(job.root) :] for row in rows}),
        cells_crop=sorted({row["cellpath"][len(job.root) :] for row in rows}),
        batchcnt=distinct("batchid"),
        medicalcnt=distinct("batchid", "medicalid"),
        fovcnt=distinct("imgpath"),
        labelcnt=len(rows),
        types=[{"celltype": kind, "labelcnt": counts[kind]} for kind in sorted(counts)],
    )
    info["origin_total"], info["cells_total"] = len(info["origin_imgs"]), len(info["cells_crop"])
    job.write_json("info2.json", info)
    job.write_json("info.json", {**info, "origin_imgs": [], "cells_crop": []}, indent=1)
