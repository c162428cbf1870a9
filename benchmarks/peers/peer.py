#!/usr/bin/env python3
"""Measures one way of training in PyTorch and prints a JSON object; run it with .venv/bin/python.

    peer.py eager --threads 2
    peer.py ddp --batch-size 128
    peer.py 1f1b --micro-batches 8 --cut 5
    peer.py zbv --micro-batches 8 --cuts 2,5,8

All but `eager` and `compiled` are two processes with one thread each, over gloo. Every process is bound to its cores:
process r to the r-th of --cores, eager with n threads to the first n.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import cuts

# How many processes each kind has.
KINDS = {"eager": 1, "compiled": 1, "ddp": 2, "gpipe": 2, "1f1b": 2, "interleaved": 2, "zb": 2, "zbv": 2, "dualpipev": 2}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--model", default="resnet20", help="resnet20, resnet56, resnet110")
    parser.add_argument("--batch-size", type=int, default=128, help="of all processes together")
    parser.add_argument("--micro-batches", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of a process")
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32", help="bf16 is autocast")
    parser.add_argument("--cut", type=int, default=5, help="blocks in the first of two stages")
    parser.add_argument("--cuts", default="2,5,8", help="blocks below each cut, for schedules of several parts per process; zb may have one")
    parser.add_argument("--steps", type=int, default=20, help="timed steps")
    parser.add_argument("--warmup", type=int, default=4, help="steps before them, at least 1")
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", default="0,1")
    parser.add_argument("--limit", type=float, default=900, help="seconds after which a measurement is given up")
    parser.add_argument("--default-allocator", action="store_true", help="leave glibc's allocator as it is")
    parser.add_argument("--profile", action="store_true", help="time the blocks one by one instead, on the first core")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--meeting", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.cuts = [int(cut) for cut in options.cuts.split(",")]
    options.cores = [int(core) for core in options.cores.split(",")]
    if options.warmup < 1:
        parser.error("--warmup: a step is timed from the end of the one before, so 1 at least")
    if len(options.cores) < KINDS[options.kind] * options.threads:
        parser.error(f"--cores: {options.kind} needs {KINDS[options.kind] * options.threads}")
    return options


def environment(threads, tuned_allocator):
    """OpenMP with as many threads as asked for, gloo over the loopback interface, and, if tuned, an allocator that keeps
    the memory of a step for the next: with glibc's defaults a step of ResNet-20 takes some 10,000 page faults."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "OMP_", "MKL_"))}
    found |= {"OMP_NUM_THREADS": str(threads), "GLOO_SOCKET_IFNAME": "lo"}
    if tuned_allocator:
        found |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_TOP_PAD_": str(2**26)}
    return found


def lead(options):
    """Starts the processes, waits for all, and prints what the last one found, with the memory of all."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = os.path.join(folder, "meeting")
        processes = []
        deadline = time.monotonic() + options.limit
        try:
            for rank in range(1 if options.profile else KINDS[options.kind]):
                command = [sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--rank", str(rank), "--meeting", meeting]
                processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(options.threads, not options.default_allocator)))
            # A process that dies leaves the others waiting for it.
            while any(process.poll() is None for process in processes):
                if any(process.poll() not in (None, 0) for process in processes):
                    break
                if time.monotonic() > deadline:
                    sys.exit(f"{options.kind} on {options.model} is not done after {options.limit:.0f} s; "
                             "give it more with --limit, or fewer --steps")
                time.sleep(0.05)
            failed = [rank for rank, process in enumerate(processes) if process.poll() not in (None, 0)]
            if failed:
                sys.exit(f"process {failed[0]} of {options.kind} on {options.model} failed; its error is above")
            reports = [json.loads(process.communicate()[0]) for process in processes]
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
    if options.profile:
        print(json.dumps(reports[0]))
        return
    for key in ("peak_resident_bytes", "resident_after_import_bytes"):
        reports[-1][key] = sum(report[key] for report in reports)
    # The last part of the network need not be with the last process.
    reports[-1]["losses"] = next(report["losses"] for report in reports if None not in report["losses"])
    print(json.dumps(reports[-1]))


def work(options):
    """One process of a measurement."""
    threads = options.threads
    first = options.rank * threads
    # Before PyTorch is imported, so that its threads inherit the binding.
    os.sched_setaffinity(0, options.cores[first : first + threads])
    import torch

    import loops

    torch.set_num_threads(threads)
    if options.profile:
        print(json.dumps({"block_seconds": cuts.profile(options)}))
        return
    imported = memory("VmRSS")
    ranks = KINDS[options.kind]
    if ranks > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{options.meeting}", rank=options.rank, world_size=ranks
        )
    losses, ends = [], []
    steps = loops.LOOPS[options.kind](options)
    for _ in range(options.warmup + options.steps):
        losses.append(next(steps))
        ends.append(time.perf_counter())
    if options.kind == "ddp":
        mean = torch.tensor(losses, dtype=torch.float64)
        torch.distributed.all_reduce(mean)
        losses = (mean / ranks).tolist()
    # The model goes before the process group it uses: the other way round, DistributedDataParallel can hang.
    steps.close()
    if ranks > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    seconds = [after - before for before, after in zip(ends, ends[1:])][options.warmup - 1 :]
    report = {
        "engine": f"PyTorch {torch.__version__}",
        "schedule": options.kind,
        "model": options.model,
        "dtype": options.dtype,
        "processes": ranks,
        "threads": threads,
        "batch_size": options.batch_size,
        "micro_batches": options.micro_batches,
        "cut": options.cut if options.kind in loops.PIPELINES else options.cuts if options.kind in loops.CHUNKED else None,
        "images_per_second": options.batch_size * len(seconds) / sum(seconds),
        "seconds": seconds,
        "losses": losses,
        "peak_resident_bytes": memory("VmHWM"),
        "resident_after_import_bytes": imported,
    }
    print(json.dumps(report))


def memory(field):
    """A size of this process as the kernel counts it, in bytes."""
    with open("/proc/self/status", encoding="utf-8") as file:
        line = next(line for line in file if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def main():
    options = parse()
    if options.rank is None:
        lead(options)
    else:
        work(options)


if __name__ == "__main__":
    main()
