"""What the wire has to carry for a batch, and the staleness that hides it."""

import math
import re
import subprocess
import sys

BATCH = 128
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
STAGE = re.compile(r"^\d+ +(\d+) .* (\S+) (B|KiB|MiB|GiB) +\S+ \S+ +\S+ \S+$", re.MULTILINE)


def summary(stagger, model, stages, *more):
    words = [stagger, "summary", model, "--stages", str(stages), "--batch-size", str(BATCH), *more]
    result = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(words)}: {result.stderr}")
    return result.stdout


def hops(stagger, model, stages, schedule):
    """Bytes of a batch's activation at every hop; its gradient has as many. In the cut that this schedule gets."""
    cut = ",".join(re.findall(r"^\d+ +(\d+) ", summary(stagger, model, stages, "--schedule", schedule), re.MULTILINE))
    # DSP keeps the inputs of m + 1 batches, with m = 2 per stage above.
    rows = STAGE.findall(summary(stagger, model, stages, "--schedule", "dsp", "--balance", cut))
    kept = [float(number) * UNITS[unit] for _, number, unit in rows]
    return [round(each / (2 * (stages - 1 - stage) + 1)) for stage, each in enumerate(kept)][1:]


def parameters(stagger, model):
    """Bytes of all parameters."""
    row = re.search(r"^0 +\d+ +([\d,]+) ", summary(stagger, model, 1), re.MULTILINE)
    return 4 * int(row.group(1).replace(",", ""))


def busiest(hop_bytes):
    """Bytes per batch that the busiest host sends, and as many that it receives: an activation up and a gradient down."""
    padded = [0, *hop_bytes, 0]
    return max(below + above for below, above in zip(padded, padded[1:]))


def all_reduce(parameter_bytes, hosts):
    """Bytes per batch that a host sends in a ring all-reduce of the gradients, and as many that it receives."""
    return round(2 * (hosts - 1) / hosts * parameter_bytes)


def bits_per_second(rate):
    """Of a rate as `tc` writes it: 100mbit, 1gbit. None is no limit."""
    if rate is None:
        return math.inf
    found = re.fullmatch(r"(\d+)(kbit|mbit|gbit)", rate)
    if found is None:
        sys.exit(f"--rate {rate}: write it as 100mbit or 1gbit")
    return int(found.group(1)) * {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}[found.group(2)]


def capacity(rate, delay_ms, send_buffer):
    """Bits/s of one connection: the rate, or less where a connection may not have so much on the way. Some of the buffer is
    bookkeeping: 4 MiB carry 240 Mbit/s over a round trip of 100 ms (`connection.py`)."""
    round_trip_s = 2 * delay_ms / 1e3
    return min(bits_per_second(rate), 8 * 0.7 * send_buffer / round_trip_s if round_trip_s else math.inf)


def one_way_s(host_bytes, bits_per_s, delay_ms):
    """Time of a message: its bytes and the delay."""
    return 8 * host_bytes / bits_per_s + delay_ms / 1e3


def staleness_per_hop(period_s, way_s):
    """Batches between two neighbours: one that is at work above, one against jitter, and those on the way up and down."""
    return 2 + math.ceil(2 * way_s / max(period_s, 1e-9) - 1e-3)


def dsp(stages, per_hop):
    """The notation with that staleness between any two neighbours."""
    return "dsp(m=" + ",".join(str(per_hop * (stages - 1 - stage)) for stage in range(stages)) + ")"
