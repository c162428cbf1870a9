"""What TensorBoard reads of a run that was killed and resumed: every batch once, with the losses of metrics.jsonl.

    event_files.py --stagger target/release/stagger
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

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
        found = EventAccumulator(str(board), size_guidance={"scalars": 0})
        found.Reload()

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
    check("accuracy/test", [(record["version"] - 1, record["test_top1"]) for record in epochs])
    check("busy/stage_0", [(record["version"] - 1, record["stages"][0]["busy_share"]) for record in epochs])


if __name__ == "__main__":
    main()
