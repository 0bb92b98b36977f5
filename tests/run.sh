#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test.
#
#   tests/run.sh          what CI runs, under 30 minutes on 2 cores
#   tests/run.sh --all    long fuzzing and long soaks besides
#
# Steps: formatting, layering and scripts; the release build with every test,
# end to end too; ASan and UBSan on all C++ tests, and libFuzzer on every parser;
# TSan on those with threads.
#
# Environment:
#   MLA_SHARED_GOLDEN   folder of the full goldens; without it the committed
#                       subset in tests/golden is used
#   JOBS                compiler processes (default: all cores)
set -euo pipefail
cd "$(dirname "$0")/.."

fuzz_seconds=10
case "${1:-}" in
  "") ;;
  --all) fuzz_seconds=300; export MLA_SOAK=1 ;;
  *) sed -n '2,15s/^# \{0,1\}//p' "$0"; [ "$1" = --help ] && exit 0 || exit 2 ;;
esac
jobs=${JOBS:-$(nproc)}
results=build/results
rm -rf "$results"
mkdir -p "$results"
failed=()

step() { printf '\n\033[1m==> %s\033[0m (%ds)\n' "$*" "$SECONDS"; }
# check NAME COMMAND...: notes a failure and goes on, so that one run shows all.
check() {
  local name=$1
  shift
  "$@" || { failed+=("$name"); echo "FAILED: $name"; }
}

step "packages"
deploy/install_packages.sh build model test
python=build/venv/bin/python
if ! cmp -s tests/e2e/requirements.txt build/venv/requirements.txt; then
  python3 -m venv --clear build/venv
  "$python" -m pip install --quiet --disable-pip-version-check -r tests/e2e/requirements.txt
  cp tests/e2e/requirements.txt build/venv/
fi
MLA_SMOLLM2_GGUF=$(deploy/fetch_model.sh)
export MLA_SMOLLM2_GGUF

step "formatting, layering, scripts"
sources=$(find kernels runtime server tests -name '*.h' -o -name '*.cc' -o -name '*.inc' -o -name '*.cu' \
  -o -name '*.cuh')
# shellcheck disable=SC2086
check clang-format clang-format-14 --dry-run --Werror $sources
check layering python3 tests/layering_test.py
check shellcheck shellcheck deploy/*.sh tests/*.sh tests/bench/*.sh tests/gpu/*.sh .ci/run

# quietly COMMAND...: its last words, or all of them if it fails.
quietly() {
  local log
  log="$results/$(basename "$1").log"
  if "$@" >"$log" 2>&1; then tail -n 1 "$log"; else cat "$log"; return 1; fi
}

build_and_test() {
  local preset=$1
  step "$preset: build"
  cmake --preset "$preset" -DMLA_BUILD_TESTS=ON -DMLA_PYTHON="$PWD/$python" >/dev/null
  cmake --build --preset "$preset" -- -j "$jobs"
  step "$preset: test"
  check "$preset" setarch "$(uname -m)" -R ctest --preset "$preset" -j 2 \
    --output-junit "$PWD/$results/$preset.xml"
}

build_and_test release
build_and_test asan

step "fuzz: $fuzz_seconds seconds each"
for fuzzer in build/asan/bin/*_fuzz; do
  name=$(basename "$fuzzer")
  mkdir -p "build/corpus/$name"
  check "$name" quietly "$fuzzer" -max_total_time="$fuzz_seconds" -timeout=20 \
    -rss_limit_mb=4096 -artifact_prefix="$results/$name-" "build/corpus/$name"
done

build_and_test tsan

step "summary"
check tests python3 tests/summary.py \
  release="$results/release.xml" asan="$results/asan.xml" tsan="$results/tsan.xml"
if [ ${#failed[@]} -gt 0 ]; then
  echo "FAILED after ${SECONDS}s: ${failed[*]}"
  exit 1
fi
echo "all passed in ${SECONDS}s"
