"""The seal that is kept in `artifacts/example/`: what was sealed once is verified by every version after."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakeoff.adapters import sealed_files
from bakeoff.adapters.sealed_files import Asked
from tests.command_reference import ROOT

EXAMPLE = ROOT / "artifacts" / "example"


@pytest.fixture(scope="module")
def asked() -> Asked:
    """With the public key that lies beside it, everything derived again."""
    return Asked(sealed_files.given_keys([EXAMPLE / "example.pub.pem"]), recompute=True)


def test_the_kept_seal_still_verifies(asked: Asked) -> None:
    """Every claim of it holds, those that are derived again too; the artifacts that it names are not kept.

    A bare public key does not say whether it was retired.
    """
    (path,) = EXAMPLE.glob("*.seal.json")
    report = sealed_files.verify(path, asked)
    assert [] == [(claim.name, claim.said) for claim in report.claims if claim.holds is False]
    assert {claim.name for claim in report.claims if claim.holds is None} <= {"key in use", "artifacts"}
    assert {"findings again", "routing again", "clock"} <= {claim.name for claim in report.claims}
    (clock,) = (claim.said for claim in report.claims if claim.name == "clock")
    assert clock.endswith("simulated: a rehearsal, nothing in production changed")


def test_the_kept_chain_is_whole(asked: Asked) -> None:
    """One seal, and the head that names it."""
    _, found = sealed_files.chain(EXAMPLE, asked)
    assert [True, True, True] == [claim.holds for claim in found]


def test_an_edited_copy_of_it_is_found(asked: Asked, tmp_path: Path) -> None:
    """One wrong answer made a right one: its root is no longer the one that was signed."""
    (path,) = EXAMPLE.glob("*.seal.json")
    rows = sealed_files.rows_beside(path)
    (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / rows.name).write_text(rows.read_text().replace('"answer_right":0', '"answer_right":1', 1))
    failed = sealed_files.verify(tmp_path / path.name, asked).failed
    assert failed is not None
    assert ("rows", ".predicate.evaluations.baseline.rows.root") == (failed.name, failed.path)
