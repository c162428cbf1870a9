#!/usr/bin/env bash
# Engine torch on one GPU: agreement with engine burn, equal bits, and speed beside PyTorch.
#   benchmarks/gpu/run.sh [OUTPUT_DIR [STEP …]]        steps: agreement bits speed table; all of them by default
# STAGGER and STAGGER_TESTS name binaries that are built already: stagger, and the test binary `stage` of
# stagger-engine. libtorch with CUDA is taken from LIBTORCH, from libtorch/ (scripts/libtorch --cuda), or from the PyTorch
# of python3; its version has to be 2.11.0. Steps and measurements that are in OUTPUT_DIR are not repeated, so the whole can be
# spread over several calls.
set -euo pipefail
cd "$(dirname "$0")/../.."
output=${1:-benchmarks/gpu/results}
steps=("${@:2}")
[ ${#steps[@]} -gt 0 ] || steps=(agreement bits speed table)
mkdir -p "$output"

fail() {
  echo "benchmarks/gpu/run.sh: $1" >&2
  exit 2
}
nvidia-smi -L >/dev/null 2>&1 || fail "no GPU is visible to nvidia-smi; run it on a machine with one"

libtorch=${LIBTORCH:-$PWD/libtorch}
if [ ! -e "$libtorch/lib/libtorch_cuda.so" ]; then
  libtorch=$(python3 -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent)' 2>/dev/null) ||
    fail "no libtorch with CUDA; run scripts/libtorch --cuda, or name one by LIBTORCH"
fi
version=$(cut -d+ -f1 "$libtorch/build-version" 2>/dev/null || python3 -c 'import torch; print(torch.__version__.split("+")[0])')
[ "$version" = 2.11.0 ] || fail "libtorch in $libtorch is $version; the binary needs 2.11.0"
# CUDA's libraries lie beside libtorch, or in the wheels beside the one of PyTorch.
folders=$libtorch/lib
for folder in "$libtorch"/../nvidia/*/lib; do [ -d "$folder" ] && folders+=:$(cd "$folder" && pwd); done
export LD_LIBRARY_PATH=$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export CUBLAS_WORKSPACE_CONFIG=:4096:8

stagger=${STAGGER:-target/release/stagger}
if [ ! -x "$stagger" ]; then
  command -v cargo >/dev/null || fail "there is no $stagger and no cargo to build it; name a binary by STAGGER"
  cargo build --release --features torch
fi
# A binary that was linked against a libtorch without CUDA finds the GPU once this library is loaded.
gpu() { LD_PRELOAD=libtorch_cuda.so "$@"; }

for step in "${steps[@]}"; do
  case $step in
    agreement)
      [ ! -e "$output/agreement.log" ] || continue
      tests=${STAGGER_TESTS:-}
      if [ -z "$tests" ]; then
        tests=$(cargo test --release -p stagger-engine --features torch --test stage --no-run 2>&1 |
          grep -oE 'target/release/deps/stage-[0-9a-f]+')
      fi
      STAGGER_TEST_DEVICE=cuda:0 gpu "$tests" agreement --test-threads 1 2>&1 | tee "$output/agreement.partial"
      mv "$output/agreement.partial" "$output/agreement.log"
      ;;
    bits)
      [ ! -e "$output/bits.log" ] || continue
      : >"$output/bits.partial"
      work=$(mktemp -d)
      for schedule in bp dsp; do
        for stages in 1 2 3 4; do
          for turn in 1 2; do
            gpu "$stagger" train --engine torch --device cuda --schedule "$schedule" --stages "$stages" --max-batches 60 \
              --calibration-batches 0 --output "$work/$schedule$stages$turn" >/dev/null
          done
          equal=differs
          cmp -s "$work/$schedule${stages}1/last.safetensors" "$work/$schedule${stages}2/last.safetensors" && equal=equal
          echo "$schedule, $stages stages, twice: $equal" | tee -a "$output/bits.partial"
        done
      done
      for stages in 2 3 4; do
        equal=differs
        cmp -s "$work/bp11/last.safetensors" "$work/bp${stages}1/last.safetensors" && equal=equal
        echo "bp, $stages stages against 1: $equal" | tee -a "$output/bits.partial"
      done
      rm -rf "$work"
      mv "$output/bits.partial" "$output/bits.log"
      ;;
    speed) python3 benchmarks/gpu/speed.py --stagger "$stagger" --output "$output/speed.json" ;;
    table) python3 benchmarks/gpu/speed.py --table "$output/speed.json" | tee "$output/speed.md" ;;
    *) fail "there is no step $step; steps are agreement, bits, speed, table" ;;
  esac
done
