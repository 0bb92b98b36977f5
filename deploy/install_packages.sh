#!/usr/bin/env bash
# Installs the Debian packages that a step needs, and only those that are
# missing. One list for the quickstart, the tests and the Dockerfile.
#
#   deploy/install_packages.sh build      what compiling needs
#   deploy/install_packages.sh model      what fetching the demo model needs
#   deploy/install_packages.sh test       what tests/run.sh needs besides
#   deploy/install_packages.sh runtime    the libraries the binary runs with
set -euo pipefail

declare -A packages=(
  [build]="g++ cmake ninja-build pkg-config
    libabsl-dev libcli11-dev libcpp-httplib-dev libeigen3-dev libgrpc++-dev
    libopenblas-serial-dev libpcre2-dev
    libprotobuf-dev libspdlog-dev libssl-dev libutf8proc-dev nlohmann-json3-dev
    prometheus-cpp-dev protobuf-compiler protobuf-compiler-grpc"
  [model]="ca-certificates curl python3 python3-pip"
  [test]="clang-14 clang-format-14 libboost-context-dev libclang-rt-14-dev
    libgmock-dev libgtest-dev prometheus python3-venv shellcheck"
  [runtime]="libabsl20220623 libcpp-httplib0.11 libgrpc++1.51 libopenblas0-serial
    libpcre2-8-0
    libprometheus-cpp-core1.0 libprotobuf32 libspdlog1.10 libssl3 libutf8proc2"
)

[ $# -gt 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
wanted=()
for step in "$@"; do
  [ -n "${packages[$step]:-}" ] || { echo "unknown step: $step" >&2; exit 2; }
  read -r -d '' -a names <<<"${packages[$step]}" || true
  wanted+=("${names[@]}")
done

missing=()
for name in "${wanted[@]}"; do
  dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' ||
    missing+=("$name")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "run as root or install sudo, to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing ${#missing[@]} Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
