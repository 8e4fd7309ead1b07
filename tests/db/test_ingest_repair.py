"""Shadow ingest after something was lost or changed: what is built anew, what is refused, what production keeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import LiteralString

import pytest
from psycopg import sql

from bakeoff.adapters import ingests, retriever
from bakeoff.config import Lock
from bakeoff.errors import BakeoffError, IntegrityError, StateError
from bakeoff.stages import ingest as stage
from bakeoff.stages import lock as lock_stage
from tests import support
from tests.support import NOW, make_lock, parts, rows, run_ingest, topics, write_jsonl


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three topics of the language reference, as JSON lines."""
    return write_jsonl(tmp_path / "corpus.jsonl", topics(3))


def execute(url: str, statement: LiteralString, name: str) -> None:
    """Do what an accident would."""
    with support.connector(url)() as conn:
        conn.execute(sql.SQL(statement).format(sql.Identifier(name)))


def activate(url: str, which: Lock) -> None:
    """Put *which* into production."""
    with support.connector(url)() as conn:
        lock_stage.activate(conn, which, now=NOW, reason="")


def spoil_index(url: str, which: Lock, suffix: str) -> None:
    """Leave the index as an interrupted concurrent build would."""
    with support.connector(url)() as conn:
        name = f"bakeoff.{which.table_name}{suffix}"
        conn.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", (name,))


def other_index(url: str, which: Lock, suffix: str) -> None:
    """Put another index in the place of the vector index, under its name."""
    execute(url, "DROP INDEX {}", which.table_name + suffix)
    with support.connector(url)() as conn:
        names = (sql.Identifier(which.table_name + suffix), sql.Identifier(which.table_name))
        conn.execute(sql.SQL("CREATE INDEX {} ON {} (doc_id)").format(*names))


LOSSES: list[tuple[str, str, Callable[[str, Lock, str], None]]] = [
    ("auto", "_dense", lambda url, which, suffix: execute(url, "DROP INDEX {}", which.table_name + suffix)),
    ("auto", "", lambda url, which, _: support.lose_lexical(url, which)),
    ("lists", "_lexemes", lambda url, which, suffix: execute(url, "DROP TABLE {}", which.table_name + suffix)),
    ("auto", "_dense", spoil_index),
    ("auto", "_dense", other_index),
]


@pytest.mark.parametrize(("lexical", "suffix", "lose"), LOSSES)
def test_lost_index_is_built_anew(
    database_url: str, corpus: Path, lexical: str, suffix: str, lose: Callable[[str, Lock, str], None]
) -> None:
    """The same command builds it, in production too; rows and embeddings stay, and it is recorded."""
    which = make_lock(database_url, parts(index={"lexical": "lists"}) if lexical == "lists" else parts())
    before = run_ingest(database_url, which, corpus).ingest
    activate(database_url, which)
    versions = rows(database_url, "SELECT ctid::text, xmin::text FROM {table}", table=which.table_name)
    lose(database_url, which, suffix)
    with support.connector(database_url)() as conn, pytest.raises(StateError, match="would not use its") as caught:
        retriever.open_retriever(conn, which, before.lexical)
    assert f"bakeoff shadow-ingest --lock {which.config_hash} CORPUS" in str(caught.value.hint)
    done = run_ingest(database_url, which, corpus)
    assert (True, False, False) == (done.repaired, done.unchanged, done.replaced)
    assert versions == rows(database_url, "SELECT ctid::text, xmin::text FROM {table}", table=which.table_name)
    with support.connector(database_url)() as conn:
        retriever.open_retriever(conn, which, before.lexical)
        recorded = ingests.finished(conn, which)
    assert done.ingest == recorded
    assert before.table_sha256 == recorded.table_sha256
    assert 1 == len(recorded.report["repairs"])
    assert run_ingest(database_url, which, corpus).unchanged


def test_lost_table_is_made_anew(database_url: str, corpus: Path, tmp_path: Path) -> None:
    """The same command makes it, in production too, from vectors that are known; from another corpus it does not."""
    which = make_lock(database_url)
    before = run_ingest(database_url, which, corpus).ingest
    activate(database_url, which)
    execute(database_url, "DROP TABLE {} CASCADE", which.table_name)
    with support.connector(database_url)() as conn, pytest.raises(StateError, match="does not exist") as caught:
        retriever.open_retriever(conn, which, before.lexical)
    assert f"bakeoff shadow-ingest --lock {which.config_hash} CORPUS" in str(caught.value.hint)
    with pytest.raises(StateError, match="differs from it"):
        run_ingest(database_url, which, write_jsonl(tmp_path / "b.jsonl", topics(2)))
    done = run_ingest(database_url, which, corpus)
    assert (True, False, 0) == (done.replaced, done.unchanged, done.ingest.report["counts"].get("embedded", 0))
    assert before.table_sha256 == done.ingest.table_sha256 == support.digest_of(database_url, which)
    assert run_ingest(database_url, which, corpus).unchanged


def test_table_lost_between_attempts_is_made_anew(database_url: str, corpus: Path) -> None:
    """An interrupted ingest whose table is gone begins anew instead of failing for good."""
    which = make_lock(database_url)

    def stop(name: str, *_: object) -> None:
        if name == "embed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_ingest(database_url, which, corpus, progress=stop)
    execute(database_url, "DROP TABLE {} CASCADE", which.table_name)
    assert run_ingest(database_url, which, corpus).replaced


@pytest.mark.parametrize(
    "change", ["UPDATE {} SET text = text || '!' WHERE ordinal = 1", "DELETE FROM {} WHERE ordinal = 1"]
)
def test_changed_rows_are_not_nothing_to_do(database_url: str, corpus: Path, change: LiteralString) -> None:
    """The same command again finds a row that was changed, and says which command makes the table anew."""
    which = make_lock(database_url)
    run_ingest(database_url, which, corpus)
    execute(database_url, change, which.table_name)
    with pytest.raises(IntegrityError, match="is not what its ingest recorded") as caught:
        run_ingest(database_url, which, corpus)
    assert f"bakeoff shadow-ingest --restart --lock {which.config_hash} CORPUS" in str(caught.value.hint)
    assert not run_ingest(database_url, which, corpus, restart=True).unchanged
    assert run_ingest(database_url, which, corpus).unchanged


def waiting(url: str, expected: int) -> None:
    """Wait until so many sessions of this database wait for a lock."""
    for _ in range(400):
        found = rows(
            url,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        if found == [(expected,)]:
            return
        time.sleep(0.02)
    raise AssertionError(f"never {expected} sessions waited")


@pytest.mark.parametrize("first", ["restart", "activate"])
def test_restart_and_activation_at_once(database_url: str, corpus: Path, first: str) -> None:
    """While a reader holds the table, --restart and an activation meet: one wins, production keeps its table."""
    which = make_lock(database_url)
    run_ingest(database_url, which, corpus)
    results: dict[str, BakeoffError | None] = {}

    def restart() -> None:
        with support.connector(database_url)() as conn:
            stage.forget(conn, which)

    def note(name: str, step: Callable[[], None]) -> None:
        try:
            step()
        except BakeoffError as error:
            results[name] = error
        else:
            results[name] = None

    steps: dict[str, Callable[[], None]] = {"restart": restart, "activate": lambda: activate(database_url, which)}
    order = [first, *(steps.keys() - {first})]
    threads = [threading.Thread(target=note, args=(name, steps[name])) for name in order]
    mode = sql.SQL("ACCESS SHARE" if first == "restart" else "ACCESS EXCLUSIVE")
    with support.connector(database_url)() as reader, reader.transaction():
        reader.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(sql.Identifier(which.table_name), mode))
        for number, thread in enumerate(threads, start=1):
            thread.start()
            waiting(database_url, number)
    for thread in threads:
        thread.join(30)
    assert results[first] is None
    assert isinstance(results[order[1]], StateError)
    there = rows(database_url, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'document_chunks%'")
    active = rows(database_url, "SELECT config_hash FROM lock_events")
    assert bool(active) is bool(there) is (first == "activate")
