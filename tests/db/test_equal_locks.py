"""Locks that differ in nothing that decides a ranking rank alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bakeoff.adapters import evaluations
from tests import support
from tests.support import make_lock, parts, run_evaluate, run_ingest

CHANGES_WITH_THE_LOCK = {"chunk_id"}


def without_ids(value: Any) -> Any:
    """The value without what depends on the lock's hash."""
    if isinstance(value, dict):
        return {key: without_ids(below) for key, below in value.items() if key not in CHANGES_WITH_THE_LOCK}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


def test_another_seed_changes_no_case(new_database: Callable[..., str], tmp_path: Path) -> None:
    """Ties are no toss of a coin: the same chunks under another hash give the same snapshot, context and answer."""
    documents = support.topics(14, 3000)
    corpus = support.write_jsonl(tmp_path / "corpus.jsonl", documents)
    asked = support.write_questions(tmp_path / "questions.jsonl", support.quotes_of(documents, each=3))
    url, found = new_database(), []
    for seed in (7, 8):
        which = make_lock(url, parts(chunking={"size": 60}, seed=seed), name=f"seed{seed}")
        run_ingest(url, which, corpus)
        done = run_evaluate(url, which, asked)
        with support.connector(url)() as conn:
            found.append([without_ids(case) for case, _ in evaluations.cases(conn, done.run.run_id)])
    assert len(found[0]) >= 30
    assert found[0] == found[1]
