#!/usr/bin/env python3
"""stagger on one GPU beside PyTorch eager and torch.compile, in turns; needs PyTorch in the python3 that runs it.

    speed.py --stagger BINARY --output speed.json [--rounds 3] [--quick]
    speed.py --table speed.json
    speed.py --peer eager|compile --model NAME --batch-size N --dtype f32|tf32|bf16 [--device cpu]   (one measurement)

Every measurement is a process of its own. Those that the output file has already are not repeated.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SHAPES = {"resnet56": ([3, 32, 32], 10), "resnet110": ([3, 32, 32], 10), "resnet50": ([3, 224, 224], 1000)}
SETTINGS = [("resnet56", 128), ("resnet110", 128), ("resnet110", 1024), ("resnet50", 128)]
DTYPES = ["f32", "tf32", "bf16"]
STAGGER = [("bp", 1), ("bp", 2), ("dsp", 2), ("dsp", 3), ("dsp", 4)]


def measurements(quick):
    """Name of a measurement: model, batch size, dtype, what runs."""
    for model, batch_size in SETTINGS[:1] if quick else SETTINGS:
        for dtype in DTYPES:
            for peer in ("eager", "compile"):
                yield model, batch_size, dtype, f"PyTorch {peer}"
            for schedule, stages in STAGGER:
                yield model, batch_size, dtype, f"stagger {schedule} {stages}"


def command(arguments, model, batch_size, dtype, what):
    kind, *rest = what.split()
    if kind == "PyTorch":
        return [sys.executable, __file__, "--peer", rest[0], "--model", model, "--batch-size", str(batch_size), "--dtype", dtype]
    (channels, height, width), classes = SHAPES[model]
    return [
        arguments.stagger, "bench", "--engine", "torch", "--device", "cuda", "--deterministic", "false",
        "--tf32", "true" if dtype == "tf32" else "false", "--dtype", "bf16" if dtype == "bf16" else "f32",
        "--model", model, "--input", f"{channels}x{height}x{width}", "--classes", str(classes),
        "--schedule", rest[0], "--stages", rest[1], "--batch-size", str(batch_size), "--batches", "60", "--warmup", "20", "--json",
    ]


def measure(arguments):
    path = pathlib.Path(arguments.output)
    found = json.loads(path.read_text()) if path.exists() else {"about": about(), "images_per_second": {}}
    for turn in range(arguments.rounds):
        for key in measurements(arguments.quick):
            name = "|".join(map(str, key))
            rates = found["images_per_second"].setdefault(name, [])
            if len(rates) > turn:
                continue
            environment = dict(os.environ)
            if key[3].startswith("stagger"):
                environment["LD_PRELOAD"] = "libtorch_cuda.so"
            result = subprocess.run(command(arguments, *key), capture_output=True, text=True, env=environment, check=False)
            if result.returncode != 0:
                sys.exit(f"{name} failed: {result.stderr.strip()}")
            report = json.loads(result.stdout.strip().splitlines()[-1])
            rates.append(report["images_per_second"])
            print(f"round {turn + 1}: {name}: {rates[-1]:.0f} images/s", flush=True)
            path.write_text(json.dumps(found, indent=1) + "\n")


def about():
    def text(*line):
        return subprocess.run(line, capture_output=True, text=True, check=False).stdout.strip()

    return {
        "gpu": text("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
        "torch": text(sys.executable, "-c", "import torch; print(torch.__version__)"),
        "commit": text("git", "-C", str(HERE), "rev-parse", "--short", "HEAD"),
        "date": time.strftime("%Y-%m-%d"),
    }


def table(path):
    found = json.loads(pathlib.Path(path).read_text())
    about = found["about"]
    print(f"{about['gpu']}, PyTorch {about['torch']}, commit {about['commit']}, {about['date']}; images/s, median (range), and times PyTorch eager\n")
    rates = {tuple(name.split("|")): values for name, values in found["images_per_second"].items()}
    print("| model, batch | format | what | images/s | times eager |")
    print("| --- | --- | --- | ---: | ---: |")
    for (model, batch_size, dtype, what), values in rates.items():
        eager = rates.get((model, batch_size, dtype, "PyTorch eager"))
        middle = statistics.median(values)
        ratio = f"{middle / statistics.median(eager):.2f}" if eager else "–"
        print(f"| {model}, {batch_size} | {dtype} | {what} | {middle:.0f} ({min(values):.0f}–{max(values):.0f}) | {ratio} |")


def peer(arguments):
    import torch

    torch.backends.cudnn.benchmark = True
    for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
        backend.allow_tf32 = arguments.dtype == "tf32"
    shape, classes = SHAPES.get(arguments.model, ([3, 32, 32], 10))
    device, cuda = torch.device(arguments.device), arguments.device.startswith("cuda")
    model = network(arguments.model, classes).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(arguments.batch_size, *shape, generator=generator) for _ in range(2)]
    images = [batch.pin_memory() if cuda else batch for batch in images]
    labels = (torch.arange(arguments.batch_size) % classes).to(device)
    run = torch.compile(model) if arguments.peer == "compile" else model

    def step(at):
        batch = images[at % 2].to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.dtype == "bf16"):
            loss = torch.nn.functional.cross_entropy(run(batch), labels)
        loss.backward()
        optimizer.step()
        return loss

    def wait():
        if cuda:
            torch.cuda.synchronize()

    for at in range(arguments.warmup):
        step(at)
    wait()
    start = time.perf_counter()
    for at in range(arguments.steps):
        loss = step(at)
    wait()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if cuda else None
    print(json.dumps({"images_per_second": arguments.steps * arguments.batch_size / seconds, "loss": loss.item(), "peak_gpu_bytes": peak}))


def network(name, classes):
    if name == "resnet50":
        import torchvision

        return torchvision.models.resnet50(num_classes=classes)
    import torch

    sys.path.insert(0, str(HERE.parent / "peers"))
    import models

    return torch.nn.Sequential(*models.blocks(name, 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stagger")
    parser.add_argument("--output")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="resnet56 only")
    parser.add_argument("--table", metavar="FILE")
    parser.add_argument("--peer", choices=["eager", "compile"])
    parser.add_argument("--model")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    if arguments.table:
        table(arguments.table)
    elif arguments.peer:
        peer(arguments)
    elif arguments.stagger and arguments.output:
        measure(arguments)
    else:
        parser.error("give --stagger and --output, or --table, or --peer")


if __name__ == "__main__":
    main()
