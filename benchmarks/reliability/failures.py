#!/usr/bin/env python3
"""Lets training fail every few seconds, in every way, over a table of methods and settings, and compares the ends to the bit.

    benchmarks/reliability/failures.py --output FILE [--stagger COMMAND] [--failures 2000] [--minutes N] [--seed N] [--mtbf 3]

Every series is one run that is started again with `--resume auto` until it is done, and a run of the same settings that never
failed. A failure is SIGKILL, SIGSTOP and later SIGKILL, SIGTERM, a limit on the size of files (SIGXFSZ), a full disk (ENOSPC), or an
error of a single call (EIO); the last two by shim.c, which needs a C compiler. Weights must be equal to the byte, and metrics in
everything that does not measure time; a process that runs on after its time hangs, and one that is left behind is an orphan. Series
are appended to FILE as they end, and those that are there are not run again. Needs Python 3.9 and Linux.
"""

import argparse
import os
import platform
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runs import is_being_written, numbers, write_data

METHODS = [
    ("bp", 1), ("bp", 3), ("gpipe(4)", 2), ("1f1b(2)", 3), ("pipedream", 2), ("pipedream", 4), ("2bw(4)", 3), ("pipemare", 3),
    ("ddg", 3), ("fr", 3), ("fdg", 2), ("adl(2)", 3), ("dni", 2), ("dsp", 2), ("dsp", 3), ("dsp", 5),
]  # fmt: skip
MITIGATIONS = ["", "+accumulate(2)", "+predict", "+shrink", "+gap-aware", "+look-ahead"]
SETTINGS = [
    "--optimizer momentum --snapshot-every 5",
    "--optimizer sgd --snapshot-every 3 --keep-snapshots 1",
    "--optimizer adamw --snapshot-every 0.2s --lr 0.002",
    "--optimizer momentum --snapshot-every 4 --on-nan rollback --lr 30 --lr-schedule constant --warmup-batches 0",
]
KINDS = ["kill", "kill", "kill", "kill while writing", "stop", "term", "file size", "full", "error"]
# Seconds without a line in its log after which a run counts as one that hangs. On a busy disk a snapshot takes seconds.
HANGS = 120
FILES = ["metrics.jsonl", "run.log", "manifest", "stage-0", "last.safetensors", "best.safetensors"]


def silent_for(run):
    """Seconds since the run's last line of its log."""
    try:
        return time.time() - (run / "run.log").stat().st_mtime
    except OSError:
        return 1e9


def fail(draw, kind, command, run, mtbf, shim):
    """Starts the run and lets it fail. Gives whether it failed, or why that was not as it should be."""
    delay, environment, limit = draw.uniform(0.05, 2 * mtbf), dict(os.environ), None
    if kind in ("full", "error"):
        call, what = draw.choice(["write", "sync"]), "ENOSPC" if kind == "full" else "EIO"
        times = 0 if kind == "full" else 1
        environment["LD_PRELOAD"] = str(shim)
        environment["STAGGER_SHIM"] = f"{call}:{draw.choice(FILES)}:{draw.randrange(12)}:{times}:{what}"
    if kind == "file size":
        limit = draw.choice([2_000, 20_000, 200_000, 400_000])
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, start_new_session=True,
        preexec_fn=limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))),
    )  # fmt: skip
    began = time.monotonic()
    while child.poll() is None:
        if kind == "kill while writing" and time.monotonic() - began > delay / 4 and is_being_written(run):
            break
        if kind in ("full", "error", "file size"):
            if min(time.monotonic() - began, silent_for(run)) > HANGS:
                break
        elif time.monotonic() - began > delay:
            break
        time.sleep(0.001)
    if child.poll() is None:
        if kind == "stop":
            os.killpg(child.pid, signal.SIGSTOP)
            time.sleep(0.3)
        if kind in ("full", "error", "file size"):
            os.killpg(child.pid, signal.SIGKILL)
            return f"HANGS ({kind} {environment.get('STAGGER_SHIM', limit)})"
        child.send_signal(signal.SIGTERM if kind == "term" else signal.SIGKILL)
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            return "HANGS (term)"
    said = child.stderr.read().decode(errors="replace")
    child.wait()
    try:
        os.killpg(child.pid, 0)
        return "ORPHAN"
    except ProcessLookupError:
        pass
    if child.returncode in (0, -signal.SIGKILL, 130):
        return child.returncode != 0
    # 2 where it fails before it trains.
    if child.returncode in (1, 2) and said.startswith("error: ") and said.count("\n") == 1:
        return True
    return f"STATUS {child.returncode} ({kind} {environment.get('STAGGER_SHIM', limit)}): {said}"


def series(draw, stagger, method, stages, settings, batches, failures, mtbf, shim, folder):
    """One run to its end, through failures."""
    flags = (
        f"train --dataset cifar10 --data-dir data --schedule {method} --stages {stages} --batch-size 8 --epochs {batches // 3} "
        f"--calibration-batches 0 --lr 0.02 --gap-every 3 {settings}"
    ).split()
    whole, run = folder / "whole", folder / "run"
    done = subprocess.run([*stagger, *flags, "--output", str(whole)], cwd=folder, capture_output=True)
    if done.returncode == 2:
        return None  # The mitigation does not suit the method.
    failed_whole = done.returncode != 0
    resume = [*stagger, *flags, "--output", str(run), "--resume", "auto"]
    resume[0] = str(Path(resume[0]).resolve())
    counts = dict.fromkeys(dict.fromkeys(KINDS), 0)
    os.chdir(folder)
    for _ in range(failures):
        kind = draw.choice(KINDS)
        came = fail(draw, kind, resume, run, mtbf, shim)
        if isinstance(came, str):
            return counts, came
        counts[kind] += came
        if not came:
            break
    last = subprocess.run(resume, capture_output=True)
    if failed_whole:
        return counts, "equal" if last.returncode == done.returncode else "DIFFERENT"
    if last.returncode != 0:
        return counts, f"NOT RESUMED: {last.stderr.decode(errors='replace')}"
    return counts, "equal" if numbers(whole) == numbers(run) else "DIFFERENT"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stagger", default="target/release/stagger", help="the command that runs it")
    arguments.add_argument("--failures", type=int, default=2000)
    arguments.add_argument("--minutes", type=float, default=1e9, help="end after about this time")
    arguments.add_argument("--mtbf", type=float, default=3.0, help="mean time between failures in seconds")
    arguments.add_argument("--batches", type=int, default=600, help="of each run")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--keep", type=Path, help="a folder for the series that end otherwise")
    arguments.add_argument("--output", type=Path, required=True)
    arguments = arguments.parse_args()
    stagger = shlex.split(arguments.stagger)
    stagger[0] = str(Path(shutil.which(stagger[0]) or stagger[0]).resolve())
    output, here = arguments.output.resolve(), Path(__file__).resolve().parent
    rows = output.read_text().splitlines() if output.exists() else []
    if not rows:
        rows = ["series\tmethod\tstages\tsettings\t" + "\t".join(dict.fromkeys(KINDS)) + "\tend"]
    known = {int(row.split("\t")[0]) for row in rows[1:]}
    total = sum(int(count) for row in rows[1:] for count in row.split("\t")[4:-1])
    began, number = time.monotonic(), -1
    while total < arguments.failures and time.monotonic() - began < 60 * arguments.minutes:
        number += 1
        if number in known:
            continue
        draw = random.Random(f"{arguments.seed} {number}")
        method, stages = METHODS[number % len(METHODS)]
        method += draw.choice(MITIGATIONS) if draw.random() < 0.5 else ""
        settings = draw.choice(SETTINGS)
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            write_data(folder / "data")
            subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "shim.so", here / "shim.c", "-ldl"], check=True)
            ended = series(
                draw, stagger, method, stages, settings, arguments.batches, 40, arguments.mtbf, folder / "shim.so", folder
            )  # fmt: skip
            if ended is None:
                continue
            counts, end = ended
            if end != "equal" and arguments.keep:
                shutil.copytree(folder, arguments.keep / f"series-{number}")
        os.chdir(here)
        total += sum(counts.values())
        end = end.strip().replace("\n", " ").replace("\t", " ")
        rows.append("\t".join(map(str, [number, method, stages, settings, *counts.values(), end])))
        print(rows[-1], flush=True)
        output.write_text("\n".join(rows) + "\n")
    bad = sum(not row.endswith("\tequal") for row in rows[1:])
    print(f"{time.strftime('%Y-%m-%d')}, {platform.node()}, seed {arguments.seed}: {total} failures in {len(rows) - 1} series, {bad} series differ")
    sys.exit(bad > 0)


main()
