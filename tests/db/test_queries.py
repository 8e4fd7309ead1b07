"""Named SQL: every statement can be prepared against a real chunk table, is described, and is used."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from psycopg.pq import ExecStatus

import bakeoff
from bakeoff.adapters import chunks, lexical, queries
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.tables import Tables

TOPICS = sorted(path.stem for path in queries.folder().glob("*.sql") if path.stem != "schema")
EVERY = [f"{topic}.{name}" for topic in TOPICS for name in queries.load(topic)]
SPELLED_OTHERWISE = ("_pg_textsearch", "_lists")  # the backend's name is put behind the query's


@pytest.fixture
def identifiers(
    conn: Connection, make_lock: Callable[..., Any], fill: Callable[..., None]
) -> dict[str, sql.Composable]:
    """Real tables for every placeholder, in a transaction that is rolled back."""
    lock = make_lock()
    fill(lock, [f"some words of text number {number}" for number in range(20)])
    tables = Tables(lock)
    tables.run(conn, "make_staging")
    for name in ("make_order", "make_fate", "make_kept"):
        tables.run(conn, name)
    tables.run(conn, "make_pending", {"embedder_id": 1})
    conn.execute(queries.get("ingest.make_arriving"))
    conn.execute(queries.get("ingest.make_sketched"))
    conn.execute(queries.get("outcomes.make_arriving"))
    return {
        **tables.names(),
        "lexemes": sql.Identifier(lexical.lists_name(lock.table_name)),
        "ordinal_index": sql.Identifier("an_index"),
        "index": sql.Identifier(chunks.names(lock).dense_index),
        "operators": sql.Identifier("vector_cosine_ops"),
        "database": sql.Identifier("a_database"),
        "vector_type": sql.SQL("vector"),
        "vector_send": sql.Identifier("vector_send"),
        "dimension": sql.Literal(32),
        "lists": sql.Literal(10),
        "m": sql.Literal(16),
        "ef_construction": sql.Literal(64),
        "language": sql.Literal("english"),
        "k1": sql.Literal(1.2),
        "b": sql.Literal(0.75),
        "statement": sql.SQL("SELECT 1"),
    }


def numbered(text: str) -> str:
    """Named parameters as the server counts them."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    replaced = re.sub(r"%\((\w+)\)s", number, text)
    return replaced.replace("%%", "%") if names else replaced


def test_every_query_prepares(conn: Connection, identifiers: dict[str, sql.Composable]) -> None:
    """The server parses every named statement, and finds every table and column that it names."""
    problems = []
    for name in EVERY:
        statement: sql.SQL | sql.Composed = queries.get(name)
        if isinstance(statement, sql.SQL) and re.search(r"\{[a-z_]+\}", statement.as_string(conn)):
            statement = statement.format(**identifiers)
        text = numbered(statement.as_string(conn))
        conn.execute("SAVEPOINT before")
        result = conn.pgconn.prepare(b"", text.encode())
        if result.status != ExecStatus.COMMAND_OK:
            problems.append(f"{name}: {result.error_message.decode().splitlines()[0]}")
        conn.execute("ROLLBACK TO before")
    assert [] == problems
    assert 90 < len(EVERY)


def test_every_query_is_described() -> None:
    """Each statement of a file has a name and a line that says what it does; none is lost between the headers."""
    for topic in TOPICS:
        text = (queries.folder() / f"{topic}.sql").read_text(encoding="utf-8")
        found = queries.load(topic)
        assert text.count("-- name:") == len(found), topic
        for query in found.values():
            assert query.about.rstrip().endswith((".", ":")), query.name
            assert query.text, query.name


def test_every_query_is_used() -> None:
    """No statement is left over: each one's name stands in the code."""
    code = "\n".join(path.read_text() for path in Path(str(bakeoff.__file__)).parent.rglob("*.py"))
    unused = []
    for name in EVERY:
        bare = name.partition(".")[2]
        for suffix in SPELLED_OTHERWISE:
            bare = bare.removesuffix(suffix)
        if not re.search(rf"[\"'._]{bare}[\"'_{{]", code):
            unused.append(name)
    assert [] == unused
