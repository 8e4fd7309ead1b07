"""Seal what became of a plan: everything it rests on in one signed statement, chained to the seal before.

Callers may rely on: what is sealed was read in one snapshot of the database and is what its own digests say, or an
error names what is not; the row comes first, then the files, then the head, so that a crash in between is mended by the
next call; the same evidence is sealed once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import IsolationLevel

from bakeoff import canonical, dsse, evidence, sealed
from bakeoff.adapters import files, plans, rollouts, seals
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.keys import Signer
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.records import Record
from bakeoff.adapters.rollouts import Rollout
from bakeoff.errors import NotFoundError, NotKnownError, StateError
from bakeoff.evidence import Subject
from bakeoff.rollout import OPEN
from bakeoff.stages import seal_parts
from bakeoff.stages.seal_parts import Rows

_OF_THE_SEAL = ("number", "previous", "sealed_at", "environment")
"""Parts of a predicate that say something of the seal, not of what is sealed."""


@dataclass(frozen=True, slots=True)
class Made:
    """A seal, and whether this call appended it."""

    seal: seals.Stored
    new: bool


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What is to be sealed."""

    subjects: tuple[Subject, ...]
    predicate: dict[str, Any]
    rows: bytes


def run(
    conn: Connection,
    signer: Callable[[], Signer],
    *,
    ref: str = plans.NEWEST,
    folder: Path,
    connect: Connect,
    clock: str | None = None,
    now: datetime,
) -> Made:
    """Seal the plan *ref* (`latest`: the one that was judged last), unless just this was sealed already.

    *conn* is in autocommit mode; *connect* opens one more like it, which reads the cases meanwhile; *clock* is
    said where there is no rollout and no run to tell it. Raises StateError
    where there is no key or a rollout is on its way, NotKnownError where nothing was judged, IntegrityError where
    something was changed since it was recorded, or *folder* has a longer chain than the database. Nothing is stored
    then.
    """
    opened = signer()
    seals.require_same_chain(conn, folder)
    conn.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with conn.transaction():
            seals.lock(conn)
            made = _sealed(conn, opened, _plan(conn, ref), connect, clock=clock, now=now)
    finally:
        conn.isolation_level = None
    last = made.seal if made.new else _newest(conn)
    _mend(conn, last, folder)
    _write_head(folder, last, opened)
    return made


def export(conn: Connection, signer: Callable[[], Signer], folder: Path) -> list[seals.Stored]:
    """Write every seal into *folder* again, then the head, and return them. Raises as `run` does."""
    seals.require_same_chain(conn, folder)
    found = seals.listing(conn)
    for item in found:
        seals.write(folder, item, seals.rows_file(conn, item))
    if found:
        _write_head(folder, found[-1], signer())
    return found


def _plan(conn: Connection, ref: str) -> Stored:
    if ref != plans.NEWEST:
        return plans.find(conn, ref)
    judged = seals.judged_plan(conn)
    if judged is None:
        hint = "bakeoff kpi-check --plan latest --promote-check; or bakeoff run, which does everything"
        raise NotKnownError("no plan was judged yet: there is nothing to seal", hint=hint)
    return plans.find(conn, judged)


def _sealed(
    conn: Connection, signer: Signer, stored: Stored, connect: Connect, *, clock: str | None, now: datetime
) -> Made:
    """Collect, sign and append, in the caller's transaction."""
    found = _rollout(conn, stored)
    judged = seal_parts.judgement(conn, stored, found)
    collected = _collected(conn, stored, judged, found, connect, clock)
    before, last = seals.newest(conn), seals.newest(conn, plan_sha256=stored.plan_sha256)
    if last is not None and _says(last, collected.predicate):
        return Made(last, new=False)
    number = 1 if before is None else before.number + 1
    previous = None if before is None else before.payload_sha256
    of_the_seal = {"number": number, "previous": previous, "sealed_at": now.isoformat()}
    payload = evidence.statement(collected.subjects, collected.predicate | of_the_seal)
    made = seals.Stored(
        number=number,
        payload_sha256=canonical.sha256_hex(payload),
        previous=previous,
        keyid=signer.keyid,
        sealed_at=now,
        plan_sha256=stored.plan_sha256,
        rollout_id=None if found is None else found.rollout_id,
        outcome=collected.predicate["outcome"],
        verdict=collected.predicate["verdict"],
        envelope=dsse.sign(payload, signer.key),
    )
    seals.insert(conn, made, collected.rows)
    return Made(made, new=True)


def _rollout(conn: Connection, stored: Stored) -> Rollout | None:
    """Return the plan's newest rollout, which ended, or None. Raises StateError while it is on its way."""
    try:
        found = rollouts.find(conn, stored.plan_sha256)
    except NotFoundError:
        return None
    if found.phase in OPEN:
        raise StateError(
            f"{found.rollout_id} is {found.phase}: what it comes to can't be sealed yet",
            hint="bakeoff canary watch, or bakeoff canary abort --reason TEXT; then bakeoff seal",
        )
    return found


def _says(last: seals.Stored, predicate: dict[str, Any]) -> bool:
    """Return whether *last* seals the very evidence of *predicate*."""
    before = json.loads(last.envelope.payload)["predicate"]
    wanted = evidence.as_decimals(predicate)
    return all(before.get(name) == value for name, value in wanted.items() if name not in _OF_THE_SEAL)


def _cases(connect: Connect, runs: dict[str, Run]) -> dict[str, tuple[Rows, dict[str, Any]]]:
    """Return the rows and facts of both runs, read by a connection of their own.

    It does not see the snapshot of the rest, but what it sees is what the runs, which are of that snapshot, say by
    their digests.
    """
    with connect() as conn:
        return {arm: seal_parts.case_rows(conn, found) for arm, found in runs.items()}


def _collected(
    conn: Connection, stored: Stored, judged: Record, found: Rollout | None, connect: Connect, clock: str | None
) -> _Evidence:
    """Return everything that *judged*, and the rollout *found* after it, rest on.

    To read the cases is most of the server's work: it does that with one core, and the rest with another.
    """
    both = seal_parts.both(conn, stored)
    runs = {arm: seal_parts.run_of(conn, judged.body[arm]) for arm in both}
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(_cases, connect, runs)
        part, live = (None, Rows(())) if found is None else seal_parts.of_rollout(conn, found, stored)
        predicate: dict[str, Any] = {
            "clock": clock if clock and found is None else seal_parts.clock(conn, stored, found),
            "outcome": sealed.outcome(str(judged.verdict), None if found is None else found.phase),
            "verdict": judged.verdict,
            "locks": {arm: seal_parts.lock(conn, which) for arm, which in both.items()},
            "plan": _plan_part(stored),
            "ingests": {arm: seal_parts.ingest(conn, which, judged.body[arm]) for arm, which in both.items()},
            "records": _records(conn, {**seal_parts.rests_on(conn, judged), "judgement": judged}, found),
            "rollout": part,
            "forced": sealed.forced(seal_parts.record(judged), part["events"] if part else []),
            "accepted": seal_parts.accepted(stored),
            "environment": seal_parts.environment(conn, both),
        }
        read = reading.result()
    lines = {arm: rows for arm, (rows, _) in read.items()}
    predicate["evaluations"] = {arm: seal_parts.evaluation(of, lines[arm]) for arm, of in runs.items()}
    facts = {arm: seal_parts.facts(conn, which, read[arm][1]) for arm, which in both.items()}
    rows = _rows_file(lines, facts, live)
    return _Evidence(_subjects(predicate, rows), predicate, rows)


def _plan_part(stored: Stored) -> dict[str, Any]:
    made = stored.created_at.isoformat()
    return {"sha256": stored.plan_sha256, "created_at": made, "body": stored.plan.body()}


def _records(conn: Connection, rested: dict[str, Record | None], found: Rollout | None) -> dict[str, Any]:
    made: dict[str, Any] = {kind: None if item is None else seal_parts.record(item) for kind, item in rested.items()}
    for name, kind in (("rechecks", "recheck"), ("rollback_checks", "rollback_check")):
        of_it = [] if found is None else seals.records_of_rollout(conn, kind, found.rollout_id)  # type: ignore[arg-type]  # both are kinds
        made[name] = [seal_parts.record(item) for item in of_it]
    return made


def _rows_file(lines: dict[str, Rows], facts: dict[str, Any], live: Rows) -> bytes:
    """Return the file of the rows: one canonical JSON object and a newline, from the bytes that the roots are of."""
    parts = {arm: rows.joined() for arm, rows in lines.items()}
    parts |= {"facts": canonical.encode(evidence.as_decimals(facts)), "outcomes": live.joined()}
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), parts[name]) for name in sorted(parts)) + b"}\n"


def _subjects(predicate: dict[str, Any], rows: bytes) -> tuple[Subject, ...]:
    """Return what is sealed by its digest.

    A name that ends in `.json` is a file, digested byte for byte; the others are digested as canonical JSON, since
    their files may be written again with a mark of the clock, or by another version.
    """
    groups = predicate["records"].values()
    found = [item for group in groups if group for item in (group if isinstance(group, list) else [group])]
    named = {
        seals.ROWS: canonical.sha256_hex(rows),
        f"plans/{predicate['plan']['sha256'][:12]}.plan": predicate["plan"]["sha256"],
        **{f"records/{item['record_id']}-{item['kind']}.record": item["sha256"] for item in found},
        **{f"locks/{item['body']['chunk_version']}.lock": item["sha256"] for item in predicate["locks"].values()},
        **{f"evaluations/{item['run_id']}.cases": item["cases_sha256"] for item in predicate["evaluations"].values()},
    }
    return tuple(Subject(name, sha256) for name, sha256 in named.items())


def _newest(conn: Connection) -> seals.Stored:
    found = seals.newest(conn)
    if found is None:
        raise StateError("the seal is gone from the database", hint="bakeoff seals list")
    return found


def _mend(conn: Connection, made: seals.Stored, folder: Path) -> None:
    """Write *made*, and those before it whose files a crash left out, back to the first that is there."""
    item: seals.Stored | None = made
    while item is not None and not seals.is_written(folder, item):
        seals.write(folder, item, seals.rows_file(conn, item))
        item = seals.newest(conn, number=item.number - 1)


def _write_head(folder: Path, last: seals.Stored, signer: Signer) -> None:
    """Name the newest seal, unless the head that is there does."""
    path, payload = folder / seals.HEAD, seals.head_of(last)
    before = seals.read_head(folder)
    if before is None or before.payload != payload:
        files.write(path, seals.file_of(dsse.sign(payload, signer.key)))
