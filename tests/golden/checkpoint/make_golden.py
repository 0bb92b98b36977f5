"""Writes the model files of tests/runtime/{safetensors,gguf,checkpoint}_test.cc
beside itself, with the packages that define what such files look like.

  pip install numpy==2.4.6 gguf==0.19.0 safetensors==0.8.0 ml_dtypes==0.6.0
  python make_golden.py
"""

import json
import pathlib
import shutil

import gguf
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent


def safetensors_file():
    save_file(
        {
            "f32": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
            "f16": np.array([1.5, -2.0, 65504.0], dtype=np.float16),
            "bf16": np.array([[3.0], [-0.5]], dtype=ml_dtypes.bfloat16),
            "f8": np.array([448.0, -0.25], dtype=ml_dtypes.float8_e4m3fn),
            "i32": np.array([7, -7], dtype=np.int32),
            "i64": np.array([1 << 40], dtype=np.int64),
            "scalar": np.array(42.0, dtype=np.float32),
            "empty": np.zeros((0, 5), dtype=np.float32),
            "mask": np.array([True, False, True]),
            "größe": np.ones(1, dtype=np.float32),
        },
        HERE / "small.safetensors",
        metadata={"format": "pt"},
    )


def sharded_folder():
    folder = HERE / "sharded"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shards = {
        "model-00001-of-00002.safetensors": {
            "a": np.array([1, 2, 3], dtype=np.float32)
        },
        "model-00002-of-00002.safetensors": {
            "b": np.array([4, 5], dtype=np.float32),
            "steps": np.array([9], dtype=np.uint8),
        },
    }
    for name, tensors in shards.items():
        save_file(tensors, folder / name)
    weight_map = {t: s for s, tensors in shards.items() for t in tensors}
    index = {"metadata": {"total_size": 21}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text('{"model_type": "llama"}\n')


def gguf_file():
    writer = gguf.GGUFWriter(HERE / "small.gguf", "llama")
    writer.add_uint8("u8", 200)
    writer.add_int8("i8", -100)
    writer.add_uint16("u16", 60000)
    writer.add_int16("i16", -30000)
    writer.add_uint32("u32", 4000000000)
    writer.add_int32("i32", -2000000000)
    writer.add_float32("f32", 0.25)
    writer.add_bool("yes", True)
    writer.add_bool("no", False)
    writer.add_string("text", "größer")
    writer.add_uint64("u64", (1 << 64) - 1)
    writer.add_int64("i64", -(1 << 63))
    writer.add_float64("f64", 0.1)
    writer.add_array("words", ["a", "", "ccc"])
    writer.add_array("floats", [0.5, -1.5])
    writer.add_array("integers", [1, -2, 3])
    writer.add_array("flags", [True, False])
    writer.add_array("nested", [[1, 2], [3]])
    writer.add_tensor("f32", np.arange(6, dtype=np.float32).reshape(2, 3) / 4)
    writer.add_tensor("f16", np.array([1.5, -2.0, 65504.0], dtype=np.float16))
    blocks = np.zeros((2, 3 * 34), dtype=np.uint8)
    blocks[:, 1::34] = 0x3C  # scale 1.0
    blocks[:, 2::34] = [[1, 2, 3], [4, 5, 6]]  # the first value of each block
    writer.add_tensor("q8_0", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("ids", np.array([[[5]], [[-5]]], dtype=np.int32))
    write_and_close(writer)


def split_gguf():
    # The writer names the parts itself: split-00001-of-00003.gguf and so on.
    writer = gguf.GGUFWriter(HERE / "split.gguf", "llama", split_max_tensors=1)
    for i, name in enumerate(["a", "b", "c"]):
        writer.add_tensor(name, np.full(2, i, dtype=np.float32))
    write_and_close(writer)


def write_and_close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    safetensors_file()
    sharded_folder()
    gguf_file()
    split_gguf()
