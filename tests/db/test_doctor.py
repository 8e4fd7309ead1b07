"""The doctor: it changes nothing, and every fault is a finding with the command that helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, LiteralString

import pytest
from psycopg import sql

from bakeoff.adapters.settings import Settings, Values
from bakeoff.stages import doctor
from bakeoff.stages import lock as lock_stage
from tests import support
from tests.support import NOW, make_lock, parts, run_ingest


def examine(url: str | None, home: Path) -> dict[str, doctor.Finding]:
    """The findings by what was looked at."""
    found = doctor.run(Settings(Values(database_url=url, home=home), {}))
    return {item.check: item for item in found}


def ingested(url: str, folder: Path, **given: Any) -> Any:
    """A lock with a small finished ingest."""
    which = make_lock(url, parts(**given))
    run_ingest(url, which, support.write_jsonl(folder / "corpus.jsonl", support.topics(3)))
    return which


def test_healthy_project(database_url: str, tmp_path: Path) -> None:
    """Everything there: every finding is ok, the active lock is named with its hash."""
    which = ingested(database_url, tmp_path)
    activate(database_url, which)
    found = examine(database_url, tmp_path)
    levels = {name: item.level for name, item in found.items() if not name.startswith(("embedder", "disk"))}
    assert {"ok"} == set(levels.values()), levels
    assert f"test {which.config_hash} since 2026-01-02 03:04 UTC" == found["active lock"].detail
    assert doctor.healthy(list(found.values()))


@pytest.mark.parametrize("leg", ["dense", "lexical"])
def test_lost_index_is_found_and_its_hint_helps(database_url: str, tmp_path: Path, leg: str) -> None:
    """An index of the active lock that is gone is a failure; the command beside it makes everything right."""
    which = ingested(database_url, tmp_path)
    activate(database_url, which)
    if leg == "lexical":
        support.lose_lexical(database_url, which)
    else:
        execute(database_url, "DROP INDEX {}", f"{which.table_name}_dense")
    finding = examine(database_url, tmp_path)["retrieval test"]
    assert ("fail", True) == (finding.level, which.table_name in finding.detail)
    assert finding.next.startswith(f"bakeoff shadow-ingest --lock {which.config_hash} CORPUS")
    run_ingest(database_url, which, tmp_path / "corpus.jsonl")
    assert [] == failures(database_url, tmp_path)


def test_lost_lists_are_found_and_the_hint_helps(database_url: str, tmp_path: Path) -> None:
    """The inverted lists are an index too, without advice to make a schema that is there."""
    which = ingested(database_url, tmp_path, index={"lexical": "lists"})
    execute(database_url, "DROP TABLE {}", which.table_name + "_lexemes")
    (finding,) = failures(database_url, tmp_path)
    assert "retrieval test" == finding.check
    assert finding.next.startswith(f"bakeoff shadow-ingest --lock {which.config_hash} CORPUS")
    run_ingest(database_url, which, tmp_path / "corpus.jsonl")
    assert [] == failures(database_url, tmp_path)


def activate(url: str, which: Any) -> None:
    """Put a lock into production."""
    with support.connector(url)() as conn:
        lock_stage.activate(conn, which, now=NOW, reason="")


def failures(url: str, home: Path) -> list[doctor.Finding]:
    """The findings that failed."""
    return [item for item in doctor.run(Settings(Values(database_url=url, home=home), {})) if item.level == "fail"]


def execute(url: str, statement: LiteralString, *names: str) -> None:
    """Do what an accident would."""
    with support.connector(url)() as conn:
        conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def test_lost_table_is_found_and_its_hint_helps(database_url: str, tmp_path: Path) -> None:
    """A chunk table that somebody dropped, of the active lock even, is one failure; its command makes it anew."""
    which = ingested(database_url, tmp_path)
    activate(database_url, which)
    execute(database_url, "DROP TABLE {} CASCADE", which.table_name)
    (finding,) = failures(database_url, tmp_path)
    assert "table test" == finding.check
    assert finding.next.startswith(f"bakeoff shadow-ingest --lock {which.config_hash} CORPUS")
    run_ingest(database_url, which, tmp_path / "corpus.jsonl")
    assert [] == failures(database_url, tmp_path)


@pytest.mark.parametrize(
    "change", ["UPDATE {} SET text = text || '!' WHERE ordinal = 1", "DELETE FROM {} WHERE ordinal = 1"]
)
def test_changed_rows_are_found_and_the_hint_helps(database_url: str, tmp_path: Path, change: LiteralString) -> None:
    """A row changed behind our back is one failure; the way out of it differs for the active lock, and works."""
    which = ingested(database_url, tmp_path)
    activate(database_url, which)
    execute(database_url, change, which.table_name)
    (finding,) = failures(database_url, tmp_path)
    assert "table test" == finding.check
    restart = f"bakeoff shadow-ingest --restart --lock {which.config_hash} CORPUS"
    back = f"bakeoff locks activate {which.config_hash}"
    assert f"activate another lock, then {restart}, then {back}" == finding.next
    other = make_lock(database_url, parts(seed=8), name="other")
    run_ingest(database_url, other, tmp_path / "corpus.jsonl")
    activate(database_url, other)
    (finding,) = failures(database_url, tmp_path)
    assert restart == finding.next
    run_ingest(database_url, which, tmp_path / "corpus.jsonl", restart=True)
    activate(database_url, which)
    assert [] == failures(database_url, tmp_path)


def test_damaged_lock_is_one_finding(database_url: str, tmp_path: Path) -> None:
    """A lock whose row was changed is one failure with a way out; the others are looked at all the same."""
    which = ingested(database_url, tmp_path)
    bad = make_lock(database_url, parts(seed=8), name="bad")
    execute(database_url, "ALTER TABLE locks DISABLE TRIGGER locks_never_change")
    execute(database_url, "UPDATE locks SET body = jsonb_set(body, '{{config,seed}}', '99') WHERE name = 'bad'")
    (finding,) = failures(database_url, tmp_path)
    assert ("lock", True) == (finding.check, f"bad: lock {bad.config_hash}" in finding.detail)
    assert finding.next
    assert "ok" == examine(database_url, tmp_path)[f"table {which.name}"].level


def test_interrupted_ingest_is_named(database_url: str, tmp_path: Path) -> None:
    """An ingest that stopped is a warning with the command that continues it."""
    which = make_lock(database_url)

    def stop(name: str, *_: Any) -> None:
        if name == "embed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_ingest(database_url, which, support.write_jsonl(tmp_path / "c.jsonl", support.topics(3)), progress=stop)
    finding = examine(database_url, tmp_path)["ingest"]
    assert ("warn", "stopped at 'embed'") == (finding.level, finding.detail[-18:])
    assert f"bakeoff shadow-ingest --lock {which.config_hash} CORPUS" in finding.next


def test_empty_database_says_how_to_begin(new_database: Callable[..., str], tmp_path: Path) -> None:
    """A schema that is missing is a failure; one without locks a hint."""
    found = examine(new_database(empty=True), tmp_path)
    assert ("fail", "bakeoff db init") == (found["schema"].level, found["schema"].next)
    found = examine(new_database(), tmp_path)
    assert "bakeoff lock-config configs/baseline.yaml" == found["locks"].next


def test_no_server_is_a_finding(tmp_path: Path) -> None:
    """A server that can't be reached is a finding without its password; no embedded one yet is a hint."""
    found = examine("postgresql://me:hunter2@127.0.0.1:1/rag", tmp_path)
    assert "fail" == found["database"].level
    assert "hunter2" not in found["database"].detail
    assert "bakeoff db init" == examine(None, tmp_path / "none")["database"].next
    assert not (tmp_path / "none").exists()


def test_home_that_does_not_exist_yet(tmp_path: Path) -> None:
    """The folder of the project's files may be several levels away from anything that exists."""
    assert "free" in examine(None, tmp_path / "a" / "b" / "c")["disk"].detail


def test_newer_schema_is_a_finding(database_url: str, tmp_path: Path) -> None:
    """A database of a newer version is a failure in words."""
    with support.connector(database_url)() as conn:
        conn.execute("INSERT INTO bakeoff.migrations (version, name, sha256) VALUES (99, 'x', repeat('a', 64))")
    finding = examine(database_url, tmp_path)["schema"]
    assert "fail" == finding.level
    assert "schema version 99" in finding.detail
