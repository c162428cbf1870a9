#!/usr/bin/env bash
# Traces of several methods, read by the trace engine of Chrome's DevTools (trace.mjs).
#   benchmarks/sinks/trace.sh FOLDER
# FOLDER is a copy of trace-engine/ where `npm ci` has run. STAGGER names another binary than target/release/stagger.
set -euo pipefail
engine=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
stagger=$(realpath "${STAGGER:-$here/../../target/release/stagger}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# METHOD STAGES [FLAGS]
check() {
  local method=$1 stages=$2 trace
  shift 2
  trace=$folder/${method//[^a-z0-9]/-}-$stages-$#.json
  "$stagger" train --dataset shapes --max-batches 24 --calibration-batches 0 --evaluate false --output "${trace%.json}" --trace "$trace" \
    --schedule "$method" --stages "$stages" "$@" >"$folder/said"
  node "$here/trace.mjs" "$engine" "$trace" "$stages"
}

check bp 1
check dsp 2
check dsp 4
check 'dsp(1,1,0;4,2,0)' 3
check 'gpipe(4)' 3
check '1f1b(4)' 2
check 'zb(4)' 2
check pipedream 2
check dni 2
check dsp 2 --snapshot-every 5
