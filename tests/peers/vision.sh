#!/bin/sh
# Measures the image steps beside OpenCV, Pillow and scikit-image in one run and prints
# JSON lines {"figure","value","unit","goal","ok"}: how many times faster Cellmill is.
# Not zero when a goal is missed.
#
#   tests/peers/vision.sh [DIR]     DIR: JPEGs to measure on; default is one made in code
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
venv=$target/peers-venv
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet opencv-python-headless pillow scikit-image
fi
images=${1:-$target/peers-images}
if [ $# -eq 0 ]; then
    mkdir -p "$images"
    cargo bench --quiet -p cellmill-vision --bench vision -- --write "$(realpath "$images")"
fi
images=$(realpath "$images")
own=$target/peers-own.jsonl
peers=$target/peers-other.jsonl
cargo bench --quiet -p cellmill-vision --bench vision -- --images "$images" > "$own"
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$venv/bin/python" tests/peers/vision_peers.py "$images" > "$peers"
cat "$own" "$peers"
"$venv/bin/python" tests/peers/ratios.py "$own" "$peers"
