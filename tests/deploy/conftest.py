"""What the deployment files are held to: the binary's own words, and servers."""

import pathlib
import re
import subprocess
import sys
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import server_process


@pytest.fixture(scope="session")
def serve_help():
    """`mlaserve serve --help`: the variables it reads, the defaults by flag."""
    text = subprocess.run([server_process.BINARY, "serve", "--help"], check=True,
                          capture_output=True, text=True).stdout
    return types.SimpleNamespace(
        variables=set(re.findall(r"\(Env:(\w+)\)", text)),
        defaults=dict(re.findall(r"^  (--[a-z-]+) [^\n]*=(\S+) \(Env:", text, re.M)))


@pytest.fixture(scope="module")
def server():
    """Small blocks, so that a short prompt fills some and is found again."""
    made = server_process.Server("qwen2", "--block-tokens", "16")
    yield made
    made.kill()
