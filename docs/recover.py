"""Wins back what a conversion lost: distils the source model into the converted one.

    python recover.py SOURCE CONVERTED OUT TEXT... [--steps 50]

SOURCE     the Hugging Face folder that was converted; of a GGUF file,
           `mlaserve convert --method exact` makes one
CONVERTED  what `mlaserve convert` made of it, in either layout
OUT        the folder to write: serve it as the one it came from
TEXT       UTF-8 files like those that the model will serve

Needs torch and transformers, no GPU. Only attention is trained, towards the source's
probabilities of every next token. The rest is frozen, and with it a stock folder's
constant lane, so that it still needs no cache.
"""

import argparse
import json
import pathlib
import shutil
import time

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, DeepseekV3Config, DeepseekV3ForCausalLM
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention

RATE = 1.5e-3  # of a row's rms, a step
BETAS = (0.9, 0.98)
WARM_UP = 10  # steps
CHUNK = 256  # rows of logits at a time


def load_converted(folder, config, tensors):
    if config["model_type"] == "deepseek_v3":
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    # mlaserve's own layout: ranks and frequencies for each layer, no latent norm.
    layers = config["num_hidden_layers"]
    at = lambda field, i: config[field][i] if isinstance(config[field], list) else config[field]
    shapes = [dict(kv_lora_rank=at("kv_lora_rank", i), qk_rope_head_dim=at("qk_rope_head_dim", i))
              for i in range(layers)]
    fields = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "rms_norm_eps",
              "num_attention_heads", "qk_nope_head_dim", "v_head_dim", "max_position_embeddings",
              "tie_word_embeddings")
    own = [DeepseekV3Config(**{f: config[f] for f in fields}, **shape, q_lora_rank=None,
                            num_key_value_heads=config["num_attention_heads"], attention_bias=True,
                            rope_interleave=False, first_k_dense_replace=layers,
                            num_nextn_predict_layers=0, attn_implementation="sdpa") for shape in shapes]
    model = DeepseekV3ForCausalLM(own[0])
    for i, layer in enumerate(model.model.layers):
        layer.self_attn = DeepseekV3Attention(own[i], i)
        layer.self_attn.kv_a_layernorm = torch.nn.Identity()
        q = layer.self_attn.q_proj
        layer.self_attn.q_proj = torch.nn.Linear(q.in_features, q.out_features)
        turn_by(layer.self_attn, torch.tensor(config["rope_inv_freq"][i]))
    for name, parameter in model.named_parameters():  # biases that the file lacks are zero
        if name.endswith(".bias"):
            torch.nn.init.zeros_(parameter)
    unknown = model.load_state_dict(tensors, strict=False).unexpected_keys
    assert not unknown, unknown
    model.tie_weights()
    return model


def turn_by(attention, inv_freq):
    forward = attention.forward

    def turned(hidden_states, position_embeddings, **others):
        angles = torch.outer(torch.arange(hidden_states.shape[1]), inv_freq).repeat(1, 2)[None]
        return forward(hidden_states, position_embeddings=(angles.cos(), angles.sin()), **others)

    attention.forward = turned


def choose_trained(model):
    """Attention's matrices; not what undoes the norm of a query latent."""
    trained = []
    for name, p in model.named_parameters():
        p.requires_grad_(".self_attn." in name and p.dim() == 2 and "q_a_proj" not in name)
        if p.requires_grad:
            trained.append(p)
        elif p.dim() == 2:
            p.data = p.data.to(torch.bfloat16)  # frozen: no need for more
    return trained


class RowAdam:
    """Adam whose rate counts in each row's rms, which differ 100-fold within a matrix.
    Rows of zeros, as a constant lane's, stay what they are."""

    def __init__(self, parameters):
        self.steps = 0
        self.state = [(p, p.detach().square().mean(1, keepdim=True).sqrt(),
                       torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]

    @torch.no_grad()
    def step(self, rate):
        self.steps += 1
        for p, rms, mean, square in self.state:
            mean.lerp_(p.grad, 1 - BETAS[0])
            square.lerp_(p.grad.square(), 1 - BETAS[1])
            deviation = (square / (1 - BETAS[1] ** self.steps)).sqrt_().add_(1e-12)
            p -= mean / deviation * (rms * rate / (1 - BETAS[0] ** self.steps))
            p.grad = None


class Divergence(torch.autograd.Function):
    """Mean KL(source || ours) over tokens, a chunk of logits at a time."""

    @staticmethod
    def forward(ctx, ours, theirs, our_head, their_head):
        total, gradient = 0.0, torch.empty_like(ours)
        for i in range(0, len(ours), CHUNK):
            q = (ours[i:i + CHUNK].bfloat16() @ our_head.T).float().log_softmax(-1)
            p = (theirs[i:i + CHUNK] @ their_head.T).float().log_softmax(-1)
            weights = p.exp()
            total += (weights * (p - q)).sum()
            gradient[i:i + CHUNK] = (q.exp_() - weights).bfloat16() @ our_head
        ctx.save_for_backward(gradient / len(ours))
        return total / len(ours)

    @staticmethod
    def backward(ctx, upstream):
        return ctx.saved_tensors[0] * upstream, None, None, None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("converted", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("text", nargs="+", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=2, help="windows a step")
    parser.add_argument("--window", type=int, default=512, help="tokens")
    a = parser.parse_args()
    torch.manual_seed(0)

    config = json.loads((a.converted / "config.json").read_text())
    tensors = {}
    for file in sorted(a.converted.glob("*.safetensors")):
        tensors |= load_file(file)
    source = AutoModelForCausalLM.from_pretrained(a.source, dtype=torch.bfloat16)
    model = load_converted(a.converted, config, tensors)
    their_head, our_head = source.lm_head.weight, model.lm_head.weight.detach().bfloat16()
    trained = choose_trained(model)
    optimizer = RowAdam(trained)

    tokenizer = AutoTokenizer.from_pretrained(a.converted)
    windows = []
    for text in a.text:
        ids = tokenizer(text.read_text(), add_special_tokens=False, verbose=False).input_ids
        windows += [ids[i:i + a.window] for i in range(0, len(ids) - a.window + 1, a.window)]
    if len(windows) < a.batch:
        parser.error(f"the texts have {len(windows)} windows of {a.window} tokens")
    order = torch.randperm(len(windows))
    if a.steps * a.batch > len(windows):
        print(f"{a.steps} steps read each of {len(windows)} windows more than once")

    start = time.time()
    for step in range(a.steps):
        cosine = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / a.steps)).item())
        rate = RATE * min(1, (step + 1) / WARM_UP) * (0.05 + 0.95 * cosine)
        chosen = order[torch.arange(step * a.batch, (step + 1) * a.batch) % len(order)]
        ids = torch.tensor([windows[i] for i in chosen])
        with torch.no_grad():
            theirs = source.model(ids, use_cache=False).last_hidden_state
        with torch.autocast("cpu", torch.bfloat16):
            ours = model.model(ids, use_cache=False).last_hidden_state
        loss = Divergence.apply(ours.float().flatten(0, 1), theirs.flatten(0, 1), our_head, their_head)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step(rate)
        print(f"step {step + 1} of {a.steps}: divergence {loss.item():.3f} nats, "
              f"{time.time() - start:.0f} s", flush=True)

    a.out.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    save_file({n: state[n].to(t.dtype).clone() for n, t in tensors.items()},
              a.out / "model.safetensors", metadata={"format": "pt"})
    for file in a.converted.glob("*.json*"):
        if file.name not in ("model.safetensors.index.json", "conversion.json"):
            shutil.copy(file, a.out)


if __name__ == "__main__":
    main()
