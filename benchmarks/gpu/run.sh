#!/usr/bin/env bash
# Engine torch on one GPU: agreement with engine cpu, equal bits, and speed beside PyTorch. See README.md.
set -euo pipefail

readonly usage="usage: benchmarks/gpu/run.sh [FLAG ...] [OUTPUT_DIR]

Steps: agreement, bits, and a speed-MODEL-BATCH-FORMAT for each setting; then the table. Each step leaves a JSON file in OUTPUT_DIR
(benchmarks/gpu/results by default); steps whose file is complete are not repeated.

  --quick          one round, one and two stages, PyTorch eager and compiled, half a second per turn; ResNet-56 and -50
  --only STEP      this step only; may be given several times, and be a pattern: 'speed-resnet50-*'
  --minutes N      start nothing that may not be done after N minutes; run it again to go on
  --rounds N       turns of each variant (3)
  --stages LIST    stages that share the GPU, such as 1,2 (1,2,3,4)
  --peers LIST     ways to run PyTorch (eager,compile,autotune)
  --optimizer NAME of PyTorch: foreach or fused (foreach)
  --device NAME    cuda:0 by default; cpu tries the script out on tiny shapes, on a machine without a GPU
  --list           print the steps and end

Environment: STAGGER, the program (target/release/stagger, built when missing); STAGGER_TESTS, the test binary \`it\` of stagger-torch of
stagger-torch (built when missing); LIBTORCH, a libtorch 2.11.0 with CUDA (libtorch/, or the PyTorch of python3);
PYTHON, a Python with PyTorch (python3); STAGGER_COMMIT, where there is no git.

Exit status: 0 done, 1 a step failed, 2 it cannot start, 3 time ran out."

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
output=$here/results python=${PYTHON:-python3} device=cuda:0 optimizer=foreach
minutes="" quick="" list="" rounds="" stages="" peers=""
only=()

fail() {
  echo "benchmarks/gpu/run.sh: $1" >&2
  exit 2
}

while (($# > 0)); do
  case $1 in
    --quick) quick=1 ;;
    --list) list=1 ;;
    -h | --help) echo "$usage" && exit 0 ;;
    --only | --minutes | --rounds | --stages | --peers | --optimizer | --device)
      (($# > 1)) || fail "$1 needs a value; see --help"
      case $1 in
        --only) only+=("$2") ;;
        --minutes) minutes=$2 ;;
        --rounds) rounds=$2 ;;
        --stages) stages=$2 ;;
        --peers) peers=$2 ;;
        --optimizer) optimizer=$2 ;;
        --device) device=$2 ;;
      esac
      shift
      ;;
    -*) fail "there is no flag $1; see --help" ;;
    *) output=$1 ;;
  esac
  shift
done
for number in "$minutes" "$rounds"; do
  [[ -z $number || $number =~ ^[1-9][0-9]*$ ]] || fail "--minutes and --rounds take a whole number of at least 1, not $number"
done
[[ -z $stages || $stages =~ ^[1-9](,[1-9])*$ ]] || fail "--stages takes numbers of stages such as 1,2,4, not $stages"

# What is asked for first comes first: shapes that fill a GPU, then small ones.
settings=(resnet110-1024 resnet50-128 resnet56-128 resnet110-128 resnet56-1024 resnet50-64)
if [[ $device == cpu ]]; then settings=(resnet8-8); elif [[ -n $quick ]]; then settings=(resnet56-128 resnet50-64); fi
steps=(agreement bits)
for setting in "${settings[@]}"; do
  for format in bf16 f32 tf32; do
    if [[ $device != cpu || $format != tf32 ]]; then steps+=("speed-$setting-$format"); fi
  done
done
chosen=()
for step in "${steps[@]}"; do
  ((${#only[@]} > 0)) || chosen+=("$step")
  for pattern in ${only[@]+"${only[@]}"}; do
    # shellcheck disable=SC2053 # a pattern is what is meant
    if [[ $step == $pattern ]]; then chosen+=("$step") && break; fi
  done
done
((${#chosen[@]} > 0)) || fail "--only ${only[*]}: there is no such step; --list names them"
if [[ -n $list ]]; then
  printf '%s\n' "${chosen[@]}"
  exit 0
fi

started=$SECONDS
rounds=${rounds:-$([[ -n $quick ]] && echo 1 || echo 3)}
stages=${stages:-$([[ -n $quick ]] && echo 1,2 || echo 1,2,3,4)}
peers=${peers:-$([[ -n $quick ]] && echo eager,compile || echo eager,compile,autotune)}
if [[ $device == cpu && -z ${peers##*autotune*} ]]; then peers=eager; fi

"$python" -c '' 2>/dev/null || fail "there is no $python; name a Python 3 with PyTorch by PYTHON"
if [[ $device != cpu ]]; then
  nvidia-smi -L 2>/dev/null | grep -q GPU ||
    fail "no GPU is visible to nvidia-smi; run this on a machine with one, or try it out with --device cpu"
fi

# Where libtorch is, and where CUDA's libraries are: beside it, or in the wheels beside that of PyTorch.
libtorch=
wheel=$("$python" -c 'import importlib.util as find; print(find.find_spec("torch").submodule_search_locations[0])' 2>/dev/null || true)
for folder in "${LIBTORCH:-}" "$root/libtorch" "$wheel"; do
  if [[ -n $folder && -e $folder/lib/libtorch_cuda.so ]]; then libtorch=$folder && break; fi
done
run_with=(env CUBLAS_WORKSPACE_CONFIG=:4096:8)
if [[ -n $libtorch ]]; then
  version=$(cat "$libtorch/build-version" 2>/dev/null || sed -n "s/^__version__ = '\(.*\)'/\1/p" "$libtorch/version.py" 2>/dev/null || true)
  [[ ${version%%+*} == 2.11.0 ]] ||
    fail "the libtorch in $libtorch is ${version:-of no known version}, and stagger needs 2.11.0; name another by LIBTORCH, or run scripts/libtorch --cuda"
  libraries=$libtorch/lib
  for folder in "$libtorch"/../nvidia/*/lib; do
    if [[ -d $folder ]]; then libraries+=:$folder; fi
  done
  # A program that was linked against a libtorch without CUDA finds GPUs once this library is loaded. For stagger only:
  # PyTorch loads its own.
  run_with+=("LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "LD_PRELOAD=$libtorch/lib/libtorch_cuda.so")
  echo "libtorch $version in $libtorch"
elif [[ $device != cpu ]]; then
  fail "there is no libtorch with CUDA in LIBTORCH, in $root/libtorch or in the PyTorch of $python; run scripts/libtorch --cuda"
fi

cargo_builds() {
  command -v cargo >/dev/null ||
    fail "there is no $1 and no cargo to build it; build it elsewhere and name it by $2 (see device.md)"
}

stagger=${STAGGER:-$root/target/release/stagger}
if [[ ! -x $stagger ]]; then
  cargo_builds "$stagger" STAGGER
  [[ -z ${STAGGER:-} ]] || fail "there is no program $STAGGER, which STAGGER names"
  (cd "$root" && cargo build --release --features torch)
fi
stagger=$(cd "$(dirname "$stagger")" && pwd)/$(basename "$stagger")

test_binary() {
  tests=${STAGGER_TESTS:-}
  if [[ -z $tests ]]; then
    cargo_builds "test binary \`it\` of stagger-torch" STAGGER_TESTS
    tests=$root/$(cd "$root" && cargo test --release -p stagger-torch --features torch --test it --no-run 2>&1 |
      grep -oE 'target/release/deps/it-[0-9a-f]+')
  fi
  [[ -x $tests ]] || fail "there is no test binary $tests; build it as README.md says and name it by STAGGER_TESTS"
  tests=$(cd "$(dirname "$tests")" && pwd)/$(basename "$tests")
}

# What a step's file says: done, failed, or nothing when the step has to go on.
outcome() {
  [[ ! -e $1 ]] || "$python" - "$1" <<'PYTHON'
import json, sys

report = json.load(open(sys.argv[1], encoding="utf-8"))
if report.get("complete", True):
    print("failed" if report["step"].startswith("speed-") and report["failed"] or not report.get("passed", True) else "done")
PYTHON
}

mkdir -p "$output"
failed=() late=()
for step in "${chosen[@]}"; do
  file=$output/$step.json
  earlier=$(outcome "$file")
  if [[ -n $earlier ]]; then
    echo "$step: $earlier already"
    if [[ $earlier == failed ]]; then failed+=("$step"); fi
    continue
  fi
  left=
  if [[ -n $minutes ]]; then
    left=$((60 * minutes - SECONDS + started))
    # A start costs some 20 s before anything is measured.
    if ((left < 60)); then late+=("$step") && continue; fi
  fi
  echo "$step"
  status=0
  case $step in
    agreement)
      test_binary
      ${left:+timeout "$left"} "$python" "$here/agreement.py" --output "$file" --device "$device" \
        --tests "${run_with[@]}" "$tests" || status=$?
      ;;
    bits)
      ${left:+timeout "$left"} "$python" "$here/bits.py" --output "$file" --device "$device" \
        --stagger "${run_with[@]}" "$stagger" || status=$?
      ;;
    speed-*)
      flags=(--setting "${step#speed-}" --output "$file" --device "$device" --rounds "$rounds" --optimizer "$optimizer")
      if [[ -n $quick ]]; then flags+=(--seconds 0.5); fi
      # Ten seconds to end in.
      if [[ -n $left ]]; then flags+=(--minutes "$(awk "BEGIN { print ($left - 10) / 60 }")"); fi
      # shellcheck disable=SC2086 # lists become arguments
      "$python" "$here/speed.py" "${flags[@]}" --stages ${stages//,/ } --peers ${peers//,/ } \
        --stagger "${run_with[@]}" "$stagger" || status=$?
      ;;
  esac
  case $status in
    0) ;;
    3 | 124) late+=("$step") ;;
    2 | 130 | 143) exit "$status" ;;
    *) failed+=("$step") ;;
  esac
done

"$python" "$here/report.py" "$output" >"$output/table.md"
cat "$output/table.md"
if ((${#late[@]} > 0)); then echo "Not done in $minutes minutes: ${late[*]}; run it again to go on." >&2; fi
if ((${#failed[@]} > 0)); then
  echo "Failed: ${failed[*]}; see above, and the JSON files in $output. Delete a step's file to run it again." >&2
  exit 1
fi
((${#late[@]} == 0)) || exit 3
