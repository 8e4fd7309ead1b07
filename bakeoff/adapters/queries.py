"""Named SQL from `sql/`: Python names a query, never spells one.

Callers may rely on: `get("locks.insert")` returns the statement `insert` of `sql/locks.sql`; every statement has a name
and a one-line description; placeholders for identifiers (`{table}`) are filled only by `psycopg.sql`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from psycopg import sql

_HEADER = re.compile(r"^-- name: (?P<name>[a-z0-9_]+)\n-- (?P<about>[^\n]+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement of a file, and what it does."""

    name: str
    about: str
    text: str


def folder() -> Path:
    """Return the folder of SQL files: inside the installed package, or the checkout's where it is run from there."""
    installed = Path(str(resources.files("bakeoff"))) / "_sql"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "sql"


@cache
def load(topic: str) -> dict[str, Query]:
    """Return the statements of `sql/<topic>.sql` by name. Raises FileNotFoundError where there is no such file."""
    text = (folder() / f"{topic}.sql").read_text(encoding="utf-8")
    found = list(_HEADER.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return {
        match["name"]: Query(match["name"], match["about"], text[match.end() : end].strip().rstrip(";"))
        for match, end in zip(found, ends, strict=True)
    }


def get(name: str) -> sql.SQL:
    """Return the statement *name* (`topic.query`), ready for `execute` or `.format(table=Identifier(...))`."""
    topic, _, query = name.partition(".")
    return sql.SQL(load(topic)[query].text)
