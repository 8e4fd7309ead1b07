"""Judgements: what a rollout keeps of those that were made anew, and claims about all that a seal holds.

Callers may rely on: each claim yields what differs, the truest name of it first; a judgement is of the plan's gates
and questions and of the runs that it names; what was kept of a later one has its verdicts and its figures. The rows of
later measurements are not sealed: what they measured is taken as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from bakeoff import canonical, verdicts
from bakeoff.difference import Difference
from bakeoff.rollout import ACTION_OF
from bakeoff.sealed import ARMS, Sealed, differ
from bakeoff.verdicts import Severity, Verdict

ONE_LOCK = "two-locks"
"""The gate that says that nothing was compared, where baseline and candidate are one lock."""
TABLE = "table"
"""What is named where the candidate's table is not what was ingested: nothing was measured then."""
_FIGURES = ("value", "baseline", "difference", "low", "high")
_JUDGED = ".predicate.records.judgement"


# --- What is kept of a judgement that was made anew -----------------------------------------------------------------


def again(item: Mapping[str, Any], before: Verdict | None) -> dict[str, Any]:
    """Return a gate's finding as a look keeps it; not known is a pass where it was not known *before* either."""
    found = Verdict(item["verdict"])
    verdict = verdicts.again(found, before)
    said = item["said"] if verdict is found else "not known, as at the start"
    return finding(item["gate"], verdict, f"{item['gate']}: {said}", item)


def finding(gate: str, verdict: Verdict, said: str, item: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a look keeps of a *gate* that was judged anew, with the figures of its finding *item*."""
    figures = {name: None if item is None else item[name] for name in _FIGURES}
    return {
        "watched": f"recheck {gate}",
        "verdict": verdict.value,
        "action": ACTION_OF[verdict].value,
        **figures,
        "margin": None,
        "n_baseline": None if item is None else item["n"],
        "n_candidate": None if item is None else item["n"],
        "said": said,
    }


# --- Claims -----------------------------------------------------------------------------------------------------------


def judged(seal: Sealed) -> Iterator[Difference]:
    """Yield where the judgement is of other things than the plan fixes and the runs have."""
    record = seal.predicate["records"]["judgement"]
    wanted = {**_fixed(seal), **{arm: _side(seal, arm) for arm in ARMS}}
    for name, value in wanted.items():
        yield from differ(value, record["body"][name], f"{_JUDGED}.body.{name}")
    yield from differ(seal.predicate["evaluations"]["candidate"]["run_id"], record["run_id"], f"{_JUDGED}.run_id")


def _fixed(seal: Sealed) -> dict[str, Any]:
    """Return what every judgement of the plan takes from it."""
    fixed = seal.predicate["plan"]
    plan = fixed["body"]
    return {
        "plan_sha256": fixed["sha256"],
        "gates_sha256": canonical.digest(plan["gates"]),
        "profile": plan["gates"]["profile"],
        "label": plan["gates"]["label"],
        "alpha": plan["gates"]["alpha"],
        "seed": plan["seed"],
        "questions": {"name": plan["questions"]["name"], "sha256": plan["questions"]["sha256"]},
        "corpus_sha256": plan["corpus_sha256"],
        "accepted_blind": plan["accepted_blind"],
        "known_scores": plan["known_scores"],
    }


def _side(seal: Sealed, arm: str) -> dict[str, Any]:
    lock, run = seal.predicate["locks"][arm]["body"], seal.predicate["evaluations"][arm]
    names = ("run_id", "table_sha256", "cases_sha256")
    hashed = {"CHUNK_VERSION": lock["chunk_version"], "CONFIG_HASH": lock["config_hash"]}
    return {"lock": lock["name"], **hashed, **{name: run[name] for name in names}}


def rechecked(seal: Sealed) -> Iterator[Difference]:
    """Yield where a recheck is of other things than the plan's, or keeps other figures than its own judgement has."""
    began = seal.predicate["records"]["judgement"]["body"]["findings"]
    for number, record in enumerate(seal.predicate["records"]["rechecks"]):
        path, body = f".predicate.records.rechecks[{number}]", record["body"]
        if body.get("judgement") is None:
            yield from _unmeasured(record, path)
            continue
        yield from _of_this(seal, record, f"{path}.body.judgement")
        yield from _by_its_gates(seal, body["judgement"]["findings"], f"{path}.body.judgement.findings")
        yield from _kept(began, body, f"{path}.body.findings")


def left(seal: Sealed) -> str:
    """Return in words, to be added to a claim's, what of rechecks can't be checked; "" where there are none."""
    return ", what rechecks measured" if seal.predicate["records"]["rechecks"] else ""


def _unmeasured(record: Mapping[str, Any], path: str) -> Iterator[Difference]:
    """Yield where a recheck without a judgement says more than that the table was changed, or of an error."""
    body, verdict = record["body"], Verdict(record["verdict"])
    if verdict not in (Verdict.FAIL, Verdict.ERROR):
        yield Difference(f"{path}.body.judgement", f"a judgement that came to {verdict.value}", "nothing")
    wanted = [finding(TABLE, verdict, "")] if verdict is Verdict.FAIL else []
    yield from differ(_in_words_of(body["findings"], wanted), body["findings"], f"{path}.body.findings")
    yield from differ(None, record["run_id"], f"{path}.run_id")


def _of_this(seal: Sealed, record: Mapping[str, Any], path: str) -> Iterator[Difference]:
    """Yield where a judgement made anew is of another plan, run or table.

    The candidate was asked anew: its run is the record's own, and its cases are that run's.
    """
    inner = record["body"]["judgement"]
    sides = {arm: _side(seal, arm) for arm in ARMS}
    sides["candidate"] |= {"run_id": record["run_id"], "cases_sha256": inner["candidate"]["cases_sha256"]}
    if "began_on" not in record["body"]:  # of an older version: then beside the newest judgement's run
        sides["baseline"] |= {name: inner["baseline"][name] for name in ("run_id", "cases_sha256")}
    for name, value in {**_fixed(seal), **sides, "promote_check": False}.items():
        yield from differ(value, inner[name], f"{path}.{name}")


def _by_its_gates(seal: Sealed, findings: Sequence[Mapping[str, Any]], path: str) -> Iterator[Difference]:
    """Yield where a judgement that demands no records is not by the plan's gates, each once, in their order."""
    names = ("metric", "rule", "severity")
    plan = seal.predicate["plan"]["body"]
    wanted = [{"gate": gate["name"], **{name: gate[name] for name in names}} for gate in plan["gates"]["gates"]]
    if plan["baseline"]["CONFIG_HASH"] == plan["candidate"]["CONFIG_HASH"]:
        wanted.append({"gate": ONE_LOCK, "metric": "CONFIG_HASH", "rule": "recorded", "severity": Severity.BLOCK.value})
    yield from differ(wanted, [{name: item[name] for name in ("gate", *names)} for item in findings], path)


def _kept(began: Sequence[Mapping[str, Any]], body: Mapping[str, Any], path: str) -> Iterator[Difference]:
    """Yield where the findings that a look keeps are not those of the gates that block."""
    known = {item["gate"]: Verdict(item["verdict"]) for item in began}
    blocking = [item for item in body["judgement"]["findings"] if item["severity"] == Severity.BLOCK]
    wanted = [again(item, known.get(item["gate"])) for item in blocking]
    yield from differ(_in_words_of(body["findings"], wanted), body["findings"], path)


def _in_words_of(found: Sequence[Mapping[str, Any]], wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the *wanted* findings with what those that were *found* say: words may change over the years."""
    pairs = zip_longest(wanted, found[: len(wanted)])
    return [{**one, "said": one["said"] if other is None else other.get("said")} for one, other in pairs]
