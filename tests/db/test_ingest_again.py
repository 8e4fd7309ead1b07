"""Shadow ingest, again or at once: what is continued, what is refused, and that nothing bad is stored."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bakeoff.adapters import ingests
from bakeoff.errors import InputError, ModelError, StateError
from bakeoff.stages import ingest as stage
from tests import support
from tests.support import (
    DEDUP,
    Counting,
    document,
    leftovers,
    make_lock,
    mixed_folder,
    parts,
    rows,
    run_ingest,
    topics,
    write_jsonl,
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve topics of the language reference, as JSON lines."""
    return write_jsonl(tmp_path / "corpus.jsonl", topics())


class Stop(Exception):  # noqa: N818  # it stands for a kill
    """Ends an ingest where the test wants it."""


def stop_at(stage_name: str, after: int = 0) -> Callable[[str, int, int | None], None]:
    """A progress that raises at the (after + 1)-th report of a stage."""
    calls = itertools.count()

    def progress(name: str, done: int, total: int | None) -> None:
        del done, total
        if name == stage_name and next(calls) >= after:
            raise Stop

    return progress


STOPS = ["read", "dedup", "embed", "store", "vector index", "lexical index", "vacuum"]


@pytest.mark.parametrize("where", STOPS)
def test_stopped_ingest_is_continued(
    new_database: Callable[..., str], corpus: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ingest that ended inside any stage is continued by the same call, with the identical table."""
    for name, size in (("_DEDUP_BATCH", 50), ("_EMBED_BATCH", 40), ("_STORE_BATCH", 30)):
        monkeypatch.setattr(stage, name, size)
    monkeypatch.setattr("bakeoff.stages.read._CHUNKS", 30)
    undisturbed, url = new_database(), new_database()
    expected = run_ingest(undisturbed, make_lock(undisturbed, DEDUP), corpus)
    which = make_lock(url, DEDUP)
    with pytest.raises(Stop):
        run_ingest(url, which, corpus, progress=stop_at(where, after=1 if where in {"dedup", "embed", "store"} else 0))
    done = run_ingest(url, which, corpus)
    assert done.resumed
    assert expected.ingest.table_sha256 == done.ingest.table_sha256
    counts = dict(expected.ingest.report["counts"])
    assert counts == done.ingest.report["counts"]


def test_corpus_that_changed_between_attempts_is_refused(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document deleted between two attempts is noticed; put back, the ingest goes on."""
    monkeypatch.setattr("bakeoff.stages.read._DOCUMENTS", 3)
    documents = list(topics(9))
    path = write_jsonl(tmp_path / "c.jsonl", documents)
    which = make_lock(database_url)
    with pytest.raises(Stop):
        run_ingest(database_url, which, path, progress=stop_at("read", after=1))
    for changed in (documents[1:], [document(documents[0].doc_id, "changed"), *documents[1:]]):
        write_jsonl(path, changed)
        with pytest.raises(StateError, match="not the one that this ingest began with") as caught:
            run_ingest(database_url, which, path)
        assert f"--restart --lock {which.config_hash}" in str(caught.value.hint)
    write_jsonl(path, documents)
    assert 9 == run_ingest(database_url, which, path).ingest.report["counts"]["documents"]


@pytest.mark.parametrize("where", ["embed", "vector index"])
def test_other_corpus_does_not_continue_an_ingest(database_url: str, tmp_path: Path, where: str) -> None:
    """Past the reading too: an interrupted ingest is not finished in the name of another corpus."""
    which = make_lock(database_url)
    with pytest.raises(Stop):
        run_ingest(database_url, which, write_jsonl(tmp_path / "a.jsonl", topics(6)), progress=stop_at(where))
    with pytest.raises(StateError, match=r"not the one that this ingest began with|differs from it"):
        run_ingest(database_url, which, write_jsonl(tmp_path / "b.jsonl", topics(9)))
    assert "done" != support.stage_of(database_url, which)


def test_strict_holds_for_a_continued_ingest(database_url: str, tmp_path: Path) -> None:
    """--strict counts on the attempt that it is given to."""
    folder, which = mixed_folder(tmp_path / "docs"), make_lock(database_url)
    with pytest.raises(Stop):
        run_ingest(database_url, which, folder, progress=stop_at("read"))
    with pytest.raises(InputError, match=r"a\|b.txt"):
        run_ingest(database_url, which, folder, strict=True)
    assert [] == leftovers(database_url)


class Rubbish(Counting):
    """An embedder that gives vectors that can't be stored."""

    def __init__(self, kind: str) -> None:
        super().__init__(support.embedder())
        self.kind = kind

    def encode_passages(self, texts: Any) -> NDArray[np.float32]:
        """Return vectors of the wrong shape, or not finite."""
        vectors = self.inner.encode_passages(texts)
        if self.kind == "narrow":
            return vectors[:, :-1]
        if self.kind == "few":
            return vectors[:-1]
        vectors[-1, 3] = np.nan if self.kind == "nan" else np.inf
        return vectors


@pytest.mark.parametrize("kind", ["narrow", "few", "nan", "inf"])
def test_rubbish_vectors_are_refused(database_url: str, corpus: Path, kind: str) -> None:
    """Vectors of another shape, or not finite, are never stored; a good embedder continues."""
    which = make_lock(database_url)
    with pytest.raises(ModelError, match=r"gave vectors of shape .* expected .* all finite") as caught:
        run_ingest(database_url, which, corpus, model=Rubbish(kind))
    assert 5 == caught.value.exit_code
    assert [(0,)] == rows(database_url, "SELECT count(*) FROM embeddings")
    assert run_ingest(database_url, which, corpus).resumed


def test_other_embedder_is_refused(database_url: str, corpus: Path) -> None:
    """An embedder that is not the lock's is refused before anything is written."""
    which = make_lock(database_url)
    model = Counting(support.embedder())
    model.identity = model.identity.model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(ModelError, match=f"not the one that {which.config_hash} was locked with"):
        run_ingest(database_url, which, corpus, model=model)
    assert [] == leftovers(database_url)


class Waiting(Counting):
    """An embedder that waits in the middle until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__(support.embedder())
        self.reached, self.go = threading.Event(), threading.Event()

    def encode_passages(self, texts: Any) -> NDArray[np.float32]:
        """Say that embedding began, and wait."""
        self.reached.set()
        assert self.go.wait(30)
        return super().encode_passages(texts)


def test_same_lock_at_once_is_refused_and_other_locks_are_not(database_url: str, corpus: Path) -> None:
    """While one ingest runs, a second one into its table is refused; another lock's runs, and may share its vectors."""
    which, other = make_lock(database_url), make_lock(database_url, parts(retrieval={"rrf_k": 9}), name="other")
    slow, failed = Waiting(), []

    def first() -> None:
        try:
            run_ingest(database_url, which, corpus, model=slow)
        except BaseException as error:  # noqa: BLE001  # a thread's failure must reach the test
            failed.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    assert slow.reached.wait(30)
    for restart in (False, True):
        with pytest.raises(StateError, match=f"another ingest into {which.table_name} runs right now") as caught:
            run_ingest(database_url, which, corpus, restart=restart)
        assert 4 == caught.value.exit_code
    done = run_ingest(database_url, other, corpus)
    slow.go.set()
    thread.join()
    assert [] == failed
    with support.connector(database_url)() as conn:
        both = [ingests.finished(conn, item).report["counts"]["chunks"] for item in (which, other)]
    assert [done.ingest.report["counts"]["chunks"]] * 2 == both
