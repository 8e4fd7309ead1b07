"""Claims about the records that a seal holds: their digests, what they are about, what was demanded of a promotion.

Callers may rely on: each function yields what differs, the truest name of it first; values of a wrong kind raise; a
record that says of itself what its columns say has to say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from bakeoff import asked, canonical, judgements
from bakeoff.difference import Difference
from bakeoff.errors import InputError
from bakeoff.sealed import ARMS, Sealed, differ
from bakeoff.verdicts import Severity, Verdict, overall, worst

DEMANDED = ("probes", "parity")
"""Records that a judgement asks for which is to let a candidate through."""
_JUDGED = ".predicate.records.judgement"
_ECHOED = ("kind", "plan_sha256", "run_id", "verdict", "at")


def records(seal: Sealed) -> Iterator[Difference]:
    """Yield where a record, with what stays with the rows put back, is not what its digest says."""
    for kind, path, sealed in seal.records():
        yield from differ(kind, sealed["kind"], f"{path}.kind")
        try:
            record = seal.whole(kind, sealed)
        except InputError as error:
            yield Difference(f"{path}.body", "rows and lines that are there", str(error))
            return
        body = {name: record[name] for name in ("kind", "plan_sha256", "config_hash", "run_id", "verdict", "body")}
        at = datetime.fromisoformat(record["at"]).astimezone(UTC).isoformat()
        yield from differ(canonical.digest(body | {"at": at}), record["sha256"], f"{path}.sha256")


# --- What they are about --------------------------------------------------------------------------------------------


def rests_on(seal: Sealed) -> Iterator[Difference]:
    """Yield where a record is about another plan, run or table, or rests on another record, than was sealed."""
    fixed, runs = seal.predicate["plan"], seal.predicate["evaluations"]
    for kind, path, record in seal.records():
        if kind in DEMANDED:
            yield from differ(runs["candidate"]["run_id"], record["run_id"], f"{path}.run_id")
        else:
            yield from differ(fixed["sha256"], record["plan_sha256"], f"{path}.plan_sha256")
        arm = "baseline" if kind == "rollback_check" else "candidate"
        yield from differ(fixed["body"][arm]["CONFIG_HASH"], record["config_hash"], f"{path}.config_hash")
    yield from judgements.judged(seal)
    yield from _named(seal)
    yield from _timed(seal)
    yield from _echoes(seal)
    yield from judgements.rechecked(seal)


def _named(seal: Sealed) -> Iterator[Difference]:
    """Yield where the judgement names another record than the one that was sealed, or is not what was begun on."""
    given = seal.predicate["records"]
    body = given["judgement"]["body"]
    for kind in ("timings", *DEMANDED):
        yield from differ(_reference(given[kind]), body.get(kind), f"{_JUDGED}.body.{kind}")
    started = next((item["body"]["event"].get("judgement") for item in seal.events[:1]), None)
    if started is not None:
        path = ".predicate.rollout.events[0].body.event.judgement"
        yield from differ(given["judgement"]["record_id"], started, path)
    for number, again in enumerate(given["rechecks"]):
        if "began_on" in again["body"]:
            path = f".predicate.records.rechecks[{number}].body.began_on"
            yield from differ(_reference(given["judgement"]), again["body"]["began_on"], path)


def _reference(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if record is None else {"record": record["record_id"], "sha256": record["sha256"]}


def _timed(seal: Sealed) -> Iterator[Difference]:
    """Yield where the timings that were judged are of other tables or questions."""
    record = seal.predicate["records"]["timings"]
    if record is None:
        return
    body, path = record["body"], ".predicate.records.timings.body"
    tables = {
        seal.predicate["locks"][arm]["body"]["config_hash"]: seal.predicate["evaluations"][arm]["table_sha256"]
        for arm in ARMS
    }
    yield from differ(tables, body["tables"], f"{path}.tables")
    questions = seal.predicate["plan"]["body"]["questions"]["sha256"]
    yield from differ(questions, body["questions_sha256"], f"{path}.questions_sha256")


def _same(name: str, one: Any, other: Any) -> bool:
    """Return whether two values are one; instants may be written by other clocks."""
    return bool(datetime.fromisoformat(one) == datetime.fromisoformat(other) if name == "at" else one == other)


def _echoes(seal: Sealed) -> Iterator[Difference]:
    """Yield where the body of a record says something else of itself than its columns; one that says nothing may."""
    rollout = seal.predicate["rollout"]
    for kind, path, record in seal.records():
        body = record["body"]
        for name in _ECHOED:
            if body.get(name) is not None and not _same(name, body[name], record[name]):
                yield from differ(body[name], record[name], f"{path}.{name}")
        if kind in ("recheck", "rollback_check"):
            yield from differ(None if rollout is None else rollout["rollout_id"], body["rollout"],
                              f"{path}.body.rollout")  # fmt: skip


# --- What was demanded ----------------------------------------------------------------------------------------------


def demanded(seal: Sealed) -> Iterator[Difference]:
    """Yield where probes, parity or the check of a rollback do not come to their findings, or are of other things.

    A judgement that demands probes and parity has a finding of each, which is what the record came to, or that there
    is no data: there is no record then, or it does not count (it is of another table, or of too small a sample).
    """
    body = seal.predicate["records"]["judgement"]["body"]
    if seal.predicate["rollout"] is not None:  # none begins on a judgement that did not ask
        yield from differ(expected=True, found=body["promote_check"], path=f"{_JUDGED}.body.promote_check")
    for kind in DEMANDED:
        found = [n for n, item in enumerate(body["findings"]) if (item["gate"], item["rule"]) == (kind, "recorded")]
        path = f"{_JUDGED}.body.findings"
        if len(found) != int(body["promote_check"]):
            wanted = f"{int(body['promote_check'])} of {kind}, as promote_check says"
            yield Difference(path, wanted, f"{len(found)}")
        for number in found:
            yield from _counted(seal, kind, f"{path}[{number}]", body["findings"][number])
        yield from _comes_to(kind, f".predicate.records.{kind}", seal.predicate["records"][kind])
    for number, checked in enumerate(seal.predicate["records"]["rollback_checks"]):
        path = f".predicate.records.rollback_checks[{number}]"
        came_to = worst(Verdict(item["verdict"]) for item in checked["body"]["findings"])
        yield from differ(came_to.value, checked["body"]["verdict"], f"{path}.body.verdict")
        yield from differ(came_to.value, checked["verdict"], f"{path}.verdict")


def _comes_to(kind: str, path: str, record: Mapping[str, Any] | None) -> Iterator[Difference]:
    """Yield where the verdict of probes or parity is not that of their findings, or those are not all there are."""
    if record is None:
        return
    told = [(item.get("severity", Severity.BLOCK.value), item["verdict"]) for item in record["body"]["findings"]]
    came_to = overall((Severity(severity), Verdict(verdict)) for severity, verdict in told)
    yield from differ(came_to.value, record["body"]["verdict"], f"{path}.body.verdict")
    yield from differ(came_to.value, record["verdict"], f"{path}.verdict")
    yield from differ(kind, record["body"]["kind"], f"{path}.body.kind")
    of = asked.probes if kind == "probes" else asked.parity
    yield from of(record["body"], f"{path}.body")


def _counted(seal: Sealed, kind: str, path: str, finding: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield where the finding about a record does not follow from it, or the record is of other things and counts."""
    record = seal.predicate["records"][kind]
    yield from differ(Severity.BLOCK.value, finding["severity"], f"{path}.severity")
    if finding["verdict"] == Verdict.NO_DATA:
        return
    if record is None:
        yield Difference(f"{path}.verdict", f"{Verdict.NO_DATA.value}: there is no record", finding["verdict"])
        return
    yield from differ(record["verdict"], finding["verdict"], f"{path}.verdict")
    at, body = f".predicate.records.{kind}.body", record["body"]
    for name, value in _about(seal, kind).items():
        yield from differ(value, body[name], f"{at}.{name}")
    yield from _ingest_of(seal, kind, at, body)
    if kind == "probes":
        wanted = _inputs(seal)
        yield from differ(wanted, {name: body["inputs"][name] for name in wanted}, f"{at}.inputs")
    elif record["verdict"] == Verdict.PASS:
        chunks = seal.predicate["ingests"]["candidate"]["report"]["counts"]["chunks"]
        yield from differ(chunks, body["sample"]["table_chunks"], f"{at}.sample.table_chunks")


def _about(seal: Sealed, kind: str) -> dict[str, Any]:
    """Return what a record that counts says it is about: the candidate's lock, run and table."""
    lock, run = seal.predicate["locks"]["candidate"]["body"], seal.predicate["evaluations"]["candidate"]
    hashed = {"CHUNK_VERSION": lock["chunk_version"], "CONFIG_HASH": lock["config_hash"]}
    about = {"lock": {"name": lock["name"], **hashed}, "run_id": run["run_id"], "table_sha256": run["table_sha256"]}
    if kind == "probes":
        return {**about, "baseline": seal.predicate["plan"]["body"]["baseline"]["CONFIG_HASH"]}
    return {**about, **{name: run[name] for name in ("corpus_sha256", "cases_sha256")}}


def _inputs(seal: Sealed) -> dict[str, Any]:
    run = seal.predicate["evaluations"]["candidate"]
    return {name: run[name] for name in ("table_sha256", "corpus_sha256", "questions_sha256", "cases_sha256")}


def _ingest_of(seal: Sealed, kind: str, path: str, body: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield where a record that counts is of no ingest of the candidate's table: the judged one, or one of its like."""
    place, named = ("inputs.", body["inputs"]) if kind == "probes" else ("", body)
    known = [item["ingest_id"] for item in seal.ingests("candidate")]
    if named["ingest_id"] not in known:
        yield Difference(f"{path}.{place}ingest_id", " or ".join(known), str(named["ingest_id"]))
