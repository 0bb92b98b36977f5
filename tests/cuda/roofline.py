#!/usr/bin/env python3
"""What the decode kernels could reach on an H100, by arithmetic: nothing here was
measured on a GPU. Prints the table of docs/CUDA.md.

A tile is 32 cached tokens (Hopper's kernel: 64) for up to 16 or 64 query rows. What
it moves and computes is counted by attention_shapes_test (MoveEveryByteOnce) and
attention_hopper_test (MovesEveryByteOnce) as the formulas below have it. Clocks are
per 32 tokens and multiprocessor, what each unit alone would need.
"""

# NVIDIA H100 SXM data sheet: dense bf16, HBM3; 132 multiprocessors at 1.755 GHz boost.
BYTES_PER_SECOND = 3.35e12
FLOPS_PER_SECOND = 990e12
MULTIPROCESSORS = 132
CLOCK = 1.755e9
SHARED_BYTES_PER_CLOCK = 128  # of a multiprocessor
# mma.sync issues at about this share of wgmma's rate (2402.13499, table 8, H100 bf16).
MMA_SYNC_SHARE = 0.62
TOKENS = 32  # of a portable tile
HOPPER_TOKENS = 64


def tile(key_dim, value_dim, rows):
    row_warps, column_warps = rows // 16, 4 if rows == 16 else 2
    warps = row_warps * column_warps
    score_tiles = TOKENS // column_warps // 8
    out_tiles = value_dim // column_warps // 8
    mma = row_warps * (key_dim // 16 * (TOKENS // 8) + TOKENS // 16 * (value_dim // 8))
    loads = warps * (key_dim // 32 * (2 + score_tiles) + TOKENS // 16 * (1 + out_tiles // 2))
    copied = TOKENS * key_dim * 2  # arrives in shared memory besides
    return dict(bytes=copied, flops=mma * 16 * 8 * 16 * 2, shared=loads * 512 + copied, share=MMA_SYNC_SHARE)


def hopper_tile(key_dim, value_dim, rows):
    """Two warpgroups: of the scores each has half of the tokens, of the results half of the columns."""
    tokens = HOPPER_TOKENS
    scores = 2 * (rows + tokens // 2) * key_dim * 2
    results = 2 * (rows + value_dim // 2) * tokens * 2
    copied = tokens * key_dim * 2
    probabilities = rows * tokens * 2  # stored; read with the results
    flops = 2 * rows * tokens * (key_dim + value_dim)
    per_portable_tile = TOKENS / tokens
    return dict(bytes=copied * per_portable_tile, flops=flops * per_portable_tile,
                shared=(scores + results + copied + probabilities) * per_portable_tile, share=1)


def row(heads, rows, kernel=tile, key_dim=576, value_dim=512):
    tiles = -(-heads // rows)  # of query rows: each reads the cached rows again
    t = kernel(key_dim, value_dim, rows)
    clocks = {
        "HBM": t["bytes"] * tiles / (BYTES_PER_SECOND / MULTIPROCESSORS / CLOCK),
        "tensor cores": t["flops"] * tiles / (FLOPS_PER_SECOND * t["share"] / MULTIPROCESSORS / CLOCK),
        "shared memory": t["shared"] * tiles / SHARED_BYTES_PER_CLOCK,
    }
    if tiles > 1:  # two blocks that read the same rows at once find them in L2
        clocks["HBM"] /= tiles
    limit = max(clocks, key=clocks.get)
    seconds = clocks[limit] / CLOCK / MULTIPROCESSORS
    useful = 2 * heads * TOKENS * (key_dim + value_dim)
    return [heads, "mma.sync" if kernel is tile else "wgmma", rows, f"{2 * heads * (key_dim + value_dim):,}", key_dim * 2,
            *(f"{c:,.0f}" for c in clocks.values()), limit,
            f"{TOKENS * key_dim * 2 / seconds / BYTES_PER_SECOND:.0%}",
            f"{useful / seconds / FLOPS_PER_SECOND:.0%}"]


def main():
    print("| heads | kernel | rows a tile | FLOPs a token | bytes a token | clocks: HBM | tensor cores "
          "| shared memory | limit | of 3.35 TB/s | of 990 TFLOP/s |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---|---:|---:|")
    for heads, rows, kernel in ((16, 16, tile), (32, 64, tile), (32, 64, hopper_tile), (64, 64, tile),
                                (64, 64, hopper_tile), (128, 64, tile), (128, 64, hopper_tile)):
        print("| " + " | ".join(str(x) for x in row(heads, rows, kernel)) + " |")


if __name__ == "__main__":
    main()
