"""The lexical index: which one a lock gets, how it is built, what its scores mean.

Callers may rely on: both backends rank by the same function over the same lexemes, so that a lock keeps its ranking
when it moves to another server. For a question and a chunk it is the sum, over the lexemes they share, of

    times in question · ln(1 + (N - df + 0.5) / (df + 0.5)) · tf · (k1 + 1) / (tf + k1 · (1 - b + b · length / mean))

(Robertson & Zaragoza 2009, with the idf that is never negative); a question of one lexeme alone asks it once, however
often it repeats it, since pg_textsearch takes it so. Lexemes are those of the text search configuration
`index.language`; N counts the chunks that have any, mean is their mean length in lexemes, and `length` is the chunk's,
rounded down to four significant bits from 40 on (`quantised`), as pg_textsearch stores it.

What a tsvector can't count, neither backend counts: a lexeme's 256th and later occurrences in one chunk are ignored
(at k1 1.2 and mean length its weight is then less than 0.5 % too small), and a chunk of more than 16,383 words is
refused, since later words would lose their counts altogether.

`lists` is the backend for servers without pg_textsearch: an inverted list for each lexeme, in a table of its own.
Reading term counts out of the tsvectors that a GIN index finds took a hundred times as long at 50,000 chunks.
"""

from __future__ import annotations

from typing import Literal

from psycopg import sql

from bakeoff.adapters import queries
from bakeoff.adapters.postgres import Capabilities, Connection
from bakeoff.config import IndexConfig, LexicalChoice
from bakeoff.errors import StateError

Lexical = Literal["pg_textsearch", "lists"]
EXACT_LENGTHS = 40
_LENGTH_OFFSET = 24
_LENGTH_BITS = 4


def resolve_lexical(choice: LexicalChoice, capabilities: Capabilities) -> Lexical:
    """Return the backend for *choice* on this server. Raises StateError where a strict choice is not to be had."""
    if choice == "lists":
        return "lists"
    if capabilities.has_textsearch:
        return "pg_textsearch"
    if choice == "bm25":
        return "lists"
    raise StateError(
        "the lock asks for pg_textsearch, but this server does not offer it",
        hint="install it and preload it, or lock index.lexical: bm25 (the best that a server has) or lists",
    )


def quantised(length: int) -> int:
    """Return *length*, in lexemes, as the index knows it: exact below 40, else rounded down to four significant bits.

    The bits are those of length - 24 (the SmallFloat code of Lucene), so the error stays below 1/8.
    """
    if length < EXACT_LENGTHS:
        return length
    above = length - _LENGTH_OFFSET
    step = 1 << (above.bit_length() - _LENGTH_BITS)
    return _LENGTH_OFFSET + above - above % step


def build(conn: Connection, table: str, index: IndexConfig, lexical: Lexical) -> None:
    """Build the lexical index of *table*; a second call finds it built.

    *conn* is an autocommit connection, or the caller's transaction. Raises StateError where a chunk has more words than
    a tsvector can number.
    """
    _refuse_uncountable(conn, table, index)
    if lexical == "pg_textsearch":
        conn.execute(queries.get("server.install_textsearch"))
        conn.execute(
            queries.get("chunks.build_bm25").format(
                index=sql.Identifier(index_name(table)),
                table=sql.Identifier(table),
                language=sql.Literal(index.language),
                k1=sql.Literal(index.bm25_k1),
                b=sql.Literal(index.bm25_b),
            )
        )
        return
    lists = sql.Identifier(lists_name(table))
    row = conn.execute(queries.get("chunks.relation"), {"name": lists_name(table)}).fetchone()
    if row is not None and row[0]:
        return
    values = {"language": index.language, "k1": index.bm25_k1, "b": index.bm25_b}
    with conn.transaction():
        conn.execute(queries.get("chunks.create_lexemes").format(lexemes=lists))
        conn.execute(queries.get("chunks.store_lists_uncompressed").format(lexemes=lists))
        conn.execute(queries.get("chunks.fill_lexemes").format(lexemes=lists, table=sql.Identifier(table)), values)


def index_name(table: str) -> str:
    """Return the name of the pg_textsearch index of *table*."""
    return f"{table}_bm25"


def lists_name(table: str) -> str:
    """Return the name of the table of inverted lists of *table*."""
    return f"{table}_lexemes"


def _refuse_uncountable(conn: Connection, table: str, index: IndexConfig) -> None:
    statement = queries.get("chunks.beyond_positions").format(table=sql.Identifier(table))
    row = conn.execute(statement, {"language": index.language}).fetchone()
    if row is not None:
        raise StateError(
            f"chunk {row[0]} of document {row[1]} has more than 16,383 words, above what PostgreSQL can number: "
            "its terms would be miscounted",
            hint="lock a smaller chunking.size",
        )
