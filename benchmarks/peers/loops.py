"""Training loops of the peers. Each yields the loss of a step after the step's update: the caller takes the time."""

import copy
import warnings

import torch
from torch import distributed
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe, ScheduleInterleaved1F1B
from torch.distributed.pipelining.schedules import ScheduleDualPipeV, ScheduleInterleavedZeroBubble, ScheduleZBVZeroBubble
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import models

PIPELINES = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}
# Of several chunks per process.
CHUNKED = {
    "interleaved": ScheduleInterleaved1F1B,
    "zb": ScheduleInterleavedZeroBubble,
    "zbv": ScheduleZBVZeroBubble,
    "dualpipev": ScheduleDualPipeV,
}


def optimizer(model, options):
    return torch.optim.SGD(model.parameters(), lr=options.lr, momentum=0.9, weight_decay=5e-4, fused=True)


def eager(options):
    """One process. With several micro-batches it accumulates gradients, as a pipeline does."""
    model = models.whole(options.model, options.seed, options.dtype)
    yield from accumulate(model, optimizer(model, options), models.batches(options.batch_size, options.seed), options)


def compiled(options):
    """`eager` by the compiler, inductor."""
    model = torch.compile(models.whole(options.model, options.seed, options.dtype))
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
    [(model, stage)] = stages(options, [options.cut], [rank])
    schedule = PIPELINES[options.kind](
        stage, options.micro_batches, loss_fn=lambda logits, labels: share_of_loss(logits, labels, options), scale_grads=False
    )
    yield from steps(schedule, [model], rank == 0, rank == 1, options)


def chunked(options):
    """Several parts of the network per process: in turns, or out and back like a V, where process 0 has the first and the last."""
    warnings.filterwarnings("ignore", message=".*requires_grad.*")
    rank, count = distributed.get_rank(), len(options.cuts) + 1
    own = [rank, count - 1 - rank] if options.kind in V_SHAPED else range(rank, count, 2)
    models_and_stages = stages(options, options.cuts, own)
    schedule = CHUNKED[options.kind](
        [stage for _, stage in models_and_stages],
        options.micro_batches,
        loss_fn=lambda logits, labels: share_of_loss(logits, labels, options),
        scale_grads=False,
    )
    for _, stage in models_and_stages if options.kind in V_SHAPED else ():
        # Messages that connect neighbours, which gloo does by itself; and it has none of a process to itself.
        stage._get_init_p2p_neighbors_ops = list
    has_last = count - 1 in own
    yield from steps(schedule, [model for model, _ in models_and_stages], 0 in own, has_last, options)


def share_of_loss(logits, labels, options):
    return functional.cross_entropy(logits, labels) / options.micro_batches


def steps(schedule, parts, has_first, has_last, options):
    optimize = optimizer(torch.nn.ModuleList(parts), options)
    data = models.batches(options.batch_size, options.seed)
    step = 0
    while True:
        images, labels = data[step % len(data)]
        optimize.zero_grad()
        losses = []
        given = {"target": labels, "losses": losses} if has_last else {}
        schedule.step(*[images] if has_first else [], **given, return_outputs=False)
        optimize.step()
        yield sum(part.item() for part in losses) if has_last else None
        step += 1


def stages(options, cuts, own):
    """The parts `own` of the network cut behind that many blocks each, and what PyTorch makes of them."""
    blocks = models.blocks(options.model, options.seed)
    bounds = [0, *cuts, len(blocks)]
    assert bounds == sorted(set(bounds)), f"{options.model} has {len(blocks)} blocks, and the cuts are {cuts}"
    shapes, last = shapes_between(options, blocks, bounds), len(bounds) - 2
    found = []
    for index in own:
        model = models.Stage(blocks[bounds[index] : bounds[index + 1]], index == 0, index == last, options.dtype)
        # With the shapes given, PyTorch does not run the stage on zeros to find them, which would change the running
        # statistics of batch normalisation.
        stage = PipelineStage(model, index, last + 1, torch.device("cpu"), input_args=shapes[index], output_args=shapes[index + 1])
        found.append((model, stage))
    return found


def shapes_between(options, blocks, bounds):
    """What goes into each part per micro-batch, and what comes out of the last, as tensors without memory."""
    if options.batch_size % options.micro_batches != 0:
        raise ValueError(f"{options.micro_batches} micro-batches do not divide a batch of {options.batch_size}")
    size = options.batch_size // options.micro_batches
    batch = torch.empty(size, *models.IMAGE, device="meta").to(memory_format=torch.channels_last)
    found = [batch]
    with torch.no_grad():
        for first, end in zip(bounds[:-2], bounds[1:]):
            # A copy: those that train stay where they are.
            part = models.Stage(copy.deepcopy(blocks[first:end]), first == 0, False, options.dtype).to("meta")
            batch = torch.empty(part(batch).shape, dtype=between_dtype(options), device="meta")
            found.append(batch)
    return [*found, torch.empty(size, models.CLASSES, device="meta")]


def between_dtype(options):
    """Batch normalisation keeps the type of its input, so under autocast a block gives bf16."""
    return torch.bfloat16 if options.dtype == "bf16" else torch.float32


V_SHAPED = ("zbv", "dualpipev")
LOOPS = {"eager": eager, "compiled": compiled, "ddp": ddp} | dict.fromkeys(PIPELINES, pipeline) | dict.fromkeys(CHUNKED, chunked)
