"""Our own copies of public protos number every field as PyPI's packages do."""

import pathlib

import pytest
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_tools import protoc

import server_process

PROTO = server_process.ROOT / "proto"


def our_file(name, tmp_path):
    """Our descriptor, compiled but never registered beside the public one."""
    out = tmp_path / "ours.pb"
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    assert protoc.main(["protoc", f"-I{PROTO}", f"-I{include}",
                        f"--descriptor_set_out={out}", name]) == 0
    files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    (made,) = [f for f in files.file if f.name == name]
    return made


def public_file(module):
    made = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(made)
    return made


def messages(file):
    """Every message, nested ones included, by dotted name."""
    found = {}

    def visit(prefix, message):
        found[prefix + message.name] = message
        for nested in message.nested_type:
            visit(prefix + message.name + ".", nested)

    for message in file.message_type:
        visit("", message)
    return found


def fields(message):
    return {f.name: (f.number, f.type, f.label, f.type_name) for f in message.field}


@pytest.mark.parametrize("name, module", [
    ("google/rpc/status.proto", status_pb2),
    ("google/rpc/error_details.proto", error_details_pb2),
    ("grpc/health/v1/health.proto", health_pb2),
])
def test_fields_are_those_of_the_public_file(name, module, tmp_path):
    ours, public = our_file(name, tmp_path), public_file(module)
    assert ours.package == public.package
    assert ours.syntax == public.syntax
    public_messages = messages(public)
    for message_name, message in messages(ours).items():
        theirs = fields(public_messages[message_name])
        for field, shape in fields(message).items():
            assert theirs[field] == shape, f"{message_name}.{field}"


def test_health_methods_and_states_are_those_of_the_public_file(tmp_path):
    ours = our_file("grpc/health/v1/health.proto", tmp_path)
    public = public_file(health_pb2)

    def methods(file):
        (service,) = file.service
        return {m.name: (m.input_type, m.output_type, m.server_streaming)
                for m in service.method}

    def states(file):
        (enum,) = messages(file)["HealthCheckResponse"].enum_type
        return {v.name: v.number for v in enum.value}

    assert methods(ours).items() <= methods(public).items()
    assert states(ours) == states(public)
