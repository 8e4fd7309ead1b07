"""Figures of a seal made again: findings to the last digit, and where routing sent whom."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from bakeoff import recompute
from bakeoff.difference import Difference
from bakeoff.sealed import Sealed
from tests.sealed import Sample
from tests.sealed_parts import iso
from tests.tampering import small

PATH = ".predicate.records.judgement.body"


def opened(sample: Sample) -> Sealed:
    """The seal as claims see it."""
    return Sealed(sample.predicate, (), sample.rows, sample.written)


def first(found: Any) -> Difference | None:
    """The first difference, or None."""
    return next(found, None)


@pytest.mark.parametrize("story", ["completed", "rolled_back", "forced", "judged", "stopped"])
def test_healthy(story: str) -> None:
    """All of it follows from the rows."""
    seal = opened(small(story=story))
    assert (None, None) == (first(recompute.findings(seal)), first(recompute.routing(seal)))


def test_the_order_of_the_rows_of_the_candidate() -> None:
    """It does not matter: rows are aligned by their questions."""
    sample = small()
    sample.rows["candidate"].reverse()
    assert None is first(recompute.findings(opened(sample)))


FIGURES = ("value", "baseline", "difference", "low", "high", "p_loss")


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_a_finding(name: str) -> None:
    """A billionth more is found; what the order of a sum may do is not."""
    sample = small()
    found = sample.predicate["records"]["judgement"]["body"]["findings"][1]
    found[name] += 1e-15
    assert None is first(recompute.findings(opened(sample)))
    found[name] += 1e-9
    said = first(recompute.findings(opened(sample)))
    assert said is not None
    assert f"{PATH}.findings[1].{name}" == said.path


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a reason": (lambda body: body["findings"][0].update(reason="reached"), "findings[0].reason"),
    "a verdict": (lambda body: body["findings"][2].update(verdict="pass", severity="block"), "findings[2].severity"),
    "a finding left out": (lambda body: body["findings"].pop(0), "findings[0]"),
    "a warning too many": (lambda body: body["warnings"].append("x"), "warnings[0]"),
    "the worst question": (lambda body: body["findings"][1].update(worst=[]), "findings[1].worst[0]"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_words(name: str) -> None:
    """Verdicts, reasons, warnings and the worst questions follow, too."""
    change, path = CHANGES[name]
    sample = small()
    change(sample.predicate["records"]["judgement"]["body"])
    said = first(recompute.findings(opened(sample)))
    assert said is not None
    assert f"{PATH}.{path}" == said.path


def test_a_row_that_was_edited() -> None:
    """A better answer makes another finding."""
    sample = small()
    row = next(item for item in sample.rows["candidate"] if item["answer_right"] == 0)
    row["answer_right"] = 1
    assert first(recompute.findings(opened(sample))) is not None


def test_a_fact_that_was_edited() -> None:
    """Facts are in no tree, and are judged."""
    sample = small()
    sample.rows["facts"]["candidate"]["leaked_prefixes"] = 3
    said = first(recompute.findings(opened(sample)))
    assert said is not None
    assert said.path.startswith(f"{PATH}.findings[3]")


# --- Routing --------------------------------------------------------------------------------------------------------


def placed(sample: Sample, number: int = 5) -> list[Any]:
    """One of the outcomes, with a bucket that goes to the baseline in the first step."""
    row: list[Any] = sample.rows["outcomes"][number]
    row[2], row[3] = "baseline", 9_000
    return row


def test_arm_by_bucket() -> None:
    """Buckets below the share go to the candidate, the others to the baseline."""
    sample = small()
    row = placed(sample)
    assert None is first(recompute.routing(opened(sample)))
    row[3] = 1_999
    said = first(recompute.routing(opened(sample)))
    assert said is not None
    assert ("rows:.outcomes[5][2]", "candidate, by its bucket 1999", "baseline") == (
        said.path,
        said.expected,
        said.found,
    )


def test_arm_under_the_wall_clock() -> None:
    """A header or the kill switch may have decided: nothing is said of the arm."""
    sample = small(clock="wall")
    placed(sample)[3] = 1
    assert None is first(recompute.routing(opened(sample)))


def test_at_the_instant_of_a_move() -> None:
    """An outcome of the very second may be of either share."""
    sample = small()
    row = placed(sample)
    row[0] = sample.predicate["rollout"]["events"][3]["at"]
    assert None is first(recompute.routing(opened(sample)))
    row[1], row[2] = 2, "candidate"
    assert None is first(recompute.routing(opened(sample)))


@pytest.mark.parametrize(
    ("clock", "seconds", "holds"), [("simulated", 1, False), ("wall", 1, True), ("wall", 60, False)]
)
def test_step(clock: str, seconds: int, holds: bool) -> None:
    """An outcome is of the step that was running; a wall clock counts whole seconds, and reports come late."""
    sample = small(clock=clock)
    row = placed(sample)
    began = datetime.fromisoformat(sample.predicate["rollout"]["events"][3]["at"])
    row[0] = (began + timedelta(seconds=seconds)).isoformat()
    row[2] = "candidate"
    said = first(recompute.routing(opened(sample)))
    assert holds == (said is None)
    assert holds or (said is not None and said.path == "rows:.outcomes[5][1]")


def test_after_the_end() -> None:
    """Nobody was on any step."""
    sample = small()
    placed(sample)[0] = iso(10_000)
    said = first(recompute.routing(opened(sample)))
    assert said is not None
    assert ("rows:.outcomes[5][1]", "1") == (said.path, said.found)
