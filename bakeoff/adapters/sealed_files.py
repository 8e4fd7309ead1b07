"""What lies on disk of seals: envelopes, their rows, public keys, artifacts, a folder of them.

Callers may rely on: neither a database nor its driver is asked for; what is no seal at all is told from one that was
changed; a file that is not there is said to be missing, not to be right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bakeoff import canonical, claims, dsse
from bakeoff import chain as seal_chain
from bakeoff.adapters import files, json_files, keys, sealed_artifacts
from bakeoff.chain import Link
from bakeoff.claims import Claim, Key, Report
from bakeoff.dsse import Envelope
from bakeoff.errors import InputError, UsageError
from bakeoff.provenance import ROWS_FILE

SEAL = ".seal.json"
HEAD = "HEAD.json"
_PEM = re.compile(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----\n?", re.DOTALL)
_STATUS = re.compile(r"^# bakeoff key [^\n]*, (?P<status>in use|retired) at (?P<at>\S+)\s*$", re.MULTILINE)
"""The line above a key, as `keys.exported` writes it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a seal is to be verified."""

    keys: Mapping[str, Key]
    recompute: bool = False
    artifacts: Path | None = None
    """Where the artifacts are whose digests were sealed; None: they are not looked at."""


# --- Keys -----------------------------------------------------------------------------------------------------------


def given_keys(paths: Iterable[Path]) -> dict[str, Key]:
    """Return the public keys in PEM files by their ids. Raises InputError where one can't be read or holds none.

    Whether a key was retired is known where the line says so that `bakeoff keys export` puts above it.
    """
    found = {}
    for path in paths:
        text, end = files.read_text(path, what="public key"), 0
        name = path.name.removesuffix(".pem").removesuffix(".pub")
        for match in _PEM.finditer(text):
            key = keys.parse_public(match[0], where=str(path))
            found[dsse.key_id(key)] = _with_status(Key(key, name, "unknown"), text[end : match.start()], path)
            end = match.end()
        if not end:
            keys.parse_public(text, where=str(path))  # which it can't be: says so
    return found


def _with_status(key: Key, above: str, path: Path) -> Key:
    """Return *key* with what the line *above* it says of it."""
    said = _STATUS.search(above)
    if said is None:
        return key
    try:
        at = datetime.fromisoformat(said["at"]).astimezone(UTC)
    except ValueError as error:
        raise InputError(f"{path}: no time: {said['at']}", hint="bakeoff keys export NAME writes it") from error
    if said["status"] == "retired":
        return replace(key, status="retired", retired_at=at)
    return replace(key, status="active", told_at=at)


def known_keys(home: Path) -> dict[str, Key]:
    """Return the public keys of a project, the retired ones too, by their ids."""
    ring = keys.Ring(home)
    return {
        entry.keyid: Key(ring.public(entry), entry.name, "retired" if entry.retired_at else "active", entry.retired_at)
        for entry in ring.entries()
    }


# --- One seal -------------------------------------------------------------------------------------------------------


def rows_beside(path: Path) -> Path:
    """Return where the rows of the seal in *path* are."""
    stem = path.name.removesuffix(SEAL) if path.name.endswith(SEAL) else path.stem
    return path.with_name(f"{stem}.{ROWS_FILE}")


def verify(path: Path, asked: Asked) -> Report:
    """Check every claim of the seal, or of the proof of one row, in *path*.

    Raises InputError where there is no such file or folder of artifacts, or figures are to be computed again and the
    rows are not there; UsageError where more is asked of a proof than it can show.
    """
    if asked.artifacts is not None and not asked.artifacts.is_dir():
        raise InputError(
            f"no such folder: {asked.artifacts}", hint="--artifacts DIR is the folder of plans/ and locks/"
        )
    data = _bytes(path)
    proof = _proof(data)
    if proof is not None:
        return _proved(proof, asked)
    claim, envelope = claims.read(data)
    if envelope is None or not claim.holds:
        return Report((claim,))
    rows, unread = _rows(path, required=asked.recompute)
    there = _digests(path, envelope, asked.artifacts)
    report = claims.check(envelope, rows, keys=asked.keys, recompute=asked.recompute, files=there)
    told = (claim, *report.claims) if unread is None else (claim, *_instead(report.claims, unread))
    return Report(told, report.number, report.previous, report.payload_sha256, report.keyid)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"no such seal: {path}", hint="bakeoff seals list shows where they are") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder, not a seal", hint=f"bakeoff verify --chain {path}") from error
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}", hint="check the path and its rights") from error


def _rows(path: Path, *, required: bool) -> tuple[dict[str, Any] | None, Claim | None]:
    """Return the rows beside a seal, None where they are not there, and the claim that they can't be read."""
    beside = rows_beside(path)
    if not beside.exists():
        if required:
            hint = "bakeoff seals export writes it; without --recompute the seal is verified as far as it goes"
            raise InputError(f"the rows file {beside} is not there: nothing can be computed again", hint=hint)
        return None, None
    try:
        found = json_files.read(beside, what="rows file")
    except InputError as error:
        return None, Claim("rows", holds=False, said=str(error), path="rows:.", expected="JSON", found="none")
    if not isinstance(found, dict):
        said = f"{beside} holds no rows"
        return None, Claim("rows", holds=False, said=said, path="rows:.", expected="an object", found="none")
    return found, None


def _instead(found: Sequence[Claim], unread: Claim) -> list[Claim]:
    """Return the claims with *unread* in the place of the one about the rows."""
    return [unread if claim.name == unread.name else claim for claim in found]


# --- Artifacts ------------------------------------------------------------------------------------------------------


def _digests(path: Path, envelope: Envelope, folder: Path | None) -> dict[str, list[str]]:
    """Return the digests of the rows beside a seal and of the artifacts that lie in *folder*, by their subjects."""
    beside = rows_beside(path)
    found = {ROWS_FILE: [canonical.sha256_hex(beside.read_bytes())]} if beside.is_file() else {}
    return found if folder is None else found | sealed_artifacts.digests(folder, envelope)


# --- Proofs ---------------------------------------------------------------------------------------------------------


def _proof(data: bytes) -> dict[str, Any] | None:
    """Return the proof that *data* is, or None where it is something else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "envelope" in found else None


def _proved(proof: dict[str, Any], asked: Asked) -> Report:
    for name, given in (("--recompute", asked.recompute), ("--artifacts", asked.artifacts is not None)):
        if given:
            hint = f"without {name}; or verify the seal itself: bakeoff verify SEAL {name}"
            raise UsageError(f"a proof shows one row: {name} needs them all, and the seal", hint=hint)
    claim, envelope = claims.read(canonical.encode(proof["envelope"]) + b"\n")
    if envelope is None or not claim.holds:
        return Report((claim,))
    report = claims.prove(proof, envelope, keys=asked.keys)
    told = (claim, *report.claims)
    return Report(told, report.number, report.previous, report.payload_sha256, report.keyid)


# --- A chain --------------------------------------------------------------------------------------------------------


def chain(folder: Path, asked: Asked) -> tuple[list[Link], tuple[Claim, ...]]:
    """Check every seal in *folder*, in order, and that they are one whole chain. Raises InputError without any."""
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}", hint="give the folder that bakeoff seal writes to")
    paths = sorted(folder.glob(f"*{SEAL}"))
    head, unread = _head(folder)
    if not paths and head is None:
        raise InputError(f"{folder} holds no seals", hint="give the folder that bakeoff seal writes to")
    links = [Link(path.name, canonical.sha256_hex(_bytes(path)), verify(path, asked)) for path in paths]
    found = seal_chain.check(links, head, keys=asked.keys)
    return links, found if unread is None else (*found[:-1], unread)


def _head(folder: Path) -> tuple[Envelope | None, Claim | None]:
    """Return the head in *folder*, and the claim that it can't be read."""
    path = folder / HEAD
    if not path.is_file():
        return None, None
    claim, head = claims.read(_bytes(path))
    if claim.holds:
        return head, None
    return None, Claim("head", False, claim.said, f"{HEAD}:{claim.path}", claim.expected, claim.found)  # noqa: FBT003  # by order
