"""Simulated traffic: the same wherever it is cut, with the arm that routing says and faults of the size they name."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff import routing, simulation
from bakeoff.errors import ConfigError, InputError
from bakeoff.outcomes import Outcome
from bakeoff.simulation import Fault, Pool

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BASELINE = Pool.of([(True, 100.0, 1.0)] * 8 + [(False, None, None)] * 2)
CANDIDATE = Pool.of([(True, 200.0, 0.5)] * 9 + [(True, 300.0, None)])


def drawn(since: float, until: float, **given: Any) -> list[Outcome]:
    """Outcomes between two hours from the start."""
    plain: dict[str, Any] = {"salt": "s", "weight_bp": 5000, "traffic_per_hour": 300.0, "seed": 7}
    begin, end = START + since * HOUR, START + until * HOUR
    return simulation.outcomes((BASELINE, CANDIDATE), since=begin, until=end, **plain | given)


@settings(max_examples=40)
@given(cut=st.floats(0.0, 3.0), traffic=st.sampled_from([0.5, 37.0, 300.0, 3600.0]))
def test_a_stretch_is_its_parts(cut: float, traffic: float) -> None:
    """Wherever a stretch of time is cut, its parts have its outcomes, each once."""
    whole = drawn(0.0, 3.0, traffic_per_hour=traffic)
    parts = drawn(0.0, cut, traffic_per_hour=traffic) + drawn(cut, 3.0, traffic_per_hour=traffic)
    assert whole == parts
    assert len(whole) == len({one.outcome_id for one in whole})


def test_traffic_is_as_asked() -> None:
    """So many an hour, in order, none outside the stretch, and another seed or salt is other traffic."""
    found = drawn(0.0, 10.0)
    assert 3000 == pytest.approx(len(found), abs=1)
    assert sorted(one.at for one in found) == [one.at for one in found]
    assert all(START <= one.at < START + 10 * HOUR for one in found)
    assert [] == drawn(1.0, 1.0)
    assert found != drawn(0.0, 10.0, seed=8)
    assert found != drawn(0.0, 10.0, salt="t")


def test_the_arm_is_the_one_that_is_routed_to() -> None:
    """Each unit has the arm of its bucket, and a case of that arm."""
    found = drawn(0.0, 5.0, weight_bp=1000, units=50)
    for one in found:
        assert one.unit is not None
        assert int(routing.bucket("s", one.unit) < 1000) == one.arm
        assert (one.latency_ms in (100.0, None)) == (one.arm == 0)
    assert {0, 1} == {one.arm for one in found}
    assert 50 >= len({one.unit for one in found})


def test_what_was_not_measured_stays_so() -> None:
    """No NaN comes out: what a case lacks its outcome lacks."""
    found = drawn(0.0, 5.0)
    assert {(True, 100.0, 1.0), (False, None, None)} == {
        (one.ok, one.latency_ms, one.quality) for one in found if one.arm == 0
    }
    assert {(True, 200.0, 0.5), (True, 300.0, None)} == {
        (one.ok, one.latency_ms, one.quality) for one in found if one.arm == 1
    }


def test_a_fault_has_its_size_in_the_candidate_alone() -> None:
    """Quality falls by its size, failures come at theirs and are not rated, latency grows by its ratio."""
    clean = [one for one in drawn(0.0, 60.0) if one.arm == 1]
    for text, figure, expected in (
        ("quality:-0.10", lambda one: one.quality, 0.40),
        ("errors:+0.05", lambda one: float(one.ok), 0.95),
        ("latency:+0.30", lambda one: one.latency_ms, 273.0),
    ):
        found = drawn(0.0, 60.0, fault=simulation.parse(text))
        values = [figure(one) for one in found if one.arm == 1 and figure(one) is not None]
        assert expected == pytest.approx(sum(values) / len(values), rel=0.02)
        assert [one for one in drawn(0.0, 60.0) if one.arm == 0] == [one for one in found if one.arm == 0]
        assert all(one.quality is None for one in found if one.arm == 1 and not one.ok)
        assert len(clean) == len([one for one in found if one.arm == 1])


def test_a_fault_begins_at_its_hour() -> None:
    """Before its hour nothing is different; its hour counts from the rollout's start."""
    fault = Fault("latency", 1.0, at_hour=2.0)
    found = drawn(1.0, 4.0, fault=fault, started_at=START)
    assert drawn(1.0, 2.0) == [one for one in found if one.at < START + 2 * HOUR]
    late = {one.latency_ms for one in found if one.arm == 1 and one.at >= START + 2 * HOUR}
    assert {400.0, 600.0} == late
    with pytest.raises(ConfigError, match=r"fault latency:\+1@2: its hour counts from the start"):
        drawn(1.0, 4.0, fault=fault)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quality:-0.10", Fault("quality", -0.1)),
        (" errors:+.05@12 ", Fault("errors", 0.05, 12.0)),
        ("latency:2@0.5", Fault("latency", 2.0, 0.5)),
    ],
)
def test_parse(text: str, expected: Fault) -> None:
    """What is typed is the fault, and a fault is shown as it is typed."""
    assert expected == simulation.parse(text)
    assert expected == simulation.parse(str(expected))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("speed:-0.1", "fault 'speed:-0.1': expected quality, errors or latency"),
        ("quality", "fault 'quality': expected"),
        ("quality:-0.1@", "fault 'quality:-0.1@': expected"),
        ("quality:nan", "fault 'quality:nan': expected"),
        ("quality:+0.1", r"a fault of quality of size \+0.1: expected a share that is lost"),
        ("quality:-1.5", "a fault of quality of size -1.5: expected"),
        ("errors:0", r"a fault of errors of size \+0: expected a share of the outcomes"),
        ("errors:1.5", r"a fault of errors of size \+1.5: expected"),
        ("latency:-0.3", "a fault of latency of size -0.3: expected the ratio"),
        ("latency:101", r"a fault of latency of size \+101: expected"),
    ],
)
def test_parse_refuses(text: str, said: str) -> None:
    """What is no fault is refused in one line that says what was expected."""
    with pytest.raises(ConfigError, match=said) as caught:
        simulation.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("hour", [-1.0, math.inf, math.nan])
def test_a_fault_needs_an_hour(hour: float) -> None:
    """No hour before the start, and no never."""
    with pytest.raises(ConfigError, match="expected 0 or more hours"):
        Fault("errors", 0.1, hour)


def test_no_more_is_lost_than_there_is() -> None:
    """A fault that takes more than was recorded is refused with both figures; all there is may be lost."""
    with pytest.raises(ConfigError, match=r"fault quality:-0.6: the recorded quality is 0.500"):
        drawn(0.0, 1.0, fault=Fault("quality", -0.6))
    with pytest.raises(ConfigError, match=r"the recorded share without an error is 0.800"):
        simulation.inject(BASELINE, Fault("errors", 0.9))
    with pytest.raises(ConfigError, match=r"the recorded quality is 0.000"):
        simulation.inject(Pool.of([(True, None, None)]), Fault("quality", -0.1))
    gone = simulation.inject(CANDIDATE, Fault("quality", -0.5))
    assert 1.0 == gone.share
    assert 9 == int(np.sum(gone.harmed.quality == 0.0))


@pytest.mark.parametrize("traffic", [0.0, -1.0, math.nan, 1e10])
def test_no_traffic(traffic: float) -> None:
    """No traffic, and more than there can be, is refused."""
    with pytest.raises(ConfigError, match="questions an hour: expected above 0"):
        drawn(0.0, 1.0, traffic_per_hour=traffic)


def test_nobody_asks() -> None:
    """Without people there is no traffic, without cases nothing to draw."""
    with pytest.raises(ConfigError, match="0 people ask: expected 1 or more"):
        drawn(0.0, 1.0, units=0)
    with pytest.raises(InputError, match="no recorded cases"):
        Pool.of([])
