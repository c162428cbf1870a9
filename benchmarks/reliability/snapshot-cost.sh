#!/usr/bin/env bash
# What snapshots by batches cost: ResNet-20 on two stages, batch 128, with a snapshot every 500 batches and with none, in turns.
#   benchmarks/reliability/snapshot-cost.sh IMAGE_FOLDER [ROUNDS]
# STAGGER names another binary than target/release/stagger. Prints a line per run: the round, what it kept, images/s, and what it
# says of its snapshots; runs take 510 batches, so one with snapshots has those of the end and of its epoch, too.
set -euo pipefail
cd "$(dirname "$0")/../.."
images=$1
rounds=${2:-4}
stagger=${STAGGER:-target/release/stagger}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for round in $(seq "$rounds"); do
  order=(none 500)
  ((round % 2)) || order=(500 none)
  for every in "${order[@]}"; do
    flags=(--snapshot-every 500)
    [ "$every" = 500 ] || flags=(--keep-snapshots 0)
    run=$folder/$every-$round
    said=$("$stagger" train --dataset image-folder --data-dir "$images" --model resnet20 --stages 2 --batch-size 128 --epochs 2 \
      --max-batches 510 --calibration-batches 0 --evaluate false --output "$run" "${flags[@]}" |
      grep -E '^(throughput|snapshots)' | tr '\n' ' ')
    echo "round $round, snapshots $every: $said"
    rm -rf "$run"
  done
done
