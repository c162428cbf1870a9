#!/usr/bin/env python3
"""One process beside several on the same machine, in turns; standard library only.

    python3 benchmarks/mpi/run.py STAGGER [--models resnet20,resnet110] [--schedules bp,dsp] [--stages 2] [--rounds 5]

STAGGER is a binary with feature `mpi`. Every round trains a few batches with stages as threads of one process, then with one
process per stage under `mpirun`; which of the two comes first changes from round to round. The first four batches, and the last ones,
while the pipeline drains, are not timed. Prints a Markdown table: the median of the ratios within rounds, and their range; and the part
of a core that the thread which calls MPI takes in each rank, start and end included.
"""

import argparse
import os
import statistics
import sys
import threading
import time

from training import Failed, steady, words

BATCHES = {"resnet8": 120, "resnet20": 60, "resnet110": 24}


class MpiThreads:
    """Processor time of the threads called `mpi` of all processes whose program is `stagger`, while this is open."""

    def __init__(self, stagger):
        self.stagger = os.path.realpath(stagger)
        self.seconds = {}
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def __enter__(self):
        self.began = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.wall = time.monotonic() - self.began
        self.is_over.set()
        self.thread.join()

    def look(self):
        while not self.is_over.wait(0.2):
            for process in filter(str.isdigit, os.listdir("/proc")):
                try:
                    if os.readlink(f"/proc/{process}/exe") == self.stagger:
                        for task in os.listdir(f"/proc/{process}/task"):
                            self.add(f"/proc/{process}/task/{task}/stat")
                except OSError:
                    pass  # It has ended.

    def add(self, path):
        with open(path) as file:
            name, _, fields = file.read().partition("(")[2].rpartition(") ")
        if name == "mpi":
            self.seconds[path] = sum(map(int, fields.split()[11:13])) / os.sysconf("SC_CLK_TCK")

    def cores(self, ranks):
        """Of a rank."""
        return sum(self.seconds.values()) / ranks / self.wall


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
            rates = {}
            for name, command in ways if number % 2 == 0 else ways[::-1]:
                with MpiThreads(arguments.stagger) as threads:
                    try:
                        rates[name], _ = steady(command, 4, 2 * arguments.stages, limit_s=1800)
                    except Failed as failure:
                        sys.exit(str(failure))
                if name == "mpi":
                    rates["cores"] = threads.cores(arguments.stages)
            found[model, schedule].append(rates)
            print(model, schedule, rates, file=sys.stderr)
    print("| | threads, images/s | mpi, images/s | mpi / threads (range) | the thread of MPI, of a core |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for (model, schedule), rounds in found.items():
        median = {name: statistics.median(rates[name] for rates in rounds) for name in ("threads", "mpi", "cores")}
        ratios = sorted(rates["mpi"] / rates["threads"] for rates in rounds)
        print(f"| {model}, {schedule} | {median['threads']:.0f} | {median['mpi']:.0f} "
              f"| {statistics.median(ratios):.3f} ({ratios[0]:.3f}–{ratios[-1]:.3f}) | {median['cores']:.3f} |")


main()
