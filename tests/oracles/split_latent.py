"""MLA whose latent is split into slices with a softmax each (TPLA, 2508.15881), from
an MLA checkpoint: the formula in runtime/split_latent.h, in float64."""

import numpy as np

from numerics import attend, heads_of, joined, rope
from systems import LATENT_EPS, Mla, TransMla


def by_energy(down):
    """The principal directions of down's outputs, most first, and their parts of the energy."""
    parts, directions = np.linalg.eigh(down @ down.T)
    return directions.T[::-1], parts[::-1] / parts.mean()


class Split:
    slices = 2

    def draw(self, rng):
        super().draw(rng)
        self.r, self.heads = -(-self.r // 4) * 4, 4
        more = {k: v for k, v in self.config.items() if k not in ("kv_lora_rank", "num_attention_heads")}
        self.finish()
        self.config |= more
        if "num_key_value_heads" in self.config:
            self.config["num_key_value_heads"] = self.heads

    def forward(self, x, w, shared):
        both = x @ w["kv_a_proj_with_mqa.weight"].T + w.get("kv_a_proj_with_mqa.bias", 0)
        u, parts = np.eye(self.r), np.ones(self.r)
        if self.norms:
            u, parts = by_energy(w["kv_a_proj_with_mqa.weight"][:self.r])
        mixed, k_rope = both[:, :self.r] @ u.T, rope(both[:, self.r:], pairs=self.pairs)
        # Of a normed latent y: W diag(norm) y = W diag(norm) U^T (U y).
        norm = w["kv_a_layernorm.weight"] if self.norms else np.ones(self.r)
        up = w["kv_b_proj.weight"] * norm @ u.T
        queries = self.queries(x, w)
        size = self.r // self.slices
        total = 0
        for j in range(self.slices):
            part = slice(j * size, (j + 1) * size)
            c = mixed[:, part]
            if self.norms:
                c = c / np.sqrt((c**2).mean(1, keepdims=True) + LATENT_EPS) * parts[part].mean()**0.5
            out = []
            for h, kv in enumerate(heads_of(c @ up[:, part].T, self.heads)):
                query = np.concatenate([queries[h][:, :self.nope],
                                        rope(queries[h][:, self.nope:], pairs=self.pairs)], 1)
                key = np.concatenate([kv[:, :self.nope], k_rope], 1)
                out.append(attend(query, key, kv[:, self.nope:], (self.nope + self.p)**-0.5))
            total = total + joined(out)
        return total @ w["o_proj.weight"].T


class SplitInTwo(Split, Mla):
    pass


class SplitInFour(Split, Mla):
    slices = 4


class SplitTransMla(Split, TransMla):
    """Without norms: what is left of the approximation is the softmax."""


SPLIT = {"split_in_two": SplitInTwo, "split_in_four": SplitInFour, "split_transmla": SplitTransMla}
