#!/usr/bin/env python3
"""What Prometheus' own parser reads of a run: every metric, with the numbers of metrics.jsonl.

    prometheus.py --stagger target/release/stagger
"""

import argparse
import json
import math
import pathlib
import subprocess
import tempfile
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

TRAIN = "train --epochs 40 --batch-size 16 --max-batches 1500 --calibration-batches 0 --stages 2 --schedule dsp --ema 0.9 --gap-every 1"
TRAIN += " --metrics-listen 127.0.0.1:0"


def ask(url, path="/metrics", method="GET"):
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, method=method), timeout=10) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def read(text):
    """Samples by name and labels."""
    samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.type in ("gauge", "counter"), family
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in samples, f"{key} is there twice"
            assert family.type == "gauge" or sample.value >= 0, key
            samples[key] = sample.value
    return samples


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--stagger", type=pathlib.Path, required=True)
    stagger = arguments.parse_args().stagger.resolve()
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder, "run")
        training = subprocess.Popen([stagger, *TRAIN.split(), "--output", run], stderr=subprocess.PIPE, text=True)
        url = training.stderr.readline().strip().removeprefix("metrics: ").removesuffix("/metrics")
        pages = []
        while training.poll() is None:
            try:
                status, headers, text = ask(url)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                break  # It ends with the run.
            assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            pages.append(read(text))
            if len(pages) == 1:
                for path, method, expected in [("/", "GET", 404), ("/metrics", "POST", 405), ("/metrics", "HEAD", 200)]:
                    status, headers, _ = ask(url, path, method)
                    assert status == expected, (path, method, status)
        assert training.wait() == 0
        records = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    check(pages, records)


def check(pages, records):
    batches = [record for record in records if record["kind"] == "batch"]
    epochs = [record for record in records if record["kind"] == "epoch"]
    whole = [page for page in pages if ("stagger_test_version",) in page]
    print(f"{len(pages)} pages, {len(whole)} of them after an evaluation, up to {max(map(len, pages))} samples on one")
    assert whole, "the run ended before an evaluation was seen"
    for page in pages:
        trained = page.get(("stagger_batches_trained_total",), 0)
        if trained:
            last = batches[int(trained) - 1]
            apart = abs(page["stagger_train_loss",] - last["loss"])
            assert apart <= 1e-6 * max(1, abs(last["loss"])), (last, apart)
            assert math.isclose(100 * page["stagger_train_accuracy_ratio",], last["top1"], abs_tol=1e-4)
        for stage in "01":
            shares = [value for (name, *labels), value in page.items() if "ratio" in name and ("stage", stage) in labels and "gap" not in name]
            assert all(0 <= share <= 1 for share in shares) and sum(shares) < 1.001, shares
        for name, expected in [("test", "test_top1"), ("average_test", "average_top1")]:
            version = page.get((f"stagger_{name}_version",))
            if version:
                (epoch,) = [record for record in epochs if record["version"] == version]
                assert math.isclose(100 * page[f"stagger_{name}_accuracy_ratio",], epoch[expected], abs_tol=1e-4), name
    for before, after in zip(pages, pages[1:]):
        for key, value in before.items():
            assert not key[0].endswith("_total") or after[key] >= value, f"{key} has fallen"
    names = {name for page in pages for name, *_ in page}
    print(f"{len(names)} metrics: {', '.join(sorted(names))}")


if __name__ == "__main__":
    main()
