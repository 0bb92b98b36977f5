"""Fixtures: the API's Python modules, made from our protos, and a server."""

import importlib
import pathlib
import sys
import types

import grpc
import pytest
from grpc_tools import protoc

import server_process

PROTO = server_process.ROOT / "proto"


@pytest.fixture(scope="session")
def api(tmp_path_factory):
    """Stock grpcio stubs: api.generation, api.generation_grpc, ..."""
    out = tmp_path_factory.mktemp("api")
    files = sorted(str(p) for p in (PROTO / "mla").rglob("*.proto"))
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    code = protoc.main(
        ["protoc", f"-I{PROTO}", f"-I{include}", f"--python_out={out}",
         f"--grpc_python_out={out}", *files]
    )
    assert code == 0
    sys.path.insert(0, str(out))
    modules = types.SimpleNamespace()
    for name in ("generation", "model", "admin"):
        for suffix, attribute in (("_pb2", name), ("_pb2_grpc", name + "_grpc")):
            module = importlib.import_module(f"mla.serving.v1.{name}{suffix}")
            setattr(modules, attribute, module)
    return modules


@pytest.fixture
def serve():
    """serve(model, *flags) starts a server that ends with the test."""
    servers = []

    def start(model="qwen2", *flags):
        servers.append(server_process.Server(model, *flags))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def server():
    """One server that a whole file shares."""
    made = server_process.Server("qwen2")
    yield made
    alive = made.process.poll() is None
    made.kill()
    assert alive, "the server died:\n" + "".join(made.log[-50:])


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.grpc) as made:
        yield made


@pytest.fixture
def stub(api, channel):
    return api.generation_grpc.GenerationServiceStub(channel)
