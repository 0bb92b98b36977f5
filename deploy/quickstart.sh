#!/usr/bin/env bash
# From a fresh Debian bookworm to a streamed answer:
# installs packages, builds, fetches a small model, serves it, asks it one
# question, and shows what the cache and the latency were.
#
#   deploy/quickstart.sh           leaves the server running in the foreground
#   deploy/quickstart.sh --once    stops it after the answer
#
# Environment: PROMPT (the question), JOBS (compiler processes).
set -euo pipefail
cd "$(dirname "$0")/.."

once=false
case "${1:-}" in
  "") ;;
  --once) once=true ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0"; [ "$1" = --help ] && exit 0 || exit 2 ;;
esac

step() { printf '\n\033[1m==> %s\033[0m (%ds)\n' "$*" "$SECONDS"; }

step "packages"
deploy/install_packages.sh build model

step "build"
if [ ! -e build/release/build.ninja ]; then
  cmake --preset release -DMLA_BUILD_TESTS=OFF >/dev/null
fi
cmake --build --preset release --target mlaserve -- ${JOBS:+-j "$JOBS"}
mlaserve=build/release/bin/mlaserve

step "model"
model=$(deploy/fetch_model.sh)
"$mlaserve" inspect "$model"

step "serve"
log=$(mktemp)
"$mlaserve" serve --model "$model" 2>"$log" &
server=$!
trap 'kill -TERM $server 2>/dev/null; wait $server || true; rm -f "$log"' EXIT
for _ in $(seq 600); do
  kill -0 $server 2>/dev/null || { cat "$log" >&2; exit 1; }
  "$mlaserve" health >/dev/null 2>&1 && break
  sleep 0.1
done
cat "$log"

step "ask"
"$mlaserve" generate --chat --temperature 0.2 --max-tokens 200 \
  --prompt "${PROMPT:-What is a KV cache? Answer in two sentences.}"

step "what it took (http://127.0.0.1:8080/metrics)"
curl -sS http://127.0.0.1:8080/metrics |
  grep -E '^mla_(kv_(bytes|blocks|tokens|bytes_per_token)|request_(ttft|itl|e2e)_seconds_(sum|count))[ {]' |
  sed -E 's/,?model="[^"]*"//; s/\{\}//'

if $once; then exit 0; fi
step "serving on 127.0.0.1:50051 (gRPC) and 127.0.0.1:8080 (HTTP); Ctrl-C stops it"
trap 'kill -TERM $server 2>/dev/null' INT TERM
tail --pid=$server -n 0 -f "$log" >&2 &
while kill -0 $server 2>/dev/null; do wait $server || true; done
