"""`mlaserve convert --report` on tiny models: every figure of the page against numpy in
float64, the pages read by strict parsers, and text that would be markup."""

import itertools
import json
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import gguf
import html5lib
import numpy as np
import pytest
import safetensors
from markdown_it import MarkdownIt
from safetensors.numpy import save_file
from tokenizers import Tokenizer

import server_process
from convert_test import GGUF, TEXT, WINDOW, at, load, logits

sys.path.insert(0, str(server_process.ROOT / "tests/oracles"))
from numerics import attend, rms_norm, rope, sigmoid  # noqa: E402

MODEL = server_process.model_folder("qwen2")
CONTEXT, POOL = 8192, 2**30
CALIBRATION_WINDOWS = 9
METHOD = "sequential:kv_lora_rank=20,qk_rope_head_dim=12"
XHTML, SVG = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/2000/svg}"


def convert(model, folder, *flags, text=TEXT, windows=CALIBRATION_WINDOWS, method=METHOD):
    return subprocess.run(
        [server_process.BINARY, "convert", "--in", str(model), "--out", str(folder), "--method",
         method, "--calibration", str(text), "--window-tokens", str(WINDOW),
         "--calibration-tokens", str(windows * WINDOW), "--dtype", "f32", *flags],
        capture_output=True, text=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The converted folder, its page and Markdown page, and what was printed."""
    tmp = tmp_path_factory.mktemp("report")
    html, markdown = tmp / "pages/report.html", tmp / "pages/report.md"
    first = convert(MODEL, tmp / "out", "--report", str(html))
    assert first.returncode == 0, first.stderr
    # The conversion is there already and is the same with a report or without.
    second = convert(MODEL, tmp / "out", "--report", str(markdown))
    assert second.returncode == 0, second.stderr
    assert second.stderr.count("was there already") == 3
    assert convert(MODEL, tmp / "out").returncode == 0
    return tmp / "out", html, markdown, first


def figures(page):
    return json.loads(page.with_name(page.name + ".json").read_text())


def load_source(folder):
    """Tensors as float32; numpy has no bf16."""
    tensors = {}
    for name, t in safetensors.deserialize((folder / "model.safetensors").read_bytes()):
        assert t["dtype"] == "BF16"
        bits = np.frombuffer(t["data"], np.uint16).astype(np.uint32) << 16
        tensors[name] = bits.view(np.float32).reshape(t["shape"])
    return tensors


def gqa_logits(folder, ids):
    """Qwen2 as transformers computes it (grouped heads, biases on q, k and v)."""
    config = json.loads((folder / "config.json").read_text())
    tensors = load_source(folder)
    get = lambda name: tensors[name].astype(np.float64)
    linear = lambda x, name: x @ get(name + ".weight").T + (
        get(name + ".bias") if name + ".bias" in tensors else 0)
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    eps, dim = config["rms_norm_eps"], config["hidden_size"] // heads
    x = get("model.embed_tokens.weight")[ids]
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        y = rms_norm(x, get(p + "input_layernorm.weight"), eps)
        q, k, v = (linear(y, f"{p}self_attn.{n}_proj").reshape(len(ids), -1, dim) for n in "qkv")
        turn = lambda z: rope(z, theta=config["rope_theta"])
        out = [attend(turn(q[:, h]), turn(k[:, h * groups // heads]), v[:, h * groups // heads],
                      dim ** -0.5) for h in range(heads)]
        x = x + linear(np.concatenate(out, 1), p + "self_attn.o_proj")
        z = rms_norm(x, get(p + "post_attention_layernorm.weight"), eps)
        gate = linear(z, p + "mlp.gate_proj")
        x = x + linear(gate * sigmoid(gate) * linear(z, p + "mlp.up_proj"), p + "mlp.down_proj")
    head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
    return rms_norm(x, get("model.norm.weight"), eps) @ get(head + ".weight").T


def windows_of(text):
    ids = Tokenizer.from_file(str(MODEL / "tokenizer.json")).encode(
        text.read_text(), add_special_tokens=False).ids
    return [ids[i:i + WINDOW] for i in range(0, len(ids) - WINDOW + 1, WINDOW)]


def spread(items, count):
    return [items[i * len(items) // count] for i in range(count)]


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def measure(folder, windows):
    """The figures by their definitions; top-1 agreement with its least and most, where
    float32 may decide between two tokens otherwise."""
    config, tensors = load(folder)
    nll, other_nll, kl, same, unsure = [], [], [], [], []
    for ids in windows:
        a, b = gqa_logits(MODEL, ids)[:-1], logits(config, tensors, ids)[:-1]
        p, q = log_softmax(a), log_softmax(b)
        next_ids = np.arange(len(ids) - 1), ids[1:]
        nll += list(-p[next_ids])
        other_nll += list(-q[next_ids])
        kl += list((np.exp(p) * (p - q)).sum(-1))
        same += list(a.argmax(-1) == b.argmax(-1))
        margins = [np.diff(np.sort(x)[:, -2:])[:, 0] for x in (a, b)]
        unsure += list(np.minimum(*margins) < 1e-3)
    return dict(tokens=len(nll), source_nll=np.mean(nll), converted_nll=np.mean(other_nll),
                kl=np.mean(kl), agreement=np.mean(same), slack=np.mean(unsure))


def check_quality(found, expected):
    assert found["tokens"] == expected["tokens"]
    for name in ("source_nll", "converted_nll", "kl"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4)
    assert found["source_perplexity"] == pytest.approx(np.exp(expected["source_nll"]), rel=2e-3)
    assert found["converted_perplexity"] == pytest.approx(np.exp(expected["converted_nll"]), rel=2e-3)
    assert abs(found["top1_agreement"] - expected["agreement"]) <= expected["slack"] + 1e-12


def test_the_figures_are_those_of_windows_that_did_not_calibrate(made):
    folder, page = made[:2]
    windows = windows_of(TEXT)
    calibrating = spread(range(len(windows)), CALIBRATION_WINDOWS)
    left = [w for i, w in enumerate(windows) if i not in calibrating]
    held_out = spread(left, min(16, len(windows) // 8))
    assert len(held_out) > 1
    found = figures(page)
    assert found["calibration"] == {"files": [str(TEXT)], "windows": CALIBRATION_WINDOWS,
                                    "window_tokens": WINDOW}
    assert found["evaluation"]["held_out"] and found["evaluation"]["windows"] == len(held_out)
    check_quality(found["evaluation"], measure(folder, held_out))


def test_it_evaluates_on_other_files(made, tmp_path):
    text = server_process.ROOT / "README.md"
    page = tmp_path / "other.html"
    done = convert(MODEL, made[0], "--report", str(page), "--evaluate", str(text))
    assert done.returncode == 0, done.stderr
    found = figures(page)["evaluation"]
    assert not found["held_out"] and found["files"] == [str(text)]
    windows = windows_of(text)
    check_quality(found, measure(made[0], spread(windows, min(16, len(windows)))))


def test_a_short_text_calibrates_on_less_to_hold_some_out(tmp_path):
    windows = windows_of(TEXT)
    done = convert(MODEL, tmp_path / "out", "--report", str(tmp_path / "a.html"), windows=10**4)
    assert done.returncode == 0, done.stderr
    found = figures(tmp_path / "a.html")
    held_out = min(16, len(windows) // 8)
    assert found["evaluation"]["windows"] == held_out
    assert found["calibration"]["windows"] == len(windows) - held_out


@pytest.mark.parametrize("method", ["exact", "mha2mla:kv_lora_rank=24,qk_rope_head_dim=16"])
def test_what_other_methods_save_and_lose(method, tmp_path):
    page = tmp_path / "r.html"
    done = convert(MODEL, tmp_path / "out", "--report", str(page), method=method)
    assert done.returncode == 0, done.stderr
    found, document = figures(page), parse(page)
    check_tables(html_tables(document), found)
    inspect = subprocess.run([server_process.BINARY, "inspect", str(tmp_path / "out"), "--json"],
                             capture_output=True, text=True, check=True)
    per_token = json.loads(inspect.stdout)["kv_bytes_per_token"]
    assert found["cache"]["converted"]["bytes_per_token"] == per_token
    if method == "exact":
        e = found["evaluation"]
        assert found["cache"]["ratio"] == 1 and e["kl"] < 1e-6 and e["top1_agreement"] == 1
        assert e["converted_nll"] == pytest.approx(e["source_nll"], rel=1e-6)
        assert found["samples"]["texts"][0]["source"] == found["samples"]["texts"][0]["converted"]


def test_cache_layers_and_making(made):
    folder, page, markdown, printed = made
    found, again = figures(page), figures(markdown)
    source = json.loads((MODEL / "config.json").read_text())
    config = load(folder)[0]
    layers = source["num_hidden_layers"]
    source_row = 2 * source["num_key_value_heads"] * source["hidden_size"] // source["num_attention_heads"]
    rows = [at(config["kv_lora_rank"], i) + at(config["qk_rope_head_dim"], i) for i in range(layers)]
    for name, elements in (("source", layers * source_row), ("converted", sum(rows))):
        per_token = 2 * elements  # bf16
        assert found["cache"][name] == {
            "bytes_per_token": per_token, "bytes_per_sequence": CONTEXT * per_token,
            "tokens_in_pool": POOL // per_token}
    assert found["cache"]["ratio"] == sum(rows) / (layers * source_row)
    state = json.loads((folder / "conversion.json").read_text())
    assert found["layers"] == [
        {"kv_lora_rank": at(config["kv_lora_rank"], i),
         "qk_rope_head_dim": at(config["qk_rope_head_dim"], i), "row_elements": rows[i],
         "source_row_elements": source_row, "energy_kept": layer["energy_kept"]}
        for i, layer in enumerate(state["layers"])]
    assert found["source"] == "qwen2" and found["converted"] == str(folder)
    assert found["method"] == state["method"] and found["dtype"] == "f32"
    assert (found["layers_resumed"], again["layers_resumed"]) == (0, layers)
    assert 0 < found["seconds"] and 2**20 < found["peak_memory_bytes"] < 2**32
    assert found["warnings"] == []
    assert str(page) in printed.stdout
    assert {p.name for p in page.parent.iterdir()} == {
        "report.html", "report.html.json", "report.md", "report.md.json", "report.md.svg"}
    for name in ("layers", "cache", "evaluation", "samples"):
        assert found[name] == again[name]  # the same model gives the same figures


def test_samples_are_what_both_models_serve(made):
    found = figures(made[1])["samples"]
    assert found["chat"] and 3 <= len(found["texts"]) <= 5
    for name, folder in (("source", MODEL), ("converted", made[0])):
        server = server_process.Server.at(folder)
        try:
            for text in found["texts"]:
                done = subprocess.run(
                    [server_process.BINARY, "generate", "--target", server.grpc, "--chat",
                     "--prompt", text["prompt"], "--temperature", "0", "--repetition-penalty", "1",
                     "--max-tokens", str(found["max_tokens"])], capture_output=True, check=True)
                assert done.stdout.decode() == text[name] + "\n"
        finally:
            server.kill()


# --- the pages ---

def visible(text):
    """What a reader sees of characters that no HTML may hold."""
    def one(c):
        if c < " " and c not in "\n\t":
            return chr(0x2400 + ord(c))
        bad = 0x7F <= ord(c) <= 0x9F or 0xFDD0 <= ord(c) <= 0xFDEF or ord(c) & 0xFFFE == 0xFFFE
        return "\N{REPLACEMENT CHARACTER}" if bad else c
    return "".join(map(one, text))


def parse(page):
    """As a browser does, but for errors, which fail."""
    return html5lib.HTMLParser(strict=True).parse(page.read_bytes(), transport_encoding="utf-8")


def text_of(element):
    return "".join(element.itertext())


def html_tables(document):
    return [[[text_of(cell) for cell in row if cell.tag in (XHTML + "td", XHTML + "th")]
             for row in table.iter(XHTML + "tr")] for table in document.iter(XHTML + "table")]


def markdown_tokens(page):
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


def plain(inline):
    assert all(child.type in ("text", "text_special") for child in inline.children), inline.content
    return "".join(child.content for child in inline.children)


def markdown_tables(tokens):
    tables, row = [], None
    for token in tokens:
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("th_open", "td_open"):
            row = tables[-1][-1]
        elif token.type == "inline" and row is not None:
            row.append(plain(token))
        elif token.type in ("th_close", "td_close"):
            row = None
    return tables


def number(text):
    return float(text.replace(",", "").split()[0])


def by_name(table):
    return {row[0]: [number(cell) for cell in row[1:]] for row in table if row[0]}


def check_tables(tables, found):
    cache, quality, layers = tables[:3]
    assert cache[0] == ["", "source", "converted", "converted / source"]
    before, after = found["cache"]["source"], found["cache"]["converted"]
    ratio = 100 * found["cache"]["ratio"]
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    rows = {row[0]: row[1:] for row in cache[1:]}
    assert by_name(cache)["Bytes a token"] == [
        before["bytes_per_token"], after["bytes_per_token"], pytest.approx(ratio, abs=0.005)]
    for cell, side in zip(rows["A sequence of 8,192 tokens"], (before, after)):
        unit = units[cell.split()[1]]
        assert number(cell) * unit == pytest.approx(side["bytes_per_sequence"], abs=0.051 * unit)
    fit = lambda a, b: [a, b, pytest.approx(b / a, abs=0.005)]
    assert by_name(cache)["Tokens in a pool of 1.0 GiB"] == fit(
        before["tokens_in_pool"], after["tokens_in_pool"])
    assert by_name(cache)["Sequences of 8,192 tokens in it"] == fit(
        POOL // before["bytes_per_sequence"], POOL // after["bytes_per_sequence"])

    e = found["evaluation"]
    assert quality[0] == ["", "source", "converted"]
    assert by_name(quality) == {
        "Perplexity": [pytest.approx(e["source_perplexity"], rel=1e-3),
                       pytest.approx(e["converted_perplexity"], rel=1e-3)],
        "Mean negative log-likelihood, nats a token": [
            pytest.approx(e["source_nll"], abs=1e-4), pytest.approx(e["converted_nll"], abs=1e-4)],
        "Mean KL(source || converted), nats a token": [0, pytest.approx(e["kl"], abs=1e-4)],
        "Likeliest token is the source's": [
            100, pytest.approx(100 * e["top1_agreement"], abs=0.01)]}

    assert layers[0] == ["layer", "kv_lora_rank", "qk_rope_head_dim", "elements",
                         "source elements", "energy kept"]
    assert [[number(c) for c in row] for row in layers[1:]] == [
        [i, layer["kv_lora_rank"], layer["qk_rope_head_dim"], layer["row_elements"],
         layer["source_row_elements"], pytest.approx(100 * layer["energy_kept"], abs=0.01)]
        for i, layer in enumerate(found["layers"])]


def test_the_page_is_valid_and_has_every_figure(made):
    page = made[1]
    document, found = parse(page), figures(page)
    tables = html_tables(document)
    assert len(tables) == 4
    check_tables(tables, found)
    making = {row[0]: row[1] for row in tables[3]}
    assert making["Method"] == found["method"]
    assert number(making["Time"]) == pytest.approx(found["seconds"], abs=0.051)
    assert making["Calibration"] == f"{CALIBRATION_WINDOWS} windows of {WINDOW} tokens from {TEXT}"
    tiles = [text_of(dd) for dd in document.iter(XHTML + "dd")]
    for value in (100 * found["cache"]["ratio"], found["evaluation"]["converted_perplexity"],
                  found["evaluation"]["kl"], 100 * found["evaluation"]["top1_agreement"]):
        assert any(number(tile) == pytest.approx(value, rel=1e-3, abs=0.01) for tile in tiles[::2])


def test_the_page_needs_nothing_else_and_says_what_it_shows(made):
    document, page = parse(made[1]), made[1].read_text()
    names = {e.tag.split("}")[1] for e in document.iter() if isinstance(e.tag, str)}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"}
    for element in document.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on") and name not in ("src", "href", "srcset", "action")
            assert "javascript:" not in value
    assert "url(" not in page and "@import" not in page
    assert "prefers-color-scheme:dark" in page and "color-scheme:light dark" in page
    assert document.attrib["lang"] == "en"
    ids = [e.attrib["id"] for e in document.iter() if "id" in e.attrib]
    assert len(ids) == len(set(ids))
    headings = [int(e.tag[-1]) for e in document.iter()
                if e.tag in {XHTML + f"h{n}" for n in range(1, 7)}]
    assert headings[0] == 1 and all(b <= a + 1 for a, b in itertools.pairwise(headings))
    for table in document.iter(XHTML + "table"):
        assert all("scope" in th.attrib for th in table.iter(XHTML + "th"))


def check_picture(svg, found):
    assert svg.attrib["role"] == "img"
    named = {e.attrib["id"]: text_of(e) for e in svg if "id" in e.attrib}
    assert all(named[name] for name in svg.attrib["aria-labelledby"].split())
    layers = found["layers"]
    kind = lambda name: [e for e in svg.iter() if e.attrib.get("class") == name]
    # The first of a kind is the legend's.
    latents, ropes, dots = kind("cr-latent")[1:], kind("cr-rope")[1:], kind("cr-dot")
    assert len(latents) == len(ropes) == len(dots) == len(layers)
    heights = [float(e.attrib["height"]) for e in latents]
    scale = heights[0] / layers[0]["kv_lora_rank"]
    tops = [float(e.attrib["y"]) for e in ropes]
    floor = float(latents[0].attrib["y"]) + heights[0]
    for layer, height, top in zip(layers, heights, tops):
        assert height == pytest.approx(scale * layer["kv_lora_rank"], abs=0.11)
        assert floor - top == pytest.approx(scale * layer["row_elements"], abs=0.3)
    # Lower energy lies lower, in proportion.
    places = np.array([float(e.attrib["cy"]) for e in dots])
    energy = np.array([layer["energy_kept"] for layer in layers])
    slope, offset = np.polyfit(energy, places, 1)
    assert slope < 0 and np.abs(slope * energy + offset - places).max() < 0.2
    hovers = [text_of(e) for e in kind("cr-hover")]
    for i, (layer, text) in enumerate(zip(layers, hovers, strict=True)):
        assert text.startswith(f"layer {i}: latent {layer['kv_lora_rank']} + rope "
                               f"{layer['qk_rope_head_dim']}, source {layer['source_row_elements']} ")


def test_the_picture_shows_the_layers_and_is_a_file_too(made):
    page, markdown = made[1:3]
    (svg,) = parse(page).iter(SVG + "svg")
    check_picture(svg, figures(page))
    alone = ElementTree.parse(markdown.with_name("report.md.svg")).getroot()
    assert alone.tag == SVG + "svg"
    check_picture(alone, figures(markdown))


def check_samples(document, tokens, found):
    says = [text_of(pre) for pre in document.iter(XHTML + "pre")]
    texts = found["samples"]["texts"]
    assert says == [visible(text[side]) for text in texts for side in ("source", "converted")]
    prompts = [text_of(h) for h in document.iter(XHTML + "h3")]
    assert prompts == [visible(text["prompt"]) for text in texts]
    fences = [t.content for t in tokens if t.type == "fence"]
    assert fences == [visible(text[side]) + "\n" for text in texts
                      for side in ("prompt", "source", "converted")]


def test_samples_stand_side_by_side_as_they_were_said(made):
    check_samples(parse(made[1]), markdown_tokens(made[2]), figures(made[1]))


def test_the_markdown_page_says_the_same(made):
    page, markdown = made[1:3]
    tokens = markdown_tokens(markdown)
    assert not [t for t in tokens if t.type.startswith("html")]
    tables, of_html = markdown_tables(tokens), html_tables(parse(page))
    check_tables(tables, figures(markdown))
    assert tables[:3] == of_html[:3]
    images = [c for t in tokens if t.type == "inline" for c in t.children if c.type == "image"]
    assert [i.attrs["src"] for i in images] == ["report.md.svg"] and images[0].content


HOSTILE = ['</pre></div><script>alert(1)</script>', '`````\n# & "<b>" | \x1b[31m\x00\ufffe']
HOSTILE_NAME = """<img src=x onerror=alert(1)>&amp;'"|`x`](y)*"""


def hostile_model(folder):
    """A model that says HOSTILE and nothing else, whose name is no better."""
    shutil.copytree(MODEL, folder)
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    added = [t for t in tokenizer["added_tokens"] if not t["special"]][:2]
    for token, text in zip(added, HOSTILE, strict=True):
        token["content"] = text
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text("{}")
    # The likeliest is one or the other, by the sign of a projection.
    tensors = load_source(folder)
    head = np.zeros((config["vocab_size"], config["hidden_size"]), np.float32)
    head[added[0]["id"]] = np.random.default_rng(1).standard_normal(config["hidden_size"])
    head[added[1]["id"]] = -head[added[0]["id"]]
    save_file(tensors | {"lm_head.weight": head}, folder / "model.safetensors")


def test_hostile_text_is_only_text(tmp_path):
    hostile_model(tmp_path / HOSTILE_NAME)
    text = tmp_path / "<script>&|.txt"
    shutil.copy(TEXT, text)
    page, markdown = tmp_path / "r.html", tmp_path / "r é.md"
    for report in (page, markdown):
        done = convert(tmp_path / HOSTILE_NAME, tmp_path / "out", "--report", str(report), text=text)
        assert done.returncode == 0, done.stderr
    document, tokens, found = parse(page), markdown_tokens(markdown), figures(page)
    said = "".join(t[s] for t in found["samples"]["texts"] for s in ("source", "converted"))
    assert said and any(text in said for text in HOSTILE)
    assert not said.replace(HOSTILE[0], "").replace(HOSTILE[1], "")
    names = {e.tag for e in document.iter()}
    assert XHTML + "script" not in names and XHTML + "img" not in names and XHTML + "b" not in names
    assert not [e for e in document.iter() if any(a.startswith("on") for a in e.attrib)]
    check_samples(document, tokens, found)
    check_tables(html_tables(document), found)
    assert text_of(document.find(f".//{XHTML}title")).startswith(HOSTILE_NAME)
    making = {row[0]: row[1] for row in html_tables(document)[3]}
    assert making["Source"] == HOSTILE_NAME and str(text) in making["Calibration"]
    # Markdown: the same cells, no HTML, no code, no link but the picture's.
    assert not [t for t in tokens if t.type.startswith("html")]
    inline = [c.type for t in tokens if t.type == "inline" for c in t.children]
    assert set(inline) <= {"text", "text_special", "strong_open", "strong_close", "image"}
    assert {row[0]: row[1] for row in markdown_tables(tokens)[3]}["Source"] == HOSTILE_NAME
    (image,) = [c for t in tokens if t.type == "inline" for c in t.children if c.type == "image"]
    assert image.attrs["src"] == "r%20%C3%A9.md.svg"
    assert (tmp_path / "r é.md.svg").exists()


@pytest.mark.parametrize("flags,windows,message", [
    (["--report", "{tmp}/report.pdf"], 8, "must end in .html or .md"),
    (["--report", "{tmp}/a.html", "--evaluate", "{tmp}/absent.txt"], 8, "absent.txt"),
    (["--report", "{tmp}/a.html"], 7, "7 windows of 96 tokens, too few to hold one in eight out"),
    (["--report", "{tmp}/file/a.html"], 8, "cannot create"),
    (["--evaluate", str(TEXT)], 8, "--report"),
])
def test_what_cannot_be_reported_is_refused_before_converting(flags, windows, message, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    short = tmp_path / "short.txt"
    for length in itertools.count(500, 50):
        short.write_text(TEXT.read_text()[:length])
        if len(windows_of(short)) == windows:
            break
    done = convert(MODEL, tmp_path / "out", *[f.format(tmp=tmp_path) for f in flags], text=short)
    assert done.returncode != 0 and message in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_tokenizers_warning_is_passed_on(tmp_path):
    """A Llama vocabulary with equal scores, which tokenizer.json cannot say."""
    path = tmp_path / "ties.gguf"
    reader, tensors = gguf.GGUFReader(GGUF), {}
    w = gguf.GGUFWriter(path, "llama")
    size = len(reader.fields["tokenizer.ggml.tokens"].data)
    letters = ["a", "b", "c", "ab", "bc"]
    tokens = ["<unk>", "<s>", "</s>"] + letters + [f"<0x{i:02X}>" for i in range(256)]
    tokens += [f"unused{i}" for i in range(size - len(tokens))]
    kinds = [2, 3, 3] + [1] * len(letters) + [6] * 256 + [5] * (size - 264)
    scores = [0.0] * 3 + [-9.0] * 3 + [-1.0, -1.0] + [0.0] * (size - 8)
    for field in reader.fields.values():
        if field.name.startswith("llama."):
            w.add_key_value(field.name, field.contents(), field.types[0])
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens)
    w.add_token_types(kinds)
    w.add_token_scores(scores)
    w.add_unk_token_id(0)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    for tensor in reader.tensors:
        w.add_tensor(tensor.name, np.array(tensor.data))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    done = convert(path, tmp_path / "out", "--report", str(tmp_path / "r.html"))
    assert done.returncode == 0, done.stderr
    assert "warning: 2 tokens have the score of another" in done.stderr
    assert any("2 tokens have the score" in w for w in figures(tmp_path / "r.html")["warnings"])
    # No chat template: texts to go on.
    assert not figures(tmp_path / "r.html")["samples"]["chat"]
    assert html_tables(parse(tmp_path / "r.html"))[3][-1][0] == "Warning"


def test_inspect_shows_the_cache_before_and_after(made):
    inspect = lambda folder, *flags: subprocess.run(
        [server_process.BINARY, "inspect", str(folder), *flags], capture_output=True, text=True, check=True).stdout
    source, converted = (json.loads(inspect(f, "--json")) for f in (MODEL, made[0]))
    cache = figures(made[1])["cache"]
    assert "source_kv_bytes_per_token" not in source
    assert converted["source_kv_bytes_per_token"] == source["kv_bytes_per_token"] \
        == cache["source"]["bytes_per_token"]
    assert converted["kv_bytes_per_token"] == cache["converted"]["bytes_per_token"]
    assert converted["kv_bytes_of_source"] == cache["ratio"]
    assert {"layout": "GQA: before it was converted", "this_model": False,
            "bytes_per_token": source["kv_bytes_per_token"]} in converted["layouts"]
    (own,) = [l for l in converted["layouts"] if l["this_model"]]
    assert own["bytes_per_token"] == converted["kv_bytes_per_token"]
    ranks = [layer["kv_lora_rank"] for layer in figures(made[1])["layers"]]
    low, high = min(ranks), max(ranks)
    assert f"latent {low}{f' to {high}' if high > low else ''} + rope 12" in own["layout"]
    line = next(l for l in inspect(made[0]).splitlines() if l.startswith("before conversion"))
    assert str(source["kv_bytes_per_token"]) in line and f"{100 * cache['ratio']:.2f} %" in line
