"""An ingested and evaluated lock for parity checks, what they find in it, and how it is broken."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bakeoff import asked as sealed_parity
from bakeoff import withheld
from bakeoff.adapters.embedders import Embedder
from bakeoff.config import Lock
from bakeoff.stages import parity, parity_checks
from bakeoff.stages.parity import Checked, Options
from bakeoff.verdicts import Verdict
from tests import support
from tests.support import make_lock, parts, run_evaluate, run_ingest

WORDS = [f"word{number}" for number in range(400)]
TWIN = " ".join(WORDS[:30])
NEAR = TWIN.replace("word7 ", "other7 ")
DOCUMENTS = [
    *(support.document(f"text/{n:02d}", " ".join(WORDS[n * 9 :][:120]), f"Title {n}") for n in range(20)),
    support.document("twin/a", TWIN, "The first"),
    support.document("twin/b", TWIN, "The very same"),
    support.document("twin/c", NEAR, "Nearly the same"),
]
DEDUP: dict[str, Any] = {"chunking": {"size": 60, "jaccard_threshold": 0.7}, "prefix": {"policy": "A"}}
EVERY = [check.value for check in parity_checks.Check if check is not parity_checks.Check.CORPUS]


@dataclass(frozen=True)
class Site:
    """A database with one ingested and evaluated lock, and the files that it was made from."""

    url: str
    lock: Lock
    folder: Path
    corpus: Path
    questions: Path


def asked() -> list[dict[str, Any]]:
    """Questions about passages that stand once in their document."""
    passages = [(doc, " ".join(doc.text.split()[5:15])) for doc in DOCUMENTS[:6]]
    return [
        {"id": f"q{number}", "question": " ".join(quote.split()[:6]), "gold": [{"doc": doc.doc_id, "quote": quote}]}
        for number, (doc, quote) in enumerate(passages)
    ]


def build(url: str, folder: Path, given: dict[str, Any] | None = None, *, name: str = "test") -> Site:
    """Lock, ingest and evaluate in the database of *url*."""
    corpus = support.write_jsonl(folder / "corpus.jsonl", DOCUMENTS)
    questions = support.write_questions(folder / "questions.jsonl", asked())
    which = make_lock(url, parts(**(given or DEDUP)), name=name)
    run_ingest(url, which, corpus)
    run_evaluate(url, which, questions)
    return Site(url, which, folder, corpus, questions)


@contextmanager
def new(server_url: str, template: str, folder: Path) -> Iterator[Site]:
    """A site in a database of its own."""
    with support.database(server_url, template, f"parity_{uuid.uuid4().hex[:10]}") as url:
        yield build(url, folder)


@contextmanager
def copy_of(server_url: str, site: Site, folder: Path) -> Iterator[Site]:
    """The same site in a database of its own."""
    name = str(conninfo_to_dict(site.url)["dbname"])
    with support.database(server_url, name, f"parity_copy_{uuid.uuid4().hex[:10]}") as url:
        yield replace(site, url=url, folder=folder)


def check(site: Site, *, model: Embedder | None = None, **options: Any) -> Checked:
    """Run parity on the site's lock."""
    with support.connector(site.url)() as conn:
        done = parity.run(
            conn,
            site.lock,
            model or support.embedder(),
            options=Options(**options),
            progress=lambda *_: None,
            at=support.NOW,
        )
    assert [] == list(sealed_parity.parity(withheld.without("parity", done.body, {})[0], ""))  # as a seal has it
    return done


def failed(done: Checked) -> dict[str, str]:
    """The checks that did not pass, with what they said."""
    return {item.check.value: item.said for item in done.findings if item.verdict is not Verdict.PASS}


def examples(done: Checked, name: str) -> list[str]:
    """What a check named."""
    return next(list(item.examples) for item in done.findings if item.check.value == name)


def tamper(site: Site, statement: LiteralString, **values: Any) -> None:
    """Run one statement on the lock's table, past adapters and triggers, as only the owner can."""
    names = {"table": site.lock.table_name, "aliases": f"{site.lock.table_name}_aliases"}
    filled = {key: sql.Identifier(name) for key, name in names.items()}
    one = sql.SQL("ordinal = (SELECT max(ordinal) FROM {table} WHERE doc_id = 'text/03')").format(**filled)
    query = sql.SQL(statement).format(**filled, one=one)
    with psycopg.connect(site.url, autocommit=True) as conn:
        conn.execute("SET search_path = bakeoff, public")
        conn.execute("SET session_replication_role = replica")
        assert 0 < conn.execute(query, values).rowcount
