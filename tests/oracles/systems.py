"""One class per attention system: the tensors of a layer under their published
names, and what they compute, by the paper's formula in its own, unabsorbed form,
over a whole sequence. Nothing here knows how mlaserve lays a row out; row_width
is the paper's count of what a token caches.

A class has: config (fields of config.json), shapes() of a layer's tensors,
forward(x, w, shared), and row_width(layer). `shared` is a dict that the layers
of one forward pass hand on.
"""

import numpy as np

from numerics import attend, heads_of, joined, layer_norm, rms_norm, rope, sigmoid, softmax

LATENT_EPS = 1e-6


class System:
    """Dimensions as attributes, drawn by the subclass from `rng`."""

    model_type = "llama"
    prefix = "self_attn."
    tokens_per_row = 1

    def __init__(self, hidden, layers, rng):
        self.hidden, self.layers, self.rng = hidden, layers, rng
        self.config = {}
        self.draw(rng)

    def layer_shapes(self, layer):
        return self.shapes()

    def row_width(self, layer):
        return self.width


class SharedRows:
    """Every second layer reads the rows of the one before; it lacks the `owned`
    tensors that would make its own."""

    def draw(self, rng):
        super().draw(rng)
        self.config["kv_sharing_factor"] = 2

    def layer_shapes(self, layer):
        own = layer % 2 == 0
        return {k: v for k, v in self.shapes().items() if own or k not in self.owned}

    def row_width(self, layer):
        return self.width if layer % 2 == 0 else 0


# ---- keys and values per group ---------------------------------------------------------------


class Gqa(System):
    """2305.13245; MHA and MQA are its ends, SQA (2510.01817) has few query heads."""

    qkv_bias = False

    def draw(self, rng):
        self.heads, self.groups, self.d = self.choose(rng)
        self.width = 2 * self.groups * self.d
        self.config = dict(num_attention_heads=self.heads, num_key_value_heads=self.groups,
                           head_dim=self.d, rope_theta=5000.0)

    def choose(self, rng):
        groups = int(rng.integers(2, 4))
        return groups * int(rng.integers(2, 4)), groups, 2 * int(rng.integers(5, 12))

    def group_of(self, head):
        return head * self.groups // self.heads

    def shapes(self):
        h, g, d = self.heads, self.groups, self.d
        return {"q_proj.weight": (h * d, self.hidden), "k_proj.weight": (g * d, self.hidden),
                "v_proj.weight": (g * d, self.hidden), "o_proj.weight": (self.hidden, h * d)}

    def project(self, x, w):
        q = heads_of(x @ w["q_proj.weight"].T, self.heads)
        k = heads_of(x @ w["k_proj.weight"].T, self.groups)
        v = heads_of(x @ w["v_proj.weight"].T, self.groups)
        return q, k, v

    def forward(self, x, w, shared):
        q, k, v = self.project(x, w)
        return self.mix(q, k, v) @ w["o_proj.weight"].T

    def mix(self, q, k, v):
        k = [rope(one, 5000.0) for one in k]
        return joined(attend(rope(q[h], 5000.0), k[self.group_of(h)], v[self.group_of(h)],
                             self.d**-0.5) for h in range(self.heads))


class TransMlaSingle(Gqa):
    """2502.07864's exact form with one latent for all groups: still plain GQA."""

    def draw(self, rng):
        super().draw(rng)
        self.config["transmla_single_latent"] = True


class Mha(Gqa):
    def choose(self, rng):
        heads = int(rng.integers(3, 6))
        return heads, heads, 14


class Mqa(Gqa):
    def choose(self, rng):
        return int(rng.integers(3, 6)), 1, 18


class Sqa(Gqa):
    """Fewer query heads than hidden_size / head_dim, and a narrower o_proj."""

    def choose(self, rng):
        return 2, 1, 2 * int(rng.integers(6, 10))


class EffKv(Gqa):
    """2406.07056 as it is served: MHA cut to fewer KV heads, plain GQA."""

    def choose(self, rng):
        return 6, 2, 10


class Qcqa(Gqa):
    """2406.10247: any map from query heads to KV heads, groups of any size."""

    def draw(self, rng):
        super().draw(rng)
        self.heads, self.groups = 7, 3
        self.width = 2 * self.groups * self.d
        self.map = [2, 0, 1, 0, 2, 0, 0]
        rng.shuffle(self.map)
        self.config.update(num_attention_heads=7, num_key_value_heads=3,
                           kv_head_of_query_head=[int(g) for g in self.map])

    def group_of(self, head):
        return self.map[head]


class Cla(SharedRows, Gqa):
    """2405.12981: adjacent layers share keys and values."""

    owned = ("k_proj.weight", "v_proj.weight")

    def forward(self, x, w, shared):
        if "k_proj.weight" in w:
            shared["kv"] = self.project(x, w)[1:]
        q = heads_of(x @ w["q_proj.weight"].T, self.heads)
        return self.mix(q, *shared["kv"]) @ w["o_proj.weight"].T


class KhaLinear(Gqa):
    """2510.23052: one matrix for all heads' queries, keys and values each."""

    def shapes(self):
        return super().shapes() | {f"{p}_knock.weight": (self.d, self.d) for p in "qkv"}

    def project(self, x, w):
        return [[one @ w[f"{p}_knock.weight"].T for one in heads]
                for p, heads in zip("qkv", super().project(x, w))]


class KhaMlp(Gqa):
    """2510.23052: v becomes 2 (v U * sigmoid(v G)) D before it is cached."""

    def draw(self, rng):
        super().draw(rng)
        self.m = int(rng.integers(9, 20))
        self.config["knocking_value_dim"] = self.m

    def shapes(self):
        return super().shapes() | {"v_knock_gate.weight": (self.m, self.d),
                                   "v_knock_up.weight": (self.m, self.d),
                                   "v_knock_down.weight": (self.d, self.m)}

    def project(self, x, w):
        q, k, v = super().project(x, w)
        v = [2 * (one @ w["v_knock_up.weight"].T * sigmoid(one @ w["v_knock_gate.weight"].T))
             @ w["v_knock_down.weight"].T for one in v]
        return q, k, v


class Moas(System):
    """2512.20650: MHA, GQA and MQA of one input, weighed per token by a softmax."""

    def draw(self, rng):
        self.heads, self.groups, self.d = 4, 2, 2 * int(rng.integers(4, 9))
        self.width = 2 * self.d * (self.heads + self.groups + 1)
        self.config = dict(attention_type="moas", num_attention_heads=self.heads,
                           num_key_value_heads=self.groups, head_dim=self.d, rope_theta=10000.0)

    def parts(self):
        return (("mha", self.heads), ("gqa", self.groups), ("mqa", 1))

    def shapes(self):
        shapes = {"gate.weight": (3, self.hidden)}
        for name, groups in self.parts():
            shapes |= {f"{name}.q_proj.weight": (self.heads * self.d, self.hidden),
                       f"{name}.k_proj.weight": (groups * self.d, self.hidden),
                       f"{name}.v_proj.weight": (groups * self.d, self.hidden),
                       f"{name}.o_proj.weight": (self.hidden, self.heads * self.d)}
        return shapes

    def forward(self, x, w, shared):
        gates = softmax(x @ w["gate.weight"].T)
        y = 0
        for part, (name, groups) in enumerate(self.parts()):
            q = heads_of(x @ w[f"{name}.q_proj.weight"].T, self.heads)
            k = heads_of(x @ w[f"{name}.k_proj.weight"].T, groups)
            v = heads_of(x @ w[f"{name}.v_proj.weight"].T, groups)
            mixed = joined(attend(rope(q[h]), rope(k[h * groups // self.heads]),
                                  v[h * groups // self.heads], self.d**-0.5)
                           for h in range(self.heads))
            y = y + gates[:, part:part + 1] * (mixed @ w[f"{name}.o_proj.weight"].T)
        return y


# ---- one latent ------------------------------------------------------------------------------


class Mla(System):
    """2405.04434, as DeepSeek-V3 writes it."""

    model_type = "deepseek_v3"
    pairs = True
    norms = True

    def draw(self, rng):
        self.heads = int(rng.integers(3, 7))
        self.r = int(rng.integers(17, 40))
        self.nope, self.v = int(rng.integers(7, 19)), int(rng.integers(6, 17))
        self.p = 2 * int(rng.integers(3, 8))
        self.q_rank = int(rng.integers(0, 2)) * int(rng.integers(13, 33))
        self.finish()

    def finish(self):
        self.width = self.r + self.p
        self.config = dict(num_attention_heads=self.heads, kv_lora_rank=self.r,
                           qk_nope_head_dim=self.nope, qk_rope_head_dim=self.p, v_head_dim=self.v,
                           q_lora_rank=self.q_rank or None, rope_theta=10000.0)

    def shapes(self):
        head = self.nope + self.p
        shapes = {"kv_a_proj_with_mqa.weight": (self.r + self.p, self.hidden),
                  "kv_b_proj.weight": (self.heads * (self.nope + self.v), self.r),
                  "o_proj.weight": (self.hidden, self.heads * self.v)}
        if self.norms:
            shapes["kv_a_layernorm.weight"] = (self.r,)
        if self.q_rank:
            shapes |= {"q_a_proj.weight": (self.q_rank, self.hidden),
                       "q_b_proj.weight": (self.heads * head, self.q_rank)}
            if self.norms:
                shapes["q_a_layernorm.weight"] = (self.q_rank,)
        else:
            shapes["q_proj.weight"] = (self.heads * head, self.hidden)
        return shapes

    def queries(self, x, w):
        if not self.q_rank:
            q = x @ w["q_proj.weight"].T + w.get("q_proj.bias", 0)
        else:
            latent = x @ w["q_a_proj.weight"].T + w.get("q_a_proj.bias", 0)
            if self.norms:
                latent = rms_norm(latent, w["q_a_layernorm.weight"], LATENT_EPS)
            q = latent @ w["q_b_proj.weight"].T + w.get("q_b_proj.bias", 0)
        return heads_of(q, self.heads)

    def latent(self, x, w):
        both = x @ w["kv_a_proj_with_mqa.weight"].T + w.get("kv_a_proj_with_mqa.bias", 0)
        r = both.shape[1] - self.p
        c = both[:, :r]
        if self.norms:
            c = rms_norm(c, w["kv_a_layernorm.weight"], LATENT_EPS)
        return c, rope(both[:, r:], pairs=self.pairs)

    def mix(self, q, c, k_rope, up):
        out = []
        for h, kv in enumerate(heads_of(c @ up.T, self.heads)):
            query = np.concatenate([q[h][:, :self.nope], rope(q[h][:, self.nope:], pairs=self.pairs)], 1)
            key = np.concatenate([kv[:, :self.nope], k_rope], 1)
            out.append(attend(query, key, kv[:, self.nope:], (self.nope + self.p)**-0.5))
        return joined(out)

    def forward(self, x, w, shared):
        mixed = self.mix(self.queries(x, w), *self.latent(x, w), w["kv_b_proj.weight"])
        return mixed @ w["o_proj.weight"].T


def swiglu(x, w, prefix):
    gate = x @ w[f"{prefix}gate_proj.weight"].T
    return (gate * sigmoid(gate) * (x @ w[f"{prefix}up_proj.weight"].T)) @ w[f"{prefix}down_proj.weight"].T


class MlaMoeV3(Mla):
    """DeepSeek-V3's experts (2412.19437, section 2.1.2): sigmoid scores, chosen
    with a correction, in groups by their best two, normalised."""

    scores_of = staticmethod(sigmoid)
    correction = True

    def draw(self, rng):
        super().draw(rng)
        self.groups, per_group = int(rng.integers(2, 4)), int(rng.integers(3, 6))
        self.experts, self.top_groups = self.groups * per_group, self.groups - 1
        self.top_k = int(rng.integers(2, 5))
        self.inner, self.shared = int(rng.integers(15, 40)), int(rng.integers(1, 3))
        self.factor = 1.7
        self.config.update(n_routed_experts=self.experts, num_experts_per_tok=self.top_k,
                           n_group=self.groups, topk_group=self.top_groups, norm_topk_prob=True,
                           moe_intermediate_size=self.inner, n_shared_experts=self.shared,
                           first_k_dense_replace=1, routed_scaling_factor=self.factor,
                           topk_method="noaux_tc", scoring_func="sigmoid")

    def feed_forward_shapes(self, layer):
        if layer == 0:
            return None
        shapes = {"mlp.gate.weight": (self.experts, self.hidden)}
        if self.correction:
            shapes["mlp.gate.e_score_correction_bias"] = (self.experts,)
        blocks = {f"mlp.experts.{e}.": self.inner for e in range(self.experts)}
        for prefix, inner in (blocks | {"mlp.shared_experts.": self.inner * self.shared}).items():
            shapes |= {f"{prefix}gate_proj.weight": (inner, self.hidden),
                       f"{prefix}up_proj.weight": (inner, self.hidden),
                       f"{prefix}down_proj.weight": (self.hidden, inner)}
        return shapes

    def choose_experts(self, scores, w):
        """Of one token: the experts and their weights."""
        choice = (scores + w["mlp.gate.e_score_correction_bias"]).reshape(self.groups, -1)
        best = np.argsort(-np.sort(choice, 1)[:, -2:].sum(1))[:self.top_groups]
        open_ = np.full_like(choice, -np.inf)
        open_[best] = choice[best]
        chosen = np.argsort(-open_.ravel())[:self.top_k]
        return chosen, scores[chosen] / scores[chosen].sum() * self.factor

    def feed_forward(self, x, w):
        scores = self.scores_of(x @ w["mlp.gate.weight"].T)
        y = swiglu(x, w, "mlp.shared_experts.")
        for t in range(len(x)):
            for expert, weight in zip(*self.choose_experts(scores[t], w)):
                y[t] += weight * swiglu(x[t:t + 1], w, f"mlp.experts.{expert}.")[0]
        return y


class MlaMoeV2(MlaMoeV3):
    """DeepSeek-V2's (2405.04434, section 2.2): softmax scores, groups by their
    best expert, not normalised."""

    model_type = "deepseek_v2"
    scores_of = staticmethod(softmax)
    correction = False

    def draw(self, rng):
        super().draw(rng)
        self.config.update(topk_method="group_limited_greedy", scoring_func="softmax")

    def choose_experts(self, scores, w):
        grouped = scores.reshape(self.groups, -1)
        best = np.argsort(-grouped.max(1))[:self.top_groups]
        open_ = np.zeros_like(grouped)
        open_[best] = grouped[best]
        chosen = np.argsort(-open_.ravel())[:self.top_k]
        return chosen, scores[chosen] * self.factor


class TransMla(Mla):
    """2502.07864 as its code saves it: deepseek_v3 in name only, no latent norms,
    biases where the source had them (CONVERSION.md, section 4)."""

    norms = False

    def draw(self, rng):
        super().draw(rng)
        self.config.update(qk_latent_layernorm=False, attention_bias=True,
                           architectures=["LlamaMLAForCausalLM"], head_dim=self.p,
                           num_key_value_heads=self.heads)

    def shapes(self):
        shapes = super().shapes()
        query = "q_b_proj" if self.q_rank else "q_proj"
        for name in (query, "kv_a_proj_with_mqa"):
            shapes[f"{name}.bias"] = shapes[f"{name}.weight"][:1]
        return shapes


class TransMlaMixtral(TransMla):
    """A converted Mixtral: still deepseek_v3 in name, with Mixtral's experts."""

    def draw(self, rng):
        super().draw(rng)
        self.experts, self.top_k, self.inner = 5, 2, int(rng.integers(31, 60))
        self.config.update(architectures=["MixtralMLAForCausalLM"], num_local_experts=self.experts,
                           num_experts_per_tok=self.top_k, intermediate_size=self.inner)

    def feed_forward_shapes(self, layer):
        shapes = {"block_sparse_moe.gate.weight": (self.experts, self.hidden)}
        for e in range(self.experts):
            for name, shape in (("w1", (self.inner, self.hidden)), ("w2", (self.hidden, self.inner)),
                                ("w3", (self.inner, self.hidden))):
                shapes[f"block_sparse_moe.experts.{e}.{name}.weight"] = shape
        return shapes

    def feed_forward(self, x, w):
        scores = softmax(x @ w["block_sparse_moe.gate.weight"].T)
        y = np.zeros_like(x)
        for t in range(len(x)):
            chosen = np.argsort(-scores[t])[:self.top_k]
            for e in chosen:
                w1, w2, w3 = (w[f"block_sparse_moe.experts.{e}.w{i}.weight"] for i in (1, 2, 3))
                gate = w1 @ x[t]
                y[t] += scores[t][e] / scores[t][chosen].sum() * (w2 @ (gate * sigmoid(gate) * (w3 @ x[t])))
        return y


class Care(Mla):
    """2603.17946: a rank per layer."""

    def draw(self, rng):
        super().draw(rng)
        self.ranks = [int(r) for r in rng.integers(9, 45, self.layers)]
        self.config["kv_lora_rank"] = self.ranks

    def layer_shapes(self, layer):
        self.r = self.ranks[layer]
        return self.shapes()

    def row_width(self, layer):
        return self.ranks[layer] + self.p


class Clla(SharedRows, Mla):
    """2410.15252: adjacent layers share the latent (in full precision)."""

    owned = ("kv_a_proj_with_mqa.weight", "kv_a_layernorm.weight")

    def forward(self, x, w, shared):
        if "kv_a_proj_with_mqa.weight" in w:
            shared["latent"] = self.latent(x, w)
        mixed = self.mix(self.queries(x, w), *shared["latent"], w["kv_b_proj.weight"])
        return mixed @ w["o_proj.weight"].T


class XEcoMla(Mla):
    """2503.11132: ranks of queries and latents per layer, no norms, and some
    layers left as GQA. Its layers are described in two files beside config.json."""

    model_type = "llama"
    norms = False

    def draw(self, rng):
        super().draw(rng)
        self.q_rank = 20
        self.ranks = [int(r) for r in rng.integers(9, 30, self.layers)]
        self.kept = {1}
        self.gqa = Gqa(self.hidden, self.layers, rng)
        self.gqa.heads, self.gqa.groups, self.gqa.d = self.heads * 2, self.heads, 8
        self.heads *= 2
        self.config = dict(num_attention_heads=self.heads, num_key_value_heads=self.gqa.groups,
                           head_dim=self.gqa.d, rope_theta=5000.0)

    def side_files(self):
        ranks = {str(i): {"kv_rank": r, "q_rank": self.q_rank} for i, r in enumerate(self.ranks)}
        return {
            "MLA_config.json": {"attn_layers": sorted(self.kept), "n_layer": self.layers},
            "mla_layer_config.json": {
                "kv_lora_rank": 16, "q_lora_rank": 24, "layer_rank_list": ranks,
                "qk_rope_head_dim": self.p, "qk_nope_head_dim": self.nope,
                "v_head_dim": self.v, "use_lora_layer_norm": False},
        }

    def layer_prefix(self, layer):
        return "self_attn." if layer in self.kept else "mla."

    def layer_shapes(self, layer):
        if layer in self.kept:
            return self.gqa.shapes()
        self.r = self.ranks[layer]
        shapes = self.shapes()
        shapes["out_proj.weight"] = shapes.pop("o_proj.weight")
        return shapes

    def row_width(self, layer):
        return 2 * self.gqa.groups * self.gqa.d if layer in self.kept else self.ranks[layer] + self.p

    def queries(self, x, w):
        return heads_of(x @ w["q_a_proj.weight"].T @ w["q_b_proj.weight"].T, self.heads)

    def mix(self, q, c, k_rope, up):
        out = []
        theta = 5000.0
        for h, kv in enumerate(heads_of(c @ up.T, self.heads)):
            query = np.concatenate([q[h][:, :self.nope], rope(q[h][:, self.nope:], theta, pairs=True)], 1)
            key = np.concatenate([kv[:, :self.nope], k_rope], 1)
            out.append(attend(query, key, kv[:, self.nope:], (self.nope + self.p)**-0.5))
        return joined(out)

    def latent(self, x, w):
        both = x @ w["kv_a_proj_with_mqa.weight"].T
        r = both.shape[1] - self.p
        return both[:, :r], rope(both[:, r:], 5000.0, pairs=True)

    def forward(self, x, w, shared):
        if "out_proj.weight" not in w:
            return self.gqa.forward(x, w, shared)
        return super().forward(x, w | {"o_proj.weight": w["out_proj.weight"]}, shared)


class EgMla(Mla):
    """2509.16686: keys and values are the latent's, gated by an embedding of the
    token and normalised. Over what the norm runs its summaries do not say: here,
    over all of a token's keys and values."""

    def draw(self, rng):
        super().draw(rng)
        self.gate = int(rng.integers(9, 17))
        self.config.update(attention_type="eg_mla", gate_embedding_dim=self.gate)

    def shapes(self):
        outputs = self.heads * (self.nope + self.v)
        return super().shapes() | {
            "gate_embedding.weight": (self.vocab, self.gate), "gate_b_proj.weight": (outputs, self.gate),
            "kv_b_layernorm.weight": (outputs,), "kv_b_layernorm.bias": (outputs,)}

    def forward(self, x, w, shared):
        c, k_rope = self.latent(x, w)
        gate = w["gate_embedding.weight"][shared["ids"]] @ w["gate_b_proj.weight"].T
        kv = layer_norm((c @ w["kv_b_proj.weight"].T) * gate, w["kv_b_layernorm.weight"],
                        w["kv_b_layernorm.bias"], 1e-5)
        # What is left is MLA whose latent is the keys and values themselves.
        mixed = self.mix(self.queries(x, w), kv, k_rope, np.eye(kv.shape[1]))
        return mixed @ w["o_proj.weight"].T


class Mtla(Mla):
    """2505.13544 in the form it is trained in: every token's own running sum over
    its chunk, and a mask that shows a query whole chunks and itself."""

    model_type = "llama-mtla"
    pairs = False
    stride = 2

    def draw(self, rng):
        super().draw(rng)
        self.r = 4 * int(rng.integers(5, 9))
        self.finish()
        self.tokens_per_row = self.stride
        self.config.update(q_lora_rank=self.q_rank, down_rate=self.stride)

    def shapes(self):
        head, low = self.nope + self.p, self.r // 4
        shapes = {"wkv_a.weight": (self.r + self.p, self.hidden),
                  "kv_norm.weight": (self.r,), "kv_norm.bias": (self.r,),
                  "wkv_b.weight": (self.heads * (self.nope + self.v), self.r),
                  "wo.weight": (self.hidden, self.heads * self.v)}
        for name in ("fc_c", "fc_p"):
            shapes |= {f"hypernet_down.{name}.weight": (low, self.r),
                       f"hypernet_down.{name}.bias": (low,)}
        if self.q_rank:
            shapes |= {"wq_a.weight": (self.q_rank, self.hidden), "q_norm.weight": (self.q_rank,),
                       "q_norm.bias": (self.q_rank,), "wq_b.weight": (self.heads * head, self.q_rank)}
        else:
            shapes["wq.weight"] = (self.heads * head, self.hidden)
        return shapes

    def forward(self, x, w, shared):
        tokens = len(x)
        if self.q_rank:
            latent = layer_norm(x @ w["wq_a.weight"].T, w["q_norm.weight"], w["q_norm.bias"], 1e-5)
            q = heads_of(latent @ w["wq_b.weight"].T, self.heads)
        else:
            q = heads_of(x @ w["wq.weight"].T, self.heads)
        both = x @ w["wkv_a.weight"].T
        c = layer_norm(both[:, :self.r], w["kv_norm.weight"], w["kv_norm.bias"], 1e-5)
        k_rope = rope(both[:, self.r:])
        position = np.arange(tokens)
        chunk = position // self.stride
        sinusoid = np.zeros((tokens, self.r))
        rate = np.exp(np.arange(0, self.r, 2) * (-np.log(10000.0) / self.r))
        sinusoid[:, 0::2] = np.sin(chunk[:, None] * rate)
        sinusoid[:, 1::2] = np.cos(chunk[:, None] * rate)
        hyper = {n: (w[f"hypernet_down.{n}.weight"], w[f"hypernet_down.{n}.bias"]) for n in ("fc_c", "fc_p")}
        of_chunk = sinusoid @ hyper["fc_c"][0].T + hyper["fc_c"][1]
        of_token = c @ hyper["fc_p"][0].T + hyper["fc_p"][1]
        same = (chunk[:, None] == chunk[None, :]) & (position[None, :] <= position[:, None])
        summed = (sigmoid(of_chunk @ of_token.T) * same) @ c
        visible = (position[None, :] <= position[:, None]) & (
            ((position[None, :] + 1) % self.stride == 0) | (position[None, :] == position[:, None]))
        out = []
        for h, kv in enumerate(heads_of(summed @ w["wkv_b.weight"].T, self.heads)):
            query = np.concatenate([q[h][:, :self.nope], rope(q[h][:, self.nope:])], 1)
            key = np.concatenate([kv[:, :self.nope], k_rope], 1)
            out.append(attend(query, key, kv[:, self.nope:], (self.nope + self.p)**-0.5, visible))
        return joined(out) @ w["wo.weight"].T


class Mtla3(Mtla):
    stride = 3


class Mha2Mla(System):
    """2502.14837: RoPE on some of a head's frequencies, everything else and the
    values through one latent, or one each."""

    version = "high"
    svd = "joint"
    bias = False

    def draw(self, rng):
        self.heads, self.groups, self.d, self.p = 6, 2, 16, 8
        self.low_rank = int(rng.integers(5, 12))
        self.rank = self.low_rank * self.groups
        self.width = self.rank * (2 if self.svd == "split" else 1) + self.groups * self.p
        mha2mla = dict(partial_rope_version=self.version, rope_dim_for_mla=self.p,
                       uniform_start_point=1, svd_init_method=self.svd, low_rank=self.low_rank,
                       is_baseline=False, is_gqa2mha2mla=False)
        if self.version == "2-norm":
            self.kept = [[sorted(int(i) for i in rng.choice(self.d // 2, self.p // 2, False))
                          for _ in range(self.groups)] for _ in range(self.layers)]
            mha2mla["rope_frequencies"] = self.kept
        self.config = dict(num_attention_heads=self.heads, num_key_value_heads=self.groups,
                           head_dim=self.d, rope_theta=10000.0, mha2mla=mha2mla)

    def shapes(self):
        rest = self.d - self.p
        shapes = {"q_proj.weight": (self.heads * self.d, self.hidden),
                  "k_r_proj.weight": (self.groups * self.p, self.hidden),
                  "kv_proj.up_k.weight": (self.groups * rest, self.rank),
                  "kv_proj.up_v.weight": (self.groups * self.d, self.rank),
                  "o_proj.weight": (self.hidden, self.heads * self.d)}
        for name in ("down_kv",) if self.svd == "joint" else ("down_k", "down_v"):
            shapes[f"kv_proj.{name}.weight"] = (self.rank, self.hidden)
        if self.bias:
            for name in ("q_proj", "k_r_proj", "kv_proj.up_k", "kv_proj.up_v"):
                shapes[f"{name}.bias"] = shapes[f"{name}.weight"][:1]
        return shapes

    def frequencies(self, layer, group):
        half, n = self.d // 2, self.p // 2
        kept = {"high": range(n), "low": range(half - n, half),
                "uniform": range(1, half, self.d // self.p)}.get(self.version)
        if kept is None:
            kept = self.kept[layer][group]
        return [10000.0 ** (-2 * i / self.d) for i in kept]

    def forward(self, x, w, shared):
        layer = shared["layer"]
        project = lambda name, y: y @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)
        q = project("q_proj", x)
        turning = heads_of(q[:, :self.heads * self.p], self.heads)
        still = heads_of(q[:, self.heads * self.p:], self.heads)
        k_turning = heads_of(project("k_r_proj", x), self.groups)
        if self.svd == "joint":
            down = [x @ w["kv_proj.down_kv.weight"].T] * 2
        else:
            down = [x @ w[f"kv_proj.down_{n}.weight"].T for n in "kv"]
        k_still = heads_of(project("kv_proj.up_k", down[0]), self.groups)
        v = heads_of(project("kv_proj.up_v", down[1]), self.groups)
        out = []
        for h in range(self.heads):
            g = h * self.groups // self.heads
            turn = self.frequencies(layer, g)
            query = np.concatenate([rope(turning[h], frequencies=turn), still[h]], 1)
            key = np.concatenate([rope(k_turning[g], frequencies=turn), k_still[g]], 1)
            out.append(attend(query, key, v[g], self.d**-0.5))
        return joined(out) @ w["o_proj.weight"].T


class Mha2MlaLow(Mha2Mla):
    version = "low"
    bias = True  # of a Qwen2 source
    model_type = "qwen2"


class Mha2MlaUniformSplit(Mha2Mla):
    version, svd = "uniform", "split"


class Mha2Mla2Norm(Mha2Mla):
    version = "2-norm"


# ---- what the MLRA authors trained (github.com/SongtaoLiu0823/MLRA); all say "gpt2" -----------


class MlraAuthors(System):
    model_type = "gpt2"
    prefix = "attn."
    slices = 1
    branches = 1

    def draw(self, rng):
        self.heads = 2 * int(rng.integers(2, 4))
        self.q_rank, self.r = int(rng.integers(15, 30)), 4 * int(rng.integers(5, 10))
        self.nope, self.p = int(rng.integers(7, 15)), 2 * int(rng.integers(3, 7))
        self.width = self.r + self.p
        self.config = dict(n_head=self.heads, q_lora_rank=self.q_rank, kv_lora_rank=self.r,
                           qk_nope_head_dim=self.nope, qk_rope_head_dim=self.p)

    def queries(self, x, w):
        latent = rms_norm(x @ w["q_a_proj.weight"].T, w["q_a_layernorm.weight"], 1e-6)
        q = latent * (self.hidden / self.q_rank)**0.5 @ w["q_b_proj.weight"].T
        return [np.concatenate([one[:, :self.nope], rope(one[:, self.nope:])], 1)
                for one in heads_of(q, self.heads)]

    def latents(self, x, w):
        """The normed slices and the rotated key."""
        both = x @ w["kv_a_proj_with_mqa.weight"].T
        size = self.r // self.slices
        scale = (self.hidden / size)**0.5
        slices = [rms_norm(both[:, i * size:(i + 1) * size], self.norm(w, i), 1e-6) * scale
                  for i in range(self.slices)]
        return slices, rope(both[:, self.r:])

    def common_shapes(self):
        return {"q_a_proj.weight": (self.q_rank, self.hidden), "q_a_layernorm.weight": (self.q_rank,),
                "q_b_proj.weight": (self.heads * (self.nope + self.p), self.q_rank),
                "kv_a_proj_with_mqa.weight": (self.r + self.p, self.hidden),
                "c_proj.weight": (self.hidden, self.heads * self.nope)}

    def head(self, query, kv, k_rope):
        key = np.concatenate([kv[:, :self.nope], k_rope], 1)
        return attend(query, key, kv[:, self.nope:], (self.nope + self.p)**-0.5)


class MlraMla(MlraAuthors):
    def shapes(self):
        return self.common_shapes() | {"kv_a_layernorm.weight": (self.r,),
                                       "kv_b_proj.weight": (self.heads * 2 * self.nope, self.r)}

    def norm(self, w, i):
        return w["kv_a_layernorm.weight"]

    def forward(self, x, w, shared):
        (c,), k_rope = self.latents(x, w)
        kv = heads_of(c @ w["kv_b_proj.weight"].T, self.heads)
        out = joined(self.head(q, kv[h], k_rope) for h, q in enumerate(self.queries(x, w)))
        return out @ w["c_proj.weight"].T


class Gla2(MlraAuthors):
    """2505.21487: latent halves with norms of their own, each for half the heads."""

    slices = 2

    def shapes(self):
        half = self.r // 2
        shapes = self.common_shapes()
        for i in (1, 2):
            shapes |= {f"kv_a_layernorm_{i}.weight": (half,),
                       f"kv_b_proj_{i}.weight": (self.heads * self.nope, half)}
        return shapes

    def norm(self, w, i):
        return w[f"kv_a_layernorm_{i + 1}.weight"]

    def forward(self, x, w, shared):
        slices, k_rope = self.latents(x, w)
        kv = np.concatenate([heads_of(c @ w[f"kv_b_proj_{i + 1}.weight"].T, self.heads // 2)
                             for i, c in enumerate(slices)])
        out = joined(self.head(q, kv[h], k_rope) for h, q in enumerate(self.queries(x, w)))
        return out @ w["c_proj.weight"].T


class Mlra4(MlraAuthors):
    """2603.02188: four slices, a softmax over each, outputs summed and halved."""

    slices = 4
    heads_per_slice = 1  # of all

    def shapes(self):
        size = self.r // 4
        heads = self.heads // self.heads_per_slice
        shapes = self.common_shapes() | {"kv_b_proj": (4, size, heads * 2 * self.nope)}
        return shapes | {f"kv_a_layernorms.{i}.weight": (size,) for i in range(4)}

    def norm(self, w, i):
        return w[f"kv_a_layernorms.{i}.weight"]

    def branches_of(self, x, w):
        """[branch][head] keys and values."""
        slices, k_rope = self.latents(x, w)
        kv = [heads_of(c @ w["kv_b_proj"][i], self.heads // self.heads_per_slice)
              for i, c in enumerate(slices)]
        return kv, k_rope

    def forward(self, x, w, shared):
        kv, k_rope = self.branches_of(x, w)
        queries = self.queries(x, w)
        y = sum(joined(self.head(q, branch[h], k_rope) for h, q in enumerate(queries))
                for branch in kv) / len(kv)**0.5
        return y @ w["c_proj.weight"].T


class Mlra2(Mlra4):
    """Two branches; in each, a slice for either half of the heads."""

    heads_per_slice = 2

    def branches_of(self, x, w):
        kv, k_rope = super().branches_of(x, w)
        return [np.concatenate(kv[:2]), np.concatenate(kv[2:])], k_rope


class Gta(System):
    """2505.21487: the value is one tied vector; its first half, and a rope key
    that all heads share, are the key."""

    model_type = "gpt2"
    prefix = "attn."

    def draw(self, rng):
        self.groups, self.size = 2, int(rng.integers(2, 4))
        self.heads = self.groups * self.size
        self.d = 4 * int(rng.integers(3, 7))
        self.p = self.d // 2
        self.width = self.groups * self.d + self.p
        self.config = dict(n_head=self.heads, group_size=self.size, head_dim=self.d)

    def shapes(self):
        return {"c_q.weight": (self.heads * self.d, self.hidden),
                "kv_proj.weight": (self.groups * self.d, self.hidden),
                "W_rope_k.weight": (self.p, self.hidden), "W_rope_k.bias": (self.p,),
                "c_proj.weight": (self.hidden, self.heads * self.d)}

    def forward(self, x, w, shared):
        still = self.d - self.p
        k_rope = rope(x @ w["W_rope_k.weight"].T + w["W_rope_k.bias"])
        tied = heads_of(x @ w["kv_proj.weight"].T, self.groups)
        out = []
        for h, q in enumerate(heads_of(x @ w["c_q.weight"].T, self.heads)):
            v = tied[h // self.size]
            query = np.concatenate([q[:, :still], rope(q[:, still:])], 1)
            out.append(attend(query, np.concatenate([v[:, :still], k_rope], 1), v, self.d**-0.5))
        return joined(out) @ w["c_proj.weight"].T


class Mfa(System):
    """2412.19255: queries through a shared latent, one wide key and value."""

    model_type = "gpt2"
    prefix = "attn."

    def draw(self, rng):
        self.heads, self.c, self.q = int(rng.integers(3, 6)), 2 * int(rng.integers(9, 20)), 23
        self.width = 2 * self.c
        self.config = dict(n_head=self.heads, share_q_dim=self.q, head_dim=self.c)

    def shapes(self):
        return {"c_q.weight": (self.q, self.hidden), "q_layernorm.weight": (self.q,),
                "w_q.weight": (self.heads * self.c, self.q), "c_k.weight": (self.c, self.hidden),
                "c_v.weight": (self.c, self.hidden),
                "c_proj.weight": (self.hidden, self.heads * self.c)}

    def values(self, x, w):
        return x @ w["c_v.weight"].T

    def forward(self, x, w, shared):
        q = rms_norm(x @ w["c_q.weight"].T, w["q_layernorm.weight"], 1e-6) @ w["w_q.weight"].T
        k, v = rope(x @ w["c_k.weight"].T), self.values(x, w)
        return joined(attend(rope(one), k, v, self.c**-0.5)
                      for one in heads_of(q, self.heads)) @ w["c_proj.weight"].T


class MfaKr(Mfa):
    """2412.19255, key reuse: S_v = (1 + diag(alpha) N) S_k."""

    model_type = "llama"
    prefix = "self_attn."

    def draw(self, rng):
        super().draw(rng)
        self.width = self.c
        self.config = dict(attention_type="mfa_kr", num_attention_heads=self.heads,
                           share_q_dim=self.q, head_dim=self.c, rms_norm_eps=1e-6)

    def shapes(self):
        shapes = super().shapes() | {"value_map.weight": (self.c, self.c), "value_scale": (self.c,)}
        del shapes["c_v.weight"]
        return shapes

    def values(self, x, w):
        s_k = w["c_k.weight"]
        s_v = s_k + w["value_scale"][:, None] * (w["value_map.weight"] @ s_k)
        return x @ s_v.T


class Tucker(System):
    """2603.30033: queries, keys and values of low rank, mixed by cores per head.
    RoPE turns the key's latent; the paper's own placement was not readable."""

    def draw(self, rng):
        self.heads, self.d, self.q = 5, 14, 19
        self.k, self.v = 2 * int(rng.integers(7, 13)), int(rng.integers(11, 23))
        self.width = self.k + self.v
        self.config = dict(attention_type="tucker", num_attention_heads=self.heads, head_dim=self.d,
                           q_rank=self.q, k_rank=self.k, v_rank=self.v)

    def shapes(self):
        return {"c_q.weight": (self.q, self.hidden), "w_q.weight": (self.heads * self.k, self.q),
                "c_k.weight": (self.k, self.hidden), "c_v.weight": (self.v, self.hidden),
                "v_core.weight": (self.heads * self.d, self.v),
                "o_proj.weight": (self.hidden, self.heads * self.d)}

    def forward(self, x, w, shared):
        q = heads_of(x @ w["c_q.weight"].T @ w["w_q.weight"].T, self.heads)
        k = rope(x @ w["c_k.weight"].T)
        v = heads_of(x @ w["c_v.weight"].T @ w["v_core.weight"].T, self.heads)
        return joined(attend(rope(q[h]), k, v[h], self.d**-0.5)
                      for h in range(self.heads)) @ w["o_proj.weight"].T


# ---- low-rank keys that are rotated after they are rebuilt -------------------------------------


class Lorc(System):
    """2410.03111: truncated factors of W_k and W_v, of a rank per layer."""

    def draw(self, rng):
        self.heads, self.groups, self.d = 6, 3, 12
        self.k = [int(r) for r in rng.integers(7, 20, self.layers)]
        self.v = [int(r) for r in rng.integers(7, 20, self.layers)]
        self.config = dict(attention_type="lorc", num_attention_heads=self.heads, head_dim=self.d,
                           num_key_value_heads=self.groups, k_rank=self.k, v_rank=self.v)

    def row_width(self, layer):
        return self.k[layer] + self.v[layer]

    def layer_shapes(self, layer):
        k, v = self.k[layer], self.v[layer]
        return {"q_proj.weight": (self.heads * self.d, self.hidden),
                "k_a_proj.weight": (k, self.hidden), "k_b_proj.weight": (self.groups * self.d, k),
                "v_a_proj.weight": (v, self.hidden), "v_b_proj.weight": (self.groups * self.d, v),
                "o_proj.weight": (self.hidden, self.heads * self.d)}

    def forward(self, x, w, shared):
        q = heads_of(x @ w["q_proj.weight"].T, self.heads)
        k = heads_of(x @ (w["k_b_proj.weight"] @ w["k_a_proj.weight"]).T, self.groups)
        v = heads_of(x @ (w["v_b_proj.weight"] @ w["v_a_proj.weight"]).T, self.groups)
        of = lambda h: h * self.groups // self.heads
        return joined(attend(rope(q[h]), rope(k[of(h)]), v[of(h)], self.d**-0.5)
                      for h in range(self.heads)) @ w["o_proj.weight"].T


class Lrkv(System):
    """2601.11471: a key and a value for all heads, and low-rank residuals of each.
    RoPE turns the sum; the paper's own placement was not readable."""

    def draw(self, rng):
        self.heads, self.d, self.rank = 4, 12, int(rng.integers(3, 7))
        self.width = 2 * self.d + 2 * self.heads * self.rank
        self.config = dict(attention_type="lrkv", num_attention_heads=self.heads, head_dim=self.d,
                           kv_residual_rank=self.rank)

    def shapes(self):
        h, d, r = self.heads, self.d, self.rank
        shapes = {"q_proj.weight": (h * d, self.hidden), "o_proj.weight": (self.hidden, h * d)}
        for p in "kv":
            shapes |= {f"{p}_proj.weight": (d, self.hidden), f"{p}_a_proj.weight": (h * r, self.hidden),
                       f"{p}_b_proj.weight": (h * d, r)}
        return shapes

    def heads_of_kind(self, x, w, p):
        shared = x @ w[f"{p}_proj.weight"].T
        residual = heads_of(x @ w[f"{p}_a_proj.weight"].T, self.heads)
        b = w[f"{p}_b_proj.weight"].reshape(self.heads, self.d, self.rank)
        return [shared + residual[h] @ b[h].T for h in range(self.heads)]

    def forward(self, x, w, shared):
        q = heads_of(x @ w["q_proj.weight"].T, self.heads)
        k, v = self.heads_of_kind(x, w, "k"), self.heads_of_kind(x, w, "v")
        return joined(attend(rope(q[h]), rope(k[h]), v[h], self.d**-0.5)
                      for h in range(self.heads)) @ w["o_proj.weight"].T


SYSTEMS = {
    "mha": Mha, "gqa": Gqa, "mqa": Mqa, "sqa": Sqa, "effkv": EffKv, "qcqa": Qcqa, "cla": Cla,
    "kha_linear": KhaLinear, "kha_mlp": KhaMlp, "moas": Moas,
    "mla": Mla, "mla_moe_v2": MlaMoeV2, "mla_moe_v3": MlaMoeV3,
    "transmla_single_latent": TransMlaSingle, "transmla": TransMla,
    "transmla_mixtral": TransMlaMixtral,
    "care": Care, "clla": Clla, "eg_mla": EgMla, "x_ecomla": XEcoMla,
    "mtla_2": Mtla, "mtla_3": Mtla3,
    "mha2mla_high": Mha2Mla, "mha2mla_low_qwen2": Mha2MlaLow,
    "mha2mla_uniform_split": Mha2MlaUniformSplit, "mha2mla_2norm": Mha2Mla2Norm,
    "mlra_mla": MlraMla, "gla_2": Gla2, "mlra_2": Mlra2, "mlra_4": Mlra4, "gta": Gta, "mfa": Mfa,
    "mfa_kr": MfaKr, "tucker": Tucker, "lorc": Lorc, "lrkv": Lrkv,
}
