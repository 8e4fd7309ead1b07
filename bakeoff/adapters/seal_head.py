"""The signed head of a chain: how many seals there are, and which is the newest.

Callers may rely on: a head is replaced only where a known key signed it and the database still has the seal that it
names; a chain that was cut, in the database too, is not signed again; a head never counts fewer seals than before.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bakeoff import canonical, dsse, evidence, plural
from bakeoff.adapters import files, seals
from bakeoff.adapters.keys import Signer
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.seals import HEAD, Stored
from bakeoff.errors import BakeoffError, IntegrityError, StateError

_CHANGED = "it was changed by hand; move it away, ask who did, and look at bakeoff seals list"


def payload_of(found: Stored) -> bytes:
    """Return the statement that a chain ends with *found*."""
    predicate = {"count": found.number, "sha256": found.payload_sha256, "previous": found.previous}
    subject = evidence.Subject(f"{found.stem}.seal.json", canonical.sha256_hex(found.file))
    return evidence.statement([subject], predicate, kind=evidence.HEAD)


def read(folder: Path) -> dsse.Envelope | None:
    """Return the head in *folder*, or None. Raises IntegrityError where it is no head."""
    path = folder / HEAD
    if not path.exists():
        return None
    try:
        found = dsse.parse(files.read_text(path, what="head of the seals").encode())
        _said(found)
    except BakeoffError as error:
        raise IntegrityError(f"{path} is not the head of a chain: {error}", hint=_CHANGED) from error
    return found


def _said(head: dsse.Envelope) -> dict[str, Any]:
    return evidence.opened(head.payload, kind=evidence.HEAD)[1]


def require(conn: Connection, folder: Path, signer: Signer, *, new: bool = False) -> None:
    """Raise where the head in *folder* is not that of the chain in the database.

    IntegrityError where no known key signed it, or it names a seal that the database does not have; StateError where
    there are seals and no head, unless a *new* one was asked for.
    """
    head, last = read(folder), seals.newest(conn)
    if head is None:
        if last is not None and not new:
            raise StateError(
                f"{folder / HEAD} is not there, and the database has {plural.counted(last.number, 'seal')}: if some "
                "were deleted, nothing shows it",
                hint=f"if the newest that you noted elsewhere is {last.payload_sha256[:12]}: "
                "bakeoff seals export --new-head",
            )
        return
    _require_known(head, folder, signer)
    said = _said(head)
    named = seals.newest(conn, number=said["count"])
    if named is None or named.payload_sha256 != said["sha256"]:
        raise IntegrityError(
            f"{folder / HEAD} ends with seal {said['count']} ({str(said['sha256'])[:12]}…), which the database does "
            f"not have: it ends with {0 if last is None else last.number}",
            hint=f"move {folder} aside if the database is a new one; else restore bakeoff.seals from a backup",
        )


def _require_known(head: dsse.Envelope, folder: Path, signer: Signer) -> None:
    """Raise IntegrityError where no key of the signer's ring signed *head*."""
    if not signer.knows(head):
        raise IntegrityError(
            f"{folder / HEAD} was not signed with a key that is known here ({head.signatures[0].keyid[:12]}…)",
            hint=f"{_CHANGED}; if its key is only not listed here any more: bakeoff seals export --new-head",
        )


def write(folder: Path, last: Stored, signer: Signer) -> None:
    """Name the newest seal, unless the head that is there does, or somebody sealed meanwhile. Raises as `require`."""
    payload = payload_of(last)
    with _alone(folder):
        before = read(folder)
        if before is not None:
            _require_known(before, folder, signer)
        if before is None or (before.payload != payload and int(_said(before)["count"]) <= last.number):
            files.write(folder / HEAD, seals.file_of(dsse.sign(payload, signer.key)))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold *folder* for the block: two commands at once wait for each other."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
