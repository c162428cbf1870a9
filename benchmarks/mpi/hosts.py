#!/usr/bin/env python3
"""Trains over "hosts" that are network namespaces of this machine, joined by links of a given rate and delay; root.

    sudo python3 benchmarks/mpi/hosts.py STAGGER [--hosts 2,4] [--rate 100mbit,1gbit] [--delay-ms 0,5,50]
        [--buffer-mib 32] [--models resnet20,resnet110,vgg16-bn] [--methods 'bp,gpipe(4),1f1b(4),dsp,ddp'] [--rounds 3]
        [--python PYTHON] [--into FILE] [--plan]

STAGGER is a binary with feature `mpi`. Each namespace has one rank and one stage. Every combination is measured once per round, in
turns; odd rounds go through the wires backwards. Beside the wires that are asked for:

    loopback    all ranks in one namespace, connected by TCP through its loopback interface: what the others are compared with
    forwarder   a namespace each, through the forwarder with a delay of 0 and no limit of the rate: what the forwarder costs

With --buffer-mib every wire with a delay is measured twice: with what the system has TCP keep for a connection, and with so much.

Delays above 0 go through `forwarder.c`, 0 goes over one bridge. Methods: notations of stagger; `dsp` gets the staleness that wire.py
gives; `dp` is stagger's data parallelism, where the binary has it; `ddp` is PyTorch's over gloo, with a Python that has PyTorch
(--python, such as that of benchmarks/peers/install.sh). Measurements go to FILE, a line each, and a run that was stopped goes on there;
report.py makes tables and plots of it. `--plan` says what would run, and for how long about.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time

import about
import network
import report
import wire
from training import ENVIRONMENT, Failed, finish, start, steady, words

# Batches between filling and draining that are timed.
TIMED = {"resnet8": 30, "resnet20": 16, "resnet110": 6, "vgg16-bn": 6}
# Images/s of one core, roughly, for --plan alone.
ROUGHLY = {"resnet8": 900, "resnet20": 180, "resnet110": 30, "vgg16-bn": 25}
LOOPBACK = {"name": "loopback", "rate": None, "delay_ms": 0}
FORWARDER = {"name": "forwarder", "rate": None, "delay_ms": 0}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stagger")
    parser.add_argument("--hosts", default="2,4")
    parser.add_argument("--rate", default="100mbit,1gbit")
    parser.add_argument("--delay-ms", default="0,5,50")
    parser.add_argument("--buffer-mib", type=int, help="of TCP, for a second measurement of wires with a delay")
    parser.add_argument("--models", default="resnet20,resnet110,vgg16-bn")
    parser.add_argument("--methods", default="bp,gpipe(4),1f1b(4),dsp,dp,ddp")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timed", type=int, help="batches that are timed, instead of those in the script")
    parser.add_argument("--seconds", type=float, default=90, help="longest time of training of a measurement")
    parser.add_argument("--python", default=sys.executable, help="for ddp")
    parser.add_argument("--into", help="file of the measurements")
    parser.add_argument("--note", default="", help="a sentence for the head of the result")
    parser.add_argument("--plan", action="store_true")
    options, options.extra = parser.parse_known_args()
    options.stagger = os.path.abspath(options.stagger)
    if shutil.which(options.stagger) is None:
        sys.exit(f"{options.stagger}: there is no such program. cargo build --release --features mpi makes it.")
    try:
        options.hosts = [int(count) for count in options.hosts.split(",")]
        delays = [float(delay) for delay in options.delay_ms.split(",")]
    except ValueError:
        sys.exit("--hosts and --delay-ms take numbers, such as 2,4 and 0,5,50.")
    if not all(2 <= count <= 8 for count in options.hosts):
        sys.exit(f"--hosts {options.hosts}: 2 to 8 are possible.")
    options.models, options.methods = options.models.split(","), notations(options.methods)
    options.wires = [LOOPBACK, FORWARDER]
    for rate in options.rate.split(","):
        wire.bits_per_second(rate)
        for delay in delays:
            one = {"name": f"{rate}, {delay:g} ms", "rate": rate, "delay_ms": delay}
            options.wires.append(one)
            if options.buffer_mib and delay:
                name = f"{one['name']}, {options.buffer_mib} MiB"
                options.wires.append({**one, "name": name, "buffer_bytes": options.buffer_mib << 20})
    return options


def notations(text):
    """Splits at commas outside brackets."""
    found, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return [each.strip() for each in found]


def leave_out(options):
    """Methods that cannot run here are left out, with a sentence."""
    train_help = subprocess.run([options.stagger, "train", "--help"], stdout=subprocess.PIPE, text=True).stdout
    if "dp" in options.methods and "--replicas" not in train_help:
        print("dp is left out: this stagger has no --replicas.", file=sys.stderr)
        options.methods.remove("dp")
    if "ddp" in options.methods and subprocess.run([options.python, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode != 0:
        print(f"ddp is left out: {options.python} has no PyTorch. benchmarks/peers/install.sh installs it; give its Python with --python.",
              file=sys.stderr)  # fmt: skip
        options.methods.remove("ddp")


class Bench:
    """Measures, and remembers what it has measured."""

    def __init__(self, options, record):
        self.options = options
        self.record = record
        self.bytes = {}

    def hop_bytes(self, model, method, hosts):
        """Bytes of a batch at every hop; for data parallelism what a host sends."""
        key = model, method, hosts
        if key not in self.bytes:
            if method in ("dp", "ddp"):
                self.bytes[key] = [wire.all_reduce(wire.parameters(self.options.stagger, model), hosts)]
            else:
                self.bytes[key] = wire.hops(self.options.stagger, model, hosts, method)
        return self.bytes[key]

    def needed(self, model, method, hosts):
        """Bytes per batch that the busiest host sends, and receives."""
        hop_bytes = self.hop_bytes(model, method, hosts)
        return hop_bytes[0] if method in ("dp", "ddp") else wire.busiest(hop_bytes)

    def period_s(self, model, hosts):
        """Time of a batch of DSP over loopback, which staleness is reckoned from."""
        for line in self.record.lines:
            if line["kind"] == "period" and (line["model"], line["hosts"]) == (model, hosts):
                return line["seconds"]
        with network.Hosts(hosts) as there:
            command = there.mpirun_on_one() + self.train(model, "dsp", 2 * (hosts - 1), hosts)
            try:
                rate, _ = steady(command, *edges(2 * (hosts - 1)), self.limit_s())
            except Failed as failure:
                sys.exit(f"Staleness is reckoned from DSP over loopback, and that failed: {failure}")
        seconds = wire.BATCH / rate
        self.record.add({"kind": "period", "model": model, "hosts": hosts, "seconds": seconds})
        return seconds

    def notation(self, model, method, hosts, over):
        """The method, for `dsp` with its staleness on this wire; and the staleness of its first stage."""
        if method != "dsp":
            staleness = re.search(r"m=(\d+)", method)
            return method, int(staleness.group(1)) if staleness else 0
        needed, capacity = self.needed(model, method, hosts), self.capacity(over)
        # Where the wire is the bottleneck, a batch takes as long as its bytes.
        period_s = max(self.period_s(model, hosts), 8 * needed / capacity)
        per_hop = wire.staleness_per_hop(period_s, wire.one_way_s(needed, capacity, over["delay_ms"]))
        return wire.dsp(hosts, per_hop), per_hop * (hosts - 1)

    @staticmethod
    def capacity(over):
        return wire.capacity(over["rate"], over["delay_ms"], over.get("buffer_bytes") or network.send_buffer())

    def limit_s(self):
        return 3 * self.options.seconds + 120

    def timed(self, model):
        return self.options.timed or TIMED.get(model, 6)

    def train(self, model, notation, staleness, hosts):
        """A stagger command line; stages are as many as ranks, but for data parallelism."""
        extra = ["--max-seconds", f"{self.options.seconds:g}", *self.options.extra]
        if notation == "dp":
            extra += ["--stages", "1", "--replicas", str(hosts)]
            notation = "bp"
        first, last = edges(staleness)
        return words(self.options.stagger, model, notation, self.timed(model) + first + last + 1, extra)

    def measure(self, model, method, notation, staleness, hosts, over):
        """One measurement; a dictionary."""
        delay_ms = 0 if over["name"] == "forwarder" else over["delay_ms"] or None
        with network.Hosts(hosts, delay_ms, over.get("buffer_bytes")) as there:
            there.limit(over["rate"])
            before = there.sent(), there.received(), there.forwarder_seconds(), time.monotonic()
            line = {}
            if method == "ddp":
                found = self.ddp(there, model, over)
                line["images_per_second"], batches = found["images_per_second"], found["batches"] + found["warm_up"]
            else:
                launcher = there.mpirun_on_one() if over["name"] == "loopback" else there.mpirun()
                command = self.train(model, notation, staleness, hosts)
                line["images_per_second"], batches = steady(launcher + command, *edges(staleness), self.limit_s())
            wall = time.monotonic() - before[3]
            line["wall_seconds"] = round(wall, 1)
            if over["name"] != "loopback":
                for name, now, then in (("sent", there.sent(), before[0]), ("received", there.received(), before[1])):
                    line[f"{name}_bytes_per_batch"] = [round((after - each) / batches) for after, each in zip(now, then)]
            if there.forwarder:
                line["forwarder_cores"] = round((there.forwarder_seconds() - before[2]) / wall, 3)
            left = there.clear()
            if left:
                line["left_running"] = left
            return line

    def ddp(self, there, model, over):
        is_local = over["name"] == "loopback"
        script = os.path.join(network.HERE, "ddp.py")
        processes = []
        # No other allocator settings than those of benchmarks/peers.
        environment = ENVIRONMENT | {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_TOP_PAD_": str(2**26)}
        hosts = len(there.names)
        for rank in range(hosts):
            command = [*there.on(0 if is_local else rank), self.options.python, script, "--model", model, "--hosts", str(hosts),
                       "--rank", str(rank), "--meet", "127.0.0.1:29500" if is_local else "10.77.0.1:29500",
                       "--device", "lo" if is_local else "eth0", "--batches", str(self.timed(model)),
                       "--seconds", f"{self.options.seconds:g}"]  # fmt: skip
            processes.append(start(command, environment))
        return json.loads(finish(processes, self.limit_s())[0])

    def cases(self):
        """Everything to be measured, in order."""
        for number in range(self.options.rounds):
            for hosts in self.options.hosts:
                for model in self.options.models:
                    for method in self.options.methods:
                        wires = self.options.wires if number % 2 == 0 else self.options.wires[::-1]
                        for over in wires:
                            yield number, hosts, model, method, over

    def run(self):
        failed = 0
        for number, hosts, model, method, over in self.cases():
            base = {"kind": "rate", "round": number, "hosts": hosts, "model": model, "method": method}
            # DSP is compared with itself at the same staleness, so loopback has as many runs as there are notations.
            if over["name"] == "loopback":
                runs = {self.notation(model, method, hosts, each) for each in self.options.wires}
            else:
                runs = {self.notation(model, method, hosts, over)}
            for notation, staleness in sorted(runs):
                key = {**base, "wire": over["name"], "notation": notation}
                if self.record.has(key):
                    continue
                print(" ".join(map(str, key.values())), end=": ", file=sys.stderr, flush=True)
                try:
                    line = self.measure(model, method, notation, staleness, hosts, over)
                except Failed as failure:
                    print(failure, file=sys.stderr)
                    failed += 1
                    continue
                facts = {"needed_bytes_per_batch": self.needed(model, method, hosts)}
                if over["rate"]:
                    facts["capacity_bits_per_s"] = round(self.capacity(over))
                self.record.add(key | {name: over[name] for name in over if name != "name"} | facts | line)
                print(f"{line['images_per_second']:.1f} images/s, {line['wall_seconds']} s", file=sys.stderr)
        return failed


def edges(staleness):
    """Batches at the start and at the end that are not timed, while the pipeline fills and drains."""
    return 1 + (staleness + 1) // 2, staleness


def plan(bench):
    """What would run, and a rough time for it: compute on as many cores as there are, and the wire, one after the other."""
    options, count, seconds = bench.options, 0, 0.0
    for _, hosts, model, method, over in bench.cases():
        count += 1
        cores = 1 if method == "bp" else min(hosts, os.cpu_count())
        compute_s = wire.BATCH / (ROUGHLY.get(model, 30) * cores)
        carry_s = 2 * wire.one_way_s(bench.needed(model, method, hosts), bench.capacity(over), over["delay_ms"])
        batches = bench.timed(model) + (4 * (hosts - 1) if method == "dsp" else 2)
        each = max(compute_s, carry_s / 2) if method == "dsp" else compute_s + carry_s
        seconds += (12 if method == "ddp" else 6) + min(options.seconds, batches * each)
    print(f"{count} measurements in {options.rounds} rounds: about {seconds / 3600:.1f} h")


def main():
    options = parse()
    if options.plan:
        leave_out(options)
        plan(Bench(options, about.Record(None, {})))
        return
    network.need("cc")
    network.end_on_signals()
    leave_out(options)
    record = about.Record(options.into, about.machine(options.stagger, options.note))
    failed = Bench(options, record).run()
    print(report.tables(record.lines))
    if failed:
        sys.exit(f"{failed} measurements failed; what they said is above. The same command tries them again.")


if __name__ == "__main__":
    main()
