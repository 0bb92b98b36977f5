"""Tests of the tests: each of these mistakes in the Hopper attention kernel, made
in a copy of the sources, has to make attention_hopper_test fail."""

import os
import pathlib
import subprocess

import pytest

from attention_mutants_test import ROOT, copy_with

KERNEL, BOXES = "cuda/attention_hopper.cuh", "cuda/launch/row_boxes.h"

# name: (file, what is there, what is put there instead). Those of ALWAYS are tried
# in every run, all where MLA_SOAK is set.
ALWAYS = {
    "a place is filled before it is left", "too few bytes expected", "a tile is read before it has come",
    "a place is left before its products are done", "no fence behind the probabilities", "values of rows behind the end",
    "results not shrunk when the maximum grows"}
MUTANTS = {
    "a place is filled before it is left": (
        KERNEL, "      WaitFor(&tile.Empty()[turn.stage], turn.parity ^ 1);\n", ""),
    "too few bytes expected": (
        KERNEL, "blocks * rows * Shape::kKeyDim * 2)", "blocks * rows * (Shape::kKeyDim - 64) * 2)"),
    "too many bytes expected": (
        KERNEL, "blocks * rows * Shape::kKeyDim * 2)", "blocks * rows * (Shape::kKeyDim + 64) * 2)"),
    "a tile is read before it has come": (
        KERNEL, "        WaitFor(&tile.Full()[turn.stage], turn.parity);\n", ""),
    "places taken in turn forgotten": (KERNEL, "parity(n / 2 % 2)", "parity(0)"),
    "a place is left before its products are done": (
        KERNEL, "    CommitProducts();\n    WaitForProducts(o);\n", "    CommitProducts();\n"),
    "a place is left before its values are read": (
        KERNEL, "    Accumulate(keys, o);\n  }", "    if (lane == 0) Arrive(&tile.Empty()[keys == tile.Keys(1)]);\n"
        "    Accumulate(keys, o);\n  }"),
    "scores are read before they are there": (
        KERNEL, "    CommitProducts();\n    WaitForProducts(s);\n", "    CommitProducts();\n"),
    "scores are not committed": (
        KERNEL, "    CommitProducts();\n    WaitForProducts(s);\n", "    WaitForProducts(s);\n"),
    "no fence behind the probabilities": (
        KERNEL, "    FenceAsyncProxy();\n    Sync();  // probabilities", "    Sync();  // probabilities"),
    "the fence before the probabilities": (
        KERNEL, "    Probabilities(s, most, sum, shrink);\n", "    FenceAsyncProxy();\n"
        "    Probabilities(s, most, sum, shrink);\n#define FenceAsyncProxy() (void)0\n"),
    "no fence behind the queries": (
        KERNEL, "      FenceAsyncProxy();\n      Sync();  // queries", "      Sync();  // queries"),
    "no fence before results are added to": (
        KERNEL, "    FenceProducts();\n    MLA_UNROLL\n    for (int i = 0; i < Shape::kTokens",
        "    MLA_UNROLL\n    for (int i = 0; i < Shape::kTokens"),
    "no barrier between the queries and their readers": (
        KERNEL, "      Sync();  // queries and limits\n", ""),
    "no barrier between the row maxima and their readers": (
        KERNEL, "    Sync();  // row maxima of both; keys are read, and so are probabilities\n", ""),
    "no barrier between the probabilities and their readers": (
        KERNEL, "    Sync();  // probabilities of both, and zeros\n", ""),
    "no barrier between the row sums and their readers": (KERNEL, "    Sync();  // row sums of both\n", ""),
    "values of rows behind the end": (
        KERNEL, "    if (end < first + Shape::kTokens) ClearValues(keys, end - first);\n", ""),
    "a value too few replaced": (KERNEL, "ClearValues(keys, end - first)", "ClearValues(keys, end - first + 1)"),
    "a query sees the token after it": (KERNEL, "token < limit", "token <= limit"),
    "sums not shrunk when the maximum grows": (KERNEL, "      sum[half] *= shrink[half];\n", ""),
    "results not shrunk when the maximum grows": (KERNEL, "o[i] *= shrink[i / 2 % 2];", "o[i] *= 1.0f;"),
    "the lane's second row taken for its first": (KERNEL, "o[i] *= shrink[i / 2 % 2];", "o[i] *= shrink[i % 2];"),
    "the other warpgroup's maxima forgotten": (
        KERNEL, "Max(maxima[0], maxima[Shape::kRows])", "maxima[0]"),
    "one warpgroup's maxima for each": (
        KERNEL, "Max(maxima[0], maxima[Shape::kRows])", "maxima[group * Shape::kRows]"),
    "the lse without its sum": (KERNEL, "most[half] + Log2(sum[half])", "most[half]"),
    "an empty piece weighed as a number": (KERNEL, "now == NegativeInfinity() ? 0.0f : now", "now"),
    "both warpgroups' values the same": (
        KERNEL, "group * (Shape::kValueBoxes / 2) * Shape::kBoxBytes", "0"),
    "boxes of values too close": (
        KERNEL, "                  Shape::kBoxBytes);", "                  Shape::kBoxBytes / 2);"),
    "the block after the right one": (
        KERNEL, "block_table[index / block_rows]", "block_table[(index + block_rows) / block_rows]"),
    "blocks behind the end are looked up": (
        KERNEL, "const int last = end < first + Shape::kTokens ? end : first + Shape::kTokens;",
        "const int last = first + Shape::kTokens;"),
    "rows one too wide": (BOXES, "(args.format.bytes)", "(args.format.bytes + 16)"),
}

assert ALWAYS <= MUTANTS.keys()


def build_and_run(folder):
    """attention_hopper_test with the headers of `folder` first."""
    binary = folder / "test"
    command = [os.environ["MLA_CXX"], "-std=c++20", "-O1", f"-I{folder}", f"-I{ROOT}", f"-I{ROOT}/tests/support",
               f"-I{ROOT}/tests/support/cuda_host/include", f"{ROOT}/tests/cuda/attention_hopper_test.cc",
               folder / "kernels/plan/attention_plan.cc", os.environ["CUDA_HOST"], "-lgtest", "-lgtest_main",
               "-lgmock", "-lboost_context", "-ldl", "-lpthread", "-o", binary]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([binary, "--gtest_fail_fast", "--gtest_brief=1"], capture_output=True, text=True,
                          timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_the_kernel_as_it_is_passes(tmp_path):
    copy_with(tmp_path)
    code, output = build_and_run(tmp_path)
    assert code == 0, output


@pytest.mark.parametrize("name", [m for m in MUTANTS if m in ALWAYS or os.environ.get("MLA_SOAK")])
def test_a_mistake_is_noticed(name, tmp_path):
    copy_with(tmp_path, MUTANTS[name])
    code, output = build_and_run(tmp_path)
    print(output[:600])
    assert code != 0, output
