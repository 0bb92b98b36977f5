"""Perplexities of SmolLM2 after LoRC, QCQA and EffKV, by torch on transformers' own Llama whose
keys, queries and values are replaced: rows of tests/golden/conversion/measured.json.

    python tests/oracles/fewer_heads.py FOLDER tests/golden/conversion/windows.json

FOLDER: what `mlaserve convert --method exact` makes of the GGUF file.
"""

import json
import math
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM


def perplexities(model, windows):
    found = {}
    for name in ("ev", "ood"):
        nll = []
        for window in windows[name]:
            ids = torch.tensor([window])
            with torch.no_grad():
                nll.append(model(ids, labels=ids).loss.item())
        found[name] = round(math.exp(sum(nll) / len(nll)), 4)
    return found


def lorc(model, mean):
    """2410.03111: SVD of W_K and W_V, ranks by the cumulative condition numbers."""
    attentions = [layer.self_attn for layer in model.model.layers]
    weights = [[p.weight.detach().double() for p in (a.k_proj, a.v_proj)] for a in attentions]
    logs = []
    for pair in weights:
        spectra = [torch.linalg.svdvals(w) for w in pair]
        logs.append(sum(math.log(s[0] / s[-1]) for s in spectra))
    cumulative = [sum(logs[i:]) for i in range(len(logs))]
    most = 2 * weights[0][0].shape[0]
    share = [(c - cumulative[-1]) / (cumulative[0] - cumulative[-1]) for c in cumulative]
    of_all = sum(share) / len(share)
    low = mean / 2
    high = low + (mean - low) / of_all
    if high > most:
        low, high = (mean - of_all * most) / (1 - of_all), most
    for a, pair, s in zip(attentions, weights, share):
        size = int(low + (high - low) * s + 1e-9)
        for p, w, rank in ((a.k_proj, pair[0], size // 2), (a.v_proj, pair[1], size - size // 2)):
            u, s_, v = torch.linalg.svd(w, full_matrices=False)
            p.weight.data = ((u[:, :rank] * s_[:rank]) @ v[:rank]).float()


def qcqa(model):
    """2406.10247 down to one KV head: the mean of all, given to each."""
    heads = model.config.num_key_value_heads
    for layer in model.model.layers:
        for p in (layer.self_attn.k_proj, layer.self_attn.v_proj):
            w = p.weight.view(heads, -1, p.weight.shape[1])
            p.weight.data = w.mean(0, keepdim=True).expand(heads, -1, -1).reshape(p.weight.shape)


def effkv(model, windows):
    """2406.07056 down to one KV head: values on their top head_dim directions; of every frequency's
    keys, seen as complex numbers, one direction. What each head reads is put back in its place."""
    heads, d = model.config.num_key_value_heads, model.config.head_dim
    inputs = [[] for _ in model.model.layers]
    hooks = [layer.input_layernorm.register_forward_hook(
        lambda module, args, out, kept=kept: kept.append(out[0].double()))
        for layer, kept in zip(model.model.layers, inputs)]
    with torch.no_grad():
        for window in windows:
            model(torch.tensor([window]))
    for hook in hooks:
        hook.remove()
    for layer, kept in zip(model.model.layers, inputs):
        y = torch.cat(kept)
        a = layer.self_attn
        v = y @ a.v_proj.weight.detach().double().T
        top = torch.linalg.svd(v, full_matrices=False)[2][:d]
        a.v_proj.weight.data = (top.T @ top @ a.v_proj.weight.detach().double()).float()
        k = a.k_proj.weight.detach().double().view(heads, 2, d // 2, -1)
        k = torch.complex(k[:, 0], k[:, 1])  # [heads, d / 2, hidden]
        for f in range(d // 2):
            z = y.to(k.dtype) @ k[:, f].T  # [tokens, heads]
            row = torch.linalg.svd(z, full_matrices=False)[2][:1]  # z is nearly (z row*) row
            k[:, f] = row.T @ row.conj() @ k[:, f]
        a.k_proj.weight.data = torch.stack([k.real, k.imag], 1).reshape(heads * d, -1).float()


def main():
    folder, windows = sys.argv[1], json.loads(pathlib.Path(sys.argv[2]).read_text())
    torch.set_num_threads(2)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    saved = {k: v.clone() for k, v in model.state_dict().items()}
    cases = {"lorc:kv_lora_rank=300": lambda: lorc(model, 300),
             "lorc:ratio=0.5": lambda: lorc(model, 192),
             "qcqa:kv_heads=1": lambda: qcqa(model),
             "effkv:kv_heads=1": lambda: effkv(model, windows["calibration_prose8"])}
    for method, change in cases.items():
        model.load_state_dict(saved)
        change()
        print(json.dumps(dict(calibration="calibration_prose8", method=method, **perplexities(model, windows))))


if __name__ == "__main__":
    main()
