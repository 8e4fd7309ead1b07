"""The parts of a sealed story: locks, cases, a plan, records, a rollout with its live outcomes."""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from bakeoff import (
    asked,
    canonical,
    cases,
    config,
    judgements,
    probes,
    provenance,
    recompute,
    rules,
    tallies,
    withheld,
)
from bakeoff import plan as planning
from bakeoff.config import Lock
from bakeoff.findings import Finding, Judgement, Reason
from bakeoff.sealed import ARMS
from bakeoff.strategy import Strategy
from bakeoff.verdicts import Severity, Verdict

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
    "recheck_at_steps": False,
    "watch": {
        "errors": {"margin": 0.02, "base_rate": 0.98},
        "quality": {"margin": 0.3, "base_rate": 0.5, "at_least": 0.1},
        "latency_p95": {"margin": 0.5},
    },
    "steps": [{"percent": 50, "hours": 2}, {"percent": 100, "hours": 2}],
}
REJUDGED = tuple(
    recompute.plain(
        Finding(
            gate["name"], gate["metric"], gate["rule"], Severity(gate.get("severity", "block")), Verdict.PASS,
            Reason.WITHIN_MARGIN, "none worse", "as planned", 0.5, 0.5, 0.0, -0.1, 0.1, n=24,
        )
    )
    for gate in GATES["gates"]
)  # fmt: skip
"""What every gate says of KPIs that were measured anew."""
RECHECKED = tuple(judgements.again(item, None) for item in REJUDGED if item["severity"] == Severity.BLOCK)
"""What a look keeps of it."""
MEANS = cases.MEANS
ASKED = [(f"q{number:04d}", f"What is {number}?") for number in range(200)]
PLACES = {question_id: number for number, (question_id, _) in enumerate(ASKED)}
LINES = {"probes": ["q0003 quotes itself", "2020"]}
"""What a probe found, which warns only."""

OWN = {"about": "a probe of this project", "next": "bakeoff doctor"}
ASKED_OF_IT = [
    item.model_dump(mode="json")
    for item in probes.parse({"probes": [
        {**OWN, "name": "row-counts", "kind": "sql", "query": "SELECT 1", "expect": {"empty": True}},
        {**OWN, "name": "dedup-rate", "kind": "jq", "program": "0.2", "expect": {"between": [0.1, 0.35]},
         "when": {"lock": "false", "otherwise": "deduplication is off"}},
        {**OWN, "name": "quotes", "kind": "jq", "program": "[]", "expect": {"empty": True}, "severity": "warn"},
    ]}, source="test").probes
]  # fmt: skip
"""The probes of the candidate's probes file; one of them does not apply."""


@dataclass(frozen=True)
class Options:
    """What a sample is like."""

    seed: int = 7
    questions: int = 110
    outcomes: int = 400
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
    """A record with its digest, as it is sealed."""
    made: dict[str, Any] = {
        "kind": kind,
        "plan_sha256": None,
        "config_hash": None,
        "run_id": None,
        "verdict": None,
        **about,
        "body": body,
    }
    left = withheld.without(kind, body, PLACES)[0]
    return {"record_id": number, **made, "body": left, "sha256": canonical.digest(made)}


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
        figures |= {"oracle_retrieval_hit_prefilter": 1, "filter_hit_postfilter": int(number % 5 > 0)}
        texts = {"question_id": ASKED[number][0], "question": ASKED[number][1], "error": None}
        legs = {"in_corpus": 1, "indexed": 1, "dense": 1, "lexical": number % 2}
        sizes = {"snapshot_size": 40 - number % 3, "context_size": 8, "context_tokens": 100 + number, "pairs_cut": None}
        answer = {"answerable": True, "abstained": number % 7 == 0, "tags": ["2020", "odd"][: 1 + number % 2]}
        found.append({**texts, **figures, **legs, **sizes, **answer, "case_sha256": sha(f"{arm} {number}")})
    return found


def plan_of(locks: dict[str, Lock], options: Options) -> planning.Plan:
    """A plan of both locks."""
    arms = {
        arm: planning.Arm(name=one.name, CHUNK_VERSION=one.chunk_version, CONFIG_HASH=one.config_hash)
        for arm, one in locks.items()
    }
    counts = dict.fromkeys(("answer_right", "f1"), options.questions)
    asked = planning.Asked(name="questions", sha256=sha("questions"), used=options.questions, measurable=counts)
    gates, strategy = rules.parse(GATES, source="test"), Strategy.model_validate(STRATEGY)
    sight = planning.sight(gates, {**counts, rules.LATENCY: options.questions})
    blind = tuple(item.gate for item in sight if item.blind and item.severity is Severity.BLOCK)
    return planning.Plan(
        baseline=arms["baseline"], candidate=arms["candidate"], questions=asked, corpus_sha256=sha("corpus"),
        gold_share=0.5, gates=gates, rollout=strategy, seed=options.seed, timed=options.questions,
        traffic_per_hour=50.0, sight=sight, steps=_steps(), accepted_blind=blind,
    )  # fmt: skip


@cache
def _steps() -> tuple[planning.StepSight, ...]:
    return planning.steps(Strategy.model_validate(STRATEGY), traffic_per_hour=50.0, seed=7)


def latencies(count: int) -> dict[str, Any]:
    """How long *count* answers took, as an evaluation says it."""
    return cases.latency([{"total": 20.5 + number} for number in range(count)])


def gold_of(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many questions have gold, and how many of these have theirs elsewhere."""
    found = [row["in_corpus"] for row in rows]
    return {"with_gold": found.count(0) + found.count(1), "not_in_corpus": found.count(0)}


def evaluation(arm: str, one: Lock, rows: list[dict[str, Any]], written: list[Any]) -> dict[str, Any]:
    """A run over *rows*."""
    report = {
        "notes": [],
        "aggregates": {**tallies.aggregates(rows, MEANS), "latency_ms": latencies(len(rows))},
        "questions": {
            "name": "questions",
            "sha256": sha("questions"),
            "used": len(rows),
            "left_out": 0,
            **gold_of(rows),
        },
        "corpus": {"source": "python", "sha256": sha("corpus"), "documents": 9},
        "reader": "extractive",
        "lexical": "lists",
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
        **run, **digests, "finished_at": iso(25), "aggregates": report, "rows": tree(written),
    }  # fmt: skip


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
    findings = [recompute.plain(item) for item in judged.findings] + [
        recorded_finding(kind) for kind in ("probes", "parity")
    ]
    return {
        "kind": "judgement", "profile": "test", "label": "", "plan_sha256": predicate["plan"]["sha256"],
        "gates_sha256": canonical.digest(fixed["gates"]), "alpha": fixed["gates"]["alpha"], "seed": fixed["seed"],
        "questions": {"name": "questions", "sha256": sha("questions")}, "corpus_sha256": sha("corpus"),
        "accepted_blind": fixed["accepted_blind"], "known_scores": [], **sides,
        "verdict": verdict.value, "promote_check": True,
        "warnings": list(judged.warnings), "findings": findings, **named,
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
        "probes": record(2, "probes", probes_body(predicate), verdict="pass", at=iso(31), **about),
        "parity": record(3, "parity", parity_body(predicate), verdict="pass", at=iso(32), **about),
        "judgement": None, "rechecks": [], "rollback_checks": [],
    }  # fmt: skip


def recorded_finding(kind: str) -> dict[str, Any]:
    """What a judgement says of a record that passed."""
    made = Finding(kind, kind, "recorded", Severity.BLOCK, Verdict.PASS, Reason.REACHED, "record", "pass")
    return recompute.plain(made)


def _about(predicate: dict[str, Any]) -> dict[str, Any]:
    fixed, run = predicate["plan"]["body"]["candidate"], predicate["evaluations"]["candidate"]
    lock = {name: fixed[name] for name in ("name", "CHUNK_VERSION", "CONFIG_HASH")}
    return {"lock": lock, "run_id": run["run_id"], "table_sha256": run["table_sha256"], "verdict": "pass"}


def probes_body(predicate: dict[str, Any]) -> dict[str, Any]:
    """Probes of the candidate: one passes, one warns."""
    run = predicate["evaluations"]["candidate"]
    names = ("table_sha256", "corpus_sha256", "questions_sha256", "cases_sha256")
    file = canonical.digest({"probes": ASKED_OF_IT})
    return {
        "kind": "probes", **_about(predicate), "baseline": predicate["plan"]["body"]["baseline"]["CONFIG_HASH"],
        "inputs": {
            "ingest_id": "ingest-candidate", "probes_sha256": file, **{name: run[name] for name in names},
        },
        "asked": ASKED_OF_IT, "not_asked": [{"name": "dedup-rate", "reason": "deduplication is off"}],
        "findings": [
            {"name": "row-counts", "kind": "sql", "severity": "block", "verdict": "pass", "value": 0, "offenders": []},
            {"name": "quotes", "kind": "jq", "severity": "warn", "verdict": "fail", "value": 2,
             "offenders": LINES["probes"]},
        ],
        "at": iso(31),
    }  # fmt: skip


def parity_body(predicate: dict[str, Any]) -> dict[str, Any]:
    """A second ingest that found nothing else."""
    run = predicate["evaluations"]["candidate"]
    return {
        "kind": "parity", **_about(predicate), "ingest_id": "ingest-candidate", "corpus": None,
        **{name: run[name] for name in ("corpus_sha256", "cases_sha256")},
        "sample": {"seed": 7, "documents": 9, "chunks": 99, "embedded": 8, "table_chunks": 99},
        "findings": [
            {"check": name, "severity": "block", "verdict": "pass", "examples": []} for name in asked.PARITY
        ],
        "at": iso(32),
    }  # fmt: skip


def add_rechecks(predicate: dict[str, Any], options: Options) -> None:
    """Add a recheck, and after a rollback its check."""
    judged, fixed, hashes = predicate["records"]["judgement"], predicate["plan"]["sha256"], predicate["plan"]["body"]
    worst = {**REJUDGED[0], "worst": [{"question_id": "q0000", "question": "What is 0?"}]}
    anew = {**judged["body"]["candidate"], "run_id": "run-again", "cases_sha256": sha("cases again")}
    inner = {**deepcopy(judged["body"]), "promote_check": False, "verdict": "pass", "candidate": anew, "warnings": []}
    body = {
        "verdict": "pass", "findings": list(RECHECKED), "said": "none worse",
        "run_id": "run-again", "rollout": "r20260102-1", "simulated": options.clock == "simulated",
        "began_on": {"record": 4, "sha256": judged["sha256"]},
        "judgement": {
            **{name: value for name, value in inner.items() if name not in ("probes", "parity")},
            "findings": [worst, *REJUDGED[1:]],
        },
    }  # fmt: skip
    about = {"plan_sha256": fixed, "verdict": "pass", "at": iso(120)}
    candidate, baseline = (hashes[arm]["CONFIG_HASH"] for arm in ("candidate", "baseline"))
    predicate["records"]["rechecks"] = [record(5, "recheck", body, config_hash=candidate, run_id="run-again", **about)]
    if options.story == "rolled_back":
        passed = [{"check": name, "verdict": "pass"} for name in ("routing", "active-lock", "table", "answer")]
        last = predicate["rollout"]["events"][-1]
        checked = {"rollout": "r20260102-1", "version": last["version"], "verdict": "pass", "findings": passed}
        about |= {"at": last["at"]}
        predicate["records"]["rollback_checks"] = [record(6, "rollback_check", checked, config_hash=baseline, **about)]


def ingest(arm: str) -> dict[str, Any]:
    """A finished ingest."""
    counts = {"chunks": 99, "chunks_read": 110, "duplicates": 11, "documents": 9, "embedded": 99, "reused": 0}
    return {
        "ingest_id": f"ingest-{arm}", "corpus": "python", "corpus_sha256": sha("corpus"), "lexical": "lists",
        "table_sha256": sha(f"table {arm}"), "started_at": iso(1), "finished_at": iso(5), "report": {"counts": counts},
    }  # fmt: skip
