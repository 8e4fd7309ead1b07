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


# --- What people said about routing -----------------------------------------------------------------------------------


def worded(sample: Sample, *words: tuple[float, str, int | None, str | None]) -> Sample:
    """Things that were said about routing, so many minutes after the story began, of a unit, fixing an arm."""
    sample.predicate["rollout"]["routing"] = [
        {"at": iso(at), "event": event, "bucket": unit, "unit": unit, "arm": arm, "by": "ada", "reason": "test"}
        for at, event, unit, arm in words
    ]
    return sample


def named(sample: Sample) -> tuple[list[Any], float]:
    """An outcome of somebody who goes to the candidate, well within the first step, and when it was."""
    row = next(row for row in sample.rows["outcomes"][20:] if row[2] == "candidate")
    minutes = (datetime.fromisoformat(row[0]) - datetime.fromisoformat(iso(0))).total_seconds() / 60
    return row, minutes


def alone(sample: Sample) -> Sample:
    """Without the outcomes that name nobody."""
    sample.rows["outcomes"] = [row for row in sample.rows["outcomes"] if row[7] is not None]
    return sample


def test_every_arm_is_explained() -> None:
    """Buckets, the kill switch and forced units give every arm: nothing is left to say."""
    sample = alone(small(clock="wall"))
    assert None is recompute.unexplained(opened(sample))
    row, at = named(sample)
    row[2] = "baseline"
    said = recompute.unexplained(opened(sample))
    assert said is not None
    assert f"of {len(sample.rows['outcomes'])} arms 1 are not those of bucket" in said
    unit = row[7]
    kill, unkill = (at - 0.05, "killed", None, None), (at + 0.05, "unkilled", None, None)
    assert None is recompute.unexplained(opened(worded(sample, kill, unkill)))
    force, unforce = (at - 5, "forced", unit, "baseline"), (at + 5, "unforced", unit, None)
    others = ((1, "killed", None, None), (2, "unkilled", None, None), (3, "shadow_off", None, None))
    assert None is recompute.unexplained(opened(worded(sample, *others, force, unforce)))
    other = (at - 5, "forced", unit + 1, "baseline")
    assert None is not recompute.unexplained(opened(worded(sample, other)))


def test_a_switch_that_was_on_explains_no_candidate() -> None:
    """While everybody was sent to the baseline an outcome of the candidate came some other way; so did a forced one."""
    sample = alone(small(clock="wall"))
    _, at = named(sample)
    assert None is not recompute.unexplained(opened(worded(sample, (at - 5, "killed", None, None))))
    row, at = named(sample)
    held = (at - 5, "forced", row[7], "baseline")
    assert None is not recompute.unexplained(opened(worded(sample, held)))


def test_who_names_no_unit_is_counted() -> None:
    """A request id may have decided: nothing is recorded of it."""
    seal = opened(small(clock="wall"))
    count = sum(row[7] is None for row in seal.rows["outcomes"])  # type: ignore[index]  # the sample has rows
    assert f"0 are not those of bucket, kill switch and forced units, and {count} name no unit" in str(
        recompute.unexplained(seal)
    )


@pytest.mark.parametrize("story", ["completed", "judged"])
def test_a_simulated_clock_leaves_nothing(story: str) -> None:
    """Arms are checked one by one there, and without a rollout there are none."""
    assert None is recompute.unexplained(opened(small(story=story)))


def test_what_is_left_is_said_of_the_claim() -> None:
    """The claim was not checked as far as that goes, and says so; a simulated one holds."""
    for clock, holds in (("wall", None), ("simulated", True)):
        found = {claim.name: claim for claim in small(clock=clock).check(recompute=True).claims}
        assert (True, holds) == (found["looks again"].holds, found["routing again"].holds)
    sample = worded(small(clock="wall"), (70, "killed", None, None))
    sample.predicate["rollout"]["routing"][0]["at"] = "yesterday"
    assert "routing again" in {claim.name for claim in sample.check(recompute=True).claims if claim.holds is False}
