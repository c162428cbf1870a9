"""What is compared: a name, and how to run it once on a network. Standard library only."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import cuts

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PYTHON = os.path.join(HERE, ".venv", "bin", "python")
PEER = os.path.join(HERE, "peer.py")


# Pipelines of a stage per process, and of two parts of the network per process.
CUT_ONCE = ("gpipe", "1f1b")
CUT_THRICE = ("interleaved", "zb", "zbv", "dualpipev")


@dataclass(frozen=True)
class Variant:
    """`flags` go to peer.py or to `stagger bench`; `pipeline` says that it is a synchronous pipeline of PyTorch."""

    name: str
    dtype: str
    flags: tuple
    batch_size: int = 128
    stagger: bool = False
    pipeline: bool = False
    default_allocator: bool = False
    engine: str = "torch"


def peer(name, dtype, *flags, batch_size=128):
    return Variant(name, dtype, flags, batch_size, pipeline=flags[0] in (*CUT_ONCE, *CUT_THRICE))


def of_dtype(dtype):
    suffix = "" if dtype == "f32" else f"-{dtype}"
    yield peer(f"eager-1{suffix}", dtype, "eager")
    yield peer(f"eager-2{suffix}", dtype, "eager", "--threads", "2")
    if dtype == "f32":
        yield peer("ddp-128", dtype, "ddp")
        yield peer("ddp-256", dtype, "ddp", batch_size=256)
    for kind in ("gpipe", "1f1b") if dtype == "f32" else ("1f1b",):
        for micro_batches in (4, 8):
            yield peer(f"{kind}-{micro_batches}{suffix}", dtype, kind, "--micro-batches", str(micro_batches))
    if dtype == "f32":
        for kind in CUT_THRICE:
            for micro_batches in (4, 8):
                yield peer(f"{kind}-{micro_batches}", dtype, kind, "--micro-batches", str(micro_batches))
        for threads in (1, 2):
            yield peer(f"compiled-{threads}", dtype, "compiled", "--threads", str(threads))
        for name, flags in (("eager-2", ("eager", "--threads", "2")), ("1f1b-8", ("1f1b", "--micro-batches", "8"))):
            yield Variant(f"{name}-default", dtype, flags, default_allocator=True)
    for schedule, stages in (("bp", 1), ("bp", 2), ("dsp", 2), ("pipedream", 2)):
        flags = ("--schedule", schedule, "--stages", str(stages))
        yield Variant(f"stagger-{schedule}-{stages}{suffix}", dtype, flags, stagger=True)
        # Engine cpu computes in f32 only.
        if dtype == "f32":
            yield Variant(f"stagger-cpu-{schedule}-{stages}", dtype, flags, stagger=True, engine="cpu")


ALL = [*of_dtype("f32"), *of_dtype("bf16")]
TITLES = {
    "eager-1": "PyTorch, 1 thread",
    "eager-2": "PyTorch, 2 threads",
    "ddp-128": "PyTorch DDP, 2 processes, batch 2 × 64",
    "ddp-256": "PyTorch DDP, 2 processes, batch 2 × 128",
    "gpipe-4": "PyTorch GPipe, 4 micro-batches",
    "gpipe-8": "PyTorch GPipe, 8 micro-batches",
    "1f1b-4": "PyTorch 1F1B, 4 micro-batches",
    "1f1b-8": "PyTorch 1F1B, 8 micro-batches",
    "interleaved-4": "PyTorch interleaved 1F1B, 4 micro-batches",
    "interleaved-8": "PyTorch interleaved 1F1B, 8 micro-batches",
    "zb-4": "PyTorch interleaved zero bubble, 4 micro-batches",
    "zb-8": "PyTorch interleaved zero bubble, 8 micro-batches",
    "zbv-4": "PyTorch zero bubble V, 4 micro-batches",
    "zbv-8": "PyTorch zero bubble V, 8 micro-batches",
    "dualpipev-4": "PyTorch DualPipeV, 4 micro-batches",
    "dualpipev-8": "PyTorch DualPipeV, 8 micro-batches",
    "compiled-1": "PyTorch compiled, 1 thread",
    "compiled-2": "PyTorch compiled, 2 threads",
    "eager-2-default": "PyTorch, 2 threads, allocator as it comes",
    "1f1b-8-default": "PyTorch 1F1B, 8 micro-batches, allocator as it comes",
    "stagger-bp-1": "stagger BP, 1 stage",
    "stagger-bp-2": "stagger BP, 2 stages",
    "stagger-dsp-2": "stagger DSP, 2 stages",
    "stagger-pipedream-2": "stagger PipeDream, 2 stages",
}


def title(variant):
    name = variant.name.removesuffix("-bf16").replace("stagger-cpu-", "stagger-")
    return TITLES[name] + (", engine cpu" if variant.engine == "cpu" else "") + (", bf16" if variant.dtype == "bf16" else "")


def check_installed(chosen, stagger):
    """Ends the program with a sentence where something that `chosen` needs is missing."""
    if any(variant.stagger for variant in chosen) and not os.access(stagger, os.X_OK):
        sys.exit(f"no program {stagger}: build it with `cargo build --release --features torch`, name another with "
                 "--stagger, or measure the peers alone with --only '[!s]*'")
    if any(not variant.stagger for variant in chosen) and not os.access(PYTHON, os.X_OK):
        sys.exit(f"no {PYTHON}: run benchmarks/peers/install.sh first, or measure stagger alone with --only 'stagger-*'")


def blocks(model):
    """Stem, residual blocks of two convolutions, head."""
    return int(model.removeprefix("resnet")) // 2 + 1


def command(variant, model, arguments, host):
    """The command line of one run."""
    size = ["--batch-size", str(variant.batch_size), "--dtype", variant.dtype]
    steps = arguments.steps or {"resnet20": 40, "resnet56": 16, "resnet110": 10}.get(model, 20)
    if variant.stagger:
        flags = ["--engine", variant.engine, "--model", model, *variant.flags, *size]
        # With backpropagation one stage waits for the other wherever the cut is.
        if "bp" not in variant.flags:
            both = [int(core) for core in arguments.cores.split(",")]
            cut = cuts.best_of_stagger(host, arguments.stagger, flags, lambda line: report(line, both))
            flags += ["--balance", f"{cut},{blocks(model) - cut}"]
        return [arguments.stagger, "bench", *flags, "--batches", str(steps), "--warmup", str(arguments.warmup), "--json"]
    flags = [*variant.flags, "--model", model, *size, "--cores", arguments.cores]
    if flags[0] in CUT_ONCE:
        flags += ["--cut", str(cuts.best(host, flags, lambda flags: report([PYTHON, PEER, *flags])))]
    if flags[0] in CUT_THRICE:
        flags += ["--cuts", cuts.best_of_parts(host, flags, lambda flags: report([PYTHON, PEER, *flags]))]
    flags += ["--default-allocator"] if variant.default_allocator else []
    return [PYTHON, PEER, *flags, "--steps", str(steps), "--warmup", str(arguments.warmup)]


def cores(variant, all_cores):
    """Where a run of stagger may go: its stages on as many cores. Peers bind their processes themselves."""
    return all_cores[: int(variant.flags[variant.flags.index("--stages") + 1])] if variant.stagger else all_cores


def report(line, on=None):
    """Runs a command and gives the JSON object it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    bind = (lambda: os.sched_setaffinity(0, on)) if on else None
    result = subprocess.run(line, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=bind, check=False)
    if result.returncode != 0:
        sys.exit(f"`{' '.join(line)}` failed; its error is above")
    try:
        found = json.loads(result.stdout)
        found["images_per_second"], found["seconds"], found["peak_resident_bytes"]
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"`{' '.join(line)}` did not print the JSON object that run.py reads: {error!r}")
    return found
