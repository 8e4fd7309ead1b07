"""What tests of whole commands and stages share: small corpora, fast locks, ingests, subprocesses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.conninfo import make_conninfo

from bakeoff import config
from bakeoff.adapters import clock, datasets, embedders, ingests, postgres, pydoc_corpus, tables
from bakeoff.adapters.embedders import Embedder
from bakeoff.adapters.postgres import Connection
from bakeoff.chunking import Document
from bakeoff.config import Lock
from bakeoff.stages import evaluate, ingest, lock

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CACHE = Path("/tmp/bakeoff-tests-models")  # noqa: S108  # digests of installed model files; nothing secret, shared by runs
STATIC = {"backend": "static", "model": "wordllama"}
Connect = Callable[[], AbstractContextManager[Connection]]


def parts(**given: Any) -> dict[str, Any]:
    """A small, fast configuration: the static embedder and 60-token windows, changed by *given*."""
    return {"embedder": STATIC, "chunking": {"size": 60}, **given}


DEDUP = parts(chunking={"size": 40, "overlap_ratio": 0.25, "jaccard_threshold": 0.6}, prefix={"policy": "A"})
"""Near-duplicates go, and the title is embedded."""


def connector(url: str) -> Connect:
    """What stages take: opens one more autocommit connection, and translates its errors."""

    @contextmanager
    def connect() -> Iterator[Connection]:
        with postgres.translated(), postgres.open_url(url, autocommit=True) as conn:
            yield conn

    return connect


def make_lock(url: str, given: Mapping[str, Any] | None = None, *, name: str = "test", now: datetime = NOW) -> Lock:
    """Lock a configuration in the database of *url*."""
    parsed = config.parse(dict(given or parts()), source="test")
    with connector(url)() as conn:
        return lock.run(conn, parsed, name=name, source="test", now=now, cache_dir=CACHE).lock


@cache
def embedder(backend: str = "static", model: str = "wordllama", max_tokens: int | None = None) -> Embedder:
    """An opened model, once a test session."""
    found = config.EmbedderConfig.model_validate({"backend": backend, "model": model, "max_tokens": max_tokens})
    return embedders.open_embedder(found, cache_dir=CACHE)


class Counting:
    """An embedder that remembers what it was asked to embed."""

    def __init__(self, inner: Embedder) -> None:
        self.inner = inner
        self.identity = inner.identity
        self.tokenizer = inner.tokenizer
        self.texts: list[str] = []

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Remember *texts*, then embed them."""
        self.texts += texts
        return self.inner.encode_passages(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed questions."""
        return self.inner.encode_queries(texts)

    def close(self) -> None:
        """The inner one is shared."""


def run_ingest(
    url: str,
    which: Lock,
    corpus: Path | str,
    *,
    model: Embedder | None = None,
    progress: Callable[[str, int, int | None], None] = lambda *_: None,
    **options: bool,
) -> ingest.Ingested:
    """Ingest *corpus* under *which*."""
    return ingest.run(
        connector(url),
        which,
        datasets.open_corpus(str(corpus)),
        model or embedder(max_tokens=which.config.embedder.max_tokens),
        progress=progress,
        now=clock.now,
        options=ingest.Options(**options),
    )


def digest_of(url: str, which: Lock) -> str:
    """The digest of the chunk table as it is now."""
    with connector(url)() as conn:
        return tables.table_digest(conn, tables.Tables(which))


def stage_of(url: str, which: Lock) -> str | None:
    """How far the ingest of *which* is, or None."""
    with connector(url)() as conn:
        found = ingests.of_lock(conn, which)
    return None if found is None else found.stage


def rows(url: str, statement: LiteralString, **names: str) -> list[tuple[Any, ...]]:
    """All rows of one statement; *names* are filled in as identifiers."""
    query = sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()})
    with connector(url)() as conn:
        return conn.execute(query).fetchall()


@cache
def topics(count: int = 12, characters: int = 3000) -> tuple[Document, ...]:
    """The first topics of this Python's language reference, cut short."""
    found = [item for item in pydoc_corpus.topics() if isinstance(item, Document)][:count]
    return tuple(Document(item.doc_id, item.title, item.text[:characters], item.source) for item in found)


def write_jsonl(path: Path, documents: Sequence[Document]) -> Path:
    """Write *documents* as JSON lines, in their order."""
    lines = [json.dumps({"id": doc.doc_id, "title": doc.title, "text": doc.text}) for doc in documents]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def document(doc_id: str, text: str, title: str = "") -> Document:
    """A document of the test's own."""
    return Document(doc_id, title, text, "test")


def write_questions(path: Path, questions: Sequence[Mapping[str, Any]]) -> Path:
    """Write a question file."""
    path.write_text("\n".join(json.dumps(question) for question in questions) + "\n", encoding="utf-8")
    return path


def quotes_of(documents: Sequence[Document], *, words: int = 12, each: int = 1) -> list[dict[str, Any]]:
    """Questions whose gold is a quote that stands once in its document; the question is made of the quote's words."""
    found: list[dict[str, Any]] = []
    for doc in documents:
        pieces, folded = doc.text.split(" "), " ".join(doc.text.split()).casefold()
        step = max(len(pieces) // (each + 1), words)
        for begin in range(step // 2, len(pieces) - words, step)[:each]:
            quote = " ".join(pieces[begin : begin + words]).strip()
            question = " ".join(quote.split()[2:9])
            if folded.count(" ".join(quote.split()).casefold()) == 1 and question:
                gold = [{"doc": doc.doc_id, "quote": quote}]
                found.append({"id": f"q{len(found):03d}", "question": question, "gold": gold, "tags": ["made"]})
    return found


def environment(url: str | None, home: Path, **more: str) -> dict[str, str]:
    """The environment of a command under test: nothing of ours from outside, a plain terminal of fixed width."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BAKEOFF_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode: else each would compile us anew
    kept |= {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "PYTHONWARNINGS": "default"}
    kept |= {"BAKEOFF_HOME": str(home), "BAKEOFF_ARTIFACTS": str(home / "artifacts")}
    return kept | ({} if url is None else {"BAKEOFF_DATABASE_URL": url}) | more


def command(*arguments: str | Path) -> list[str]:
    """The command line that runs bakeoff in a process of its own."""
    return [sys.executable, "-m", "bakeoff.cli.main", *map(str, arguments)]


def bakeoff(
    *arguments: str | Path, env: Mapping[str, str], cwd: Path, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        command(*arguments), env=dict(env), cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout
    )


@contextmanager
def running(*arguments: str | Path, env: Mapping[str, str], cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """One command under way; whatever becomes of the test, it ends with it."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command(*arguments), env=dict(env), cwd=cwd, text=True, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def one_object(stdout: str) -> dict[str, Any]:
    """The one JSON object that *stdout* holds; fails where there is none, or more."""
    found = json.loads(stdout)
    assert isinstance(found, dict)
    assert 1 == stdout.count("\n")
    return found


def leftovers(url: str) -> list[tuple[Any, ...]]:
    """What an ingest that was undone may not leave: tables, documents, rejects, the ingest itself."""
    return rows(url, "SELECT relname FROM pg_class WHERE relname LIKE 'document_chunks_%' AND relkind = 'r'") + rows(
        url,
        "SELECT ingest_id FROM ingests UNION ALL SELECT doc_id FROM ingest_documents "
        "UNION ALL SELECT source FROM ingest_rejects",
    )


def mixed_folder(root: Path) -> Path:
    """Good Markdown, text and HTML beside files that can't be used."""
    (root / "sub").mkdir(parents=True)
    (root / "guide.md").write_text(
        "# The guide\n\nHow to do it: turn the handle twice, then wait for the green lamp.\n"
    )
    (root / "notes.txt").write_text("The lamp turns green after about a minute of waiting near the machine.\n")
    (root / "sub" / "page.html").write_text(
        "<title>Lamp</title><body><h1>Lamps</h1><script>no()</script><p>Red means stop at once.</p></body>"
    )
    (root / "latin.txt").write_bytes("Stra\xdfe und \xc4pfel".encode("latin-1"))
    (root / "empty.md").write_text("")
    (root / "blank.txt").write_text(" \n\t\n")
    (root / "nul.txt").write_bytes(b"a\x00b")
    (root / "a|b.txt").write_text("a name with a bar")
    (root / "picture.png").write_bytes(b"\x89PNG")
    return root


@contextmanager
def database(server_url: str, template: str, name: str) -> Iterator[str]:
    """A migrated database for the tests of one module; dropped at the end."""
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    make = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(drop)
        conn.execute(make)
    yield make_conninfo(server_url, dbname=name)
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(drop)


def run_evaluate(
    url: str,
    which: Lock,
    questions: Path | str,
    *,
    progress: Callable[[str, int, int | None], None] = lambda *_: None,
    **options: Any,
) -> evaluate.Evaluated:
    """Evaluate *which* on *questions*."""
    return evaluate.run(
        connector(url),
        which,
        str(questions),
        progress=progress,
        now=clock.now,
        options=evaluate.Options(cache_dir=CACHE, **options),
    )


def lose_lexical(url: str, which: Lock) -> None:
    """Drop the lexical index of *which*, whichever this server's ingest has built."""
    with connector(url)() as conn:
        for kind, suffix in (("INDEX", "_bm25"), ("TABLE", "_lexemes")):
            name = sql.Identifier(which.table_name + suffix)
            conn.execute(sql.SQL("DROP {} IF EXISTS {}").format(sql.SQL(kind), name))
