"""What TensorBoard reads of a run that was killed and resumed: every batch once, with the losses of metrics.jsonl, and at the end of every
epoch a histogram of each parameter and of its gradient.

    event_files.py --stagger target/release/stagger
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TRAIN = ["train", "--max-batches", "400", "--snapshot-every", "30", "--calibration-batches", "0"]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--stagger", type=pathlib.Path, required=True)
    stagger = arguments.parse_args().stagger.resolve()
    with tempfile.TemporaryDirectory() as folder:
        run, board = pathlib.Path(folder, "run"), pathlib.Path(folder, "board")
        killed = subprocess.Popen([stagger, *TRAIN, "--output", run, "--tensorboard", board])
        while len(list(run.glob("snapshots/*/manifest.json"))) < 2:
            assert killed.poll() is None, "the run ended before it was killed"
            time.sleep(0.05)
        killed.kill()
        killed.wait()
        subprocess.run([stagger, "train", "--resume", run, "--tensorboard", board], check=True)
        records = [json.loads(line) for line in (run / "metrics.jsonl").open()]
        found = EventAccumulator(str(board), size_guidance={"scalars": 0, "histograms": 0})
        found.Reload()
        weights = load_file(run / "last.safetensors")

    def check(tag, expected):
        scalars = [(scalar.step, scalar.value) for scalar in found.Scalars(tag)]
        assert [step for step, _ in scalars] == [step for step, _ in expected], f"{tag}: other steps"
        apart = max(abs(one - other) for (_, one), (_, other) in zip(scalars, expected))
        print(f"{tag:20} {len(scalars):4} points, at most {apart:.1e} apart")
        assert apart < 1e-4, tag

    batches = [record for record in records if record["kind"] == "batch"]
    epochs = [record for record in records if record["kind"] == "epoch"]
    check("loss/train", [(record["batch"], record["loss"]) for record in batches])
    check("accuracy/train", [(record["batch"], record["top1"]) for record in batches])
    # An epoch that the end cuts short has the step behind its last batch, so that a longer run replaces it.
    whole = epochs[0]["version"]
    steps = [record["version"] - (record["version"] % whole == 0) for record in epochs]
    check("accuracy/test", [(step, record["test_top1"]) for step, record in zip(steps, epochs)])
    check("busy/stage_0", [(step, record["stages"][0]["busy_share"]) for step, record in zip(steps, epochs)])
    check_histograms(found, weights, [record["version"] - 1 for record in epochs])


def check_histograms(found, weights, steps):
    """Steps are those of the epochs' last batches; the last weights are those of the last step."""
    parameters = {name: values for name, values in weights.items() if "running_" not in name and "num_batches" not in name}
    kinds = {kind: {f"{kind}/{name}" for name in parameters} for kind in ("weights", "gradients")}
    assert set(found.Tags()["histograms"]) == kinds["weights"] | kinds["gradients"]
    for tag in found.Tags()["histograms"]:
        histograms = found.Histograms(tag)
        assert [histogram.step for histogram in histograms] == steps, f"{tag}: other steps"
        for histogram in histograms:
            value = histogram.histogram_value
            assert sum(value.bucket) == value.num == parameters[tag.split("/", 1)[1]].size, tag
            assert len(value.bucket) == len(value.bucket_limit) and value.bucket_limit[-1] == value.max
    for name, values in parameters.items():
        values = values.astype(numpy.float64)
        value = found.Histograms(f"weights/{name}")[-1].histogram_value
        assert (value.min, value.max) == (values.min(), values.max()), name
        assert numpy.isclose(value.sum, values.sum()) and numpy.isclose(value.sum_squares, (values**2).sum()), name
        if len(value.bucket) > 1:
            counts, edges = numpy.histogram(values, bins=len(value.bucket))
            # Values on the edge of two bins may be in either.
            assert numpy.abs(counts - value.bucket).sum() <= 0.01 * values.size + 2, name
            assert numpy.allclose(edges[1:], value.bucket_limit), name
    print(f"{len(parameters)} parameters, each with {len(steps)} histograms of its values and of its gradients")


if __name__ == "__main__":
    main()
