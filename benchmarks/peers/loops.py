"""Training loops of the peers. Each yields the loss of a step after the step's update: the caller takes the time."""

import warnings

import torch
from torch import distributed
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import models

PIPELINES = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}


def optimizer(model, options):
    return torch.optim.SGD(model.parameters(), lr=options.lr, momentum=0.9, weight_decay=5e-4, fused=True)


def eager(options):
    """One process. With several micro-batches it accumulates gradients, as a pipeline does."""
    model = models.whole(options.model, options.seed, options.dtype)
    yield from accumulate(model, optimizer(model, options), models.batches(options.batch_size, options.seed), options)


def ddp(options):
    """Every process trains on its share of the global batch; batch normalisation sees that share only. Its running
    statistics are not made equal after every step, which would cost a broadcast."""
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    model = models.whole(options.model, options.seed, options.dtype)
    model = DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True, static_graph=True)
    shares = [
        (images.chunk(ranks)[rank].contiguous(memory_format=torch.channels_last), labels.chunk(ranks)[rank])
        for images, labels in models.batches(options.batch_size, options.seed)
    ]
    yield from accumulate(model, optimizer(model, options), shares, options)


def accumulate(model, optimize, data, options):
    step = 0
    while True:
        images, labels = data[step % len(data)]
        optimize.zero_grad()
        total = 0.0
        for part, truth in zip(images.chunk(options.micro_batches), labels.chunk(options.micro_batches)):
            loss = functional.cross_entropy(model(part), truth) / options.micro_batches
            loss.backward()
            total += loss.item()
        optimize.step()
        yield total
        step += 1


def pipeline(options):
    """A stage of two. Yields the loss at the last stage, nothing (None) at the first."""
    # The schedules send tensors that belong to a graph, which is what they are for.
    warnings.filterwarnings("ignore", message=".*requires_grad.*")
    rank = distributed.get_rank()
    model = models.half(options.model, options.seed, options.dtype, options.cut, rank)
    optimize = optimizer(model, options)
    into, out = shapes(options, rank)
    # With the shapes given, PyTorch does not run the stage on zeros to find them, which would change the running
    # statistics of batch normalisation.
    stage = PipelineStage(model, rank, 2, torch.device("cpu"), input_args=into, output_args=out)
    schedule = PIPELINES[options.kind](
        stage,
        options.micro_batches,
        loss_fn=lambda logits, labels: functional.cross_entropy(logits, labels) / options.micro_batches,
        scale_grads=False,
    )
    data = models.batches(options.batch_size, options.seed)
    step = 0
    while True:
        images, labels = data[step % len(data)]
        optimize.zero_grad()
        if rank == 0:
            schedule.step(images, return_outputs=False)
            loss = None
        else:
            losses = []
            schedule.step(target=labels, losses=losses, return_outputs=False)
            loss = sum(part.item() for part in losses)
        optimize.step()
        yield loss
        step += 1


def shapes(options, rank):
    """What goes into a stage and comes out of it per micro-batch, as tensors without memory."""
    if options.batch_size % options.micro_batches != 0:
        raise ValueError(f"{options.micro_batches} micro-batches do not divide a batch of {options.batch_size}")
    size = options.batch_size // options.micro_batches
    found = models.blocks(options.model, options.seed)
    images = torch.empty(size, *models.IMAGE, device="meta").to(memory_format=torch.channels_last)
    first = models.Stage(found[: options.cut], True, False, options.dtype).to("meta")
    with torch.no_grad():
        between = torch.empty(first(images).shape, dtype=between_dtype(options), device="meta")
    logits = torch.empty(size, models.CLASSES, device="meta")
    return (images, between) if rank == 0 else (between, logits)


def between_dtype(options):
    """Batch normalisation keeps the type of its input, so under autocast a block gives bf16."""
    return torch.bfloat16 if options.dtype == "bf16" else torch.float32


LOOPS = {"eager": eager, "ddp": ddp, "gpipe": pipeline, "1f1b": pipeline}
