"""Parity: does a lock's table, and its run, hold what the lock says, and would a second ingest make it again?

Callers may rely on: every condition that fails a build is a check of its own, named in the result; a check without its
data is no data, never a pass; a table or a run that was changed since is found, not refused, so that all of it is seen;
nothing is written but one record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bakeoff.adapters import chunks, evaluations, ingests, records, tables
from bakeoff.adapters.datasets import Corpus
from bakeoff.adapters.embedders import Embedder
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import NotKnownError, StateError
from bakeoff.stages import parity_checks, repair, second_ingest
from bakeoff.stages.parity_checks import Finding, Table
from bakeoff.stages.read import Progress, Report, Work
from bakeoff.stages.second_ingest import Again
from bakeoff.verdicts import Verdict, overall


@dataclass(frozen=True, slots=True)
class Options:
    """How many documents to ingest again, and how many of their chunks to embed again; which run, None: the newest."""

    sample: int = 50
    vectors: int = 8
    run: str | None = None
    corpus: Corpus | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """All findings and the worst of their verdicts, with the digests of what was looked at."""

    lock: Lock
    run_id: str | None
    verdict: Verdict
    findings: tuple[Finding, ...]
    record_id: int
    body: dict[str, Any]


def run(
    conn: Connection, lock: Lock, embedder: Embedder, *, options: Options, progress: Progress, at: datetime
) -> Checked:
    """Check *lock*, its table and its run, and record what was found.

    Raises StateError where the lock has no finished ingest, its table is gone, or the run is of another lock;
    NotFoundError for an unknown run; InputError where the corpus can't be read.
    """
    ingest = ingests.finished(conn, lock)
    repair.require_tables(conn, lock)
    run_ = _run(conn, lock, options.run)
    digest = tables.table_digest(conn, tables.Tables(lock))
    table = Table(conn, lock, ingest, chunks.count(conn, lock), digest)
    work = Work(conn, lock, ingest, embedder, progress, Report())
    same_model = embedder.identity.fingerprint == lock.embedder.fingerprint
    again = None
    if same_model:
        again = second_ingest.run(work, sample=options.sample, vectors=options.vectors, corpus=options.corpus)
    found = (
        *parity_checks.of_run(table, run_),
        *parity_checks.of_table(table),
        *parity_checks.of_again(lock, ingest, again, with_corpus=options.corpus is not None),
    )
    verdict = overall((finding.severity, finding.verdict) for finding in found)
    body = _body(table, run_, again, options) | {
        "at": at.isoformat(),
        "verdict": verdict.value,
        "findings": [finding.to_json() for finding in found],
    }
    run_id = None if run_ is None else run_.run_id
    about = records.About(config_hash=lock.config_hash, run_id=run_id)
    made = records.add(conn, "parity", body, about=about, at=at, verdict=verdict)
    return Checked(lock, run_id, verdict, found, made.record_id, body)


def _body(table: Table, run_: Run | None, again: Again | None, options: Options) -> dict[str, Any]:
    lock = table.lock
    return {
        "kind": "parity",
        "lock": {"name": lock.name, "CHUNK_VERSION": lock.chunk_version, "CONFIG_HASH": lock.config_hash},
        "run_id": None if run_ is None else run_.run_id,
        "ingest_id": table.ingest.ingest_id,
        "table_sha256": table.digest,
        "corpus_sha256": table.ingest.corpus_sha256,
        "cases_sha256": None if run_ is None else run_.report.get("cases_sha256"),
        "corpus": None if options.corpus is None else options.corpus.spec,
        "sample": {
            "seed": lock.config.seed,
            "documents": 0 if again is None else again.documents,
            "chunks": 0 if again is None else again.chunks,
            "embedded": 0 if again is None else again.embedded,
            "table_chunks": table.chunks,
        },
    }


def _run(conn: Connection, lock: Lock, ref: str | None) -> Run | None:
    """Return the run that *ref* means, or the newest of *lock*; None where there is none."""
    if ref is None:
        try:
            return evaluations.latest(conn, lock)
        except NotKnownError:  # no finished run: the checks that need one say so
            return None
    found = evaluations.find(conn, ref)
    if found.config_hash != lock.config_hash:
        raise StateError(
            f"run {found.run_id} is of {found.lock_name} ({found.config_hash}), "
            f"not of {lock.name} ({lock.config_hash})",
            hint="bakeoff runs list shows which run is of which lock",
        )
    return found
