#!/usr/bin/env python3
"""Runs over "hosts" that are network namespaces of this machine, joined by links of a given rate; standard library, root.

    sudo python3 benchmarks/mpi/hosts.py STAGGER [--hosts 2] [--rates 100mbit,1gbit] [--models resnet20]
                                         [--schedules bp,dsp] [--rounds 3]

STAGGER is a binary with feature `mpi`. Each namespace has one rank and one stage. Links are veth pairs on a bridge, with `tbf` in both
directions; `loopback` is the same job without namespaces. Namespaces share the processor and its memory: they are not hosts. Prints a
Markdown table of medians; rounds take turns.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from training import throughput, words

BATCHES = {"resnet8": 60, "resnet20": 40, "resnet110": 16, "vgg16-bn": 16}
BRIDGE = "staggerbr"


def call(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Hosts:
    """Namespaces `stg0` …, joined by a bridge."""

    def __init__(self, count):
        self.names = [f"stg{host}" for host in range(count)]

    def __enter__(self):
        self.remove()
        call("ip", "link", "add", BRIDGE, "type", "bridge")
        call("ip", "link", "set", BRIDGE, "up")
        table = "127.0.0.1 localhost\n" + "".join(f"10.77.0.{host + 1} {name}\n" for host, name in enumerate(self.names))
        for host, name in enumerate(self.names):
            os.makedirs(f"/etc/netns/{name}", exist_ok=True)
            with open(f"/etc/netns/{name}/hosts", "w") as file:
                file.write(table)
            call("ip", "netns", "add", name)
            call("ip", "link", "add", f"{name}b", "type", "veth", "peer", "name", "eth0", "netns", name)
            call("ip", "link", "set", f"{name}b", "master", BRIDGE, "up")
            self.inside(name, "ip", "addr", "add", f"10.77.0.{host + 1}/24", "dev", "eth0")
            self.inside(name, "ip", "link", "set", "eth0", "up")
            self.inside(name, "ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        self.remove()

    @staticmethod
    def inside(name, *words):
        call("ip", "netns", "exec", name, *words)

    def limit(self, rate):
        """Limits what every host sends, and what is sent to it."""
        for name in self.names:
            shape = ["root", "tbf", "rate", rate, "burst", "256kb", "latency", "400ms"]
            self.inside(name, "tc", "qdisc", "replace", "dev", "eth0", *shape)
            call("tc", "qdisc", "replace", "dev", f"{name}b", *shape)

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
            subprocess.run(["ip", "link", "del", f"{name}b"], stderr=subprocess.DEVNULL)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)
        subprocess.run(["ip", "link", "del", BRIDGE], stderr=subprocess.DEVNULL)


# What `mpirun` calls instead of ssh: the host, and then a command.
AGENT = """#!/bin/sh
host=$1
shift
exec ip netns exec "$host" unshare --uts sh -c "hostname $host; $*"
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("stagger")
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--rates", default="100mbit,1gbit")
    parser.add_argument("--models", default="resnet20")
    parser.add_argument("--schedules", default="bp,dsp")
    parser.add_argument("--rounds", type=int, default=3)
    arguments, extra = parser.parse_known_args()
    stagger = os.path.abspath(arguments.stagger)
    ranks = ["-n", str(arguments.hosts), "--bind-to", "none"]
    found = {}
    with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as file:
        file.write(AGENT)
    os.chmod(file.name, 0o755)
    with Hosts(arguments.hosts) as hosts:
        first = hosts.names[0]
        over = ["ip", "netns", "exec", first, "unshare", "--uts", "sh", "-c", f'hostname {first}; exec "$@"', "sh",
                "mpirun", *ranks, "--host", ",".join(f"{name}:1" for name in hosts.names), "--mca", "plm_rsh_agent", file.name,
                "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "eth0", "--mca", "oob_tcp_if_include", "eth0"]
        for _ in range(arguments.rounds):
            for model in arguments.models.split(","):
                for schedule in arguments.schedules.split(","):
                    train = words(stagger, model, schedule, BATCHES.get(model, 16), extra)
                    case = found.setdefault((model, schedule), {})
                    local = ["mpirun", "--oversubscribe", *ranks]
                    case.setdefault("loopback", []).append(throughput(local + train))
                    for rate in arguments.rates.split(","):
                        hosts.limit(rate)
                        case.setdefault(rate, []).append(throughput(over + train))
                    print(model, schedule, {rate: each[-1] for rate, each in case.items()}, file=sys.stderr)
    os.remove(file.name)
    rates = ["loopback", *arguments.rates.split(",")]
    print("| | " + " | ".join(f"{rate}, images/s" for rate in rates) + " |")
    print("| --- |" + " ---: |" * len(rates))
    for (model, schedule), case in found.items():
        base = statistics.median(case["loopback"])
        cells = [f"{statistics.median(case[rate]):.0f} ({statistics.median(case[rate]) / base:.2f})" for rate in rates]
        print(f"| {model}, {schedule} | " + " | ".join(cells) + " |")


main()
