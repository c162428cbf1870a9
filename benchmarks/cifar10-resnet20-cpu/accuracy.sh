#!/usr/bin/env bash
# Final accuracy of BP and DSP over whole runs: ResNet-20, CIFAR-10 pictures, 30 epochs, two seeds, engine torch.
#   benchmarks/cifar10-resnet20-cpu/accuracy.sh DATA_DIR [OUTPUT_DIR [DTYPE]]
# DATA_DIR: class folders of pictures (train/CLASS/*, test/CLASS/*). STAGGER names another binary than
# target/release/stagger. Runs that have ended are skipped, so an interrupted series goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:?the folder of the pictures}
dtype=${3:-f32}
output=${2:-runs/cifar10-resnet20-cpu-accuracy}/$dtype
stagger=${STAGGER:-target/release/stagger}

train() { # NAME SCHEDULE STAGES SEED
  local folder="$output/$1-seed$4"
  if grep -qs ' done at version' "$folder/run.log"; then return; fi
  rm -rf "$folder"
  mkdir -p "$output"
  "$stagger" train --engine torch --dtype "$dtype" --model resnet20 --dataset image-folder --data-dir "$data" \
    --schedule "$2" --stages "$3" --seed "$4" --epochs 30 --batch-size 128 --lr 0.05 --lr-schedule cosine \
    --warmup-batches 1000 --momentum 0.9 --weight-decay 1e-4 --calibration-batches 0 --output "$folder"
}

train dsp2 dsp 2 1
train dsp4 dsp 4 1
# BP gives the same numbers on any number of stages: two runs of one stage share the machine.
train bp bp 1 1 &
train bp bp 1 2 &
wait
train dsp2 dsp 2 2
train dsp4 dsp 4 2
python3 benchmarks/cifar10-resnet20-cpu/table.py "$output"
