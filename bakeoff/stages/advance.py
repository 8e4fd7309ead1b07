"""Move a rollout: begin it, look, go on when it is due, and do what people ask for.

Callers may rely on: what follows is decided by `canary.step` alone and stored by compare-and-set; what moves traffic
is of the instant at which it is stored, however long the look before it took; while the kill switch is on no step
begins by itself; what is refused leaves everything as it was and says why; a look that could not be taken is remembered
as such, neither a pass nor a fail; whoever is overtaken reads again, the clock too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from bakeoff import canary, live, rollout
from bakeoff.adapters import evaluations, ingests, live_outcomes, locks, plans, policies, postgres, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.records import Record
from bakeoff.adapters.rollouts import Clock, Rollout
from bakeoff.errors import BakeoffError, ConflictError, StateError, UsageError
from bakeoff.rollout import OPEN, Action, Advance, Event, Look, Outcome, Phase, Promote, Reason, Start
from bakeoff.stages import recheck, verify
from bakeoff.strategy import Strategy
from bakeoff.verdicts import Verdict, worst

Now = Callable[[], datetime]
"""Says what time it is: asked again whenever it counts."""

_OVERTAKEN = 10
"""Times that a tick reads again before it gives up."""
_WORST_FIRST = (Action.ROLL_BACK, Action.ERROR, Action.HOLD, Action.GO)
_HINTS = {
    Reason.NOT_DUE: "wait, or promote all the same: --force --reason TEXT, which is recorded",
    Reason.NOT_LOOKED: "bakeoff canary tick looks as soon as a look is due; --force --reason TEXT goes on without",
    Reason.NOT_GREEN: "bakeoff canary status shows what the look found; --force --reason TEXT goes on all the same",
    Reason.TOO_FEW: "wait for more outcomes; --force --reason TEXT goes on all the same",
    Reason.NOT_APPROVED: "bakeoff canary approve --reason TEXT",
    Reason.NOT_NOW: "wait for the hour; --force --reason TEXT goes on all the same",
    Reason.SKIPS_STEPS: "promote step by step; --force --reason TEXT skips them, which is recorded",
    Reason.PAUSED: "bakeoff canary resume",
    Reason.ENDED: "bakeoff canary history {rollout} says how; bakeoff canary start --plan PLAN begins another one",
}
_STATUS = "bakeoff canary status"


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that a tick did."""

    version: int
    at: datetime
    event: str
    reason: Reason
    said: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """The rollout after a tick, what the tick did, what holds it up, and when the next look is due."""

    rollout: Rollout
    events: tuple[Happened, ...]
    held: str | None
    next_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether no traffic is on its way any more."""
        return self.rollout.state.phase not in OPEN


# --- The beginning --------------------------------------------------------------------------------------------------


def start(
    conn: Connection,
    stored: Stored,
    *,
    by: str,
    why: str = "",
    clock: Clock = "wall",
    force: bool = False,
    now: Now,
) -> Rollout:
    """Begin the rollout of a plan that was judged: *now* is asked when all is checked, which takes its time.

    Raises StateError where another rollout is on its way, where a lock was archived or the baseline is not in
    production, and where the plan was not judged with --promote-check, did not pass, or passed on other tables or runs
    than there are now, or where live traffic showed a breach before: what is not known, and what was seen to go wrong,
    needs *force* and *why*; IntegrityError where a table or a run was changed.
    """
    _check_free(conn)
    rollouts.check_locks(conn, stored)
    breached = _check_breach(conn, stored, force=force, why=why)
    tables = _ingests(conn, stored)
    judged, forced = _check_judged(conn, stored, force=force, why=why)
    past = [] if breached is None else [f"{breached} was rolled back by a breach"]
    past += [] if forced is None else [f"the judgement is {forced.value}"]
    said = f"forced, {' and '.join(past)}: {why}" if past else why
    event = Start(by=by, why=said, judgement=judged.record_id)
    with conn.transaction():
        locks.serialise(
            conn
        )  # a table that is made anew at the same time comes before this check, or finds the rollout
        if _ingests(conn, stored) != tables:
            raise StateError(
                f"a table of plan {stored.plan_sha256[:12]} was made anew while its rollout was about to begin",
                hint="bakeoff canary start again, once bakeoff shadow-ingest has ended",
            )
        return rollouts.start(conn, stored, event, clock=clock, at=now())


def _ingests(conn: Connection, stored: Stored) -> list[tuple[str, str] | None]:
    """Return id and stage of both locks' ingests as they are now, without checking their tables."""
    sides = (stored.plan.baseline, stored.plan.candidate)
    found = [ingests.of_lock(conn, locks.find(conn, side.config_hash)) for side in sides]
    return [None if item is None else (item.ingest_id, item.stage) for item in found]


def _check_free(conn: Connection) -> None:
    """Raise StateError while another rollout is on its way; the store asks again when it writes."""
    found = rollouts.current(conn)
    if found is not None:
        raise StateError(
            f"{found.rollout_id} is on its way: one rollout at a time",
            hint=f"{_STATUS}; then finish, abort or wait",
        )


def _check_breach(conn: Connection, stored: Stored, *, force: bool, why: str) -> str | None:
    """Return the rollout of the same two locks that live traffic ended with a breach, or None; a rehearsal shows none.

    A new plan of them, with another seed or traffic, makes them no better.
    """
    sides = (stored.plan.baseline.config_hash, stored.plan.candidate.config_hash)
    for found in rollouts.listing(conn):
        if (found.baseline, found.candidate) != sides or found.clock != "wall" or found.phase != Phase.ROLLED_BACK:
            continue
        last = rollouts.history(conn, found.rollout_id)[-1].body
        if last["reason"] != Reason.BREACH:
            continue
        if not (force and why):
            raise StateError(
                f"{found.rollout_id} of plan {found.plan_sha256[:12]} was rolled back by a breach: {last['said']}",
                hint="change the candidate, lock it, plan it; --force --reason TEXT starts these locks all the same",
            )
        return found.rollout_id
    return None


def _check_judged(conn: Connection, stored: Stored, *, force: bool, why: str) -> tuple[Record, Verdict | None]:
    """Return the judgement to begin on, and the verdict that was forced past, or None where it passed."""
    short = stored.plan_sha256[:12]
    again = f"bakeoff kpi-check --plan {short} --promote-check"
    found = recheck.judged(conn, stored)
    if not found.body["promote_check"]:
        raise StateError(f"the newest judgement of plan {short} did not ask for probes and parity", hint=again)
    verdict = Verdict(found.body["verdict"])
    if verdict in (Verdict.FAIL, Verdict.ERROR):
        raise StateError(f"plan {short} was judged: {verdict.value}", hint=f"bakeoff explain; then {again}")
    if verdict is not Verdict.PASS and not (force and why):
        raise StateError(
            f"plan {short} was judged: {verdict.value}",
            hint=f"{again} says what is missing; --force --reason TEXT starts all the same, which is recorded",
        )
    for side in ("baseline", "candidate"):
        judged = found.body[side]
        lock = locks.find(conn, judged["CONFIG_HASH"])
        ingest = ingests.finished(conn, lock)
        if ingest.table_sha256 != judged["table_sha256"]:
            raise StateError(f"the {side} {lock.name} was ingested anew since it was judged", hint=again)
        verify.table(conn, lock, ingest)
        evaluations.check(conn, evaluations.find(conn, judged["run_id"]))
    return found, None if verdict is Verdict.PASS else verdict


# --- The clock ------------------------------------------------------------------------------------------------------


def tick(
    connect: Connect, ref: str, *, now: datetime, anew: bool = True, options: recheck.Options | None = None
) -> Ticked:
    """Look, if a look is due at *now*, then go on as long as it is time: what a controller does at each turn.

    Raises ConflictError where others move the rollout again and again, DatabaseError where the database is lost.
    """
    given = (options or recheck.Options()) if anew else None
    with connect() as conn:
        return tick_on(conn, connect, ref, now=lambda: now, options=given)


def tick_on(conn: Connection, connect: Connect, ref: str, *, now: Now, options: recheck.Options | None) -> Ticked:
    """Do what `tick` does on a connection that is there; without *options* the offline KPIs are not measured anew.

    A look may take many minutes: it is of the instant at which it began, what moves traffic of a later one.
    """
    found = rollouts.find(conn, ref)
    stored = plans.find(conn, found.plan_sha256)
    strategy = stored.plan.rollout
    happened: list[Happened] = []
    held, looked, overtaken = None, False, 0
    while found.state.phase in OPEN:
        event: Event = Advance()
        at = now()
        if not looked and at >= max(canary.look_due_at(strategy, found.state), found.state.last_at):
            event = look(conn, connect, found, stored, now=at, options=options)
            looked = True
        outcome, at = _follows(strategy, found, event, at, now)
        if (held := _holds(conn, found, event, outcome)) is not None:
            break
        try:
            found = rollouts.move(conn, found, event, outcome, at=at)
        except ConflictError:
            if (overtaken := overtaken + 1) > _OVERTAKEN:
                raise
            found, looked = rollouts.find(conn, found.rollout_id), False
        else:
            happened.append(Happened(found.version, at, event.kind, outcome.reason, outcome.said))
    due = canary.look_due_at(strategy, found.state) if found.state.phase in OPEN else None
    return Ticked(found, tuple(happened), held, due)


def _follows(strategy: Strategy, found: Rollout, event: Event, began: datetime, now: Now) -> tuple[Outcome, datetime]:
    """Return what follows from *event*, and of which instant it is: of right now where a look takes traffic back."""
    outcome = canary.step(strategy, found.state, event, began)
    if not isinstance(event, Look) or outcome.state.phase in OPEN:
        return outcome, began
    at = max(began, now())
    return canary.step(strategy, found.state, event, at), at


def _holds(conn: Connection, found: Rollout, event: Event, outcome: Outcome) -> str | None:
    """Return in words why *outcome* is not to be stored, or None where it is."""
    said = killed(conn, found) if isinstance(event, Advance) else None
    return said if said is not None or outcome.accepted else outcome.said


def killed(conn: Connection, found: Rollout) -> str | None:
    """Return in words that the kill switch holds a rollout, and who threw it, or None; a rehearsal routes nobody."""
    word = policies.killed(conn) if found.clock == "wall" and found.state.phase is Phase.RUNNING else None
    return None if word is None else f"the kill switch is on, by {word.by}: {word.reason}"


def look(
    conn: Connection,
    connect: Connect,
    found: Rollout,
    stored: Stored,
    *,
    now: datetime,
    options: recheck.Options | None,
) -> Look:
    """Return what the live outcomes say, and the offline KPIs where it is time to measure them anew.

    Raises DatabaseError where the database is lost; whatever else fails is a look that could not be taken.
    """
    strategy, state = stored.plan.rollout, found.state
    try:
        with postgres.translated():
            prepared = live.prepare(strategy, stored.plan.traffic_per_hour)
            seen = live_outcomes.seen(conn, found.rollout_id, until=now, prepared=prepared, step=state.step)
            made = live.judge(prepared, seen, now=now, step=state.step, step_began_at=state.step_began_at)
            arms = [arm for one in seen for arm in (one.baseline, one.candidate)]
            made = replace(made, known=sum(arm.errors.n + arm.left_out for arm in arms), taken_at=now)
    except BakeoffError as error:
        if postgres.lost(error):
            raise
        said = f"the live outcomes could not be summed up: {error}"
        made = Look(Action.ERROR, Verdict.ERROR, 0, said, taken_at=now)
    if options is None or made.action is Action.ROLL_BACK or not canary.recheck_due(strategy, state, now):
        return made
    return _with(made, recheck.run(connect, found, stored, now=now, options=options))


def _with(made: Look, again: recheck.Rechecked) -> Look:
    """Return one look of both; the worse action is taken."""
    action = next(one for one in _WORST_FIRST if one in (made.action, again.action))
    said = [one.said for one in (made, again) if one.action is action]
    return replace(
        made,
        action=action,
        verdict=worst((made.verdict, again.verdict)),
        said="; ".join(said),
        findings=(*made.findings, *again.findings),
        rechecked=again.action is Action.GO,  # any other is taken again with the next look
    )


# --- What people ask for --------------------------------------------------------------------------------------------


def act(conn: Connection, ref: str, event: Event, *, now: datetime) -> Rollout:
    """Do what a person asks for: promote, approve, pause, resume, abort.

    Raises StateError where it is refused, with what would be needed; ConflictError where somebody was faster;
    UsageError where force lacks its reason.
    """
    if isinstance(event, Promote) and event.force and not event.why:
        raise UsageError("--force without a reason", hint="--reason TEXT; it is recorded")
    found = rollouts.find(conn, ref)
    strategy = plans.find(conn, found.plan_sha256).plan.rollout
    outcome = canary.step(strategy, found.state, event, now)
    if not outcome.accepted:
        hint = _HINTS.get(outcome.reason, _STATUS).format(rollout=found.rollout_id)
        raise StateError(f"{found.rollout_id}: {outcome.said}", hint=hint)
    if isinstance(event, Promote) and not event.force and (said := killed(conn, found)) is not None:
        raise StateError(
            f"{found.rollout_id}: {said}", hint="bakeoff route unkill --reason TEXT; or --force --reason TEXT"
        )
    return rollouts.move(conn, found, event, outcome, at=now)


def roll_back(conn: Connection, ref: str, *, by: str, why: str, now: datetime) -> tuple[Rollout, bool]:
    """Send all traffic back to the baseline; return the rollout and whether anything moved.

    Raises StateError where a later rollout built on this one's candidate.
    """
    found = rollouts.find(conn, ref)
    return rollouts.roll_back(conn, found.rollout_id, rollout.Rollback(by, why), at=now)


def now_of(conn: Connection, found: Rollout) -> datetime:
    """Return what time it is for a rollout: the database's clock, or where its simulated one stands."""
    return rollouts.server_time(conn) if found.clock == "wall" else found.state.last_at


def ended_well(found: Rollout) -> bool:
    """Return whether the candidate got through."""
    return found.state.phase is Phase.COMPLETED
