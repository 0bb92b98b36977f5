#!/usr/bin/env bash
# Everything that only a GPU can tell: the tests of the CUDA kernels and of whole models, compute-sanitizer where there
# is one, and how fast attention is beside FlashMLA, FlashInfer and PyTorch, those of them that are installed. Writes
# one table file.
#
#   tests/gpu/run.sh                  builds what it runs: CMake, nvcc and GoogleTest, a few minutes
#   tests/gpu/run.sh --pack DIR       builds it here and puts it there, whole models' tests too, to be carried
#   tests/gpu/run.sh --binaries DIR   runs what was carried
#   tests/gpu/run.sh --on-host --binaries DIR   ...of a build whose kernels the host executes: how this is tested
#
# Environment: OUT (the table file, default gpu-results.md), CUDA (a toolkit, default /usr/local/cuda), ARCHITECTURES
# (as MLA_CUDA_ARCHITECTURES), JOBS, MLA_SHARED_GOLDEN (a folder of full goldens; else the committed subset is used).
# Exits 1 if a test failed.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=${OUT:-gpu-results.md}
cuda=${CUDA:-/usr/local/cuda}
jobs=${JOBS:-$(nproc)}
binaries='' pack='' on_host=false
while [ $# -gt 0 ]; do
  case "$1" in
    --binaries) binaries=$2; shift 2 ;;
    --pack) pack=$2; shift 2 ;;
    --on-host) on_host=true; shift ;;
    *) sed -n '2,15s/^# \{0,1\}//p' "$0"; [ "$1" = --help ] && exit 0 || exit 2 ;;
  esac
done

kernel_tests=(attention_launch_test cache_kernels_test expert_gemm_test expert_layer_test fp8_rows_test moe_kernels_test
  moe_route_test moe_sort_test row_independence_test row_kernels_test row_limits_test sample_kernel_test select_kernel_test
  time_merge_kernel_test write_rows_test)
model_tests=(model_golden_cuda_test model_steps_cuda_test)

step() { printf '\n==> %s (%ds)\n' "$*" "$SECONDS" >&2; }

# build FOLDER: kernel tests and benchmark.
build() {
  cmake -S tests/gpu -B "$1" -DMLA_CUDA_ROOT="$cuda" ${ARCHITECTURES:+"-DMLA_CUDA_ARCHITECTURES=$ARCHITECTURES"} >&2
  cmake --build "$1" -j "$jobs" >&2
}

if [ -n "$pack" ]; then
  step "kernel tests and benchmark"
  build build/gpu
  step "tests of whole models"
  cmake --preset release -DMLA_BUILD_TESTS=ON ${MLA_PYTHON:+"-DMLA_PYTHON=$MLA_PYTHON"} >/dev/null
  cmake --build --preset release --target model_golden_gpu_test model_steps_gpu_test -- -j "$jobs" >&2
  mkdir -p "$pack/lib"
  cp build/gpu/bin/* "$pack"
  for test in golden steps; do
    cp "build/release/bin/model_${test}_gpu_test" "$pack/model_${test}_cuda_test"
  done
  # All that they load but the C library, and cuBLASLt, which comes with the machine's toolkit.
  ldd "$pack"/model_*_test | awk '$3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*|libcublasLt)\.so' | xargs cp -Lt "$pack/lib"
  echo "packed: $pack"
  exit 0
fi
if [ -z "$binaries" ]; then
  step "build"
  build build/gpu
  binaries=build/gpu/bin
fi

if $on_host; then
  device="the host, which executes the kernels: its times mean nothing"
else
  command -v nvidia-smi >/dev/null || { echo "run.sh: no nvidia-smi, so no GPU" >&2; exit 1; }
  device=$(nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader | head -n 1)
fi
export LD_LIBRARY_PATH="$binaries/lib:$cuda/lib64:$cuda/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export MLA_TEST_DATA=${MLA_TEST_DATA:-$PWD/tests/golden}

failed=()
results=$(mktemp)
trap 'rm -f "$results"' EXIT
# run NAME COMMAND...: one row of the table of tests.
run() {
  local name=$1 log seconds=$SECONDS
  shift
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    echo "| $name | passed | $(grep -oE '\[  PASSED  \] [0-9]+' "$log" | grep -oE '[0-9]+$' || echo -) | $((SECONDS - seconds)) |"
  else
    failed+=("$name")
    echo "| $name | FAILED | - | $((SECONDS - seconds)) |"
    tail -n 40 "$log" >&2
  fi >>"$results"
  rm -f "$log"
}

step "tests on $device"
for test in "${kernel_tests[@]}"; do run "$test" "$binaries/$test"; done
for test in "${model_tests[@]}"; do
  if [ -x "$binaries/$test" ]; then run "$test" "$binaries/$test"; else
    echo "| $test | not built here: see --pack | - | - |" >>"$results"
  fi
done
sanitizer=$(command -v compute-sanitizer || echo "$cuda/bin/compute-sanitizer")
if ! $on_host && [ -x "$sanitizer" ]; then
  for tool in memcheck racecheck synccheck; do
    for test in attention_launch_test expert_gemm_test; do
      run "$tool of $test" "$sanitizer" --tool "$tool" --error-exitcode 1 "$binaries/$test"
    done
  done
else
  echo "| compute-sanitizer | not here | - | - |" >>"$results"
fi

step "benchmarks"
{
  echo "# CUDA kernels on $device"
  echo
  echo "$(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%Y-%m-%dT%H:%MZ)"
  echo
  echo "| test | result | cases | s |"
  echo "|---|---|---:|---:|"
  cat "$results"
  echo
  if $on_host; then "$binaries/gpu_bench" --small; else "$binaries/gpu_bench"; fi
  echo
  python3 tests/gpu/peers.py || echo "peers.py failed"
} >"$out"
cat "$out"
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
