"""Raw HTTP/2: headers that have killed gRPC servers (CVE-2023-1428, -32732,
CVE-2024-7246), header blocks that never end, floods, half-open calls."""

import socket

import grpc
import h2.config
import h2.connection
import h2.events
import pytest

HOSTILE = ["te:x", ":scheme:x", "grpclb_client_stats:x"]
PATH = "/mla.serving.v1.GenerationService/Generate"


class RawClient:
    """An HTTP/2 connection that sends whatever it is told."""

    def __init__(self, address, acknowledge=True):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            validate_outbound_headers=False, normalize_outbound_headers=False))
        self.h2.initiate_connection()
        self.flush()
        # The server holds us to its limits once we have acknowledged them.
        if acknowledge:
            assert self.read_until(h2.events.SettingsAcknowledged)
            self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def headers(self, *extra, path=PATH, end_stream=False):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [
            (":method", "POST"), (":scheme", "http"), (":path", path),
            (":authority", "x"), ("content-type", "application/grpc"),
            ("te", "trailers"), *extra], end_stream=end_stream)
        self.flush()
        return stream

    def read_until(self, *events):
        """The first event of one of these types; None if the server hung up."""
        self.socket.settimeout(20)
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            for event in self.h2.receive_data(data):
                if isinstance(event, events):
                    return event
            self.flush()

    def close(self):
        self.socket.close()


@pytest.fixture
def raw(server):
    client = RawClient(server.grpc)
    yield client
    client.close()


def assert_serves(api, server):
    own = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
    with grpc.insecure_channel(server.grpc, options=own) as channel:
        stub = api.generation_grpc.GenerationServiceStub(channel)
        g = api.generation
        result = stub.GenerateUnary(g.GenerateRequest(
            token_ids=g.TokenIds(ids=[1]), stop=g.StopConditions(max_tokens=1)))
        assert result.usage.generated_tokens == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_headers_that_once_aborted_grpc(api, server, raw, name):
    filler = [(f"x-{i}", "y" * 1000) for i in range(18)]
    raw.headers((name, "z"), *filler)
    raw.read_until(h2.events.StreamReset, h2.events.StreamEnded,
                   h2.events.ConnectionTerminated)
    assert_serves(api, server)


def test_large_headers_before_the_limits_are_acknowledged(api, server):
    client = RawClient(server.grpc, acknowledge=False)
    for name in HOSTILE:
        client.headers((name, "z"), *[(f"x-{i}", "y" * 1000) for i in range(18)])
    assert_serves(api, server)
    client.close()
    assert_serves(api, server)


def test_metadata_past_the_limit_is_refused(api, server):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = api.generation_grpc.GenerationServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            list(stub.Generate(api.generation.GenerateRequest(text="x"),
                               metadata=[("x-big", "y" * 200_000)]))
        assert error.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED,
                                      grpc.StatusCode.UNAVAILABLE)
    assert_serves(api, server)


def test_a_header_block_that_never_ends(api, server, raw):
    """CONTINUATION frames without END_HEADERS, four megabytes of them."""
    stream = raw.headers()
    raw.socket.settimeout(10)
    frame = (16384).to_bytes(3, "big") + b"\x09\x00" + stream.to_bytes(4, "big")
    open_headers = (1).to_bytes(3, "big") + b"\x01\x00" + (
        stream + 2).to_bytes(4, "big") + b"\x82"
    try:
        raw.socket.sendall(open_headers)
        frame = frame[:5] + (stream + 2).to_bytes(4, "big")
        for _ in range(256):
            raw.socket.sendall(frame + b"\x00" * 16384)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server hung up, as it may
    assert_serves(api, server)


def test_streams_opened_and_reset_in_a_flood(api, server, raw):
    for _ in range(2000):
        try:
            stream = raw.headers()
            raw.h2.reset_stream(stream)
            raw.flush()
        except (BrokenPipeError, ConnectionResetError):
            break
    assert_serves(api, server)


def test_calls_that_never_send_their_message(api, server, raw):
    for _ in range(100):
        raw.headers()
    assert_serves(api, server)


def test_an_unknown_method_is_unimplemented(api, server):
    with grpc.insecure_channel(server.grpc) as channel:
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary("/mla.serving.v1.GenerationService/Nothing")(b"")
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_admin_calls_are_not_served_to_clients(api, server):
    with grpc.insecure_channel(server.grpc) as channel:
        admin = api.admin_grpc.AdminServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            admin.Drain(api.admin.DrainRequest())
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
