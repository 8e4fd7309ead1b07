"""Probes and parity of a seal: all that had to be asked was asked, and verdicts follow from what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bakeoff import asked, canonical
from bakeoff.difference import Difference
from bakeoff.sealed import Sealed
from bakeoff.stages import parity_checks
from tests.tampering import small

Body = dict[str, Any]


def body_of(kind: str) -> Body:
    """What was found, as it is sealed."""
    found: Body = small(story="judged").predicate["records"][kind]["body"]
    return found


def place(found: Iterator[Difference]) -> str | None:
    """The place of the first difference, or None."""
    one = next(found, None)
    return None if one is None else one.path


def file_of(body: Body) -> Body:
    """With the digest of the probes file that it has now."""
    body["inputs"]["probes_sha256"] = canonical.digest({"probes": body["asked"]})
    return body


# --- Parity -----------------------------------------------------------------------------------------------------------


def test_the_list_of_checks_is_that_of_parity() -> None:
    """Whoever adds a check says so here: older seals are still held to the list that they were made by."""
    assert [check.value for check in parity_checks.Check] == [*asked.PARITY, asked.CORPUS]


def test_parity_with_a_corpus_and_without() -> None:
    """The corpus is checked where one was given, and only there."""
    body = body_of("parity")
    assert None is place(asked.parity(body, ""))
    body["corpus"] = "python"
    assert ".findings[10]" == place(asked.parity(body, ""))
    body["findings"].append({"check": "corpus", "verdict": "error", "examples": 0})
    assert None is place(asked.parity(body, ""))
    body["corpus"] = None
    assert ".findings[10]" == place(asked.parity(body, ""))


@pytest.mark.parametrize(
    ("verdict", "examples", "holds"),
    [("pass", 0, True), ("pass", 1, False), ("fail", 1, True), ("fail", 0, False), ("no_data", 0, True),
     ("error", 0, True), ("error", 1, False)],
)  # fmt: skip
def test_a_check_that_fails_names_what_is_wrong(verdict: str, examples: int, *, holds: bool) -> None:
    """Each that fails has an example at least, no other has any."""
    body = body_of("parity")
    body["findings"][4] |= {"verdict": verdict, "examples": examples}
    assert (None if holds else ".findings[4].examples") == place(asked.parity(body, ""))


def test_every_check_blocks() -> None:
    """Of a version that did not say how much they count, too."""
    body = body_of("parity")
    del body["findings"][3]["severity"]
    assert None is place(asked.parity(body, ""))
    body["findings"][3]["severity"] = "dry-run"
    assert ".findings[3].severity" == place(asked.parity(body, ""))


# --- Probes -----------------------------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[Callable[[Body], object], str]] = {
    "passed without a value": (lambda body: body["findings"][0].update(value=None), ".findings[0].value"),
    "failed without a value": (
        lambda body: body["findings"][1].update(value=None, verdict="fail"), ".findings[1].value"
    ),
    "passed, and somebody offends": (lambda body: body["findings"][0].update(offenders=2), ".findings[0].offenders"),
    "passed by what it measured": (lambda body: body["findings"][0].update(value=1), ".findings[0].verdict"),
    "failed by nothing": (lambda body: body["findings"][1].update(value=0), ".findings[1].verdict"),
    "no data though it was measured": (
        lambda body: body["findings"][0].update(verdict="no_data"), ".findings[0].verdict"
    ),
    "another order": (lambda body: body["findings"].reverse(), ".findings[0].name"),
    "another kind": (lambda body: body["findings"][0].update(kind="check"), ".findings[0].kind"),
    "one twice": (lambda body: body["findings"].append(body["findings"][1]), ".findings[2]"),
    "none": (lambda body: body["findings"].clear(), ".findings[0]"),
    "another file": (lambda body: body["asked"][0].update(about="more"), ".inputs.probes_sha256"),
    "a stranger left out": (
        lambda body: body["not_asked"].append({"name": "other", "reason": "no"}), ".not_asked[1]"
    ),
    "one left out that applies": (
        lambda body: body["not_asked"].append({"name": body["findings"].pop()["name"], "reason": "no"}),
        ".not_asked[1]",
    ),
    "all applied": (lambda body: body["not_asked"].clear(), ".findings[1].name"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_probes(name: str) -> None:
    """They are those of their file, in its order, and pass or fail by what they measured."""
    body = body_of("probes")
    assert None is place(asked.probes(body, ""))
    change, path = CHANGES[name]
    change(body)
    assert path == place(asked.probes(body, ""))


VALUES: dict[str, tuple[dict[str, Any], Any, str]] = {
    "equal numbers": ({"equals": 1}, 1.0, "pass"),
    "true is no number": ({"equals": 1}, True, "fail"),
    "text": ({"equals": "0.5"}, "0.5", "pass"),
    "within": ({"between": [0.1, 0.35]}, 0.35, "pass"),
    "outside": ({"at_least": 0.95, "at_most": 1.0}, 0.9, "fail"),
    "above": ({"above": 0}, 0, "fail"),
    "text where a number was asked for": ({"below": 3}, "many", "error"),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_a_project_asks_itself(name: str) -> None:
    """Every kind of expectation is looked at as it was then."""
    expect, value, verdict = VALUES[name]
    body = body_of("probes")
    body["asked"][0]["expect"] = {**dict.fromkeys(body["asked"][0]["expect"]), **expect}
    body["findings"][0] |= {"value": value, "verdict": verdict}
    assert None is place(asked.probes(file_of(body), ""))
    body["findings"][0]["verdict"] = "fail" if verdict == "pass" else "pass"
    assert ".findings[0].verdict" == place(asked.probes(file_of(body), ""))


@pytest.mark.parametrize("verdict", ["no_data", "error"])
def test_a_probe_that_could_not_be_measured(verdict: str) -> None:
    """It has no value, and is no data or an error."""
    body = body_of("probes")
    body["findings"][0] |= {"value": None, "verdict": verdict}
    assert None is place(asked.probes(body, ""))


def test_without_a_baseline() -> None:
    """Probes that compare are left out then, without a condition of their own."""
    body = body_of("probes")
    body["not_asked"].append({"name": body["findings"].pop()["name"], "reason": "no --baseline was named"})
    body["baseline"] = None
    assert None is place(asked.probes(body, ""))


# --- What is left -----------------------------------------------------------------------------------------------------


def test_what_an_older_version_did_not_record() -> None:
    """Which probes there were can't be checked then, and the claim says so; all else is."""
    sample = small(story="judged")
    body = sample.predicate["records"]["probes"]["body"]
    assert asked.MEASURED == asked.left(Sealed(sample.predicate))
    del body["asked"], body["not_asked"]
    body["findings"].pop()
    assert None is place(asked.probes(body, ""))
    assert f"{asked.MEASURED}{asked.UNASKED}" == asked.left(Sealed(sample.predicate))
    body["findings"][0]["offenders"] = 1
    assert ".findings[0].offenders" == place(asked.probes(body, ""))
    sample.predicate["records"]["probes"] = None
    assert asked.MEASURED == asked.left(Sealed(sample.predicate))
    sample.predicate["records"]["parity"] = None
    assert "" == asked.left(Sealed(sample.predicate))


def test_the_claim_says_what_it_did_not_check() -> None:
    """In the words of the seal at hand."""
    said = {claim.name: claim.said for claim in small(story="rolled_back").check().claims}
    assert said["demanded"].endswith("; not checked: what they measured")
    assert said["rests on"].endswith(", what rechecks measured")
    said = {claim.name: claim.said for claim in small(story="judged").check().claims}
    assert said["rests on"].endswith("; not checked: how often each was measured")
