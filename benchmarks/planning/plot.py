#!/usr/bin/env python3
"""Draws what stragglers.py and staleness.py have written.

    pip install matplotlib
    benchmarks/planning/plot.py stragglers.tsv staleness.tsv     # writes stragglers.svg and staleness.svg beside this script
"""

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "planning", "font.size": 9, "axes.grid": True, "grid.color": "#ddd", "axes.axisbelow": True})
from matplotlib import pyplot  # noqa: E402

# Okabe and Ito's colours, which colour-blind people tell apart.
LINES = {
    "dsp planned": ("#d55e00", "-", "o"), "dsp": ("#e69f00", "-", "s"), "fdg": ("#f0c000", "-", "v"), "fr": ("#cc79a7", "-", "^"),
    "adl(4)": ("#cc79a7", "--", "D"), "pipedream": ("#0072b2", "-", "o"), "2bw(8)": ("#56b4e9", "-", "v"), "1f1b(8)": ("#009e73", "-", "D"),
    "gpipe(4)": ("#009e73", "--", "x"), "data parallel": ("#000000", "-", "o"), "bp": ("#999999", "-", "."),
}  # fmt: skip


def rows_of(path):
    with open(path) as file:
        return list(csv.DictReader(file, delimiter="\t"))


def method(row):
    schedule = row["schedule"]
    return "dsp planned" if schedule.startswith("planned") else "data parallel" if schedule.startswith("dp(") else schedule


def finish(figure, name):
    figure.savefig(Path(__file__).parent / name, bbox_inches="tight", metadata={"Date": None})


def stragglers(rows):
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6))
    for panel, stages in zip(panels, (4, 8)):
        for name, (colour, style, marker) in LINES.items():
            of = [row for row in rows if int(row["stages"]) == stages and method(row) == name]
            across = [int(row["slowdown"].rstrip("%")) for row in of]
            panel.plot(
                across, [float(row["simulated_per_second"]) for row in of], style, color=colour, marker=marker, markersize=3, linewidth=1.2,
                label=name,
            )  # fmt: skip
        panel.set(title=f"{stages} stages", xlabel="slowdown of a third of all batches, %", ylabel="batches/s, simulated", ylim=(0, None))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=6, bbox_to_anchor=(0.5, -0.14), frameon=False)
    finish(figure, "stragglers.svg")


def staleness(rows):
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.2))
    colours = dict(zip(sorted({row["jitter"] for row in rows}), ["#000000", "#0072b2", "#d55e00"]))
    for jitter, colour in colours.items():
        of = [row for row in rows if row["jitter"] == jitter]
        across = [int(row["latency_ms"]) for row in of]
        label = f"spread {100 * float(jitter):.0f} %"
        panels[0].plot(across, [float(row["per_hop"]) for row in of], "-o", color=colour, markersize=3, linewidth=1.2, label=label)
        for column, style in (("emulated_share", "-o"), ("one_per_hop", ":x")):
            name = f"{label}, {'least for 99 %' if style == '-o' else 'one per hop'}"
            values = [100 * float(row[column]) for row in of]
            panels[1].plot(across, values, style, color=colour, markersize=3, linewidth=1.2, label=name)
    panels[0].set(xlabel="latency of a hop, ms", ylabel="least staleness per hop for 99 %", ylim=(0, None))
    panels[1].set(xlabel="latency of a hop, ms", ylabel="busiest stage works, %, emulated", ylim=(0, 102))
    panels[0].legend(frameon=False)
    panels[1].legend(frameon=False, fontsize=7)
    finish(figure, "staleness.svg")


if __name__ == "__main__":
    stragglers(rows_of(sys.argv[1]))
    staleness(rows_of(sys.argv[2]))
