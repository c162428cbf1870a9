#!/usr/bin/env python3
"""Internet scale on paper: 2 to 1,024 devices over a LAN and a WAN, equal and mixed, all methods.

    cargo build --release
    benchmarks/scale/scale.py [--stagger target/release/stagger] [--output scale.tsv] [--stages 2 4 …] [--network lan wan …]

Nothing is measured: `stagger simulate` runs the programs of every method with the durations below, so that this takes an hour of one core and
no devices. The network grows with the number of devices K: device k has a stage of its own, which takes 100 ms forward, 100 ms to recompute and
200 ms backward for a batch of 256 samples, has 0.5 million parameters, and hands on 1 MB. So one device alone would take K × 300 ms for a
batch; `speedup` is how many times as fast the K devices are. Rows are written to the output as they are found, and those that are there
are not simulated again.
"""

import argparse
import json
import random
import subprocess
import tempfile
import time
from pathlib import Path

FORWARD, BATCH, PARAMETER_BYTES, OUTPUT_BYTES = 0.1, 256, 2_000_000, 1_000_000
BLOCKS_PER_STAGE = 8  # So that a cut can follow the speeds of mixed devices.

# Latency, and seconds in which a link moves a million bytes.
LAN, WAN = ("200us", 1 / 118), ("pareto(50ms,2.5)", 1 / 12.5)
NETWORKS = {
    # name: (link, whether devices differ, stragglers)
    "lan": (LAN, False, None),
    "lan-stragglers": (LAN, False, "probability=0.33,slowdown=100%"),
    "lan-mixed": (LAN, True, None),
    "wan": (WAN, False, None),
    "wan-mixed-stragglers": (WAN, True, "probability=0.33,slowdown=100%"),
}
SPEEDS = [1.0, 0.75, 0.5]  # Mixed devices have one of these, drawn at random.
# The deepest network of the zoo, resnet1202, has 602 blocks; equal stages need no network.
MOST_BLOCKS = 602
MOST_REPLICAS = 64  # Of a stage, in this runtime.
METHODS = [
    "bp", "gpipe(16)", "1f1b(16)", "1f1b(64)", "2bw(K)", "pipedream", "ddg", "fr", "dsp", "dsp for 90%", "dsp for 99%",
    "dp(K)", "1f1b(16) x 4", "pipedream x 4", "dsp for 99% x 4",
]  # fmt: skip
COLUMNS = ["network", "devices", "method", "stages", "replicas", "schedule", "speedup", "share", "busiest", "staleness", "seconds"]


def equal_flags(link, schedule, micro_batches):
    """Stages that take equally long. (So the last one of a method that recomputes takes 400 ms, too, in which it has 300 ms of work.)"""
    recomputes = schedule.startswith(("dsp", "fr"))
    step, transfer = FORWARD * (4 if recomputes else 3), OUTPUT_BYTES / 1e6 * link[1] / micro_batches
    return ["--profile", f"equal:{1000 * step:g}ms", "--latency", link[0], "--transfer", f"{1e6 * transfer:.0f}us"]


def profile_flags(folder, stages, link, mixed, replicas=1):
    """The network of `stages × replicas` devices, on as many devices, cut for `stages`."""
    devices = stages * replicas
    # A network that the zoo has: 3n + 2 blocks, a multiple of the stages.
    least = devices * BLOCKS_PER_STAGE if mixed else stages
    blocks = next((b for b in range(least, MOST_BLOCKS + 1, stages) if b >= 5 and b % 3 == 2), None)
    if blocks is None:
        return None
    unit = FORWARD * devices / blocks
    names = ["stem", *(f"layer{layer}.{block}" for layer in (1, 2, 3) for block in range((blocks - 2) // 3)), "head"]
    draw = random.Random(7)
    speeds = [draw.choice(SPEEDS) if mixed else 1.0 for _ in range(devices)]

    def device(number):
        time_of = lambda units: [round(units * unit / speeds[number], 9)] * blocks  # noqa: E731
        return {"name": f"device {number}", "forward": time_of(1), "recompute": time_of(1), "backward": time_of(2), "update": [0.0] * blocks}

    size = {
        "parameter_bytes": PARAMETER_BYTES * devices // blocks, "output_bytes": OUTPUT_BYTES, "graph_bytes": 4 * OUTPUT_BYTES,
    }  # fmt: skip
    path = Path(folder) / f"{stages}-{replicas}.json"
    path.write_text(json.dumps({
        "format": 1, "model": f"resnet{2 * blocks - 2}", "input": [3, 32, 32], "classes": 10, "samples": BATCH, "dtype": "f32",
        "blocks": [{"name": name, **size} for name in names],
        "devices": [device(number) for number in range(devices if mixed else 1)],
        "links": [{"latency": link[0], "per_megabyte": link[1]}],
    }))  # fmt: skip
    return ["--profile", path, "--batch-size", BATCH, "--balance", "profile" if mixed else "uniform"]


def row(stagger, folder, network, devices, method):
    link, mixed, straggler = NETWORKS[network]
    base, _, copies = method.partition(" x ")
    replicas = int(copies or 1)
    stages = devices // replicas
    if stages * replicas != devices or (replicas > 1 and stages < 2):
        return None
    base, _, busy = base.partition(" for ")
    schedule = base.replace("K", str(devices))
    micro_batches = int(schedule.split("(")[1][:-1]) if "(" in schedule else 1
    if micro_batches > BATCH or (base.startswith("2bw") and stages < 2):
        return None  # A sample cannot be divided.
    if base == "dp(K)" and (mixed or devices > MOST_REPLICAS) or mixed and replicas > 1:
        return None
    # Where a batch ends before the next begins, every batch takes the same time, but for random times.
    flushes = base.startswith(("bp", "gpipe", "1f1b", "dp"))
    warmup, batches = (5, 50) if flushes else (20, 100) if micro_batches > 1 else (100 + 2 * stages, 2000)
    flags = ["--json", "--warmup", warmup, "--batches", batches]
    if base == "dp(K)":
        stages, replicas = 1, devices
    if mixed or replicas > 1:
        durations = profile_flags(folder, stages, link, mixed, replicas)
    else:
        durations = equal_flags(link, schedule, micro_batches)
    if durations is None:
        return None
    flags += durations
    if base != "dp(K)":
        flags += ["--stages", stages]
        if replicas > 1:
            flags += ["--replicas", replicas]
    if straggler:
        flags += ["--straggler", straggler]
    if busy:
        flags += ["--keep-busy", busy]
    began = time.monotonic()
    done = subprocess.run([str(part) for part in [stagger, "simulate", schedule, *flags]], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{network}, {devices} devices, {method}: {done.stderr}")
    found = json.loads(done.stdout)
    alone = FORWARD * 3 * devices  # On a device of speed 1.
    speedup = found["lasting_batches_per_second"] * alone
    staleness = [stage["staleness_max"] for stage in found["stages"]]
    return {
        "network": network, "devices": devices, "method": method, "stages": stages, "replicas": replicas,
        "schedule": shortened(found["schedule"]), "speedup": f"{speedup:.2f}", "share": f"{speedup / devices:.3f}",
        "busiest": f"{max(stage['busy_share'] for stage in found['stages']):.3f}", "staleness": max(staleness),
        "seconds": f"{time.monotonic() - began:.1f}",
    }  # fmt: skip


def shortened(schedule):
    return schedule if len(schedule) < 60 else schedule[:40] + "…"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stagger", default="target/release/stagger")
    arguments.add_argument("--output", type=Path)
    arguments.add_argument("--stages", type=int, nargs="+", default=[2**power for power in range(1, 11)])
    arguments.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    arguments.add_argument("--method", nargs="+", choices=METHODS, default=METHODS)
    arguments = arguments.parse_args()
    lines = arguments.output.read_text().splitlines() if arguments.output and arguments.output.exists() else ["\t".join(COLUMNS)]
    known = {tuple(line.split("\t")[:3]) for line in lines}
    with tempfile.TemporaryDirectory() as folder:
        for devices in arguments.stages:
            for network in arguments.network:
                for method in arguments.method:
                    if (network, str(devices), method) in known:
                        continue
                    found = row(arguments.stagger, folder, network, devices, method)
                    if found is None:
                        continue
                    lines.append("\t".join(str(found[column]) for column in COLUMNS))
                    print(lines[-1], flush=True)
                    if arguments.output:
                        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
