"""How keys and seals are made and shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

from bakeoff import canonical, dsse, evidence, merkle, plural, report
from bakeoff.adapters import files, plans, postgres, seals
from bakeoff.adapters import keys as adapter
from bakeoff.adapters.keys import Ring, Signer
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.settings import Settings
from bakeoff.errors import IntegrityError, NotFoundError
from bakeoff.stages import seal as stage

PROVES_NOTHING = "it was made here by bakeoff itself, and proves nothing about who signed"
_SHORT = 12
Body = Mapping[str, Any]


# --- Keys -----------------------------------------------------------------------------------------------------------


def ring(found: Settings) -> Ring:
    """Return the keys of this project."""
    return Ring(found.values.home)


def passphrase(found: Settings) -> str | None:
    """Return what private keys are encrypted with, if anything."""
    secret = found.values.key_passphrase
    return None if secret is None else secret.get_secret_value()


def signer(found: Settings, *, now: datetime) -> Callable[[], Signer]:
    """Return what opens the key that signs: BAKEOFF_SIGNING_KEY, or the active one of the project."""

    def opened() -> Signer:
        given, secret = found.values.signing_key, passphrase(found)
        if given is not None and given.get_secret_value().strip():
            return ring(found).given(given.get_secret_value(), now=now, passphrase=secret)
        return ring(found).signer(passphrase=secret)

    return opened


def has_key(found: Settings) -> bool:
    """Return whether anything is there to sign with, whether it opens or not."""
    return found.values.signing_key is not None or ring(found).can_sign()


def new_key(found: Settings, name: str, *, now: datetime) -> dict[str, Any]:
    """Make a key, and return what there is to say of it."""
    secret = passphrase(found)
    before = [entry.name for entry in ring(found).entries() if entry.retired_at is None]
    made = ring(found).new(name, now=now, passphrase=secret)
    folder = ring(found).folder
    return {
        **made.body(),
        "status": made.status,
        "encrypted": bool(secret),
        "private": str(folder / f"{name}.pem"),
        "public": str(folder / f"{name}.pub.pem"),
        "retired": before,
    }


def key_made(data: Body) -> str:
    """Return in words what was made."""
    how = "encrypted" if data["encrypted"] else "not encrypted: set BAKEOFF_KEY_PASSPHRASE before to have it so"
    lines = [f"{data['name']} signs from now on (key id {data['keyid'][:_SHORT]})"]
    lines += [f"{name} is retired: what it signed still verifies" for name in data["retired"]]
    lines += [f"private: {data['private']} ({how})", f"public:  {data['public']}"]
    return "\n".join([*lines, f"next: bakeoff keys export {data['name']}, and give it to who is to verify"])


def keys(found: Settings) -> list[dict[str, Any]]:
    """Return every key as plain JSON."""
    return [entry.body() | {"status": entry.status} for entry in ring(found).entries()]


def key_listing(rows: Sequence[Body]) -> str:
    """Return the keys as a table."""
    if not rows:
        return f"there is no key yet\nnext: {adapter.MAKE}"
    cells = [
        (item["name"], item["keyid"][:_SHORT], item["status"], _when(item["created_at"]), _when(item["retired_at"]))
        for item in rows
    ]
    return report.table("Keys", ("name", "key id", "status", "created", "retired"), cells).terminal()


def public_key(found: Settings, name: str, *, now: datetime) -> dict[str, Any]:
    """Return a public key as PEM, with whether it is in use."""
    entry = ring(found).find(name)
    pem = adapter.exported(entry, ring(found).public(entry), now=now).decode()
    return {"name": name, "keyid": entry.keyid, "status": entry.status, "pem": pem}


def _when(at: str | None) -> str:
    return "" if at is None else at[:16].replace("T", " ")


# --- Seals ----------------------------------------------------------------------------------------------------------


def folder(found: Settings) -> Path:
    """Return where seals are written."""
    return found.values.artifacts / seals.FOLDER


def seal(
    conn: Connection,
    found: Settings,
    ref: str = plans.NEWEST,
    *,
    out: Path | None = None,
    clock: str | None = None,
    now: datetime,
) -> dict[str, Any]:
    """Seal, write the files, and return what there is to say of it."""
    files.require_folder(folder(found))

    def connect() -> AbstractContextManager[Connection]:
        return postgres.connect(found, autocommit=True)

    done = stage.run(conn, signer(found, now=now), ref=ref, folder=folder(found), connect=connect, clock=clock, now=now)
    data = _row(found, done.seal) | {"new": done.new, "before": rows(found, done.before), "left": list(done.left)}
    data["notes"] = list(done.notes)
    if out is not None:
        files.write(rows_beside(out), seals.rows_file(conn, done.seal))
        data["out"] = str(files.write(out, done.seal.file))
    return data


def rows_beside(path: Path) -> Path:
    """Return the name of the rows' file beside a seal's file."""
    stem = path.name.removesuffix(".seal.json") if path.name.endswith(".seal.json") else path.stem
    return path.with_name(f"{stem}.{seals.ROWS}")


def _row(found: Settings, item: seals.Stored) -> dict[str, Any]:
    names = {entry.keyid: entry for entry in ring(found).entries()}
    signed = names.get(item.keyid)
    if signed is not None and not dsse.signed_by(item.envelope, ring(found).public(signed)):
        hint = "its row of bakeoff.seals was changed by hand; the file that was written of it may be whole"
        raise IntegrityError(f"seal {item.number} in the database was not signed by {signed.name}", hint=hint)
    return {
        "number": item.number,
        "payload_sha256": item.payload_sha256,
        "previous": item.previous,
        "keyid": item.keyid,
        "key": None if signed is None else signed.name,
        "key_status": None if signed is None else signed.status,
        "sealed_at": item.sealed_at.isoformat(),
        "plan_sha256": item.plan_sha256,
        "rollout_id": item.rollout_id,
        "outcome": item.outcome,
        "verdict": item.verdict,
        "clock": json.loads(item.envelope.payload)["predicate"]["clock"],
        "file": str(folder(found) / f"{item.stem}.seal.json"),
    }


def made(data: Body) -> str:
    """Return in words what was sealed."""
    what = (
        f"seal {data['number']}" if data["new"] else f"sealed before, as seal {data['number']}: nothing changed since"
    )
    lines = [f"seal {item['number']}, written to: {item['file']}: {_outcome(item)}" for item in data["before"]]
    lines += [f"{what} of plan {data['plan_sha256'][:_SHORT]}: {_outcome(data)}"]
    lines.append(f"signed with {data['key']} (key id {data['keyid'][:_SHORT]})")
    if data["key"] == adapter.DEMO:
        lines.append(f"the key `{adapter.DEMO}`: {PROVES_NOTHING}")
    lines.append(f"written to: {data['file']}")
    lines += [report.line(said) for said in (*data["left"], *data["notes"])]
    lines += [f"written to: {data['out']}"] if "out" in data else []
    return "\n".join([*lines, f"next: bakeoff verify {data['file']}"])


def _outcome(data: Body) -> str:
    said = {
        "stopped": f"stopped at the gate, judged: {data['verdict']}",
        "judged": f"judged: {data['verdict']}, no traffic moved",
    }
    simulated = ", on a simulated clock" if data["clock"] == "simulated" else ""
    return said.get(data["outcome"], f"{data['rollout_id']} {data['outcome'].replace('_', ' ')}{simulated}")


def rows(found: Settings, items: Sequence[seals.Stored]) -> list[dict[str, Any]]:
    """Return seals as plain JSON."""
    return [_row(found, item) for item in items]


def listing(items: Sequence[Body]) -> str:
    """Return the seals as a table."""
    if not items:
        return "nothing was sealed yet\nnext: bakeoff seal"
    cells = [
        (
            item["number"],
            item["payload_sha256"][:_SHORT],
            item["plan_sha256"][:_SHORT],
            _outcome(item),
            f"{item['key'] or item['keyid'][:_SHORT]}" + " (retired)" * (item["key_status"] == "retired"),
            _when(item["sealed_at"]),
        )
        for item in items
    ]
    return report.table("Seals", ("number>", "digest", "plan", "outcome", "key", "sealed"), cells).terminal()


def shown(found: Settings, item: seals.Stored) -> dict[str, Any]:
    """Return all that a seal says."""
    subjects, predicate = evidence.opened(item.envelope.payload)
    digests = [{"name": subject.name, "sha256": subject.sha256} for subject in subjects]
    return _row(found, item) | {"subjects": digests, "predicate": predicate}


def page(data: Body) -> str:
    """Return what a seal says, one screen."""
    said = data["predicate"]
    signed = f"{data['key'] or 'a key that is not here'} ({data['keyid'][:_SHORT]})"
    facts = [
        ("seal", f"{data['number']}, {data['payload_sha256']}"),
        ("before it", data["previous"] or "nothing: it is the first"),
        ("sealed", f"{_when(data['sealed_at'])} UTC with {signed}"),
        ("plan", f"{data['plan_sha256'][:_SHORT]}: {_names(said)}"),
        ("outcome", _outcome(data)),
        ("clock", said["clock"] + ": nothing in production changed" * (said["clock"] == "simulated")),
        ("judged", f"{said['verdict']}, {len(said['records']['judgement']['body']['findings'])} findings"),
        ("forced", "; ".join(f"{item['what']} by {item['by']}: {item['why']}" for item in said["forced"]) or "nothing"),
        ("accepted", ", ".join(said["accepted"]["blind"] + said["accepted"]["known_scores"]) or "nothing"),
    ]
    lines = [report.table("Seal", ("", "what"), facts).terminal()]
    if said["rollout"] is not None and (steps := said["rollout"]["outcomes"]["by_step"]):
        lines.append(_live(steps))
    return "\n".join([*lines, f"next: bakeoff verify {data['file']}"])


def _names(said: Body) -> str:
    both = [said["locks"][arm]["body"] for arm in ("baseline", "candidate")]
    return " → ".join(f"{item['name']} ({item['config_hash']})" for item in both)


def _live(steps: Sequence[Body]) -> str:
    cells = [
        (
            item["step"],
            item["arm"],
            report.number(item["share_percent"], digits=2),
            item["n"],
            item["errors"],
            report.number(item["quality_mean"]),
            report.number(item["latency_p50"], digits=1),
            report.number(item["latency_p95"], digits=1),
        )
        for item in steps
    ]
    head = ("step>", "arm", "share %>", "outcomes>", "errors>", "quality>", "p50 ms>", "p95 ms>")
    return report.table("What the change did", head, cells).terminal()


# --- One row of many ------------------------------------------------------------------------------------------------


def disclosed(conn: Connection, item: seals.Stored, arm: str, case: str, *, proof: bool) -> dict[str, Any]:
    """Return one sealed row; with *proof* the seal and what ties the row to it, and no other row.

    The leaf is the canonical JSON of `row` as it stands; the path is RFC 6962's, lowest hash first. Raises
    NotFoundError.
    """
    lines = json.loads(seals.rows_file(conn, item))[arm]
    wanted = evidence.as_decimals(case)
    index = next((number for number, row in enumerate(lines) if row["question_id"] == wanted), None)
    if index is None:
        hint = f"bakeoff runs list; the seal has {len(lines)} questions"
        raise NotFoundError(f"seal {item.number} has no case {case!r} of the {arm}", hint=hint)
    told = {"arm": arm, "index": index}
    if not proof:
        return {"kind": "row", "number": item.number, **told, "row": evidence.from_decimals(lines[index])}
    path = [digest.hex() for digest in merkle.path(canonical.encode_each(lines), index)]
    return {"kind": "proof", **told, "row": lines[index], "path": path, "envelope": item.envelope.body()}


def plain(data: Body) -> str:
    """Return *data* as JSON that people can read."""
    return json.dumps(data, indent=2, ensure_ascii=False)


def export(conn: Connection, found: Settings, *, new_head: bool = False, now: datetime) -> dict[str, Any]:
    """Write every seal again; *new_head* signs a head where there is none."""
    files.require_folder(folder(found))
    written = stage.export(conn, signer(found, now=now), folder(found), new_head=new_head)
    named = [str(folder(found) / f"{item.stem}.seal.json") for item in written]
    return {"seals": named, "folder": str(folder(found)), "newest": written[-1].payload_sha256 if written else None}


def exported(data: Body) -> str:
    """Return in words what was written."""
    said = f"{plural.counted(len(data['seals']), 'seal')} written to: {data['folder']}"
    return said if data["newest"] is None else f"{said}; the newest is {data['newest'][:_SHORT]}"
