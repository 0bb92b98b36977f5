"""Tests of the tests, as attention_mutants_test.py: mistakes in the other kernels,
each of which has to make the kernel's test fail."""

import os
import subprocess

import pytest

from attention_mutants_test import ROOT, copy_with

# name: (test, launchers, (file, what is there, what is put there instead)). Those of
# ALWAYS are tried in every run, all where MLA_SOAK is set.
ALWAYS = {"experts' rows are not waited for", "the row of the next block is gathered",
          "an equal score taken twice", "all equals of the last that top_k keeps"}
MUTANTS = {
    "no barrier before experts' rows are read": (
        "expert_gemm_test", "moe",
        ("cuda/expert_gemm.cuh",
         "    SyncBlock();  // step s is there; all have left the place of the one before\n", "")),
    "experts' rows are not waited for": (
        "expert_gemm_test", "moe",
        ("cuda/expert_gemm.cuh", "CopyAsyncWait<Shape::kStages - 2>();",
         "CopyAsyncWait<Shape::kStages - 1>();")),
    "codes behind k are multiplied": (
        "expert_gemm_test", "moe",
        ("cuda/expert_gemm.cuh", "left < 16 ? left : 16", "16")),
    "the scale of the codes before": (
        "expert_gemm_test", "moe",
        ("cuda/expert_gemm.cuh", "s % Shape::kScaleSteps == 0) {", "s % Shape::kScaleSteps == 1) {")),
    "sums of codes scaled twice": (
        "expert_gemm_test", "moe", ("cuda/expert_gemm.cuh", "  Clear<Shape>(part);\n}\n", "}\n")),
    "no barrier after experts are counted": (
        "moe_sort_test", "moe", ("cuda/moe_sort.cuh", "    SyncBlock();  // all warps' counts\n", "")),
    "a tile of the expert before": (
        "moe_sort_test", "moe",
        ("cuda/moe_sort.cuh", "(first_tile[middle] <= t ? e : end) = middle;",
         "(first_tile[middle] < t ? e : end) = middle;")),
    "the row of the next block is gathered": (
        "cache_kernels_test", "cache",
        ("cuda/cache_rows.cuh", "block_table[index / block_rows]",
         "block_table[(index + 1) / block_rows]")),
    "a row that only pads is written": (
        "cache_kernels_test", "cache",
        ("cuda/write_rows.cuh", "const int block = args.blocks[row];",
         "const int block = args.blocks[row] < 0 ? 0 : args.blocks[row];")),
    "a lane's own largest taken for its group's": (
        "fp8_rows_test", "cache",
        ("cuda/write_rows.cuh", "RowScale(WarpMax(most))", "RowScale(most)")),
    "codes behind the last whole group not written": (
        "fp8_rows_test", "cache",
        ("cuda/write_rows.cuh", "first < format.quantised;", "first + kRowScaleElements <= format.quantised;")),
    "no barrier before a row is rotated": (
        "write_rows_test", "cache rows", ("cuda/write_rows.cuh", "    SyncBlock();  // and normed\n", "")),
    "no barrier before a row is stored": (
        "write_rows_test", "cache rows", ("cuda/write_rows.cuh", "    SyncBlock();  // and rotated\n", "")),
    "heads turned by the first set's angles": (
        "write_rows_test", "cache rows",
        ("cuda/write_rows.cuh", "args.sets + set) * half", "args.sets) * half")),
    "a chunk's sum begins anew with every span": (
        "time_merge_kernel_test", "cache",
        ("cuda/time_merge.cuh", "is_sum && from % stride != 0 ?", "false ?")),
    "an equal score taken twice": (
        "select_kernel_test", "cache",
        ("cuda/radix_select.cuh", "own_equal += r == threshold ? 1 : 0;",
         "own_equal += r >= threshold ? 1 : 0;")),
    "no barrier before the histogram is read": (
        "select_kernel_test", "cache",
        ("cuda/radix_select.cuh",
         "      AtomicAdd(histogram + digit * 32 + lane, weight(i));\n    }\n    SyncBlock();\n",
         "      AtomicAdd(histogram + digit * 32 + lane, weight(i));\n    }\n")),
    "no barrier before a changed logit is looked for": (
        "sample_kernel_test", "sample",
        ("cuda/sample.cuh", "  SyncBlock();\n  if (threadIdx.x == 0 && newest >= 0", "  if (threadIdx.x == 0 && newest >= 0")),
    "no barrier before the likeliest is looked for": (
        "sample_kernel_test", "sample",
        ("cuda/sample.cuh", "logits[newest] = Changed(draw, s->newest_logit, 0.0f, 1);\n  }\n  SyncBlock();\n",
         "logits[newest] = Changed(draw, s->newest_logit, 0.0f, 1);\n  }\n")),
    "the newest token counted anew": (
        "sample_kernel_test", "sample", ("cuda/sample.cuh", "(count > 0 ? count : 0) + 1", "1")),
    "all equals of the last that top_k keeps": (
        "sample_kernel_test", "sample", ("cuda/sample.cuh", "kept = {rank, equal};", "kept = {rank, INT_MAX};")),
    "one token less than top_p": (
        "sample_kernel_test", "sample", ("cuda/sample.cuh", "(rest + each - 1) / each", "rest / each")),
    "the token before the one that is drawn": (
        "sample_kernel_test", "sample", ("cuda/sample.cuh", "Ballot(so_far > target)", "Ballot(so_far + own > target)")),
    "a logarithm of the sum of what was changed": (
        "sample_kernel_test", "sample",
        ("cuda/sample.cuh", "    if (changes[i].id == id) {", "    if (changes[i].id == id && i < 0) {")),
    "no barrier before the query is staged": (
        "select_kernel_test", "cache",
        ("cuda/index_scores.cuh", "        SyncBlock();  // all have done with what is staged\n", "")),
    "no barrier before a block's sum": (
        "row_kernels_test", "rows", ("cuda/row_sums.cuh", "  SyncBlock();  // all warps' sums\n", "")),
    "the mean left in the variance": (
        "row_kernels_test", "rows",
        ("cuda/norm.cuh", "squares += (x[i] - mean) * (x[i] - mean);", "squares += x[i] * x[i];")),
    "the other half turned the same way": (
        "row_kernels_test", "rows",
        ("cuda/elementwise.cuh", "b * args.cos[at] + a * args.sin[at]",
         "b * args.cos[at] - a * args.sin[at]")),
    "a cast without its zeros": (
        "row_kernels_test", "rows",
        ("cuda/elementwise.cuh", "i + 1 < args.length ? x[i + 1] : 0.0f", "x[i + 1]")),
}

assert ALWAYS <= MUTANTS.keys()


@pytest.mark.parametrize("name", [m for m in MUTANTS if m in ALWAYS or os.environ.get("MLA_SOAK")])
def test_a_mistake_is_noticed(name, tmp_path):
    test, launchers, change = MUTANTS[name]
    copy_with(tmp_path, change)
    binary = tmp_path / "test"
    built = subprocess.run(
        [os.environ["MLA_CXX"], "-std=c++20", "-O1", f"-I{tmp_path}", f"-I{ROOT}", f"-I{ROOT}/tests/support",
         f"-I{ROOT}/tests/support/cuda_host/include", "-x", "c++",
         *[tmp_path / f"kernels/cuda/launch/{name}.cu" for name in launchers.split()], ROOT / f"tests/cuda/{test}.cc", "-x", "none",
         os.environ["CUDA_HOST"], "-lgtest", "-lgtest_main", "-lgmock", "-lboost_context", "-ldl", "-lpthread",
         "-o", binary], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([binary, "--gtest_fail_fast", "--gtest_brief=1"], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode != 0, done.stdout
