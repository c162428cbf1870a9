#!/usr/bin/env bash
# Carries the measurements over to a machine without cargo or network. See device.md.
#   benchmarks/gpu/device.sh prepare           here: the binaries, stripped, in benchmarks/gpu/carried
#   benchmarks/gpu/device.sh call [FLAG …]     there: run.sh with these flags, then all results in $OUT/results.tar.gz
#   benchmarks/gpu/device.sh collect FILE      here: unpacks that file
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
from=$PWD
cd "$here"

fail() {
  echo "benchmarks/gpu/device.sh: $1" >&2
  exit 2
}

prepare() {
  local root=../.. stagger=${STAGGER:-} tests=${STAGGER_TESTS:-}
  if [[ -z $stagger ]]; then
    (cd "$root" && cargo build --release --features torch)
    stagger=$root/target/release/stagger
  fi
  if [[ -z $tests ]]; then
    tests=$root/$(cd "$root" && cargo test --release -p stagger-torch --features torch --test it --no-run 2>&1 |
      grep -oE 'target/release/deps/it-[0-9a-f]+') || fail "the tests of stagger-torch did not build; see what cargo test says"
  fi
  mkdir -p carried
  strip -o carried/stagger "$stagger"
  strip -o carried/stage "$tests"
  git rev-parse --short HEAD >carried/commit
  du -ch carried/*
}

call() {
  local status=0 commit
  [[ -n ${OUT:-} && -d ${OUT:-} ]] || fail "OUT names no folder; set it to where files are to be left"
  [[ -x carried/stagger && -x carried/stage ]] || fail "there is no carried/stagger or carried/stage; run \`device.sh prepare\` where cargo is, and carry the folder"
  commit=$(cat carried/commit)
  mkdir -p results
  # A later --minutes wins.
  STAGGER=carried/stagger STAGGER_TESTS=carried/stage STAGGER_COMMIT=$commit PYTHONUNBUFFERED=1 \
    bash run.sh --minutes 9 "$@" || status=$?
  tar -czf "$OUT/results.tar.gz" results*
  exit "$status"
}

case ${1:-} in
  prepare) prepare ;;
  call) call "${@:2}" ;;
  collect) (cd "$from" && tar -xzf "${2:?the file results.tar.gz}" -C "$here") ;;
  *) fail "say prepare, call or collect; see device.md" ;;
esac
