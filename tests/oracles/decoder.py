"""A tiny decoder around an attention system, in float64: draws a checkpoint as its
authors would save it, and the golden files that `mlaserve verify` reads.

    python decoder.py SYSTEM SEED FOLDER
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

from numerics import rms_norm, sigmoid
from systems import SYSTEMS

PROMPTS = {"one": 1, "short": 11, "mid": 24, "block": 60, "long": 125}
GREEDY_TOKENS = 12  # past a block of 64, from the two longest prompts


class Decoder:
    """Sizes are no multiples of anything, but of `width_of` that of dense networks."""

    def __init__(self, name, seed, width_of=1):
        self.rng = np.random.default_rng([seed, *name.encode()])
        self.hidden = int(self.rng.integers(41, 73))  # no multiples of anything
        self.layers = 3
        self.vocab = int(self.rng.integers(211, 307))
        self.intermediate = -(-int(self.rng.integers(67, 101)) // width_of) * width_of
        self.system = SYSTEMS[name](self.hidden, self.layers, self.rng)
        self.system.vocab = self.vocab
        gpt = self.system.model_type == "gpt2"
        self.tied = gpt or bool(self.rng.integers(0, 2))
        self.eps = self.system.config.get("rms_norm_eps", 1e-6 if gpt else 1e-5)
        self.tensors = {}
        self.names = GPT_NAMES if gpt else LLAMA_NAMES
        self.draw()

    def add(self, name, shape):
        values = self.rng.standard_normal(shape)
        if len(shape) == 1:
            values = (0 if name.endswith("bias") else 1) + 0.2 * values
        else:
            values *= 0.8 / np.sqrt(shape[-1])  # scores of order one, as trained ones are
        self.tensors[name] = values.astype(np.float32)

    def layer_prefix(self, layer):
        own = getattr(self.system, "layer_prefix", lambda _: self.system.prefix)
        return self.names["layer"].format(layer) + own(layer)

    def draw(self):
        n = self.names
        self.add(n["embed"], (self.vocab, self.hidden))
        self.tensors[n["embed"]] *= 4  # so that logits have margins
        self.add(n["norm"], (self.hidden,))
        if not self.tied:
            self.add("lm_head.weight", (self.vocab, self.hidden))
        for layer in range(self.layers):
            prefix = n["layer"].format(layer)
            self.add(prefix + "input_layernorm.weight", (self.hidden,))
            self.add(prefix + "post_attention_layernorm.weight", (self.hidden,))
            for name, shape in self.feed_forward_shapes(layer).items():
                self.add(prefix + name, shape)
            for name, shape in self.system.layer_shapes(layer).items():
                self.add(self.layer_prefix(layer) + name, shape)

    def feed_forward_shapes(self, layer):
        shapes = getattr(self.system, "feed_forward_shapes", lambda _: None)(layer)
        if shapes is not None:
            return shapes
        n = self.names
        return {n["gate"]: (self.intermediate, self.hidden), n["up"]: (self.intermediate, self.hidden),
                n["down"]: (self.hidden, self.intermediate)}

    def feed_forward(self, z, prefix):
        w = {k[len(prefix):]: v.astype(np.float64) for k, v in self.tensors.items() if k.startswith(prefix)}
        if self.names["gate"] not in w:
            return self.system.feed_forward(z, w)
        gate = z @ w[self.names["gate"]].T
        return (gate * sigmoid(gate) * (z @ w[self.names["up"]].T)) @ w[self.names["down"]].T

    def config(self):
        if self.system.model_type == "gpt2":
            config = dict(model_type="gpt2", n_embd=self.hidden, n_layer=self.layers, block_size=512)
        else:
            config = dict(model_type=self.system.model_type, hidden_size=self.hidden,
                          num_hidden_layers=self.layers, max_position_embeddings=512,
                          hidden_act="silu", rms_norm_eps=self.eps, tie_word_embeddings=self.tied,
                          eos_token_id=0)
        return config | dict(vocab_size=self.vocab, intermediate_size=self.intermediate) | self.system.config

    def forward(self, ids):
        """Logits [tokens, vocab] and hidden states by module name."""
        get = lambda name: self.tensors[name].astype(np.float64)
        n, shared, seen = self.names, {"ids": ids}, {}
        x = get(n["embed"])[ids]
        for layer in range(self.layers):
            prefix = n["layer"].format(layer)
            own = self.layer_prefix(layer)
            w = {k[len(own):]: v.astype(np.float64) for k, v in self.tensors.items() if k.startswith(own)}
            shared["layer"] = layer
            y = self.system.forward(rms_norm(x, get(prefix + "input_layernorm.weight"), self.eps), w, shared)
            seen[f"model.layers.{layer}.self_attn"] = y
            x = x + y
            z = rms_norm(x, get(prefix + "post_attention_layernorm.weight"), self.eps)
            x = x + self.feed_forward(z, prefix)
            seen[f"model.layers.{layer}"] = x
        x = rms_norm(x, get(n["norm"]), self.eps)
        seen["model.norm"] = x
        head = get(n["embed"] if self.tied else "lm_head.weight")
        return x @ head.T, seen

    def golden(self):
        prompts, tensors = [], {}
        for name, count in PROMPTS.items():
            ids = [int(i) for i in self.rng.integers(1, self.vocab, count)]
            logits, seen = self.forward(ids)
            tensors[f"{name}.logits"] = logits.astype(np.float32)
            if name == "mid":
                tensors |= {f"act.{k}": v.astype(np.float32) for k, v in seen.items()}
            top = np.argsort(-logits[-1])[:20]
            greedy, margins, context = [], [], list(ids)
            for _ in range(GREEDY_TOKENS):
                last = np.sort(logits[-1])
                greedy.append(int(logits[-1].argmax()))
                margins.append(float(last[-1] - last[-2]))
                context.append(greedy[-1])
                logits, _ = self.forward(context)
            prompts.append(dict(name=name, input_ids=ids, logits="all positions",
                                last_top20_ids=[int(i) for i in top],
                                last_top20_logits=[float(logits_) for logits_ in
                                                   tensors[f"{name}.logits"][-1][top]],
                                greedy_ids=greedy, greedy_margins=margins))
        return prompts, tensors

    def save(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config(), indent=1))
        for name, content in getattr(self.system, "side_files", dict)().items():
            (folder / name).write_text(json.dumps(content, indent=1))
        save_file(self.tensors, folder / "model.safetensors")
        prompts, tensors = self.golden()
        (folder / "golden.json").write_text(json.dumps({"prompts": prompts}))
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / "golden.safetensors")

    def elements_per_token(self):
        """What a token caches in all layers, by the papers."""
        return sum(self.system.row_width(i) for i in range(self.layers)) / self.system.tokens_per_row


LLAMA_NAMES = dict(embed="model.embed_tokens.weight", norm="model.norm.weight",
                   layer="model.layers.{}.", gate="mlp.gate_proj.weight",
                   up="mlp.up_proj.weight", down="mlp.down_proj.weight")
GPT_NAMES = dict(embed="transformer.wte.weight", norm="layernorm.weight",
                 layer="transformer.h.{}.", gate="mlp.c_fc1.weight",
                 up="mlp.c_fc2.weight", down="mlp.c_proj.weight")

if __name__ == "__main__":
    Decoder(sys.argv[1], int(sys.argv[2])).save(sys.argv[3])
