#!/usr/bin/env python3
"""Kills training processes at random moments, resumes them, and compares the end with runs that were never killed.

    benchmarks/reliability/kills.py [--stagger COMMAND] [--flags FLAGS] [--runs METHOD:STAGES ...] [--kills 200] [--seed N]
        [--output FILE]

Every method runs on the built-in data set with a snapshot every few batches. A kill is SIGKILL, at a random moment after the
start; every fourth one comes while a snapshot is being written. Weights must be equal to the byte, and metrics in
everything that does not measure time. Needs Python 3.9 and nothing else.
"""

import argparse
import platform
import random
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runs import is_being_written, metrics

RUNS = [
    ("bp", 1),
    ("bp", 3),
    ("gpipe(4)", 2),
    ("pipedream", 2),
    ("pipedream", 4),
    ("2bw(4)", 3),
    ("dsp", 2),
    ("dsp", 3),
    ("dsp", 4),
    ("dsp + accumulate(2)", 3),
    ("dsp + gap-aware", 2),
    ("dni", 2),
]


def killed(command, moment):
    """Starts, waits for the moment, kills. Gives whether there was something to kill."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not moment():
        if child.poll() is not None:
            if child.returncode != 0:
                sys.exit(f"{' '.join(command)}: {child.stderr.read().decode()}")
            return False
        time.sleep(0.0005)
    child.kill()
    child.wait()
    return True


def parse_run(text):
    method, _, stages = text.rpartition(":")
    if not method or not stages.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: give METHOD:STAGES, such as dsp:2")
    return method, int(stages)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stagger", default="target/release/stagger", help="the command that runs it")
    arguments.add_argument("--flags", default="", help="of training, besides those below: '--engine torch --device cuda:0'")
    arguments.add_argument("--runs", nargs="+", type=parse_run, default=RUNS, metavar="METHOD:STAGES")
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=int(time.time()))
    arguments.add_argument("--output", type=Path)
    arguments = arguments.parse_args()
    draw = random.Random(arguments.seed)
    per_run = -(-arguments.kills // len(arguments.runs))
    rows, total, bad = [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for number, (method, stages) in enumerate(arguments.runs):
            flags = [
                *shlex.split(arguments.stagger), "train", *shlex.split(arguments.flags), "--schedule", method, "--stages", str(stages), "--batch-size", "16",
                "--max-batches", "150", "--snapshot-every", "5", "--calibration-batches", "0", "--lr", "0.02",
                "--gap-every", "3", "--eval-batch-size", "250",
            ]  # fmt: skip
            whole, run = folder / f"whole-{number}", folder / f"run-{number}"
            began = time.monotonic()
            subprocess.run([*flags, "--output", str(whole)], check=True, stdout=subprocess.DEVNULL)
            span = time.monotonic() - began
            resume = [*flags, "--output", str(run), "--resume", "auto"]
            kills = writing = 0
            for attempt in range(per_run):
                began, delay = time.monotonic(), draw.uniform(0, 2.5 * span / per_run + 0.3)
                if attempt % 4 == 3:
                    hit = killed(resume, lambda: is_being_written(run))
                    writing += hit
                else:
                    hit = killed(resume, lambda: time.monotonic() - began >= delay)
                kills += hit
            subprocess.run(resume, check=True, stdout=subprocess.DEVNULL)
            same = all(
                (whole / name).read_bytes() == (run / name).read_bytes()
                for name in ("last.safetensors", "best.safetensors")
            ) and metrics(whole) == metrics(run)
            total, bad = total + kills, bad + (not same)
            rows.append((method, stages, kills, writing, "equal" if same else "DIFFERENT"))
            print(*rows[-1], sep="\t", flush=True)
    head = f"{time.strftime('%Y-%m-%d')}, {platform.node()}, {arguments.flags or 'default engine'}, seed {arguments.seed}: {total} kills, {bad} runs differ"
    print(head)
    if arguments.output:
        lines = [head, "method\tstages\tkills\tof them while writing\tweights and metrics"]
        lines += ["\t".join(map(str, row)) for row in rows]
        arguments.output.write_text("\n".join(lines) + "\n")
    sys.exit(bad > 0)


main()
