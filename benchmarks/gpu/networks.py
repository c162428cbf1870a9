"""The networks of the peers: CIFAR ResNets from benchmarks/peers, and ResNet-50 as in torchvision.

See crates/stagger-model/src/zoo/imagenet_resnet.rs for what stagger trains under the name resnet50.
"""

import pathlib
import sys

from torch import nn
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import models  # noqa: E402 (found through the line above)


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 around the identity or a projection; the stride lies on the 3×3 convolution."""

    def __init__(self, inputs, inner, stride):
        super().__init__()
        outputs = 4 * inner
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, images):
        hidden = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        hidden = functional.relu(self.bn2(self.conv2(hidden)), inplace=True)
        hidden = self.bn3(self.conv3(hidden))
        shortcut = images if self.downsample is None else self.downsample(images)
        return functional.relu(hidden.add_(shortcut), inplace=True)


def resnet50(classes):
    found = [nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
             nn.MaxPool2d(3, stride=2, padding=1)]
    width = 64
    for group, count in enumerate((3, 4, 6, 3)):
        inner = 64 << group
        for index in range(count):
            found.append(Bottleneck(width, inner, 2 if group > 0 and index == 0 else 1))
            width = 4 * inner
    return nn.Sequential(*found, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def network(name, classes, seed):
    """A network by stagger's name for it. The CIFAR ResNets have 10 classes."""
    if name == "resnet50":
        return resnet50(classes)
    if classes != models.CLASSES:
        raise ValueError(f"{name} with {classes} classes: benchmarks/peers/models.py has it with {models.CLASSES}")
    return nn.Sequential(*models.blocks(name, seed))
