"""Judgements of a seal that were made anew: of the plan's gates, on the same table, kept with the figures they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest

from bakeoff import judgements
from bakeoff.difference import Difference
from bakeoff.sealed import Sealed
from bakeoff.verdicts import Verdict
from tests import sealed as samples
from tests.sealed import Sample
from tests.sealed_parts import iso
from tests.tampering import small

AGAIN = ".predicate.records.rechecks[0]"


def place(sample: Sample) -> str | None:
    """The place of the first thing that is wrong with a recheck, or None."""
    found: Iterator[Difference] = judgements.rechecked(Sealed(sample.predicate))
    one = next(found, None)
    return None if one is None else one.path


def recheck(sample: Sample) -> dict[str, Any]:
    """The record."""
    found: dict[str, Any] = sample.predicate["records"]["rechecks"][0]
    return found


@pytest.mark.parametrize("story", ["completed", "rolled_back", "forced", "judged", "stopped"])
def test_healthy(story: str) -> None:
    """All of it holds, whatever the story; where nothing was measured anew, nothing is said to be unchecked."""
    sample = small(story=story)
    assert None is place(sample)
    assert bool(sample.predicate["records"]["rechecks"]) == bool(judgements.left(Sealed(sample.predicate)))


def unmeasured(sample: Sample, verdict: str, *findings: dict[str, Any]) -> Sample:
    """A recheck that came to no judgement."""
    again = recheck(sample)
    for name in ("judgement", "began_on", "run_id"):
        del again["body"][name]
    again["body"] |= {"verdict": verdict, "findings": list(findings)}
    again |= {"verdict": verdict, "run_id": None}
    return sample


CHANGED = judgements.finding(judgements.TABLE, Verdict.FAIL, "the chunk table is not what its ingest recorded")


def test_nothing_could_be_measured() -> None:
    """An error without findings, or a fail of the table: that is all that a recheck without a judgement says."""
    assert None is place(unmeasured(small(), "error"))
    assert None is place(unmeasured(small(), "fail", CHANGED))
    assert f"{AGAIN}.body.findings[0]" == place(unmeasured(small(), "error", CHANGED))
    assert f"{AGAIN}.body.findings[0]" == place(unmeasured(small(), "fail"))
    other = {**CHANGED, "watched": "recheck f1"}
    assert f"{AGAIN}.body.findings[0].watched" == place(unmeasured(small(), "fail", other))
    for verdict in ("pass", "inconclusive", "no_data"):
        assert f"{AGAIN}.body.judgement" == place(unmeasured(small(), verdict))
    sample = unmeasured(small(), "error")
    recheck(sample)["run_id"] = "run-again"
    assert f"{AGAIN}.run_id" == place(sample)


def _first(sample: Sample, **figures: Any) -> None:
    recheck(sample)["body"]["judgement"]["findings"][0].update(figures)


KEPT: dict[str, tuple[Callable[[Sample], object], str]] = {
    **{
        name: (lambda made, name=name: _first(made, **{name: 0.75}), f"{AGAIN}.body.findings[0].{name}")  # type: ignore[misc]  # bound now
        for name in ("value", "baseline", "difference", "low", "high")
    },
    "n": (lambda made: _first(made, n=9), f"{AGAIN}.body.findings[0].n_baseline"),
    "a verdict": (lambda made: _first(made, verdict="fail"), f"{AGAIN}.body.findings[0].verdict"),
    "a metric": (lambda made: _first(made, metric="f1"), f"{AGAIN}.body.judgement.findings[0].metric"),
    "a rule": (lambda made: _first(made, rule="gain"), f"{AGAIN}.body.judgement.findings[0].rule"),
    "one that was left out": (
        lambda made: recheck(made)["body"]["findings"].pop(), f"{AGAIN}.body.findings[4]"
    ),
    "one more": (
        lambda made: recheck(made)["body"]["findings"].append(CHANGED), f"{AGAIN}.body.findings[5]"
    ),
    "a margin": (
        lambda made: recheck(made)["body"]["findings"][0].update(margin=0.3), f"{AGAIN}.body.findings[0].margin"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept(name: str) -> None:
    """Every figure of a gate that blocks, in the plan's order; only its words are free."""
    change, path = KEPT[name]
    sample = small()
    recheck(sample)["body"]["findings"][0]["said"] = "as an older version put it"
    assert None is place(sample)
    change(sample)
    assert path == place(sample)


def test_not_known_as_at_the_start() -> None:
    """What was not known when the rollout began is no reason to stop: it is kept as a pass, with its figures."""
    sample = small()
    sample.predicate["records"]["judgement"]["body"]["findings"][0]["verdict"] = "inconclusive"
    _first(sample, verdict="no_data", value=None)
    recheck(sample)["body"]["findings"][0]["value"] = None
    assert None is place(sample)
    kept = judgements.again({**recheck(sample)["body"]["judgement"]["findings"][0]}, Verdict.INCONCLUSIVE)
    assert ("pass", "go", "right: not known, as at the start") == (kept["verdict"], kept["action"], kept["said"])
    assert "no_data" == judgements.again(recheck(sample)["body"]["judgement"]["findings"][0], Verdict.PASS)["verdict"]


def test_of_an_older_version() -> None:
    """One that does not say what it began on may have been beside another run of the same baseline."""
    sample = small()
    recheck(sample)["body"]["judgement"]["baseline"] |= {"run_id": "run-other", "cases_sha256": "0" * 64}
    assert f"{AGAIN}.body.judgement.baseline.run_id" == place(sample)
    del recheck(sample)["body"]["began_on"]
    assert None is place(sample)
    recheck(sample)["body"]["judgement"]["baseline"]["table_sha256"] = "0" * 64
    assert f"{AGAIN}.body.judgement.baseline.table_sha256" == place(sample)


def test_of_one_lock() -> None:
    """Where both arms are one lock that is judged, too, as no data."""
    sample = small()
    plan, inner = sample.predicate["plan"]["body"], recheck(sample)["body"]["judgement"]
    same = {"gate": judgements.ONE_LOCK, "metric": "CONFIG_HASH", "rule": "recorded", "severity": "block",
            "verdict": "no_data", "n": 0, "said": "one lock",
            **dict.fromkeys(("value", "baseline", "difference", "low", "high"))}  # fmt: skip
    inner["findings"].append(same)
    recheck(sample)["body"]["findings"].append(judgements.again(same, None))
    assert f"{AGAIN}.body.judgement.findings[6]" == place(sample)
    plan["baseline"]["CONFIG_HASH"] = plan["candidate"]["CONFIG_HASH"]
    assert None is place(sample)


def test_rechecks() -> None:
    """One that could not be taken has no findings; one of an older version does not say what it began on."""
    sample = small()
    again = deepcopy(sample.predicate["records"]["rechecks"][0])
    sample.predicate["records"]["rechecks"].append(again)
    for name in ("began_on", "judgement", "run_id"):
        del again["body"][name]
    again["body"]["findings"] = []
    again.update(record_id=7, at=iso(121), run_id=None)
    again["verdict"] = again["body"]["verdict"] = "error"
    samples.redigest(again)
    assert None is sample.check().failed
