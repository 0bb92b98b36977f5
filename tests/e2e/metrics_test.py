"""The metrics page: promtool likes it, and it tells the truth."""

import shutil
import subprocess

import grpc
import pytest


def run_requests(api, stub, count=8):
    g = api.generation
    for i in range(count):
        list(stub.Generate(g.GenerateRequest(
            token_ids=g.TokenIds(ids=[1, 2, 3 + i]),
            stop=g.StopConditions(max_tokens=5, ignore_eos=True))))
    with pytest.raises(grpc.RpcError):
        stub.GenerateUnary(g.GenerateRequest())


def test_promtool_finds_nothing_to_complain_about(api, server, stub):
    run_requests(api, stub)
    status, content_type, page = server.get("/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=0.0.4")
    promtool = shutil.which("promtool")
    assert promtool, "promtool (Debian package prometheus) is not installed"
    checked = subprocess.run([promtool, "check", "metrics"], input=page, text=True,
                             capture_output=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout + checked.stderr == ""


def test_families_that_dashboards_need_are_there(api, server, stub):
    run_requests(api, stub)
    page = server.get("/metrics")[2]
    for family in [
        "mla_kv_bytes", "mla_kv_blocks", "mla_kv_tokens", "mla_kv_bytes_per_token",
        "mla_request_ttft_seconds", "mla_request_itl_seconds",
        "mla_request_tpot_seconds", "mla_request_e2e_seconds",
        "mla_request_queue_seconds", "mla_request_prefill_seconds",
        "mla_request_decode_seconds", "mla_prompt_tokens_total",
        "mla_generation_tokens_total", "mla_requests_total",
        "mla_admission_rejections_total", "mla_preemptions_total",
        "mla_deadline_drops_total", "mla_cancellations_total",
        "mla_requests_running", "mla_requests_waiting", "mla_grpc_streams_active",
        "mla_grpc_write_stalled_seconds", "mla_grpc_pending_bytes",
        "mla_step_tokens", "mla_step_seconds", "mla_build_info", "mla_model_info",
        "process_resident_memory_bytes", "process_cpu_seconds_total",
        "process_start_time_seconds", "process_open_fds",
    ]:
        assert f"# TYPE {family} " in page, family
        assert f"# HELP {family} " in page, family
    for reason in ["queue_full", "tokens", "deadline", "draining", "invalid"]:
        assert f'reason="{reason}"' in page, reason


def test_block_states_sum_to_the_pool(server):
    page = server.get("/metrics")[2]
    states = [line for line in page.splitlines() if line.startswith("mla_kv_bytes{")]
    assert len(states) == 4
    total = sum(float(line.rsplit(" ", 1)[1]) for line in states)
    per_block = (server.metric("mla_kv_bytes_per_token")
                 * server.metric("mla_kv_block_size_tokens"))
    assert total == per_block * server.metric("mla_kv_blocks")


def test_requests_are_counted_by_code_and_finish(api, server, stub):
    before = server.metric("mla_requests_total", code="OK", finish_reason="length")
    run_requests(api, stub, count=3)
    after = server.metric("mla_requests_total", code="OK", finish_reason="length")
    assert after == before + 3
    assert server.metric("mla_requests_total", code="INVALID_ARGUMENT") >= 1


def test_nothing_a_client_names_becomes_a_label(api, server, stub):
    g = api.generation
    stub.GenerateUnary(g.GenerateRequest(
        request_id="find-me-1234", token_ids=g.TokenIds(ids=[1]),
        stop=g.StopConditions(max_tokens=1)))
    with pytest.raises(grpc.RpcError):
        stub.GenerateUnary(g.GenerateRequest(model="find-me-5678", text="x"))
    assert "find-me" not in server.get("/metrics")[2]


def test_cache_stats_over_grpc_agree_with_the_page(api, server):
    with grpc.insecure_channel(server.admin) as channel:
        admin = api.admin_grpc.AdminServiceStub(channel)
        stats = admin.GetCacheStats(api.admin.GetCacheStatsRequest())
        assert stats.total_blocks == (stats.free_blocks + stats.active_blocks
                                      + stats.cached_blocks + stats.reserved_blocks)
        assert stats.bytes_per_token == server.metric("mla_kv_bytes_per_token")
        flushed = admin.FlushCache(api.admin.FlushCacheRequest()).freed_blocks
        assert flushed == stats.cached_blocks
        stats = admin.GetCacheStats(api.admin.GetCacheStatsRequest())
        assert stats.cached_blocks == 0
