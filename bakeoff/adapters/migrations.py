"""The database's schema, forwards and back.

Callers may rely on: each migration is one transaction; two commands at once apply each one once; an applied migration
whose file was edited since is refused by name; `sql/schema.sql` is what all of them together make (tested).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from bakeoff import canonical, report
from bakeoff.adapters import postgres, queries
from bakeoff.errors import IntegrityError, StateError

_NAME = re.compile(r"^(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.up\.sql$")
_LOCK = "bakeoff migrations"
_BUSY = "another command changes the schema right now"
_PATIENCE_S = 30.0
"""Two first commands at once: the second waits for the first one's migrations, which take a second."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: statements forwards and back."""

    version: int
    name: str
    up: str
    down: str

    @property
    def sha256(self) -> str:
        """Digest of the forward statements."""
        return canonical.sha256_hex(self.up.encode())


@dataclass(frozen=True, slots=True)
class Status:
    """Which versions are applied, and which wait."""

    applied: tuple[int, ...]
    pending: tuple[int, ...]


def known(folder: Path | None = None) -> list[Migration]:
    """Return the migrations of this version, oldest first."""
    where = folder or queries.folder() / "migrations"
    found = []
    for path in sorted(where.glob("*.up.sql")):
        if match := _NAME.match(path.name):
            down = path.with_name(path.name.replace(".up.sql", ".down.sql"))
            found.append(Migration(int(match["version"]), match["name"], path.read_text(), down.read_text()))
    return found


def _applied(conn: postgres.Connection) -> dict[int, str]:
    row = conn.execute(queries.get("migrations.exists")).fetchone()
    if row is None or not row[0]:
        return {}
    return {version: sha256 for version, _, sha256 in conn.execute(queries.get("migrations.applied"))}


def status(conn: postgres.Connection) -> Status:
    """Compare the database with this version. Raises StateError where it is newer, IntegrityError on other wording."""
    applied, ours = _applied(conn), known()
    newer = sorted(set(applied) - {migration.version for migration in ours})
    if newer:
        raise StateError(
            f"the database has schema version {newer[-1]}, this bakeoff knows up to {ours[-1].version}",
            hint="upgrade bakeoff",
        )
    for migration in ours:
        if applied.get(migration.version, migration.sha256) != migration.sha256:
            raise IntegrityError(
                f"migration {migration.version:04d}_{migration.name} was applied in another wording than ours",
                hint="use the bakeoff version that made the database, or bakeoff db reset",
            )
    pending = tuple(migration.version for migration in ours if migration.version not in applied)
    return Status(tuple(sorted(applied)), pending)


def require_current(conn: postgres.Connection) -> None:
    """Raise StateError where migrations wait."""
    pending = status(conn).pending
    if pending:
        many = report.counted(len(pending), "migration")
        raise StateError(f"the database's schema is {many} behind", hint="bakeoff db init")


def up(conn: postgres.Connection) -> list[Migration]:
    """Apply what waits and return it. Raises StateError where another session migrates or the server can't serve us."""
    missing = postgres.capabilities(conn).problems()
    if missing:
        raise StateError("; ".join(missing), hint="install pgvector 0.5 or newer on PostgreSQL 15 or newer")
    conn.commit()
    done = []
    with postgres.try_lock(conn, _LOCK, busy=_BUSY, patience_s=_PATIENCE_S):
        with conn.transaction():
            conn.execute(queries.get("migrations.make_schema"))
            conn.execute(queries.get("migrations.make_log"))
        pending = set(status(conn).pending)
        for migration in known():
            if migration.version in pending:
                with conn.transaction():
                    conn.execute(sql.SQL(migration.up))
                    record = {"version": migration.version, "name": migration.name, "sha256": migration.sha256}
                    conn.execute(queries.get("migrations.record"), record)
                done.append(migration)
        if postgres.capabilities(conn).has_textsearch:
            conn.execute(queries.get("server.install_textsearch"))
    conn.commit()
    return done


def down(conn: postgres.Connection, *, to: int) -> list[Migration]:
    """Take back every migration above version *to*, newest first, and return them."""
    applied = status(conn).applied
    conn.commit()
    done = []
    with postgres.try_lock(conn, _LOCK, busy=_BUSY, patience_s=_PATIENCE_S):
        for migration in reversed(known()):
            if migration.version in applied and migration.version > to:
                with conn.transaction():
                    if migration.version == 1:
                        drop_chunk_tables(conn)
                    conn.execute(sql.SQL(migration.down))
                    conn.execute(queries.get("migrations.forget"), {"version": migration.version})
                done.append(migration)
    conn.commit()
    return done


def drop_chunk_tables(conn: postgres.Connection) -> int:
    """Drop every table that an ingest made; return how many."""
    names = [name for (name,) in conn.execute(queries.get("migrations.chunk_tables"))]
    for name in names:
        conn.execute(queries.get("server.drop_table").format(table=sql.Identifier(name)))
    return len(names)


def reset(conn: postgres.Connection) -> None:
    """Remove our schema with all that is in it, whatever state it is in, and make it anew."""
    with postgres.try_lock(conn, _LOCK, busy=_BUSY, patience_s=_PATIENCE_S):
        conn.execute(queries.get("server.drop_everything"))
    conn.commit()
    up(conn)
