#!/usr/bin/env python3
"""Stragglers at K = 4 and 8: every method, and data parallelism, with each stage slowed down in a third of all batches.

    cargo build --release
    benchmarks/planning/stragglers.py [--stagger target/release/stagger] [--output stragglers.tsv]

Devices take 30 ms for an even share of a network without recompute. Methods are simulated, and emulated with the same seed; data
parallelism is simulated only: each of its devices is slowed down by itself, which replicas of one stage are not. `dsp planned` has the
least staleness that `--keep-busy 99%` finds. `share` is that of the rate that the busiest stage's own mean time allows, with its stragglers;
`emulated_share` is that of the emulated run, whose batches are fewer. Rows are written to the output as they are found.
"""

import argparse
import tempfile

from pipelines import emulated, even_profile, run, simulated, straggler_flags, warmup_of, write

METHODS = ["bp", "gpipe(4)", "gpipe(8)", "1f1b(8)", "pipedream", "2bw(8)", "ddg", "fr", "fdg", "adl(4)", "dsp", "dsp planned"]
COLUMNS = ["stages", "slowdown", "schedule", "staleness", "simulated_per_second", "emulated_per_second", "share", "emulated_share"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stagger", default="target/release/stagger")
    arguments.add_argument("--output")
    arguments.add_argument("--batches", type=int, default=200)
    arguments.add_argument("--no-emulation", action="store_true")
    arguments = arguments.parse_args()
    rows = []

    def add(row):
        rows.append(row)
        print("\t".join(str(row[column]) for column in COLUMNS), flush=True)
        write(rows, COLUMNS, arguments.output)

    with tempfile.TemporaryDirectory() as folder:
        for stages in (4, 8):
            profile = even_profile(folder, stages, 30)
            for slowdown in (0, 20, 50, 100, 150):
                straggler = slowdown and f"probability=0.3333,slowdown={slowdown}%"
                for method in METHODS:
                    add(pipeline(arguments, profile, stages, slowdown, straggler, method))
                add(data_parallel(arguments.stagger, profile, stages, slowdown, straggler))


def pipeline(arguments, profile, stages, slowdown, straggler, method):
    stagger, schedule, more = arguments.stagger, method, straggler_flags(straggler)
    if method == "dsp planned":
        found = simulated(stagger, profile, "dsp", stages, 4000, 400, more=[*more, "--keep-busy", "99%"])
        schedule = found["schedule"]
    else:
        found = simulated(stagger, profile, schedule, stages, 4000, 400, more=more)
    staleness = max(stage["staleness_max"] for stage in found["stages"])
    warmup = warmup_of(stages, staleness)
    real = None
    if not arguments.no_emulation:
        batches = arguments.batches if method != "bp" else arguments.batches // 4
        real = emulated(stagger, profile, schedule, stages, found["cut"], batches, warmup, more)
    return {
        "stages": stages, "slowdown": f"{slowdown}%", "schedule": schedule if method != "dsp planned" else f"planned: {schedule}",
        "staleness": staleness, "simulated_per_second": f"{found['batches_per_second']:.2f}",
        "emulated_per_second": "" if real is None else f"{real['images_per_second'] / 64:.2f}",
        "share": f"{max(stage['busy_share'] for stage in found['stages']):.3f}",
        "emulated_share": "" if real is None else f"{max(real['busy']):.3f}",
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
