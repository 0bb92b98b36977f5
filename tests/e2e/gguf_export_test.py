"""`mlaserve convert --gguf`: the file as the package gguf reads it, and as we serve it."""

import json
import pathlib
import re
import subprocess

import gguf
import grpc
import numpy as np
import pytest

import server_process
from generate_test import greedy, read_stream

TEXT = server_process.ROOT / "CONTRIBUTING.md"
LLAMA = server_process.ROOT / "tests/golden/gguf/llama_f16.gguf"
PARTS = {  # Hugging Face's names to those of ggml-org/llama.cpp, gguf-py/gguf/constants.py
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_b_proj": "attn_kv_b", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "block_sparse_moe.gate": "ffn_gate_inp",
}
EXPERTS = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}


def gguf_tensors(tensors):
    """A model's tensors under their names in GGUF, experts stacked."""
    out, stacks = {}, {}
    plain = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    for name, tensor in tensors.items():
        expert = re.fullmatch(r"model\.layers\.(\d+)\.block_sparse_moe\.experts\.(\d+)\.(w\d)\.weight", name)
        if expert:
            stacks.setdefault(f"blk.{expert[1]}.{EXPERTS[expert[3]]}.weight", {})[int(expert[2])] = tensor
        elif name in plain:
            out[plain[name]] = tensor
        else:
            layer, part, kind = re.fullmatch(r"model\.layers\.(\d+)\.(.*)\.(weight|bias)", name).groups()
            out[f"blk.{layer}.{PARTS[part]}.{kind}"] = tensor
    return out | {name: np.stack([stack[e] for e in range(len(stack))]) for name, stack in stacks.items()}


def folder_tensors(folder):
    """Name -> bits as they lie in the files: bf16, which numpy does not know, as its 16."""
    tensors = {}
    for file in sorted(pathlib.Path(folder).glob("model-*.safetensors")):
        raw = file.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        for name, entry in json.loads(raw[8:8 + size]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                bits = {"F32": np.uint32, "BF16": np.uint16}[entry["dtype"]]
                tensors[name] = np.frombuffer(raw[8 + size + begin:8 + size + end], bits).reshape(entry["shape"])
    return tensors


def widened(bits):
    """bf16 is the upper half of f32."""
    return bits.astype(np.uint32) << 16 if bits.dtype == np.uint16 else bits


def mixtral_gguf(path, experts=12):
    """The golden Mixtral as llama.cpp's converter writes it, with more experts than digits."""
    folder = server_process.model_folder("mixtral")
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tensors = {name: widened(bits).view(np.float32) for name, bits in folder_tensors(folder).items()}
    random = np.random.default_rng(5)
    for name in list(tensors):
        expert = re.fullmatch(r"(.*\.experts\.)(\d+)(\..*)", name)
        if expert:
            for e in range(int(expert[2]), experts, config["num_local_experts"]):
                tensors[f"{expert[1]}{e}{expert[3]}"] = tensors[name] * np.float32(1 + e / 20)
        elif name.endswith("block_sparse_moe.gate.weight"):
            tensors[name] = random.standard_normal((experts, tensors[name].shape[1])).astype(np.float32)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_expert_count(experts)
    writer.add_expert_used_count(config["num_experts_per_tok"])
    vocab = {i: t for t, i in tokenizer["model"]["vocab"].items()}
    special = {t["id"]: t["content"] for t in tokenizer["added_tokens"]}
    vocab |= special
    size = range(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([vocab.get(i, f"[PAD{i}]") for i in size])
    writer.add_token_types([3 if i in special else 1 if i in vocab else 5 for i in size])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    for name, tensor in gguf_tensors(tensors).items():
        for part, heads in (("attn_q", "num_attention_heads"), ("attn_k", "num_key_value_heads")):
            if name.endswith(part + ".weight"):  # rotated rows in pairs
                h = config[heads]
                tensor = tensor.reshape(h, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
        writer.add_tensor(name, np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def convert(source, folder, file, *flags):
    return subprocess.run(
        [server_process.BINARY, "convert", "--in", str(source), "--out", str(folder), "--gguf", str(file),
         "--method", "sequential:kv_lora_rank=20,qk_rope_head_dim=12", "--calibration", str(TEXT),
         "--window-tokens", "64", "--calibration-tokens", "512", *flags], capture_output=True, text=True)


def contents(field):
    return [bytes(part) for part in field.parts]


def seen(path):
    """What the server makes of a model: its shape, its tokens and how well it predicts a text."""
    run = lambda *command: subprocess.run([server_process.BINARY, *command], capture_output=True, text=True, check=True)
    shape = json.loads(run("inspect", str(path), "--json").stdout)
    score = run("perplexity", "--model", str(path), "--text", str(TEXT), "--windows", "2", "--window-tokens", "96",
                "--weights-dtype", "f32", "--kv-cache-dtype", "f32", "--json").stdout
    return shape, json.loads(score)["mean_nll"]


@pytest.mark.parametrize("dtype", ["bf16", "f32"])
@pytest.mark.parametrize("model", ["llama", "mixtral"])
def test_the_file_holds_what_the_folder_does(model, dtype, tmp_path):
    source = LLAMA if model == "llama" else mixtral_gguf(tmp_path / "mixtral.gguf")
    folder, file = tmp_path / "out", tmp_path / "out.gguf"
    done = convert(source, folder, file, "--dtype", dtype)
    assert done.returncode == 0, done.stderr
    reader, of = gguf.GGUFReader(file), gguf.GGUFReader(source)
    architecture = "mlaserve_" + model
    assert reader.fields["general.architecture"].contents() == architecture
    assert json.loads(reader.fields[architecture + ".config"].contents()) == json.loads(
        (folder / "config.json").read_text())
    assert reader.fields[architecture + ".attention.kv_lora_rank"].contents() == [20, 20]
    assert reader.fields[architecture + ".rope.dimension_count"].contents() == [12, 12]
    for name, field in of.fields.items():
        if name.startswith("tokenizer."):
            assert contents(reader.fields[name]) == contents(field), name
    expected = gguf_tensors(folder_tensors(folder))
    assert {t.name for t in reader.tensors} == expected.keys()
    for tensor in reader.tensors:
        wanted = expected[tensor.name]
        assert tuple(reversed([int(n) for n in tensor.shape])) == wanted.shape
        if wanted.ndim == 1:
            wanted = widened(wanted)
            assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        else:
            assert tensor.tensor_type == gguf.GGMLQuantizationType[dtype.upper()]
        assert tensor.data_offset % 32 == 0
        assert tensor.data.tobytes() == wanted.tobytes(), tensor.name
    assert seen(file) == seen(folder)  # to the last bit


def test_it_is_served_with_its_tokenizer(api, tmp_path):
    done = convert(LLAMA, tmp_path / "out", tmp_path / "small.gguf")
    assert done.returncode == 0, done.stderr
    answers = []
    for path in (tmp_path / "out", tmp_path / "small.gguf"):
        server = server_process.Server.at(path)
        try:
            with grpc.insecure_channel(server.grpc) as channel:
                stub = api.generation_grpc.GenerationServiceStub(channel)
                answers.append(read_stream(stub.Generate(greedy(api, [1, 2, 3], 24)))[:2])
                model = api.model_grpc.ModelServiceStub(channel).GetModel(api.model.GetModelRequest())
            assert server.metric("mla_kv_bytes_per_token") == 2 * (20 + 12) * 4
        finally:
            server.kill()
    assert model.name == "small"
    assert answers[0] == answers[1]


def test_what_cannot_be_written_is_refused_before_converting(tmp_path):
    done = convert(server_process.model_folder("qwen2"), tmp_path / "out", tmp_path / "out.gguf")
    assert done.returncode == 1 and "a GGUF file can be written of a GGUF file only" in done.stderr
    assert not (tmp_path / "out").exists()
    done = convert(LLAMA, tmp_path / "out", tmp_path / "absent/out.gguf")
    assert done.returncode == 1 and "absent/out.gguf" in done.stderr


def test_a_damaged_config_is_refused(tmp_path):
    done = convert(LLAMA, tmp_path / "out", tmp_path / "out.gguf")
    assert done.returncode == 0, done.stderr
    raw = (tmp_path / "out.gguf").read_bytes()
    for old, new, message in ((b"mlaserve_llama.config", b"mlaserve_llama.konfig", "mlaserve_llama.config"),
                              (b'"kv_lora_rank": 20', b'"kv_lora_rank": 99', "shape")):
        (tmp_path / "bad.gguf").write_bytes(raw.replace(old, new, 1))
        bad = subprocess.run([server_process.BINARY, "perplexity", "--model", str(tmp_path / "bad.gguf"), "--text",
                              str(TEXT), "--window-tokens", "64"], capture_output=True, text=True)
        assert bad.returncode == 1 and message in bad.stderr
