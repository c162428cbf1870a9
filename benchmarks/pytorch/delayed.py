"""The method DSP as a plain PyTorch loop over stages that share one process (docs/algorithm.md, "What stage k does").

With one stage and no staleness it is the usual loop of backpropagation.
"""

from collections import deque
from contextlib import contextmanager

import torch
from torch import nn


def blocks(resnet):
    """A CIFAR ResNet in the blocks that stagger cuts it between."""
    stem = nn.Sequential(resnet.conv1, resnet.bn1, nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), resnet.linear)
    return [stem, *resnet.layer1, *resnet.layer2, *resnet.layer3, head]


def cut(resnet, balance):
    """Its stages, of so many blocks each; they share their parameters with it."""
    remaining = iter(blocks(resnet))
    stages = [nn.Sequential(*(next(remaining) for _ in range(count))) for count in balance]
    assert next(remaining, None) is None, balance
    return stages


@contextmanager
def running_statistics_kept(stage):
    """Within, batch normalisation uses the statistics of the batch and leaves the running ones alone."""
    layers = [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)]
    for layer in layers:
        layer.track_running_stats = False
    yield
    for layer in layers:
        layer.track_running_stats = True


class Pipeline:
    """Stages of which stage k forwards a batch `staleness[k]` updates before it pulls it back."""

    def __init__(self, stages, staleness, batches):
        """`batches` gives pairs of images and targets."""
        self.stages, self.staleness = stages, staleness
        self.batches = iter(batches)
        #: Inputs that a stage has forwarded and not pulled back, the oldest first.
        self.kept = [deque() for _ in stages]
        #: Outputs of the stage below that a stage has not forwarded.
        self.sent_up = [deque() for _ in stages]
        #: Targets go around the stages: they wait for their batch where the loss is.
        self.targets = deque()

    def forward_ahead(self, k):
        """Forwards until this stage has `staleness[k]` batches beside the one that it pulls back next, while there are any."""
        while len(self.kept[k]) <= self.staleness[k]:
            if k == 0:
                images, targets = next(self.batches, (None, None))
                if images is None:
                    return
                self.targets.append(targets)
            elif self.sent_up[k]:
                images = self.sent_up[k].popleft()
            else:
                return
            self.kept[k].append(images)
            if k + 1 < len(self.stages):
                with torch.no_grad(), running_statistics_kept(self.stages[k]):
                    self.sent_up[k + 1].append(self.stages[k](images))

    def gradients(self, loss_of):
        """Adds up the gradients of the next batch, each stage's at its newest weights, and gives the batch's loss."""
        for k in range(len(self.stages)):
            self.forward_ahead(k)
        gradient = None
        for k in reversed(range(len(self.stages))):
            # The forward again, at the weights of now, around the input that went up at those of then.
            images = self.kept[k].popleft().requires_grad_(k > 0)
            output = self.stages[k](images)
            if gradient is None:
                loss = loss_of(output, self.targets.popleft())
                loss.backward()
            else:
                output.backward(gradient)
            gradient = images.grad
        return loss.item()
