#!/usr/bin/env python3
"""Tables and charts of what run.py has measured. Standard library only.

    python3 benchmarks/convergence/report.py
"""

import collections
import csv
import itertools
import math
import pathlib
import statistics

import chart
import run

HERE = pathlib.Path(__file__).parent
NAMES = {"sgd": "SGD", "heavy-ball": "heavy ball, β = 0.9", "nesterov": "Nesterov, β = 0.9"}


def load(part):
    """(optimizer, staleness, rate, batches) -> seed -> rows; a run whose loss became infinite has a last row of None."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    with (HERE / "results" / f"{part}.tsv").open() as file:
        for row in list(csv.reader(file, delimiter="\t"))[1:]:
            key = (row[0], row[1], float(row[2]), int(row[3]))
            values = None if row[5] == "diverged" else [float(value) for value in row[5:]]
            found[key][int(row[4])].append(values)
    return found


def mean_gradient(rows):
    """Mean of ‖∇F‖² over the measured versions; infinite where the loss became so."""
    if None in rows:
        return math.inf
    return statistics.fmean(row[2] for row in rows)


def slope(points):
    """Least squares on log-log axes."""
    xs, ys = ([math.log(point[at]) for point in points] for at in (0, 1))
    x, y = statistics.fmean(xs), statistics.fmean(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys)) / sum((a - x) ** 2 for a in xs)


def around(values):
    """Mean, and range over the seeds."""
    return f"{statistics.fmean(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("| " + " | ".join(["---"] + ["---:"] * (len(head) - 1)) + " |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def wide(values, factor=1.3):
    return min(values) / factor, max(values) * factor


def rates(part):
    """The mean over each run, by its length."""
    found, (scale, lengths) = load(part), run.SCALES[part]
    optimizers = [optimizer for optimizer in NAMES if any(key[0] == optimizer for key in found)]
    rate = lambda length: float(f"{scale / length**0.5:g}")
    panels, rows = [], []
    every = [mean_gradient(rows) for seeds in found.values() for rows in seeds.values()]
    y_range = wide([value for value in every if math.isfinite(value)])
    complete = [seed for seed in run.SEEDS if all(seed in found[optimizer, staleness, rate(length), length] for optimizer in optimizers for staleness in run.STALENESS for length in lengths)]
    for optimizer in optimizers:
        series = {}
        for staleness in run.STALENESS:
            means = {length: {seed: mean_gradient(found[optimizer, staleness, rate(length), length][seed]) for seed in complete} for length in lengths}
            series[staleness] = [(length, statistics.fmean(values.values())) for length, values in means.items()]
            slopes = [slope([(length, values[seed]) for length, values in means.items()]) for seed in complete]
            rows.append([f"{NAMES[optimizer]}, m = {staleness}", *(f"{value:.3g}" for _, value in series[staleness]), around(slopes)])
        panels.append(chart.panel(NAMES[optimizer], f"updates T, at the rate {scale}/√T", series, wide(lengths, 1.15), y_range, guide=-0.5))
    notes = f"Mean of ‖∇F(wⁿ)‖² over n < T and {len(complete)} seeds. Dashed grey: T^(−1/2)."
    (HERE / f"{part.replace('_', '-')}.svg").write_text(chart.chart(panels, [f"m = {m}" for m in run.STALENESS], notes))
    table(["mean ‖∇F‖² over", *(f"T = {length}" for length in lengths), "slope"], rows)
    table(["the rate", *(f"T = {length}" for length in lengths)], [["η/(1 − β)", *(f"{rate(length):.2g}" for length in lengths)]])
    return {key: {seed: seeds[seed] for seed in complete} for key, seeds in found.items() if key[3] == lengths[-1]}


def running(found):
    """The running mean along the longest runs."""
    length = next(iter(found))[3]
    optimizers = [optimizer for optimizer in NAMES if any(key[0] == optimizer for key in found)]
    curves = {}
    for (optimizer, staleness, _, _), seeds in found.items():
        for seed, measured in seeds.items():
            sums = itertools.accumulate(row[2] for row in measured)
            curves[optimizer, staleness, seed] = [(count * length / len(measured), total / count) for count, total in enumerate(sums, 1)]
    y_range = wide([y for points in curves.values() for _, y in points])
    panels, rows = [], []
    for optimizer in optimizers:
        series = {}
        for staleness in run.STALENESS:
            of_seeds = [points for key, points in curves.items() if key[:2] == (optimizer, staleness)]
            series[staleness] = [(points[0][0], statistics.fmean(point[1] for point in points)) for points in zip(*of_seeds)]
            slopes = [slope([point for point in points if point[0] >= length / 8]) for points in of_seeds]
            means = dict(series[staleness])
            rows.append([f"{NAMES[optimizer]}, m = {staleness}", *(f"{means[length / part]:.3g}" for part in (32, 8, 2, 1)), around(slopes)])
        panels.append(chart.panel(NAMES[optimizer], "updates n", series, (length / 36, length * 1.15), y_range, guide=-0.5))
    notes = f"Mean of ‖∇F‖² over the versions before n, runs of {length} updates. Dashed grey: n^(−1/2)."
    (HERE / "running.svg").write_text(chart.chart(panels, [f"m = {m}" for m in run.STALENESS], notes))
    table([f"running mean, T = {length}, at n =", *(str(length // part) for part in (32, 8, 2, 1)), f"slope from n = {length // 8}"], rows)


def bias():
    """Prints the constants that runs show, and gives the rates of theorem 1 for them."""
    found = load("bias")
    rows, curvature, spread = [], [], []
    for (optimizer, staleness, _, _), seeds in found.items():
        late = [row for measured in seeds.values() for row in measured if row and row[0] > 0]
        every = [row for measured in seeds.values() for row in measured if row]
        bend = max(row[5] for row in every)
        curvature.append(bend)
        moved, shares = ([row[4] for row in late], [row[3] / math.sqrt(row[2]) for row in late])
        ratio = [row[3] / row[4] for row in late if row[4] > 0]
        spread.extend(ratio)
        middle = lambda values: f"{statistics.median(values):.3g}" if values else "–"
        rows.append([f"{NAMES[optimizer]}, m = {staleness}", middle(moved), middle(shares), middle(ratio), f"{max(ratio, default=0):.3g}", f"{bend:.3g}"])
    table(["at the rate 0.01", "moved", "bias / ‖∇F‖", "bias / moved", "the same, at most", "curvature, at most"], rows)
    L, S = max(curvature), max(spread)
    bounds = {staleness: 1 / (L + math.sqrt(2) * S * max(map(int, staleness.split(",")))) for staleness in run.STALENESS}
    # The condition that theorem 2 calls enough, for s = 0 and so θ = 1.
    heavy = lambda staleness: 1 / (2 * L + 2 * S * max(map(int, staleness.split(","))) + 2 * math.sqrt(2) * L * 0.9 / 0.1)
    lines = [["SGD: 1/(L + √2 S m_0)", *(f"{bound:.2g}" for bound in bounds.values())]]
    lines.append(["heavy ball: (24)", *(f"{heavy(staleness):.2g}" for staleness in bounds)])
    table([f"rate, with L = {L:.3g} and S = {S:.3g}", *(f"m = {staleness}" for staleness in bounds)], lines)
    return bounds


def curvature():
    found = load("curvature")
    rows = []
    for (_, _, rate, length), seeds in sorted(found.items()):
        of = lambda column: [row[column] for measured in seeds.values() for row in measured]
        rows.append([f"{rate:g}, {length} updates", f"{statistics.median(of(5)):.3g}", f"{max(of(5)):.3g}", f"{statistics.fmean(of(2)):.3g}"])
    table(["SGD, m = 0, at the rate", "curvature, median", "at most", "mean ‖∇F‖²"], rows)


def is_lost(rows):
    """The loss became infinite, or is near ln 10 = 2.30, that of equal scores for all classes."""
    return rows[-1] is None or rows[-1][1] > 2.0


def sweep(bounds):
    found = load("sweep")
    panels, rows = [], []
    steps = sorted({key[2] for key in found})
    for optimizer in ("sgd", "heavy-ball"):
        series = {}
        for staleness in run.STALENESS:
            of = {rate: list(found[optimizer, staleness, rate, 512].values()) for rate in steps}
            lost = {rate: sum(map(is_lost, runs)) for rate, runs in of.items()}
            loss = {rate: statistics.fmean(rows[-1][1] for rows in runs) for rate, runs in of.items() if not lost[rate]}
            series[staleness] = list(loss.items())
            cell = lambda rate: f"{lost[rate]} of {len(of[rate])} lost" if lost[rate] else f"{loss[rate]:.3f}"
            rows.append([f"{NAMES[optimizer]}, m = {staleness}", *(cell(rate) for rate in steps)])
        marks = [(bound, index) for index, bound in enumerate(bounds.values())] if optimizer == "sgd" else []
        panels.append(chart.panel(NAMES[optimizer], "rate η/(1 − β)", series, (min([*steps, *bounds.values()]) / 1.2, max(steps) * 1.15), (0.08, 2.5), marks))
    notes = "Mean loss after 480 updates; curves end where a run is lost. Dotted: 1/(L + √2 S m₀)."
    (HERE / "sweep.svg").write_text(chart.chart(panels, [f"m = {m}" for m in run.STALENESS], notes))
    table(["loss at the rate", *(f"{rate:g}" for rate in steps)], rows)


if __name__ == "__main__":
    running(rates("rates"))
    rates("large_rates")
    curvature()
    sweep(bias())
