"""Writes llama_f16.gguf: the golden checkpoint llama_f16_sharded as llama.cpp's
converter would write it (its tensor names and its order of rotated rows), for
tests that hold GGUF loading against the same transformers outputs.

    pip install gguf numpy safetensors
    python make_gguf.py ../models/llama_f16_sharded llama_f16.gguf
"""

import json
import pathlib
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file


def permute(w, heads):
    """Half-split rows to interleaved pairs, per head."""
    d = w.shape[0] // heads
    return w.reshape(heads, 2, d // 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


source, target = pathlib.Path(sys.argv[1]), sys.argv[2]
config = json.loads((source / "config.json").read_text())
tokenizer = json.loads((source / "tokenizer.json").read_text())
tensors = {}
for shard in sorted(source.glob("model-*.safetensors")):
    tensors.update(load_file(shard))

w = gguf.GGUFWriter(target, "llama")
heads = config["num_attention_heads"]
w.add_context_length(config["max_position_embeddings"])
w.add_embedding_length(config["hidden_size"])
w.add_block_count(config["num_hidden_layers"])
w.add_feed_forward_length(config["intermediate_size"])
w.add_head_count(heads)
w.add_head_count_kv(config["num_key_value_heads"])
w.add_layer_norm_rms_eps(config["rms_norm_eps"])
w.add_rope_freq_base(config["rope_theta"])
w.add_rope_dimension_count(config["hidden_size"] // heads)

vocab = {i: t for t, i in tokenizer["model"]["vocab"].items()}
special = {t["id"]: t["content"] for t in tokenizer["added_tokens"]}
vocab.update(special)
size = config["vocab_size"]
tokens = [vocab.get(i, f"[PAD{i}]") for i in range(size)]
normal, control, unused = 1, 3, 5
types = [control if i in special else normal if i in vocab else unused for i in range(size)]
w.add_tokenizer_model("gpt2")
w.add_tokenizer_pre("smollm")
w.add_token_list(tokens)
w.add_token_types(types)
w.add_token_merges([" ".join(m) for m in tokenizer["model"]["merges"]])
w.add_bos_token_id(config["bos_token_id"])
w.add_eos_token_id(config["eos_token_id"])

names = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
parts = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
for name, tensor in sorted(tensors.items()):
    new = names.get(name)
    if new is None:
        _, _, layer, rest = name.split(".", 3)
        new = f"blk.{layer}.{parts[rest.removesuffix('.weight')]}.weight"
    if new.endswith("attn_q.weight"):
        tensor = permute(tensor, heads)
    if new.endswith("attn_k.weight"):
        tensor = permute(tensor, config["num_key_value_heads"])
    if tensor.ndim == 1:
        tensor = tensor.astype(np.float32)
    w.add_tensor(new, np.ascontiguousarray(tensor))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
