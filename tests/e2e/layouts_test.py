"""Every attention system: a tiny checkpoint as its authors would save it, with
odd sizes, against a numpy oracle of the paper's formula (tests/oracles): `verify`
in each type, then served over gRPC, batched and preempted in a pool too small for
all, and its cache's bytes counted."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

import grpc
import pytest

import server_process
from generate_test import greedy, read_stream, safe_prefix

sys.path.insert(0, str(server_process.ROOT / "tests/oracles"))
from decoder import GREEDY_TOKENS, Decoder  # noqa: E402
from systems import SYSTEMS  # noqa: E402

SEEDS = range(1, 9) if os.environ.get("MLA_SOAK") else [1]
BLOCK_TOKENS = 64
WAVES = 50


@pytest.fixture(scope="module", params=[(name, seed) for name in SYSTEMS for seed in SEEDS],
                ids=lambda p: f"{p[0]}-{p[1]}")
def model(request, tmp_path_factory):
    """The oracle's decoder and the folder it was saved to."""
    name, seed = request.param
    decoder = Decoder(name, seed)
    folder = tmp_path_factory.mktemp(name)
    decoder.save(folder)
    return decoder, folder


@pytest.mark.parametrize("weights,rows", [("f32", "f32"), ("f32", "bf16"), ("bf16", "bf16")])
def test_logits_and_activations_are_the_oracles(model, weights, rows):
    verify = subprocess.run(
        [server_process.BINARY, "verify", str(model[1]), "--weights-dtype", weights,
         "--kv-cache-dtype", rows, "--json"], capture_output=True, text=True)
    assert verify.returncode == 0, verify.stdout + verify.stderr
    checks = json.loads(verify.stdout)["checks"]
    # logits, top logits and greedy tokens of five prompts, seven activations
    assert len(checks) == 22
    assert all(check["passed"] for check in checks)


def test_served_batched_and_preempted(api, model):
    decoder, folder = model
    stride = decoder.system.tokens_per_row
    block_tokens = BLOCK_TOKENS // stride * stride
    row_bytes = 4 * decoder.elements_per_token()
    block_bytes = round(row_bytes * block_tokens)
    golden = json.loads((folder / "golden.json").read_text())
    longest = max(len(p["input_ids"]) for p in golden["prompts"]) + GREEDY_TOKENS
    blocks = -(-longest // block_tokens) + 1  # one more than the longest needs
    server = server_process.Server.at(
        folder, "--kv-cache-bytes", str(blocks * block_bytes + 1), "--block-tokens",
        str(BLOCK_TOKENS))
    try:
        assert server.metric("mla_kv_bytes_per_token") == pytest.approx(row_bytes, rel=1e-12)
        assert server.metric("mla_kv_blocks") == blocks
        assert server.metric("mla_kv_bytes") == blocks * block_bytes
        prompts = golden["prompts"] * 2  # the second time from the prefix cache
        with grpc.insecure_channel(server.grpc) as channel, \
                concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
            stub = api.generation_grpc.GenerationServiceStub(channel)
            requests = [greedy(api, p["input_ids"], GREEDY_TOKENS) for p in prompts]
            # Until sequences grew into a block that was not there, and gave way: on
            # a busy machine a wave's requests may come one after the other.
            for _ in range(WAVES):
                streams = list(pool.map(lambda r: read_stream(stub.Generate(r)), requests))
                for prompt, (ids, _, _, summary) in zip(prompts, streams):
                    safe = safe_prefix(prompt)
                    assert ids[:len(safe)] == safe
                    assert summary.usage.generated_tokens == len(ids) == GREEDY_TOKENS
                if server.metric("mla_preemptions_total") > 0:
                    break
            assert server.metric("mla_preemptions_total") > 0
            # Alone, the same to the last token, margin or not.
            for request, (ids, _, _, _) in zip(requests, streams):
                assert read_stream(stub.Generate(request))[0] == ids
        assert server.metric("mla_kv_blocks", state="active") == 0
    finally:
        server.kill()
