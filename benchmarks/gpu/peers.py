#!/usr/bin/env python3
"""Trains in PyTorch on random images; measures when asked to.

    echo "60 20" | peers.py eager --model resnet56 --input 3x32x32 --classes 10 --batch-size 128 --dtype f32

Builds the network, compiles it, runs a few steps, and prints a JSON object. From then on every line "STEPS WARMUP" on the
standard input is a measurement, and prints one more; the end of the input ends the program. So peers take turns with
stagger without compiling again, and hold only weights and a context while they wait.
"""

import argparse
import json
import sys
import time

import torch
from torch.nn import functional

import networks

MODES = {"eager": None, "compile": "default", "autotune": "max-autotune-no-cudagraphs"}
# Steps before the first measurement: cudnn.benchmark and the compiler choose here.
FIRST_STEPS = 5


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--model", required=True)
    parser.add_argument("--input", required=True, help="CxHxW")
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--dtype", choices=("f32", "tf32", "bf16"), required=True, help="bf16 is autocast")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--optimizer", choices=("foreach", "fused"), default="foreach")
    return parser.parse_args()


class Peer:
    def __init__(self, options):
        self.device = torch.device(options.device)
        self.cuda = self.device.type == "cuda"
        self.bf16 = options.dtype == "bf16"
        tf32 = options.dtype == "tf32"
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        torch.manual_seed(1)
        model = networks.network(options.model, options.classes, 1)
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, **{options.optimizer: True}
        )
        if MODES[options.mode] is not None:
            self.model = torch.compile(self.model, mode=MODES[options.mode])
        shape = [int(side) for side in options.input.split("x")]
        # Two batches on the host that take turns, as in `stagger bench`; here in pinned memory.
        self.batches = [self.batch(options.batch_size, shape, options.classes) for _ in range(2)]
        self.batch_size = options.batch_size
        self.loss = None

    def batch(self, size, shape, classes):
        images = torch.randn(size, *shape).to(memory_format=torch.channels_last)
        labels = torch.arange(size) % classes
        return (images.pin_memory(), labels.pin_memory()) if self.cuda else (images, labels)

    def steps(self, count):
        for at in range(count):
            images, labels = (part.to(self.device, non_blocking=True) for part in self.batches[at % 2])
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                self.loss = functional.cross_entropy(self.model(images), labels)
            self.loss.backward()
            self.optimizer.step()
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def measure(self, count, warmup):
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        self.steps(warmup)
        start = time.perf_counter()
        self.steps(count)
        seconds = time.perf_counter() - start
        loss = self.loss.item()
        found = {"images_per_second": self.batch_size * count / seconds, "step_seconds": seconds / count, "steps": count,
                 "loss": loss if loss == loss else None}
        if self.cuda:
            found["peak_allocated_bytes"] = torch.cuda.max_memory_allocated(self.device)
            found["peak_reserved_bytes"] = torch.cuda.max_memory_reserved(self.device)
        return found

    def rest(self):
        """Lets go of what the next in turn may need."""
        self.loss = None
        self.optimizer.zero_grad(set_to_none=True)
        if self.cuda:
            torch.cuda.empty_cache()


def main():
    options = parse()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(f"device {options.device}: PyTorch {torch.__version__} sees no GPU; run it on a machine with one, or try it "
              "out with --device cpu", file=sys.stderr)
        sys.exit(2)
    began = time.perf_counter()
    peer = Peer(options)
    peer.steps(FIRST_STEPS)
    prepared = time.perf_counter() - began
    print(json.dumps({"prepare_seconds": prepared, **peer.measure(FIRST_STEPS, 1)}), flush=True)
    peer.rest()
    for line in sys.stdin:
        count, warmup = map(int, line.split())
        print(json.dumps(peer.measure(count, warmup)), flush=True)
        peer.rest()


if __name__ == "__main__":
    main()
