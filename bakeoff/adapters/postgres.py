"""Connections, what the server can do, and driver errors in our words.

Callers may rely on: inside `connect` every driver error leaves as a `BakeoffError`, chained; the schema in use is
`bakeoff`; a password never appears in a message.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg import rows

from bakeoff.adapters import embedded, queries
from bakeoff.adapters.settings import MASK, Settings, without_password
from bakeoff.errors import BakeoffError, DatabaseError, StateError

Connection = psycopg.Connection[Any]
Connect = Callable[[], contextlib.AbstractContextManager[Connection]]
"""What opens a connection more, for work beside that of the first."""
OLDEST_SERVER = 150000
OLDEST_VECTOR = (0, 5)
LIVELINESS: Mapping[str, Any] = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Options of libpq's by which a network that went silent is noticed within seconds, not the system's quarter hour."""
_LOCK_POLL_S = 0.05
_AWAY = frozenset({"08", "57"})
"""Classes of SQLSTATE: connection exceptions, an operator's intervention."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the server offers; a version is None where the extension is missing."""

    server_version: str
    server_version_num: int
    vector_available: str | None
    vector_installed: str | None
    textsearch_available: str | None
    textsearch_installed: str | None
    preloaded: str

    @property
    def has_textsearch(self) -> bool:
        """Whether pg_textsearch's bm25 index can be used: installed, or installable and preloaded."""
        preloaded = any("pg_textsearch" in name for name in self.preloaded.split(","))
        return preloaded and (self.textsearch_installed or self.textsearch_available) is not None

    def problems(self) -> list[str]:
        """Return what is missing, in words; empty where bakeoff can work."""
        found = []
        if self.server_version_num < OLDEST_SERVER:
            found.append(f"PostgreSQL is {self.server_version}, below 15")
        vector = self.vector_installed or self.vector_available
        if vector is None:
            found.append("the extension pgvector is not on this server")
        elif tuple(int(part) for part in vector.split(".")[:2]) < OLDEST_VECTOR:
            found.append(f"pgvector is {vector}, below 0.5 (no HNSW)")
        return found


def capabilities(conn: Connection) -> Capabilities:
    """Ask the server what it can do."""
    with conn.cursor(row_factory=rows.class_row(Capabilities)) as cursor:
        found = cursor.execute(queries.get("server.capabilities")).fetchone()
    if found is None:
        raise DatabaseError("the server did not say what it can do")
    return found


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().split("\n")[0]


def translate(error: psycopg.Error) -> BakeoffError:  # noqa: PLR0911  # a table of cases reads best as one
    """Return *error* in our words, with what to do about it."""
    text = _first_line(error)
    if isinstance(error, pg.DiskFull):
        return DatabaseError(
            f"the database's disk is full: {text}", hint="make room, then run the same command again: it resumes"
        )
    if isinstance(error, pg.UndefinedTable | pg.UndefinedColumn | pg.InvalidSchemaName):
        return StateError(f"the database's schema is not this version's: {text}", hint="bakeoff db init")
    if isinstance(error, pg.UndefinedFile):
        return DatabaseError(
            f"an extension is missing: {text}", hint="install pgvector on the server; bakeoff doctor lists what it has"
        )
    if isinstance(error, pg.InsufficientPrivilege):
        return DatabaseError(f"the database refuses: {text}", hint="grant this role the right, or use another role")
    if isinstance(error, pg.RaiseException):
        return StateError(text)
    if isinstance(error, pg.QueryCanceled):
        return DatabaseError(f"the database stopped a statement: {text}", hint="raise statement_timeout, or try again")
    if isinstance(error, psycopg.OperationalError):
        return DatabaseError(
            f"the database is unavailable: {text}", hint="bakeoff doctor; then run the same command again"
        )
    return DatabaseError(f"the database failed: {text}", hint="bakeoff doctor")


def lost(error: BaseException) -> bool:
    """Return whether *error*, as translated, means that the server is away, not that it refused a statement."""
    cause = error.__cause__
    if not isinstance(cause, psycopg.OperationalError) or isinstance(cause, pg.QueryCanceled):
        return False
    return cause.sqlstate is None or cause.sqlstate[:2] in _AWAY


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn every driver error of the block into ours, chained."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def url_of(settings: Settings, *, start: bool = True) -> str | None:
    """Return the database URL; the embedded server is started for it, or None is given where *start* is false."""
    values = settings.values
    if values.database_url:
        return values.database_url
    if not start and embedded.running(values.home) is None:
        return None
    return embedded.ensure(values.home, idle_minutes=values.idle_minutes)


def shown(url: str) -> str:
    """Return *url* as it may be printed."""
    return without_password(url)


def open_url(url: str, *, connect_timeout_s: int = 10, autocommit: bool = False, **options: Any) -> Connection:
    """Open one connection that uses our schema, with *options* of libpq's own.

    Raises DatabaseError, without the password, where it fails.
    """
    try:
        conn: Connection = psycopg.connect(
            url, connect_timeout=connect_timeout_s, autocommit=True, application_name="bakeoff", **options
        )
    except psycopg.Error as error:
        masked = shown(url)
        why = "not a URL that can be read" if masked == MASK else _first_line(error)  # the driver would quote it
        raise DatabaseError(
            f"can't connect to {masked}: {why}",
            hint="check BAKEOFF_DATABASE_URL and that the server runs; unset it to use the embedded one",
        ) from error
    conn.execute(queries.get("server.use_schema"))
    with contextlib.suppress(pg.InvalidParameterValue, pg.FeatureNotSupported):  # not on every platform
        conn.execute(queries.get("server.notice_lost_clients"))
    conn.autocommit = autocommit
    return conn


@contextlib.contextmanager
def connect(settings: Settings, *, autocommit: bool = False, **options: Any) -> Iterator[Connection]:
    """Open a connection, with *options* of libpq's own, translate its errors, commit at the end or roll back."""
    url = url_of(settings)
    if url is None:
        raise DatabaseError("no database")
    with translated():
        conn = open_url(url, connect_timeout_s=settings.values.connect_timeout_s, autocommit=autocommit, **options)
        with conn:
            yield conn


@contextlib.contextmanager
def try_lock(conn: Connection, name: str, *, busy: str, patience_s: float = 0.0) -> Iterator[None]:
    """Hold the advisory lock *name* for the block, waiting for it up to *patience_s*.

    Raises StateError with *busy* where another session keeps it.
    """
    until = time.monotonic() + patience_s
    while (row := conn.execute(queries.get("server.try_lock"), {"name": name}).fetchone()) is None or not row[0]:
        if time.monotonic() >= until:
            raise StateError(busy, hint="wait for the other command, or end it")
        time.sleep(_LOCK_POLL_S)
    try:
        yield
    except BaseException:
        with contextlib.suppress(psycopg.Error):  # it must not hide what happened; the session's end unlocks too
            conn.execute(queries.get("server.unlock"), {"name": name})
        raise
    conn.execute(queries.get("server.unlock"), {"name": name})
