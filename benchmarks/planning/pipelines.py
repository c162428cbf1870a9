"""What the scripts of this folder share: profiles by hand, and runs of `stagger bench --emulate` and `stagger simulate`."""

import json
import math
import subprocess
from pathlib import Path

# 4·6 + 2 blocks of equal work: enough for 16 stages, with some left over.
MODEL = "resnet110"
BLOCKS = ["stem", *(f"layer{layer}.{block}" for layer in (1, 2, 3) for block in range(18)), "head"]
SAMPLES = 64


def even_profile(folder, stages, step_ms, latency=None, transfer_ms=0.0, spread=0.0):
    """Writes a profile of devices that take `step_ms` for a batch without recompute if the blocks are cut evenly, and gives its path.

    `spread` is the standard deviation over the mean of every pass; `latency` a time or distribution, `transfer_ms` what a message
    occupies its link.
    """
    # A third forward, two thirds backward, shared out over all blocks.
    unit = step_ms * stages / len(BLOCKS) / 3e3

    def times(factor):
        mean = unit * factor
        # Blocks of a stage vary independently, so that each has to vary more than their sum.
        of_block = spread * math.sqrt(len(BLOCKS) / stages)
        return [f"lognormal({mean * 1e9:.0f}ns,{of_block:.4f})" if spread else mean] * len(BLOCKS)

    profile = {
        "format": 1, "model": MODEL, "input": [3, 32, 32], "classes": 10, "samples": SAMPLES, "dtype": "f32",
        "blocks": [
            {"name": name, "parameter_bytes": 120_000, "output_bytes": 1_000_000, "graph_bytes": 4_000_000} for name in BLOCKS
        ],
        "devices": [{
            "name": "by hand", "forward": times(1), "recompute": times(1), "backward": times(2), "update": [0.0] * len(BLOCKS),
        }],
        "links": [{"latency": latency or 0.0, "per_megabyte": transfer_ms / 1e3}],
    }  # fmt: skip
    path = Path(folder) / f"even-{stages}-{abs(hash(json.dumps(profile)))}.json"
    path.write_text(json.dumps(profile))
    return path


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr}")
    return json.loads(done.stdout)


def straggler_flags(straggler):
    return ["--straggler", straggler] if straggler else []


def simulated(stagger, profile, schedule, stages, batches, warmup, balance="profile", more=()):
    return run([
        stagger, "simulate", schedule, "--json", "--profile", profile, "--stages", stages, "--batches", batches, "--warmup", warmup,
        "--balance", balance, "--batch-size", SAMPLES, *more,
    ])  # fmt: skip


def emulated(stagger, profile, schedule, stages, cut, batches, warmup, more=()):
    return run([
        stagger, "bench", "--json", "--model", MODEL, "--emulate", profile, "--schedule", schedule, "--stages", stages, "--balance",
        ",".join(map(str, cut)), "--batches", batches, "--warmup", warmup, "--batch-size", SAMPLES, *more,
    ])  # fmt: skip


def own_seconds(schedule, cut, step_ms):
    """What the stage with the most work takes for a batch, if every block takes as long and the last stage does not recompute."""
    unit = step_ms / 1e3 * len(cut) / len(BLOCKS)
    recomputes = schedule.startswith(("dsp", "fr"))
    last = len(cut) - 1
    return max(blocks * unit * (4 / 3 if recomputes and stage < last else 1) for stage, blocks in enumerate(cut))


def lasting_rate(found):
    """Batches per second of the slowest stage of an emulated run: the last one is faster while it uses up what others were ahead."""
    return min(found["batches"] / stage["wall_seconds"] for stage in found["accounting"])


def warmup_of(stages, staleness):
    """Batches until lower stages are as far ahead as they ever will be."""
    return 2 * stages + 2 * staleness + 8


def write(rows, columns, output):
    text = "\n".join("\t".join(str(row[column]) for column in columns) for row in [dict(zip(columns, columns)), *rows]) + "\n"
    if output:
        Path(output).write_text(text)
