"""What a promotion asks for beside the gates: passing probes and parity of the very run and table that were judged.

Callers may rely on: a record counts only where it was made on the candidate's run and table, with the probes that are
asked for, against the plan's baseline, and on a sample that is no token one and was really cut and embedded again;
anything else is no data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bakeoff import plural
from bakeoff.adapters import ingests, locks, records
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.records import About, Record
from bakeoff.findings import Finding, Reason
from bakeoff.verdicts import Severity, Verdict

LEAST_DOCUMENTS = 50
"""Documents that a parity check must have ingested again; all of a smaller corpus."""
LEAST_EMBEDDED = 8
"""Chunks that a parity check must have embedded again; all of a smaller table. Every backend can embed again."""
MADE_AGAIN = ("second-ingest", "second-embedding")
"""Checks that must be in a parity record, by their names in it: without them nothing was made a second time."""


@dataclass(frozen=True, slots=True)
class Demands:
    """What the records must be of."""

    run: Run
    baseline: str
    """CONFIG_HASH of the plan's baseline."""
    probes_sha256: str
    """Digest of the probes file that holds."""


def _unlike(run: Run, made_on: dict[str, Any]) -> str | None:
    """Return in words what a record was made on otherwise than *run*: an equal table may be of another corpus."""
    if made_on["table_sha256"] != run.table_sha256:
        return "on another table"
    return None if made_on["corpus_sha256"] == run.corpus_sha256 else "of another corpus"


def _unfit_probes(demands: Demands, body: dict[str, Any]) -> str | None:
    inputs = body["inputs"]
    other = _unlike(demands.run, inputs)
    if other is not None:
        return f"they were made {other}"
    if inputs["probes_sha256"] != demands.probes_sha256:
        return "they were made with another probes file"
    if body["baseline"] != demands.baseline:
        return "they were made without the plan's baseline"
    return None


def _unfit_parity(conn: Connection, demands: Demands, found: Record) -> str | None:
    """Return why a parity record does not count; one that did not pass counts whatever its sample."""
    body = found.body
    other = _unlike(demands.run, body)
    if other is not None or found.verdict != Verdict.PASS:
        return None if other is None else f"it was made {other}"
    checks = {item["check"] for item in body["findings"]}
    if absent := [name for name in MADE_AGAIN if name not in checks]:
        return f"it lacks the check {absent[0]}"
    sample = body["sample"]
    there = ingests.finished(conn, locks.find(conn, demands.run.config_hash))  # the run's may have been made anew
    wanted = min(LEAST_DOCUMENTS, ingests.corpus_digest(conn, there.ingest_id)[1])
    if sample["documents"] < wanted:
        return f"it ingested {plural.counted(sample['documents'], 'document')} again, fewer than {wanted}"
    wanted = min(LEAST_EMBEDDED, sample["table_chunks"])
    if sample["embedded"] < wanted:
        embedded = plural.counted(sample["embedded"], "chunk")
        return f"it embedded {embedded} again, fewer than {wanted}: ask for a larger --sample"
    return None


def _failed(found: Record) -> str:
    """Return the names of what did not pass in a record, as they are asked for again."""
    bad = [
        str(item.get("name") or item.get("check"))
        for item in found.body["findings"]
        if item["verdict"] != Verdict.PASS and item.get("severity", Severity.BLOCK) == Severity.BLOCK
    ]
    return ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")  # noqa: PLR2004  # a line


def _finding(kind: str, verdict: Verdict, reason: Reason, said: str) -> Finding:
    return Finding(
        gate=kind,
        metric=kind,
        rule="recorded",
        severity=Severity.BLOCK,
        verdict=verdict,
        reason=reason,
        said=said,
        threshold="pass",
    )


def _judged(kind: str, command: str, found: Record | None, unfit: str | None) -> Finding:
    if found is None or found.verdict is None:
        return _finding(
            kind, Verdict.NO_DATA, Reason.NOTHING_MEASURED, f"{command} was not run on this run and table yet"
        )
    if unfit is not None:
        return _finding(
            kind, Verdict.NO_DATA, Reason.NOTHING_MEASURED, f"{unfit} (record {found.record_id}): {command}"
        )
    verdict = Verdict(found.verdict)
    if verdict is Verdict.PASS:
        return _finding(kind, verdict, Reason.REACHED, f"record {found.record_id} ({found.sha256[:12]})")
    said = f"{_failed(found)} (record {found.record_id}); {command} says more"
    return _finding(kind, verdict, Reason.NOT_REACHED, said)


def demanded(conn: Connection, demands: Demands) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    """Return what the newest probes and parity say, and the records that this rests on by kind."""
    run = demands.run
    about = About(config_hash=run.config_hash, run_id=run.run_id)
    probes, parity = records.latest(conn, "probes", about), records.latest(conn, "parity", about)
    findings = (
        _judged(
            "probes",
            f"bakeoff probes --lock {run.config_hash} --baseline {demands.baseline}",
            probes,
            None if probes is None else _unfit_probes(demands, probes.body),
        ),
        _judged(
            "parity",
            f"bakeoff parity --lock {run.config_hash}",
            parity,
            None if parity is None else _unfit_parity(conn, demands, parity),
        ),
    )
    rests_on = {
        kind: None if found is None else {"record": found.record_id, "sha256": found.sha256}
        for kind, found in (("probes", probes), ("parity", parity))
    }
    return findings, rests_on
