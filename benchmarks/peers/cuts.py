"""The best cut of a pipeline of two, or of one with several parts per process: searched once per host and setting, remembered in
.cuts.json.

For PyTorch the search measures every block by itself, starts where the two sides are closest, and tries the pipeline there
and at two places on each side; where blocks are many, in steps of more than one block, then the neighbours of the best. For
stagger it starts at the cut that stagger estimates, and tries as many places around it. With three cuts it starts where the longest of
the four parts is shortest, and tries each cut one place, or stride, to either side, with the others kept.
"""

import itertools
import json
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
REMEMBERED = os.path.join(HERE, ".cuts.json")
STEPS = ["--steps", "7", "--warmup", "2"]
# Each candidate runs as often, in turns: the machine's speed drifts, and one timing each would let that decide.
ROUNDS = 3


def best(host, flags, run):
    """The cut for PyTorch's pipeline that `flags` describes. `run(flags)` measures one and gives its report."""
    return remember(host, flags, lambda: search(flags, run))


def best_of_parts(host, flags, run):
    """Three cuts, as `--cuts` takes them, for PyTorch's pipeline with two parts per process."""
    return remember(host, flags, lambda: search_of_parts(flags, run))


def best_of_stagger(host, stagger, flags, run):
    """The number of blocks below the cut for the pipeline of stagger that `flags` describes."""
    return remember(host, ["stagger", *flags], lambda: search_of_stagger(stagger, flags, run))


def remember(host, flags, search):
    remembered = {}
    if os.path.exists(REMEMBERED):
        with open(REMEMBERED, encoding="utf-8") as file:
            remembered = json.load(file)
    key = " ".join([host, *flags])
    if key not in remembered:
        remembered[key] = search()
        with open(REMEMBERED, "w", encoding="utf-8") as file:
            json.dump(remembered, file, indent=1)
    return remembered[key]["cut"]


def search(flags, run):
    seconds = block_seconds(flags)
    total = len(seconds)
    centre = min(range(1, total), key=lambda cut: max(sum(seconds[:cut]), sum(seconds[cut:])))
    return around(centre, total, flags, lambda cut: run([*flags, *STEPS, "--cut", str(cut)]))


def search_of_parts(flags, run):
    seconds = block_seconds(flags)
    total = len(seconds)
    stride = max(1, total // 28)

    def longest(cuts):
        bounds = [0, *cuts, total]
        return max(sum(seconds[first:end]) for first, end in itertools.pairwise(bounds))

    centre = min(itertools.combinations(range(1, total), 3), key=longest)
    moved = [tuple(cut + step * (at == which) for at, cut in enumerate(centre)) for which in range(3) for step in (-stride, stride)]
    candidates = [cuts for cuts in (centre, *moved) if 0 < cuts[0] < cuts[1] < cuts[2] < total]
    text = {cuts: ",".join(map(str, cuts)) for cuts in candidates}
    times = measured(candidates, lambda cuts: run([*flags, *STEPS, "--cuts", text[cuts]]))
    return told(flags, text[min(times, key=times.get)], total, {text[cuts]: seconds for cuts, seconds in times.items()})


def search_of_stagger(stagger, flags, run):
    def value(name):
        return flags[flags.index(name) + 1]

    line = [stagger, "summary", value("--model"), "--stages", "2", "--schedule", value("--schedule")]
    summary = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout
    below, above = (int(number) for number in re.search(r"cut into (\d+),(\d+)", summary).groups())
    steps = ["--batches", "9", "--warmup", "4", "--json"]

    def at(cut):
        return run([stagger, "bench", *flags, *steps, "--balance", f"{cut},{below + above - cut}"])

    return around(below, below + above, flags, at)


def around(centre, total, flags, run):
    stride = max(1, total // 28)
    step_seconds = {}

    def measure(candidates):
        new = [cut for cut in candidates if 0 < cut < total and cut not in step_seconds]
        step_seconds.update(measured(new, run))
        return min(step_seconds, key=step_seconds.get)

    found = measure(centre + stride * step for step in range(-2, 3))
    if stride > 1:
        found = measure((found - 1, found + 1))
    return told(flags, found, total, dict(sorted(step_seconds.items())))


def measured(candidates, run):
    """Seconds of a step with each, the median of the rounds."""
    seconds = {cut: [] for cut in candidates}
    for _ in range(ROUNDS):
        for cut in candidates:
            seconds[cut].append(statistics.median(run(cut)["seconds"]))
    return {cut: statistics.median(each) for cut, each in seconds.items()}


def told(flags, found, total, step_seconds):
    milliseconds = {cut: round(1000 * seconds) for cut, seconds in step_seconds.items()}
    print(f"cut of {' '.join(flags)}: {found} of {total} blocks; milliseconds of a step by cut: {milliseconds}", file=sys.stderr)
    return {"cut": found, "step_seconds": step_seconds}


def block_seconds(flags):
    """Forward and backward of each block on one core, in seconds."""
    result = subprocess.run(
        [os.path.join(HERE, ".venv", "bin", "python"), os.path.join(HERE, "peer.py"), *flags, "--profile"], stdout=subprocess.PIPE, text=True, check=False
    )
    if result.returncode != 0:
        sys.exit(f"measuring the blocks of {' '.join(flags)} failed; the error is above")
    return json.loads(result.stdout)["block_seconds"]


def profile(options):
    """The least of several runs of each block on a micro-batch; called in a process that is bound to a core."""
    import time

    import torch

    import models

    size = options.batch_size // options.micro_batches
    batch = models.batches(size, options.seed, 1)[0][0]
    found = []
    for block in models.blocks(options.model, options.seed):
        block.to(memory_format=torch.channels_last)
        times = []
        for _ in range(6):
            leaf = batch.detach().requires_grad_()
            begin = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.dtype == "bf16"):
                output = block(leaf)
            output.backward(torch.ones_like(output))
            times.append(time.perf_counter() - begin)
        found.append(min(times))
        batch = output.detach()
    return found
