"""`mlaserve convert --layout deepseek_v3`: a folder that stock transformers loads, runs
and trains, whose logits are the extended layout's; and the way back, where the server
drops the constant lane while it is one."""

import json
import os
import pathlib
import shutil
import subprocess

import grpc
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

import convert_test
import server_process
from convert_test import GGUF, METHODS, converted
from generate_test import greedy, read_stream, safe_prefix

STOCK = ["--layout", "deepseek_v3"]
RANK, ROPE = 20, 16  # as METHODS has them
MODELS = ["llama_f16_sharded", "qwen2", "gguf"]  # plain; with biases; from a GGUF file
GREEDY_TOKENS = 12
PROMPTS = {"one": 1, "mid": 24, "long": 125}
# Of a row's 2-norm: as runtime/verify/model_golden.h derives it for float32.
TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def two_threads():
    torch.set_num_threads(2)
    torch.manual_seed(0)


def load_stock(folder):
    """By transformers' own class, to which nothing in the folder is new or amiss."""
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True)
    assert type(model).__module__ == "transformers.models.deepseek_v3.modeling_deepseek_v3"
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[kind], (kind, report[kind])
    return model.eval()


@torch.no_grad()
def logits(model, ids):
    return model(torch.tensor([ids])).logits[0].numpy()


def write_golden(model, folder, lengths=PROMPTS):
    """What `verify` holds the server's runtime to, computed by transformers."""
    random = np.random.default_rng(5)
    prompts, tensors = [], {}
    for name, count in lengths.items():
        ids = [int(i) for i in random.integers(1, model.config.vocab_size, count)]
        rows = logits(model, ids)
        tensors[name + ".logits"] = rows
        top = np.argsort(-rows[-1])[:20]
        tokens, margins, context = [], [], list(ids)
        for _ in range(GREEDY_TOKENS):
            last = np.sort(rows[-1])
            margins.append(float(last[-1] - last[-2]))
            tokens.append(int(rows[-1].argmax()))
            context.append(tokens[-1])
            rows = logits(model, context)
        prompts.append(dict(name=name, input_ids=ids, logits="all positions",
                            last_top20_ids=[int(i) for i in top],
                            last_top20_logits=[float(x) for x in tensors[name + ".logits"][-1][top]],
                            greedy_ids=tokens, greedy_margins=margins))
    (folder / "golden.json").write_text(json.dumps({"prompts": prompts}))
    save_file(tensors, folder / "golden.safetensors")
    return prompts


def verify(folder, *flags):
    done = subprocess.run(
        [server_process.BINARY, "verify", str(folder), "--json", *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    prompts = json.loads((folder / "golden.json").read_text())["prompts"]
    assert len(json.loads(done.stdout)["checks"]) == 3 * len(prompts)  # logits, top logits, greedy


def check_served(api, folder, prompts, elements):
    """Over gRPC, with `elements` cached for a token in each layer."""
    layers = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    server = server_process.Server.at(folder)
    try:
        assert server.metric("mla_kv_bytes_per_token") == layers * elements * 4
        with grpc.insecure_channel(server.grpc) as channel:
            stub = api.generation_grpc.GenerationServiceStub(channel)
            for prompt in prompts:
                ids = read_stream(stub.Generate(greedy(api, prompt["input_ids"], GREEDY_TOKENS)))[0]
                safe = safe_prefix(prompt)
                assert ids[:len(safe)] == safe
    finally:
        server.kill()


def one_step(model, frozen=()):
    """Of AdamW, with weight decay, on every weight whose name has none of `frozen`."""
    trained = [p for n, p in model.named_parameters() if not any(f in n for f in frozen)]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.1)
    ids = torch.randint(1, model.config.vocab_size, (2, 48))
    before = model(ids, labels=ids).loss
    before.backward()
    optimizer.step()
    with torch.no_grad():
        assert model(ids, labels=ids).loss < before


# One-shot methods: sequential ones refit to what was rounded, in the layout's own way.
@pytest.mark.parametrize("method", ["weighted", "transmla", "queries"])
@pytest.mark.parametrize("model", MODELS)
def test_transformers_computes_what_the_conversion_is(model, method, tmp_path):
    converted(model, tmp_path / "stock", METHODS[method], *STOCK)
    converted(model, tmp_path / "extended", METHODS[method])
    stock = load_stock(tmp_path / "stock")
    config, tensors = convert_test.load(tmp_path / "extended")
    ids = [int(i) for i in np.random.default_rng(3).integers(1, config["vocab_size"], 60)]
    expected = convert_test.logits(config, tensors, ids)  # numpy, in float64
    found = logits(stock, ids)
    worst = (np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max()
    assert worst < TOLERANCE
    assert "lm_head.weight" in convert_test.load(tmp_path / "stock")[1]


# Nothing there is ours: the architecture stays the source's.
@pytest.mark.parametrize("method", ["exact", "effkv:kv_heads=1", "qcqa:kv_heads=1"])
@pytest.mark.parametrize("model", MODELS)
def test_what_stays_gqa_is_the_same_to_both(model, method, tmp_path):
    converted(model, tmp_path, method)
    config = json.loads((tmp_path / "config.json").read_text())
    kv_heads = 1 if "kv_heads" in method else config["num_key_value_heads"]
    stock, report = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    head_dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    assert stock.model.layers[0].self_attn.k_proj.out_features == kv_heads * head_dim
    write_golden(stock.eval(), tmp_path)
    verify(tmp_path)


@pytest.mark.parametrize("model", MODELS)
def test_the_server_computes_what_transformers_does_without_the_lane(api, model, tmp_path):
    converted(model, tmp_path / "out", "ladder", *STOCK)
    prompts = write_golden(load_stock(tmp_path / "out"), tmp_path / "out")
    verify(tmp_path / "out")
    verify(tmp_path / "out", "--weights-dtype", "bf16", "--kv-cache-dtype", "bf16")
    check_served(api, tmp_path / "out", prompts, RANK + ROPE)


@pytest.mark.parametrize("model", ["llama_f16_sharded", "qwen2"])
@pytest.mark.parametrize("frozen,elements", [
    ((), RANK + 1 + ROPE),  # the lane has been trained: an element like any other
    (("kv_a_",), RANK + ROPE),
])
def test_it_is_trained_in_transformers_and_comes_back(api, model, frozen, elements, tmp_path):
    converted(model, tmp_path / "out", "ladder", *STOCK)
    trained = load_stock(tmp_path / "out")
    one_step(trained.train(), frozen)
    trained.save_pretrained(tmp_path / "back")
    prompts = write_golden(load_stock(tmp_path / "back"), tmp_path / "back")
    verify(tmp_path / "back")
    # The rows of a trained lane in bf16 as well: it is written with a norm
    # weight of zero, so that what is cached of it stays small.
    verify(tmp_path / "back", "--kv-cache-dtype", "bf16")
    check_served(api, tmp_path / "back", prompts, elements)


def test_written_in_bf16_it_is_the_same_to_both(tmp_path):
    converted("qwen2", tmp_path / "out", "ladder", *STOCK, dtype="bf16")
    write_golden(load_stock(tmp_path / "out"), tmp_path / "out")
    verify(tmp_path / "out", "--weights-dtype", "f32")


def test_scaled_rope_is_right_in_transformers_and_noted(tmp_path):
    source = rescaled("llama_f16_sharded", tmp_path / "source", dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64))
    done = converted(source, tmp_path / "out", "ladder", *STOCK)
    assert "vLLM" in done.stderr
    write_golden(load_stock(tmp_path / "out"), tmp_path / "out")
    verify(tmp_path / "out")


def edit_short(t, lane):  # no longer far above the rest
    t["kv_a_proj_with_mqa.bias"][lane] /= 1e4
    t["kv_a_layernorm.weight"] /= 1e4


def edit_row(t, lane):
    t["kv_a_proj_with_mqa.weight"][lane, 0] = 1e-6


def edit_reader(t, lane):
    t["kv_a_layernorm.weight"][lane] = 1
    t["kv_b_proj.weight"][:, lane] = np.linspace(-1, 1, len(t["kv_b_proj.weight"])) / lane


def edit_column(t, lane):  # still multiplied by a norm weight of zero
    t["kv_b_proj.weight"][:, lane] = 1


def edit_sign(t, lane):
    t["kv_a_proj_with_mqa.bias"][lane] *= -1


def edit_norm(t, lane):
    t["kv_a_layernorm.weight"][:lane] *= np.linspace(0.5, 2, lane)


def edit_bias(t, lane):  # of the latent itself
    t["kv_a_proj_with_mqa.bias"][:lane] = np.linspace(-1, 1, lane)


@pytest.mark.parametrize("edit,constant", [
    (edit_short, False), (edit_row, False), (edit_reader, False),
    (edit_column, True), (edit_sign, True), (edit_norm, True), (edit_bias, True)])
def test_a_lane_is_dropped_while_it_is_constant_and_unread(edit, constant, tmp_path):
    converted("llama_f16_sharded", tmp_path, "ladder", *STOCK)
    for file in tmp_path.glob("model-layer-*.safetensors"):
        tensors = load_file(file)
        prefix = next(n for n in tensors if "kv_a_layernorm" in n)[:-len("kv_a_layernorm.weight")]
        own = {n[len(prefix):]: t for n, t in tensors.items() if n.startswith(prefix)}
        edit(own, RANK)
        save_file(tensors, file)
    write_golden(load_stock(tmp_path), tmp_path)
    verify(tmp_path)
    done = subprocess.run([server_process.BINARY, "inspect", str(tmp_path), "--json"],
                          capture_output=True, text=True)
    assert json.loads(done.stdout)["attention"]["row_width"] == RANK + (not constant) + ROPE


def rescaled(model, folder, scaling):
    """A copy whose RoPE is scaled so."""
    shutil.copytree(server_process.model_folder(model), folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("rope_parameters", None)
    (folder / "config.json").write_text(json.dumps(config | {"rope_scaling": scaling}))
    return folder


def test_the_same_input_gives_the_same_bytes_resumed_or_not(tmp_path):
    for dtype in ("f32", "bf16"):
        converted("qwen2", tmp_path / dtype, "ladder", *STOCK, dtype=dtype)
        whole = convert_test.digests(tmp_path / dtype)
        (tmp_path / dtype / "config.json").unlink()
        (tmp_path / dtype / "model-layer-0002.safetensors").unlink()
        done = converted("qwen2", tmp_path / dtype, "ladder", *STOCK, dtype=dtype)
        assert done.stderr.count("was there already") == 2
        assert convert_test.digests(tmp_path / dtype) == whole
    done = convert_test.convert("qwen2", tmp_path / "f32", "ladder")
    assert done.returncode == 1 and "its layout is" in done.stderr


def test_smollm2_is_the_same_to_both(tmp_path):
    converted(pathlib.Path(os.environ["MLA_SMOLLM2_GGUF"]), tmp_path,
              "weighted:kv_lora_rank=88,qk_rope_head_dim=32,freqfold=4", *STOCK, dtype="bf16", windows=8)
    write_golden(load_stock(tmp_path), tmp_path, {"mid": 24})
    verify(tmp_path)
    for file in tmp_path.glob("*.safetensors"):  # a third of a gigabyte
        file.unlink()


@pytest.mark.parametrize("model,method,message", [
    ("qwen2", "sequential", "give freqfold"),
    ("qwen2", "mha2mla", "ladder"),
    ("qwen2", METHODS["ladder"] + ",ranks=greedy", "ranks=uniform"),
    ("qwen2", "exact", "GQA already"),
    ("mixtral", "ladder", "experts"),
    ("minicpm3", "ladder", "no keys and values"),
    ("yarn", "ladder", "RoPE scaling"),
])
def test_what_stock_cannot_hold_is_refused_before_any_work(model, method, message, tmp_path):
    source = model
    if model == "yarn":
        source = rescaled("llama_f16_sharded", tmp_path / "source", dict(
            rope_type="yarn", factor=4.0, original_max_position_embeddings=64, attention_factor=1.0))
    done = convert_test.convert(source, tmp_path / "out", method, *STOCK)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
