"""docs/SYSTEMS.md: every figure is what `mlaserve inspect` says and what the
paper's count makes, and every test that a row names is there."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

import server_process

sys.path.insert(0, str(server_process.ROOT / "tests/oracles"))
from reference import COMMON, LAYERS, ROWS  # noqa: E402
from systems import SYSTEMS  # noqa: E402

DOC = (server_process.ROOT / "docs/SYSTEMS.md").read_text()
TABLE = [[cell.strip() for cell in line.strip("|").split("|")]
         for line in DOC.split("## ")[0].splitlines() if line.startswith("| ")][1:]
BF16 = 2


@pytest.mark.parametrize("name", ROWS)
def test_bytes_per_token_are_the_papers_and_the_servers(name, tmp_path):
    fields, elements = ROWS[name]
    (tmp_path / "config.json").write_text(json.dumps(COMMON | fields))
    save_file({"none": np.zeros(1, np.float32)}, tmp_path / "model.safetensors")
    inspect = subprocess.run([server_process.BINARY, "inspect", str(tmp_path), "--kv-cache-dtype", "bf16",
                              "--json"], capture_output=True, text=True)
    assert inspect.returncode == 0, inspect.stderr
    expected = elements * LAYERS * BF16
    assert json.loads(inspect.stdout)["kv_bytes_per_token"] == expected
    rows = [row for row in TABLE if row[0] == name or row[0].startswith(name + " (")]
    assert len(rows) == 1, f"docs/SYSTEMS.md has {len(rows)} rows for {name}"
    assert rows[0][3].replace(",", "") == str(int(expected))


def test_rows_with_a_figure_name_their_test_and_the_others_say_not_yet():
    assert len(TABLE) >= 38
    for system, _, _, figure, shown in TABLE:
        if figure:
            assert system.split(" (")[0] in ROWS, system
            assert "`" in shown, system
        else:
            assert "not yet" in shown, system


def test_named_tests_exist():
    tests = {p.stem for p in (server_process.ROOT / "tests").rglob("*_test.*")}
    for row in TABLE:
        for name in re.findall(r"`(\w+_test)`", row[4]):
            assert name in tests, name
        for names in re.findall(r"`layouts_test` \(([^)]*)\)", row[4]):
            for name in names.split(", "):
                assert name in SYSTEMS, name
