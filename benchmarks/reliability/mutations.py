#!/usr/bin/env python3
"""Damages files of a run folder in every way, resumes the run, and looks at what comes of it.

    benchmarks/reliability/mutations.py [--stagger COMMAND] [--mutations 5000] [--seed N] [--output FILE]

A mutation is one or several flipped bits, a file that is cut, longer, empty, gone, partly zero, with a part twice, or the file of
another snapshot or another run in its place. The run that is resumed has to end with the weights and metrics of the run that was
never damaged, or to be refused in one sentence; what ends well with other numbers is silent damage. Needs Python 3.9.
"""

import argparse
import platform
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runs import numbers, write_data

# What the runs are, and what is different in the runs whose files are put in the place of theirs.
RUNS = [
    "--schedule dsp --stages 2 --lr 0.02",
    "--schedule pipedream --stages 2 --lr 0.02 --optimizer adamw",
    "--schedule dsp --stages 3 --lr 300 --on-nan rollback --lr-schedule constant --warmup-batches 0",
]
OTHERS = ["--seed 7", "--lr 0.05", ""]


def files(run):
    return sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file())


def mutate(draw, run, others):
    """Damages one file, and says how."""
    name = draw.choice(files(run))
    path = run / name
    data = bytearray(path.read_bytes())
    how = draw.choice(["bit", "bit", "bit", "bits", "cut", "longer", "empty", "gone", "zeros", "twice", "snapshot", "run"])
    if not data and how in ("bit", "bits", "cut", "zeros", "twice"):
        how = "longer"
    place = draw.randrange(max(len(data), 1))
    # Half of the damage is where the text is, at the beginning of a large file.
    if draw.random() < 0.5:
        place = min(place, draw.randrange(2000))
    if how == "bit":
        data[place] ^= 1 << draw.randrange(8)
    elif how == "bits":
        for _ in range(draw.randrange(2, 9)):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif how == "cut":
        del data[place:]
    elif how == "longer":
        data += bytes(draw.randrange(256) for _ in range(draw.randrange(1, 100)))
    elif how == "empty":
        data.clear()
    elif how == "zeros":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    elif how == "twice":
        data[place:place] = data[place : place + draw.randrange(1, 200)]
    elif how == "snapshot":
        same = [other for other in files(run) if other.name == name.name and other != name]
        if not same:
            return mutate(draw, run, others)
        data = bytearray((run / draw.choice(same)).read_bytes())
    elif how == "run":
        source = draw.choice(others) / name
        if not source.exists():
            return mutate(draw, run, others)
        data = bytearray(source.read_bytes())
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(data)
    return how, "snapshots/*/" + name.name if name.parts[0] == "snapshots" else str(name)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stagger", default="target/release/stagger", help="the command that runs it")
    arguments.add_argument("--mutations", type=int, default=5000)
    arguments.add_argument("--seed", type=int, default=int(time.time()))
    arguments.add_argument("--keep", type=Path, help="a folder for the runs that were damaged silently")
    arguments.add_argument("--output", type=Path)
    arguments = arguments.parse_args()
    stagger = shlex.split(arguments.stagger)
    stagger[0] = str(Path(shutil.which(stagger[0]) or stagger[0]).resolve())
    outcomes, silent = Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder / "data")

        def call(*words):
            return subprocess.run([*stagger, *words], cwd=folder, capture_output=True, timeout=120)

        def train(flags, name):
            common = (
                f"train --dataset cifar10 --data-dir data --batch-size 8 --epochs 5 --snapshot-every 2 --keep-snapshots 4 "
                f"--calibration-batches 0 --output {name} {flags}"
            )
            done = call(*common.split())
            if done.returncode != 0:
                sys.exit(done.stderr.decode())
            # As it would be if the process had been killed before its last snapshot.
            shutil.rmtree(folder / name / "snapshots" / "v00000015")

        series = []
        for number, flags in enumerate(RUNS):
            train(flags, f"run-{number}")
            others = []
            for other, more in enumerate(OTHERS):
                others.append(folder / f"other-{number}-{other}")
                train(f"{without(flags, more)} {more}", others[-1].name)
            whole = folder / f"whole-{number}"
            shutil.copytree(folder / f"run-{number}", whole)
            if call("train", "--resume", whole.name).returncode != 0:
                sys.exit(f"an undamaged run does not go on: {flags}")
            series.append((folder / f"run-{number}", others, numbers(whole)))

        def one(index):
            draw = random.Random(f"{arguments.seed} {index}")
            run, others, expected = series[index % len(series)]
            copy = folder / f"damaged-{index}"
            shutil.copytree(run, copy)
            how, name = mutate(draw, copy, others)
            try:
                done = call("train", "--resume", copy.name)
            except subprocess.TimeoutExpired:
                return index, how, name, "HANGS", copy
            sentence = done.stderr.decode(errors="replace")
            if done.returncode in (1, 2) and sentence.count("\n") == 1 and sentence.startswith("error: "):
                outcome = "refused"
            elif done.returncode != 0:
                outcome = f"STATUS {done.returncode}"
            elif numbers(copy) != expected:
                outcome = "SILENT"
            elif b" is left out: " in done.stdout or b"written anew" in done.stdout:
                outcome = "repaired"
            else:
                outcome = "no effect"
            return index, how, name, outcome, copy

        with ThreadPoolExecutor(2) as pool:
            for index, how, name, outcome, copy in pool.map(one, range(arguments.mutations)):
                outcomes[name, outcome] += 1
                if outcome.isupper() or outcome.startswith("STATUS"):
                    silent.append((index, how, name, outcome))
                    print(*silent[-1], sep="\t", flush=True)
                    if arguments.keep:
                        shutil.copytree(copy, arguments.keep / copy.name)
                shutil.rmtree(copy)
                if (index + 1) % 500 == 0:
                    print(f"{index + 1} mutations, {len(silent)} silent", flush=True)
    kinds = ["repaired", "refused", "no effect"]
    head = (
        f"{time.strftime('%Y-%m-%d')}, {platform.node()}, seed {arguments.seed}: {arguments.mutations} mutations, "
        f"{len(silent)} silent, hanging or without a sentence"
    )
    lines = [head, "\t".join(["file", *kinds])]
    for name in sorted({name for name, _ in outcomes}):
        lines.append("\t".join([name, *(str(outcomes[name, kind]) for kind in kinds)]))
    print("\n".join(lines))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")
    sys.exit(bool(silent))


def without(flags, more):
    """Flags of which some are given anew."""
    words = flags.split()
    for name in more.split()[::2]:
        if name in words:
            at = words.index(name)
            del words[at : at + 2]
    return " ".join(words)


main()
