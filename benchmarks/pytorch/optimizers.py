"""Training in stagger and in a plain PyTorch loop, from the same weights on the same pictures: optimizers, decay, rates.

    optimizers.py --stagger target/release/stagger [--engine torch]

Every batch holds all pictures, so that their order makes a difference of rounding only.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy
import safetensors.torch
import torch
from PIL import Image
from torch.nn import functional
from torch.optim import lr_scheduler, swa_utils

import models

PICTURES, CLASSES, BATCHES, WARMUP, RATE, DECAY = 32, 4, 10, 4, 0.01, 0.1
#: Of LARS.
TRUST = 0.5
#: Share of the mean so far in every update.
EMA = 0.7

#: Name; flags of stagger; the optimizer over groups of parameters.
CASES = [
    ("adamw, all", ["--optimizer", "adamw"], lambda groups: torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY)),
    ("adamw, weights", ["--optimizer", "adamw", "--weight-decay-on", "weights"],
     lambda groups: torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY)),
    ("sgd, all", ["--optimizer", "sgd"], lambda groups: torch.optim.SGD(groups, lr=RATE, weight_decay=DECAY)),
    ("momentum, weights", ["--optimizer", "momentum", "--weight-decay-on", "weights"],
     lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=0.9, weight_decay=DECAY)),
    ("adamw, all, head", ["--optimizer", "adamw", "--head-lr-factor", "5"],
     lambda groups: torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY)),
]


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of Chen et al. 2023."""

    def __init__(self, groups):
        super().__init__(groups, {"lr": RATE, "weight_decay": DECAY})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                direction = torch.sign(0.9 * mean + 0.1 * weight.grad)
                weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * direction)
                mean.mul_(0.99).add_(weight.grad, alpha=0.01)


class Lars(torch.optim.SGD):
    """PyTorch's SGD with the gradients of You et al. 2017."""

    def __init__(self, groups):
        super().__init__(groups, lr=RATE, momentum=0.9, weight_decay=DECAY)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                length, gradient, decay = weight.norm(), weight.grad.norm(), group["weight_decay"]
                if weight.dim() > 1 and length > 0 and gradient > 0:
                    ratio = TRUST * length / (gradient + decay * length)
                    # SGD adds the decay again.
                    weight.grad.copy_(ratio * (weight.grad + decay * weight) - decay * weight)
        super().step()


CASES += [
    ("lars, all", ["--optimizer", "lars", "--trust", str(TRUST)], Lars),
    ("lars, weights", ["--optimizer", "lars", "--trust", str(TRUST), "--weight-decay-on", "weights"], Lars),
    ("lion, all", ["--optimizer", "lion"], Lion),
    ("one cycle", ["--optimizer", "momentum", "--lr-schedule", "one-cycle"],
     lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=0.9, weight_decay=DECAY)),
    ("restarts", ["--optimizer", "momentum", "--lr-schedule", "restarts", "--lr-restart", "1,2", "--lr-last", str(0.1 * RATE)],
     lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=0.9, weight_decay=DECAY)),
    ("mean of weights", ["--optimizer", "momentum", "--ema", str(EMA)],
     lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=0.9, weight_decay=DECAY)),
    ("polynomial", ["--optimizer", "momentum", "--lr-schedule", "polynomial", "--lr-power", "2"],
     lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=0.9, weight_decay=DECAY)),
]


def draw(folder):
    """Pictures on disk, and as PyTorch takes them."""
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
    return (torch.stack(images) - 0.5) / 0.25, torch.tensor(labels)


def rates(flags):
    """docs/training.md: warm-up, then half a cosine; other curves are PyTorch's own, from the end of the warm-up on."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    if "one-cycle" in flags:
        curve = lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=BATCHES, pct_start=WARMUP / BATCHES)
    elif "restarts" in flags:
        curve = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=2, eta_min=0.1)
    elif "polynomial" in flags:
        curve = lr_scheduler.PolynomialLR(optimizer, total_iters=BATCHES - WARMUP, power=2.0)
    else:
        curve = lr_scheduler.CosineAnnealingLR(optimizer, T_max=BATCHES - WARMUP)
    warmup = 0 if "one-cycle" in flags else WARMUP
    found = [(batch + 1) / (warmup + 1) for batch in range(warmup)]
    while len(found) < BATCHES:
        found.append(curve.get_last_lr()[0])
        optimizer.step()
        curve.step()
    return found


def groups(model, flags):
    """Groups of parameters, each with the factors that the flags give it."""
    weights_only, head = "weights" in flags, 5 if "--head-lr-factor" in flags else 1
    for name, parameter in model.named_parameters():
        factor = head if name.startswith("linear.") else 1
        group = {"params": [parameter], "factor": factor}
        if weights_only and parameter.dim() == 1:
            group["weight_decay"] = 0.0
        yield group


def train(start, flags, make, images, labels):
    """A plain loop; the losses, and the weights at its end and their running mean."""
    model = models.build("resnet8", CLASSES)
    model.load_state_dict(start)
    model.train()
    optimizer = make(list(groups(model, flags)))
    average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(EMA))
    losses = []
    for rate in rates(flags):
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate * group["factor"]
        loss = functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(model)
        losses.append(loss.item())
    return losses, model.state_dict(), average.module.state_dict()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--stagger", type=pathlib.Path, required=True)
    arguments.add_argument("--engine", default="cpu")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(8)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        images, labels = draw(work / "pictures")
        start = models.randomize(models.build("resnet8", CLASSES), seed=8).state_dict()
        safetensors.torch.save_file(start, work / "start.safetensors")
        # Sums as PyTorch makes them: AdamW divides by small gradients, and so magnifies how others are rounded.
        sums = ["--winograd", "false"] if arguments.engine == "cpu" else []
        for number, (name, flags, make) in enumerate(CASES):
            losses, weights, average = train(start, flags, make, images, labels)
            run = work / f"run{number}"
            subprocess.run(
                [arguments.stagger, "train", "--model", "resnet8", "--dataset", "image-folder", "--data-dir", work / "pictures",
                 "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "--augment", "false", "--batch-size", str(PICTURES),
                 "--schedule", "bp", "--stages", "2", "--engine", arguments.engine, "--epochs", str(BATCHES), "--lr", str(RATE),
                 "--warmup-batches", str(WARMUP), "--weight-decay", str(DECAY), "--evaluate", "false", "--resume-weights",
                 work / "start.safetensors", "--output", run, *sums, *flags],
                check=True, stdout=subprocess.DEVNULL)
            records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
            found = [record["loss"] for record in records if record["kind"] == "batch"]
            apart = max(abs(ours - theirs) for ours, theirs in zip(found, losses, strict=True))
            ours = safetensors.torch.load_file(run / "last.safetensors")
            if "--ema" in flags:
                ours, weights = safetensors.torch.load_file(run / "average.safetensors"), average
            # What a tensor moved by, of which rounding is a small part.
            off = max(((ours[key] - weights[key]).norm() / (weights[key] - start[key]).norm().clamp_min(1e-3)).item()
                      for key in weights if weights[key].is_floating_point())
            print(f"{name:18} losses {losses[0]:.3f} to {losses[-1]:.3f}, at most {apart:.1e} apart; "
                  f"weights at most {off:.1e} of their way apart")
            assert apart < 1e-3 and off < 2e-2, name


if __name__ == "__main__":
    main()
