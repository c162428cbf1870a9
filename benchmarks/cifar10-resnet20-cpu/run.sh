#!/usr/bin/env bash
# DSP and BP, same seed, three epochs of ResNet-20 on CIFAR-10 pictures, two stages.
#   benchmarks/cifar10-resnet20-cpu/run.sh DATA_DIR [OUTPUT_DIR [PEAK_LEARNING_RATE]]
# DATA_DIR: class folders of pictures (train/CLASS/*, test/CLASS/*).
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:?the folder of the pictures}
output=${2:-runs/cifar10-resnet20-cpu}
rate=${3:-0.02}
for schedule in dsp bp; do
  cargo run --quiet --release -- train --model resnet20 --dataset image-folder --data-dir "$data" \
    --stages 2 --schedule "$schedule" --batch-size 128 --epochs 3 --lr "$rate" --weight-decay 1e-4 --seed 1 \
    --calibration-batches 0 --output "$output/$schedule"
done
