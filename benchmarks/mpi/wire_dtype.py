#!/usr/bin/env python3
"""What `--wire-dtype bf16` does to accuracy, and to the traffic; standard library only.

    python3 benchmarks/mpi/wire_dtype.py STAGGER [--model resnet8] [--schedules dsp,bp] [--stages 2] [--epochs 4] [--seeds 1,2,3]

Every run trains on the built-in data set with all messages through the wire format (`--transport bytes`), once in f32 and once in
bf16 from the same initial weights and in the same order of samples. Prints a Markdown table: the loss of the last epoch and the last test
accuracy, the mean over the seeds and the range of the differences.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile


def run(stagger, arguments, schedule, seed, dtype):
    """Loss of the last epoch and its test accuracy in percent."""
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "run")
        command = [stagger, "train", "--model", arguments.model, "--schedule", schedule, "--stages", str(arguments.stages),
                   "--epochs", str(arguments.epochs), "--seed", str(seed), "--transport", "bytes", "--wire-dtype", dtype,
                   "--calibration-batches", "0", "--keep-snapshots", "0", "--output", output]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if result.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
        with open(os.path.join(output, "metrics.jsonl")) as metrics:
            records = [json.loads(line) for line in metrics]
    epochs = [record for record in records if record.get("kind") == "epoch"]
    last = epochs[-1]
    return last["train_loss"], last["test_top1"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("stagger")
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--schedules", default="dsp,bp")
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", default="1,2,3")
    arguments = parser.parse_args()
    print("| | loss, f32 | loss, bf16 | test accuracy, f32 | test accuracy, bf16 | difference (range) |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for schedule in arguments.schedules.split(","):
        found = {"f32": [], "bf16": []}
        for seed in arguments.seeds.split(","):
            for dtype, results in found.items():
                results.append(run(arguments.stagger, arguments, schedule, seed, dtype))
                print(schedule, seed, dtype, results[-1], file=sys.stderr)
        loss, top1 = ({dtype: [result[at] for result in results] for dtype, results in found.items()} for at in (0, 1))
        differences = sorted(there - here for here, there in zip(top1["f32"], top1["bf16"]))
        mean = statistics.mean
        print(f"| {arguments.model}, {schedule} | {mean(loss['f32']):.4f} | {mean(loss['bf16']):.4f} "
              f"| {mean(top1['f32']):.2f} % | {mean(top1['bf16']):.2f} % "
              f"| {mean(differences):+.2f} ({differences[0]:+.2f} to {differences[-1]:+.2f}) |")


main()
