"""Figures of a whole chunk table that gates judge."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from bakeoff.adapters import chunks, queries
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import DatabaseError

MOST_TOKENS = 1024
"""No embedded text may be longer, whatever its embedder reads."""


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
