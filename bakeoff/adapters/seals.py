"""Seals in the database and in their folder: appended once, written out as often as needed.

Callers may rely on: a seal that comes back is what was signed (digest checked); numbers have no gap, which the table
itself sees to; a file is whole or not there; the head is written last, so that it never names a seal without a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg import rows
from psycopg.types.json import Jsonb

from bakeoff import canonical, dsse, evidence
from bakeoff.adapters import evaluations, files, queries, rollouts
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.policies import Said
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.records import Kind, Record
from bakeoff.adapters.rollouts import Rollout
from bakeoff.errors import BakeoffError, DatabaseError, IntegrityError, NotFoundError, StateError

FOLDER = "seals"
HEAD = "HEAD.json"
NEWEST = "latest"
ROWS = "rows.json"
"""What the statement calls the file of its rows, whose own name can't be known before the statement is signed."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A seal as it was appended, without its rows."""

    number: int
    payload_sha256: str
    previous: str | None
    keyid: str
    sealed_at: datetime
    plan_sha256: str
    rollout_id: str | None
    outcome: str
    verdict: str
    envelope: dsse.Envelope

    @property
    def stem(self) -> str:
        """The beginning of its files' names."""
        return f"{self.number:06d}-{self.payload_sha256[:12]}"

    @property
    def file(self) -> bytes:
        """Its envelope as its file holds it."""
        return file_of(self.envelope)


def file_of(envelope: dsse.Envelope) -> bytes:
    """Return *envelope* as a file holds it: canonical JSON and a newline."""
    return canonical.encode(envelope.body()) + b"\n"


# --- The table ------------------------------------------------------------------------------------------------------


def lock(conn: Connection) -> None:
    """Wait until nobody else seals; lasts until the transaction ends. The transaction's first statement."""
    conn.execute(queries.get("seals.lock"))


def insert(conn: Connection, made: Stored, rows_file: bytes) -> None:
    """Append a seal and the rows that it rests on."""
    names = ("number", "payload_sha256", "previous", "keyid", "sealed_at", "plan_sha256", "rollout_id", "outcome")
    values = {name: getattr(made, name) for name in (*names, "verdict")}
    conn.execute(queries.get("seals.insert"), values | {"envelope": Jsonb(made.envelope.body()), "rows": rows_file})


def _stored(row: dict[str, Any]) -> Stored:
    number, expected = row["number"], row["payload_sha256"]
    try:
        envelope = dsse.parse(canonical.encode(row["envelope"]))
    except BakeoffError as error:
        raise _changed(number, str(error)) from error
    if (found := canonical.sha256_hex(envelope.payload)) != expected:
        raise _changed(number, f"expected {expected[:16]}…, found {found[:16]}…")
    made = Stored(**{**row, "envelope": envelope, "sealed_at": row["sealed_at"].astimezone(UTC)})
    for name, signed in _columns(envelope).items():
        if getattr(made, name) != signed:
            raise _changed(number, f"{name} is {getattr(made, name)!s}, and {signed!s} was signed")
    return made


def _columns(envelope: dsse.Envelope) -> dict[str, Any]:
    """Return what the row of a seal repeats of what its envelope says."""
    said = json.loads(envelope.payload)["predicate"]
    rollout = said["rollout"]
    told = {name: said[name] for name in ("number", "previous", "outcome", "verdict")}
    told |= {"plan_sha256": said["plan"]["sha256"], "rollout_id": None if rollout is None else rollout["rollout_id"]}
    sealed_at, keyids = datetime.fromisoformat(said["sealed_at"]), [item.keyid for item in envelope.signatures]
    return {**evidence.from_decimals(told), "sealed_at": sealed_at, "keyid": ", ".join(keyids)}


def _changed(number: int, how: str) -> IntegrityError:
    return IntegrityError(
        f"seal {number} in the database is not what was signed: {how}",
        hint="its row of bakeoff.seals was changed by hand; the file that was written of it may be whole",
    )


def _all(conn: Connection, query: str, values: dict[str, Any]) -> list[Stored]:
    with conn.cursor(row_factory=rows.dict_row) as cursor:
        return [_stored(row) for row in cursor.execute(queries.get(query), values).fetchall()]


def newest(conn: Connection, *, plan_sha256: str | None = None, number: int | None = None) -> Stored | None:
    """Return the newest seal, of one plan or with one number where they are given, or None. Raises IntegrityError."""
    found = _all(conn, "seals.newest", {"plan_sha256": plan_sha256, "number": number})
    return found[0] if found else None


def of_rollout(conn: Connection, rollout_id: str) -> Stored | None:
    """Return the newest seal of a rollout, or None. Raises IntegrityError where it was changed."""
    found = _all(conn, "seals.of_rollout", {"rollout_id": rollout_id})
    return found[0] if found else None


def listing(conn: Connection) -> list[Stored]:
    """Return every seal, oldest first. Raises IntegrityError for the first one that was changed or is missing."""
    found = _all(conn, "seals.all", {})
    before: str | None = None
    for expected, item in enumerate(found, start=1):
        if item.number != expected or item.previous != before:
            raise IntegrityError(
                f"seal {expected} is missing in the database, or is not the one that seal {item.number} came after",
                hint="rows of bakeoff.seals were changed by hand; the files that were written may be whole",
            )
        before = item.payload_sha256
    return found


def find(conn: Connection, ref: str) -> Stored:
    """Return the seal that *ref* means: `latest`, a number, or 4 and more digits of its digest.

    Raises NotFoundError, StateError where a beginning is ambiguous, IntegrityError where it was changed.
    """
    hint = "bakeoff seals list shows them all; bakeoff seal makes one"
    if ref == NEWEST:
        found = newest(conn)
        if found is None:
            raise NotFoundError("nothing was sealed yet", hint=hint)
        return found
    matching = _all(conn, "seals.matching", {"ref": ref})
    if not matching:
        raise NotFoundError(f"no seal {ref!r}", hint=hint)
    if len(matching) > 1:
        which = ", ".join(f"{item.number} ({item.payload_sha256[:12]})" for item in matching[:5])
        raise StateError(f"{ref!r} means {len(matching)} seals: {which}", hint="give more digits")
    return matching[0]


def rows_file(conn: Connection, found: Stored) -> bytes:
    """Return the rows that a seal rests on, as their file holds them. Raises IntegrityError where they were changed."""
    row = conn.execute(queries.get("seals.rows_of"), {"number": found.number}).fetchone()
    if row is None:
        raise DatabaseError(f"the database gave no rows of seal {found.number}")
    data = bytes(row[0])
    subjects, _ = evidence.opened(found.envelope.payload)
    expected = next((item.sha256 for item in subjects if item.name == ROWS), None)
    if canonical.sha256_hex(data) != expected:
        raise _changed(found.number, "its rows are others")
    return data


# --- What is sealed -------------------------------------------------------------------------------------------------


def lock_body(conn: Connection, config_hash: str) -> tuple[dict[str, Any], str]:
    """Return a lock as it was stored, and its digest."""
    row = conn.execute(queries.get("seals.lock_body"), {"config_hash": config_hash}).fetchone()
    if row is None:
        raise NotFoundError(f"no lock {config_hash!r}", hint="bakeoff locks list shows them all")
    return row[0], row[1]


def judged_plan(conn: Connection) -> str | None:
    """Return the plan that was judged last, or None."""
    row = conn.execute(queries.get("seals.judged_plan")).fetchone()
    return None if row is None else str(row[0])


def judgement(conn: Connection, plan_sha256: str, *, until: datetime | None = None) -> Record | None:
    """Return the newest judgement of a plan, made by *until* where it is given, or None. Raises IntegrityError."""
    found = _records(conn, "seals.judgement", {"plan_sha256": plan_sha256, "until": until})
    return found[0] if found else None


def began_on(conn: Connection, found: Rollout) -> Record | None:
    """Return the judgement that a rollout began on, as its first event names it; of one that does not the newest then.

    Raises IntegrityError where it was changed.
    """
    named = rollouts.history(conn, found.rollout_id)[0].body["event"].get("judgement")
    if named is not None:
        return record(conn, named)
    return judgement(conn, found.plan_sha256, until=found.started_at) or judgement(conn, found.plan_sha256)


def record(conn: Connection, record_id: int) -> Record:
    """Return one record. Raises NotFoundError, IntegrityError where it was changed."""
    found = _records(conn, "seals.record", {"record_id": record_id})
    if not found:
        raise NotFoundError(f"no record {record_id}", hint="judge again: bakeoff kpi-check")
    return found[0]


def records_of_rollout(conn: Connection, kind: Kind, rollout_id: str) -> list[Record]:
    """Return what was recorded of one kind for a rollout, oldest first. Raises IntegrityError where it was changed."""
    return _records(conn, "seals.records_of_rollout", {"kind": kind, "rollout_id": rollout_id})


def _records(conn: Connection, query: str, values: dict[str, Any]) -> list[Record]:
    with conn.cursor(row_factory=rows.class_row(Record)) as cursor:
        found = cursor.execute(queries.get(query), values).fetchall()
    made = [replace(item, at=item.at.astimezone(UTC)) for item in found]
    for item in made:
        if item.digest != item.sha256:
            raise IntegrityError(
                f"record {item.record_id} ({item.kind}) in the database is not what was stored",
                hint="make it again, and ask who changed bakeoff.records",
            )
    return made


@dataclass(frozen=True, slots=True)
class Case:
    """The figures of one case, how much was retrieved and read, and the digest of the whole as the server writes it."""

    figures: dict[str, Any]
    snapshot_size: int
    context_size: int
    sha256: str


def cases(conn: Connection, run: Run) -> list[Case]:
    """Return every case of a finished *run*, in the order of the questions.

    Raises IntegrityError where run or cases are not what its evaluation recorded.
    """
    evaluations.check(conn, run)
    found = conn.execute(queries.get("seals.cases"), {"run_id": run.run_id}).fetchall()
    return [Case(figures, retrieved, read, sha256) for sha256, figures, retrieved, read in found]


def outcomes(conn: Connection, rollout_id: str) -> list[tuple[Any, ...]]:
    """Return (at, step, arm, unit, ok, latency_ms, quality, arrived) of every live outcome, in order of time.

    `arrived` is its place in the order in which they were recorded, from 0; None where that is not known.
    """
    return conn.execute(queries.get("seals.outcomes"), {"rollout_id": rollout_id}).fetchall()


def said(conn: Connection, *, since: datetime, until: datetime) -> list[Said]:
    """Return what people said about routing in a span of time, after what was not as usual when it began."""
    with conn.cursor(row_factory=rows.class_row(Said)) as cursor:
        return cursor.execute(queries.get("seals.said_while"), {"since": since, "until": until}).fetchall()


def outcomes_left(conn: Connection, rollout_id: str) -> int:
    """Return how many live outcomes of a rollout are in the database."""
    row = conn.execute(queries.get("seals.outcomes_left"), {"rollout_id": rollout_id}).fetchone()
    return 0 if row is None else int(row[0])


# --- The folder -----------------------------------------------------------------------------------------------------


def write(folder: Path, found: Stored, data: bytes) -> Path:
    """Write a seal and its rows *data* into *folder*, and return the seal's file."""
    files.write(folder / f"{found.stem}.{ROWS}", data)
    return files.write(folder / f"{found.stem}.seal.json", found.file)


def is_written(folder: Path, found: Stored) -> bool:
    """Return whether both files of a seal are there, the seal as it was signed."""
    path = folder / f"{found.stem}.seal.json"
    try:
        return path.read_bytes() == found.file and (folder / f"{found.stem}.{ROWS}").is_file()
    except OSError:
        return False
