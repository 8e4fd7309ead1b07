"""A corpus by its name → a stream of documents.

Callers may rely on: iterating twice gives the same documents in the same order; a bad document is a `Rejected` value;
a corpus that does not exist or holds no usable document raises InputError; memory does not grow with the texts.

Corpora: `python` (the language reference inside CPython), `python-full` (with the standard library's docstrings),
`beir:DIR` (`corpus.jsonl` with `_id`, `title`, `text`), a JSON lines file (`id` or `_id`, `title`, `text`), and a
folder of Markdown, reStructuredText, text and HTML files.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from bakeoff.adapters import loaders, pydoc_corpus
from bakeoff.adapters.loaders import Rejected
from bakeoff.chunking import Document
from bakeoff.errors import InputError, OutsideError

__all__ = ["Corpus", "Document", "Rejected", "Written", "digest", "open_corpus", "write_beir"]

CORPUS_FILE = "corpus.jsonl"
_KNOWN = "known are python, python-full, beir:DIR, a .jsonl file, and a folder"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents that are read when asked for."""

    spec: str
    """As it was asked for."""
    name: str
    """Short, for a table or a file name."""
    kind: str
    """python, beir, jsonl or folder."""
    size_hint: int | None
    """About how many documents there are, for progress; bad ones are counted too."""
    read: Callable[[], Iterator[Document | Rejected]]

    def __iter__(self) -> Iterator[Document | Rejected]:
        """Yield each document, or why it can't be used. Raises InputError at the end where none could be used."""
        usable = False
        first: Rejected | None = None
        count = 0
        for item in self.read():
            if isinstance(item, Rejected):
                count += 1
                first = first or item
            else:
                usable = True
            yield item
        if not usable:
            raise _nothing(self.spec, count, first)

    def describe(self) -> dict[str, Any]:
        """Return what a run records of its corpus."""
        return {"corpus": self.spec, "name": self.name, "kind": self.kind, "size_hint": self.size_hint}


def _nothing(spec: str, count: int, first: Rejected | None) -> InputError:
    if first is None:
        suffixes = " ".join(sorted(loaders.SUFFIXES))
        return InputError(f"{spec} holds no documents", hint=f"a folder needs files that end in one of {suffixes}")
    return InputError(
        f"{spec} holds no usable document: {count} rejected, the first is {first.source}: {first.reason}",
        hint="correct the documents; the reasons are listed with the run",
    )


def open_corpus(spec: str) -> Corpus:
    """Return the corpus that *spec* names. Raises InputError where there is none or it has no documents."""
    if spec == "python":
        return Corpus(spec, spec, "python", pydoc_corpus.count_topics(), pydoc_corpus.topics)
    if spec == "python-full":
        count = pydoc_corpus.count_topics() + len(pydoc_corpus.sources())
        return Corpus(spec, spec, "python", count, lambda: chain(pydoc_corpus.topics(), pydoc_corpus.modules()))
    if spec.startswith("beir:"):
        path = Path(spec.removeprefix("beir:"))
        return _json_lines(spec, path.name or path.resolve().name, "beir", path / CORPUS_FILE, ("_id",))
    path = Path(spec)
    if path.is_dir():
        found = Corpus(spec, path.resolve().name, "folder", loaders.count_files(path), lambda: loaders.folder(path))
        return _not_empty(found)
    if path.suffix.lower() == ".jsonl":
        return _json_lines(spec, path.stem, "jsonl", path, ("id", "_id"))
    if path.exists():
        raise InputError(f"{spec} is a file that is no corpus: {_KNOWN}", hint="give the folder that it is in")
    raise InputError(f"no such corpus: {spec}", hint=_KNOWN)


def digest(spec: str) -> str | None:
    """Return the SHA-256 of what the corpus *spec* is read from; None of one that comes with Python.

    Raises InputError where there is none, OutsideError where it can't be read.
    """
    found = open_corpus(spec)
    if found.kind == "python":
        return None
    path = Path(spec.removeprefix("beir:")) / CORPUS_FILE if found.kind == "beir" else Path(spec)
    if found.kind == "folder":
        return loaders.folder_digest(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OutsideError(f"can't read {path}: {error.strerror}", hint="check its rights") from error


def _json_lines(spec: str, name: str, kind: str, path: Path, id_keys: tuple[str, ...]) -> Corpus:
    if not path.exists():
        raise InputError(f"no such corpus: {spec} (there is no {path})", hint=_KNOWN)
    count = loaders.count_lines(path)
    return _not_empty(Corpus(spec, name, kind, count, lambda: loaders.json_lines(path, id_keys=id_keys)))


def _not_empty(corpus: Corpus) -> Corpus:
    if corpus.size_hint == 0:
        raise _nothing(corpus.spec, 0, None)
    return corpus


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_beir` wrote and what it left out."""

    path: Path
    documents: int
    rejected: tuple[Rejected, ...]


def write_beir(corpus: Corpus, out_dir: Path) -> Written:
    """Write *corpus* as `corpus.jsonl` into *out_dir*, whole or not at all; a file that is there is replaced.

    Raises OutsideError where the disk or the rights refuse.
    """
    path = out_dir / CORPUS_FILE
    count, rejected = 0, []
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=out_dir, prefix=f".{CORPUS_FILE}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                for item in corpus:
                    if isinstance(item, Rejected):
                        rejected.append(item)
                        continue
                    row = {"_id": item.doc_id, "title": item.title, "text": item.text}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    count += 1
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutsideError(
            f"can't write {path}: {error.strerror}", hint="check the disk space and the rights"
        ) from error
    return Written(path, count, tuple(rejected))
