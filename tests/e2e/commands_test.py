"""The client commands, as a user or a script runs them."""

import json
import os
import pathlib
import subprocess

import pytest

import server_process


def run(*arguments, stdin=None):
    return subprocess.run([server_process.BINARY, *arguments], input=stdin, text=True,
                          capture_output=True, timeout=120)


def generate(server, *arguments, stdin=None):
    return run("generate", "--target", server.grpc, *arguments, stdin=stdin)


def test_generate_streams_text_and_ends_with_usage_and_timings(server):
    done = generate(server, "--prompt", "Hello", "--max-tokens", "8", "--temperature",
                    "0", "--ignore-eos")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n") and len(done.stdout) > 1
    assert "generated 8, finish length" in done.stderr
    assert "first token" in done.stderr


def test_generate_is_the_same_from_standard_input(server):
    arguments = ("--max-tokens", "8", "--temperature", "0", "--ignore-eos")
    by_flag = generate(server, "--prompt", "Hello", *arguments)
    by_stdin = generate(server, "--prompt", "-", *arguments, stdin="Hello")
    assert by_stdin.stdout == by_flag.stdout


def test_generate_sends_a_chat(server):
    done = generate(server, "--prompt", "Hi", "--chat", "--system", "Be brief.",
                    "--max-tokens", "4", "--seed", "1", "--ignore-eos")
    assert done.returncode == 0, done.stderr
    assert "generated 4" in done.stderr


def test_generate_reports_the_servers_status(server):
    done = generate(server, "--prompt", "Hello", "--temperature", "nan")
    assert done.returncode == 1
    assert "INVALID_ARGUMENT: sampling.temperature" in done.stderr


def test_generate_says_when_nobody_answers():
    done = run("generate", "--target", "127.0.0.1:1", "--prompt", "x",
               "--timeout-seconds", "5")
    assert done.returncode == 1
    assert "UNAVAILABLE" in done.stderr


def test_health_is_an_exit_status(server):
    done = run("health", "--target", server.grpc)
    assert (done.returncode, done.stdout) == (0, "SERVING\n")
    assert run("health", "--target", server.grpc, "--service", "none").returncode == 1
    assert run("health", "--target", "127.0.0.1:1").returncode == 1


def test_bench_load_counts_every_request(server):
    done = run("bench", "load", "--target", server.grpc, "--rate", "50", "--requests",
               "40", "--prompt-tokens", "16", "--generate-tokens", "8",
               "--cancel-fraction", "0.25", "--seed", "3", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert sum(report["by_code"].values()) + report["cancelled"] == 40
    assert report["by_code"].keys() == {"OK"}
    assert 0 < report["cancelled"] < 40
    for name in ("ttft_seconds", "itl_seconds", "e2e_seconds"):
        latency = report[name]
        assert latency["count"] > 0
        assert (0 < latency["p50"] <= latency["p90"] <= latency["p95"]
                <= latency["p99"] <= latency["max"])
    assert report["generated_tokens"] >= 8 * report["by_code"]["OK"]


def test_bench_load_prints_a_table(server):
    done = run("bench", "load", "--target", server.grpc, "--rate", "100", "--requests",
               "5", "--prompt-tokens", "4", "--generate-tokens", "2")
    assert done.returncode == 0, done.stderr
    for word in ("ttft", "itl", "e2e", "p99", "tokens/s", "OK 5"):
        assert word in done.stdout


@pytest.mark.parametrize("command", [[], ["serve"], ["generate"], ["health"], ["bench"],
                                     ["bench", "load"]])
def test_help_is_there(command):
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Usage: " in done.stdout


@pytest.mark.parametrize("arguments", [
    [], ["fly"], ["serve"], ["serve", "--model", "x", "--kv-cache-bytes", "lots"],
    ["serve", "--model", "x", "--threads", "-1"], ["generate"],
])
def test_wrong_usage_is_an_error(arguments):
    done = run(*arguments)
    assert done.returncode != 0
    assert done.stderr


def test_bench_attention_times_three_schemes():
    done = run("bench", "attention", "--hidden-size", "64", "--heads", "2", "--kv-lora-rank", "32",
               "--contexts", "20,70", "--queries", "1,64", "--seconds", "0", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert [(f["context"], f["queries"]) for f in figures] == [(20, 1), (70, 1), (70, 64)]
    for figure in figures:
        assert all(figure[f"{s}_seconds"] > 0 for s in ("precomputed", "two_step", "materialised"))


def perplexity(*arguments):
    text = pathlib.Path(__file__).parents[1] / "golden/smollm2/alice_excerpt.txt"
    done = run("perplexity", "--model", os.environ["MLA_SMOLLM2_GGUF"], "--text", str(text),
               "--windows", "2", "--window-tokens", "96", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_perplexity_says_what_rounded_weights_lose():
    alone = perplexity("--weights-dtype", "f32", "--kv-cache-dtype", "f32")
    same = perplexity("--weights-dtype", "f32", "--kv-cache-dtype", "f32", "--kl")
    assert same["perplexity"] == pytest.approx(alone["perplexity"], rel=1e-9)
    assert same["f32_perplexity"] == pytest.approx(alone["perplexity"], rel=1e-9)
    assert abs(same["kl"]) < 1e-12 and same["top1_agreement"] == 1
    # The file is Q4_1, which q4_1 and, to a byte, q8_0 keep: what both lose beside
    # bf16 is the rounding of activations to bytes.
    lost = {t: perplexity("--weights-dtype", t, "--kl") for t in ("bf16", "int8", "int4")}
    for each in lost.values():
        assert each["f32_perplexity"] == pytest.approx(alone["perplexity"], rel=1e-9)
        assert each["top1_agreement"] > 0.9
    assert 0 < lost["bf16"]["kl"] < lost["int4"]["kl"] < 0.02
    assert lost["bf16"]["kl"] < lost["int8"]["kl"] < 0.02
