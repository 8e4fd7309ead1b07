"""Time both arms of a plan in turn, on one worker, so that a busy minute slows both alike.

Callers may rely on: every question is asked of both arms right after each other, the order is shuffled under the plan's
seed; nothing is cached; what was timed is what was ingested (digests checked).
"""

from __future__ import annotations

import os
import platform
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bakeoff.adapters import evaluations, ingests, records
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.records import About, Record
from bakeoff.config import Lock
from bakeoff.errors import NotKnownError
from bakeoff.stages import answer, verify
from bakeoff.stages.answer import Pipeline

Progress = Callable[[str, int, int | None], None]
_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Options:
    """Where models are cached, and the environment that readers take their keys from."""

    cache_dir: Path = Path(".bakeoff/models")
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timed:
    """The stored record, and what the first reader that failed said, None where none did: no text of its in a seal."""

    record: Record
    first_error: str | None


def _asked(conn: Connection, stored: Stored) -> list[tuple[str, str]]:
    """Return (id, text) of as many questions as the plan times, shuffled.

    Raises NotKnownError where the baseline was not evaluated yet.
    """
    fixed = stored.plan
    ground = evaluations.Ground(fixed.questions.sha256, fixed.corpus_sha256, fixed.gold_share)
    run = evaluations.for_plan(conn, fixed.baseline.config_hash, ground)
    if run is None:
        raise NotKnownError(
            f"the baseline {fixed.baseline.name} was not evaluated on {fixed.questions.name} yet",
            hint=f"bakeoff evaluate --lock {fixed.baseline.config_hash} --questions FILE",
        )
    found = [(case["question_id"], case["question"]) for case, _ in evaluations.scores(conn, run)]
    random.Random(fixed.seed).shuffle(found)
    return found[: fixed.timed]


def _timed(
    pipelines: Sequence[Pipeline], asked: Sequence[tuple[str, str]], seed: int, progress: Progress
) -> tuple[list[list[float | None]], str | None]:
    """Return each arm's milliseconds for every question, None where its reader failed, and the first reader's error.

    A coin says which arm goes first.
    """
    coin = random.Random(seed + 1)
    for _, question in asked[:_WARM_UP]:
        for pipeline in pipelines:
            pipeline.answer(question)
    found: list[list[float | None]] = [[], []]
    first_error: str | None = None
    for done, (_, question) in enumerate(asked, start=1):
        answered = {arm: pipelines[arm].answer(question) for arm in coin.sample((0, 1), 2)}
        for arm in (0, 1):
            error = answered[arm].answer.error  # how fast a reader fails says nothing of how fast it reads
            first_error = first_error or error
            found[arm].append(answered[arm].latency_ms["total"] if error is None else None)
        progress("timings", done, len(asked))
    return found, first_error


def run(
    connect: Connect,
    stored: Stored,
    sides: tuple[Lock, Lock],
    *,
    progress: Progress,
    now: Callable[[], datetime],
    options: Options,
) -> Timed:
    """Time both *sides*, baseline and candidate, and store the record.

    Raises NotKnownError where the baseline was not evaluated on the plan's questions, StateError where a side was not
    ingested, IntegrityError where a chunk table was changed.
    """
    fixed = stored.plan
    with ExitStack() as stack:
        conns = [stack.enter_context(connect()) for _ in sides]
        asked = _asked(conns[0], stored)
        tables = {}
        for conn, lock in zip(conns, sides, strict=True):
            ingest = ingests.finished(conn, lock)
            verify.table(conn, lock, ingest)
            tables[lock.config_hash] = str(ingest.table_sha256)
        opened = [
            stack.enter_context(answer.models(lock, cache_dir=options.cache_dir, environ=options.environ))
            for lock in sides
        ]
        pipelines = [Pipeline(*arm) for arm in zip(conns, sides, opened, strict=True)]
        timed, first_error = _timed(pipelines, asked, fixed.seed, progress)
        body: dict[str, Any] = {
            "kind": "timings",
            "plan_sha256": stored.plan_sha256,
            "tables": tables,
            "questions_sha256": fixed.questions.sha256,
            "machine": {"system": platform.platform(terse=True), "cores": os.cpu_count()},
            "seed": fixed.seed,
            "questions": [question_id for question_id, _ in asked],
            "baseline_ms": timed[0],
            "candidate_ms": timed[1],
        }
        about = About(plan_sha256=stored.plan_sha256, config_hash=fixed.candidate.config_hash)
        return Timed(records.add(conns[0], "timings", body, about=about, at=now()), first_error)
