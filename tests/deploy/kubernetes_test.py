"""The Kubernetes manifests: valid, and true of the binary."""

import re
import subprocess

import kubernetes_validate
import pytest
import yaml

import server_process

FOLDER = server_process.ROOT / "deploy/kubernetes"
MARGIN_SECONDS = 10  # between the end of a drain and SIGKILL


def load(name):
    return yaml.safe_load((FOLDER / name).read_text())


KUSTOMIZATION = load("kustomization.yaml")
CONFIG = load("configmap.yaml")
POD = load("deployment.yaml")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
PROBES = {p: CONTAINER[p]["grpc"] for p in
          ("startupProbe", "readinessProbe", "livenessProbe")}


@pytest.mark.parametrize("name", KUSTOMIZATION["resources"])
def test_the_schema_is_met(name):
    kubernetes_validate.validate(load(name), "1.37", strict=True)


def test_kustomization_lists_every_manifest():
    files = {path.name for path in FOLDER.iterdir()} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files
    assert CONTAINER["image"] in [image["name"] for image in KUSTOMIZATION["images"]]


def test_names_refer_to_what_is_there():
    service, deployment = load("service.yaml"), load("deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    ports = {p["name"]: p["containerPort"] for p in CONTAINER["ports"]}
    for port in service["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["http"])
    assert {"configMapRef": {"name": CONFIG["metadata"]["name"]}} in CONTAINER["envFrom"]
    (volume,), (mount,) = POD["volumes"], CONTAINER["volumeMounts"]
    claim = volume["persistentVolumeClaim"]["claimName"]
    assert claim == load("persistentvolumeclaim.yaml")["metadata"]["name"]
    assert volume["name"] == mount["name"]
    assert CONFIG["data"]["MLA_MODEL"].startswith(mount["mountPath"] + "/")


def test_the_binary_knows_every_setting(serve_help):
    assert set(CONFIG["data"]) <= serve_help.variables
    ports = {p["name"]: str(p["containerPort"]) for p in CONTAINER["ports"]}
    for name in ports:
        assert CONFIG["data"][f"MLA_{name.upper()}_LISTEN"] == f"0.0.0.0:{ports[name]}"
    for probe in PROBES.values():
        assert str(probe["port"]) == ports["grpc"]


def test_a_drain_ends_before_the_pod_is_killed():
    drain = sum(int(CONFIG["data"][name]) for name in
                ("MLA_DRAIN_DELAY_SECONDS", "MLA_DRAIN_TIMEOUT_SECONDS"))
    assert POD["terminationGracePeriodSeconds"] >= drain + MARGIN_SECONDS
    # The readiness probe fails, and load balancers hear of it, within the delay.
    readiness = CONTAINER["readinessProbe"]
    unready = readiness["periodSeconds"] * readiness["failureThreshold"]
    assert int(CONFIG["data"]["MLA_DRAIN_DELAY_SECONDS"]) > unready + readiness["timeoutSeconds"]


def test_the_pod_is_restricted():
    """What the Pod Security Standard "restricted" asks for, and a root file
    system that nobody can write."""
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    container = CONTAINER["securityContext"]
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"] is True
    assert container["capabilities"] == {"drop": ["ALL"]}
    user = re.search(r"^USER (\d+):(\d+)$",
                     (server_process.ROOT / "Dockerfile").read_text(), re.M)
    assert POD["securityContext"]["runAsUser"] == int(user[1])
    assert POD["securityContext"]["runAsGroup"] == int(user[2])


def test_a_server_starts_from_the_config_map_and_answers_the_probes():
    """All but the model and the ports, which are this machine's."""
    here = {"MLA_MODEL": str(server_process.model_folder("qwen2")),
            "MLA_GRPC_LISTEN": "127.0.0.1:0", "MLA_HTTP_LISTEN": "127.0.0.1:0",
            "MLA_ADMIN_LISTEN": "127.0.0.1:0"}
    assert CONTAINER["args"] == ["serve"]
    server = server_process.Server.from_environment({**CONFIG["data"], **here})
    try:
        for name, probe in PROBES.items():
            answer = subprocess.run(
                [server_process.BINARY, "health", "--target", server.grpc,
                 "--service", probe["service"]], capture_output=True, text=True)
            assert answer.stdout == "SERVING\n", name
    finally:
        server.kill()
