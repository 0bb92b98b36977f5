"""SmolLM2 converted as published and better: the perplexities that an independent
prototype measured on the same windows (tests/golden/conversion). All of its rows
where MLA_SOAK is set, else a few."""

import json
import os
import subprocess

import pytest

import server_process

GOLDEN = server_process.ROOT / "tests/golden/conversion"


def test_perplexities_are_the_prototypes():
    measured = json.loads((GOLDEN / "measured.json").read_text())
    if not os.environ.get("MLA_SOAK"):
        measured = measured[:1] + [row for row in measured if row.get("always")]
    command = [os.environ["CONVERSION_TABLE"], os.environ["MLA_SMOLLM2_GGUF"],
               str(GOLDEN / "windows.json"), "--"]
    for row in measured[1:]:
        command += [row["calibration"], row["method"]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [(r[0], r[1]) for r in rows] == [(m["calibration"], m["method"]) for m in measured]
    for row, expected in zip(rows, measured):
        for name in ("ev", "ood"):
            found = float(row[row.index(name) + 1])
            assert found == pytest.approx(expected[name], rel=0.005)
