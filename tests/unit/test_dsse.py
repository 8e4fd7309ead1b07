"""Envelopes: what is signed, what is refused."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import canonical, dsse
from bakeoff.errors import InputError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PAYLOAD = b'{"answer":42}'


def text_of(envelope: dsse.Envelope) -> bytes:
    """The bytes of an envelope's file."""
    return canonical.encode(envelope.body())


def test_pre_authentication_encoding() -> None:
    """The encoding of the protocol's own example."""
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert expected == dsse.encoded("http://example.com/HelloWorld", b"hello world")


def test_pinned_signature() -> None:
    """Key id and signature of a known key are what they were: others store them."""
    envelope = dsse.sign(PAYLOAD, KEY)
    assert "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c" == dsse.key_id(KEY.public_key())
    assert dsse.key_id(KEY.public_key()) == envelope.signatures[0].keyid


def test_round_trip() -> None:
    """An envelope that was written is the one that is read, and its key verifies it, another one does not."""
    envelope = dsse.parse(text_of(dsse.sign(PAYLOAD, KEY)))
    assert PAYLOAD == envelope.payload
    assert dsse.signed_by(envelope, KEY.public_key())
    assert not dsse.signed_by(envelope, OTHER.public_key())


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_byte_can_flip(place: int, flip: int) -> None:
    """Whatever byte of the file flips: it is refused, or no longer signed, or says the very same."""
    data = bytearray(text_of(dsse.sign(PAYLOAD, KEY)))
    data[place % len(data)] ^= flip
    try:
        envelope = dsse.parse(bytes(data))
    except InputError:
        return
    good = dsse.sign(PAYLOAD, KEY)
    if dsse.signed_by(envelope, KEY.public_key()):
        assert (good.payload, good.payload_type) == (envelope.payload, envelope.payload_type)
        assert good.signatures[0].sig == envelope.signatures[0].sig
        assert good.signatures[0].keyid != envelope.signatures[0].keyid


def changed(**given: object) -> bytes:
    """An envelope's file with some keys changed; None takes one away."""
    body = dsse.sign(PAYLOAD, KEY).body() | given
    return json.dumps({name: value for name, value in body.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no DSSE envelope: expected payload, payloadType, signatures, found list"),
        (changed(payload=None), "found .'payloadType', 'signatures'."),
        (changed(more=1), "no DSSE envelope"),
        (changed(signatures=[]), "a list with one at least"),
        (changed(payloadType=3), "payloadType is text"),
        (changed(signatures=[3]), r"signatures\[0\]: expected keyid and sig"),
        (changed(signatures=[{"keyid": "a", "sig": "%"}]), r"signatures\[0\].sig: not base64"),
        (changed(payload=3), "payload: expected base64 text"),
        (changed(payload="QQ=="[:2] + "=="), "nothing"),
        (changed(payload="QR=="), "not the one way in which base64 writes these bytes"),
        (b'{"payload":"","payload":"","payloadType":"","signatures":[1]}', "the key 'payload' is there twice"),
    ],
)
def test_refused(data: bytes, said: str) -> None:
    """What is no envelope is refused, and says why."""
    if said == "nothing":
        assert b"A" == dsse.parse(data).payload
        return
    with pytest.raises(InputError, match=said):
        dsse.parse(data)


def test_type_is_signed_too() -> None:
    """The same payload under another type is not what was signed."""
    body = dsse.sign(PAYLOAD, KEY).body() | {"payloadType": "text/plain"}
    assert not dsse.signed_by(dsse.parse(json.dumps(body).encode()), KEY.public_key())
    assert PAYLOAD == base64.b64decode(str(body["payload"]))
