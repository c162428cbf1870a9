"""Weights from PyTorch to stagger and back: equal tensors, equal logits, `strict=True`; and fine-tuning from them.

    weights.py --stagger target/release/stagger [--features torch] [--data shared/data]

The logits of stagger come from an ignored test of crate stagger, which cargo builds.
"""

import argparse
import filecmp
import os
import pathlib
import shutil
import subprocess
import tempfile

import safetensors.torch
import torch
import torchvision

import models

#: Network, side of its images, names to come back under.
CASES = [
    ("resnet18", 64, "torchvision"),
    ("resnet50", 64, "torchvision"),
    ("vgg16-bn", 32, "torchvision"),
    ("resnet20", 32, "cifar"),
    ("resnet164", 32, "cifar"),
    ("preact-resnet110", 32, "cifar"),
    ("wrn-16-8", 32, "timm"),
    ("wrn-28-10", 32, "cifar"),
    ("resnext29-8x64d", 32, "cifar"),
    ("densenet-bc-100-12", 32, "cifar"),
    ("resnext50-32x4d", 64, "torchvision"),
    ("mobilenet-v2", 64, "torchvision"),
    ("resnet18-cifar", 32, "torchvision"),
]
CLASSES = 10


def run(*command, **more):
    print("$", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True, **more)


def same(found, expected):
    """Whether two state dictionaries are equal, to the bit."""
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    return all(torch.equal(found[name], expected[name]) for name in expected)


def prepare(stagger, folder, name, side):
    """Random weights into stagger, from both kinds of files; images; PyTorch's logits."""
    folder.mkdir()
    model = models.randomize(models.build(name, CLASSES), seed=len(name))
    # As a program leaves them that trains on several GPUs and compiles.
    wrapped = {f"module._orig_mod.{key}": value for key, value in model.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 3, "best": 71.5}, folder / "torch.pth")
    safetensors.torch.save_file(model.state_dict(), folder / "torch.safetensors")
    run(stagger, "weights", folder / "torch.pth", folder / "own.safetensors", "--model", name)
    run(stagger, "weights", folder / "torch.safetensors", folder / "again.safetensors", "--model", name)
    own, again = (safetensors.torch.load_file(folder / f"{file}.safetensors") for file in ("own", "again"))
    assert same(own, again), f"{name}: .pth and safetensors give other weights"
    torch.manual_seed(1)
    images = torch.randn(4, 3, side, side)
    safetensors.torch.save_file({"images": images}, folder / "images.safetensors")
    with torch.no_grad():
        return model.state_dict(), model(images)


def come_back(stagger, folder, name, names, state):
    """What stagger writes is what PyTorch had, under the same names."""
    back = folder / f"{names}.safetensors"
    run(stagger, "weights", folder / "own.safetensors", back, "--names", names)
    model = models.build(name, CLASSES)
    model.load_state_dict(safetensors.torch.load_file(back), strict=True)
    assert same(model.state_dict(), state), f"{name}: other weights came back"


def fine_tune(stagger, folder, data):
    """From torchvision's random weights for 1000 classes, on photographs; a run that goes on from a snapshot is the same."""
    start = folder / "resnet18.pth"
    torch.save(models.randomize(torchvision.models.resnet18(), seed=5).state_dict(), start)
    options = ["--model", "resnet18", "--data-dir", data, "--dataset", "image-folder", "--image-size", 64, "--stages", 2,
               "--batch-size", 16, "--max-batches", 8, "--snapshot-every", 4, "--keep-snapshots", 9,
               "--calibration-batches", 0, "--lr", 0.01]
    whole, parted = folder / "whole", folder / "parted"
    run(stagger, "train", *options, "--pretrained", start, "--output", whole)
    shutil.copytree(whole, parted)
    snapshots = sorted(parted.glob("snapshots/*/manifest.json"))
    run(stagger, "train", "--resume", snapshots[0].parent)
    ends = (run / "last.safetensors" for run in (whole, parted))
    assert filecmp.cmp(*ends, shallow=False), "a resumed run ends with other weights"
    run(stagger, "weights", whole, folder / "tuned.safetensors", "--names", "torchvision")
    state = safetensors.torch.load_file(folder / "tuned.safetensors")
    model = torchvision.models.resnet18(num_classes=state["fc.bias"].numel())
    model.load_state_dict(state, strict=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--stagger", type=pathlib.Path, required=True)
    arguments.add_argument("--features", default="", help="torch: compare that engine, too")
    arguments.add_argument("--data", type=pathlib.Path, help="a folder with imagenet-sample")
    arguments = arguments.parse_args()
    stagger = arguments.stagger.resolve()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        networks = work / "networks"
        networks.mkdir()
        expected = {}
        for name, side, names in CASES:
            expected[name] = prepare(stagger, networks / name, name, side)
            come_back(stagger, networks / name, name, names, expected[name][0])
        packages = ["-p", "stagger"]
        engines = ["cpu"]
        if arguments.features == "torch":
            packages += ["--features", "stagger/torch"]
            engines.append("torch")
        run("cargo", "test", "-q", *packages, "--test", "it", "--", "--ignored", "of_given_weights_and_images",
            env=os.environ | {"STAGGER_LOGITS_FOLDER": str(networks)})
        for name, (_, logits) in expected.items():
            for engine in engines:
                found = safetensors.torch.load_file(networks / name / f"logits-{engine}.safetensors")["logits"]
                apart = (found - logits).abs().max().item()
                print(f"{name:15} {engine:6} logits up to {logits.abs().max().item():.2f}, at most {apart:.1e} apart")
                assert apart <= 1e-4 * max(1.0, logits.abs().max().item()), name
        sample = arguments.data and arguments.data / "imagenet-sample"
        if sample and sample.is_dir():
            fine_tune(stagger, work, sample)
        else:
            print("skipped: fine-tuning needs --data with imagenet-sample")


if __name__ == "__main__":
    main()
