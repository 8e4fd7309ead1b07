"""Artifacts on disk whose content was sealed, and the digest that each of them has.

Callers may rely on: a file counts as what was sealed where everything in it is what the seal says, or was digested for
it; the marks of how it was written, and the timings of single cases, are none of it; no file outside of the folder is
read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bakeoff import canonical, difference, evidence, withheld
from bakeoff.adapters import json_files
from bakeoff.config import Lock
from bakeoff.dsse import Envelope
from bakeoff.errors import BakeoffError, InputError
from bakeoff.sealed import ARMS, MANY, ONE_OF_EACH

Body = dict[str, Any]
_CLOCK = "clock"
"""The mark of a simulated run, in any artifact."""
_MARKS = frozenset({"plan_sha256", "created_at", _CLOCK, "simulated"})
"""What a plan's or a lock's artifact may say of how it was written."""
_OF_A_RECORD = ("kind", "plan_sha256", "config_hash", "run_id", "verdict")
_BROKEN = (BakeoffError, LookupError, TypeError, AttributeError, ValueError, RecursionError, StopIteration)


def digests(folder: Path, envelope: Envelope) -> dict[str, list[str]]:
    """Return the digests of the artifacts in *folder* that a seal is about, by the names of its subjects.

    What does not hold what it should has none, but says why. Nothing that the envelope says was checked yet.
    """
    try:
        body = json.loads(envelope.payload)
        names, said = [str(item["name"]) for item in body["subject"]], evidence.from_decimals(body["predicate"])
    except _BROKEN:
        return {}  # no statement: whoever checks the seal says so
    return {name: [digest] for name in names if (digest := _digest(folder, name, said)) is not None}


def _digest(folder: Path, name: str, said: Body) -> str | None:
    """Return the digest of the artifact that the subject *name* is, or None where it does not lie there."""
    try:
        found = _where(name, said)
        if found is None or Path(found[0]).is_absolute() or ".." in Path(found[0]).parts:
            return None
        path, content = folder / found[0], found[1]
        return canonical.digest(content(json_files.read(path, what="artifact"))) if path.is_file() else None
    except _BROKEN as error:
        return f"none: {error}"


def _where(name: str, said: Body) -> tuple[str, Callable[[Body], Any]] | None:
    """Return where in the folder the subject *name* lies, and what of such a file was digested."""
    stem, _, kind = name.rpartition(".")
    if kind == "plan":
        return f"{stem}.json", partial(_plan, said["plan"])
    if kind == "lock":
        return f"{stem}.json", _lock
    if kind == "cases":
        return f"{stem}.json", partial(_cases, said, stem.rpartition("/")[2])
    if kind != "record":
        return None
    record = next(item for item in _records(said) if f"{item['record_id']}-{item['kind']}" == Path(stem).name)
    path = _of_record(record)
    return None if path is None else (path, partial(_record, record))


def _plan(said: Body, body: Body) -> Any:
    marks = {"plan_sha256": said["sha256"], "created_at": said["created_at"]}
    _same(marks, {name: body[name] for name in marks if name in body})
    return {name: value for name, value in body.items() if name not in _MARKS}


def _lock(body: Body) -> Any:
    """Return the lock in its artifact. Raises InputError where the names before it say something else."""
    fields = {name: body[name] for name in Lock.model_fields}
    wanted = Lock.model_validate_json(canonical.encode(fields)).to_json()
    _same(wanted, {name: body[name] for name in body if name in wanted})
    if unknown := sorted(body.keys() - wanted.keys() - _MARKS):
        raise InputError(f"unknown key {unknown[0]}")
    return fields


def _cases(said: Body, run_id: str, body: Body) -> Any:
    """Return the cases in a run's artifact. Raises InputError where what stands before them is not what was sealed."""
    arm = next(arm for arm in ARMS if said["evaluations"][arm]["run_id"] == run_id)
    run, lock = said["evaluations"][arm], said["locks"][arm]["body"]
    names = ("run_id", "table_sha256", "corpus_sha256", "settings", "started_at", "finished_at")
    wanted = {
        "kind": "evaluation",
        **{name: run[name] for name in names},
        "lock": {"name": lock["name"], "CHUNK_VERSION": lock["chunk_version"], "CONFIG_HASH": lock["config_hash"]},
        "embedder": lock["embedder"],
        "ingest_id": said["ingests"][arm]["ingest_id"],
        **run["aggregates"],
        **{name: run[name] for name in ("cases_sha256", "identity_sha256", "rows_sha256") if run[name] is not None},
    }
    head = {name: value for name, value in body.items() if name not in {"case_results", _CLOCK}}
    if "questions" in head:  # those that are named there are counted in the seal
        head["questions"] = withheld.questions(head["questions"])
    _same(_in_utc(wanted), _in_utc(head))
    return [{name: value for name, value in case.items() if name != "latency_ms"} for case in body["case_results"]]


def _in_utc(run: Body) -> Body:
    """Return *run* with its times as UTC writes them: a file may have been written in another zone."""
    return run | {name: _utc(run[name]) for name in ("started_at", "finished_at") if run.get(name) is not None}


def _utc(at: str) -> str:
    return datetime.fromisoformat(at).astimezone(UTC).isoformat()


def _records(said: Body) -> Iterator[Body]:
    given = said["records"]
    yield from (given[kind] for kind in ONE_OF_EACH if given[kind] is not None)
    for name in MANY:
        yield from given[name]


def _of_record(record: Body) -> str | None:
    """Return where the artifact of a record lies; None where its kind has none."""
    number, of_lock = record["record_id"], record["config_hash"]
    if record["kind"] == "judgement":
        return f"judgements/{record['plan_sha256'][:12]}-{number}.json"
    if record["kind"] == "probes":
        return f"probes/{of_lock}-{datetime.fromisoformat(record['at']):%Y%m%dT%H%M%S}-{number}.json"
    return f"parity/{of_lock}-{record['run_id'] or 'none'}-{number}.json" if record["kind"] == "parity" else None


def _record(record: Body, body: Body) -> Any:
    """Return the record whose findings stand in an artifact."""
    at = _utc(record["at"])
    told = {name: value for name, value in body.items() if name != _CLOCK}
    if record["kind"] == "judgement":  # whose artifact says first which record it is
        marks: Body = {name: told.pop(name) for name in ("record", "sha256", "at") if name in told}
        wanted: Body = {"record": record["record_id"], "sha256": record["sha256"], "at": at}
        _same(wanted, marks | {"at": _utc(marks["at"])})
    return {name: record[name] for name in _OF_A_RECORD} | {"body": told, "at": at}


def _same(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    if (different := difference.first(wanted, found)) is not None:
        raise InputError(str(different))
