"""What `bakeoff.fusion` promises: total orders, exact sums, a context within its limits."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import fusion
from bakeoff.config import FilterConfig
from bakeoff.errors import ConfigError, ModelError
from bakeoff.fusion import Hit

IDS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)
LEGS = st.lists(st.tuples(IDS, st.floats(0.0, 10.0)), max_size=4)


def make(rank: int, **changes: object) -> Hit:
    """Return a hit that both legs found; *changes* replace its fields."""
    hit = Hit(
        chunk_id=f"c{rank:02}",
        fp="",
        doc_id=f"d{rank}",
        start=0,
        end=10,
        text="",
        token_count=100,
        rank=rank,
        score=1.0 / rank,
        dense_rank=rank,
        dense_score=0.5,
        lexical_rank=rank,
        lexical_score=3.0,
    )
    return replace(hit, **changes)  # type: ignore[arg-type]  # the fields differ in type


@st.composite
def snapshots(draw: st.DrawFn) -> list[Hit]:
    """Draw a snapshot of up to 12 hits with all that `select` looks at."""
    return [
        make(
            rank,
            doc_id=draw(st.sampled_from("xyz")),
            token_count=draw(st.integers(1, 300)),
            dense_score=draw(st.none() | st.floats(-1.0, 1.0)),
            lexical_rank=draw(st.none() | st.just(rank)),
        )
        for rank in range(1, draw(st.integers(0, 12)) + 1)
    ]


FILTERS = st.builds(
    FilterConfig,
    context=st.integers(1, 12),
    max_per_document=st.none() | st.integers(1, 3),
    min_similarity=st.none() | st.floats(-1.0, 1.0),
    token_budget=st.none() | st.integers(1, 900),
)


def test_rrf_known_scores() -> None:
    """An id's score is the sum of weight / (k + rank), and the best comes first."""
    fused = fusion.rrf([(["a", "b"], 1.0), (["b", "c"], 2.0)], k=60)
    assert [("b", 1 / 62 + 2 / 61), ("c", 2 / 62), ("a", 1 / 61)] == fused


def test_rrf_ties_break_by_id() -> None:
    """Equal scores are ordered by id."""
    assert ["a", "z"] == [item for item, _ in fusion.rrf([(["z"], 1.0), (["a"], 1.0)], k=60)]


def test_rrf_leg_of_weight_zero_is_off() -> None:
    """A leg of weight 0 brings no ids."""
    assert [("a", 1 / 61)] == fusion.rrf([(["a"], 1.0), (["b"], 0.0)], k=60)


def test_rrf_counts_a_repeated_id_once() -> None:
    """An id that a leg names twice counts at its better rank."""
    assert [("a", 1 / 61), ("b", 1 / 62)] == fusion.rrf([(["a", "b", "a"], 1.0)], k=60)


@given(legs=LEGS, k=st.integers(1, 100))
def test_rrf_ignores_the_order_of_legs(legs: list[tuple[list[str], float]], k: int) -> None:
    """Every order of the legs gives the same result to the last bit, in the order (-score, id)."""
    fused = fusion.rrf(legs, k=k)
    assert all(fused == fusion.rrf(order, k=k) for order in itertools.permutations(legs))
    assert sorted(fused, key=lambda pair: (-pair[1], pair[0])) == fused
    assert {item for ids, weight in legs if weight for item in ids} == {item for item, _ in fused}


@given(legs=LEGS)
def test_rrf_sums_are_correctly_rounded(legs: list[tuple[list[str], float]]) -> None:
    """A score is the float nearest to the exact sum of its shares."""
    exact: dict[str, Fraction] = {}
    for ids, weight in legs:
        for rank, item in enumerate(ids if weight else [], start=1):
            exact[item] = exact.get(item, Fraction(0)) + Fraction(weight / (60 + rank))
    assert {item: float(value) for item, value in exact.items()} == dict(fusion.rrf(legs, k=60))


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_rrf_refuses_impossible_weights(weight: float) -> None:
    """A weight that is negative or not finite is refused, with the value."""
    with pytest.raises(ConfigError, match=f"weight is {weight}"):
        fusion.rrf([(["a"], weight)], k=60)


def test_rrf_refuses_k_below_one() -> None:
    """A k below 1 is refused, with the value."""
    with pytest.raises(ConfigError, match="k is 0, below 1"):
        fusion.rrf([], k=0)


def test_select_takes_the_first_chunks() -> None:
    """Without other limits the context is the first `context` of the snapshot."""
    hits = [make(rank) for rank in range(1, 6)]
    assert hits[:3] == fusion.select(hits, FilterConfig(context=3))


def test_select_min_similarity_spares_lexical_finds() -> None:
    """Only a chunk that the dense leg alone found is left out for its distance."""
    hits = [
        make(1, dense_score=0.1, lexical_rank=None),
        make(2, dense_score=0.1, lexical_rank=4),
        make(3, dense_score=None, lexical_rank=5),
        make(4, dense_score=0.3, lexical_rank=None),
    ]
    assert [2, 3, 4] == [hit.rank for hit in fusion.select(hits, FilterConfig(min_similarity=0.3))]


def test_select_limits_chunks_of_a_document() -> None:
    """At most `max_per_document` chunks of one document are read, and the search goes on behind them."""
    hits = [make(rank, doc_id="x" if rank < 4 else "y") for rank in range(1, 6)]
    assert [1, 2, 4, 5] == [hit.rank for hit in fusion.select(hits, FilterConfig(max_per_document=2))]


def test_select_skips_what_does_not_fit() -> None:
    """The first chunk is read whatever its length; one that does not fit is skipped, a later, shorter one read."""
    hits = [make(1, token_count=80), make(2, token_count=50), make(3, token_count=20)]
    assert [1, 3] == [hit.rank for hit in fusion.select(hits, FilterConfig(token_budget=100))]
    assert [1] == [hit.rank for hit in fusion.select(hits, FilterConfig(token_budget=10))]


@given(hits=snapshots(), limits=FILTERS)
def test_select_keeps_its_limits(hits: list[Hit], limits: FilterConfig) -> None:
    """The context is a subsequence of the snapshot within every limit, and each chunk left out broke one."""
    chosen = fusion.select(hits, limits)
    assert [hit for hit in hits if hit in chosen] == chosen
    assert len(chosen) <= limits.context
    if limits.max_per_document is not None:
        assert all(count <= limits.max_per_document for count in Counter(hit.doc_id for hit in chosen).values())
    if limits.token_budget is not None:
        assert len(chosen) <= 1 or sum(hit.token_count for hit in chosen) <= limits.token_budget
    if limits == FilterConfig(context=limits.context):
        assert hits[: limits.context] == chosen


def test_rerank_reorders_the_head_only() -> None:
    """The first `depth` hits follow (-rerank_score, place), the rest keep their order, ranks are numbered anew."""
    hits = [make(1), make(2, chunk_id="c09", doc_id="z"), make(3, doc_id="y"), make(4), make(5)]
    found = fusion.rerank(hits, [0.1, 0.9, 0.9], 3)
    assert ["c03", "c09", "c01", "c04", "c05"] == [hit.chunk_id for hit in found]
    assert [1, 2, 3, 4, 5] == [hit.rank for hit in found]
    assert [0.9, 0.9, 0.1, None, None] == [hit.rerank_score for hit in found]


@given(hits=snapshots(), depth=st.integers(1, 15), data=st.data())
def test_rerank_is_a_permutation(hits: list[Hit], depth: int, data: st.DataObject) -> None:
    """Reranking loses and invents nothing, and twice is as good as once."""
    head = hits[:depth]
    scores = data.draw(st.lists(st.floats(-9, 9), min_size=len(head), max_size=len(head)))
    found = fusion.rerank(hits, scores, depth)
    assert sorted(hit.chunk_id for hit in hits) == sorted(hit.chunk_id for hit in found)
    assert [hit.chunk_id for hit in hits[depth:]] == [hit.chunk_id for hit in found[depth:]]
    again = [hit.rerank_score for hit in found[:depth] if hit.rerank_score is not None]
    assert found == fusion.rerank(found, again, depth)


def test_rerank_refuses_rubbish() -> None:
    """A wrong number of scores, a NaN, and a depth below 1 are refused in words."""
    hits = [make(1), make(2)]
    with pytest.raises(ModelError, match="gave 1 scores for 2 chunks"):
        fusion.rerank(hits, [0.5], 40)
    with pytest.raises(ModelError, match="scored chunk c02 nan"):
        fusion.rerank(hits, [0.5, float("nan")], 40)
    with pytest.raises(ConfigError, match="depth is 0, below 1"):
        fusion.rerank(hits, [], 0)
