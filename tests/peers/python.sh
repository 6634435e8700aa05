#!/bin/sh
# Prints the path of a Python with torch, numpy and Pillow.
#
#   tests/peers/python.sh VENV     VENV: a virtual environment, made there when CELLMILL_TEST_PYTHON names no Python
set -eu
needs='import torch, numpy, PIL'
if [ -n "${CELLMILL_TEST_PYTHON:-}" ]; then
    "$CELLMILL_TEST_PYTHON" -c "$needs" >&2 || {
        echo "CELLMILL_TEST_PYTHON is $CELLMILL_TEST_PYTHON, which has not all of torch, numpy and pillow" >&2
        exit 1
    }
    echo "$CELLMILL_TEST_PYTHON"
    exit
fi
if ! "$1/bin/python" -c "$needs" 2> /dev/null; then
    python3 -m venv "$1" >&2
    # The build for processors is a tenth of the usual one, but not every index has it.
    "$1/bin/pip" install --quiet 'torch==2.15.0+cpu' numpy pillow > /dev/null 2>&1 \
        || "$1/bin/pip" install --quiet torch numpy pillow >&2 || {
        echo "PyTorch is missing: install torch, numpy and pillow and set CELLMILL_TEST_PYTHON to that Python" >&2
        exit 1
    }
fi
echo "$1/bin/python"
