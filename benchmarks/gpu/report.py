#!/usr/bin/env python3
"""Makes one Markdown text of the JSON files in a folder: report.py FOLDER. Standard library only."""

import json
import pathlib
import statistics
import sys

REFERENCE = "pytorch-eager"
PEERS = {"pytorch-eager": "PyTorch eager", "pytorch-compile": "PyTorch compile", "pytorch-autotune": "PyTorch compile, max-autotune"}


def title(name):
    if name in PEERS:
        return PEERS[name]
    _, schedule, stages = name.split("-")
    return f"stagger {schedule.upper()}, {stages} stage{'s' if stages != '1' else ''}"


def host(about):
    versions = [f"PyTorch {about['torch']}" if about.get("torch") else "", f"CUDA {about['cuda']}" if about.get("cuda") else "",
                f"cuDNN {about['cudnn']}" if about.get("cudnn") else ""]
    parts = [f"{about['gpu']} ({about['gpu_memory']})" if about.get("gpu_memory") else about["gpu"],
             f"driver {about['driver']}" if about.get("driver") else "", *versions, f"{about['cores']} cores",
             f"commit {about['commit']}" if about.get("commit") else "", about["date"]]
    return ", ".join(part for part in parts if part)


def checks(reports):
    """Agreement and bits, in a line each."""
    for report in reports:
        if report["step"] == "agreement":
            failed = ", ".join(report["tests_failed"]) or "none"
            yield (f"- Agreement of engine torch on {report['device']} ({report['about']['gpu']}) with engine cpu: "
                   f"{report['tests_passed']} tests passed; failed: {failed}.")
        if report["step"] == "bits":
            apart = [entry for entry in report["comparisons"] if not entry["equal"]]
            yield (f"- Equal bits on {report['device']} ({report['about']['gpu']}) after {report['batches']} batches: "
                   f"{len(report['comparisons']) - len(apart)} of {len(report['comparisons'])} comparisons.")
            for entry in apart:
                yield f"  - {entry['what']}: {len(entry['differ'])} of {entry['tensors']} tensors differ, {entry['differ'][0]} first."
            for error in report["failed"]:
                yield f"  - {short(error)}"


def short(text):
    """The first line of what a program said and, of a traceback, the last."""
    lines = text.strip().splitlines() or ["it said nothing"]
    return lines[0][:200] if len(lines) == 1 else f"{lines[0].strip()[:100]} … {lines[-1].strip()[:200]}"


def mebibytes(reports, key):
    found = [report[key] for report in reports if report.get(key) is not None]
    return f"{max(found) / 2**20:.0f}" if found else "–"


def rows(report):
    """A row for every variant: rates are medians over rounds, ratios medians of the ratios within a round."""
    setting = f"{report['model']}, {report['input'].replace('x', '×')}, batch {report['batch_size']} | {report['dtype']}"
    # In the order of the first round, in which everything that ever ran has run; what failed there has no rate.
    names = [*dict.fromkeys(name for measured in report["rounds"] for name in measured)]
    for name in names:
        own = [measured[name] for measured in report["rounds"] if name in measured]
        rates = [one["images_per_second"] for one in own]
        ratios = [measured[name]["images_per_second"] / measured[REFERENCE]["images_per_second"]
                  for measured in report["rounds"] if name in measured and REFERENCE in measured]
        busy = " ".join(f"{statistics.median(column):.0%}" for column in zip(*(one["busy"] for one in own if one.get("busy")))) or "–"
        yield (f"| {setting} | {title(name)} | {statistics.median(rates):.0f} ({min(rates):.0f}–{max(rates):.0f}) | "
               f"{f'{statistics.median(ratios):.2f}' if ratios else '–'} | {busy} | {mebibytes(own, 'peak_gpu_bytes')} | "
               f"{mebibytes(own, 'peak_allocated_bytes')} |")
    for name, error in report["failed"].items():
        if name not in names:
            yield f"| {setting} | {title(name)} | failed: {short(error).replace('|', '/')} | | | | |"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json"))]
    if not reports:
        sys.exit(f"{sys.argv[1]} holds no JSON file of a step; run benchmarks/gpu/run.sh first")
    lines = list(checks(reports))
    if lines:
        print("\n".join(lines) + "\n")
    # Numbers of different machines are not to be compared, so they do not share a table.
    machines = {}
    for report in reports:
        if report["step"].startswith("speed-"):
            machines.setdefault(host(report["about"]), []).append(report)
    for machine in machines or dict.fromkeys(host(report["about"]) for report in reports):
        print(f"{machine}\n")
        if machine in machines:
            print("\n".join(table(machines[machine])) + "\n")


def table(speeds):
    counts = sorted({len(report["rounds"]) for report in speeds})
    rounds = f"{' or '.join(map(str, counts))} round{'' if counts == [1] else 's'}"
    yield f"Median (range) of {rounds}; PyTorch's optimizer: {' or '.join(sorted({report['optimizer'] for report in speeds}))}.\n"
    yield "| network | format | | images/s | × PyTorch eager | busy share of the stages | GPU MiB | tensors MiB |"
    yield "| --- | --- | --- | ---: | ---: | --- | ---: | ---: |"
    for report in speeds:
        yield from rows(report)


if __name__ == "__main__":
    main()
