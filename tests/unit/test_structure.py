"""Structure-aware ranges: headings bound them, blocks stay whole, overlap repeats whole units."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pydoc_data.topics import topics

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bakeoff import structure
from bakeoff.config import ChunkingConfig
from bakeoff.structure import Block
from tests.toys import Toy

LINES = (
    *("", "", " ", "# One", "## Two", "### Three", "   #### Four", "Title", "=====", "-----", "~~~~", "..."),
    *("| a | b |", "+--+--+", "| c | d | e |", "```", "```python", "~~~", "# not code", "    indented # no heading"),
    *("A word. Two words! Three", "plain words that go on for longer than a chunk may. And then. Some more words here",
      "- item", "x", "世界。你好。", "\f"),
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(LINES), max_size=40).map("\n".join)
CONFIGS = st.builds(ChunkingConfig, size=st.integers(8, 30), overlap_ratio=st.sampled_from([0.0, 0.2, 0.5, 0.9]))
Count = Callable[[int, int], int]


def counter(text: str) -> Count:
    """How many words begin in a range."""
    starts = [start for start, _, _ in Toy(width=100).offsets(text)]
    return lambda start, end: sum(start <= at < end for at in starts)


def kinds(text: str) -> list[tuple[str, str]]:
    """The blocks of *text* as (kind, text)."""
    return [(block.kind, text[block.start : block.end].strip("\n")) for block in structure.blocks(text)]


def units(text: str, count: Count, config: ChunkingConfig) -> list[tuple[int, int]]:
    """What is packed whole: blocks, and the parts of those that do not fit."""
    found: list[tuple[int, int]] = []
    for block in structure.blocks(text):
        fits = block.kind == "heading" or count(block.start, block.end) <= config.size
        found.extend([(block.start, block.end)] if fits else structure._parts(text, block))
    return found


def _check_headings(blocks: list[Block], ranges: list[tuple[int, int]]) -> None:
    headings = [block for block in blocks if block.kind == "heading"]
    for start, end in ranges:
        own = next((block.level for block in reversed(headings) if block.start <= start), 7)
        assert all(block.level > own for block in headings if start < block.start < end)


def check(text: str, config: ChunkingConfig) -> list[tuple[int, int]]:
    """Assert everything that callers may rely on; returns the ranges."""
    count = counter(text)
    ranges, blocks = list(structure.ranges(text, count, config)), list(structure.blocks(text))
    _check_headings(blocks, ranges)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(ranges))
    held = {at for start, end in ranges for at in range(start, end)}
    assert "" == "".join(c for at, c in enumerate(text) if at not in held).strip()
    for block in blocks:
        if count(block.start, block.end) <= config.size:
            for start, end in ranges:
                assert end <= block.start or block.end <= start or start <= block.start < block.end <= end
    whole = units(text, count, config)
    starts, ends = {start for start, _ in whole}, {end for _, end in whole}
    for start, end in ranges:
        assert start in starts
        assert end in ends
        assert count(start, end) <= config.size or (start, end) in whole
    for before, after in pairwise(ranges):
        assert count(after[0], max(after[0], before[1])) <= config.overlap
    return ranges


@given(TEXTS, CONFIGS)
@example("# A\n\na\n\n## B\n\n" + "b " * 7 + "\n\nlast of b\n\n## C\n\nc", ChunkingConfig(size=9))
@example("# A\n\n" + "a\n\n" * 5 + "### C\n\nc\n\n## D\n\n" + "d " * 5, ChunkingConfig(size=12, overlap_ratio=0.3))
def test_ranges_keep_their_promises(text: str, config: ChunkingConfig) -> None:
    """Any mixture of headings, tables, code, paragraphs and blank lines."""
    check(text, config)


@pytest.mark.parametrize("topic", sorted(topics)[::6])
def test_real_text_keeps_the_promises(topic: str) -> None:
    """Topics of the language reference, with and without overlap."""
    for ratio in (0.0, 0.3):
        ranges = check(topics[topic][:12_000], ChunkingConfig(size=60, overlap_ratio=ratio))
        assert ranges


def test_a_chunk_may_hold_subsections_but_no_next_section() -> None:
    """Deeper headings are packed with their section; one of the same level begins a new chunk."""
    text = "# A\n\none\n\n## B\n\ntwo\n\n# C\n\nthree\n\n### D\n\nfour\n\n## E\n\nfive"
    found = [text[start:end] for start, end in check(text, ChunkingConfig(size=50))]
    assert ["# A\n\none\n\n## B\n\ntwo\n", "# C\n\nthree\n\n### D\n\nfour\n\n## E\n\nfive"] == found


def test_a_chunk_that_begins_in_a_subsection_ends_with_it() -> None:
    """After a cut for size the rest of a subsection is not packed with the next one."""
    text = "# A\n\na a a a a\n\n## B\n\nb b b b b\n\nc c c c c\n\n## D\n\nd"
    found = [" ".join(text[start:end].split()) for start, end in check(text, ChunkingConfig(size=8))]
    assert ["# A a a a a a", "## B b b b b b", "c c c c c", "## D d"] == found


def test_text_before_the_first_heading_stands_alone() -> None:
    """A preamble has no heading of its own, so any heading ends it."""
    text = "\n\nintro words\n\n###### Deep\n\nbody"
    assert ["intro words\n", "###### Deep\n\nbody"] == [text[a:b] for a, b in check(text, ChunkingConfig(size=50))]


def test_overlap_repeats_whole_units() -> None:
    """The last paragraphs that fit into the overlap come again, the one that does not is left."""
    text = "a a a a a a\n\nb b b\n\nc\n\nd d d\n\ne e e e"
    found = ["".join(text[a:b].split()) for a, b in check(text, ChunkingConfig(size=10, overlap_ratio=0.4))]
    assert ["aaaaaabbbc", "bbbcddd", "cdddeeee"] == found
    text = "a a\n\nb b\n\nc c c\n\nd d d d"
    found = ["".join(text[a:b].split()) for a, b in check(text, ChunkingConfig(size=10, overlap_ratio=0.4))]
    assert ["aabbccc", "cccdddd"] == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A #\n", [("heading", "# A #")]),
        ("#no heading", [("paragraph", "#no heading")]),
        ("    # code", [("paragraph", "    # code")]),
        ("Title\n=====\nbody", [("heading", "Title\n====="), ("paragraph", "body")]),
        ("a b\nTitle\n---\n", [("paragraph", "a b"), ("heading", "Title\n---")]),
        ("A title far too long for it\n---\n", [("paragraph", "A title far too long for it\n---")]),
        ("| a | b |\n|---|---|\n| 1 |\nend", [("table", "| a | b |\n|---|---|\n| 1 |"), ("paragraph", "end")]),
        ("+--+\n| a |\n+--+\n", [("table", "+--+\n| a |\n+--+")]),
        ("Run:\n```\n# no\n```\nx", [("paragraph", "Run:"), ("code", "```\n# no\n```"), ("paragraph", "x")]),
        ("```python\nx = 1\n```", [("code", "```python\nx = 1\n```")]),
        ("````\n```\n# a\n````\nb", [("code", "````\n```\n# a\n````"), ("paragraph", "b")]),
        ("~~~\n```\n~~~\nb", [("code", "~~~\n```\n~~~"), ("paragraph", "b")]),
        ("```\nnever closed\n\n# x", [("code", "```\nnever closed\n\n# x")]),
        ("```inline``` code\n\nb", [("paragraph", "```inline``` code"), ("paragraph", "b")]),
        ("=====\n=====\n", [("paragraph", "=====\n=====")]),
        ("| a | b |\n=====", [("table", "| a | b |"), ("paragraph", "=====")]),
        (" \n\n", []),
    ],
)  # fmt: skip
def test_blocks_are_what_a_reader_sees(text: str, expected: list[tuple[str, str]]) -> None:
    """Headings of both styles, tables, fenced code, paragraphs; blank lines are nothing."""
    assert expected == kinds(text)


@pytest.mark.parametrize(
    ("mark", "level"), [("#", 1), ("*", 1), ("=", 1), ("-", 2), ("~", 3), ("^", 3), ('"', 4), ("+", 4), (".", 4)]
)
def test_an_underline_gives_the_level(mark: str, level: int) -> None:
    """The usual order of reStructuredText; what is not in it is below it."""
    assert [level] == [block.level for block in structure.blocks(f"Title\n{mark * 5}\n")]


def test_a_table_that_does_not_fit_is_cut_between_rows() -> None:
    """No row is cut; sentences are not looked for in tables."""
    row = "| One. Two. | b b b |\n"
    text = row * 4
    found = check(text, ChunkingConfig(size=16))
    assert [row * 2, row * 2] == [text[start:end] for start, end in found]


def test_a_sentence_that_does_not_fit_is_given_as_it_is() -> None:
    """The caller cuts it into windows; its neighbours are not packed with it."""
    text = "Short one. " + "Word " * 12 + "end. Short two."
    found = [text[start:end] for start, end in check(text, ChunkingConfig(size=8))]
    assert ["Short one.", "Word " * 12 + "end.", "Short two."] == found
