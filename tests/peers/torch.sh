#!/bin/sh
# Does in PyTorch what the example `losses` of crates/nets did, and prints the losses as JSON.
#
#   tests/peers/torch.sh DIR VENV     DIR: what the example wrote; VENV: made there when there is no Python with torch
#
# CELLMILL_TEST_PYTHON names a Python with torch, numpy and pillow to use instead.
set -eu
here=$(dirname "$0")
python=$("$here/python.sh" "$2")
exec "$python" "$here/torch_losses.py" "$1"
