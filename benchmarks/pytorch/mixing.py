"""mixup and CutMix in stagger and in a plain PyTorch loop, from the same weights on the same pictures with the same draws.

    mixing.py --stagger target/release/stagger [--engine torch] [--cases mixup]

The loop draws the order of samples, shares and boxes with a second implementation of what stagger draws them by
(crates/stagger-data/src/random.rs and mixing.rs), mixes as torchvision's `MixUp` and `CutMix` do, and has soft labels. Batches are
halves of the pictures, so that a stage which took images or targets of another batch would be found, in DSP as in backpropagation.
"""

import math

from torch.nn import functional

import beside
from beside import BATCHES, CLASSES, PICTURES, momentum

MASK, GAMMA = 2**64 - 1, 0x9E3779B97F4A7C15
SHUFFLE, MIXING, SEED = 1, 11, 1
RATE, BATCH_SIZE = 0.05, PICTURES // 2

#: Name, and the parameters of mixup and CutMix.
CASES = [("mixup", 0.4, None), ("cutmix", None, 1.0), ("both", 0.4, 1.0), ("neither", None, None)]


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
    if not (mixup or cutmix):
        return images, targets
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


def batches(images, labels, mixup, cutmix):
    """Every batch of a run, mixed, with its targets."""
    for batch in range(BATCHES):
        epoch, first = divmod(batch * BATCH_SIZE, PICTURES)
        chosen = order(epoch)[first:first + BATCH_SIZE]
        targets = functional.one_hot(labels[chosen], CLASSES).float()
        yield mixed(images[chosen], targets, batch, mixup, cutmix)


def main():
    both = beside.Beside(__doc__)
    for name, mixup, cutmix in CASES:
        def loop(way):
            prepared = batches(both.images, both.labels, mixup, cutmix)
            return beside.train(both.start, way, prepared, RATE, momentum, functional.cross_entropy)
        flags = [word for flag, alpha in (("--mixup", mixup), ("--cutmix", cutmix)) if alpha for word in (flag, str(alpha))]
        epochs = BATCHES * BATCH_SIZE // PICTURES
        flags += ["--batch-size", str(BATCH_SIZE), "--epochs", str(epochs), "--lr", str(RATE), "--seed", str(SEED)]
        both.compare(name, flags, loop)


if __name__ == "__main__":
    main()
