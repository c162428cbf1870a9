#!/usr/bin/env bash
# What sinks cost a run: ResNet-20 on two stages, batch 128, with none of them, with each alone and with all, in turns.
#   benchmarks/sinks/cost.sh IMAGE_FOLDER [ROUNDS [BATCHES]]
# IMAGE_FOLDER may be `shapes`, for the images that are built in. STAGGER names another binary than target/release/stagger, and UNWATCHED
# another build of crates/stagger/examples/unwatched.rs, a run without a run folder: cargo build --release --example unwatched -p stagger.
# `folder` is a run with a run folder, `trace`, `tensorboard` and `metrics` (asked for once a second) have that and one sink, `all` has all.
# SINKS names some of them, beside `none`.
# Prints a line per run, and then medians and spread of images/s and of the ratios to the run with none of the same round. Snapshots are off, but
# weights are written at the end of every epoch, and with TensorBoard gradients are exported there. Run it on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."
images=$1
rounds=${2:-8}
batches=${3:-400}
stagger=${STAGGER:-target/release/stagger}
unwatched=${UNWATCHED:-target/release/examples/unwatched}
folder=$(mktemp -d)
scraper=
stop_scraper() {
  [ -z "$scraper" ] || { kill "$scraper" && wait "$scraper"; } 2>/dev/null || true
  scraper=
}
trap 'stop_scraper; rm -rf "$folder"' EXIT

# Asks for the figures once a second, as Prometheus would. Says at its end how often it got them.
scrape() {
  local url count=0
  trap 'echo "$count" >"$2"; exit 0' TERM
  while :; do
    url=$(sed -n 's/^metrics: \(http:[^;]*\).*/\1/p' "$1" 2>/dev/null || true)
    if [ -n "$url" ] && curl --silent --fail --max-time 1 --output "$folder/page" "$url"; then count=$((count + 1)); fi
    sleep 1 &
    wait $!
  done
}

data=(--dataset image-folder --data-dir "$images")
[ "$images" != shapes ] || data=(--dataset shapes)
common=("${data[@]}" --model resnet20 --stages 2 --schedule dsp --batch-size 128 --epochs 1000 --max-batches "$batches")

# Images/s of a run with these sinks, and what else there is to say.
measure() {
  local sinks=$1 run=$2 flags=() said
  case $sinks in
    none)
      flags=(resnet20 "$batches" 128)
      [ "$images" = shapes ] || flags+=("$images")
      said=$("$unwatched" "${flags[@]}")
      echo "${said%% *}"
      return
      ;;
    folder) ;;
    trace) flags=(--trace "$run.json") ;;
    tensorboard) flags=(--tensorboard "$run.board") ;;
    metrics) flags=(--metrics-listen 127.0.0.1:0) ;;
    all) flags=(--trace "$run.json" --tensorboard "$run.board" --metrics-listen 127.0.0.1:0) ;;
  esac
  : >"$run.err"
  scrape "$run.err" "$run.scrapes" &
  scraper=$!
  said=$("$stagger" train "${common[@]}" --keep-snapshots 0 --calibration-batches 0 --evaluate false --output "$run" "${flags[@]}" 2>"$run.err" |
    sed -n 's|^throughput: .* \([0-9]*\) images/s.*|\1|p')
  stop_scraper
  echo "$said $(cat "$run.scrapes" 2>/dev/null || echo 0)"
}

read -ra all <<<"${SINKS:-none folder trace tensorboard metrics all}"
for round in $(seq "$rounds"); do
  # Each is first, second, … equally often.
  for at in "${!all[@]}"; do
    sinks=${all[((at + round) % ${#all[@]})]}
    run=$folder/$sinks-$round
    read -r rate scrapes <<<"$(measure "$sinks" "$run")"
    printf '%s\t%s\t%s\t%s\n' "$round" "$sinks" "$rate" "${scrapes:-0}" | tee -a "$folder/rates"
    rm -rf "${run:?}" "$run".*
  done
done
python3 - "$folder/rates" <<'PYTHON'
import collections
import statistics
import sys

rates = collections.defaultdict(dict)
scrapes = collections.Counter()
for line in open(sys.argv[1]):
    number, sinks, rate, count = line.split("\t")
    rates[sinks][number] = float(rate)
    scrapes[sinks] += int(count)
print(f"\n{'sinks':12} {'median':>8} {'least':>8} {'most':>8} images/s {'to none':>8} {'least':>8} {'most':>8} {'scrapes':>8}")
for sinks, by_round in rates.items():
    of = sorted(by_round.values())
    ratios = [rate / rates["none"][number] for number, rate in by_round.items()]
    print(f"{sinks:12} {statistics.median(of):8.0f} {of[0]:8.0f} {of[-1]:8.0f}          {statistics.median(ratios):8.4f} {min(ratios):8.4f} {max(ratios):8.4f} {scrapes[sinks]:8}")
PYTHON
