"""The schema: forwards, back, guarded, and the same as the file that people read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, LiteralString

import psycopg
import pytest

from bakeoff.adapters import migrations, postgres, queries
from bakeoff.errors import IntegrityError, StateError
from tests import support

CATALOG: dict[str, LiteralString] = {
    "columns": """
        SELECT c.relname, row_number() OVER (PARTITION BY c.relname ORDER BY a.attnum), a.attname,
               format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attstorage, coll.collname,
               pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_collation coll ON coll.oid = a.attcollation
        WHERE n.nspname = 'bakeoff' AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY 1, 2""",
    "constraints": """
        SELECT c.conrelid::regclass::text, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint c
        JOIN pg_namespace n ON n.oid = c.connamespace WHERE n.nspname = 'bakeoff' ORDER BY 1, 2""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'bakeoff' ORDER BY 1, 2",
    "triggers": """
        SELECT t.tgrelid::regclass::text, t.tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'bakeoff' AND NOT t.tgisinternal ORDER BY 1, 2""",
    "functions": """
        SELECT p.proname, pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = 'bakeoff' ORDER BY 1""",
    "extensions": "SELECT extname, extversion FROM pg_extension WHERE extname = 'vector'",
}


VERSIONS = [item.version for item in migrations.known()]
NEWEST = VERSIONS[-1]


def catalog(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in our schema but the list of migrations itself."""
    found = {name: support.rows(url, statement) for name, statement in CATALOG.items()}
    return {name: [row for row in rows if not str(row[0]).startswith("migrations")] for name, rows in found.items()}


def test_schema_file_equals_migrations(new_database: Callable[..., str]) -> None:
    """`sql/schema.sql` makes the very tables, constraints, indexes, triggers and functions that migrations make."""
    by_file, by_steps = new_database(empty=True), new_database(empty=True)
    text = (queries.folder() / "schema.sql").read_text(encoding="utf-8")
    with psycopg.connect(by_file, autocommit=True) as conn:
        conn.execute(text.encode())
    with postgres.open_url(by_steps) as conn:
        migrations.up(conn)
    expected = catalog(by_steps)
    assert len(expected["columns"]) > 40
    assert 24 == len(expected["triggers"])
    assert expected == catalog(by_file)


def test_up_down_up(new_database: Callable[..., str]) -> None:
    """Back to nothing and forwards again gives the same schema; chunk tables go with it."""
    url = new_database()
    before = catalog(url)
    which = support.make_lock(url)
    with support.connector(url)() as conn:
        conn.execute(f"CREATE TABLE {which.table_name} (x int)".encode())
        gone = migrations.down(conn, to=0)
        assert VERSIONS[::-1] == [item.version for item in gone]
        assert ((), tuple(VERSIONS)) == (migrations.status(conn).applied, migrations.status(conn).pending)
    empty = catalog(url)
    assert [] == empty["columns"] == empty["functions"]
    with support.connector(url)() as conn:
        assert [] == migrations.down(conn, to=0)
        assert VERSIONS == [item.version for item in migrations.up(conn)]
        assert [] == migrations.up(conn)
    assert before == catalog(url)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_step_down_and_up(new_database: Callable[..., str], version: int) -> None:
    """Any step back, and forwards again, and back: the same schema each time, below and above."""
    url = new_database()
    whole = catalog(url)
    with support.connector(url)() as conn:
        migrations.down(conn, to=version - 1)
        below = catalog(url)
        assert whole != below
        migrations.up(conn)
        assert whole == catalog(url)
        migrations.down(conn, to=version - 1)
        assert below == catalog(url)


def test_plans_go_and_locks_stay(new_database: Callable[..., str]) -> None:
    """Back before plans and records there were neither; what was locked is untouched."""
    url = new_database()
    which = support.make_lock(url)
    with support.connector(url)() as conn:
        assert [2] == [item.version for item in migrations.down(conn, to=1) if item.version == 2]
        assert (None, None) == conn.execute("SELECT to_regclass('bakeoff.plans'), to_regclass('records')").fetchone()
        migrations.up(conn)
    assert [(which.config_hash,)] == support.rows(url, "SELECT config_hash FROM locks")
    assert [(0, 0)] == support.rows(url, "SELECT (SELECT count(*) FROM plans), (SELECT count(*) FROM records)")


def test_down_to_the_present_version_takes_nothing_back(new_database: Callable[..., str]) -> None:
    """Only what is above the version that was asked for goes."""
    url = new_database()
    with support.connector(url)() as conn:
        assert [] == migrations.down(conn, to=max(item.version for item in migrations.known()))
        migrations.require_current(conn)


def test_edited_migration_is_refused(database_url: str) -> None:
    """A migration that was applied in another wording is named, and nothing goes on."""
    with support.connector(database_url)() as conn:
        conn.execute("UPDATE bakeoff.migrations SET sha256 = repeat('0', 64)")
        with pytest.raises(IntegrityError, match="0001_initial was applied in another wording") as caught:
            migrations.up(conn)
    assert "db reset" in str(caught.value.hint)


def test_newer_schema_is_refused(database_url: str) -> None:
    """A database made by a newer version is left alone."""
    with support.connector(database_url)() as conn:
        conn.execute("INSERT INTO bakeoff.migrations (version, name, sha256) VALUES (99, 'future', repeat('a', 64))")
        for refused in (migrations.up, migrations.require_current):
            with pytest.raises(StateError, match=f"schema version 99, this bakeoff knows up to {NEWEST}"):
                refused(conn)


def test_older_schema_is_refused(new_database: Callable[..., str]) -> None:
    """Commands that need tables say which command makes them."""
    with (
        support.connector(new_database(empty=True))() as conn,
        pytest.raises(StateError, match=f"{len(VERSIONS)} migrations behind") as caught,
    ):
        migrations.require_current(conn)
    assert "bakeoff db init" == caught.value.hint


def test_one_migration_is_singular(database_url: str) -> None:
    """What is said of several is not said of one."""
    with support.connector(database_url)() as conn:
        conn.execute("DELETE FROM bakeoff.migrations WHERE version = %s", (NEWEST,))
        with pytest.raises(StateError, match="schema is 1 migration behind"):
            migrations.require_current(conn)


def test_two_at_once_apply_each_once(new_database: Callable[..., str]) -> None:
    """Sessions that migrate at the same time all succeed, and each migration is applied once."""
    url = new_database(empty=True)
    done: list[int] = []
    failed: list[BaseException] = []
    start = threading.Barrier(4)

    def one() -> None:
        try:
            with support.connector(url)() as conn:
                start.wait()
                done.extend(item.version for item in migrations.up(conn))
        except BaseException as error:  # noqa: BLE001  # a thread's failure must reach the test
            failed.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failed
    assert VERSIONS == done


def test_reset_empties_whatever_is_there(database_url: str) -> None:
    """After a reset the schema is new, even where the list of migrations was broken."""
    support.make_lock(database_url)
    with support.connector(database_url)() as conn:
        conn.execute("UPDATE bakeoff.migrations SET sha256 = 'broken'")
        migrations.reset(conn)
    assert [(0,)] == support.rows(database_url, "SELECT count(*) FROM locks")


def test_failed_migration_leaves_nothing(new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that fails half-way is rolled back whole and not recorded."""
    url = new_database()
    broken = migrations.Migration(NEWEST + 1, "broken", "CREATE TABLE half (x int); SELECT nonsense", "")
    known = migrations.known()
    monkeypatch.setattr(migrations, "known", lambda: [*known, broken])
    with pytest.raises(StateError, match="nonsense"), support.connector(url)() as conn:
        migrations.up(conn)
    assert [(None, NEWEST)] == support.rows(url, "SELECT to_regclass('bakeoff.half'), max(version) FROM migrations")
