"""The whole program with its CUDA backend: as it is built for GPUs, on a machine
that shows it none; and with the backend executed on the host, serving."""

import json
import os
import pathlib
import subprocess
import sys

import grpc
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import generate_test  # noqa: E402
import server_process  # noqa: E402
from conftest import api  # noqa: E402, F401

CUDA = os.environ["MLASERVE_CUDA"]
HOST = os.environ["MLASERVE_CUDA_HOST"]
MODEL = "minicpm3"
NO_GPU = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


def run(*command):
    return subprocess.run(command, env=NO_GPU, capture_output=True, text=True, timeout=120)


def test_without_a_device_it_says_so_and_exits():
    done = run(CUDA, "serve", "--model", str(server_process.model_folder(MODEL)),
               "--backend", "cuda")
    assert done.returncode == 1
    assert "no CUDA device can be used: cuda" in done.stderr, done.stderr
    assert "listening grpc" not in done.stderr


def test_a_build_without_cuda_says_so_and_exits():
    done = run(server_process.BINARY, "serve", "--model",
               str(server_process.model_folder(MODEL)), "--backend", "cuda")
    assert done.returncode == 1
    assert "built without CUDA" in done.stderr, done.stderr


def serve(binary, monkeypatch, **environment):
    monkeypatch.setattr(server_process, "BINARY", binary)
    return server_process.Server.from_environment({
        "MLA_MODEL": str(server_process.model_folder(MODEL)),
        "MLA_GRPC_LISTEN": "127.0.0.1:0", "MLA_HTTP_LISTEN": "127.0.0.1:0",
        "MLA_ADMIN_LISTEN": "127.0.0.1:0", "CUDA_VISIBLE_DEVICES": "", **environment})


def test_auto_falls_back_to_the_cpu_with_one_line(monkeypatch):
    server = serve(CUDA, monkeypatch, MLA_BACKEND="auto", MLA_KV_CACHE_BYTES="16M")
    try:
        lines = [line for line in server.log if "no CUDA device can be used" in line]
        assert len(lines) == 1, server.log
        assert "on the CPU, since" in lines[0]
    finally:
        server.kill()


def test_the_backend_on_the_host_serves(monkeypatch, api):  # noqa: F811
    server = serve(HOST, monkeypatch, MLA_BACKEND="cuda-host", MLA_KV_CACHE_BYTES="4M",
                   MLA_MAX_STEP_TOKENS="64", MLA_BLOCK_TOKENS="16")
    try:
        assert any("cuda-host" in line for line in server.log), server.log
        prompt = min(generate_test.golden_prompts(MODEL), key=lambda p: len(p["input_ids"]))
        with grpc.insecure_channel(server.grpc) as channel:
            stub = api.generation_grpc.GenerationServiceStub(channel)
            ids, *_ = generate_test.read_stream(
                stub.Generate(generate_test.greedy(api, prompt["input_ids"], 6)))
        # bf16 may choose another where two tokens are nearly even.
        certain = [i for i, m in enumerate(prompt["greedy_margins"]) if m < 0.5] or [6]
        assert len(ids) == 6
        assert ids[:certain[0]] == prompt["greedy_ids"][:6][:certain[0]]
    finally:
        server.kill()
