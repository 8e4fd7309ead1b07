"""From many candidates to one, or to none: who is asked which questions, who goes on, who is better in the end.

Callers may rely on: parts of the questions are nested, and disjoint from the holdout, which narrowing never sees; every
candidate is dropped once or is a finalist; the baseline is no candidate and is never dropped; the order of what is
given changes nothing, ties go by CONFIG_HASH; nothing unmeasured wins; "no winner" is an answer.

Narrowing is successive halving (Jamieson & Talwalkar 2016): every rung asks more questions of fewer candidates. What
survives was chosen for its luck too, so its scores so far prove nothing: the finalists are tested on the holdout, and
since those questions had no part in the choice, correcting for the number of finalists (Holm 1979) is enough however
many candidates were tried.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bakeoff import canonical, paired, plural, power, stats
from bakeoff.cases import YES_NO
from bakeoff.errors import InputError
from bakeoff.paired import Paired
from bakeoff.sweep import Sweep
from bakeoff.verdicts import Verdict

Values = Mapping[str, float | None]
"""The metric by question id; None: not defined or not measured."""

LEAST_RUNG = 10
"""Questions of the first rung, at least, where the file names no number."""
_POWER = 0.8
_MOST_NEEDED = 1 << 30


@dataclass(frozen=True, slots=True)
class Rung:
    """*arms* candidates are asked the first *questions* of those for narrowing; the best *keep* go on."""

    questions: int
    arms: int
    keep: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Who is asked what: the rungs take their questions from the beginning of *narrowing*."""

    rungs: tuple[Rung, ...]
    narrowing: tuple[str, ...]
    holdout: tuple[str, ...]
    finalists: int

    def new_in(self, number: int) -> tuple[str, ...]:
        """Return the questions that rung *number* (from 0) asks and the rungs before it have not."""
        asked = self.rungs[number - 1].questions if number else 0
        return self.narrowing[asked : self.rungs[number].questions]

    @property
    def answers(self) -> int:
        """How many answers the whole sweep takes, the baseline's included."""
        narrowing = sum(len(self.new_in(number)) * (rung.arms + 1) for number, rung in enumerate(self.rungs))
        return narrowing + len(self.holdout) * (self.finalists + 1)


def rungs(count: int, questions: int, sweep: Sweep) -> tuple[Rung, ...]:
    """Return how *count* candidates become finalists on *questions*; none where there is nothing to narrow.

    Raises InputError where the questions are fewer than the first rung.
    """
    kept: list[int] = []
    left = count
    while left > sweep.finalists:
        left = max(sweep.finalists, math.ceil(left / sweep.eta))
        kept.append(left)
    least = sweep.first_rung or LEAST_RUNG
    if kept and questions < least:
        raise InputError(
            f"{plural.counted(questions, 'question')} for narrowing, fewer than the {least} of the first rung",
            hint="ask more questions, lower holdout or first_rung, or try fewer configurations",
        )
    by_size: dict[int, int] = {}  # a rung that would ask nothing new is one with the rung before it
    for number, keep in enumerate(kept):
        steps = len(kept) - 1 - number
        wanted = least * sweep.eta**number if sweep.first_rung else max(least, math.ceil(questions / sweep.eta**steps))
        by_size[min(wanted, questions)] = keep
    arms = [count, *by_size.values()]
    return tuple(Rung(size, begin, keep) for begin, (size, keep) in zip(arms, by_size.items(), strict=False))


def schedule(strata: Mapping[str, str], count: int, sweep: Sweep) -> Schedule:
    """Return who is asked what, of *count* candidates; *strata* names for each question what it is like.

    Where there is nothing to narrow every question is one of the holdout. Raises InputError where the questions are too
    few to narrow with, or the holdout could not show anything.
    """
    ordered = arranged(strata, seed=sweep.seed)
    finalists = min(count, sweep.finalists)
    share = sweep.holdout if count > finalists else 1.0
    kept_apart = math.ceil(share * len(ordered))
    least = least_holdout(finalists, sweep)
    if kept_apart < least:
        raise InputError(
            f"{kept_apart} of {plural.counted(len(ordered), 'question')} {plural.are(kept_apart)} the "
            f"holdout: no result of fewer than {least} could show that one of "
            f"{plural.counted(finalists, 'finalist')} is better at alpha {sweep.alpha:g}",
            hint="ask more questions, or raise holdout",
        )
    narrowing = ordered[kept_apart:]
    return Schedule(rungs(count, len(narrowing), sweep), narrowing, ordered[:kept_apart], finalists)


def least_holdout(finalists: int, sweep: Sweep) -> int:
    """Return how many pairs a holdout must have for any result to show that one of *finalists* is better."""
    return math.ceil(math.log2(finalists / sweep.alpha))


def arranged(strata: Mapping[str, str], *, seed: int) -> tuple[str, ...]:
    """Return the ids of *strata* in an order of which every beginning has its share of each stratum.

    Systematic sampling with a start drawn for each stratum; draws are digests, equal on every machine.
    """
    members: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for question_id, stratum in strata.items():
        members[stratum].append((_drawn(seed, "question", question_id), question_id))
    places: list[tuple[float, str, str]] = []
    for stratum, found in members.items():
        start = int(_drawn(seed, "stratum", stratum)[:13], 16) / 16**13
        places += [((n + start) / len(found), digest, name) for n, (digest, name) in enumerate(sorted(found))]
    return tuple(name for _, _, name in sorted(places))


def _drawn(seed: int, what: str, name: str) -> str:
    return canonical.digest([seed, what, name])


# --- Narrowing, and the last word -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Score:
    """A candidate on one rung, over the *pairs* of questions for which the baseline has a value too."""

    config_hash: str
    mean: float | None
    difference: float | None
    """To the baseline; None without pairs."""
    pairs: int
    kept: bool


def narrow(baseline: Values, arms: Mapping[str, Values], asked: Sequence[str], *, keep: int) -> tuple[Score, ...]:
    """Score *arms*, by CONFIG_HASH, on the questions *asked* and keep the best *keep*; best first, ties by hash."""
    found = []
    for config_hash in sorted(arms):
        pairs = [(baseline[name], arms[config_hash][name]) for name in asked]
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        n = len(both)
        mean = math.fsum(b for _, b in both) / n if n else None
        found.append((config_hash, mean, math.fsum(b - a for a, b in both) / n if n else None, n))
    found.sort(key=lambda row: (row[2] is None, -(row[2] or 0.0), row[0]))
    return tuple(Score(*row, kept=place < keep) for place, row in enumerate(found))


class Standing(StrEnum):
    """What the holdout says of a finalist."""

    BETTER = "better"
    TOO_SMALL = "better, but by less than the minimum effect"
    NOT_SHOWN = "not shown to be better"
    WORSE = "worse"
    """Its own interval lies below 0: no correction makes a candidate better that looks worse."""
    NOT_MEASURED = "not measured on every question"


@dataclass(frozen=True, slots=True)
class Finalist:
    """A finalist against the baseline on the holdout."""

    config_hash: str
    paired: Paired
    p_better: float
    """One-sided p-value of "it is no better than the baseline"; 1 where nothing could be tested."""
    p_adjusted: float
    """Holm's, over the finalists."""
    standing: Standing


@dataclass(frozen=True, slots=True)
class Decision:
    """The finalists, best first; the winner's hash or None; the questions that would be needed to show the best."""

    finalists: tuple[Finalist, ...]
    winner: str | None
    verdict: Verdict
    needed: int | None
    """Holdout questions at which the best finalist would win with probability 0.8, if it is as good as it looks."""


def decide(baseline: Values, arms: Mapping[str, Values], asked: Sequence[str], sweep: Sweep) -> Decision:
    """Test *arms*, by CONFIG_HASH, against the *baseline* on the holdout *asked*.

    The winner has the largest difference among those whose one-sided p-value, adjusted for all of *arms*, is at most
    alpha and whose difference reaches the minimum effect.
    """
    hashes = sorted(arms)
    tests = [_test([baseline[name] for name in asked], [arms[it][name] for name in asked], sweep) for it in hashes]
    adjusted = stats.holm([p for _, p in tests])
    rows = zip(hashes, tests, adjusted, strict=True)
    found = [Finalist(name, seen, p, holm, _standing(seen, holm, sweep)) for name, (seen, p), holm in rows]
    found.sort(key=lambda item: (-_difference(item.paired), item.p_adjusted, item.config_hash))
    winner = next((item.config_hash for item in found if item.standing is Standing.BETTER), None)
    verdict = Verdict.PASS if winner else Verdict.INCONCLUSIVE
    if all(item.standing is Standing.NOT_MEASURED for item in found):
        verdict = Verdict.NO_DATA
    best = next((item.paired for item in found if item.standing is Standing.NOT_SHOWN), None)
    needed = _needed(best, len(found), sweep) if best is not None and winner is None else None
    if needed is not None and best is not None:  # not every question of a holdout makes a pair
        needed = math.ceil(needed * len(asked) / best.n)
    return Decision(tuple(found), winner, verdict, needed)


def _test(baseline: Sequence[float | None], values: Sequence[float | None], sweep: Sweep) -> tuple[Paired, float]:
    """Return the comparison, and the p-value of "no better": that of a loss with the sides exchanged."""
    if sweep.metric in YES_NO:
        seen = paired.yes_no(baseline, values, margin=0.0, alpha=sweep.alpha)
        back = paired.yes_no(values, baseline, margin=0.0, alpha=sweep.alpha)
    else:
        seen = paired.mean(baseline, values, margin=0.0, alpha=sweep.alpha, seed=sweep.seed)
        back = paired.mean(values, baseline, margin=0.0, alpha=sweep.alpha, seed=sweep.seed)
    return seen, 1.0 if back.p_loss is None else back.p_loss


def _standing(seen: Paired, p_adjusted: float, sweep: Sweep) -> Standing:
    if seen.difference is None or seen.only_baseline:
        return Standing.NOT_MEASURED
    if seen.high is not None and seen.high < 0.0:
        return Standing.WORSE
    if p_adjusted > sweep.alpha:
        return Standing.NOT_SHOWN
    enough = seen.difference >= sweep.minimum_effect - paired.TOLERANCE  # 3 of 60 are 0.05
    return Standing.BETTER if enough else Standing.TOO_SMALL


def _difference(seen: Paired) -> float:
    return -math.inf if seen.difference is None else seen.difference


def _needed(seen: Paired, finalists: int, sweep: Sweep) -> int | None:
    """Return how many pairs show the difference *seen* 4 times in 5, by normal theory; None where none do."""
    if not seen.spread or _difference(seen) <= sweep.minimum_effect:
        return None
    # Power is asked for a loss; a gain with the sides exchanged is the same.
    rule = power.Rule(0.0, sweep.minimum_effect, sweep.alpha, sweep.alpha / finalists)
    n = seen.n + 1
    while n < _MOST_NEEDED:
        if power.fails_mean(n, spread=seen.spread, loss=_difference(seen), rule=rule) >= _POWER:
            return n
        n = math.ceil(n * 1.02)
    return None
