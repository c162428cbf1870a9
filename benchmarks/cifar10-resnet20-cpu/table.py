#!/usr/bin/env python3
"""Final and best test accuracy of the runs of accuracy.sh, as a markdown table, and their curves as CSV.

    python3 benchmarks/cifar10-resnet20-cpu/table.py RUNS_DIR [CURVES.csv]
"""

import json
import pathlib
import re
import statistics
import sys


def read(folder):
    """The facts of a run, and its epoch records."""
    facts, epochs, ended = {}, [], False
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["kind"] == "run":
            facts = record["facts"]
        elif record["kind"] == "epoch":
            epochs.append(record)
        elif record["kind"] == "end":
            ended = record["error"] is None and not record["interrupted"]
    return facts, epochs, ended


def main():
    folder = pathlib.Path(sys.argv[1])
    runs = {}
    curves = ["run,seed,epoch,train_loss,train_top1,test_top1"]
    for path in sorted(folder.glob("*-seed*")):
        name, seed = re.fullmatch(r"(.+)-seed(\d+)", path.name).groups()
        facts, epochs, ended = read(path)
        if not ended:
            print(f"{path.name} has not ended; left out", file=sys.stderr)
            continue
        runs.setdefault(name, []).append((facts, epochs))
        curves += [
            f"{name},{seed},{e['epoch']},{e['train_loss']:.4f},{e['train_top1']:.2f},{e['test_top1']:.2f}" for e in epochs
        ]
    if not runs:
        sys.exit(f"no run in {folder} has ended; run accuracy.sh first")
    print("| | staleness | seeds | final test accuracy | mean | difference to BP | last training loss |")
    print("| --- | --- | ---: | --- | ---: | ---: | ---: |")
    means = {name: statistics.mean(e[-1]["test_top1"] for _, e in each) for name, each in runs.items()}
    for name, each in runs.items():
        finals = ", ".join(f"{epochs[-1]['test_top1']:.2f}" for _, epochs in each)
        facts, epochs = each[0]
        staleness = " ".join(f"{stage['staleness_max']}" for stage in epochs[-1]["stages"])
        loss = statistics.mean(e[-1]["train_loss"] for _, e in each)
        difference = f"{means[name] - means['bp']:+.2f}" if "bp" in means else "–"
        print(
            f"| `{facts['schedule']}`, {facts['stages']} stages, {facts['dtype']} | {staleness} | {len(each)} | {finals} % "
            f"| {means[name]:.2f} % | {difference} | {loss:.3f} |"
        )
    if len(sys.argv) > 2:
        pathlib.Path(sys.argv[2]).write_text("\n".join(curves) + "\n")


if __name__ == "__main__":
    main()
