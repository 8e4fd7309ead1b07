"""What a seal says, part by part, read from the database and checked on the way.

Callers may rely on: every part is what its own digest says, or IntegrityError names it; no part holds a client's id;
rows come in one order, so that equal evidence has equal roots.
"""

from __future__ import annotations

import platform
import sysconfig
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from bakeoff import __version__, canonical, evidence, merkle, routing, sealed
from bakeoff.adapters import evaluations, ingests, locks, postgres, records, rollouts, seals, tables
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.records import About, Record
from bakeoff.adapters.rollouts import Rollout
from bakeoff.cases import MEANS
from bakeoff.config import Lock
from bakeoff.errors import IntegrityError, NotKnownError
from bakeoff.sealed import ARMS, Live
from bakeoff.stages import verify

KINDS = ("timings", "probes", "parity")
"""Records that a judgement may rest on, by their names in it."""
PACKAGES = ("numpy", "onnxruntime", "psycopg", "scipy", "tokenizers")
"""What decides figures beside our own code."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Sealed rows: how many, their root, and each as canonical JSON."""

    lines: tuple[bytes, ...]

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


def ingest(conn: Connection, which: Lock, judged: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ingest of a lock; its chunk table is what it recorded, and what was judged. Raises IntegrityError."""
    found = ingests.finished(conn, which)
    if found.table_sha256 != judged["table_sha256"]:
        raise IntegrityError(
            f"{which.name} ({which.config_hash}) was ingested anew since it was judged: expected table "
            f"{judged['table_sha256'][:16]}…, found {str(found.table_sha256)[:16]}…",
            hint="evaluate and judge again: bakeoff kpi-check --promote-check",
        )
    verify.table(conn, which, found)
    names = ("ingest_id", "corpus", "corpus_sha256", "table_sha256", "lexical", "report")
    times = {name: _iso(getattr(found, name)) for name in ("started_at", "finished_at")}
    return {name: getattr(found, name) for name in names} | times


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
    rows = Rows(tuple(canonical.encode_each([_case(case) for case in read])))
    mean = sum(sizes) / len(sizes) if sizes else None
    return rows, {"snapshot_size": mean, "reader_errors": errors if sizes else None}


def _case(case: seals.Case) -> dict[str, Any]:
    told = case.figures
    row = {name: repr(value) if isinstance(value := told[name], float) else value for name in MEANS}
    texts = {"question_id": told["question_id"], "question": told["question"], "error": told["answer"]["error"]}
    made: dict[str, Any] = evidence.as_decimals({**texts, "case_sha256": case.sha256})
    return {**row, **made, "snapshot_size": case.snapshot_size}


def facts(conn: Connection, which: Lock, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a whole chunk table that gates judge, with *more* of the cases."""
    found = tables.facts(conn, which)
    names = ("max_embedding_token_count", "embedding_tokens_over_limit", "leaked_prefixes", "dedup_share")
    return {name: getattr(found, name) for name in names} | dict(more)


# --- What was found ---------------------------------------------------------------------------------------------------


def record(found: Record) -> dict[str, Any]:
    """Return a record as plain JSON."""
    return {**asdict(found), "at": _iso(found.at)}


def judgement(conn: Connection, stored: Stored, found: Rollout | None) -> Record:
    """Return the judgement that a rollout began on, or the newest one of a plan. Raises NotKnownError without one."""
    until = None if found is None else found.started_at
    made = seals.judgement(conn, stored.plan_sha256, until=until) or seals.judgement(conn, stored.plan_sha256)
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


def of_rollout(conn: Connection, found: Rollout, stored: Stored) -> tuple[dict[str, Any], Rows]:
    """Return the whole history of a rollout with what it did to both arms, and the live outcomes as rows."""
    rollouts.check_history(conn, found, stored.plan.rollout)
    events = [
        {"version": item.version, "at": _iso(item.at), "event": item.event, "body": item.body}
        for item in rollouts.history(conn, found.rollout_id)
    ]
    live, lines, units = _live(conn, found)
    rows = Rows(tuple(lines))
    names = ("rollout_id", "plan_sha256", "salt", "clock", "version")
    body = {name: getattr(found, name) for name in names} | {"state": found.state.body(), "events": events}
    by_step = [{**item, "units": len(units[item["step"], item["arm"]])} for item in sealed.by_step(live, events)]
    return body | {"outcomes": {"by_step": by_step, "rows": rows.body()}}, rows


def _live(conn: Connection, rollout: Rollout) -> tuple[list[Live], list[bytes], dict[tuple[int, str], set[str]]]:
    """Return the live outcomes, each as a sealed row, and the units of each step and arm.

    Who asked is sealed as a bucket of 10,000, not as a person; the units are counted alone.
    """
    live, found = list[Live](), list[list[Any]]()
    units: dict[tuple[int, str], set[str]] = defaultdict(set)
    buckets: dict[str, int] = {}
    for at, step, arm, unit, ok, latency, quality in seals.outcomes(conn, rollout.rollout_id):
        if unit is not None:
            units[step, ARMS[arm]].add(unit)
            if unit not in buckets:
                buckets[unit] = routing.bucket(rollout.salt, unit)
        bucket = None if unit is None else buckets[unit]
        iso = at.astimezone(UTC).isoformat()
        live.append(Live(iso, step, ARMS[arm], bucket, ok, latency, quality))
        found.append([iso, step, ARMS[arm], bucket, ok, _figure(latency), _figure(quality)])
    return live, canonical.encode_each(found), units


def _figure(value: float | None) -> str | None:
    return None if value is None else repr(value)


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
