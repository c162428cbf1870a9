"""What was measured on: GPU, driver, versions, date, commit. Standard library only."""

import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
IN_PYTHON = """
import json, torch
print(json.dumps({"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}))
"""


def text(*line):
    try:
        result = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, cwd=ROOT)
    except OSError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def about(stagger):
    """`stagger` is the command that runs it, as a list."""
    gpu = text("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader").splitlines()
    name, memory, driver = (gpu[0].split(", ") + ["", "", ""])[:3] if gpu else ("", "", "")
    versions = text(sys.executable, "-c", IN_PYTHON)
    return {
        "date": datetime.date.today().isoformat(),
        "gpu": name or "no GPU",
        "gpu_memory": memory,
        "gpus": len(gpu),
        "driver": driver,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **(json.loads(versions) if versions else {}),
        "stagger": text(*stagger, "--version"),
        # A machine that only measures may have the files without their history.
        "commit": os.environ.get("STAGGER_COMMIT") or text("git", "rev-parse", "--short", "HEAD"),
    }
