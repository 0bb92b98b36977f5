#!/usr/bin/env python3
"""mlaserve beside llama.cpp, ik_llama.cpp and OpenVINO on this machine: the same model, the
same lengths, threads and class of quantisation, runs taken in turn, medians.

    tests/bench/compare.sh [--repeat 3] [--rows decode,prefill] [--update-readme]

Each row is one kind of work. Its limit is what this machine could do at best, by the
figures of tests/bench/machine_limits.cc taken in the same run: for decoding, the bytes of
weights and cache that a step reads, from memory; for prompts, the products of all layers in
the registers. Prints a Markdown table.
"""

import argparse
import json
import pathlib
import platform
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ROOT / "tests/bench/peers"
README = ROOT / "README.md"
MARKS = ("<!-- measured: begin -->\n", "<!-- measured: end -->\n")

# SmolLM2-135M. Bytes of a weight: GGUF's Q8_0; bf16; Q4_1 with the head in Q8_0.
PARAMETERS, EMBEDDING, LAYERS, HEADS, HEAD_DIM = 134_515_008, 49152 * 576, 30, 9, 64
ROW_BYTES = 23040  # of a cached token, in all layers
CLASSES = {
    "8-bit": {"weights": "int8", "file": "q8_0", "bytes": PARAMETERS * 34 / 32,
              "products": "int8_ops"},
    "bf16": {"weights": "bf16", "file": "bf16", "bytes": PARAMETERS * 2,
             "products": "bf16_flops"},
    "4-bit": {"weights": "int4", "file": "q4_1",
              "bytes": (PARAMETERS - EMBEDDING) * 20 / 32 + EMBEDDING * 34 / 32,
              "products": "int8_ops"},
}

# what, class, prompt tokens, generated tokens, sequences, and the aims: of the limit, and
# times the best peer.
ROWS = [
    ("decode", "8-bit", 128, 128, 1, 0.80, 1.3),
    ("decode", "bf16", 128, 128, 1, 0.90, None),
    ("decode", "4-bit", 128, 128, 1, 0.55, None),
    ("decode", "8-bit", 512, 64, 8, None, 2.0),
    ("decode", "8-bit", 512, 64, 32, None, 2.0),
    ("decode", "8-bit", 6000, 64, 1, 0.60, None),
    ("prefill", "8-bit", 512, 1, 1, None, 1.6),
    ("prefill", "bf16", 512, 1, 1, 0.85, 1.0),
]


def run(command):
    out = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    return out.stdout


def last_json(text):
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


def mlaserve(o, kind, prompt, generate, sequences):
    result = json.loads(run([
        ROOT / "build/release/bin/mlaserve", "bench", "engine", "--json", "--model", o.model,
        "--weights-dtype", CLASSES[kind]["weights"], "--threads", o.threads,
        "--prompt-tokens", prompt, "--generate-tokens", max(generate, 2),
        "--concurrency", sequences]))[0]
    return {"prefill": result["prefill_tokens_per_second"],
            "decode": result["decode_tokens_per_second"]}


def llama(o, kind, prompt, generate, sequences):
    row = last_json(run([
        o.llama_batched_bench, "-m", o.models[kind], "-t", o.threads, "-tb", o.threads,
        "-c", sequences * (prompt + generate) + 64, "-b", 2048, "-ub", 512, "-npp", prompt,
        "-ntg", max(generate, 1), "-npl", sequences, "--output-format", "jsonl"]))
    return {"prefill": row["speed_pp"], "decode": row["speed_tg"]}


def script(name):
    def measure(o, kind, prompt, generate, sequences):
        return last_json(run([o.peers_python, PEERS / name, o.models[kind], o.threads, prompt,
                              max(generate, 2), sequences]))
    return measure


PROGRAMS = {
    "mlaserve": mlaserve,
    "llama.cpp": llama,
    "ik_llama.cpp": script("ik_llama_bench.py"),
    "OpenVINO": script("openvino_bench.py"),
}


def limit(machine, what, kind, prompt, generate, sequences):
    """Tokens a second."""
    k = CLASSES[kind]
    if what == "decode":
        context = prompt + generate / 2
        return machine["dram_bytes"] * sequences / (
            k["bytes"] + sequences * context * ROW_BYTES)
    products = 2 * (PARAMETERS - EMBEDDING)
    attention = LAYERS * HEADS * HEAD_DIM * 4 * prompt / 2
    return 1 / (products / machine[k["products"]] + attention / machine["bf16_flops"])


def median_runs(o, row):
    what, kind, prompt, generate, sequences = row[:5]
    speeds = {name: [] for name in PROGRAMS}
    limits = []
    for _ in range(o.repeat):
        machine = json.loads(run([o.machine_limits, o.threads]))
        limits.append(limit(machine, what, kind, prompt, generate, sequences))
        for name, measure in PROGRAMS.items():
            try:
                speeds[name].append(measure(o, kind, prompt, generate, sequences)[what])
            except (subprocess.CalledProcessError, IndexError) as error:
                text = getattr(error, "stderr", "") or ""
                print(f"{name} cannot: {text.strip()[-200:]}", file=sys.stderr)
    medians = {n: statistics.median(v) for n, v in speeds.items() if v}
    return medians, statistics.median(limits)


def describe(what, kind, prompt, generate, sequences):
    if what == "prefill":
        return f"prompt of {prompt}, {kind}"
    many = "1 sequence" if sequences == 1 else f"{sequences} sequences"
    return f"{many} after {prompt} tokens, {kind}"


def table(o, rows):
    peers = list(PROGRAMS)[1:]
    lines = [f"| tokens a second | mlaserve | {' | '.join(peers)} | beside the best | of the limit |",
             "|---|---:|" + "---:|" * (len(peers) + 2)]
    for row, medians, best in rows:
        mine = medians["mlaserve"]
        others = [medians.get(p) for p in peers]
        cells = [f"{v:.0f}" if v else "-" for v in others]
        known = [v for v in others if v]
        ratio = f"{mine / max(known):.2f}" if known else "-"
        lines.append(f"| {describe(*row[:5])} | **{mine:.0f}** | {' | '.join(cells)} | {ratio} | "
                     f"{mine / best:.0%} |")
    lines += ["", f"SmolLM2-135M-Instruct, {o.threads} threads, {cpu_name()}, medians of "
              f"{o.repeat}; {o.versions}.", ""]
    return "\n".join(lines)


def cpu_name():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*: (.*)", text)
    return found[1] if found else platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--models", required=True, help="class=file, by commas: the peers'")
    parser.add_argument("--llama-batched-bench", required=True)
    parser.add_argument("--peers-python", required=True)
    parser.add_argument("--machine-limits", required=True)
    parser.add_argument("--versions", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", default="", help="only rows whose description has this")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--update-readme", action="store_true")
    o = parser.parse_args()
    o.models = dict(pair.split("=", 1) for pair in o.models.split(","))
    done = []
    for row in ROWS:
        if o.rows not in describe(*row[:5]):
            continue
        done.append((row, *median_runs(o, row)))
        print(f"{describe(*row[:5])}: {done[-1][1]} limit {done[-1][2]:.0f}", file=sys.stderr)
    text = table(o, done)
    print(text)
    if o.update_readme:
        before, rest = README.read_text().split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        README.write_text(before + MARKS[0] + text + MARKS[1] + after)


if __name__ == "__main__":
    main()
