#!/usr/bin/env python3
"""The deepest CIFAR ResNet, and the largest batch, that trains within some memory, per method.

    run.py --stagger ../../target/release/stagger --python PYTHON --output RESULT.tsv

Depth is 6n + 2 at a fixed batch, and the batch a multiple of 8 at a fixed depth. Memory is the peak of resident memory of the process,
libraries included, as the kernel counts it. It grows by a line in n and in the batch, nearly: the search follows the line through the
last two looks, and ends when it has what fits and what does not, no further apart than a fiftieth. RESULT has a line per cell, and is
read at the start: what is there is not measured again. `--table` prints it.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
GIB = 2**30
FIELDS = ("contestant", "what", "limit_gib", "largest", "peak_gib", "next", "next_peak_gib")


def contestants(options):
    """Name, and the command for a depth and a batch."""
    for stages in options.stages:
        for method in options.methods:
            yield f"{method}, {stages} stages", lambda depth, batch, method=method, stages=stages: [
                options.stagger, "bench", "--model", f"resnet{depth}", "--batch-size", str(batch), "--schedule", method,
                "--stages", str(stages), "--warmup", "1", "--batches", str(options.batches),
            ]
    yield "bp, 1 stage", lambda depth, batch: [
        options.stagger, "bench", "--model", f"resnet{depth}", "--batch-size", str(batch), "--schedule", "bp", "--stages", "1",
        "--warmup", "1", "--batches", "2",
    ]
    if options.python:
        for kind, name in ("no", "PyTorch"), ("blocks", "PyTorch, checkpoint per block"), ("root", "PyTorch, checkpoints by the root"):
            yield name, lambda depth, batch, kind=kind: [
                options.python, str(HERE / "peer.py"), "--model", f"resnet{depth}", "--batch-size", str(batch), "--checkpoint", kind,
            ]


def peak_bytes(command, beyond):
    """Peak resident memory. A process that has passed `beyond` is ended: how far it would go does not matter."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        while True:
            ended, code, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                said.seek(0)
                assert code == 0, (command, os.waitstatus_to_exitcode(code), said.read())
                return usage.ru_maxrss * 1024
            peak = high_water(process.pid)
            if peak > beyond:
                process.kill()
                os.wait4(process.pid, 0)
                return peak
            time.sleep(0.1)


def high_water(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    # It has ended just now.
    return 0


def search(measure, first, second, limit):
    """The largest number whose peak is within the limit, a number that is not, and both peaks."""
    seen = {}
    for number in (first, second):
        seen[number] = measure(number)
    while True:
        fits = [number for number, peak in seen.items() if peak <= limit]
        passes = [number for number, peak in seen.items() if peak > limit]
        low, high = max(fits, default=0), min(passes, default=None)
        if high is not None and high - low <= max(1, low // 50):
            return low, seen.get(low), high, seen[high]
        (a, peak_a), (b, peak_b) = sorted(sorted(seen.items(), key=lambda look: abs(look[1] - limit))[:2])
        slope = max((peak_b - peak_a) / (b - a), 1.0)
        guess = int(a + (limit - peak_a) / slope)
        guess = max(guess, low + 1)
        if high is not None:
            guess = min(guess, high - 1)
        # The other side of the line, when this one is known.
        if guess in seen:
            guess += 1
        guess = min(guess, 4 * max(seen))
        seen[guess] = measure(guess)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stagger", default=str(HERE.parents[1] / "target/release/stagger"))
    parser.add_argument("--python", help="with PyTorch; without it, its rows are left out")
    parser.add_argument("--output", required=True, type=pathlib.Path)
    parser.add_argument("--limits", type=float, nargs="+", default=[1, 2, 4], metavar="GIB")
    parser.add_argument("--stages", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--methods", nargs="+", default=["bp", "gpipe(4)", "1f1b(4)", "pipedream", "ddg", "dsp"])
    parser.add_argument("--batches", type=int, default=12, help="of which the pipeline is full after some")
    parser.add_argument("--batch-size", type=int, default=128, help="for the deepest network")
    parser.add_argument("--depth", type=int, default=110, help="for the largest batch")
    parser.add_argument("--what", nargs="+", default=["depth", "batch"])
    parser.add_argument("--table", action="store_true")
    return parser.parse_args()


def read(path):
    if not path.exists():
        return {}
    lines = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {tuple(line[:3]): line[3:] for line in lines if line[0] != FIELDS[0]}


def table(found, options):
    for what, title in ("depth", f"deepest ResNet at batch {options.batch_size}"), ("batch", f"largest batch of a ResNet-{options.depth}"):
        limits = sorted({key[2] for key in found if key[1] == what}, key=float)
        if not limits:
            continue
        print(f"| {title} | " + " | ".join(f"{limit} GiB" for limit in limits) + " |")
        print("| --- |" + " ---: |" * len(limits))
        for name in dict.fromkeys(key[0] for key in found if key[1] == what):
            cells = [found.get((name, what, limit), [""])[0] for limit in limits]
            print(f"| {name} | " + " | ".join(cells) + " |")
        print()


def main():
    options = parse()
    found = read(options.output)
    if options.table:
        table(found, options)
        return
    if not options.output.exists():
        options.output.write_text("\t".join(FIELDS) + "\n")
    for what in options.what:
        for limit in options.limits:
            for name, command in contestants(options):
                if (name, what, f"{limit:g}") in found:
                    continue
                bound = int(limit * GIB)

                def measure(number, command=command, bound=bound, what=what, name=name):
                    depth, batch = (6 * number + 2, options.batch_size) if what == "depth" else (options.depth, 8 * number)
                    peak = peak_bytes(command(depth, batch), 2 * bound)
                    print(f"{name}: resnet{depth}, batch {batch}: {peak / GIB:.3f} GiB", file=sys.stderr, flush=True)
                    return peak

                low, peak, high, above = search(measure, 3, 6, bound)
                told = [str(6 * n + 2 if what == "depth" else 8 * n) if n else "none" for n in (low, high)]
                line = [name, what, f"{limit:g}", told[0], f"{(peak or 0) / GIB:.3f}", told[1], f"{above / GIB:.3f}"]
                with options.output.open("a") as file:
                    file.write("\t".join(line) + "\n")
                print("\t".join(line), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    main()
