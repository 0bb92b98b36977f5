#!/usr/bin/env python3
"""A model of random weights in Llama-3.2-1B's shape, with another model's tokenizer: to measure what
converting a larger model takes.

    tests/bench/random_model.py FOLDER OUT

FOLDER: a Hugging Face Llama folder, as `mlaserve convert --method exact` makes of a GGUF file.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
from safetensors.numpy import save_file

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, INNER = 2048, 16, 32, 8, 64, 8192


def main():
    source, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir()
    config = json.loads((source / "config.json").read_text())
    config |= dict(hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, head_dim=HEAD_DIM,
                   num_key_value_heads=KV_HEADS, intermediate_size=INNER, dtype="float16")
    (out / "config.json").write_text(json.dumps(config, indent=1))
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(source / file, out)
    random = np.random.default_rng(0)

    def matrix(rows, columns, scale=1.0):
        values = random.standard_normal((rows, columns), dtype=np.float32)
        return (values * (scale / columns**0.5)).astype(np.float16)

    ones = np.ones(HIDDEN, np.float16)
    tensors = {"model.embed_tokens.weight": matrix(config["vocab_size"], HIDDEN, 8), "model.norm.weight": ones}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        tensors |= {layer + "input_layernorm.weight": ones, layer + "post_attention_layernorm.weight": ones}
        for name, shape in dict(
                q_proj=(HEADS * HEAD_DIM, HIDDEN), k_proj=(KV_HEADS * HEAD_DIM, HIDDEN),
                v_proj=(KV_HEADS * HEAD_DIM, HIDDEN), o_proj=(HIDDEN, HEADS * HEAD_DIM)).items():
            tensors[f"{layer}self_attn.{name}.weight"] = matrix(*shape)
        for name, shape in dict(gate_proj=(INNER, HIDDEN), up_proj=(INNER, HIDDEN),
                                down_proj=(HIDDEN, INNER)).items():
            tensors[f"{layer}mlp.{name}.weight"] = matrix(*shape)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
