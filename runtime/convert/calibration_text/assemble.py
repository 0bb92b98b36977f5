#!/usr/bin/env python3
"""Makes text.jsonl, the built-in calibration text, of Debian packages and of own/.

    python3 -m venv V && V/bin/pip install rdata && V/bin/python assemble.py FOLDER

Packages are fetched with apt-get and unpacked into FOLDER. NOTICE.md says whose
each text is; a source that is added here is to be added there.
"""

import bz2
import gzip
import html.parser
import json
import lzma
import pathlib
import re
import subprocess
import sys
import zlib

HERE = pathlib.Path(__file__).parent
CHUNK_BYTES = 2000
PACKAGES = """apache2-doc dict-devil dict-elements dict-jargon golang-1.19-src libabsl-dev
    libpython3.11-stdlib libruby3.1 miscfiles node-lodash postgresql-doc-15
    python-sympy-doc python3.11-doc r-cran-janeaustenr rust-doc rust-src sqlite3-doc
    zlib1g-dev""".split()


def fetch(folder):
    for package in PACKAGES:
        if not (folder / package).exists():
            subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
            deb, = folder.glob(package + "_*.deb")
            subprocess.run(["dpkg", "-x", deb, folder / package], check=True)


class Page(html.parser.HTMLParser):
    """The paragraphs of a page, with its preformatted parts as they are."""

    BLOCKS = {"p", "h1", "h2", "h3", "h4", "li", "dt", "dd", "div", "pre", "tr", "table"}

    def __init__(self, text, main):
        super().__init__()
        self.out, self.hidden, self.pre, self.main = [], 0, 0, main
        self.feed(re.search(main, text, re.S).group(0) if main else text)

    def handle_starttag(self, tag, attributes):
        self.hidden += tag in ("script", "style", "nav", "title")
        self.pre += tag == "pre"
        if tag in self.BLOCKS:
            self.out.append("\n\n")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style", "nav", "title")
        self.pre -= tag == "pre"
        if tag in self.BLOCKS:
            self.out.append("\n\n")

    def handle_data(self, data):
        if not self.hidden:
            self.out.append(data if self.pre else re.sub(r"\s+", " ", data))

    def text(self):
        return re.sub(r"\n[ \n]*\n *", "\n\n", "".join(self.out)).strip()


def read(path):
    path, = pathlib.Path("/").glob(str(path)[1:])
    data = gzip.open(path).read() if path.suffix in (".gz", ".dz") else path.read_bytes()
    return data.decode(errors="ignore").replace("\r\n", "\n").replace("\u00ad", "")


def page(path, main=""):
    return Page(read(path), main).text()


def novel(folder, name):
    """R keeps a package's data as serializations, each compressed, in one file."""
    import rdata

    values = lambda data: rdata.conversion.convert(rdata.parser.parse_data(data))
    data = folder / "r-cran-janeaustenr/usr/lib/R/site-library/janeaustenr/data"
    start, size = values(gzip.decompress((data / "Rdata.rdx").read_bytes()))["variables"][name]
    block = (data / "Rdata.rdb").read_bytes()[start:start + size]
    # A length, then zlib's data, or a letter and another's.
    unpack = {b"2": lambda b: bz2.decompress(b[5:]), b"Z": lambda b: lzma.decompress(b[5:], lzma.FORMAT_RAW, filters=[
        {"id": lzma.FILTER_LZMA2, "preset": 9}])}.get(block[4:5], lambda b: zlib.decompress(b[4:]))
    return "\n".join(str(line) for line in values(unpack(block)))


def part(text, first, size):
    """About `size` bytes from a share of the text on, from paragraph to paragraph."""
    begin = text.index("\n\n", int(first * len(text))) if first else 0
    end = text.find("\n\n", min(begin + size, len(text)))
    return text[begin:end if end > 0 else len(text)].strip("\n")


def sources(folder):
    """Kind -> list of texts."""
    share = lambda package, path: folder / package / "usr/share" / path
    python = lambda name: read(share("python3.11-doc", f"doc/python3.11/html/_sources/{name}.rst.txt"))
    postgres = lambda name: page(share("postgresql-doc-15", f"doc/postgresql-doc-15/html/{name}.html"),
                                 r'<div class="(sect1|chapter|refentry)".*')
    sqlite = lambda name: page(share("sqlite3-doc", f"doc/sqlite3/{name}.html"))
    rust = lambda name: page(share("rust-doc", f"doc/rust-doc/html/book/{name}.html"), r"<main>.*</main>")
    sympy = lambda name: read(share("python-sympy-doc", f"doc/python-sympy-doc/html/_sources/{name}.txt"))
    apache = lambda language, name: page(
        share("apache2-doc", f"doc/apache2-doc/manual/{language}/{name}.html"), r'<div id="page-content">.*')
    stdlib = lambda name: read(folder / f"libpython3.11-stdlib/usr/lib/python3.11/{name}.py")
    go = lambda name: read(share("golang-1.19-src", f"go-1.19/src/{name}.go"))
    dictionary = lambda name: read(share(f"dict-{name}", f"dictd/{name}.dict.dz"))
    return {
        "novel": [part(novel(folder, "emma"), 0.3, 5500), part(novel(folder, "persuasion"), 0.55, 5500),
                  part(novel(folder, "northangerabbey"), 0.2, 5000)],
        "satire": [part(dictionary("devil"), 0.25, 3500), part(dictionary("devil"), 0.7, 3000)],
        "lexicon": [part(dictionary("jargon"), 0.15, 3500), part(dictionary("jargon"), 0.6, 3500)],
        "elements": [part(dictionary("elements"), 0.1, 5000)],
        "howto": [part(python("howto/sockets"), 0.2, 4000), part(python("howto/unicode"), 0.1, 3500),
                  part(python("tutorial/errors"), 0.2, 3000), part(python("faq/design"), 0.3, 4000)],
        "manual": [part(postgres("mvcc-intro"), 0, 1500), part(postgres("transaction-iso"), 0.2, 4500),
                   part(postgres("indexes-multicolumn"), 0, 2500), part(postgres("wal-intro"), 0, 2500),
                   part(postgres("sql-createindex"), 0.4, 3500)],
        "database": [part(sqlite("lockingv3"), 0.3, 4500), part(sqlite("whentouse"), 0.3, 4500),
                     part(sqlite("testing"), 0.3, 3500)],
        "tutorial": [part(rust("ch04-01-what-is-ownership"), 0.1, 5000), part(rust("ch16-03-shared-state"), 0.2, 4000)],
        "python": [part(stdlib("shlex"), 0.3, 3500), part(stdlib("difflib"), 0.1, 4500),
                   part(stdlib("fractions"), 0.4, 3000)],
        "c": [part(read(folder / "zlib1g-dev/usr/include/zlib.h"), 0.15, 4500)],
        "cpp": [part(read(folder / "libabsl-dev/usr/include/absl/container/fixed_array.h"), 0.3, 5000)],
        "go": [part(go("bufio/scan"), 0.3, 3500), part(go("sort/search"), 0.5, 1500)],
        "rust": [part(read(folder / "rust-src/usr/src/rustc-*/library/alloc/src/rc.rs"), 0.4, 4000)],
        "javascript": [part(read(share("node-lodash", "nodejs/lodash/debounce.js")), 0.2, 3500),
                       part(read(share("node-lodash", "nodejs/lodash/_baseClone.js")), 0.3, 2500)],
        "ruby": [part(read(folder / "libruby3.1/usr/lib/ruby/3.1.0/erb.rb"), 0.5, 3000)],
        "algebra": [part(sympy("tutorials/intro-tutorial/simplification.rst"), 0.2, 4500),
                    part(sympy("modules/polys/basics.rst"), 0.3, 3500)],
        "french": [part(apache("fr", "suexec"), 0.1, 4000)],
        "german": [part(apache("de", "stopping"), 0.1, 3500)],
        "spanish": [part(apache("es", "mpm"), 0.1, 3500)],
        "portuguese": [part(apache("pt-br", "howto/htaccess"), 0.1, 3000)],
        "turkish": [part(apache("tr", "suexec"), 0.2, 2000)],
        "japanese": [part(apache("ja", "sections"), 0.2, 1000)],
        "chinese": [part(apache("zh-cn", "mpm"), 0.1, 1000)],
        "constitution": [part(read(folder / "miscfiles/usr/share/state/us-constitution.gz"), 0.1, 5500)],
        "licence": [part(pathlib.Path("/usr/share/common-licenses/Apache-2.0").read_text(), 0.1, 4000)],
    }


def chunks(text):
    """The text's paragraphs, in pieces of about CHUNK_BYTES."""
    piece = ""
    for paragraph in re.split(r"\n{2,}", text.strip()):
        piece += paragraph.rstrip() + "\n\n"
        if len(piece.encode()) >= CHUNK_BYTES:
            yield piece
            piece = ""
    if len(piece.encode()) > CHUNK_BYTES / 4:
        yield piece


def own():
    """own/KIND.txt, and own/chat.txt, where a line "@role" begins a message and "@@" a chat."""
    for file in sorted((HERE / "own").glob("*.txt")):
        if file.stem != "chat":
            yield file.stem, [{"text": piece} for piece in chunks(file.read_text())]
            continue
        chats = []
        for chat in re.split(r"^@@\n", file.read_text(), flags=re.M):
            turns = re.split(r"^@(system|user|assistant)\n", chat, flags=re.M)[1:]
            if turns:
                chats.append({"messages": [{"role": role, "content": content.strip()}
                                           for role, content in zip(turns[::2], turns[1::2])]})
        yield "chat", chats


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    fetch(folder)
    kinds = {kind: [{"text": piece} for text in texts for piece in chunks(text)]
             for kind, texts in sources(folder).items()}
    kinds.update(own())
    # Every kind is spread evenly over the whole, each begun at another place: so
    # any stretch, and any evenly spread choice, sees most kinds.
    placed = [((i + k * 0.618 % 1) / len(records), kind, record)
              for k, (kind, records) in enumerate(kinds.items()) for i, record in enumerate(records)]
    lines = [json.dumps({"kind": kind, **record}, ensure_ascii=False) + "\n"
             for _, kind, record in sorted(placed, key=lambda p: p[:2])]
    (HERE / "text.jsonl").write_text("".join(lines))
    for kind, records in kinds.items():
        print(f"{kind:14}{len(records):4}{sum(len(json.dumps(r, ensure_ascii=False).encode()) for r in records):8}")
    print(f"{'all':14}{len(lines):4}{sum(len(line.encode()) for line in lines):8}")


if __name__ == "__main__":
    main()
