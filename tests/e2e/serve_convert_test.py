"""`mlaserve serve --convert`: converts once, keeps it, and serves what `convert` makes."""

import hashlib
import os
import pathlib
import re
import signal
import subprocess
import urllib.error
import urllib.request

import grpc
import pytest

import server_process
from generate_test import greedy, read_stream

SPEC = "sequential:kv_lora_rank=20,qk_rope_head_dim=12"
LAYERS = 3  # of the tiny qwen2
SMALL = ["--calibration-tokens", "512", "--window-tokens", "64"]


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in pathlib.Path(folder).iterdir()}


def tokens(api, server):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = api.generation_grpc.GenerationServiceStub(channel)
        return read_stream(stub.Generate(greedy(api, [1, 2, 3], 24)))[0]


def name(api, server):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = api.model_grpc.ModelServiceStub(channel)
        return stub.GetModel(api.model.GetModelRequest()).name


def converted_layers(server):
    return sum(bool(re.search(r"converting layer=\d+/\d+ energy", line)) for line in server.log)


def entry(cache):
    found, = (p for p in cache.iterdir() if p.is_dir())
    return found


def test_it_serves_what_convert_makes_and_converts_once(api, tmp_path):
    cache = tmp_path / "cache"
    flags = ["--convert", SPEC, "--convert-cache", str(cache), *SMALL]
    made = subprocess.run(
        [server_process.BINARY, "convert", "--in", str(server_process.model_folder("qwen2")), "--out",
         str(tmp_path / "out"), "--method", SPEC, "--dtype", "f32", *SMALL], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    plain = server_process.Server.at(tmp_path / "out")
    expected = tokens(api, plain)
    plain.kill()
    for converted in (LAYERS, 0):
        server = server_process.Server("qwen2", *flags)
        try:
            assert converted_layers(server) == converted
            assert tokens(api, server) == expected
            assert name(api, server) == "qwen2"
            assert server.metric("mla_kv_bytes_per_token") == LAYERS * (20 + 12) * 4
        finally:
            server.kill()
    assert digests(entry(cache)) == digests(tmp_path / "out")


def test_two_servers_at_once_convert_once(api, tmp_path):
    flags = ["--convert", SPEC, "--convert-cache", str(tmp_path), *SMALL]
    command = [server_process.BINARY, "serve", "--model", str(server_process.model_folder("qwen2")),
               "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
               "--kv-cache-bytes", "16M", "--threads", "1", *flags]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    layers = 0
    try:
        for process in both:
            for line in process.stderr:
                layers += "converting layer=" in line
                if line.rstrip().endswith("state ready"):
                    break
            assert process.poll() is None
    finally:
        for process in both:
            process.kill()
            process.wait()
    assert layers == LAYERS


def test_stopped_while_converting_it_goes_on_at_the_next_start(api, tmp_path):
    # Enough text that a layer takes long enough to be stopped in.
    flags = ["--convert", SPEC, "--threads", "1", "--calibration-tokens", "65536"]
    whole = server_process.Server("qwen2", *flags, "--convert-cache", str(tmp_path / "whole"))
    whole.kill()
    command = [server_process.BINARY, "serve", "--model", str(server_process.model_folder("qwen2")),
               "--http-listen", "127.0.0.1:0", "--weights-dtype", "f32", *flags,
               "--convert-cache", str(tmp_path / "stopped")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        found = re.search(r"listening http=(\S+)", line)
        if found:
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://{found[1]}/readyz", timeout=20)
            assert refused.value.code == 503
            assert urllib.request.urlopen(f"http://{found[1]}/healthz", timeout=20).status == 200
        if "converting layer=1/" in line:
            process.send_signal(signal.SIGTERM)
            break
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not (entry(tmp_path / "stopped") / "config.json").exists()
    again = server_process.Server("qwen2", *flags, "--convert-cache", str(tmp_path / "stopped"))
    again.kill()
    assert 0 < converted_layers(again) < LAYERS
    assert any("was there already" in line for line in again.log)
    assert digests(entry(tmp_path / "stopped")) == digests(entry(tmp_path / "whole"))


@pytest.mark.parametrize("model,flags,message", [
    ("qwen2", ["--convert", "svd:kv_lora_rank=4"], "method 'svd' is not"),
    ("qwen2", ["--convert", "sequential:kv_lora_rank=4"], "needs kv_lora_rank and qk_rope_head_dim"),
    ("qwen2", ["--convert", SPEC + ",rank=3"], "conversion field 'rank' is not known"),
    ("qwen2", ["--convert", "sequential:kv_lora_rank=9999,qk_rope_head_dim=16"], "kv_lora_rank 9999"),
    ("qwen2", ["--convert", SPEC, "--calibration", "absent.txt"], "absent.txt"),
    ("qwen2", ["--calibration", "some.txt"], "--calibration needs --convert"),
    ("minicpm3", ["--convert", SPEC], "has no keys and values"),
])
def test_what_cannot_be_converted_says_why(model, flags, message, tmp_path):
    done = subprocess.run(
        [server_process.BINARY, "serve", "--model", str(server_process.model_folder(model)),
         "--http-listen", "127.0.0.1:0", "--convert-cache", str(tmp_path / "cache"), *SMALL, *flags],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def test_the_environment_asks_for_it_too(api, tmp_path):
    server = server_process.Server.from_environment({
        "MLA_MODEL": str(server_process.model_folder("qwen2")), "MLA_CONVERT": SPEC,
        "XDG_CACHE_HOME": str(tmp_path), "MLA_CALIBRATION": str(server_process.ROOT / "CONTRIBUTING.md"),
        "MLA_WINDOW_TOKENS": "64", "MLA_GRPC_LISTEN": "127.0.0.1:0", "MLA_HTTP_LISTEN": "127.0.0.1:0",
        "MLA_ADMIN_LISTEN": "127.0.0.1:0", "MLA_KV_CACHE_BYTES": "16M", "MLA_THREADS": "1"})
    server.kill()
    assert converted_layers(server) == LAYERS
    assert os.listdir(entry(tmp_path / "mlaserve/converted"))
