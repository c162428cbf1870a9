#!/usr/bin/env python3
"""Cuts the cable between two "hosts" (network namespaces) while they train: for some seconds, and for good; root.

    sudo python3 benchmarks/mpi/cut.py STAGGER [--seconds 3] [--stall-timeout 20] [--keepalive SECONDS] [--limit 120]
        [--model resnet8] [--batches 300] [--into FILE]

STAGGER is a binary with feature `mpi`. Two ranks train with snapshots. The cable of the second host goes down (veth) once there are
two snapshots. After some seconds it comes back: does the run go on, and how soon? Then the same without coming back: does it end,
with which message and status, after how long, and what is left running on which host? Then it is resumed over the mended cable.
Final weights and the losses of all batches must be those of a run of one process that nothing happened to.

The daemons of Open MPI look for each other after --keepalive idle seconds, and give up 5 s later; with 0 they do as Open MPI has it,
which is 300 s and 180 s. Prints a Markdown table; the exit status is 1 where something differs, hangs or is left.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

import about
import network
from training import ENVIRONMENT, batch_losses

# How long what is left after the end of `mpirun` may take to end.
GRACE_S = 10
# Words of the lines in which stagger or Open MPI say why they end.
REASON = "error|stall|lost|abort|unreach|no longer|not been heard|daemon|fail"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stagger")
    parser.add_argument("--seconds", type=float, default=3, help="of the short cut")
    parser.add_argument("--stall-timeout", type=float, default=20, help="of stagger")
    parser.add_argument("--keepalive", type=int, default=2, help="idle seconds after which the daemons of Open MPI look for each other")
    parser.add_argument("--limit", type=float, default=120, help="seconds that a run may take to end after the cut for good")
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--schedule", default="dsp")
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--snapshot-every", type=int, default=20)
    parser.add_argument("--into", help="file for the result, beside printing it")
    options = parser.parse_args()
    options.stagger = os.path.abspath(options.stagger)
    if not os.access(options.stagger, os.X_OK):
        sys.exit(f"{options.stagger}: there is no such program. cargo build --release --features mpi makes it.")
    return options


class Run:
    """A training run over the hosts, in a process group of its own; what it prints is kept in a file."""

    def __init__(self, command, folder, log):
        self.folder = folder
        self.log = log
        self.began = time.monotonic()
        with open(log, "w") as file:
            self.process = subprocess.Popen([*command, "--output", folder], stdin=subprocess.DEVNULL, stdout=file,
                                            stderr=subprocess.STDOUT, env=ENVIRONMENT, start_new_session=True)  # fmt: skip

    def newest(self):
        """Version of the newest complete snapshot, 0 without any."""
        try:
            names = os.listdir(os.path.join(self.folder, "snapshots"))
        except FileNotFoundError:
            return 0
        return max((int(name[1:]) for name in names if re.fullmatch(r"v\d+", name)), default=0)

    def until(self, happens, limit_s):
        """Waits for something, for the end of the run or for the limit; gives the seconds."""
        began = time.monotonic()
        while not happens() and self.process.poll() is None and time.monotonic() < began + limit_s:
            time.sleep(0.05)
        return time.monotonic() - began

    def said(self):
        """The lines in which it says why it ended."""
        with open(self.log, errors="replace") as file:
            text = file.read().replace("\r", "\n")
        lines = [line.strip() for line in text.split("\n")]
        return [line for line in lines if re.search(REASON, line, re.IGNORECASE)]

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Cut:
    def __init__(self, options, folder, hosts):
        self.options, self.folder, self.hosts = options, folder, hosts
        self.rows, self.bad = [], False
        self.train = [options.stagger, "train", "--model", options.model, "--schedule", options.schedule, "--batch-size", "64",
                      "--lr", "0.02", "--max-batches", str(options.batches), "--evaluate", "false", "--calibration-batches", "0", "--gap-every", "0",
                      "--snapshot-every", str(options.snapshot_every), "--keep-snapshots", "1000",
                      "--stall-timeout", f"{options.stall_timeout:g}"]  # fmt: skip

    def row(self, what, text, is_bad=False):
        self.rows.append((what, text, is_bad))
        self.bad |= is_bad
        print(f"{what}: {text}{' <-- WRONG' if is_bad else ''}", file=sys.stderr, flush=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def whole(self):
        """A run of one process, for comparison."""
        command = [*self.train, "--stages", "2", "--output", self.path("whole")]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if result.returncode != 0:
            sys.exit(f"The run without a cut failed:\n{result.stdout}")

    def start(self, name, *more):
        return Run([*self.hosts.mpirun(*self.daemons()), *self.train, *more], self.path(name), self.path(f"{name}.log"))

    def daemons(self):
        """Options of `mpirun` with which its daemons notice that the other is gone."""
        seconds = self.options.keepalive
        values = {"time": seconds, "intvl": 1, "probes": 5} if seconds else {}
        return [word for name, value in values.items() for word in ("--mca", f"oob_tcp_keepalive_{name}", str(value))]

    def begin(self, name):
        """Starts a run, and waits for its second snapshot."""
        run = self.start(name)
        run.until(lambda: run.newest() >= 2 * self.options.snapshot_every, 300)
        if run.process.poll() is not None or run.newest() == 0:
            run.kill()
            sys.exit(f"The run ended before the cut; give it more --batches:\n{open(run.log).read()}")
        return run

    def ended(self, run, what):
        """Whether it ended well, and what is left in the namespaces."""
        status = run.process.poll()
        self.row(what, f"ended with status {status}" if status is not None else "did not end", status != 0)
        if status != 0:
            with open(run.log, errors="replace") as file:
                print(file.read(), file=sys.stderr)
        run.kill()
        self.left(f"{what}, left running")

    def left(self, what):
        """Waits a little for what is left, and tells it by host. Kills nothing."""
        until = time.monotonic() + GRACE_S
        while self.hosts.processes() and time.monotonic() < until:
            time.sleep(0.1)
        found = {name: [network.command(process) for process in self.hosts.processes([name])] for name in self.hosts.names}
        text = "; ".join(f"{name}: {', '.join(filter(None, commands))}" for name, commands in found.items() if commands)
        self.row(what, text or "nothing", bool(text))
        return bool(text)

    def compare(self, name, what):
        """Weights and losses must be those of the run without a cut."""
        one, other = self.path("whole"), self.path(name)
        try:
            weights = [open(os.path.join(folder, "last.safetensors"), "rb").read() for folder in (one, other)]
            losses = [batch_losses(folder) for folder in (one, other)]
        except OSError as error:
            self.row(what, str(error), True)
            return
        same = [weights[0] == weights[1], losses[0] == losses[1] and len(losses[0]) == self.options.batches]
        words = ["equal" if each else "DIFFERENT" for each in same]
        self.row(what, f"weights {words[0]}, losses of {len(losses[1])} batches {words[1]}", not all(same))

    def short(self):
        seconds = self.options.seconds
        run = self.begin("short")
        try:
            self.hosts.cable(1, False)
            time.sleep(seconds)
            during = run.newest()
            self.hosts.cable(1, True)
            what = f"cut of {seconds:g} s"
            waited = run.until(lambda: run.newest() > during, self.options.limit)
            if run.newest() > during:
                self.row(what, f"at snapshot {during}; the next one {waited:.1f} s after the cable came back")
            run.until(lambda: False, self.options.limit)
            self.ended(run, f"{what}, the run")
        finally:
            run.kill()
            self.hosts.cable(1, True)
            self.hosts.clear()
        self.compare("short", f"{what}, the result")

    def for_good(self):
        run = self.begin("good")
        try:
            self.hosts.cable(1, False)
            last = run.newest()
            spoke = run.until(run.said, self.options.limit)
            waited = spoke + run.until(lambda: False, self.options.limit - spoke)
            status = run.process.poll()
            said = " / ".join(f"`{line}`" for line in run.said()[:6])
            self.row("what it said", f"after {spoke:.1f} s: {said}" if said else "nothing", not said)
            ended = "had not ended" if status is None else f"ended with status {status}"
            self.row("cut for good", f"at snapshot {last}; `mpirun` {ended} after {waited:.1f} s", status in (None, 0))
            run.kill()
            self.left("left running, cable still cut")
            self.hosts.cable(1, True)
            self.hosts.reach(1)
            self.left("left running, cable mended")
        finally:
            run.kill()
            self.hosts.cable(1, True)
            self.hosts.clear()
        last = run.newest()
        resumed = self.start("good", "--resume", "auto")
        try:
            resumed.until(lambda: False, 300)
            with open(os.path.join(self.path("good"), "run.log"), errors="replace") as file:
                found = re.findall(r".*[Rr]esum.*", file.read())
            said = f"`{found[-1].strip()}`" if found else "no word of it in run.log"
            self.row("resumed", f"newest snapshot {last}: {said}", not found)
            self.ended(resumed, "the resumed run")
        finally:
            resumed.kill()
            self.hosts.clear()
        self.compare("good", "its result")

    def table(self):
        machine, options = about.machine(self.options.stagger, ""), self.options
        head = about.sentence(machine)
        run = (f"{options.model}, {options.schedule}, {options.batches} batches of 64, a snapshot every {options.snapshot_every}, "
               f"stall timeout {options.stall_timeout:g} s, keepalive {options.keepalive or 300} s")  # fmt: skip
        rows = [head, "", run, "", f"    {machine['command']}", "", "| | |", "| --- | --- |"]
        rows += [f"| {what} | {'**wrong:** ' if is_bad else ''}{text} |" for what, text, is_bad in self.rows]
        return "\n".join(rows)


def main():
    options = parse()
    network.need()
    network.end_on_signals()
    with tempfile.TemporaryDirectory(prefix="stagger-cut-") as folder, network.Hosts(2) as hosts:
        cut = Cut(options, folder, hosts)
        cut.whole()
        cut.short()
        cut.for_good()
    print(cut.table())
    if options.into:
        with open(options.into, "w") as file:
            file.write(cut.table() + "\n")
    sys.exit(cut.bad)


if __name__ == "__main__":
    main()
