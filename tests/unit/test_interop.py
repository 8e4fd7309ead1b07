"""Others verify what is sealed: an independent DSSE library, and an independent reading of in-toto statements."""

from __future__ import annotations

import base64
import json
import re

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib import dsse as other
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._key import SSlibKey

from bakeoff import dsse, evidence
from bakeoff.adapters import keys
from tests import sealed
from tests.sealed import private
from tests.tampering import small

URI = re.compile(r"[a-z][a-z0-9+.-]*:\S+")


def public(number: int = 1) -> SSlibKey:
    """A key as that library reads it from the PEM that `keys export` writes."""
    pem = keys.pem_of(private(number).public_key())
    name = dsse.key_id(private(number).public_key())
    return SSlibKey.from_crypto(load_pem_public_key(pem), keyid=name)


def read(sample: sealed.Sample) -> other.Envelope:
    """The seal's file as that library reads it."""
    return other.Envelope.from_dict(json.loads(sample.file()))


def test_another_library_verifies_the_envelope() -> None:
    """With the exported public key alone; the payload is the very bytes."""
    sample = small()
    found = read(sample)
    assert [public().keyid] == list(found.verify([public()], 1))
    assert sample.payload() == found.payload
    assert "application/vnd.in-toto+json" == found.payload_type


def test_another_library_refuses_what_was_changed() -> None:
    """Another key, or one byte."""
    found = read(small())
    with pytest.raises(VerificationError):
        found.verify([public(2)], 1)
    found.payload = found.payload.replace(b"completed", b"simulated")
    with pytest.raises(VerificationError):
        found.verify([public()], 1)


def test_we_verify_what_another_library_signed() -> None:
    """The envelope that it writes holds here, too."""
    sample = small()
    body = read(sample).to_dict()
    again = dsse.parse(json.dumps(body).encode())
    assert dsse.signed_by(again, private().public_key())


def test_another_library_reads_the_statement() -> None:
    """in-toto's own package parses it and finds it valid, subjects and all."""
    sample = small()
    body = json.loads(sample.payload())
    found = json_format.ParseDict(body, statement_pb2.Statement())
    Statement.copy_from_pb(found).validate()
    assert evidence.PREDICATE == found.predicate_type
    assert {"rows.json", *sealed.subjects(sample.predicate)} == {item.name for item in found.subject}


def test_the_statement_is_as_the_specification_says() -> None:
    """Read by its words: type, subjects with at least one digest in hex, a URI for the predicate's type."""
    body = json.loads(base64.b64decode(json.loads(small().file())["payload"]))
    assert {"_type", "subject", "predicateType", "predicate"} == body.keys()
    assert "https://in-toto.io/Statement/v1" == body["_type"]
    assert URI.fullmatch(body["predicateType"])
    assert isinstance(body["predicate"], dict)
    assert body["subject"]
    for item in body["subject"]:
        assert {"name", "digest"} == item.keys()
        assert re.fullmatch(r"[0-9a-f]{64}", item["digest"]["sha256"])
    names = [item["name"] for item in body["subject"]]
    assert len(set(names)) == len(names)
