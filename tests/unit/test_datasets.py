"""Promises of the corpora."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.adapters import loaders
from bakeoff.adapters.datasets import Corpus, Document, Rejected, digest, open_corpus, write_beir
from bakeoff.errors import InputError, OutsideError


def jsonl(path: Path, *rows: object) -> Path:
    """Write *rows*, bytes as they are and anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows) + b"\n")
    return path


def documents(corpus: Corpus) -> list[Document]:
    """Return the usable documents."""
    return [item for item in corpus if isinstance(item, Document)]


def rejections(corpus: Corpus) -> list[Rejected]:
    """Return the others."""
    return [item for item in corpus if isinstance(item, Rejected)]


def test_python_holds_the_language_reference() -> None:
    """Every Python has it: dozens of topics with readable titles, in the order of their ids, twice the same."""
    corpus = open_corpus("python")
    found = documents(corpus)
    assert len(found) == corpus.size_hint
    assert len(found) > 70
    assert [one.doc_id for one in found] == sorted(one.doc_id for one in found)
    assert {one.doc_id: one.title for one in found}["ref/assert"] == 'The "assert" statement'
    assert found == documents(corpus)
    assert rejections(corpus) == []


def test_python_full_adds_the_standard_library_without_importing_it() -> None:
    """Docstrings come from the source: signatures are headings, tests and private modules stay out."""
    corpus = open_corpus("python-full")
    found = {one.doc_id: one for one in documents(corpus)}
    assert found.keys() >= {"ref/assert", "lib/textwrap", "lib/email.message", "lib/concurrent.futures.thread"}
    assert "indent(text, prefix, predicate=None)\n\n" in found["lib/textwrap"].text
    assert "TextWrapper.wrap(self, text)\n\n" in found["lib/textwrap"].text
    assert not [name for name in found if "._" in name or ".test" in name or name.startswith(("lib/_", "lib/idlelib"))]
    assert 1_000_000 < sum(len(one.text.encode()) for one in found.values()) < 4_000_000


def test_a_beir_folder_keeps_title_and_text_apart(tmp_path: Path) -> None:
    """The text is the text alone; a missing or null title is empty; the source is file and line."""
    path = jsonl(
        tmp_path / "set" / "corpus.jsonl",
        {"_id": "a", "title": "T", "text": "Äx"},
        b"",
        {"_id": "b", "text": "y"},
        {"_id": "c", "title": None, "text": "z", "metadata": {"more": 1}},
    )
    corpus = open_corpus(f"beir:{tmp_path / 'set'}")
    expected = [
        Document("a", "T", "Äx", f"{path}:1"),
        Document("b", "", "y", f"{path}:3"),
        Document("c", "", "z", f"{path}:4"),
    ]
    assert expected == list(corpus)
    assert corpus.describe() == {"corpus": corpus.spec, "name": "set", "kind": "beir", "size_hint": 4}


BAD_LINES = [
    (b'{"id": "x", "text": "\xff"}', None, "not UTF-8 (byte 21 of the line)"),
    (b'{"id": ', None, "broken JSON at column 7"),
    (b"[" * 100_000, None, "nested too deeply"),
    (b'{"id": "x", "text": ' + b"9" * 5000 + b"}", None, "a number too long"),
    ([1], None, "expected a JSON object, got a list"),
    ({"text": "y"}, None, "there is no id or _id"),
    ({"id": 5, "text": "y"}, None, "id is a number, expected text"),
    ({"id": "x"}, "x", "there is no text"),
    ({"id": "x", "text": None}, "x", "text is null, expected text"),
    ({"id": "x", "text": "y", "title": ["t"]}, "x", "title is a list, expected text"),
    ({"id": "x", "text": " \n\t"}, "x", "there is no text"),
    ({"id": "", "text": "y"}, None, "the id is empty"),
    ({"id": "x|y", "text": "y"}, "x|y", "the id holds '|'"),
    ({"id": "x\ny", "text": "y"}, "x�y", "the id holds a control character"),
    ({"id": "x\x85", "text": "y"}, "x�", "the id holds a control character"),
    ({"id": "x", "text": "a\x00b"}, "x", "the text holds a NUL character (place 1)"),
    ({"id": "x", "text": "y", "title": "\x00"}, "x", "the title holds a NUL character"),
    ({"id": "x", "text": "a\ud800"}, "x", "the text holds half of a surrogate pair (place 1)"),
    ({"id": "x\udfff", "text": "y"}, "x\\udfff", "the id holds half of a surrogate pair"),
    ({"id": "good", "text": "again"}, "good", "the id is already that of "),
]


@pytest.mark.parametrize(("row", "doc_id", "reason"), BAD_LINES)
def test_a_bad_line_is_rejected_and_the_next_is_read(
    row: object, doc_id: str | None, reason: str, tmp_path: Path
) -> None:
    """Whatever is wrong with a line is said with its place, and nothing else is lost."""
    path = jsonl(tmp_path / "c.jsonl", {"id": "good", "text": "y"}, row, {"id": "after", "text": "z"})
    corpus = open_corpus(str(path))
    assert [one.doc_id for one in documents(corpus)] == ["good", "after"]
    (bad,) = rejections(corpus)
    assert (bad.source, bad.doc_id) == (f"{path}:2", doc_id)
    assert reason in bad.reason
    assert f"{bad.source}{bad.doc_id}{bad.reason}".encode()


def test_the_second_of_an_id_names_the_first(tmp_path: Path) -> None:
    """The first document of an id is kept, the place of the first is told; a rejected one holds no id."""
    path = jsonl(
        tmp_path / "c.jsonl", {"id": "a", "text": " "}, {"id": "a", "text": "first"}, {"id": "a", "text": "second"}
    )
    items = list(open_corpus(str(path)))
    assert [item.text for item in items if isinstance(item, Document)] == ["first"]
    assert items[2] == Rejected(f"{path}:3", "a", f"the id is already that of {path}:2")


def test_a_giant_line_is_skipped_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line above the limit is rejected without being held, its neighbours are read; so is a document above it."""
    monkeypatch.setattr(loaders, "MAX_DOCUMENT_BYTES", 100)
    rows = [{"id": "a", "text": "x"}, {"id": "b", "text": "y" * 900}, {"id": "c", "text": "z" * 120}]
    path = jsonl(tmp_path / "c.jsonl", *rows, {"id": "d", "text": "e" * 50})
    items = list(open_corpus(str(path)))
    reasons = [item.reason if isinstance(item, Rejected) else item.doc_id for item in items]
    assert reasons == ["a", "the line has more than 200 bytes", "the text has 120 bytes, more than 100", "d"]


def make_folder(root: Path) -> None:
    """Write a folder with one file of each kind."""
    files: dict[str, bytes] = {
        "a.md": b"---\ntitle: no\n---\n\n# The *first*\r\ntext\r\n",
        "a/z.txt": b"Plain.\n",
        "a-b.rst": b"Heading\n=======\n\nBody.\n",
        "b.HTML": b"<title>Page</title><script>x()</script><p>Hello <b>you</b>",
        "c.pdf": b"%PDF",
        ".git/x.md": b"# hidden",
        "bad.txt": b"ok\xff",
        "empty.md": b"",
        "bom.markdown": b"\xef\xbb\xbf# Marked\n",
        "utf16.txt": "wide".encode("utf-16"),
        "nul.txt": b"a\x00b",
        "p|q.md": b"# pipe",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "link.md").symlink_to(root / "nowhere.md")
    (root / "circle").symlink_to(root, target_is_directory=True)
    os.mkfifo(root / "pipe.txt")


def test_a_folder_is_read_in_the_byte_order_of_its_paths(tmp_path: Path) -> None:
    """Ids are relative paths in byte order, titles are headings, bytes are kept, hidden files are not looked at."""
    make_folder(tmp_path)
    corpus = open_corpus(str(tmp_path))
    found = documents(corpus)
    expected = ["a-b.rst", "a.md", "a/z.txt", "b.HTML", "bom.markdown"]
    assert expected == [one.doc_id for one in found]
    assert [one.title for one in found] == ["Heading", "The *first*", "z", "Page", "Marked"]
    assert found[1].text.encode() == (tmp_path / "a.md").read_bytes()
    assert found[4].text.encode() == (tmp_path / "bom.markdown").read_bytes()
    assert found[3].text == "Hello you"
    assert corpus.size_hint == len(list(corpus))


def test_a_folder_s_bad_files_are_named(tmp_path: Path) -> None:
    """Each bad file is rejected with its reason: nothing hangs on a pipe, runs in a circle or stops the rest."""
    make_folder(tmp_path)
    assert {one.doc_id: one.reason for one in rejections(open_corpus(str(tmp_path)))} == {
        "bad.txt": "not UTF-8 (byte 2)",
        "empty.md": "there is no text",
        "link.md": "can't be read: No such file or directory",
        "nul.txt": "the text holds a NUL character (place 1), which Postgres can't store",
        "p|q.md": "the id holds '|', which separates the parts of a chunk id",
        "pipe.txt": "not a regular file",
        "utf16.txt": "not UTF-8 (byte 0)",
    }


def test_an_unreadable_file_or_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing rights reject the file or the folder, and the rest is read."""
    for name in ("a.md", "b.md", "sub/c.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("# x", encoding="utf-8")
    read_bytes, scandir = Path.read_bytes, os.scandir

    def refuse(path: Path) -> bytes:
        if path.name == "a.md":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    def refuse_folder(path: Path) -> object:
        if path.name == "sub":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(os, "scandir", refuse_folder)
    corpus = open_corpus(str(tmp_path))
    assert [one.doc_id for one in documents(corpus)] == ["b.md"]
    reasons = [one.reason for one in rejections(corpus)]
    assert reasons == ["can't be read: Permission denied", "the folder can't be read"]


def test_a_file_name_that_is_not_utf8_is_rejected(tmp_path: Path) -> None:
    """It could be no id, and its source is shown escaped."""
    (tmp_path / "ok.md").write_text("# x", encoding="utf-8")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.md")).write_text("# x", encoding="utf-8")
    (bad,) = rejections(open_corpus(str(tmp_path)))
    assert (bad.doc_id, bad.reason) == (None, "the file name is not UTF-8")
    assert bad.source.endswith("\\xff.md")


@pytest.mark.parametrize(
    "spec", ["{}/nowhere", "{}/nowhere.jsonl", "beir:{}", "{}/empty.jsonl", "{}/folder", "{}/x.pdf"]
)
def test_no_corpus_is_an_error_with_a_hint(spec: str, tmp_path: Path) -> None:
    """What does not exist, holds nothing, or is of no known kind is refused when it is opened."""
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.pdf").write_bytes(b"%PDF")
    with pytest.raises(InputError) as caught:
        open_corpus(spec.format(tmp_path))
    assert caught.value.hint


def test_a_corpus_of_bad_documents_is_an_error_at_its_end(tmp_path: Path) -> None:
    """All rejections come first, then the error says how many and why the first."""
    path = jsonl(tmp_path / "c.jsonl", {"id": "a", "text": ""}, {"id": "b", "text": ""})
    items = iter(open_corpus(str(path)))
    assert [type(next(items)), type(next(items))] == [Rejected, Rejected]
    with pytest.raises(InputError, match=r"no usable document: 2 rejected, the first is .*:1: there is no text"):
        next(items)
    blank = jsonl(tmp_path / "blank.jsonl", b"", b" ")
    with pytest.raises(InputError, match="holds no documents"):
        list(open_corpus(str(blank)))


def test_writing_a_beir_folder_keeps_every_document(tmp_path: Path) -> None:
    """What is written reads back equal but for the source; bad documents are handed back."""
    source = jsonl(tmp_path / "c.jsonl", {"id": "a", "title": "T", "text": "\u2028Ä\r\nx\U0001f600"}, {"id": "b"})
    written = write_beir(open_corpus(str(source)), tmp_path / "out" / "deep")
    assert (written.documents, [one.doc_id for one in written.rejected]) == (1, ["b"])
    (back,) = documents(open_corpus(f"beir:{tmp_path / 'out' / 'deep'}"))
    assert (back.doc_id, back.title, back.text) == ("a", "T", "\u2028Ä\r\nx\U0001f600")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """A corpus that turns out unusable, and a place that can't be written, leave nothing half done."""
    old = jsonl(tmp_path / "out" / "corpus.jsonl", {"_id": "old", "text": "x"})
    before = old.read_bytes()
    bad = open_corpus(str(jsonl(tmp_path / "c.jsonl", {"id": "a", "text": ""})))
    with pytest.raises(InputError):
        write_beir(bad, tmp_path / "out")
    assert old.read_bytes() == before
    assert os.listdir(tmp_path / "out") == ["corpus.jsonl"]  # noqa: PTH208 - hidden names are what is looked for
    with pytest.raises(OutsideError, match="can't write"):
        write_beir(open_corpus("python"), old)


@given(st.binary(max_size=300))
def test_no_bytes_break_a_json_lines_corpus(data: bytes) -> None:
    """Any content is documents and rejections, or an InputError; never anything else."""
    for number, line in enumerate(data.split(b"\n")):
        found = loaders.parse_object(line)
        assert isinstance(found, dict | str), number


def test_html_is_text_with_headings_and_rows() -> None:
    """Blocks are paragraphs, headings carry their level, rows are lines, preformatted text keeps its lines."""
    markup = (
        "<!DOCTYPE html><html><head><title> A\n title</title><style>p {}</style></head><body><nav>Menu</nav>"
        "<h1>One <em>big</em></h1><p>x<br>y   z</p>tail<table><tr><th>a</th><td>b<p>c</p></td></tr><tr><td>1</td>"
        "<td>2</td></tr></table><ul><li>one</li><li>two <i>three</i></li></ul><pre>if x:\n    y\n</pre><!-- no -->"
        "<script>evil()</script></body></html>"
    )
    from bakeoff.adapters.pages import html_text

    title, text = html_text(markup)
    expected = "# One big\n\nx\ny z\n\ntail\n\na | b c\n1 | 2\n\n- one\n- two three\n\nif x:\n    y"
    assert (title, text) == ("A title", expected)
    assert html_text("<p>no</p><h2>Head</h2>")[0] == "Head"
    assert html_text("<div>" * 20_000 + "deep") == ("", "deep")


def test_a_link_out_of_the_folder_is_rejected(tmp_path: Path) -> None:
    """A link inside is a document like any other; one that leads outside could be anybody's file."""
    root = tmp_path / "docs"
    root.mkdir()
    (tmp_path / "secret.txt").write_text("not for you")
    (root / "own.txt").write_text("mine")
    (root / "in.txt").symlink_to(root / "own.txt")
    (root / "out.txt").symlink_to(tmp_path / "secret.txt")
    found = {Path(item.source).name: item for item in open_corpus(str(root))}
    assert isinstance(found["own.txt"], Document)
    assert isinstance(found["in.txt"], Document)
    out = found["out.txt"]
    assert isinstance(out, Rejected)
    assert "a link to a file outside the folder" == out.reason


def test_a_pipe_is_no_corpus(tmp_path: Path) -> None:
    """A FIFO would be waited for without end."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(InputError):
        list(open_corpus(str(tmp_path / "pipe.jsonl")))


def test_the_digest_of_a_corpus_follows_its_contents(tmp_path: Path) -> None:
    """A file, the BEIR layout, a folder: the same bytes the same, others not; what is not read does not count."""
    jsonl(tmp_path / "one.jsonl", {"id": "a", "text": "one"})
    jsonl(tmp_path / "set" / "corpus.jsonl", {"_id": "a", "text": "one"})
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("one")
    specs = (str(tmp_path / "one.jsonl"), f"beir:{tmp_path / 'set'}", str(tmp_path / "docs"))
    before = [digest(spec) for spec in specs]
    (tmp_path / "docs" / "picture.png").write_bytes(b"x")
    (tmp_path / "set" / "notes.txt").write_text("x")
    assert before == [digest(spec) for spec in specs]
    assert None is digest("python")
    jsonl(tmp_path / "one.jsonl", {"id": "a", "text": "two"})
    jsonl(tmp_path / "set" / "corpus.jsonl", {"_id": "a", "text": "two"})
    (tmp_path / "docs" / "a.md").write_text("two")
    after = [digest(spec) for spec in specs]
    assert all(one != other for one, other in zip(before, after, strict=True))
    (tmp_path / "docs" / "a.md").rename(tmp_path / "docs" / "b.md")
    assert after[2] != digest(specs[2])
    with pytest.raises(InputError, match="no such corpus"):
        digest(str(tmp_path / "none.jsonl"))
