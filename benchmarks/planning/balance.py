#!/usr/bin/env python3
"""Speed with the cut of a profile beside those of an estimate and of equal numbers of blocks; standard library only.

    python3 benchmarks/planning/balance.py STAGGER [--models resnet20,resnet110] [--schedules dsp,bp] [--stages 2] [--rounds 7]
        [--batch-size 128] [--output balance.tsv] [-- FLAGS…]

STAGGER is a release build. For every model and schedule it measures a profile, and asks by runs of one batch which cut each balance
gives. Within a round every different cut runs once, and the order is reversed from round to round. Prints tab-separated values; what
follows `--` goes to every command.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

BALANCES = ["uniform", "auto", "profile"]
# Batches per run: some seconds each on two cores.
BATCHES = {"resnet20": 24, "resnet110": 8}


def run(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed")
    return result.stdout


def bench(stagger, case, balance, batches, warmup):
    command = [stagger, "bench", *case, "--balance", balance, "--batches", str(batches), "--warmup", str(warmup), "--json"]
    return json.loads(run(command))


def expected(profile, cut, recomputes):
    """Images per second of the slowest stage by the medians of its blocks."""
    device = profile["devices"][0]

    def middle(time):
        return statistics.median(time) if isinstance(time, list) else time

    slowest, start = 0.0, 0
    for stage, size in enumerate(cut):
        passes = ["recompute", "backward", "update"] + (["forward"] if recomputes[stage] else [])
        seconds = sum(middle(device[name][block]) for name in passes for block in range(start, start + size))
        slowest, start = max(slowest, seconds), start + size
    return profile["samples"] / slowest


def compare(arguments, model, schedule, folder):
    case = ["--model", model, "--schedule", schedule, "--stages", str(arguments.stages), "-b", str(arguments.batch_size),
            *arguments.flags]
    path = os.path.join(folder, f"{model}-{schedule}.json")
    run([arguments.stagger, "profile", *case, "--output", path, "--rounds", str(arguments.profile_rounds)])
    with open(path) as file:
        profile = json.load(file)
    cuts = {}
    for balance in BALANCES:
        first = bench(arguments.stagger, case, path if balance == "profile" else balance, 1, 0)
        cuts[balance] = ",".join(map(str, first["cut"]))
        recomputes = [account["recompute_seconds"] > 0 for account in first["accounting"]]
    different = list(dict.fromkeys(cuts.values()))
    rates = {cut: [] for cut in different}
    for number in range(arguments.rounds):
        for cut in different if number % 2 == 0 else reversed(different):
            found = bench(arguments.stagger, case, cut, arguments.batches or BATCHES.get(model, 16), 4)
            rates[cut].append(found["images_per_second"])
        print(model, schedule, {cut: f"{rate[-1]:.1f}" for cut, rate in rates.items()}, file=sys.stderr)
    for balance, cut in cuts.items():
        ratios = [own / auto for own, auto in zip(rates[cut], rates[cuts["auto"]])]
        yield [model, schedule, arguments.stages, balance, cut,
               f"{expected(profile, list(map(int, cut.split(','))), recomputes):.1f}",
               f"{statistics.median(rates[cut]):.1f}",
               f"{statistics.median(ratios):.3f}", f"{min(ratios):.3f}", f"{max(ratios):.3f}", len(ratios)]


def main():
    words, flags = sys.argv[1:], []
    if "--" in words:
        words, flags = words[:words.index("--")], words[words.index("--") + 1:]
    parser = argparse.ArgumentParser()
    parser.add_argument("stagger")
    parser.add_argument("--models", default="resnet20,resnet110")
    parser.add_argument("--schedules", default="dsp,bp")
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile-rounds", type=int, default=12)
    parser.add_argument("--batches", type=int, help="per run, instead of the model's own number")
    parser.add_argument("--output", help="also write the table there")
    arguments = parser.parse_args(words)
    arguments.flags = flags
    rows = [["model", "schedule", "stages", "balance", "blocks", "images/s if no stage waits", "images/s", "ratio to auto", "least", "most",
             "rounds"]]
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models.split(","):
            for schedule in arguments.schedules.split(","):
                rows.extend(compare(arguments, model, schedule, folder))
    table = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    print(table, end="")
    if arguments.output:
        with open(arguments.output, "x") as file:
            file.write(table)


main()
