"""The files of a Hugging Face folder that the runtime writes, read by the packages that
define them: safetensors files are the package's to the byte, and a GGUF's tokenizer gives
in tokenizers the ids of the tokenizer.json that the GGUF was made from."""

import json
import os
import pathlib
import subprocess

import gguf
import numpy as np
import pytest
import safetensors
import tokenizers

import server_process

WRITER = os.environ.get("HF_WRITER", str(server_process.ROOT / "build/release/bin/hf_writer"))
GOLDEN = server_process.models_folder().parent / "tokenizers"
PRE = {"gpt2digits": "smollm", "llama3": "llama-bpe", "qwen2": "qwen2",
       "deepseek_v3": "deepseek-v3", "deepseek_llm": "deepseek-llm", "llama2": None}
# The others of runtime/tokenizer/gguf_pre_tokenizers.cc, of which there is no golden.
OTHER_PRE = ["default", "gpt-2", "phi-2", "starcoder", "refact", "command-r", "llama3",
             "llama-v3", "glm4", "chatglm-bpe", "deepseek-r1-qwen"]


def run(*arguments):
    done = subprocess.run([WRITER, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@np.errstate(invalid="ignore")  # NaN among the values
def to_bf16(values):
    """The nearer of the two bf16 around each value, of two as near the even one. Not the
    runtime's way: the distances are computed, in f64."""
    below = values.view(np.uint32) >> 16
    above = below + 1
    low = (below << 16).view(np.float32).astype(np.float64)
    high = (above << 16).view(np.float32).astype(np.float64)
    high = np.where(np.isinf(high), np.copysign(2.0**128, high), high)
    exact = values.astype(np.float64)
    down, up = np.abs(exact - low), np.abs(high - exact)
    nearest = np.where((up < down) | ((up == down) & (below % 2 == 1)), above, below)
    special = np.where(np.isnan(values), below | 0x40, below)
    return np.where(np.isfinite(values), nearest, special).astype(np.uint16)


def test_to_bf16_rounds_ties_to_even():
    bits = np.array([0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0xff800000], np.uint32)
    expected = [0x3f80, 0x3f82, 0x3f81, 0x7f80, 0xff80]
    assert to_bf16(bits.view(np.float32)).tolist() == expected


def floats(shape, seed):
    """Of every sign, size and kind, half of them exactly between two bf16."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2**32, shape, np.uint32)
    ties = (bits & np.uint32(0xffff0000)) | np.uint32(0x8000)
    return np.where(random.random(shape) < 0.5, bits, ties).astype(np.uint32).view(np.float32)


def test_safetensors_files_are_the_packages_to_the_byte(tmp_path):
    shapes = {"model.embed_tokens.weight": (37, 5), "größe \"\\\n\x01": (3,), "scalar": (),
              "empty": (0, 4), "model.layers.10.a": (2, 3, 5), "model.layers.9.a": (4099,)}
    tensors, spec, kept = {}, [], []
    for i, (name, shape) in enumerate(shapes.items()):
        for kind in ("F32", "BF16"):
            values = floats(shape, i)
            data = np.array(values if kind == "F32" else to_bf16(values))
            kept.append(data)
            tensors[f"{name}.{kind}"] = safetensors.TensorSpec(
                dtype={"F32": "float32", "BF16": "bfloat16"}[kind], shape=list(shape),
                data_ptr=data.ctypes.data, data_len=data.nbytes)
            spec.append({"name": f"{name}.{kind}", "type": kind, "shape": list(shape),
                         "bits": values.view(np.uint32).flatten().tolist()})
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    run("tensors", tmp_path / "spec.json", tmp_path / "ours.safetensors")
    ours = (tmp_path / "ours.safetensors").read_bytes()
    assert ours == safetensors.serialize(tensors, metadata={"format": "pt"})
    with safetensors.safe_open(tmp_path / "ours.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
        assert sorted(file.keys()) == sorted(tensors)
        for i, (name, shape) in enumerate(shapes.items()):
            read = file.get_tensor(f"{name}.F32")
            assert read.shape == shape
            assert read.tobytes() == floats(shape, i).tobytes()


def write_gguf(folder, path, pre):
    """What llama.cpp's converter makes of a folder's tokenizer."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    model, kind = tokenizer["model"], gguf.TokenType
    ids = {**model["vocab"], **{t["content"]: t["id"] for t in tokenizer["added_tokens"]}}
    types = dict.fromkeys(ids.values(), kind.NORMAL)
    for token in tokenizer["added_tokens"]:
        types[token["id"]] = kind.CONTROL if token["special"] else kind.USER_DEFINED
    w = gguf.GGUFWriter(path, "llama")
    w.add_token_list(sorted(ids, key=ids.get))
    if model["byte_fallback"]:
        types.update({i: kind.BYTE for t, i in ids.items() if t.startswith("<0x")})
        types[ids[model["unk_token"]]] = kind.UNKNOWN
        scores = dict.fromkeys(types, -1e9)
        for rank, merge in reversed(list(enumerate(model["merges"]))):
            scores[ids["".join(merge)]] = -float(rank)
        w.add_tokenizer_model("llama")
        w.add_token_scores([scores[i] for i in sorted(scores)])
    else:
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre(pre)
        w.add_token_merges([" ".join(m) for m in model["merges"]])
    w.add_token_types([types[i] for i in sorted(types)])
    for name, add in (("bos_token", w.add_bos_token_id), ("eos_token", w.add_eos_token_id),
                      ("unk_token", w.add_unk_token_id), ("pad_token", w.add_pad_token_id)):
        if config[name] is not None:
            add(ids[config[name]])
    w.add_add_bos_token(config["add_bos_token"])
    if "chat_template" in config:
        w.add_chat_template(config["chat_template"])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def convert(gguf_file, folder):
    """The folder's tokenizer, once written, as tokenizers reads it."""
    folder.mkdir()
    assert run("tokenizer", gguf_file, folder) == "", "a warning"
    text = (folder / "tokenizer.json").read_text()
    made = tokenizers.Tokenizer.from_str(text)
    assert made.to_str(pretty=True) == text
    return made


def check_encodes(made, golden):
    for row in rows(golden):
        assert made.encode(row["text"], add_special_tokens=False).ids == row["ids"], row["text"]
        if "ids_with_special" in row:
            assert made.encode(row["text"]).ids == row["ids_with_special"], row["text"]


def check_decodes(made, golden):
    for row in rows(golden):
        assert made.decode(row["ids"], skip_special_tokens=False) == row["text"]
        assert made.decode(row["ids"]) == row["text_skip_special"]


@pytest.mark.parametrize("family", PRE)
def test_tokenizers_gives_the_ids_of_the_original(family, tmp_path):
    write_gguf(GOLDEN / family, tmp_path / "t.gguf", PRE[family])
    made = convert(tmp_path / "t.gguf", tmp_path / "hf")
    check_encodes(made, GOLDEN / family / "encode.jsonl")
    check_decodes(made, GOLDEN / family / "decode.jsonl")
    old = json.loads((GOLDEN / family / "tokenizer_config.json").read_text())
    new = json.loads((tmp_path / "hf/tokenizer_config.json").read_text())
    for name, value in new.items():
        assert old[name] == value, name
    missing = {name for name, value in old.items() if value is not None} - set(new)
    assert missing == {"added_tokens_decoder", "model_max_length"}
    generation = json.loads((tmp_path / "hf/generation_config.json").read_text())
    assert generation["eos_token_id"] == made.token_to_id(old["eos_token"])


@pytest.mark.parametrize("pre", OTHER_PRE)
def test_tokenizers_gives_the_ids_that_the_gguf_gives(pre, tmp_path):
    write_gguf(GOLDEN / "qwen2", tmp_path / "t.gguf", pre)
    made = convert(tmp_path / "t.gguf", tmp_path / "hf")
    texts = [row["text"] for row in rows(GOLDEN / "qwen2/encode.jsonl")]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    ids = json.loads(run("encode", tmp_path / "t.gguf", tmp_path / "texts.json"))
    for text, (bare, whole) in zip(texts, ids, strict=True):
        assert made.encode(text, add_special_tokens=False).ids == bare, text
        assert made.encode(text).ids == whole, text


def test_smollm2s_own_gguf_gives_its_own_ids(tmp_path):
    path = pathlib.Path(os.environ["MLA_SMOLLM2_GGUF"])
    made = convert(path, tmp_path / "hf")
    check_encodes(made, GOLDEN / "smollm2_encode.jsonl")
    check_decodes(made, GOLDEN / "smollm2_decode.jsonl")
    config = json.loads((tmp_path / "hf/tokenizer_config.json").read_text())
    template = gguf.GGUFReader(path).fields["tokenizer.chat_template"].contents()
    assert config["chat_template"] == template
