"""Every attention system divided among ranks, against a numpy oracle of the paper's
formula (tests/oracles); what cannot be divided is refused; and a server of two ranks,
batched and preempted, gives every request the tokens it gets alone."""

import concurrent.futures
import json
import subprocess
import sys

import grpc
import pytest

import server_process
from generate_test import greedy, read_stream, safe_prefix

sys.path.insert(0, str(server_process.ROOT / "tests/oracles"))
from decoder import GREEDY_TOKENS, Decoder  # noqa: E402
from systems import SYSTEMS  # noqa: E402

REFUSED = {
    "qcqa": "UNIMPLEMENTED: tensor parallelism over 2 ranks: layer 0, attention 'gqa': "
            "query heads that name their KV heads one by one (QCQA) are not divided",
    "eg_mla": "UNIMPLEMENTED: tensor parallelism over 2 ranks: layer 0, attention 'mla': "
              "gated latents (EG-MLA) are not divided among ranks: kv_b_layernorm is taken "
              "over all heads",
}
# Where a system's own sizes do not divide by two.
RANKS = {"tucker": 5, "lorc": 3}
# Ranks that share a KV head or a slice, or have a branch each.
MORE_RANKS = {"gqa": 4, "mqa": 4, "moas": 4, "gla_2": 4, "mlra_2": 4, "mlra_4": 4,
              "gta": 4, "lrkv": 4}


def divided(name, ranks):
    """The first decoder whose sizes divide."""
    for seed in range(1, 500):
        decoder = Decoder(name, seed, width_of=ranks)
        system = decoder.system
        groups = getattr(system, "groups", 1) if hasattr(system, "d") else 1  # else, of experts
        if (system.heads % ranks == 0 and getattr(system, "inner", 0) % ranks == 0
                and (groups % ranks == 0 or ranks % groups == 0)):
            return decoder
    raise AssertionError(f"{name} does not divide by {ranks}")


def verify(folder, ranks, weights, rows):
    return subprocess.run(
        [server_process.BINARY, "verify", str(folder), "--tensor-parallel", str(ranks), "--threads",
         "2", "--weights-dtype", weights, "--kv-cache-dtype", rows, "--json"],
        capture_output=True, text=True)


@pytest.mark.parametrize("name,ranks",
                         [(name, RANKS.get(name, 2)) for name in SYSTEMS] + list(MORE_RANKS.items()))
def test_logits_and_activations_are_the_oracles(name, ranks, tmp_path):
    if name in REFUSED:
        Decoder(name, 1).save(tmp_path)
        refused = verify(tmp_path, ranks, "f32", "f32")
        assert refused.returncode != 0
        assert REFUSED[name] in refused.stderr
        return
    divided(name, ranks).save(tmp_path)
    for weights, rows in ("f32", "f32"), ("bf16", "bf16"):
        found = verify(tmp_path, ranks, weights, rows)
        assert found.returncode == 0, found.stdout + found.stderr
        checks = json.loads(found.stdout)["checks"]
        assert len(checks) == 22
        assert all(check["passed"] for check in checks)


@pytest.mark.parametrize("name", ["mla", "gqa", "mlra_4"])
def test_served_batched_and_preempted(api, name, tmp_path):
    decoder = divided(name, 2)
    decoder.save(tmp_path)
    golden = json.loads((tmp_path / "golden.json").read_text())
    longest = max(len(p["input_ids"]) for p in golden["prompts"]) + GREEDY_TOKENS
    blocks = -(-longest // 16) + 1
    server = server_process.Server.at(
        tmp_path, "--tensor-parallel", "2", "--kv-cache-bytes", "1M", "--block-tokens", "16")
    try:  # a row's bytes, which depend on what is shared
        row_bytes = server.metric("mla_kv_bytes_per_token")
    finally:
        server.kill()
    whole = 4 * decoder.elements_per_token()
    assert row_bytes == {"gqa": whole}.get(name, row_bytes)
    assert whole <= row_bytes <= 2 * whole
    server = server_process.Server.at(
        tmp_path, "--tensor-parallel", "2", "--kv-cache-bytes", str(round(blocks * 16 * row_bytes) + 1),
        "--block-tokens", "16")
    try:
        assert server.metric("mla_kv_blocks") == blocks
        with grpc.insecure_channel(server.grpc) as channel, \
                concurrent.futures.ThreadPoolExecutor(10) as pool:
            stub = api.generation_grpc.GenerationServiceStub(channel)
            prompts = golden["prompts"] * 2
            requests = [greedy(api, p["input_ids"], GREEDY_TOKENS) for p in prompts]
            for _ in range(50):  # until one gave way
                streams = list(pool.map(lambda r: read_stream(stub.Generate(r))[0], requests))
                if server.metric("mla_preemptions_total") > 0:
                    break
            assert server.metric("mla_preemptions_total") > 0
            for prompt, request, ids in zip(prompts, requests, streams):
                safe = safe_prefix(prompt)
                assert ids[:len(safe)] == safe
                assert read_stream(stub.Generate(request))[0] == ids
        assert server.metric("mla_kv_blocks", state="active") == 0
    finally:
        server.kill()
