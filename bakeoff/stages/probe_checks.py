"""The built-in checks of probes: what neither a query nor a jq program can say.

Callers may rely on: `measure` changes nothing but session settings, which the caller's transaction takes back; what
offends is named by its own id.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pgvector.psycopg import register_vector

from bakeoff import canonical, checks, chunking, probes
from bakeoff.adapters import chunks, evaluations, ingests, legs, queries, retriever, tables
from bakeoff.adapters.evaluations import Case, Run
from bakeoff.adapters.ingests import Ingest
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import InputError
from bakeoff.probe_findings import Measured, Result, Unmeasured
from bakeoff.verdicts import Verdict

_SAME_DISTANCE = 1e-6
"""Distances this close are equal but for rounding."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is probed: a lock with its ingest, perhaps a run with its cases, perhaps a baseline with its ingest."""

    conn: Connection
    lock: Lock
    ingest: Ingest
    run: Run | None
    stored: tuple[tuple[Case, dict[str, float]], ...]
    """The cases of the run, each with its timings."""
    baseline: Lock | None
    baseline_ingest: Ingest | None
    changed: str | None = None
    """What is wrong where the run is not what its evaluation recorded."""

    @property
    def cases(self) -> list[Case]:
        """The cases of the run, none where there is no run."""
        return [case for case, _ in self.stored]


def measure(subject: Subject, check: probes.Check) -> Result:
    """Return what *check* finds in *subject*, which has the run or the baseline that the check needs."""
    return _CHECKS[check.name](subject, check)


def _named(offenders: Iterable[str]) -> Measured:
    found = tuple(offenders)
    return Measured(len(found), found)


def _indexes_complete(on: Subject, check: probes.IndexesComplete) -> Result:
    del check
    return _named(chunks.missing(on.conn, on.lock, on.ingest.lexical))


def _planner(on: Subject, check: probes.PlannerUsesIndexes) -> Result:
    del check
    plan = retriever.plan_check(on.conn, on.lock, on.ingest.lexical)
    used = (plan.dense_index_used, plan.lexical_index_used)
    names = chunks.served_by(on.lock, on.ingest.lexical)
    return _named(name for name, ok in zip(names, used, strict=True) if not ok)


def _sample(on: Subject, *, sample: int, seed: int, words: int = 1) -> list[tuple[str, Any, str]]:
    """Return (id, vector, first words) of chunks chosen by *seed*, on a session set up as retrieval sets it."""
    retriever.prepare_session(on.conn, on.lock, on.ingest.lexical)
    register_vector(on.conn)
    statement = queries.get("probes.sample").format(table=tables.Tables(on.lock).names()["table"])
    found = on.conn.execute(statement, {"sample": sample, "seed": str(seed), "words": words}).fetchall()
    return [(chunk_id, vector.to_numpy(), first) for chunk_id, vector, first in found]


def _legs(on: Subject, question: str, vector: Any) -> legs.Legs:
    return legs.candidates(on.conn, on.lock, on.ingest.lexical, question, vector)


def _ann_recall(on: Subject, check: probes.AnnRecall) -> Result:
    """Measure recall of the exact neighbours among the candidates of the vector index, over sampled stored vectors."""
    wanted, reached, short = 0, 0, []
    limit = min(check.neighbours, on.lock.config.retrieval.dense_candidates)
    for chunk_id, vector, _ in _sample(on, sample=check.sample, seed=check.seed):
        exact = retriever.exact_neighbours(on.conn, on.lock, vector, limit=limit)
        there = _as_near(on, vector, exact, [piece.chunk_id for piece in _legs(on, "", vector).dense])
        wanted, reached = wanted + len(exact), reached + there
        if there < len(exact):
            short.append(f"{chunk_id}: {there} of its {len(exact)} nearest")
    if not wanted:
        return Unmeasured(Verdict.NO_DATA, "the table holds no chunk")
    return Measured(reached / wanted, tuple(short))


def _as_near(on: Subject, vector: Any, exact: Sequence[str], found: Sequence[str]) -> int:
    """Return how many of *found* are as near as the farthest of *exact*, at most all of them.

    By distance, not by name: of equal vectors an index may return others than a scan does, and is right.
    """
    statement = queries.get("probes.distances").format(table=tables.Tables(on.lock).names()["table"])
    values = {"vector": retriever.as_parameter(vector, on.lock), "ids": [*exact, *found]}
    far = dict(on.conn.execute(statement, values).fetchall())
    farthest = max((far[chunk_id] for chunk_id in exact), default=0.0) + _SAME_DISTANCE
    near = sum(1 for chunk_id in set(found) if far.get(chunk_id, math.inf) <= farthest)
    return min(len(exact), near)


def _lexical_recall(on: Subject, check: probes.LexicalRecall) -> Result:
    """Measure how many sampled chunks the lexical index finds by their own words; those without a word can't be."""
    asked = _sample(on, sample=check.sample, seed=check.seed, words=check.words)
    lost = [chunk_id for chunk_id, vector, words in asked if not _finds(on, chunk_id, words, vector, check.words)]
    if not asked:
        return Unmeasured(Verdict.NO_DATA, "the table holds no chunk")
    return Measured(1 - len(lost) / len(asked), tuple(lost))


def _finds(on: Subject, chunk_id: str, words: str, vector: Any, count: int) -> bool:
    """Say whether the lexical leg finds the chunk, or one that begins with the very same words: those tie."""
    found = [piece.chunk_id for piece in _legs(on, words, vector).lexical]
    if chunk_id in found:
        return True
    statement = queries.get("probes.openings").format(table=tables.Tables(on.lock).names()["table"])
    return (words,) in on.conn.execute(statement, {"ids": found, "words": count}).fetchall()


def _chunk_ids(on: Subject, check: probes.ChunkIds) -> Result:
    del check
    statement = queries.get("probes.chunk_keys").format(table=tables.Tables(on.lock).names()["table"])
    with on.conn.cursor(name="chunk_keys") as cursor:
        cursor.itersize = 10_000
        return _named(row[0] for row in cursor.execute(statement) if row[0] != _chunk_id(on.lock, *row[1:]))


def _chunk_id(lock: Lock, doc_id: str, start: int, end: int) -> str | None:
    versions = {"chunk_version": lock.chunk_version, "config_hash": lock.config_hash}
    try:
        return chunking.chunk_id(doc_id, start, end, **versions)
    except InputError:  # a document's name that can't be in an id: then this is not its id
        return None


def _changed(what: str, expected: object, found: object) -> tuple[str, ...]:
    """Return the offender's line where *found* is not what was *expected*."""
    return () if found == expected else (f"{what}: expected {str(expected)[:16]}, found {str(found)[:16]}",)


def _table_digest(on: Subject, check: probes.TableDigest) -> Result:
    del check
    found = tables.table_digest(on.conn, tables.Tables(on.lock))
    return _named(_changed(on.lock.table_name, on.ingest.table_sha256, found))


def _run_fingerprints(on: Subject, check: probes.RunFingerprints) -> Result:
    del check
    if on.run is None:
        return _NO_RUN
    made_anew = ingests.is_same(on.conn, on.lock, on.ingest.ingest_id, on.run.ingest_id)  # of the same content
    wanted = {
        "lock": (on.lock.config_hash, on.run.config_hash),
        "CHUNK_VERSION": (on.lock.chunk_version, on.run.chunk_version),
        "ingest": (on.ingest.ingest_id, on.ingest.ingest_id if made_anew else on.run.ingest_id),
        "table": (on.ingest.table_sha256, on.run.table_sha256),
        "corpus": (on.ingest.corpus_sha256, on.run.corpus_sha256),
        "corpus now": (on.ingest.corpus_sha256, ingests.corpus_digest(on.conn, on.ingest.ingest_id)[0]),
        "seed": (on.lock.config.seed, on.run.settings.get("seed")),
        "lexical index": (on.ingest.lexical, on.run.report.get("lexical")),
        "reader": (on.lock.config.reader.kind, on.run.report.get("reader")),
    }
    return _named(line for what, (expected, found) in wanted.items() for line in _changed(what, expected, found))


def _run_cases(on: Subject, check: probes.RunCases) -> Result:
    del check
    if on.run is None:
        return _NO_RUN
    number = _changed("cases", on.run.report["questions"]["used"], len(on.cases))
    if "rows_sha256" in on.run.report:  # the server's own digest, which also covers the timings
        different = evaluations.changed_rows(on.conn, on.run)
        return _named((*number, *(_changed("digest", *different) if different else ())))
    return _named((*number, *_changed("digest", on.run.report.get("cases_sha256"), canonical.digest(on.cases))))


def _filter_leaks(on: Subject, check: probes.FilterLeaks) -> Result:
    del check
    return _broken_cases(on, checks.filter_leak)


def _filter_returns(on: Subject, check: probes.FilterReturns) -> Result:
    del check
    return _broken_cases(on, checks.filter_shortfall)


def _broken_cases(on: Subject, rule: Callable[..., str | None]) -> Result:
    said = ((case["question_id"], rule(case, on.lock.config.retrieval.filter)) for case in on.cases)
    return _named(f"{question_id}: {why}" for question_id, why in said if why is not None)


def _leaked_questions(on: Subject, check: probes.LeakedQuestions) -> Result:
    asked = checks.Verbatim({case["question_id"]: case["question"] for case in on.cases}, words=check.words)
    documents = ingests.StoredDocuments(on.conn, on.ingest.ingest_id).items()
    return _named(
        f"{question_id} stands in {doc_id}"
        for doc_id, text in documents
        for question_id in sorted(asked.found_in(text))
    )


def _arms_differ(on: Subject, check: probes.ArmsDiffer) -> Result:
    del check
    lock, baseline = on.lock, on.baseline
    if baseline is None or on.baseline_ingest is None:
        return Unmeasured(
            Verdict.NO_DATA, "the baseline has no finished ingest", "bakeoff shadow-ingest --lock {baseline} CORPUS"
        )
    if lock.config_hash == baseline.config_hash:
        return _named([f"both are {lock.config_hash}"])
    corpus = _changed("corpus", on.baseline_ingest.corpus_sha256, on.ingest.corpus_sha256)
    return _named((*corpus, *_same_chunks(on, baseline), *_same_cases(on, baseline)))


def _same_chunks(on: Subject, baseline: Lock) -> Iterable[str]:
    """Say so where two configurations of chunking gave the same chunks."""
    ours, theirs = on.lock.config.chunking, baseline.config.chunking
    if ours != theirs:
        count, digest = _spans(on.conn, on.lock)
        if (count, digest) == _spans(on.conn, baseline):
            yield f"the chunking differs, but all {count} chunks are the same spans"


def _spans(conn: Connection, lock: Lock) -> tuple[int, str]:
    statement = queries.get("probes.spans_digest").format(table=tables.Tables(lock).names()["table"])
    row = conn.execute(statement).fetchone()
    return (0, "") if row is None else (row[0], row[1])


def _same_cases(on: Subject, baseline: Lock) -> Iterable[str]:
    """Say so where the same questions had the same contexts and answers from both locks.

    Where nothing but index and embedder differ, that is what such a change hopes for.
    """
    if on.run is None or _apart_from_vectors(on.lock) == _apart_from_vectors(baseline):
        return
    ground = evaluations.Ground(on.run.questions_sha256, on.run.corpus_sha256, on.run.settings["gold_share"])
    theirs = evaluations.for_plan(on.conn, baseline.config_hash, ground)
    if theirs is None:
        return
    other = {case["question_id"]: _outcome(case) for case, _ in evaluations.cases(on.conn, theirs.run_id)}
    if on.cases and all(_outcome(case) == other.get(case["question_id"]) for case in on.cases):
        yield f"all {len(on.cases)} questions had the same chunks and the same answer"


def _apart_from_vectors(lock: Lock) -> dict[str, Any]:
    return lock.config.model_dump(exclude={"index", "embedder"})


def _outcome(case: Case) -> tuple[list[str], Any]:
    return [hit["fp"] for hit in case["retrieved_context"]], case["answer"]["text"]


_NO_RUN = Unmeasured(Verdict.NO_DATA, "there is no run")
_CHECKS: dict[str, Callable[[Subject, Any], Result]] = {
    "indexes_complete": _indexes_complete,
    "planner_uses_indexes": _planner,
    "ann_recall": _ann_recall,
    "lexical_recall": _lexical_recall,
    "chunk_ids": _chunk_ids,
    "table_digest": _table_digest,
    "run_fingerprints": _run_fingerprints,
    "run_cases": _run_cases,
    "filter_leaks": _filter_leaks,
    "filter_returns": _filter_returns,
    "leaked_questions": _leaked_questions,
    "arms_differ": _arms_differ,
}
