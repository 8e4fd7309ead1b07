"""Keys that seals are signed with: made, found, opened, retired.

Callers may rely on: a private key's file is its owner's alone, from its first byte on, and one that others can read is
refused; the newest key signs, a retired one never does; no message, no repr and no log holds a key or a passphrase.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat

from bakeoff import dsse
from bakeoff.adapters import files
from bakeoff.dsse import Envelope
from bakeoff.errors import IntegrityError, NotFoundError, OutsideError, StateError, UsageError

FOLDER = "keys"
DEMO = "demo"
"""The name of the key that a simulated run makes itself. It proves nothing about who signed."""
SIGNING_KEY = "BAKEOFF_SIGNING_KEY"
PASSPHRASE = "BAKEOFF_KEY_PASSPHRASE"  # noqa: S105  # the name of a variable
MAKE = "bakeoff keys new NAME"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_PEM = "-----BEGIN"
_OTHERS = 0o077
"""Rights of anybody but the owner."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as the ring lists it; instants are aware."""

    name: str
    keyid: str
    created_at: datetime
    retired_at: datetime | None = None

    @property
    def status(self) -> str:
        """`active` or `retired`."""
        return "active" if self.retired_at is None else "retired"

    def body(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that may sign, and what it is called."""

    name: str
    keyid: str
    key: Ed25519PrivateKey = field(repr=False)
    ring: Ring | None = field(repr=False, default=None)
    """Where other keys are listed, the retired ones too."""

    def knows(self, envelope: Envelope) -> bool:
        """Return whether this key, or another of its ring, made the only signature of *envelope*."""
        if len(envelope.signatures) != 1:
            return False
        keyid, public = envelope.signatures[0].keyid, self.key.public_key()
        if keyid != self.keyid:
            listed = None if self.ring is None else self.ring.by_id(keyid)
            if listed is None:
                return False
            public = listed
        return dsse.signed_by(envelope, public)


class Ring:
    """The keys of a project, in a folder that is its owner's alone."""

    def __init__(self, home: Path) -> None:
        """Look in *home*; nothing is made yet."""
        self.folder = home / FOLDER

    def entries(self) -> list[Entry]:
        """Return every key, oldest first. Raises IntegrityError where the list can't be read."""
        path = self.folder / "keys.json"
        if not path.exists():
            return []
        try:
            found = json.loads(files.read_text(path, what="list of keys"))
            return [_entry(item) for item in found["keys"]]
        except (ValueError, TypeError, KeyError) as error:
            hint = "restore it from a backup: it lists name, keyid, created_at and retired_at of every key"
            raise IntegrityError(f"{path} is not a list of keys", hint=hint) from error

    def find(self, name: str) -> Entry:
        """Return the key called *name*. Raises NotFoundError."""
        for entry in self.entries():
            if entry.name == name:
                return entry
        raise NotFoundError(f"no key {name!r}", hint="bakeoff keys list shows them all")

    def by_id(self, keyid: str) -> Ed25519PublicKey | None:
        """Return the listed public key whose id is *keyid*, or None. Raises as `public` does."""
        return next((self.public(entry) for entry in self.entries() if entry.keyid == keyid), None)

    def new(self, name: str, *, now: datetime, passphrase: str | None = None) -> Entry:
        """Make the key *name*, which signs from now on; every key before it is retired, wherever its private half is.

        Raises UsageError where *name* is none, StateError where it is taken.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} can't name a key", hint="a to z, 0 to 9, - and _, at most 63")
        key = Ed25519PrivateKey.generate()
        with self._alone():
            before = self.entries()
            if any(entry.name == name for entry in before) or self._private(name).exists():
                raise StateError(f"there is a key {name!r} already", hint="take another name: a key is never replaced")
            made = Entry(name, dsse.key_id(key.public_key()), now)
            files.write(self._public(name), pem_of(key.public_key()))
            _write_private(self._private(name), _private_pem(key, passphrase))
            retired = [entry if entry.retired_at else replace(entry, retired_at=now) for entry in before]
            self._list([*retired, made])
        return made

    def remember(self, name: str, key: Ed25519PublicKey, *, now: datetime) -> Entry:
        """List a public key whose private one is kept elsewhere, unless it is listed; other keys stay as they are."""
        keyid = dsse.key_id(key)
        with self._alone():
            before = self.entries()
            for entry in before:
                if entry.keyid == keyid:
                    return entry
            made = Entry(f"{name}-{keyid[:8]}", keyid, now)
            files.write(self._public(made.name), pem_of(key))
            self._list([*before, made])
        return made

    def public(self, entry: Entry) -> Ed25519PublicKey:
        """Return the public key of *entry*. Raises IntegrityError where its file holds another one."""
        path = self._public(entry.name)
        key = parse_public(files.read_text(path, what="public key"), where=str(path))
        if dsse.key_id(key) != entry.keyid:
            raise IntegrityError(f"{path} is not the key that the list names", hint="restore it from a backup")
        return key

    def can_sign(self) -> bool:
        """Return whether there is a key that was not retired, whether it opens or not."""
        return any(entry.retired_at is None and self._private(entry.name).exists() for entry in self.entries())

    def signer(self, *, passphrase: str | None = None) -> Signer:
        """Return the key that signs. Raises StateError where there is none, or where it can't be opened."""
        for entry in reversed(self.entries()):
            path = self._private(entry.name)
            if entry.retired_at is None and path.exists():
                return Signer(entry.name, entry.keyid, _opened(path, entry, passphrase), self)
        raise StateError("there is no key to sign with", hint=f"{MAKE} makes one, or set {SIGNING_KEY}")

    def given(self, value: str, *, now: datetime, passphrase: str | None = None) -> Signer:
        """Return the signer that *value* is: a PEM, or the path of one; its public key is listed here.

        Raises StateError, without the value, where it is neither, or a key that was retired.
        """
        text = value.strip().replace("\\n", "\n")
        if not text.startswith(_PEM):
            path = Path(value.strip())
            if not _is_file(path):
                raise StateError(f"{SIGNING_KEY} is neither a PEM nor a file", hint=f"unset it, or {MAKE}")
            _require_private(path)
            text = files.read_text(path, what="key")
        key = _private_key(text.encode(), SIGNING_KEY, passphrase)
        entry = self.remember("environment", key.public_key(), now=now)
        if entry.retired_at is not None:
            raise StateError(
                f"{SIGNING_KEY} is the key {entry.name!r}, which was retired at {entry.retired_at:%Y-%m-%d %H:%M} UTC",
                hint=f"a retired key signs no more: {MAKE}",
            )
        return Signer(entry.name, entry.keyid, key, self)

    def _private(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def _public(self, name: str) -> Path:
        return self.folder / f"{name}.pub.pem"

    def _list(self, entries: list[Entry]) -> None:
        files.write_json(self.folder / "keys.json", {"keys": [entry.body() for entry in entries]})

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Make the folder and hold it for the block: two commands at once wait for each other."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            handle = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise OutsideError(f"can't write {self.folder}: {error.strerror}", hint="check the rights") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _entry(item: Mapping[str, Any]) -> Entry:
    retired = item["retired_at"]
    return Entry(
        str(item["name"]),
        str(item["keyid"]),
        datetime.fromisoformat(item["created_at"]),
        None if retired is None else datetime.fromisoformat(retired),
    )


def pem_of(key: Ed25519PublicKey) -> bytes:
    """Return a public key as PEM, which is what others verify with."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def exported(entry: Entry, key: Ed25519PublicKey, *, now: datetime) -> bytes:
    """Return a public key as PEM below a line that says whether it is in use; readers of PEM pass over the line."""
    status = (
        f"in use at {now.isoformat()}" if entry.retired_at is None else f"retired at {entry.retired_at.isoformat()}"
    )
    return f"# bakeoff key {entry.name}, {status}\n".encode() + pem_of(key)


def parse_public(text: str, *, where: str) -> Ed25519PublicKey:
    """Return the Ed25519 public key in a PEM. Raises UsageError that names *where* it came from."""
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{where} holds no public key in PEM", hint="bakeoff keys export NAME writes one") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{where} is no Ed25519 key", hint="bakeoff keys export NAME writes one")
    return key


def _private_pem(key: Ed25519PrivateKey, passphrase: str | None) -> bytes:
    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        how = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that is its owner's alone before it holds a byte, and that was not there."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutsideError(f"can't write {path}: {error.strerror}", hint="check the rights") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text that is no path at all
        return False


def _require_private(path: Path) -> None:
    """Raise StateError where others than its owner may do anything with the key in *path*."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        raise StateError(f"others than its owner can use the key {path} (mode {mode:04o})", hint=f"chmod 600 {path}")


def _opened(path: Path, entry: Entry, passphrase: str | None) -> Ed25519PrivateKey:
    _require_private(path)
    key = _private_key(files.read_text(path, what="key").encode(), str(path), passphrase)
    if dsse.key_id(key.public_key()) != entry.keyid:
        raise IntegrityError(f"{path} is not the key that the list names", hint=f"restore it, or {MAKE}")
    return key


def _private_key(data: bytes, where: str, passphrase: str | None) -> Ed25519PrivateKey:
    """Return the key in a PEM. Raises StateError, from nothing: what the library says may quote the key."""
    encrypted = b"ENCRYPTED" in data
    if encrypted and not passphrase:
        raise StateError(f"{where} is encrypted", hint=f"set {PASSPHRASE}")
    secret = passphrase.encode() if encrypted and passphrase else None
    try:
        key = serialization.load_pem_private_key(data, password=secret)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if key is None and encrypted:
        raise StateError(f"{where} does not open with the passphrase", hint=f"correct {PASSPHRASE}")
    if not isinstance(key, Ed25519PrivateKey):
        raise StateError(f"{where} holds no Ed25519 private key in PEM", hint=MAKE)
    return key
