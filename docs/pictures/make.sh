#!/usr/bin/env bash
# Makes README's pictures anew: docs/pictures/make.sh [FOLDER]
#
# Trains on `shapes` for a minute or two and takes the screen of that run and the page of its report, each in light and dark. FOLDER is where the
# pictures go [docs/pictures]. Needs chromium, tmux and Python 3. STAGGER: a binary with feature `tui` [built in release].
set -euo pipefail
cd "$(dirname "$0")/../.."
pictures=$(realpath "${1:-docs/pictures}")
if [ -z "${STAGGER:-}" ]; then
  cargo build --release -p stagger-cli --features tui
  STAGGER=${CARGO_TARGET_DIR:-target}/release/stagger
fi
stagger=$(realpath "$STAGGER")
work=$(mktemp -d)
# A server of its own, so that no setting and no session of the user matters.
screen() { tmux -L "stagger-pictures-$$" -f /dev/null "$@"; }
trap 'screen kill-server 2>/dev/null || true; rm -rf "$work"' EXIT

run="$work/resnet8-shapes"
COLORTERM='' screen new-session -d -x 104 -y 31 -s run \
  "'$stagger' train --stages 2 --epochs 4 --calibration-batches 0 --trace '$work/trace.json' --output '$run' --tui"
# Within the last epoch.
epochs() { grep -c '"kind":"epoch"' "$run/metrics.jsonl" 2>/dev/null || true; }
until [ "$(epochs)" = 3 ]; do
  screen has-session -t run 2>/dev/null || { echo "the run has ended too soon" >&2; exit 1; }
  sleep 0.5
done
sleep "${PAUSE:-2}"
screen capture-pane -e -p -t run >"$work/screen.txt"
while screen has-session -t run 2>/dev/null; do sleep 0.5; done

(cd "$work" && "$stagger" report resnet8-shapes --trace trace.json --trace-batches 100-160)
for scheme in light dark; do
  python3 docs/pictures/terminal.py "$scheme" <"$work/screen.txt" >"$pictures/dashboard-$scheme.svg"
  python3 benchmarks/sinks/chromium.py "$work/report.html" --scheme "$scheme" --width 1240 --until figure.timeline \
    --picture "$pictures/report-$scheme.png"
  python3 docs/pictures/palette.py "$pictures/report-$scheme.png"
done
ls -l "$pictures"
