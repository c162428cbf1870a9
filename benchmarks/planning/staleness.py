#!/usr/bin/env python3
"""How much staleness is needed: the least that keeps 99 % of the ideal rate, over transfer time and jitter.

    cargo build --release
    benchmarks/planning/staleness.py [--stagger target/release/stagger] [--output staleness.tsv]

Four devices take 30 ms for an even share of a network without recompute, that is 37 ms with it as the cut has it, which gives the last
stage more. For each latency and spread, the
simulator finds the least staleness (`--keep-busy 99%`), and the real runtime is emulated with it, with a batch less per hop, and with
one batch per hop (the least there is). Shares are those of the time in which a stage has to work, at the rate of the slowest stage.
"""

import argparse
import tempfile

from pipelines import emulated, even_profile, lasting_rate, own_seconds, simulated, warmup_of, write

STAGES = 4
COLUMNS = ["latency_ms", "jitter", "schedule", "per_hop", "simulated_share", "emulated_share", "one_less", "one_per_hop"]


STEP_MS = 30


def dsp(per_hop):
    return "dsp(m=" + ",".join(str(per_hop * (STAGES - 1 - stage)) for stage in range(STAGES)) + ")"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stagger", default="target/release/stagger")
    arguments.add_argument("--output")
    arguments.add_argument("--batches", type=int, default=200)
    arguments.add_argument("--jitter", type=float, nargs="+", default=[0.0, 0.1, 0.3])
    arguments.add_argument("--latency", type=int, nargs="+", default=[0, 5, 10, 20, 40, 80], help="milliseconds")
    arguments = arguments.parse_args()
    stagger, rows = arguments.stagger, []
    with tempfile.TemporaryDirectory() as folder:
        for jitter in arguments.jitter:
            for latency in arguments.latency:
                profile = even_profile(folder, STAGES, STEP_MS, latency=f"{latency}ms" if latency else None, spread=jitter)
                found = simulated(stagger, profile, "dsp", STAGES, 20000, 1000, more=["--keep-busy", "99%"])
                staleness = found["stages"][0]["staleness_max"]
                per_hop = staleness / (STAGES - 1)

                own = own_seconds(found["schedule"], found["cut"], STEP_MS)

                def emulation(schedule):
                    warmup = warmup_of(STAGES, staleness)
                    real = emulated(stagger, profile, schedule, STAGES, found["cut"], arguments.batches, warmup)
                    return f"{lasting_rate(real) * own:.3f}"

                less = dsp(max(1, int(per_hop) - (per_hop == int(per_hop))))
                rows.append({
                    "latency_ms": latency, "jitter": jitter, "schedule": found["schedule"], "per_hop": f"{per_hop:.2f}",
                    "simulated_share": f"{found['lasting_batches_per_second'] * own:.3f}", "emulated_share": emulation(found["schedule"]),
                    "one_less": emulation(less) if per_hop > 1 else "", "one_per_hop": emulation(dsp(1)),
                })  # fmt: skip
                print("\t".join(str(rows[-1][column]) for column in COLUMNS), flush=True)
    write(rows, COLUMNS, arguments.output)


if __name__ == "__main__":
    main()
