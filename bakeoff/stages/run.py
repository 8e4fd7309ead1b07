"""Everything in order, from two configurations to the candidate in production.

Callers may rely on: a run that was stopped anywhere is continued by the same call; a stage whose inputs are unchanged
is skipped, and says why; nothing moves traffic after a fail, nor after what is not known unless it is forced with a
reason; a rollout that ended is not begun again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from bakeoff import canary
from bakeoff.adapters import embedders, postgres, records, rollouts
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.records import About
from bakeoff.adapters.rollouts import Rollout
from bakeoff.errors import StateError, UsageError
from bakeoff.rollout import OPEN, Phase, Reason
from bakeoff.stages import advance, run_order, run_steps, runbook, watch
from bakeoff.stages.run_order import Order
from bakeoff.stages.run_steps import Done, Going
from bakeoff.verdicts import Verdict

_UNKNOWN = frozenset({Verdict.INCONCLUSIVE, Verdict.NO_DATA})
REHEARSED = "rehearsed: completed on the simulated clock; nothing in production changed"
_ALWAYS = frozenset({"runbook", "seal"})
"""Stages that a run where nothing is left to do ends with, too."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage that ended."""

    number: int
    of: int
    name: str
    done: Done
    seconds: float


@dataclass(frozen=True, slots=True)
class Written:
    """A page that a stage wrote, and the name of its file."""

    name: str
    text: str


class Teller(Protocol):
    """Who is told how it goes."""

    def begin(self, number: int, of: int, name: str) -> None:
        """Stage *number* of *of* begins."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """So much of *what* is done within the stage."""

    def line(self, text: str) -> None:
        """Something happened within the stage."""

    def end(self, stage: Stage) -> None:
        """A stage ended."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run came to: its stages, the verdict that its exit code follows, and what to do next."""

    stages: tuple[Stage, ...]
    verdict: Verdict
    said: str
    next: str
    plan_sha256: str | None
    rollout_id: str | None
    clock: str

    @property
    def changed(self) -> bool:
        """Whether anything was left to do."""
        return not all(stage.done.reused for stage in self.stages if stage.name not in _ALWAYS)

    def body(self) -> dict[str, Any]:
        """Return it as plain JSON, without what the stages made."""
        stages = [
            {
                "stage": item.name,
                "verdict": None if item.done.verdict is None else item.done.verdict.value,
                "seconds": round(item.seconds, 3),
                "reused": item.done.reused,
                "said": item.done.said,
            }
            for item in self.stages
        ]
        names = ("said", "next", "plan_sha256", "rollout_id", "clock")
        return {"verdict": self.verdict.value, **{name: getattr(self, name) for name in names}, "stages": stages}


def before() -> list[tuple[str, Callable[[Going], Done]]]:
    """Return the stages before the rollout by their names, in order."""

    def both(name: str, work: Callable[..., Done]) -> list[tuple[str, Callable[[Going], Done]]]:
        return [(f"{name} {side}", partial(work, side=side)) for side in ("baseline", "candidate")]

    return [
        *both("lock", run_steps.lock),
        *both("ingest", run_steps.ingest),
        ("activate", run_steps.activate),
        ("plan", run_steps.plan),
        *both("evaluate", run_steps.evaluate),
        ("timings", run_steps.timings),
        ("probes", run_steps.probes),
        ("parity", run_steps.parity),
        ("kpi-check", run_steps.kpi_check),
    ]


def _after(teller: Teller, around: watch.Around) -> list[tuple[str, Callable[[Going], Done]]]:
    return [
        ("canary start", _start),
        ("watch", partial(_watch, teller=teller, around=around)),
        ("runbook", _runbook),
    ]


def run(
    connect: Connect,
    order: Order,
    *,
    now: Callable[[], datetime],
    teller: Teller,
    around: watch.Around,
    seal: Callable[[Going], Done],
) -> Finished:
    """Do what is left to do of *order*; *around* is what its controller does beside moving traffic.

    *seal* comes last, whatever the run came to: it signs what happened, and changes no verdict.
    Raises UsageError where it is forced without a reason, StateError where another run is under way here or another
    lock is in production, and whatever a stage raises: what is done by then stays done.
    """
    if order.force and not order.why:
        raise UsageError("--force needs a reason, which is kept", hint="--reason TEXT")
    going = Going(connect, order, now, teller.progress)
    first, last = before(), _after(teller, around)
    total, stages = len(first) + len(last) + 1, list[Stage]()
    with embedders.shared():
        _hold(going, teller, [(n, total, *item) for n, item in enumerate(first, start=1)], stages)
        stop = _stop(going)
        for number, (name, work) in enumerate(last if stop is None else [], start=len(first) + 1):
            stages.append(_told(going, teller, (number, total, name), work))
        stages.append(_told(going, teller, (total, total, "seal"), seal))
    found = _finished(going, stages, stop)
    if found.changed:
        _keep(going, found)
    return found


def _hold(
    going: Going, teller: Teller, todo: Sequence[tuple[int, int, str, Callable[[Going], Done]]], stages: list[Stage]
) -> None:
    """Work through *todo* while no other run may; *stages* grows."""
    busy = "another bakeoff run is under way here"
    with going.connect() as keeper, postgres.try_lock(keeper, "run", busy=busy):
        _require_clock(keeper, going.order.given.clock)
        run_order.remember(keeper, going.order, at=going.now())
        for number, of, name, work in todo:
            stages.append(_told(going, teller, (number, of, name), work))


def _require_clock(conn: Connection, clock: str) -> None:
    """Raise StateError where the rollout that is on its way goes by another clock than the one asked for."""
    found = rollouts.current(conn)
    if found is None or found.clock == clock:
        return
    if found.clock == "wall":
        raise StateError(
            f"{found.rollout_id} is on its way with real traffic, and --clock simulated was asked for",
            hint="the command with --clock wall watches it; rehearse once it has ended: bakeoff canary status",
        )
    raise StateError(
        f"{found.rollout_id} is on its way by the simulated clock, and --clock wall was asked for",
        hint=f"bakeoff canary abort {found.rollout_id} --reason TEXT, or the command with --clock simulated",
    )


def _told(going: Going, teller: Teller, which: tuple[int, int, str], work: Callable[[Going], Done]) -> Stage:
    teller.begin(*which)
    began = time.perf_counter()
    done = work(going)
    stage = Stage(*which, done, time.perf_counter() - began)
    teller.end(stage)
    return stage


def _keep(going: Going, found: Finished) -> None:
    about = About(found.plan_sha256, going.sides["candidate"].config_hash)
    with going.connect() as conn:
        body = run_order.finished(going.order, found.body())
        records.add(conn, "run", body, about=about, at=going.now(), verdict=found.verdict)


def _verdict(going: Going) -> Verdict:
    if going.judgement is None:
        return Verdict.NO_DATA
    return Verdict(going.judgement.body["verdict"])


def _stop(going: Going) -> tuple[Verdict, str, str] | None:
    """Return verdict, words and what to do next where no traffic may move after the judgement, or None."""
    verdict = _verdict(going)
    if verdict is Verdict.PASS or going.rollout is not None or (verdict in _UNKNOWN and going.order.force):
        return None
    short = going.plan.plan.short
    if verdict in _UNKNOWN:
        hint = "bakeoff run --resume --force --reason TEXT, or more questions: runbooks/gate-inconclusive.md"
        return verdict, "not known whether the candidate is good enough: no traffic moved", hint
    if verdict is Verdict.ERROR:
        return verdict, "a measurement is broken: no traffic moved", f"bakeoff kpi-check --plan {short} --promote-check"
    return verdict, "the candidate is not good enough: no traffic moved", _after_fail(going)


def _after_fail(going: Going) -> str:
    """Return the command that shows what failed."""
    base, cand = going.sides["baseline"].config_hash, going.sides["candidate"].config_hash
    findings = [] if going.judgement is None else going.judgement.body["findings"]
    failed = {item["gate"] for item in findings if item["verdict"] == "fail" and item["severity"] == "block"}
    if failed == {"parity"}:
        return f"bakeoff parity --lock {cand}"
    return f"bakeoff probes --lock {cand} --baseline {base}" if "probes" in failed else f"bakeoff explain {base} {cand}"


def _start(going: Going) -> Done:
    """Begin the rollout, unless it began before."""
    found, order = going.rollout, going.order
    if found is not None:
        return Done(f"{found.rollout_id} began at {found.started_at:%Y-%m-%d %H:%M} UTC", reused=True)
    why = order.why or "bakeoff run"
    with going.connect() as conn:
        now = partial(rollouts.server_time, conn) if order.given.clock == "wall" else going.now
        going.rollout = advance.start(
            conn, going.plan, by=order.by, why=why, clock=order.given.clock, force=order.force, now=now
        )
        stopped = advance.killed(conn, going.rollout)
    first = going.plan.plan.rollout.steps[0]
    said = f"{going.rollout.rollout_id}, {first.percent:g} % to the candidate" + (f"; but {stopped}" if stopped else "")
    return Done(said, product=going.rollout)


def _of_phase(phase: str) -> Verdict:
    if phase == Phase.COMPLETED:
        return Verdict.PASS
    return Verdict.INCONCLUSIVE if phase in OPEN else Verdict.FAIL


def _watch(going: Going, *, teller: Teller, around: watch.Around) -> Done:
    """Look on until the rollout ends, on the clock that it runs by."""
    found = going.rollout
    if found is None:
        raise UsageError("there is no rollout to watch")
    if found.phase not in OPEN:
        said = f"{found.rollout_id} {found.phase.replace('_', ' ')} at {found.updated_at:%Y-%m-%d %H:%M} UTC"
        return Done(said, reused=True, verdict=_of_phase(found.phase))
    drive = watch.simulated if found.clock == "simulated" else watch.run
    after = drive(going.connect, found.rollout_id, tell=teller.line, around=around).rollout
    going.rollout = after
    hours = (after.updated_at - after.started_at).total_seconds() / 3600
    said = f"{after.rollout_id} {after.phase.replace('_', ' ')} after {hours:.1f} hours"
    return Done(said + (", simulated" if after.clock == "simulated" else ""), verdict=_of_phase(after.phase))


def _runbook(going: Going) -> Done:
    """Fill in the checklist with what happened."""
    with going.connect() as conn:
        text = runbook.run(conn, going.plan, going.rollout)
    name = going.plan.plan.short if going.rollout is None else going.rollout.rollout_id
    return Done("the checklist, filled in from the history", product=Written(name, text))


def _of_completed(going: Going, found: Rollout) -> tuple[str, str]:
    """Return in words what a rollout that completed came to, and what to do next."""
    if found.clock == "simulated":
        return REHEARSED, "the same command with --clock wall"
    back = "bakeoff status; back at any time: bakeoff canary rollback --reason TEXT"
    return f"{going.sides['candidate'].name} is in production", back


def _of_waiting(going: Going, found: Rollout) -> str:
    """Return the command that a rollout waits for."""
    if found.phase == Phase.PAUSED:
        return "bakeoff canary resume, then bakeoff run --resume"
    held = canary.hold(going.plan.plan.rollout, found.state, found.state.last_at)
    if held is not None and held[0] is Reason.NOT_APPROVED:
        return "bakeoff canary approve --reason TEXT, then bakeoff run --resume"
    return "bakeoff status"


def _finished(going: Going, stages: Sequence[Stage], stop: tuple[Verdict, str, str] | None) -> Finished:
    rollout = going.rollout
    if stop is not None:
        verdict, said, following = stop
    elif rollout is not None and rollout.phase == Phase.COMPLETED:
        verdict, (said, following) = Verdict.PASS, _of_completed(going, rollout)
    elif rollout is not None and rollout.phase in OPEN:
        verdict, said = Verdict.INCONCLUSIVE, f"{rollout.rollout_id} waits for a person"
        following = _of_waiting(going, rollout)
    else:
        phase = "not begun" if rollout is None else rollout.phase.replace("_", " ")
        verdict = Verdict.FAIL if rollout is None else _of_phase(rollout.phase)
        what = "the rehearsal" if rollout is not None and rollout.clock == "simulated" else "the rollout"
        said = f"{what} is {phase}: the baseline answers everything"
        following = "bakeoff status" if rollout is None else f"bakeoff canary history {rollout.rollout_id}"
    rollout_id = None if rollout is None else rollout.rollout_id
    clock = going.order.given.clock if rollout is None else rollout.clock
    return Finished(tuple(stages), verdict, said, following, going.plan.plan_sha256, rollout_id, clock)
