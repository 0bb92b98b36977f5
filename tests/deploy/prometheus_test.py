"""The scrape configurations and alert rules, as promtool reads them."""

import re
import subprocess

import yaml

import server_process

FOLDER = server_process.ROOT / "deploy/prometheus"
TESTS = server_process.ROOT / "tests/deploy/rules.test.yml"


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules():
    (group,) = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    return group["rules"]


def test_the_local_configuration_is_valid(serve_help):
    assert "6 rules found" in promtool("check", "config", FOLDER / "prometheus.yml")
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": [serve_help.defaults["--http-listen"]]}]


def test_the_cluster_configuration_is_valid(tmp_path):
    """But for the discovery, which Debian's Prometheus is built without."""
    config = yaml.safe_load((FOLDER / "kubernetes.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    config["rule_files"] = [str(FOLDER / "rules.yml")]
    (tmp_path / "config.yml").write_text(yaml.safe_dump(config))
    promtool("check", "config", tmp_path / "config.yml")
    deployment = yaml.safe_load((FOLDER.parent / "kubernetes/deployment.yaml").read_text())
    template = deployment["spec"]["template"]
    kept = {rule["source_labels"][0]: rule["regex"]
            for rule in job["relabel_configs"] if rule.get("action") == "keep"}
    assert kept == {
        "__meta_kubernetes_pod_label_app_kubernetes_io_name":
            template["metadata"]["labels"]["app.kubernetes.io/name"],
        "__meta_kubernetes_pod_container_port_name":
            template["spec"]["containers"][0]["ports"][1]["name"]}


def test_the_rules_pass_lint():
    promtool("check", "rules", "--lint=all", "--lint-fatal", FOLDER / "rules.yml")


def test_alerts_fire_and_keep_quiet_as_they_should(tmp_path):
    text = TESTS.read_text().replace("RULES", str(FOLDER / "rules.yml"))
    (tmp_path / "rules.test.yml").write_text(text)
    promtool("test", "rules", tmp_path / "rules.test.yml")
    for rule in rules():
        assert f"alertname: {rule['alert']}\n" in text, "an alert without a test"


def test_alerts_watch_series_that_a_new_server_has(server):
    """A rate over a counter that appears with its first event misses it."""
    page = server.get("/metrics")[2]
    for rule in rules():
        for name in re.findall(r"\bmla_\w+", rule["expr"]):
            assert re.search(rf"^{name}[ {{]", page, re.M), name
    for reason in ("queue_full", "tokens"):
        assert f'reason="{reason}"' in page
