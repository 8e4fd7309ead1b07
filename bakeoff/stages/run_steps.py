"""The stages of a run before its rollout, each with how it is known that it was done before.

Callers may rely on: what is reused was made of the same inputs, and the reason names them; nothing is skipped because
it exists alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bakeoff import gate_words
from bakeoff.adapters import datasets, embedders, evaluations, ingests, locks, records, rollouts
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.records import About, Record
from bakeoff.adapters.rollouts import Rollout
from bakeoff.config import Lock
from bakeoff.errors import NotKnownError, ReaderError, StateError, UsageError
from bakeoff.rollout import Phase
from bakeoff.stages import evaluate as evaluating
from bakeoff.stages import ingest as ingesting
from bakeoff.stages import judge as judging
from bakeoff.stages import lock as locking
from bakeoff.stages import parity as parities
from bakeoff.stages import plan as planning
from bakeoff.stages import probe as probing
from bakeoff.stages import promote, timing
from bakeoff.stages.run_order import Order
from bakeoff.verdicts import Verdict

Side = Literal["baseline", "candidate"]
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Done:
    """What a stage came to. *reused*: nothing was done, and *said* says why not."""

    said: str
    reused: bool = False
    verdict: Verdict | None = None
    product: Any = None
    """What the stage made, for whoever writes artifacts."""


@dataclass(slots=True)
class Going:
    """A run under way: what it was given, and what its stages found so far."""

    connect: Connect
    order: Order
    now: Callable[[], datetime]
    progress: Callable[[str, int, int | None], None]
    sides: dict[Side, Lock] = field(default_factory=dict)
    runs: dict[Side, Run] = field(default_factory=dict)
    stored: Stored | None = None
    judgement: Record | None = None
    rollout: Rollout | None = None
    begun: bool = False
    """Whether any rollout began on the plan, by whatever clock."""

    @property
    def plan(self) -> Stored:
        """The plan, once it is made."""
        if self.stored is None:
            raise StateError("the run has no plan yet")
        return self.stored


def lock(going: Going, side: Side) -> Done:
    """Lock one side's configuration."""
    source = going.order.baseline if side == "baseline" else going.order.candidate
    with going.connect() as conn:
        made = locking.run(
            conn, source.config, name=source.name, source=source.path, now=going.now(), cache_dir=going.order.cache_dir
        )
    going.sides[side] = made.lock
    named = f"{made.lock.name} {made.lock.config_hash}"
    if made.created:
        return Done(f"{named}, {made.lock.chunk_version}", product=made)
    return Done(f"{source.path} unchanged, it is {named}", reused=True, product=made)


def ingest(going: Going, side: Side) -> Done:
    """Ingest the corpus under one side's lock."""
    order, which = going.order, going.sides[side]
    with going.connect() as conn:
        before, archived = ingests.of_lock(conn, which), locks.is_archived(conn, which)
    if before is not None and before.stage == "done" and (archived or order.skip_ingest):
        why = "the lock is archived" if archived else "--skip-ingest"
        return Done(f"{why}, table {str(before.table_sha256)[:12]}… was ingested", reused=True)
    if order.skip_ingest:
        raise StateError(f"--skip-ingest, but {which.name} ({which.config_hash}) has no finished ingest",
                         hint="the command without --skip-ingest")  # fmt: skip
    if order.given.corpus is None:
        raise UsageError(f"{which.name} is not ingested, and no corpus is named", hint="bakeoff run --corpus CORPUS …")
    corpus = datasets.open_corpus(order.given.corpus)
    embedder = embedders.open_embedder(which.config.embedder, cache_dir=order.cache_dir)
    try:
        done = ingesting.run(going.connect, which, corpus, embedder, progress=going.progress, now=going.now,
                             options=ingesting.Options())  # fmt: skip
    finally:
        embedder.close()
    table = f"table {str(done.ingest.table_sha256)[:12]}…"
    if done.unchanged:
        return Done(f"done before, {corpus.name} and {table} unchanged", reused=True, product=done)
    chunks = done.ingest.report["counts"]["chunks"]
    how = "continued, " if done.resumed else "indexes built anew, " if done.repaired else ""
    return Done(f"{how}{chunks:,} chunks, {table}", product=done)


def activate(going: Going) -> Done:
    """Let the baseline be the lock in production where none is; refuse where another one is."""
    baseline, candidate = going.sides["baseline"], going.sides["candidate"]
    with going.connect() as conn:
        found = locks.active(conn)
        if found is None:
            locking.activate(conn, baseline, now=going.now(), reason="the first lock in production, by bakeoff run")
            return Done(f"no lock was in production: {baseline.name} ({baseline.config_hash}) is from now on")
        active, since = found
        if active.config_hash == baseline.config_hash:
            return Done(f"{baseline.name} is in production since {since:%Y-%m-%d %H:%M} UTC", reused=True)
        for past in rollouts.listing(conn) if going.order.given.clock == "wall" else ():
            sides = (past.baseline, past.candidate)
            ended = past.phase == Phase.COMPLETED and past.clock == "wall"  # a rehearsal brings nothing into production
            ours = sides == (baseline.config_hash, candidate.config_hash) and ended
            if ours and active.config_hash == candidate.config_hash:
                return Done(f"{past.rollout_id} brought {candidate.name} into production", reused=True)
    raise StateError(
        f"{active.name} ({active.config_hash}) is in production, not the baseline {baseline.name} "
        f"({baseline.config_hash})",
        hint=f"run with --baseline-config of what is in production, or bakeoff locks activate {baseline.config_hash}",
    )


def plan(going: Going) -> Done:
    """Fix the bar, and find the rollout that began on it by the clock that is asked for, if there is one."""
    given = going.order.given
    options = planning.Options(
        traffic_per_hour=given.traffic_per_hour, timed=given.timings, accept_blind=given.accept_blind
    )
    now = going.now()
    with going.connect() as conn:
        stored = planning.run(
            conn,
            planning.Sides(going.sides["baseline"], going.sides["candidate"]),
            given.questions,
            (going.order.profile, going.order.strategy),
            now=now,
            options=options,
        )
        begun = [each for each in rollouts.listing(conn) if each.plan_sha256 == stored.plan_sha256]
    mine = [each for each in begun if each.clock == given.clock]  # a rehearsal does not stand in for the real one
    going.stored, going.rollout, going.begun = stored, mine[0] if mine else None, bool(begun)
    said = f"plan {stored.plan.short}, {stored.plan.questions.used} questions, rollout {stored.plan.rollout.strategy}"
    if stored.created_at != now:
        return Done(f"{said}: the same since {stored.created_at:%Y-%m-%d %H:%M} UTC", reused=True, product=stored)
    return Done(said, product=stored)


def _run_there(going: Going, side: Side, conn: Connection) -> Run | None:
    """Return the finished evaluation of one side that is, or was, judged; None where there is none that fits."""
    fixed = going.plan.plan
    which = going.sides[side]
    table = ingests.finished(conn, which).table_sha256
    if going.begun:  # its rechecks have made newer ones
        judged = records.latest(conn, "judgement", About(plan_sha256=going.plan.plan_sha256))
        run = None if judged is None else evaluations.find(conn, judged.body[side]["run_id"])
        if going.rollout is not None or (run is not None and run.table_sha256 == table):
            return run
    ground = evaluations.Ground(fixed.questions.sha256, fixed.corpus_sha256, fixed.gold_share)
    found = evaluations.for_plan(conn, which.config_hash, ground)
    if found is None or found.table_sha256 != table:
        return None
    early = side == "candidate" and found.started_at < going.plan.created_at and found.run_id not in fixed.known_scores
    return None if early else found


def evaluate(going: Going, side: Side) -> Done:
    """Ask every question of one side."""
    order, which = going.order, going.sides[side]
    with going.connect() as conn:
        there = _run_there(going, side, conn)
    if there is not None:
        going.runs[side] = there
        return Done(f"run {there.run_id}, questions and table unchanged", reused=True)
    if order.skip_eval:
        raise NotKnownError(f"--skip-eval, but {which.name} ({which.config_hash}) has no evaluation that fits the plan",
                            hint="the command without --skip-eval")  # fmt: skip
    options = evaluating.Options(workers=order.workers, cache_dir=order.cache_dir, environ=order.environ)
    done = evaluating.run(
        going.connect, which, order.given.questions, progress=going.progress, now=going.now, options=options
    )
    going.runs[side] = done.run
    asked, failed = done.artifact["questions"]["used"], done.artifact["aggregates"]["errors"]
    if failed == asked:
        raise ReaderError(f"the reader failed on all {asked} questions: {done.first_error}",
                          hint="mend its service; the same command asks again")  # fmt: skip
    said = f"run {done.run.run_id}, {asked} questions" + (f", {failed} answers failed" if failed else "")
    return Done(f"continued, {said}" if done.resumed else said, product=done)


def _began(going: Going) -> Done | None:
    """Return why nothing is measured for the judgement any more: traffic moved on the one that there is."""
    if going.rollout is None:
        return None
    return Done(f"{going.rollout.rollout_id} began on it", reused=True)


def timings(going: Going) -> Done:
    """Time both sides in turn."""
    if (began := _began(going)) is not None:
        return began
    tables = {which.config_hash: going.runs[side].table_sha256 for side, which in going.sides.items()}
    with going.connect() as conn:
        found = records.latest(conn, "timings", About(plan_sha256=going.plan.plan_sha256))
    if found is not None and found.body["tables"] == tables:
        return Done(f"record {found.record_id}, both tables unchanged", reused=True)
    options = timing.Options(cache_dir=going.order.cache_dir, environ=going.order.environ)
    sides = going.sides["baseline"], going.sides["candidate"]
    timed = timing.run(going.connect, going.plan, sides, progress=going.progress, now=going.now, options=options)
    made = timed.record
    return Done(f"record {made.record_id}, {len(made.body['questions'])} questions asked of both", product=made)


def _demanded(going: Going, kind: Literal["probes", "parity"], conn: Connection) -> Done | None:
    """Return that a passing record of *kind* is there, of this run and table, or None."""
    demands = promote.Demands(going.runs["candidate"], going.sides["baseline"].config_hash, going.order.probes.digest)
    findings, rests_on = promote.demanded(conn, demands)
    (found,) = (item for item in findings if item.gate == kind)
    if found.verdict is not Verdict.PASS:
        return None
    return Done(f"record {rests_on[kind]['record']}, run and table unchanged", reused=True, verdict=Verdict.PASS)


def probes(going: Going) -> Done:
    """Ask the sanity probes of the candidate."""
    if (began := _began(going)) is not None:
        return began
    with going.connect() as conn:
        if (there := _demanded(going, "probes", conn)) is not None:
            return there
        source = going.order.given.probes
        done = probing.run(
            conn, going.sides["candidate"], going.order.probes, source=source, now=going.now(),
            run=going.runs["candidate"], baseline=going.sides["baseline"],
        )  # fmt: skip
    return Done(_passed([(item.name, item.verdict) for item in done.findings]), verdict=done.verdict, product=done)


def _passed(findings: Sequence[tuple[str, Verdict]]) -> str:
    """Return how many of *findings* passed, and the names of the others."""
    others = [name for name, verdict in findings if verdict is not Verdict.PASS]
    said = f"{len(findings) - len(others)} of {len(findings)} passed"
    return f"{said}, not {', '.join(others[:_NAMED])}{' …' * (len(others) > _NAMED)}" if others else said


def parity(going: Going) -> Done:
    """Ask what fails a build: would a second ingest make the candidate's table again?"""
    if (began := _began(going)) is not None:
        return began
    which = going.sides["candidate"]
    with going.connect() as conn:
        if (there := _demanded(going, "parity", conn)) is not None:
            return there
        embedder = embedders.open_embedder(which.config.embedder, cache_dir=going.order.cache_dir)
        try:
            options = parities.Options(run=going.runs["candidate"].run_id)
            done = parities.run(conn, which, embedder, options=options, progress=going.progress, at=going.now())
        finally:
            embedder.close()
    found = [(item.check.value, item.verdict) for item in done.findings]
    return Done(_passed(found), verdict=done.verdict, product=done)


def _rests_on_the_same(going: Going, conn: Connection, found: Record) -> bool:
    """Return whether judging now would rest on the very records, runs and tables of *found*."""
    demands = promote.Demands(going.runs["candidate"], going.sides["baseline"].config_hash, going.order.probes.digest)
    _, rests_on = promote.demanded(conn, demands)
    timed = records.latest(conn, "timings", About(plan_sha256=going.plan.plan_sha256))
    if timed is not None:
        rests_on["timings"] = {"record": timed.record_id, "sha256": timed.sha256}
    runs = all(
        (found.body[side]["run_id"], found.body[side]["table_sha256"]) == (run.run_id, run.table_sha256)
        for side, run in going.runs.items()
    )
    return runs and all(found.body.get(kind) == what for kind, what in rests_on.items())


def kpi_check(going: Going) -> Done:
    """Judge the candidate, with what a promotion demands."""
    with going.connect() as conn:
        found = records.latest(conn, "judgement", About(plan_sha256=going.plan.plan_sha256))
        asked = found is not None and found.body["promote_check"]
        if found is not None and asked and (began := _began(going)) is not None:
            going.judgement = found
            return Done(began.said, reused=True, verdict=Verdict(found.body["verdict"]))
        if found is not None and asked and _rests_on_the_same(going, conn, found):
            going.judgement = found
            same = f"record {found.record_id}, all it rests on unchanged" + _not_passed(found) + _accepted(found)
            return Done(same, reused=True, verdict=Verdict(found.body["verdict"]))
        wanted = judging.Wanted(promote_check=True, probes_sha256=going.order.probes.digest)
        going.judgement = judging.run(conn, going.plan, wanted, connect=going.connect, now=going.now())
    made = going.judgement
    said = f"record {made.record_id}" + (_not_passed(made) or ", all that decide pass") + _accepted(made)
    return Done(said, verdict=Verdict(made.body["verdict"]), product=made)


def _accepted(found: Record) -> str:
    """Return what a judgement was accepted in spite of, '' where nothing was."""
    return "".join(f"; {item}" for item in gate_words.accepted(found.body))


def _not_passed(found: Record) -> str:
    """Return the names of what decides and did not pass, '' where everything did."""
    findings = found.body["findings"]
    bad = [item["gate"] for item in findings if item["verdict"] != "pass" and item["severity"] == "block"]
    return f", not passed: {', '.join(bad)}" if bad else ""
