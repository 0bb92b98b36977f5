"""The dashboard, against a real Prometheus that scrapes a real server: every
panel's every query returns data, with the configuration that we ship."""

import json
import math
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import yaml

import server_process

DEPLOY = server_process.ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/mlaserve.json").read_text())
PANELS = [p for p in DASHBOARD["panels"] if p["type"] != "row"]
TARGETS = [pytest.param(t["expr"], id=f"{p['title']}: {t['legendFormat']}")
           for p in PANELS for t in p["targets"]]
SCRAPE_SECONDS = 1
# After the load below these have been more than zero at some moment.
MOVED = ["mla_kv_bytes{", "mla_kv_tokens", "bytes_per_token", "prefix_cache_hits",
         "_seconds_bucket", "requests_running", "streams_active", "prompt_tokens",
         "generation_tokens", "mla_requests_total", "rejections", "resident_memory"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Prometheus:
    def __init__(self, folder, target):
        config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": f"{SCRAPE_SECONDS}s",
                            "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / "prometheus/rules.yml")]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.address = f"127.0.0.1:{free_port()}"
        self.target = target
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml",
             f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={self.address}"],
            stdout=self.log, stderr=self.log)
        self.wait(lambda: self.get("targets")["activeTargets"][0]["health"] == "up")

    def get(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)["data"]

    def wait(self, condition, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except (urllib.error.URLError, IndexError):
                pass
            time.sleep(0.1)
        self.log.seek(0)
        raise AssertionError("Prometheus did not get there:\n" + self.log.read()[-4000:])

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


def load(server):
    """Some of everything that a dashboard shows."""
    client = [server_process.BINARY, "generate", "--target", server.grpc, "--prompt"]

    def generate(*arguments):
        return subprocess.run([*client, *arguments], capture_output=True).returncode

    prompt = "the same words again and again " * 8
    for _ in range(2):
        assert generate(prompt, "--max-tokens", "8", "--ignore-eos") == 0
    assert generate(prompt, "--stop", "e", "--temperature", "1", "--seed", "1") == 0
    assert generate("x", "--model", "no-such-model") == 1
    assert bench_load(server, "60", "100").wait(120) == 0


def bench_load(server, requests, tokens):
    return subprocess.Popen(
        [server_process.BINARY, "bench", "load", "--target", server.grpc, "--rate", "15",
         "--requests", requests, "--prompt-tokens", "96", "--generate-tokens", tokens,
         "--cancel-fraction", "0.3"], stdout=subprocess.DEVNULL)


def load_until_seen(server, prometheus):
    """Requests that run whenever Prometheus looks, until it has seen one."""
    busy = bench_load(server, "1000", "400")
    try:
        prometheus.wait(lambda: any(
            float(series["value"][1]) > 0 for series in prometheus.get(
                "query", query="mla_requests_running * mla_grpc_streams_active")["result"]))
    finally:
        busy.terminate()
        busy.wait(20)


@pytest.fixture(scope="module")
def watched(server, tmp_path_factory):
    """A Prometheus that has seen the load come and go."""
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), server.http)
    try:
        prometheus.start = time.time()
        load(server)
        load_until_seen(server, prometheus)
        time.sleep(3 * SCRAPE_SECONDS)
        prometheus.end = time.time()
        for finish_reason in ("stop", "length", "none"):
            assert server.metric("mla_requests_total", finish_reason=finish_reason) > 0
        yield prometheus
    finally:
        prometheus.stop()


def values(prometheus, expr):
    """Every finite value on the panel, of each series."""
    for name, value in (("$__rate_interval", f"{4 * SCRAPE_SECONDS}s"),
                        ("$model", "qwen2"), ("$instance", prometheus.target)):
        expr = expr.replace(name, value)
    assert "$" not in expr
    found = prometheus.get("query_range", query=expr, start=prometheus.start,
                           end=prometheus.end, step=SCRAPE_SECONDS)["result"]
    return [[v for _, text in series["values"] if math.isfinite(v := float(text))]
            for series in found]


@pytest.mark.parametrize("expr", TARGETS)
def test_every_query_returns_data(watched, expr):
    series = values(watched, expr)
    assert series and all(series), "no data"
    if any(name in expr for name in MOVED):
        assert max(map(max, series)) > 0


def test_quantiles_are_in_order(watched):
    for panel in PANELS:
        quantiles = [values(watched, t["expr"]) for t in panel["targets"]
                     if t["expr"].startswith("histogram_quantile")]
        for lower, higher in zip(quantiles, quantiles[1:]):
            assert all(a <= b for a, b in zip(lower[0], higher[0])), panel["title"]


def test_the_variables_offer_the_model_and_the_instance(watched):
    variables = {v["name"]: v["query"] for v in DASHBOARD["templating"]["list"]}
    assert variables.pop("datasource") == "prometheus"
    offered = {}
    for name, query in variables.items():
        selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", query).groups()
        offered[name] = watched.get(f"label/{label}/values",
                                    **{"match[]": selector.replace("$model", "qwen2")})
    assert offered == {"model": ["qwen2"], "instance": [watched.target]}


def test_prometheus_evaluates_our_rules(watched):
    def settled():
        (group,) = watched.get("rules")["groups"]
        return {rule["health"] for rule in group["rules"]} == {"ok"}

    watched.wait(settled)


def test_panels_are_laid_out_and_described():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    assert len({p["id"] for p in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in PANELS:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
