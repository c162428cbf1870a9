#!/usr/bin/env python3
"""Does the simulator tell the truth? Simulated beside measured throughput, every row.

    cargo build --release
    benchmarks/planning/truth.py [--stagger target/release/stagger] [--output truth.tsv] [--rounds 3] [--part real|emulated]

`real`: `resnet20` on one and two stages of engine `cpu`. In every round that schedule is benchmarked between two profiles of it, as the
machine's speed drifts, and simulated with both; the mean is compared within the round, and the median of the rounds stands in the
table, with the range.
`emulated`: 2 to 16 stages that sleep, over methods, with links that take time, with passes that vary, and with stragglers. The seed is
the same in both, so random times and the batches of stragglers are too. Run it on a machine that does nothing else. Rows are written to
the output as they are found.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
from pathlib import Path

from pipelines import emulated, even_profile, run, simulated, straggler_flags, warmup_of, write

METHODS = ["bp", "gpipe(4)", "1f1b(4)", "pipedream", "dsp"]
COLUMNS = ["kind", "schedule", "stages", "simulated_per_second", "measured_per_second", "ratio", "least", "most"]
STEP_MS = 30
STRAGGLER = "probability=0.33,slowdown=100%"


def real(stagger, rounds, folder):
    for stages in (1, 2):
        for schedule in METHODS if stages > 1 else ["bp", "gpipe(4)"]:
            flags = ["--model", "resnet20", "--batch-size", 128, "--schedule", schedule, "--stages", stages]
            ratios, pairs = [], []
            for _ in range(rounds):
                before, cut = predicted(stagger, flags, folder)
                found = run([stagger, "bench", *flags, "--balance", cut, "--json", "--batches", 40])
                after, _ = predicted(stagger, flags, folder, cut)
                # Seconds, not rates, have a mean.
                seconds = statistics.fmean(128 / rate for rate in (before, after))
                pairs.append((1 / seconds, found["images_per_second"] / 128))
                ratios.append(pairs[-1][0] / pairs[-1][1])
            yield row("real", schedule, stages, pairs, ratios)


def predicted(stagger, flags, folder, cut="profile"):
    """Images per second by a profile that is measured now, and the cut."""
    profile = Path(folder) / "real.json"
    profile.unlink(missing_ok=True)
    run([stagger, "profile", *flags, "--json", "--output", profile, "--rounds", 3])
    schedule, stages = flags[flags.index("--schedule") + 1], flags[flags.index("--stages") + 1]
    found = run([
        stagger, "simulate", schedule, "--stages", stages, "--profile", profile, "--balance", cut, "--batch-size", 128, "--json",
    ])  # fmt: skip
    return found["images_per_second"], ",".join(map(str, found["cut"]))


def emulations(stagger, rounds, counts, kinds, folder):
    for stages in counts:
        for kind, settings in [
            ("equal", {}),
            ("links", {"latency": "4ms", "transfer_ms": 3.0}),
            ("varied", {"spread": 0.3, "latency": "exponential(2ms)"}),
            ("stragglers", {"straggler": STRAGGLER}),
            ("stragglers and links", {"straggler": STRAGGLER, "latency": "4ms", "transfer_ms": 3.0}),
        ]:
            if kinds and kind not in kinds:
                continue
            more = straggler_flags(settings.pop("straggler", None))
            profile = even_profile(folder, stages, STEP_MS, **settings)
            for schedule in METHODS:
                warmup, batches = warmup_of(stages, 2 * stages), 60
                if schedule == "bp":
                    batches = 30
                predicted = simulated(stagger, profile, schedule, stages, batches, warmup, more=more)
                pairs = []
                for _ in range(rounds):
                    found = emulated(stagger, profile, schedule, stages, predicted["cut"], batches, warmup, more)
                    pairs.append((predicted["batches_per_second"], found["images_per_second"] / 64))
                yield row(kind, schedule, stages, pairs, [a / b for a, b in pairs])


def row(kind, schedule, stages, pairs, ratios):
    middle = lambda values: statistics.median(values)  # noqa: E731
    found = {
        "kind": kind, "schedule": schedule, "stages": stages,
        "simulated_per_second": f"{middle([a for a, _ in pairs]):.3f}", "measured_per_second": f"{middle([b for _, b in pairs]):.3f}",
        "ratio": f"{middle(ratios):.4f}", "least": f"{min(ratios):.4f}", "most": f"{max(ratios):.4f}",
    }  # fmt: skip
    print("\t".join(str(found[column]) for column in COLUMNS), flush=True)
    return found


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stagger", default="target/release/stagger")
    arguments.add_argument("--output")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--stages", type=int, nargs="+", default=[2, 4, 8, 16], help="numbers of emulated stages")
    arguments.add_argument("--kinds", nargs="+", help="kinds of emulated rows [default: all]")
    arguments.add_argument("--part", choices=["real", "emulated"])
    arguments = arguments.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        found = []
        if arguments.part != "emulated":
            found.append(real(arguments.stagger, arguments.rounds, folder))
        if arguments.part != "real":
            found.append(emulations(arguments.stagger, arguments.rounds, arguments.stages, arguments.kinds, folder))
        for row_found in itertools.chain(*found):
            rows.append(row_found)
            write(rows, COLUMNS, arguments.output)
    off = [abs(float(row["ratio"]) - 1) for row in rows]
    within = sum(share <= 0.05 for share in off)
    print(f"{within} of {len(rows)} rows within 5 %; the largest difference is {100 * max(off):.1f} %", file=sys.stderr)


if __name__ == "__main__":
    main()
