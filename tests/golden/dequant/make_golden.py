"""Writes the golden values of tests/kernels/dequantize_test.cc beside itself.

TYPE.blocks are elements as a model file stores them, TYPE.floats what they
stand for, little-endian float32. Oracles: the package gguf for GGUF's block
types, numpy for binary16, ml_dtypes for the other two. f16.floats has no file
of blocks: it holds the values of the bit patterns 0 to 0x7fff in order.

  pip install numpy==2.4.6 gguf==0.19.0 ml_dtypes==0.6.0
  python make_golden.py
"""

import pathlib

import gguf
import ml_dtypes
import numpy as np
from gguf.constants import GGML_QUANT_SIZES

HERE = pathlib.Path(__file__).parent
ELEMENTS = 3072  # per quantised type

# Byte offsets of a block's binary16 scales and offsets.
SCALES = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}

# Zeros, the smallest and the largest subnormal, the smallest normal, and the
# largest values that binary16 has, of both signs.
EXTREME = np.array(
    [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF],
    dtype=np.uint16,
).view(np.float16)


def make_blocks(rng, type_name):
    elements, size = GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_name]]
    count = ELEMENTS // elements
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for i, at in enumerate(SCALES[type_name]):
        scale = rng.normal(0, 0.05, count).astype(np.float16)
        # Rolled, so that a block's scale and offset are not the same extreme.
        extreme = np.roll(EXTREME, i)[:count]
        scale[: len(extreme)] = extreme
        blocks[:, at : at + 2] = scale.view(np.uint8).reshape(count, 2)
    return blocks


def write(name, blocks, floats):
    assert floats.dtype == np.float32
    (HERE / f"{name}.blocks").write_bytes(blocks.tobytes())
    (HERE / f"{name}.floats").write_bytes(floats.tobytes())


def main():
    rng = np.random.default_rng(1)
    for type_name in SCALES:
        blocks = make_blocks(rng, type_name)
        quant = gguf.GGMLQuantizationType[type_name]
        floats = gguf.quants.dequantize(blocks, quant)
        write(type_name.lower(), blocks, floats)

    f16 = np.arange(0x8000, dtype=np.uint16).view(np.float16)
    (HERE / "f16.floats").write_bytes(f16.astype(np.float32).tobytes())
    bf16 = rng.integers(0, 0x10000, 1024, dtype=np.uint16)
    write("bf16", bf16, bf16.view(ml_dtypes.bfloat16).astype(np.float32))
    f8 = np.arange(256, dtype=np.uint8)
    write("fp8_e4m3", f8, f8.view(ml_dtypes.float8_e4m3fn).astype(np.float32))


if __name__ == "__main__":
    main()
