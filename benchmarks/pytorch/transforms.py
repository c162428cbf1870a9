"""The transforms of training on pictures, beside those of torchvision.

    transforms.py --example target/release/examples/transformed --data DIR

The example program writes which part, factors and operations stagger drew for pictures of DIR/imagenet-sample, and the pixels after every
step. torchvision's functional transforms are given the same ones. After each step but the resizing, all pixels have to be the same to one
grey level, where nearest pixels are looked up all but one in a thousand; of the resizing, the difference is told.
"""

import argparse
import collections
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

SIDES, PICTURES, EPOCHS, SEED = (224, 96), 24, 12, 7
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BILINEAR = InterpolationMode.BILINEAR


def affine(image, **changes):
    plain = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    return functional.affine(image, **{**plain, **changes})


def shear(share):
    return math.degrees(math.atan(share))


#: As in torchvision.transforms.autoaugment.
STEPS = {
    "brightness": functional.adjust_brightness,
    "contrast": functional.adjust_contrast,
    "saturation": functional.adjust_saturation,
    "hue": functional.adjust_hue,
    "Identity": lambda image, _: image,
    "ShearX": lambda image, share: affine(image, shear=[shear(share), 0.0], center=[0, 0]),
    "ShearY": lambda image, share: affine(image, shear=[0.0, shear(share)], center=[0, 0]),
    "TranslateX": lambda image, pixels: affine(image, translate=[int(pixels), 0]),
    "TranslateY": lambda image, pixels: affine(image, translate=[0, int(pixels)]),
    "Rotate": functional.rotate,
    "Brightness": functional.adjust_brightness,
    "Color": functional.adjust_saturation,
    "Contrast": functional.adjust_contrast,
    "Sharpness": functional.adjust_sharpness,
    "Posterize": lambda image, bits: functional.posterize(image, int(bits)),
    "Solarize": functional.solarize,
    "AutoContrast": lambda image, _: functional.autocontrast(image),
    "Equalize": lambda image, _: functional.equalize(image),
}
NEAREST = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"}


class Differences:
    """Grey levels by which images differ."""

    def __init__(self):
        self.images, self.pixels, self.most, self.sum, self.beyond = 0, 0, 0, 0, 0

    def add(self, found, expected):
        difference = (found.to(torch.int16) - expected.to(torch.int16)).abs()
        self.images += 1
        self.pixels += difference.numel()
        self.most = max(self.most, int(difference.max()))
        self.sum += int(difference.sum())
        self.beyond += int((difference > 1).sum())

    def row(self, name):
        mean = self.sum / self.pixels
        return f"{name:<32} {self.images:>6} {self.most:>5} {mean:>9.5f} {100 * self.beyond / self.pixels:>9.4f} %"


def pictures(data, folder):
    """Photographs in PNG, so that both sides decode the same pixels; some cut, so that they have many shapes."""
    files = sorted((data / "imagenet-sample" / "train").glob("*/*.JPEG"))
    chosen = files[:: max(1, len(files) // PICTURES)][:PICTURES]
    for index, file in enumerate(chosen):
        image = Image.open(file).convert("RGB")
        if index % 3 == 1:
            image = image.crop((0, 20, image.width, 150 + index))
        if index % 3 == 2:
            image = image.resize((3 * image.width, 2 * image.height + index), Image.Resampling.BICUBIC)
        path = folder / f"{index:03}.png"
        image.save(path)
        yield path


def part_of(image, region, mirrored, side):
    """RandomResizedCrop and RandomHorizontalFlip."""
    top, left, height, width = region
    cropped = functional.resized_crop(image, top, left, height, width, [side, side], BILINEAR, antialias=True)
    return functional.hflip(cropped) if mirrored else cropped


def centre_of(image, side):
    """Resize and CenterCrop."""
    resized = functional.resize(image, [math.floor(side * 256 / 224 + 0.5)], BILINEAR, antialias=True)
    return functional.center_crop(resized, [side, side])


def compare(example, data, side, found):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        paths = list(pictures(data, folder))
        command = [example, folder / "out", str(side), str(SEED), str(EPOCHS), *paths]
        subprocess.run(command, check=True)
        images = [Image.open(path) for path in paths]
        for image in images:
            image.load()
        tensors = [functional.pil_to_tensor(image) for image in images]
        size = 3 * side * side
        evaluated = numpy.fromfile(folder / "out/evaluated", numpy.uint8).reshape(-1, 3, side, side)
        for image, tensor, ours in zip(images, tensors, evaluated, strict=True):
            ours = torch.from_numpy(ours)
            found["evaluation, Pillow"].add(ours, functional.pil_to_tensor(centre_of(image, side)))
            found["evaluation, tensors"].add(ours, centre_of(tensor, side))
        pixels = numpy.fromfile(folder / "out/pixels", numpy.uint8)
        at = 0

        def take(count, kind):
            nonlocal at
            taken = pixels[at:at + count * kind().itemsize].view(kind)
            at += taken.nbytes
            return torch.from_numpy(taken.copy()).reshape(3, side, side)

        mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
        worst, erased, mirrored = 0.0, 0, 0
        lines = (folder / "out/drawn.jsonl").read_text().splitlines()
        for line in map(json.loads, lines):
            index = line["picture"]
            ours = take(size, numpy.uint8)
            mirrored += line["mirrored"]
            drawn = line["part"], line["mirrored"], side
            found["crop, Pillow"].add(ours, functional.pil_to_tensor(part_of(images[index], *drawn)))
            found["crop, tensors"].add(ours, part_of(tensors[index], *drawn))
            for name, value in line["steps"]:
                before, ours = ours, take(size, numpy.uint8)
                found[name].add(ours, STEPS[name](before, value))
            normal = (ours.to(torch.float32) / 255 - mean) / std
            if line["erased"]:
                erased += 1
                normal = functional.erase(normal, *line["erased"], torch.tensor(0.0))
            given = take(size, numpy.float32)
            if line["erased"]:
                top, left, height, width = line["erased"]
                assert not given[:, top:top + height, left:left + width].any(), "what is erased is 0"
            worst = max(worst, float((given - normal).abs().max()))
        assert at == len(pixels) and len(lines) == PICTURES * EPOCHS
        assert 0.3 < mirrored / len(lines) < 0.7 and 0.3 < erased / len(lines) < 0.7, (mirrored, erased)
        assert worst < 1e-5, f"normalised values differ by {worst}"
        print(f"{side}×{side}: {len(lines)} samples, {mirrored} mirrored, {erased} erased; normalised values differ by {worst:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--example", required=True, type=pathlib.Path)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = collections.defaultdict(Differences)
    for side in SIDES:
        compare(arguments.example.resolve(), arguments.data, side, found)
    print(f"\n{'':<32} {'images':>6} {'most':>5} {'mean':>9} {'above 1':>11}")
    wrong = []
    for name in ["crop, Pillow", "crop, tensors", "evaluation, Pillow", "evaluation, tensors", *STEPS]:
        differences = found[name]
        print(differences.row(name))
        if name in NEAREST:
            # Of a pixel that lies between two, either may be taken.
            is_right = differences.beyond <= differences.pixels / 1000
        elif name in STEPS:
            is_right = differences.most <= 1
        else:
            # The weights are rounded, and rows come before columns.
            is_right = differences.sum <= differences.pixels / 2
        if not is_right:
            wrong.append(name)
    if wrong:
        sys.exit(f"these differ: {', '.join(wrong)}")
    print("\nstagger's transforms are those of torchvision")


if __name__ == "__main__":
    main()
