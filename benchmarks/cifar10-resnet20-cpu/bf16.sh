#!/usr/bin/env bash
# What bf16 costs in accuracy: the same run of DSP on two stages in f32 and in bf16, six epochs.
#   benchmarks/cifar10-resnet20-cpu/bf16.sh DATA_DIR [OUTPUT_DIR]
# DATA_DIR: class folders of pictures (train/CLASS/*, test/CLASS/*). STAGGER names another binary than
# target/release/stagger.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:?the folder of the pictures}
output=${2:-runs/cifar10-resnet20-cpu-bf16}
for dtype in f32 bf16; do
  "${STAGGER:-target/release/stagger}" train --engine torch --dtype "$dtype" --model resnet20 --dataset image-folder \
    --data-dir "$data" --schedule dsp --stages 2 --seed 1 --epochs 6 --batch-size 128 --lr 0.05 --lr-schedule cosine \
    --warmup-batches 400 --momentum 0.9 --weight-decay 1e-4 --calibration-batches 0 --output "$output/$dtype"
done
