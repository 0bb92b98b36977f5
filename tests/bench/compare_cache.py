#!/usr/bin/env python3
"""A model as it is beside what `mlaserve convert` made of it, served in turn: what a
token caches by `inspect` and by /metrics, and how fast long contexts are continued.

    tests/bench/compare_cache.py SOURCE CONVERTED [--prompt-tokens 6000]

Each server gets one request at a time, by `mlaserve bench load` over gRPC; a figure is the
median of the runs, which are taken in turn. Prints a Markdown table.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
from server_process import BINARY, Server  # noqa: E402


def run(*command):
    return subprocess.run([BINARY, *command], check=True, capture_output=True, text=True).stdout


class Watch(threading.Thread):
    """The most bytes that live sequences held while a request was served."""

    def __init__(self, server):
        super().__init__()
        self.server, self.most, self.done = server, 0, threading.Event()

    def run(self):
        while not self.done.wait(0.2):
            self.most = max(self.most, self.server.metric("mla_kv_bytes", state="active"))


def serve_once(options, model):
    server = Server.from_environment({
        "MLA_MODEL": model, "MLA_GRPC_LISTEN": "127.0.0.1:0", "MLA_HTTP_LISTEN": "127.0.0.1:0",
        "MLA_ADMIN_LISTEN": "127.0.0.1:0", "MLA_THREADS": str(options.threads),
        "MLA_KV_CACHE_BYTES": "512M"})
    try:
        watch = Watch(server)
        watch.start()
        load = json.loads(run(
            "bench", "load", "--target", server.grpc, "--rate", "100", "--requests", "1",
            "--prompt-tokens", str(options.prompt_tokens),
            "--generate-tokens", str(options.generate_tokens), "--json"))
        watch.done.set()
        watch.join()
        return {"bytes": server.metric("mla_kv_bytes_per_token"), "held": watch.most,
                "ttft": load["ttft_seconds"]["p50"], "itl": load["itl_seconds"]["p50"]}
    finally:
        server.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("converted")
    parser.add_argument("--prompt-tokens", type=int, default=6000)
    parser.add_argument("--generate-tokens", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    models = [options.source, options.converted]
    runs = {model: [] for model in models}
    for _ in range(options.repeat):
        for model in models:
            runs[model].append(serve_once(options, model))
            print(time.strftime("%H:%M:%S"), model, runs[model][-1], file=sys.stderr, flush=True)
    inspected = [json.loads(run("inspect", model, "--json"))["kv_bytes_per_token"] for model in models]
    median = lambda model, field: statistics.median(r[field] for r in runs[model])
    rows = [("cached bytes a token, `inspect`", *inspected)]
    for title, field in (("the same, `mla_kv_bytes_per_token`", "bytes"),
                         ("bytes held at most, `mla_kv_bytes{state=\"active\"}`", "held"),
                         ("time to first token, ms", "ttft"), ("between tokens, ms", "itl")):
        scale = 1000 if field in ("ttft", "itl") else 1
        rows.append((title, *(scale * median(model, field) for model in models)))
    print(f"| {options.prompt_tokens} tokens of context | as it is | converted | ratio |\n|---|---:|---:|---:|")
    for title, before, after in rows:
        digits = 1 if "ms" in title else 0
        print(f"| {title} | {before:.{digits}f} | {after:.{digits}f} | {after / before:.3f} |")


if __name__ == "__main__":
    main()
