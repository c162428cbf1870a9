#!/usr/bin/env bash
# DSP and BP, same seed, two epochs of ResNet-8 on Fashion-MNIST, two stages.
#   benchmarks/fashion-mnist-resnet8-cpu/run.sh DATA_DIR [OUTPUT_DIR]
# DATA_DIR: the four official files, plain or .gz.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:?the folder of the four files}
output=${2:-runs/fashion-mnist-resnet8-cpu}
for schedule in dsp bp; do
  cargo run --quiet --release -- train --config configs/fashion-mnist-resnet8.toml --data-dir "$data" \
    --schedule "$schedule" --calibration-batches 0 --output "$output/$schedule"
done
