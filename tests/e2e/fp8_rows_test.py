"""Cache rows in fp8, from the flag to the logits: against numpy decoders whose rows are
rounded by PyTorch's float8_e4m3fn, and served, where /metrics has their bytes."""

import concurrent.futures
import json
import math
import subprocess
import sys

import grpc
import numpy as np
import pytest
import torch

import server_process
from generate_test import greedy, read_stream, safe_prefix

sys.path.insert(0, str(server_process.ROOT / "tests/oracles"))
from decoder import GREEDY_TOKENS, Decoder  # noqa: E402
from numerics import attend, joined, rope  # noqa: E402
from systems import SYSTEMS, Gqa, Mla  # noqa: E402

GROUP = 128


def rounded(rows):
    """Every 128 elements of [tokens, width] by the smallest power of two that keeps the
    largest within 448, to e4m3 and back."""
    out = np.empty_like(rows)
    for first in range(0, rows.shape[1], GROUP):
        part = rows[:, first:first + GROUP]
        scale = 2.0 ** np.ceil(np.log2(np.abs(part).max(1, keepdims=True) / 448))
        codes = torch.from_numpy((part / scale).astype(np.float32)).to(torch.float8_e4m3fn)
        out[:, first:first + GROUP] = codes.to(torch.float64).numpy() * scale
    return out


def bf16(x):
    return torch.from_numpy(x.astype(np.float32)).to(torch.bfloat16).to(torch.float64).numpy()


class Fp8Mla(Mla):
    def draw(self, rng):
        super().draw(rng)
        self.r = 150  # two scales
        self.finish()

    def latent(self, x, w):
        c, k_rope = super().latent(x, w)
        return rounded(c), bf16(k_rope)


class Fp8Gqa(Gqa):
    def mix(self, q, k, v):
        row = []
        for g in range(self.groups):
            row += [rope(k[g], 5000.0), v[g]]
        row = rounded(np.concatenate(row, 1)).reshape(len(k[0]), 2 * self.groups, self.d)
        return joined(attend(rope(q[h], 5000.0), row[:, 2 * self.group_of(h)],
                             row[:, 2 * self.group_of(h) + 1], self.d**-0.5)
                      for h in range(self.heads))


FP8 = {"fp8_mla": Fp8Mla, "fp8_gqa": Fp8Gqa}


def bytes_per_token(decoder):
    """By the row's description in kernels/row_format.h."""
    system = decoder.system
    codes, rest = (system.r, system.p) if isinstance(system, Mla) else (system.width, 0)
    pad = lambda bytes_, to: math.ceil(bytes_ / to) * to
    return decoder.layers * pad(pad(pad(codes, 4) + 4 * math.ceil(codes / GROUP), 16) + 2 * rest, 16)


@pytest.fixture(scope="module", params=FP8)
def model(request, tmp_path_factory):
    SYSTEMS.update(FP8)
    decoder = Decoder(request.param, 1)
    folder = tmp_path_factory.mktemp(request.param)
    decoder.save(folder)
    yield decoder, folder
    for name in FP8:
        del SYSTEMS[name]


def errors(folder, rows):
    done = subprocess.run(
        [server_process.BINARY, "verify", str(folder), "--weights-dtype", "f32", "--kv-cache-dtype", rows,
         "--json"], capture_output=True, text=True)
    return done.returncode, [c["error"] for c in json.loads(done.stdout)["checks"]]


def test_logits_are_those_of_rounded_rows(model):
    code, found = errors(model[1], "fp8")
    assert code == 0
    # In float32 a code may fall to the other side of a middle: then one element of one row
    # differs by a step, which few of the checks see.
    assert max(found) < 2e-2
    assert sorted(found)[len(found) * 2 // 3] < 1e-4
    _, without = errors(model[1], "f32")
    assert max(without) > 2e-2  # the rounding is not nothing


def test_served(api, model):
    decoder, folder = model
    prompts = json.loads((folder / "golden.json").read_text())["prompts"] * 2
    server = server_process.Server.at(folder, "--kv-cache-dtype", "fp8", "--block-tokens", "16")
    try:
        assert server.metric("mla_kv_bytes_per_token") == bytes_per_token(decoder)
        with grpc.insecure_channel(server.grpc) as channel, \
                concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
            stub = api.generation_grpc.GenerationServiceStub(channel)
            requests = [greedy(api, p["input_ids"], GREEDY_TOKENS) for p in prompts]
            together = list(pool.map(lambda r: read_stream(stub.Generate(r))[0], requests))
            for prompt, request, ids in zip(prompts, requests, together):
                assert read_stream(stub.Generate(request))[0] == ids
                safe = safe_prefix(prompt)
                assert ids[:len(safe)] == safe
    finally:
        server.kill()


def test_rows_that_are_added_up_are_refused(tmp_path):
    Decoder("mtla_3", 1).save(tmp_path)
    done = subprocess.run([server_process.BINARY, "verify", str(tmp_path), "--kv-cache-dtype", "fp8"],
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert "cache rows in fp8 where a row stands for 3 tokens" in done.stderr
