"""The rollout's rules under any sequence of events at any instants."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bakeoff import canary, rollout
from bakeoff.rollout import (
    Abort,
    Action,
    Advance,
    Approve,
    Effect,
    Event,
    Outcome,
    Pause,
    Phase,
    Promote,
    Resume,
    Rollback,
    Start,
    State,
)
from bakeoff.strategy import Strategy
from tests.unit.test_canary import BEGAN, STRATEGIES, begun, look


class Rollouts(RuleBasedStateMachine):
    """Any events at any instants: the invariants hold whatever comes."""

    @initialize(strategy=st.sampled_from(STRATEGIES))
    def begin(self, strategy: Strategy) -> None:
        """Start."""
        self.strategy = strategy
        self.now = BEGAN
        self.state = begun(strategy)
        self.history: list[tuple[Event, datetime]] = [(Start("ada"), BEGAN)]
        self.green = False

    def send(self, event: Event) -> Outcome:
        """Give *event* to the rules and check what came of it."""
        before = self.state
        outcome = canary.step(self.strategy, before, event, self.now)
        if not outcome.accepted:
            assert before == outcome.state
            assert () == outcome.effects
            return outcome
        self.check_move(before, outcome, event)
        self.history.append((event, self.now))
        self.state = outcome.state
        return outcome

    def check_move(self, before: State, outcome: Outcome, event: Event) -> None:
        """Check what a move may be."""
        made = outcome.state
        if before.phase not in rollout.OPEN:
            assert (Phase.COMPLETED, Phase.ROLLED_BACK) == (before.phase, made.phase)
            assert isinstance(event, Rollback)
            assert Effect.REACTIVATE_BASELINE in outcome.effects
        if made.step != before.step or made.phase is Phase.COMPLETED:
            assert before.phase is Phase.RUNNING
            forced = isinstance(event, Promote) and event.force
            assert forced or self.may_leave(before, made)
            self.green = False

    def may_leave(self, before: State, made: State) -> bool:
        """Whether everything that the running step asks for was there."""
        running = self.strategy.steps[before.step - 1]
        following = self.strategy.steps[made.step - 1] if made.step != before.step else None
        hours = (self.now - before.step_began_at) / timedelta(hours=1)
        return (
            made.step - before.step in (0, 1)
            and hours >= running.hours
            and (not running.gated or (self.green and self.fresh(before)))
            and before.candidate_outcomes >= running.minimum_outcomes
            and (following is None or not following.approval or before.approved == made.step)
            and (following is None or following.may_begin(self.now))
        )

    def fresh(self, before: State) -> bool:
        """Whether the last look was of now, after the step's hours, and the KPIs were measured anew since then."""
        over = canary.due_at(self.strategy, before)
        looked, rechecked = before.looked_at or BEGAN, before.rechecked_at or BEGAN
        return looked >= over and self.now - looked <= timedelta(hours=1) and rechecked >= over

    @rule(minutes=st.integers(min_value=0, max_value=60 * 20))
    def pass_time(self, minutes: int) -> None:
        """Let time pass."""
        self.now += timedelta(minutes=minutes)

    @rule(action=st.sampled_from(Action), outcomes=st.sampled_from((0, 60, 1000)), rechecked=st.booleans())
    def look(self, action: Action, outcomes: int, rechecked: bool) -> None:
        """Look."""
        outcome = self.send(look(action, outcomes, rechecked=rechecked))
        if outcome.accepted:
            self.green = action is Action.GO
            assert action is not Action.ROLL_BACK or 0 == outcome.state.weight_bp

    @rule()
    def advance(self) -> None:
        """Let time ask for the next step."""
        self.send(Advance())

    @rule(to=st.sampled_from((None, 5.0, 10.0, 50.0, 100.0, 33.0)), force=st.booleans())
    def promote(self, to: float | None, force: bool) -> None:
        """Ask for the next step, or another one."""
        self.send(Promote("ada", to, force, "because"))

    @rule()
    def approve(self) -> None:
        """Approve."""
        self.send(Approve("ada"))

    @rule()
    def pause(self) -> None:
        """Pause."""
        self.send(Pause("ada"))

    @rule()
    def resume(self) -> None:
        """Resume: a look from before the pause does not count any more."""
        if self.send(Resume("ada")).accepted:
            self.green = False

    @rule()
    @precondition(lambda self: len(self.history) > 5)
    def roll_back(self) -> None:
        """Roll back: possible wherever something is left to take back."""
        left = self.state.phase not in (Phase.ROLLED_BACK, Phase.ABORTED)
        assert left == self.send(Rollback("ada", "slow")).accepted

    @rule()
    @precondition(lambda self: len(self.history) > 5)
    def abort(self) -> None:
        """Abort."""
        self.send(Abort("ada", "wrong lock"))

    @invariant()
    def share_is_the_running_steps(self) -> None:
        """The share is the running step's while traffic moves, all after completion, nothing after the way back."""
        share = round(self.strategy.steps[self.state.step - 1].percent * 100)
        expected = {Phase.ROLLED_BACK: 0, Phase.ABORTED: 0}.get(self.state.phase, share)
        if self.state.phase is Phase.COMPLETED:
            expected = self.state.weight_bp
            assert 10_000 == expected
        assert expected == self.state.weight_bp

    @invariant()
    def replay_gives_the_state(self) -> None:
        """The history alone makes the state, also after a way through JSON."""
        stored = [(rollout.event_of(rollout.body_of(event)), at) for event, at in self.history]
        assert self.state == canary.replay(self.strategy, stored)
        assert self.state == rollout.state_of(self.state.body())

    @invariant()
    def halted_has_an_end(self) -> None:
        """An end is known exactly where the rollout is over, a pause exactly where it is paused."""
        assert (self.state.phase in rollout.OPEN) == (self.state.ended_at is None)
        assert (self.state.phase is Phase.PAUSED) == (self.state.paused_at is not None)


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
