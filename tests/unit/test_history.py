"""When the states of a sealed rollout held: from when they were made, and of a wall clock, written."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff import history
from bakeoff.sealed import Sealed
from tests.sealed import Sample
from tests.sealed_parts import iso
from tests.tampering import small

EVENTS = ".predicate.rollout.events"


def events_of(sample: Sample) -> list[dict[str, Any]]:
    """The events: start at minute 60, a look at 120, in most stories another and an advance at 180, and so on."""
    found: list[dict[str, Any]] = sample.predicate["rollout"]["events"]
    return found


def place(sample: Sample) -> str | None:
    """Where the clock's first difference is, or None."""
    one = next(history.clock(Sealed(sample.predicate, (), sample.rows)), None)
    return None if one is None else one.path


@pytest.mark.parametrize("clock", ["wall", "simulated"])
@pytest.mark.parametrize("story", ["completed", "rolled_back", "forced"])
def test_healthy(story: str, clock: str) -> None:
    """Whatever happened."""
    assert None is place(small(story=story, clock=clock))


def test_a_look_that_took_long() -> None:
    """It is written when all is measured, and what was done at its instant after it: both hold from then on."""
    sample = small(clock="wall")
    assert ["look", "advance", "look"] == [item["event"] for item in events_of(sample)[2:5]]
    events_of(sample)[2]["since"] = iso(215)
    events_of(sample)[3]["since"] = iso(216)
    assert None is place(sample)
    events_of(sample)[2]["since"] = iso(217)
    assert f"{EVENTS}[3].since" == place(sample)


def test_written_late_by_a_person() -> None:
    """Who promotes has it written at once, give or take what clocks differ by."""
    sample = small(clock="wall", story="forced")
    assert "promote" == events_of(sample)[2]["event"]
    events_of(sample)[2]["since"] = iso(164)
    assert None is place(sample)
    events_of(sample)[2]["since"] = iso(166)
    assert f"{EVENTS}[2].since" == place(sample)


def test_clocks_that_differ() -> None:
    """What is written by a clock that is minutes behind holds from then on."""
    sample = small(clock="wall", story="rolled_back")
    events_of(sample)[1]["since"], events_of(sample)[2]["since"] = iso(116), iso(146)
    assert None is place(sample)
    events_of(sample)[1]["since"] = iso(114)
    assert f"{EVENTS}[1].since" == place(sample)


def test_a_clock_that_went_back() -> None:
    """What a person did then has that clock's instant, and so early the states before it ended; a rollback has not."""
    sample = small(clock="wall", story="rolled_back")
    look, end = events_of(sample)[1:]
    end["at"] = end["since"] = look["since"] = iso(70)
    assert None is place(sample)
    end["at"] = look["body"]["state"]["last_at"]
    assert None is place(sample)
    events_of(sample)[0]["since"] = iso(30)
    assert f"{EVENTS}[0].since" == place(sample)
    events_of(sample)[0]["since"], end["event"] = iso(60), "abort"
    assert f"{EVENTS}[1].since" == place(sample)


def test_sealed_before_it_was_written() -> None:
    """No state can hold from after the seal, however long a look took."""
    sample = small(clock="wall", story="rolled_back")
    sample.predicate["rollout"]["events"] = events_of(sample)[:2]
    events_of(sample)[1]["since"] = iso(604)
    assert None is place(sample)
    events_of(sample)[1]["since"] = iso(606)
    assert f"{EVENTS}[1].since" == place(sample)


def test_a_rehearsal_whose_clock_went_back() -> None:
    """It holds to the very instant of its events; one that is told to have been earlier ends those before it."""
    sample = small(story="rolled_back")
    look, end = events_of(sample)[1:]
    end["at"] = end["since"] = look["since"] = iso(119)
    assert None is place(sample)
    look["since"] = iso(120)
    assert f"{EVENTS}[1].since" == place(sample)


def test_what_a_rollback_was_checked_by() -> None:
    """All of it, in order, under the names that the check has."""
    sample = small(story="rolled_back")
    seal = Sealed(sample.predicate, (), sample.rows)
    assert [] == list(history.verdict(seal))
    (record,) = sample.predicate["records"]["rollback_checks"]
    record["body"]["findings"][1]["check"] = "lock"
    path = ".predicate.records.rollback_checks[0].body.findings[1]"
    assert path == next(history.verdict(seal)).path
