"""The networks that stagger's are compared with: torchvision's, and the usual ports for CIFAR in their own words."""

import torch
import torchvision
from torch import nn
from torch.nn import functional


class SubsampleAndPad(nn.Module):
    """Shortcut of option A (He et al. 2015, section 3.3): every second pixel, and channels of zeros on both sides."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.pad = (outputs - inputs) // 2

    def forward(self, x):
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential() if stride == 1 else SubsampleAndPad(inputs, outputs)

    def forward(self, x):
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class CifarResNet(nn.Module):
    """Depth 6n + 2, with the names of akamaster/pytorch_resnet_cifar10."""

    def __init__(self, depth, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        inputs = 16
        for group, width in enumerate((16, 32, 64)):
            blocks = []
            for index in range((depth - 2) // 6):
                blocks.append(BasicBlock(inputs, width, 2 if group and not index else 1))
                inputs = width
            setattr(self, f"layer{group + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class PreactivationBottleneck(nn.Module):
    def __init__(self, inputs, inner, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 4 * inner, 1, bias=False)
        self.downsample = None
        if inputs != 4 * inner:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, 4 * inner, 1, stride, bias=False))

    def forward(self, x):
        out = self.conv1(functional.relu(self.bn1(x)))
        out = self.conv2(functional.relu(self.bn2(out)))
        out = self.conv3(functional.relu(self.bn3(out)))
        return out + (x if self.downsample is None else self.downsample(x))


class PreactivationResNet(nn.Module):
    """Depth 9n + 2, with the names of `preresnet` in bearpaw/pytorch-classification."""

    def __init__(self, depth, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        inputs = 16
        for group, inner in enumerate((16, 32, 64)):
            blocks = []
            for index in range((depth - 2) // 9):
                blocks.append(PreactivationBottleneck(inputs, inner, 2 if group and not index else 1))
                inputs = 4 * inner
            setattr(self, f"layer{group + 1}", nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(256)
        self.fc = nn.Linear(256, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(functional.relu(self.bn(x)).mean((2, 3)))


class WideBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if inputs != outputs:
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        out = functional.relu(self.bn1(x))
        shortcut = self.convShortcut(out) if hasattr(self, "convShortcut") else x
        return self.conv2(functional.relu(self.bn2(self.conv1(out)))) + shortcut


class WideResNet(nn.Module):
    """Depth 6n + 4, with the names of xternalbz/WideResNet-pytorch."""

    def __init__(self, depth, widening, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        inputs = 16
        for group, width in enumerate((16, 32, 64)):
            blocks = []
            for index in range((depth - 4) // 6):
                blocks.append(WideBlock(inputs, widening * width, 2 if group and not index else 1))
                inputs = widening * width
            layers = nn.Module()
            layers.layer = nn.Sequential(*blocks)
            setattr(self, f"block{group + 1}", layers)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.conv1(x)
        for block in (self.block1, self.block2, self.block3):
            x = block.layer(x)
        return self.fc(functional.relu(self.bn1(x)).mean((2, 3)))


class ResNeXtBottleneck(nn.Module):
    def __init__(self, inputs, inner, outputs, groups, stride):
        super().__init__()
        self.conv_reduce = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn_reduce = nn.BatchNorm2d(inner)
        self.conv_conv = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(inner)
        self.conv_expand = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn_expand = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut.add_module("shortcut_conv", nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.add_module("shortcut_bn", nn.BatchNorm2d(outputs))

    def forward(self, x):
        out = functional.relu(self.bn_reduce(self.conv_reduce(x)))
        out = functional.relu(self.bn(self.conv_conv(out)))
        return functional.relu(self.bn_expand(self.conv_expand(out)) + self.shortcut(x))


class CifarResNeXt(nn.Module):
    """Depth 9n + 2, with the names of prlz77/ResNeXt.pytorch."""

    def __init__(self, depth, groups, width, classes):
        super().__init__()
        self.conv_1_3x3 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn_1 = nn.BatchNorm2d(64)
        inputs = 64
        for stage, factor in enumerate((1, 2, 4), start=1):
            blocks = nn.Sequential()
            for index in range((depth - 2) // 9):
                stride = 2 if stage > 1 and not index else 1
                block = ResNeXtBottleneck(inputs, factor * groups * width, factor * 256, groups, stride)
                blocks.add_module(f"stage_{stage}_bottleneck_{index}", block)
                inputs = factor * 256
            setattr(self, f"stage_{stage}", blocks)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x):
        x = functional.relu(self.bn_1(self.conv_1_3x3(x)))
        x = self.stage_3(self.stage_2(self.stage_1(x)))
        return self.classifier(x.mean((2, 3)))


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, x):
        out = self.conv1(functional.relu(self.bn1(x)))
        return torch.cat((x, self.conv2(functional.relu(self.bn2(out)))), 1)


class Transition(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x):
        return functional.avg_pool2d(self.conv1(functional.relu(self.bn1(x))), 2)


class DenseNetBC(nn.Module):
    """Depth 6n + 4, with the names of bearpaw/pytorch-classification."""

    def __init__(self, depth, growth, classes):
        super().__init__()
        width = 2 * growth
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        for group in (1, 2, 3):
            layers = []
            for _ in range((depth - 4) // 6):
                layers.append(DenseLayer(width, growth))
                width += growth
            setattr(self, f"dense{group}", nn.Sequential(*layers))
            if group < 3:
                setattr(self, f"trans{group}", Transition(width))
                width //= 2
        self.bn = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        x = self.trans1(self.dense1(self.conv1(x)))
        x = self.dense3(self.trans2(self.dense2(x)))
        return self.fc(functional.relu(self.bn(x)).mean((2, 3)))


def build(name, classes):
    """The network of a zoo name."""
    if name.startswith("densenet-bc-"):
        return DenseNetBC(*map(int, name.removeprefix("densenet-bc-").split("-")), classes)
    if name == "mobilenet-v2":
        return torchvision.models.mobilenet_v2(num_classes=classes)
    if name == "resnext50-32x4d":
        return torchvision.models.resnext50_32x4d(num_classes=classes)
    if name.startswith("resnext"):
        depth, rest = name.removeprefix("resnext").removesuffix("d").split("-")
        return CifarResNeXt(int(depth), *map(int, rest.split("x")), classes)
    if name.startswith("wrn-"):
        depth, widening = map(int, name.removeprefix("wrn-").split("-"))
        return WideResNet(depth, widening, classes)
    if name == "resnet164" or name.startswith("preact-resnet"):
        return PreactivationResNet(int(name.split("resnet")[1]), classes)
    if name == "vgg16-bn":
        # stagger's has one linear layer instead of three, as usual for small images.
        model = torchvision.models.vgg16_bn(num_classes=classes)
        model.avgpool, model.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, classes)
        return model
    if name == "resnet18-cifar":
        model = torchvision.models.resnet18(num_classes=classes)
        model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
        return model
    depth = int(name.removeprefix("resnet"))
    if depth in (18, 34, 50, 101, 152):
        return getattr(torchvision.models, name)(num_classes=classes)
    return CifarResNet(depth, classes)


@torch.no_grad()
def randomize(model, seed):
    """Other values in everything that is loaded: weights, running statistics, counters."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.0)
            module.bias.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.8, 2.0)
            module.num_batches_tracked.fill_(391)
    return model.eval()
