#!/usr/bin/env bash
# What snapshots cost: ResNet-110 on two stages, batch 128, with a snapshot every minute by the clock and without.
#   benchmarks/reliability/stall.sh [ENGINE [MINUTES]]
# STAGGER names another binary than target/release/stagger. Prints what each run says of its snapshots and its speed.
set -euo pipefail
cd "$(dirname "$0")/../.."
engine=${1:-cpu}
minutes=${2:-3}
stagger=${STAGGER:-target/release/stagger}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for round in 1 2; do
  for every in none 1min; do
    flags=()
    [ "$every" = none ] || flags=(--snapshot-every "$every")
    run=$folder/$every-$round
    "$stagger" train --engine "$engine" --dtype f32 --model resnet110 --stages 2 --batch-size 128 --calibration-batches 0 \
      --evaluate false --epochs 100 --max-seconds $((60 * minutes)) --output "$run" "${flags[@]}" |
      grep -E '^(throughput|snapshots)' | sed "s/^/$every: /"
    sed -n "s/^[^ ]* snapshot of/$every: snapshot of/p" "$run/run.log"
  done
done
