"""Every attention system through the CUDA backend on the host, against the numpy
oracles of the papers' formulas; and some served, batched, preempted and recorded,
where a request's tokens must be the ones it gets alone."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

import grpc
import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "e2e"), str(TESTS / "oracles")]

import generate_test  # noqa: E402
import server_process  # noqa: E402
from conftest import api  # noqa: E402, F401
from decoder import GREEDY_TOKENS, Decoder  # noqa: E402
from split_latent_test import decoder_of  # noqa: E402
from systems import SYSTEMS  # noqa: E402
from tensor_parallel_test import divided  # noqa: E402

HOST = os.environ["MLASERVE_CUDA_HOST"]
WAVES = 20
# One of each way through runtime/cuda/attention.cc: with rows of other types, too, and served
# (the last three of them with MLA_SOAK).
EACH_WAY = ["mla", "mtla_3", "lrkv", "eg_mla", "gqa", "mlra_4", "mfa_kr"]


@pytest.mark.parametrize("name", SYSTEMS)
def test_logits_and_activations_are_the_oracles(name, tmp_path):
    Decoder(name, 1).save(tmp_path)
    types = ["bf16"]
    if name in EACH_WAY or os.environ.get("MLA_SOAK"):
        types.append("f32")
        if not name.startswith("mtla"):  # whose rows are added up
            types.append("fp8")
    for rows in types:
        verify = subprocess.run(
            [HOST, "verify", str(tmp_path), "--backend", "cuda-host", "--weights-dtype", "bf16",
             "--kv-cache-dtype", rows,
             "--json"], capture_output=True, text=True, timeout=600)
        assert verify.returncode == 0, verify.stdout + verify.stderr
        checks = json.loads(verify.stdout)["checks"]
        assert len(checks) == 22
        assert all(check["passed"] for check in checks)


def test_heads_of_a_latent_as_wide_as_deepseeks(tmp_path, monkeypatch):
    """More than 16 heads of 512 + 64 elements a row: Hopper's kernel, as the stand-ins
    are such a device (tests/cuda/backend_attention_test.cc counts its launches)."""
    class Wide(SYSTEMS["mla"]):
        def draw(self, rng):
            self.heads, self.r, self.p, self.nope, self.v, self.q_rank = 20, 512, 64, 9, 11, 0
            self.finish()
    monkeypatch.setitem(SYSTEMS, "mla_wide", Wide)
    Decoder("mla_wide", 1).save(tmp_path)
    verify = subprocess.run(
        [HOST, "verify", str(tmp_path), "--backend", "cuda-host", "--weights-dtype", "bf16", "--kv-cache-dtype", "bf16",
         "--json"], capture_output=True, text=True, timeout=600)
    assert verify.returncode == 0, verify.stdout + verify.stderr
    checks = json.loads(verify.stdout)["checks"]
    assert len(checks) == 22
    assert all(check["passed"] for check in checks)


@pytest.mark.parametrize("name", ["mla", "gqa", "mlra_4"] + (
    ["mla_moe_v3", "mtla_3", "lrkv"] if os.environ.get("MLA_SOAK") else []))
def test_two_gpus_are_the_oracles(name, tmp_path):
    divided(name, 2).save(tmp_path)
    verify_on_two_gpus(tmp_path)


def test_two_gpus_with_a_slice_of_the_latent_each(tmp_path):
    decoder_of("split_in_two", tmp_path)
    verify_on_two_gpus(tmp_path, "--latent-slices", "2")


def verify_on_two_gpus(folder, *flags):
    verify = subprocess.run(
        [HOST, "verify", str(folder), "--backend", "cuda-host", "--tensor-parallel", "2",
         "--weights-dtype", "bf16", "--kv-cache-dtype", "bf16", "--json", *flags],
        env={**os.environ, "CUDA_HOST_DEVICES": "2"}, capture_output=True, text=True, timeout=600)
    assert verify.returncode == 0, verify.stdout + verify.stderr
    checks = json.loads(verify.stdout)["checks"]
    assert len(checks) == 22
    assert all(check["passed"] for check in checks)


@pytest.mark.parametrize("name", EACH_WAY if os.environ.get("MLA_SOAK") else EACH_WAY[:4])
def test_served_batched_and_preempted_as_alone(name, tmp_path, monkeypatch, api):  # noqa: F811
    """In a pool too small for all: a sequence that gave way is computed again, and a
    request's tokens are those it gets alone, margin or not."""
    decoder = Decoder(name, 1)
    decoder.save(tmp_path)
    golden = json.loads((tmp_path / "golden.json").read_text())
    longest = max(len(p["input_ids"]) for p in golden["prompts"]) + GREEDY_TOKENS
    block_tokens = 16 // decoder.system.tokens_per_row * decoder.system.tokens_per_row
    blocks = -(-longest // block_tokens) + 1
    bytes_per_token = 2 * decoder.elements_per_token()
    monkeypatch.setattr(server_process, "BINARY", HOST)
    server = server_process.Server.from_environment({
        "MLA_MODEL": str(tmp_path), "MLA_BACKEND": "cuda-host", "MLA_MAX_STEP_TOKENS": "64",
        "MLA_GRPC_LISTEN": "127.0.0.1:0", "MLA_HTTP_LISTEN": "127.0.0.1:0",
        "MLA_ADMIN_LISTEN": "127.0.0.1:0", "MLA_BLOCK_TOKENS": "16",
        "MLA_KV_CACHE_BYTES": str(round(blocks * block_tokens * bytes_per_token) + 1)})
    try:
        assert server.metric("mla_kv_blocks") == blocks
        with grpc.insecure_channel(server.grpc) as channel, \
                concurrent.futures.ThreadPoolExecutor(8) as pool:
            stub = api.generation_grpc.GenerationServiceStub(channel)
            requests = [generate_test.greedy(api, p["input_ids"], GREEDY_TOKENS)
                        for p in golden["prompts"] * 2]
            for _ in range(WAVES):  # until one gave way
                together = list(pool.map(
                    lambda r: generate_test.read_stream(stub.Generate(r))[0], requests))
                if server.metric("mla_preemptions_total") > 0:
                    break
            for request, ids in zip(requests[:len(requests) // 2], together):
                assert len(ids) == GREEDY_TOKENS
                assert generate_test.read_stream(stub.Generate(request))[0] == ids
        assert server.metric("mla_preemptions_total") > 0
    finally:
        server.kill()
