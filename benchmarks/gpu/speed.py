#!/usr/bin/env python3
"""stagger beside PyTorch on one network, batch size and number format, taking turns; needs PyTorch in the python3 that runs it.

    speed.py --setting resnet56-128-f32 --output FILE.json [--rounds 3] [--minutes 9] --stagger COMMAND...

Number formats: f32, tf32 (f32 whose products round their factors), bf16. The file is written after every round; a call
finds the rounds of an earlier one on the same GPU and goes on. Exits with 3 when time ran out before the last round, with
1 when a variant failed.
"""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import time

import about
import contestants

SHAPES = {"resnet50": ("3x224x224", 1000)}
DTYPES = ("f32", "tf32", "bf16")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", required=True, help="MODEL-BATCH-FORMAT, such as resnet110-1024-bf16")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stages", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--peers", nargs="*", choices=("eager", "compile", "autotune"), default=["eager", "compile", "autotune"])
    parser.add_argument("--optimizer", choices=("foreach", "fused"), default="foreach", help="of the peers")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long the timed steps of a turn take")
    parser.add_argument("--warmup", type=int, default=20, help="steps of a turn before the timed ones")
    parser.add_argument("--limit", type=float, default=240, help="seconds after which a variant is given up")
    parser.add_argument("--minutes", type=float, default=1e6, help="start nothing that may end later than this")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--stagger", nargs="+", required=True, help="the command that runs it")
    arguments = parser.parse_args()
    arguments.model, batch_size, arguments.dtype = (arguments.setting.split("-") + ["", ""])[:3]
    if not batch_size.isdecimal() or arguments.dtype not in DTYPES:
        parser.error(f"--setting {arguments.setting}: give MODEL-BATCH-FORMAT, the format one of {', '.join(DTYPES)}")
    arguments.batch_size = int(batch_size)
    arguments.input, arguments.classes = SHAPES.get(arguments.model, ("3x32x32", 10))
    arguments.deadline = time.monotonic() + 60 * arguments.minutes
    return arguments


def earlier(arguments, host):
    """What an earlier call left, if it was the same measurement on the same GPU."""
    asked = {"setting": arguments.setting, "device": arguments.device, "stages": arguments.stages, "peers": arguments.peers,
             "optimizer": arguments.optimizer}
    fresh = {"step": f"speed-{arguments.setting}", "about": host, **asked, "model": arguments.model, "input": arguments.input,
             "classes": arguments.classes, "batch_size": arguments.batch_size, "dtype": arguments.dtype, "steps": None,
             "warmup": arguments.warmup, "commands": {},
             "prepared": {}, "failed": {}, "rounds": [], "complete": False}
    if not arguments.output.exists():
        return fresh
    found = json.loads(arguments.output.read_text(encoding="utf-8"))
    same = all(found.get(name) == value for name, value in asked.items())
    same = same and all(found["about"].get(name) == host.get(name) for name in ("gpu", "driver", "torch", "commit"))
    if not same and found["rounds"]:
        print(f"{arguments.output} is of another GPU, commit or choice of variants: measuring anew", file=sys.stderr)
    return found if same else fresh


def save(arguments, found):
    partial = arguments.output.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    partial.replace(arguments.output)


def main():
    arguments = parse()
    found = earlier(arguments, about.about(arguments.stagger))
    if found["complete"]:
        return 0
    turns = contestants.all_of(arguments)
    found["commands"] = {one.name: one.line for one in turns}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        in_time = prepare(arguments, turns, found) and rounds(arguments, turns, found)
    finally:
        for one in turns:
            one.close()
    found["complete"] = in_time
    save(arguments, found)
    if not in_time:
        print(f"{arguments.setting}: out of time after {len(found['rounds'])} of {arguments.rounds} rounds; run it again to go on",
              file=sys.stderr)
        return 3
    return 1 if found["failed"] else 0


def give_up(arguments, found, one, error):
    """A variant that failed is left out from then on, and the report says so."""
    found["failed"][one.name] = str(error)
    print(f"{arguments.setting}: {one.name}: {error}", file=sys.stderr, flush=True)
    one.close()


def prepare(arguments, turns, found):
    """Builds and compiles the peers. False when time ran out."""
    for one in turns:
        if one.name in found["failed"]:
            continue
        # Only a limit of its own is the variant's fault.
        left = arguments.deadline - time.monotonic()
        try:
            ready = one.prepare(min(arguments.limit, left))
        except subprocess.TimeoutExpired:
            if left < arguments.limit:
                return False
            give_up(arguments, found, one, f"not ready after {arguments.limit:.0f} s")
        except contestants.Failed as error:
            give_up(arguments, found, one, error)
        else:
            if ready is not None:
                print(f"{arguments.setting}: {one.name}: ready after {ready['prepare_seconds']:.0f} s", flush=True)
                found["prepared"].setdefault(one.name, ready)
    if found["steps"] is None:
        first = next(iter(found["prepared"].values()), None)
        found["steps"] = max(10, min(600, round(arguments.seconds / first["step_seconds"]))) if first else 60
    return True


def rounds(arguments, turns, found):
    """Measures until there are enough rounds. False when time ran out."""
    longest = 0.0
    while len(found["rounds"]) < arguments.rounds:
        began = time.monotonic()
        if began + longest > arguments.deadline:
            return False
        reports = {}
        # Forth and back, so that no variant always follows the same one.
        for one in turns[:: 1 if len(found["rounds"]) % 2 == 0 else -1]:
            if one.name in found["failed"]:
                continue
            left = arguments.deadline - time.monotonic()
            try:
                if left <= 0:
                    return False
                reports[one.name] = one.measure(found["steps"], arguments.warmup, min(arguments.limit, left))
            except subprocess.TimeoutExpired:
                if left < arguments.limit:
                    return False
                give_up(arguments, found, one, f"no measurement after {arguments.limit:.0f} s")
            except contestants.Failed as error:
                give_up(arguments, found, one, error)
            else:
                rate = reports[one.name]["images_per_second"]
                print(f"{arguments.setting}: round {len(found['rounds']) + 1}: {one.name}: {rate:.0f} images/s", flush=True)
        if not reports:
            break
        found["rounds"].append(reports)
        save(arguments, found)
        longest = max(longest, time.monotonic() - began)
    return True


if __name__ == "__main__":
    sys.exit(main())
