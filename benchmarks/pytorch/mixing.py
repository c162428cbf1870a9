"""mixup and CutMix in stagger and in a plain PyTorch loop, from the same weights on the same pictures with the same draws.

    mixing.py --stagger target/release/stagger [--engine torch]

The loop draws the order of samples, shares and boxes with a second implementation of what stagger draws them by
(crates/stagger-data/src/random.rs and mixing.rs), mixes as torchvision's `MixUp` and `CutMix` do, and has soft labels.
"""

import argparse
import json
import math
import pathlib
import subprocess
import tempfile

import safetensors.torch
import torch
from torch.nn import functional

import models
import optimizers
from optimizers import BATCHES, CLASSES, DECAY, PICTURES, RATE, WARMUP

MASK, GAMMA = 2**64 - 1, 0x9E3779B97F4A7C15
SHUFFLE, MIXING, SEED = 1, 11, 1

CASES = [("mixup", 0.4, None), ("cutmix", None, 1.0), ("both", 0.4, 1.0)]


def mix(value):
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


class Stream:
    """SplitMix64, started at a hash of its key."""

    def __init__(self, purpose, a):
        self.state = mix(SEED + GAMMA & MASK)
        for part in (purpose, a, 0):
            self.state = mix((self.state + GAMMA & MASK) ^ mix(part + GAMMA & MASK))

    def next(self):
        self.state = self.state + GAMMA & MASK
        return mix(self.state)

    def below(self, bound):
        product = self.next() * bound
        while (product & MASK) < bound and (product & MASK) < (2**64 - bound) % bound:
            product = self.next() * bound
        return product >> 64

    def unit(self):
        return (self.next() >> 11) * 2.0**-53


def order(epoch):
    """Fisher and Yates."""
    stream, found = Stream(SHUFFLE, epoch), list(range(PICTURES))
    for last in reversed(range(1, PICTURES)):
        other = stream.below(last + 1)
        found[last], found[other] = found[other], found[last]
    return found


def beta(alpha, stream):
    """Below a density that is highest in the middle; Jöhnk's method where it is lowest there."""
    while True:
        a, b = (1 - stream.unit() for _ in range(2))
        if alpha >= 1:
            if b <= (4 * a * (1 - a)) ** (alpha - 1):
                return a
            continue
        a, b = a ** (1 / alpha), b ** (1 / alpha)
        if a + b <= 1:
            return a / (a + b)


def mixed(images, targets, batch, mixup, cutmix):
    """The batch as torchvision would mix it, with what this batch draws."""
    stream = Stream(MIXING, batch)
    use_cutmix = stream.below(2) == 1 if mixup and cutmix else bool(cutmix)
    share = beta(cutmix if use_cutmix else mixup, stream)
    others = images.roll(1, 0)
    if not use_cutmix:
        images = share * images + (1 - share) * others
    else:
        height, width = images.shape[2:]
        middle, half = [stream.below(height), stream.below(width)], 0.5 * math.sqrt(1 - share)
        reach = [int(half * height), int(half * width)]
        top, left = max(middle[0] - reach[0], 0), max(middle[1] - reach[1], 0)
        bottom, right = min(middle[0] + reach[0], height), min(middle[1] + reach[1], width)
        images = images.clone()
        images[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
    return images, share * targets + (1 - share) * targets.roll(1, 0)


def train(start, images, labels, mixup, cutmix):
    """A plain loop; its losses, and the weights at its end."""
    model = models.build("resnet8", CLASSES)
    model.load_state_dict(start)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=DECAY)
    losses = []
    for batch, rate in enumerate(optimizers.rates([])):
        chosen = order(batch)
        inputs, targets = mixed(images[chosen], functional.one_hot(labels[chosen], CLASSES).float(), batch, mixup, cutmix)
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate
        loss = functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.state_dict()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--stagger", type=pathlib.Path, required=True)
    arguments.add_argument("--engine", default="cpu")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(8)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        images, labels = optimizers.draw(work / "pictures")
        # As stagger numbers them: class by class, and by name within a class.
        numbered = sorted(range(PICTURES), key=lambda index: (labels[index].item(), index))
        images, labels = images[numbered], labels[numbered]
        start = models.randomize(models.build("resnet8", CLASSES), seed=8).state_dict()
        safetensors.torch.save_file(start, work / "start.safetensors")
        sums = ["--winograd", "false"] if arguments.engine == "cpu" else []
        for name, mixup, cutmix in CASES:
            losses, weights = train(start, images, labels, mixup, cutmix)
            flags = [word for flag, alpha in (("--mixup", mixup), ("--cutmix", cutmix)) if alpha for word in (flag, str(alpha))]
            run = work / name
            subprocess.run(
                [arguments.stagger, "train", "--model", "resnet8", "--dataset", "image-folder", "--data-dir", work / "pictures",
                 "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "--augment", "false", "--batch-size", str(PICTURES),
                 "--schedule", "bp", "--stages", "2", "--engine", arguments.engine, "--epochs", str(BATCHES), "--lr", str(RATE),
                 "--warmup-batches", str(WARMUP), "--weight-decay", str(DECAY), "--evaluate", "false", "--seed", str(SEED),
                 "--resume-weights", work / "start.safetensors", "--output", run, *sums, *flags],
                check=True, stdout=subprocess.DEVNULL)
            records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
            found = [record["loss"] for record in records if record["kind"] == "batch"]
            apart = max(abs(ours - theirs) for ours, theirs in zip(found, losses, strict=True))
            ours = safetensors.torch.load_file(run / "last.safetensors")
            off = max(((ours[key] - weights[key]).norm() / (weights[key] - start[key]).norm().clamp_min(1e-3)).item()
                      for key in weights if weights[key].is_floating_point())
            print(f"{name:18} losses {losses[0]:.3f} to {losses[-1]:.3f}, at most {apart:.1e} apart; "
                  f"weights at most {off:.1e} of their way apart")
            assert apart < 1e-3 and off < 2e-2, name


if __name__ == "__main__":
    main()
