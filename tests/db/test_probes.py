"""Probes of a lock: a healthy system passes, broken probes are refused, failing ones are errors of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from bakeoff import probes
from bakeoff.adapters import evaluations, locks, probing, records
from bakeoff.errors import InputError, StateError
from bakeoff.probes import SqlProbe
from bakeoff.stages import probe
from bakeoff.stages.probe import Probed
from bakeoff.verdicts import Severity, Verdict
from tests import probed, support
from tests.probed import World


@pytest.fixture(scope="module")
def world(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A healthy system."""
    with probed.world(server_url, template, tmp_path_factory.mktemp("probes")) as found:
        yield found


def sql(query: str, **more: Any) -> dict[str, Any]:
    """An SQL probe."""
    return {"name": "one", "kind": "sql", "query": query} | more


def jq(program: str, **more: Any) -> dict[str, Any]:
    """A jq probe."""
    return {"name": "one", "kind": "jq", "program": program} | more


def one(world: World, *given: dict[str, Any], run: bool = True) -> Any:
    """The first finding of some probes of the candidate."""
    return probed.ask(world.url, "candidate", probed.of(*given), run=run).findings[0]


def verdicts_of(done: Probed) -> dict[str, Verdict]:
    """What did not pass."""
    return {item.name: item.verdict for item in done.findings if item.verdict is not Verdict.PASS}


def test_a_healthy_system_passes_every_standard_probe(world: World) -> None:
    """Not one fails, not one lacks data, and everything is asked."""
    done = probed.ask(world.url, "candidate", probed.standard(), baseline="baseline")
    assert ({}, (), Verdict.PASS) == (verdicts_of(done), done.not_asked, done.verdict)
    assert len(probed.standard().probes) == len(done.findings)


def test_what_does_not_apply_is_named_with_its_reason(world: World) -> None:
    """A lock without deduplication is not asked for its rate, and nobody is compared without a baseline."""
    done = probed.ask(world.url, "baseline", probed.standard())
    expected = {"dedup-rate": "deduplication is off in this lock", "arms-differ": "no --baseline was named"}
    assert ({}, Verdict.PASS) == (verdicts_of(done), done.verdict)
    assert expected == {item.name: item.reason for item in done.not_asked}


def test_without_a_run_its_probes_have_no_data(world: World) -> None:
    """They say what to run; the verdict is no data, never a pass; the others are asked."""
    done = probed.ask(world.url, "candidate", probed.standard(), run=False)
    lacking = {item.name for item in done.findings if item.verdict is Verdict.NO_DATA}
    assert {item.name for item in probed.standard().probes if item.needs_run} == lacking
    assert Verdict.NO_DATA == done.verdict
    command = f"bakeoff evaluate --lock {world.candidate.config_hash} --questions FILE"
    assert {command} == {item.next for item in done.findings if item.verdict is Verdict.NO_DATA}
    assert 20 < len([item for item in done.findings if item.verdict is Verdict.PASS])


def test_what_was_found_is_stored_with_the_digests_of_what_it_was_found_in(world: World) -> None:
    """The record names probes, table, corpus, questions and cases, and is about the lock and its run."""
    asked = probed.of(jq("[]"))
    done = probed.ask(world.url, "candidate", asked)
    with support.connector(world.url)() as conn:
        run = evaluations.latest(conn, world.candidate)
        found = records.latest(
            conn, "probes", records.About(config_hash=world.candidate.config_hash, run_id=run.run_id)
        )
    assert found is not None
    assert (done.body, "pass") == (found.body, found.verdict)
    inputs = found.body["inputs"]
    assert (asked.digest, run.table_sha256) == (inputs["probes_sha256"], inputs["table_sha256"])
    assert (run.corpus_sha256, run.report["cases_sha256"]) == (inputs["corpus_sha256"], inputs["cases_sha256"])
    assert found.digest == found.sha256
    assert asked == probes.parse({"probes": shorn(found.body["asked"])}, source="record")


def shorn(told: Any) -> Any:
    """The same without what is null: what was asked, as a file would say it."""
    if isinstance(told, dict):
        return {name: shorn(item) for name, item in told.items() if item is not None}
    return [shorn(item) for item in told] if isinstance(told, list) else told


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("WITH gone AS (DELETE FROM {aliases} RETURNING 1) SELECT * FROM gone", "data-modifying"),
        ("SELECT 1 INTO made", "INTO is not allowed"),
        ("SELECT * FROM {table} FOR UPDATE", "(locks rows|permission denied)"),
        ("SELECT nextval('records_record_id_seq')", "(nextval|permission denied)"),
        ("SELECT pg_read_file('PG_VERSION')", "calls pg_read_file"),
        ("SELECT set_config('transaction_read_only', 'off', true)", "calls set_config"),
        ("SELECT slot_name::text FROM pg_create_physical_replication_slot('evil', true)", "calls pg_create_physical"),
        ("SELECT word FROM ts_stat('SELECT to_tsvector(''simple'', ''x'')')", "calls ts_stat"),
        ("SELECT \"pg_notify\"('a', 'b')", "calls pg_notify"),
        ("SELECT pg_advisory_lock -- and on\n (1)", "calls pg_advisory_lock"),
        ("SELECT pg_advisory_lock/* so */(1)", "block comments"),
        ("SELECT U&\"pg_notify\"('a', 'b')", "block comments"),
    ],
)
def test_a_query_that_tries_to_write_is_refused(world: World, query: str, says: str) -> None:
    """One line with file and probe; nothing is stored, not even what the probes before it found."""
    before = (probed.stored(world.url), support.digest_of(world.url, world.candidate))
    with pytest.raises(InputError, match=r"^probes\.yaml: probe one ") as refused:
        probed.ask(world.url, "candidate", probed.of(jq("[]", name="first"), sql(query)))
    assert re.search(says, str(refused.value))
    assert "\n" not in str(refused.value)
    assert before == (probed.stored(world.url), support.digest_of(world.url, world.candidate))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT chunk_id FORM {table}", "syntax error"),
        ("SELECT nothing FROM {table}", 'column "nothing" does not exist'),
        ("SELECT 1 FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT 1; DROP TABLE records", "syntax error"),
        ("SELECT 1) AS found; DELETE FROM records; SELECT (1", "cannot insert multiple commands"),
    ],
)
def test_a_broken_query_is_refused_before_anything_is_asked(world: World, query: str, says: str) -> None:
    """The server's own words, with file and probe; nothing is stored."""
    before = probed.stored(world.url)
    with pytest.raises(InputError, match=r"^probes\.yaml: probe one: ") as refused:
        probed.ask(world.url, "candidate", probed.of(sql(query)))
    assert says in str(refused.value)
    assert before == probed.stored(world.url)


def test_broken_programs_are_refused_together(world: World) -> None:
    """Every broken jq program is named, that of a condition too."""
    when = {"lock": ".[", "otherwise": "never"}
    with pytest.raises(InputError, match=r"^2 problems in probes\.yaml$") as refused:
        probed.ask(world.url, "candidate", probed.of(jq("$ENV", when=when)))
    assert ["probe one: when.lock", "probe one: program"] == [
        line[: line.rindex(": ")] for line in refused.value.problems
    ]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (sql("SELECT 1 / (ordinal - ordinal) FROM {table}"), "SQL: division by zero"),
        (sql("SELECT ordinal FROM {table}", expect={"at_least": 1}), "rows; expected one"),
        (sql("SELECT 'NaN'::float8", expect={"at_least": 1}), "nan, which is no number"),
        (jq('error("broken")'), "jq: broken"),
        (jq("empty"), "no value"),
        (jq("1, 2"), "several values"),
        (jq("env.PATH"), "env is closed to probes"),
        (jq("input"), "input is closed to probes"),
        (jq(".case_results[0]"), "an object"),
        (jq("[]", when={"lock": ".name", "otherwise": "-"}), "expected true or false"),
        (jq("[]", when={"lock": "error", "otherwise": "-"}), "when.lock: jq"),
        (
            {"name": "one", "kind": "check", "check": {"name": "ann_recall"}, "expect": {"equals": True}},
            "expected equal",
        ),
    ],
)
def test_a_probe_that_fails_at_its_work_stops_no_other(world: World, given: dict[str, Any], says: str) -> None:
    """It is an error of its own, with the reason; the probe behind it is asked."""
    done = probed.ask(world.url, "candidate", probed.of(given, jq("[]", name="behind")))
    assert says in done.findings[0].reason
    wanted = Verdict.FAIL if "equal" in says else Verdict.ERROR
    assert (wanted, Verdict.PASS) == (done.findings[0].verdict, done.findings[1].verdict)


def test_a_query_is_stopped_by_its_time_limit(world: World) -> None:
    """A query that sleeps is an error, and leaves the session's limit as it was."""
    query = probed.of(sql("SELECT 1 FROM pg_sleep(20)")).probes[0]
    assert isinstance(query, SqlProbe)
    with support.connector(world.url)() as conn:
        with probing.reading(conn, timeout_ms=50):
            found = probing.run(conn, query, probing.Filling({}, {}), source="probes.yaml")
        assert [("0",)] == conn.execute("SHOW statement_timeout").fetchall()
    assert "SQL: stopped by the time limit" == getattr(found, "reason", found)


def test_names_and_values_are_filled_in(world: World) -> None:
    """Tables and parameters stand for the lock's own; a lone percent sign and braces are the query's."""
    name = "SELECT count(*) FROM {table} WHERE ingest_run_id = %(ingest_id)s AND text NOT LIKE '%\x01%' AND '{}' = '{}'"
    count = support.rows(world.url, "SELECT count(*) FROM {t}", t=world.candidate.table_name)
    assert count[0][0] == one(world, sql(name, expect={"at_least": 1})).value
    assert 1024 == one(world, sql("SELECT %(token_limit)s::integer", expect={"equals": 1024})).value
    assert "2.5" == str(one(world, sql("SELECT 2.5", expect={"at_least": 2})).value)
    assert "2026-01-02" == one(world, sql("SELECT DATE '2026-01-02'", expect={"equals": "2026-01-02"})).value
    assert Verdict.NO_DATA == one(world, sql("SELECT NULL", expect={"at_least": 1})).verdict
    assert Verdict.NO_DATA == one(world, sql("SELECT %(run_id)s"), run=False).verdict


def test_many_offenders_are_counted_up_to_a_bound(world: World) -> None:
    """The finding keeps twenty of them; where the rows were cut off, it says so."""
    finding = one(world, sql("SELECT n FROM generate_series(1, 20000) AS n"))
    assert (probing.MOST_ROWS, 20) == (finding.value, len(finding.offenders))
    assert "the first 10,000 rows" in finding.reason


@pytest.mark.parametrize("severity", ["warn", "dry-run"])
def test_what_only_warns_decides_nothing(world: World, severity: str) -> None:
    """A failed probe that does not block leaves the verdict to those that do."""
    done = probed.ask(world.url, "candidate", probed.of(jq("[1]", severity=severity), jq("[]", name="other")))
    assert (Verdict.FAIL, Verdict.PASS) == (done.findings[0].verdict, done.verdict)
    assert Severity(severity) == done.findings[0].severity


def test_a_run_of_another_lock_is_refused(world: World) -> None:
    """Naming it is a mistake of the command, not a finding."""
    with support.connector(world.url)() as conn:
        run = evaluations.latest(conn, world.baseline)
        with pytest.raises(StateError, match="is one of baseline"):
            probe.run(conn, world.candidate, probed.of(jq("[]")), source="p", now=support.NOW, run=run)


def test_a_lock_without_ingest_or_tables_can_not_be_probed(world: World, server_url: str) -> None:
    """Both are refused with the command that mends them; a baseline without an ingest is no data."""
    arms = {"name": "arms", "kind": "check", "check": {"name": "arms_differ"}}
    baseline = sql("SELECT chunk_id FROM {baseline_table} WHERE %(baseline_hash)s = '-'", name="theirs")
    with support.database(server_url, world.database, "probes_lost") as url:
        support.make_lock(url, support.parts(chunking={"size": 50}), name="new")
        with pytest.raises(StateError, match="was not ingested yet"):
            probed.ask(url, "new", probed.of(jq("[]")), run=False)
        done = probed.ask(url, "candidate", probed.of(arms, baseline), baseline="new")
        assert [Verdict.NO_DATA] * 2 == [finding.verdict for finding in done.findings]
        with support.connector(url)() as conn:
            conn.execute(f"DROP TABLE {world.candidate.table_name} CASCADE".encode())
        with pytest.raises(StateError, match="does not exist"):
            probed.ask(url, "candidate", probed.of(jq("[]")))
        found = [item.lock.name for item in locks_of(url)]
    assert ["new", "candidate", "baseline"] == found


def locks_of(url: str) -> list[locks.LockState]:
    """Every lock."""
    with support.connector(url)() as conn:
        return locks.listing(conn)


VARIANTS: dict[str, dict[str, Any]] = {
    "halfvec in lists": {"index": {"storage": "halfvec", "vector": "ivfflat", "ivfflat_lists": 4}},
    "prefix in both": {"prefix": {"policy": "B"}},
    "dense alone": {"retrieval": {"lexical_weight": 0.0}},
    "lexical alone": {"retrieval": {"dense_weight": 0.0, "snapshot": 30}},
    "whole paragraphs": {"chunking": {"size": 60, "strategy": "structure"}, "index": {"lexical": "lists"}},
    "a strict filter": {"retrieval": {"filter": {"context": 12, "max_per_document": 2, "token_budget": 300}}},
}
SKIPPED = {
    "prefix in both": {"prefix-leakage", "prefix-pattern"},
    "dense alone": {"lexical-recall"},
    "lexical alone": {"ann-recall"},
}


@pytest.mark.parametrize("kind", VARIANTS)
def test_a_healthy_lock_of_any_kind_passes(world: World, server_url: str, kind: str) -> None:
    """Other indexes, legs, filters and chunks; what the lock switches off is not asked.

    Words alone find fewer than 30 chunks in a corpus this small, and the probe of breadth says so.
    """
    with support.database(server_url, world.database, f"probes_{kind.replace(' ', '_')}") as url:
        lock = support.make_lock(url, support.parts(**VARIANTS[kind]), name="variant")
        support.run_ingest(url, lock, world.folder / "corpus.jsonl")
        support.run_evaluate(url, lock, world.folder / "questions.jsonl")
        done = probed.ask(url, "variant", probed.standard(), baseline="baseline")
    narrow = {"breadth": Verdict.FAIL} if kind == "lexical alone" else {}
    assert narrow == verdicts_of(done), done.findings
    assert {"dedup-rate"} | SKIPPED.get(kind, set()) == {item.name for item in done.not_asked}
