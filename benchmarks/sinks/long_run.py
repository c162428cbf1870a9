#!/usr/bin/env python3
"""What grows in a long run: memory of the process and bytes of every file, while 100,000 batches go by, with all sinks.

    long_run.py --stagger target/release/stagger [--batches 100000]

Two emulated stages of 1 ms a batch, so it takes minutes; the sinks are those of any run. Then the page of `report` is made.
"""

import argparse
import pathlib
import subprocess
import tempfile
import time

EVERY_SECONDS = 15


def resident_mib(process):
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024 if "VmRSS:" in status else float("nan")


def mib(path):
    files = [path] if path.is_file() else path.rglob("*")
    total = 0
    for file in files:
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            pass  # A snapshot that has been pruned.
    return total / 2**20


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--stagger", type=pathlib.Path, required=True)
    options.add_argument("--batches", type=int, default=100_000)
    options = options.parse_args()
    stagger = options.stagger.resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        paths = {name: folder / name for name in ["run", "trace.json", "board"]}
        command = [
            stagger, "train", "--dataset", "shapes", "--emulate", "equal:1ms", "--stages", "2", "--schedule", "dsp", "--batch-size", "64",
            "--epochs", str(options.batches // 100), "--max-batches", str(options.batches), "--snapshot-every", "1000",
            "--output", paths["run"], "--trace", paths["trace.json"], "--tensorboard", paths["board"], "--metrics-listen", "127.0.0.1:0",
        ]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(f"{'seconds':>8} {'resident MiB':>13}", *[f"{name + ' MiB':>15}" for name in paths])
        started = time.monotonic()
        while run.poll() is None:
            time.sleep(EVERY_SECONDS)
            seconds = time.monotonic() - started
            resident = resident_mib(run.pid) if run.poll() is None else float("nan")
            print(f"{seconds:8.0f} {resident:13.1f}", *[f"{mib(path):15.2f}" for path in paths.values()], flush=True)
        if run.returncode != 0:
            raise SystemExit(f"the run ended with status {run.returncode}")
        started = time.monotonic()
        page = folder / "page.html"
        subprocess.run([stagger, "report", paths["run"], "--output", page], check=True, stdout=subprocess.DEVNULL)
        print(f"report: {time.monotonic() - started:.2f} s, {mib(page):.3f} MiB")


main()
