"""What the scripts of this folder share: small data, and the numbers of a run to compare."""

import json
import os

MEASURED = {"images_per_second", "bubble_share", "busy_share", "peak_memory_bytes"}


def timeless(value):
    """A record without what measures time or memory."""
    if isinstance(value, dict):
        return {
            name: timeless(each)
            for name, each in value.items()
            if not name.endswith("seconds") and name not in MEASURED
        }
    if isinstance(value, list):
        return [timeless(each) for each in value]
    return value


def metrics(run):
    """All records without times; sorted, as the end of an epoch and the next batch come as they come."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return sorted(json.dumps(timeless(json.loads(line)), sort_keys=True) for line in lines)


def numbers(run):
    """Weights to the byte, and metrics. A run whose test accuracy is never finite has no best weights, and one without --ema no mean."""
    files = [run / name for name in ("last.safetensors", "best.safetensors", "average.safetensors")]
    return [path.read_bytes() if path.exists() else None for path in files] + metrics(run)


def is_being_written(run):
    """Whether a snapshot is being written."""
    try:
        return any(name.endswith(".partial") for name in os.listdir(run / "snapshots"))
    except FileNotFoundError:
        return False


def write_data(folder):
    """20 training and 10 test images in the layout of CIFAR-10."""

    def records(count):
        return b"".join(bytes([i % 10]) + bytes((i * 31 + at * 7) % 256 for at in range(3072)) for i in range(count))

    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(records(20))
    (folder / "test_batch.bin").write_bytes(records(10))
