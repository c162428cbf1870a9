#!/usr/bin/env python3
"""What each thread of a run takes of its processor time: what stages do, and what sinks do.

    threads.py --stagger target/release/stagger [--batches 400] [--scrape-seconds 15]

Trains ResNet-20 on two stages, batch 128, on the images that are built in, with a run folder, `--trace`, `--tensorboard` and
`--metrics-listen`, which is read every so many seconds. Reads how long each thread has been on a processor, from Linux
(/proc/PID/task/TID/schedstat, nanoseconds), until the run ends. Other work on the machine changes these times little, so the
shares hold where rates of single runs differ by more than sinks cost.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import urllib.request

INTERVAL_SECONDS = 0.05


def sample(process, seconds):
    """The processor time of every thread that is there now, and its name."""
    for task in pathlib.Path(f"/proc/{process}/task").glob("*"):
        try:
            name = (task / "comm").read_text().strip()
            seconds[task.name] = (name, int((task / "schedstat").read_text().split()[0]) / 1e9)
        except (FileNotFoundError, ProcessLookupError, IndexError):
            pass  # It has ended.


def find_page(errors, found):
    """Reads what the run says, until its end, and keeps the address of its page of figures."""
    for line in errors:
        if url := re.match(r"metrics: (http:[^;\s]*)", line):
            found["url"] = url[1]


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--stagger", type=pathlib.Path, required=True)
    options.add_argument("--batches", type=int, default=400)
    options.add_argument("--scrape-seconds", type=float, default=15)
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        command = [
            options.stagger.resolve(), "train", "--dataset", "shapes", "--model", "resnet20", "--stages", "2", "--schedule", "dsp",
            "--batch-size", "128", "--epochs", "1000", "--max-batches", str(options.batches), "--keep-snapshots", "0",
            "--calibration-batches", "0", "--evaluate", "false", "--output", folder / "run", "--trace", folder / "trace.json",
            "--tensorboard", folder / "board", "--metrics-listen", "127.0.0.1:0",
        ]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        found, seconds = {}, {}
        reader = threading.Thread(target=find_page, args=(run.stderr, found), daemon=True)
        reader.start()
        next_scrape, scrapes = 0.0, 0
        while run.poll() is None:
            sample(run.pid, seconds)
            if "url" in found and time.monotonic() >= next_scrape:
                next_scrape = time.monotonic() + options.scrape_seconds
                try:
                    urllib.request.urlopen(found["url"], timeout=1).read()
                    scrapes += 1
                except OSError:
                    pass  # The run is at its end.
            time.sleep(INTERVAL_SECONDS)
        if run.returncode != 0:
            raise SystemExit(f"the run ended with status {run.returncode}")
    by_name = collections.Counter()
    for name, taken in seconds.values():
        by_name[re.sub(r"\d+$", "N", name)] += taken
    total = sum(by_name.values())
    print(f"{options.batches} batches, {total:.2f} s of processor time, {scrapes} scrapes")
    for name, taken in by_name.most_common():
        print(f"{name:20} {taken:10.3f} s {taken / total:8.3%}")


main()
