#!/usr/bin/env python3
"""The same work for PyPI's openvino-genai, which is timed with and without generated
tokens. Prints
{"prefill": tokens a second, "decode": tokens a second}.

    openvino_bench.py MODEL.gguf THREADS PROMPT_TOKENS GENERATE_TOKENS SEQUENCES
"""

import json
import sys
import time

import numpy
import openvino
import openvino_genai


def main():
    model, *numbers = sys.argv[1:]
    threads, prompt, generate, sequences = map(int, numbers)
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = 2  # GB
    scheduler.max_num_seqs = max(sequences, 1)
    scheduler.enable_prefix_caching = False
    pipeline = openvino_genai.LLMPipeline(
        model, "CPU", scheduler_config=scheduler, INFERENCE_NUM_THREADS=threads)
    random = numpy.random.default_rng(1)
    words = pipeline.get_tokenizer()

    def seconds(generated):
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos = generated, True
        ids = random.integers(100, 40000, (sequences, prompt))
        inputs, tokens = openvino.Tensor(ids), prompt
        if sequences > 1:  # batches are of texts only
            inputs = [words.decode(row.tolist()) for row in ids]
            tokens = sum(words.encode(text).input_ids.shape[1] for text in inputs)
        start = time.perf_counter()
        pipeline.generate(inputs, config)
        return time.perf_counter() - start, tokens

    seconds(2)  # compiles
    first, tokens = seconds(1)
    whole, _ = seconds(generate)
    print(json.dumps({"prefill": tokens / first,
                      "decode": sequences * (generate - 1) / (whole - first)}))


if __name__ == "__main__":
    main()
