"""Where questions were lost and gained: one arrow each, the first that differs; none is claimed without a value."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import explain, plural
from bakeoff.errors import StateError
from bakeoff.explain import FUSION, TOGETHER, Moved, Unmeasured
from bakeoff.gold import STAGES, Span

Case = dict[str, Any]
ORDER: list[str] = list(STAGES)
ALL = {"in_corpus": 1, "indexed": 1, "dense": 1, "lexical": 1, "snapshot": 1, "context": 1, "used": 1, "right": 1}


def upto(stage: str | None, **changed: int | None) -> dict[str, int | None]:
    """A funnel whose gold is lost at *stage* and stays lost; None: not lost."""
    found: dict[str, int | None] = dict(ALL)
    if stage is not None:
        found |= dict.fromkeys(ORDER[ORDER.index(stage) :], 0)
    return found | changed


def hit(rank: int, start: int, end: int, doc_id: str = "d") -> dict[str, Any]:
    """One chunk of a snapshot."""
    scores = {"score": 1 / rank, "dense_rank": rank, "dense_score": 0.5, "lexical_rank": None, "lexical_score": None}
    place = {"chunk_id": f"c{rank}", "doc_id": doc_id, "start": start, "end": end, "rank": rank}
    return {**place, **scores, "rerank_score": None, "fp": "f", "token_count": 9}


def case(name: str = "q", funnel: dict[str, int | None] | None = None, **changed: Any) -> Case:
    """A case result with gold at 10-20 of `d`, three chunks in the snapshot, and the first two read."""
    hits = [hit(1, 0, 8), hit(2, 8, 15), hit(3, 15, 40)]
    return {
        "question_id": name,
        "question": f"text of {name}",
        "funnel": funnel or upto(None),
        "gold": {"passages": [[{"doc_id": "d", "start": 10, "end": 20}]], "relevant": None},
        "retrieval_snapshot": hits,
        "retrieved_context": hits[:2],
        **changed,
    }


def moves(left: dict[str, int | None], right: dict[str, int | None]) -> tuple[Any, ...]:
    """What is found between two funnels of one question: moved, then unmeasured."""
    found = explain.explain([case(funnel=left)], [case(funnel=right)])
    return *found.moved, *found.unmeasured


@pytest.mark.parametrize("stage", STAGES)
def test_every_arrow_is_named_and_only_that_one(stage: str) -> None:
    """Gold that stays lost from one stage on is lost there; the other way round it is gained there."""
    legs = (FUSION,) if stage == "snapshot" else ()
    assert (Moved("q", "text of q", "lost", stage, legs),) == moves(upto(None), upto(stage))  # type: ignore[arg-type]  # a stage
    assert (Moved("q", "text of q", "gained", stage, legs),) == moves(upto(stage), upto(None))  # type: ignore[arg-type]  # a stage
    found = explain.explain([case(funnel=upto(None))], [case(funnel=upto(stage))]).to_json()
    assert {stage} == {item["arrow"] for item in found["arrows"] if item["lost"]}
    assert [stage] == [word for word in STAGES if f"'{word}'" in found["conclusion"]]


def test_the_first_difference_decides() -> None:
    """A question lost in the context whose answer is right all the same is lost in the context."""
    (found,) = moves(upto(None, right=0), upto("context", right=1))
    assert ("lost", "context") == (found.kind, found.arrow)


@pytest.mark.parametrize(
    ("keeps", "loses", "expected"),
    [
        ((1, 1), (0, 0), ("dense", "lexical")),
        ((1, 0), (0, 0), ("dense",)),
        ((0, 1), (0, 0), ("lexical",)),
        ((1, 1), (1, 0), ("lexical", FUSION)),
        ((1, 1), (1, 1), (FUSION,)),
        ((0, 0), (0, 0), (TOGETHER,)),
        ((None, None), (None, None), (TOGETHER,)),
    ],
)
def test_the_leg_that_lost_it_is_named(
    keeps: tuple[int | None, int | None], loses: tuple[int | None, int | None], expected: tuple[str, ...]
) -> None:
    """Those that hold the gold on one side only; fusion where a leg still found it; both where neither did alone."""
    good = upto(None, dense=keeps[0], lexical=keeps[1])
    bad = upto("snapshot", dense=loses[0], lexical=loses[1])
    assert expected == moves(good, bad)[0].legs == moves(bad, good)[0].legs


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (upto(None), upto(None, used=None), ("used", "candidate", None)),
        (upto(None, used=None), upto(None), ("used", "baseline", None)),
        (upto(None), upto(None, used=None, right=0), ("used", "candidate", "lost")),
        (upto(None, right=0), upto(None, used=None), ("used", "candidate", "gained")),
        (upto(None), upto(None, right=None), ("right", "candidate", None)),
    ],
)
def test_what_one_side_did_not_measure_is_listed_apart(
    left: dict[str, int | None], right: dict[str, int | None], expected: tuple[Any, ...]
) -> None:
    """No arrow is claimed, but what changed further on is not hidden."""
    assert (Unmeasured("q", "text of q", *expected),) == moves(left, right)


def test_what_neither_side_measured_is_no_difference() -> None:
    """A reader that does not say what it used, on both sides: the answer decides."""
    assert () == moves(upto(None, used=None), upto(None, used=None))
    (found,) = moves(upto(None, used=None), upto(None, used=None, right=0))
    assert ("lost", "right") == (found.kind, found.arrow)


FUNNELS = st.fixed_dictionaries({name: st.sampled_from([0, 1, None]) for name in ALL})


@given(st.lists(st.tuples(FUNNELS, FUNNELS), max_size=8))
def test_every_question_is_counted_once_and_the_other_way_is_the_mirror(pairs: list[tuple[Any, Any]]) -> None:
    """Named are exactly those whose stages differ; swapping the runs turns lost into gained, at the same arrow."""
    left = [case(f"q{n}", a) for n, (a, _) in enumerate(pairs)]
    right = [case(f"q{n}", b) for n, (_, b) in enumerate(pairs)]
    found, back = explain.explain(left, right), explain.explain(right, list(reversed(left)))
    names = [item.question_id for item in found.moved] + [item.question_id for item in found.unmeasured]
    differ = [f"q{n}" for n, (a, b) in enumerate(pairs) if any(a[stage] != b[stage] for stage in STAGES)]
    assert sorted(differ) == sorted(names)
    assert found.count("lost") == back.count("gained")
    assert {(i.question_id, i.arrow, i.legs) for i in found.moved} == {
        (i.question_id, i.arrow, i.legs) for i in back.moved
    }
    kinds = [item.kind for item in found.moved]
    assert kinds == sorted(kinds, reverse=True)


@given(st.lists(FUNNELS, max_size=5))
def test_equal_runs_have_nothing_to_explain(found: list[Any]) -> None:
    """And the first line says so."""
    run = [case(f"q{n}", item) for n, item in enumerate(found)]
    result = explain.explain(run, copy.deepcopy(run))
    assert ((), ()) == (result.moved, result.unmeasured)
    asked = plural.every(len(run), "question")
    assert f"nothing changed: {asked} came equally far in both runs" == explain.conclusion(result)


def conclusion(*pairs: tuple[dict[str, int | None], dict[str, int | None]]) -> str:
    """The first line for these funnels."""
    left = [case(f"q{n}", a) for n, (a, _) in enumerate(pairs)]
    right = [case(f"q{n}", b) for n, (_, b) in enumerate(pairs)]
    return explain.conclusion(explain.explain(left, right))


GOOD, CONTEXT, USED, BLIND = upto(None), upto("context"), upto("used"), upto(None, used=None, right=0)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (
            [(GOOD, CONTEXT)],
            "1 of 1 question comes less far in the funnel, none further; all losses happen at 'context'",
        ),
        (
            [(GOOD, CONTEXT), (GOOD, CONTEXT), (GOOD, USED), (USED, GOOD)],
            (
                "3 of 4 questions come less far in the funnel, 1 further; losses happen most at 'context' (2 of 3); "
                "all gains happen at 'used'"
            ),
        ),
        (
            [(GOOD, CONTEXT), (GOOD, USED)],
            (
                "2 of 2 questions come less far in the funnel, none further; "
                "losses happen most at 'context' and 'used' (1 each of 2)"
            ),
        ),
        (
            [(GOOD, CONTEXT), (GOOD, BLIND)],
            (
                "1 of 2 questions comes less far in the funnel, none further; all losses happen at 'context'; "
                "1 more not measured on one side (1 lost further on)"
            ),
        ),
        (
            [(GOOD, upto(None, right=None)), (BLIND, upto(None, right=1))],
            "no change was measured in 2 questions; 2 more not measured on one side (1 gained further on)",
        ),
        ([(GOOD, GOOD)], "nothing changed: the 1 question came equally far in both runs"),
        ([(GOOD, upto(None, right=None))], "no change was measured in 1 question; 1 more not measured on one side"),
        ([], "nothing changed: all 0 questions came equally far in both runs"),
    ],
)
def test_the_conclusion_names_the_worst_arrow(pairs: list[Any], expected: str) -> None:
    """One line: how many, where most of them, what is not known."""
    assert expected == conclusion(*pairs)


def test_counts_by_arrow_and_leg() -> None:
    """What `--json` says of each arrow."""
    left = [case("a", GOOD), case("b", GOOD), case("c", upto("snapshot", dense=0))]
    right = [case("a", upto("snapshot", dense=0)), case("b", CONTEXT), case("c", GOOD)]
    found = explain.explain(left, right).to_json()
    arrows = {item["arrow"]: item for item in found["arrows"]}
    assert list(STAGES) == list(arrows)
    legs = {"dense": 1, FUSION: 1}
    assert {"arrow": "snapshot", "lost": 1, "gained": 1, "legs": {"lost": legs, "gained": legs}} == arrows["snapshot"]
    assert (2, 1, 3) == (found["lost"], found["gained"], found["questions"])


@pytest.mark.parametrize("other", [[], [case("other")], [case("q"), case("q")]])
def test_other_questions_are_refused(other: list[Case]) -> None:
    """Another run's questions, fewer, or one twice."""
    with pytest.raises(StateError, match="do not have the same questions"):
        explain.explain([case("q")], other)


def test_chunks_are_marked_with_their_share_of_the_gold() -> None:
    """Half of it in the second chunk, half in the third, none in the first; the first two were read."""
    found = explain.chunks(case(), {})
    assert [0.0, 0.5, 0.5] == [chunk.gold for chunk in found]
    assert [True, True, False] == [chunk.read for chunk in found]
    assert ("c2", "d", 8, 15, 2, 0.5) == (*(getattr(found[1], name) for name in ("chunk_id", "doc_id", "start", "end", "rank", "score")),)  # fmt: skip  # noqa: E501  # one chunk


def test_a_chunk_stands_for_its_near_duplicates() -> None:
    """A chunk of another document holds the gold where a near-duplicate of it does."""
    only = case(retrieval_snapshot=[hit(1, 0, 8, "other")], retrieved_context=[])
    assert [0.0] == [chunk.gold for chunk in explain.chunks(only, {})]
    assert [1.0] == [chunk.gold for chunk in explain.chunks(only, {"c1": [Span("d", 0, 30)]})]


def test_documents_as_gold_mark_every_chunk_of_theirs() -> None:
    """A grade above 0 is relevant; without any gold nothing is marked."""
    hits = [hit(1, 0, 8, "a"), hit(2, 0, 8, "b"), hit(3, 0, 8, "c")]
    judged = {"passages": [], "relevant": {"a": 0, "b": 2}}
    assert [0.0, 1.0, 0.0] == [chunk.gold for chunk in explain.chunks(case(retrieval_snapshot=hits, gold=judged), {})]
    nothing: dict[str, Any] = {"passages": [], "relevant": None}
    assert [None] * 3 == [chunk.gold for chunk in explain.chunks(case(gold=nothing), {})]


@pytest.mark.parametrize(
    ("funnel", "expected"),
    [
        (upto("in_corpus"), "its document is not in the corpus"),
        (upto("indexed"), "no chunk of the index holds it"),
        (
            upto("snapshot", dense=0, lexical=None),
            "only a part of it in the snapshot, ranks 2, 3 of 3 (dense leg: no, lexical leg: not judged)",
        ),
        (upto("context"), "ranks 2, 3 of 3, only a part of it among the 2 read"),
        (upto("used"), "ranks 2, 3 of 3, read and not used"),
        (upto("right"), "ranks 2, 3 of 3, read and used"),
        (upto(None, used=None), "ranks 2, 3 of 3, read"),
        (upto(None, context=None), "no gold to be found"),
    ],
)
def test_how_far_the_gold_came_in_words(funnel: dict[str, int | None], expected: str) -> None:
    """For every stage where it may end."""
    asked = case(funnel=funnel)
    assert expected == explain.standing(asked, explain.chunks(asked, {}))


def test_ranks_in_words() -> None:
    """One rank, more than three, and none at all."""
    one = case(retrieval_snapshot=[hit(1, 0, 8), hit(2, 8, 30)])
    assert "rank 2 of 2, read and used" == explain.standing(one, explain.chunks(one, {}))
    five = case(retrieval_snapshot=[hit(rank, 12, 14) for rank in range(1, 6)])
    assert explain.standing(five, explain.chunks(five, {})).startswith("ranks 1, 2, 3, … of 5")
    none = case(retrieval_snapshot=[hit(1, 0, 8)])
    assert explain.standing(none, explain.chunks(none, {})).startswith("by a near-duplicate, ")
    unread = case(retrieved_context=[hit(1, 0, 8)], funnel=upto("context"))
    assert "ranks 2, 3 of 3, not among the 1 read" == explain.standing(unread, explain.chunks(unread, {}))
    lost = case(retrieval_snapshot=[hit(1, 0, 8)], funnel=upto("snapshot", dense=0))
    assert "not in the snapshot (dense leg: no, lexical leg: yes)" == explain.standing(lost, explain.chunks(lost, {}))


def test_a_table_that_is_not_the_runs_is_said() -> None:
    """Ingested again, or gone: in words, with the run; nothing where the table is the one that was seen."""
    assert explain.said_of_table("wide", "r1", "as evaluated") is None
    changed, gone = (explain.said_of_table("wide", "r1", state) for state in ("changed", "gone"))
    assert "the chunk table of wide (run r1) was ingested again after the run" in str(changed)
    assert "the chunk table of wide (run r1) is gone" in str(gone)
