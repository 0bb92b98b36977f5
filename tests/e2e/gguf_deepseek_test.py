"""GGUF files of architecture deepseek2, written from the golden checkpoints as
llama.cpp's converter would write them (tests/oracles/deepseek_gguf.py): they must
give what transformers recorded, by `verify` and over gRPC."""

import concurrent.futures
import json
import subprocess
import sys

import gguf
import grpc
import pytest

import server_process
from generate_test import golden_prompts, greedy, read_stream, row_bytes, safe_prefix

sys.path.insert(0, str(server_process.ROOT / "tests/oracles"))
import deepseek_gguf  # noqa: E402

# Those that llama.cpp calls deepseek2, of which the repository holds a part. The last
# two are younger than the joint form, and Kimi's ramp of YaRN has no key in it.
BOTH = ["deepseek_v2_lite", "deepseek_v2_full", "deepseek_v3", "deepseek_v3_dense",
        "deepseek_v3_fp8"]
SPLIT = ["kimi_k2", "glm4_moe_lite"]
CASES = [(m, f) for m in BOTH for f in deepseek_gguf.FORMS] + [(m, "split") for m in SPLIT]
CASES = [c for c in CASES if c[0] in server_process.models()]
assert CASES


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def converted(request, tmp_path_factory):
    """The golden's name and the file made from it."""
    model, form = request.param
    path = tmp_path_factory.mktemp(model) / f"{model}-{form}.gguf"
    deepseek_gguf.convert(server_process.model_folder(model), path, form)
    return model, path


def test_the_file_has_the_form_that_llama_cpp_reads(converted):
    model, path = converted
    config = json.loads((server_process.model_folder(model) / "config.json").read_text())
    reader = gguf.GGUFReader(path)
    sizes = {t.name: t.shape.tolist() for t in reader.tensors}
    heads, latent = config["num_attention_heads"], config["kv_lora_rank"]
    nope, value = config["qk_nope_head_dim"], config["v_head_dim"]
    if path.stem.endswith("joint"):
        assert sizes["blk.0.attn_kv_b.weight"] == [latent, heads * (nope + value)]
        assert "deepseek2.attention.key_length_mla" not in reader.fields
    else:
        assert sizes["blk.0.attn_k_b.weight"] == [nope, latent, heads]
        assert sizes["blk.0.attn_v_b.weight"] == [latent, value, heads]
        key_length = reader.fields["deepseek2.attention.key_length"].contents()
        assert key_length == latent + config["qk_rope_head_dim"]


def test_logits_activations_and_tokens_are_transformers(converted):
    model, path = converted
    verify = subprocess.run(
        [server_process.BINARY, "verify", str(server_process.model_folder(model)), "--model",
         str(path), "--weights-dtype", "f32", "--kv-cache-dtype", "f32", "--json"],
        capture_output=True, text=True)
    assert verify.returncode == 0, verify.stdout + verify.stderr
    checks = json.loads(verify.stdout)["checks"]
    assert all(check["passed"] for check in checks)
    names = [check["name"] for check in checks]
    for wanted in ("mid.logits", "act.model.layers.1.self_attn", "act.model.norm"):
        assert wanted in names
    if model != "deepseek_v3_dense":
        assert "act.model.layers.1.mlp.gate.weights" in names


def test_served_it_streams_the_goldens_greedy_tokens(api, converted):
    model, path = converted
    config = json.loads((server_process.model_folder(model) / "config.json").read_text())
    prompts = golden_prompts(model)
    server = server_process.Server.at(path)
    try:
        assert server.metric("mla_kv_bytes_per_token") == row_bytes(config)
        with grpc.insecure_channel(server.grpc) as channel, \
                concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
            stub = api.generation_grpc.GenerationServiceStub(channel)
            streams = list(pool.map(
                lambda p: read_stream(stub.Generate(greedy(api, p["input_ids"]))), prompts))
            for prompt, (ids, text, _, summary) in zip(prompts, streams):
                safe = safe_prefix(prompt)
                assert ids[:len(safe)] == safe
                assert summary.usage.generated_tokens == len(ids) == 32
                assert text == stub.Detokenize(
                    api.generation.DetokenizeRequest(token_ids=ids)).text
    finally:
        server.kill()
