"""Successive halving: nested questions, nobody lost on the way, and a winner no more often than alpha by chance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special

from bakeoff import halving, stats, sweep
from bakeoff.errors import InputError
from bakeoff.halving import Rung, Standing, Values
from bakeoff.verdicts import Verdict


def made(**given_keys: Any) -> sweep.Sweep:
    """A sweep of something, with these keys."""
    return sweep.parse({"grid": {"seed": [1]}, **given_keys}, source="s.yaml")


def ids(count: int) -> list[str]:
    """Names of questions."""
    return [f"q{n:03d}" for n in range(count)]


STRATA = st.dictionaries(st.sampled_from(ids(200)), st.sampled_from("abc"), min_size=60)
FILES = st.builds(
    made,
    eta=st.integers(2, 4),
    first_rung=st.none() | st.integers(1, 12),
    finalists=st.integers(1, 5),
    holdout=st.sampled_from([0.3, 0.5]),
    seed=st.integers(0, 99),
)


@given(STRATA, st.integers(1, 40), FILES)
@settings(max_examples=40)
def test_a_schedule_leads_from_all_candidates_to_the_finalists(
    strata: dict[str, str], count: int, file: sweep.Sweep
) -> None:
    """Each rung begins with whom the last one kept and asks more; nothing of the holdout; no question twice."""
    found = halving.schedule(strata, count, file)
    assert min(count, file.finalists) == found.finalists
    assert set(strata) == {*found.narrowing, *found.holdout}
    assert len(strata) == len(found.narrowing) + len(found.holdout)
    arms = [count, *(rung.keep for rung in found.rungs)]
    assert arms[:-1] == [rung.arms for rung in found.rungs]
    assert found.finalists == arms[-1]
    assert sorted(set(arms), reverse=True) == arms
    sizes = [rung.questions for rung in found.rungs]
    assert sorted(set(sizes)) == sizes
    new = [found.new_in(number) for number in range(len(found.rungs))]
    for number, rung in enumerate(found.rungs):
        assert found.narrowing[: rung.questions] == tuple(name for part in new[: number + 1] for name in part)
        assert new[number]
    asked = sum(len(part) * (rung.arms + 1) for part, rung in zip(new, found.rungs, strict=True))
    assert asked + len(found.holdout) * (found.finalists + 1) == found.answers


@given(STRATA, st.integers(0, 99), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_every_beginning_of_the_questions_has_its_share_of_each_kind(
    strata: dict[str, str], seed: int, rng: Any
) -> None:
    """Less than one question off at some common share; the order in which they are given changes nothing."""
    ordered = halving.arranged(strata, seed=seed)
    shuffled = dict(rng.sample(sorted(strata.items()), len(strata)))
    assert ordered == halving.arranged(shuffled, seed=seed)
    assert sorted(strata) == sorted(ordered)
    sizes = {kind: list(strata.values()).count(kind) for kind in set(strata.values())}
    for end in range(len(ordered) + 1):
        seen = {kind: sum(strata[name] == kind for name in ordered[:end]) for kind in sizes}
        lowest = max((seen[kind] - 1) / size for kind, size in sizes.items())
        highest = min((seen[kind] + 1) / size for kind, size in sizes.items())
        assert lowest <= highest + 1e-12


def test_another_seed_asks_in_another_order_and_digests_pin_it() -> None:
    """What others stored can be continued: the same questions on every machine."""
    strata = dict.fromkeys(ids(12), "one")
    assert ("q001", "q011", "q007", "q000", "q008") == halving.arranged(strata, seed=7)[:5]
    assert halving.arranged(strata, seed=7) != halving.arranged(strata, seed=8)


def test_the_last_rung_asks_everything_unless_a_first_one_is_given() -> None:
    """16 candidates, 3 finalists, 160 questions; a rung that would ask nothing new is one with the rung before it."""
    assert (Rung(40, 16, 8), Rung(80, 8, 4), Rung(160, 4, 3)) == halving.rungs(16, 160, made())
    assert (Rung(20, 16, 8), Rung(40, 8, 4), Rung(80, 4, 3)) == halving.rungs(16, 160, made(first_rung=20))
    assert (Rung(60, 16, 8), Rung(100, 8, 3)) == halving.rungs(16, 100, made(first_rung=60))
    assert (Rung(54, 27, 9), Rung(160, 9, 3)) == halving.rungs(27, 160, made(eta=3))
    assert () == halving.rungs(3, 0, made())


def test_with_nothing_to_narrow_every_question_is_the_holdouts() -> None:
    """Three candidates, three finalists."""
    found = halving.schedule(dict.fromkeys(ids(20), ""), 3, made())
    assert ((), (), 20, 80) == (found.rungs, found.narrowing, len(found.holdout), found.answers)


def test_too_few_questions_are_refused_with_the_numbers() -> None:
    """For the first rung, and for a holdout of which even the best result would prove nothing."""
    with pytest.raises(InputError, match=r"^9 questions for narrowing, fewer than the 10 of the first rung$"):
        halving.schedule(dict.fromkeys(ids(18), ""), 8, made(holdout=0.5))
    with pytest.raises(InputError, match=r"^14 questions for narrowing, fewer than the 15 of the first rung$"):
        halving.schedule(dict.fromkeys(ids(20), ""), 8, made(first_rung=15))
    with pytest.raises(InputError, match=r"^5 of 20 questions are the holdout: no result of fewer than 6 could show "):
        halving.schedule(dict.fromkeys(ids(20), ""), 8, made(holdout=0.25))
    with pytest.raises(InputError, match=r"^1 of 1 question is the holdout: no .* that one of 1 finalist is better at"):
        halving.schedule(dict.fromkeys(ids(1), ""), 1, made())
    with pytest.raises(InputError, match=r"^0 of 0 questions are the holdout"):
        halving.schedule({}, 2, made())


def drawn(data: st.DataObject, names: list[str], values: st.SearchStrategy[float | None]) -> dict[str, float | None]:
    """A value for each of *names*."""
    return {name: data.draw(values) for name in names}


@given(st.data(), st.integers(1, 6), st.integers(1, 6), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_each_candidate_goes_on_or_is_dropped(data: st.DataObject, count: int, keep: int, rng: Any) -> None:
    """Each once, the best first, equals by hash, the unmeasured last, in any order of the arms."""
    names = ids(4)
    values = st.sampled_from([0.0, 0.5, 1.0, None])
    baseline, arms = drawn(data, names, values), {f"{n:x}": drawn(data, names, values) for n in range(count)}
    found = halving.narrow(baseline, arms, names, keep=keep)
    assert sorted(arms) == sorted(score.config_hash for score in found)
    assert min(keep, count) == sum(score.kept for score in found)
    assert sorted((score.kept for score in found), reverse=True) == [score.kept for score in found]
    keys = [(score.difference is None, -(score.difference or 0.0), score.config_hash) for score in found]
    assert sorted(keys) == keys
    shuffled = dict(rng.sample(sorted(arms.items()), len(arms)))
    assert found == halving.narrow(baseline, shuffled, names, keep=keep)
    for score in found:
        assert (score.pairs == 0) is (score.difference is None) is (score.mean is None)


def test_a_score_is_over_the_questions_that_both_have() -> None:
    """An undefined value on either side leaves the pair out, and only questions that are asked count."""
    baseline: Values = {"a": 1.0, "b": 0.0, "c": None, "d": 0.0, "e": 0.0}
    arm: Values = {"a": 1.0, "b": 1.0, "c": 1.0, "d": None, "e": 1.0}
    (found,) = halving.narrow(baseline, {"x": arm}, ["a", "b", "c", "d"], keep=1)
    assert (1.0, 0.5, 2) == (found.mean, found.difference, found.pairs)


def arm_of(gained: int, lost: int, same: int) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """A baseline and a candidate with so many questions gained, lost, and right on both sides."""
    names = ids(gained + lost + same)
    baseline = {name: 0.0 if n < gained else 1.0 for n, name in enumerate(names)}
    candidate = {name: 0.0 if gained <= n < gained + lost else 1.0 for n, name in enumerate(names)}
    return dict(baseline), dict(candidate)


def test_a_winner_is_proposed_where_its_adjusted_p_and_its_size_are_enough() -> None:
    """Nine gained, none lost: p is 1/512 by McNemar, three times that by Holm; the others stay what they are."""
    baseline, better = arm_of(9, 0, 51)
    found = halving.decide(baseline, {"c": better, "a": baseline, "b": baseline}, ids(60), made(minimum_effect=0.15))
    assert ("c", Verdict.PASS, None) == (found.winner, found.verdict, found.needed)
    first, second, third = found.finalists
    assert (Standing.BETTER, "c", 1 / 512, 3 / 512) == (
        first.standing,
        first.config_hash,
        first.p_better,
        first.p_adjusted,
    )
    assert 0.15 == first.paired.difference
    assert [("a", Standing.NOT_SHOWN, 1.0), ("b", Standing.NOT_SHOWN, 1.0)] == [
        (item.config_hash, item.standing, item.p_adjusted) for item in (second, third)
    ]


def test_a_proven_difference_below_the_minimum_effect_is_no_winner() -> None:
    """One hundredth above it is too much to ask, and no number of questions would help."""
    baseline, better = arm_of(9, 0, 51)
    found = halving.decide(baseline, {"c": better}, ids(60), made(minimum_effect=0.16))
    assert (None, Verdict.INCONCLUSIVE, None) == (found.winner, found.verdict, found.needed)
    assert Standing.TOO_SMALL is found.finalists[0].standing


def test_the_best_of_several_winners_is_proposed() -> None:
    """Both are better; the larger difference wins, and of equals the smaller hash."""
    baseline, better = arm_of(12, 0, 48)
    worse = {**better, "q000": 0.0}
    found = halving.decide(baseline, {"a": worse, "c": better, "b": better}, ids(60), made())
    assert ("b", ["b", "c", "a"]) == (found.winner, [item.config_hash for item in found.finalists])
    assert {Standing.BETTER} == {item.standing for item in found.finalists}


def test_a_correction_for_the_finalists_costs_a_winner() -> None:
    """Five gained of five differing: p 1/32 wins alone and not among three, with the questions that would be needed."""
    baseline, better = arm_of(5, 0, 55)
    assert "x" == halving.decide(baseline, {"x": better}, ids(60), made()).winner
    found = halving.decide(baseline, {"x": better, "y": baseline, "z": baseline}, ids(60), made())
    assert (None, Verdict.INCONCLUSIVE) == (found.winner, found.verdict)
    assert 3 / 32 == found.finalists[0].p_adjusted
    assert found.needed is not None
    assert 90 < found.needed < 130


def test_no_number_of_questions_shows_what_is_not_there() -> None:
    """Equal, worse, or so little above the minimum effect that a billion questions are too few."""
    baseline, worse = arm_of(0, 5, 55)
    assert None is halving.decide(baseline, {"x": worse}, ids(60), made()).needed
    assert None is halving.decide(baseline, {"x": baseline}, ids(60), made()).needed
    same, barely = arm_of(4, 2, 54)
    assert None is halving.decide(same, {"x": barely}, ids(60), made(minimum_effect=2 / 60 - 1e-9)).needed


def test_a_finalist_that_was_not_measured_everywhere_never_wins() -> None:
    """One answer is missing of sixty; a second finalist may still win; where all miss some there is no data."""
    baseline, better = arm_of(12, 0, 48)
    holes = {**better, "q059": None}
    alone = halving.decide(baseline, {"x": holes}, ids(60), made())
    assert (None, Verdict.NO_DATA) == (alone.winner, alone.verdict)
    assert Standing.NOT_MEASURED is alone.finalists[0].standing
    both = halving.decide(baseline, {"x": holes, "y": better}, ids(60), made())
    assert ("y", Verdict.PASS) == (both.winner, both.verdict)
    nothing = halving.decide(baseline, {"x": dict.fromkeys(ids(60))}, ids(60), made())
    assert (1.0, Verdict.NO_DATA) == (nothing.finalists[0].p_better, nothing.verdict)
    undefined = {**baseline, "q059": None}
    assert "x" == halving.decide(undefined, {"x": holes}, ids(60), made()).winner


def test_graded_metrics_are_tested_by_their_means() -> None:
    """A fifth better on every question wins; the seed decides nothing."""
    rng = np.random.default_rng(3)
    baseline: dict[str, float | None] = {name: float(rng.uniform(0, 0.7)) for name in ids(40)}
    better: dict[str, float | None] = {name: (value or 0) + 0.2 for name, value in baseline.items()}
    for seed in (1, 2):
        found = halving.decide(baseline, {"x": better, "y": baseline}, ids(40), made(metric="f1", seed=seed))
        assert "x" == found.winner
        assert pytest.approx(0.2) == found.finalists[0].paired.difference
        assert 1.0 == found.finalists[1].p_better


# --- By simulation ----------------------------------------------------------------------------------------------

CANDIDATES, FINALISTS, NARROWING, HOLDOUT, ALPHA = 20, 3, 120, 60, 0.05


def equal_arms(draws: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Yes/no values of the baseline (first) and twenty candidates, none better: shape (draws, 21, questions).

    Every question has a difficulty of its own and every arm changes a quarter of the answers, either way alike.
    """
    questions = NARROWING + HOLDOUT
    common = rng.random((draws, 1, questions), dtype=np.float32) < 0.6
    again = rng.random((draws, CANDIDATES + 1, questions), dtype=np.float32)
    return np.where(again < 0.25, again < 0.15, common).astype(np.int8)


def no_better(gained: NDArray[np.int64], lost: NDArray[np.int64]) -> NDArray[np.float64]:
    """McNemar's exact one-sided p-value, in scipy's words."""
    return np.asarray(np.where(gained == 0, 1.0, special.bdtr(lost, gained + lost, 0.5)))


def wins(values: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether a winner is proposed in each draw: the rule of `narrow` and `decide`, for all draws at once."""
    differences = values[:, 1:] - values[:, :1]
    left = np.tile(np.arange(CANDIDATES), (len(values), 1))
    for rung in halving.rungs(CANDIDATES, NARROWING, made(finalists=FINALISTS)):
        scores = np.take_along_axis(differences[:, :, : rung.questions].sum(axis=2), left, axis=1)
        chosen = np.argsort(-scores, axis=1, kind="stable")[:, : rung.keep]
        left = np.sort(np.take_along_axis(left, chosen, axis=1), axis=1)
    final = np.take_along_axis(differences[:, :, NARROWING:], left[:, :, None], axis=1)
    p_better = no_better((final > 0).sum(axis=2), (final < 0).sum(axis=2))
    return np.asarray(FINALISTS * p_better.min(axis=1) <= ALPHA)


def as_values(row: NDArray[np.int8], names: list[str]) -> Values:
    """One arm's values by question."""
    return {name: float(value) for name, value in zip(names, row, strict=True)}


def proposes(values: NDArray[np.int8]) -> bool:
    """What the module itself says of one draw."""
    file, names = made(finalists=FINALISTS), ids(NARROWING + HOLDOUT)
    baseline, left = as_values(values[0], names), list(range(1, CANDIDATES + 1))
    arms = {f"{n:02d}": as_values(values[n], names) for n in left}
    for rung in halving.rungs(CANDIDATES, NARROWING, file):
        scores = halving.narrow(baseline, arms, names[: rung.questions], keep=rung.keep)
        arms = {score.config_hash: arms[score.config_hash] for score in scores if score.kept}
    return halving.decide(baseline, arms, names[NARROWING:], file).winner is not None


def test_of_twenty_candidates_that_are_no_better_one_wins_no_more_often_than_alpha() -> None:
    """4,000 draws: at most 5 %, within two standard errors; the plain rule and the module agree on the first ones."""
    rng = np.random.default_rng(11)
    won = np.concatenate([wins(block := equal_arms(400, rng)) for _ in range(10)])
    assert won.mean() <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / len(won))
    sample = block[[*np.flatnonzero(wins(block))[:4], *range(8)]]
    assert list(wins(sample)) == [proposes(draw) for draw in sample]
    assert any(wins(sample))


def test_trusting_the_scores_of_narrowing_would_propose_by_luck() -> None:
    """The same arms, the best of twenty tested on the questions that it was chosen by: a winner far above alpha."""
    values = equal_arms(800, np.random.default_rng(12))[:, :, :NARROWING]
    differences = values[:, 1:] - values[:, :1]
    best = np.take_along_axis(differences, differences.sum(axis=2).argmax(axis=1)[:, None, None], axis=1)[:, 0]
    p_better = no_better((best > 0).sum(axis=1), (best < 0).sum(axis=1))
    assert (p_better <= ALPHA).mean() > 4 * ALPHA


def test_holm_is_what_the_simulation_assumes() -> None:
    """A finalist passes exactly where the smallest of three p-values, times three, is at most alpha."""
    assert [0.03, 0.4, 0.9] == pytest.approx(stats.holm([0.01, 0.2, 0.9]))


def test_what_is_plainly_worse_is_called_worse() -> None:
    """An interval below 0; one that reaches 0 is not shown to be better, and so is what is equal."""
    baseline, worse = arm_of(0, 9, 51)
    _, barely = arm_of(0, 1, 59)
    baseline = dict.fromkeys(baseline, 1.0)
    found = halving.decide(baseline, {"a": worse, "b": barely, "c": baseline}, ids(60), made())
    assert {"a": Standing.WORSE, "b": Standing.NOT_SHOWN, "c": Standing.NOT_SHOWN} == {
        item.config_hash: item.standing for item in found.finalists
    }
    alone = halving.decide(baseline, {"a": worse}, ids(60), made())
    assert (None, Verdict.INCONCLUSIVE, None) == (alone.winner, alone.verdict, alone.needed)


def test_the_questions_that_are_needed_are_questions_not_pairs() -> None:
    """Where half of the holdout has no gold, twice as many questions are needed."""
    baseline, better = arm_of(5, 0, 55)
    arms = {"x": better, "y": baseline, "z": baseline}
    whole = halving.decide(baseline, arms, ids(60), made())
    empty: dict[str, float | None] = {f"none{n}": None for n in range(60)}
    half = halving.decide(
        baseline | empty, {name: arm | empty for name, arm in arms.items()}, [*ids(60), *empty], made()
    )
    assert 60 == whole.finalists[0].paired.n == half.finalists[0].paired.n
    assert (whole.needed or 0) * 2 == half.needed
