"""Ratios of the peers' times to Cellmill's, held against the goals. Usage: ratios.py OWN PEERS"""

import json
import sys

# How many times faster than the peer each step must be; 0 is for information.
GOALS = {
    "cv2.decode_rgb": 0.85,
    "cv2.thumbnail": 1.0,
    "cv2.crops_gray_to_pack": 2.0,
    "cv2.crops_color_to_pack": 2.0,
    "cv2.pipeline": 1.2,
    "cv2.finder": 1.0,
    "pillow.decode_rgb": 1.0,
    "pillow.thumbnail": 1.0,
    "pillow.crops_gray_to_pack": 4.0,
    "pillow.crops_color_to_pack": 4.0,
    "pillow.pipeline": 4.0,
    "skimage.finder": 4.0,
}


def read(path):
    with open(path) as lines:
        return {it["figure"]: it["value"] for it in map(json.loads, filter(str.strip, lines))}


def main():
    own, peers = read(sys.argv[1]), read(sys.argv[2])
    all_ok = True
    for figure, goal in GOALS.items():
        step = figure.split(".", 1)[1]
        ratio = peers[figure] / own[step]
        ok = ratio >= goal
        all_ok &= ok
        line = {"figure": f"speed_over_{figure}", "value": round(ratio, 2), "unit": "times", "goal": goal, "ok": ok}
        print(json.dumps(line))
    sys.exit(0 if all_ok else 1)


main()
