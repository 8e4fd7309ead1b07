"""Measure the offline KPIs of a rollout's candidate anew, on the table that answers people now.

Callers may rely on: the candidate is asked every question again and judged by the plan's gates, beside the baseline's
run that the rollout began on; what was not known then is no reason to stop now; whatever comes of it is recorded; a
live table of the candidate that is not what was ingested is a fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bakeoff import judgements
from bakeoff.adapters import clock, evaluations, ingests, locks, postgres, question_rows, records, seals
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.question_rows import QuestionSet
from bakeoff.adapters.records import About, Record
from bakeoff.adapters.rollouts import Rollout
from bakeoff.errors import BakeoffError, IntegrityError, NotKnownError
from bakeoff.gold import Passage, Question, Span
from bakeoff.rollout import ACTION_OF, Action
from bakeoff.stages import evaluate, judge, verify
from bakeoff.verdicts import Severity, Verdict, overall


@dataclass(frozen=True, slots=True)
class Options:
    """Where models are, what readers may read of the environment, and who hears of the progress."""

    cache_dir: Path = Path(".bakeoff/models")
    environ: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[str, int, int | None], None] = lambda *_: None


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What came of it: findings as a look keeps them, without ids, so that a repeated look says the same."""

    action: Action
    verdict: Verdict
    said: str
    findings: tuple[Mapping[str, Any], ...] = ()


def judged(conn: Connection, stored: Stored, began: Rollout | None = None) -> Record:
    """Return the newest judgement of a plan, or the one that a rollout *began* on, whatever was judged since.

    Raises NotKnownError where there is none.
    """
    about = About(plan_sha256=stored.plan_sha256)
    found = records.latest(conn, "judgement", about) if began is None else seals.began_on(conn, began)
    if found is None:
        raise NotKnownError(
            f"plan {stored.plan_sha256[:12]} was not judged",
            hint=f"bakeoff kpi-check --plan {stored.plan_sha256[:12]} --promote-check",
        )
    return found


def run(connect: Connect, found: Rollout, stored: Stored, *, now: datetime, options: Options) -> Rechecked:
    """Measure, judge and record. Errors of the measurement become an Action.ERROR that says so.

    Raises what the database's loss raises: then nothing can be recorded either.
    """
    try:
        with connect() as conn:
            before = judged(conn, stored, found)
            gone = _changed(conn, found)
        body = _failed_table(gone) if gone else _measured(connect, stored, before, options)
    except BakeoffError as error:
        if postgres.lost(error):
            raise
        body = {"verdict": Verdict.ERROR.value, "findings": [], "said": f"the KPIs could not be measured: {error}"}
    verdict = Verdict(body["verdict"])
    with connect() as conn:
        about = About(stored.plan_sha256, found.candidate, body.get("run_id"))
        told = {**body, "rollout": found.rollout_id, "simulated": found.clock == "simulated"}
        records.add(conn, "recheck", told, about=about, at=now, verdict=verdict)
    return Rechecked(ACTION_OF[verdict], verdict, body["said"], tuple(body["findings"]))


def _changed(conn: Connection, found: Rollout) -> str | None:
    """Return in words that the candidate's table is not what was ingested. Raises IntegrityError of the baseline's."""
    for config_hash in (found.baseline, found.candidate):
        lock = locks.find(conn, config_hash)
        try:
            verify.table(conn, lock, ingests.finished(conn, lock))
        except IntegrityError as error:
            if config_hash == found.baseline:
                raise
            return str(error)
    return None


def _failed_table(said: str) -> dict[str, Any]:
    finding = judgements.finding(judgements.TABLE, Verdict.FAIL, said)
    return {"verdict": Verdict.FAIL.value, "findings": [finding], "said": said}


def _measured(connect: Connect, stored: Stored, before: Record, options: Options) -> dict[str, Any]:
    """Return the new judgement, with what is the same as at the start taken for what it was."""
    with connect() as conn:
        lock = locks.find(conn, stored.plan.candidate.config_hash)
        asked = questions_of(conn, stored, before.body["candidate"]["run_id"])
    given = evaluate.Options(gold_share=stored.plan.gold_share, cache_dir=options.cache_dir, environ=options.environ)
    done = evaluate.run(connect, lock, asked, progress=options.progress, now=clock.now, options=given)
    wanted = judge.Wanted(before.body["baseline"]["run_id"], done.run.run_id)
    with connect() as conn:
        body = judge.assess(conn, stored, wanted, connect=connect)
    known = {item["gate"]: Verdict(item["verdict"]) for item in before.body["findings"]}
    blocking = [item for item in body["findings"] if item["severity"] == Severity.BLOCK]
    findings = [judgements.again(item, known.get(item["gate"])) for item in blocking]
    verdict = overall((Severity.BLOCK, Verdict(item["verdict"])) for item in findings)
    return {
        "verdict": verdict.value,
        "findings": findings,
        "said": _said(verdict, findings),
        "run_id": done.run.run_id,
        "judgement": body,
        "began_on": {"record": before.record_id, "sha256": before.sha256},
    }


def _said(verdict: Verdict, findings: list[dict[str, Any]]) -> str:
    if verdict is Verdict.PASS:
        return f"{len(findings)} KPIs measured anew, none worse"
    return "KPIs measured anew: " + "; ".join(item["said"] for item in findings if item["verdict"] == verdict)


def questions_of(conn: Connection, stored: Stored, run_id: str) -> QuestionSet:
    """Return the plan's questions, as they stand in the cases of a run on them.

    Raises IntegrityError where those cases are not what the run recorded, or the run is of other questions.
    """
    run_ = evaluations.find(conn, run_id)
    fixed = stored.plan.questions
    evaluations.check(conn, run_)
    if run_.questions_sha256 != fixed.sha256:
        raise IntegrityError(f"run {run_id} was not asked the plan's questions {fixed.name}", hint="judge again")
    asked = tuple(_question(case) for case, _ in evaluations.cases(conn, run_id))
    return QuestionSet(fixed.name, fixed.sha256, asked, (), question_rows.gold_level(asked))


def _question(case: Mapping[str, Any]) -> Question:
    gold = case["gold"]
    return Question(
        question_id=case["question_id"],
        text=case["question"],
        passages=tuple(Passage(tuple(Span(**span) for span in spans)) for spans in gold["passages"]),
        answers=tuple(gold["answers"]),
        relevant=gold["relevant"],
        answerable=case["answerable"],
        need=gold["need"],
        tags=tuple(case["tags"]),
    )
