"""Ways to change what probes, parity and rechecks came to, for somebody who has the key, and signs it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.looked_again import looks_of
from tests.sealed import Sample, redigest
from tests.tampering import Files, signed

RECORDS = ".predicate.records"
AGAIN = f"{RECORDS}.rechecks[0].body"


def retold(sample: Sample, *kinds: str) -> None:
    """Give records the digests that they have now, wherever they are named."""
    given = sample.predicate["records"]
    judged = given["judgement"]
    for kind in kinds:
        redigest(given[kind], sample.rows["lines"])
        judged["body"][kind]["sha256"] = given[kind]["sha256"]
    redigest(judged)
    for again in given["rechecks"]:
        again["body"]["began_on"]["sha256"] = judged["sha256"]
        redigest(again)


# --- Probes and parity ------------------------------------------------------------------------------------------------


def probe_dropped() -> Files:
    """One of the probes was never asked, it seems."""

    def change(sample: Sample) -> None:
        sample.predicate["records"]["probes"]["body"]["findings"].pop(1)
        sample.rows["lines"]["probes"] = []
        retold(sample, "probes")

    return signed(change)


def probe_dropped_throughout() -> Files:
    """One of the probes never was, say record and list; the digest of their file is of those that there were."""

    def change(sample: Sample) -> None:
        body = sample.predicate["records"]["probes"]["body"]
        body["findings"].pop(1)
        body["asked"].pop(2)
        sample.rows["lines"]["probes"] = []
        retold(sample, "probes")

    return signed(change)


def probe_left_out() -> Files:
    """A probe that applies to every lock did not apply."""

    def change(sample: Sample) -> None:
        body = sample.predicate["records"]["probes"]["body"]
        name = body["findings"].pop(1)["name"]
        body["not_asked"].append({"name": name, "reason": "it does not apply"})
        sample.rows["lines"]["probes"] = []
        retold(sample, "probes")

    return signed(change)


def probe_only_warned() -> Files:
    """A probe that blocks only warns."""

    def change(sample: Sample) -> None:
        found = sample.predicate["records"]["probes"]["body"]["findings"]
        found[0].update(severity="warn")
        found[1].update(severity="block", verdict="pass", value=0, offenders=0)
        sample.rows["lines"]["probes"] = []
        retold(sample, "probes")

    return signed(change)


def probe_failed_throughout() -> Files:
    """A probe failed, and so did all that rests on it; what it measured is what it was."""
    return _failed("probes")


def parity_failed_throughout() -> Files:
    """A check of parity failed, and so did all that rests on it, without a word of what is wrong."""
    return _failed("parity")


def _failed(kind: str) -> Files:
    def change(sample: Sample) -> None:
        given = sample.predicate["records"]
        judged = given["judgement"]
        found = [given[kind]["body"]["findings"][0]]
        found += [item for item in judged["body"]["findings"] if item["gate"] == kind]
        for item in (*found, given[kind], given[kind]["body"], judged, judged["body"], sample.predicate):
            item["verdict"] = "fail"
        sample.predicate["outcome"] = "stopped"
        retold(sample, kind)

    return signed(change, story="judged")


def parity_dropped() -> Files:
    """Of the checks of parity one is left."""

    def change(sample: Sample) -> None:
        del sample.predicate["records"]["parity"]["body"]["findings"][1:]
        retold(sample, "parity")

    return signed(change)


def parity_only_warned() -> Files:
    """A check of parity failed, and only warns."""

    def change(sample: Sample) -> None:
        found = sample.predicate["records"]["parity"]["body"]["findings"][8]
        found.update(verdict="fail", severity="warn", examples=1)
        sample.rows["lines"]["parity"] = ["d1: other text"]
        retold(sample, "parity")

    return signed(change)


# --- KPIs that were measured anew -------------------------------------------------------------------------------------


def _body(sample: Sample) -> dict[str, Any]:
    found: dict[str, Any] = sample.predicate["records"]["rechecks"][0]["body"]
    return found


def recheck_of(name: str, value: Any) -> Callable[[], Files]:
    """What was judged anew is of another thing than the plan says."""

    def change(sample: Sample) -> None:
        _body(sample)["judgement"][name] = value
        retold(sample)

    def edited() -> Files:
        return signed(change)

    edited.__name__ = f"recheck_of_another_{name}"
    return edited


def recheck_of_a_table() -> Files:
    """The candidate was measured anew on another table."""

    def change(sample: Sample) -> None:
        _body(sample)["judgement"]["candidate"]["table_sha256"] = "1" * 64
        retold(sample)

    return signed(change)


def recheck_of_a_run() -> Files:
    """What was judged anew is another run than the record says."""

    def change(sample: Sample) -> None:
        _body(sample)["judgement"]["candidate"]["run_id"] = "run-candidate"
        retold(sample)

    return signed(change)


def recheck_beside_a_run() -> Files:
    """The candidate was measured anew beside another run of the baseline."""

    def change(sample: Sample) -> None:
        _body(sample)["judgement"]["baseline"]["run_id"] = "run-other"
        retold(sample)

    return signed(change)


def recheck_measured_nothing() -> Files:
    """Every figure of a judgement made anew is zero, and the look says what it said."""

    def change(sample: Sample) -> None:
        for item in _body(sample)["judgement"]["findings"]:
            item.update(value=0.0, baseline=0.0, difference=0.0, low=-1.0, high=1.0, n=1)
        retold(sample)

    return signed(change)


def recheck_told_better() -> Files:
    """Record and look say another figure than the judgement made anew."""

    def change(sample: Sample) -> None:
        for found in (_body(sample)["findings"], *(look["findings"] for look in looks_of(sample)[:1])):
            next(item for item in found if item["watched"] == "recheck f1").update(value=0.9)
        retold(sample)

    return signed(change)


def recheck_by_one_gate() -> Files:
    """Of the plan's gates one was judged anew, in record and look."""

    def change(sample: Sample) -> None:
        body = _body(sample)
        body["judgement"]["findings"], body["findings"] = body["judgement"]["findings"][:1], body["findings"][:1]
        look = looks_of(sample)[0]
        kept = body["findings"][0]["watched"]
        look["findings"] = [
            item for item in look["findings"] if item["watched"] == kept or not item["watched"].startswith("recheck ")
        ]
        retold(sample)

    return signed(change)


def recheck_by_gates_that_warn() -> Files:
    """A gate that blocks only warned when it was judged anew, in record and look."""

    def change(sample: Sample) -> None:
        body = _body(sample)
        body["judgement"]["findings"][0].update(severity="warn", verdict="fail")
        for found in (body["findings"], looks_of(sample)[0]["findings"]):
            found.remove(next(item for item in found if item["watched"] == "recheck right"))
        retold(sample)

    return signed(change)


def recheck_without_judgement() -> Files:
    """What was measured anew passed, and nothing says by what."""

    def change(sample: Sample) -> None:
        del _body(sample)["judgement"]
        retold(sample)

    return signed(change)


def recheck_failed_without_a_reason() -> Files:
    """Nothing could be measured anew, and yet a gate passed."""

    def change(sample: Sample) -> None:
        again = sample.predicate["records"]["rechecks"][0]
        del again["body"]["judgement"], again["body"]["run_id"]
        again.update(verdict="error", run_id=None)
        again["body"]["verdict"] = "error"
        retold(sample)

    return signed(change)


RECORDS_AGAIN: dict[Callable[[], Files], tuple[str, str]] = {
    probe_dropped: ("demanded", f"{RECORDS}.probes.body.findings[1]"),
    probe_dropped_throughout: ("demanded", f"{RECORDS}.probes.body.inputs.probes_sha256"),
    probe_left_out: ("demanded", f"{RECORDS}.probes.body.not_asked[1]"),
    probe_only_warned: ("demanded", f"{RECORDS}.probes.body.findings[0].severity"),
    probe_failed_throughout: ("demanded", f"{RECORDS}.probes.body.findings[0].verdict"),
    parity_failed_throughout: ("demanded", f"{RECORDS}.parity.body.findings[0].examples"),
    parity_dropped: ("demanded", f"{RECORDS}.parity.body.findings[1]"),
    parity_only_warned: ("demanded", f"{RECORDS}.parity.body.findings[8].severity"),
    recheck_of("plan_sha256", "2" * 64): ("rests on", f"{AGAIN}.judgement.plan_sha256"),
    recheck_of("gates_sha256", "2" * 64): ("rests on", f"{AGAIN}.judgement.gates_sha256"),
    recheck_of("corpus_sha256", "2" * 64): ("rests on", f"{AGAIN}.judgement.corpus_sha256"),
    recheck_of("questions", {"name": "questions", "sha256": "3" * 64}): (
        "rests on", f"{AGAIN}.judgement.questions.sha256"
    ),
    recheck_of("seed", 8): ("rests on", f"{AGAIN}.judgement.seed"),
    recheck_of("promote_check", value=True): ("rests on", f"{AGAIN}.judgement.promote_check"),
    recheck_of_a_table: ("rests on", f"{AGAIN}.judgement.candidate.table_sha256"),
    recheck_of_a_run: ("rests on", f"{AGAIN}.judgement.candidate.run_id"),
    recheck_beside_a_run: ("rests on", f"{AGAIN}.judgement.baseline.run_id"),
    recheck_measured_nothing: ("rests on", f"{AGAIN}.findings[0].value"),
    recheck_told_better: ("rests on", f"{AGAIN}.findings[1].value"),
    recheck_by_one_gate: ("rests on", f"{AGAIN}.judgement.findings[1]"),
    recheck_by_gates_that_warn: ("rests on", f"{AGAIN}.judgement.findings[0].severity"),
    recheck_without_judgement: ("rests on", f"{AGAIN}.judgement"),
    recheck_failed_without_a_reason: ("rests on", f"{AGAIN}.findings[0]"),
}  # fmt: skip
"""Each way with the claim that names it, and the place."""
