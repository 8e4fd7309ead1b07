"""Evaluate a lock: every question of a set through its pipeline, case by case.

Callers may rely on: an interrupted evaluation is continued by the same call; two evaluations of one lock on one table
give equal cases apart from timings; what was not measured is None; left-out questions are counted and named; nothing is
answered from a chunk table that is not what was ingested, nor where no question's gold is in the corpus.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bakeoff import canonical, cases, gold
from bakeoff.adapters import chunks, evaluations, ingests, postgres, questions, staging, tables
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.ingests import Ingest
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.question_rows import QuestionSet
from bakeoff.config import Lock
from bakeoff.errors import InputError, StateError, UsageError
from bakeoff.gold import Question, Span
from bakeoff.stages import answer, verify
from bakeoff.stages.answer import Answered, Models, Pipeline

Progress = Callable[[str, int, int | None], None]

_WARM_UP = 3
_NO_CACHES = "EVAL_DISABLE_CACHE"


@dataclass(frozen=True, slots=True)
class Options:
    """`workers`: 1 to 3. `fresh`: do not continue an interrupted run. `gold_share`: covered share that is a hit.

    `only`: the ids of the questions to ask; None: all of them. Nothing takes such a run for one of the whole set.
    """

    workers: int = 1
    fresh: bool = False
    gold_share: float = gold.DEFAULT_SHARE
    only: frozenset[str] | None = None
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
class _Subject:
    """What is evaluated, on what: *not_in_corpus* counts the questions with gold of which the corpus lacks too much."""

    lock: Lock
    ingest: Ingest
    asked: questions.QuestionSet
    settings: dict[str, Any]
    ground: _Ground
    with_gold: int
    not_in_corpus: int
    chunks: int
    documents: int


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
    spans = (Span(*row) for row in staging.all_spans(conn, tables.Tables(lock)) if row[0] in wanted)
    return _Ground(there, gold.Cover(spans, documents=wanted), share)


def _no_caches(environ: Mapping[str, str]) -> None:
    """Raise UsageError where the environment asks for caches: there are none to switch on."""
    said = environ.get(_NO_CACHES, "1")
    if said != "1":
        raise UsageError(
            f"{_NO_CACHES} is {said!r}: evaluations never use caches", hint=f"unset {_NO_CACHES}, or set it to 1"
        )


def part_of(asked: questions.QuestionSet, only: frozenset[str]) -> questions.QuestionSet:
    """Return the questions of *asked* whose ids are in *only*: a set with a name and a digest of its own.

    The digest keeps whatever compares digests from taking a part for the whole. Raises InputError where *only* is empty
    or names a question that can't be asked.
    """
    unknown = sorted(only - {question.question_id for question in asked.questions})
    if unknown or not only:
        raise InputError(
            f"{asked.name} has no usable question {unknown[0]}"
            if unknown
            else f"no question of {asked.name} is wanted",
            hint="name questions of the file whose gold is in the corpus",
        )
    return replace(
        asked,
        name=f"{asked.name} [{len(only)} of {len(asked.questions)}]",
        digest=canonical.digest({"of": asked.digest, "only": sorted(only)}),
        questions=tuple(question for question in asked.questions if question.question_id in only),
        left_out=(),
    )


def settings(lock: Lock, options: Options, asked: questions.QuestionSet) -> dict[str, Any]:
    """Return what a run records of how it is made; runs are continued or taken for each other where it is equal.

    *asked* is the whole set, also where only a part of it is asked.
    """
    found = {
        "workers": options.workers,
        "gold_share": options.gold_share,
        "caches": "off",
        "seed": lock.config.seed,
    }
    if options.only is None:
        return found
    ids = canonical.digest(sorted(options.only))
    return found | {"subset": {"of": asked.digest, "questions": len(options.only), "ids_sha256": ids}}


def _subject(conn: Connection, lock: Lock, question_spec: str | QuestionSet, options: Options) -> _Subject:
    """Check what is there, before anything is answered.

    Raises StateError without a finished ingest, IntegrityError where its table was changed, InputError where the
    questions can't be used or are those of another corpus.
    """
    ingest = ingests.finished(conn, lock)
    verify.table(conn, lock, ingest)
    asked = question_spec
    if isinstance(asked, str):
        asked = questions.load_questions(asked, ingests.StoredDocuments(conn, ingest.ingest_id))
    left_out = len(asked.left_out)
    if not asked.questions:
        raise InputError(f"{asked.name} has no usable question ({left_out} left out)", hint=_reasons(asked))
    ground = _ground(conn, lock, ingest, asked, options.gold_share)
    found = [gold.in_corpus(question, ground.corpus) for question in asked.questions]
    documents = ingests.corpus_digest(conn, ingest.ingest_id)[1]
    if not found.count(1) and (left_out or found.count(0)):
        raise InputError(
            f"no gold of {asked.name} is in the corpus of {lock.name} ({documents} documents): "
            f"{found.count(0)} questions have theirs elsewhere, {left_out} are left out",
            hint=_reasons(asked),
        )
    recorded = settings(lock, options, asked)
    if options.only is not None:
        asked = part_of(asked, options.only)
        found = [gold.in_corpus(question, ground.corpus) for question in asked.questions]
    judged = found.count(0) + found.count(1)
    return _Subject(lock, ingest, asked, recorded, ground, judged, found.count(0), chunks.count(conn, lock), documents)


def _reasons(asked: questions.QuestionSet) -> str:
    first = f"; the first is left out because: {asked.left_out[0].reason}" if asked.left_out else ""
    return f"are these the questions of this corpus?{first}"


def _begin(conn: Connection, on: _Subject, now: datetime, options: Options) -> tuple[Run, bool]:
    """Return the run to work on, and whether it continues an interrupted one."""
    lock, ingest, asked = on.lock, on.ingest, on.asked
    run = Run(
        run_id=f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
        config_hash=lock.config_hash,
        lock_name=lock.name,
        chunk_version=lock.chunk_version,
        question_set=asked.name,
        questions_sha256=asked.digest,
        settings=on.settings,
        started_at=now,
        finished_at=None,
        report={},
        table_sha256=str(ingest.table_sha256),
        corpus_sha256=str(ingest.corpus_sha256),
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
    aliases = staging.aliases_of(pipeline.conn, tables.Tables(pipeline.lock), ids)
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
        pairs_cut=answered.pairs_cut,
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
    question_spec: str | QuestionSet,
    *,
    progress: Progress,
    now: Callable[[], datetime],
    options: Options,
) -> Evaluated:
    """Evaluate *lock* on the questions that *question_spec* names, or is.

    Raises StateError where the lock has no finished ingest or another command works on the same evaluation,
    IntegrityError where the chunk table was changed, InputError where the questions can't be used or none has its gold
    in the corpus, UsageError where the environment asks for caches.
    """
    _no_caches(options.environ)
    with connect() as conn:
        on = _subject(conn, lock, question_spec, options)
        run_, resumed = _begin(conn, on, now(), options)
        with postgres.try_lock(conn, f"evaluation {run_.run_id}", busy=f"another command works on run {run_.run_id}"):
            done = evaluations.case_ids(conn, run_.run_id)
            asked = on.asked.questions
            todo = [(n, question) for n, question in enumerate(asked) if question.question_id not in done]
            if todo:
                with answer.models(lock, cache_dir=options.cache_dir, environ=options.environ) as opened:
                    _work(_Job(connect, lock, run_, on.ground, len(asked)), opened, todo, progress)
            finished = _finish(conn, on, run_, now())
    return Evaluated(finished[0], finished[1], resumed)


def _questions(on: _Subject) -> dict[str, Any]:
    """Return what the report says of the questions: how many were asked, and which could not be."""
    asked = on.asked
    return {
        "name": asked.name,
        "sha256": asked.digest,
        "used": len(asked.questions),
        "with_gold": on.with_gold,
        "not_in_corpus": on.not_in_corpus,
        "gold_level": asked.gold_level,
        "unjudged": asked.unjudged,
        "absent_documents": list(asked.absent_documents),
        "left_out": [{"question_id": item.question_id, "reason": item.reason} for item in asked.left_out],
    }


def _notes(on: _Subject, aggregates: Mapping[str, Any]) -> list[str]:
    """Return what makes the figures say less than they seem to, one sentence each."""
    notes = []
    left_out, with_gold = len(on.asked.left_out), on.with_gold + len(on.asked.left_out)
    if 2 * (left_out + on.not_in_corpus) > with_gold:
        notes.append(
            f"of {with_gold} questions with gold {left_out} are left out and {on.not_in_corpus} have theirs outside "
            "the corpus: are these the questions of this corpus?"
        )
    least, wanted = aggregates["snapshot_size"]["least"], on.lock.config.retrieval.snapshot
    if least < min(wanted, on.chunks):
        advice = "; raise retrieval.ivfflat_probes" if on.lock.config.index.vector == "ivfflat" else ""
        notes.append(
            f"the smallest snapshot holds {least} of {wanted} chunks though the table holds {on.chunks}: "
            f"the legs found too few{advice}"
        )
    if aggregates["pairs_cut"]:
        notes.append(f"the reranker read {aggregates['pairs_cut']} texts without their end (reranker.max_tokens)")
    return notes


def _finish(conn: Connection, on: _Subject, run_: Run, at: datetime) -> tuple[Run, dict[str, Any]]:
    stored = evaluations.cases(conn, run_.run_id)
    if len(stored) != len(on.asked.questions):
        raise StateError(f"run {run_.run_id} has {len(stored)} cases for {len(on.asked.questions)} questions")
    results = [case for case, _ in stored]
    aggregates = cases.aggregates(results, [timings for _, timings in stored])
    report = {
        "questions": _questions(on),
        "corpus": {"source": on.ingest.corpus, "sha256": run_.corpus_sha256, "documents": on.documents},
        "notes": _notes(on, aggregates),
        "aggregates": aggregates,
        "cases_sha256": canonical.digest(results),
        "rows_sha256": evaluations.rows_digest(conn, run_.run_id),
        "reader": on.lock.config.reader.kind,
        "lexical": on.ingest.lexical,
    }
    report = evaluations.digested(run_, report)
    evaluations.finish(conn, run_.run_id, at=at, report=report)
    done = replace(run_, finished_at=at, report=report)
    return done, artifact(on.lock, done, stored)


def artifact(lock: Lock, run_: Run, stored: list[tuple[dict[str, Any], dict[str, float]]]) -> dict[str, Any]:
    """Return the evaluation as the JSON that auditors and jq read: who, what, aggregates, then every case."""
    return {
        "kind": "evaluation",
        "run_id": run_.run_id,
        "lock": {"name": lock.name, "CHUNK_VERSION": lock.chunk_version, "CONFIG_HASH": lock.config_hash},
        "embedder": lock.embedder.model_dump(mode="json"),
        "ingest_id": run_.ingest_id,
        "table_sha256": run_.table_sha256,
        "corpus_sha256": run_.corpus_sha256,
        "settings": run_.settings,
        "started_at": run_.started_at.isoformat(),
        "finished_at": None if run_.finished_at is None else run_.finished_at.isoformat(),
        **run_.report,
        "case_results": [{**case, "latency_ms": timings} for case, timings in stored],
    }
