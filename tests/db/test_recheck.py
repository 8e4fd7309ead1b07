"""The offline KPIs, measured anew on the table that answers people: when, by what, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from psycopg import errors as pg

from bakeoff import canary, judgements, simulation
from bakeoff.adapters import ingests, questions, records
from bakeoff.adapters.records import About, Record
from bakeoff.errors import DatabaseError, IntegrityError, ModelError
from bakeoff.rollout import Action
from bakeoff.stages import evaluate, recheck
from bakeoff.verdicts import Verdict
from tests import rolled, support
from tests.rolled import BEGAN, OPTIONS, Rolled, copy_of, with_strategy

STEPS = [{"percent": 50, "hours": 2}, {"percent": 100, "hours": 1}]

TIMED = {"errors": {"margin": 0.02, "base_rate": 0.98}, "latency_p95": {"margin": 0.9}}


@pytest.fixture(scope="module")
def base(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, evaluated, judged."""
    with rolled.rolled(server_url, template, tmp_path_factory.mktemp("recheck")) as found:
        yield found


@pytest.fixture
def site(server_url: str, base: Rolled) -> Iterator[Rolled]:
    """A rollout of two steps that is checked before each, just begun, in a database of the test's own."""
    with copy_of(server_url, base) as found:
        made = with_strategy(found, strategy="checked", steps=STEPS, recheck_at_steps=True)
        made.start()
        yield made


def latest(site: Rolled) -> Record:
    """The newest record of a recheck."""
    with site.connect() as conn:
        found = records.latest(conn, "recheck", About(plan_sha256=site.plan_sha256))
    assert found is not None
    return found


def looks(site: Rolled) -> list[tuple[str, str, bool]]:
    """Action, verdict and whether the KPIs were measured anew, of each look."""
    found = [body["event"] for _, _, event, body in site.history() if event == "look"]
    return [(item["action"], item["verdict"], item["rechecked"]) for item in found]


def measure(site: Rolled) -> recheck.Rechecked:
    """Measure anew, now."""
    return recheck.run(site.connect, site.found(), site.stored, now=BEGAN, options=OPTIONS)


def test_the_kpis_are_measured_before_each_step(site: Rolled) -> None:
    """The look at the end of a step measures them, the one within it does not; what it found stands in the history."""
    assert "completed" == site.drive().rollout.phase
    green = ("go", "pass", False), ("go", "pass", True), ("go", "pass", True)
    assert list(green) == looks(site)
    findings = next(body for _, _, event, body in reversed(site.history()) if event == "look")["event"]["findings"]
    assert {"recheck filter", "recheck leakage", "errors", "quality"} <= {item["watched"] for item in findings}
    record = latest(site)
    assert ("pass", True, "r20260302-1") == (record.verdict, record.body["simulated"], record.body["rollout"])
    assert record.run_id == record.body["judgement"]["candidate"]["run_id"]
    site.check()


def test_every_question_of_the_plan_is_asked_again(site: Rolled) -> None:
    """The cases hold the questions: rebuilt from them they are those of the file, with their gold."""
    with site.connect() as conn:
        run_id = recheck.judged(conn, site.stored).body["candidate"]["run_id"]
        found = recheck.questions_of(conn, site.stored, run_id)
        ingest = ingests.finished(conn, site.made.wide)
        given = questions.load_questions(
            str(site.made.questions), ingests.StoredDocuments(conn, ingest.ingest_id)
        )  # fmt: skip
    assert (given.name, given.digest, given.questions, given.gold_level) == (
        found.name,
        found.digest,
        found.questions,
        found.gold_level,
    )


def test_killed_between_its_rechecks_it_ends_in_the_same_history(server_url: str, base: Rolled) -> None:
    """A new run of the candidate changes nothing of the traffic that is drawn, whoever begins again."""
    with copy_of(server_url, base) as found:
        begun = with_strategy(found, strategy="timed", steps=STEPS, recheck_at_steps=True, watch=TIMED)
        begun.start()
        endings = []
        for stop in (False, True):
            with copy_of(server_url, begun) as each:
                if stop:
                    each.tick(BEGAN)
                    each.made.evaluate(each.made.wide, fresh=True)
                each.drive()
                endings.append((each.history(), each.outcomes()))
    assert endings[0] == endings[1]


def test_a_judgement_after_the_start_is_not_what_it_began_on(site: Rolled) -> None:
    """Whoever runs kpi-check meanwhile moves nothing: the rollout names its judgement, and every recheck takes that."""
    with site.connect() as conn:
        began = recheck.judged(conn, site.stored)
    later = site.made.judge(site.stored)
    site.drive()
    assert began.record_id < later.record_id
    assert began.record_id == site.history()[0][3]["event"]["judgement"]
    assert {"record": began.record_id, "sha256": began.sha256} == latest(site).body["began_on"]


def test_a_changed_live_table_rolls_back(site: Rolled) -> None:
    """One byte of the candidate's chunks: whoever changed it, that is not what was judged."""
    table = site.made.wide.table_name
    support.rows(site.url, "UPDATE {table} SET text = text || '.' WHERE ordinal = 0 RETURNING 1", table=table)
    assert "rolled_back" == site.drive().rollout.phase
    assert ("rollback", "fail", False) == looks(site)[-1]  # only a green one counts as measured
    assert "is not what its ingest recorded" in site.history()[-1][3]["said"]
    assert "fail" == latest(site).verdict


def test_a_changed_baseline_is_an_error(site: Rolled) -> None:
    """There is nothing to compare with, and no good way back: neither a pass nor a fail."""
    table = site.made.narrow.table_name
    support.rows(site.url, "UPDATE {table} SET text = text || '.' WHERE ordinal = 0 RETURNING 1", table=table)
    found = measure(site)
    assert (Action.ERROR, Verdict.ERROR) == (found.action, found.verdict)
    assert "the KPIs could not be measured: the chunk table" in found.said
    assert "error" == latest(site).verdict


def test_a_measurement_that_fails_is_tried_again(site: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that can't be loaded holds the step; the next look measures, and the step ends."""
    inner, times = evaluate.run, []

    def sometimes(*given: Any, **options: Any) -> Any:
        times.append(1)
        if len(times) == 1:
            raise ModelError("the embedder is gone", hint="bring it back")
        return inner(*given, **options)

    monkeypatch.setattr(evaluate, "run", sometimes)
    site.drive()
    assert [("go", "pass", False), ("error", "error", False), ("go", "pass", True)] == looks(site)[:3]
    assert "the KPIs could not be measured: the embedder is gone" == site.history()[2][3]["said"]


def test_a_lost_database_is_no_measurement(site: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error of the controller, which comes back; nothing is recorded."""

    def lost(*_: object, **__: object) -> None:
        raise DatabaseError("the database is unavailable") from pg.AdminShutdown("gone")

    monkeypatch.setattr(evaluate, "run", lost)
    before = site.made.count_of("records")
    with pytest.raises(DatabaseError):
        measure(site)
    assert before == site.made.count_of("records")


def finding(verdict: str) -> dict[str, Any]:
    """A gate's finding in a judgement."""
    return dict.fromkeys(("value", "baseline", "difference", "low", "high")) | {
        "gate": "g", "verdict": verdict, "said": "so", "n": 3,
    }  # fmt: skip


def again(verdict: str, before: Verdict | None) -> str:
    """What a gate's finding counts for, given what it was at the start."""
    return str(judgements.again(finding(verdict), before)["verdict"])


def test_what_was_not_known_at_the_start_stops_nobody_now() -> None:
    """It was forced past then; but what was known and is not any more holds, and what fails now fails."""
    assert ["pass", "pass"] == [again("inconclusive", Verdict.NO_DATA), again("no_data", Verdict.INCONCLUSIVE)]
    assert ["inconclusive", "no_data"] == [again("inconclusive", Verdict.PASS), again("no_data", None)]
    assert ["fail", "error"] == [again("fail", Verdict.INCONCLUSIVE), again("error", Verdict.NO_DATA)]


def test_the_schedule_within_a_step(site: Rolled) -> None:
    """Every so many hours since the last time; without a schedule at the end of the step alone, once."""
    state = site.found().state
    hours = {n: BEGAN + timedelta(hours=n) for n in (1, 2, 3, 4)}
    at_steps, every = rolled.parsed(steps=STEPS, recheck_at_steps=True), rolled.parsed(recheck_every_hours=2)
    assert [False, True, True] == [canary.recheck_due(at_steps, state, hours[n]) for n in (1, 2, 3)]
    assert [False, True, True] == [canary.recheck_due(every, state, hours[n]) for n in (1, 2, 3)]
    done = replace(state, rechecked_at=hours[2])
    assert [False, False] == [canary.recheck_due(at_steps, done, hours[n]) for n in (2, 3)]
    assert [False, True] == [canary.recheck_due(every, done, hours[n]) for n in (3, 4)]
    assert not canary.recheck_due(rolled.parsed(), state, hours[4])


def test_a_breach_is_not_measured_further(site: Rolled) -> None:
    """Where the live outcomes say enough, nobody waits for an evaluation."""
    site.drive(fault=simulation.Fault("errors", 0.5, 0.0))
    assert ("rollback", "fail", False) == looks(site)[-1]
    with site.connect() as conn:
        assert records.latest(conn, "recheck", About()) is None


def test_questions_of_another_run_are_refused(site: Rolled) -> None:
    """Cases that were edited are no questions of the plan."""
    with site.connect() as conn:
        run_id = recheck.judged(conn, site.stored).body["candidate"]["run_id"]
    site.made.tamper("evaluation_cases", 'UPDATE bakeoff.evaluation_cases SET result = result || \'{"question": "?"}\'')
    with site.connect() as conn, pytest.raises(IntegrityError, match="are not what its evaluation recorded"):
        recheck.questions_of(conn, site.stored, run_id)
