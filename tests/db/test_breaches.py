"""What live traffic showed to be worse is not tried again without a word, nor under another plan."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from bakeoff import canary
from bakeoff.adapters import records, rollouts
from bakeoff.adapters.records import About
from bakeoff.errors import StateError
from bakeoff.rollout import Abort, Action, Look
from bakeoff.verdicts import Verdict
from tests import rolled, support
from tests.rolled import BEGAN, TRAFFIC, Rolled, add_plan, copy_of, judge, parsed


@pytest.fixture(scope="module")
def base(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, evaluated, judged."""
    with rolled.rolled(server_url, template, tmp_path_factory.mktemp("breaches")) as found:
        yield found


@pytest.fixture
def site(server_url: str, base: Rolled) -> Iterator[Rolled]:
    """A database of the test's own."""
    with copy_of(server_url, base) as found:
        yield found


def hour(hours: float) -> datetime:
    """So many hours after the beginning."""
    return BEGAN + timedelta(hours=hours)


def judged_well(site: Rolled) -> None:
    """Say of the newest judgement that it passed."""
    with site.connect() as conn:
        about = About(site.plan_sha256)
        judged = records.latest(conn, "judgement", about)
        assert judged is not None
        body = {**judged.body, "verdict": "pass"}
        records.add(conn, "judgement", body, about=about, at=support.NOW, verdict=Verdict.PASS)


def test_a_plan_that_broke_begins_by_force_alone(site: Rolled) -> None:
    """What live traffic showed to be worse is not tried again without a reason; what a person ended is."""
    judged_well(site)
    asked: dict[str, Any] = {"force": False, "why": "", "clock": "wall"}
    site.start(**asked)
    site.act(Abort("ada", "off"), hour(1))
    site.start(**asked, now=hour(2))
    with site.connect() as conn:
        found = rollouts.find(conn)
        look = Look(Action.ROLL_BACK, Verdict.FAIL, 900, "errors lost")
        outcome = canary.step(site.stored.plan.rollout, found.state, look, hour(3))
        rollouts.move(conn, found, look, outcome, at=hour(3))
    said = "r20260302-2 of plan .* was rolled back by a breach: .*errors lost"
    for given in ({}, {"clock": "simulated"}, {"force": True}):
        before = site.made.count_of("rollout_events")
        with pytest.raises(StateError, match=said):
            site.start(**{**asked, **given}, now=hour(4))
        assert before == site.made.count_of("rollout_events")
    assert "r20260302-3" == site.start(force=True, why="the feed was wrong", now=hour(4)).rollout_id
    why = site.history()[0][3]["event"]["why"]
    assert "forced, r20260302-2 was rolled back by a breach: the feed was wrong" == why


def test_a_new_plan_makes_locks_that_broke_no_better(site: Rolled) -> None:
    """Other traffic, the same two locks: force alone begins it."""
    judged_well(site)
    found = site.start(force=False, why="", clock="wall")
    look = Look(Action.ROLL_BACK, Verdict.FAIL, 900, "errors lost")
    with site.connect() as conn:
        outcome = canary.step(site.stored.plan.rollout, found.state, look, hour(1))
        rollouts.move(conn, found, look, outcome, at=hour(1))
    again = judge(site.made, add_plan(site.made, parsed(), traffic=TRAFFIC + 1))
    assert again.plan_sha256 != site.plan_sha256
    judged_well(again)
    said = f"{found.rollout_id} of plan {site.plan_sha256[:12]} was rolled back by a breach: .*errors lost"
    with pytest.raises(StateError, match=said):
        again.start(force=False, clock="wall", now=hour(2))
    assert "running" == again.start(force=True, why="the feed was wrong", clock="wall", now=hour(2)).phase
