"""Loading JPEG pictures as for ImageNet: stagger beside torchvision, one worker each.

    run.py --example target/release/examples/loads_pictures --data DIR [--rounds 7] [--enlarged]

DIR/train/CLASS holds the pictures. With --enlarged, copies of 500×375 pixels are made of them, which is about what ImageNet's originals have. A round is one epoch of each contestant, one after another, in an order that turns from round to round.
Every contestant decodes each picture, takes a random resized crop to 224×224, mirrors half of them, and makes normalised f32 of them.
"""

import argparse
import datetime
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time

import torch
import torchvision
from PIL import Image
from torchvision import transforms
from torchvision.io import ImageReadMode, decode_jpeg, read_file

SIDE = 224
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CROP = [transforms.RandomResizedCrop(SIDE, antialias=True), transforms.RandomHorizontalFlip()]
NORMALIZE = [transforms.ConvertImageDtype(torch.float32), transforms.Normalize(MEAN, STD)]
OF_PILLOW = transforms.Compose([*CROP, transforms.PILToTensor(), *NORMALIZE])
OF_TENSORS = transforms.Compose([*CROP, *NORMALIZE])


def pillow(path):
    with open(path, "rb") as file:
        return OF_PILLOW(Image.open(file).convert("RGB"))


def libjpeg_turbo(path):
    return OF_TENSORS(decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB))


def epoch_of(load, paths):
    """An epoch of a contestant in this process: images, seconds, seconds of processor time."""
    start, processor = time.perf_counter(), time.process_time()
    for path in paths:
        load(path)
    return len(paths), time.perf_counter() - start, time.process_time() - processor


def epoch_of_stagger(child):
    child.stdin.write("\n")
    child.stdin.flush()
    images, seconds, processor = child.stdout.readline().split()
    return int(images), float(seconds), float(processor)


def enlarged(data, folder):
    """Copies in the size of ImageNet's originals."""
    for part in ("train", "val"):
        for path in sorted((data / part).glob("*/*")):
            copy = folder / part / path.parent.name / f"{path.stem}.jpg"
            copy.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).convert("RGB").resize((500, 375), Image.Resampling.BICUBIC).save(copy, quality=90)
    return folder


def figures(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


def ratios(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--example", required=True, type=pathlib.Path)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--enlarged", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = enlarged(arguments.data, pathlib.Path(folder)) if arguments.enlarged else arguments.data
        compare(arguments.example, data, arguments.rounds)


def compare(example, data, rounds):
    torch.set_num_threads(1)
    paths = sorted((data / "train").glob("*/*"))
    command = [example.resolve(), data, str(SIDE)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    contestants = {
        "stagger": lambda: epoch_of_stagger(child),
        "torchvision, Pillow": lambda: epoch_of(pillow, paths),
        "torchvision, decode_jpeg": lambda: epoch_of(libjpeg_turbo, paths),
    }
    names = list(contestants)
    speeds = {name: [] for name in names}
    per_processor = {name: [] for name in names}
    for number in range(rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            images, seconds, processor = contestants[name]()
            assert images == len(paths), (name, images)
            # The first round fills caches.
            if number > 0:
                speeds[name].append(images / seconds)
                per_processor[name].append(images / processor)
    child.stdin.close()
    child.wait()
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    processor = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    about = ["git", "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(about, capture_output=True, text=True, check=True).stdout.strip()
    print(f"{datetime.date.today()}, {processor}, commit {commit}; Python {platform.python_version()}, torch {torch.__version__}, "
          f"torchvision {torchvision.__version__}; {len(paths)} pictures, {rounds} rounds\n")
    print("| | images/s | images per second of processor time | stagger in the same round |")
    print("| --- | --- | --- | --- |")
    ours = per_processor["stagger"]
    for name in names:
        theirs = per_processor[name]
        beside = "–" if name == "stagger" else f"{ratios([a / b for a, b in zip(ours, theirs, strict=True)])} times as many"
        print(f"| {name} | {figures(speeds[name])} | {figures(theirs)} | {beside} |")


if __name__ == "__main__":
    main()
