"""Sweep: lock many configurations, narrow them on parts of the questions, test what is left on the holdout.

Callers may rely on: nothing is stored before every configuration, the questions and the schedule were checked; a sweep
that was interrupted is continued by the same call with the same result: locks, ingests and evaluations that are there
already are taken as they are; a configuration is ingested when it is first asked; the active lock's table is only read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from bakeoff import canonical, halving, plan, plural
from bakeoff.adapters import chunks, embedders, evaluations, locks, records
from bakeoff.adapters.ingests import Ingest
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.records import Record
from bakeoff.config import Lock
from bakeoff.errors import InputError, StateError
from bakeoff.halving import Decision, Finalist, Score
from bakeoff.stages import evaluate, ingest, lock, prepare
from bakeoff.stages.prepare import Arm, Options, Order, Prepared
from bakeoff.verdicts import Verdict

Progress = Callable[[str, int, int | None], None]

_SHOWN_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Swept:
    """A finished sweep: its verdict, its record, and everything it found as plain values."""

    verdict: Verdict
    record: Record
    body: dict[str, Any]


@dataclass(slots=True)
class _Work:
    """A sweep under way: what its arms have got so far."""

    connect: Connect
    order: Order
    ready: Prepared
    progress: Progress
    now: Callable[[], datetime]
    options: Options
    locks: dict[str, Lock] = field(default_factory=dict)
    ingests: dict[str, Ingest] = field(default_factory=dict)
    values: defaultdict[str, dict[str, float | None]] = field(default_factory=lambda: defaultdict(dict))
    runs: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    answers: int = 0

    def lock(self, arm: Arm) -> None:
        """Lock *arm*, or take the lock that exists."""
        with self.connect() as conn:
            known = locks.by_hash(conn, arm.config_hash)
            made = known or lock.run(
                conn,
                arm.config,
                name=self.own_name(arm.config_hash),
                source=self.order.source,
                now=self.now(),
                cache_dir=self.options.cache_dir,
            ).lock  # fmt: skip
        self.locks[arm.config_hash] = made

    def own_name(self, hashed: str) -> str:
        """Return the name of a lock that this sweep makes: whoever has another name was there before."""
        return f"{self.order.sweep.name}-{hashed[:_SHOWN_DIGITS]}"

    def ingest(self, hashed: str) -> Ingest:
        """Ingest the corpus under the arm's lock, unless it is. Raises StateError where the corpus has changed."""
        if hashed in self.ingests:
            return self.ingests[hashed]
        which = self.locks[hashed]
        self.progress("tables", len(self.ingests), len(self.locks))
        embedder = embedders.open_embedder(which.config.embedder, cache_dir=self.options.cache_dir)
        try:
            done = ingest.run(
                self.connect, which, self.ready.corpus, embedder,
                progress=self._ingesting, now=self.now, options=ingest.Options(),
            )  # fmt: skip
        finally:
            embedder.close()
        found = self.ingests[hashed] = done.ingest
        self.progress("tables", len(self.ingests), len(self.locks))
        expected = self.ingests[self.ready.baseline.config_hash].corpus_sha256
        if found.corpus_sha256 != expected:
            raise StateError(
                f"{which.name} ({hashed}) has read other documents than the baseline: expected the corpus "
                f"{str(expected)[:16]}…, found {str(found.corpus_sha256)[:16]}…",
                hint="did the corpus change meanwhile? ingest all of it again, or name another --corpus",
            )
        return found

    def _ingesting(self, stage: str, done: int, total: int | None) -> None:
        if stage == "embed":
            self.progress(stage, done, total)

    def ask(self, hashed: str, asked: Iterable[str]) -> None:
        """Let one arm answer the questions *asked*; a finished run of the same is taken as it is."""
        only = frozenset(asked)
        table, which = self.ingest(hashed), self.locks[hashed]
        how = evaluate.Options(
            workers=self.options.workers, only=only, cache_dir=self.options.cache_dir, environ=self.options.environ
        )
        with self.connect() as conn:
            before = evaluations.finished_before(
                conn,
                which,
                table_sha256=str(table.table_sha256),
                questions_sha256=evaluate.part_of(self.ready.asked, only).digest,
                settings=evaluate.settings(which, how, self.ready.asked),
            )
            cases = [] if before is None else [case for case, _ in evaluations.scores(conn, before)]
        run = before
        if run is None:
            done = evaluate.run(
                self.connect, which, self.order.questions, progress=self._answering, now=self.now, options=how
            )
            run, cases = done.run, done.artifact["case_results"]
        self.runs[hashed].append(run.run_id)
        self.values[hashed] |= {case["question_id"]: case[self.order.sweep.metric] for case in cases}
        self.answers += len(only)
        self._answering("", 0, None)

    def _answering(self, stage: str, done: int, total: int | None) -> None:
        del stage, total  # those of one run
        self.progress("answers", self.answers + done, self.ready.schedule.answers)


def run(connect: Connect, order: Order, *, progress: Progress, now: Callable[[], datetime], options: Options) -> Swept:
    """Run the sweep that *order* describes, to its end.

    Raises ConfigError that lists every configuration that can't be used, InputError where the questions are too few or
    of another corpus, UsageError where no corpus is named, StateError where the corpus has changed, and what locking,
    ingesting and evaluating raise.
    """
    with connect() as conn:
        ready = prepare.run(conn, order, options)
    _measurable(order, ready)
    work = _Work(connect, order, ready, progress, now, options)
    for arm in (ready.baseline, *ready.arms.values()):
        work.lock(arm)
    rungs = _narrowed(work)
    left = [score.config_hash for score in rungs[-1] if score.kept] if rungs else list(ready.arms)
    for hashed in (ready.baseline.config_hash, *sorted(left)):
        work.ask(hashed, ready.schedule.holdout)
    decision = halving.decide(
        work.values[ready.baseline.config_hash],
        {hashed: work.values[hashed] for hashed in left},
        ready.schedule.holdout,
        order.sweep,
    )
    return _ended(work, rungs, decision)


def _measurable(order: Order, ready: Prepared) -> None:
    """Raise InputError where the questions lack the gold that the metric is made of: no result could show anything."""
    metric, last = order.sweep.metric, set(ready.schedule.holdout)
    least = halving.least_holdout(ready.schedule.finalists, order.sweep)
    found = plan.measurable(item for item in ready.asked.questions if item.question_id in last).get(metric, 0)
    if found < least:
        raise InputError(
            f"{found} of {plural.counted(len(last), 'question')} of the holdout {plural.have(found)} "
            f"the gold that {metric} needs: no result of fewer than {least} could show that a finalist is better at "
            f"alpha {order.sweep.alpha:g}",
            hint="name another metric in the sweep file, or ask questions with such gold",
        )


def _narrowed(work: _Work) -> list[tuple[Score, ...]]:
    """Return the scores of every rung."""
    ready = work.ready
    left, first, found = sorted(ready.arms), ready.baseline.config_hash, []
    for number, rung in enumerate(ready.schedule.rungs):
        for hashed in (first, *left):
            work.ask(hashed, ready.schedule.new_in(number))
        asked = ready.schedule.narrowing[: rung.questions]
        scores = halving.narrow(
            work.values[first], {hashed: work.values[hashed] for hashed in left}, asked, keep=rung.keep
        )
        left = sorted(score.config_hash for score in scores if score.kept)
        found.append(scores)
    return found


# --- What was found ---------------------------------------------------------------------------------------------


def _ended(work: _Work, rungs: Sequence[tuple[Score, ...]], decision: Decision) -> Swept:
    """Record what was found, then remove what is not wanted any more."""
    at = work.now()
    with work.connect() as conn:
        body = _body(conn, work, rungs, decision)
        about = records.About(config_hash=decision.winner)
        record = records.add(conn, "sweep", body, about=about, at=at, verdict=decision.verdict)
        losers = _losers(conn, work, body["arms"]) if work.options.drop_losers else []
        for which in losers:
            ingest.forget(conn, which)
    return Swept(decision.verdict, record, {**body, "tables_dropped": [which.config_hash for which in losers]})


def _losers(conn: Connection, work: _Work, arms: Sequence[dict[str, Any]]) -> list[Lock]:
    """Return the locks of the candidates that were dropped; those that were there before the sweep are left alone."""
    dropped = [work.locks[arm["config_hash"]] for arm in arms if arm["dropped_in_rung"] is not None]
    made_here = [which for which in dropped if which.name == work.own_name(which.config_hash)]
    return [which for which in made_here if locks.active_since(conn, which) is None]


def _body(conn: Connection, work: _Work, rungs: Sequence[tuple[Score, ...]], decision: Decision) -> dict[str, Any]:
    ready, order = work.ready, work.order
    first = work.ingests[ready.baseline.config_hash]
    dropped = {
        score.config_hash: number for number, scores in enumerate(rungs, 1) for score in scores if not score.kept
    }
    arms = [_arm(conn, work, arm, dropped.get(arm.config_hash)) for arm in (ready.baseline, *ready.arms.values())]
    return {
        "kind": "sweep",
        "name": order.sweep.name,
        "source": order.source,
        "sweep_sha256": canonical.digest(order.sweep.model_dump(mode="json", by_alias=True)),
        "metric": order.sweep.metric,
        "alpha": order.sweep.alpha,
        "minimum_effect": order.sweep.minimum_effect,
        "seed": order.sweep.seed,
        "questions": {
            "name": ready.asked.name,
            "sha256": ready.asked.digest,
            "used": len(ready.asked.questions),
            "left_out": len(ready.asked.left_out),
            "narrowing": list(ready.schedule.narrowing),
            "holdout": list(ready.schedule.holdout),
        },
        "corpus": {"source": ready.corpus.spec, "sha256": first.corpus_sha256},
        "baseline": ready.baseline.config_hash,
        "tried": len(ready.arms),
        "texts": {key: sum(arm["texts"][key] for arm in arms) for key in ("embedded", "reused")},
        "arms": arms,
        "rungs": [
            {**asdict(rung), "new_questions": len(ready.schedule.new_in(number)), "scores": [asdict(s) for s in scores]}
            for number, (rung, scores) in enumerate(zip(ready.schedule.rungs, rungs, strict=True))
        ],
        "finalists": [_finalist(item) for item in decision.finalists],
        "winner": decision.winner,
        "verdict": decision.verdict.value,
        "holdout_needed": decision.needed,
    }


def _arm(conn: Connection, work: _Work, arm: Arm, dropped_in: int | None) -> dict[str, Any]:
    which, counts = work.locks[arm.config_hash], work.ingests[arm.config_hash].report["counts"]
    return {
        "config_hash": which.config_hash,
        "lock": which.name,
        "CHUNK_VERSION": which.chunk_version,
        "changes": arm.label,
        "baseline": arm is work.ready.baseline,
        "dropped_in_rung": dropped_in,
        "chunks": counts["chunks"],
        "texts": {"embedded": counts.get("embedded", 0), "reused": counts.get("reused", 0)},
        "table_bytes": chunks.bytes_taken(conn, which),
        "runs": work.runs[arm.config_hash],
    }


def _finalist(item: Finalist) -> dict[str, Any]:
    return {
        "config_hash": item.config_hash,
        **asdict(item.paired),
        "p_better": item.p_better,
        "p_adjusted": item.p_adjusted,
        "standing": item.standing.value,
    }
