"""Signed envelopes: DSSE 1.0 with Ed25519, over bytes.

Callers may rely on: what is signed is the type and the payload together (the pre-authentication encoding), so neither
can be swapped; a signature is checked before the payload is looked at; the key id is the SHA-256 of the raw public key.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bakeoff import canonical
from bakeoff.errors import InputError

IN_TOTO = "application/vnd.in-toto+json"
_KEYS = {"payloadType", "payload", "signatures"}


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of an envelope, and the key it claims to be of."""

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its type, and who signed them."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def body(self) -> dict[str, Any]:
        """Return the envelope as plain JSON."""
        signed = [{"keyid": item.keyid, "sig": _encode(item.sig)} for item in self.signatures]
        return {"payload": _encode(self.payload), "payloadType": self.payload_type, "signatures": signed}


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: Any, where: str) -> bytes:
    if not isinstance(text, str):
        raise InputError(f"{where}: expected base64 text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{where}: not base64: {error}") from error
    if _encode(data) != text:  # other padding bits would be another file with the same signature
        raise InputError(f"{where}: not the one way in which base64 writes these bytes")
    return data


def raw(key: Ed25519PublicKey) -> bytes:
    """Return the 32 bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(key: Ed25519PublicKey) -> str:
    """Return the key's name: the SHA-256 of its raw bytes, 64 hex digits."""
    return canonical.sha256_hex(raw(key))


def encoded(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding, which is what is signed (DSSE protocol, 1.0.2)."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, key: Ed25519PrivateKey, *, payload_type: str = IN_TOTO) -> Envelope:
    """Return *payload* in an envelope that *key* signed."""
    made = Signature(key_id(key.public_key()), key.sign(encoded(payload_type, payload)))
    return Envelope(payload_type, payload, (made,))


def parse(data: bytes) -> Envelope:
    """Return the envelope in *data*, a file's bytes. Raises InputError where it is none, saying where."""
    try:
        body = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"not JSON: {error}") from error
    if not isinstance(body, dict) or set(body) != _KEYS:
        found = sorted(body) if isinstance(body, dict) else type(body).__name__
        raise InputError(f"no DSSE envelope: expected {', '.join(sorted(_KEYS))}, found {found}")
    if not isinstance(body["payloadType"], str) or not isinstance(body["signatures"], list) or not body["signatures"]:
        raise InputError("no DSSE envelope: payloadType is text, signatures a list with one at least")
    signatures = tuple(_signature(item, number) for number, item in enumerate(body["signatures"]))
    return Envelope(body["payloadType"], _decode(body["payload"], "payload"), signatures)


def _signature(item: Any, number: int) -> Signature:
    where = f"signatures[{number}]"
    if not isinstance(item, Mapping) or set(item) != {"keyid", "sig"} or not isinstance(item["keyid"], str):
        raise InputError(f"{where}: expected keyid and sig")
    return Signature(item["keyid"], _decode(item["sig"], f"{where}.sig"))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that comes twice: readers disagree about which of them counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise InputError(f"the key {twice!r} is there twice")
    return found


def signed_by(envelope: Envelope, key: Ed25519PublicKey) -> bool:
    """Return whether *key* signed the envelope, whatever key id it claims."""
    data = encoded(envelope.payload_type, envelope.payload)
    for item in envelope.signatures:
        try:
            key.verify(item.sig, data)
        except InvalidSignature:
            continue
        return True
    return False
