#!/usr/bin/env python3
"""Draws what scale.py has written: how much of K devices each method uses, and how much staleness DSP needs for it.

    pip install matplotlib
    benchmarks/scale/plot.py scale.tsv           # writes share.svg and staleness.svg beside this script
"""

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "scale", "font.size": 9, "axes.grid": True, "grid.color": "#ddd", "axes.axisbelow": True})
from matplotlib import pyplot  # noqa: E402

TITLES = {
    "lan": "LAN, equal devices", "lan-stragglers": "LAN, stragglers", "lan-mixed": "LAN, mixed devices", "wan": "WAN, equal devices",
    "wan-mixed-stragglers": "WAN, mixed, stragglers",
}  # fmt: skip
# Okabe and Ito's colours, which colour-blind people tell apart.
LINES = {
    "dsp for 99%": ("#d55e00", "-", "o"), "dsp": ("#e69f00", "-", "s"), "fr": ("#cc79a7", "-", "^"), "pipedream": ("#0072b2", "-", "o"),
    "2bw(K)": ("#56b4e9", "-", "v"), "1f1b(64)": ("#009e73", "-", "D"), "gpipe(16)": ("#009e73", "--", "x"), "dp(K)": ("#000000", "-", "o"),
    "dsp for 99% x 4": ("#d55e00", ":", "o"), "pipedream x 4": ("#0072b2", ":", "o"), "bp": ("#999999", "-", "."),
}  # fmt: skip


def points(rows, network, method, column):
    found = [row for row in rows if row["network"] == network and row["method"] == method]
    return [int(row["devices"]) for row in found], [float(row[column]) for row in found]


def finish(figure, name):
    figure.savefig(Path(__file__).parent / name, bbox_inches="tight", metadata={"Date": None})


def main():
    with open(sys.argv[1]) as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    figure, panels = pyplot.subplots(1, len(TITLES), figsize=(15, 3.4), sharey=True)
    for panel, (network, title) in zip(panels, TITLES.items()):
        for method, (colour, style, marker) in LINES.items():
            across, up = points(rows, network, method, "share")
            if across:
                panel.plot(across, up, style, color=colour, marker=marker, markersize=3, linewidth=1.2, label=method)
        panel.set(title=title, xscale="log", xlabel="devices", ylim=(0, 1.02))
        panel.set_xscale("log", base=2)
        panel.set_xticks([2, 8, 32, 128, 512], ["2", "8", "32", "128", "512"])
    panels[0].set_ylabel("speedup per device")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=6, bbox_to_anchor=(0.5, -0.22), frameon=False)
    finish(figure, "share.svg")

    figure, panel = pyplot.subplots(figsize=(5, 3.2))
    colours = ["#000000", "#e69f00", "#56b4e9", "#009e73", "#d55e00"]
    for colour, (network, title) in zip(colours, TITLES.items()):
        across, up = points(rows, network, "dsp for 99%", "staleness")
        panel.plot(across, [m / (k - 1) for k, m in zip(across, up)], "-o", color=colour, markersize=3, linewidth=1.2, label=title)
    panel.set(xlabel="devices", ylabel="staleness of stage 0 per hop", ylim=(0, None))
    panel.set_xscale("log", base=2)
    panel.set_xticks([2, 8, 32, 128, 512], ["2", "8", "32", "128", "512"])
    panel.legend(frameon=False)
    finish(figure, "staleness.svg")


if __name__ == "__main__":
    main()
