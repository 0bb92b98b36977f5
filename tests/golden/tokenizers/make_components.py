"""Writes components.jsonl: small tokenizer.json files that each use one component
or option, and what Hugging Face's tokenizers library makes of a few texts.

    pip install tokenizers
    python make_components.py > components.jsonl

The first two rows are whole files: {base, tokenizer}. The others: name, base,
changes (top-level fields that replace the base's), and cases: text, ids (with the
post-processor), decoded (special tokens kept).
"""

import copy
import json

from tokenizers import Tokenizer, pre_tokenizers

TEXTS = [
    "", " ", "a", "the cat", "  the  cat ", "The 12 cats, 3½ dogs!", "a\n\n b\r\nc\t", "x<s>y</s> z <s> <s>",
    "é e\u0301 \u0301\u0323a \u1100\u1161 Å ﬁ", "漢字 かな 😀", "a\u00a0b\u3000c\u180ed\u0085e", "it's 'LL we'Ve",
    "aaa aeiou bcd", "▁a▁", "spam  spamspam and sand Wand and", "\u0000\u007f", "thethethe",
]

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def byte_level_base():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("c", "a"), ("ca", "t"), ("Ġ", "Ġ"), ("a", "a"), ("Ġ", "cat"), ("1", "2"),
              ("Ċ", "Ċ"), ("Ã", "©"), ("l", "l")]
    tokens = ["<s>", "</s>"] + alphabet + [a + b for a, b in merges]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added(0, "<s>"), added(1, "</s>")],
        "normalizer": None, "pre_tokenizer": BYTE_LEVEL, "post_processor": None, "decoder": BYTE_LEVEL,
        "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": [list(m) for m in merges]},
    }


def sentencepiece_base():
    pieces = ["▁", "t", "h", "e", "a", "c", "s", "▁t", "he", "▁the", "ca", "▁a", "▁▁", "1", "2", "é"]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("c", "a"), ("▁", "a"), ("▁", "▁")]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + pieces
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None, "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
                  "vocab": {t: i for i, t in enumerate(tokens)}, "merges": [list(m) for m in merges]},
    }


def added(id, content, **flags):
    token = {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return token | flags


def variants():
    for behavior in ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            for pattern in [{"Regex": "[aeiou]+|\\s"}, {"String": " "}]:
                split = {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
                yield f"Split {behavior} {invert} {pattern}", byte_level_base() | {
                    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, BYTE_LEVEL]}}
    for regex in ["x*", "(?=[a-z])", "\\s+$", "^\\s*|$", "[[:alpha:]]+", "\\S+"]:
        split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        yield f"Split on {regex}", byte_level_base() | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, BYTE_LEVEL]}}
    for prefix in [False, True]:
        for regex in [False, True]:
            yield f"ByteLevel {prefix} {regex}", byte_level_base() | {
                "pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": prefix, "use_regex": regex}}
    for individual in [False, True]:
        digits = {"type": "Digits", "individual_digits": individual}
        yield f"Digits {individual}", byte_level_base() | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, BYTE_LEVEL]}}
    for scheme in ["always", "first", "never"]:
        for split in [False, True]:
            yield f"Metaspace {scheme} {split}", sentencepiece_base() | {
                "normalizer": None,
                "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}}
    for form in ["NFC", "NFD", "NFKC", "NFKD"]:
        yield form, byte_level_base() | {"normalizer": {"type": form}}
    yield "Replace by regex, Prepend", byte_level_base() | {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Prepend", "prepend": "é"}]}}
    for flags in [dict(lstrip=True), dict(rstrip=True), dict(single_word=True), dict(lstrip=True, rstrip=True), dict(normalized=True)]:
        base = byte_level_base()
        size = len(base["model"]["vocab"])
        base["added_tokens"] = [added(0, "<s>", **flags), added(1, "</s>", **flags), added(size, "and", special=False, **flags),
                                added(size + 1, "  ", special=False), added(size + 2, "spamspam", special=False),
                                added(size + 3, "spam", special=False)]
        yield f"added tokens {flags}", base
        yield f"added tokens and NFC {flags}", copy.deepcopy(base) | {"normalizer": {"type": "NFC"}}
    yield "byte fallback", sentencepiece_base()
    for fuse in [False, True]:
        base = sentencepiece_base()
        base["model"] |= {"byte_fallback": False, "fuse_unk": fuse}
        yield f"unknown tokens, fused: {fuse}", base
    base = byte_level_base()
    base["model"]["ignore_merges"] = True
    base["model"]["vocab"]["Ġcats"] = len(base["model"]["vocab"])
    base["pre_tokenizer"] = BYTE_LEVEL | {"use_regex": True}
    yield "ignore_merges", base
    base = byte_level_base()
    base["model"]["merges"] = [" ".join(m) for m in base["model"]["merges"]]
    yield "merges as strings", base
    template = {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}}
    yield "TemplateProcessing", byte_level_base() | {"post_processor": template}
    base = sentencepiece_base()
    base["decoder"]["decoders"] = base["decoder"]["decoders"][:3]
    yield "decoder without Strip", base
    base = sentencepiece_base()
    base["decoder"]["decoders"][3]["start"] = 3
    yield "decoder that strips three", base


def main():
    bases = {"byte_level": byte_level_base(), "sentencepiece": sentencepiece_base()}
    for base, tokenizer in bases.items():
        write({"base": base, "tokenizer": tokenizer})
    for name, tokenizer in variants():
        loaded = Tokenizer.from_str(json.dumps(tokenizer))
        base = "byte_level" if tokenizer["decoder"] == BYTE_LEVEL else "sentencepiece"
        cases = []
        for text in TEXTS:
            ids = loaded.encode(text).ids
            cases.append({"text": text, "ids": ids, "decoded": loaded.decode(ids, skip_special_tokens=False)})
        changes = {k: v for k, v in tokenizer.items() if v != bases[base][k]}
        write({"name": name, "base": base, "changes": changes, "cases": cases})


def write(row):
    print(json.dumps(row, ensure_ascii=True, separators=(",", ":")))


if __name__ == "__main__":
    main()
