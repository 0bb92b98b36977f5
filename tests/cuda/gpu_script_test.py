"""tests/gpu/run.sh, with tests whose kernels the host executes."""

import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests/gpu/run.sh"
BINARIES = pathlib.Path(os.environ["BINARIES"])
# Whole models take minutes there and have tests of their own here.
KERNELS = ["attention_launch", "cache_kernels", "expert_gemm", "expert_layer", "fp8_rows",
           "moe_kernels", "moe_route", "moe_sort", "row_independence", "row_kernels", "row_limits", "sample_kernel",
           "select_kernel", "time_merge_kernel", "write_rows"]


def run(folder, out, **environment):
    return subprocess.run([SCRIPT, "--on-host", "--binaries", folder],
                          env={**os.environ, "OUT": str(out), **environment},
                          capture_output=True, text=True, timeout=500)


def bundle(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in [f"{k}_test" for k in KERNELS] + ["gpu_bench"]:
        os.symlink(BINARIES / name, folder / name)
    return folder


def test_one_table_has_every_test_and_the_times(tmp_path):
    out = tmp_path / "results.md"
    done = run(bundle(tmp_path), out)
    assert done.returncode == 0, done.stdout + done.stderr
    table = out.read_text()
    for kernel in KERNELS:
        row = [line for line in table.splitlines() if line.startswith(f"| {kernel}_test |")]
        assert len(row) == 1, table
        cells = [cell.strip() for cell in row[0].split("|")]
        assert cells[2] == "passed" and int(cells[3]) > 0, row
    for case in ("decode", "prefill", "experts"):
        assert f"| {case} |" in table
    assert "model_golden_cuda_test | not built here" in table
    assert "its times mean nothing" in table
    assert "Peers: PyTorch" in table


def test_a_failed_test_is_told(tmp_path):
    folder = bundle(tmp_path)
    (folder / "row_kernels_test").unlink()
    (folder / "row_kernels_test").write_text("#!/bin/sh\necho its last words\nexit 1\n")
    (folder / "row_kernels_test").chmod(0o755)
    for kernel in KERNELS:
        if kernel != "row_kernels":
            (folder / f"{kernel}_test").unlink()
            os.symlink(shutil.which("true"), folder / f"{kernel}_test")
    out = tmp_path / "results.md"
    done = run(folder, out)
    assert done.returncode == 1
    assert "its last words" in done.stderr
    assert "failed: row_kernels_test" in done.stderr
    assert "| row_kernels_test | FAILED |" in out.read_text()


def test_without_a_gpu_it_says_so(tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "nproc", "env", "mktemp"):
        os.symlink(shutil.which(name), tools / name)
    done = subprocess.run([shutil.which("bash"), SCRIPT, "--binaries", bundle(tmp_path)],
                          env={"PATH": str(tools)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no nvidia-smi, so no GPU" in done.stderr
