"""Probe a lock: sanity probes over its chunk table, its ingest, and one evaluation.

Callers may rely on: nothing is stored where a probe is broken or tries to write; all probes see the database as it was
at one moment; a probe that fails at its work is an error of its own and stops no other; what is not asked is named with
its reason, and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from bakeoff import probe_findings, verdicts
from bakeoff.adapters import evaluations, ingests, jq_programs, postgres, probing, queries, records, tables
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.jq_programs import Program
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.probing import Filling
from bakeoff.config import Lock
from bakeoff.errors import BakeoffError, InputError, StateError
from bakeoff.probe_findings import Finding, Measured, Result, Unmeasured
from bakeoff.probes import CheckProbe, JqProbe, Probe, ProbeFile, SqlProbe
from bakeoff.stages import evaluate, probe_checks, repair
from bakeoff.stages.probe_checks import Subject
from bakeoff.verdicts import Verdict

_OF_THE_RECORD = frozenset({"run_cases", "run_fingerprints"})
"""The checks that say themselves that a run was changed."""
_NO_BASELINE = "no --baseline was named"
_HINT = "correct the program; nothing was stored"


@dataclass(frozen=True, slots=True)
class NotAsked:
    """A probe that does not apply, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Probed:
    """What all probes of a file came to."""

    lock: Lock
    run: Run | None
    at: datetime
    verdict: Verdict
    findings: tuple[Finding, ...]
    not_asked: tuple[NotAsked, ...]
    record_id: int
    """The artifact is named by it: two may be made within a second."""
    body: dict[str, Any]
    """What was stored."""


def run(
    conn: Connection,
    lock: Lock,
    asked: ProbeFile,
    *,
    source: str,
    now: datetime,
    run: Run | None = None,
    baseline: Lock | None = None,
) -> Probed:
    """Probe *lock*, *run* (one of its evaluations) and, against it, *baseline*; *source* names the probes in errors.

    Raises InputError where a probe is broken or tries to write, StateError where the lock has no finished ingest, its
    tables are gone, or *run* is another lock's or not finished.
    """
    compile_programs(asked, source=source)
    subject = _subject(conn, lock, run, baseline)
    with probing.reading(conn):
        filling = _filling(subject)
        for probe in asked.probes:
            absent = probe.needs_baseline and subject.baseline_ingest is None  # there is no table to plan it with
            if isinstance(probe, SqlProbe) and not absent:
                probing.check(conn, probe, filling, source=source)
        findings, not_asked = _findings(subject, asked, filling, source)
    verdict = verdicts.overall((finding.severity, finding.verdict) for finding in findings)
    body = _body(subject, asked, source, findings, not_asked) | {"at": now.isoformat(), "verdict": verdict.value}
    about = records.About(config_hash=lock.config_hash, run_id=None if run is None else run.run_id)
    made = records.add(conn, "probes", body, about=about, at=now, verdict=verdict)
    return Probed(lock, run, now, verdict, findings, not_asked, made.record_id, body)


def compile_programs(asked: ProbeFile, *, source: str) -> None:
    """Compile every jq program of *asked*. Raises InputError with each that is broken, by the name of its probe."""
    problems = []
    for probe in asked.probes:
        wanted = [("when.lock", probe.when.lock)] if probe.when else []
        wanted += [("program", probe.program)] if isinstance(probe, JqProbe) else []
        for key, text in wanted:
            found = jq_programs.problem(text)
            if found is not None:
                problems.append(f"probe {probe.name}: {key}: {found}")
    if len(problems) == 1:
        raise InputError(f"{source}: {problems[0]}", hint=_HINT)
    if problems:
        raise InputError(f"{len(problems)} problems in {source}", problems=tuple(problems), hint=_HINT)


def _subject(conn: Connection, lock: Lock, run: Run | None, baseline: Lock | None) -> Subject:
    if run is not None and run.config_hash != lock.config_hash:
        raise StateError(
            f"run {run.run_id} is one of {run.lock_name} ({run.config_hash}), not of {lock.name} ({lock.config_hash})",
            hint="name a run of this lock, or leave --run out for its newest one",
        )
    if run is not None and run.finished_at is None:
        raise StateError(
            f"run {run.run_id} is not finished",
            hint=f"bakeoff evaluate --lock {lock.config_hash} --questions FILE continues it",
        )
    ingest = ingests.finished(conn, lock)
    repair.require_tables(conn, lock)
    theirs = None if baseline is None else ingests.of_lock(conn, baseline)
    if baseline is not None and theirs is not None and theirs.stage == "done":
        repair.require_tables(conn, baseline)
    else:
        theirs = None
    stored = () if run is None else tuple(evaluations.cases(conn, run.run_id))
    changed = None if run is None else evaluations.changed(conn, run)
    return Subject(conn, lock, ingest, run, stored, baseline, theirs, changed)


def _filling(on: Subject) -> Filling:
    lock, table = on.lock, on.lock.table_name
    row = on.conn.execute(queries.get("probes.embedder_of"), {"fingerprint": lock.embedder.fingerprint}).fetchone()
    identifiers = {
        "table": table,
        "aliases": f"{table}_aliases",
        "lexemes": f"{table}_lexemes",
        "vector_type": lock.config.index.storage,
        "baseline_table": table if on.baseline is None else on.baseline.table_name,
    }
    values = {
        "ingest_id": on.ingest.ingest_id,
        "config_hash": lock.config_hash,
        "chunk_version": lock.chunk_version,
        "prefix_policy": lock.config.prefix.policy,
        "dimension": lock.embedder.dimension,
        "token_limit": tables.token_limit(lock),
        "embedder_id": None if row is None else row[0],
        "run_id": None if on.run is None else on.run.run_id,
        "baseline_hash": None if on.baseline is None else on.baseline.config_hash,
    }
    return Filling(identifiers, values)


def _missing(probe: Probe, on: Subject) -> Unmeasured | None:
    """Return why *probe* can't be measured for want of a run or of the baseline's tables, or None."""
    if probe.needs_run and on.run is None:
        todo = "bakeoff evaluate --lock {config_hash} --questions FILE"
        return Unmeasured(Verdict.NO_DATA, "the lock has no finished evaluation", todo)
    if (
        probe.needs_run
        and on.changed is not None
        and not (isinstance(probe, CheckProbe) and probe.check.name in _OF_THE_RECORD)
    ):
        return Unmeasured(Verdict.ERROR, on.changed, "bakeoff evaluate --lock {config_hash} --questions FILE --fresh")
    if probe.needs_baseline and on.baseline_ingest is None:
        todo = "bakeoff shadow-ingest --lock {baseline} CORPUS"
        return Unmeasured(Verdict.NO_DATA, "the baseline has no finished ingest", todo)
    return None


def _findings(
    on: Subject, asked: ProbeFile, filling: Filling, source: str
) -> tuple[tuple[Finding, ...], tuple[NotAsked, ...]]:
    """Ask every probe that applies, in the order of the file."""
    names = {
        "config_hash": on.lock.config_hash,
        "lock": on.lock.name,
        "run_id": "RUN" if on.run is None else on.run.run_id,
        "baseline": "BASELINE" if on.baseline is None else on.baseline.config_hash,
    }
    conditions = _conditions(on, asked.probes)
    not_asked = _not_asked(on, asked.probes, conditions)
    left_out = {item.name for item in not_asked}
    wanted = [probe for probe in asked.probes if probe.name not in left_out]
    found: dict[str, Result] = {}
    with ThreadPoolExecutor(1) as pool:  # jq works in a process of its own, beside the database
        programs = pool.submit(_programs, on, wanted)
        for probe in wanted:
            unasked = _condition_problem(conditions.get(probe.name)) or _missing(probe, on)
            if unasked is not None:
                found[probe.name] = unasked
            elif not isinstance(probe, JqProbe):
                found[probe.name] = _ask(on, probe, filling, source)
        found = programs.result() | found
    findings = (probe_findings.judge(probe, found[probe.name], names=names) for probe in wanted)
    return tuple(findings), tuple(not_asked)


def _not_asked(on: Subject, asked: Sequence[Probe], conditions: Mapping[str, Result]) -> list[NotAsked]:
    """Return the probes that do not apply to the lock, and those that compare where no baseline was named."""
    found = []
    for probe in asked:
        applies = conditions.get(probe.name)
        if probe.when is not None and isinstance(applies, Measured) and applies.value is False:
            found.append(NotAsked(probe.name, probe.when.otherwise))
        elif probe.needs_baseline and on.baseline is None:
            found.append(NotAsked(probe.name, _NO_BASELINE))
    return found


def _condition_problem(applies: Result | None) -> Unmeasured | None:
    if isinstance(applies, Unmeasured):
        return Unmeasured(Verdict.ERROR, f"when.lock: {applies.reason}")
    if applies is not None and applies.value is not True:
        return Unmeasured(Verdict.ERROR, f"when.lock gave {applies.value!r}; expected true or false")
    return None


def _conditions(on: Subject, asked: Sequence[Probe]) -> dict[str, Result]:
    """Ask the lock which probes apply; by the name of the probe."""
    conditional = {probe.name: Program(probe.when.lock, "lock") for probe in asked if probe.when is not None}
    results = jq_programs.run(list(conditional.values()), {"lock": on.lock.to_json()})
    return dict(zip(conditional, results, strict=True))


def _programs(on: Subject, asked: Sequence[Probe]) -> dict[str, Result]:
    """Run every jq probe that there is a document for; return results by the name of the probe."""
    documents: dict[str, Mapping[str, Any]] = {"lock": on.lock.to_json()}
    if on.run is not None:
        documents["run"] = evaluate.artifact(on.lock, on.run, list(on.stored))
    programs = {
        probe.name: Program(probe.program, probe.over)
        for probe in asked
        if isinstance(probe, JqProbe) and probe.over in documents
    }
    return dict(zip(programs, jq_programs.run(list(programs.values()), documents), strict=True))


def _ask(on: Subject, probe: SqlProbe | CheckProbe, filling: Filling, source: str) -> Result:
    """Ask an SQL probe or a check; one that fails leaves the transaction as it was."""
    if isinstance(probe, SqlProbe):
        return probing.run(on.conn, probe, filling, source=source)
    try:
        with on.conn.transaction(force_rollback=True):
            return probe_checks.measure(on, probe.check)
    except psycopg.Error as error:
        if on.conn.broken:
            raise
        return Unmeasured(Verdict.ERROR, str(postgres.translate(error)))
    except BakeoffError as error:
        return Unmeasured(Verdict.ERROR, str(error), error.hint or "")


def _body(
    on: Subject, asked: ProbeFile, source: str, findings: Sequence[Finding], not_asked: Sequence[NotAsked]
) -> dict[str, Any]:
    lock, report = on.lock, {} if on.run is None else on.run.report
    return {
        "kind": "probes",
        "lock": {"name": lock.name, "CHUNK_VERSION": lock.chunk_version, "CONFIG_HASH": lock.config_hash},
        "run_id": None if on.run is None else on.run.run_id,
        "baseline": None if on.baseline is None else on.baseline.config_hash,
        "table_sha256": on.ingest.table_sha256,
        "inputs": {
            "probes_file": source,
            "probes_sha256": asked.digest,
            "ingest_id": on.ingest.ingest_id,
            "table_sha256": on.ingest.table_sha256,
            "corpus_sha256": on.ingest.corpus_sha256,
            "questions_sha256": None if on.run is None else on.run.questions_sha256,
            "cases_sha256": report.get("cases_sha256"),
        },
        "asked": asked.model_dump(mode="json")["probes"],
        "findings": [finding.to_json() for finding in findings],
        "not_asked": [{"name": item.name, "reason": item.reason} for item in not_asked],
    }
