"""A chunk table as a whole: the names that belong to it, its digest, the figures that gates judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from bakeoff.adapters import chunks, queries
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import DatabaseError

_HELPERS = ("staging", "order", "fate", "kept", "pending")
MOST_TOKENS = 1024
"""No embedded text may be longer, whatever its embedder reads."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The names that belong to one chunk table."""

    lock: Lock

    def names(self) -> dict[str, sql.Identifier]:
        """Return the identifiers that the statements of `sql/ingest.sql` take."""
        base = self.lock.table_name
        return {
            "table": sql.Identifier(base),
            "aliases": sql.Identifier(f"{base}_aliases"),
            "staging": sql.Identifier(f"{base}_staging"),
            "ordering": sql.Identifier(f"{base}_order"),
            "fate": sql.Identifier(f"{base}_fate"),
            "kept": sql.Identifier(f"{base}_kept"),
            "pending": sql.Identifier(f"{base}_pending"),
        }

    def query(self, name: str, **more: sql.Composable) -> sql.Composed:
        """Return the statement `ingest.<name>` with this table's names in it."""
        return queries.get(f"ingest.{name}").format(**self.names(), **more)

    def run(self, conn: Connection, name: str, values: dict[str, Any] | None = None) -> None:
        """Execute the statement `ingest.<name>`."""
        conn.execute(self.query(name), values)

    def number(self, conn: Connection, name: str, values: dict[str, Any] | None = None) -> int:
        """Execute the statement `ingest.<name>` and return its one number."""
        row = conn.execute(self.query(name), values).fetchone()
        if row is None:
            raise DatabaseError(f"the statement ingest.{name} gave no row")
        return int(row[0])

    def drop_helpers(self, conn: Connection, helpers: Sequence[str] = _HELPERS) -> None:
        """Drop the tables that only an ingest under way needs."""
        for helper in helpers:
            table = sql.Identifier(f"{self.lock.table_name}_{helper}")
            conn.execute(queries.get("server.drop_table").format(table=table))


def table_digest(conn: Connection, tables: Tables) -> str:
    """Return the SHA-256 over every row of the chunk table, vectors included, and of its aliases."""
    send = sql.Identifier(f"{tables.lock.config.index.storage}_send")
    row = conn.execute(tables.query("table_digest", vector_send=send)).fetchone()
    if row is None:
        raise DatabaseError("the database gave no table digest")
    return str(row[0])


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What the rows of one chunk table say."""

    max_embedding_token_count: int | None
    """None: the table is empty."""
    embedding_tokens_over_limit: int
    leaked_prefixes: int
    """Lexical texts that are not what the lock's prefix policy asks for."""
    chunks: int
    aliases: int
    """Chunks that went as near-duplicates; each is kept as an alias of its survivor."""

    @property
    def dedup_share(self) -> float | None:
        """Share of the chunks that went as near-duplicates; None of an empty table."""
        whole = self.chunks + self.aliases
        return self.aliases / whole if whole else None


def token_limit(lock: Lock) -> int:
    """Return the smaller of `MOST_TOKENS` and what the lock's embedder reads."""
    return min(MOST_TOKENS, lock.embedder.max_tokens)


def facts(conn: Connection, lock: Lock) -> TableFacts:
    """Read the facts of *lock*'s chunk table, in one pass."""
    statement = queries.get("judging.table_facts").format(
        table=sql.Identifier(lock.table_name), aliases=sql.Identifier(chunks.names(lock).aliases)
    )
    values = {"token_limit": token_limit(lock), "prefixed": lock.config.prefix.policy == "B"}
    row = conn.execute(statement, values).fetchone()
    if row is None:
        raise DatabaseError("the database gave no facts of the chunk table")
    return TableFacts(*row)
