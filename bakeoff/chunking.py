"""Documents → chunks with exact byte spans and stable ids.

Callers may rely on: a chunk's text is the document's bytes `[start, end)` exactly; chunks come in order of `start` and
cover every character that is not white space (a text in which the tokenizer finds no token has no chunks); each ends
behind the one before it; no chunk has more than `size` tokens (counted in the whole document); a word is split only
where it is longer than a chunk; equal text, tokenizer and configuration give equal chunks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bakeoff.config import ChunkingConfig
from bakeoff.errors import InputError

CONTROL = re.compile(r"[\x00-\x1f\x7f|]")


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its id; `text` is the loader's output and spans are bytes of its UTF-8 form."""

    doc_id: str
    title: str
    text: str
    source: str
    """Where it was read: a path, a path with its line, or a module name."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document: bytes `[start, end)` of its UTF-8 text."""

    start: int
    end: int
    text: str
    token_count: int


class Tokenizer(Protocol):
    """The embedder's own tokenizer, without truncation, padding or special tokens."""

    special_tokens: int
    """How many tokens the model adds to every text."""

    def offsets(self, text: str) -> Sequence[tuple[int, int, int]]:
        """Return (start, end, word) of each token: code points, and the index of the word it belongs to."""

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text."""


def chunk_id(doc_id: str, start: int, end: int, *, chunk_version: str, config_hash: str) -> str:
    """Return `sha1(doc_id|start-end|CHUNK_VERSION|CONFIG_HASH)` as 40 hex digits.

    Raises InputError where *doc_id* holds `|` or a control character: two ids could then give one string.
    """
    if CONTROL.search(doc_id):
        raise InputError(f"document id {doc_id!r} holds `|` or a control character", hint="rename the document")
    key = f"{doc_id}|{start}-{end}|{chunk_version}|{config_hash}"
    return hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()


def fingerprint(text: str) -> str:
    """Return the first 16 hex digits of the SHA-256 of *text* in UTF-8: equal texts, equal fingerprints."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def byte_offsets(text: str) -> NDArray[np.int64]:
    """Return for each code point position of *text*, and for its end, the byte position in UTF-8; shape (len + 1,)."""
    if text.isascii():
        return np.arange(len(text) + 1, dtype=np.int64)
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    width = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)  # noqa: PLR2004  # UTF-8's steps
    return np.concatenate(([0], np.cumsum(width)))


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The tokens of one text: where each begins (code points, with the text's end appended) and its word."""

    begins: list[int]
    starts: list[int]
    """Where each token's first visible character is: what is dropped before it belongs to the token before it."""
    words: list[int]

    def __len__(self) -> int:
        return len(self.words)

    def is_cut(self, index: int) -> bool:
        """Whether a window may end before token *index* without splitting a word."""
        return index <= 0 or index >= len(self) or self.words[index] != self.words[index - 1]

    def splits_character(self, index: int) -> bool:
        """Whether the tokens before and at *index* are bytes of one character."""
        return index < len(self) and self.starts[index] == self.starts[index - 1]

    def back(self, index: int, floor: int) -> int:
        """Return the last cut at or before *index* that is above *floor*.

        Where a word fills the window: the last boundary of a character, since several tokens may be bytes of one.
        """
        inside = 0
        for cut in range(index, floor, -1):
            if self.is_cut(cut):
                return cut
            if not inside and not self.splits_character(cut):
                inside = cut
        return inside or index

    def forth(self, index: int, ceiling: int) -> int:
        """Return the first cut at or after *index*, or *ceiling*."""
        while index < ceiling and not self.is_cut(index):
            index += 1
        return index


def _visible(text: str, start: int, end: int) -> int:
    piece = text[start:end].lstrip()
    return end - len(piece) if piece else start


def _tokens(text: str, tokenizer: Tokenizer) -> _Tokens:
    found = tokenizer.offsets(text)
    starts = [_visible(text, start, end) for start, end, _ in found]
    begins = [0, *starts[1:], len(text)] if found else [0]
    return _Tokens(begins, starts, [word for _, _, word in found])


def _windows(tokens: _Tokens, first: int, last: int, config: ChunkingConfig) -> Iterator[tuple[int, int]]:
    """Cut tokens [first, last) into windows of at most `size`; yields token ranges."""
    start = first
    while start < last:
        end = last if last - start <= config.size else tokens.back(start + config.size, start)
        yield start, end
        start = end if end == last else _next(tokens, start, end, config)


def _next(tokens: _Tokens, start: int, end: int, config: ChunkingConfig) -> int:
    """Return where the window behind [start, end) begins: `overlap` tokens back from its end, where a word begins."""
    if not config.overlap:
        return end
    begin = tokens.back(max(end - config.overlap, start + 1), start)
    if tokens.is_cut(cut := tokens.forth(begin, end)):
        begin = cut
    while begin < end and tokens.splits_character(begin):
        begin += 1
    return begin


Span = tuple[int, int]


def _trim(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    return start + left, max(start + left, start + len(piece.rstrip()))


def chunk(
    text: str,
    tokenizer: Tokenizer,
    config: ChunkingConfig,
    *,
    structure: Callable[[str, Callable[[int, int], int], ChunkingConfig], Iterator[Span]] | None = None,
) -> list[Chunk]:
    """Cut *text* into chunks by *config*; *structure* gives the code point ranges of the structure-aware strategy.

    A range that *structure* could not make small enough is cut into token windows.
    """
    tokens = _tokens(text, tokenizer)
    if not len(tokens):
        return []
    starts = np.asarray(tokens.starts, dtype=np.int64)

    def index_of(position: int) -> int:
        return int(np.searchsorted(starts, position, side="left"))

    if structure is None:
        ranges = list(_windows(tokens, 0, len(tokens), config))
    else:
        pieces = structure(text, lambda start, end: index_of(end) - index_of(start), config)
        ranges = [w for start, end in pieces for w in _windows(tokens, index_of(start), index_of(end), config)]
    to_bytes = byte_offsets(text)
    chunks: list[Chunk] = []
    for first, last in ranges:
        start, end = _trim(text, tokens.begins[first], tokens.begins[last])
        if start < end and (not chunks or to_bytes[end] > chunks[-1].end):  # it brings something new
            chunks.append(Chunk(int(to_bytes[start]), int(to_bytes[end]), text[start:end], last - first))
    return chunks
