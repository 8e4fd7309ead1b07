"""SQL probes: read-only, bounded in time and rows.

Callers may rely on: inside `reading` nothing can be written, whatever a probe says; `check` runs no probe; a broken
query or one that tries to write is an InputError with the probe's name, a query that fails at its work is a result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg import sql

from bakeoff.adapters import queries
from bakeoff.adapters.postgres import Connection
from bakeoff.errors import InputError
from bakeoff.probe_findings import Measured, Result, Unmeasured, measured
from bakeoff.probes import IDENTIFIERS, SqlProbe
from bakeoff.verdicts import Verdict

TIMEOUT_MS = 60_000
MOST_ROWS = 10_000
_PLACE = re.compile(r"\{(" + "|".join(IDENTIFIERS) + r")\}")
_CALL = re.compile(r'(?:"((?:[^"]|"")+)"|([^\W\d][\w$]*))(?:\s|--[^\n]*\n)*\(')
_HARMLESS = frozenset({"pg_relation_size", "pg_table_size", "pg_indexes_size", "pg_total_relation_size", "random"})
"""Volatile functions that only look."""
_PERCENT = re.compile(r"%(?!\(\w+\)s)")


@dataclass(frozen=True, slots=True)
class Filling:
    """What is filled into queries: tables and types by the name of their place, values by that of their parameter."""

    identifiers: Mapping[str, str]
    values: Mapping[str, Any]


@contextmanager
def reading(conn: Connection, *, timeout_ms: int = TIMEOUT_MS) -> Iterator[None]:
    """Open a transaction on *conn*, autocommit, that sees one moment, can't write, and leaves no setting behind."""
    with conn.transaction(force_rollback=True):
        conn.execute(queries.get("probes.begin_reading"))
        settings = {"statement_timeout": str(timeout_ms), "lock_timeout": "5s", "jit": "off", "work_mem": "64MB"}
        for name, value in settings.items():
            conn.execute(queries.get("probes.set_local"), {"name": name, "value": value})
        yield


def _statement(conn: Connection, probe: SqlProbe, filling: Filling) -> sql.Composed:
    """Return the query of *probe* with its names filled in, inside one that bounds it."""
    doubled = _PERCENT.sub("%%", probe.query)
    text = _PLACE.sub(lambda match: sql.Identifier(filling.identifiers[match[1]]).as_string(conn), doubled)
    inner = sql.SQL(text)  # an operator's query: it can't write, and is bounded
    return queries.get("probes.bounded").format(statement=inner)


@contextmanager
def _apart(conn: Connection) -> Iterator[None]:
    """Run the block as a role that only reads, where ours may take it; whatever happens is taken back."""
    with conn.transaction(force_rollback=True):
        with suppress(pg.InsufficientPrivilege), conn.transaction():
            conn.execute(queries.get("probes.only_read"))
        yield


def check(conn: Connection, probe: SqlProbe, filling: Filling, *, source: str) -> None:
    """Let the server plan *probe*, which is not run. Raises InputError where it is broken or would write."""
    _only_reads(conn, probe, source)
    statement = queries.get("retrieve.explain").format(statement=_statement(conn, probe, filling))
    try:
        with _apart(conn):
            plan = conn.execute(statement, {**filling.values, "most": MOST_ROWS}).fetchall()
    except psycopg.Error as error:
        raise _refused(probe, error, source) from error
    if any("LockRows" in line for (line,) in plan):
        raise _writes(probe, "it locks rows", source)


def _only_reads(conn: Connection, probe: SqlProbe, source: str) -> None:
    """Raise InputError where *probe* calls a function that may do more than compute: a volatile one.

    A read-only transaction stops writes to tables, and nothing else: settings, replication slots, notifications and
    files of the server are within the reach of functions. What calls them can't be told from a text with block comments
    or Unicode escapes, so those are refused too.
    """
    text = probe.query
    if "/*" in text or re.search(r"[uU]&[\"']", text):
        raise _writes(probe, "block comments and U& names are refused, since calls could hide in them", source)
    called = {quoted or plain.lower() for quoted, plain in _CALL.findall(text)} - _HARMLESS
    row = conn.execute(queries.get("probes.volatile"), {"names": sorted(called)}).fetchone()
    if row is not None:
        raise _writes(probe, f"it calls {row[0]}(), which may do more than read", source)


def run(conn: Connection, probe: SqlProbe, filling: Filling, *, source: str) -> Result:
    """Run *probe* and return what it found. Raises InputError where it tries to write."""
    try:
        with _apart(conn):
            cursor = conn.execute(_statement(conn, probe, filling), {**filling.values, "most": MOST_ROWS})
            rows = cursor.fetchall()
    except pg.QueryCanceled:
        return Unmeasured(Verdict.ERROR, "SQL: stopped by the time limit")
    except psycopg.Error as error:
        if _tries_to_write(error) or isinstance(error, pg.InsufficientPrivilege):
            raise _refused(probe, error, source) from error
        if conn.broken:
            raise
        return Unmeasured(Verdict.ERROR, f"SQL: {_first_line(error)}")
    if probe.expect.empty:
        note = f"the first {MOST_ROWS:,} rows were looked at" if len(rows) == MOST_ROWS else ""
        return Measured(len(rows), tuple(" ".join(str(_plain(cell)) for cell in row) for row in rows), note)
    if len(rows) != 1:
        return Unmeasured(Verdict.ERROR, f"it gave {len(rows)} rows; expected one (or expect: {{empty: true}})")
    return measured(_plain(rows[0][0]))


def _plain(cell: Any) -> Any:
    """Return a value of the database as JSON has it."""
    if isinstance(cell, Decimal):
        whole = cell.is_finite() and cell == cell.to_integral_value()
        return int(cell) if whole else float(cell)
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    return cell if isinstance(cell, bool | int | float | str | None | list | dict) else str(cell)


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().split("\n")[0]


def _tries_to_write(error: psycopg.Error) -> bool:
    marks = ("data-modifying", "INTO is not allowed", "read-write mode")
    return isinstance(error, pg.ReadOnlySqlTransaction) or any(mark in _first_line(error) for mark in marks)


def _refused(probe: SqlProbe, error: psycopg.Error, source: str) -> InputError | psycopg.Error:
    if isinstance(error, psycopg.OperationalError) and not isinstance(error, pg.QueryCanceled):
        return error  # the server, not the probe
    text = _first_line(error)
    if _tries_to_write(error):
        return _writes(probe, text, source)
    if isinstance(error, pg.InsufficientPrivilege):
        return InputError(
            f"{source}: probe {probe.name} does more than read tables: {text}",
            hint="a probe has the rights of pg_read_all_data, no others; nothing was stored",
        )
    return InputError(
        f"{source}: probe {probe.name}: {text}",
        hint="correct the query; psql shows where it is wrong; nothing was stored",
    )


def _writes(probe: SqlProbe, why: str, source: str) -> InputError:
    return InputError(
        f"{source}: probe {probe.name} tries to write: {why}",
        hint="a probe only reads; nothing was changed and nothing was stored",
    )
