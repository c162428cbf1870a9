#!/usr/bin/env python3
"""stagger beside PyTorch on the same networks and shapes, taking turns; standard library only.

    benchmarks/peers/install.sh
    cargo build --release --features torch
    python3 benchmarks/peers/run.py [--models resnet20 resnet110] [--rounds 5] [--only 'eager-*' stagger-dsp-2]

Prints a Markdown table and writes it, with every step's time, to benchmarks/peers/results.
"""

import argparse
import datetime
import fnmatch
import json
import os
import platform
import subprocess
import sys

import table
import variants


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet110"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="timed steps of a run; default 40 for resnet20, 10 for resnet110")
    parser.add_argument("--warmup", type=int, default=5, help="steps of a run before the timed ones")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"], help="names or patterns; --list names them")
    parser.add_argument("--list", action="store_true", help="print the names of the variants")
    parser.add_argument("--cores", default="0,1", help="the two cores to run on")
    parser.add_argument("--stagger", default=os.path.join(variants.ROOT, "target", "release", "stagger"))
    parser.add_argument("--output", default=os.path.join(variants.HERE, "results"))
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(variant.name for variant in variants.ALL))
        sys.exit(0)
    chosen = [variant for variant in variants.ALL if any(fnmatch.fnmatch(variant.name, name) for name in arguments.only)]
    if not chosen:
        sys.exit(f"--only {' '.join(arguments.only)}: no variant has such a name; --list names them")
    variants.check_installed(chosen, arguments.stagger)
    return arguments, chosen


def main():
    arguments, chosen = parse()
    host = about(arguments, chosen)
    cores = [int(core) for core in arguments.cores.split(",")]
    lines = {
        (model, variant): variants.command(variant, model, arguments, host["cpu"])
        for model in arguments.models
        for variant in chosen
    }
    measured = {model: {variant.name: [] for variant in chosen} for model in arguments.models}
    os.makedirs(arguments.output, exist_ok=True)
    stem = os.path.join(arguments.output, f"{host['date']}-{host['host']}")
    for turn in range(arguments.rounds):
        # Forth and back, so that no variant always follows the same one.
        order = list(lines.items())[:: 1 if turn % 2 == 0 else -1]
        for (model, variant), line in order:
            report = variants.report(line, variants.cores(variant, cores))
            measured[model][variant.name].append(report)
            rate = table.images_per_second(report, variant.batch_size)
            print(f"round {turn + 1}: {model}: {variant.name}: {rate:.0f} images/s", file=sys.stderr)
        # After every round, so that a run that is cut short leaves what it has.
        save(stem + ".json", host, arguments, lines, measured)
    text = f"{heading(host, arguments)}\n\n{table.markdown(chosen, measured)}\n"
    with open(stem + ".md", "w", encoding="utf-8") as file:
        file.write(text)
    print(text)


def save(path, host, arguments, lines, measured):
    commands = {model: {} for model in arguments.models}
    for (model, variant), line in lines.items():
        commands[model][variant.name] = " ".join(os.path.relpath(part, variants.ROOT) if os.path.isabs(part) else part
                                                 for part in line)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**host, "commands": commands, "rounds": measured}, file, indent=1)
        file.write("\n")


def about(arguments, chosen):
    """Host and versions."""
    found = {
        "date": datetime.date.today().isoformat(),
        "host": platform.node() or "host",
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "commit": text("git", "-C", variants.ROOT, "rev-parse", "--short", "HEAD"),
        "python": platform.python_version(),
    }
    if any(variant.stagger for variant in chosen):
        found["stagger"] = text(arguments.stagger, "--version")
    if any(not variant.stagger for variant in chosen):
        found["torch"] = text(variants.PYTHON, "-c", "import torch; print(torch.__version__)")
    if found["load_before"] > 0.5:
        print(f"the load is {found['load_before']:.1f} before the start: something else is running, and the times will "
              "not mean much", file=sys.stderr)
    return found


def heading(host, arguments):
    versions = ", ".join(host[name] if name == "stagger" else f"PyTorch {host[name]}"
                         for name in ("stagger", "torch") if name in host)
    return (f"{host['date']}, {host['cpu']}, {host['cores']} cores; {versions}; commit {host['commit']}; batch 128, "
            f"median of {arguments.rounds} rounds; load {host['load_before']:.1f} before the start")


def text(*line):
    return subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()


def cpu():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
