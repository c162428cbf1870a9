#!/usr/bin/env python3
"""Do the peers train the same network? Compares losses, not speeds; takes a minute.

With gradients accumulated over M micro-batches, one process must go through the same losses as a pipeline of two with M
micro-batches, and with M = 2 the same as data-parallel training on two: batch normalisation then sees the same images.
"""

import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = os.path.join(HERE, ".venv", "bin", "python")
# Kernels sum in another order for another number of threads or another neighbour, and training magnifies it.
FIRST, LATER = 1e-6, 1e-4


def losses(kind, micro_batches, *flags, steps=12):
    command = [PYTHON, os.path.join(HERE, "peer.py"), kind, "--micro-batches", str(micro_batches), "--batch-size", "32",
               "--model", "resnet8", "--warmup", "1", "--steps", str(steps - 1), "--lr", "0.02", *flags]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command[2:])} failed; its error is above")
    return json.loads(result.stdout)["losses"]


def compare(name, found, expected, first=FIRST, later=LATER):
    worst = max(abs(one - other) for one, other in zip(found, expected))
    good = abs(found[0] - expected[0]) <= first and worst <= later
    print(f"{'ok  ' if good else 'FAIL'} {name}: first loss differs by {abs(found[0] - expected[0]):.1e}, "
          f"the worst of {len(found)} by {worst:.1e}")
    return good


def main():
    if not os.path.exists(PYTHON):
        sys.exit("no benchmarks/peers/.venv: run benchmarks/peers/install.sh first")
    one = {micro_batches: losses("eager", micro_batches) for micro_batches in (1, 2, 4)}
    good = [compare("eager, 2 threads", losses("eager", 1, "--threads", "2"), one[1])]
    # Same network, other statistics of batch normalisation: this must differ, or the comparisons show nothing.
    apart = max(abs(a - b) for a, b in zip(one[1], one[4]))
    good.append(apart > 10 * LATER)
    print(f"{'ok  ' if good[-1] else 'FAIL'} eager with 4 micro-batches is another computation: differs by {apart:.1e}")
    long = losses("eager", 1, steps=100)
    start, end = sum(long[:4]) / 4, sum(long[-4:]) / 4
    good.append(end < 0.5 * start)
    print(f"{'ok  ' if good[-1] else 'FAIL'} the loss falls in {len(long)} steps: {start:.3f} to {end:.3f}")
    for cut in ("1", "3"):
        good.append(compare(f"gpipe, 1 micro-batch, cut {cut}", losses("gpipe", 1, "--cut", cut), one[1]))
    for kind in ("gpipe", "1f1b"):
        good.append(compare(f"{kind}, 4 micro-batches", losses(kind, 4, "--cut", "2"), one[4]))
    for kind in ("interleaved", "zb", "zbv", "dualpipev"):
        good.append(compare(f"{kind}, 4 micro-batches", losses(kind, 4, "--cuts", "1,2,4"), one[4]))
    good.append(compare("zb, 4 micro-batches, one part per process", losses("zb", 4, "--cuts", "2"), one[4]))
    good.append(compare("compiled", losses("compiled", 1), one[1]))
    good.append(compare("ddp on 2 processes", losses("ddp", 1), one[2]))
    half = losses("eager", 4, "--dtype", "bf16")
    good.append(compare("eager in bf16", half, one[4], 1e-2, 5e-2))
    good.append(compare("1f1b in bf16", losses("1f1b", 4, "--cut", "2", "--dtype", "bf16"), half, 1e-2, 5e-2))
    sys.exit(0 if all(good) else "some peer does not train as it should")


if __name__ == "__main__":
    main()
