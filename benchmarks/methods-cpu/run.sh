#!/usr/bin/env bash
# The compared methods on two stages of one machine: ResNet-20, CIFAR-10 pictures, engine torch.
#   benchmarks/methods-cpu/run.sh accuracy|stragglers DATA_DIR [OUTPUT_DIR [DTYPE]]
# accuracy: BP, GPipe(4), 1F1B(4), PipeDream, DSP and DNI, 10 epochs, three seeds. stragglers: all methods, short runs, every
# stage slowed down at random. DATA_DIR: class folders of pictures (train/CLASS/*, test/CLASS/*). STAGGER names another
# binary than target/release/stagger. A comparison that was interrupted goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
part=${1:?accuracy or stragglers}
data=${2:?the folder of the pictures}
output=${3:-runs/methods-cpu}/$part
stagger=${STAGGER:-target/release/stagger}
common=(--engine torch --dtype "${4:-bf16}" --model resnet20 --stages 2 --dataset image-folder --data-dir "$data"
  --batch-size 128 --lr 0.05 --momentum 0.9 --weight-decay 1e-4 --output "$output")

case $part in
accuracy)
  "$stagger" compare bp 'gpipe(4)' '1f1b(4)' pipedream dsp dni "${common[@]}" \
    --epochs 10 --seeds 1,2,3 --lr-schedule cosine --warmup-batches 500 --target 75
  ;;
stragglers)
  "$stagger" compare --preset stragglers bp 'gpipe(4)' '1f1b(4)' pipedream '2bw(4)' pipemare ddg fr fdg 'adl(4)' dsp dni \
    "${common[@]}"
  ;;
*)
  echo "there is no part $part; say accuracy or stragglers" >&2
  exit 2
  ;;
esac
