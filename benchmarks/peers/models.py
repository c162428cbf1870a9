"""The networks and the data: what stagger's zoo calls resnet20, resnet56, resnet110, block by block.

See crates/stagger-model/src/zoo/cifar_resnet.rs and crates/stagger-model/src/init.rs.
"""

import torch
from torch import nn
from torch.nn import functional

IMAGE = (3, 32, 32)
CLASSES = 10


def conv3x3(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = conv3x3(IMAGE[0], 16)
        self.bn1 = nn.BatchNorm2d(16)

    def forward(self, images):
        return functional.relu(self.bn1(self.conv1(images)), inplace=True)


class BasicBlock(nn.Module):
    """Two convolutions around a shortcut of option A: every other pixel, new channels zero on both sides."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.new_channels = (outputs - inputs) // 2
        self.conv1 = conv3x3(inputs, outputs, self.stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, images):
        hidden = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        hidden = self.bn2(self.conv2(hidden))
        shortcut = images
        if self.stride != 1:
            sides = (0, 0, 0, 0, self.new_channels, self.new_channels)
            shortcut = functional.pad(images[:, :, ::2, ::2], sides)
        return functional.relu(hidden.add_(shortcut), inplace=True)


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, CLASSES)

    def forward(self, images):
        return self.linear(functional.adaptive_avg_pool2d(images, 1).flatten(1))


def blocks(name, seed):
    """The blocks of a network, in order: stem, residual blocks, head. A cut falls between two of them."""
    depth = int(name.removeprefix("resnet"))
    if depth < 8 or (depth - 2) % 6 != 0:
        raise ValueError(f"{name}: expected resnetD with D = 6n + 2, such as resnet20")
    torch.manual_seed(seed)
    found, width = [Stem()], 16
    for outputs in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            found.append(BasicBlock(width, outputs))
            width = outputs
    found.append(Head())
    for block in found:
        for module in block.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound)
                nn.init.zeros_(module.bias)
    return found


class Into(torch.autograd.Function):
    """Rows as another process sends them, [N, H, W, C], to images. Its gradient lies in memory as it is sent, also where a backward pass in
    two halves takes it from the graph as it is."""

    @staticmethod
    def forward(_, rows):
        return rows.permute(0, 3, 1, 2)

    @staticmethod
    def backward(_, gradient):
        return gradient.permute(0, 2, 3, 1).contiguous()


class Out(torch.autograd.Function):
    """Images in channels_last to rows. These share their memory, and are no view in PyTorch's eyes, which detaches them in place between
    the parts of one process."""

    @staticmethod
    def forward(_, images):
        rows = images.permute(0, 2, 3, 1)
        own = torch.empty(0, dtype=rows.dtype, device=rows.device)
        return own.set_(rows.untyped_storage(), rows.storage_offset(), rows.shape, rows.stride())

    @staticmethod
    def backward(_, gradient):
        return gradient.permute(0, 3, 1, 2)


class Stage(nn.Module):
    """A run of blocks. Between stages an image batch travels as [N, H, W, C], which is how channels_last lies in
    memory: torch.distributed sends dense row-major tensors, and this makes them so without a copy."""

    def __init__(self, run, first, last, dtype):
        super().__init__()
        self.run = nn.Sequential(*run)
        self.first, self.last, self.dtype = first, last, dtype
        self.to(memory_format=torch.channels_last)

    def forward(self, batch):
        if not self.first:
            batch = Into.apply(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.dtype == "bf16"):
            batch = self.run(batch)
        return batch.float() if self.last else Out.apply(batch)


def whole(name, seed, dtype):
    return Stage(blocks(name, seed), True, True, dtype)


def batches(batch_size, seed, count=4):
    """Fixed random images with random labels, used in turn."""
    generator = torch.Generator().manual_seed(seed + 1)
    found = []
    for _ in range(count):
        images = torch.randn(batch_size, *IMAGE, generator=generator).to(memory_format=torch.channels_last)
        found.append((images, torch.randint(CLASSES, (batch_size,), generator=generator)))
    return found
