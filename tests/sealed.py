"""A whole seal made of nothing but values: two locks, a plan, cases, records, a rollout, its live outcomes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bakeoff import canonical, dsse, evidence, gates, recompute, sealed, withheld
from bakeoff.claims import Key, Report, check
from bakeoff.dsse import Envelope
from bakeoff.sealed import ARMS, Sealed
from tests.sealed_parts import (
    ASKED,
    LINES,
    Options,
    add_rechecks,
    add_records,
    case_rows,
    evaluation,
    ingest,
    iso,
    judgement_body,
    lock,
    plan_of,
    record,
    tree,
)
from tests.sealed_rollout import rolled


@dataclass(frozen=True)
class Sample:
    """A seal in parts, so that any of them can be changed and signed again."""

    predicate: dict[str, Any]
    rows: dict[str, Any]
    key: Ed25519PrivateKey
    extra: dict[str, str] = field(default_factory=dict)
    """More subjects, or other digests of those that there are."""

    @property
    def keys(self) -> dict[str, Key]:
        """The ring that knows the key."""
        return ring(self.key)

    @property
    def written(self) -> dict[str, Any]:
        """The rows as their file has them."""
        return dict(evidence.as_decimals(self.rows))

    @property
    def rows_file(self) -> bytes:
        """The bytes of the rows file."""
        return canonical.encode(self.written) + b"\n"

    def payload(self) -> bytes:
        """The statement."""
        named = subjects(self.predicate) | {"rows.json": canonical.sha256_hex(self.rows_file)} | self.extra
        return evidence.statement([evidence.Subject(*item) for item in named.items()], self.predicate)

    def envelope(self) -> Envelope:
        """The signed statement."""
        return dsse.sign(self.payload(), self.key)

    def file(self) -> bytes:
        """The bytes of the seal's file."""
        return file_of(self.envelope())

    def changed(self) -> Sample:
        """A copy whose parts may be changed."""
        return replace(self, predicate=deepcopy(self.predicate), rows=deepcopy(self.rows), extra=dict(self.extra))

    def check(self, **options: Any) -> Report:
        """What verification says of it."""
        return check(self.envelope(), self.written, keys=self.keys, **options)

    def resign(self) -> Sample:
        """Make roots and the records' digests those of what is there now, as somebody with the key would."""
        for arm in ARMS:
            self.predicate["evaluations"][arm]["rows"] = tree(self.written[arm])
        if self.predicate["rollout"] is not None:
            self.predicate["rollout"]["outcomes"]["rows"] = tree(self.written["outcomes"])
        return self


def file_of(envelope: Envelope) -> bytes:
    """An envelope as its file has it."""
    return canonical.encode(envelope.body()) + b"\n"


@cache
def private(number: int = 1) -> Ed25519PrivateKey:
    """A key that is the same in every run."""
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def ring(*found: Ed25519PrivateKey, **more: Any) -> dict[str, Key]:
    """Public keys by their ids."""
    return {
        dsse.key_id(key.public_key()): Key(key.public_key(), f"key-{number}", **more)
        for number, key in enumerate(found, start=1)
    }


def subjects(predicate: dict[str, Any]) -> dict[str, str]:
    """What the statement is about, but for the rows."""
    given = predicate["records"]
    every = [given[kind] for kind in sealed.ONE_OF_EACH if given[kind]] + [
        r for kind in sealed.MANY for r in given[kind]
    ]
    return {
        f"plans/{predicate['plan']['sha256'][:12]}.plan": predicate["plan"]["sha256"],
        **{f"locks/{one['body']['chunk_version']}.lock": one["sha256"] for one in predicate["locks"].values()},
        **{f"evaluations/{one['run_id']}.cases": one["cases_sha256"] for one in predicate["evaluations"].values()},
        **{f"records/{one['record_id']}-{one['kind']}.record": one["sha256"] for one in every},
    }


def redigest(found: dict[str, Any], lines: Mapping[str, Sequence[str]] = LINES) -> None:
    """Give a record the digest that it has now, with the *lines* that stay with the rows."""
    names = ("kind", "plan_sha256", "config_hash", "run_id", "verdict", "body", "at")
    whole = {**found, "body": withheld.whole(found["kind"], found["body"], ASKED, lines.get(found["kind"], ()))}
    found["sha256"] = canonical.digest({name: whole[name] for name in names})


@cache
def _made(options: Options) -> Sample:
    rng = random.Random(options.seed)
    locks = {arm: lock(arm, number) for number, arm in enumerate(ARMS, start=1)}
    fixed = plan_of(locks, options)
    good = {"baseline": 0.8, "candidate": 0.1 if options.story == "stopped" else 0.85}
    lines = {arm: case_rows(rng, arm, options.questions, good=good[arm]) for arm in ARMS}
    part, live, events = rolled(rng, options, fixed)
    leaks = None if options.story == "forced" else 0
    facts = {
        arm: {
            "max_embedding_token_count": 100, "embedding_tokens_over_limit": 0, "leaked_prefixes": leaks,
            "dedup_share": 0.1, "reader_errors": 0,
            "snapshot_size": sum(row["snapshot_size"] for row in lines[arm]) / options.questions,
        }
        for arm in ARMS
    }  # fmt: skip
    rows: dict[str, Any] = {**lines, "facts": facts, "outcomes": live, "lines": LINES}
    bodies = {arm: one.model_dump(mode="json") for arm, one in locks.items()}
    body = fixed.body()
    predicate: dict[str, Any] = {
        "number": options.number, "previous": options.previous, "sealed_at": iso(600), "clock": options.clock,
        "locks": {arm: {"body": one, "sha256": canonical.digest(one)} for arm, one in bodies.items()},
        "plan": {"sha256": fixed.digest, "created_at": iso(10), "body": body},
        "ingests": {arm: ingest(arm) for arm in ARMS},
        "evaluations": {arm: evaluation(arm, locks[arm], lines[arm], evidence.as_decimals(lines[arm])) for arm in ARMS},
        "rollout": part, "accepted": {"blind": body["accepted_blind"], "known_scores": []},
        "environment": {
            **dict.fromkeys(("python", "platform", "postgres", "pgvector", "textsearch"), "18.1"), "bakeoff": "0.1.0",
            "packages": {"numpy": "2.0"}, "models": {arm: one["embedder"] for arm, one in bodies.items()},
        },
    }  # fmt: skip
    add_records(predicate, rng, [row["question_id"] for row in lines["baseline"]])
    predicate["records"]["judgement"] = {"body": {"timings": {}, "findings": []}}
    judged = gates.judge(fixed.gates, recompute.observations(Sealed(predicate, rows=rows)), seed=fixed.seed)
    told = judgement_body(predicate, judged, judged.verdict)
    about = {"plan_sha256": fixed.digest, "config_hash": locks["candidate"].config_hash, "run_id": "run-candidate"}
    made = record(4, "judgement", told, verdict=judged.verdict.value, at=iso(40), **about)
    predicate["records"]["judgement"] = made
    if part is not None:
        add_rechecks(predicate, options)
    predicate["verdict"] = judged.verdict.value
    predicate["outcome"] = sealed.outcome(judged.verdict.value, None if part is None else part["state"]["phase"])
    predicate["forced"] = sealed.forced(made, events, [] if part is None else part["routing"])
    return Sample(predicate, rows, private())


def made(**options: Any) -> Sample:
    """A healthy sample, a copy of its own."""
    return _made(Options(**options)).changed()


def numbered(sample: Sample, number: int, previous: str | None) -> Sample:
    """The same seal at another place of a chain."""
    found = sample.changed()
    found.predicate.update(number=number, previous=previous)
    return found
