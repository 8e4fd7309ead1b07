"""The head of a chain: signed anew where a known key signed the one before, and the database has what it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bakeoff import dsse
from bakeoff.adapters import clock, seal_head, seals
from bakeoff.adapters.keys import Ring
from bakeoff.errors import IntegrityError, StateError
from bakeoff.rollout import Abort
from bakeoff.stages.seal import Made
from tests import rolled
from tests.db.test_seal import HOUR, SIGNER, Site, refused
from tests.rolled import BEGAN, Rolled


@pytest.fixture(scope="module")
def source(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, evaluated, judged."""
    with rolled.rolled(server_url, template, tmp_path_factory.mktemp("head")) as found:
        yield found


@pytest.fixture
def site(server_url: str, source: Rolled, tmp_path: Path) -> Iterator[Site]:
    """A copy to be moved."""
    with rolled.copy_of(server_url, source) as found:
        yield Site(found, tmp_path / "seals")


def test_no_head_is_signed_where_there_was_none(site: Site) -> None:
    """Who deletes seals deletes the head: a new one has to be asked for, by who knows the newest."""
    assert [] == site.export()
    made = site.seal()
    whole = {path.name: path.read_bytes() for path in site.folder.iterdir()}
    for path in site.folder.iterdir():
        path.unlink()
    error = refused(site, StateError, "HEAD.json is not there, and the database has 1 seal: if some were deleted")
    assert f"is {made.seal.payload_sha256[:12]}: bakeoff seals export --new-head" in str(error.hint)
    with pytest.raises(StateError, match="json is not there"):
        site.export()
    assert [] == list(site.folder.iterdir())
    assert [made.seal] == site.export(new_head=True)
    assert whole == {path.name: path.read_bytes() for path in site.folder.iterdir()}


def two(site: Site) -> tuple[Made, Made]:
    """A judged plan, then a rollout of it that was aborted."""
    first = site.seal()
    site.of.start()
    site.of.act(Abort(by="bob", why="never mind"), BEGAN + HOUR)
    return first, site.seal()


def test_a_cut_chain_is_not_signed_again(site: Site) -> None:
    """The newest seal is deleted everywhere, and the head says so, but nobody who is known signed that."""
    first, second = two(site)
    site.tamper("seals", "DELETE FROM bakeoff.seals WHERE number = 2")
    for path in site.folder.glob("000002-*"):
        path.unlink()
    head = site.folder / "HEAD.json"
    before = dsse.parse(head.read_bytes())
    cut = seal_head.payload_of(first.seal)
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    (own,) = before.signatures
    forged = {
        "its old signature": dsse.Envelope(before.payload_type, cut, before.signatures),
        "a stranger's": dsse.sign(cut, stranger),
        "both": dsse.Envelope(before.payload_type, cut, (*dsse.sign(cut, stranger).signatures, own)),
    }
    for envelope in forged.values():
        head.write_bytes(seals.file_of(envelope))
        refused(site, IntegrityError, "HEAD.json was not signed with a key that is known here")
        with pytest.raises(IntegrityError, match="was not signed with a key"):
            site.export(new_head=True)
        assert envelope == dsse.parse(head.read_bytes())
    assert 2 == second.seal.number


def test_a_head_of_another_key_of_the_ring_is_replaced(site: Site, tmp_path: Path) -> None:
    """A key that was retired signed it; one that has signed what it can't have is refused."""
    ring = Ring(tmp_path / "home")
    ring.new("old", now=clock.now())
    site.seal(signer=ring.signer)
    ring.new("new", now=clock.now())
    site.of.start()
    site.of.act(Abort(by="bob", why="never mind"), BEGAN + HOUR)
    made = site.seal(signer=ring.signer)
    (signed,) = dsse.parse((site.folder / "HEAD.json").read_bytes()).signatures
    assert (2, ring.find("new").keyid) == (made.seal.number, signed.keyid)


def test_an_older_head_does_not_come_back(site: Site) -> None:
    """Who was slower finds that another has sealed meanwhile, and leaves its head alone."""
    first, _ = two(site)
    newest = (site.folder / "HEAD.json").read_bytes()
    seal_head.write(site.folder, first.seal, SIGNER)
    assert newest == (site.folder / "HEAD.json").read_bytes()
    (site.folder / "HEAD.json").write_bytes(newest.replace(b'"sig":"', b'"sig":"AAAA', 1))
    with pytest.raises(IntegrityError, match="not signed with a key"):
        seal_head.write(site.folder, first.seal, SIGNER)


def test_another_chain_in_the_folder_is_refused(site: Site) -> None:
    """A head that the database does not have: its tail was cut, or the folder is another's."""
    made = site.seal()
    site.tamper("seals", "DELETE FROM bakeoff.seals")
    error = refused(site, IntegrityError, r"HEAD.json ends with seal 1 \(.*it ends with 0")
    assert "restore bakeoff.seals" in str(error.hint)
    with pytest.raises(IntegrityError, match="it ends with 0"):
        site.export()
    (site.folder / "HEAD.json").write_bytes(b"{}")
    refused(site, IntegrityError, "HEAD.json is not the head of a chain")
    assert made.new
