"""The doctor: it changes nothing, and every fault is a finding with the command that helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    with support.connector(database_url)() as conn:
        lock_stage.activate(conn, which, now=NOW, reason="")
    found = examine(database_url, tmp_path)
    levels = {name: item.level for name, item in found.items() if not name.startswith(("embedder", "disk"))}
    assert {"ok"} == set(levels.values()), levels
    assert f"test {which.config_hash} since 2026-01-02 03:04 UTC" == found["active lock"].detail
    assert doctor.healthy(list(found.values()))


@pytest.mark.parametrize(("suffix", "unused"), [("_dense", "vector"), ("_bm25", "lexical")])
def test_lost_index_is_found(database_url: str, tmp_path: Path, suffix: str, unused: str) -> None:
    """An index that is gone is a failure, with the command that builds it again."""
    which = ingested(database_url, tmp_path)
    support_drop(database_url, which.table_name + suffix)
    finding = examine(database_url, tmp_path)["retrieval test"]
    assert "fail" == finding.level
    assert unused in finding.detail or "does not exist" in finding.detail
    assert finding.next


def support_drop(url: str, index: str) -> None:
    """Drop an index, as an accident would."""
    from psycopg import sql

    with support.connector(url)() as conn:
        conn.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(index)))


def test_lost_table_is_found(database_url: str, tmp_path: Path) -> None:
    """A chunk table that somebody dropped is a failure, not a crash."""
    from psycopg import sql

    which = ingested(database_url, tmp_path)
    with support.connector(database_url)() as conn:
        conn.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(which.table_name)))
    found = examine(database_url, tmp_path)
    assert any("fail" == item.level for item in found.values())
    assert not doctor.healthy(list(found.values()))


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
