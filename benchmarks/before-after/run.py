#!/usr/bin/env python3
"""Speed and memory of one build of stagger beside another, in turns; standard library only.

    python3 benchmarks/before-after/run.py BEFORE AFTER [--engines burn,cpu] [--models resnet8,resnet20,resnet110] [--rounds 5]

BEFORE and AFTER are two binaries. Within a round every configuration runs once on each, one right after the other; which of
the two comes first changes from round to round. Prints a Markdown table: the median of the ratios within rounds, and their range.
"""

import argparse
import json
import statistics
import subprocess
import sys

SCHEDULES = {"BP": ["--schedule", "bp", "--stages", "1"], "DSP": ["--schedule", "dsp", "--stages", "2"]}
# Batches per run: a few seconds each.
BATCHES = {"resnet8": 40, "resnet20": 24, "resnet110": 8}


def bench(binary, engine, model, schedule, batches, extra):
    batches = str(batches or BATCHES.get(model, 16))
    command = [binary, "bench", "--engine", engine, "--model", model, "--batches", batches, "--warmup", "4", "--json",
               *SCHEDULES[schedule], *extra]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed")
    found = json.loads(result.stdout)
    return found["images_per_second"], found["peak_resident_bytes"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--engines", default="burn,cpu", help="the engine's name in each of the two")
    parser.add_argument("--models", default="resnet8,resnet20,resnet110")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, help="per run, instead of the model's own number: short runs let the two change places "
                        "before the machine's speed has drifted")
    arguments, extra = parser.parse_known_args()
    engines = arguments.engines.split(",")
    builds = [(arguments.before, engines[0]), (arguments.after, engines[-1])]
    cases = [(model, schedule) for model in arguments.models.split(",") for schedule in SCHEDULES]
    found = {case: [] for case in cases}
    for round_number in range(arguments.rounds):
        for case in cases:
            order = [0, 1] if round_number % 2 == 0 else [1, 0]
            measured = {which: bench(*builds[which], *case, arguments.batches, extra) for which in order}
            found[case].append(measured)
            print(case, {which: f"{rate:.1f}" for which, (rate, _) in sorted(measured.items())}, file=sys.stderr)
    print("| | before, images/s | after | after / before (range) | peak memory, before | after | ratio (range) |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (model, schedule), rounds in found.items():
        def median(which, what):
            return statistics.median(measured[which][what] for measured in rounds)

        def ratios(what):
            each = sorted(measured[1][what] / measured[0][what] for measured in rounds)
            return f"{statistics.median(each):.3f} ({each[0]:.3f}–{each[-1]:.3f})"

        mib = [f"{median(which, 1) / 2**20:.0f} MiB" for which in (0, 1)]
        print(f"| {model}, {schedule} | {median(0, 0):.0f} | {median(1, 0):.0f} | {ratios(0)} | {mib[0]} | {mib[1]} | {ratios(1)} |")


main()
