# What `.ci/run` and `.ci/nightly` share: a cache outside the checkout, downloads in the background, and steps with their
# times. Sourced at the root of the repository. The caller defines a function `step_NAME` per step, and their order.

root=$PWD
cache=${STAGGER_CI_CACHE:-${HOME:-/root}/.cache/stagger-ci}
logs=$root/target/ci
mkdir -p "$cache" "$logs"
cache=$(cd "$cache" && pwd)
rm -f "$logs"/*

# Real data beside the checkout, where there is some; tests say so when they skip.
if [ -z "${STAGGER_DATA:-}" ] && [ -d ../shared/data ]; then
  STAGGER_DATA=$(cd ../shared/data && pwd)
  export STAGGER_DATA
fi
export INSTA_UPDATE=no CARGO_TERM_COLOR=never
# Sources do not change here, so incremental compilation costs time and saves none.
export CARGO_INCREMENTAL=0
export STAGGER_PYTHON=$cache/python/bin/python
# The same for every checkout, since build scripts of dependencies remember them; the second one replaces a path into the
# checkout that .cargo/config.toml gives.
export LIBTORCH=$cache/libtorch CPLUS_INCLUDE_PATH=$cache/no-headers
PATH=$PATH:$cache/tools/bin

# --- The target folder

# A run of all steps takes 6 GB, and `.ci/nightly` as much again.
most_target_mb=16000

# Takes the target folder. It begins anew with another compiler, or when what older versions of dependencies have left there
# has grown too large; other dependencies or profiles, cargo tells apart by itself.
open_target() {
  local key size
  export CARGO_TARGET_DIR=$cache/target
  mkdir -p "$CARGO_TARGET_DIR"
  exec 9>"$cache/target.lock"
  flock -n 9 || { echo "Waiting for another run that uses $CARGO_TARGET_DIR"; flock 9; }
  key=$(rustc -vV)
  size=$(du -sm "$CARGO_TARGET_DIR" | cut -f1)
  if [ "$(cat "$cache/target.key" 2>/dev/null)" != "$key" ] || ((size > most_target_mb)); then
    rm -rf "$CARGO_TARGET_DIR"
    mkdir "$CARGO_TARGET_DIR"
  fi
  echo "$key" >"$cache/target.key"
}

# Goes to a copy of the checkout in the cache. There files keep their times until their content changes, so that cargo compiles
# what has changed since the last run, whatever checkout that was of. Without git, the steps run where they are.
enter_copy() {
  local copy=$cache/checkout file
  git init --quiet "$copy" &&
    git -C "$copy" fetch --quiet --no-tags "$root" HEAD &&
    git -C "$copy" checkout --quiet --detach --force FETCH_HEAD &&
    git -C "$copy" clean -fdxq || { echo "Running in place"; return 0; }
  # What is not committed.
  { git diff --name-only -z HEAD && git ls-files -z --others --exclude-standard; } | while IFS= read -r -d '' file; do
    rm -f "$copy/$file"
    [ ! -e "$file" ] || { mkdir -p "$(dirname "$copy/$file")" && cp -P "$file" "$copy/$file"; }
  done
  cd "$copy"
}

# Cargo takes what was built in one folder for what another would build, if the files there are old enough: it looks at paths
# within the workspace and at times.
drop_other_folders() {
  local owner=$cache/target.folder this
  this="$PWD $(stat -c '%i %W' .)"
  if [ -e "$CARGO_TARGET_DIR/debug" ] && [ "$(cat "$owner" 2>/dev/null)" != "$this" ]; then
    start crates
    await crates
    cargo clean --quiet --workspace
    cargo clean --quiet --workspace --release
  fi
  echo "$this" >"$owner"
}

# --- Downloads

# Installs packages of Debian, if any are named. Downloads run at the same time, and apt is for one of them at a time.
install_packages() {
  [ "$#" != 0 ] || return 0
  (
    flock 8
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -qy "$@"
  ) 8>"$cache/apt.lock"
}

fetch_packages() {
  local missing=()
  command -v c++ >/dev/null || missing+=(g++)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  install_packages "${missing[@]}"
}

# A browser, for pages.
fetch_chromium() {
  await packages
  command -v chromium >/dev/null || install_packages --no-install-recommends chromium fonts-dejavu-core
}

# What Chrome's DevTools read traces with.
fetch_trace_engine() {
  local wanted folder=$cache/trace-engine
  wanted=$(cat benchmarks/sinks/trace-engine/package-lock.json)
  await packages
  command -v npm >/dev/null || install_packages --no-install-recommends nodejs npm
  [ "$(cat "$folder/stamp" 2>/dev/null)" != "$wanted" ] || return 0
  rm -rf "$folder"
  cp -r benchmarks/sinks/trace-engine "$folder"
  npm ci --silent --no-fund --no-audit --prefix "$folder"
  echo "$wanted" >"$folder/stamp"
}

# An MPI, and what its bindings are made with.
fetch_mpi() {
  local missing=()
  await packages
  command -v mpirun >/dev/null || missing+=(openmpi-bin)
  command -v mpicc >/dev/null || missing+=(libopenmpi-dev)
  ls /usr/lib/llvm-*/lib/libclang.so* /usr/lib/*/libclang*.so* >/dev/null 2>&1 || missing+=(libclang-dev)
  install_packages "${missing[@]}"
}

fetch_crates() {
  # Both lock files have to be up to date; a fresh one is written by `cargo metadata >/dev/null`.
  cargo fetch --locked
  cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
}

# For the reader in docs/snapshots.md, and for what Prometheus reads of a run.
fetch_python() {
  local wanted='numpy safetensors==0.8.0 prometheus_client==0.26.0'
  await packages
  if [ "$(cat "$cache/python/stamp" 2>/dev/null)" != "$wanted" ] || ! "$STAGGER_PYTHON" -c 'import numpy, prometheus_client, safetensors' 2>/dev/null; then
    rm -rf "$cache/python"
    python3 -m venv "$cache/python"
    # shellcheck disable=SC2086
    "$STAGGER_PYTHON" -m pip install --quiet --disable-pip-version-check $wanted
    echo "$wanted" >"$cache/python/stamp"
  fi
}

# PyTorch itself, which files and numbers are compared with.
fetch_pytorch() {
  local wanted folder=$cache/pytorch
  wanted=$(cat benchmarks/peers/requirements.txt benchmarks/pytorch/requirements.txt)
  await packages
  [ "$(cat "$folder/stamp" 2>/dev/null)" != "$wanted" ] || return 0
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --requirement benchmarks/peers/requirements.txt --requirement benchmarks/pytorch/requirements.txt
  echo "$wanted" >"$folder/stamp"
}

fetch_libtorch() {
  # Its pip, as the system's Python may have none.
  await python
  PATH=$cache/python/bin:$PATH scripts/libtorch --to "$LIBTORCH"
}

nextest_version=0.9.143
fetch_nextest() {
  cargo nextest --version 2>/dev/null && return
  # It spends its time in waiting for tests: not worth optimising.
  (cd / && CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-nextest --version "$nextest_version" --locked --debug \
    --root "$cache/tools" --target-dir "$cache/tools/build")
  rm -rf "$cache/tools/build"
}

declare -A download_after=([python]=packages [pytorch]=packages [libtorch]=python [mpi]=packages [chromium]=packages [trace_engine]=packages) download_pids=()

# Starts downloads that are not under way, and those that they wait for.
start() {
  local name
  for name in "$@"; do
    [ -z "${download_pids[$name]:-}" ] || continue
    # shellcheck disable=SC2086
    start ${download_after[$name]:-}
    # A process group of its own, so that it can be ended as a whole.
    set -m
    (
      exec 9>&-
      code=1
      trap 'echo "$code" >"$logs/download-$name.code"' EXIT
      set +e
      (set -e; "fetch_$name")
      code=$?
    ) >"$logs/download-$name.log" 2>&1 </dev/null &
    download_pids[$name]=$!
    set +m
  done
}

# Waits until a download is done; fails with what it said if it failed.
await() {
  local name=$1 code=$logs/download-$1.code
  [ -e "$code" ] || echo "Waiting for the download of $name"
  while [ ! -s "$code" ]; do sleep 0.2; done
  if [ "$(cat "$code")" != 0 ]; then
    echo "The download of $name failed:"
    tail -n 40 "$logs/download-$name.log"
    return 1
  fi
}

# --- Tests

# `cargo nextest run` with the profile given, and a list of what passed for the closing line.
nextest() {
  local profile=$1 name=$2 code=0 junit=target/nextest/$1/junit.xml
  shift 2
  rm -f "$junit"
  cargo nextest run --profile "$profile" "$@" </dev/null || code=$?
  cp "$junit" "$logs/$name.junit.xml" 2>/dev/null || true
  return "$code"
}

# Passed, failed and skipped tests of all steps so far. A test that says why it skips has not passed.
count_tests() {
  cat /dev/null "$logs"/*.junit.xml 2>/dev/null | grep -aE '<testcase |<failure|<error|skipped: ' | awk '
    function count() { if (test == "failed") failed++; else if (test == "skipped") skipped++; else if (test != "") passed++ }
    /<testcase / { count(); test = "passed" }
    /<failure|<error/ { test = "failed" }
    /(^|>)skipped: / { if (test == "passed") test = "skipped" }
    END { count(); print passed + 0, failed + 0, skipped + 0 }'
  cat /dev/null "$logs"/*.log 2>/dev/null | awk '
    /^test result:/ { passed += $4; failed += $6; skipped += $8 }
    # Tests that are ignored here: nextest counts them in its summary, beside what a filter left out.
    /^IGNORED: / { skipped += $2 }
    END { print passed + 0, failed + 0, skipped + 0 }'
}

# --- Steps

declare -A step_needs=()
step_names=() step_seconds=() step_verdicts=()
failed_steps=0

# Runs a step; after one has failed, the rest is left out unless the caller sets `keep_going`.
step() {
  local name=$1 began code=0
  if [ "$failed_steps" != 0 ] && [ -z "${keep_going:-}" ]; then
    step_names+=("$name") step_seconds+=(0) step_verdicts+=("not run")
    return
  fi
  printf '\n== %s (%s)\n' "$name" "$(date -u +%H:%M:%S)"
  began=$SECONDS
  # Not in a condition: that would switch `set -e` off in the step.
  set +e
  (
    set -e
    for need in ${step_needs[$name]:-}; do await "$need"; done
    "step_$name"
  ) 2>&1 </dev/null | tee "$logs/$name.log"
  code=${PIPESTATUS[0]}
  set -e
  step_names+=("$name") step_seconds+=("$((SECONDS - began))")
  if [ "$code" = 0 ]; then
    step_verdicts+=(passed)
  else
    step_verdicts+=(FAILED)
    failed_steps=$((failed_steps + 1))
    printf '== %s failed\n' "$name"
  fi
}

# The steps' times.
table() {
  local i total=0
  for i in "${!step_names[@]}"; do
    printf '%-16s %6d s  %s\n' "${step_names[i]}" "${step_seconds[i]}" "${step_verdicts[i]}"
    total=$((total + step_seconds[i]))
  done
  printf '%-16s %6d s\n' total "$total"
}

# Runs the steps named, or all of the array `steps`; prints the table and the closing line, and exits.
run_steps() {
  local name need known=" ${steps[*]} " chosen=("$@")
  [ "$#" != 0 ] || chosen=("${steps[@]}")
  for name in "${chosen[@]}"; do
    case $known in
      *" $name "*) ;;
      *) printf 'There is no step `%s`; there are: %s\n' "$name" "${steps[*]}" >&2; exit 2 ;;
    esac
  done
  open_target
  enter_copy
  trap 'for pid in "${download_pids[@]}"; do kill -- "-$pid" 2>/dev/null || true; done' EXIT
  for name in "${chosen[@]}"; do
    # shellcheck disable=SC2086
    start ${step_needs[$name]:-}
  done
  drop_other_folders
  for name in "${chosen[@]}"; do step "$name"; done
  printf '\n== times\n'
  table
  du -sh "$CARGO_TARGET_DIR" | sed 's/^/target folder: /'
  [ -z "$(type -t at_end)" ] || at_end
  # A step that failed without a failing test counts as one.
  count_tests | awk -v steps="$failed_steps" '
    { passed += $1; failed += $2; skipped += $3 }
    END { if (failed < steps) failed = steps; printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }'
  [ "$failed_steps" = 0 ]
  exit
}
