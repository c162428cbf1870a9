"""One short training run, and how fast it was; what `run.py`, `hosts.py` and `cut.py` share."""

import json
import os
import signal
import subprocess
import tempfile

ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def words(stagger, model, schedule, batches, extra):
    """The command line of a run that does nothing but train."""
    return [stagger, "train", "--model", model, "--schedule", schedule, "--max-batches", str(batches), "--batch-size", "128",
            "--evaluate", "false", "--calibration-batches", "0", "--keep-snapshots", "0", "--gap-every", "0", *extra]


class Failed(Exception):
    """A run that did not end well, with what it said."""


def finish(processes, limit_s):
    """Waits for processes of their own groups; kills all when one fails, or at the limit. Gives what they printed."""
    printed = []
    try:
        for process in processes:
            out, error = process.communicate(timeout=limit_s)
            if process.returncode != 0:
                raise Failed(f"{' '.join(process.args)} ended with {process.returncode}:\n{out}{error}")
            printed.append(out)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(processes[0].args)} was not done after {limit_s} s") from None
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return printed


def start(command, environment=ENVIRONMENT):
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, stdin=subprocess.DEVNULL, text=True, env=environment, start_new_session=True)


def steady(command, first, last, limit_s):
    """Images/s between the ends of two batches, counted from the first and from the end: without filling and draining. And how
    many batches there were in all."""
    with tempfile.TemporaryDirectory() as folder:
        run = os.path.join(folder, "run")
        finish([start([*command, "--output", run])], limit_s)
        ends = batch_ends(run)
    timed = ends[first : len(ends) - last]
    if len(timed) < 3:
        raise Failed(f"{' '.join(command)} came to {len(ends)} batches only: give it more time, with --seconds")
    return sum(samples for samples, _ in timed[1:]) / (timed[-1][1] - timed[0][1]), len(ends)


def batches(run):
    """The records of the batches in metrics.jsonl."""
    with open(os.path.join(run, "metrics.jsonl")) as file:
        records = [json.loads(line) for line in file]
    return [record for record in records if record["kind"] == "batch"]


def batch_ends(run):
    """Samples and second of the end of every batch."""
    return [(record["samples"], record["seconds"]) for record in batches(run)]


def batch_losses(run):
    """Number and loss of every batch."""
    return [(record["batch"], record["loss"]) for record in batches(run)]
