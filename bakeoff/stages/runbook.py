"""The runbook of a plan's rollout, filled in with what the database knows was done.

Callers may rely on: it changes nothing; what is ticked rests on a record, a run, an ingest or an event that is stored.
"""

from __future__ import annotations

from datetime import datetime

from bakeoff import gate_words, runbook
from bakeoff.adapters import evaluations, ingests, locks, records, rollouts, seals
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.records import About, Kind, Record
from bakeoff.adapters.rollouts import Recorded, Rollout
from bakeoff.plan import Arm
from bakeoff.runbook import Course, Made, Moved

_RESTS_ON: tuple[Kind, ...] = ("timings", "probes", "parity")
"""Kinds of records that a judgement names as what it rests on."""


def run(conn: Connection, stored: Stored, found: Rollout | None = None) -> str:
    """Return the runbook of *stored*, as Markdown, with its rollout *found*, or the newest one.

    Of one that was rehearsed and rolled out, that is the newest on the wall clock.
    """
    mine = [each for each in rollouts.listing(conn) if each.plan_sha256 == stored.plan_sha256]
    real = [each for each in mine if each.clock == "wall"]
    return runbook.of_plan(stored.plan, course(conn, stored, found or next(iter(real or mine), None)))


def course(conn: Connection, stored: Stored, found: Rollout | None) -> Course:
    """Return what was done for *stored*, and how its rollout *found* went."""
    made = _made(conn, stored, None if found is None else found.started_at)
    if found is None:
        return Course(made)
    log = [item for item in locks.events(conn) if item["reason"] == f"{found.rollout_id} completed"]
    for item in log:
        if item["event"] == "archived":
            made["archived"] = Made(item["at"], item["reason"])
    moves = [_moved(each) for each in rollouts.history(conn, found.rollout_id)]
    return Course(made, found.rollout_id, found.clock, moves)


def _moved(recorded: Recorded) -> Moved:
    body = recorded.body
    return Moved(
        at=recorded.at,
        event=recorded.event,
        step=body["state"]["step"],
        phase=body["state"]["phase"],
        by=body["event"].get("by", ""),
        said=body["said"],
    )


def _made(conn: Connection, stored: Stored, began: datetime | None) -> dict[str, Made]:
    """Return when each thing that comes before a rollout was done, by the names of the checklist.

    One that *began* rests on what was there then, not on what came after it.
    """
    fixed = stored.plan
    made = {"plan": Made(stored.created_at, fixed.short)}
    judged = seals.judgement(conn, stored.plan_sha256, until=began)
    for side, arm in (("baseline", fixed.baseline), ("candidate", fixed.candidate)):
        made |= _of_side(conn, stored, side, arm, judged)
    for each in locks.events(conn):
        ours = each["config_hash"] == fixed.baseline.config_hash and each["event"] == "activated"
        if ours and (began is None or each["at"] <= began):
            made["activate"] = Made(each["at"], each["reason"] or "by hand")
    found = {"judgement": judged} | {name: _rested_on(conn, stored, judged, name) for name in _RESTS_ON}
    for name, record in found.items():
        if record is not None and record.verdict in (None, "pass"):
            made[name] = Made(record.at, "; ".join((f"record {record.record_id}", *gate_words.accepted(record.body))))
    return made


def _rested_on(conn: Connection, stored: Stored, judged: Record | None, kind: Kind) -> Record | None:
    """Return the record of *kind* that a judgement rests on; where there is no judgement yet, the newest."""
    if judged is not None:
        rests = judged.body.get(kind)
        return None if rests is None else seals.record(conn, rests["record"])
    by_lock = About(config_hash=stored.plan.candidate.config_hash)
    return records.latest(conn, kind, About(plan_sha256=stored.plan_sha256) if kind == "timings" else by_lock)


def _of_side(conn: Connection, stored: Stored, side: str, arm: Arm, judged: Record | None) -> dict[str, Made]:
    fixed = stored.plan
    made = {}
    ingest = ingests.of_lock(conn, locks.find(conn, arm.config_hash))
    if ingest is not None and ingest.finished_at is not None:
        made[f"ingest {side}"] = Made(ingest.finished_at, f"table {str(ingest.table_sha256)[:12]}…")
    if judged is not None:  # a rollout's rechecks make newer ones
        run: Run | None = evaluations.find(conn, judged.body[side]["run_id"])
    else:
        ground = evaluations.Ground(fixed.questions.sha256, fixed.corpus_sha256, fixed.gold_share)
        run = evaluations.for_plan(conn, arm.config_hash, ground)
    if run is not None and run.finished_at is not None:
        made[f"evaluate {side}"] = Made(run.finished_at, f"run {run.run_id}")
    return made
