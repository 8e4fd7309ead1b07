"""Plans: one name for equal plans, what gates and steps will be able to see, and what differs from a plan."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bakeoff import canonical, foresight, metrics, plan, power, rules, strategy
from bakeoff.gold import Passage, Question, Span
from bakeoff.plan import Arm, Asked, GateSight, Plan
from bakeoff.rules import LATENCY
from bakeoff.strategy import Strategy
from tests import judged

WATCH = {"errors": {"margin": 0.01, "base_rate": 0.99}, "quality": {"margin": 0.05, "base_rate": 0.8}}
DAY = {
    "strategy": "day",
    "look_every_hours": 1,
    "watch": WATCH,
    "steps": [{"percent": 10, "hours": 8}, {"percent": 50, "hours": 8}, {"percent": 100, "hours": 8}],
}


def rollout(**changed: Any) -> Strategy:
    """A day, changed."""
    return strategy.parse(DAY | changed, source="test")


def fixed(**changed: Any) -> Plan:
    """A plan in which nothing is computed, changed."""
    given: dict[str, Any] = {
        "baseline": Arm(name="old", CHUNK_VERSION="v1", CONFIG_HASH="a" * 16),
        "candidate": Arm(name="new", CHUNK_VERSION="v2", CONFIG_HASH="b" * 16),
        "questions": Asked(name="asked", sha256="c" * 64, used=40, measurable={"f1": 40}),
        "corpus_sha256": "d" * 64,
        "gold_share": 0.5,
        "gates": judged.profile(judged.GATES["loss of a mean"]),
        "rollout": rollout(),
        "seed": 7,
        "timed": 40,
        "traffic_per_hour": 200.0,
        "sight": (),
        "steps": (),
    }
    return Plan(**given | changed)


def test_the_name_of_a_plan_is_pinned() -> None:
    """Another digest for the same content would make every stored plan a stranger."""
    found = fixed()
    assert "3321c4ac8f99fae4f26f525e4cdd88a69a4109929bed98008bebccef02ba7805" == found.digest
    assert found.digest[:12] == found.short
    assert canonical.digest(found.body()) == found.digest


def test_a_stored_plan_keeps_its_name() -> None:
    """A plan of an older version, which wrote fewer keys, is still called what it was stored as."""
    body = fixed().body()
    del body["rollout"]["guards"], body["known_scores"]
    found = Plan.stored(body)
    assert (canonical.digest(body), body) == (found.digest, found.body())
    assert fixed().rollout == found.rollout


def test_equal_plans_are_one_plan() -> None:
    """Written to JSON and read again it is the same; whatever it fixes is in its name."""
    found = fixed(accepted_blind=("g",), known_scores=("run",))
    assert found == Plan.model_validate_json(canonical.encode(found.body()))
    assert fixed().digest == fixed().digest
    others: list[dict[str, Any]] = [
        {"seed": 8},
        {"timed": 41},
        {"gold_share": 0.6},
        {"traffic_per_hour": 201.0},
        {"accepted_blind": ("g",)},
        {"known_scores": ("run",)},
        {"corpus_sha256": "e" * 64},
        {"rollout": rollout(strategy="other")},
        {"gates": judged.profile(judged.GATES["loss of a mean"], alpha=0.04)},
        {"candidate": Arm(name="new", CHUNK_VERSION="v2", CONFIG_HASH="c" * 16)},
        {"questions": Asked(name="asked", sha256="c" * 64, used=41, measurable={"f1": 40})},
    ]
    assert len(others) + 1 == len({fixed().digest, *(fixed(**other).digest for other in others)})


FACT = (Passage((Span("doc", 0, 10),)),)


def test_questions_count_for_what_they_can_say_something_about() -> None:
    """A passage speaks of hits and text, an answer of answers, a judgement of documents of rankings; all of time."""
    asked = [
        Question("bare", "?"),
        Question("passage", "?", passages=FACT),
        Question("answer", "?", answers=("a",)),
        Question("documents", "?", relevant={"doc": 2, "other": 0}),
        Question("no document", "?", relevant={"doc": 0}),
        Question("unanswerable", "?", answerable=False),
    ]
    found = plan.measurable(asked)
    everybody = {"faithfulness": 6, LATENCY: 6}
    hits = dict.fromkeys(("oracle_retrieval_hit_prefilter", "filter_hit_postfilter", "reader_used_gold"), 2)
    answers = dict.fromkeys(("answer_right", "em", "precision", "recall", "f1"), 2)
    text = dict.fromkeys(("text_recall", "text_precision", "text_iou"), 1)
    ranked = dict.fromkeys(("ndcg_at_10", "recall_at_10", "reciprocal_rank"), 1)
    assert everybody | hits | answers | text | ranked == found
    assert {} == plan.measurable([])
    assert set(found) - {LATENCY} <= rules.METRICS


@pytest.mark.parametrize("answers", [(), ("",), (" ", "\n"), ("+=",), ("the",), ("", "word")])
@pytest.mark.parametrize("answerable", [True, False])
def test_an_answer_counts_where_a_reader_could_have_a_figure(answers: tuple[str, ...], *, answerable: bool) -> None:
    """A gold answer without a token is none: what the plan counts on is what the metrics give, question by question."""
    counted = plan.measurable([Question("q", "?", answers=answers, answerable=answerable)])
    scored = metrics.answer_scores("some words", answers, answerable=answerable)
    judged_right = metrics.right("some words", answers, answerable=answerable)
    assert int(scored is not None) == counted.get("f1", 0) == counted.get("em", 0)
    assert int(judged_right is not None) == counted.get("answer_right", 0)


def sees(gate: dict[str, Any], n: int, *others: dict[str, Any], **more: Any) -> GateSight:
    """What one gate will see with *n* questions."""
    profile = judged.profile(gate, *others, **more)
    return plan.sight(profile, {gate["metric"]: n})[0]


SHARE, MEAN, TIME = (judged.GATES[name] for name in ("loss of a share", "loss of a mean", "loss of time"))


def test_a_test_for_a_loss_sees_what_its_power_says() -> None:
    """By the assumptions of the gate, at the error rate that it shares with the other tests that block."""
    rule = power.Rule(0.1, 0.0, 0.05, 0.05)
    shown = power.detectable_yes_no(200, discordance=0.1, rule=rule)
    assert shown is not None
    assert (round(shown, 6), False) == (sees(SHARE, 200).detectable, sees(SHARE, 200).blind)
    assert "arms differ on 10% of the questions" == sees(SHARE, 200).because
    assert round(power.detectable_mean(200, spread=0.2, rule=rule), 6) == sees(MEAN, 200).detectable
    assert "a question's difference spreads by 0.2" == sees(MEAN, 200).because
    half = power.Rule(0.1, 0.0, 0.05, 0.025)
    other = SHARE | {"name": "other"}
    assert round(power.detectable_mean(40, spread=0.2, rule=half), 6) == sees(MEAN, 40, other).detectable
    quiet = MEAN | {"severity": "warn"}
    assert round(power.detectable_mean(40, spread=0.2, rule=rule), 6) == sees(quiet, 40, other).detectable


def test_a_gate_of_time_sees_a_percentile_not_a_mean() -> None:
    """A 95th percentile spreads three times as much as a timing does."""
    rule = power.Rule(0.5, 0.0, 0.05, 0.05)
    shown = power.detectable_p95_ratio(300, spread=power.p95_spread(0.4), rule=rule)
    found = sees(TIME, 300)
    assert (round(shown, 6), False) == (found.detectable, found.blind)
    assert "a timing's logarithm spreads by 0.4" == found.because


@pytest.mark.parametrize(
    ("gate", "n", "because"),
    [
        (SHARE | {"margin": 0.02}, 200, "arms differ on 10% of the questions"),
        (MEAN | {"margin": 0.01}, 100, "a question's difference spreads by 0.2"),
        (MEAN, 29, "29 questions, fewer than 30"),
        (MEAN, 1, "1 question, fewer than 30"),
        (MEAN, 0, "0 questions, fewer than 30"),
        (TIME, 99, "99 questions, fewer than 100"),
        (judged.GATES["level of a share"], 29, "29 questions, fewer than 30"),
        (judged.GATES["gain of a mean"], 0, "0 questions, fewer than 30"),
    ],
    ids=["share", "mean", "too few", "one", "none", "timings", "level", "gain"],
)
def test_a_gate_that_cant_see_its_margin_is_blind(gate: dict[str, Any], n: int, because: str) -> None:
    """Its margin is below what it would see, or it has too few questions; why is said."""
    found = sees(gate, n)
    assert (True, because, n) == (found.blind, found.because, found.n)


def test_figures_of_the_whole_are_exact() -> None:
    """They see everything, without a question."""
    for name in ("level of a fact", "stable"):
        found = sees(judged.GATES[name], 0)
        assert (0.0, False, 1, None) == (found.detectable, found.blind, found.n, found.margin)


def test_gains_and_levels_see_by_a_spread_that_is_known() -> None:
    """A gain by what the same metric's test assumes, the level of a share by its own spread; else nothing is said."""
    z = 1.6448536 + 0.8416212
    gain = judged.GATES["gain of a share"]
    assert sees(gain, 100, SHARE | {"name": "loss"}).detectable == pytest.approx(z * math.sqrt(0.1 / 100), abs=1e-6)
    assert "as assumed in gate loss" == sees(gain, 100, SHARE | {"name": "loss"}).because
    graded = sees(judged.GATES["gain of a mean"], 100, MEAN | {"name": "loss"})
    assert graded.detectable == pytest.approx(z * 0.2 / 10, abs=1e-6)
    level = sees(judged.GATES["level of a share"], 100)
    assert level.detectable == pytest.approx(z * math.sqrt(0.2 * 0.8 / 100), abs=1e-6)
    ceiling = sees({"rule": "level", "metric": judged.YES, "at_most": 0.2}, 100)
    assert level.detectable == ceiling.detectable
    unknown = sees(gain, 100, MEAN | {"name": "loss"})
    assert (None, False) == (unknown.detectable, unknown.blind)
    assert "no assumption about its spread: give the metric a no_worse gate" == unknown.because
    assert None is sees(judged.GATES["level of a mean"], 100).detectable


def test_a_metric_that_the_questions_say_nothing_about_is_blind() -> None:
    """No question with gold: the gate has none."""
    (found,) = plan.sight(judged.profile(SHARE), {"f1": 100})
    assert (0, True) == (found.n, found.blind)


def test_steps_see_what_their_traffic_shows() -> None:
    """Every watched outcome, by the looks up to each step's end; at 100 % there is nothing to compare with."""
    found = plan.steps(rollout(), traffic_per_hour=200.0, seed=7)
    assert [(1, "errors"), (1, "quality"), (2, "errors"), (2, "quality"), (3, "errors"), (3, "quality")] == [
        (item.step, item.watched) for item in found
    ]
    assert [(1440, 160), (800, 800), (0, 1600)] == [
        (item.baseline_outcomes, item.candidate_outcomes) for item in found[::2]
    ]
    shown = foresight.by_step(rollout(), traffic_per_hour=200.0, seed=7)["quality"]
    assert shown[1] is not None
    assert (round(shown[1], 6), 0.05) == (found[3].detectable, found[3].margin)
    assert [None, None] == [item.detectable for item in found[4:]]
    assert found == plan.steps(rollout(), traffic_per_hour=200.0, seed=7)


def test_steps_see_by_the_looks_that_are_tuned() -> None:
    """Looks that were tuned to other traffic than comes see as these do; what arrives is what comes."""
    own, others, came = (
        plan.steps(rollout(), traffic_per_hour=2000.0, seed=7, tuned_to=tuned) for tuned in (None, 200.0, 2000.0)
    )
    assert own == came
    assert [item.detectable for item in own] != [item.detectable for item in others]
    assert [item.candidate_outcomes for item in own] == [item.candidate_outcomes for item in others]


def test_a_step_that_waits_for_outcomes_still_sees_them() -> None:
    """An hour without an outcome of the candidate does not blind the others."""
    thin = rollout(steps=[{"percent": 10, "hours": 200}, {"percent": 100, "hours": 1}])
    found = plan.steps(thin, traffic_per_hour=6.0, seed=7)
    assert (1080, 120) == (found[1].baseline_outcomes, found[1].candidate_outcomes)
    assert found[1].detectable is not None
    assert 0.05 < found[1].detectable < 0.8
    assert None is plan.steps(thin, traffic_per_hour=0.001, seed=7)[1].detectable


@example(traffic=5.0, percent=50.0, hours=1.0, every=1.0)
@given(
    st.floats(0.001, 500.0),
    st.integers(10, 9900).map(lambda hundredths: hundredths / 100),
    st.floats(0.1, 30.0),
    st.sampled_from([0.25, 1.0, 7.0, 24.0]),
)
def test_outcomes_add_up_to_the_traffic(traffic: float, percent: float, hours: float, every: float) -> None:
    """Of every step: whole numbers, none negative, together what arrives in its hours."""
    given = rollout(
        look_every_hours=every,
        steps=[{"percent": percent, "hours": hours}, {"percent": 100, "hours": hours}],
        watch={"errors": {"margin": 0.0, "base_rate": 0.5}},
    )
    for row in strategy.timetable(given):
        looks = foresight.looks(row, given, traffic)
        arrived = round(traffic * (row.ends_hour - row.begins_hour))
        assert arrived == sum(map(sum, looks))
        assert all(min(look) >= 0 for look in looks)
        assert len(looks) == max(1, math.floor((row.ends_hour - row.begins_hour) / every))
        assert abs(sum(look[1] for look in looks) - arrived * row.percent / 100) <= 0.5


UNLIKE = {
    "baseline": "a" * 16,
    "candidate": "b" * 16,
    "questions": "c" * 64,
    "corpus": "d" * 64,
    "gates": fixed().gates.digest,
    "gold_share": 0.5,
}


@pytest.mark.parametrize("name", UNLIKE)
def test_what_differs_from_a_plan_is_named(name: str) -> None:
    """Each thing that a plan fixes, with both figures."""
    found = plan.unlike(fixed(), UNLIKE | {name: 0.4 if name == "gold_share" else "f" * 64})
    assert found is not None
    wanted, seen = ("0.5", "0.4") if name == "gold_share" else (str(UNLIKE[name])[:16], "f" * 16)
    assert f"{name}: the plan fixes {wanted}, found {seen}" == found
    assert found == plan.unlike(fixed(), {name: 0.4 if name == "gold_share" else "f" * 64})


def test_what_a_plan_fixes_is_like_it() -> None:
    """Nothing differs in all of it, in none of it, and in what a plan does not fix."""
    assert None is plan.unlike(fixed(), UNLIKE)
    assert None is plan.unlike(fixed(), {})
    assert None is plan.unlike(fixed(), {"weather": "rain"})
