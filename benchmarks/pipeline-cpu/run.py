#!/usr/bin/env python3
"""Speed of BP on one stage, BP on two and DSP on two, taking turns; standard library only.

    python3 benchmarks/pipeline-cpu/run.py [--model resnet20] [--rounds 5] [--batches 48]

Prints a Markdown table. The images are those of the built-in data set: speed does not depend on what is in them.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STAGGER = os.path.join(ROOT, "target", "release", "stagger")
CONFIGURATIONS = {
    "BP, 1 stage": ["--schedule", "bp", "--stages", "1"],
    "BP, 2 stages": ["--schedule", "bp", "--stages", "2"],
    "DSP, 2 stages": ["--schedule", "dsp", "--stages", "2"],
}
ONE = "BP, 1 stage"


def start(arguments, folder, flags):
    command = [STAGGER, "train", "--model", arguments.model, "--batch-size", str(arguments.batch_size), "--epochs", "99",
               "--max-batches", str(arguments.batches), "--calibration-batches", "0", "--output", folder, *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process, folder):
    """Images per second after warm-up, busy shares and peak memory in MiB."""
    output, _ = process.communicate()
    if process.returncode != 0:
        sys.exit(f"a run failed:\n{output}")
    line = next(line for line in output.splitlines() if line.startswith("throughput: "))
    rate = float(line.split(" images/s")[0].split()[-1])
    with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    epochs = [record for record in records if record["kind"] == "epoch"]
    busy = [stage["busy_share"] for stage in epochs[-1]["stages"]]
    peak = records[-1]["peak_memory_bytes"] / 2**20
    return rate, busy, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--batches", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=True)

    measured = {name: [] for name in CONFIGURATIONS}
    scaling = []
    with tempfile.TemporaryDirectory() as work:
        for turn in range(arguments.rounds):
            for index, (name, flags) in enumerate(CONFIGURATIONS.items()):
                folder = os.path.join(work, f"{turn}-{index}")
                measured[name].append(finish(start(arguments, folder, flags), folder))
                print(f"round {turn + 1}: {name}: {measured[name][-1][0]:.0f} images/s", file=sys.stderr)
            # What two cores do at best: two independent runs at once.
            folders = [os.path.join(work, f"{turn}-pair-{side}") for side in range(2)]
            pair = [start(arguments, folder, CONFIGURATIONS[ONE]) for folder in folders]
            rates = [finish(process, folder)[0] for process, folder in zip(pair, folders)]
            scaling.append(sum(rates) / measured[ONE][turn][0])

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    print(f"{arguments.model}, batch {arguments.batch_size}, {arguments.batches} batches, median of {arguments.rounds} "
          f"rounds; {cpu()}, {os.cpu_count()} cores; commit {commit.strip()}\n")
    print("| | images/s | times BP on 1 stage (range) | busy share of the stages | peak memory |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, runs in measured.items():
        ratios = [run[0] / one[0] for run, one in zip(runs, measured[ONE])]
        busy = [statistics.median(run[1][stage] for run in runs) for stage in range(len(runs[0][1]))]
        shares = " ".join(f"{100 * share:.1f} %" for share in busy)
        rate, peak = (statistics.median(run[which] for run in runs) for which in (0, 2))
        print(f"| {name} | {rate:.0f} | {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) | {shares} "
              f"| {peak:.0f} MiB |")
    bound = 1.75
    cores = statistics.median(scaling)
    print(f"\nTwo independent runs at once do {cores:.2f} times the work of one ({min(scaling):.2f}–{max(scaling):.2f}): "
          f"with recompute on stage 0, two stages can bring at most {cores / 2:.2f} × {bound} = {cores / 2 * bound:.2f}.")


def cpu():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
