"""What `bakeoff.live` promises: a shown loss rolls back, what was not measured never passes, errors are bounded."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from bakeoff import live, strategy
from bakeoff.live import ArmSeen, Prepared, StepSeen
from bakeoff.rollout import Action, Look
from bakeoff.sequential import Sums
from bakeoff.strata import Units, Values
from bakeoff.verdicts import Verdict

NOW = datetime(2026, 1, 5, 20, 0, tzinfo=UTC)
BEGAN = NOW - timedelta(hours=12)
WATCH = {
    "errors": {"margin": 0.01, "base_rate": 0.99},
    "quality": {"margin": 0.05, "base_rate": 0.8},
    "latency_p95": {"margin": 0.25},
}
KEYS = {
    *("watched", "verdict", "action", "value", "baseline", "difference", "low", "high", "margin"),
    *("n_baseline", "n_candidate", "said"),
}


def prepared(traffic: float = 200.0, **more: Any) -> Prepared:
    """48 hours at 10, 50 and 100 %, three things watched."""
    steps = [{"percent": percent, "hours": 16} for percent in (10, 50, 100)]
    given = strategy.parse({"strategy": "test", "watch": WATCH, "steps": steps} | more, source="test")
    return live.prepare(given, traffic)


def arm(
    n: int,
    *,
    ok: float = 0.99,
    good: float = 0.8,
    rated: float = 0.5,
    slow: float = 1.0,
    units: int = 0,
    last: datetime | None = NOW,
) -> ArmSeen:
    """An arm of *n* outcomes with these rates; latencies are evenly spread up to *slow* * 1,000 ms."""
    count = round(n * rated)
    latency = [slow * 1000.0 * (k + 0.5) / n for k in range(n)]
    quality = Values.yes_no(round(count * good), count)
    return ArmSeen(Values.yes_no(round(n * ok), n), quality, latency, units, last if n else None)


def look(one: ArmSeen, other: ArmSeen, *, step: int = 1, past: Sequence[StepSeen] = (), **more: Any) -> Look:
    """What a look says of both arms within a step."""
    seen = [*past, StepSeen(step, one, other, more.pop("crossing", 0))]
    return live.judge(more.pop("rules", None) or prepared(**more), seen, now=NOW, step=step, step_began_at=BEGAN)


def of(found: Look, watched: str) -> dict[str, Any]:
    """The finding about one thing."""
    (item,) = [dict(item) for item in found.findings if item["watched"] == watched]
    return item


def test_a_candidate_that_is_no_worse_goes_on() -> None:
    """Everything measured, nothing lost; every finding is plain JSON with the same keys."""
    found = look(arm(1800), arm(200))
    assert (Action.GO, Verdict.PASS, 200) == (found.action, found.verdict, found.candidate_outcomes)
    assert "nothing watched is worse than its margin allows" == found.said
    assert {"errors", "quality", "latency_p95", "share_mismatch", "silence", "crossing"} == {
        item["watched"] for item in found.findings
    }
    for item in found.findings:
        assert KEYS == item.keys()
        assert item == json.loads(json.dumps(item, allow_nan=False))


@pytest.mark.parametrize(
    ("worse", "watched", "said"),
    [
        ({"ok": 0.8}, "errors", "errors lost 19.0 pt of 1.0 pt allowed"),
        ({"good": 0.3}, "quality", "quality lost 50.0 pt of 5.0 pt allowed"),
        ({"slow": 3.0}, "latency_p95", "latency_p95 grew from 950 to 2842 ms, by more than 25%"),
    ],
    ids=["errors", "quality", "latency"],
)
def test_a_loss_that_is_shown_rolls_back(worse: dict[str, Any], watched: str, said: str) -> None:
    """Of any of the things watched, whatever the others say; the finding has the figures."""
    found = look(arm(1800), arm(200, **worse))
    assert (Action.ROLL_BACK, Verdict.FAIL, said) == (found.action, found.verdict, found.said)
    item = of(found, watched)
    assert (1800, 200) == (item["n_baseline"], item["n_candidate"]) or watched == "quality"
    assert item["value"] is not None
    assert item["baseline"] is not None
    outside = item["low"] > item["margin"] if watched == "latency_p95" else item["high"] < -item["margin"]
    assert outside


def test_what_was_not_measured_holds() -> None:
    """No rating, no timing, no outcome: no data, never a pass; zero is a rating."""
    found = look(arm(1800, rated=0.0), arm(200, rated=0.0))
    assert (Action.HOLD, Verdict.NO_DATA) == (found.action, found.verdict)
    assert "quality was not measured in this step" == found.said
    assert of(found, "quality")["value"] is None
    untimed = [ArmSeen(a.errors, a.quality, (), 0, NOW) for a in (arm(1800), arm(200))]
    assert "latency_p95 was not measured in this step" == look(*untimed).said
    nothing = live.judge(prepared(), [], now=NOW, step=1, step_began_at=NOW)
    assert (Action.HOLD, Verdict.NO_DATA, 0) == (nothing.action, nothing.verdict, nothing.candidate_outcomes)
    assert 0.0 == of(look(arm(1800), arm(200, good=0.0)), "quality")["value"]


def test_too_few_say_nothing_yet() -> None:
    """Fewer than 30 values of an arm within this step, or of fewer than 30 people: inconclusive, and the step stays."""
    past = StepSeen(1, arm(2880), arm(320))
    found = look(arm(20), arm(20), step=2, past=[past])
    assert (Action.HOLD, Verdict.INCONCLUSIVE) == (found.action, found.verdict)
    assert "errors: 20 values or units in this step, 30 are needed" in found.said
    assert "latency_p95: 20 values or units in this step, 30 are needed" in found.said
    crowd = Units(5, 9000.0, 9000.0, 9000.0)
    few = ArmSeen(Values(Sums(200, 198.0, 198.0), crowd), arm(200).quality, arm(200).latency, 0, NOW)
    assert "errors: 5 values or units in this step, 30 are needed" == look(arm(1800), few).said


def test_earlier_steps_count() -> None:
    """A loss that neither step shows alone is shown by both."""
    one, other = StepSeen(1, arm(2880), arm(320, good=0.62)), (arm(1000), arm(1000, good=0.7))
    assert Action.GO == look(*other, step=2).action
    assert Action.GO == look(one.baseline, one.candidate).action
    assert "quality lost" in look(*other, step=2, past=[one]).said


def test_at_100_percent_nothing_is_compared() -> None:
    """The baseline has nothing: said so; a thing that is not measured still holds, and a floor still counts."""
    found = look(
        ArmSeen(), arm(1600), step=3, past=[StepSeen(1, arm(2880), arm(320)), StepSeen(2, arm(1600), arm(1600))]
    )
    assert (Action.GO, Verdict.PASS) == (found.action, found.verdict)
    for watched in ("errors", "quality", "latency_p95"):
        assert f"{watched}: not compared, the baseline gets no traffic" == of(found, watched)["said"]
    assert Action.HOLD == look(ArmSeen(), arm(1600, rated=0.0), step=3).action
    floor = WATCH | {"quality": {"margin": 0.05, "base_rate": 0.8, "at_least": 0.7}}
    assert (
        "quality: not shown to be below 70.0%"
        == of(look(ArmSeen(), arm(1600), step=3, watch=floor), "quality_at_least")["said"]
    )
    below = look(ArmSeen(), arm(1600, good=0.5), step=3, watch=floor)
    assert (Action.ROLL_BACK, "quality is 50.0%, below the floor of 70.0%") == (below.action, below.said)
    few = look(ArmSeen(), arm(1600, rated=0.01), step=3, watch=floor)
    assert Verdict.INCONCLUSIVE.value == of(few, "quality_at_least")["verdict"]


def test_what_the_baseline_answers_at_100_percent_is_not_compared() -> None:
    """Those are other requests: neither a loss nor a NaN of theirs stops a good candidate; its own NaN does."""
    past = [StepSeen(1, arm(2880), arm(320)), StepSeen(2, arm(1600), arm(1600))]
    found = look(arm(1600, ok=1.0, good=1.0, slow=0.1), arm(1600), step=3, past=past)
    assert (Action.GO, Verdict.PASS) == (found.action, found.verdict)
    before = of(look(past[1].baseline, past[1].candidate, step=2, past=past[:1]), "quality")
    assert [before[name] for name in ("difference", "low", "high")] == [
        of(found, "quality")[name] for name in ("difference", "low", "high")
    ]
    broken = ArmSeen(arm(100).errors, Values(Sums(100, math.nan, 1.0)), arm(100).latency, 0, NOW)
    assert Action.ERROR == look(ArmSeen(), broken, step=3, past=past).action


def test_requests_without_a_unit_are_compared_where_both_arms_have_them() -> None:
    """As the same part of each, by a factor of two; an arm without outcomes says nothing."""
    assert live.comparable((0, 90), (0, 10))
    assert live.comparable((90, 90), (10, 10))
    assert live.comparable((9, 90), (2, 10))
    assert live.comparable((0, 0), (10, 10))
    assert live.comparable((0, 0), (0, 0))
    assert not live.comparable((9, 90), (0, 10))
    assert not live.comparable((40, 90), (1, 10))
    assert not live.comparable((0, 90), (3, 10))


def test_what_is_left_out_is_said() -> None:
    """How many, without stopping anything; where nothing else is left of an arm the step holds."""
    some = replace(arm(1800), left_out=40)
    found = look(some, arm(200))
    assert Action.GO == found.action
    item = of(found, "without_unit")
    assert ("pass", 40, 0) == (item["verdict"], item["n_baseline"], item["n_candidate"])
    assert "40 outcomes without a unit are not compared: they do not come in both arms alike" == item["said"]
    nothing = look(replace(ArmSeen(last_at=NOW), left_out=1800), arm(200))
    assert (Action.HOLD, Verdict.NO_DATA) == (nothing.action, nothing.verdict)
    assert "1800 outcomes without a unit are not compared" in nothing.said
    assert "no_data" == of(look(some, ArmSeen()), "without_unit")["verdict"]
    assert "pass" == of(look(replace(ArmSeen(), left_out=9), arm(1600), step=3), "without_unit")["verdict"]


def test_only_what_decides_is_said() -> None:
    """A loss is not explained by what would have held, nor an error by it."""
    lost = look(arm(1800), arm(200, ok=0.5, rated=0.01))
    assert (Action.ROLL_BACK, "errors lost 49.0 pt of 1.0 pt allowed") == (lost.action, lost.said)


def test_latencies_of_few_people_are_worth_few() -> None:
    """Ranks are those of as many as the people are worth, scaled; fewer than 30 people say nothing yet."""
    given = prepared()
    alike = Values(Sums(1000, 950.0, 950.0), Units(50, 19_000.0, 19_000.0, 20_000.0))
    assert 20.0 == pytest.approx(alike.design_effect, rel=0.05)
    wide, narrow = live.wanted(given, 1, 0, 1000, {"latency_p95": alike}), live.wanted(given, 1, 0, 1000)
    assert wide[0] < narrow[0] < 950
    assert 950 == wide[-1]  # of what they are worth the upper bound is none
    single = Values(Sums(1000, 950.0, 950.0), Units(1000, 950.0, 950.0, 1000.0))
    assert narrow == live.wanted(given, 1, 0, 1000, {"latency_p95": single})
    double = Values(Sums(1000, 950.0, 950.0), Units(500, 1900.0, 1900.0, 2000.0))
    at = live.wanted(given, 1, 0, 1000, {"latency_p95": double})
    assert at[0] < narrow[0] < narrow[2] < at[2] <= 1000
    one, other = arm(1800), arm(200, slow=3.0)
    crowd = Values(Sums(200, 190.0, 190.0), Units(20, 1900.0, 1900.0, 2000.0))
    few = look(one, replace(other, up_to={"latency_p95": crowd}))
    assert "latency_p95: 20 values or units in this step, 30 are needed" == few.said
    assert Action.ROLL_BACK == look(one, other).action


def test_nan_is_an_error() -> None:
    """Neither a pass nor a fail; a loss that is shown of something else rolls back all the same."""
    broken = Values(Sums(100, math.nan, 10.0))
    one, other = arm(1800), arm(200)
    bad = ArmSeen(other.errors, broken, other.latency, 0, NOW)
    found = look(one, bad)
    assert (Action.ERROR, Verdict.ERROR, "quality is NaN or infinite") == (found.action, found.verdict, found.said)
    floor = WATCH | {"quality": {"margin": 0.05, "base_rate": 0.8, "at_least": 0.7}}
    assert "error" == of(look(one, bad, watch=floor), "quality_at_least")["verdict"]
    timeless = ArmSeen(other.errors, other.quality, [math.nan] * 200, 0, NOW)
    assert "latency_p95 is NaN or infinite" == look(one, timeless).said
    lost = ArmSeen(arm(200, ok=0.5).errors, broken, other.latency, 0, NOW)
    assert (Action.ROLL_BACK, Verdict.FAIL) == (look(one, lost).action, look(one, lost).verdict)


@pytest.mark.parametrize(
    ("severity", "action", "verdict"),
    [("rollback", Action.ROLL_BACK, "fail"), ("hold", Action.HOLD, "inconclusive"), ("warn", Action.GO, "pass")],
)
def test_guards_do_what_the_strategy_says(severity: str, action: Action, verdict: str) -> None:
    """Units in another share, an arm that is silent, units in both arms: each is said, with its action."""
    for name, found in (
        ("share_mismatch", look(arm(1800, units=900), arm(200, units=200), guards={"share_mismatch": severity})),
        ("crossing", look(arm(1800), arm(200), crossing=3, guards={"crossing": severity})),
        ("silence", look(arm(1800), arm(200, last=NOW - timedelta(hours=3)), guards={"silence": severity})),
    ):
        assert (action, verdict) == (found.action, of(found, name)["verdict"])
    assert (
        "200 of 1100 units are the candidate's, not its share, 10% (switches thrown?)"
        in of(look(arm(1800, units=900), arm(200, units=200)), "share_mismatch")["said"]
    )
    assert "the candidate had no outcome for 3.0 hours" == of(found, "silence")["said"]


def test_a_few_units_in_both_arms_are_no_sign() -> None:
    """One tester in both arms holds nothing for ever; more than one unit in a hundred do."""
    for crossing, action in ((10, Action.GO), (11, Action.HOLD)):
        seen = look(arm(1800, units=900), arm(200, units=100), crossing=crossing, guards={"crossing": "hold"})
        assert (action, f"{crossing} units had outcomes of both arms in this step") == (
            seen.action,
            of(seen, "crossing")["said"].removesuffix(", at most 1%"),
        )


def test_silence_waits_for_what_is_expected() -> None:
    """Little traffic is no silence; a step that has just begun is none; at 100 % the baseline may be silent."""
    old = NOW - timedelta(hours=3)
    assert Action.GO == look(arm(1800), arm(200, last=old), traffic=20.0).action
    recent = live.judge(
        prepared(),
        [StepSeen(1, arm(1800), arm(200, last=old))],
        now=NOW,
        step=1,
        step_began_at=NOW - timedelta(hours=1),
    )
    assert Action.GO == recent.action
    assert Action.GO == look(ArmSeen(), arm(1600), step=3).action
    assert "the baseline had no outcome for 3.0 hours" in look(arm(1800, last=old), arm(200)).said
    never = live.judge(prepared(), [], now=NOW, step=1, step_began_at=BEGAN)
    assert "the candidate had no outcome for 12.0 hours" in never.said


def test_an_equal_share_of_alpha_for_everything_watched() -> None:
    """Rules and floors; a side of a quantile gets its part of each step that compares."""
    found = prepared(watch=WATCH | {"quality": {"margin": 0.05, "base_rate": 0.8, "at_least": 0.7}})
    assert 0.05 / 4 == found.alpha
    assert found.alpha / 4 == found.latency_alpha
    assert {"errors", "quality"} == found.rhos.keys()
    assert {"quality"} == found.floor_rhos.keys()
    alone = prepared(steps=[{"percent": 100, "hours": 1}], watch=WATCH)
    assert {} == alone.rhos
    item = of(look(arm(100), arm(100), rules=alone), "errors")
    assert (None, "pass") == (item["difference"], item["verdict"])


def test_the_ranks_that_a_look_needs_are_asked_for() -> None:
    """The quantile's own and its bounds'; few values need none, and nothing watched needs none."""
    given = prepared()
    wanted = live.wanted(given, 1, 1, 300)
    assert 3 == len(wanted)
    assert wanted[0] < 285 == wanted[1] < wanted[2]
    assert [] == live.wanted(given, 1, 1, 29)
    assert [] == live.wanted(prepared(watch={"errors": WATCH["errors"]}), 1, 1, 300)
    few = live.wanted(given, 1, 1, 31)
    assert few[-1] == 30  # the upper bound of 31 values is none of them


def test_a_latency_of_nothing_has_no_ratio() -> None:
    """A baseline that took no time can't be exceeded by a ratio: nothing is claimed."""
    item = of(look(arm(1800, slow=0.0), arm(200)), "latency_p95")
    assert ("pass", None) == (item["verdict"], item["difference"])


@pytest.mark.parametrize("rate", [0.5, 0.9])
def test_a_good_candidate_is_seldom_rolled_back(rate: float) -> None:
    """80 rollouts of equal arms at 200 questions an hour, looked at every hour, three gates: at most 5 %."""
    watch = {
        "errors": {"margin": 0.0, "base_rate": rate},
        "quality": {"margin": 0.0, "base_rate": rate},
        "latency_p95": {"margin": 0.0},
    }
    rules = prepared(watch=watch)
    rng = np.random.default_rng(11)
    assert sum(_rolled_back(rules, rng, rate) for _ in range(80)) <= 4


def _rolled_back(rules: Prepared, rng: np.random.Generator, rate: float) -> bool:
    """Whether some look of one rollout asks for it."""
    past: list[StepSeen] = []
    for step, counts in ((1, (180, 20)), (2, (100, 100))):
        ok, quality = (np.cumsum([rng.binomial(counts, rate) for _ in range(16)], axis=0) for _ in range(2))
        times = [rng.exponential(300.0, size=16 * n) for n in counts]
        for hour in range(1, 17):
            one, other = (
                ArmSeen(
                    Values.yes_no(int(ok[hour - 1, side]), n * hour),
                    Values.yes_no(int(quality[hour - 1, side]), n * hour),
                    np.sort(times[side][: n * hour]).tolist(),
                    0,
                    NOW,
                )
                for side, n in enumerate(counts)
            )
            seen = StepSeen(step, one, other)
            found = live.judge(rules, [*past, seen], now=NOW, step=step, step_began_at=NOW)
            if found.action == Action.ROLL_BACK:
                return True
        past.append(seen)
    return False
