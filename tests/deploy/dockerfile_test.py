"""The Dockerfile, as far as it can be held to account without a container
engine: linted, its words the binary's words, its build context enough to
configure, its runtime packages enough to load the binary."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import server_process

ROOT = server_process.ROOT
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LISTED = re.search(r'\[runtime\]="([^"]*)"',
                   (ROOT / "deploy/install_packages.sh").read_text())[1].split()


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True,
                          **options).stdout


def test_hadolint_finds_nothing():
    hadolint = pathlib.Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_it_says_what_the_binary_understands(serve_help):
    variables = dict(re.findall(r"\b(MLA_\w+)=(\S+)", DOCKERFILE.split("\nENV ")[1]))
    assert set(variables) <= serve_help.variables
    for flag, variable in (("--grpc-listen", "MLA_GRPC_LISTEN"),
                           ("--http-listen", "MLA_HTTP_LISTEN")):
        host, port = variables[variable].split(":")
        assert host == "0.0.0.0"
        assert port == serve_help.defaults[flag].split(":")[1]
        assert port in re.search(r"^EXPOSE (.*)$", DOCKERFILE, re.M)[1].split()
    assert "MLA_ADMIN_LISTEN" not in variables
    assert serve_help.defaults["--admin-listen"].startswith("127.0.0.1:")


def test_docker_stop_waits_for_the_drain(serve_help):
    stop_timeout = int(re.search(r"--stop-timeout (\d+)", DOCKERFILE)[1])
    assert stop_timeout > (int(serve_help.defaults["--drain-delay-seconds"])
                           + int(serve_help.defaults["--drain-timeout-seconds"]))


def test_the_health_check_runs(server):
    assert '["mlaserve", "health"]' in DOCKERFILE
    assert run(server_process.BINARY, "health", "--target", server.grpc) == "SERVING\n"


def test_the_build_context_configures(tmp_path):
    """CMake, given only what .dockerignore lets through, finds every source."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*" and all(rule.startswith("!") for rule in rules[1:])
    for rule in rules[1:]:
        source, target = ROOT / rule[1:], tmp_path / rule[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    configure = re.search(r"RUN (cmake --preset release .*?) *\\$", DOCKERFILE, re.M)[1]
    run(*configure.split(), cwd=tmp_path)


@pytest.fixture(scope="module")
def owners():
    """The shared libraries that the binary loads, and the package of each."""
    loaded = run("ldd", server_process.BINARY)
    assert "not found" not in loaded
    paths = re.findall(r"(/\S+) \(0x", loaded)
    # dpkg may know a file by its name under /lib or under /usr/lib.
    names = {path: {path, real, real.removeprefix("/usr"), "/usr" + real}
             for path in paths for real in [str(pathlib.Path(path).resolve())]}
    found = subprocess.run(["dpkg-query", "-S", *set().union(*names.values())],
                           capture_output=True, text=True).stdout
    packages = {file: package for package, file in
                re.findall(r"^([^:,\s]+)\S*: (/\S+)$", found, re.M)}
    return {path: next((packages[name] for name in names[path] if name in packages), None)
            for path in paths}


def closure(names):
    """The packages that apt installs for `names`: they and what they depend on."""
    reached, pending = set(), list(names)
    while pending:
        name = pending.pop()
        if name in reached:
            continue
        reached.add(name)
        depends = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Depends}, ${Pre-Depends}\n", name],
            capture_output=True, text=True).stdout.split("\n")[0]
        # Of alternatives apt takes the first; versions are its business.
        pending += re.findall(r"(?:^|, *)([a-z0-9][a-z0-9+.-]+)", depends)
    return reached


def test_the_runtime_packages_hold_every_library(owners):
    installed = closure(LISTED)
    assert {path: o for path, o in owners.items() if o not in installed} == {}


def test_no_runtime_package_is_listed_for_nothing(owners):
    assert set(LISTED) <= set(owners.values())
