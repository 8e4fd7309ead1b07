"""Evaluate a lock: every question of a set through its pipeline, case by case.

Callers may rely on: an interrupted evaluation is continued by the same call; two evaluations of one lock on one table
give equal cases apart from timings; what was not measured is None; left-out questions are counted and named.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bakeoff import canonical, cases, gold
from bakeoff.adapters import evaluations, ingests, postgres, questions, staging
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.ingests import Ingest
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import InputError, StateError
from bakeoff.gold import Question, Span
from bakeoff.stages import answer
from bakeoff.stages.answer import Answered, Models, Pipeline

Progress = Callable[[str, int, int | None], None]
Connect = Callable[[], AbstractContextManager[Connection]]

_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Options:
    """`workers`: 1 to 3. `fresh`: do not continue an interrupted run. `gold_share`: covered share that is a hit."""

    workers: int = 1
    fresh: bool = False
    gold_share: float = gold.DEFAULT_SHARE
    cache_dir: Path = Path(".bakeoff/models")
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A finished evaluation: the run, and its artifact as plain values."""

    run: Run
    artifact: dict[str, Any]
    resumed: bool

    @property
    def first_error(self) -> str | None:
        """The first reader's error, or None."""
        errors = (case["answer"]["error"] for case in self.artifact["case_results"])
        return next((error for error in errors if error), None)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What every case is judged against."""

    corpus: frozenset[str]
    indexed: gold.Cover
    share: float


@dataclass(frozen=True, slots=True)
class _Job:
    """One evaluation that is under way; *total* questions, those of an earlier attempt included."""

    connect: Connect
    lock: Lock
    run: Run
    ground: _Ground
    total: int


def _gold_documents(asked: questions.QuestionSet) -> set[str]:
    found: set[str] = set()
    for question in asked.questions:
        found.update(span.doc_id for passage in question.passages for span in passage.alternatives)
        found.update(question.relevant or {})
    return found


def _ground(conn: Connection, lock: Lock, ingest: Ingest, asked: questions.QuestionSet, share: float) -> _Ground:
    wanted = _gold_documents(asked)
    there = frozenset(ingests.known_documents(conn, ingest.ingest_id, sorted(wanted)))
    spans = (Span(*row) for row in staging.all_spans(conn, staging.Tables(lock)) if row[0] in wanted)
    return _Ground(there, gold.Cover(spans, documents=wanted), share)


def _begin(
    conn: Connection, lock: Lock, ingest: Ingest, asked: questions.QuestionSet, now: datetime, options: Options
) -> tuple[Run, bool]:
    """Return the run to work on, and whether it continues an interrupted one."""
    run = Run(
        run_id=f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
        config_hash=lock.config_hash,
        lock_name=lock.name,
        chunk_version=lock.chunk_version,
        question_set=asked.name,
        questions_sha256=asked.digest,
        settings={
            "workers": options.workers,
            "gold_share": options.gold_share,
            "caches": "off",
            "seed": lock.config.seed,
        },
        started_at=now,
        finished_at=None,
        report={},
        table_sha256=str(ingest.table_sha256),
        ingest_id=ingest.ingest_id,
    )
    interrupted = None if options.fresh else evaluations.unfinished(conn, run)
    if interrupted is not None:
        return replace(run, run_id=interrupted[0], started_at=interrupted[1]), True
    evaluations.insert(conn, run)
    return run, False


@contextmanager
def _pipelines(connect: Connect, lock: Lock, opened: Models, workers: int) -> Iterator[SimpleQueue[Pipeline]]:
    """Open one pipeline a worker; whoever takes one from the queue puts it back."""
    free: SimpleQueue[Pipeline] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(workers):
            free.put(Pipeline(stack.enter_context(connect()), lock, opened))
        yield free


def _case(pipeline: Pipeline, question: Question, ground: _Ground) -> tuple[dict[str, Any], Answered]:
    answered = pipeline.answer(question.text)
    legs = pipeline.legs(question.text, answered.vector)
    ids = {piece.chunk_id for found in (answered.snapshot, legs.dense, legs.lexical) for piece in found}
    aliases = staging.aliases_of(pipeline.conn, staging.Tables(pipeline.lock), ids)
    said = answered.answer
    observed = cases.Observed(
        snapshot=answered.snapshot,
        context=answered.context,
        dense=legs.dense,
        lexical=legs.lexical,
        aliases=aliases,
        answer=said.text if not said.abstained else "",
        used=None if said.error else said.used,
        abstained=said.abstained,
        error=said.error,
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
    )
    judged = cases.judge(question, observed, corpus=ground.corpus, indexed=ground.indexed, share=ground.share)
    return {"eval_path": answer.EVAL_PATH, **judged}, answered


def _work(job: _Job, opened: Models, todo: list[tuple[int, Question]], progress: Progress) -> None:
    """Answer and judge what is left to do; each case is stored as soon as it is there."""
    workers, total, run = int(job.run.settings["workers"]), job.total, job.run
    with _pipelines(job.connect, job.lock, opened, workers) as free, job.connect() as writing:

        def one(item: tuple[int, Question]) -> tuple[int, dict[str, Any], dict[str, float]]:
            pipeline = free.get()
            try:
                case, answered = _case(pipeline, item[1], job.ground)
            finally:
                free.put(pipeline)
            return item[0], case, answered.latency_ms

        for _, question in todo[:_WARM_UP]:
            one((0, question))
        done = total - len(todo)
        with ThreadPoolExecutor(workers) as pool:
            try:
                for ordinal, case, timings in pool.map(one, todo):
                    evaluations.add_case(writing, run.run_id, ordinal, case, timings)
                    done += 1
                    progress("evaluate", done, total)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def run(
    connect: Connect,
    lock: Lock,
    question_spec: str,
    *,
    progress: Progress,
    now: Callable[[], datetime],
    options: Options,
) -> Evaluated:
    """Evaluate *lock* on the questions that *question_spec* names.

    Raises StateError where the lock has no finished ingest or another command works on the same evaluation; InputError
    where the questions can't be used.
    """
    with connect() as conn:
        ingest = ingests.finished(conn, lock)
        asked = questions.load_questions(question_spec, ingests.StoredDocuments(conn, ingest.ingest_id))
        if not asked.questions:
            raise InputError(
                f"{asked.name} has no usable question ({len(asked.left_out)} left out)",
                hint="are these the questions of this corpus? bakeoff evaluate --json lists the reasons",
            )
        run_, resumed = _begin(conn, lock, ingest, asked, now(), options)
        with postgres.try_lock(conn, f"evaluation {run_.run_id}", busy=f"another command works on run {run_.run_id}"):
            done = evaluations.case_ids(conn, run_.run_id)
            todo = [(n, question) for n, question in enumerate(asked.questions) if question.question_id not in done]
            ground = _ground(conn, lock, ingest, asked, options.gold_share)
            if todo:
                with answer.models(lock, cache_dir=options.cache_dir, environ=options.environ) as opened:
                    _work(_Job(connect, lock, run_, ground, len(asked.questions)), opened, todo, progress)
            finished = _finish(conn, lock, ingest, run_, asked, now())
    return Evaluated(finished[0], finished[1], resumed)


def _finish(
    conn: Connection, lock: Lock, ingest: Ingest, run_: Run, asked: questions.QuestionSet, at: datetime
) -> tuple[Run, dict[str, Any]]:
    stored = evaluations.cases(conn, run_.run_id)
    if len(stored) != len(asked.questions):
        raise StateError(f"run {run_.run_id} has {len(stored)} cases for {len(asked.questions)} questions")
    results = [case for case, _ in stored]
    report = {
        "questions": {
            "name": asked.name,
            "sha256": asked.digest,
            "used": len(asked.questions),
            "gold_level": asked.gold_level,
            "left_out": [{"question_id": item.question_id, "reason": item.reason} for item in asked.left_out],
        },
        "aggregates": cases.aggregates(results, [timings for _, timings in stored]),
        "cases_sha256": canonical.digest(results),
        "reader": lock.config.reader.kind,
        "lexical": ingest.lexical,
    }
    evaluations.finish(conn, run_.run_id, at=at, report=report)
    done = replace(run_, finished_at=at, report=report)
    return done, artifact(lock, done, stored)


def artifact(lock: Lock, run_: Run, stored: list[tuple[dict[str, Any], dict[str, float]]]) -> dict[str, Any]:
    """Return the evaluation as the JSON that auditors and jq read: who, what, aggregates, then every case."""
    return {
        "kind": "evaluation",
        "run_id": run_.run_id,
        "lock": {"name": lock.name, "CHUNK_VERSION": lock.chunk_version, "CONFIG_HASH": lock.config_hash},
        "embedder": lock.embedder.model_dump(mode="json"),
        "ingest_id": run_.ingest_id,
        "table_sha256": run_.table_sha256,
        "settings": run_.settings,
        "started_at": run_.started_at.isoformat(),
        "finished_at": None if run_.finished_at is None else run_.finished_at.isoformat(),
        **run_.report,
        "case_results": [{**case, "latency_ms": timings} for case, timings in stored],
    }
