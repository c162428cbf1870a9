#!/usr/bin/env python3
"""The gradient over all images along runs of DSP: docs/theory.md, measured. Standard library only.

    cargo build -p stagger-runtime --example gradient_norm
    python3 benchmarks/convergence/run.py DIR/fashion-mnist [--jobs 2]
    python3 benchmarks/convergence/report.py

Writes a line per measured version to benchmarks/convergence/results/PART.tsv, part by part, and goes on where it was stopped.
"""

import argparse
import concurrent.futures
import csv
import pathlib
import subprocess

HERE = pathlib.Path(__file__).parent
BINARY = HERE.parent.parent / "target/debug/examples/gradient_norm"
STALENESS = ["0,0,0,0", "3,2,1,0", "6,4,2,0", "24,16,8,0"]
# Momentum and Nesterov's share of it.
OPTIMIZERS = {"sgd": (0, 0), "heavy-ball": (0.9, 0), "nesterov": (0.9, 1)}
SEEDS = [1, 2, 3]
COLUMNS = ["optimizer", "staleness", "rate", "batches", "seed", "version", "loss", "gradient", "bias", "moved", "curvature"]

# The rate of T batches is this over √T, and the lengths T.
SCALES = {"rates": (0.16, [32, 128, 512, 2048]), "large_rates": (0.32, [64, 256, 1024, 4096])}


def at_rates(part, optimizers, more=()):
    """One run for each T, at the rate that belongs to it."""
    scale, lengths = SCALES[part]
    for length in lengths:
        for seed in SEEDS:
            for staleness in STALENESS:
                for optimizer in optimizers:
                    yield optimizer, staleness, scale / length**0.5, length, seed, ["--measurements", "32", *more]


def rates():
    """Centred images in batches of 128: less curvature, less noise."""
    return at_rates("rates", ["sgd", "heavy-ball"], ["--centred", "true", "--batch-size", "128"])


def large_rates():
    return at_rates("large_rates", OPTIMIZERS)


def bias():
    """One rate, and the bias along the run."""
    for seed in SEEDS:
        for staleness in STALENESS:
            for optimizer in ("sgd", "heavy-ball"):
                yield optimizer, staleness, 0.01, 1024, seed, ["--measurements", "16", "--bias", "true"]


def curvature():
    """Rates times updates are the same, so that runs come as far; and the curvature along them."""
    for seed in SEEDS:
        for length in (64, 256, 1024):
            yield "sgd", STALENESS[0], 2.56 / length, length, seed, ["--measurements", "16", "--bias", "true"]


def sweep():
    """Rates up to those at which runs diverge."""
    for seed in SEEDS:
        for doublings in range(8):
            for staleness in STALENESS:
                for optimizer in ("sgd", "heavy-ball"):
                    yield optimizer, staleness, 0.005 * 2**doublings, 512, seed, ["--measurements", "16"]


def run(data_dir, optimizer, staleness, rate, batches, seed, more):
    beta, nesterov = OPTIMIZERS[optimizer]
    flags = {"data-dir": data_dir, "staleness": staleness, "beta": beta, "nesterov": nesterov, "rate": rate, "batches": batches, "seed": seed}
    command = [BINARY, *(word for name, value in flags.items() for word in (f"--{name}", str(value))), *more]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[1:]
    head = [optimizer, staleness, f"{rate:g}", batches, seed]
    return [[*head, *line.split("\t")] for line in found]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=["rates", "large_rates", "bias", "curvature", "sweep"])
    options = parser.parse_args()
    (HERE / "results").mkdir(exist_ok=True)
    for part in options.only:
        path = HERE / "results" / f"{part}.tsv"
        known = set()
        if path.exists():
            with path.open() as file:
                known = {tuple(row[:5]) for row in csv.reader(file, delimiter="\t")}
        else:
            path.write_text("\t".join(COLUMNS) + "\n")
        todo = [plan for plan in globals()[part]() if (plan[0], plan[1], f"{plan[2]:g}", str(plan[3]), str(plan[4])) not in known]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool, path.open("a", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            for done, rows in enumerate(pool.map(lambda plan: run(options.data_dir, *plan), todo), 1):
                writer.writerows(rows)
                file.flush()
                print(f"{part}: {done} of {len(todo)}", end="\r", flush=True)
        print()


if __name__ == "__main__":
    main()
