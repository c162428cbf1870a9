#!/usr/bin/env python3
"""One process beside several on the same machine, in turns; standard library only.

    python3 benchmarks/mpi/run.py STAGGER [--models resnet20,resnet110] [--schedules bp,dsp] [--stages 2] [--rounds 5]

STAGGER is a binary with feature `mpi`. Every round trains a few batches with stages as threads of one process, then with one
process per stage under `mpirun`; which of the two comes first changes from round to round. Prints a Markdown table: the median of
the ratios within rounds, and their range.
"""

import argparse
import statistics
import sys

from training import throughput, words

BATCHES = {"resnet8": 120, "resnet20": 60, "resnet110": 24}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("stagger")
    parser.add_argument("--models", default="resnet20,resnet110")
    parser.add_argument("--schedules", default="bp,dsp")
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments, extra = parser.parse_known_args()
    launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(arguments.stages)]
    cases = [(model, schedule) for model in arguments.models.split(",") for schedule in arguments.schedules.split(",")]
    found = {case: [] for case in cases}
    for number in range(arguments.rounds):
        for model, schedule in cases:
            extra_words = ["--stages", str(arguments.stages), *extra]
            train = words(arguments.stagger, model, schedule, BATCHES.get(model, 32), extra_words)
            ways = [("threads", train), ("mpi", launcher + train)]
            rates = {name: throughput(command) for name, command in (ways if number % 2 == 0 else ways[::-1])}
            found[model, schedule].append(rates)
            print(model, schedule, rates, file=sys.stderr)
    print("| | threads, images/s | mpi, images/s | mpi / threads (range) |")
    print("| --- | ---: | ---: | ---: |")
    for (model, schedule), rounds in found.items():
        median = {name: statistics.median(rates[name] for rates in rounds) for name in ("threads", "mpi")}
        ratios = sorted(rates["mpi"] / rates["threads"] for rates in rounds)
        print(f"| {model}, {schedule} | {median['threads']:.0f} | {median['mpi']:.0f} "
              f"| {statistics.median(ratios):.3f} ({ratios[0]:.3f}–{ratios[-1]:.3f}) |")


main()
