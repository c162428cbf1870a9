#!/usr/bin/env bash
# System calls and page faults per batch in the steady state: the difference between a long and a short run, over the batches
# between them. Needs strace (apt-get install strace) and GNU time (apt-get install time).
#   benchmarks/steady-state/run.sh [STAGGER]
set -euo pipefail
cd "$(dirname "$0")/../.."
stagger=${1:-target/release/stagger}
short=40 long=140
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run() { # BATCHES ENGINE SCHEDULE STAGES, after a command to run it under
  local batches=$1 engine=$2 schedule=$3 stages=$4
  shift 4
  "$@" "$stagger" bench --model resnet20 --engine "$engine" --schedule "$schedule" --stages "$stages" --batch-size 32 \
    --batches "$batches" --warmup 0 >/dev/null
}

echo "| engine, schedule, stages | system calls per batch | of these | page faults per batch |"
echo "| --- | ---: | --- | ---: |"
for engine in cpu torch; do
  "$stagger" bench --engine "$engine" --model resnet8 --batches 1 --warmup 0 >/dev/null 2>&1 || continue
  for setting in "bp 1" "dsp 2"; do
    read -r schedule stages <<<"$setting"
    for batches in $short $long; do
      run "$batches" "$engine" "$schedule" "$stages" strace -f -c -o "$work/calls$batches"
      run "$batches" "$engine" "$schedule" "$stages" /usr/bin/time -f '%R' -o "$work/faults$batches"
    done
    python3 - "$work" "$short" "$long" "$engine, $schedule, $stages" <<'PYTHON'
import pathlib
import sys

work, short, long, name = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]


def calls(batches):
    found = {}
    for line in (work / f"calls{batches}").read_text().splitlines():
        parts = line.split()
        if len(parts) >= 5 and parts[3].isdigit() and parts[-1] != "total":
            found[parts[-1]] = int(parts[3])
    return found


before, after = calls(short), calls(long)
per_batch = {call: (after.get(call, 0) - before.get(call, 0)) / (long - short) for call in after}
per_batch = {call: count for call, count in per_batch.items() if abs(count) >= 0.05}
faults = [int((work / f"faults{batches}").read_text().split()[-1]) for batches in (short, long)]
of_these = ", ".join(f"{call} {count:.1f}" for call, count in sorted(per_batch.items(), key=lambda item: -item[1]))
print(f"| {name} | {sum(per_batch.values()):.1f} | {of_these} | {(faults[1] - faults[0]) / (long - short):.1f} |")
PYTHON
  done
done
