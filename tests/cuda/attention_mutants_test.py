"""Tests of the tests: each of these mistakes in the attention kernels, made in a
copy of the sources, has to make attention_kernel_test fail."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNEL, TILES, PLAN = "cuda/attention.cuh", "cuda/row_tiles.cuh", "plan/attention_plan.cc"
ELEMENTS = "cuda/row_elements.cuh"

# name: (file, what is there, what is put there instead). Those of ALWAYS are tried
# in every run, all where MLA_SOAK is set.
ALWAYS = {
    "no barrier before a tile is read", "no barrier between the probabilities and their readers",
    "no barrier between one piece and the next", "a tile is not waited for",
    "key fragments of the wrong columns", "the block after the right one",
    "rows behind the end are read", "the lse without its sum"}
MUTANTS = {
    "no barrier before a tile is read": (
        KERNEL, "    SyncBlock();  // the tile is there; all have left the next one's place\n", ""),
    "no barrier between the row maxima and their readers": (
        KERNEL, "    SyncBlock();  // row maxima of all column warps\n", ""),
    "no barrier between the probabilities and their readers": (
        KERNEL, "    SyncBlock();  // their probabilities\n", ""),
    "no barrier between the row sums and their readers": (
        KERNEL, "    SyncBlock();  // row sums of all column warps\n", ""),
    "no barrier between the results and their readers": (
        KERNEL, "    SyncBlock();  // results of all warps\n", ""),
    "no barrier between one piece and the next": (
        KERNEL, "  SyncBlock();  // all have left what the piece before had in shared memory\n", ""),
    "a tile is not waited for": (
        KERNEL, "    CopyAsyncWait<0>();\n    SyncBlock();", "    CopyAsyncWait<1>();\n    SyncBlock();"),
    "key fragments of the wrong columns": (
        KERNEL, "MmaBf16(s[n], low, b[0], b[1]);", "MmaBf16(s[n], low, b[0], b[2]);"),
    "value fragments swapped": (
        KERNEL, "MmaBf16(o[n * 2], p, b[0], b[1]);", "MmaBf16(o[n * 2], p, b[2], b[3]);"),
    "the lane's second row taken for its first": (
        KERNEL, "RowLimit()[TileRow(1)]", "RowLimit()[TileRow(0)]"),
    "a query sees the token after it": (KERNEL, "index < limit[i / 2]", "index <= limit[i / 2]"),
    "sums not shrunk when the maximum grows": (KERNEL, "      sum[half] *= shrink[half];\n", ""),
    "results not shrunk when the maximum grows": (KERNEL, "o[n][i] *= shrink[i / 2];", "o[n][i] *= 1.0f;"),
    "the lse without its sum": (
        KERNEL, "most[half] + Log2(sum[half])", "most[half]"),
    "pieces weighed alike": (
        KERNEL, "Exp2(args.partial_lse[at(slot)] - base) * inverse", "inverse"),
    "a part's lse not merged": (KERNEL, "most + Log2(sum)}", "most}"),
    "an empty piece weighed as a number": (
        KERNEL, "now == NegativeInfinity() ? 0.0f : now", "now"),
    "the block after the right one": (
        TILES, "block_table[row / args.block_rows]", "block_table[(row + 1) / args.block_rows]"),
    "a block's place in 32 bits": (
        TILES, "static_cast<int64_t>(block) * args.block_bytes",
        "static_cast<int32_t>(static_cast<uint32_t>(block) * static_cast<uint32_t>(args.block_bytes))"),
    "rows behind the end are read": (
        TILES, "const bool is_there = first + r < end;", "const bool is_there = true;"),
    "elements behind the view's are read": (
        TILES, "if (element >= view.size()) continue;", ""),
    "the newest row is the cache's": (TILES, "if (index == newest) {", "if (false) {"),
    "all of a row read with its first scale": (
        ELEMENTS, "row + f.scales_at)[element / kRowScaleElements]", "row + f.scales_at)[0]"),
    "a code's sign lost": (ELEMENTS, "(code & 0x80u) << 24 | magnitude", "magnitude"),
    "the second code of a pair read twice": (
        ELEMENTS, "PackBf16(E4m3ToFloat(two) * scale,", "PackBf16(E4m3ToFloat(two >> 8) * scale,"),
    "a group reads the first one's slice": (
        TILES, "slices[i].offset + group * slices[i].group_stride", "slices[i].offset"),
    "a piece too few": (PLAN, "piece.begin < end; piece.begin += size",
                        "piece.begin < end - size; piece.begin += size"),
}


assert ALWAYS <= MUTANTS.keys()


def build_and_run(folder):
    """attention_kernel_test with the headers of `folder` first."""
    binary = folder / "test"
    command = [os.environ["MLA_CXX"], "-std=c++20", "-O1", f"-I{folder}", f"-I{ROOT}", f"-I{ROOT}/tests/support",
               f"-I{ROOT}/tests/support/cuda_host/include", f"{ROOT}/tests/cuda/attention_kernel_test.cc",
               folder / "kernels" / PLAN, os.environ["CUDA_HOST"], "-lgtest", "-lgtest_main", "-lgmock",
               "-lboost_context", "-ldl", "-lpthread", "-o", binary]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([binary, "--gtest_fail_fast", "--gtest_brief=1"], capture_output=True, text=True,
                          timeout=300)
    return done.returncode, done.stdout + done.stderr


def copy_with(folder, change=None):
    shutil.copytree(ROOT / "kernels/cuda", folder / "kernels/cuda")
    shutil.copytree(ROOT / "kernels/plan", folder / "kernels/plan")
    if change is None:
        return
    file, before, after = change
    path = folder / "kernels" / file
    text = path.read_text()
    assert before in text, f"{file} has changed: {before!r}"
    path.write_text(text.replace(before, after))


def test_the_kernels_as_they_are_pass(tmp_path):
    copy_with(tmp_path)
    code, output = build_and_run(tmp_path)
    assert code == 0, output


@pytest.mark.parametrize("name", [m for m in MUTANTS if m in ALWAYS or os.environ.get("MLA_SOAK")])
def test_a_mistake_is_noticed(name, tmp_path):
    copy_with(tmp_path, MUTANTS[name])
    code, output = build_and_run(tmp_path)
    assert code != 0, output
