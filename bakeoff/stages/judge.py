"""Judge a plan's candidate by the plan's gates, from stored runs, and record the judgement.

Callers may rely on: nothing is judged whose digest is not the plan's, or that was changed since it was recorded; what
differs is named; a judgement carries the digests of everything it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from bakeoff import gates, plan, rules, special
from bakeoff.adapters import evaluations, ingests, locks, records, tables
from bakeoff.adapters.evaluations import Ground, Run
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.records import About, Record
from bakeoff.cases import MEANS
from bakeoff.config import Lock
from bakeoff.errors import IntegrityError, NotKnownError, StateError
from bakeoff.findings import Finding, Observations, Observed, Reason
from bakeoff.rules import Profile
from bakeoff.stages import promote, verify
from bakeoff.verdicts import Severity, Verdict, overall

Cases = list[tuple[dict[str, Any], int]]
_ONE_LOCK = Finding(
    gate="two-locks",
    metric="CONFIG_HASH",
    rule="recorded",
    severity=Severity.BLOCK,
    verdict=Verdict.NO_DATA,
    reason=Reason.NOTHING_MEASURED,
    said="baseline and candidate are one lock: nothing was compared",
    threshold="two locks",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for beside the plan: certain runs, a gates file to compare, what a promotion demands."""

    baseline_run: str | None = None
    candidate_run: str | None = None
    profile: Profile | None = None
    promote_check: bool = False
    probes_sha256: str = ""
    """Digest of the probes that a promotion asks for."""


@dataclass(frozen=True, slots=True)
class _Arm:
    """One side: its lock, its run, its cases."""

    lock: Lock
    run: Run
    cases: Cases


def _run_of(conn: Connection, stored: Stored, side: str, wanted: str | None) -> Run:
    """Return the run to judge one side by. Raises NotKnownError without one, StateError where it is not the plan's."""
    fixed = stored.plan
    arm = fixed.baseline if side == "baseline" else fixed.candidate
    if wanted is not None:
        run = evaluations.find(conn, wanted)
    else:
        found = evaluations.for_plan(conn, arm.config_hash, _ground(stored))
        if found is None:
            raise NotKnownError(
                f"{side} {arm.name} ({arm.config_hash}) has no finished evaluation on the plan's questions, "
                f"set '{fixed.questions.name}'{_instead(conn, stored, side)}",
                hint=f"bakeoff evaluate --lock {arm.config_hash} --questions FILE",
            )
        run = found
    if run.finished_at is None:
        raise StateError(
            f"run {run.run_id} was interrupted",
            hint=f"bakeoff evaluate --lock {run.config_hash} --questions FILE continues it",
        )
    if "subset" in run.settings:
        raise StateError(f"run {run.run_id} was asked a part of the questions", hint="evaluate on all of them")
    _as_planned(stored, _seen(run, side), f"run {run.run_id}")
    if side == "candidate" and run.started_at < stored.created_at and run.run_id not in fixed.known_scores:
        raise StateError(
            f"run {run.run_id} began before plan {fixed.short} was made: its scores may have been known",
            hint=f"bakeoff evaluate --lock {run.config_hash} --questions FILE --fresh",
        )
    return run


def _ground(stored: Stored) -> Ground:
    fixed = stored.plan
    return Ground(fixed.questions.sha256, fixed.corpus_sha256, fixed.gold_share)


def _runs_made(conn: Connection, stored: Stored, runs: Sequence[Run]) -> dict[str, int]:
    """Return how often each side was evaluated since the plan was made: who repeats may choose."""
    found = evaluations.made(conn, runs, _ground(stored), stored.created_at)
    return {side: found.get(run.config_hash, 0) for side, run in zip(("baseline", "candidate"), runs, strict=True)}


def _instead(conn: Connection, stored: Stored, side: str) -> str:
    """Return what the newest run of a side has otherwise than the plan, in words, where there is one."""
    arm = stored.plan.baseline if side == "baseline" else stored.plan.candidate
    try:
        run = evaluations.latest(conn, locks.find(conn, arm.config_hash))
    except NotKnownError:
        return ""
    different = plan.unlike(stored.plan, _seen(run, side))
    return f"; its newest run {run.run_id} is of other {different}" if different else ""


def _seen(run: Run, side: str) -> dict[str, Any]:
    """Return what a run has of the things that a plan fixes."""
    ground = {"questions": run.questions_sha256, "corpus": run.corpus_sha256, "gold_share": run.settings["gold_share"]}
    return {side: run.config_hash, **ground}


def _as_planned(stored: Stored, seen: dict[str, Any], what: str) -> None:
    """Raise StateError, naming the first thing that *what* has otherwise than the plan."""
    different = plan.unlike(stored.plan, seen)
    if different is not None:
        raise StateError(
            f"{what} is not what plan {stored.plan.short} fixed: {different}",
            hint="judge the runs that the plan is about, or make a plan of these: bakeoff plan",
        )


def _arm(conn: Connection, stored: Stored, run: Run) -> _Arm:
    """Return one side; whether its cases are what was recorded is asked elsewhere."""
    lock = locks.find(conn, run.config_hash)
    ingest = ingests.finished(conn, lock)
    if run.table_sha256 != ingest.table_sha256:
        raise IntegrityError(
            f"run {run.run_id} was made on another chunk table of {lock.name}: "
            f"expected {str(ingest.table_sha256)[:16]}…, found {run.table_sha256[:16]}…",
            hint=f"evaluate again: bakeoff evaluate --lock {lock.config_hash} --questions FILE",
        )
    verify.table(conn, lock, ingest)
    found = evaluations.figures(conn, run)
    if len(found) != stored.plan.questions.used:
        raise IntegrityError(
            f"run {run.run_id} has {len(found)} cases for the plan's {stored.plan.questions.used} questions",
            hint=f"evaluate again: bakeoff evaluate --lock {lock.config_hash} --questions FILE --fresh",
        )
    return _Arm(lock, run, found)


def _facts(conn: Connection, arm: _Arm) -> dict[str, float | None]:
    table = tables.facts(conn, arm.lock)
    sizes = [size for _, size in arm.cases]
    return {
        "max_embedding_token_count": table.max_embedding_token_count,
        "embedding_tokens_over_limit": table.embedding_tokens_over_limit,
        "leaked_prefixes": table.leaked_prefixes,
        "dedup_share": table.dedup_share,
        "snapshot_size": sum(sizes) / len(sizes) if sizes else None,
        "reader_errors": sum(case["answer"]["error"] is not None for case, _ in arm.cases) if sizes else None,
    }


def _timings(conn: Connection, stored: Stored, arms: Sequence[_Arm]) -> Record | None:
    """Return the newest timings of the plan that were taken on these tables, or None."""
    found = records.latest(conn, "timings", About(plan_sha256=stored.plan_sha256))
    tables_now = {arm.lock.config_hash: arm.run.table_sha256 for arm in arms}
    return found if found is not None and found.body["tables"] == tables_now else None


def _observations(conn: Connection, stored: Stored, arms: tuple[_Arm, _Arm], timed: Record | None) -> Observations:
    """Return both arms side by side. Raises StateError where their questions differ."""
    baseline, candidate = arms
    other = {case["question_id"]: case for case, _ in candidate.cases}
    asked = [(case["question_id"], case["question"]) for case, _ in baseline.cases]
    if dict(asked).keys() != other.keys():
        only = sorted(dict(asked).keys() ^ other.keys())
        raise StateError(
            f"the runs do not have the same questions: {len(only)} are in one alone, the first is {only[0]!r}",
            hint="evaluate both locks again on the plan's questions",
        )
    left = [case for case, _ in baseline.cases]
    right = [other[question_id] for question_id, _ in asked]
    body = timed.body if timed is not None else {"baseline_ms": (), "candidate_ms": (), "questions": ()}
    return Observations(
        questions=asked,
        baseline=Observed(_values(left), _facts(conn, baseline), body["baseline_ms"]),
        candidate=Observed(_values(right), _facts(conn, candidate), body["candidate_ms"]),
        timed=body["questions"],
        expected=rules.owed(stored.plan.questions.measurable, timed=stored.plan.timed),
    )


def _values(cases: Sequence[dict[str, Any]]) -> dict[str, list[float | None]]:
    return {metric: [case[metric] for case in cases] for metric in MEANS}


def _side(arm: _Arm) -> dict[str, Any]:
    return {
        "lock": arm.lock.name,
        "CHUNK_VERSION": arm.lock.chunk_version,
        "CONFIG_HASH": arm.lock.config_hash,
        "run_id": arm.run.run_id,
        "table_sha256": arm.run.table_sha256,
        "cases_sha256": arm.run.report["cases_sha256"],
    }


def run(conn: Connection, stored: Stored, wanted: Wanted, *, connect: Connect, now: datetime) -> Record:
    """Judge the candidate of *stored* and append the judgement; *connect* gives more connections to read by.

    Raises as `assess` does. Nothing is stored then.
    """
    body = assess(conn, stored, wanted, connect=connect)
    about = About(stored.plan_sha256, body["candidate"]["CONFIG_HASH"], body["candidate"]["run_id"])
    return records.add(conn, "judgement", body, about=about, at=now, verdict=Verdict(body["verdict"]))


def assess(conn: Connection, stored: Stored, wanted: Wanted, *, connect: Connect) -> dict[str, Any]:
    """Return the judgement of the candidate of *stored*, and store nothing.

    Raises NotKnownError where a side was not evaluated, StateError where a run or the given gates are not the plan's,
    IntegrityError where something was changed since it was recorded.
    """
    if wanted.profile is not None:
        _as_planned(stored, {"gates": wanted.profile.digest}, "the gates file")
    runs = (
        _run_of(conn, stored, "baseline", wanted.baseline_run),
        _run_of(conn, stored, "candidate", wanted.candidate_run),
    )
    with _checked(connect, runs):
        return _judged(conn, stored, runs, wanted)


@contextmanager
def _checked(connect: Connect, runs: Sequence[Run]) -> Iterator[None]:
    """Have the server check the rows of *runs* beside the block. Raises IntegrityError at its end, even if it failed.

    An edited case may break our arithmetic before its edit is known: the edit is what is said. What the arithmetic
    needs is brought in meanwhile; an error there is raised where it is used first.
    """

    def check() -> None:
        with connect() as conn:
            for run in runs:
                evaluations.check(conn, run)

    with ThreadPoolExecutor(2) as pool:
        checking = pool.submit(check)
        pool.submit(special.load)
        try:
            yield
        finally:
            checking.result()


def _judged(conn: Connection, stored: Stored, runs: tuple[Run, Run], wanted: Wanted) -> dict[str, Any]:
    """Return the judgement of two runs, as it is stored."""
    fixed = stored.plan
    baseline, candidate = _arm(conn, stored, runs[0]), _arm(conn, stored, runs[1])
    timed = _timings(conn, stored, (baseline, candidate))
    seen = _observations(conn, stored, (baseline, candidate), timed)
    judged = gates.judge(fixed.gates, seen, seed=fixed.seed)
    more, rests_on = (
        promote.demanded(conn, promote.Demands(candidate.run, fixed.baseline.config_hash, wanted.probes_sha256))
        if wanted.promote_check
        else ((), {})
    )
    if baseline.lock.config_hash == candidate.lock.config_hash:
        more = (*more, _ONE_LOCK)
    findings = (*judged.findings, *more)
    return {
        **_fixed(stored),
        "verdict": overall((item.severity, item.verdict) for item in findings).value,
        "promote_check": wanted.promote_check,
        "baseline": _side(baseline),
        "candidate": _side(candidate),
        "timings": None if timed is None else {"record": timed.record_id, "sha256": timed.sha256},
        "runs_made": _runs_made(conn, stored, runs),
        "timings_made": records.count(conn, "timings", About(plan_sha256=stored.plan_sha256)),
        "warnings": list(judged.warnings),
        "findings": [_plain(item) for item in findings],
        **rests_on,
    }


def _fixed(stored: Stored) -> dict[str, Any]:
    """Return what a judgement takes from its plan."""
    fixed = stored.plan
    return {
        "kind": "judgement",
        "profile": fixed.gates.profile,
        "label": fixed.gates.label,
        "plan_sha256": stored.plan_sha256,
        "gates_sha256": fixed.gates.digest,
        "alpha": fixed.gates.alpha,
        "seed": fixed.seed,
        "questions": {"name": fixed.questions.name, "sha256": fixed.questions.sha256},
        "corpus_sha256": fixed.corpus_sha256,
        "accepted_blind": list(fixed.accepted_blind),
        "known_scores": list(fixed.known_scores),
    }


def _plain(finding: Finding) -> dict[str, Any]:
    body = asdict(finding)
    return {
        **body,
        **{name: body[name].value for name in ("severity", "verdict", "reason")},
        "worst": list(body["worst"]),
    }
