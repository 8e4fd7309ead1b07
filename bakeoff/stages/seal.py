"""Seal what became of a plan: everything it rests on in one signed statement, chained to the seal before.

Callers may rely on: what is sealed was read in one snapshot of the database and is what its own digests say, or an
error names what is not; the row comes first, then the files, then the head, so that a crash in between is mended by the
next call (after the very first seal: by an export that is asked for a new head); the same evidence is sealed once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import IsolationLevel

from bakeoff import canonical, dsse, evidence, history, plural, sealed
from bakeoff.adapters import plans, rollouts, seal_head, seals
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.keys import Signer
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.records import Record
from bakeoff.adapters.rollouts import Rollout
from bakeoff.errors import IntegrityError, NotKnownError, StateError
from bakeoff.evidence import Subject
from bakeoff.rollout import OPEN
from bakeoff.stages import seal_check, seal_ingests, seal_live, seal_parts
from bakeoff.stages.seal_parts import Rows

_ROLLOUT = re.compile(r"r\d{8}-\d+")
_OF_THE_SEAL = ("number", "previous", "sealed_at", "environment")
"""Parts of a predicate that say something of the seal, not of what is sealed."""


@dataclass(frozen=True, slots=True)
class Made:
    """A seal, and whether this call appended it."""

    seal: seals.Stored
    new: bool
    before: tuple[seals.Stored, ...] = ()
    """Seals of the plan's earlier rollouts that this call appended, too, oldest first."""
    rows: bytes | None = None
    """The rows file of a seal that was appended."""
    left: tuple[str, ...] = ()
    """In words: earlier rollouts without a seal: what they rest on was changed, or their last instant is to come."""
    notes: tuple[str, ...] = ()
    """In words: what a reader has to know of the seal beside what it says."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What is to be sealed."""

    subjects: tuple[Subject, ...]
    predicate: dict[str, Any]
    rows: bytes
    notes: tuple[str, ...] = ()


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

    Of each rollout of it that has ended there is a seal then; the id of a rollout seals that one alone.

    *conn* is in autocommit mode; *connect* opens one more like it, which reads the cases meanwhile; *clock* is
    said where there is no rollout and no run to tell it. Raises StateError
    where there is no key or a rollout is on its way, NotKnownError where nothing was judged, IntegrityError where
    something was changed since it was recorded, or the chain in *folder* is not that of the database (see
    `seal_head.require`). Nothing is stored then.
    """
    opened = signer()
    seal_head.require(conn, folder, opened)
    conn.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with conn.transaction():
            seals.lock(conn)
            made = _meant(conn, opened, ref, _Given(connect, clock, now))
    finally:
        conn.isolation_level = None
    last = made.seal if made.new else _newest(conn)
    _mend(conn, last, folder, made.rows)
    seal_head.write(folder, last, opened)
    return made


def export(
    conn: Connection, signer: Callable[[], Signer], folder: Path, *, new_head: bool = False
) -> list[seals.Stored]:
    """Write every seal into *folder* again, then the head, and return them. Raises as `run` does.

    *new_head* signs a head where there is none, though there are seals.
    """
    found = seals.listing(conn)
    if not found and seal_head.read(folder) is None:
        return found
    opened = signer()
    seal_head.require(conn, folder, opened, new=new_head)
    for item in found:
        seals.write(folder, item, seals.rows_file(conn, item))
    seal_head.write(folder, found[-1], opened)
    return found


@dataclass(frozen=True, slots=True)
class _Given:
    """What every seal of a call is made with; as `run` has them."""

    connect: Connect
    clock: str | None
    now: datetime


def _meant(conn: Connection, signer: Signer, ref: str, given: _Given) -> Made:
    """Seal what *ref* means, in the caller's transaction."""
    if _ROLLOUT.fullmatch(ref):
        alone = rollouts.find(conn, ref)
        return _sealed(conn, signer, plans.find(conn, alone.plan_sha256), _ended(alone), given)
    stored = _plan(conn, ref)
    every = [item for item in reversed(rollouts.listing(conn)) if item.plan_sha256 == stored.plan_sha256]
    newest = rollouts.find(conn, stored.plan_sha256) if every else None
    left = [item for item in every if item.phase not in OPEN and item != newest and not _is_sealed(conn, item)]
    found = None if newest is None else _ended(newest, left)
    before, lost = list[seals.Stored](), list[str]()
    for item in left:
        try:
            before.append(_sealed(conn, signer, stored, item, given).seal)
        except IntegrityError as error:
            lost.append(f"{item.rollout_id} has no seal, and can't be sealed any more: {error}")
        except StateError as error:
            lost.append(f"{item.rollout_id} has no seal yet: {error}")
    made = _sealed(conn, signer, stored, found, given)
    return replace(made, before=tuple(before), left=tuple(lost))


def _is_sealed(conn: Connection, found: Rollout) -> bool:
    """Return whether there is a seal of a rollout as it stands."""
    last = seals.of_rollout(conn, found.rollout_id)
    return last is not None and _rollout_of(last)["version"] == found.version


def _sealed_whole(conn: Connection, found: Rollout) -> seals.Stored | None:
    """Return the seal of a rollout as it stands, where outcomes of it were pruned and none came since."""
    last = seals.of_rollout(conn, found.rollout_id)
    if last is None or (told := _rollout_of(last))["version"] != found.version:
        return None
    if seals.outcomes_left(conn, found.rollout_id) >= told["outcomes"]["rows"]["count"]:
        return None
    return None if seal_live.came_since(conn, found, last) else last


def _rollout_of(last: seals.Stored) -> dict[str, Any]:
    return dict(json.loads(last.envelope.payload)["predicate"]["rollout"])


def _plan(conn: Connection, ref: str) -> Stored:
    if ref != plans.NEWEST:
        return plans.find(conn, ref)
    judged = seals.judged_plan(conn)
    if judged is None:
        hint = "bakeoff kpi-check --plan latest --promote-check; or bakeoff run, which does everything"
        raise NotKnownError("no plan was judged yet: there is nothing to seal", hint=hint)
    return plans.find(conn, judged)


def _sealed(conn: Connection, signer: Signer, stored: Stored, found: Rollout | None, given: _Given) -> Made:
    """Collect, sign and append, in the caller's transaction; a seal of more than is left since pruning is kept."""
    if found is not None and (whole := _sealed_whole(conn, found)) is not None:
        return Made(whole, new=False)
    if found is not None and found.clock == "wall" and found.state.last_at > given.now + history.SKEW:
        at = found.state.last_at.isoformat()
        raise StateError(
            f"{found.rollout_id} last moved at {at}, which has not come yet: a clock was ahead",
            hint=f"bakeoff seal after that instant; bakeoff canary history {found.rollout_id} shows what moved when",
        )
    judged = seal_parts.judgement(conn, stored, found)
    collected = _collected(conn, stored, judged, found, given)
    before = seals.newest(conn)
    last = (
        seals.newest(conn, plan_sha256=stored.plan_sha256)
        if found is None
        else seals.of_rollout(conn, found.rollout_id)
    )
    if last is not None and _says(last, collected.predicate):
        return Made(last, new=False)
    number = 1 if before is None else before.number + 1
    previous = None if before is None else before.payload_sha256
    of_the_seal = {"number": number, "previous": previous, "sealed_at": given.now.isoformat()}
    predicate = collected.predicate | of_the_seal
    seal_check.require(collected.subjects, predicate)
    payload = evidence.statement(collected.subjects, predicate)
    made = seals.Stored(
        number=number,
        payload_sha256=canonical.sha256_hex(payload),
        previous=previous,
        keyid=signer.keyid,
        sealed_at=given.now,
        plan_sha256=stored.plan_sha256,
        rollout_id=None if found is None else found.rollout_id,
        outcome=collected.predicate["outcome"],
        verdict=collected.predicate["verdict"],
        envelope=dsse.sign(payload, signer.key),
    )
    seals.insert(conn, made, collected.rows)
    return Made(made, new=True, rows=collected.rows, notes=collected.notes)


def _ended(found: Rollout, left: Sequence[Rollout] = ()) -> Rollout:
    """Return *found*, a rollout that ended. Raises StateError while it is on its way."""
    if found.phase not in OPEN:
        return found
    others = "".join(f"; bakeoff seal --plan {item.rollout_id} seals the one before" for item in left[-1:])
    raise StateError(
        f"{found.rollout_id} is {found.phase}: what it comes to can't be sealed yet",
        hint=f"bakeoff canary watch, or bakeoff canary abort --reason TEXT; then bakeoff seal{others}",
    )


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


def _collected(conn: Connection, stored: Stored, judged: Record, found: Rollout | None, given: _Given) -> _Evidence:
    """Return everything that *judged*, and the rollout *found* after it, rest on.

    To read the cases is most of the server's work: it does that with one core, and the rest with another.
    """
    both = seal_parts.both(conn, stored)
    runs = {arm: seal_parts.run_of(conn, judged.body[arm]) for arm in both}
    rested = {**seal_parts.rests_on(conn, judged), "judgement": judged}
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(_cases, given.connect, runs)
        part, live, doubtful = (None, Rows(()), 0) if found is None else seal_parts.of_rollout(conn, found, stored)
        predicate: dict[str, Any] = {
            "clock": given.clock if given.clock and found is None else seal_parts.clock(conn, stored, found),
            "outcome": sealed.outcome(str(judged.verdict), None if found is None else found.phase),
            "verdict": judged.verdict,
            "locks": {arm: seal_parts.lock(conn, which) for arm, which in both.items()},
            "plan": _plan_part(stored),
            "ingests": seal_ingests.both(conn, both, runs, rested, found),
            "rollout": part,
            "accepted": seal_parts.accepted(stored),
            "environment": seal_parts.environment(conn, both),
        }
        read = reading.result()
    lines = {arm: rows for arm, (rows, _) in read.items()}
    predicate["evaluations"] = {arm: seal_parts.evaluation(of, lines[arm]) for arm, of in runs.items()}
    facts = {arm: seal_parts.facts(conn, which, read[arm][1]) for arm, which in both.items()}
    predicate["records"], texts = _records(conn, rested, found, lines["baseline"].places)
    predicate["forced"] = _forced(predicate["records"]["judgement"], part)
    rows = _rows_file(lines, {"facts": facts, "lines": texts}, live)
    return _Evidence(_subjects(predicate, rows), predicate, rows, _in_doubt(found, doubtful))


def _in_doubt(found: Rollout | None, units: int) -> tuple[str, ...]:
    if found is None or not units:
        return ()
    counted = plural.counted(units, "unit")
    said = f"{counted} of {found.rollout_id} {plural.verb(units, 'counts', 'count')} as new, though outcomes of "
    return (f"{said}{plural.verb(units, 'it', 'them')} may have been sealed before: their names were pruned",)


def _forced(judged: dict[str, Any], part: dict[str, Any] | None) -> list[dict[str, Any]]:
    return sealed.forced(judged, *([], []) if part is None else (part["events"], part["routing"]))


def _plan_part(stored: Stored) -> dict[str, Any]:
    made = stored.created_at.isoformat()
    return {"sha256": stored.plan_sha256, "created_at": made, "body": stored.plan.body()}


def _records(
    conn: Connection, rested: dict[str, Record | None], found: Rollout | None, places: Mapping[str, int]
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return the records as they are sealed, and the lines of text that some of them are without, by kind."""
    parts = {kind: seal_parts.record(item, places) for kind, item in rested.items() if item is not None}
    made: dict[str, Any] = {kind: parts[kind][0] if kind in parts else None for kind in rested}
    for name, kind in (("rechecks", "recheck"), ("rollback_checks", "rollback_check")):
        of_it = [] if found is None else seals.records_of_rollout(conn, kind, found.rollout_id)  # type: ignore[arg-type]  # both are kinds
        made[name] = [seal_parts.record(item, places)[0] for item in of_it]
    return made, {kind: lines for kind, (_, lines) in parts.items() if lines}


def _rows_file(lines: dict[str, Rows], more: dict[str, Any], live: Rows) -> bytes:
    """Return the file of the rows: one canonical JSON object and a newline, from the bytes that the roots are of."""
    parts = {arm: rows.joined() for arm, rows in lines.items()}
    parts |= {name: canonical.encode(evidence.as_decimals(value)) for name, value in more.items()}
    parts |= {"outcomes": live.joined()}
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


def _mend(conn: Connection, made: seals.Stored, folder: Path, rows: bytes | None) -> None:
    """Write *made* with its *rows*, and those before it whose files a crash left out, back to the first that is there.

    Rows that are None are read back.
    """
    item: seals.Stored | None = made
    while item is not None and not seals.is_written(folder, item):
        seals.write(folder, item, seals.rows_file(conn, item) if rows is None else rows)
        item, rows = seals.newest(conn, number=item.number - 1), None
