#!/usr/bin/env python3
"""Stragglers at K = 4 and 8: every method, and data parallelism, with each stage slowed down in a third of all batches.

    cargo build --release
    benchmarks/planning/stragglers.py [--stagger target/release/stagger] [--output stragglers.tsv]

Devices take 30 ms for an even share of a network without recompute. Methods are simulated, and emulated with the same seed; data
parallelism is simulated only: each of its devices is slowed down by itself, which replicas of one stage are not. `dsp planned` has the
least staleness that `--keep-busy 99.3%` finds, and is emulated for twelve times as many batches as it is stale, as a pipeline that is ahead at its
start looks busy for long. Rates are those of the slowest stage, and `share` is that of what a stage's own mean time allows, with its
stragglers. Rows are written to the output as they are found.
"""

import argparse
import tempfile

from pipelines import emulated, even_profile, lasting_rate, own_seconds, run, simulated, straggler_flags, warmup_of, write

METHODS = ["bp", "gpipe(4)", "gpipe(8)", "1f1b(8)", "pipedream", "2bw(8)", "ddg", "fr", "fdg", "adl(4)", "dsp", "dsp planned"]
STEP_MS = 30
# More than 99 % of what the stages draw, so that it is 99 % of what their nominal mean allows too: over 20,000 batches the two differ by 0.2 %.
KEEP_BUSY = "99.3%"
COLUMNS = ["stages", "slowdown", "schedule", "staleness", "simulated_per_second", "emulated_per_second", "share", "emulated_share"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stagger", default="target/release/stagger")
    arguments.add_argument("--output")
    arguments.add_argument("--batches", type=int, default=200)
    arguments.add_argument("--no-emulation", action="store_true")
    arguments.add_argument("--methods", nargs="+", default=METHODS)
    arguments.add_argument("--stages", type=int, nargs="+", default=[4, 8])
    arguments = arguments.parse_args()
    rows = []

    def add(row):
        rows.append(row)
        print("\t".join(str(row[column]) for column in COLUMNS), flush=True)
        write(rows, COLUMNS, arguments.output)

    with tempfile.TemporaryDirectory() as folder:
        for stages in arguments.stages:
            profile = even_profile(folder, stages, STEP_MS)
            for slowdown in (0, 20, 50, 100, 150):
                straggler = slowdown and f"probability=0.3333,slowdown={slowdown}%"
                for method in arguments.methods:
                    add(pipeline(arguments, profile, stages, slowdown, straggler, method))
                if "bp" in arguments.methods:
                    add(data_parallel(arguments.stagger, profile, stages, slowdown, straggler))


def pipeline(arguments, profile, stages, slowdown, straggler, method):
    stagger, schedule, more = arguments.stagger, method, straggler_flags(straggler)
    if method == "dsp planned":
        found = simulated(stagger, profile, "dsp", stages, 20000, 1000, more=[*more, "--keep-busy", KEEP_BUSY])
        schedule = found["schedule"]
    else:
        found = simulated(stagger, profile, schedule, stages, 20000, 1000, more=more)
    staleness = max(stage["staleness_max"] for stage in found["stages"])
    warmup = warmup_of(stages, staleness)
    real = None
    if not arguments.no_emulation:
        batches = arguments.batches if method != "bp" else arguments.batches // 4
        if method == "dsp planned":
            batches = max(batches, 12 * staleness)
        real = emulated(stagger, profile, schedule, stages, found["cut"], batches, warmup, more)
    own = own_seconds(schedule, found["cut"], STEP_MS) * (1 + slowdown / 300)
    rate, emulated_rate = found["lasting_batches_per_second"], real and lasting_rate(real)
    return {
        "stages": stages, "slowdown": f"{slowdown}%", "schedule": schedule if method != "dsp planned" else f"planned: {schedule}",
        "staleness": staleness, "simulated_per_second": f"{rate:.2f}",
        "emulated_per_second": "" if real is None else f"{emulated_rate:.2f}",
        "share": f"{rate * own:.3f}", "emulated_share": "" if real is None else f"{emulated_rate * own:.3f}",
    }  # fmt: skip


def data_parallel(stagger, profile, stages, slowdown, straggler):
    found = run([
        stagger, "plan", "--profile", profile, "--speeds", ",".join(["1"] * stages), "--json", "--top", 1000,
        *straggler_flags(straggler),
    ])  # fmt: skip
    plan = next(plan for plan in found["plans"] if plan["schedule"] == f"dp({stages})")
    return {
        "stages": stages, "slowdown": f"{slowdown}%", "schedule": plan["schedule"], "staleness": 0,
        "simulated_per_second": f"{plan['images_per_second'] / 64:.2f}", "emulated_per_second": "", "share": "", "emulated_share": "",
    }  # fmt: skip


if __name__ == "__main__":
    main()
