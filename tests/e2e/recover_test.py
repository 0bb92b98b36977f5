"""docs/recover.py on a tiny model: what it writes is nearer to the source, by logits that
it has no part in, and costs as much cache as what it came from."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

import convert_test
import server_process
from convert_test import TEXT, WINDOW, converted

SCRIPT = server_process.ROOT / "docs/recover.py"
RANK, ROPE = 72, 32  # of the source's 128: what is lost is a part, not all
STEPS = 96


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


@torch.no_grad()
def stock_logits(folder, ids):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model(torch.tensor([ids])).logits[0].double().numpy()


def divergence(folder, layout, ids):
    """KL(source || folder), a token's mean, over the windows that were trained on."""
    return np.mean([divergence_of(folder, layout, ids[i:i + WINDOW]) for i in range(0, len(ids), WINDOW)])


def divergence_of(folder, layout, ids):
    if layout == "deepseek_v3":
        ours = stock_logits(folder, ids)
    else:
        config = json.loads((folder / "config.json").read_text())
        tensors = {}
        for file in folder.glob("*.safetensors"):
            tensors |= convert_test.load_file(file)
        ours = convert_test.logits(config, tensors, ids)
    theirs = log_softmax(stock_logits(server_process.model_folder("qwen2"), ids))
    return (np.exp(theirs) * (theirs - log_softmax(ours))).sum(-1).mean()


@pytest.mark.parametrize("layout,freqfold", [("deepseek_v3", 2), ("extended", 0)])
def test_it_wins_back_what_the_conversion_lost(layout, freqfold, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    method = f"sequential:kv_lora_rank={RANK},qk_rope_head_dim={ROPE},freqfold={freqfold}"
    converted("qwen2", before, method, "--layout", layout)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(server_process.model_folder("qwen2")), str(before), str(after),
         str(TEXT), "--steps", str(STEPS), "--window", str(WINDOW)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"step {STEPS} of {STEPS}" in done.stdout
    ids = Tokenizer.from_file(str(before / "tokenizer.json")).encode(
        TEXT.read_text(), add_special_tokens=False).ids[:4 * WINDOW]
    assert divergence(after, layout, ids) < 0.8 * divergence(before, layout, ids)
    shown = subprocess.run([server_process.BINARY, "inspect", str(after), "--json"],
                           capture_output=True, text=True)
    assert json.loads(shown.stdout)["attention"]["row_width"] == RANK + ROPE
    # It serves as it is: the tokenizer and the rest have come along.
    scored = subprocess.run(
        [server_process.BINARY, "perplexity", "--model", str(after), "--text", str(TEXT),
         "--windows", "1", "--window-tokens", str(WINDOW), "--json"], capture_output=True, text=True)
    assert scored.returncode == 0, scored.stderr
    shutil.rmtree(tmp_path)
