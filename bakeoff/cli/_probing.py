"""What `probes` reads and shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bakeoff import probes, report
from bakeoff.adapters import evaluations, locks, standard, yaml_files
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import NotKnownError
from bakeoff.probe_findings import OFFENDERS_SHOWN, Finding
from bakeoff.probes import ProbeFile
from bakeoff.stages import copies, probe
from bakeoff.stages.probe import Probed
from bakeoff.verdicts import Severity, Verdict

_ORDER = [Verdict.FAIL, Verdict.ERROR, Verdict.NO_DATA, Verdict.INCONCLUSIVE, Verdict.PASS]
_SEVERITIES = list(Severity)
_STANDARD = Path("configs/probes.yaml")


@dataclass(frozen=True, slots=True)
class Subject:
    """What the command line names."""

    lock: Lock
    run: Run | None
    baseline: Lock | None


def read(file: Path | None) -> tuple[ProbeFile, str]:
    """Return the probes that hold here and the name of their file; broken jq is refused before a database is opened."""
    path = standard.located(file or _STANDARD)
    asked = probes.parse(yaml_files.read(path, what="probes file"), source=str(path))
    probe.compile_programs(asked, source=str(path))
    return asked, str(path)


def subject(conn: Connection, lock: str, run: str | None, baseline: str | None) -> Subject:
    """Look up what the command line names; without a run it is the newest finished one of the lock, if there is one."""
    which = locks.find(conn, lock)
    try:
        found = evaluations.latest(conn, which) if run is None else copies.find(conn, run)
    except NotKnownError:
        if run is not None:
            raise
        found = None
    return Subject(which, found, None if baseline is None else locks.find(conn, baseline))


def text(done: Probed, path: Path) -> str:
    """Return the findings for a terminal, worst first; what passed is one line."""
    bad = sorted((f for f in done.findings if f.verdict is not Verdict.PASS), key=_badness)
    passed = [finding.name for finding in done.findings if finding.verdict is Verdict.PASS]
    on = f"{done.lock.name} ({done.lock.config_hash}), " + (f"run {done.run.run_id}" if done.run else "no run")
    parts = []
    if bad:
        rows = [(f.verdict.value, f.severity.value, f.name, f.reason) for f in bad]
        parts += [report.table(f"Probes of {on}", ("verdict", "severity", "probe", "found"), rows).terminal()]
        parts += [_details(finding) for finding in bad]
    else:
        parts.append(f"Probes of {on}")
    parts.append(f"passed: {len(passed)} of {len(done.findings)}" + (f" ({', '.join(passed)})" if passed else ""))
    parts += [f"not asked: {item.name} ({report.line(item.reason)})" for item in done.not_asked]
    return "\n".join([*parts, f"verdict: {done.verdict.value}", f"written to: {path}"])


def _badness(finding: Finding) -> tuple[int, int, str]:
    return _SEVERITIES.index(finding.severity), _ORDER.index(finding.verdict), finding.name


def _details(finding: Finding) -> str:
    """Return what a failed probe means, who offends, and what to do."""
    shown = [f"    {report.line(offender)}" for offender in finding.offenders[:OFFENDERS_SHOWN]]
    more = len(finding.offenders) - len(shown)
    if more:
        shown.append(f"    and {more} more in the artifact")
    return "\n".join([f"{finding.name}: {finding.about}", *shown, f"  → {finding.next}", ""])
