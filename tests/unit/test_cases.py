"""Case results and their aggregates: plain JSON, hit fields that add up, nothing undefined counted as zero."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff import canonical, cases
from bakeoff.cases import Observed, Used
from bakeoff.fusion import Hit
from bakeoff.gold import Cover, Passage, Question, Span

HITS = ("oracle_retrieval_hit_prefilter", "filter_hit_postfilter", "reader_used_gold", "answer_right")
STEPS = ("in_corpus", "indexed", "dense", "lexical", "snapshot", "context", "used", "right")
CORPUS = {"a", "b"}
INDEXED = Cover([Span("a", 0, 100), Span("b", 0, 100)])


def hit(chunk_id: str, doc_id: str, start: int, end: int, *, text: str = "Paris is the capital") -> Hit:
    """A retrieved chunk."""
    return Hit(chunk_id, "0" * 16, doc_id, start, end, text, 5, 1, 0.5, 1, 0.25, None, None)


QUESTION = Question(
    "q1", "What is the capital?", (Passage((Span("a", 10, 20),)),), ("Paris",), {"a": 1, "b": 0}, tags=("easy", "geo")
)
NEAR, FAR = hit("c1", "a", 0, 40), hit("c2", "b", 0, 40, text="nothing of note")
SEEN = Observed(
    snapshot=[FAR, NEAR],
    context=[NEAR],
    dense=[NEAR],
    lexical=[FAR],
    aliases={},
    answer="Paris",
    used=(Used("c1", "a", 0, 20, "Paris is the capital"),),
    abstained=False,
    error=None,
    input_tokens=12,
    output_tokens=None,
)
NOTHING = replace(
    SEEN, snapshot=[], context=[], dense=[], lexical=[], answer=None, used=None, error="timed out", input_tokens=None
)


def judge(question: Question = QUESTION, seen: Observed = SEEN) -> dict[str, Any]:
    """The case result of *question* on the small corpus."""
    return cases.judge(question, seen, corpus=CORPUS, indexed=INDEXED, share=0.5)


def test_a_case_that_went_well_says_so_everywhere() -> None:
    """Every figure of one plain case."""
    result = judge()
    figures = {name: result[name] for name in (*cases.MEANS, "lost_at", "token_counts", "gold", "funnel")}
    assert {
        "oracle_retrieval_hit_prefilter": 1,
        "filter_hit_postfilter": 1,
        "reader_used_gold": 1,
        "answer_right": 1,
        "em": 1.0,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "faithfulness": 1.0,
        "text_recall": 1.0,
        "text_precision": 0.25,
        "text_iou": 0.25,
        "ndcg_at_10": 1 / math.log2(3),
        "recall_at_10": 1.0,
        "reciprocal_rank": 0.5,
        "lost_at": None,
        "token_counts": {"context": 5, "input": 12, "output": None},
        "gold": {
            "level": "span",
            "need": "all",
            "passages": [[{"doc_id": "a", "start": 10, "end": 20}]],
            "relevant": {"a": 1, "b": 0},
            "answers": ["Paris"],
        },
        "funnel": dict.fromkeys(STEPS, 1) | {"lexical": 0},
    } == figures


def test_what_was_not_measured_is_null() -> None:
    """A reader that failed leaves no answer figures; an empty snapshot is a miss, not a gap."""
    result = judge(seen=NOTHING)
    undefined = {name for name in cases.MEANS if result[name] is None}
    assert {"reader_used_gold", "answer_right", "em", "precision", "recall", "f1", "faithfulness", "text_precision"} == undefined  # fmt: skip  # noqa: E501  # one set
    assert ("snapshot", 0, "timed out", None) == (
        result["lost_at"],
        result["oracle_retrieval_hit_prefilter"],
        result["answer"]["error"],
        result["answer"]["used"],
    )


def test_without_gold_there_is_nothing_to_hit() -> None:
    """Every retrieval figure is null; what was retrieved is still there."""
    result = judge(Question("q", "text"))
    assert "none" == result["gold"]["level"]
    measured = {name for name in cases.MEANS if result[name] is not None}
    assert {"faithfulness"} == measured
    assert None is result["gold"]["relevant"]
    assert ["c2", "c1"] == [item["chunk_id"] for item in result["retrieval_snapshot"]]


def test_an_alias_brings_its_document_and_its_gold() -> None:
    """A near-duplicate that was dropped counts with its survivor: in the funnel and in the ranking, right behind it."""
    only = replace(SEEN, snapshot=[FAR], context=[FAR], aliases={"c2": [Span("a", 0, 40)]})
    result = judge(seen=only)
    assert (1, 1, 0.5) == (
        result["oracle_retrieval_hit_prefilter"],
        result["filter_hit_postfilter"],
        result["reciprocal_rank"],
    )
    assert 1.0 == result["text_recall"]


def test_texts_of_chunks_are_not_repeated_in_the_result() -> None:
    """Ids and spans say where they stand; the reader's words are kept, since they are the answer's evidence."""
    result = judge()
    assert not any("text" in item for key in ("retrieval_snapshot", "retrieved_context") for item in result[key])
    assert ["Paris is the capital"] == [item["text"] for item in result["answer"]["used"]]


SPANS = st.builds(lambda start, length: (start, start + length), st.integers(0, 80), st.integers(1, 20))
PIECES = st.lists(st.tuples(st.sampled_from("abz"), SPANS), max_size=5).map(
    lambda found: [hit(f"c{n}", doc, *span, text="Paris is big") for n, (doc, span) in enumerate(found)]
)
QUESTIONS = st.builds(
    Question,
    question_id=st.text(max_size=3),
    text=st.text(max_size=9),
    passages=st.lists(
        st.lists(st.builds(lambda d, s: Span(d, *s), st.sampled_from("abz"), SPANS), min_size=1, max_size=2).map(
            lambda spans: Passage(tuple(spans))
        ),
        max_size=3,
    ).map(tuple),
    answers=st.lists(st.sampled_from(["Paris", "big", ""]), max_size=2).map(tuple),
    relevant=st.none() | st.dictionaries(st.sampled_from("abz"), st.integers(-1, 2), max_size=3),
    answerable=st.booleans(),
    need=st.sampled_from(["all", "any"]),
    tags=st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True).map(tuple),
)
OBSERVED = st.builds(
    Observed,
    snapshot=PIECES,
    context=PIECES,
    dense=PIECES,
    lexical=PIECES,
    aliases=st.dictionaries(st.sampled_from(["c0", "c1"]), st.just([Span("a", 1, 30)]), max_size=2),
    answer=st.sampled_from([None, "", "Paris", "It is big"]),
    used=st.none() | st.just((Used("c0", "a", 0, 9, "Paris is"),)),
    abstained=st.booleans(),
    error=st.sampled_from([None, "timed out"]),
    input_tokens=st.none() | st.integers(0, 9),
    output_tokens=st.none() | st.integers(0, 9),
)
RESULTS = st.lists(st.builds(judge, QUESTIONS, OBSERVED), max_size=6)


@given(QUESTIONS, OBSERVED)
@settings(max_examples=60)
def test_a_result_is_plain_json_that_says_the_same_again(question: Question, seen: Observed) -> None:
    """Any question, anything observed: canonical bytes exist, are equal for equal input, hits are 0, 1 or null."""
    result = judge(question, seen)
    assert result == json.loads(json.dumps(result, allow_nan=False))
    assert canonical.encode(result) == canonical.encode(judge(question, seen))
    assert {type(result[name]) for name in HITS} <= {int, type(None)}
    assert {result[name] for name in HITS} | set(result["funnel"].values()) <= {0, 1, None}
    assert all(result[name] is None or 0.0 <= result[name] <= 1.0 for name in cases.MEANS)


@given(RESULTS)
@settings(max_examples=30)
def test_a_mean_is_over_what_is_defined(results: list[dict[str, Any]]) -> None:
    """Undefined figures are counted beside the mean, never in it."""
    found = cases.aggregates(results, [])
    json.dumps(found, allow_nan=False)
    for name in cases.MEANS:
        defined = [float(item[name]) for item in results if item[name] is not None]
        expected = {
            "mean": math.fsum(defined) / len(defined) if defined else None,
            "n": len(defined),
            "undefined": len(results) - len(defined),
        }
        assert expected == found["means"][name]
    for step in STEPS:
        counts = found["funnel"][step]
        assert len(results) == sum(counts.values())
        assert sum(item["funnel"][step] or 0 for item in results) == counts["yes"]
    assert sum(item["lost_at"] is not None for item in results) == sum(found["lost_at"].values())


def test_aggregates_of_a_few_cases() -> None:
    """Sizes, errors, tags and where cases were lost, counted by hand."""
    other = replace(QUESTION, question_id="q2", tags=("geo",))
    results = [judge(), judge(other, NOTHING), judge(Question("q3", "no", answerable=False), replace(SEEN, answer="", abstained=True))]  # fmt: skip  # noqa: E501  # three cases
    found = cases.aggregates(results, [])
    assert (3, 2, 1, 1) == (found["questions"], found["answerable"], found["errors"], found["abstained"])
    assert {"snapshot": 1} == found["lost_at"]
    assert ({"least": 0, "most": 2}, {"least": 0, "most": 1}) == (found["snapshot_size"], found["context_size"])
    assert {"mean": 10 / 3, "n": 3, "undefined": 0} == found["context_tokens"]
    assert {"yes": 1, "no": 1, "not_judged": 1} == found["funnel"]["snapshot"]
    tags = {tag: (item["questions"], item["means"]["em"]["mean"]) for tag, item in found["by_tag"].items()}
    assert {"easy": (1, 1.0), "geo": (2, 1.0)} == tags


def test_cut_texts_are_added_up() -> None:
    """Over the questions that had a reranker; without one there is no number, not a zero."""
    results = [judge(seen=replace(SEEN, pairs_cut=count)) for count in (2, 3, None)]
    assert [2, 3, None] == [item["pairs_cut"] for item in results]
    assert 5 == cases.aggregates(results, [])["pairs_cut"]
    assert 0 == cases.aggregates([judge(seen=replace(SEEN, pairs_cut=0))], [])["pairs_cut"]
    assert cases.aggregates([judge()], [])["pairs_cut"] is None


def test_no_cases_have_no_figures() -> None:
    """Nothing evaluated is not a perfect score, and not a zero either."""
    found = cases.aggregates([], [])
    assert {"mean": None, "n": 0, "undefined": 0} == found["means"]["em"]
    assert ({"least": None, "most": None}, {}, {}) == (found["snapshot_size"], found["latency_ms"], found["by_tag"])


@pytest.mark.parametrize(("n", "reliable"), [(99, False), (100, True)])
def test_latency_by_step_says_whether_it_can_be_relied_on(n: int, reliable: bool) -> None:
    """A p95 needs 100 timings; a step that only some questions had is counted for those."""
    timings = [{"total": float(k + 1), **({"rerank": 2.0} if k == 0 else {})} for k in range(n)]
    found = cases.latency(timings)
    assert ["rerank", "total"] == list(found)
    assert {"value": 95.0, "n": n, "reliable": reliable} == found["total"]["p95"]
    assert {"value": 2.0, "n": 1, "reliable": False} == found["rerank"]["p50"]
