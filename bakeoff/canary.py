"""The staged move of traffic to a candidate: what follows from a state, an event and an instant.

Callers may rely on: `step` is pure and total: whatever comes, it returns the state that follows, or the same state and
the reason why not; a halted rollout never moves again but by a rollback of a completed one; the share never passes the
running step's; nothing is promoted without a green look within the step, an approval where one is asked for, its hours
and its sample, unless it is forced with a reason; replaying the events gives the state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from bakeoff.errors import IntegrityError
from bakeoff.rollout import (
    FIRST_RULES,
    OPEN,
    Abort,
    Action,
    Advance,
    Approve,
    Effect,
    Event,
    Look,
    Outcome,
    Pause,
    Phase,
    Promote,
    Reason,
    Resume,
    Rollback,
    Start,
    State,
)
from bakeoff.strategy import Step, Strategy

_WhileOpen = Look | Advance | Promote | Approve | Pause | Resume | Abort
_BP = 100.0
"""Basis points of a percent."""
_FRESH_HOURS = 24.0
"""How long KPIs that were measured anew when a step's hours were over are good for, if a person lets it wait."""


def due_at(strategy: Strategy, state: State) -> datetime:
    """Return when the running step's hours are over, if nothing holds it up."""
    return state.step_began_at + timedelta(hours=strategy.steps[state.step - 1].hours)


def look_due_at(strategy: Strategy, state: State) -> datetime:
    """Return when the next look is due: on schedule, and when the step's hours are over."""
    last = state.looked_at or state.started_at
    scheduled = last + timedelta(hours=strategy.look_every_hours)
    over = due_at(strategy, state)
    return min(scheduled, over) if last < over else scheduled


def recheck_due(strategy: Strategy, state: State, now: datetime) -> bool:
    """Return whether a look at *now* measures the offline KPIs anew: when a step's hours are over, and on schedule.

    One that was green is good for a day, or as long as the schedule says; any other is taken again with the next look.
    """
    every = strategy.recheck_every_hours
    fresh = timedelta(hours=_FRESH_HOURS if every is None else every)
    last = state.rechecked_at
    if strategy.recheck_at_steps and now >= (over := due_at(strategy, state)):
        return last is None or last < over or now - last >= fresh
    return every is not None and now - (last or state.started_at) >= fresh


def step(strategy: Strategy, state: State | None, event: Event, now: datetime) -> Outcome:
    """Return what follows when *event* comes at *now* (aware, whole seconds); *state* is None before `Start` alone.

    Raises IntegrityError where the first event is another one than `Start`, or `Start` comes again.
    """
    if isinstance(event, Start) or state is None:
        if state is not None or not isinstance(event, Start):
            raise IntegrityError("a rollout's history begins with its start, once", hint="its history was changed")
        return _start(strategy, now)
    if now < state.last_at and not isinstance(event, Rollback | Abort | Pause):
        said = f"it is {now.isoformat()}, before the last event at {state.last_at.isoformat()}: the clock went back"
        return Outcome(state, accepted=False, reason=Reason.CLOCK_WENT_BACK, said=said)
    now = max(now, state.last_at)
    if isinstance(event, Rollback):
        return _rolled_back(state, now, Reason.BY_HAND, f"rolled back by {event.by}: {event.why}")
    if state.phase not in OPEN:
        return _refused(state, Reason.ENDED, f"the rollout is {state.phase.value.replace('_', ' ')}")
    moved = _moved(strategy, state, event, now)
    return replace(moved, state=replace(moved.state, last_at=now)) if moved.accepted else moved


def replay(strategy: Strategy, events: Iterable[tuple[Event, datetime]]) -> State | None:
    """Return the state after *events*, in order. Raises IntegrityError where one of them was not possible."""
    state: State | None = None
    for event, at in events:
        outcome = step(strategy, state, event, at)
        if not outcome.accepted:
            raise IntegrityError(f"{event.kind} at {at.isoformat()} can't have happened: {outcome.said}")
        state = outcome.state
    return state


def _start(strategy: Strategy, now: datetime) -> Outcome:
    weight = _weight(strategy.steps[0])
    state = State(Phase.RUNNING, 1, weight, started_at=now, step_began_at=now, last_at=now)
    said = f"step 1 of {len(strategy.steps)}: {weight / _BP:g} % to the candidate"
    return Outcome(state, accepted=True, reason=Reason.STARTED, said=said, effects=(Effect.TELL,))


def _weight(given: Step) -> int:
    return round(given.percent * _BP)


def _refused(state: State, reason: Reason, said: str) -> Outcome:
    return Outcome(state, accepted=False, reason=reason, said=said)


def _moved(strategy: Strategy, state: State, event: _WhileOpen, now: datetime) -> Outcome:  # noqa: PLR0911  # one event a line
    if isinstance(event, Look):
        return _looked(strategy, state, event, now)
    if isinstance(event, Advance):
        return _advanced(strategy, state, now)
    if isinstance(event, Promote):
        return _promoted(strategy, state, event, now)
    if isinstance(event, Approve):
        return _approved(strategy, state, event)
    if isinstance(event, Pause):
        if state.phase is Phase.PAUSED:
            return _refused(state, Reason.ALREADY_PAUSED, "the rollout is paused already")
        made = replace(state, phase=Phase.PAUSED, paused_at=now)
        return Outcome(made, accepted=True, reason=Reason.PAUSED, said=_by("paused", event), effects=(Effect.TELL,))
    if isinstance(event, Resume):
        return _resumed(state, event, now)
    made = replace(state, phase=Phase.ABORTED, weight_bp=0, paused_at=None, ended_at=now)
    return Outcome(made, accepted=True, reason=Reason.BY_HAND, said=_by("aborted", event), effects=(Effect.TELL,))


def _by(what: str, event: Approve | Pause | Resume | Abort | Promote) -> str:
    return f"{what} by {event.by}" + (f": {event.why}" if event.why else "")


def _rolled_back(state: State, now: datetime, reason: Reason, said: str) -> Outcome:
    if state.phase in (Phase.ROLLED_BACK, Phase.ABORTED):
        return _refused(
            state, Reason.ENDED, f"the rollout is {state.phase.value.replace('_', ' ')}: nothing is left of it"
        )
    made = replace(state, phase=Phase.ROLLED_BACK, weight_bp=0, paused_at=None, ended_at=now, last_at=now)
    back = (Effect.REACTIVATE_BASELINE,) if state.phase is Phase.COMPLETED else ()
    return Outcome(made, accepted=True, reason=reason, said=said, effects=(*back, Effect.TELL, Effect.VERIFY))


def _looked(strategy: Strategy, state: State, look: Look, now: datetime) -> Outcome:
    unmeasured = state.unmeasured + 1 if look.action is Action.ERROR else 0
    made = replace(
        state,
        looked_at=now,
        rechecked_at=now if look.rechecked else state.rechecked_at,
        action=look.action,
        candidate_outcomes=state.candidate_outcomes if look.action is Action.ERROR else look.candidate_outcomes,
        unmeasured=unmeasured,
    )
    guards = strategy.guards
    if look.action is Action.ROLL_BACK:
        return _rolled_back(made, now, Reason.BREACH, f"rolled back: {look.said}")
    if unmeasured >= guards.unmeasured_limit and guards.unmeasured == "rollback":
        many = f"{unmeasured} looks in a row could not be taken, the limit is {guards.unmeasured_limit}"
        return _rolled_back(made, now, Reason.UNMEASURED, f"rolled back: {many}: {look.said}")
    late = strategy.give_up_hours is not None and now - state.started_at > timedelta(hours=strategy.give_up_hours)
    if late and not _completes(strategy, made, look, now):
        said = f"rolled back: not completed after {strategy.give_up_hours:g} hours: {look.said}"
        return _rolled_back(made, now, Reason.TOOK_TOO_LONG, said)
    return Outcome(made, accepted=True, reason=Reason.LOOKED, said=look.said)


def _completes(strategy: Strategy, state: State, look: Look, now: datetime) -> bool:
    """Return whether nothing but the controller's next move is left to do after *look*, which made *state*."""
    if look.action is not Action.GO or state.step < len(strategy.steps):
        return False
    return now >= due_at(strategy, state) if look.rules == FIRST_RULES else hold(strategy, state, now) is None


def hold(strategy: Strategy, state: State, now: datetime) -> tuple[Reason, str] | None:
    """Return what keeps the running step from ending at *now*, in words, or None where nothing does."""
    running = strategy.steps[state.step - 1]
    if now < (due := due_at(strategy, state)):
        return Reason.NOT_DUE, f"step {state.step} lasts until {due.isoformat()}, it is {now.isoformat()}"
    if running.gated and (red := _not_green(strategy, state, now)) is not None:
        return red
    if state.candidate_outcomes < running.minimum_outcomes:
        few = f"{state.candidate_outcomes} outcomes of the candidate, the step asks for {running.minimum_outcomes}"
        return Reason.TOO_FEW, few
    return None if state.step == len(strategy.steps) else _not_yet(strategy, state, now)


def _not_green(strategy: Strategy, state: State, now: datetime) -> tuple[Reason, str] | None:
    """Return why the last look does not let a gated step end, or None: it has to be green, and of now."""
    if state.action is None or state.looked_at is None:
        return Reason.NOT_LOOKED, f"there was no look within step {state.step} yet"
    if state.action is not Action.GO:
        return Reason.NOT_GREEN, f"the last look says {state.action.value}"
    due, old = due_at(strategy, state), now - timedelta(hours=strategy.look_every_hours)
    if state.looked_at < max(due, old):
        return Reason.NOT_LOOKED, f"the last look, at {state.looked_at.isoformat()}, is too old to go on by"
    if strategy.recheck_at_steps and recheck_due(strategy, state, now):
        return Reason.NOT_LOOKED, "the KPIs were not measured anew since the step's hours were over"
    return None


def _not_yet(strategy: Strategy, state: State, now: datetime) -> tuple[Reason, str] | None:
    """Return what keeps the next step from beginning."""
    number = state.step + 1
    following = strategy.steps[number - 1]
    if following.approval and state.approved != number:
        return Reason.NOT_APPROVED, f"step {number} ({following.percent:g} %) waits for an approval"
    if not following.may_begin(now):
        window = f"from {following.earliest or '00:00'} to {following.latest or '24:00'} UTC"
        return Reason.NOT_NOW, f"step {number} begins {window}, it is {now:%H:%M}"
    return None


def _advanced(strategy: Strategy, state: State, now: datetime) -> Outcome:
    if state.phase is Phase.PAUSED:
        return _refused(state, Reason.PAUSED, "the rollout is paused")
    if (held := hold(strategy, state, now)) is not None:
        return _refused(state, *held)
    began = due_at(strategy, state) if _only_time(strategy, state.step) else now
    return _begun(strategy, state, state.step + 1, began, Reason.PROMOTED, now)


def _only_time(strategy: Strategy, number: int) -> bool:
    """Return whether nothing but time stands between step *number* and the next one, which nobody has to watch either.

    Such a step began when it was due, not when somebody came to see, so all that became due while nothing ran are
    caught up. Every other one gets its whole hours from when it really began.
    """
    if number == len(strategy.steps):
        return False
    running, following = strategy.steps[number - 1], strategy.steps[number]
    waits = following.approval or following.earliest is not None or following.latest is not None
    return not (running.gated or following.gated or running.minimum_outcomes or waits)


def _promoted(strategy: Strategy, state: State, event: Promote, now: datetime) -> Outcome:
    if state.phase is Phase.PAUSED:
        return _refused(state, Reason.PAUSED, "the rollout is paused: resume it first")
    number = state.step + 1
    if event.to is not None:
        wanted = round(event.to * _BP)
        ahead = [n for n, each in enumerate(strategy.steps, start=1) if n > state.step and _weight(each) == wanted]
        if not ahead:
            left = ", ".join(f"{each.percent:g}" for each in strategy.steps[state.step :]) or "none"
            return _refused(state, Reason.NO_SUCH_SHARE, f"no step ahead has {event.to:g} %: there are {left}")
        number = ahead[0]
    if not event.force:
        if number > state.step + 1:
            return _refused(
                state, Reason.SKIPS_STEPS, f"{event.to:g} % is step {number}, the next one is {state.step + 1}"
            )
        if (held := hold(strategy, state, now)) is not None:
            return _refused(state, *held)
    reason = Reason.FORCED if event.force else Reason.PROMOTED
    made = _begun(strategy, state, number, now, reason, now)
    return replace(made, said=_by(made.said + (", forced" if event.force else ","), event))


def _begun(strategy: Strategy, state: State, number: int, began: datetime, reason: Reason, now: datetime) -> Outcome:
    fresh = {"action": None, "candidate_outcomes": 0, "approved": None}
    if number > len(strategy.steps):
        made = replace(state, phase=Phase.COMPLETED, ended_at=now, **fresh)  # type: ignore[arg-type]  # by field
        effects = (Effect.ACTIVATE_CANDIDATE, Effect.ARCHIVE_BASELINE, Effect.TELL)
        why = reason if reason is Reason.FORCED else Reason.COMPLETED
        return Outcome(made, accepted=True, reason=why, said="completed: the last step is over", effects=effects)
    weight = _weight(strategy.steps[number - 1])
    made = replace(state, step=number, weight_bp=weight, step_began_at=began, **fresh)  # type: ignore[arg-type]  # by field
    said = f"step {number} of {len(strategy.steps)}: {weight / _BP:g} % to the candidate"
    return Outcome(made, accepted=True, reason=reason, said=said, effects=(Effect.TELL,))


def _approved(strategy: Strategy, state: State, event: Approve) -> Outcome:
    number = state.step + 1
    if number > len(strategy.steps) or not strategy.steps[number - 1].approval or state.approved == number:
        return _refused(state, Reason.NOTHING_TO_APPROVE, "no step ahead waits for an approval")
    made = replace(state, approved=number)
    said = _by(f"step {number} ({strategy.steps[number - 1].percent:g} %) approved", event)
    return Outcome(made, accepted=True, reason=Reason.APPROVED, said=said)


def _resumed(state: State, event: Resume, now: datetime) -> Outcome:
    if state.phase is not Phase.PAUSED or state.paused_at is None:
        return _refused(state, Reason.NOT_PAUSED, "the rollout is not paused")
    # The step's hours are hours under way: those of the pause do not count. Nor does a look from before it.
    began = state.step_began_at + (now - state.paused_at)
    made = replace(state, phase=Phase.RUNNING, paused_at=None, step_began_at=began, action=None)
    return Outcome(made, accepted=True, reason=Reason.BY_HAND, said=_by("resumed", event), effects=(Effect.TELL,))
