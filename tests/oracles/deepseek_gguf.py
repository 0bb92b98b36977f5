"""DeepSeek checkpoints of Hugging Face's as GGUF files of architecture deepseek2, in
the two forms that llama.cpp's converter has written: "joint", until April 2025, with
kv_b as it is, and "split", since then, with W_UK transposed per head and apart from
W_UV. Keys and tensor names are the package gguf's. Tensors keep their values: those in
bf16 stay so, as with --outtype bf16, and fp8 becomes f32."""

import json
import math

import gguf
import numpy as np

ARCH = gguf.MODEL_ARCH.DEEPSEEK2
FORMS = ("joint", "split")
# tokenizer.ggml.pre of each family's golden tokenizer
PRE = {"deepseek_v2": "deepseek-llm", "deepseek_v3": "deepseek-v3",
       "kimi_k2": "deepseek-v3", "glm4_moe_lite": "qwen2"}


def e4m3_values():
    """The 256 numbers of float8_e4m3fn."""
    codes = np.arange(256)
    sign, exponent, mantissa = codes >> 7, codes >> 3 & 15, codes & 7
    value = np.where(exponent == 0, mantissa / 8 * 2.0**-6,
                     (1 + mantissa / 8) * 2.0 ** (exponent - 7.0))
    value[codes & 127 == 127] = np.nan
    return np.where(sign == 1, -value, value).astype(np.float32)


def read_file(path):
    """Name -> (values in f32, their type in the file) of a safetensors file."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    tensors = {}
    for name, entry in json.loads(raw[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        data, kind = raw[8 + size + begin:8 + size + end], entry["dtype"]
        if kind == "BF16":
            values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif kind == "F8_E4M3":
            values = e4m3_values()[np.frombuffer(data, np.uint8)]
        else:
            assert kind == "F32", (name, kind)
            values = np.frombuffer(data, "<f4")
        tensors[name] = values.reshape(entry["shape"]), kind
    return tensors


def undo_blocks(tensors):
    """Multiplies fp8 matrices by the scales of their blocks of 128 x 128."""
    for name in [n for n in tensors if n.endswith("_scale_inv")]:
        scales, _ = tensors.pop(name)
        matrix = name.removesuffix("_scale_inv")
        values, _ = tensors[matrix]
        scales = scales.repeat(128, 0).repeat(128, 1)
        tensors[matrix] = values * scales[:values.shape[0], :values.shape[1]], "F32"


def read_checkpoint(folder):
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        tensors.update(read_file(path))
    undo_blocks(tensors)
    return tensors


def stack_experts(tensors, layers, experts):
    """One tensor per layer and projection, as GGUF has them."""
    for layer in range(layers):
        for part in ("gate_proj", "up_proj", "down_proj"):
            prefix = f"model.layers.{layer}.mlp.experts."
            if f"{prefix}0.{part}.weight" not in tensors:
                continue
            stack = [tensors.pop(f"{prefix}{e}.{part}.weight") for e in range(experts)]
            tensors[f"{prefix}{part}.weight"] = np.stack([v for v, _ in stack]), stack[0][1]


def split_kv_b(tensors, config):
    nope, heads = config["qk_nope_head_dim"], config["num_attention_heads"]
    for name in [n for n in tensors if n.endswith("kv_b_proj.weight")]:
        kv_b, kind = tensors.pop(name)
        per_head = kv_b.reshape(heads, nope + config["v_head_dim"], -1)
        k = per_head[:, :nope].transpose(0, 2, 1)
        tensors[name.replace("kv_b_proj", "k_b_proj")] = k, kind
        tensors[name.replace("kv_b_proj", "v_b_proj")] = per_head[:, nope:], kind


def rope_amplitude(scaling):
    """Of YaRN's cosines and sines where mscale and mscale_all_dim differ."""
    def m(x):
        return 0.1 * x * math.log(scaling["factor"]) + 1
    if not scaling or scaling["mscale"] == scaling["mscale_all_dim"]:
        return 1.0
    return m(scaling["mscale"]) / m(scaling["mscale_all_dim"])


def fold_amplitude(tensors, config, amplitude):
    """GGUF has no key for it. Rotations are linear: as a factor of the rotated rows
    it gives the same queries and keys."""
    rope, nope = config["qk_rope_head_dim"], config["qk_nope_head_dim"]
    for name in list(tensors):
        values = tensors[name][0].astype(np.float64)
        if name.endswith("kv_a_proj_with_mqa.weight"):
            values[-rope:] *= amplitude
        elif name.endswith(("self_attn.q_proj.weight", "self_attn.q_b_proj.weight")):
            values.reshape(-1, nope + rope, values.shape[-1])[:, nope:] *= amplitude
        else:
            continue
        tensors[name] = values.astype(np.float32), "F32"


def add_attention(w, config, form):
    latent, rope = config["kv_lora_rank"], config["qk_rope_head_dim"]
    key, value = config["qk_nope_head_dim"] + rope, config["v_head_dim"]
    heads = config["num_attention_heads"]
    w.add_head_count(heads)
    if config["q_lora_rank"] is not None:
        w.add_q_lora_rank(config["q_lora_rank"])
    w.add_kv_lora_rank(latent)
    w.add_rope_dimension_count(rope)
    w.add_rope_freq_base(float(config["rope_theta"]))
    if form == "joint":
        w.add_head_count_kv(heads)
        w.add_key_length(key)
        w.add_value_length(value)
    else:  # MQA, whose one key is the row and whose one value is the latent
        w.add_head_count_kv(1)
        w.add_key_length(latent + rope)
        w.add_value_length(latent)
        w.add_key_length_mla(key)
        w.add_value_length_mla(value)


def add_rope_scaling(w, scaling, form):
    w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    w.add_rope_scaling_factor(float(scaling["factor"]))
    w.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    w.add_rope_scaling_yarn_log_mul(0.1 * scaling["mscale_all_dim"])
    if form == "split":
        w.add_rope_scaling_yarn_beta_fast(float(scaling["beta_fast"]))
        w.add_rope_scaling_yarn_beta_slow(float(scaling["beta_slow"]))


def add_experts(w, config):
    v2 = config["model_type"] == "deepseek_v2"
    w.add_leading_dense_block_count(config["first_k_dense_replace"])
    w.add_expert_count(config["n_routed_experts"])
    w.add_expert_used_count(config["num_experts_per_tok"])
    w.add_expert_shared_count(config["n_shared_experts"])
    w.add_expert_feed_forward_length(config["moe_intermediate_size"])
    w.add_expert_weights_scale(float(config["routed_scaling_factor"]))
    w.add_expert_group_count(config["n_group"])
    w.add_expert_group_used_count(config["topk_group"])
    if config["norm_topk_prob"]:
        w.add_expert_weights_norm(True)
    gating = gguf.ExpertGatingFuncType
    w.add_expert_gating_func(gating.SOFTMAX if v2 else gating.SIGMOID)


def add_tokenizer(w, folder, config):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    texts = {i: t for t, i in tokenizer["model"]["vocab"].items()}
    texts.update({t["id"]: t["content"] for t in tokenizer["added_tokens"]})
    kinds = {t["id"]: gguf.TokenType.CONTROL if t["special"] else gguf.TokenType.USER_DEFINED
             for t in tokenizer["added_tokens"]}
    kinds = {**dict.fromkeys(texts, gguf.TokenType.NORMAL), **kinds}
    ids = range(config["vocab_size"])
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(PRE[config["model_type"]])
    w.add_token_list([texts.get(i, f"[PAD{i}]") for i in ids])
    w.add_token_types([kinds.get(i, gguf.TokenType.UNUSED) for i in ids])
    w.add_token_merges([" ".join(m) for m in tokenizer["model"]["merges"]])
    if config["bos_token_id"] is not None:
        w.add_bos_token_id(config["bos_token_id"])
    w.add_eos_token_id(config["eos_token_id"])


def add_tensors(w, tensors, layers):
    names = gguf.get_tensor_name_map(ARCH, layers)
    for name, (values, kind) in sorted(tensors.items()):
        name = name.replace("e_score_correction_bias", "e_score_correction.bias")
        own = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert own is not None, name
        values = np.ascontiguousarray(values)
        if kind == "BF16" and values.ndim > 1 and "ffn_gate_inp" not in own:
            bf16 = gguf.GGMLQuantizationType.BF16
            w.add_tensor(own, gguf.quants.quantize(values, bf16), raw_dtype=bf16)
        else:
            w.add_tensor(own, values)


def convert(folder, path, form):
    """Writes `path`, a .gguf file, from a folder of Hugging Face's."""
    assert form in FORMS
    config = json.loads((folder / "config.json").read_text())
    layers, scaling = config["num_hidden_layers"], config["rope_scaling"]
    # layers past the last predict further tokens; llama.cpp leaves them out
    extra = tuple(f"model.layers.{layers + i}." for i in range(8))
    tensors = {n: t for n, t in read_checkpoint(folder).items() if not n.startswith(extra)}
    stack_experts(tensors, layers, config["n_routed_experts"])
    amplitude = rope_amplitude(scaling)
    if amplitude != 1:
        fold_amplitude(tensors, config, amplitude)
    if form == "split":
        split_kv_b(tensors, config)

    w = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[ARCH])
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_block_count(layers)
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_vocab_size(config["vocab_size"])
    add_attention(w, config, form)
    if scaling:
        add_rope_scaling(w, scaling, form)
    add_experts(w, config)
    add_tokenizer(w, folder, config)
    add_tensors(w, tensors, layers)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
