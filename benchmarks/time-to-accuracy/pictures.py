"""CIFAR-10 as class folders of JPEG files, for PyTorch: decoded once and kept, cropped and mirrored batch by batch."""

import pathlib

import numpy
import torch
from PIL import Image
from torch.nn import functional

PAD = 4


def decode(folder, kept):
    """Images [N, 3, 32, 32] of bytes and labels [N] of `train` and `test`, in files under `kept`, which are made where they are missing."""
    found = {}
    for part in ("train", "test"):
        images, labels = kept / f"{part}-images.npy", kept / f"{part}-labels.npy"
        if not labels.exists():
            classes = sorted(entry.name for entry in (folder / part).iterdir() if entry.is_dir())
            paths = [(path, label) for label, name in enumerate(classes) for path in sorted((folder / part / name).iterdir())]
            kept.mkdir(parents=True, exist_ok=True)
            pixels = numpy.stack([numpy.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path, _ in paths])
            numpy.save(images, pixels)
            # Last, as it says that both are whole.
            numpy.save(labels, numpy.array([label for _, label in paths], dtype=numpy.int64))
        # One copy for all processes.
        found[part] = torch.from_numpy(numpy.load(images, mmap_mode="c")), torch.from_numpy(numpy.load(labels))
    return found["train"], found["test"]


def moments(images):
    """Mean and standard deviation per channel, of bytes as shares of 255."""
    # In parts, as floats take four times the memory.
    sums = sum(torch.stack([part.sum((0, 2, 3)), part.square().sum((0, 2, 3))])
               for part in (some.to(torch.float64).div_(255) for some in images.split(1000)))
    mean, square = sums / (images.numel() / images.shape[1])
    shape = (1, -1, 1, 1)
    return mean.float().view(shape), (square - mean.square()).sqrt().float().view(shape)


class Pictures:
    """Batches of an epoch, in an order that depends on seed and epoch alone, so that all processes draw the same."""

    def __init__(self, data, kept, batch_size, seed):
        (self.images, self.labels), self.test = decode(pathlib.Path(data), pathlib.Path(kept))
        self.batch_size, self.seed = batch_size, seed
        # Of the training images, per channel.
        self.mean, self.deviation = moments(self.images)

    def batches(self):
        """Of an epoch; the last one, which is smaller, is left out."""
        return len(self.labels) // self.batch_size

    def epoch(self, epoch, share):
        """The rows `share` of every batch: images in channels_last, and labels."""
        generator = torch.Generator().manual_seed(self.seed * 1000 + epoch)
        order = torch.randperm(len(self.labels), generator=generator)
        for batch in range(self.batches()):
            chosen = order[batch * self.batch_size :][: self.batch_size]
            shifts = torch.randint(0, 2 * PAD + 1, (2, self.batch_size), generator=generator)
            mirrored = torch.rand(self.batch_size, generator=generator) < 0.5
            rows = chosen[share]
            yield self.varied(self.images[rows], shifts[:, share], mirrored[share]), self.labels[rows]

    def varied(self, images, shifts, mirrored):
        """Crops of the images with black around them, mirrored where asked for."""
        count, channels, height, width = images.shape
        padded = functional.pad(images, (PAD, PAD, PAD, PAD))
        rows = shifts[0].view(-1, 1) + torch.arange(height)
        columns = shifts[1].view(-1, 1) + torch.arange(width)
        columns = torch.where(mirrored.view(-1, 1), columns.flip(1), columns)
        which = torch.arange(count).view(-1, 1, 1)
        # [N, H, W, C]: the channels come last by themselves.
        crops = padded.permute(0, 2, 3, 1)[which, rows.view(count, height, 1), columns.view(count, 1, width)]
        return self.normalised(crops.permute(0, 3, 1, 2))

    def normalised(self, images):
        return images.to(torch.float32).div_(255).sub_(self.mean).div_(self.deviation)

    def test_batches(self, size=128):
        images, labels = self.test
        for first in range(0, len(labels), size):
            part = images[first : first + size].contiguous(memory_format=torch.channels_last)
            yield self.normalised(part), labels[first : first + size]
