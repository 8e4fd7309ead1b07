"""Records of a seal: digests over what was recorded, what they are about, probes and parity that were demanded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bakeoff import recorded
from bakeoff.difference import Difference
from bakeoff.sealed import Sealed
from tests import sealed as samples
from tests.sealed import Sample
from tests.sealed_parts import iso
from tests.tampering import small

RECORDS = ".predicate.records"
JUDGED = f"{RECORDS}.judgement"


def opened(sample: Sample) -> Sealed:
    """The seal as claims see it."""
    return Sealed(sample.predicate, (), sample.rows, sample.written)


def healthy() -> Sample:
    """A judged plan that rests on timings, probes and parity."""
    return small(story="judged")


def first(found: Iterator[Difference]) -> str | None:
    """The place of the first difference, or None."""
    one = next(found, None)
    return None if one is None else one.path


def record(sample: Sample, kind: str) -> dict[str, Any]:
    """One of the records."""
    found: dict[str, Any] = sample.predicate["records"][kind]
    return found


def gate_of(sample: Sample, kind: str) -> dict[str, Any]:
    """What the judgement says of a record."""
    (found,) = (item for item in record(sample, "judgement")["body"]["findings"] if item["gate"] == kind)
    return dict(found)


@pytest.mark.parametrize("story", ["completed", "rolled_back", "forced", "judged", "stopped"])
def test_healthy(story: str) -> None:
    """All of it holds, whatever the story."""
    seal = opened(small(story=story))
    found = [*recorded.records(seal), *recorded.rests_on(seal), *recorded.demanded(seal)]
    assert [] == found


# --- Digests --------------------------------------------------------------------------------------------------------

OF_RECORDS: dict[str, tuple[Callable[[Sample], object], str]] = {
    "a figure": (lambda made: record(made, "timings")["body"]["baseline_ms"].reverse(), "timings.sha256"),
    "a timed question": (lambda made: record(made, "timings")["body"]["questions"].reverse(), "timings.sha256"),
    "a kind": (lambda made: record(made, "judgement").update(kind="recheck"), "judgement.kind"),
    "a line of a probe": (lambda made: made.rows["lines"]["probes"].reverse(), "probes.sha256"),
    "a question of the rows": (
        lambda made: made.rows["baseline"][3].update(question="What else?"), "judgement.sha256"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_RECORDS)
def test_digests(name: str) -> None:
    """The digest is that of what was recorded, with the questions and lines that stay with the rows."""
    change, path = OF_RECORDS[name]
    sample = healthy()
    for item in record(sample, "judgement")["body"]["findings"][:1]:
        item["worst"] = [{"row": 3, "baseline": 1, "candidate": 0}]
    samples.redigest(record(sample, "judgement"))
    assert None is first(recorded.records(opened(sample)))
    change(sample)
    assert f"{RECORDS}.{path}" == first(recorded.records(opened(sample)))


def test_lines_that_are_gone() -> None:
    """A record that names more lines than the rows have is named, and no more is said of it."""
    sample = healthy()
    sample.rows["lines"] = {}
    (found,) = recorded.records(opened(sample))
    assert (f"{RECORDS}.probes.body", "offenders: 2 lines are named, 0 are there") == (found.path, found.found)


def test_a_record_that_is_not_there() -> None:
    """Whoever needs it is told."""
    with pytest.raises(ValueError, match="there is no record of probes"):
        opened(dropped(healthy(), "probes")).record("probes")


# --- What they are about --------------------------------------------------------------------------------------------

ABOUT: dict[str, tuple[Callable[[Sample], object], str]] = {
    "plan of the timings": (lambda made: record(made, "timings").update(plan_sha256="0"), "timings.plan_sha256"),
    "run of the probes": (lambda made: record(made, "probes").update(run_id="other"), "probes.run_id"),
    "run of the judgement": (lambda made: record(made, "judgement").update(run_id="other"), "judgement.run_id"),
    "lock of the parity": (lambda made: record(made, "parity").update(config_hash="0"), "parity.config_hash"),
    "gates": (lambda made: record(made, "judgement")["body"].update(gates_sha256="0"), "judgement.body.gates_sha256"),
    "an arm": (
        lambda made: record(made, "judgement")["body"]["baseline"].update(lock="c"), "judgement.body.baseline.lock"
    ),
    "a record that is named": (
        lambda made: record(made, "judgement")["body"]["probes"].update(record=9), "judgement.body.probes.record"
    ),
    "a record that is not named": (
        lambda made: record(made, "judgement")["body"].pop("parity"), "judgement.body.parity"
    ),
    "timed tables": (lambda made: record(made, "timings")["body"].update(tables={}), "timings.body.tables"),
    "timed questions": (
        lambda made: record(made, "timings")["body"].update(questions_sha256="0"), "timings.body.questions_sha256"
    ),
    "a verdict said twice": (lambda made: record(made, "parity")["body"].update(verdict="fail"), "parity.verdict"),
    "a run said twice": (lambda made: record(made, "probes")["body"].update(run_id="x"), "probes.run_id"),
    "an instant said twice": (lambda made: record(made, "probes")["body"].update(at=iso(3)), "probes.at"),
    "a kind said twice": (lambda made: record(made, "timings")["body"].update(kind="other"), "timings.kind"),
}  # fmt: skip


@pytest.mark.parametrize("name", ABOUT)
def test_about(name: str) -> None:
    """Each names the plan, the run and the table that were sealed, and says one thing throughout."""
    change, path = ABOUT[name]
    sample = healthy()
    change(sample)
    assert f"{RECORDS}.{path}" == str(first(recorded.rests_on(opened(sample)))).partition(".[")[0]


def test_an_instant_in_other_words() -> None:
    """An instant is one instant in whatever zone it was written."""
    sample = healthy()
    record(sample, "probes")["body"]["at"] = "2026-01-02T05:31:00+02:00"
    assert None is first(recorded.rests_on(opened(sample)))


def test_judged_without_timings() -> None:
    """A judgement may rest on none: latency was not judged then."""
    sample = healthy()
    sample.predicate["records"]["timings"] = record(sample, "judgement")["body"]["timings"] = None
    assert None is first(recorded.rests_on(opened(sample)))


def test_of_another_rollout() -> None:
    """A recheck, and the check of a rollback, are of this rollout, and began on this judgement."""
    sample = small(story="rolled_back")
    checks = sample.predicate["records"]["rollback_checks"]
    checks[0]["body"]["rollout"] = "r-9"
    assert f"{RECORDS}.rollback_checks[0].body.rollout" == first(recorded.rests_on(opened(sample)))
    again = sample.predicate["records"]["rechecks"][0]["body"]
    again["began_on"]["record"] = 9
    assert f"{RECORDS}.rechecks[0].body.began_on.record" == first(recorded.rests_on(opened(sample)))
    del again["began_on"]  # as an older version recorded it
    sample.predicate["rollout"] = None
    assert f"{RECORDS}.rechecks[0].body.rollout" == first(recorded.rests_on(opened(sample)))


# --- What was demanded ----------------------------------------------------------------------------------------------


def failed(sample: Sample, kind: str) -> None:
    """All that a record found failed, and it says so of itself."""
    for item in record(sample, kind)["body"]["findings"]:
        item["verdict"] = "fail"
        if kind == "parity":
            item["examples"] = 1


def undemanded(sample: Sample) -> Sample:
    """A judgement that never asked."""
    body = record(sample, "judgement")["body"]
    body["promote_check"] = False
    for kind in recorded.DEMANDED:
        body["findings"].remove(gate_of(sample, kind))
        sample.predicate["records"][kind] = body[kind] = None
    return sample


def dropped(sample: Sample, kind: str) -> Sample:
    """A record that is gone, and is named nowhere."""
    sample.predicate["records"][kind] = record(sample, "judgement")["body"][kind] = None
    return sample


def _body(kind: str, /, **values: Any) -> Callable[[Sample], object]:
    return lambda made: record(made, kind)["body"].update(values)


def _gate(kind: str, /, **values: Any) -> Callable[[Sample], object]:
    def change(made: Sample) -> None:
        findings = record(made, "judgement")["body"]["findings"]
        (number,) = (number for number, item in enumerate(findings) if item["gate"] == kind)
        findings[number].update(values)

    return change


PROBES, PARITY, OF_THEM = f"{RECORDS}.probes", f"{RECORDS}.parity", f"{JUDGED}.body.findings"
FAILED = {"verdict": "fail"}
DEMANDED: dict[str, tuple[Callable[[Sample], object], str]] = {
    "every probe failed": (lambda made: failed(made, "probes"), f"{PROBES}.body.verdict"),
    "every check failed": (lambda made: failed(made, "parity"), f"{PARITY}.body.verdict"),
    "no probe": (_body("probes", findings=[]), f"{PROBES}.body.verdict"),
    "no check": (_body("parity", findings=[]), f"{PARITY}.body.verdict"),
    "a body that says otherwise": (_body("probes", verdict="fail"), f"{PROBES}.body.verdict"),
    "a record that says otherwise": (lambda made: record(made, "probes").update(FAILED), f"{OF_THEM}[6].verdict"),
    "a finding that says otherwise": (_gate("parity", verdict="fail"), f"{OF_THEM}[7].verdict"),
    "a finding that only warns": (_gate("parity", severity="warn"), f"{OF_THEM}[7].severity"),
    "a finding that was dropped": (
        lambda made: record(made, "judgement")["body"]["findings"].remove(gate_of(made, "probes")), OF_THEM
    ),
    "a record that was dropped": (lambda made: dropped(made, "probes"), f"{OF_THEM}[6].verdict"),
    "never asked, it says": (_body("judgement", promote_check=False), OF_THEM),
    "another kind": (_body("parity", kind="probes"), f"{PARITY}.body.kind"),
    "another lock": (_body("probes", lock={}), f"{PROBES}.body.lock.name"),
    "another run": (_body("parity", run_id="x"), f"{PARITY}.body.run_id"),
    "another table": (_body("probes", table_sha256="0"), f"{PROBES}.body.table_sha256"),
    "another baseline": (_body("probes", baseline="0"), f"{PROBES}.body.baseline"),
    "other cases": (_body("parity", cases_sha256="0"), f"{PARITY}.body.cases_sha256"),
    "another corpus": (_body("parity", corpus_sha256="0"), f"{PARITY}.body.corpus_sha256"),
    "another ingest": (_body("parity", ingest_id="x"), f"{PARITY}.body.ingest_id"),
    "another size": (_body("parity", sample={"table_chunks": 5}), f"{PARITY}.body.sample.table_chunks"),
    **{
        f"inputs: {name}": (
            lambda made, name=name: record(made, "probes")["body"]["inputs"].update({name: "0"}),  # type: ignore[misc]  # bound now
            f"{PROBES}.body.inputs.{name}",
        )
        for name in ("ingest_id", "table_sha256", "corpus_sha256", "questions_sha256", "cases_sha256")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", DEMANDED)
def test_demanded(name: str) -> None:
    """Probes and parity say what their findings come to, and the judgement says it, too, of this very candidate."""
    change, path = DEMANDED[name]
    sample = healthy()
    change(sample)
    assert path == first(recorded.demanded(opened(sample)))


def test_a_record_that_was_dropped_is_named_once() -> None:
    """Nothing is said of what is not there."""
    (found,) = recorded.demanded(opened(dropped(healthy(), "probes")))
    assert ("no_data: there is no record", "pass") == (found.expected, found.found)


def test_an_older_parity_without_severities() -> None:
    """A finding that does not say how much it counts blocks."""
    sample = healthy()
    for found in record(sample, "parity")["body"]["findings"]:
        del found["severity"]
    assert None is first(recorded.demanded(opened(sample)))
    found["verdict"] = "fail"
    assert f"{PARITY}.body.verdict" == first(recorded.demanded(opened(sample)))


def test_never_asked() -> None:
    """A judgement may do without, unless a rollout begins on it."""
    assert None is first(recorded.demanded(opened(undemanded(healthy()))))
    sample = undemanded(small())
    assert f"{JUDGED}.body.promote_check" == first(recorded.demanded(opened(sample)))


def test_a_record_that_did_not_count() -> None:
    """There is no data where a record is of another table, or there is none; its own verdict stays what it was."""
    sample = healthy()
    _gate("probes", verdict="no_data")(sample)
    _body("probes", table_sha256="0")(sample)
    _gate("parity", verdict="no_data")(sample)
    dropped(sample, "parity")
    assert None is first(recorded.demanded(opened(sample)))


def test_a_parity_that_failed_needs_no_sample() -> None:
    """One that did not pass counts, whatever its sample."""
    sample = healthy()
    failed(sample, "parity")
    _body("parity", verdict="fail", sample={"table_chunks": 5})(sample)
    record(sample, "parity").update(FAILED)
    _gate("parity", verdict="fail")(sample)
    assert None is first(recorded.demanded(opened(sample)))


def test_the_check_of_a_rollback() -> None:
    """It comes to the worst of what it found, in its body and in its record."""
    sample = small(story="rolled_back")
    checked = sample.predicate["records"]["rollback_checks"][0]
    checked["verdict"] = "fail"
    assert f"{RECORDS}.rollback_checks[0].verdict" == first(recorded.demanded(opened(sample)))
    checked["body"]["findings"][0]["verdict"] = "error"
    assert f"{RECORDS}.rollback_checks[0].body.verdict" == first(recorded.demanded(opened(sample)))
