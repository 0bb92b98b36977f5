"""A latent in slices (--latent-slices), on one rank and divided among several, against
a numpy oracle of the formula; what it caches; and what is not split."""

import json
import subprocess
import sys

import pytest

import server_process

sys.path.insert(0, str(server_process.ROOT / "tests/oracles"))
from decoder import Decoder  # noqa: E402
from split_latent import SPLIT  # noqa: E402
from systems import SYSTEMS  # noqa: E402

SETTINGS = [(name, slices, ranks)
            for name, slices in (("split_in_two", 2), ("split_in_four", 4), ("split_transmla", 2))
            for ranks in (1, 2, 4)]


def decoder_of(name, folder):
    SYSTEMS.update(SPLIT)  # not before: others test all that is there
    decoder = Decoder(name, 3, width_of=4)
    decoder.save(folder)
    return decoder


def verify(folder, slices, ranks, weights="f32", rows="f32"):
    return subprocess.run(
        [server_process.BINARY, "verify", str(folder), "--latent-slices", str(slices), "--tensor-parallel",
         str(ranks), "--threads", "2", "--weights-dtype", weights, "--kv-cache-dtype", rows, "--json"],
        capture_output=True, text=True)


@pytest.mark.parametrize("name,slices,ranks", SETTINGS)
def test_logits_and_activations_are_the_oracles(name, slices, ranks, tmp_path):
    decoder_of(name, tmp_path)
    for weights, rows in ("f32", "f32"), ("bf16", "bf16"):
        found = verify(tmp_path, slices, ranks, weights, rows)
        assert found.returncode == 0, found.stdout + found.stderr
        checks = json.loads(found.stdout)["checks"]
        assert len(checks) == 22
        assert all(check["passed"] for check in checks)


def test_it_is_another_function_than_the_whole_latents(tmp_path):
    """Or the tests above would not see the slices."""
    decoder_of("split_in_two", tmp_path)
    assert verify(tmp_path, 1, 1).returncode != 0
    Decoder("mla", 3).save(tmp_path / "mla")
    assert verify(tmp_path / "mla", 1, 1).returncode == 0


def bytes_per_token(folder, slices, ranks):
    server = server_process.Server.at(folder, "--latent-slices", str(slices), "--tensor-parallel", str(ranks),
                                      "--kv-cache-dtype", "bf16")
    try:
        return server.metric("mla_kv_bytes_per_token")
    finally:
        server.kill()


def test_every_rank_caches_a_slice(tmp_path):
    decoder = decoder_of("split_in_four", tmp_path)
    r, p = decoder.system.r, decoder.system.p
    assert bytes_per_token(tmp_path, 4, 4) == 2 * decoder.layers * (r + 4 * p)
    assert bytes_per_token(tmp_path, 1, 4) == 2 * decoder.layers * 4 * (r + p)
    assert bytes_per_token(tmp_path, 4, 1) == 2 * decoder.layers * (r + p)


@pytest.mark.parametrize("name,slices,words", [
    ("gqa", 2, "UNIMPLEMENTED: a latent in 2 slices: layer 0: there is no one latent for all heads to be split"),
    ("gla_2", 2, "UNIMPLEMENTED: a latent in 2 slices: layer 0: there is no one latent for all heads to be split"),
    ("mtla_2", 2, "UNIMPLEMENTED: a latent in 2 slices: layer 0: a latent with more to it than a norm is not split"),
    ("split_in_two", 64, "INVALID_ARGUMENT: a latent in 64 slices: layer 0: kv_lora_rank"),
])
def test_others_are_refused(name, slices, words, tmp_path):
    decoder_of(name, tmp_path)
    refused = verify(tmp_path, slices, 1)
    assert refused.returncode != 0
    assert words in refused.stderr, refused.stderr
