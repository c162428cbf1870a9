"""What a result says of itself: machine, program, command; and the file that keeps measurements."""

import datetime
import json
import os
import platform
import shlex
import subprocess
import sys

import network


def first_line(*words):
    try:
        result = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return ""
    return result.stdout.strip().split("\n")[0]


def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def machine(stagger, note):
    names = [line.split(":")[1].strip() for line in read("/proc/cpuinfo").split("\n") if line.startswith("model name")]
    here = os.path.dirname(os.path.abspath(__file__))
    load = os.getloadavg()[0]
    return {
        "kind": "about",
        "date": datetime.date.today().isoformat(),
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "congestion_control": network.congestion_controls()[0],
        "send_buffer": network.send_buffer(),
        "stagger": first_line(stagger, "--version"),
        "commit": first_line("git", "-C", here, "describe", "--always", "--dirty", "--abbrev=7"),
        "mpi": first_line("mpirun", "--version"),
        "load_before": round(load, 1),
        "command": shlex.join(["python3", *sys.argv]),
        "note": note,
    }


def sentence(about):
    """What the head of a result says."""
    machine = f"{about['date']}, {about['cores']} cores of {about['processor']}, kernel {about['kernel']}"
    tcp = f"TCP {about['congestion_control']}, send buffer {about['send_buffer'] / 2**20:g} MiB"
    return f"{machine}, {tcp}, {about['mpi']}, {about['stagger']}, commit {about['commit']}. {about['note']}".rstrip()


class Record:
    """Lines of JSON, in a file where there is one. What it has already is not measured again."""

    def __init__(self, path, about):
        self.path = path
        self.lines = []
        if path and os.path.exists(path):
            with open(path) as file:
                self.lines = [json.loads(line) for line in file]
        # One line per start, as a result may be the work of several.
        self.add(about)

    def has(self, key):
        return any(all(line.get(name) == value for name, value in key.items()) for line in self.lines)

    def add(self, line):
        self.lines.append(line)
        if self.path:
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")
