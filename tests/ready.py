"""An ingested lock with questions, for tests that evaluate and compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bakeoff.config import Lock
from tests import support


@dataclass(frozen=True)
class Ready:
    """A database with an ingested lock, and questions for it."""

    url: str
    lock: Lock
    folder: Path
    corpus: Path
    questions: Path
    count: int


@contextmanager
def ready(server_url: str, template: str, folder: Path) -> Iterator[Ready]:
    """Eight documents, ingested under the lock `whole`; questions about the first six."""
    documents = support.topics(8, 2000)
    asked = support.quotes_of(documents[:6], each=2)
    corpus = support.write_jsonl(folder / "corpus.jsonl", documents)
    questions = support.write_questions(folder / "questions.jsonl", asked)
    with support.database(server_url, template, f"{folder.name}_{template}") as url:
        which = support.make_lock(url, support.parts(), name="whole")
        support.run_ingest(url, which, corpus)
        yield Ready(url, which, folder, corpus, questions, len(asked))
