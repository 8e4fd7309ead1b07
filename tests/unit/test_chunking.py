"""Chunks: exact spans, whole cover, bounded size, progress, ids."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pydoc_data.topics import topics
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bakeoff import chunking, gold, structure
from bakeoff.adapters import model_files, tokenizer
from bakeoff.chunking import Chunk, Tokenizer
from bakeoff.config import ChunkingConfig
from bakeoff.errors import InputError
from bakeoff.gold import Cover, Passage, Question, Span
from tests.toys import TOYS, Token, Toy

PIECES = (
    "\n\n",
    "\n",
    " ",
    "# a b\n",
    "## c\n",
    "Title\n=====\n",
    "| a | b |\n",
    "```\n",
    "One. Two! 三。四。",
    "\u200b",
)
WORDS = st.text("abx.é世🙂\u00a0\u200b|", min_size=1, max_size=40)
TEXTS = st.lists(st.sampled_from(PIECES) | WORDS, max_size=30).map("".join)
CONFIGS = st.builds(
    ChunkingConfig,
    strategy=st.sampled_from(["windows", "structure"]),
    size=st.integers(8, 40),
    overlap_ratio=st.floats(0.0, 0.9),
)


def cut(text: str, tokens: Tokenizer, config: ChunkingConfig) -> list[Chunk]:
    """Chunks as an ingest makes them."""
    ranges = structure.ranges if config.strategy == "structure" else None
    return chunking.chunk(text, tokens, config, structure=ranges)


def uncovered(text: str, chunks: list[Chunk]) -> str:
    """The visible characters of *text* that no chunk holds."""
    ends = chunking.byte_offsets(text)
    held = np.zeros(int(ends[-1]) + 1, dtype=bool)
    for chunk in chunks:
        held[chunk.start : chunk.end] = True
    return "".join(c for c, at in zip(text, ends[:-1], strict=True) if not c.isspace() and not held[at])


def check(text: str, tokens: Tokenizer, config: ChunkingConfig) -> list[Chunk]:
    """Assert everything that callers may rely on; returns the chunks."""
    chunks, data, found = cut(text, tokens, config), text.encode(), tokens.offsets(text)
    assert [chunk.text for chunk in chunks] == [data[chunk.start : chunk.end].decode() for chunk in chunks]
    assert all(chunk.text == chunk.text.strip() != "" for chunk in chunks)
    assert all(a.start <= b.start and a.end < b.end for a, b in pairwise(chunks)), "each brings something new"
    assert "" == uncovered(text, chunks) or not found
    assert all(1 <= chunk.token_count <= config.size for chunk in chunks)
    ends = chunking.byte_offsets(text)
    places = np.array([ends[end - len(text[start:end].lstrip())] for start, end, _ in found])
    blanks = any(text[start:end].isspace() for start, end, _ in found)
    for chunk in chunks:
        assert blanks or chunk.token_count == ((places >= chunk.start) & (places < chunk.end)).sum()
    return chunks


@given(TEXTS, CONFIGS, st.sampled_from(TOYS))
@example("\n\nfoo bar\n\nbaz", ChunkingConfig(strategy="structure", size=8), Toy())
@example("# h\n\nOne two. Three four. Five six.", ChunkingConfig(strategy="structure", size=8), Toy(leading=True))
@example("a bbbbbbbb cccccccc dddddddd", ChunkingConfig(size=10, overlap_ratio=0.5), Toy(width=1))
@example("🙂" * 30, ChunkingConfig(size=9, overlap_ratio=0.4), Toy(bytewise=True))
@example("\n\n🙂🙂a", ChunkingConfig(size=8, overlap_ratio=0.75), Toy(bytewise=True))
@example("é\u200b🙂", ChunkingConfig(size=8, overlap_ratio=0.5), Toy(bytewise=True))
def test_chunks_are_exact_ordered_whole_and_bounded(text: str, config: ChunkingConfig, tokens: Toy) -> None:
    """Any text, any tokenizer, both strategies, any overlap."""
    check(text, tokens, config)


@given(TEXTS, st.integers(8, 40), st.floats(0.0, 0.9), st.sampled_from(TOYS))
@example("a bbbbbbbb cccccccc dddddddd", 10, 0.5, Toy(width=1))
@example("aaaaaa b c d e f g", 10, 0.7, Toy(width=1))
def test_a_window_splits_only_words_longer_than_itself(text: str, size: int, ratio: float, tokens: Toy) -> None:
    """A word of at most `size` tokens is whole in every window that touches it."""
    found = tokens.offsets(text)
    words: dict[int, list[Token]] = {}
    for token in found:
        if not text[token[0] : token[1]].isspace():
            words.setdefault(token[2], []).append(token)
    ends = chunking.byte_offsets(text)
    for chunk in cut(text, tokens, ChunkingConfig(size=size, overlap_ratio=ratio)):
        for pieces in words.values():
            start, end = ends[pieces[0][0] + tokens.leading * text[pieces[0][0]].isspace()], ends[pieces[-1][1]]
            apart = end <= chunk.start or chunk.end <= start
            assert apart or len(pieces) > size or chunk.start <= start < end <= chunk.end


@given(TEXTS, st.floats(0.0, 0.9), st.sampled_from(TOYS[:4]))
def test_windows_share_no_more_than_the_overlap_and_a_word(text: str, ratio: float, tokens: Toy) -> None:
    """Two windows in a row share at most `overlap` tokens and the rest of one word."""
    config = ChunkingConfig(size=20, overlap_ratio=ratio)
    found = tokens.offsets(text)
    longest = max((sum(t[2] == word for t in found) for word in {t[2] for t in found}), default=0)
    chunks = cut(text, tokens, config)
    total = sum(chunk.token_count for chunk in chunks)
    assert len(found) <= total <= len(found) + len(chunks) * (config.overlap + min(longest, config.size))
    assert config.overlap or total == len(found)


def test_windows_of_plain_words_are_where_the_configuration_says() -> None:
    """Ten words a window, three of them shared."""
    text = " ".join(f"w{n:02}" for n in range(24))
    chunks = cut(text, Toy(), ChunkingConfig(size=10, overlap_ratio=0.3))
    assert [(0, 39, 10), (28, 67, 10), (56, 95, 10)] == [(c.start, c.end, c.token_count) for c in chunks]


def test_a_long_word_does_not_make_the_same_window_again() -> None:
    """Where the overlap leaves no room for the next word, the next window begins with it."""
    chunks = cut("a bbbbbbbb cccccccc d", Toy(width=1), ChunkingConfig(size=10, overlap_ratio=0.5))
    assert ["a bbbbbbbb", "cccccccc d"] == [chunk.text for chunk in chunks]


@pytest.mark.parametrize("strategy", ["windows", "structure"])
@pytest.mark.parametrize("text", ["", " \n\t\u3000", "\u200bx\u200b"])
def test_a_text_without_tokens_has_no_chunks(text: str, strategy: str) -> None:
    """Empty, blank, or nothing that the tokenizer keeps."""
    config = ChunkingConfig.model_validate({"strategy": strategy})
    assert [] == cut(text, Toy(drops="\u200bx"), config)


@pytest.mark.parametrize("strategy", ["windows", "structure"])
def test_dropped_characters_stay_in_the_text(strategy: str) -> None:
    """What the tokenizer drops, at either end or inside, is still part of a chunk."""
    config = ChunkingConfig.model_validate({"strategy": strategy, "size": 8})
    chunks = cut("\u200b\u200b a\u200bb \u200b c \u200b", Toy(drops="\u200b"), config)
    assert ["\u200b\u200b a\u200bb \u200b c \u200b"] == [chunk.text for chunk in chunks]


@dataclass
class Once:
    """A tokenizer that keeps what it said: the same texts are cut by many configurations."""

    inner: Tokenizer
    special_tokens: int = 2
    known: dict[str, list[Token]] = field(default_factory=dict)

    def offsets(self, text: str) -> list[Token]:
        """As the inner tokenizer's."""
        if text not in self.known:
            self.known[text] = list(self.inner.offsets(text))
        return self.known[text]

    def counts(self, texts: Sequence[str]) -> list[int]:
        """As the inner tokenizer's."""
        return [len(self.offsets(text)) for text in texts]


@pytest.fixture(scope="module")
def minilm() -> Once:
    """The tokenizer of the default embedder."""
    path = model_files.resolve("all-MiniLM-L6-v2").path / "tokenizer.json"
    return Once(tokenizer.open_tokenizer(path, name="all-MiniLM-L6-v2"))


@pytest.mark.parametrize("strategy", ["windows", "structure"])
@pytest.mark.parametrize(("size", "ratio"), [(40, 0.0), (200, 0.25)])
def test_real_text_and_tokenizer_keep_the_promises(minilm: Once, strategy: str, size: int, ratio: float) -> None:
    """Every topic of the language reference, cut by the default embedder's tokenizer."""
    config = ChunkingConfig.model_validate({"strategy": strategy, "size": size, "overlap_ratio": ratio})
    total = 0
    for text in topics.values():
        chunks = check(text, minilm, config)
        total += len(chunks)
        assert chunks == cut(text, minilm, config)
    assert total > len(topics)


def _hits(text: str, chunks: list[Chunk], span: tuple[int, int]) -> int | None:
    wanted = Span("d", *span)
    found = Cover(Span("d", c.start, c.end) for c in chunks if c.start < wanted.end and wanted.start < c.end)
    return gold.hit(Question("q", text[:10], passages=(Passage((wanted,)),)), found)


def _visible_half(data: bytes, start: int, end: int) -> bool:
    """Whether at least half of the bytes are not white space: no chunk promises the white space between chunks."""
    return len(b"".join(data[start:end].split())) * 2 >= end - start


@given(TEXTS, CONFIGS, st.sampled_from(TOYS[:4]), st.randoms(use_true_random=False))
def test_a_perfect_retriever_hits_every_gold_span(
    text: str, config: ChunkingConfig, tokens: Toy, rng: random.Random
) -> None:
    """Gold survives re-chunking: the chunks that overlap it hold at least half of it, whatever the chunks are."""
    text = text.replace("\u00a0", " ")
    chunks, data = cut(text, tokens, config), text.encode()
    for _ in range(10 if data else 0):
        start, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        if start < end and _visible_half(data, start, end):
            assert 1 == _hits(text, chunks, (start, end))


@pytest.mark.parametrize("size", [50, 200, 800])
@pytest.mark.parametrize("strategy", ["windows", "structure"])
def test_a_perfect_retriever_hits_every_gold_span_of_real_text(minilm: Once, strategy: str, size: int) -> None:
    """The same on the language reference, for every chunk size, with and without overlap."""
    rng = random.Random(7)
    for ratio in (0.0, 0.5):
        config = ChunkingConfig.model_validate({"strategy": strategy, "size": size, "overlap_ratio": ratio})
        for text in list(topics.values())[::4]:
            chunks, data = cut(text, minilm, config), text.encode()
            for _ in range(5):
                start = rng.randrange(len(data) - 1)
                end = min(len(data), start + rng.randrange(1, 600))
                assert 1 == _hits(text, chunks, (start, end)) or not _visible_half(data, start, end)


@given(st.text())
def test_byte_offsets_are_those_of_utf8(text: str) -> None:
    """For every position, how many bytes stand before it."""
    assert [len(text[:at].encode()) for at in range(len(text) + 1)] == chunking.byte_offsets(text).tolist()


def test_byte_offsets_know_every_width() -> None:
    """One to four bytes, at the edges of each."""
    assert [0, 1, 2, 4, 6, 9, 12, 16] == chunking.byte_offsets("a\x7f\x80\u07ff\u0800\uffff\U00010000").tolist()


def test_a_chunk_id_never_changes() -> None:
    """Others store it: sha1 of `docs/a.md|0-120|2026-01-02-v3|0123456789abcdef`."""
    made = chunking.chunk_id("docs/a.md", 0, 120, chunk_version="2026-01-02-v3", config_hash="0123456789abcdef")
    assert "84be0d06921b08a1f9edcfa66359419ca9bfcdee" == made


def test_a_fingerprint_never_changes() -> None:
    """Others store it: the first half of the first half of SHA-256."""
    assert "49837434716aa6f6" == chunking.fingerprint("Grüße, 世界")


@pytest.mark.parametrize("doc_id", ["a|b", "a\nb", "\x00", "a\x7f", "|"])
def test_an_id_that_could_be_mistaken_is_refused(doc_id: str) -> None:
    """`|` and control characters would let two chunks share one id."""
    with pytest.raises(InputError, match=r"holds `\|` or a control character") as refused:
        chunking.chunk_id(doc_id, 0, 1, chunk_version="2026-01-02-v1", config_hash="0" * 16)
    assert "rename the document" == refused.value.hint
    assert "\n" not in str(refused.value)


def test_structure_decides_the_ranges() -> None:
    """The strategy is what is passed in, and it is told how many tokens a range has."""
    seen: list[int] = []

    def halves(text: str, count: Callable[[int, int], int], config: ChunkingConfig) -> Iterator[tuple[int, int]]:
        seen.extend([count(0, len(text)), config.size])
        yield from [(0, 6), (6, len(text))]

    chunks = chunking.chunk("aa bb cc dd", Toy(), ChunkingConfig(size=8), structure=halves)
    expected = SimpleNamespace(seen=[4, 8], texts=["aa bb", "cc dd"])
    assert expected == SimpleNamespace(seen=seen, texts=[chunk.text for chunk in chunks])
