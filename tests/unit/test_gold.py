"""What `bakeoff.gold` promises: byte-exact spans, unions, a funnel in which nothing unjudged counts."""

from __future__ import annotations

import itertools
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import gold
from bakeoff.errors import ConfigError, InputError
from bakeoff.gold import Cover, Folded, Overlap, Passage, Problem, Question, Span, Trace

SPANS = st.builds(
    lambda doc, start, length: Span(doc, start, start + length),
    st.sampled_from("xyz"),
    st.integers(0, 30),
    st.integers(1, 12),
)
PIECES = st.lists(SPANS, max_size=8)
SPACES = st.sampled_from([" ", "\n", "\t", "\u00a0", "\u2003", "\u3000", "\r\n", "  "])
WORDS = st.text(st.sampled_from("abé中𝄞."), min_size=1, max_size=4)


def units(spans: Sequence[Span]) -> set[tuple[str, int]]:
    """Return the single units of *spans*: the slow, obvious definition."""
    return {(span.doc_id, unit) for span in spans for unit in range(span.start, span.end)}


def ask(*alternatives: tuple[Span, ...], **changes: object) -> Question:
    """Return a question whose passages have these alternatives."""
    return Question("q", "?", tuple(Passage(spans) for spans in alternatives), **changes)  # type: ignore[arg-type]  # mixed


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (3, 3), (4, 3)])
def test_spans_are_ranges(start: int, end: int) -> None:
    """A span that is empty, reversed or negative is refused with its numbers."""
    with pytest.raises(InputError, match=f"span {start}-{end} of d is not a range"):
        Span("d", start, end)


def test_passages_have_a_span() -> None:
    """A passage that nothing could hit is refused."""
    with pytest.raises(InputError, match="without a span"):
        Passage(())


@given(span=SPANS, pieces=PIECES)
def test_cover_counts_units_of_the_union(span: Span, pieces: list[Span]) -> None:
    """The covered share is that of single units in the union, in any order of the pieces."""
    expected = len(units([span]) & units(pieces)) / (span.end - span.start)
    assert expected == gold.covered(span, pieces)
    assert expected == Cover(reversed(pieces)).share(span)


@given(pieces=PIECES)
def test_cover_spans_are_the_union(pieces: list[Span]) -> None:
    """The union's spans hold the same units, apart from each other, in order; membership is by document."""
    cover = Cover(pieces)
    spans = cover.spans()
    assert units(pieces) == units(spans)
    assert sorted(spans) == spans
    assert all(a.doc_id != b.doc_id or a.end < b.start for a, b in itertools.pairwise(spans))
    assert {piece.doc_id for piece in pieces} == {doc for doc in "xyz" if doc in cover}


def test_cover_can_be_limited_to_documents() -> None:
    """Pieces of other documents are left out where documents are named."""
    cover = Cover([Span("x", 0, 5), Span("y", 0, 5)], documents={"x"})
    assert [Span("x", 0, 5)] == cover.spans()


@dataclass(frozen=True)
class Chunk:
    """A retrieved chunk."""

    chunk_id: str
    doc_id: str
    start: int
    end: int


def test_pieces_follow_aliases() -> None:
    """A chunk stands for its own span and for those of its near-duplicates."""
    aliases = {"c1": (Span("y", 5, 9), Span("z", 0, 4)), "c9": (Span("x", 0, 9),)}
    expected = [Span("x", 0, 4), Span("y", 5, 9), Span("z", 0, 4), Span("x", 7, 9)]
    assert expected == gold.pieces([Chunk("c1", "x", 0, 4), Chunk("c2", "x", 7, 9)], aliases)


def test_hit_is_by_the_union_at_the_share() -> None:
    """Two chunks that hold a quarter each are a hit at a half, and not above it."""
    question = ask((Span("x", 0, 8),))
    cover = Cover([Span("x", 0, 2), Span("x", 6, 9)])
    assert gold.hit(question, cover) == 1
    assert gold.hit(question, cover, share=0.51) == 0


def test_hit_by_any_alternative_of_every_passage() -> None:
    """One alternative is enough for a passage; `need` says whether one passage is enough for the question."""
    one, two = (Span("x", 0, 4), Span("y", 0, 4)), (Span("z", 0, 4),)
    cover = Cover([Span("y", 0, 9)])
    assert gold.hit(ask(one), cover) == 1
    assert gold.hit(ask(one, two), cover) == 0
    assert gold.hit(ask(one, two, need="any"), cover) == 1
    assert gold.hit(ask(two, need="any"), cover) == 0


def test_hit_of_documents() -> None:
    """With document gold alone a chunk of any relevant document is a hit; grade 0 is not relevant."""
    question = ask(relevant={"x": 2, "y": 0, "z": 1})
    assert gold.level(question) == "document"
    assert gold.hit(question, Cover([Span("z", 0, 1)])) == 1
    assert gold.hit(question, Cover([Span("y", 0, 1)])) == 0


@pytest.mark.parametrize("question", [ask(), ask(relevant={}), ask(relevant={"x": 0})])
def test_no_gold_is_not_judged(question: Question) -> None:
    """Without gold a hit is None, never 0, and nothing is lost."""
    assert gold.level(question) == "none"
    assert gold.hit(question, Cover([Span("x", 0, 1)])) is None
    empty = Trace(dense=[], lexical=[], snapshot=[], context=[], used=[], right=None)
    found = gold.funnel(question, empty, corpus={"x"}, indexed=Cover([]))
    assert found.in_corpus is found.indexed is found.snapshot is found.used is found.right is None
    assert found.lost_at is None


@pytest.mark.parametrize("share", [0.0, 1.1, float("nan")])
def test_share_is_checked(share: float) -> None:
    """A share outside (0, 1] is refused."""
    with pytest.raises(ConfigError, match="gold share"):
        gold.hit(ask(), Cover([]), share=share)


@given(pieces=PIECES, more=PIECES, passages=st.lists(st.lists(SPANS, min_size=1, max_size=2), min_size=1, max_size=3))
def test_more_chunks_never_lose_a_hit(pieces: list[Span], more: list[Span], passages: list[list[Span]]) -> None:
    """Retrieving more never turns a hit into a miss, and all passages is never easier than any."""
    every = ask(*map(tuple, passages))
    either = ask(*map(tuple, passages), need="any")
    for question in (every, either):
        assert (gold.hit(question, Cover(pieces)) or 0) <= (gold.hit(question, Cover(pieces + more)) or 0)
    assert (gold.hit(every, Cover(pieces)) or 0) <= (gold.hit(either, Cover(pieces)) or 0)


GOLD = Span("x", 0, 4)
HELD = [Span("x", 0, 9)]


@pytest.mark.parametrize(
    ("lost_at", "stages"),
    [
        ("in_corpus", {}),
        ("indexed", {"corpus"}),
        ("snapshot", {"corpus", "indexed", "dense", "lexical"}),
        ("context", {"corpus", "indexed", "snapshot"}),
        ("used", {"corpus", "indexed", "snapshot", "context"}),
        ("right", {"corpus", "indexed", "snapshot", "context", "used"}),
        (None, {"corpus", "indexed", "snapshot", "context", "used", "right"}),
    ],
)
def test_lost_at_is_the_first_arrow(lost_at: str | None, stages: set[str]) -> None:
    """The reason of a case is the first stage that does not hold its gold; the legs are informative only."""
    held = {stage: HELD if stage in stages else [] for stage in ("dense", "lexical", "snapshot", "context", "used")}
    trace = Trace(**held, right="right" in stages)
    for question in (ask((GOLD,)), ask(relevant={"x": 1})):
        found = gold.funnel(
            question,
            trace,
            corpus={"x"} if "corpus" in stages else set(),
            indexed=Cover(HELD if "indexed" in stages else []),
        )
        assert lost_at == found.lost_at
        assert found.dense == int("dense" in stages)
        assert found.level == gold.level(question)


def test_funnel_leaves_out_what_did_not_run() -> None:
    """A stage that did not run is None, and a case without a reader is not lost there."""
    trace = Trace(dense=HELD, lexical=None, snapshot=HELD, context=HELD, used=None, right=None)
    found = gold.funnel(ask((GOLD,)), trace, corpus={"x"}, indexed=Cover(HELD))
    assert (1, None, 1, None, None) == (found.dense, found.lexical, found.context, found.used, found.right)
    assert found.lost_at is None


def test_any_needed_passage_that_was_used_is_used() -> None:
    """A reader that takes one sentence where two passages are needed used gold; the context still needs both."""
    two = ask((GOLD,), (Span("y", 0, 4),))
    trace = Trace(dense=None, lexical=None, snapshot=HELD, context=HELD, used=HELD, right=None)
    found = gold.funnel(two, trace, corpus={"x", "y"}, indexed=Cover([*HELD, Span("y", 0, 4)]))
    assert (1, 0, 0, 1) == (found.indexed, found.snapshot, found.context, found.used)
    nothing = gold.funnel(two, replace(trace, used=[Span("z", 0, 9)]), corpus={"x", "y"}, indexed=Cover(HELD))
    assert (0, "indexed") == (nothing.used, nothing.lost_at)


def test_in_corpus_asks_for_what_is_needed() -> None:
    """All passages need a document of the corpus, or any of them, as the question says."""
    trace = Trace(dense=None, lexical=None, snapshot=None, context=None, used=None, right=None)
    two = (Span("x", 0, 4),), (Span("y", 0, 4),)
    for need, expected in (("all", 0), ("any", 1)):
        assert expected == gold.funnel(ask(*two, need=need), trace, corpus={"x"}, indexed=Cover([])).in_corpus


def test_a_wrong_answer_to_an_unanswerable_question() -> None:
    """A question without gold whose answer is wrong is lost at the answer."""
    trace = Trace(dense=[], lexical=[], snapshot=[], context=[], used=None, right=False)
    assert gold.funnel(ask(answerable=False), trace, corpus=set(), indexed=Cover([])).lost_at == "right"


@given(st.lists(st.tuples(WORDS, SPACES), max_size=12), st.data())
def test_locate_finds_a_quote_however_it_is_wrapped(parts: list[tuple[str, str]], data: st.DataObject) -> None:
    """A quote with other white space is found, and each span holds exactly its words, in bytes."""
    text = "".join(word + space for word, space in parts)
    words = text.split()
    first = data.draw(st.integers(0, len(words)))
    last = data.draw(st.integers(first, len(words)))
    quote = data.draw(SPACES).join(words[first:last])
    found = gold.locate(quote, text)
    raw = text.encode()
    assert bool(quote) == bool(found)
    assert all(quote.split() == raw[start:end].decode().split() for start, end in found)
    assert all(raw[start:end].decode().strip() == raw[start:end].decode() for start, end in found)
    # As many as in the folded text, overlapping ones too.
    folded, wanted = " ".join(words), " ".join(quote.split())
    places = [place for place in range(len(folded)) if wanted and folded.startswith(wanted, place)]
    assert len(places) == len(found)


def test_every_white_space_is_folded() -> None:
    """All characters that Python calls white space are equal to a space, at their own byte length."""
    for space in (*string.whitespace, *"\x1c\x1f\x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"):
        assert [(2, 4 + len(space.encode()))] == gold.locate("a b", f"éa{space}b")
    assert [] == gold.locate("a b", "a\u200bb")


def test_locate_known() -> None:
    """Spans are bytes, ends are the quote's own, overlapping occurrences count apart, nothing is nowhere."""
    assert [(3, 9)] == gold.locate("a b c", "é a\n\nb c  \n")
    assert [(0, 2), (1, 3)] == gold.locate("aa", "aaa")
    assert [] == gold.locate(" \n", "a b")
    assert [] == gold.locate("a", "")


def test_resolve_names_the_span_and_its_twins() -> None:
    """The named occurrence comes first, those in other documents follow by (doc_id, start)."""
    docs = {"b": Folded("x the  fact y"), "c": Folded("the fact, the fact"), "a": Folded("the\nfact"), "d": Folded("-")}
    expected = Passage((Span("b", 2, 11), Span("a", 0, 8), Span("c", 0, 8), Span("c", 10, 18)))
    assert expected == gold.resolve(" the fact ", "b", docs)


@pytest.mark.parametrize(
    ("quote", "doc_id", "reason"),
    [
        ("fact", "c", "document c is not in the corpus"),
        (" ", "a", "the quote is empty"),
        ("fiction", "a", "not in document a"),
        ("fact", "a", "occurs 2 times in a"),
    ],
)
def test_resolve_never_guesses(quote: str, doc_id: str, reason: str) -> None:
    """A quote that is not exactly once in its document is a problem, in words."""
    assert Problem(reason) == gold.resolve(quote, doc_id, {"a": Folded("fact fact"), "b": Folded("fact fiction")})


@given(wanted=PIECES, retrieved=PIECES)
def test_overlap_counts_units(wanted: list[Span], retrieved: list[Span]) -> None:
    """Recall, precision and IoU are the counts of single units, repeats of the retrieved counted."""
    total, read = len(units(wanted)), sum(span.end - span.start for span in retrieved)
    found = len(units(wanted) & units(retrieved))
    expected = Overlap(
        found / total if total else None,
        found / read if read else None,
        found / (read + total - found) if total else None,
    )
    assert expected == gold.overlap(wanted, retrieved)


def test_overlap_known() -> None:
    """Half of 20 gold units in 40 read, ten of them read twice: 0.5, 0.25, 0.2."""
    found = gold.overlap([Span("x", 10, 30)], [Span("x", 0, 20), Span("x", 10, 20), Span("y", 0, 10)])
    assert Overlap(0.5, 0.25, 0.2) == found


@given(wanted=PIECES, retrieved=PIECES, aliases=PIECES)
def test_overlap_with_aliases_stays_a_share(wanted: list[Span], retrieved: list[Span], aliases: list[Span]) -> None:
    """What near-duplicates hold counts as found but not as read, and no share leaves [0, 1]."""
    found, without = gold.overlap(wanted, retrieved, aliases=aliases), gold.overlap(wanted, retrieved)
    for name in ("recall", "precision", "iou"):
        value, less = getattr(found, name), getattr(without, name)
        assert (value is None and less is None) or 0.0 <= less <= value <= 1.0


@given(wanted=PIECES, chunks=PIECES)
def test_precision_omega_counts_units(wanted: list[Span], chunks: list[Span]) -> None:
    """It is gold found over the union of the chunks that hold gold, with the gold that none holds."""
    total = units(wanted)
    holding = units([chunk for chunk in chunks if units([chunk]) & total])
    expected = len(total & holding) / len(holding | total) if total else None
    assert expected == gold.precision_omega(wanted, chunks)


def test_nearest_takes_the_best_alternative() -> None:
    """For each passage the alternative that was covered most, the first where none was."""
    question = ask((Span("x", 0, 4), Span("y", 0, 4)), (Span("z", 0, 4), Span("x", 9, 12)))
    assert [Span("y", 0, 4), Span("z", 0, 4)] == gold.nearest(question, Cover([Span("y", 1, 3)]))
