#!/usr/bin/env python3
"""Trains a CIFAR ResNet in PyTorch on class folders of JPEG files, and writes a line of JSON per epoch to standard output.

    peer.py eager --threads 2 --data DIR --kept DIR
    peer.py ddp --data DIR --kept DIR
    peer.py 1f1b --micro-batches 8 --cut 5 --data DIR --kept DIR

`seconds` counts training alone, as stagger's `wall_seconds` does: pictures are decoded before, and evaluations stop the clock. `ddp` and
`1f1b` are two processes with one thread each, over gloo; networks, stages and allocator are those of ../peers.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
import peer as measured  # noqa: E402

PROCESSES = {"eager": 1, "ddp": 2, "1f1b": 2}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=PROCESSES)
    parser.add_argument("--data", required=True, help="class folders: train/CLASS/*, test/CLASS/*")
    parser.add_argument("--kept", required=True, help="a folder for the decoded pictures")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--batch-size", type=int, default=128, help="of all processes together")
    parser.add_argument("--micro-batches", type=int, default=8, help="of a pipeline")
    parser.add_argument("--threads", type=int, default=1, help="of a process")
    parser.add_argument("--cut", type=int, default=5, help="blocks in the first of two stages")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--max-batches", type=int, help="of an epoch, to try it out")
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--warmup-batches", type=int, default=0)
    parser.add_argument("--weight-decay", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cores", default="0,1")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--meeting", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.cores = [int(core) for core in options.cores.split(",")]
    # What the networks of ../peers ask for.
    options.dtype = "f32"
    return options


def lead(options):
    """Starts the processes. The last one writes the lines, and a last line has the peak memory of all."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = os.path.join(folder, "meeting")
        processes = []
        try:
            for rank in range(PROCESSES[options.kind]):
                command = [sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--rank", str(rank), "--meeting", meeting]
                processes.append(subprocess.Popen(command, env=measured.environment(options.threads, True)))
            # A process that dies leaves the others waiting for it.
            while any(process.poll() is None for process in processes):
                if any(process.poll() not in (None, 0) for process in processes):
                    break
                time.sleep(0.1)
            failed = [rank for rank, process in enumerate(processes) if process.poll() not in (None, 0)]
            if failed:
                sys.exit(f"process {failed[0]} of {options.kind} failed; its error is above")
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                process.wait()


def rate(options, batch, batches):
    """A linear start, then half a cosine to 0: stagger's `cosine` with `--warmup-batches`."""
    way = min(max(batch - options.warmup_batches, 0) / max(batches - options.warmup_batches, 1), 1)
    decayed = options.lr * 0.5 * (1 + math.cos(math.pi * way))
    return decayed * min((batch + 1) / (options.warmup_batches + 1), 1)


class Whole:
    """The network in one process; in `ddp`, a replica that trains on its share of every batch."""

    def __init__(self, options, loops):
        import torch

        self.rank, self.ranks = options.rank, PROCESSES[options.kind]
        self.model = loops.models.whole(options.model, options.seed, options.dtype)
        self.step_model = self.model
        if self.ranks > 1:
            # Its running statistics are the first replica's at evaluation, as PyTorch's own recipes have it.
            self.step_model = torch.nn.parallel.DistributedDataParallel(
                self.model, broadcast_buffers=False, gradient_as_bucket_view=True, static_graph=True)
        self.loss = torch.nn.functional.cross_entropy
        share = options.batch_size // self.ranks
        self.share = slice(self.rank * share, (self.rank + 1) * share)
        self.parameters = list(self.model.parameters())
        self.tells = self.rank == 0

    def step(self, images, labels):
        loss = self.loss(self.step_model(images), labels)
        loss.backward()
        return loss.item()

    def mode(self, training):
        self.model.train(training)

    def correct(self, images, labels):
        return (self.model(images).argmax(1) == labels).sum().item() if self.tells else 0


class Pipeline:
    """A stage of two."""

    def __init__(self, options, loops):
        import torch

        warnings.filterwarnings("ignore", message=".*requires_grad.*")
        self.rank, self.share = options.rank, slice(0, options.batch_size)
        [(self.model, stage)] = loops.stages(options, [options.cut], [self.rank])
        self.schedule = loops.PIPELINES[options.kind](
            stage, options.micro_batches, loss_fn=lambda logits, labels: loops.share_of_loss(logits, labels, options), scale_grads=False)
        self.parameters = list(self.model.parameters())
        self.torch, self.tells = torch, self.rank == 1

    def step(self, images, labels):
        losses = []
        given = {"target": labels, "losses": losses} if self.tells else {}
        self.schedule.step(*[] if self.tells else [images], **given, return_outputs=False)
        return sum(part.item() for part in losses)

    def mode(self, training):
        self.model.train(training)

    def correct(self, images, labels):
        """The first stage's activations go over as they do in training."""
        distributed = self.torch.distributed
        if not self.tells:
            between = self.model(images).contiguous()
            distributed.send(self.torch.tensor(between.shape), 1)
            distributed.send(between, 1)
            return 0
        shape = self.torch.empty(4, dtype=self.torch.int64)
        distributed.recv(shape, 0)
        between = self.torch.empty(shape.tolist())
        distributed.recv(between, 0)
        return (self.model(between).argmax(1) == labels).sum().item()


def work(options):
    """One process."""
    first = options.rank * options.threads
    # Before PyTorch is imported, so that its threads inherit the binding.
    os.sched_setaffinity(0, options.cores[first : first + options.threads])
    import torch

    import loops
    import pictures

    torch.set_num_threads(options.threads)
    ranks = PROCESSES[options.kind]
    if ranks > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{options.meeting}", rank=options.rank, world_size=ranks)
    data = pictures.Pictures(options.data, options.kept, options.batch_size, options.seed)
    part = (Pipeline if options.kind in loops.PIPELINES else Whole)(options, loops)
    optimizer = torch.optim.SGD(part.parameters, lr=options.lr, momentum=0.9, weight_decay=options.weight_decay, fused=True)
    batches = min(data.batches(), options.max_batches or data.batches())
    seconds, batch = 0.0, 0
    for epoch in range(1, options.epochs + 1):
        part.mode(training=True)
        if ranks > 1:
            torch.distributed.barrier()
        began, losses = time.perf_counter(), 0.0
        for _, (images, labels) in zip(range(batches), data.epoch(epoch, part.share)):
            for group in optimizer.param_groups:
                group["lr"] = rate(options, batch, batches * options.epochs)
            optimizer.zero_grad()
            losses += part.step(images, labels)
            optimizer.step()
            batch += 1
        if ranks > 1:
            torch.distributed.barrier()
        seconds += time.perf_counter() - began
        part.mode(training=False)
        with torch.inference_mode():
            correct = sum(part.correct(images, labels) for images, labels in data.test_batches())
        peak = torch.tensor(measured.memory("VmHWM"))
        if ranks > 1:
            torch.distributed.all_reduce(peak)
        if part.tells:
            line = {"epoch": epoch, "seconds": seconds, "train_loss": losses / batches, "test_top1": 100 * correct / len(data.test[1]),
                    "peak_bytes": peak.item()}
            print(json.dumps(line), flush=True)
    if ranks > 1:
        torch.distributed.barrier()
        # The model goes before the process group it uses: the other way round, DistributedDataParallel can hang.
        del part
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    chosen = parse()
    if chosen.rank is None:
        lead(chosen)
    else:
        work(chosen)
