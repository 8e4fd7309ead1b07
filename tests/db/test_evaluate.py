"""Evaluation and comparison of real ingests: complete, repeatable, honest about what was not measured."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jq
import pytest

from bakeoff import canonical
from bakeoff.adapters import evaluations
from bakeoff.chunking import Document
from bakeoff.config import Lock
from bakeoff.errors import BakeoffError, InputError, NotFoundError, NotKnownError, StateError
from bakeoff.stages import compare
from tests import support
from tests.support import make_lock, parts, run_evaluate, run_ingest

UNANSWERABLE = {"id": "none", "question": "who won the cup in 1974?", "gold": [], "tags": ["unanswerable"]}


@dataclass(frozen=True)
class Ready:
    """A database with an ingested lock, and questions for it."""

    url: str
    lock: Lock
    corpus: Path
    questions: Path
    count: int


def near_copies(documents: Sequence[Document], asked: Sequence[dict[str, Any]]) -> Iterator[Document]:
    """Copies that sort first, a word of every quote changed: with deduplication the gold survives as alias only."""
    quotes = [gold["quote"] for question in asked for gold in question["gold"]]
    for doc in documents:
        text = doc.text
        for quote in quotes:
            words = quote.split(" ")
            text = text.replace(quote, " ".join([*words[:6], "changed", *words[7:]]))
        yield support.document(f"0/{doc.doc_id}", text, doc.title)


@pytest.fixture(scope="module")
def ready(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    """One ingest for all tests that only read it."""
    folder = tmp_path_factory.mktemp("evaluate")
    documents = support.topics(14, 3000)
    asked = [*support.quotes_of(documents, each=2), UNANSWERABLE]
    corpus = support.write_jsonl(folder / "corpus.jsonl", [*documents, *near_copies(documents[:4], asked)])
    questions = support.write_questions(folder / "questions.jsonl", asked)
    with support.database(server_url, template, f"evaluate_{template}") as url:
        which = make_lock(url, parts(chunking={"size": 60, "jaccard_threshold": 0.8}), name="ready")
        run_ingest(url, which, corpus)
        yield Ready(url, which, corpus, questions, len(asked))


def test_two_runs_give_equal_cases(ready: Ready) -> None:
    """Once more, and with two workers: the same cases, byte for byte; only timings and run ids differ."""
    runs = [run_evaluate(ready.url, ready.lock, ready.questions, workers=workers) for workers in (1, 1, 2, 3)]
    assert 1 == len({done.run.report["cases_sha256"] for done in runs})
    assert 4 == len({done.run.run_id for done in runs})
    bare = [[{k: v for k, v in case.items() if k != "latency_ms"} for case in d.artifact["case_results"]] for d in runs]
    assert all(cases == bare[0] for cases in bare)
    assert runs[0].run.report["cases_sha256"] == canonical.digest(bare[0])


HITS = ("oracle_retrieval_hit_prefilter", "filter_hit_postfilter", "reader_used_gold")
STEPS = {"total", "wait", "embed", "retrieve", "filter", "read"}


def test_artifact_has_every_field(ready: Ready) -> None:
    """Who, what, every case with its snapshot, context, hits, answer, scores, latency by step and token counts."""
    done = run_evaluate(ready.url, ready.lock, ready.questions)
    found = json.loads(json.dumps(done.artifact, allow_nan=False))
    assert ready.count == len(found["case_results"]) == found["questions"]["used"] == found["aggregates"]["questions"]
    assert (ready.lock.chunk_version, ready.lock.config_hash) == (
        found["lock"]["CHUNK_VERSION"],
        found["lock"]["CONFIG_HASH"],
    )
    assert ready.lock.embedder.model_dump(mode="json") == found["embedder"]
    for case in found["case_results"]:
        assert "bakeoff" == case["eval_path"]
        assert all(case[name] in {0, 1, None} for name in HITS)
        assert 1 <= len(case["retrieved_context"]) <= 12
        assert len(case["retrieved_context"]) <= len(case["retrieval_snapshot"]) <= 40
        for hit in case["retrieval_snapshot"]:
            assert 40 == len(hit["chunk_id"])
            assert 16 == len(hit["fp"])
            assert {"rank", "score", "dense_rank", "dense_score", "lexical_rank", "lexical_score"} <= hit.keys()
        assert {"text", "abstained", "error", "used"} == case["answer"].keys()
        assert STEPS == case["latency_ms"].keys()
        assert case["latency_ms"]["total"] >= case["latency_ms"]["retrieve"] > 0
        assert {"context", "input", "output"} == case["token_counts"].keys()
        assert {"precision", "recall", "f1", "em", "faithfulness", "text_recall"} <= case.keys()
    assert "off" == found["settings"]["caches"]


def test_jq_can_add_hits(ready: Ready) -> None:
    """Hits are 0, 1 or null: jq adds them, and the sums are those of the aggregates."""
    artifact = run_evaluate(ready.url, ready.lock, ready.questions).artifact
    for name in HITS:
        program = f"[.case_results[].{name}] | [add, (map(select(. != null)) | length)]"
        total, judged = jq.compile(program).input_value(json.loads(json.dumps(artifact))).first()
        mean = artifact["aggregates"]["means"][name]
        assert judged == mean["n"] < ready.count
        assert total / judged == pytest.approx(mean["mean"])
        assert total > 0


def test_question_without_an_answer_is_not_judged_on_gold(ready: Ready) -> None:
    """What the corpus can't answer has no hits to make: null, not zero; the rest of the case is there."""
    artifact = run_evaluate(ready.url, ready.lock, ready.questions).artifact
    (case,) = [case for case in artifact["case_results"] if case["question_id"] == "none"]
    assert [None, None, None] == [case[name] for name in HITS]
    assert (False, None) == (case["answerable"], case["funnel"]["in_corpus"])
    assert ready.count - 1 == artifact["aggregates"]["answerable"]
    assert 0 == sum(counts["no"] for name, counts in artifact["aggregates"]["funnel"].items() if name == "in_corpus")


def test_left_out_questions_are_counted(ready: Ready, tmp_path: Path) -> None:
    """A quote that is not there, or in an unknown document: left out with the reason, the others are asked."""
    rows = [json.loads(line) for line in ready.questions.read_text().splitlines()[:3]]
    doc = rows[0]["gold"][0]["doc"]
    rows.append({"id": "gone", "question": "gone?", "gold": [{"doc": doc, "quote": "words that never stood there"}]})
    rows.append({"id": "nowhere", "question": "where?", "gold": [{"doc": "no/such", "quote": "anything at all"}]})
    done = run_evaluate(ready.url, ready.lock, support.write_questions(tmp_path / "q.jsonl", rows))
    left = {item["question_id"]: item["reason"] for item in done.artifact["questions"]["left_out"]}
    assert {"gone", "nowhere"} == left.keys()
    assert "is not in document" in left["gone"]
    assert "no/such" in left["nowhere"]
    assert 3 == done.artifact["aggregates"]["questions"]


def test_questions_of_another_corpus_are_refused(ready: Ready, tmp_path: Path) -> None:
    """Where no question is left, there is an error and no run."""
    rows = [{"id": "q", "question": "where?", "gold": [{"doc": "no/such", "quote": "anything at all"}]}]
    before = support.rows(ready.url, "SELECT count(*) FROM evaluations")
    with pytest.raises(InputError, match=r"q has no usable question \(1 left out\)") as caught:
        run_evaluate(ready.url, ready.lock, support.write_questions(tmp_path / "q.jsonl", rows))
    assert "questions of this corpus" in str(caught.value.hint)
    assert before == support.rows(ready.url, "SELECT count(*) FROM evaluations")


def test_lock_without_ingest_is_refused(ready: Ready) -> None:
    """The error says which command is missing."""
    which = make_lock(ready.url, parts(seed=99), name="fresh")
    with pytest.raises(StateError, match="was not ingested yet") as caught:
        run_evaluate(ready.url, which, ready.questions)
    assert f"bakeoff shadow-ingest --lock {which.config_hash} CORPUS" == caught.value.hint


class Stop(Exception):  # noqa: N818  # it stands for a kill
    """Ends an evaluation where the test wants it."""


def test_stopped_evaluation_is_continued(ready: Ready) -> None:
    """What was answered is not asked again; the cases are those of an undisturbed run; --fresh begins anew."""
    whole = run_evaluate(ready.url, ready.lock, ready.questions, fresh=True)

    def stop(_: str, done: int, __: int | None) -> None:
        if done == 7:
            raise Stop

    with pytest.raises(Stop):
        run_evaluate(ready.url, ready.lock, ready.questions, progress=stop)
    seen: list[int] = []
    again = run_evaluate(ready.url, ready.lock, ready.questions, progress=lambda _, done, __: seen.append(done))
    assert again.resumed
    assert list(range(8, ready.count + 1)) == seen
    assert whole.run.report["cases_sha256"] == again.run.report["cases_sha256"]
    with pytest.raises(Stop):
        run_evaluate(ready.url, ready.lock, ready.questions, progress=stop)
    assert not run_evaluate(ready.url, ready.lock, ready.questions, fresh=True).resumed


def test_unreachable_reader_is_counted_not_hidden(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader whose service is down: every case says so, retrieval is judged all the same, answers are not."""
    monkeypatch.setenv("NO_KEY", "x")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    reader = {
        "kind": "openai",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "model": "m",
        "api_key_env": "NO_KEY",
        "deadline_s": 2.0,
        "retries": 0,
    }
    which = make_lock(ready.url, parts(reader=reader, chunking={"size": 60}), name="down")
    run_ingest(ready.url, which, ready.corpus)
    done = run_evaluate(ready.url, which, ready.questions, environ={"NO_KEY": "x"})
    cases = done.artifact["case_results"]
    assert ready.count == done.artifact["aggregates"]["errors"] == len(cases)
    assert all(case["answer"]["error"] and case["answer"]["text"] is None for case in cases)
    assert all(case["reader_used_gold"] is None and case["answer_right"] is None for case in cases)
    means = done.artifact["aggregates"]["means"]
    assert 0 == means["f1"]["n"] == means["em"]["n"] == means["faithfulness"]["n"]
    assert 0.5 < means["oracle_retrieval_hit_prefilter"]["mean"]


@pytest.mark.parametrize("strategy", ["windows", "structure"])
@pytest.mark.parametrize("size", [50, 100, 200, 450])
def test_gold_survives_every_chunking(ready: Ready, strategy: str, size: int) -> None:
    """A perfect retriever would hit every gold span, however documents are cut, near-duplicates removed or not."""
    chunking = {"strategy": strategy, "size": size, "jaccard_threshold": 0.7 if size == 50 else None}
    which = make_lock(ready.url, parts(chunking=chunking), name=f"{strategy}-{size}")
    run_ingest(ready.url, which, ready.corpus)
    funnel = run_evaluate(ready.url, which, ready.questions).artifact["aggregates"]["funnel"]
    assert {"yes": ready.count - 1, "no": 0, "not_judged": 1} == funnel["indexed"] == funnel["in_corpus"]


@pytest.mark.parametrize(
    "given",
    [
        {"index": {"lexical": "lists"}},
        {"index": {"storage": "halfvec", "vector": "ivfflat", "ivfflat_lists": 2}},
        {"retrieval": {"dense_weight": 0.0}},
        {"retrieval": {"lexical_weight": 0.0}},
        {"index": {"lexical": "lists"}, "retrieval": {"dense_weight": 0.0}},
    ],
)
def test_other_indexes_and_legs(ready: Ready, given: dict[str, Any]) -> None:
    """Every lexical backend, storage and single leg can be evaluated; a leg that is off found nothing."""
    which = make_lock(ready.url, parts(**given))
    run_ingest(ready.url, which, ready.corpus)
    found = run_evaluate(ready.url, which, ready.questions).artifact["aggregates"]["funnel"]
    weights = which.config.retrieval
    for leg, weight in (("dense", weights.dense_weight), ("lexical", weights.lexical_weight)):
        assert (found[leg]["yes"] > 0) == (weight > 0), leg


# --- Comparison -------------------------------------------------------------------------------------------------


def compared(ready: Ready, a: str, b: str) -> compare.Compared:
    """Compare two runs by what a person types."""
    with support.connector(ready.url)() as conn:
        return compare.run(conn, evaluations.find(conn, a), evaluations.find(conn, b), seed=7)


def test_run_equals_itself(ready: Ready) -> None:
    """Two runs of one lock differ in nothing: no difference, nothing gained, nothing lost."""
    run_evaluate(ready.url, ready.lock, ready.questions)
    second = run_evaluate(ready.url, ready.lock, ready.questions)
    found = compared(ready, "ready", second.run.run_id).to_json()
    assert ready.count == found["questions"]
    assert {0.0} == {item["interval"]["difference"] for item in found["differences"] if item["interval"]["n"]}
    assert not any(found["gained"].values())
    assert not any(found["lost"].values())


def test_worse_lock_loses_by_name(ready: Ready) -> None:
    """A lock that reads one chunk loses questions, each named with where it was lost; the mirror image gains them."""
    narrow = parts(chunking={"size": 60, "jaccard_threshold": 0.8}, retrieval={"filter": {"context": 1}})
    which = make_lock(ready.url, narrow, name="narrow")
    run_ingest(ready.url, which, ready.corpus)
    for lock in (ready.lock, which):
        run_evaluate(ready.url, lock, ready.questions)
    forth, back = compared(ready, "ready", "narrow").to_json(), compared(ready, "narrow", "ready").to_json()
    lost = forth["lost"]["filter_hit_postfilter"]
    assert lost
    assert {"context"} == {item["candidate_lost_at"] for item in lost}
    assert not forth["gained"]["filter_hit_postfilter"]
    moved = [item["question_id"] for item in back["gained"]["filter_hit_postfilter"]]
    assert [item["question_id"] for item in lost] == moved
    (one,) = [item for item in forth["differences"] if item["name"] == "filter_hit_postfilter"]
    assert one["interval"]["difference"] == pytest.approx(-len(lost) / (ready.count - 1))
    assert forth["baseline"]["CONFIG_HASH"] == ready.lock.config_hash
    assert found_equal(forth, compared(ready, "ready", "narrow").to_json())


def found_equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Whether a comparison said the same twice: its bootstrap is seeded."""
    return canonical.digest(left) == canonical.digest(right)


def test_other_questions_are_not_compared(ready: Ready, tmp_path: Path) -> None:
    """Runs over different question files are refused: their difference would mean nothing."""
    rows = [json.loads(line) for line in ready.questions.read_text().splitlines()[:4]]
    other = run_evaluate(ready.url, ready.lock, support.write_questions(tmp_path / "other.jsonl", rows), fresh=True)
    first = run_evaluate(ready.url, ready.lock, ready.questions, fresh=True)
    with pytest.raises(StateError, match="their differences would mean nothing"):
        compared(ready, first.run.run_id, other.run.run_id)


@pytest.mark.parametrize(
    ("ref", "kind", "message"),
    [
        ("nothing", NotFoundError, "no run and no lock 'nothing'"),
        ("%%%%%%%%%", NotFoundError, "no run and no lock"),
        ("unasked", NotKnownError, "has no finished evaluation"),
    ],
)
def test_unknown_run_is_named(ready: Ready, ref: str, kind: type[BakeoffError], message: str) -> None:
    """What names no run is refused with what to do; wildcards are no names."""
    make_lock(ready.url, parts(seed=77), name="unasked")
    run_evaluate(ready.url, ready.lock, ready.questions)
    with pytest.raises(kind, match=message):
        compared(ready, ref, "ready")


def test_unfinished_run_is_not_compared(ready: Ready) -> None:
    """An interrupted run is named with the command that continues it."""

    def stop(*_: Any) -> None:
        raise Stop

    with pytest.raises(Stop):
        run_evaluate(ready.url, ready.lock, ready.questions, progress=stop, fresh=True)
    with support.connector(ready.url)() as conn:
        newest = next(run for run in evaluations.listing(conn) if run.finished_at is None)
    with pytest.raises(StateError, match=f"run {newest.run_id} was interrupted") as caught:
        compared(ready, newest.run_id, "ready")
    assert ready.lock.config_hash in str(caught.value.hint)
