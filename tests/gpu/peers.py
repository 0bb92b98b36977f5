#!/usr/bin/env python3
"""The same decode attention by others, those that are installed: FlashMLA, FlashInfer and
PyTorch, timed by events as gpu_bench times ours. Prints Markdown rows under the same
heading; says of each that is not here that it is not.
"""

import importlib.util
import sys

CASES = [(heads, batch, tokens) for heads in (16, 64, 128) for batch in (1, 16, 128)
         for tokens in (4096, 32768) if batch * tokens <= 128 * 8192]
LATENT, ROPE = 512, 64
CALLS = 50


def timed(torch, call):
    """Seconds of one call."""
    call()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(CALLS):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3 / CALLS


def row(name, heads, batch, tokens, seconds):
    width = LATENT + ROPE
    moved = batch * tokens * width * 2 + batch * heads * (width * 2 + LATENT * 2)
    flops = 2.0 * batch * heads * tokens * (width + LATENT)
    print(f"| {name}, {heads} heads, {batch} x {tokens} | {seconds * 1e6:.1f} | "
          f"{moved / seconds / 1e9:.0f} | {flops / seconds / 1e12:.1f} | | |")


def pytorch(torch, heads, batch, tokens):
    q = torch.randn(batch, heads, 1, LATENT + ROPE, device="cuda", dtype=torch.bfloat16)
    kv = torch.randn(batch, 1, tokens, LATENT + ROPE, device="cuda", dtype=torch.bfloat16)
    v = kv[..., :LATENT]
    return lambda: torch.nn.functional.scaled_dot_product_attention(q, kv, v, enable_gqa=True)


def flash_mla(torch, heads, batch, tokens):
    import flash_mla as package
    q = torch.randn(batch, 1, heads, LATENT + ROPE, device="cuda", dtype=torch.bfloat16)
    blocks = tokens // 64
    cache = torch.randn(batch * blocks, 64, 1, LATENT + ROPE, device="cuda", dtype=torch.bfloat16)
    table = torch.arange(batch * blocks, device="cuda", dtype=torch.int32).view(batch, blocks)
    lengths = torch.full((batch,), tokens, device="cuda", dtype=torch.int32)
    metadata, splits = package.get_mla_metadata(lengths, heads, 1)
    return lambda: package.flash_mla_with_kvcache(q, cache, table, lengths, LATENT, metadata, splits,
                                                  causal=True)


def flashinfer(torch, heads, batch, tokens):
    from flashinfer.mla import BatchMLAPagedAttentionWrapper
    workspace = torch.empty(128 << 20, device="cuda", dtype=torch.int8)
    wrapper = BatchMLAPagedAttentionWrapper(workspace)
    blocks = tokens // 64
    ids = torch.arange(batch + 1, device="cuda", dtype=torch.int32)
    wrapper.plan(ids, ids * blocks,
                 torch.arange(batch * blocks, device="cuda", dtype=torch.int32),
                 torch.full((batch,), tokens, device="cuda", dtype=torch.int32), heads, LATENT, ROPE,
                 64, False, (128 + ROPE) ** -0.5, torch.bfloat16, torch.bfloat16)
    q, q_rope = (torch.randn(batch, heads, n, device="cuda", dtype=torch.bfloat16)
                 for n in (LATENT, ROPE))
    c, k_rope = (torch.randn(batch * blocks, 64, n, device="cuda", dtype=torch.bfloat16)
                 for n in (LATENT, ROPE))
    return lambda: wrapper.run(q, q_rope, c, k_rope)


def main():
    if importlib.util.find_spec("torch") is None:
        print("Peers: PyTorch is not here, and the others need it.")
        return
    import torch
    if not torch.cuda.is_available():
        print("Peers: PyTorch sees no GPU.")
        return
    print("| peer | us | GB/s | TFLOP/s | | |\n|---|---:|---:|---:|---|---|")
    for name, package, make in (("FlashMLA", "flash_mla", flash_mla),
                                ("FlashInfer", "flashinfer", flashinfer),
                                ("PyTorch SDPA", "torch", pytorch)):
        if importlib.util.find_spec(package) is None:
            print(f"| {name} | not here | | | | |")
            continue
        for case in CASES:
            try:
                row(name, *case, timed(torch, make(torch, *case)))
            except Exception as error:  # a peer's limits are not ours
                print(f"| {name}, {case}: {str(error).splitlines()[0][:80]} | | | | | |")
            torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
