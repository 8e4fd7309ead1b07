"""Files → documents, or the reason why not.

Callers may rely on: a bad document is a `Rejected` value, never an exception, and the next one is read; a document that
is returned has a usable id, visible text that Postgres can store, and at most `MAX_DOCUMENT_BYTES` of it; order is
stable; memory holds one document, one folder's names, and 16 bytes of hash and a line number for each id of a JSON
lines file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bakeoff.adapters import pages
from bakeoff.chunking import Document
from bakeoff.errors import InputError

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
PLAIN_SUFFIXES = frozenset({".md", ".markdown", ".txt", ".rst"})
HTML_SUFFIXES = frozenset({".html", ".htm"})
SUFFIXES = PLAIN_SUFFIXES | HTML_SUFFIXES

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MARKDOWN_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*[ \t\r]*$", re.MULTILINE)
_UNDERLINED_HEADING = re.compile(r"^(\S.*?)[ \t\r]*\n([=\-~*^\"'#+])\2{2,}[ \t\r]*$", re.MULTILINE)
_HEADING_REACH = 20_000  # characters of a file in which its first heading is looked for


@dataclass(frozen=True, slots=True)
class Rejected:
    """One document that can't be used: where it is, its id where known, and what is wrong in words."""

    source: str
    doc_id: str | None
    reason: str


def checked(document: Document) -> Document | Rejected:
    """Return *document*, or why it can't be stored: its id, unprintable or blank text, its size."""
    problem = id_problem(document.doc_id) or _text_problem(document)
    if problem is None:
        return document
    shown = document.doc_id.encode("utf-8", "backslashreplace").decode()
    return Rejected(document.source, _CONTROL.sub("�", shown) or None, problem)


def id_problem(doc_id: str) -> str | None:
    """Return what is wrong with *doc_id*, or None: chunk ids are made of it, with `|` between their parts."""
    if not doc_id.strip():
        return "the id is empty"
    if "|" in doc_id:
        return "the id holds '|', which separates the parts of a chunk id"
    if _CONTROL.search(doc_id):
        return "the id holds a control character"
    return None


def _text_problem(document: Document) -> str | None:
    for name, value in (("id", document.doc_id), ("title", document.title), ("text", document.text)):
        if "\x00" in value:
            return f"the {name} holds a NUL character (place {value.index(chr(0))}), which Postgres can't store"
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            return f"the {name} holds half of a surrogate pair (place {error.start}), which is not Unicode text"
        if size > MAX_DOCUMENT_BYTES:
            return f"the {name} has {size:,} bytes, more than {MAX_DOCUMENT_BYTES:,}"
    return None if document.text.strip() else "there is no text"


# --- JSON lines ---------------------------------------------------------------------------------------------------


def lines(file: BinaryIO, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield (number from 1, line) of *file*; None stands for a line of more than *limit* bytes, which is skipped."""
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        if len(line) <= limit:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(limit)
        yield number, None


def parse_object(line: bytes) -> dict[str, Any] | str:
    """Return the JSON object in *line*, or what is wrong with it in words."""
    try:
        value = json.loads(line.decode("utf-8").rstrip())
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start} of the line)"
    except json.JSONDecodeError as error:
        return f"broken JSON at column {error.colno}: {error.msg}"
    except (ValueError, RecursionError):
        return "broken JSON: a number too long or values nested too deeply"
    return value if isinstance(value, dict) else f"expected a JSON object, got {type_name(value)}"


def type_name(value: object) -> str:
    """Return what a JSON value is, in words."""
    names = {str: "text", dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def json_lines(path: Path, *, id_keys: tuple[str, ...]) -> Iterator[Document | Rejected]:
    """Yield the documents of a JSON lines file: id under one of *id_keys*, `text`, and `title` where it is given.

    The second document of an id is rejected and names the first one's line; ids are remembered as 16-byte BLAKE2b
    hashes, so that ten million of them fit into memory.
    """
    seen: dict[bytes, int] = {}
    with opened(path) as file:
        for number, line in lines(file, 2 * MAX_DOCUMENT_BYTES):
            source = f"{path}:{number}"
            if line is None:
                yield Rejected(source, None, f"the line has more than {2 * MAX_DOCUMENT_BYTES:,} bytes")
            elif line.strip():
                found = _from_line(line, source, id_keys)
                if isinstance(found, Document):
                    key = hashlib.blake2b(found.doc_id.encode(), digest_size=16).digest()
                    first = seen.setdefault(key, number)
                    if first != number:
                        found = Rejected(source, found.doc_id, f"the id is already that of {path}:{first}")
                yield found


def _from_line(line: bytes, source: str, id_keys: tuple[str, ...]) -> Document | Rejected:
    value = parse_object(line)
    if isinstance(value, str):
        return Rejected(source, None, value)
    id_key = next((key for key in id_keys if key in value), None)
    if id_key is None:
        return Rejected(source, None, f"there is no {' or '.join(id_keys)}")
    doc_id, title, text = value[id_key], value.get("title"), value.get("text")
    if not isinstance(doc_id, str):
        return Rejected(source, None, f"{id_key} is {type_name(doc_id)}, expected text")
    if isinstance(text, str) and isinstance(title, str | None):
        return checked(Document(doc_id, title or "", text, source))
    wrong = "title" if isinstance(text, str) else "text"
    problem = f"{wrong} is {type_name(value[wrong])}, expected text" if wrong in value else f"there is no {wrong}"
    return Rejected(source, doc_id, problem)


def opened(path: Path) -> BinaryIO:
    """Return *path* open for reading bytes. Raises InputError where it can't be read."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no regular file", hint="name a .jsonl file or a folder")
        return path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}", hint="check the path") from error
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}", hint="check the path and its rights") from error


def count_lines(path: Path) -> int:
    """Return the number of lines in *path*, a last one without newline included."""
    total, last = 0, b"\n"
    with opened(path) as file:
        while block := file.read(1 << 20):
            total += block.count(b"\n")
            last = block[-1:]
    return total + (last != b"\n")


# --- Folders ------------------------------------------------------------------------------------------------------


def folder(root: Path) -> Iterator[Document | Rejected]:
    """Yield the documents of *root* and its folders, in the byte order of their paths; hidden ones are not looked at.

    The id is the path relative to *root* with `/`. Links to files are followed while they stay inside *root*, links to
    folders are not: no circle.
    """
    for relative, path in _walk(root, ""):
        if path is None:
            yield Rejected(str(root / relative), None, "the folder can't be read")
        else:
            yield _from_file(relative, path, root)


def folder_digest(root: Path) -> str:
    """Return the SHA-256 over the names and bytes of the files that `folder` would read; whatever one changes shows."""
    whole = hashlib.sha256()
    for relative, path in _walk(root, ""):
        raw = "the folder can't be read" if path is None else _read(path)
        held = hashlib.sha256(raw.encode() if isinstance(raw, str) else raw).digest()
        whole.update(os.fsencode(relative) + b"\0" + held)
    return whole.hexdigest()


def count_files(root: Path) -> int:
    """Return how many files `folder` would read."""
    return sum(1 for _, path in _walk(root, "") if path is not None)


def _walk(directory: Path, prefix: str) -> Iterator[tuple[str, Path | None]]:
    """Yield (relative path, path) of each document file; None as path: an unreadable folder."""
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        yield prefix, None
        return
    # A folder sorts as its name with a slash, which makes the order of the whole walk that of the full paths.
    for name, is_folder in sorted(found, key=lambda one: os.fsencode(one[0]) + b"/" * one[1]):
        if name.startswith("."):
            continue
        if is_folder:
            yield from _walk(directory / name, f"{prefix}{name}/")
        elif Path(name).suffix.lower() in SUFFIXES:
            yield f"{prefix}{name}", directory / name


def _from_file(relative: str, path: Path, root: Path) -> Document | Rejected:  # noqa: PLR0911  # one reason a line
    source = os.fsencode(path).decode("utf-8", "backslashreplace")
    try:
        relative.encode()
    except UnicodeEncodeError:
        return Rejected(source, None, "the file name is not UTF-8")
    problem = id_problem(relative)
    if problem is not None:
        return Rejected(source, _CONTROL.sub("�", relative), problem)
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        return Rejected(source, relative, "a link to a file outside the folder")
    raw = _read(path)
    if isinstance(raw, str):
        return Rejected(source, relative, raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Rejected(source, relative, f"not UTF-8 (byte {error.start})")
    if path.suffix.lower() in HTML_SUFFIXES:
        try:
            title, text = pages.html_text(text)
        except ValueError as error:
            return Rejected(source, relative, str(error))
    else:
        title = first_heading(text)
    return checked(Document(relative, title or path.stem, text, source))


def _read(path: Path) -> bytes | str:
    """Return the bytes of *path*, or why not; a pipe or a device is not opened, since it could wait for ever."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            return "not a regular file"
        if state.st_size > MAX_DOCUMENT_BYTES:
            return f"the file has {state.st_size:,} bytes, more than {MAX_DOCUMENT_BYTES:,}"
        return path.read_bytes()
    except OSError as error:
        return f"can't be read: {error.strerror}"


def first_heading(text: str) -> str:
    """Return the first Markdown or reStructuredText heading in the first 20,000 characters of *text*, or nothing."""
    head = text[:_HEADING_REACH].removeprefix("\ufeff")
    body = re.sub(r"\A---[ \t]*\r?\n.*?^---[ \t]*$", "", head, count=1, flags=re.MULTILINE | re.DOTALL)
    found = [match for match in (_MARKDOWN_HEADING.search(body), _UNDERLINED_HEADING.search(body)) if match]
    return min(found, key=lambda match: match.start())[1].strip() if found else ""
