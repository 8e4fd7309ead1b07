"""What a seal says, part by part, read from the database and checked on the way.

Callers may rely on: every part is what its own digest says, or IntegrityError names it; no part holds a client's id;
rows come in one order, so that equal evidence has equal roots.
"""

from __future__ import annotations

import platform
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from bakeoff import __version__, canonical, evidence, looks, merkle, sealed, tallies, withheld
from bakeoff.adapters import evaluations, locks, policies, postgres, records, rollouts, seals, tables
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.records import About, Record
from bakeoff.adapters.rollouts import Rollout
from bakeoff.cases import MEANS
from bakeoff.config import Lock
from bakeoff.errors import InputError, IntegrityError, NotKnownError
from bakeoff.sealed import ARMS, Sealed
from bakeoff.stages import seal_live

KINDS = ("timings", "probes", "parity")
"""Records that a judgement may rest on, by their names in it."""
PACKAGES = ("numpy", "onnxruntime", "psycopg", "scipy", "tokenizers")
"""What decides figures beside our own code."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Sealed rows: how many, their root, and each as canonical JSON."""

    lines: tuple[bytes, ...]
    places: Mapping[str, int] = field(default_factory=dict)
    """Of cases: the row of each question's id."""

    def body(self) -> dict[str, Any]:
        """Return what the statement says of them."""
        return {"count": len(self.lines), "root": merkle.root(self.lines).hex()}

    def joined(self) -> bytes:
        """Return them as one JSON array."""
        return b"[" + b",".join(self.lines) + b"]"


# --- The locks and what was made of them ------------------------------------------------------------------------------


def lock(conn: Connection, which: Lock) -> dict[str, Any]:
    """Return a lock as it was stored; that it is, was checked when it was found."""
    body, sha256 = seals.lock_body(conn, which.config_hash)
    return {"body": body, "sha256": sha256}


def run_of(conn: Connection, judged: Mapping[str, Any]) -> Run:
    """Return the run that was judged; `case_rows` checks it. Raises IntegrityError where it is of something else."""
    found = evaluations.find(conn, judged["run_id"])
    for name, has in (("table_sha256", found.table_sha256), ("cases_sha256", found.report.get("cases_sha256"))):
        if has != judged[name]:
            raise IntegrityError(
                f"run {found.run_id} is not what was judged: {name} expected {judged[name][:16]}…, "
                f"found {str(has)[:16]}…",
                hint="judge again: bakeoff kpi-check --promote-check",
            )
    return found


def evaluation(found: Run, rows: Rows) -> dict[str, Any]:
    """Return what is sealed of a run."""
    names = ("run_id", "question_set", "questions_sha256", "corpus_sha256", "table_sha256", "settings")
    times = {name: _iso(getattr(found, name)) for name in ("started_at", "finished_at")}
    report = dict(found.report)
    digests = {name: report.pop(name, None) for name in ("cases_sha256", "identity_sha256", "rows_sha256")}
    report["questions"] = withheld.questions(report["questions"])
    return (
        {name: getattr(found, name) for name in names} | times | digests | {"aggregates": report, "rows": rows.body()}
    )


def case_rows(conn: Connection, found: Run) -> tuple[Rows, dict[str, Any]]:
    """Return the sealed rows of a run's cases, and what they add to the facts that gates judge.

    Raises IntegrityError where run or cases were changed.
    """
    read = seals.cases(conn, found)
    sizes = [case.snapshot_size for case in read]
    errors = sum(case.figures["answer"]["error"] is not None for case in read)
    rows = Rows(tuple(canonical.encode_each([_case(case) for case in read])), _places(read))
    mean = sum(sizes) / len(sizes) if sizes else None
    return rows, {"snapshot_size": mean, "reader_errors": errors if sizes else None}


def _case(case: seals.Case) -> dict[str, Any]:
    told = case.figures
    row = {name: repr(value) if isinstance(value := told[name], float) else value for name in MEANS}
    texts = {name: told[name] for name in ("question_id", "question", "tags")}
    made: dict[str, Any] = evidence.as_decimals({**texts, "error": told["answer"]["error"], "case_sha256": case.sha256})
    sizes = {"snapshot_size": case.snapshot_size, "context_size": case.context_size}
    return {**row, **made, **sizes, **_more(told)}


def _more(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what aggregates need of a case beside its figures."""
    legs = {name: told["funnel"][name] for name in tallies.LEGS}
    answer = {"answerable": told["answerable"], "abstained": told["answer"]["abstained"]}
    return {**legs, **answer, "context_tokens": told["token_counts"]["context"], "pairs_cut": told["pairs_cut"]}


def _places(read: Sequence[seals.Case]) -> dict[str, int]:
    return {case.figures["question_id"]: number for number, case in enumerate(read)}


def facts(conn: Connection, which: Lock, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a whole chunk table that gates judge, with *more* of the cases."""
    found = tables.facts(conn, which)
    names = ("max_embedding_token_count", "embedding_tokens_over_limit", "leaked_prefixes", "dedup_share")
    return {name: getattr(found, name) for name in names} | dict(more)


# --- What was found ---------------------------------------------------------------------------------------------------


def record(found: Record, places: Mapping[str, int]) -> tuple[dict[str, Any], list[str]]:
    """Return a record as plain JSON, with rows of the baseline for questions, and the lines that it is without.

    *places* has the row of each question's id. Raises IntegrityError where the record is of other questions.
    """
    try:
        body, lines = withheld.without(found.kind, found.body, places)
    except InputError as error:
        raise IntegrityError(
            f"record {found.record_id} ({found.kind}): {error}",
            hint="judge again: bakeoff kpi-check --promote-check",
        ) from error
    told = {item.name: getattr(found, item.name) for item in fields(found)}
    return {**told, "at": _iso(found.at), "body": body}, lines


def judgement(conn: Connection, stored: Stored, found: Rollout | None) -> Record:
    """Return the judgement that a rollout began on, or the newest one of a plan. Raises NotKnownError without one."""
    made = seals.judgement(conn, stored.plan_sha256) if found is None else seals.began_on(conn, found)
    if made is None:
        short = stored.plan_sha256[:12]
        raise NotKnownError(f"plan {short} was not judged", hint=f"bakeoff kpi-check --plan {short} --promote-check")
    return made


def rests_on(conn: Connection, judged: Record) -> dict[str, Record | None]:
    """Return the records that a judgement names, each the one that it saw. Raises IntegrityError."""
    made: dict[str, Record | None] = {}
    for kind in KINDS:
        named = judged.body.get(kind)
        made[kind] = None if named is None else seals.record(conn, named["record"])
        if named is not None and (found := made[kind]) is not None and found.sha256 != named["sha256"]:
            raise IntegrityError(
                f"record {found.record_id} ({kind}) is not the one that judgement {judged.record_id} rests on: "
                f"expected {named['sha256'][:16]}…, found {found.sha256[:16]}…",
                hint="judge again: bakeoff kpi-check --promote-check",
            )
    return made


def clock(conn: Connection, stored: Stored, found: Rollout | None) -> str:
    """Return which clock the bakeoff went by: its rollout's, or that of the run that made the plan."""
    if found is not None:
        return found.clock
    last = records.latest(conn, "run", About(plan_sha256=stored.plan_sha256))
    return "wall" if last is None else str(last.body["clock"])


# --- The rollout ------------------------------------------------------------------------------------------------------


def of_rollout(conn: Connection, found: Rollout, stored: Stored) -> tuple[dict[str, Any], Rows, int]:
    """Return the whole history of a rollout with what it did to both arms, the live outcomes as rows, units in doubt.

    How many are, `seal_live.collected` says, and which those are.

    Raises IntegrityError where the history is not what its own replay makes, or outcomes are gone that a look knew.
    """
    rollouts.check_history(conn, found, stored.plan.rollout)
    since = [_iso(moment.since) for moment in policies.moments(conn, found.rollout_id)]
    events: list[dict[str, Any]] = [
        {"version": item.version, "at": _iso(item.at), "since": began, "event": item.event, "body": item.body}
        for item, began in zip(rollouts.history(conn, found.rollout_id), since, strict=True)
    ]
    outcomes = seal_live.collected(conn, found)
    live = outcomes.live()
    rows = Rows(tuple(outcomes.lines()))
    names = ("rollout_id", "plan_sha256", "salt", "clock", "version")
    body = {name: getattr(found, name) for name in names} | {"state": found.state.body(), "events": events}
    body |= {"routing": outcomes.routing(found.salt), "outcomes": {"by_step": sealed.by_step(live, events)}}
    body["outcomes"]["rows"] = rows.body()
    missing = next(looks.counted(Sealed({"rollout": body}), live), None)
    if missing is not None:
        raise IntegrityError(
            f"of {found.rollout_id} {len(live)} outcomes are left, others than its looks counted: {missing}",
            hint="outcomes were deleted or pruned (--unsealed) before they were sealed: restore them from a backup",
        )
    return body, rows, outcomes.doubtful


# --- People and machines ----------------------------------------------------------------------------------------------


def accepted(stored: Stored) -> dict[str, Any]:
    """Return what was accepted when the plan was made: gates that see too little, scores that were known."""
    return {"blind": list(stored.plan.accepted_blind), "known_scores": list(stored.plan.known_scores)}


def environment(conn: Connection, both: Mapping[str, Lock]) -> dict[str, Any]:
    """Return the versions of what sealed, and of the models that both locks name."""
    server = postgres.capabilities(conn)
    return {
        "bakeoff": __version__,
        "python": platform.python_version(),
        "platform": sysconfig.get_platform(),
        "postgres": server.server_version,
        "pgvector": server.vector_installed,
        "textsearch": server.textsearch_installed,
        "packages": {name: _version(name) for name in PACKAGES},
        "models": {arm: which.embedder.model_dump(mode="json") for arm, which in both.items()},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()


def both(conn: Connection, stored: Stored) -> dict[str, Lock]:
    """Return the plan's locks by arm."""
    return {arm: locks.find(conn, getattr(stored.plan, arm).config_hash) for arm in ARMS}
