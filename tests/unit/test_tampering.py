"""Whatever is changed in a seal is found, and called by its name."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff import claims
from bakeoff.adapters import sealed_files
from bakeoff.adapters.sealed_files import Asked
from bakeoff.claims import FROM_ROWS, Claim, Report
from tests import sealed as samples
from tests import sealed_files as written
from tests.signed_again import SIGNED_AGAIN
from tests.tampering import IN_FILES, Files, files_of, small

FLIPS = 2_000
WHOLE = 40
"""Every so many flips one goes the whole way."""


def verified(folder: Path, files: Files) -> Report:
    """Write the files and verify them as the command does."""
    path = folder / "a.seal.json"
    path.write_bytes(files.seal)
    sealed_files.rows_beside(path).write_bytes(files.rows)
    return sealed_files.verify(path, Asked(files.keys, files.recompute))


def first(report: Report) -> Claim:
    """The claim that is named."""
    assert report.failed is not None
    return report.failed


@pytest.mark.parametrize("way", IN_FILES, ids=lambda way: way.__name__)
def test_changed_in_the_files(way: Callable[[], Files], tmp_path: Path) -> None:
    """Whoever has not the key can't change anything unseen."""
    found = first(verified(tmp_path, way()))
    claim, path = IN_FILES[way]
    wanted = found.path if path != "rows.json" else path * found.said.startswith(path)
    assert (claim, path) == (found.name, wanted)


@pytest.mark.parametrize("way", SIGNED_AGAIN, ids=lambda way: way.__name__)
def test_changed_and_signed_again(way: Callable[[], Files], tmp_path: Path) -> None:
    """Whoever has the key can't change one thing without what follows from it."""
    found = first(verified(tmp_path, way()))
    assert SIGNED_AGAIN[way] == (found.name, found.path)
    assert found.expected
    assert found.found
    assert found.expected != found.found


def flipped(data: bytes, rng: random.Random) -> bytes:
    """The same bytes with one bit changed."""
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def test_a_flipped_bit_of_the_envelope(tmp_path: Path) -> None:
    """Wherever it is: the envelope, or its signature, is named."""
    rng, healthy = random.Random(1), files_of(samples.made(questions=3, outcomes=4))
    named = {
        first(verified(tmp_path, Files(flipped(healthy.seal, rng), healthy.rows, healthy.keys))).name
        for _ in range(FLIPS)
    }
    assert {"envelope", "signature"} == named


def named_by_the_rows(sample: samples.Sample, data: bytes, folder: Path) -> str:
    """What is said of a rows file, without what is said of the envelope before."""
    path = folder / "a.seal.json"
    sealed_files.rows_beside(path).write_bytes(data)
    rows, unread = sealed_files._rows(path, required=False)
    if unread is not None:
        return unread.name
    seal, broken = claims._with_rows((), sample.predicate, rows)
    found = [broken] if broken is not None else [claims.claimed(name, said, of(seal)) for name, said, of in FROM_ROWS]
    failed = next((claim.name for claim in found if not claim.holds), None)
    return failed or "artifacts" * (data != sample.rows_file)


def test_a_flipped_bit_of_the_rows(tmp_path: Path) -> None:
    """Wherever it is: the rows are named, or the file that holds them; a part of them through the whole command."""
    rng, sample = random.Random(2), samples.made(questions=3, outcomes=4)
    healthy, named = files_of(sample), set()
    for number in range(FLIPS):
        data = flipped(healthy.rows, rng)
        said = named_by_the_rows(sample, data, tmp_path)
        if not number % WHOLE:
            assert said == first(verified(tmp_path, Files(healthy.seal, data, healthy.keys))).name
        named.add(said)
    assert {"rows", "records", "aggregates", "artifacts"} == named


@settings(max_examples=15, deadline=None)
@given(
    st.builds(
        samples.made,
        seed=st.integers(0, 50),
        questions=st.integers(1, 130),
        outcomes=st.integers(1, 60),
        clock=st.sampled_from(["wall", "simulated"]),
        story=st.sampled_from(["completed", "rolled_back", "forced", "judged", "stopped"]),
        number=st.integers(1, 10**6),
    )
)
def test_a_healthy_seal_holds(sample: samples.Sample) -> None:
    """Whatever the story, all of it holds, computed again, too."""
    report = sample.check(recompute=True)
    assert [] == [claim for claim in report.claims if claim.holds is False]
    assert (sample.predicate["number"], True) == (report.number, claims.read(sample.file())[0].holds)


# --- Of a chain -----------------------------------------------------------------------------------------------------


def tail_cut(folder: Path) -> None:
    """The newest seal is gone."""
    written.remove(folder, 3)


def seal_removed(folder: Path) -> None:
    """One in the middle is gone."""
    written.remove(folder, 2)


def head_replayed(folder: Path) -> None:
    """An older head lies there."""
    written.write_head(folder, written.seals(2))


def head_removed(folder: Path) -> None:
    """No head lies there."""
    (folder / "HEAD.json").unlink()


def head_edited(folder: Path) -> None:
    """The head is no envelope any more."""
    (folder / "HEAD.json").write_bytes(b"{}\n")


def head_of_a_stranger(folder: Path) -> None:
    """The tail is gone, and somebody else signed a head for it."""
    written.remove(folder, 3)
    written.write_head(folder, written.seals(2), key=9)


def envelopes_swapped(folder: Path) -> None:
    """Two seals change their files' names."""
    one, other = (written.path_of(folder, number) for number in (1, 2))
    one_data, other_data = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_data)
    other.write_bytes(one_data)


def renamed(folder: Path) -> None:
    """A seal has a name that is not its digest's."""
    path = written.path_of(folder, 2)
    path.rename(path.with_name("000002-000000000000.seal.json"))


def chain_cut(folder: Path) -> None:
    """A seal was made again, and does not name the one before it."""
    written.remove(folder, 2)
    written.write(folder, samples.numbered(written.seals(2)[1], 2, "0" * 64))


def head_of_another(folder: Path) -> None:
    """The head is about another seal than the newest."""
    found = written.seals(3)
    written.write_head(folder, [*found[:2], samples.numbered(small(seed=9), 3, found[2].predicate["previous"])])


OF_A_CHAIN: dict[Callable[[Path], None], tuple[str, str]] = {
    tail_cut: ("head", "HEAD.json:.predicate.count"),
    seal_removed: ("numbers", ":.predicate.number"),
    head_replayed: ("head", "HEAD.json:.predicate.count"),
    head_removed: ("head", "HEAD.json"),
    head_edited: ("head", "HEAD.json:.payload"),
    head_of_a_stranger: ("head", "HEAD.json:.signatures[0].keyid"),
    envelopes_swapped: ("numbers", ":.predicate.number"),
    renamed: ("numbers", "000002-000000000000.seal.json"),
    chain_cut: ("previous", ":.predicate.previous"),
    head_of_another: ("head", "HEAD.json:.predicate.sha256"),
}


@pytest.mark.parametrize("way", OF_A_CHAIN, ids=lambda way: way.__name__)
def test_changed_in_a_chain(way: Callable[[Path], None], tmp_path: Path) -> None:
    """A seal that is missing, moved or cut off is found, and so is a head that is not of this chain."""
    written.folder_of(tmp_path, 3)
    way(tmp_path)
    _, found = sealed_files.chain(tmp_path, Asked(written.KEYS))
    failed = next(claim for claim in found if claim.holds is False)
    claim, path = OF_A_CHAIN[way]
    assert claim == failed.name
    assert str(failed.path).endswith(path)


def test_a_whole_chain_holds(tmp_path: Path) -> None:
    """Three seals and their head, one after the other."""
    written.folder_of(tmp_path, 3)
    links, found = sealed_files.chain(tmp_path, Asked(written.KEYS))
    assert [1, 2, 3] == [link.report.number for link in links]
    assert [True, True, True] == [claim.holds for claim in found]
    assert [None, None, None] == [link.report.failed for link in links]
