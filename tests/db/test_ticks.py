"""A turn of a controller while the clock goes on: how moves are dated, who overtakes it, what the kill switch stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bakeoff.adapters import policies, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.errors import StateError
from bakeoff.rollout import Action, Look, Pause, Promote, Start
from bakeoff.stages import advance
from bakeoff.stages.advance import Ticked
from bakeoff.verdicts import Verdict
from tests import moved, support
from tests.moved import GREEN, after

BREACH = Look(Action.ROLL_BACK, Verdict.FAIL, 900, "errors lost")
LONG = timedelta(minutes=10)


class Site:
    """A rollout of its own, a clock that is turned by hand, and looks that say what they are told to."""

    def __init__(self, conn: Connection, found: Rollout, monkeypatch: pytest.MonkeyPatch) -> None:
        self.conn, self.rollout_id, self.now = conn, found.rollout_id, found.started_at
        self.looks: list[datetime] = []
        self.meanwhile: list[Callable[[], object]] = []
        """What happens during each look, one after the other."""
        self.said = GREEN
        monkeypatch.setattr(advance, "look", self._look)

    def _look(self, *_: object, now: datetime, **__: object) -> Look:
        self.looks.append(now)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return self.said

    def wait(self, while_: timedelta = LONG) -> None:
        """Let time go by."""
        self.now += while_

    def act(self, event: Any) -> Rollout:
        """What a person asks for."""
        return advance.act(self.conn, self.rollout_id, event, now=self.now)

    def tick(self) -> Ticked:
        """One turn."""
        connect = support.connector(self.conn.info.dsn)
        return advance.tick_on(self.conn, connect, self.rollout_id, now=lambda: self.now, options=None)

    def told(self) -> list[tuple[str, datetime]]:
        """What happened since the start, and when."""
        found = rollouts.history(self.conn, self.rollout_id)[1:]
        return [(f"{item.event}: {item.body['reason']}", item.at) for item in found]

    def say(self, event: policies.Event) -> None:
        """A word on the kill switch."""
        policies.say(self.conn, event, by="ada", reason="wrong prices")


@pytest.fixture
def site(connected: Connection, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A rollout by the wall clock whose first step is over."""
    found = Site(connected, moved.started(connected, stored), monkeypatch)
    found.now = after(16)
    return found


def check(site: Site, stored: Stored) -> None:
    """The history makes the state."""
    rollouts.check_history(site.conn, rollouts.find(site.conn, site.rollout_id), stored.plan.rollout)


# --- What a look takes ----------------------------------------------------------------------------------------------


def test_a_step_begins_when_it_is_stored(site: Site, stored: Stored) -> None:
    """The KPIs took ten minutes: the look is of when it began, the new share of when it is there."""
    site.meanwhile = [site.wait]
    done = site.tick()
    assert [("look: looked", after(16)), ("advance: promoted", after(16) + LONG)] == site.told()
    assert after(16) + LONG == done.rollout.state.step_began_at
    check(site, stored)


def test_a_breach_ends_it_when_it_is_stored(site: Site, stored: Stored) -> None:
    """Until then the candidate answered, and its outcomes count."""
    site.meanwhile, site.said = [site.wait], BREACH
    done = site.tick()
    assert [("look: breach", after(16) + LONG)] == site.told()
    assert after(16) + LONG == done.rollout.state.ended_at
    assert [after(16) + LONG] == [item.at for item in done.events]
    check(site, stored)


def test_a_breach_is_stored_by_a_clock_that_went_back(site: Site, stored: Stored) -> None:
    """A look that began in good time is not thrown away."""
    site.meanwhile, site.said = [lambda: site.wait(-LONG)], BREACH
    assert "rolled_back" == site.tick().rollout.phase
    assert [("look: breach", after(16))] == site.told()
    check(site, stored)


def test_a_look_that_took_too_long_is_taken_again(site: Site, stored: Stored) -> None:
    """Longer than looks are apart: what it saw of the traffic is old, what it measured anew is good for a day."""
    site.meanwhile = [lambda: site.wait(timedelta(hours=1.5))]
    assert "is too old to go on by" in str(site.tick().held)
    site.said = replace(GREEN, rechecked=False)
    assert "promoted" in site.tick().events[-1].reason
    assert [after(16), after(17.5)] == site.looks
    check(site, stored)


# --- Who overtakes it -----------------------------------------------------------------------------------------------


def overtaken(site: Site) -> None:
    """Somebody pauses six minutes into a look of ten."""
    site.wait(0.6 * LONG)
    site.act(Pause("ben", "lunch"))
    site.wait(0.4 * LONG)


def test_whoever_is_overtaken_looks_again(site: Site, stored: Stored) -> None:
    """By the clock as it is then, which is no clock that went back."""
    site.meanwhile = [lambda: overtaken(site)]
    done = site.tick()
    assert "the rollout is paused" == done.held
    assert [after(16), after(16) + LONG] == site.looks
    assert [("pause: paused", after(16) + 0.6 * LONG), ("look: looked", after(16) + LONG)] == site.told()
    check(site, stored)


def test_a_breach_is_not_lost_to_whoever_was_faster(site: Site) -> None:
    """The same turn rolls back."""
    site.meanwhile, site.said = [lambda: overtaken(site)], BREACH
    assert "rolled_back" == site.tick().rollout.phase
    assert "look: breach" == site.told()[-1][0]


# --- The kill switch ------------------------------------------------------------------------------------------------


def test_no_step_begins_while_the_kill_switch_is_on(site: Site) -> None:
    """Looks go on; the step that is due waits for the switch."""
    site.say("killed")
    done = site.tick()
    assert ("the kill switch is on, by ada: wrong prices", 1) == (done.held, done.rollout.state.step)
    assert ["look"] == [item.event for item in done.events]
    site.say("unkilled")
    assert 2 == site.tick().rollout.state.step


def test_nothing_completes_under_the_kill_switch(site: Site) -> None:
    """Not even where it is thrown during the very last look."""
    for hours in (16, 32):
        site.now = after(hours)
        site.tick()
    site.now, site.meanwhile = after(48), [lambda: site.say("killed")]
    done = site.tick()
    assert ("running", 3) == (done.rollout.phase, done.rollout.state.step)
    assert moved.in_production(site.conn) == done.rollout.baseline


def test_a_breach_under_the_kill_switch_rolls_back(site: Site) -> None:
    """The switch stops what goes on, not what goes back."""
    site.say("killed")
    site.said = BREACH
    assert "rolled_back" == site.tick().rollout.phase


def test_a_promotion_under_the_kill_switch_needs_force(site: Site) -> None:
    """Whoever asks for the next share is told that nobody would get it."""
    site.tick()
    site.now = after(32)
    site.say("killed")
    site.tick()
    with pytest.raises(StateError, match="the kill switch is on, by ada: wrong prices") as caught:
        site.act(Promote("ben"))
    assert "route unkill" in str(caught.value.hint)
    assert 3 == site.act(Promote("ben", force=True, why="the switch is for prices alone")).state.step


def test_a_rehearsal_does_not_ask_for_the_kill_switch(
    connected: Connection, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It routes nobody."""
    found = rollouts.start(connected, stored, Start("ada"), clock="simulated", at=after(0))
    site = Site(connected, found, monkeypatch)
    site.say("killed")
    site.now = after(16)
    assert 2 == site.tick().rollout.state.step
