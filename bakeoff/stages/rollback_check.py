"""Check that a rollback did what it says: people get the baseline, and the baseline is whole and answers.

Callers may rely on: every check is made, whatever the others say; what could not be checked is an error, never a pass;
the record names them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from bakeoff import routing
from bakeoff.adapters import evaluations, ingests, locks, plans, policies, postgres, records
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.records import About, Record
from bakeoff.adapters.rollouts import Rollout
from bakeoff.config import Lock
from bakeoff.errors import BakeoffError, IntegrityError, NotKnownError
from bakeoff.routing import Arm
from bakeoff.sealed import ROLLBACK_CHECKS
from bakeoff.stages import answer, verify
from bakeoff.stages.recheck import Options
from bakeoff.verdicts import Verdict, worst

SAMPLE = 1_000
"""Units that are asked where they would go."""
_PROBE = "What does this answer from?"
"""Asked where no question of the plan is known: that something answers is what counts."""


def run(connect: Connect, found: Rollout, *, now: datetime, options: Options) -> Record:
    """Make every check of the rollback of *found* and record it."""
    checks: tuple[Callable[[Connection], str], ...] = (
        partial(routed, found=found),
        partial(_active, found=found),
        partial(_whole, found=found),
        partial(_answers, found=found, options=options),
    )
    with connect() as conn:
        findings = [_finding(name, check, conn) for name, check in zip(ROLLBACK_CHECKS, checks, strict=True)]
        verdict = worst(Verdict(item["verdict"]) for item in findings)
        body = {"rollout": found.rollout_id, "version": found.version, "verdict": verdict.value, "findings": findings}
        about = About(found.plan_sha256, found.baseline)
        return records.add(conn, "rollback_check", body, about=about, at=now, verdict=verdict)


def _finding(name: str, check: Callable[[Connection], str], conn: Connection) -> dict[str, Any]:
    try:
        with postgres.translated():
            said, verdict = check(conn), Verdict.PASS
    except IntegrityError as error:
        said, verdict = str(error), Verdict.FAIL
    except BakeoffError as error:
        if postgres.lost(error):
            raise
        said, verdict = str(error), Verdict.ERROR
    return {"check": name, "verdict": verdict.value, "said": said}


def routed(conn: Connection, found: Rollout) -> str:
    """Ask where units would go. Raises IntegrityError where one would get another lock than the baseline."""
    if found.clock == "simulated":
        return "it was a rehearsal: nobody was routed by it"
    policy = policies.current(conn)
    if policy is None:
        return "no rollout routes: everybody gets what is in production"
    if policy.rollout_id != found.rollout_id and not (policy.halted or policy.completed):
        return f"another rollout is on its way: {policy.rollout_id}"
    arms = Counter(routing.decide(policy, client_id=f"unit-{number}").arm for number in range(SAMPLE))
    answering = {Arm.CANDIDATE: policy.candidate, Arm.BASELINE: policy.baseline}
    wrong = [arm for arm in arms if answering[arm] != found.baseline]
    if wrong:
        which = "still get the candidate" if answering[wrong[0]] == found.candidate else f"get {answering[wrong[0]]}"
        raise IntegrityError(f"{arms[wrong[0]]} of {SAMPLE} sample units {which}, by {policy.rollout_id}")
    return f"all of {SAMPLE} sample units get the baseline"


def _lock(conn: Connection, found: Rollout) -> Lock:
    return locks.find(conn, found.baseline)


def _active(conn: Connection, found: Rollout) -> str:
    if found.clock == "simulated":
        return "it was a rehearsal: nothing in production changed"
    lock, active = _lock(conn, found), locks.active(conn)
    if active is None or active[0].config_hash != lock.config_hash:
        instead = "no lock" if active is None else f"{active[0].name} ({active[0].config_hash})"
        raise IntegrityError(f"{instead} is in production, not the baseline {lock.name} ({lock.config_hash})")
    return f"{lock.name} ({lock.config_hash}) is in production"


def _whole(conn: Connection, found: Rollout) -> str:
    lock = _lock(conn, found)
    ingest = ingests.finished(conn, lock)
    verify.table(conn, lock, ingest)
    return f"the chunk table {lock.table_name} is what its ingest recorded"


def _answers(conn: Connection, found: Rollout, options: Options) -> str:
    """Ask the baseline one question of the plan. Raises NotKnownError where it gives no answer."""
    lock = _lock(conn, found)
    question = _question(conn, plans.find(conn, found.plan_sha256), lock)
    with answer.models(lock, cache_dir=options.cache_dir, environ=options.environ) as opened:
        answered = answer.Pipeline(conn, lock, opened).answer(question)
    if answered.answer.error is not None:
        raise NotKnownError(f"the baseline's reader failed: {answered.answer.error}")
    if not answered.context:
        raise NotKnownError("the baseline retrieved nothing for a question of the plan")
    return f"the baseline answers, from {len(answered.context)} chunks"


def _question(conn: Connection, stored: Stored, lock: Lock) -> str:
    fixed = stored.plan
    ground = evaluations.Ground(fixed.questions.sha256, fixed.corpus_sha256, fixed.gold_share)
    run_ = evaluations.for_plan(conn, lock.config_hash, ground)
    asked = [] if run_ is None else evaluations.figures(conn, run_)
    return str(asked[0][0]["question"]) if asked else _PROBE
