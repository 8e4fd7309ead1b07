"""The conditions that fail a build, one function each: a run, a table or a second ingest → findings.

Callers may rely on: every condition is a check of its own; a check without its data is no data, never a pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bakeoff import plural
from bakeoff.adapters import evaluations, parity_rows, tables
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.ingests import Ingest
from bakeoff.adapters.parity_rows import CaseRow
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import IntegrityError
from bakeoff.stages import answer
from bakeoff.stages.second_ingest import Again, Moved
from bakeoff.verdicts import Severity, Verdict

LEAST_SNAPSHOT = 20
_MOST_NAMED = 5
_ORACLE = "oracle_retrieval_hit_prefilter"


class Check(StrEnum):
    """What is checked, in the order in which it is shown."""

    EVAL_PATH = "eval-path"
    SNAPSHOT_SIZE = "snapshot-size"
    ORACLE_METRICS = "oracle-metrics"
    RUN_UNCHANGED = "run-unchanged"
    TOKEN_LIMIT = "token-limit"  # noqa: S105  # a check, no password
    LEXICAL_PREFIX = "lexical-prefix"
    TABLE_UNCHANGED = "table-unchanged"
    CHUNK_IDS = "chunk-ids"
    SECOND_INGEST = "second-ingest"
    SECOND_EMBEDDING = "second-embedding"
    CORPUS = "corpus"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; *examples* are the first of what is wrong, *next* is the command to run."""

    check: Check
    verdict: Verdict
    said: str
    examples: tuple[str, ...] = ()
    next: str = ""
    severity: Severity = Severity.BLOCK

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain values."""
        plain = {"check": self.check.value, "verdict": self.verdict.value, "severity": self.severity.value}
        return plain | {"said": self.said, "examples": list(self.examples), "next": self.next}


@dataclass(frozen=True, slots=True)
class Table:
    """The table at hand: its ingest, how many chunks it has, and its digest as it is now."""

    conn: Connection
    lock: Lock
    ingest: Ingest
    chunks: int
    digest: str


def _finding(check: Check, wrong: Sequence[str], *, good: str, bad: str, next_: str = "") -> Finding:
    """Return a pass, or a failure with the first of what is *wrong*."""
    if not wrong:
        return Finding(check, Verdict.PASS, good)
    return Finding(check, Verdict.FAIL, bad, tuple(wrong[:_MOST_NAMED]), next_)


# --- Checks of the run ----------------------------------------------------------------------------------------------


def of_run(table: Table, run_: Run | None) -> Iterator[Finding]:
    """Yield the checks of a run; without a finished one they are no data."""
    evaluate = f"bakeoff evaluate --lock {table.lock.config_hash} --questions FILE"
    needed = (Check.EVAL_PATH, Check.SNAPSHOT_SIZE, Check.ORACLE_METRICS, Check.RUN_UNCHANGED)
    if run_ is None or run_.finished_at is None:
        said = "there is no evaluation of this lock" if run_ is None else f"run {run_.run_id} was interrupted"
        yield from (Finding(check, Verdict.NO_DATA, said, next=evaluate) for check in needed)
        return
    cases = parity_rows.cases(table.conn, run_.run_id)
    if not cases:
        yield from (
            Finding(check, Verdict.NO_DATA, f"run {run_.run_id} has no case", next=evaluate) for check in needed
        )
        return
    yield _eval_path(cases)
    yield _snapshot_size(table, cases)
    yield _oracle(cases, evaluate)
    yield _run_unchanged(table, run_, evaluate)


def _eval_path(cases: Sequence[CaseRow]) -> Finding:
    wrong = [f"{case.question_id}: {case.eval_path}" for case in cases if case.eval_path != answer.EVAL_PATH]
    return _finding(
        Check.EVAL_PATH,
        wrong,
        good=f"{plural.counted(len(cases), 'case')} went through {answer.EVAL_PATH}",
        bad=f"{len(wrong)} of {plural.counted(len(cases), 'case')} did not go through {answer.EVAL_PATH}",
        next_="evaluate with this version of bakeoff, not with a stand-in",
    )


def _snapshot_size(table: Table, cases: Sequence[CaseRow]) -> Finding:
    limit = min(LEAST_SNAPSHOT, table.chunks)
    small = sorted((case for case in cases if case.retrieved < limit), key=lambda case: case.retrieved)
    least = min(case.retrieved for case in cases)
    why = f"at least {limit}" + ("" if limit == LEAST_SNAPSHOT else f", all that the table holds, not {LEAST_SNAPSHOT}")
    return _finding(
        Check.SNAPSHOT_SIZE,
        [f"{case.question_id}: {case.retrieved}" for case in small],
        good=f"the smallest snapshot holds {plural.counted(least, 'chunk')} ({why})",
        bad=f"{len(small)} of {plural.counted(len(cases), 'snapshot')} {plural.are(len(small))} too small, "
        f"the smallest holds {plural.counted(least, 'chunk')}; expected {why}",
        next_=f"the lock keeps {table.lock.config.retrieval.snapshot} (retrieval.snapshot); where that is enough, the "
        "legs found too few: bakeoff doctor",
    )


def _oracle(cases: Sequence[CaseRow], evaluate: str) -> Finding:
    absent = [f"{case.question_id}: there is no {_ORACLE}" for case in cases if not case.has_oracle]
    null = [
        f"{case.question_id}: null, though it has gold"
        for case in cases
        if case.has_oracle and case.has_gold and case.oracle is None
    ]
    wrong = absent + null
    measured = sum(case.oracle is not None for case in cases)
    if not wrong and not measured:
        wrong = [f"{cases[0].question_id}: null; no question has gold"]
    return _finding(
        Check.ORACLE_METRICS,
        wrong,
        good=f"{_ORACLE} is known for {plural.every(measured, 'question')} with gold",
        bad=f"{_ORACLE} is missing: known for {measured} of {plural.counted(len(cases), 'case')}, {len(absent)} "
        f"{plural.have(len(absent))} no such key",
        next_=f"{evaluate} with questions that have gold",
    )


def _run_unchanged(table: Table, run_: Run, evaluate: str) -> Finding:
    wrong = []
    if run_.table_sha256 != table.ingest.table_sha256:
        wrong.append(
            f"answered from a table with digest {run_.table_sha256[:16]}…, the lock's ingest has "
            f"{str(table.ingest.table_sha256)[:16]}…"
        )
    try:
        evaluations.scores(table.conn, run_)
    except IntegrityError as error:
        wrong.append(str(error))
    return _finding(
        Check.RUN_UNCHANGED,
        wrong,
        good=f"run {run_.run_id} is what was recorded, on this table",
        bad=f"run {run_.run_id} is not what can be relied on",
        next_=f"{evaluate} --fresh",
    )


# --- Checks of the table --------------------------------------------------------------------------------------------


def of_table(table: Table) -> Iterator[Finding]:
    """Yield the checks of the chunk table as it is now."""
    yield _token_limit(table)
    yield _lexical_prefix(table)
    recorded = str(table.ingest.table_sha256)
    restart = f"bakeoff shadow-ingest --restart --lock {table.lock.config_hash} CORPUS"
    yield _finding(
        Check.TABLE_UNCHANGED,
        [] if table.digest == recorded else [f"recorded {recorded[:16]}…, found {table.digest[:16]}…"],
        good=f"{table.lock.table_name} is what its ingest recorded ({plural.counted(table.chunks, 'chunk')})",
        bad=f"{table.lock.table_name} is not what its ingest recorded",
        next_=f"make it anew, unless it is active or in an open rollout: {restart}",
    )


def _token_limit(table: Table) -> Finding:
    limit = tables.token_limit(table.lock)
    reads = table.lock.embedder.max_tokens
    whose = f"what {table.lock.embedder.name} reads" if limit == reads else "the most that is allowed"
    longest = parity_rows.longest(table.conn, table.lock)
    if longest is None:
        return Finding(Check.TOKEN_LIMIT, Verdict.NO_DATA, f"{table.lock.table_name} is empty")
    long = parity_rows.too_long(table.conn, table.lock, limit, most=_MOST_NAMED)
    count = long[0].count if long else 0
    return _finding(
        Check.TOKEN_LIMIT,
        [f"{item.chunk_id[:12]} of {item.doc_id}: {item.tokens}" for item in long],
        good=f"the longest embedded text has {plural.counted(longest, 'token')}, at most {limit} ({whose})",
        bad=f"{plural.counted(count, 'embedded text')} {plural.have(count)} more than {limit} tokens ({whose}), "
        f"the longest {longest}",
        next_="lock a smaller chunking.size",
    )


def _lexical_prefix(table: Table) -> Finding:
    foreign = parity_rows.foreign(table.conn, table.lock, table.ingest.ingest_id)
    prefixed = sum(item.prefixed for item in foreign)
    policy = table.lock.config.prefix.policy
    wanted = f"their chunk's own span{' behind the prefix' if policy == 'B' else ''} (prefix policy {policy})"
    return _finding(
        Check.LEXICAL_PREFIX,
        [
            f"{item.chunk_id[:12]} of {item.doc_id}: {'begins with the prefix' if item.prefixed else 'other text'}"
            for item in foreign
        ],
        good=f"{plural.every(table.chunks, 'lexical text')} {plural.are(table.chunks)} {wanted}",
        bad=f"{len(foreign)} of {plural.counted(table.chunks, 'lexical text')} {plural.are(len(foreign))} not "
        f"{wanted}, {prefixed} of them {plural.verb(prefixed, 'carries', 'carry')} the prefix",
        next_=f"bakeoff shadow-ingest --restart --lock {table.lock.config_hash} CORPUS",
    )


# --- Checks of the second ingest ------------------------------------------------------------------------------------


def of_again(lock: Lock, ingest: Ingest, again: Again | None, *, with_corpus: bool) -> Iterator[Finding]:
    """Yield the checks of a second ingest; without one (another model is at hand) they are errors."""
    if again is None:
        said = f"the embedder at hand is not the one that {lock.config_hash} was locked with"
        next_ = "install the version of the model that the lock names (bakeoff locks show), or lock anew"
        needed = [Check.CHUNK_IDS, Check.SECOND_INGEST, Check.SECOND_EMBEDDING]
        needed += [Check.CORPUS] * with_corpus
        yield from (Finding(check, Verdict.ERROR, said, next=next_) for check in needed)
        return
    restart = f"bakeoff shadow-ingest --restart --lock {lock.config_hash} {ingest.corpus}"
    yield _finding(
        Check.CHUNK_IDS,
        again.ids,
        good=f"the ids and fingerprints of {plural.every(again.table_chunks, 'chunk')} recompute",
        bad=f"{len(again.ids)} of {plural.counted(again.table_chunks, 'chunk')} {plural.have(len(again.ids))} an "
        "id or a fingerprint that does not recompute",
        next_=restart,
    )
    yield _second(Check.SECOND_INGEST, again.documents, again.differences, restart, _sample(again))
    yield _second(
        Check.SECOND_EMBEDDING,
        again.embedded,
        again.vectors,
        restart,
        f"{plural.counted(again.embedded, 'vector')} made again",
    )
    if again.moved is not None:
        yield _corpus(lock, ingest, again.moved)


def _sample(again: Again) -> str:
    return f"{plural.counted(again.documents, 'document')} ingested again, {plural.counted(again.chunks, 'chunk')}"


def _second(check: Check, looked_at: int, differences: Sequence[str], restart: str, sample: str) -> Finding:
    if not looked_at and not differences:
        return Finding(check, Verdict.NO_DATA, "nothing of the sample could be compared", next=restart)
    return _finding(
        check,
        differences,
        good=f"{sample}: all as stored",
        bad=f"{sample}: {plural.counted(len(differences), 'difference')}",
        next_=restart,
    )


def _corpus(lock: Lock, ingest: Ingest, moved: Moved) -> Finding:
    wrong = [
        f"{doc_id}: {what}"
        for what, found in (("changed", moved.changed), ("gone", moved.gone), ("new", moved.new))
        for doc_id in found
    ]
    return _finding(
        Check.CORPUS,
        wrong,
        good=f"every document of {ingest.corpus} is as it was when it was ingested",
        bad=f"since {ingest.started_at:%Y-%m-%d} {plural.counted(len(moved.changed), 'document')} changed, "
        f"{len(moved.gone)} {plural.are(len(moved.gone))} gone, "
        f"{len(moved.new)} {plural.are(len(moved.new))} new",
        next_=f"lock and ingest the corpus as it is now; {lock.name} holds it as it was",
    )
