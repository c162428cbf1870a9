"""Runs of stagger and of a PyTorch loop from the same weights on the same pictures, and how far apart they are: for optimizers.py, mixing.py."""

import argparse
import json
import pathlib
import subprocess
import tempfile
from typing import NamedTuple

import numpy
import safetensors.torch
import torch
from PIL import Image
from torch.optim import lr_scheduler, swa_utils

import delayed
import models

PICTURES, CLASSES, BATCHES, WARMUP, DECAY = 32, 4, 16, 4, 0.1
#: How far losses may be apart, and weights, as a share of what a tensor moved by. Most are apart by 1e-6. Now and then rounding decides on
#: which side of 0 an input of a ReLU is, or with AdamW and Lion a gradient, and training magnifies that.
LOSSES_APART, WEIGHTS_APART = 1e-3, 2e-2


class Loop(NamedTuple):
    """How the loop cuts ResNet-8, whose blocks are stem, three residual blocks and head, and the staleness of its stages."""

    balance: list[int]
    staleness: list[int]


class Method(NamedTuple):
    schedule: str
    #: Blocks of stagger's stages.
    balance: str
    loop: Loop
    #: Loops that are off by one, which must not agree.
    wrong: list[Loop]


METHODS = [
    # Backpropagation is the same on any number of stages.
    Method("bp", "2,3", Loop([5], [0]), [Loop([2, 3], [1, 0])]),
    Method("dsp(1,0;2,0)", "2,3", Loop([2, 3], [2, 0]), [Loop([2, 3], [1, 0]), Loop([2, 3], [3, 0])]),
    Method("dsp(1,1,0;4,2,0)", "1,2,2", Loop([1, 2, 2], [4, 2, 0]),
           [Loop([1, 2, 2], [5, 2, 0]), Loop([1, 2, 2], [4, 3, 0]), Loop([1, 2, 2], [4, 1, 0])]),
]


def draw(folder):
    """Pictures on disk, and as PyTorch takes them, in stagger's order: class by class, and by name within a class."""
    numbers = numpy.random.default_rng(3)
    images, labels = [], []
    for index in range(PICTURES):
        label = index % CLASSES
        pixels = numbers.integers(0, 256, (16, 16, 3), dtype=numpy.uint8) // 2 + 30 * label
        for split in ("train", "val"):
            path = folder / split / f"class{label}"
            path.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(numpy.uint8)).save(path / f"{index:03}.png")
        images.append(torch.from_numpy(pixels.astype(numpy.float32)).permute(2, 0, 1) / 255)
        labels.append(label)
    numbered = sorted(range(PICTURES), key=lambda index: (labels[index], index))
    return (torch.stack(images)[numbered] - 0.5) / 0.25, torch.tensor(labels)[numbered]


def warmed_up(curve):
    """Factors of the rate: docs/training.md's warm-up, and PyTorch's own curve from its end on."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    warmup = WARMUP
    if curve == "one-cycle":
        curve, warmup = lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=BATCHES, pct_start=WARMUP / BATCHES), 0
    elif curve == "restarts":
        curve = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=2, eta_min=0.1)
    elif curve == "polynomial":
        curve = lr_scheduler.PolynomialLR(optimizer, total_iters=BATCHES - WARMUP, power=2.0)
    else:
        curve = lr_scheduler.CosineAnnealingLR(optimizer, T_max=BATCHES - WARMUP)
    found = [(batch + 1) / (warmup + 1) for batch in range(warmup)]
    while len(found) < BATCHES:
        found.append(curve.get_last_lr()[0])
        optimizer.step()
        curve.step()
    return found


def sgd(groups):
    return torch.optim.SGD(groups, lr=0.0, weight_decay=DECAY)


def momentum(groups):
    return torch.optim.SGD(groups, lr=0.0, momentum=0.9, weight_decay=DECAY)


def groups(stage, names, weights_only, head_factor):
    """Groups of a stage's parameters, each with the factor that its rate has."""
    for parameter in stage.parameters():
        factor = head_factor if names[parameter].startswith("linear.") else 1
        group = {"params": [parameter], "factor": factor}
        if weights_only and parameter.dim() == 1:
            group["weight_decay"] = 0.0
        yield group


def train(start, loop, batches, rate, make, loss_of, *, curve="cosine", weights_only=False, head_factor=1, ema=None, clip=None):
    """The losses of the loop, and the weights at its end, or with `ema` their running mean. Each stage clips its own gradient to the norm `clip`."""
    model = models.build("resnet8", CLASSES)
    model.load_state_dict(start)
    model.train()
    names = {parameter: name for name, parameter in model.named_parameters()}
    stages = delayed.cut(model, loop.balance)
    optimizers = [make(list(groups(stage, names, weights_only, head_factor))) for stage in stages]
    pipeline = delayed.Pipeline(stages, loop.staleness, batches)
    average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(ema or 0.0))
    losses = []
    # Update n of a stage is of batch n, at the rate of batch n.
    for share in warmed_up(curve):
        model.zero_grad()
        losses.append(pipeline.gradients(loss_of))
        for stage in stages if clip else []:
            torch.nn.utils.clip_grad_norm_(stage.parameters(), clip)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * share * group["factor"]
            optimizer.step()
        average.update_parameters(model)
    return losses, (average.module if ema else model).state_dict()


class Beside:
    """Runs of stagger and of the loop from the same weights on the same pictures."""

    def __init__(self, description):
        arguments = argparse.ArgumentParser(description=description)
        arguments.add_argument("--stagger", type=pathlib.Path, required=True)
        arguments.add_argument("--engine", default="cpu")
        arguments.add_argument("--cases", default="", help="those with this in their names only")
        self.arguments = arguments.parse_args()
        torch.set_num_threads(1)
        torch.manual_seed(8)
        self.folder = tempfile.TemporaryDirectory()
        self.work = pathlib.Path(self.folder.name)
        self.images, self.labels = draw(self.work / "pictures")
        self.start = models.randomize(models.build("resnet8", CLASSES), seed=8).state_dict()
        safetensors.torch.save_file(self.start, self.work / "start.safetensors")

    def stagger(self, name, method, flags):
        """Losses and final weights of a run, or the mean of the weights if it keeps one."""
        run = self.work / f"{name}, {method.schedule}"
        # Sums as PyTorch makes them: AdamW divides by small gradients, and so magnifies how others are rounded.
        sums = ["--winograd", "false"] if self.arguments.engine == "cpu" else []
        subprocess.run(
            [self.arguments.stagger, "train", "--model", "resnet8", "--dataset", "image-folder", "--data-dir", self.work / "pictures",
             "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "--augment", "false", "--max-batches", str(BATCHES),
             "--schedule", method.schedule, "--stages", str(len(method.balance.split(","))), "--balance", method.balance,
             "--calibration-batches", "0", "--engine", self.arguments.engine, "--warmup-batches", str(WARMUP),
             "--weight-decay", str(DECAY), "--evaluate", "false", "--resume-weights", self.work / "start.safetensors",
             "--output", run, *sums, *flags],
            check=True, stdout=subprocess.DEVNULL)
        records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        losses = [record["loss"] for record in records if record["kind"] == "batch"]
        weights = "average.safetensors" if "--ema" in flags else "last.safetensors"
        return losses, safetensors.torch.load_file(run / weights)

    def apart(self, ours, theirs):
        """How far losses are apart at most, and weights, as a share of what a tensor moved by, of which rounding is a small part."""
        (our_losses, our_weights), (their_losses, their_weights) = ours, theirs
        losses = torch.tensor(our_losses) - torch.tensor(their_losses)
        weights = []
        for key, value in their_weights.items():
            if value.is_floating_point():
                moved = (value - self.start[key]).norm().clamp_min(1e-3)
                weights.append((our_weights[key] - value).norm() / moved)
            else:
                assert our_weights[key] == value, f"{key}: {our_weights[key]} and {value}"
        # The largest is NaN where one is, and so is within no limit.
        return losses.abs().max().item(), torch.stack(weights).max().item()

    def compare(self, name, flags, loop):
        """One case in every method; `loop(way)` trains in PyTorch. Loops that are off by one must not agree."""
        def agree(losses, weights):
            return losses < LOSSES_APART and weights < WEIGHTS_APART

        if self.arguments.cases not in name:
            return
        for method in METHODS:
            ours, theirs = self.stagger(name, method, flags), loop(method.loop)
            losses, weights = self.apart(ours, theirs)
            wrong = [self.apart(ours, loop(other)) for other in method.wrong]
            print(f"{name:18} {method.schedule:17} losses {theirs[0][0]:.3f} to {theirs[0][-1]:.3f}, at most {losses:.1e} apart; "
                  f"weights at most {weights:.1e} of their way apart; "
                  f"off by one, {min(l for l, _ in wrong):.1e} and {min(w for _, w in wrong):.1e}")
            assert agree(losses, weights), f"{name}, {method.schedule}: they are too far apart"
            for way, distances in zip(method.wrong, wrong, strict=True):
                assert not agree(*distances), f"{name}, {method.schedule}: the loop with {way} agrees, too"
