"""Writes crates/core/tests/golden/coco.jsonl: scenes, and how pycocotools scores them, for tests/coco.rs.

Usage, at the root: python tests/peers/coco_golden.py. The scenes are drawn from seeds; a line is a case of coco_peer.py
with a name and the answers.
"""

import itertools
import json
import random

from coco_peer import answers

FILE = "crates/core/tests/golden/coco.jsonl"


def scene(draw, n_truth, n_extra, classes, side=400, jitter=4, levels=1000, crowds=0.0):
    """Boxes, and found ones near most of them, some of another class, some twice, some of nothing."""

    def any_box():
        x, y = draw.randrange(side), draw.randrange(side)
        return [x, y, x + draw.randrange(8, 50), y + draw.randrange(8, 50)]

    def score():
        return draw.randrange(1, levels) / levels

    truth = [[draw.choice(classes), *any_box(), int(draw.random() < crowds)] for _ in range(n_truth)]
    found = []
    for c, x1, y1, x2, y2, _ in truth:
        for _ in range(draw.choice([0, 1, 1, 1, 1, 2])):
            c = draw.choice(classes) if draw.random() < 0.1 else c
            x, y = x1 + draw.randint(-jitter, jitter), y1 + draw.randint(-jitter, jitter)
            found.append([c, x, y, max(x2 + draw.randint(-jitter, jitter), x + 1), y2 - y1 + y, score()])
    found += [[draw.choice(classes), *any_box(), score()] for _ in range(n_extra)]
    draw.shuffle(found)
    return {"truth": truth, "found": found}


def runs(ids):
    return [it for id, group in itertools.groupby(ids) for it in (id, len(list(group)))]


def label_images(draw, n, classes, crowds=0.0, width=48, height=40):
    """Rectangles painted over each other, and the same ones moved a little."""
    truth, found = [0] * (width * height), [0] * (width * height)

    def paint(pixels, id, x1, y1, x2, y2):
        for y in range(max(y1, 0), min(y2, height)):
            for x in range(max(x1, 0), min(x2, width)):
                pixels[y * width + x] = id

    for id in range(1, n + 1):
        x, y = draw.randrange(width - 4), draw.randrange(height - 4)
        w, h = draw.randrange(4, 14), draw.randrange(4, 14)
        paint(truth, id, x, y, x + w, y + h)
        if draw.random() < 0.85:
            dx, dy = draw.randint(-2, 2), draw.randint(-2, 2)
            paint(found, 100 + id, x + dx, y + dy, x + w + dx, y + h)
    ids = {it: draw.choice(classes) for it in range(1, n + 1)}
    return {
        "width": width,
        "truth_runs": runs(truth),
        "found_runs": runs(found),
        "truth": [[it, ids[it], int(draw.random() < crowds)] for it in sorted(set(truth) - {0})],
        "found": [
            [it, ids[it - 100] if draw.random() < 0.9 else classes[0], draw.randrange(20) / 20]
            for it in sorted(set(found) - {0})
        ],
    }


def cases():
    blood = [301, 302, 303]

    def case(name, images, max_dets=(100,), agnostic=(False,)):
        settings = [{"max_dets": n, "agnostic": it} for n in max_dets for it in agnostic]
        return {"name": name, "settings": settings, "images": images}

    both = (False, True)
    draw = random.Random(1)
    yield case("ordinary", [scene(draw, 15, 4, blood) for _ in range(6)], agnostic=both)

    draw = random.Random(2)
    ties = [scene(draw, 20, 6, blood, side=80, levels=4) for _ in range(4)]
    # The same cell in truth twice, and as another class.
    ties[0]["truth"] += [it[:] for it in ties[0]["truth"][:4]] + [[303, *it[1:]] for it in ties[0]["truth"][4:8]]
    yield case("equal scores and equal overlaps", ties, agnostic=both)

    draw = random.Random(3)
    holes = [scene(draw, 8, 3, blood) for _ in range(3)]
    holes[0]["found"] += [[999, 0, 0, 20, 20, 0.9], [999, 5, 5, 20, 20, 0.4]]
    holes[1]["truth"] = [it for it in holes[1]["truth"] if it[0] != 302]
    holes[2]["truth"].append([7, 10, 10, 40, 40, 0])
    holes += [{"truth": [], "found": []}, {**holes[0], "found": []}, {**holes[1], "truth": []}]
    yield case("classes without truth, classes not found, empty images", holes, agnostic=both)

    draw = random.Random(4)
    crowded = [scene(draw, 160, 40, [301], side=900, jitter=3)]
    yield case("more than a hundred boxes", crowded, max_dets=(10, 100, 1000))

    draw = random.Random(5)
    regions = [scene(draw, 20, 8, [1, 2], side=120, levels=10, crowds=0.25) for _ in range(4)]
    yield case("crowds", regions, max_dets=(5, 100), agnostic=both)

    exact = [[0, 0, 20, it] for it in range(10, 21)]
    steps = [{"truth": [[1, 0, 0, 20, 20, 0]], "found": [[1, *it, 0.5]]} for it in exact]
    yield case("overlaps of exactly .50, .55, ... 1", steps)

    yield case("nothing at all", [{"truth": [], "found": []}])
    yield case("nothing found", [{"truth": [[1, 0, 0, 5, 5, 0]], "found": []}])
    yield case("nothing to find", [{"truth": [], "found": [[1, 0, 0, 5, 5, 0.5]]}])
    yield case("only a crowd", [{"truth": [[1, 0, 0, 50, 50, 1]], "found": [[1, 0, 0, 5, 5, 0.5]]}])

    draw = random.Random(6)
    yield case("masks", [label_images(draw, 10, blood) for _ in range(4)], agnostic=both)
    crowds = [label_images(draw, 12, [1, 2], crowds=0.3) for _ in range(3)]
    yield case("masks with crowds", crowds, max_dets=(4, 100), agnostic=both)


def main():
    with open(FILE, "w") as file:
        for it in cases():
            file.write(json.dumps({**it, "answers": answers(it)}, separators=(",", ":")) + "\n")


main()
