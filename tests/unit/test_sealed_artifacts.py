"""Artifacts beside a seal: what each kind holds is what was sealed, or it is said what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bakeoff import canonical, dsse
from bakeoff.adapters import sealed_artifacts
from bakeoff.adapters.json_files import read
from bakeoff.config import Lock
from bakeoff.sealed import Sealed
from tests import sealed as samples
from tests.sealed import Sample, private
from tests.tampering import small

CASES = [{"question_id": "q1", "f1": 0.5, "latency_ms": {"rank": 3.25}}, {"question_id": "q2", "f1": 1.0}]


@dataclass(frozen=True)
class Site:
    """A seal, and its artifacts in a folder, as the commands write them."""

    sample: Sample
    folder: Path

    def found(self) -> dict[str, str]:
        """What the artifacts that lie there are."""
        given = sealed_artifacts.digests(self.folder, self.sample.envelope())
        return {name: digest for name, (digest,) in given.items()}

    def edit(self, pattern: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change an artifact."""
        (path,) = self.folder.glob(pattern)
        body = read(path, what="artifact")
        change(body)
        path.write_text(json.dumps(body))


def bodies(sample: Sample) -> dict[str, dict[str, Any]]:
    """Every artifact by its name, with the questions that the seal itself does not name."""
    given, told = sample.predicate, Sealed(sample.predicate, rows=sample.rows)
    plan, judgement = given["plan"], told.record("judgement")
    marks = {"record": judgement["record_id"], "sha256": judgement["sha256"], "at": judgement["at"]}
    made = {
        f"plans/{plan['sha256'][:12]}": {"plan_sha256": plan["sha256"], "created_at": plan["created_at"],
                                         "clock": "simulated", **plan["body"]},
        f"judgements/{judgement['plan_sha256'][:12]}-{judgement['record_id']}": marks | judgement["body"],
    }  # fmt: skip
    for kind in ("probes", "parity"):
        record = told.record(kind)
        which = "20260102T033100" if kind == "probes" else record["run_id"]
        made[f"{kind}/{record['config_hash']}-{which}-{record['record_id']}"] = record["body"]
    for arm, run in given["evaluations"].items():
        lock = Lock.model_validate_json(canonical.encode(given["locks"][arm]["body"]))
        made[f"locks/{lock.chunk_version}"] = lock.to_json()
        names = ("run_id", "table_sha256", "corpus_sha256", "settings", "started_at")
        digests = ("cases_sha256", "identity_sha256", "rows_sha256")
        made[f"evaluations/{run['run_id']}"] = {
            "kind": "evaluation", **{name: run[name] for name in names},
            "lock": {"name": lock.name, "CHUNK_VERSION": lock.chunk_version, "CONFIG_HASH": lock.config_hash},
            "embedder": lock.embedder.model_dump(mode="json"), "ingest_id": given["ingests"][arm]["ingest_id"],
            "finished_at": run["finished_at"].replace("03:25:00+00:00", "05:25:00+02:00"),
            **run["aggregates"], "questions": {"used": 24, "left_out": ["q8", "q9"]},
            **{name: run[name] for name in digests if run[name]}, "case_results": CASES,
        }  # fmt: skip
    return made


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """All of it as it was sealed; one run is of a version that kept no identity."""
    sample = small()
    cases = [{name: value for name, value in case.items() if name != "latency_ms"} for case in CASES]
    for run in sample.predicate["evaluations"].values():
        run["cases_sha256"] = canonical.digest(cases)
        run["aggregates"]["questions"] = {"used": 24, "left_out": 2}
    sample.predicate["evaluations"]["baseline"]["identity_sha256"] = None
    for name, body in bodies(sample).items():
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(body))
    return Site(sample, tmp_path)


def test_every_artifact_is_what_was_sealed(site: Site) -> None:
    """Plan, locks, evaluations, probes, parity and judgement; timings and rechecks have no file."""
    wanted = samples.subjects(site.sample.predicate)
    found = site.found()
    assert found == {name: wanted[name] for name in found}
    left = sorted(name.rpartition("-")[2] for name in wanted.keys() - found.keys())
    assert {"timings.record", "recheck.record"} == {*left}
    assert 8 == len(found)


CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "a verdict": ("judgements/*", lambda body: body.update(verdict="fail")),
    "a finding": ("judgements/*", lambda body: body["findings"][0].update(verdict="no_data")),
    "which record": ("judgements/*", lambda body: body.update(record=99)),
    "when": ("judgements/*", lambda body: body.update(at="2026-01-01T00:00:01+00:00")),
    "no longer when": ("judgements/*", lambda body: body.pop("at")),
    "probes": ("probes/*", lambda body: body.update(verdict="fail")),
    "parity": ("parity/*", lambda body: body.update(more=1)),
    "a mean": ("evaluations/run-candidate*", lambda body: body["aggregates"]["means"]["f1"].update(mean=0.99)),
    "a setting": ("evaluations/run-candidate*", lambda body: body["settings"].update(workers=9)),
    "a lock": ("evaluations/run-candidate*", lambda body: body["lock"].update(name="another")),
    "a note": ("evaluations/run-candidate*", lambda body: body.update(note="all is well")),
    "an end": ("evaluations/run-candidate*", lambda body: body.update(finished_at="2026-01-01T00:00:00+00:00")),
    "a case": ("evaluations/run-candidate*", lambda body: body["case_results"][0].update(f1=1.0)),
    "a plan": ("plans/*", lambda body: body.update(seed=8)),
    "whose plan": ("plans/*", lambda body: body.update(plan_sha256="0" * 64)),
    "a lock's file": ("locks/2026-01-02-v1*", lambda body: body.update(more=1)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_artifact_is_not(site: Site, what: str) -> None:
    """One thing in one file: it, and no other, is not what was sealed."""
    pattern, change = CHANGES[what]
    before = site.found()
    site.edit(pattern, change)
    found = site.found()
    (different,) = [name for name, digest in found.items() if digest != before[name]]
    assert pattern.partition("/")[0].removesuffix("s") in different


def test_timings_of_a_case_and_the_clock_are_no_content(site: Site) -> None:
    """They may be written again, and differ."""
    before = site.found()
    site.edit("evaluations/run-candidate*", lambda body: body["case_results"][0].update(latency_ms={}))
    site.edit("judgements/*", lambda body: body.update(clock="simulated"))
    assert before == site.found()


def test_no_file_outside_of_the_folder(site: Site) -> None:
    """Whoever has no key may have written any name into an envelope."""
    for name in ("../plans/x.plan", "/etc/x.plan", "plans/../../x.lock"):
        named = site.sample.changed()
        named.extra[name] = "0" * 64
        assert name not in sealed_artifacts.digests(site.folder / "locks", named.envelope())


def test_what_is_no_statement(tmp_path: Path) -> None:
    """Nothing is found: who checks the seal says why."""
    for payload in (b"\xff", b"[]", b'{"subject":[{"name":"plans/x.plan"}],"predicate":3.5}', b"[" * 100_000):
        assert {} == sealed_artifacts.digests(tmp_path, dsse.sign(payload, private()))
    for name in ("plans/x.plan", "records/9-probes.record", "evaluations/none.cases"):
        payload = json.dumps({"subject": [{"name": name}], "predicate": small().predicate | {"plan": None}}).encode()
        ((digest,),) = sealed_artifacts.digests(tmp_path, dsse.sign(payload, private())).values() or [["none: "]]
        assert digest.startswith("none: ")
