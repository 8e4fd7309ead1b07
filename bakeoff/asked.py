"""Claims about probes and parity: everything that had to be asked was asked, and verdicts follow from what came of it.

Callers may rely on: each function yields what differs, the truest name of it first; a list of checks that a version
made is the list that its seals are held to. What probes and parity measured can't be measured again from a seal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bakeoff import canonical, probe_findings
from bakeoff.difference import Difference
from bakeoff.probes import Expectation
from bakeoff.sealed import Sealed, differ
from bakeoff.verdicts import Severity, Verdict

PARITY = (
    *("eval-path", "snapshot-size", "oracle-metrics", "run-unchanged"),
    *("token-limit", "lexical-prefix", "table-unchanged"),
    *("chunk-ids", "second-ingest", "second-embedding"),
)
"""Every check of parity, in its order."""
CORPUS = "corpus"
"""The check that follows them where a corpus was given to be read again."""
MEASURED = "; not checked: what they measured"
UNASKED = ", nor which probes there were: an older version did not record it"


def left(seal: Sealed) -> str:
    """Return in words, to be added to a claim's, what of probes and checks can't be checked; "" where nothing was."""
    given = seal.predicate["records"]
    if not (given["probes"] or given["parity"] or given["rollback_checks"]):
        return ""
    return MEASURED + UNASKED * (given["probes"] is not None and "asked" not in given["probes"]["body"])


def parity(body: Mapping[str, Any], path: str) -> Iterator[Difference]:
    """Yield where parity at *path* lacks a check, has one that does not block, or fails without naming anything."""
    wanted = [*PARITY, *[CORPUS] * (body["corpus"] is not None)]
    yield from differ(wanted, [item["check"] for item in body["findings"]], f"{path}.findings")
    for number, item in enumerate(body["findings"]):
        at = f"{path}.findings[{number}]"
        yield from differ(Severity.BLOCK.value, item.get("severity", Severity.BLOCK.value), f"{at}.severity")
        failed = item["verdict"] == Verdict.FAIL
        if failed != (item["examples"] > 0):
            wrong = "some where it fails, none where it does not"
            yield Difference(f"{at}.examples", wrong, f"{item['examples']}: {item['verdict']}")


def probes(body: Mapping[str, Any], path: str) -> Iterator[Difference]:
    """Yield where probes at *path* are not those of their file, or a verdict does not follow from its value."""
    for number, item in enumerate(body["findings"]):
        yield from _said(item, f"{path}.findings[{number}]")
    if "asked" not in body:  # as an older version recorded it: `left` says so
        return
    file = canonical.digest({"probes": body["asked"]})
    yield from differ(file, body["inputs"]["probes_sha256"], f"{path}.inputs.probes_sha256")
    skipped = [item["name"] for item in body["not_asked"]]
    names = ("name", "kind", "severity")
    wanted = [item for item in body["asked"] if item["name"] not in skipped]
    told = [{name: item[name] for name in names} for item in body["findings"]]
    yield from differ([{name: item[name] for name in names} for item in wanted], told, f"{path}.findings")
    yield from _skipped(body, skipped, f"{path}.not_asked")
    for number, (probe, item) in enumerate(zip(wanted, body["findings"], strict=False)):
        if item["value"] is not None:
            verdict, _ = probe_findings.compared(_expected(probe), item["value"])
            yield from differ(verdict.value, item["verdict"], f"{path}.findings[{number}].verdict")


def _said(item: Mapping[str, Any], path: str) -> Iterator[Difference]:
    """Yield where a probe without a value came to a verdict, or one that passed names somebody who offends."""
    if item["value"] is None and item["verdict"] not in (Verdict.NO_DATA, Verdict.ERROR):
        yield Difference(f"{path}.value", f"a value that makes it {item['verdict']}", "null")
    if item["verdict"] == Verdict.PASS:
        yield from differ(0, item["offenders"], f"{path}.offenders")


def _skipped(body: Mapping[str, Any], skipped: list[str], path: str) -> Iterator[Difference]:
    """Yield where a probe was left out that is none of the file, or that applies to every lock.

    Without a baseline those that compare two locks are left out, too; whether a condition held, only the lock knows.
    """
    always = body["baseline"] is not None
    may = [item["name"] for item in body["asked"] if item["when"] is not None or not always]
    yield from differ([name for name in may if name in skipped], skipped, path)


def _expected(probe: Mapping[str, Any]) -> Expectation:
    """Return what the value of a *probe* has to be, of which it says each key, most of them with null."""
    return Expectation.model_validate({name: value for name, value in probe["expect"].items() if value is not None})
