#!/usr/bin/env python3
"""Tables and plots of what hosts.py has measured; standard library only.

    python3 benchmarks/mpi/report.py FILE [--plots FOLDER]

FILE is what `hosts.py --into` wrote. Prints Markdown; writes one SVG per number of hosts into FOLDER.
"""

import argparse
import json
import os
import statistics

import plot
import wire
from about import sentence

BATCH = wire.BATCH


class Rates:
    """The measurements of one number of hosts and one model."""

    def __init__(self, lines):
        self.lines = lines
        self.methods = in_order(line["method"] for line in lines)
        self.wires = in_order(line["wire"] for line in lines if line["wire"] != "loopback")

    def of(self, **wanted):
        return [line for line in self.lines if all(line.get(name) == value for name, value in wanted.items())]

    def images(self, method, over, notation=None):
        """Images/s of the rounds."""
        lines = self.of(method=method, wire=over, **({"notation": notation} if notation else {}))
        return {line["round"]: line["images_per_second"] for line in lines}

    def notation(self, method, over):
        found = self.of(method=method, wire=over)
        return found[0]["notation"] if found else None

    def ratios(self, method, over):
        """To loopback with the same notation, within rounds, in order."""
        base = self.images(method, "loopback", self.notation(method, over))
        return sorted(rate / base[number] for number, rate in self.images(method, over).items() if number in base)

    def loopback(self, method):
        """The median over loopback, at the smallest staleness."""
        rates = self.of(method=method, wire="loopback")
        smallest = min((line["notation"] for line in rates), default=None, key=lambda notation: (len(notation), notation))
        return median(self.images(method, "loopback", smallest).values())


def in_order(names):
    return list(dict.fromkeys(names))


def median(numbers):
    numbers = list(numbers)
    return statistics.median(numbers) if numbers else None


def groups(lines):
    """Rates by number of hosts and model."""
    rates = [line for line in lines if line["kind"] == "rate"]
    keys = in_order((line["hosts"], line["model"]) for line in rates)
    return {key: Rates([line for line in rates if (line["hosts"], line["model"]) == key]) for key in keys}


def number(value):
    return f"{value:.0f}" if value >= 30 else f"{value:.1f}"


def cell(rates, method, over):
    found = rates.images(method, over)
    if not found:
        return "–"
    text = number(median(found.values()))
    ratios = rates.ratios(method, over)
    if ratios:
        text += f" ({median(ratios):.2f}, {ratios[0]:.2f}–{ratios[-1]:.2f})"
    return text + (" †" if allowed(rates, method, over) < 1 else "")


def allowed(rates, method, over):
    """The share of the loopback rate that the wire's capacity allows; above 1 where there is more than is needed."""
    line, base = rates.of(method=method, wire=over)[0], rates.loopback(method)
    if not base or line["rate"] is None:
        return float("inf")
    return line["capacity_bits_per_s"] / 8 / line["needed_bytes_per_batch"] * BATCH / base


def rates_table(rates):
    rows = ["| | loopback, images/s | " + " | ".join(rates.wires) + " |", "| --- | ---: |" + " ---: |" * len(rates.wires)]
    for method in rates.methods:
        base = rates.loopback(method)
        cells = [cell(rates, method, over) for over in rates.wires]
        rows.append(f"| {method} | {number(base) if base else '–'} | " + " | ".join(cells) + " |")
        if method == "dsp":
            rows.append("| its notation | | " + " | ".join(f"`{rates.notation(method, over) or '–'}`" for over in rates.wires) + " |")
    return rows


def needs_table(rates):
    limits = {line["wire"]: line["capacity_bits_per_s"] for line in rates.lines if line["rate"]}
    rows = ["| | MB per batch, from shapes | sent by the busiest host | received | Mbit/s at the loopback rate | " +
            " | ".join(f"share that {over} allows" for over in limits) + " |", "| --- |" + " ---: |" * (4 + len(limits))]  # fmt: skip
    for method in rates.methods:
        lines = [line for line in rates.of(method=method) if "sent_bytes_per_batch" in line]
        base = rates.loopback(method)
        if not lines or not base:
            continue
        ways = ("sent_bytes_per_batch", "received_bytes_per_batch")
        measured = [f"{median(max(line[way]) for line in lines) / 1e6:.2f}" for way in ways]
        needed = lines[0]["needed_bytes_per_batch"]
        shares = [limit / 8 / needed * BATCH / base for limit in limits.values()]
        cells = [f"{needed / 1e6:.2f}", *measured, f"{8 * needed * base / BATCH / 1e6:.0f}"]
        rows.append(f"| {method} | " + " | ".join([*cells, *("all" if share >= 1 else f"{share:.2f}" for share in shares)]) + " |")
    return rows


def tables(lines):
    abouts = [line for line in lines if line["kind"] == "about"]
    rows = []
    for text in in_order(json.dumps({**each, "load_before": None}) for each in abouts):
        about = json.loads(text)
        rows.append(sentence(about))
        rows += ["", f"    {about['command']}", ""]
    loads = ", ".join(str(about["load_before"]) for about in abouts)
    rows += [f"Load before the start: {loads}. Images/s, median of the rounds; in brackets the ratio to loopback within a round, "
             "median and range. † the wire's capacity is less than the loopback rate needs.", ""]  # fmt: skip
    for (hosts, model), rates in groups(lines).items():
        rows += [f"### {model}, {hosts} hosts", "", *rates_table(rates), "", *needs_table(rates), ""]
    forwarder = [line["forwarder_cores"] for line in lines if "forwarder_cores" in line]
    if forwarder:
        rows.append(f"The forwarder took {median(forwarder):.3f} of a core in the median, {max(forwarder):.3f} at most.")
    left = sum("left_running" in line for line in lines)
    if left:
        rows.append(f"After {left} measurements processes were left running, and were killed.")
    return "\n".join(rows)


def plots(lines, folder):
    """One SVG per number of hosts: a row per rate and buffer, a column per model, images/s over the delay."""
    os.makedirs(folder, exist_ok=True)
    everything = groups(lines)
    for hosts in in_order(hosts for hosts, _ in everything):
        panels = []
        of_hosts = {model: rates for (count, model), rates in everything.items() if count == hosts}
        limits = in_order((line["rate"], line.get("buffer_bytes")) for rates in of_hosts.values() for line in rates.lines if line["rate"])
        for rate, buffer in limits:
            what = {"rate": rate, "buffer_bytes": buffer}
            for model, rates in of_hosts.items():
                delays = sorted({line["delay_ms"] for line in rates.of(**what)})
                series = {}
                for method in rates.methods:
                    lines_of = [rates.of(method=method, delay_ms=delay, **what) for delay in delays]
                    points = [[line["images_per_second"] for line in each] for each in lines_of]
                    series[method] = (rates.loopback(method), points)
                label = f"{model}, {rate}" + (f", {buffer >> 20} MiB" if buffer else "")
                panels.append((label, [f"{delay:g}" for delay in delays], series))
        path = os.path.join(folder, f"hosts-{hosts}.svg")
        with open(path, "w") as file:
            file.write(plot.panels(panels, len(of_hosts), f"{hosts} hosts: images/s over the delay of one way in ms; L is loopback"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--plots")
    options = parser.parse_args()
    with open(options.file) as file:
        lines = [json.loads(line) for line in file]
    print(tables(lines))
    if options.plots:
        plots(lines, options.plots)


if __name__ == "__main__":
    main()
