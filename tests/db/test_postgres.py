"""What the driver says, in our words; what a server lacks, before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from psycopg import errors as pg

from bakeoff.adapters import migrations, postgres
from bakeoff.adapters.postgres import Capabilities
from bakeoff.errors import BakeoffError, DatabaseError, StateError

ABLE = Capabilities("18.1", 180001, "0.8.1", None, None, None, "")


@pytest.mark.parametrize(
    ("lacks", "problem"),
    [
        ({}, None),
        ({"vector_available": None}, "the extension pgvector is not on this server"),
        ({"vector_available": "0.4.4"}, "pgvector is 0.4.4, below 0.5 (no HNSW)"),
        ({"server_version": "14.9", "server_version_num": 140009}, "PostgreSQL is 14.9, below 15"),
    ],
)
def test_what_a_server_lacks_is_said(lacks: dict[str, object], problem: str | None) -> None:
    """No pgvector, an old one, an old server: one line each; nothing where all is there."""
    assert ([] if problem is None else [problem]) == replace(ABLE, **lacks).problems()  # type: ignore[arg-type]  # a table of cases


@pytest.mark.parametrize(
    ("error", "kind", "message", "hint"),
    [
        (pg.DiskFull("could not extend file"), DatabaseError, "disk is full", "make room"),
        (pg.UndefinedTable("relation"), StateError, "schema is not this version's", "bakeoff db init"),
        (pg.UndefinedFile("extension vector"), DatabaseError, "an extension is missing", "install pgvector"),
        (pg.InsufficientPrivilege("denied"), DatabaseError, "refuses", "grant"),
        (pg.RaiseException("UPDATE of locks is refused"), StateError, "UPDATE of locks is refused", None),
        (pg.QueryCanceled("timeout"), DatabaseError, "stopped a statement", "statement_timeout"),
        (psycopg.OperationalError("server closed"), DatabaseError, "unavailable", "run the same command again"),
        (pg.DivisionByZero("x"), DatabaseError, "the database failed", "bakeoff doctor"),
    ],
)
def test_a_driver_error_becomes_ours(
    error: psycopg.Error, kind: type[BakeoffError], message: str, hint: str | None
) -> None:
    """Each kind has its class, its one line and what to do; the driver's error stays chained."""
    with pytest.raises(kind, match=message) as caught, postgres.translated():
        raise error
    assert error is caught.value.__cause__
    assert "\n" not in str(caught.value)
    assert hint is None or hint in str(caught.value.hint)


def test_nothing_is_made_on_a_server_without_pgvector(
    new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schema is not begun where it could not be finished."""
    monkeypatch.setattr(postgres, "capabilities", lambda _: replace(ABLE, vector_available=None))
    with postgres.open_url(new_database(empty=True), autocommit=True) as conn:
        with pytest.raises(StateError, match="the extension pgvector is not on this server") as caught:
            migrations.up(conn)
        assert "install pgvector" in str(caught.value.hint)
        assert (0,) == conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'bakeoff'").fetchone()
