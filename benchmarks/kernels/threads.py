#!/usr/bin/env python3
"""What several threads bring a stage of engine cpu, in turns: one stage on one thread and on several, and as many stages of DSP.

    threads.py --stagger ../../target/release/stagger [--before OTHER] [--threads 2] [--models resnet20 resnet110] [--rounds 5]

`--before` names another build, whose one thread is measured beside. Prints a table of medians with their ranges, and ratios within rounds.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stagger", required=True)
    parser.add_argument("--before")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet110"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=128)
    return parser.parse_args()


def variants(options):
    one = ("--schedule", "bp", "--stages", "1")
    found = {}
    if options.before:
        found["1 stage, 1 thread, the build before"] = (options.before, one)
    found["1 stage, 1 thread"] = (options.stagger, one)
    found[f"1 stage, {options.threads} threads"] = (options.stagger, (*one, "--threads-per-stage", str(options.threads)))
    found[f"DSP, {options.threads} stages of 1 thread"] = (options.stagger, ("--schedule", "dsp", "--stages", str(options.threads)))
    return found


def rate(program, model, flags, options):
    command = [program, "bench", "--model", model, "--batch-size", str(options.batch_size), "--batches", str(options.batches),
               "--warmup", "4", "--json", *flags]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["images_per_second"]


def main():
    options = parse()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        processor = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    print(f"{datetime.date.today()}, {processor}, {os.cpu_count()} cores; commit {commit}; batch {options.batch_size}, "
          f"median of {options.rounds} rounds; load {os.getloadavg()[0]:.1f} before the start\n")
    for model in options.models:
        chosen = variants(options)
        found = {name: [] for name in chosen}
        for turn in range(options.rounds):
            for name in list(chosen)[:: 1 if turn % 2 == 0 else -1]:
                program, flags = chosen[name]
                found[name].append(rate(program, model, flags, options))
        base = found["1 stage, 1 thread"]
        print(f"| {model} | images/s (range) | times one thread (range) |\n| --- | ---: | ---: |")
        for name, rates in found.items():
            ratios = [own / other for own, other in zip(rates, base)]
            print(f"| {name} | {statistics.median(rates):.0f} ({min(rates):.0f}–{max(rates):.0f}) "
                  f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) |")
        print()


if __name__ == "__main__":
    main()
