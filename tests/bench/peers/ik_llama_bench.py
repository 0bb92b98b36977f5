#!/usr/bin/env python3
"""What llama-batched-bench does, over the library of PyPI's ik-llama-cpp-python, which
carries no benchmark: prompts of N sequences, then a token of each at a time. Prints
{"prefill": tokens a second, "decode": tokens a second}.

    ik_llama_bench.py MODEL.gguf THREADS PROMPT_TOKENS GENERATE_TOKENS SEQUENCES
"""

import json
import random
import sys
import time

from ik_llama_cpp import _ctypes_api as C

UBATCH = 512


def decode(context, tokens):
    """tokens: (sequence, position, wants logits)."""
    batch = C.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, (sequence, position, logits) in enumerate(tokens):
        batch.token[i] = random.randrange(100, 40000)
        batch.pos[i] = position
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = sequence
        batch.logits[i] = logits
    result = C.llama_decode(context, batch)
    C.llama_batch_free(batch)
    if result != 0:
        raise RuntimeError(f"llama_decode: {result}")


def main():
    model_path, *numbers = sys.argv[1:]
    threads, prompt, generate, sequences = map(int, numbers)
    C.llama_backend_init()
    model = C.llama_model_load_from_file(model_path.encode(), C.llama_model_default_params())
    params = C.llama_context_default_params()
    params.n_ctx = sequences * (prompt + generate + 8)
    params.n_batch = params.n_ubatch = UBATCH
    params.n_seq_max = sequences
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn = True
    context = C.llama_init_from_model(model, params)
    decode(context, [(0, i, 0) for i in range(16)])  # touches the weights
    C.llama_kv_cache_clear(context)
    tokens = [(s, p, p == prompt - 1) for s in range(sequences) for p in range(prompt)]
    start = time.perf_counter()
    for first in range(0, len(tokens), UBATCH):
        decode(context, tokens[first:first + UBATCH])
    filled = time.perf_counter()
    for position in range(prompt, prompt + generate):
        decode(context, [(s, position, 1) for s in range(sequences)])
    end = time.perf_counter()
    print(json.dumps({"prefill": sequences * prompt / (filled - start),
                      "decode": sequences * generate / (end - filled)}))


if __name__ == "__main__":
    main()
