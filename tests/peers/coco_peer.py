"""Scores detections with pycocotools: the peer of `cellmill_core::detection`.

Usage: coco_peer.py < CASES. A case is one line of JSON, and so are its answers, one for each of the settings:

    {"settings": [{"max_dets": 100, "agnostic": false}],
     "images": [{"truth": [[class, x1, y1, x2, y2, crowd]], "found": [[class, x1, y1, x2, y2, score]]}]}

A case of masks has images {"width", "truth_runs": [id, pixels, ...], "found_runs": [..], "truth": [[id, class, crowd]],
"found": [[id, class, score]]}: label images row by row as runs of equal ids. An answer: {"overall": {"ap", "ap50",
"ap75", "ar"}, "per_class": {class: ..}}, with -1 where pycocotools says so. Needs pycocotools and numpy.
"""

import contextlib
import io
import json
import sys

import numpy as np
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def box(row):
    x1, y1, x2, y2 = row
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}


def label_image(runs, width):
    ids = np.repeat(np.array(runs[::2], np.int64), runs[1::2])
    return ids.reshape(-1, width)


def mask(image, id):
    rle = masks.encode(np.asfortranarray(image == id, dtype=np.uint8))
    return {"segmentation": rle, "area": float(masks.area(rle)), "bbox": list(map(float, masks.toBbox(rle)))}


def annotations(image):
    """The true and the found cells of an image, in COCO's words."""
    if "width" not in image:
        truth = [{"category_id": it[0], "iscrowd": int(it[5]), **box(it[1:5])} for it in image["truth"]]
        found = [{"category_id": it[0], "score": it[5], **box(it[1:5])} for it in image["found"]]
        return truth, found
    ids = label_image(image["truth_runs"], image["width"])
    truth = [{"category_id": c, "iscrowd": int(crowd), **mask(ids, id)} for id, c, crowd in image["truth"]]
    ids = label_image(image["found_runs"], image["width"])
    found = [{"category_id": c, "score": score, **mask(ids, id)} for id, c, score in image["found"]]
    return truth, found


def collection(images, all_annotations, classes):
    it = COCO()
    it.dataset = {"images": images, "annotations": all_annotations, "categories": [{"id": c} for c in classes]}
    it.createIndex()
    return it


def figures(precision, recall):
    def mean(of):
        return float(of[of > -1].mean()) if (of > -1).any() else -1.0

    # Overlaps .50, .55, ... .95: the first is .50, the sixth .75.
    return {"ap": mean(precision), "ap50": mean(precision[0]), "ap75": mean(precision[5]), "ar": mean(recall)}


def answers(case):
    return [answer(case["images"], it) for it in case["settings"]]


def answer(of_images, settings):
    images, truth, found = [], [], []
    for at, image in enumerate(of_images):
        own_truth, own_found = annotations(image)
        size = {}
        if "width" in image:
            size = {"width": image["width"], "height": sum(image["truth_runs"][1::2]) // image["width"]}
        images.append({"id": at, **size})
        # Annotation 0 would pass for "not matched".
        truth += [{"id": len(truth) + n, "image_id": at, **it} for n, it in enumerate(own_truth, 1)]
        found += [{"id": len(found) + n, "image_id": at, "iscrowd": 0, **it} for n, it in enumerate(own_found, 1)]
    classes = sorted({it["category_id"] for it in truth + found})
    is_masks = any("width" in it for it in of_images)
    with contextlib.redirect_stdout(io.StringIO()):
        peer = COCOeval(
            collection(images, truth, classes), collection(images, found, classes), "segm" if is_masks else "bbox"
        )
        peer.params.maxDets = [settings["max_dets"]]
        peer.params.areaRng, peer.params.areaRngLbl = [[0, 1e10]], ["all"]
        peer.params.useCats = int(not settings["agnostic"])
        peer.evaluate()
        peer.accumulate()
    # Overlap, recall, class, and only one area and limit.
    precision, recall = peer.eval["precision"][..., 0, 0], peer.eval["recall"][..., 0, 0]
    per_class = {} if settings["agnostic"] else {
        str(c): figures(precision[:, :, at], recall[:, at]) for at, c in enumerate(classes)
    }
    return {"overall": figures(precision, recall), "per_class": per_class}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answers(json.loads(line))))
