#!/usr/bin/env python3
"""Seconds of training until a test accuracy is reached, in turns: stagger's methods beside PyTorch's ways of using two cores.

    tar xf cifar-10-images.tar.xz -C DIR
    cargo build --release
    run.py --data DIR/cifar-10-images --output RESULTS [--python PYTHON] [--only dsp torch-1f1b] [--seeds 1 2]
    run.py --output RESULTS --table

All train one network by one recipe. RESULTS gets a file of lines per contestant and seed, and what has ended there is not run again, so
that a series can be interrupted; an unfinished run begins anew. At the end, and with --table, the table is printed, and the
curves are written to RESULTS/curves.csv and RESULTS/curves.svg.
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import table

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def stagger(schedule, stages, *flags):
    def command(options, recipe, seed, folder):
        return [options.stagger, "train", "--model", options.model, "--dataset", "image-folder", "--data-dir", options.data,
                "--schedule", schedule, "--stages", str(stages), *flags, *recipe, "--momentum", "0.9", "--lr-schedule", "cosine",
                "--drop-last", "--seed", str(seed), "--output", str(folder)]

    return command


def torch(kind, *flags):
    def command(options, recipe, seed, _):
        cut = ["--cut", str(options.torch_cut)] if kind == "1f1b" else []
        return [options.python, str(HERE / "peer.py"), kind, *flags, *cut, "--model", options.model, "--data", options.data,
                "--kept", options.kept, *recipe, "--seed", str(seed)]

    return command


# In the order of a round.
CONTESTANTS = {
    "dsp": ("stagger DSP, 2 stages, engine cpu", stagger("dsp", 2)),
    "torch-2-threads": ("PyTorch, 2 threads", torch("eager", "--threads", "2")),
    "torch-1f1b": ("PyTorch 1F1B, 8 micro-batches", torch("1f1b", "--micro-batches", "8")),
    "torch-ddp": ("PyTorch DDP, 2 processes, batch 2 × 64", torch("ddp")),
    "pipedream": ("stagger PipeDream, 2 stages, engine cpu", stagger("pipedream", 2)),
    "bp": ("stagger BP, 1 stage, engine cpu", stagger("bp", 1)),
    "dsp-torch": ("stagger DSP, 2 stages, engine torch", stagger("dsp", 2, "--engine", "torch")),
    "pipedream-torch": ("stagger PipeDream, 2 stages, engine torch", stagger("pipedream", 2, "--engine", "torch")),
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="class folders: train/CLASS/*, test/CLASS/*")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--stagger", default=str(ROOT / "target" / "release" / "stagger"))
    parser.add_argument("--python", default=str(HERE.parent / "peers" / ".venv" / "bin" / "python"))
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS)[:5], metavar="NAME", help=", ".join(CONTESTANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--warmup-batches", type=int, default=1000)
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--torch-cut", type=int, default=5, help="of PyTorch's pipeline: blocks in its first stage; ../peers/run.py searches it")
    parser.add_argument("--max-batches", type=int, help="of an epoch, to try it out")
    parser.add_argument("--marks", nargs="+", type=float, default=[80, 84], help="test accuracies in percent")
    parser.add_argument("--table", action="store_true", help="only print the table of what is there")
    options = parser.parse_args()
    if not options.table and not options.data:
        parser.error("--data: the folder of the pictures, unless --table is given")
    options.kept = str(pathlib.Path(tempfile.gettempdir()) / "stagger-time-to-accuracy")
    return options


def main():
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    if not options.table:
        recipe = []
        for name in ("epochs", "lr", "warmup_batches", "weight_decay", "batch_size"):
            recipe += ["--" + name.replace("_", "-"), str(getattr(options, name))]
        for seed in options.seeds:
            for name in options.only:
                run(options, recipe, name, seed)
    table.write(options.output, {name: title for name, (title, _) in CONTESTANTS.items()}, options.marks)


def run(options, recipe, name, seed):
    place = options.output / f"{name}-seed{seed}.jsonl"
    if place.exists():
        print(f"{place.name} is there", file=sys.stderr)
        return
    _, command = CONTESTANTS[name]
    print(f"{time.strftime('%H:%M:%S')} {name}, seed {seed}", file=sys.stderr)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder) / "run"
        line = command(options, recipe, seed, folder)
        if options.max_batches:
            # stagger counts those of the whole run.
            whole = name.startswith("torch-")
            line += ["--max-batches", str(options.max_batches * (1 if whole else options.epochs))]
        lines = of_peer(line) if name.startswith("torch-") else of_stagger(line, folder)
    head = {"contestant": name, "seed": seed, "command": " ".join(shown(part, options, folder) for part in line), "load_before": load, **about(options)}
    unfinished = place.with_suffix(".part")
    unfinished.write_text("".join(json.dumps(line) + "\n" for line in [head, *lines]))
    shutil.move(unfinished, place)


def of_peer(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"`{' '.join(command)}` failed; its error is above")
    return [json.loads(line) for line in result.stdout.splitlines()]


def of_stagger(command, folder):
    result = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if result.returncode != 0:
        sys.exit(f"`{' '.join(command)}` failed; its error is above")
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    [peak] = [record["peak_memory_bytes"] for record in records if record["kind"] == "end"]
    seconds, lines = 0.0, []
    for record in records:
        if record["kind"] == "epoch":
            seconds += record["wall_seconds"]
            lines.append({"epoch": record["epoch"], "seconds": seconds, "train_loss": record["train_loss"],
                          "test_top1": record["test_top1"], "peak_bytes": peak})
    return lines


def shown(part, options, run):
    """A part of a command without the folders of this machine."""
    for folder, name in ((options.data, "DIR"), (options.kept, "KEPT"), (str(run), "RUN"), (str(ROOT) + "/", "")):
        part = part.replace(folder, name)
    return part


def about(options):
    def text(*line):
        return subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()

    with open("/proc/cpuinfo", encoding="utf-8") as file:
        processor = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    return {"date": datetime.date.today().isoformat(), "processor": processor, "cores": os.cpu_count(),
            "commit": text("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"), "stagger": text(options.stagger, "--version")}


if __name__ == "__main__":
    main()
