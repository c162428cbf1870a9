#!/usr/bin/env python3
"""Trains a CIFAR ResNet with plain PyTorch for a few steps on fixed random images; its peak memory is for the caller to see.

    peer.py --model resnet110 --batch-size 128 --checkpoint root

`--checkpoint blocks` keeps the input of every block and recomputes the rest; `root` does so for runs of blocks, as many as the square
root of their number, which is the least memory for one more forward pass.
"""

import argparse
import math
import os
import sys

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint_sequential

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
import models


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", choices=("no", "blocks", "root"), default="no")
    return parser.parse_args()


def main():
    options = parse()
    torch.set_num_threads(options.threads)
    model = models.whole(options.model, 1, "f32")
    blocks = model.run
    segments = {"no": 0, "blocks": len(blocks), "root": math.isqrt(len(blocks))}[options.checkpoint]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    data = models.batches(options.batch_size, 1, count=1)
    for _ in range(options.steps):
        images, labels = data[0]
        optimizer.zero_grad()
        logits = checkpoint_sequential(blocks, segments, images, use_reentrant=False) if segments else model(images)
        loss = functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
    assert math.isfinite(loss.item()), loss


if __name__ == "__main__":
    main()
