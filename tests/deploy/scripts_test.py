"""Every shell script of the repository passes shellcheck."""

import subprocess

import server_process

ROOT = server_process.ROOT


def test_shellcheck_finds_nothing():
    scripts = sorted([*ROOT.glob("deploy/*.sh"), *ROOT.glob("tests/**/*.sh"),
                      *ROOT.glob(".ci/run")])
    assert scripts
    checked = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
