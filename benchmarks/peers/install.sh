#!/bin/sh
# Makes the virtual environment of the peers in benchmarks/peers/.venv (3.6 GB; Python 3.11 or later).
# Arguments go to pip, for example: --find-links DIR
set -eu
cd "$(dirname "$0")"
python3 -m venv .venv
.venv/bin/python -m pip install --no-deps --requirement requirements.txt "$@"
.venv/bin/python -c 'import torch, torch.distributed.pipelining; print("PyTorch", torch.__version__)'
