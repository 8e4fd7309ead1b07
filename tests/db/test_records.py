"""Records of what stages found: appended, never changed, believed only where they are what was stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, LiteralString

import psycopg
import pytest

from bakeoff.adapters import records
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.records import About, Record
from bakeoff.errors import BakeoffError, IntegrityError, UsageError
from bakeoff.verdicts import Verdict
from tests import support

BODY = {"kind": "probes", "figures": [1.5, None, "µ"], "table_sha256": "a" * 64}


def add(conn: Connection, body: dict[str, Any], kind: records.Kind = "probes", **about: str) -> Record:
    """Append one record."""
    return records.add(conn, kind, body, about=About(**about), at=support.NOW, verdict=Verdict.PASS)


def test_a_record_comes_back_as_it_was_stored(conn: Connection) -> None:
    """Body, verdict, time and what it is about."""
    added = add(conn, BODY, run_id="run")
    found = records.latest(conn, "probes", About(run_id="run"))
    assert found == added
    assert (BODY, "pass", support.NOW, "run", None) == (
        added.body,
        added.verdict,
        added.at,
        added.run_id,
        added.config_hash,
    )


def test_the_newest_of_its_kind_and_subject_is_found(conn: Connection) -> None:
    """Kinds and subjects are kept apart; what is not given does not matter."""
    add(conn, {"n": 1}, run_id="one")
    add(conn, {"n": 2}, run_id="one")
    add(conn, {"n": 3}, run_id="other")
    add(conn, {"n": 4}, kind="parity", run_id="one")
    for about, expected in ((About(run_id="one"), 2), (About(run_id="other"), 3), (About(), 3)):
        found = records.latest(conn, "probes", about)
        assert found is not None
        assert {"n": expected} == found.body
    assert None is records.latest(conn, "sweep", About())
    assert None is records.latest(conn, "probes", About(run_id="nobody"))


def test_what_json_cant_carry_is_refused(conn: Connection) -> None:
    """A figure that is not a number never gets in."""
    with pytest.raises(UsageError, match="not canonical JSON"):
        add(conn, {"value": float("nan")})
    assert None is records.latest(conn, "probes", About())


EDITS: dict[str, LiteralString] = {
    "body": "UPDATE bakeoff.records SET body = jsonb_set(body, '{figures,0}', '2.5')",
    "verdict": "UPDATE bakeoff.records SET verdict = 'fail'",
    "no verdict": "UPDATE bakeoff.records SET verdict = NULL",
    "kind": "UPDATE bakeoff.records SET kind = 'parity'",
    "run": "UPDATE bakeoff.records SET run_id = 'other'",
    "no run": "UPDATE bakeoff.records SET run_id = NULL",
    "time": "UPDATE bakeoff.records SET at = at + interval '1 microsecond'",
    "digest": "UPDATE bakeoff.records SET sha256 = repeat('a', 64)",
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_record_is_not_believed(database_url: str, edit: str) -> None:
    """Whatever of it was changed, its verdict and what it is about included; its number and kind are named."""
    with support.connector(database_url)() as conn:
        added = add(conn, BODY, run_id="run")
        assert added == records.latest(conn, "probes", About(run_id="run"))
        with psycopg.connect(database_url, autocommit=True) as intruder:
            intruder.execute("ALTER TABLE bakeoff.records DISABLE TRIGGER USER")
            intruder.execute(EDITS[edit])
        kind: records.Kind = "parity" if edit == "kind" else "probes"
        said = rf"record {added.record_id} \({kind}\) in the database is not what was stored"
        with pytest.raises(IntegrityError, match=said):
            records.latest(conn, kind, About())


def test_a_record_that_was_moved_is_another(database_url: str) -> None:
    """To another plan or lock: both are digested; its number is given afterwards, and is not."""
    with support.connector(database_url)() as conn:
        given = add(conn, BODY)
    for moved in (replace(given, plan_sha256="b" * 64), replace(given, config_hash="b" * 16)):
        assert given.digest != moved.digest
    assert given.sha256 == given.digest == replace(given, record_id=99).digest


def test_the_zone_of_the_session_changes_no_digest(database_url: str) -> None:
    """The same moment, shown in another zone, is the same record."""
    with support.connector(database_url)() as conn:
        added = add(conn, BODY)
        conn.execute("SET timezone = 'Asia/Kolkata'")
        found = records.latest(conn, "probes", About())
        assert found is not None
        assert (added.sha256, added.at) == (found.sha256, found.at)


REFUSED: list[LiteralString] = [
    "UPDATE records SET verdict = 'pass'",
    "DELETE FROM records",
    "TRUNCATE records",
    "INSERT INTO records (kind, at, body, sha256) VALUES ('gossip', now(), '{}', repeat('a', 64))",
    "INSERT INTO records (kind, at, verdict, body, sha256) VALUES ('sweep', now(), 'good', '{}', repeat('a', 64))",
    "INSERT INTO records (kind, at, body, sha256) VALUES ('sweep', now(), '{}', 'short')",
    "INSERT INTO records (kind, config_hash, at, body, sha256) VALUES ('sweep', 'x', now(), '{}', repeat('a',64))",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_the_database_refuses_what_is_no_record(database_url: str, statement: LiteralString) -> None:
    """Changes, and rows of an unknown kind, verdict, digest or lock."""
    with support.connector(database_url)() as conn:
        added = add(conn, BODY)
        with pytest.raises(BakeoffError, match="records"), support.connector(database_url)() as other:
            other.execute(statement)
        assert added == records.latest(conn, "probes", About())
        assert [(1,)] == support.rows(database_url, "SELECT count(*) FROM records")
