"""Training in stagger and in a plain PyTorch loop, from the same weights on the same pictures: optimizers, decay, rates, and the mean of the weights.

    optimizers.py --stagger target/release/stagger [--engine torch] [--cases adamw]

Each case runs with backpropagation, and with DSP on two and three stages, whose loop is `delayed.py`. Every batch holds all
pictures, so that their order makes a difference of rounding only.
"""

import torch
from torch.nn import functional

import beside
from beside import BATCHES, DECAY, PICTURES, momentum, sgd

#: Of LARS.
TRUST = 0.5
#: Share of the mean so far in every update.
EMA = 0.99
#: Norm of a gradient, below those of these runs.
CLIP = 0.3


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of Chen et al. 2023."""

    def __init__(self, groups):
        super().__init__(groups, {"lr": 0.0, "weight_decay": DECAY})

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
        super().__init__(groups, lr=0.0, momentum=0.9, weight_decay=DECAY)

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


def adamw(groups):
    return torch.optim.AdamW(groups, lr=0.0, weight_decay=DECAY)


RATES = {"adamw": 0.01, "lion": 0.01, "sgd": 0.05, "momentum": 0.05, "lars": 0.05}

ON_WEIGHTS = ["--weight-decay-on", "weights"]
RESTARTS = ["--lr-schedule", "restarts", "--lr-restart", "1,2", "--lr-last", str(0.1 * RATES["momentum"])]

#: Name; optimizer of stagger and its flags; the optimizer over groups of parameters; what else the loop does.
CASES = [
    ("adamw, all", "adamw", [], adamw, {}),
    ("adamw, weights", "adamw", ON_WEIGHTS, adamw, {"weights_only": True}),
    ("sgd, all", "sgd", [], sgd, {}),
    ("momentum, weights", "momentum", ON_WEIGHTS, momentum, {"weights_only": True}),
    ("adamw, all, head", "adamw", ["--head-lr-factor", "5"], adamw, {"head_factor": 5}),
    ("lars, all", "lars", ["--trust", str(TRUST)], Lars, {}),
    ("lars, weights", "lars", ["--trust", str(TRUST), *ON_WEIGHTS], Lars, {"weights_only": True}),
    ("lion, all", "lion", [], Lion, {}),
    ("one cycle", "momentum", ["--lr-schedule", "one-cycle"], momentum, {"curve": "one-cycle"}),
    ("restarts", "momentum", RESTARTS, momentum, {"curve": "restarts"}),
    ("mean of weights", "momentum", ["--ema", str(EMA)], momentum, {"ema": EMA}),
    # By the norm over both stages of backpropagation, whose loop has one.
    ("clipping", "momentum", ["--clip-norm", str(CLIP)], momentum, {"clip": CLIP}),
    ("polynomial", "momentum", ["--lr-schedule", "polynomial", "--lr-power", "2"], momentum, {"curve": "polynomial"}),
]


def main():
    both = beside.Beside(__doc__)
    for name, optimizer, flags, make, options in CASES:
        def loop(way):
            batches = [(both.images, both.labels)] * BATCHES
            return beside.train(both.start, way, batches, RATES[optimizer], make, functional.cross_entropy, **options)
        flags = ["--batch-size", str(PICTURES), "--epochs", str(BATCHES), "--optimizer", optimizer, "--lr", str(RATES[optimizer]), *flags]
        both.compare(name, flags, loop)


if __name__ == "__main__":
    main()
