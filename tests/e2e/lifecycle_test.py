"""Health, reflection, disconnects, drains: a server's life seen from outside."""

import concurrent.futures
import signal
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from google.protobuf.descriptor_pool import DescriptorPool

import server_process

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
GENERATION = "mla.serving.v1.GenerationService"


def long_request(api, tokens=500):
    g = api.generation
    return g.GenerateRequest(
        token_ids=g.TokenIds(ids=[1, 2, 3]),
        sampling=g.SamplingParams(temperature=0),
        stop=g.StopConditions(max_tokens=tokens, ignore_eos=True),
    )


def eventually(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def health(channel, service=""):
    stub = health_pb2_grpc.HealthStub(channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=service)).status


def test_health_answers_for_the_server_and_each_service(channel):
    for service in ["", GENERATION, "mla.serving.v1.ModelService", "liveness"]:
        assert health(channel, service) == SERVING
    with pytest.raises(grpc.RpcError) as error:
        health(channel, "no.such.Service")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_describes_what_is_served(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert {GENERATION, "mla.serving.v1.ModelService"} <= services
    assert "mla.serving.v1.AdminService" not in services
    pool = DescriptorPool(database)
    methods = pool.FindServiceByName(GENERATION).methods_by_name
    assert methods["Generate"].output_type.full_name == (
        "mla.serving.v1.GenerateResponse")


def test_a_client_that_hangs_up_frees_its_blocks(api, server):
    cancelled = server.metric("mla_requests_total", code="CANCELLED")
    channel = grpc.insecure_channel(server.grpc)
    calls = [api.generation_grpc.GenerationServiceStub(channel).Generate(
        long_request(api)) for _ in range(8)]
    next(calls[0])
    channel.close()
    assert eventually(lambda: server.metric("mla_kv_blocks", state="active") == 0)
    assert server.metric("mla_requests_running") == 0
    assert eventually(lambda: server.metric("mla_grpc_streams_active") == 0)
    assert server.metric("mla_requests_total", code="CANCELLED") > cancelled


def test_two_servers_on_one_port_fail_clearly(server):
    for flag, address in (("--grpc-listen", server.grpc), ("--http-listen", server.http),
                          ("--admin-listen", server.admin)):
        with pytest.raises(RuntimeError) as error:
            server_process.Server("qwen2", flag, address)
        assert f"cannot listen on {address}" in str(error.value)


def test_an_open_listener_is_warned_about(serve):
    log = "".join(serve("qwen2", "--http-listen", "0.0.0.0:0").log)
    assert "open to other machines" in log
    assert log.count("warning") == 1


def test_a_model_that_is_not_there_is_a_start_up_error(tmp_path):
    with pytest.raises(RuntimeError) as error:
        server_process.Server(tmp_path / "nothing")
    assert "mlaserve serve: " in str(error.value)


def test_sigterm_under_load_loses_nothing(api, serve):
    server = serve("qwen2", "--drain-delay-seconds", "1")
    channel = grpc.insecure_channel(server.grpc)
    stub = api.generation_grpc.GenerationServiceStub(channel)
    accepted = threading.Semaphore(0)

    def run():
        tokens = 0
        for message in stub.Generate(long_request(api, tokens=400)):
            if tokens == 0:
                accepted.release()
            tokens += len(message.chunk.token_ids)
        return tokens

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        streams = [pool.submit(run) for _ in range(32)]
        for _ in range(8):
            accepted.acquire()
        server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: server.get("/readyz")[0] == 503)
        assert server.get("/readyz")[2] == "draining\n"
        assert server.get("/healthz")[0] == 200
        assert health(channel) == health(channel, GENERATION) == NOT_SERVING
        assert health(channel, "liveness") == SERVING
        assert [s.result() for s in streams] == [400] * 32
    assert server.wait(60) == 0
    assert "every accepted request ended" in "".join(server.log)


def test_new_requests_are_refused_while_draining(api, serve):
    server = serve()
    with grpc.insecure_channel(server.grpc) as channel, grpc.insecure_channel(
            server.admin) as admin_channel:
        stub = api.generation_grpc.GenerationServiceStub(channel)
        admin = api.admin_grpc.AdminServiceStub(admin_channel)
        running = stub.Generate(long_request(api, tokens=500))
        next(running)
        drain = admin.Drain.future(api.admin.DrainRequest(), timeout=60)
        assert eventually(lambda: server.get("/readyz")[0] == 503)
        assert eventually(lambda: server.metric(
            "mla_admission_rejections_total", reason="draining") > 0 or refused(api, stub))
        assert sum(len(m.chunk.token_ids) for m in running) >= 499
        drain.result()
        assert refused(api, stub)
        assert server.metric("mla_admission_rejections_total", reason="draining") > 0


def refused(api, stub):
    try:
        stub.GenerateUnary(long_request(api, tokens=1))
        return False
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        return True


def test_a_drain_that_takes_too_long_is_cut_off(api, serve):
    server = serve("qwen2", "--drain-timeout-seconds", "0")
    with grpc.insecure_channel(server.grpc) as channel:
        stub = api.generation_grpc.GenerationServiceStub(channel)
        calls = [stub.Generate(long_request(api)) for _ in range(8)]
        next(calls[0])
        server.process.send_signal(signal.SIGTERM)
        assert server.wait(30) == 1
        assert "cut off" in "".join(server.log)


def test_a_second_signal_stops_at_once(api, serve):
    server = serve("qwen2", "--drain-delay-seconds", "600")
    server.process.send_signal(signal.SIGINT)
    assert eventually(lambda: server.get("/readyz")[0] == 503)
    start = time.monotonic()
    server.process.send_signal(signal.SIGINT)
    assert server.wait(10) == 128 + signal.SIGINT
    assert time.monotonic() - start < 5


def test_a_health_watcher_does_not_hold_up_the_drain(serve):
    server = serve()
    with grpc.insecure_channel(server.grpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=GENERATION))
        assert next(watch).status == SERVING
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert next(watch).status == NOT_SERVING
        assert server.wait(30) == 0
        assert time.monotonic() - start < 20
