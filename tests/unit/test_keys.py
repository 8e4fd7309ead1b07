"""Keys: made for their owner alone, opened, refused, retired, never shown."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from bakeoff import dsse
from bakeoff.adapters import keys
from bakeoff.adapters.keys import Ring, Signer
from bakeoff.errors import BakeoffError, IntegrityError, NotFoundError, StateError, UsageError
from tests.support import NOW

LATER = NOW + timedelta(days=30)
SECRET = "correct horse"  # noqa: S105  # of a key that lives for a test


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    """An empty ring."""
    return Ring(tmp_path / "home")


def modes(ring: Ring) -> dict[str, str]:
    """The rights of the folder and of what is in it."""
    return {path.name: f"{path.stat().st_mode & 0o777:o}" for path in (ring.folder, *ring.folder.iterdir())}


def test_a_key_is_its_owners_alone(ring: Ring) -> None:
    """The folder is closed to others, the private key too; the public one says nothing that is secret."""
    made = ring.new("first", now=NOW)
    found = modes(ring)
    assert ("700", "600") == (found["keys"], found["first.pem"])
    assert {"keys", "first.pem", "first.pub.pem", "keys.json", ".lock"} == found.keys()
    signer = ring.signer()
    assert ("first", made.keyid) == (signer.name, signer.keyid)
    assert made.keyid == dsse.key_id(signer.key.public_key()) == dsse.key_id(ring.public(made))
    assert b"PRIVATE" not in (ring.folder / "first.pub.pem").read_bytes()
    assert "private" not in (ring.folder / "keys.json").read_text().lower()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601], ids=oct)
def test_a_key_that_others_can_use_is_refused(ring: Ring, mode: int) -> None:
    """With the command that mends it."""
    ring.new("first", now=NOW)
    path = ring.folder / "first.pem"
    path.chmod(mode)
    with pytest.raises(StateError, match=f"mode {mode:04o}") as caught:
        ring.signer()
    assert f"chmod 600 {path}" == caught.value.hint
    with pytest.raises(StateError, match=f"mode {mode:04o}"):
        ring.given(str(path), now=NOW)
    path.chmod(0o600)
    assert "first" == ring.signer().name


def test_a_new_key_retires_the_one_before(ring: Ring) -> None:
    """It signs no more, and stays to verify what it signed."""
    first = ring.new("first", now=NOW)
    second = ring.new("second", now=LATER)
    assert [("first", "retired", LATER), ("second", "active", None)] == [
        (entry.name, entry.status, entry.retired_at) for entry in ring.entries()
    ]
    assert second.keyid == ring.signer().keyid
    assert first.keyid == dsse.key_id(ring.public(ring.find("first")))
    ring.new("third", now=LATER + timedelta(days=1))
    assert LATER == ring.find("first").retired_at


def test_a_retired_key_does_not_sign(ring: Ring) -> None:
    """Neither where no other is there, nor where it is given by hand."""
    ring.new("first", now=NOW)
    pem = (ring.folder / "first.pem").read_text()
    ring.new("second", now=LATER)
    (ring.folder / "second.pem").unlink()
    with pytest.raises(StateError, match="there is no key to sign with"):
        ring.signer()
    assert not ring.can_sign()
    with pytest.raises(StateError, match="is the key 'first', which was retired at 2026-02-01") as caught:
        ring.given(pem, now=LATER)
    assert "bakeoff keys new" in str(caught.value.hint)


def test_no_key(ring: Ring) -> None:
    """The command that makes one is said; nothing is made by asking."""
    assert not ring.can_sign()
    with pytest.raises(StateError, match="there is no key to sign with") as caught:
        ring.signer()
    assert str(caught.value.hint).startswith("bakeoff keys new NAME")
    assert not ring.folder.exists()
    with pytest.raises(NotFoundError, match="no key 'x'"):
        ring.find("x")


@pytest.mark.parametrize("name", ["", "A", "a/b", "../a", ".a", "-a", "a" * 64, "a b", "ä", "a\n"])
def test_names(ring: Ring, name: str) -> None:
    """A name is the name of a file, and nothing else."""
    with pytest.raises(UsageError, match="can't name a key"):
        ring.new(name, now=NOW)
    assert not ring.folder.exists()


def test_a_key_is_never_replaced(ring: Ring) -> None:
    """A second one of a name is refused, even if the list has lost the first."""
    ring.new("first", now=NOW)
    before = (ring.folder / "first.pem").read_bytes()
    with pytest.raises(StateError, match="there is a key 'first' already"):
        ring.new("first", now=LATER)
    (ring.folder / "keys.json").unlink()
    with pytest.raises(StateError, match="there is a key 'first' already"):
        ring.new("first", now=LATER)
    assert before == (ring.folder / "first.pem").read_bytes()


def test_a_passphrase(ring: Ring) -> None:
    """The file is encrypted; it opens with the passphrase alone, which no message repeats."""
    ring.new("first", now=NOW, passphrase=SECRET)
    assert b"ENCRYPTED" in (ring.folder / "first.pem").read_bytes()
    assert "first" == ring.signer(passphrase=SECRET).name
    for given, message in (
        ("wrong " + SECRET, "does not open with the passphrase"),
        (None, "is encrypted"),
        ("", "is enc"),
    ):
        with pytest.raises(StateError, match=message) as caught:
            ring.signer(passphrase=given)
        assert "BAKEOFF_KEY_PASSPHRASE" in str(caught.value.hint)
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None


def test_from_the_environment(ring: Ring, tmp_path: Path) -> None:
    """A PEM in one line or in many, or a path of one; its public half is listed once, and no private one is kept."""
    other = Ring(tmp_path / "other")
    entry = other.new("elsewhere", now=NOW)
    path = other.folder / "elsewhere.pem"
    text = path.read_text()
    for given in (text, text.replace("\n", "\\n"), str(path), f" {path}\n"):
        assert entry.keyid == ring.given(given, now=NOW).keyid
    (listed,) = ring.entries()
    assert (f"environment-{entry.keyid[:8]}", entry.keyid) == (listed.name, listed.keyid)
    assert entry.keyid == dsse.key_id(ring.public(listed))
    assert [] == [found for found in ring.folder.iterdir() if b"PRIVATE" in found.read_bytes()]
    assert not ring.can_sign()


def test_an_own_key_from_the_environment_keeps_its_name(ring: Ring) -> None:
    """A key that is listed is not listed again."""
    ring.new("first", now=NOW)
    assert "first" == ring.given(str(ring.folder / "first.pem"), now=NOW).name
    assert 1 == len(ring.entries())


def test_what_is_no_key_is_never_repeated(ring: Ring, tmp_path: Path) -> None:
    """A value may be a key with a slip in it: no message quotes it."""
    key = generate_private_key(SECP256R1())
    ec = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    broken = "-----BEGIN PRIVATE KEY-----\nTOPSECRET\n-----END PRIVATE KEY-----"
    folder = str(tmp_path)
    for given in ("TOPSECRET", "TOP" * 4000, broken, ec, folder, "\x00"):
        with pytest.raises(StateError) as caught:
            ring.given(given, now=NOW)
        assert caught.value.hint
        assert "TOP" not in str(caught.value)
        assert "BAKEOFF_SIGNING_KEY" in str(caught.value)


def test_a_signer_shows_no_key(ring: Ring) -> None:
    """Nor does a ring."""
    ring.new("first", now=NOW)
    body = (ring.folder / "first.pem").read_text().splitlines()[1]
    assert "key=" not in repr(ring.signer())
    assert body not in repr(ring.signer()) + repr(ring)


def test_swapped_files_are_named(ring: Ring) -> None:
    """A key whose file holds another one, private or public; a list that is none."""
    ring.new("first", now=NOW)
    ring.new("second", now=LATER)
    for name in ("second.pem", "second.pub.pem"):
        path = ring.folder / name
        before = path.read_bytes()
        path.write_bytes((ring.folder / name.replace("second", "first")).read_bytes())
        with pytest.raises(IntegrityError, match=f"{name} is not the key that the list names"):
            ring.signer() if name == "second.pem" else ring.public(ring.find("second"))
        path.write_bytes(before)
    for text in ("", "[]", "{}", '{"keys": [{"name": 1}]}', json.dumps({"keys": 3})):
        (ring.folder / "keys.json").write_text(text)
        with pytest.raises(IntegrityError, match="is not a list of keys"):
            ring.entries()


def test_public_keys(ring: Ring) -> None:
    """What is exported is read again; what is no Ed25519 key is refused with where it came from."""
    key = ring.public(ring.new("first", now=NOW))
    assert key == keys.parse_public(keys.pem_of(key).decode(), where="x")
    other = generate_private_key(SECP256R1()).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for text, message in (("", "x holds no public key"), (pem, "x is no Ed25519 key")):
        with pytest.raises(UsageError, match=message):
            keys.parse_public(text, where="x")


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    """One line, not a traceback."""
    (tmp_path / "home").write_text("a file")
    with pytest.raises(BakeoffError, match="can't write"):
        Ring(tmp_path / "home").new("first", now=NOW)


def test_what_is_exported_says_whether_it_is_in_use(ring: Ring) -> None:
    """In a line that readers of PEM pass over."""
    first = ring.new("first", now=NOW)
    data = keys.exported(first, ring.public(first), now=LATER).decode()
    assert f"# bakeoff key first, in use at {LATER.isoformat()}" == data.splitlines()[0]
    ring.new("second", now=LATER)
    data = keys.exported(ring.find("first"), ring.public(first), now=LATER + timedelta(days=1)).decode()
    assert f"# bakeoff key first, retired at {LATER.isoformat()}" == data.splitlines()[0]
    assert ring.public(first) == keys.parse_public(data, where="x") == load_pem_public_key(data.encode())


def test_what_a_signer_knows(ring: Ring, tmp_path: Path) -> None:
    """What it signed, and what any key of its ring did; nothing that has two signatures."""
    ring.new("first", now=NOW)
    first = ring.signer()
    ring.new("second", now=LATER)
    second = ring.signer()
    other = Ring(tmp_path / "other")
    other.new("stranger", now=NOW)
    stranger = other.signer()
    signed = {signer.name: dsse.sign(b"x", signer.key) for signer in (first, second, stranger)}
    assert {"first": True, "second": True, "stranger": False} == {
        name: second.knows(envelope) for name, envelope in signed.items()
    }
    alone = Signer("alone", stranger.keyid, stranger.key)
    assert (True, False) == (alone.knows(signed["stranger"]), alone.knows(signed["first"]))
    twice = (*signed["first"].signatures, *signed["first"].signatures)
    assert not second.knows(replace(signed["first"], signatures=twice))
    assert not second.knows(replace(signed["first"], payload=b"y"))
