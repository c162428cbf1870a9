#!/usr/bin/env python3
"""Trains on the built-in data set several times, and compares the weights to the bit. Standard library only.

    bits.py --output bits.json [--device cuda:0] [--stages 1 2 3 4] --stagger COMMAND...

Two equal runs must give equal weights, with BP and with DSP; BP must give the same over any number of stages. Exits with 1
when they do not.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import about


def train(arguments, schedule, stages, folder):
    """Trains, and gives the tensors: name to bytes."""
    line = [*arguments.stagger, "train", "--engine", "torch", "--device", arguments.device, "--schedule", schedule, "--stages",
            str(stages), "--max-batches", str(arguments.batches), "--calibration-batches", "0", "--seed", "1", "--output", folder]
    result = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, timeout=300)
    if result.returncode != 0:
        raise RuntimeError(f"{schedule} on {stages} stages failed: {result.stderr.strip()[-2000:]}")
    return tensors(pathlib.Path(folder, "last.safetensors"))


def tensors(path):
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    entries = json.loads(data[8:start])
    entries.pop("__metadata__", None)
    found = {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        found[name] = data[start + begin : start + end]
    return found


def compare(what, one, other):
    names = sorted(one.keys() | other.keys())
    apart = [name for name in names if one.get(name) != other.get(name)]
    print(f"{what}: " + (f"{len(apart)} of {len(names)} tensors differ, {apart[0]} first" if apart else "equal"), flush=True)
    return {"what": what, "equal": not apart, "tensors": len(names), "differ": apart}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--stages", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--stagger", nargs="+", required=True, help="the command that runs it")
    arguments = parser.parse_args()
    found, failed, whole = [], [], None
    for schedule in ("bp", "dsp"):
        for stages in arguments.stages:
            name = f"{schedule.upper()}, {stages} stage{'s' if stages > 1 else ''}"
            try:
                with tempfile.TemporaryDirectory() as work:
                    one, other = (train(arguments, schedule, stages, f"{work}/{turn}") for turn in range(2))
            except (RuntimeError, OSError, ValueError, struct.error, subprocess.TimeoutExpired) as error:
                failed.append(str(error))
                print(error, file=sys.stderr)
                continue
            found.append(compare(f"{name}, twice", one, other))
            if schedule == "bp" and whole is None:
                whole, first = one, stages
            elif schedule == "bp":
                found.append(compare(f"{name} and {first}", whole, one))
    equal = not failed and all(entry["equal"] for entry in found)
    report = {"step": "bits", "about": about.about(arguments.stagger), "device": arguments.device, "batches": arguments.batches,
              "passed": equal, "comparisons": found, "failed": failed}
    pathlib.Path(arguments.output).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
