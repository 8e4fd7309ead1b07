"""What is fixed before a bakeoff is judged, and what it will be able to see.

Callers may rely on: a plan is named by the digest of all it fixes, so equal plans are one plan; for every gate and
every step it says the smallest difference that could be shown with the profile's power; `unlike` names the first thing
that a later stage found to differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from bakeoff import canonical, gold, metrics, plural, strategy
from bakeoff.cases import YES_NO
from bakeoff.config import Part
from bakeoff.gold import Question
from bakeoff.rules import FACTS, LATENCY, Gain, Gate, Level, NoWorse, Profile
from bakeoff.strategy import Strategy
from bakeoff.verdicts import Severity

_HITS = YES_NO[:3]
_ANSWERS = ("answer_right", "em", "precision", "recall", "f1")
_TEXT = ("text_recall", "text_precision", "text_iou")
_RANKED = ("ndcg_at_10", "recall_at_10", "reciprocal_rank")


class Arm(Part):
    """One of the two locks."""

    name: str
    CHUNK_VERSION: str
    CONFIG_HASH: str

    @property
    def config_hash(self) -> str:
        """The lock's hash."""
        return self.CONFIG_HASH


class Asked(Part):
    """The question set: which, and how many of its questions can say something about each metric."""

    name: str
    sha256: str
    used: int
    measurable: dict[str, int]


class GateSight(Part):
    """What one gate will be able to see."""

    gate: str
    metric: str
    rule: str
    severity: Severity = Field(strict=False)
    n: int
    margin: float | None
    detectable: float | None
    """The smallest difference shown with the profile's power; None: no assumption to compute it from, or never."""
    blind: bool
    """Whether it can't see its own margin, or will have too few questions."""
    because: str
    """What the figure rests on, in words."""


class StepSight(Part):
    """What the live looks will have been able to see of one watched outcome by the end of one step."""

    step: int
    percent: float
    watched: str
    baseline_outcomes: int
    candidate_outcomes: int
    margin: float
    detectable: float | None
    """The smallest drop that is there from hour 0 and found by the step's end, with 80 % power; None: not even the
    largest is, the step compares nothing, or it is a latency, whose spread is not known."""


class Plan(Part):
    """Everything that is fixed before the first score of the candidate exists."""

    kind: Literal["plan"] = "plan"
    baseline: Arm
    candidate: Arm
    questions: Asked
    corpus_sha256: str
    gold_share: float
    gates: Profile
    rollout: Strategy
    seed: Annotated[int, Field(ge=0)]
    timed: Annotated[int, Field(ge=1)]
    """Questions that both arms are timed on, in turn."""
    traffic_per_hour: Annotated[float, Field(gt=0.0)]
    sight: tuple[GateSight, ...] = Field(strict=False)
    steps: tuple[StepSight, ...] = Field(strict=False)
    accepted_blind: tuple[str, ...] = Field(default=(), strict=False)
    """Gates that can't see their own margin, accepted all the same."""
    known_scores: tuple[str, ...] = Field(default=(), strict=False)
    """Runs of the candidate on these questions that were there before the plan, accepted all the same."""

    _stored: dict[str, Any] | None = PrivateAttr(default=None)

    @classmethod
    def stored(cls, body: dict[str, Any]) -> Plan:
        """Return the plan that was stored as *body*, and keeps its name where a newer version would write more keys."""
        made = cls.model_validate_json(canonical.encode(body))
        made._stored = body  # noqa: SLF001  # its own
        return made

    def body(self) -> dict[str, Any]:
        """Return the plan as plain JSON, as it was stored."""
        return self._stored or self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """SHA-256 of the plan as canonical JSON: its name."""
        return canonical.digest(self.body())

    @property
    def short(self) -> str:
        """The beginning of its name, as people type it."""
        return self.digest[:12]


def measurable(questions: Iterable[Question]) -> dict[str, int]:
    """Return how many of *questions* can have a value of each metric; a gold answer without a token gives none."""
    counts: Counter[str] = Counter()
    for question in questions:
        counts["faithfulness"] += 1
        counts[LATENCY] += 1
        if gold.level(question) != "none":
            counts.update(_HITS)
        if not question.answerable or any(metrics.tokens(answer) for answer in question.answers):
            counts.update(_ANSWERS)
        if question.passages:
            counts.update(_TEXT)
        if any(grade > 0 for grade in (question.relevant or {}).values()):
            counts.update(_RANKED)
    return dict(sorted(counts.items()))


def sight(profile: Profile, counts: Mapping[str, int]) -> tuple[GateSight, ...]:
    """Return what every gate will be able to see with *counts* questions for each metric."""
    return tuple(_gate_sight(gate, profile, counts.get(gate.metric, 0)) for gate in profile.gates)


def _gate_sight(gate: Gate, profile: Profile, n: int) -> GateSight:
    margin: float | None = None
    detectable: float | None = None
    blind = False
    if gate.metric in FACTS:
        detectable, because, n = 0.0, "a figure of the whole: exact", 1
    elif isinstance(gate, NoWorse):
        margin = gate.margin
        detectable, because = _loss_shown(gate, profile, n)
        blind = detectable is None or detectable > margin
    else:
        detectable, because = _other_shown(gate, profile, n)
    from bakeoff.gates import LEAST_TIMINGS  # as below: who reads a plan has no use for what makes one

    least = LEAST_TIMINGS if gate.metric == LATENCY else 0
    if gate.metric not in FACTS and n < max(gate.minimum, least):
        blind, because = True, f"{plural.counted(n, 'question')}, fewer than {max(gate.minimum, least)}"
    return GateSight(
        gate=gate.name,
        metric=gate.metric,
        rule=gate.rule,
        severity=gate.severity,
        n=n,
        margin=margin,
        detectable=None if detectable is None else round(detectable, 6),
        blind=blind,
        because=because,
    )


def _loss_shown(gate: NoWorse, profile: Profile, n: int) -> tuple[float | None, str]:
    from bakeoff import power

    sharing = max(len(profile.tested), 1) if gate.severity is Severity.BLOCK else 1
    rule = power.Rule(gate.margin, gate.minimum_effect, profile.alpha, profile.alpha / sharing)
    if n < 2:  # noqa: PLR2004  # one question has no spread
        return None, plural.counted(n, "question")
    if gate.discordance is not None:
        found = power.detectable_yes_no(n, discordance=gate.discordance, rule=rule, power=profile.power)
        return found, f"arms differ on {gate.discordance:.0%} of the questions"
    spread = gate.spread or 0.0
    if gate.metric == LATENCY:
        found = power.detectable_p95_ratio(n, spread=power.p95_spread(spread), rule=rule, power=profile.power)
        return found, f"a timing's logarithm spreads by {spread:g}"
    found = power.detectable_mean(n, spread=spread, rule=rule, power=profile.power)
    return found, f"a question's difference spreads by {spread:g}"


def _other_shown(gate: Gate, profile: Profile, n: int) -> tuple[float | None, str]:
    """Return what a gain or a level can show: from the same metric's test for a loss, or from a share's own spread."""
    spread: float | None = None
    because = "no assumption about its spread: give the metric a no_worse gate"
    for other in profile.gates:
        if isinstance(gate, Gain) and isinstance(other, NoWorse) and other.metric == gate.metric:
            spread = math.sqrt(other.discordance) if other.discordance is not None else other.spread
            because = f"as assumed in gate {other.name}"
    if isinstance(gate, Level) and gate.metric in YES_NO:
        bound = gate.at_least if gate.at_least is not None else gate.at_most
        share = min(max(bound or 0.0, 0.0), 1.0)
        spread, because = math.sqrt(share * (1.0 - share)), "the spread of a share"
    if spread is None or n == 0:
        return None, because
    z = NormalDist().inv_cdf(1.0 - profile.alpha) + NormalDist().inv_cdf(profile.power)
    return z * spread / math.sqrt(n), because


def steps(
    rollout: Strategy, *, traffic_per_hour: float, seed: int, tuned_to: float | None = None
) -> tuple[StepSight, ...]:
    """Return what the live looks will have been able to see of every watched outcome by the end of every step.

    Outcomes are counted as they come: *traffic_per_hour* for both arms together. The baseline's share is nothing at
    100 %, and then nothing can be compared within the step; of a latency nothing is foretold. The looks are those that
    were tuned to another traffic where *tuned_to* says so.
    """
    from bakeoff import foresight

    shown = foresight.by_step(rollout, traffic_per_hour=traffic_per_hour, seed=seed, tuned_to=tuned_to)
    found = []
    for row in strategy.timetable(rollout):
        arms = foresight.looks(row, rollout, traffic_per_hour)
        for name, rule in sorted(rollout.watch.items()):
            smallest = shown[name][row.number - 1]
            found.append(
                StepSight(
                    step=row.number,
                    percent=row.percent,
                    watched=name,
                    baseline_outcomes=sum(look[0] for look in arms),
                    candidate_outcomes=sum(look[1] for look in arms),
                    margin=rule.margin,
                    detectable=None if smallest is None else round(smallest, 6),
                )
            )
    return tuple(found)


def unlike(plan: Plan, found: Mapping[str, Any]) -> str | None:
    """Return in words the first of the plan's fixed things that *found* has otherwise, or None.

    *found* may hold `baseline`, `candidate` (CONFIG_HASH), `questions`, `corpus`, `gates` (digests) and `gold_share`.
    """
    fixed = {
        "baseline": plan.baseline.config_hash,
        "candidate": plan.candidate.config_hash,
        "questions": plan.questions.sha256,
        "corpus": plan.corpus_sha256,
        "gates": plan.gates.digest,
        "gold_share": plan.gold_share,
    }
    for name, wanted in fixed.items():
        if name in found and found[name] != wanted:
            return f"{name}: the plan fixes {str(wanted)[:16]}, found {str(found[name])[:16]}"
    return None
