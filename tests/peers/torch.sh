#!/bin/sh
# Does in PyTorch what the example `losses` of crates/nets did, and prints the losses as JSON.
#
#   tests/peers/torch.sh DIR VENV     DIR: what the example wrote; VENV: made there when there is no Python with torch
#
# CELLMILL_TEST_PYTHON names a Python with torch and numpy to use instead.
set -eu
python=${CELLMILL_TEST_PYTHON:-$2/bin/python}
if [ -z "${CELLMILL_TEST_PYTHON:-}" ] && ! "$python" -c 'import torch, numpy' 2> /dev/null; then
    python3 -m venv "$2" >&2
    "$2/bin/pip" install --quiet torch numpy >&2 || {
        echo "PyTorch is missing: install torch and numpy and set CELLMILL_TEST_PYTHON to that Python" >&2
        exit 1
    }
fi
exec "$python" "$(dirname "$0")/torch_losses.py" "$1"
