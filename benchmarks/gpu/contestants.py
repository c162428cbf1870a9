"""What takes turns on the GPU: a peer that stays alive between its turns, or stagger, started for each. Standard library only."""

import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading

import memory

PEERS = pathlib.Path(__file__).resolve().parent / "peers.py"


class Failed(Exception):
    """A variant that cannot be measured, and why."""


def all_of(arguments):
    found = [Peer(mode, arguments) for mode in arguments.peers]
    # One stage has nothing to run ahead of: DSP is BP there, and shows what the schedule itself costs.
    return found + [Stagger(schedule, stages, arguments) for schedule in ("bp", "dsp") for stages in arguments.stages]


def last_object(text):
    try:
        report = json.loads(text.strip().splitlines()[-1])
        report["images_per_second"] + 0.0
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Failed(f"did not print the JSON object that contestants.py reads: {error!r}") from error
    return report


class Peer:
    """PyTorch in a process that compiles once and measures when asked to."""

    def __init__(self, mode, arguments):
        self.name = f"pytorch-{mode}"
        self.process, self.answers, self.errors = None, queue.Queue(), []
        self.line = [sys.executable, str(PEERS), mode, "--model", arguments.model, "--input", arguments.input, "--classes",
                     str(arguments.classes), "--batch-size", str(arguments.batch_size), "--dtype", arguments.dtype, "--device",
                     arguments.device, "--optimizer", arguments.optimizer]

    def prepare(self, limit):
        # In a group of its own, which the compiler's workers join, so that none of them outlives it.
        self.process = subprocess.Popen(self.line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        start_new_session=True)
        threading.Thread(target=self.listen, daemon=True).start()
        threading.Thread(target=self.hear_errors, daemon=True).start()
        return self.answer(limit)

    def measure(self, steps, warmup, limit):
        try:
            self.process.stdin.write(f"{steps} {warmup}\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Failed(f"has ended: {self.complaint()}") from error
        with memory.Watch(self.process.pid) as watch:
            report = self.answer(limit)
        return report | watch.report()

    def listen(self):
        for said in self.process.stdout:
            # Compilers may print, too.
            if said.startswith("{"):
                self.answers.put(said)
        self.answers.put(None)

    def hear_errors(self):
        for said in self.process.stderr:
            self.errors = [*self.errors[-40:], said.rstrip()]

    def complaint(self):
        return "\n".join(self.errors[-12:]) or "it said nothing"

    def answer(self, limit):
        try:
            said = self.answers.get(timeout=max(limit, 0.01))
        except queue.Empty:
            raise subprocess.TimeoutExpired(self.line, limit) from None
        if said is None:
            self.process.wait()
            raise Failed(f"ended with {self.process.returncode}: {self.complaint()}")
        return last_object(said)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Stagger:
    def __init__(self, schedule, stages, arguments):
        self.name = f"stagger-{schedule}-{stages}"
        self.line = [*arguments.stagger, "bench", "--engine", "torch", "--model", arguments.model, "--input", arguments.input,
                     "--classes", str(arguments.classes), "--stages", str(stages), "--schedule", schedule, "--batch-size",
                     str(arguments.batch_size), "--dtype", "bf16" if arguments.dtype == "bf16" else "f32", "--device",
                     arguments.device]
        # These flags are refused where no stage is on a GPU.
        if arguments.device != "cpu":
            self.line += ["--tf32", "true" if arguments.dtype == "tf32" else "false", "--deterministic", "false"]

    def prepare(self, _):
        return None

    def measure(self, steps, warmup, limit):
        line = [*self.line, "--batches", str(steps), "--warmup", str(warmup), "--json"]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                with memory.Watch(process.pid) as watch:
                    said, errors = process.communicate(timeout=limit)
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise Failed(f"ended with {process.returncode}: {errors.strip()[-2000:] or 'it said nothing'}")
        report = last_object(said)
        kept = ("images_per_second", "seconds", "busy", "accounting", "cut", "schedule", "stages", "dtype", "peak_resident_bytes")
        return {name: report.get(name) for name in kept} | watch.report()

    def close(self):
        pass
