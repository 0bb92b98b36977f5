"""`mlaserve convert` on tiny models: the folder it writes, read by Python's packages,
computed by numpy in float64 and served by the server."""

import hashlib
import itertools
import json
import pathlib
import subprocess
import sys

import grpc
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import server_process
from generate_test import greedy, read_stream

sys.path.insert(0, str(server_process.ROOT / "tests/oracles"))
from decoder import Decoder  # noqa: E402
from numerics import attend, rms_norm, rope, sigmoid  # noqa: E402

TEXT = server_process.ROOT / "CONTRIBUTING.md"
GGUF = server_process.ROOT / "tests/golden/gguf/llama_f16.gguf"
WINDOW = 96
METHODS = {
    "sequential": "sequential:kv_lora_rank=20,qk_rope_head_dim=12",
    "ladder": "sequential:kv_lora_rank=20,qk_rope_head_dim=16,freqfold=4",
    "weighted": "weighted:kv_lora_rank=20,qk_rope_head_dim=16,freqfold=4",
    "mha2mla": "mha2mla:kv_lora_rank=20,qk_rope_head_dim=12,svd=split",
    "queries": "weighted:kv_lora_rank=20,qk_rope_head_dim=16,q_lora_rank=24,freqfold=4",
    "x-ecomla": "x-ecomla:kv_lora_rank=20,qk_rope_head_dim=16,q_lora_rank=32",
    "transmla": "transmla:kv_lora_rank=20,qk_rope_head_dim=16,freqfold=2",
    "lorc": "lorc:kv_lora_rank=40",
}
FEWER_HEADS = ("qcqa:ratio=0.75", "qcqa:kv_heads=1", "effkv:kv_heads=1")


def source(name):
    if isinstance(name, pathlib.Path):
        return name
    return GGUF if name == "gguf" else server_process.model_folder(name)


def convert(model, folder, method, *flags, windows=16, dtype="f32"):
    return subprocess.run(
        [server_process.BINARY, "convert", "--in", str(source(model)), "--out", str(folder),
         "--method", METHODS.get(method, method), "--calibration", str(TEXT),
         "--window-tokens", str(WINDOW), "--calibration-tokens", str(windows * WINDOW),
         "--dtype", dtype, *flags], capture_output=True, text=True)


def converted(model, folder, method, *flags, **options):
    done = convert(model, folder, method, *flags, **options)
    assert done.returncode == 0, done.stderr
    return done


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in pathlib.Path(folder).iterdir()}


def load(folder):
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    tensors = {}
    for file in sorted(set(index["weight_map"].values())):
        tensors |= load_file(folder / file)
    assert tensors.keys() == index["weight_map"].keys()
    return json.loads((folder / "config.json").read_text()), tensors


def at(value, layer):
    return value[layer] if isinstance(value, list) else value


def latent_attention(config, layer, y, linear):
    """DeepSeek-V2's (2405.04434), without latent norms."""
    heads, nope, v_dim = (config[f] for f in ("num_attention_heads", "qk_nope_head_dim", "v_head_dim"))
    rank, turned = at(config["kv_lora_rank"], layer), at(config["qk_rope_head_dim"], layer)
    frequencies = config["rope_inv_freq"][layer]
    row = linear(y, "kv_a_proj_with_mqa")
    latent, key = row[:, :rank], rope(row[:, rank:], frequencies=frequencies)
    up = linear(latent, "kv_b_proj").reshape(len(y), heads, nope + v_dim)
    low_rank = at(config["q_lora_rank"], layer)
    q = (linear(linear(y, "q_a_proj"), "q_b_proj") if low_rank
         else linear(y, "q_proj")).reshape(len(y), heads, nope + turned)
    return [attend(np.concatenate([q[:, h, :nope], rope(q[:, h, nope:], frequencies=frequencies)], 1),
                   np.concatenate([up[:, h, :nope], key], 1), up[:, h, nope:],
                   (nope + turned) ** -0.5) for h in range(heads)]


def heads_attention(config, layer, y, linear):
    """GQA's, with any map of query heads, or with keys and values from low ranks."""
    heads, groups = config["num_attention_heads"], at(config["num_key_value_heads"], layer)
    low_rank = config.get("attention_type") == "lorc"
    of = config["kv_head_of_query_head"][layer] if "kv_head_of_query_head" in config else []
    of = of or [h * groups // heads for h in range(heads)]
    project = lambda x, count: (linear(linear(y, x + "_a_proj"), x + "_b_proj") if low_rank and x != "q"
                                else linear(y, x + "_proj")).reshape(len(y), count, -1)
    q, k, v = project("q", heads), project("k", groups), project("v", groups)
    d = config["head_dim"]
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    turned = lambda x: rope(x, frequencies=theta ** (-np.arange(0, d, 2) / d))
    return [attend(turned(q[:, h]), turned(k[:, of[h]]), v[:, of[h]], d ** -0.5) for h in range(heads)]


def logits(config, tensors, ids):
    get = lambda name: tensors[name].astype(np.float64)

    def linear(x, name):
        bias = get(name + ".bias") if name + ".bias" in tensors else 0
        return x @ get(name + ".weight").T + bias

    attention = latent_attention if "kv_lora_rank" in config else heads_attention
    eps = config["rms_norm_eps"]
    x = get("model.embed_tokens.weight")[ids]
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        y = rms_norm(x, get(p + "input_layernorm.weight"), eps)
        out = attention(config, layer, y, lambda x, name: linear(x, p + "self_attn." + name))
        x = x + linear(np.concatenate(out, 1), p + "self_attn.o_proj")
        z = rms_norm(x, get(p + "post_attention_layernorm.weight"), eps)
        gate = linear(z, p + "mlp.gate_proj")
        x = x + linear(gate * sigmoid(gate) * linear(z, p + "mlp.up_proj"), p + "mlp.down_proj")
    x = rms_norm(x, get("model.norm.weight"), eps)
    head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
    return x @ get(head + ".weight").T


@pytest.mark.parametrize("model,method", [
    *itertools.product(["qwen2", "gguf"], [*METHODS, *FEWER_HEADS]),  # with biases; from a GGUF file
    ("llama_f16_sharded", "qcqa:kv_heads=2")])  # of three: two heads share one
def test_what_is_served_is_what_was_written(model, method, tmp_path):
    converted(model, tmp_path / "out", method)
    config, tensors = load(tmp_path / "out")
    stock = "kv_heads=1" in method  # the same in all layers: others load it as it is
    assert config["model_type"].startswith("mlaserve_") != stock
    ids = Tokenizer.from_file(str(tmp_path / "out/tokenizer.json")).encode(
        TEXT.read_text(), add_special_tokens=False).ids[:2 * WINDOW]
    expected = []
    for first in (0, WINDOW):
        window = ids[first:first + WINDOW]
        scores = logits(config, tensors, window)[:-1]
        most = scores.max(-1)
        norm = most + np.log(np.exp(scores - most[:, None]).sum(-1))
        expected += list(norm - scores[np.arange(WINDOW - 1), window[1:]])
    done = subprocess.run(
        [server_process.BINARY, "perplexity", "--model", str(tmp_path / "out"), "--text", str(TEXT),
         "--windows", "2", "--window-tokens", str(WINDOW), "--weights-dtype", "f32",
         "--kv-cache-dtype", "f32", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mean_nll"] == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("system", ["kha_linear", "kha_mlp", "qcqa", "cla"])
def test_exact_keeps_what_other_gqa_systems_compute(system, tmp_path):
    Decoder(system, 1).save(tmp_path / "in")
    converted(tmp_path / "in", tmp_path / "out", "exact")
    verify = subprocess.run(
        [server_process.BINARY, "verify", str(tmp_path / "in"), "--model", str(tmp_path / "out"),
         "--weights-dtype", "f32", "--kv-cache-dtype", "f32"], capture_output=True, text=True)
    assert verify.returncode == 0, verify.stdout + verify.stderr
    _, tensors = load(tmp_path / "out")
    assert not any(name.endswith(("q_knock.weight", "k_knock.weight", "v_knock.weight"))
                   for name in tensors)  # folded


def test_it_serves_and_its_cache_is_as_small_as_asked(api, tmp_path):
    for model, layers in (("qwen2", 3), ("mixtral", 2)):
        converted(model, tmp_path / model, "sequential")
        server = server_process.Server.at(tmp_path / model)
        try:
            assert server.metric("mla_kv_bytes_per_token") == layers * (20 + 12) * 4
            with grpc.insecure_channel(server.grpc) as channel:
                stub = api.generation_grpc.GenerationServiceStub(channel)
                ids, _, _, summary = read_stream(stub.Generate(greedy(api, [1, 2, 3], 9)))
                assert len(ids) == summary.usage.generated_tokens == 9
        finally:
            server.kill()


def test_the_same_input_gives_the_same_bytes_resumed_or_not(tmp_path):
    converted("qwen2", tmp_path / "a", "sequential")
    converted("qwen2", tmp_path / "b", "sequential")
    whole = digests(tmp_path / "a")
    assert digests(tmp_path / "b") == whole
    # As if it had been interrupted in the last layer.
    (tmp_path / "b/config.json").unlink()
    (tmp_path / "b/model-layer-0002.safetensors").unlink()
    done = converted("qwen2", tmp_path / "b", "sequential")
    assert done.stderr.count("was there already") == 2
    assert digests(tmp_path / "b") == whole
    # A whole one is left as it is.
    done = converted("qwen2", tmp_path / "b", "sequential")
    assert done.stderr.count("was there already") == 3
    assert digests(tmp_path / "b") == whole


def test_more_rank_loses_less(tmp_path):
    kept = []
    for rank in (8, 24, 40):
        converted("qwen2", tmp_path / str(rank), f"weighted:kv_lora_rank={rank},qk_rope_head_dim=16,freqfold=4")
        state = json.loads((tmp_path / str(rank) / "conversion.json").read_text())
        kept.append(min(layer["energy_kept"] for layer in state["layers"]))
    assert kept == sorted(kept) and kept[0] < kept[-1] <= 1


@pytest.mark.parametrize("model,method,message", [
    ("minicpm3", "sequential", "has no keys and values"),
    ("qwen2", "svd:kv_lora_rank=4", "method 'svd' is not"),
    ("qwen2", "sequential:kv_lora_rank=4", "needs kv_lora_rank and qk_rope_head_dim"),
    ("qwen2", "sequential:kv_lora_rank=9999,qk_rope_head_dim=16", "kv_lora_rank 9999"),
    ("qwen2", "transmla:kv_lora_rank=8,qk_rope_head_dim=24,freqfold=2", "qk_rope_head_dim 24"),
    ("qwen2", "lorc:ratio=0.5,kv_lora_rank=9", "needs ratio or bytes-per-token or kv_lora_rank"),
    ("qwen2", "lorc:kv_lora_rank=129", "from 2 to 128"),
    ("qwen2", "qcqa:kv_heads=3", "kv_heads 3: must be from 1 to 2"),
    ("qwen2", "qcqa:ratio=0.3", "each needs one"),
    ("qwen2", "effkv:ratio=0.3", "one KV head has 64"),
    ("absent", "sequential", "absent"),
])
def test_what_cannot_be_converted_says_why(model, method, message, tmp_path):
    done = convert(model, tmp_path / "out", method)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "out/config.json").exists()


def test_freqfold_is_searched_on_windows_that_were_held_out(tmp_path):
    fit = "weighted:kv_lora_rank=20,qk_rope_head_dim=16,freqfold={}"
    converted("qwen2", tmp_path / "auto", fit.format("auto"))
    shards = lambda folder: {k: v for k, v in digests(folder).items() if k.endswith(".safetensors")}
    given = []  # what the search can only choose from
    for fold in (2, 4, 8, 16):
        done = convert("qwen2", tmp_path / str(fold), fit.format(fold))
        given += [shards(tmp_path / str(fold))] if done.returncode == 0 else []
    assert len(given) >= 2 and given.count(shards(tmp_path / "auto")) == 1
    # Layer by layer, each is one of theirs too.
    converted("qwen2", tmp_path / "layer", fit.format("layer"))
    for name, digest in shards(tmp_path / "layer").items():
        assert digest in [g[name] for g in given]
    done = convert("qwen2", tmp_path / "one", fit.format("auto"), windows=1)
    assert done.returncode == 1 and "freqfold=auto needs two windows" in done.stderr


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    converted("qwen2", tmp_path / "out", "sequential")
    before = digests(tmp_path / "out")
    done = convert("qwen2", tmp_path / "out", "weighted")
    assert done.returncode == 1 and "holds another conversion: its method" in done.stderr
    assert digests(tmp_path / "out") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep me")
    done = convert("qwen2", tmp_path / "mine", "sequential")
    assert done.returncode == 1 and "conversion.json" in done.stderr
    assert digests(tmp_path / "mine").keys() == {"notes.txt"}
    done = convert("qwen2", tmp_path / "new", "sequential", "--calibration", str(tmp_path / "absent.txt"))
    assert done.returncode == 1 and "absent.txt" in done.stderr
