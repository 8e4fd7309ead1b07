"""The parts of a sealed story: locks, cases, a plan, records, a rollout with its live outcomes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bakeoff import canary, canonical, cases, config, evidence, provenance, recompute, rollout, rules, sealed
from bakeoff import plan as planning
from bakeoff.config import Lock
from bakeoff.findings import Judgement
from bakeoff.rollout import Action, Event, Look, Promote, Rollback, Start, State
from bakeoff.sealed import ARMS, Live
from bakeoff.strategy import Strategy
from bakeoff.verdicts import Verdict

BEGAN = datetime(2026, 1, 2, 3, 0, 0, tzinfo=UTC)
GATES: dict[str, Any] = {
    "profile": "test",
    "resamples": 1000,
    "gates": [
        {
            "name": "right",
            "rule": "no_worse",
            "metric": "answer_right",
            "margin": 0.3,
            "discordance": 0.1,
            "minimum": 10,
        },
        {"name": "f1", "rule": "no_worse", "metric": "f1", "margin": 0.3, "spread": 0.3, "minimum": 10},
        {"name": "f1-gain", "rule": "gain", "metric": "f1", "at_least": 0.05, "severity": "warn", "minimum": 10},
        {"name": "leaks", "rule": "level", "metric": "leaked_prefixes", "at_most": 0},
        {"name": "snapshot", "rule": "stable", "metric": "snapshot_size", "within": 0.5},
        {"name": "time", "rule": "level", "metric": "p95_latency_ms", "at_most": 500},
    ],
}
STRATEGY: dict[str, Any] = {
    "strategy": "short",
    "watch": {"errors": {"margin": 0.02, "base_rate": 0.98}},
    "steps": [{"percent": 20, "hours": 2}, {"percent": 100, "hours": 2}],
}
MEANS = cases.MEANS


@dataclass(frozen=True)
class Options:
    """What a sample is like."""

    seed: int = 7
    questions: int = 110
    outcomes: int = 120
    clock: str = "simulated"
    story: str = "completed"
    """completed, rolled_back, forced, judged (no rollout), stopped (no rollout, a gate fails)."""
    number: int = 1
    previous: str | None = None


def tree(rows: list[Any]) -> dict[str, Any]:
    """Count and root of rows."""
    return {"count": len(rows), "root": provenance.root(rows)}


def iso(minutes: float) -> str:
    """So many minutes after the story began."""
    return (BEGAN + timedelta(minutes=minutes)).isoformat()


def sha(text: str) -> str:
    """Some digest."""
    return canonical.sha256_hex(text.encode())


def record(number: int, kind: str, body: dict[str, Any], **about: Any) -> dict[str, Any]:
    """A record with its digest."""
    made = {
        "kind": kind,
        "plan_sha256": None,
        "config_hash": None,
        "run_id": None,
        "verdict": None,
        **about,
        "body": body,
    }
    return {"record_id": number, **made, "sha256": canonical.digest(made)}


# --- The parts ------------------------------------------------------------------------------------------------------


def lock(arm: str, number: int) -> Lock:
    """A lock whose hash is its own."""
    wanted = config.parse({"chunking": {"size": 100 * number}}, source="test")
    tokens = config.TokenizerIdentity(name="t", sha256=sha("tokens"))
    embedder = config.EmbedderIdentity(
        name="e", backend="static", precision="fp32", weights_sha256=sha("weights"), dimension=64, max_tokens=512,
        positions=None, tokenizer=tokens,
    )  # fmt: skip
    return Lock(
        name=arm, chunk_version=f"2026-01-02-v{number}", config_hash=config.config_hash(wanted, embedder, None),
        table_name=f"document_chunks_20260102_030000_v{number}", created_at=BEGAN, config=wanted, embedder=embedder,
    )  # fmt: skip


def case_rows(rng: random.Random, arm: str, count: int, *, good: float) -> list[dict[str, Any]]:
    """Cases of an arm."""
    found = []
    for number in range(count):
        right = int(rng.random() < good)
        figures: dict[str, Any] = dict.fromkeys(MEANS)
        figures |= {"answer_right": right, "f1": round(0.5 * right + 0.4 * rng.random(), 6), "em": float(right)}
        texts = {"question_id": f"q{number:04d}", "question": f"What is {number}?", "error": None}
        digest = sha(f"{arm} {number}")
        found.append({**texts, **figures, "snapshot_size": 40 - number % 3, "case_sha256": digest})
    return found


def plan_of(locks: dict[str, Lock], options: Options) -> planning.Plan:
    """A plan of both locks."""
    arms = {
        arm: planning.Arm(name=one.name, CHUNK_VERSION=one.chunk_version, CONFIG_HASH=one.config_hash)
        for arm, one in locks.items()
    }
    counts = dict.fromkeys(("answer_right", "f1"), options.questions)
    asked = planning.Asked(name="questions", sha256=sha("questions"), used=options.questions, measurable=counts)
    return planning.Plan(
        baseline=arms["baseline"], candidate=arms["candidate"], questions=asked, corpus_sha256=sha("corpus"),
        gold_share=0.5, gates=rules.parse(GATES, source="test"), rollout=Strategy.model_validate(STRATEGY),
        seed=options.seed, timed=options.questions, traffic_per_hour=30.0, sight=(), steps=(),
        accepted_blind=("f1-gain",),
    )  # fmt: skip


def evaluation(arm: str, one: Lock, rows: list[dict[str, Any]], written: list[Any]) -> dict[str, Any]:
    """A run over *rows*."""
    sizes = [row["snapshot_size"] for row in rows]
    aggregates = {
        "questions": len(rows),
        "means": sealed.means(rows, MEANS),
        "errors": 0,
        "snapshot_size": {"least": min(sizes, default=None), "most": max(sizes, default=None)},
    }
    run = {
        "run_id": f"run-{arm}",
        "question_set": "questions",
        "questions_sha256": sha("questions"),
        "corpus_sha256": sha("corpus"),
        "table_sha256": sha(f"table {arm}"),
        "settings": {"gold_share": 0.5, "workers": 1},
        "started_at": iso(20),
    }
    identity = canonical.digest({**run, "config_hash": one.config_hash, "ingest_id": f"ingest-{arm}"})
    digests = {"cases_sha256": sha(f"cases {arm}"), "identity_sha256": identity, "rows_sha256": sha(f"rows {arm}")}
    return {
        **run, **digests, "finished_at": iso(25), "aggregates": {"notes": [], "aggregates": aggregates},
        "rows": tree(written),
    }  # fmt: skip


def history(options: Options, strategy: Strategy, *, clock_at: float = 60.0) -> tuple[list[dict[str, Any]], State]:
    """The events of a rollout, and where they lead."""
    green = Look(
        Action.GO, Verdict.PASS, 50, "nothing watched is worse", ({"watched": "errors", "value": 0.98},), rechecked=True
    )
    why = "go"
    if options.story == "forced":
        why = "forced, the judgement is inconclusive: go"
    told: list[tuple[float, Event]] = [(0, Start("ada", why)), (60, green)]
    if options.story == "rolled_back":
        told += [(90, Rollback("ada", "enough"))]
    elif options.story == "forced":
        told += [
            (100, Promote("ada", force=True, why="in a hurry")),
            (160, green),
            (220, green),
            (220, rollout.Advance()),
        ]
    else:
        told += [(120, green), (120, rollout.Advance()), (180, green), (240, green), (240, rollout.Advance())]
    state: State | None = None
    events = []
    for version, (minutes, event) in enumerate(told, start=1):
        at = BEGAN + timedelta(minutes=clock_at + minutes)
        done = canary.step(strategy, state, event, at)
        assert done.accepted, done.said
        state = done.state
        body = {"event": rollout.body_of(event), "state": state.body(), "reason": done.reason.value, "said": done.said}
        events.append({"version": version, "at": at.isoformat(), "event": event.kind, "body": body})
    assert state is not None
    return events, state


def outcome_rows(rng: random.Random, options: Options, events: list[dict[str, Any]]) -> list[Any]:
    """Live outcomes, each of the arm of its bucket."""
    first, last = (datetime.fromisoformat(events[n]["at"]) for n in (0, -1))
    found = []
    for number in range(options.outcomes):
        at = first + (last - first) * (number + 0.5) / options.outcomes
        state = [item["body"]["state"] for item in events if datetime.fromisoformat(item["at"]) <= at][-1]
        bucket = None if number % 11 == 0 else rng.randrange(10_000)
        arm = ARMS[bucket is not None and bucket < state["weight_bp"]]
        latency = None if number % 7 == 0 else round(50 + 100 * rng.random(), 3)
        quality = round(rng.random(), 4) if number % 3 else None
        found.append([at.isoformat(), state["step"], arm, bucket, rng.random() < 0.98, latency, quality])
    return found


def rolled(
    rng: random.Random, options: Options, fixed: planning.Plan
) -> tuple[dict[str, Any] | None, list[Any], list[dict[str, Any]]]:
    """The rollout, its live outcomes, its events."""
    if options.story in ("judged", "stopped"):
        return None, [], []
    events, state = history(options, fixed.rollout)
    live = outcome_rows(rng, options, events)
    steps = sealed.by_step([Live(*row) for row in live], events)
    for item in steps:
        mine = [row[3] for row in live if row[1] == item["step"] and row[2] == item["arm"] and row[3] is not None]
        item["units"] = len(set(mine))
    made = {
        "rollout_id": "r20260102-1", "plan_sha256": fixed.digest, "salt": f"r20260102-1.{fixed.digest[:12]}",
        "clock": options.clock, "version": len(events), "state": state.body(), "events": events,
        "outcomes": {"by_step": steps, "rows": tree(evidence.as_decimals(live))},
    }  # fmt: skip
    return made, live, events


def judgement_body(predicate: dict[str, Any], judged: Judgement, verdict: Verdict) -> dict[str, Any]:
    """A judgement as it is recorded."""
    fixed, given = predicate["plan"]["body"], predicate["records"]
    sides = {
        arm: {
            "lock": arm, "CHUNK_VERSION": fixed[arm]["CHUNK_VERSION"], "CONFIG_HASH": fixed[arm]["CONFIG_HASH"],
            **{name: predicate["evaluations"][arm][name] for name in ("run_id", "table_sha256", "cases_sha256")},
        }
        for arm in ARMS
    }  # fmt: skip
    named = {
        kind: {"record": given[kind]["record_id"], "sha256": given[kind]["sha256"]}
        for kind in ("timings", "probes", "parity")
    }
    return {
        "kind": "judgement", "profile": "test", "label": "", "plan_sha256": predicate["plan"]["sha256"],
        "gates_sha256": canonical.digest(fixed["gates"]), "alpha": fixed["gates"]["alpha"], "seed": fixed["seed"],
        "questions": {"name": "questions", "sha256": sha("questions")}, "corpus_sha256": sha("corpus"),
        "accepted_blind": ["f1-gain"], "known_scores": [], "verdict": verdict.value, "promote_check": True, **sides,
        "warnings": list(judged.warnings), "findings": [recompute.plain(item) for item in judged.findings], **named,
    }  # fmt: skip


def add_records(predicate: dict[str, Any], rng: random.Random, questions: list[str]) -> None:
    """Add timings, probes and parity."""
    fixed, hashed = predicate["plan"], predicate["plan"]["body"]["candidate"]["CONFIG_HASH"]
    tables = {fixed["body"][arm]["CONFIG_HASH"]: predicate["evaluations"][arm]["table_sha256"] for arm in ARMS}
    timings = {
        "kind": "timings", "plan_sha256": fixed["sha256"], "tables": tables, "questions_sha256": sha("questions"),
        "seed": 7, "questions": questions, "machine": {"cores": 2},
        **{f"{arm}_ms": [round(20 + 30 * rng.random(), 3) for _ in questions] for arm in ARMS},
    }  # fmt: skip
    about = {"config_hash": hashed, "run_id": "run-candidate"}
    predicate["records"] = {
        "timings": record(1, "timings", timings, plan_sha256=fixed["sha256"], config_hash=hashed, at=iso(30)),
        "probes": record(2, "probes", {"findings": []}, verdict="pass", at=iso(31), **about),
        "parity": record(3, "parity", {"findings": []}, verdict="pass", at=iso(32), **about),
        "judgement": None, "rechecks": [], "rollback_checks": [],
    }  # fmt: skip


def add_rechecks(predicate: dict[str, Any], options: Options) -> None:
    """Add a recheck, and after a rollback its check."""
    judged, fixed, hashes = predicate["records"]["judgement"], predicate["plan"]["sha256"], predicate["plan"]["body"]
    body = {
        "verdict": "pass", "findings": [{"watched": "recheck f1", "verdict": "pass"}], "said": "none worse",
        "run_id": "run-again", "rollout": "r20260102-1", "simulated": options.clock == "simulated",
        "began_on": {"record": 4, "sha256": judged["sha256"]},
    }  # fmt: skip
    about = {"plan_sha256": fixed, "verdict": "pass", "at": iso(120)}
    candidate, baseline = (hashes[arm]["CONFIG_HASH"] for arm in ("candidate", "baseline"))
    predicate["records"]["rechecks"] = [record(5, "recheck", body, config_hash=candidate, run_id="run-again", **about)]
    if options.story == "rolled_back":
        checked = {"rollout": "r20260102-1", "verdict": "pass", "findings": []}
        predicate["records"]["rollback_checks"] = [record(6, "rollback_check", checked, config_hash=baseline, **about)]


def ingest(arm: str) -> dict[str, Any]:
    """A finished ingest."""
    return {
        "ingest_id": f"ingest-{arm}", "corpus": "python", "corpus_sha256": sha("corpus"), "lexical": "lists",
        "table_sha256": sha(f"table {arm}"), "started_at": iso(1), "finished_at": iso(5), "report": {"chunks": 99},
    }  # fmt: skip
