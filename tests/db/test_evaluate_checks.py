"""What an evaluation refuses or remarks upon, so that no figure says more than it can."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, LiteralString, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import sql

from bakeoff.cli import _evaluating
from bakeoff.config import RerankerConfig
from bakeoff.errors import InputError, IntegrityError, UsageError
from bakeoff.stages import answer
from bakeoff.stages.answer import Pipeline
from tests import support
from tests.ready import Ready
from tests.ready import ready as ready_in
from tests.support import make_lock, parts, run_evaluate, run_ingest

UNANSWERABLE = {"id": "none", "question": "who won the cup in 1974?", "gold": [], "tags": ["unanswerable"]}


@pytest.fixture(scope="module")
def ready(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    """One ingest for all tests that only read it."""
    with ready_in(server_url, template, tmp_path_factory.mktemp("checks")) as found:
        yield found


def test_no_gold_in_the_corpus_is_refused_before_anything_is_answered(ready: Ready, tmp_path: Path) -> None:
    """Judgements of another corpus, and unanswerable questions beside: an error with the counts, and no run."""
    folder = tmp_path / "elsewhere"
    (folder / "qrels").mkdir(parents=True)
    queries = [json.dumps({"_id": f"q{n}", "text": "where?"}) for n in range(3)]
    (folder / "queries.jsonl").write_text("\n".join(queries) + "\n")
    (folder / "qrels" / "test.tsv").write_text("q0\tno/a\t1\nq1\tno/b\t1\n")
    lost = {"id": "q", "question": "where?", "gold": [{"doc": "no/such", "quote": "anything at all"}]}
    before = support.rows(ready.url, "SELECT count(*) FROM evaluations")
    for spec, counts in (
        (f"beir:{folder}", "2 questions have theirs elsewhere, 0 are left out"),
        (support.write_questions(tmp_path / "q.jsonl", [lost, UNANSWERABLE]), "0 questions .*, 1 are left out"),
    ):
        with pytest.raises(InputError, match=f"no gold of .* \\(8 documents\\): {counts}"):
            run_evaluate(ready.url, ready.lock, spec, progress=lambda *_: pytest.fail("something was answered"))
    assert before == support.rows(ready.url, "SELECT count(*) FROM evaluations")


def test_questions_that_hardly_fit_are_noted(ready: Ready, tmp_path: Path) -> None:
    """What was not judged and which documents are absent is in the report; more than half without gold is a note."""
    doc = json.loads(ready.questions.read_text().splitlines()[0])["gold"][0]["doc"]
    folder = tmp_path / "half"
    (folder / "qrels").mkdir(parents=True)
    queries = [json.dumps({"_id": f"q{n}", "text": f"what of {n}?"}) for n in range(5)]
    (folder / "queries.jsonl").write_text("\n".join(queries) + "\n")
    for absent, noted in ((2, True), (1, False)):
        lines = [f"q{n}\tno/{n}\t1\n" for n in range(1, absent + 1)]
        (folder / "qrels" / "test.tsv").write_text("".join([f"q0\t{doc}\t1\n", *lines]))
        asked = run_evaluate(ready.url, ready.lock, f"beir:{folder}").artifact
        found = asked["questions"]
        assert (absent + 1, absent, 4 - absent) == (found["with_gold"], found["not_in_corpus"], found["unjudged"])
        assert [f"no/{n}" for n in range(1, absent + 1)] == found["absent_documents"]
        assert noted == any("theirs outside the corpus" in note for note in asked["notes"])


@pytest.mark.parametrize(
    "change", ["UPDATE {table} SET text = text || '.' WHERE {one}", "DELETE FROM {table} WHERE {one}"]
)
def test_changed_chunk_table_stops_the_evaluation(ready: Ready, change: LiteralString) -> None:
    """One changed or missing chunk: nothing is answered, the table is named."""
    which = make_lock(ready.url, parts(seed=1000 + len(change)), name="changed")
    run_ingest(ready.url, which, ready.corpus)
    one = sql.SQL("ordinal = (SELECT max(ordinal) FROM {})").format(sql.Identifier(which.table_name))
    with support.connector(ready.url)() as conn:
        conn.execute(sql.SQL(change).format(table=sql.Identifier(which.table_name), one=one))
    with pytest.raises(IntegrityError, match=which.table_name):
        run_evaluate(ready.url, which, ready.questions, progress=lambda *_: pytest.fail("something was answered"))


def test_caches_can_not_be_asked_for(ready: Ready) -> None:
    """There are none: the variable may say so, anything else is refused; the run records it."""
    for said in ("0", "", "true"):
        with pytest.raises(UsageError, match="evaluations never use caches"):
            run_evaluate(ready.url, ready.lock, ready.questions, environ={"EVAL_DISABLE_CACHE": said})
    done = run_evaluate(ready.url, ready.lock, ready.questions, environ={"EVAL_DISABLE_CACHE": "1"})
    assert "off" == done.artifact["settings"]["caches"]


def test_short_snapshots_are_noted(ready: Ready) -> None:
    """An index that looks at one list of fifty finds too few; what finds enough is not remarked upon."""
    few = {
        "index": {"vector": "ivfflat", "ivfflat_lists": 50},
        "retrieval": {"ivfflat_probes": 1, "lexical_weight": 0.0},
    }
    which = make_lock(ready.url, parts(**few), name="few")
    run_ingest(ready.url, which, ready.corpus)
    done = run_evaluate(ready.url, which, ready.questions)
    (note,) = done.artifact["notes"]
    assert note.startswith(f"the smallest snapshot holds {done.artifact['aggregates']['snapshot_size']['least']} of 40")
    assert "raise retrieval.ivfflat_probes" in note
    shown = _evaluating.text(_evaluating.summary(done, Path("x.json")))
    assert f"note: {note}" in shown
    assert [] == run_evaluate(ready.url, ready.lock, ready.questions).artifact["notes"]


class Cutting:
    """A reranker for which two texts of every question are too long."""

    def __init__(self) -> None:
        self.pairs_cut = 0

    def score(self, _: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Keep the order."""
        self.pairs_cut += 2
        return -np.arange(len(texts), dtype=np.float32)


def test_waiting_for_the_models_and_cut_texts_are_counted(ready: Ready) -> None:
    """Time until the models are free is `wait`, not `embed`; each question's cut texts are its own."""
    turned = ready.lock.config.model_copy(update={"reranker": RerankerConfig(model="m", depth=5)})
    lock = ready.lock.model_copy(update={"config": turned})
    with (
        answer.models(ready.lock, cache_dir=support.CACHE, environ={}) as opened,
        support.connector(ready.url)() as conn,
    ):
        models = replace(opened, reranker=cast("Any", Cutting()))
        pipeline = Pipeline(conn, lock, models)
        assert [2, 2] == [pipeline.answer("what is an atom?").pairs_cut for _ in range(2)]
        assert Pipeline(conn, ready.lock, opened).answer("what is an atom?").pairs_cut is None
        models.turn.acquire()
        threading.Timer(0.2, models.turn.release).start()
        spent = pipeline.answer("what is an atom?").latency_ms
    assert spent["total"] >= spent["wait"] >= 100 > spent["embed"]
