"""Two ingested locks that differ in what is read, questions for them, and plans of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from bakeoff import strategy
from bakeoff.adapters import clock
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.records import Record
from bakeoff.config import Lock
from bakeoff.errors import BakeoffError
from bakeoff.rules import Profile
from bakeoff.stages import judge, plan, timing
from tests import judged, support

SEEN = {"minimum": 10}
GATES = (
    {
        "name": "filter",
        "rule": "no_worse",
        "metric": "filter_hit_postfilter",
        "margin": 0.3,
        "discordance": 0.1,
        **SEEN,
    },
    {"name": "oracle", "rule": "level", "metric": "oracle_retrieval_hit_prefilter", "at_least": 0.2, **SEEN},
    {"name": "leakage", "rule": "level", "metric": "leaked_prefixes", "at_most": 0},
    {"name": "snapshot", "rule": "stable", "metric": "snapshot_size", "within": 0.1},
    {"name": "dedup", "rule": "level", "metric": "dedup_share", "at_most": 0.5},
    {"name": "errors", "rule": "level", "metric": "reader_errors", "at_most": 0},
    {"name": "tokens", "rule": "level", "metric": "embedding_tokens_over_limit", "at_most": 0},
    {"name": "longest", "rule": "level", "metric": "max_embedding_token_count", "at_most": 1024},
)
"""Gates that a few dozen questions can answer."""
LATENCY = {"name": "latency", "rule": "level", "metric": "p95_latency_ms", "at_most": 60_000, **SEEN}
AT_ONCE = strategy.parse(
    {
        "strategy": "at-once",
        "watch": {"errors": {"margin": 0.01, "base_rate": 0.99}},
        "steps": [{"percent": 100, "hours": 1}],
    },
    source="test",
)
LATER = datetime.fromisoformat("2026-02-03T04:05:06+00:00")


@dataclass(frozen=True)
class Planned:
    """A database with both locks, and questions for them."""

    url: str
    database: str
    wide: Lock
    """Reads up to eight chunks."""
    narrow: Lock
    """Reads one."""
    folder: Path
    corpus: Path
    questions: Path
    count: int

    def plan(
        self,
        sides: tuple[Lock, Lock] | None = None,
        *,
        profile: Profile | None = None,
        questions: Path | None = None,
        now: datetime = support.NOW,
        **options: Any,
    ) -> Stored:
        """Plan, the wide lock in production and the narrow one as candidate unless *sides* says otherwise."""
        bar = profile or judged.profile(*GATES), AT_ONCE
        with support.connector(self.url)() as conn:
            return plan.run(
                conn,
                plan.Sides(*(sides or (self.wide, self.narrow))),
                str(questions or self.questions),
                bar,
                now=now,
                options=plan.Options(**options),
            )

    def evaluate(self, which: Lock, **options: Any) -> str:
        """Evaluate one lock; its run id."""
        return support.run_evaluate(self.url, which, self.questions, **options).run.run_id

    def judge(self, stored: Stored, **wanted: Any) -> Record:
        """Judge the candidate."""
        connect = support.connector(self.url)
        with connect() as conn:
            return judge.run(conn, stored, judge.Wanted(**wanted), connect=connect, now=LATER)

    def timed(self, stored: Stored, sides: tuple[Lock, Lock] | None = None) -> timing.Timed:
        """Time both sides."""
        return timing.run(
            support.connector(self.url),
            stored,
            sides or (self.wide, self.narrow),
            progress=lambda *_: None,
            now=clock.now,
            options=timing.Options(cache_dir=support.CACHE),
        )

    def timings(self, stored: Stored, sides: tuple[Lock, Lock] | None = None) -> Record:
        """The record of a timing of both sides."""
        return self.timed(stored, sides).record

    def tamper(self, table: str, statement: LiteralString, *values: object) -> None:
        """Change what may not be changed, as somebody with all rights can; some row is changed."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(f"ALTER TABLE bakeoff.{table} DISABLE TRIGGER USER".encode())
            assert conn.execute(statement, values).rowcount
            conn.execute(f"ALTER TABLE bakeoff.{table} ENABLE TRIGGER USER".encode())

    def count_of(self, table: str) -> int:
        """How many rows a table has."""
        return int(support.rows(self.url, "SELECT count(*) FROM {table}", table=table)[0][0])


@contextmanager
def planned(server_url: str, template: str, folder: Path, *, each: int = 5) -> Iterator[Planned]:
    """Eight documents ingested under both locks, dozens of questions of two words about them; nothing evaluated."""
    documents = support.topics(8, 2500)
    asked = [
        item | {"question": " ".join(item["question"].split()[:2])} for item in support.quotes_of(documents, each=each)
    ]
    corpus = support.write_jsonl(folder / "corpus.jsonl", documents)
    questions = support.write_questions(folder / "questions.jsonl", asked)
    name = f"planned_{uuid.uuid4().hex[:10]}"
    with support.database(server_url, template, name) as url:
        wide, narrow = (
            support.make_lock(url, support.parts(retrieval={"filter": {"context": context}}), name=called)
            for called, context in (("wide", 8), ("narrow", 1))
        )
        for which in (wide, narrow):
            support.run_ingest(url, which, corpus)
        yield Planned(url, name, wide, narrow, folder, corpus, questions, len(asked))


@contextmanager
def copied(server_url: str, source: Planned) -> Iterator[Planned]:
    """A copy of the database of *source*, to be damaged."""
    name = f"copied_{uuid.uuid4().hex[:10]}"
    with support.database(server_url, source.database, name) as url:
        yield replace(source, url=url, database=name)


@contextmanager
def evaluated(server_url: str, template: str, folder: Path) -> Iterator[Planned]:
    """Planned in both directions, then evaluated."""
    with planned(server_url, template, folder) as found:
        found.plan()
        found.plan((found.narrow, found.wide))
        found.evaluate(found.wide)
        found.evaluate(found.narrow)
        yield found


def narrowing(made: Planned) -> Stored:
    """The plan that was made before the evaluations: the narrow lock wants to replace the wide one."""
    return made.plan()


def widening(made: Planned) -> Stored:
    """The plan the other way round."""
    return made.plan((made.narrow, made.wide))


def runs(made: Planned) -> dict[str, str]:
    """The newest run of each lock, by the lock's name."""
    found = support.rows(
        made.url, "SELECT name, run_id FROM evaluations JOIN locks USING (config_hash) ORDER BY number"
    )
    return dict(found)


def refused(made: Planned, stored: Stored, kind: type[BakeoffError], said: str, **wanted: Any) -> BakeoffError:
    """The error; it is of this very class, one line with a hint, and nothing is stored."""
    before = made.count_of("records")
    with pytest.raises(kind, match=said) as caught:
        made.judge(stored, **wanted)
    assert kind is type(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert before == made.count_of("records")
    return caught.value


def by_gate(record: Record) -> dict[str, dict[str, Any]]:
    """The findings by their gates' names."""
    return {item["gate"]: item for item in record.body["findings"]}


def edited_chunk(made: Planned) -> None:
    """Change a text that is retrieved."""
    with support.connector(made.url)() as conn:
        query = sql.SQL("UPDATE {} SET text = text || '.' WHERE ordinal = 0")
        conn.execute(query.format(sql.Identifier(made.narrow.table_name)))
