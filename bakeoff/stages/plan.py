"""Fix what a bakeoff will be judged by, before the candidate has a score.

Callers may rely on: nothing is stored unless everything fits together; an equal plan is returned as it is; a gate that
can't see its own margin, and scores that are known already, are refused unless they are accepted, which is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bakeoff import gate_words, gold, plan, report
from bakeoff.adapters import evaluations, ingests, plans, questions
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import InputError, StateError
from bakeoff.plan import Arm, Asked, Plan
from bakeoff.rules import LATENCY, Profile
from bakeoff.strategy import Strategy
from bakeoff.verdicts import Severity


@dataclass(frozen=True, slots=True)
class Options:
    """`accept_blind`, `accept_known_scores`: go on all the same, which the plan records."""

    seed: int = 7
    traffic_per_hour: float = 200.0
    timed: int = 1000
    """Questions timed, at most."""
    gold_share: float = gold.DEFAULT_SHARE
    accept_blind: bool = False
    accept_known_scores: bool = False


@dataclass(frozen=True, slots=True)
class Sides:
    """Both locks of a plan."""

    baseline: Lock
    candidate: Lock


def run(
    conn: Connection,
    sides: Sides,
    question_spec: str,
    bar: tuple[Profile, Strategy],
    *,
    now: datetime,
    options: Options,
) -> Stored:
    """Make a plan of *sides*, the questions that *question_spec* names and the *bar*, and store it.

    Raises StateError where the baseline was not ingested, where a blocking gate can't see its own margin, or where the
    candidate's scores on these questions are known already; InputError where no question can be used.
    """
    profile, rollout = bar
    ingest = ingests.finished(conn, sides.baseline)
    asked = questions.load_questions(question_spec, ingests.StoredDocuments(conn, ingest.ingest_id))
    if not asked.questions:
        raise InputError(
            f"{asked.name} has no usable question ({len(asked.left_out)} left out)",
            hint="are these the questions of this corpus?",
        )
    counts = plan.measurable(asked.questions)
    timed = min(options.timed, len(asked.questions))
    sight = plan.sight(profile, {**counts, LATENCY: timed})
    corpus = str(ingest.corpus_sha256)
    made = Plan(
        baseline=_arm(sides.baseline),
        candidate=_arm(sides.candidate),
        questions=Asked(name=asked.name, sha256=asked.digest, used=len(asked.questions), measurable=counts),
        corpus_sha256=corpus,
        gold_share=options.gold_share,
        gates=profile,
        rollout=rollout,
        seed=options.seed,
        timed=timed,
        traffic_per_hour=options.traffic_per_hour,
        sight=sight,
        steps=plan.steps(rollout, traffic_per_hour=options.traffic_per_hour, seed=options.seed),
        accepted_blind=_blind(sight, accepted=options.accept_blind),
    )
    if (there := plans.by_digest(conn, made.digest)) is not None:
        return there  # made before, so the scores that are known since were not known then
    known = _known(conn, sides.candidate, asked.digest, corpus, accepted=options.accept_known_scores)
    return plans.insert(conn, made.model_copy(update={"known_scores": known}), at=now)


def _arm(lock: Lock) -> Arm:
    return Arm(name=lock.name, CHUNK_VERSION=lock.chunk_version, CONFIG_HASH=lock.config_hash)


def _blind(sight: tuple[plan.GateSight, ...], *, accepted: bool) -> tuple[str, ...]:
    """Return the blocking gates that can't see their margin. Raises StateError unless they are accepted."""
    blind = [item for item in sight if item.blind and item.severity is Severity.BLOCK]
    if blind and not accepted:
        gates = (
            "1 gate can't see what it asks for"
            if len(blind) == 1
            else f"{len(blind)} gates can't see what they ask for"
        )
        raise StateError(
            f"{gates}: {'; '.join(_unseen(item) for item in blind)}",
            hint="add questions or widen the margin; --accept-blind plans all the same, and is recorded",
        )
    return tuple(item.gate for item in blind)


def _unseen(item: plan.GateSight) -> str:
    """Return what a blind gate sees, and what it would have to."""
    unit = "%" if item.metric == LATENCY else "pt"
    blind = item.detectable is None or gate_words.sees_nothing(item.metric, item.detectable)
    seen = "nothing" if blind else f"{100 * (item.detectable or 0.0):.1f} {unit}"
    short = item.margin is None or (item.detectable is not None and item.detectable <= item.margin)
    wanted = item.because if short else f"its margin is {100 * (item.margin or 0.0):.1f} {unit}"
    return f"{item.gate} sees {seen} with {report.counted(item.n, 'question')}, {wanted}"


def _known(conn: Connection, candidate: Lock, questions_sha256: str, corpus: str, *, accepted: bool) -> tuple[str, ...]:
    """Return the finished runs that make the candidate's scores known. Raises StateError unless they are accepted."""
    known = evaluations.known_scores(conn, candidate.config_hash, questions_sha256, corpus)
    if known and not accepted:
        raise StateError(
            f"the scores of {candidate.name} on these questions are known since run {known[0]}: "
            "a bar that is set now is not set before them",
            hint="plan before you evaluate, or use other questions; --accept-known-scores plans all the same, recorded",
        )
    return known
