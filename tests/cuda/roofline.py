#!/usr/bin/env python3
"""What the decode kernel could reach on an H100, by arithmetic: nothing here was
measured on a GPU. Prints the table of docs/CUDA.md.

A tile is 32 cached tokens for up to 16 or 64 query rows. What it moves and computes
is counted by attention_shapes_test (MoveEveryByteOnce) as the formulas below have it.
Clocks per tile and multiprocessor are what each unit alone would need.
"""

# NVIDIA H100 SXM data sheet: dense bf16, HBM3; 132 multiprocessors at 1.755 GHz boost.
BYTES_PER_SECOND = 3.35e12
FLOPS_PER_SECOND = 990e12
MULTIPROCESSORS = 132
CLOCK = 1.755e9
SHARED_BYTES_PER_CLOCK = 128  # of a multiprocessor
# mma.sync issues at about this share of wgmma's rate (2402.13499, table 8, H100 bf16).
MMA_SYNC_SHARE = 0.62
TOKENS = 32  # of a tile


def tile(key_dim, value_dim, rows):
    row_warps, column_warps = rows // 16, 4 if rows == 16 else 2
    warps = row_warps * column_warps
    score_tiles = TOKENS // column_warps // 8
    out_tiles = value_dim // column_warps // 8
    mma = row_warps * (key_dim // 16 * (TOKENS // 8) + TOKENS // 16 * (value_dim // 8))
    loads = warps * (key_dim // 32 * (2 + score_tiles) + TOKENS // 16 * (1 + out_tiles // 2))
    return dict(bytes=TOKENS * key_dim * 2, flops=mma * 16 * 8 * 16 * 2, shared=loads * 512)


def row(heads, rows, key_dim=576, value_dim=512):
    tiles = -(-heads // rows)  # of query rows: each reads the cached rows again
    t = tile(key_dim, value_dim, rows)
    clocks = {
        "HBM": t["bytes"] * tiles / (BYTES_PER_SECOND / MULTIPROCESSORS / CLOCK),
        "tensor cores": t["flops"] * tiles / (FLOPS_PER_SECOND * MMA_SYNC_SHARE / MULTIPROCESSORS / CLOCK),
        "shared memory": t["shared"] * tiles / SHARED_BYTES_PER_CLOCK,
    }
    if tiles > 1:  # two blocks that read the same rows at once find them in L2
        clocks["HBM"] /= tiles
    limit = max(clocks, key=clocks.get)
    seconds = clocks[limit] / CLOCK / MULTIPROCESSORS
    useful = 2 * heads * TOKENS * (key_dim + value_dim)
    return [heads, rows, f"{2 * heads * (key_dim + value_dim):,}", key_dim * 2,
            *(f"{c:,.0f}" for c in clocks.values()), limit,
            f"{TOKENS * key_dim * 2 / seconds / BYTES_PER_SECOND:.0%}",
            f"{useful / seconds / FLOPS_PER_SECOND:.0%}"]


def main():
    print("| heads | rows a tile | FLOPs a token | bytes a token | clocks: HBM | tensor cores "
          "| shared memory | limit | of 3.35 TB/s | of 990 TFLOP/s |")
    print("|---:|---:|---:|---:|---:|---:|---:|---|---:|---:|")
    for heads, rows in ((16, 16), (32, 64), (64, 64), (128, 64)):
        print("| " + " | ".join(str(x) for x in row(heads, rows)) + " |")


if __name__ == "__main__":
    main()
