#!/usr/bin/env python3
"""What the runtime itself costs: emulated stages that all take equally long, measured beside the best that they could do.

    cargo build --release
    benchmarks/planning/overhead.py [--stagger target/release/stagger] [--step 40] [--out overhead.tsv] [STAGES …]

Every stage sleeps STEP ms per batch, so no schedule can do more than a batch per STEP ms. Times that of backpropagation on one
device, that is K for `pipedream`, and 3(K-1)/4 + 1 for `dsp`, whose lower stages spend a quarter of their time on recomputing.
Run it on a machine that does nothing else; the load before each measurement is in the table.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = [
    "schedule", "stages", "batches", "step_ms", "batches_per_second", "share_of_ceiling", "speedup", "ceiling",
    "excess_us_per_action", "own_us_per_action", "load",
]


def measure(stagger, schedule, stages, step_ms, batches):
    # Lower stages have to be as far ahead as they ever will.
    warmup = 2 * stages + 8
    command = [
        stagger, "bench", "--json", "--profile-ops", "--model", "resnet398", "--emulate", f"equal:{step_ms}ms",
        "--schedule", schedule, "--stages", str(stages), "--batches", str(batches), "--warmup", str(warmup),
    ]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_cost(found, stage):
    """Microseconds per action in which a stage neither slept as it should nor waited, and the number of its actions per batch."""
    kernels = next(p["kernels"] for p in found["profile"] if p["stage"] == stage)
    # Kernels are those of all batches, with the warm-up and those that follow what is timed.
    all_batches = next(kernel["calls"] for kernel in kernels if kernel["kernel"] == "emulated update")
    actions = sum(kernel["calls"] for kernel in kernels) / all_batches
    nominal = sum(kernel["seconds"] for kernel in kernels) / all_batches
    account = found["accounting"][stage]
    waited = sum(account[f"{wait}_seconds"] for wait in ("loader", "receive", "send"))
    lower_stages_run_ahead = nominal * found["batches"]
    return 1e6 * (account["wall_seconds"] - waited - lower_stages_run_ahead) / found["batches"] / actions, actions


def row(stagger, schedule, stages, step_ms, batches):
    load = os.getloadavg()[0]
    found = measure(stagger, schedule, stages, step_ms, batches)
    rate = len(found["seconds"]) / sum(found["seconds"])
    share = rate * step_ms / 1e3
    ceiling = 0.75 * (stages - 1) + 1 if schedule == "dsp" else stages
    # The last stage runs all of its actions within the measured time, and so says exactly what each of them costs.
    own, actions = own_cost(found, stages - 1)
    excess = 1e3 * (1e3 / rate - step_ms) / actions
    return [
        schedule, stages, found["batches"], step_ms, f"{rate:.3f}", f"{share:.4f}", f"{share * ceiling:.3f}", f"{ceiling:.2f}",
        f"{excess:.1f}", f"{own:.1f}", f"{load:.2f}",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stagger", default=str(ROOT / "target/release/stagger"))
    parser.add_argument("--step", type=float, default=40.0, help="milliseconds that a stage takes for a batch")
    parser.add_argument("--batches", type=int, default=250, help="batches to time")
    parser.add_argument("--out", default=None, help="TSV file to write")
    parser.add_argument("stages", nargs="*", type=int, default=[2, 4, 8, 16, 32, 64])
    arguments = parser.parse_args()
    step = int(arguments.step) if arguments.step.is_integer() else arguments.step
    lines = ["\t".join(COLUMNS)]
    print(lines[0])
    for stages in arguments.stages:
        for schedule in ("dsp", "pipedream"):
            cells = row(arguments.stagger, schedule, stages, step, arguments.batches)
            lines.append("\t".join(map(str, cells)))
            print(lines[-1], flush=True)
    if arguments.out:
        Path(arguments.out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
