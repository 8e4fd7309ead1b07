"""Promotions: what they ask for beside the gates, and what counts as having passed it."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff.adapters import ingests, records
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.records import About, Kind, Record
from bakeoff.errors import IntegrityError
from bakeoff.probes import ProbeFile
from bakeoff.stages import parity_checks, promote
from bakeoff.stages.parity import Checked, Options
from bakeoff.stages.probe import Probed
from bakeoff.verdicts import Verdict
from tests import parity_site, probed, support
from tests.parity_site import Site
from tests.planned import LATER, Planned, by_gate, narrowing, refused, runs, widening

KINDS: tuple[Kind, Kind] = ("probes", "parity")


def probe(made: Planned, asked: ProbeFile, *, baseline: bool = True) -> Probed:
    """Probe the wide lock as `bakeoff probes` does."""
    return probed.ask(made.url, "wide", asked, baseline="narrow" if baseline else None)


def check_parity(made: Planned, **options: Any) -> Checked:
    """Check the parity of the wide lock as `bakeoff parity` does."""
    return parity_site.check(Site(made.url, made.wide, made.folder, made.corpus, made.questions), **options)


STANDARD = probed.standard()
TRIVIAL = probed.of({"name": "nothing", "kind": "sql", "query": "SELECT 1 WHERE false"})


def promoted(made: Planned, stored: Stored | None = None) -> Record:
    """What a promotion of the wide lock comes to, with the standard probes asked for."""
    return made.judge(stored or widening(made), promote_check=True, probes_sha256=STANDARD.digest)


def test_real_probes_and_parity_let_a_candidate_pass(made: Planned) -> None:
    """The stages' own records, of this run and table, are enough; the judgement names them by number and digest."""
    assert Verdict.PASS is probe(made, STANDARD).verdict
    first = promoted(made)
    assert ("no_data", "pass", "no_data") == (first.verdict, *(by_gate(first)[kind]["verdict"] for kind in KINDS))
    assert Verdict.PASS is check_parity(made).verdict
    record = promoted(made)
    assert ("pass", True) == (record.verdict, record.body["promote_check"])
    with support.connector(made.url)() as conn:
        for kind in KINDS:
            found = records.latest(conn, kind, About(config_hash=made.wide.config_hash))
            assert found is not None
            assert {"record": found.record_id, "sha256": found.sha256} == record.body[kind]
            assert f"record {found.record_id} ({found.sha256[:12]})" == by_gate(record)[kind]["said"]


def test_probes_of_another_file_are_no_data(made: Planned) -> None:
    """A probe that nothing can fail proves nothing: the digest of the file that holds is asked for."""
    check_parity(made)
    assert Verdict.PASS is probe(made, TRIVIAL).verdict
    record = promoted(made)
    assert ("no_data", "no_data") == (record.verdict, by_gate(record)["probes"]["verdict"])
    assert "they were made with another probes file (record " in by_gate(record)["probes"]["said"]
    probe(made, STANDARD)
    assert "pass" == promoted(made).verdict


def test_without_records_both_are_asked_for(made: Planned) -> None:
    """No data, with both commands as they are typed, and nothing that it rests on; without the question neither."""
    stored = widening(made)
    record = promoted(made, stored)
    assert "no_data" == record.verdict
    assert [("probes", "no_data"), ("parity", "no_data")] == [
        (item["gate"], item["verdict"]) for item in record.body["findings"][-2:]
    ]
    hashed, against = made.wide.config_hash, made.narrow.config_hash
    for kind, command in (
        ("probes", f"probes --lock {hashed} --baseline {against}"),
        ("parity", f"parity --lock {hashed}"),
    ):
        assert f"bakeoff {command} was not run on this run and table yet" == by_gate(record)[kind]["said"]
        assert None is record.body[kind]
    plain = made.judge(stored)
    assert ("pass", False) == (plain.verdict, set(KINDS) <= plain.body.keys())


def add(made: Planned, kind: Kind, verdict: Verdict = Verdict.PASS, **changed: Any) -> None:
    """Record what probes or parity of the wide lock came to, changed."""
    table = support.digest_of(made.url, made.wide)
    with support.connector(made.url)() as conn:
        corpus = {"corpus_sha256": ingests.finished(conn, made.wide).corpus_sha256}
    inputs = {"table_sha256": table, "probes_sha256": STANDARD.digest, **corpus} | changed.pop("inputs", {})
    body: dict[str, Any] = {
        "kind": kind,
        "table_sha256": table,
        **corpus,
        "baseline": made.narrow.config_hash,
        "inputs": inputs,
        "sample": {"documents": 8, "embedded": 8, "table_chunks": 40} | changed.pop("sample", {}),
        "findings": [{"check": check, "name": check, "verdict": "pass"} for check in promote.MADE_AGAIN],
    }
    run_id = changed.pop("run_id", runs(made)["wide"])
    about = About(config_hash=made.wide.config_hash, run_id=run_id)
    with support.connector(made.url)() as conn:
        records.add(conn, kind, body | changed, about=about, at=LATER, verdict=verdict)


UNFIT: dict[str, tuple[Kind, dict[str, Any], str]] = {
    "probes of another table": ("probes", {"inputs": {"table_sha256": "0" * 64}}, "they were made on another table"),
    "probes of another corpus": ("probes", {"inputs": {"corpus_sha256": "0" * 64}}, "they were made of another corpus"),
    "probes without a baseline": ("probes", {"baseline": None}, "they were made without the plan's baseline"),
    "probes against another lock": ("probes", {"baseline": "f" * 16}, "they were made without the plan's baseline"),
    "probes of another run": ("probes", {"run_id": "other"}, "was not run on this run and table yet"),
    "parity of another table": ("parity", {"table_sha256": "0" * 64}, "it was made on another table"),
    "parity of another corpus": ("parity", {"corpus_sha256": "0" * 64}, "it was made of another corpus"),
    "parity of a token sample": (
        "parity", {"sample": {"documents": 7}}, "it ingested 7 documents again, fewer than 8",
    ),
    "parity of no sample": ("parity", {"sample": {"documents": 0}}, "it ingested 0 documents again, fewer than 8"),
    "parity that embedded too little": (
        "parity", {"sample": {"embedded": 7}}, "it embedded 7 chunks again, fewer than 8: ask for a larger --sample",
    ),
    "parity that embedded a part of a small table": (
        "parity", {"sample": {"embedded": 4, "table_chunks": 5}}, "it embedded 4 chunks again, fewer than 5",
    ),
    "parity without a second ingest": (
        "parity", {"findings": [{"check": "second-embedding", "verdict": "pass"}]}, "it lacks the check second-ingest",
    ),
    "parity without a second embedding": (
        "parity", {"findings": [{"check": "second-ingest", "verdict": "pass"}]}, "it lacks the check second-embedding",
    ),
    "parity of another run": ("parity", {"run_id": None}, "was not run on this run and table yet"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFIT)
def test_a_record_of_something_else_is_no_data(made: Planned, case: str) -> None:
    """However well it passed: what it is of is said, and the other record still counts."""
    kind, changed, said = UNFIT[case]
    add(made, "parity" if kind == "probes" else "probes")
    add(made, kind, **changed)
    record = promoted(made)
    assert "no_data" == record.verdict
    assert ["no_data"] == [by_gate(record)[name]["verdict"] for name in KINDS if name == kind]
    assert ["pass"] == [by_gate(record)[name]["verdict"] for name in KINDS if name != kind]
    assert said in by_gate(record)[kind]["said"]


def test_all_documents_of_a_small_corpus_are_enough(made: Planned) -> None:
    """Eight of eight are a whole sample; the real stage counts them alike."""
    add(made, "probes")
    assert 7 == check_parity(made, sample=7).body["sample"]["documents"]
    assert "no_data" == promoted(made).verdict
    assert 8 == check_parity(made, sample=8).body["sample"]["documents"]
    assert "pass" == promoted(made).verdict


def test_a_second_embedding_of_fewer_chunks_is_no_data(made: Planned) -> None:
    """The real stage told to embed seven chunks again, then eight; a whole smaller table would do."""
    add(made, "probes")
    done = check_parity(made, vectors=7)
    assert (Verdict.PASS, 7) == (done.verdict, done.body["sample"]["embedded"])
    assert "it embedded 7 chunks again, fewer than 8" in by_gate(promoted(made))["parity"]["said"]
    check_parity(made)
    assert "pass" == promoted(made).verdict
    add(made, "parity", sample={"embedded": 5, "table_chunks": 5})
    assert "pass" == promoted(made).verdict


def test_a_check_that_failed_on_a_small_sample_has_failed(made: Planned) -> None:
    """What little was looked at was wrong: that is known, however little it was."""
    add(made, "probes")
    add(made, "parity", Verdict.FAIL, sample={"documents": 1, "embedded": 0}, findings=[])
    assert ("fail", "fail") == (promoted(made).verdict, by_gate(promoted(made))["parity"]["verdict"])


def test_the_checks_that_are_asked_for_exist() -> None:
    """By the names that the stage writes into its record."""
    assert set(promote.MADE_AGAIN) <= {check.value for check in parity_checks.Check}
    assert promote.LEAST_EMBEDDED == Options().vectors
    assert promote.LEAST_DOCUMENTS == Options().sample


def test_what_failed_is_named(made: Planned) -> None:
    """By the names that probes and checks have, five at most; what only warns is not among them."""
    bad = [{"name": f"probe-{n}", "verdict": "fail", "severity": "block"} for n in range(6)]
    quiet = {"name": "quiet", "verdict": "fail", "severity": "warn"}
    add(made, "probes", Verdict.FAIL, findings=[quiet, {"name": "good", "verdict": "pass"}, *bad])
    add(made, "parity", Verdict.NO_DATA, findings=[{"check": "vectors", "verdict": "no_data"}])
    record = promoted(made)
    found = by_gate(record)
    assert ("fail", "fail", "no_data") == (record.verdict, found["probes"]["verdict"], found["parity"]["verdict"])
    assert found["probes"]["said"].startswith("probe-0, probe-1, probe-2, probe-3, probe-4 and 1 more (record ")
    assert found["parity"]["said"].startswith("vectors (record ")
    assert found["parity"]["said"].endswith(f"; bakeoff parity --lock {made.wide.config_hash} says more")


def test_a_candidate_that_fails_its_gates_is_not_promoted(made: Planned) -> None:
    """Whatever probes and parity say."""
    assert "fail" == promoted(made, narrowing(made)).verdict


@pytest.mark.parametrize("kind", ["probes", "parity"])
def test_an_edited_record_promotes_nobody(made: Planned, kind: Kind) -> None:
    """A verdict that was written over a failure stops the judgement."""
    add(made, "probes", Verdict.FAIL if kind == "probes" else Verdict.PASS)
    add(made, "parity", Verdict.FAIL if kind == "parity" else Verdict.PASS)
    assert "fail" == promoted(made).verdict
    made.tamper("records", "UPDATE bakeoff.records SET verdict = 'pass' WHERE kind = %s AND verdict = 'fail'", kind)
    said = rf"record \d+ \({kind}\) in the database is not what was stored"
    refused(made, widening(made), IntegrityError, said, promote_check=True, probes_sha256=STANDARD.digest)
