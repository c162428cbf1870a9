"""One short training run, and how fast it was; what `run.py` and `hosts.py` share."""

import os
import re
import subprocess
import sys
import tempfile

ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def words(stagger, model, schedule, batches, extra):
    """The command line of a run that does nothing but train."""
    return [stagger, "train", "--model", model, "--schedule", schedule, "--max-batches", str(batches), "--batch-size", "128",
            "--evaluate", "false", "--calibration-batches", "0", "--keep-snapshots", "0", "--gap-every", "0", *extra]


def throughput(command):
    """Images/s that the run prints at its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*command, "--output", os.path.join(folder, "run")]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    found = re.search(r"^throughput: .* (\d+) images/s", result.stdout, re.MULTILINE)
    if result.returncode != 0 or found is None:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return float(found.group(1))
