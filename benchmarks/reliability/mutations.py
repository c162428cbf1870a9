#!/usr/bin/env python3
"""Damages files of a run folder in every way, resumes the run, and looks at what comes of it.

    benchmarks/reliability/mutations.py [--stagger COMMAND] [--mutations 5000] [--seed N] [--runs NAME ...] [--output FILE]

A mutation, or two at once, is one or several flipped bits, a file that is cut, longer, empty, gone, partly zero, with a part twice, or the file of
another snapshot or another run in its place. The run that is resumed has to end with the weights and metrics of the run that was
never damaged, or to be refused in one sentence; what ends well with other numbers is silent damage. Runs over MPI need a build with
the feature `mpi`, and `mpirun` of Open MPI. Needs Python 3.9.
"""

import argparse
import os
import platform
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runs import numbers, write_data

# What the runs are; the second is how many processes each has.
DIVERGES = "--lr 3000 --winograd false --on-nan rollback --lr-schedule constant --warmup-batches 0"
RUNS = {
    "dsp": (1, "--schedule dsp --stages 2 --lr 0.02"),
    "pipedream": (1, "--schedule pipedream --stages 2 --lr 0.02 --optimizer adamw"),
    "rollback": (1, f"--schedule dsp --stages 3 {DIVERGES}"),
    "replicas": (1, "--schedule dsp --stages 2 --replicas 2 --lr 0.02"),
    "replicas-2,1": (1, "--schedule pipedream --stages 2 --replicas 2,1 --lr 0.02"),
    "replicas-rollback": (1, f"--schedule dsp --stages 2 --replicas 2,1 {DIVERGES}"),
    "average": (1, "--schedule dsp --stages 2 --lr 0.02 --ema 0.8 --mixup 0.4 --cutmix 1"),
    "average-rollback": (1, f"--schedule dsp --stages 2 --ema 0.8 --mixup 0.4 {DIVERGES}"),
    "mpi": (2, "--schedule dsp --stages 2 --lr 0.02"),
    "mpi-rollback": (2, f"--schedule dsp --stages 2 {DIVERGES}"),
    "mpi-replicas": (2, "--schedule dsp --stages 2 --replicas 2,1 --lr 0.02 --ema 0.8 --mixup 0.4"),
}
# What may come of a mutation.
KINDS = ["repaired", "refused", "told", "no effect"]
NOT_BEST = "to write it anew\n"
# A run of mutations is what is there for one process, unless it asks for others.
ALONE = [name for name, (ranks, _) in RUNS.items() if ranks == 1]
MPIRUN = "mpirun --oversubscribe --bind-to none --allow-run-as-root -n"
# Seconds after which a run counts as one that hangs.
HANGS = 120
# What is different in the runs whose files are put in the place of theirs.
OTHERS = ["--seed 7", "--lr 0.05", ""]


def files(run):
    return sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file())


def drawn_file(draw, run):
    """A file of a run: one outside of its snapshots, one of the two newest of these, or any."""
    names, part = files(run), draw.random()
    snapshots = sorted({name.parts[1] for name in names if name.parts[0] == "snapshots"})
    if part < 0.4:
        names = [name for name in names if name.parts[0] != "snapshots"]
    elif part < 0.8:
        names = [name for name in names if name.parts[0] == "snapshots" and name.parts[1] in snapshots[-2:]]
    return draw.choice(names)


def mutate(draw, run, others):
    """Damages one file, and says how."""
    name = drawn_file(draw, run)
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


def command(stagger, ranks):
    """What starts stagger in so many processes."""
    return stagger if ranks == 1 else [*MPIRUN.split(), str(ranks), *stagger]


def errors(stderr):
    """What stagger has said of errors, without what mpirun adds: paragraphs between lines of dashes, and its own lines."""
    lines, is_said = [], True
    for line in stderr.splitlines():
        if len(line) > 40 and not line.strip("-"):
            is_said = not is_said
        elif is_said and line and not line.startswith("["):
            lines.append(line)
    return lines


def left_behind(mark):
    """Processes that have this in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if mark.encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
            except OSError:
                pass
    return found


def start(words, folder):
    """Starts a command. Gives its process, and what all processes of it have in their environment."""
    mark = f"STAGGER_MUTATION={folder.name}-{words[-1]}-{time.monotonic_ns()}"
    name, _, value = mark.partition("=")
    # docs/processes.md, "What goes wrong": mpirun may hang where a rank ends early.
    environment = {**os.environ, name: value, "PMIX_MCA_gds": "hash"}
    child = subprocess.Popen(
        words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    return child, mark


def kill_all(processes):
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass


def call(words, folder):
    """Runs a command to its end. Gives its status (None where it hangs), what it has said, and whether a process is left of it."""
    child, mark = start(words, folder)
    try:
        stdout, stderr = child.communicate(timeout=HANGS)
        status = child.returncode
    except subprocess.TimeoutExpired:
        status, stdout, stderr = None, b"", b""
    until = time.monotonic() + 5
    left = left_behind(mark)
    while left and status is not None and time.monotonic() < until:
        time.sleep(0.05)
        left = left_behind(mark)
    kill_all(left)
    if status is None:
        child.communicate()
    return status, stdout.decode(errors="replace"), stderr.decode(errors="replace"), bool(left)


def call_and_kill(words, folder, run, changes):
    """Runs a command, and kills it when its snapshots have changed so often. Gives whether it had trained by then."""
    child, mark = start(words, folder)
    seen = None
    while changes > 0 and child.poll() is None:
        try:
            now = sorted(os.listdir(run / "snapshots")), (run / "rollback.json").exists() and (run / "rollback.json").read_bytes()
        except OSError:
            now = seen
        changes, seen = changes - (now != seen), now
    was_alive = child.poll() is None
    kill_all(left_behind(mark))
    child.communicate()
    kill_all(left_behind(mark))
    return was_alive and changes == 0


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stagger", default="target/release/stagger", help="the command that runs it")
    arguments.add_argument("--mutations", type=int, default=5000)
    arguments.add_argument("--seed", type=int, default=int(time.time()))
    arguments.add_argument("--runs", nargs="+", choices=RUNS, default=ALONE, help="those of one process by default")
    arguments.add_argument("--killed", type=int, default=3, help="runs of each that are damaged where they were killed")
    arguments.add_argument("--keep", type=Path, help="a folder for the runs that were damaged silently")
    arguments.add_argument("--output", type=Path)
    arguments = arguments.parse_args()
    stagger = shlex.split(arguments.stagger)
    stagger[0] = str(Path(shutil.which(stagger[0]) or stagger[0]).resolve())
    outcomes, silent = Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder / "data")

        def stagger_on(ranks, *words):
            return call([*command(stagger, ranks), *words], folder)

        def words(flags, name):
            common = (
                f"train --dataset cifar10 --data-dir data --batch-size 8 --epochs 5 --snapshot-every 2 --keep-snapshots 4 "
                f"--calibration-batches 0 --output {name} {flags}"
            )
            return common.split()

        def train(ranks, flags, name):
            status, _, said, _ = stagger_on(ranks, *words(flags, name))
            if status != 0:
                sys.exit(f"{flags}: {said}")
            # As it would be if the process had been killed before its last snapshot.
            shutil.rmtree(folder / name / "snapshots" / "v00000015")

        series = []
        for which in arguments.runs:
            ranks, flags = RUNS[which]
            train(ranks, flags, f"run-{which}")
            if "rollback" in flags and not (folder / f"run-{which}" / "rollback.json").exists():
                sys.exit(f"a run that was to roll back did not: {flags}")
            others = []
            for other, more in enumerate(OTHERS):
                others.append(folder / f"other-{which}-{other}")
                train(ranks, f"{without(flags, more)} {more}", others[-1].name)
            runs = [folder / f"run-{which}"]
            for killed in range(arguments.killed):
                run = folder / f"killed-{which}-{killed}"
                changes = random.Random(f"{arguments.seed} {run.name}").randrange(2, 25)
                if call_and_kill([*command(stagger, ranks), *words(flags, run.name)], folder, run, changes):
                    runs.append(run)
            expected = None
            for run in runs:
                whole = folder / f"whole-{run.name}"
                shutil.copytree(run, whole)
                status, _, said, _ = stagger_on(ranks, "train", "--resume", whole.name)
                if status != 0 or numbers(whole) != (expected or numbers(whole)):
                    sys.exit(f"an undamaged run does not go on as it was: {flags}: {said}")
                expected = expected or numbers(whole)
            series.append((which, runs, others, expected))

        def one(index):
            draw = random.Random(f"{arguments.seed} {index}")
            which, runs, others, expected = series[index % len(series)]
            run = draw.choice(runs)
            copy = folder / f"damaged-{index}"
            shutil.copytree(run, copy)
            how, name = mutate(draw, copy, others)
            if draw.random() < 0.2:
                # Two at once: it is the file of the first that is counted.
                how = f"{how}, {' of '.join(mutate(draw, copy, others))}"
            status, stdout, stderr, is_left = stagger_on(RUNS[which][0], "train", "--resume", copy.name)
            said = errors(stderr)
            if status is None:
                outcome = "HANGS"
            elif is_left:
                outcome = "ORPHAN"
            elif status in (1, 2) and len(said) == 1 and said[0].startswith("error: ") and "panic" not in said[0]:
                outcome = "refused"
            elif status != 0:
                outcome = f"STATUS {status}: {' / '.join(said)}"
            elif numbers(copy) != expected:
                # The best weights and the snapshot of their version are damaged.
                is_told = NOT_BEST in stdout and numbers(copy) == [*expected[:1], None, *expected[2:]]
                outcome = "told" if is_told else "SILENT"
            elif " is left out: " in stdout or "written anew" in stdout:
                outcome = "repaired"
            else:
                outcome = "no effect"
            return index, which, how, name, outcome, copy

        with ThreadPoolExecutor(2) as pool:
            for index, which, how, name, outcome, copy in pool.map(one, range(arguments.mutations)):
                outcomes[which, name, outcome] += 1
                if outcome not in KINDS:
                    silent.append((index, which, how, name, outcome))
                    print(*silent[-1], sep="\t", flush=True)
                    if arguments.keep:
                        shutil.copytree(copy, arguments.keep / copy.name)
                shutil.rmtree(copy)
                if (index + 1) % 500 == 0:
                    print(f"{index + 1} mutations, {len(silent)} silent", flush=True)
    head = (
        f"{time.strftime('%Y-%m-%d')}, {platform.node()}, seed {arguments.seed}: {arguments.mutations} mutations, "
        f"{len(silent)} silent, hanging or without a sentence"
    )
    lines = [head, "\t".join(["run", "file", *KINDS])]
    for which, name in sorted({(which, name) for which, name, _ in outcomes}):
        lines.append("\t".join([which, name, *(str(outcomes[which, name, kind]) for kind in KINDS)]))
    for kind in KINDS:
        lines.append(f"{kind}: {sum(count for (_, _, found), count in outcomes.items() if found == kind)}")
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
