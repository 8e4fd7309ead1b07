"""The rollout's rules: what every sequence of events must keep to, and each refusal by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bakeoff import canary
from bakeoff.errors import IntegrityError
from bakeoff.rollout import (
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
    body_of,
    event_of,
)
from bakeoff.strategy import Guards, LiveRule, Step, Strategy
from bakeoff.verdicts import Verdict

BEGAN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
RULES = {"errors": LiveRule(margin=0.01, base_rate=0.99)}
PLAIN = Strategy(
    strategy="plain",
    watch=RULES,
    steps=(Step(percent=10, hours=16), Step(percent=50, hours=16), Step(percent=100, hours=16)),
)
LADDER = Strategy(
    strategy="ladder",
    watch=RULES,
    steps=(
        Step(percent=1, hours=1, gated=False),
        Step(percent=5, hours=2, gated=False),
        Step(percent=10, hours=4),
        Step(percent=50, hours=4, approval=True, minimum_outcomes=100),
        Step(percent=100, hours=4, earliest="08:00", latest="18:00", minimum_outcomes=50),
    ),
    give_up_hours=200,
)
STRATEGIES = (PLAIN, LADDER, LADDER.model_copy(update={"guards": Guards(unmeasured="hold", unmeasured_limit=2)}))
_VERDICT = {
    Action.GO: Verdict.PASS,
    Action.HOLD: Verdict.INCONCLUSIVE,
    Action.ROLL_BACK: Verdict.FAIL,
    Action.ERROR: Verdict.ERROR,
}


def look(action: Action = Action.GO, outcomes: int = 1000, *, rechecked: bool = True) -> Look:
    """What a look said."""
    return Look(action, _VERDICT[action], outcomes, f"the look says {action}", ({"watched": "errors"},), rechecked)


def begun(strategy: Strategy = PLAIN, at: datetime = BEGAN) -> State:
    """A rollout that has just begun."""
    return canary.step(strategy, None, Start("ada"), at).state


def after(hours: float) -> datetime:
    """So many hours after the beginning."""
    return BEGAN + timedelta(hours=hours)


def play(strategy: Strategy, *events: tuple[Event, float]) -> Outcome:
    """What came of the last of *events*, each with its hour; all before it must be accepted."""
    outcome = canary.step(strategy, None, Start("ada"), BEGAN)
    for number, (event, hour) in enumerate(events, start=1):
        outcome = canary.step(strategy, outcome.state, event, after(hour))
        assert outcome.accepted or number == len(events), outcome.said
    return outcome


def test_whole_way() -> None:
    """16 hours at 10 %, 16 at 50 %, 16 at 100 %, then the candidate is in production and the old lock archived."""
    first = play(PLAIN, (look(), 16), (Advance(), 16))
    assert (True, 5000, after(16)) == (first.accepted, first.state.weight_bp, first.state.step_began_at)
    assert "step 2 of 3: 50 % to the candidate" == first.said
    done = play(PLAIN, (look(), 16), (Advance(), 16), (look(), 32), (Advance(), 32), (look(), 48), (Advance(), 48))
    assert (Phase.COMPLETED, 10_000, after(48)) == (done.state.phase, done.state.weight_bp, done.state.ended_at)
    assert (Effect.ACTIVATE_CANDIDATE, Effect.ARCHIVE_BASELINE, Effect.TELL) == done.effects
    assert Reason.COMPLETED is done.reason


@pytest.mark.parametrize(
    ("events", "reason", "said"),
    [
        ([(Promote("ada"), 3)], Reason.NOT_DUE, "step 1 lasts until 2026-01-06T00:00:00+00:00, it is"),
        ([(Promote("ada"), 16)], Reason.NOT_LOOKED, "there was no look within step 1 yet"),
        ([(look(Action.HOLD), 16), (Promote("ada"), 16)], Reason.NOT_GREEN, "the last look says hold"),
        ([(look(Action.ERROR), 16), (Advance(), 16)], Reason.NOT_GREEN, "the last look says error"),
        ([(look(), 16), (Promote("ada", to=100), 16)], Reason.SKIPS_STEPS, "100 % is step 3, the next one is 2"),
        ([(Promote("ada", to=33), 1)], Reason.NO_SUCH_SHARE, "no step ahead has 33 %: there are 50, 100"),
        ([(Promote("ada", to=10), 1)], Reason.NO_SUCH_SHARE, "no step ahead has 10 %: there are 50, 100"),
        ([(Pause("ada"), 1), (Pause("ada"), 2)], Reason.ALREADY_PAUSED, "the rollout is paused already"),
        ([(Pause("ada"), 1), (Advance(), 20)], Reason.PAUSED, "the rollout is paused"),
        ([(Pause("ada"), 1), (Promote("ada", force=True), 2)], Reason.PAUSED, "the rollout is paused: resume it first"),
        ([(Resume("ada"), 1)], Reason.NOT_PAUSED, "the rollout is not paused"),
        ([(Approve("ada"), 1)], Reason.NOTHING_TO_APPROVE, "no step ahead waits for an approval"),
        ([(Rollback("ada", "slow"), 1), (Promote("ada"), 2)], Reason.ENDED, "the rollout is rolled back"),
        ([(Abort("ada", "oops"), 1), (look(), 2)], Reason.ENDED, "the rollout is aborted"),
        ([(look(), 5), (look(), 4)], Reason.CLOCK_WENT_BACK, "before the last event at"),
    ],
)
def test_refusals(events: list[tuple[Event, float]], reason: Reason, said: str) -> None:
    """Each refusal has its reason, says the comparison, and changes nothing."""
    outcome = play(PLAIN, *events)
    assert (False, reason) == (outcome.accepted, outcome.reason)
    assert said in outcome.said


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"looked_at": after(15.5), "rechecked_at": after(16)}, "is too old to go on by"),
        ({"looked_at": after(18.9), "rechecked_at": after(16)}, "is too old to go on by"),
        ({"looked_at": after(20), "rechecked_at": None}, "the KPIs were not measured anew"),
        ({"looked_at": after(20), "rechecked_at": after(15)}, "the KPIs were not measured anew"),
    ],
    ids=["before the hours were over", "long ago", "never measured anew", "measured anew too early"],
)
def test_a_look_must_be_of_now(seen: dict[str, datetime | None], said: str) -> None:
    """A green look ends a step only where it was taken after the step's hours, lately, and with the KPIs anew."""
    state = replace(begun(), action=Action.GO, candidate_outcomes=1000, **seen)  # type: ignore[arg-type]  # by field
    for event in (Advance(), Promote("ada")):
        outcome = canary.step(PLAIN, state, event, after(20))
        assert (False, Reason.NOT_LOOKED) == (outcome.accepted, outcome.reason)
        assert said in outcome.said
    fresh = replace(state, looked_at=after(20), rechecked_at=after(16))
    assert canary.step(PLAIN, fresh, Promote("ada"), after(20)).accepted
    assert not canary.step(PLAIN, replace(fresh, looked_at=after(41)), Advance(), after(41)).accepted
    without = PLAIN.model_copy(update={"recheck_at_steps": False})
    assert canary.step(without, replace(fresh, rechecked_at=None), Advance(), after(20)).accepted


def test_when_kpis_are_due() -> None:
    """Anew when the hours are over, again after a day of waiting; on schedule where there is one."""
    state = begun()
    assert [False, True] == [canary.recheck_due(PLAIN, state, after(hour)) for hour in (15, 16)]
    done = replace(state, rechecked_at=after(16))
    assert [False, True] == [canary.recheck_due(PLAIN, done, after(hour)) for hour in (39, 40)]
    often = PLAIN.model_copy(update={"recheck_at_steps": False, "recheck_every_hours": 4.0})
    assert [False, True] == [canary.recheck_due(often, state, after(hour)) for hour in (3, 4)]
    assert not canary.recheck_due(often, replace(state, rechecked_at=after(16)), after(19))


def test_steps_that_were_held_get_their_whole_hours() -> None:
    """Only where nothing but time stood before a step does it begin before somebody came to see."""
    steps = (
        Step(percent=10, hours=1, gated=False),
        Step(percent=50, hours=4, gated=False, approval=True),
        Step(percent=100, hours=1),
    )
    strategy = Strategy(strategy="asks", watch=RULES, steps=steps)
    approved = canary.step(strategy, begun(strategy), Approve("ada"), after(30)).state
    half = canary.step(strategy, approved, Advance(), after(30)).state
    assert (2, after(30)) == (half.step, half.step_began_at)
    assert Reason.NOT_DUE is canary.step(strategy, half, Advance(), after(30)).reason


def test_breach_rolls_back_at_once() -> None:
    """A look that asks for it ends the rollout, whatever the hour, also within a pause."""
    assert "rolled back: the look says rollback" == play(PLAIN, (look(Action.ROLL_BACK), 1)).said
    for events in ([(look(Action.ROLL_BACK), 1)], [(Pause("ada"), 1), (look(Action.ROLL_BACK), 2)]):
        outcome = play(PLAIN, *events)
        assert (Phase.ROLLED_BACK, 0, Reason.BREACH) == (outcome.state.phase, outcome.state.weight_bp, outcome.reason)
        assert (Effect.TELL, Effect.VERIFY) == outcome.effects


def test_unmeasured_looks() -> None:
    """Looks that could not be taken roll back at the limit, in a row; one that was taken begins the count anew."""
    failed = look(Action.ERROR)
    assert Phase.RUNNING is play(PLAIN, *[(failed, hour) for hour in (1, 2, 3)]).state.phase
    counted = play(PLAIN, *[(failed, hour) for hour in (1, 2, 3)], (look(), 4), (failed, 5))
    assert 1 == counted.state.unmeasured
    assert 1000 == counted.state.candidate_outcomes
    ended = play(PLAIN, *[(failed, hour) for hour in (1, 2, 3, 4)])
    assert (Phase.ROLLED_BACK, Reason.UNMEASURED) == (ended.state.phase, ended.reason)
    assert ended.said.startswith("rolled back: 4 looks in a row could not be taken, the limit is 4")
    holds = STRATEGIES[2]
    assert Phase.RUNNING is play(holds, *[(failed, hour) for hour in (1, 2, 3, 4)]).state.phase


def test_gives_up() -> None:
    """A rollout that was held too long is rolled back by the next look."""
    assert Phase.RUNNING is play(LADDER, (look(), 200)).state.phase
    ended = play(LADDER, (look(), 201))
    assert (Phase.ROLLED_BACK, Reason.TOOK_TOO_LONG) == (ended.state.phase, ended.reason)
    completing = replace(begun(LADDER), step=5, weight_bp=10_000, step_began_at=after(190))
    assert canary.step(LADDER, completing, look(), after(201)).accepted
    assert Phase.RUNNING is canary.step(LADDER, completing, look(), after(201)).state.phase
    few = canary.step(LADDER, completing, look(outcomes=49), after(201))
    assert (Phase.ROLLED_BACK, Reason.TOOK_TOO_LONG) == (few.state.phase, few.reason)
    unmeasured = canary.step(LADDER, completing, look(rechecked=False), after(201))
    assert Reason.TOOK_TOO_LONG is unmeasured.reason


def test_a_look_of_before_is_replayed_by_its_own_rules() -> None:
    """A history from before a last step that lacks outcomes was given up stays what it was."""
    last = replace(begun(LADDER), step=5, weight_bp=10_000, step_began_at=after(190))
    body = body_of(look(outcomes=49))
    assert 2 == body.pop("rules")
    outcome = canary.step(LADDER, last, event_of(body), after(201))
    assert (Phase.RUNNING, Reason.LOOKED) == (outcome.state.phase, outcome.reason)
    over = canary.step(LADDER, replace(last, step_began_at=after(200)), event_of(body), after(201))
    assert Reason.TOOK_TOO_LONG is over.reason


def test_catch_up_of_steps_without_gates() -> None:
    """Steps that became due while nothing ran follow each other in order; the gated one gets its whole hours."""
    state = begun(LADDER)
    moves = []
    while (outcome := canary.step(LADDER, state, Advance(), after(30))).accepted:
        state = outcome.state
        moves.append((state.step, state.step_began_at))
    assert [(2, after(1)), (3, after(30))] == moves
    assert Reason.NOT_DUE is outcome.reason


def test_approval_sample_and_window() -> None:
    """A step waits for its approval, the sample of the one before, and its time of day; a force replaces them all."""
    seen = {"looked_at": after(5), "rechecked_at": after(5)}
    state = replace(begun(LADDER), step=3, weight_bp=1000, action=Action.GO, candidate_outcomes=5, **seen)  # type: ignore[arg-type]  # by field
    waits = canary.step(LADDER, state, Advance(), after(5))
    assert (Reason.NOT_APPROVED, "step 4 (50 %) waits for an approval") == (waits.reason, waits.said)
    approved = canary.step(LADDER, state, Approve("ada", "fine"), after(5)).state
    again = canary.step(LADDER, approved, Approve("ada"), after(5))
    assert Reason.NOTHING_TO_APPROVE is again.reason
    half = canary.step(LADDER, approved, Advance(), after(5)).state
    assert (4, None, None, 0) == (half.step, half.approved, half.action, half.candidate_outcomes)

    def looked(hour: float, outcomes: int) -> State:
        at = {"looked_at": after(hour), "rechecked_at": after(hour)}
        return replace(half, action=Action.GO, candidate_outcomes=outcomes, **at)  # type: ignore[arg-type]  # by field

    few = canary.step(LADDER, looked(9, 99), Advance(), after(9))
    assert (Reason.TOO_FEW, "99 outcomes of the candidate, the step asks for 100") == (few.reason, few.said)
    night = canary.step(LADDER, looked(12, 100), Advance(), after(12))
    assert (Reason.NOT_NOW, "step 5 begins from 08:00 to 18:00 UTC, it is 20:00") == (night.reason, night.said)
    assert canary.step(LADDER, looked(24, 100), Advance(), after(24)).accepted
    forced = canary.step(LADDER, half, Promote("ada", to=100, force=True, why="agreed"), after(9.5))
    assert (Reason.FORCED, 10_000) == (forced.reason, forced.state.weight_bp)
    assert "step 5 of 5: 100 % to the candidate, forced by ada: agreed" == forced.said


def test_pause_stops_the_hours() -> None:
    """Hours of a pause are no hours of the step, and a look from before it does not end the step."""
    resumed = play(PLAIN, (look(), 10), (Pause("ada"), 12), (Resume("ada"), 20))
    assert after(8) == resumed.state.step_began_at
    assert after(24) == canary.due_at(PLAIN, resumed.state)
    assert resumed.state.action is None


def test_rollback_of_a_completed_rollout() -> None:
    """It gives production back to the baseline; a second one finds nothing left."""
    done = play(
        PLAIN, (look(), 16), (Advance(), 16), (look(), 32), (Advance(), 32), (look(), 48), (Advance(), 48)
    ).state
    back = canary.step(PLAIN, done, Rollback("ada", "complaints"), after(60))
    assert (Effect.REACTIVATE_BASELINE, Effect.TELL, Effect.VERIFY) == back.effects
    assert "rolled back by ada: complaints" == back.said
    again = canary.step(PLAIN, back.state, Rollback("ada", "again"), after(61))
    assert (False, Reason.ENDED) == (again.accepted, again.reason)


def test_way_back_ignores_the_clock() -> None:
    """A rollback and a pause work where the clock went back, and count as of the last event."""
    assert after(5) == play(PLAIN, (look(), 5), (Pause("ada"), 4)).state.paused_at
    back = play(PLAIN, (look(), 5), (Rollback("ada", "slow"), 4))
    assert (True, after(5)) == (back.accepted, back.state.ended_at)


def test_when_looks_are_due() -> None:
    """Every hour, and when the step's hours are over."""
    strategy = PLAIN.model_copy(update={"look_every_hours": 5.0})
    state = begun(strategy)
    assert after(5) == canary.look_due_at(strategy, state)
    assert after(16) == canary.look_due_at(strategy, replace(state, looked_at=after(15)))
    assert after(21) == canary.look_due_at(strategy, replace(state, looked_at=after(16)))


def test_recheck_is_remembered() -> None:
    """When the KPIs were measured anew is part of the state."""
    assert after(2) == play(PLAIN, (look(), 2), (look(rechecked=False), 3)).state.rechecked_at


def test_history_that_is_none() -> None:
    """A history begins with its start, once; what can't have happened is named."""
    with pytest.raises(IntegrityError, match="begins with its start"):
        canary.step(PLAIN, None, Advance(), BEGAN)
    with pytest.raises(IntegrityError, match="begins with its start"):
        canary.step(PLAIN, begun(), Start("bob"), BEGAN)
    with pytest.raises(IntegrityError, match=r"advance at .* can't have happened: step 1 lasts until"):
        canary.replay(PLAIN, [(Start("ada"), BEGAN), (Advance(), after(1))])
    assert canary.replay(PLAIN, []) is None
