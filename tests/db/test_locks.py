"""Locks: made once, never changed, found by any of their names, activated and archived by the rules."""

from __future__ import annotations

import tempfile
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from bakeoff import config
from bakeoff.adapters import locks, rollouts
from bakeoff.errors import BakeoffError, ConfigError, IntegrityError, NotFoundError, StateError
from bakeoff.rollout import Rollback, Start
from bakeoff.stages import lock as stage
from tests import moved, support
from tests.support import NOW, make_lock, parts


def finish_ingest(url: str, which: config.Lock) -> None:
    """Ingest two topics under *which*."""
    with tempfile.TemporaryDirectory() as folder:
        support.run_ingest(url, which, support.write_jsonl(Path(folder) / "corpus.jsonl", support.topics(2, 1000)))


def activate(url: str, which: config.Lock, reason: str = "") -> None:
    """Activate *which*."""
    with support.connector(url)() as conn:
        stage.activate(conn, which, now=NOW, reason=reason)


def archive(url: str, which: config.Lock, *, restore: bool = False) -> None:
    """Archive *which*."""
    with support.connector(url)() as conn:
        stage.archive(conn, which, now=NOW, reason="", restore=restore)


def find(url: str, ref: str) -> config.Lock:
    """Find a lock."""
    with support.connector(url)() as conn:
        return locks.find(conn, ref)


def test_a_rollout_keeps_its_locks(database_url: str) -> None:
    """While traffic is on its way nothing is activated, and neither of its locks is archived; afterwards all is."""
    sides = moved.sides(database_url)
    third = make_lock(database_url, parts(chunking={"size": 70}), name="third")
    finish_ingest(database_url, third)
    with support.connector(database_url)() as conn:
        found = moved.started(conn, moved.planned(conn, sides))
    with pytest.raises(StateError, match=f"{found.rollout_id} is on its way: what is in production stays") as caught:
        activate(database_url, third)
    assert str(caught.value.hint).startswith("bakeoff canary rollback")
    for side, lock in zip(("baseline", "candidate"), sides, strict=True):
        with pytest.raises(StateError, match=f"is the {side} of {found.rollout_id}, which is on its way"):
            archive(database_url, lock)
    archive(database_url, third)
    archive(database_url, third, restore=True)
    with support.connector(database_url)() as conn:
        rollouts.roll_back(conn, found.rollout_id, Rollback("ada", "slow"), at=moved.after(1))
    activate(database_url, third)
    archive(database_url, sides[1])


def test_a_rehearsal_keeps_no_lock(database_url: str) -> None:
    """A simulated rollout moves nobody, and holds nobody up."""
    sides = moved.sides(database_url)
    with support.connector(database_url)() as conn:
        rollouts.start(conn, moved.planned(conn, sides), Start("ada"), clock="simulated", at=moved.BEGAN)
    archive(database_url, sides[1])


@pytest.mark.parametrize("table", ["locks", "lock_events"])
@pytest.mark.parametrize("change", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {} CASCADE", "TRUNCATE {}"])
def test_database_refuses_changes(database_url: str, table: str, change: str) -> None:
    """Not even the owner of the database changes a lock or the log by accident."""
    which = make_lock(database_url)
    finish_ingest(database_url, which)
    activate(database_url, which)
    column = "name = 'other'" if table == "locks" else "reason = 'other'"
    with pytest.raises(psycopg.Error, match=r"its rows never change|foreign key"):
        _execute(database_url, change.format(table, column))
    assert [("test",)] == support.rows(database_url, "SELECT name FROM locks")
    assert [("",)] == support.rows(database_url, "SELECT reason FROM lock_events")


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET search_path = bakeoff, public")
        conn.execute(statement.encode())


def test_equal_configuration_is_the_same_lock(database_url: str) -> None:
    """Locking again, days later, under another name, returns the lock that exists."""
    first = make_lock(database_url)
    again = make_lock(database_url, name="other", now=NOW + timedelta(days=3))
    assert first == again
    assert [(1,)] == support.rows(database_url, "SELECT count(*) FROM locks")


def test_versions_count_within_a_day(database_url: str) -> None:
    """v1, v2, v3 on one day; the next day begins with v1."""
    made = [make_lock(database_url, parts(seed=seed)) for seed in (1, 2, 3)]
    later = make_lock(database_url, parts(seed=4), now=NOW + timedelta(days=1))
    assert ["2026-01-02-v1", "2026-01-02-v2", "2026-01-02-v3"] == [item.chunk_version for item in made]
    assert "2026-01-03-v1" == later.chunk_version
    assert "document_chunks_20260102_030405_v2" == made[1].table_name


def test_tenth_version_follows_the_ninth(database_url: str) -> None:
    """Versions are counted as numbers, not as text."""
    made = [make_lock(database_url, parts(seed=seed)) for seed in range(11)]
    assert "2026-01-02-v11" == made[-1].chunk_version


def test_stored_lock_comes_back_whole(database_url: str) -> None:
    """What is found is what was stored, to the last field."""
    made = make_lock(database_url, parts(prefix={"policy": "A"}, retrieval={"rrf_k": 33}))
    assert made == find(database_url, made.config_hash)


def test_concurrent_locking_gives_distinct_versions(database_url: str) -> None:
    """Eight configurations locked at once get eight versions; the same one twice at once is one lock."""
    made: list[config.Lock] = []
    failed: list[BaseException] = []
    start = threading.Barrier(10)

    def one(seed: int) -> None:
        try:
            start.wait()
            made.append(make_lock(database_url, parts(seed=seed)))
        except BaseException as error:  # noqa: BLE001  # a thread's failure must reach the test
            failed.append(error)

    threads = [threading.Thread(target=one, args=(max(seed, 0),)) for seed in range(-2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failed
    assert {f"2026-01-02-v{number}" for number in range(1, 9)} == {item.chunk_version for item in made}
    assert 8 == len({item.config_hash for item in made})


def test_find_by_every_name(database_url: str) -> None:
    """Hash, its beginning, version, table and name all mean the lock."""
    first, second = make_lock(database_url, name="one"), make_lock(database_url, parts(seed=8), name="two")
    for which in (first, second):
        for ref in (which.config_hash, which.config_hash[:6], which.chunk_version, which.table_name, which.name):
            assert which == find(database_url, ref), ref


def test_newest_lock_of_a_name_wins(database_url: str) -> None:
    """A name that was given again means its newest lock."""
    make_lock(database_url, name="same")
    newest = make_lock(database_url, parts(seed=8), name="same", now=NOW + timedelta(hours=1))
    assert newest == find(database_url, "same")


@pytest.mark.parametrize("ref", ["nothing", "abc", "", "%", "____", "0" * 16, "2026-01-02-v9", "'; DROP TABLE locks"])
def test_unknown_lock_is_named(database_url: str, ref: str) -> None:
    """A reference that means nothing is refused with the command that lists what there is."""
    make_lock(database_url)
    with pytest.raises(NotFoundError, match="no lock") as caught:
        find(database_url, ref)
    assert "bakeoff locks list" in str(caught.value.hint)


def test_ambiguous_beginning_lists_the_hashes(database_url: str) -> None:
    """Two hashes that begin alike are both named, and nothing is guessed."""
    which = make_lock(database_url)
    other = which.config_hash[:12] + ("0000" if which.config_hash[12:] != "0000" else "1111")
    twin = which.model_copy(
        update={"config_hash": other, "chunk_version": "2026-01-02-v2", "table_name": which.table_name[:-1] + "2"}
    )
    with support.connector(database_url)() as conn:
        locks.insert(conn, twin)
    with pytest.raises(StateError, match=f"means 2 locks: .*{other}"):
        find(database_url, which.config_hash[:8])
    assert twin == find(database_url, other)


def test_tampered_body_is_found(database_url: str) -> None:
    """A superuser who switches the trigger off and edits a lock is found out at the next read."""
    which = make_lock(database_url)
    with psycopg.connect(database_url) as conn:
        conn.execute("ALTER TABLE bakeoff.locks DISABLE TRIGGER locks_never_change")
        conn.execute("UPDATE bakeoff.locks SET body = jsonb_set(body, '{config,seed}', '99')")
    for ref in (which.config_hash, "test"):
        with pytest.raises(IntegrityError, match=which.config_hash) as caught:
            find(database_url, ref)
        assert 4 == caught.value.exit_code


def damage(url: str, which: config.Lock, path: str = "{config,seed}") -> None:
    """Change the row of *which*, as a superuser can."""
    with psycopg.connect(url) as conn:
        conn.execute("ALTER TABLE bakeoff.locks DISABLE TRIGGER locks_never_change")
        conn.execute(
            "UPDATE bakeoff.locks SET body = jsonb_set(body, %s, '99') WHERE config_hash = %s",
            (path, which.config_hash),
        )


@pytest.mark.parametrize("path", ["{config,seed}", "{config_hash}", "{config}"])
def test_damaged_lock_takes_no_other_with_it(database_url: str, path: str) -> None:
    """Others are listed, found and activated; the damaged one is marked, even while it is the active one."""
    good, bad = make_lock(database_url), make_lock(database_url, parts(seed=8), name="bad")
    for which in (good, bad):
        finish_ingest(database_url, which)
    activate(database_url, bad)
    damage(database_url, bad, path)
    for ref in (good.config_hash, good.config_hash[:6], good.chunk_version, "test"):
        assert good == find(database_url, ref)
    for ref in (bad.config_hash, "bad", "active"):
        with pytest.raises(IntegrityError, match=bad.config_hash) as caught:
            find(database_url, ref)
        assert "backup" in str(caught.value.hint)
    with support.connector(database_url)() as conn:
        (found,) = [item for item in locks.everything(conn) if isinstance(item, locks.Damaged)]
        assert [good] == [state.lock for state in locks.listing(conn)]
    assert (bad.config_hash, bad.chunk_version, "bad", True) == (
        found.config_hash, found.chunk_version, found.name, found.active,
    )  # fmt: skip
    activate(database_url, good)
    assert good == find(database_url, "active")


def test_lock_with_another_ones_body_is_damaged(database_url: str) -> None:
    """A whole body with its own right digest under another lock's hash is not that lock."""
    first, second = make_lock(database_url), make_lock(database_url, parts(seed=8), name="other")
    with psycopg.connect(database_url) as conn:
        conn.execute("ALTER TABLE bakeoff.locks DISABLE TRIGGER locks_never_change")
        conn.execute(
            "UPDATE bakeoff.locks l SET body = o.body, body_sha256 = o.body_sha256 FROM bakeoff.locks o "
            "WHERE l.config_hash = %s AND o.config_hash = %s",
            (second.config_hash, first.config_hash),
        )
    with pytest.raises(IntegrityError, match=second.config_hash):
        find(database_url, second.config_hash)


def test_hash_version_and_table_win_over_a_name(database_url: str) -> None:
    """A newer lock that is named like another one's hash, version or table does not take its place."""
    first = make_lock(database_url)
    for number, ref in enumerate((first.config_hash, first.chunk_version, first.table_name)):
        make_lock(database_url, parts(seed=number + 8), name=ref, now=NOW + timedelta(days=1))
        assert first == find(database_url, ref)


def test_activation_needs_a_finished_ingest(database_url: str) -> None:
    """A lock without a table can't go into production; the error says which command makes one."""
    which = make_lock(database_url)
    with pytest.raises(StateError, match="no finished ingest") as caught:
        activate(database_url, which)
    assert f"bakeoff shadow-ingest --lock {which.config_hash} CORPUS" == caught.value.hint
    with pytest.raises(NotFoundError, match="no lock is active"):
        find(database_url, "active")


SPOILED: list[tuple[LiteralString, str, type[StateError], str]] = [
    ("UPDATE {} SET text = text || '!' WHERE ordinal = 1", "", IntegrityError, "is not what its ingest recorded"),
    ("DELETE FROM {} WHERE ordinal = 1", "", IntegrityError, "is not what its ingest recorded"),
    ("DROP TABLE {} CASCADE", "", StateError, "does not exist"),
    ("DROP TABLE {} CASCADE", "_aliases", StateError, "does not exist"),
    ("DROP INDEX {}", "_dense", StateError, "can't use"),
    ("DROP INDEX {}", "_bm25", StateError, "can't use"),
]


@pytest.mark.parametrize(("change", "suffix", "kind", "message"), SPOILED)
def test_activation_needs_what_was_ingested(
    database_url: str, change: LiteralString, suffix: str, kind: type[StateError], message: str
) -> None:
    """Changed rows, a lost table or a lost index keep a lock out of production, with the command that helps."""
    which = make_lock(database_url)
    finish_ingest(database_url, which)
    with support.connector(database_url)() as conn:
        conn.execute(sql.SQL(change).format(sql.Identifier(which.table_name + suffix)))
    with pytest.raises(kind, match=message) as caught:
        activate(database_url, which)
    assert f"--lock {which.config_hash} CORPUS" in str(caught.value.hint)
    with pytest.raises(NotFoundError, match="no lock is active"):
        find(database_url, "active")


def test_activation_log_says_who_and_when(database_url: str) -> None:
    """The last activation is the lock in production; the log keeps what was before, with the reasons."""
    first, second = make_lock(database_url), make_lock(database_url, parts(seed=8))
    for which in (first, second):
        finish_ingest(database_url, which)
    activate(database_url, first, "first")
    assert first == find(database_url, "active")
    with pytest.raises(StateError, match="already active since 2026-01-02 03:04:05 UTC"):
        activate(database_url, first)
    activate(database_url, second, "better")
    assert second == find(database_url, "production")
    with support.connector(database_url)() as conn:
        found = locks.events(conn)
        states = {state.lock.config_hash: state.active for state in locks.listing(conn)}
    expected = [("activated", first.config_hash, "first"), ("activated", second.config_hash, "better")]
    assert expected == [(row["event"], row["config_hash"], row["reason"]) for row in found]
    assert {first.config_hash: False, second.config_hash: True} == states


def test_archive_rules(database_url: str) -> None:
    """The active lock can't be archived, an archived one can't be activated, and each step is taken once."""
    first, second = make_lock(database_url), make_lock(database_url, parts(seed=8))
    for which in (first, second):
        finish_ingest(database_url, which)
    activate(database_url, first)
    with pytest.raises(StateError, match="is the active lock"):
        archive(database_url, first)
    with pytest.raises(StateError, match="not archived"):
        archive(database_url, second, restore=True)
    archive(database_url, second)
    with pytest.raises(StateError, match="already archived"):
        archive(database_url, second)
    with pytest.raises(StateError, match="is archived") as caught:
        activate(database_url, second)
    assert "--restore" in str(caught.value.hint)
    archive(database_url, second, restore=True)
    activate(database_url, second)
    archive(database_url, first)
    with support.connector(database_url)() as conn:
        states = {state.lock.config_hash: (state.active, state.archived) for state in locks.listing(conn)}
    assert {first.config_hash: (False, True), second.config_hash: (True, False)} == states


def test_archived_lock_is_not_ingested(database_url: str, tmp_path: Path) -> None:
    """An archived lock gets no table; the hint can be typed as it stands."""
    which = make_lock(database_url)
    archive(database_url, which)
    corpus = support.write_jsonl(tmp_path / "c.jsonl", support.topics(2))
    with pytest.raises(StateError, match="is archived") as caught:
        support.run_ingest(database_url, which, corpus)
    assert f"bakeoff locks archive --restore {which.config_hash}" == caught.value.hint


WRONG: list[tuple[dict[str, Any], type[BakeoffError], str]] = [
    (
        parts(embedder={**support.STATIC, "max_tokens": 64}, chunking={"size": 80}),
        ConfigError,
        "a window of 80 tokens .* but wordllama reads 64: the rest would be silently cut off",
    ),
    (
        parts(embedder={"backend": "onnx"}, chunking={"size": 600}),
        ConfigError,
        "a window of 600 tokens .* reads 256.*use smaller chunks",
    ),
    (
        parts(embedder={"backend": "onnx"}, chunking={"size": 450}),
        ConfigError,
        r"set embedder.max_tokens to at least 452 \(the model has 512 positions\)",
    ),
]


@pytest.mark.parametrize(("given", "kind", "message"), WRONG)
def test_window_that_would_be_cut_off_is_refused(
    database_url: str, given: dict[str, Any], kind: type[BakeoffError], message: str
) -> None:
    """A window longer than the embedder reads is refused with the numbers, and no lock is left."""
    with pytest.raises(kind, match=message):
        make_lock(database_url, given)
    assert [(0,)] == support.rows(database_url, "SELECT count(*) FROM locks")
