"""Timings of both arms in turn: what is timed, what is judged of it, and what is not believed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bakeoff.adapters import records
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.records import About
from bakeoff.cli import _judging
from bakeoff.errors import IntegrityError, NotKnownError
from bakeoff.stages.answer import Answered, Pipeline
from tests import judged, support
from tests.planned import GATES, LATENCY, LATER, Planned, by_gate, edited_chunk, narrowing, refused, widening


def timed_plan(made: Planned, timed: int = 1000) -> Stored:
    """A plan with a gate on time, which a few dozen timings can't answer."""
    profile = judged.profile(*GATES, LATENCY)
    sides = made.narrow, made.wide
    return made.plan(sides, profile=profile, timed=timed, accept_blind=True, accept_known_scores=True)


def test_as_many_are_timed_as_the_plan_says(made: Planned) -> None:
    """No more than the questions; fewer are the first of the same order; the sight of the gate knows the number."""
    few, more, whole = timed_plan(made, 5), timed_plan(made, 7), timed_plan(made)
    assert (5, 7, made.count) == (few.plan.timed, more.plan.timed, whole.plan.timed)
    for stored in (few, more, whole):
        (sight,) = [item for item in stored.plan.sight if item.gate == "latency"]
        assert (stored.plan.timed, True) == (sight.n, sight.blind)
        assert f"{stored.plan.timed} questions, fewer than 100" == sight.because
    sides = made.narrow, made.wide
    first, second = made.timings(few, sides).body, made.timings(more, sides).body
    assert (5, 7) == (len(first["questions"]), len(second["questions"]))
    assert first["questions"] == second["questions"][:5]
    assert all(value > 0 for side in ("baseline_ms", "candidate_ms") for value in second[side])


def test_timings_are_those_of_the_plan_and_its_tables(made: Planned) -> None:
    """Without timings no data; with them the newest are judged, and the record is named."""
    stored = timed_plan(made, 7)
    assert ("no_data", "no_data") == (made.judge(stored).verdict, by_gate(made.judge(stored))["latency"]["verdict"])
    made.timings(stored, (made.narrow, made.wide))
    again = made.timings(stored, (made.narrow, made.wide))
    record = made.judge(stored)
    latency = by_gate(record)["latency"]
    assert {"record": again.record_id, "sha256": again.sha256} == record.body["timings"]
    assert 2 == record.body["timings_made"]
    assert ("inconclusive", "too_few", 7, 93) == (
        latency["verdict"],
        latency["reason"],
        latency["n"],
        latency["further_questions"],
    )
    assert 3 == len(latency["worst"])
    assert None is made.judge(widening(made)).body["timings"]


def test_a_failed_answer_has_no_time(
    made: Planned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How fast a reader fails is not how fast it reads: null in the record, an error of the gate, a dash in print.

    A lock whose reader failed on every question ends the command like an evaluation: exit code 5, its first error.
    """
    answer = Pipeline.answer

    def failing(self: Pipeline, question: str) -> Answered:
        found = answer(self, question)
        if self.lock.name == "narrow":
            return found
        return replace(found, answer=replace(found.answer, error="the server is away"))

    monkeypatch.setattr(Pipeline, "answer", failing)
    stored = timed_plan(made, 5)
    timed = made.timed(stored, (made.narrow, made.wide))
    record = timed.record
    assert "the server is away" not in json.dumps(record.body)  # records are sealed
    assert [None] * 5 == record.body["candidate_ms"]
    assert None not in record.body["baseline_ms"]
    latency = by_gate(made.judge(stored))["latency"]
    assert ("error", "one_sided", None) == (latency["verdict"], latency["reason"], latency["value"])
    shown = _judging.timings(record, first_error=timed.first_error)
    expected = {"p50_ms": None, "p95_ms": None, "p95_reliable": False, "failed": 5}
    assert expected == shown["candidate"] == json.loads(json.dumps(shown))["candidate"]
    assert 0 == shown["baseline"]["failed"]
    assert 5 == _judging.timings_exit_code(shown)
    said = "bakeoff: answers failed (baseline 0, candidate 5, of 5 questions), the first with: the server is away\n"
    assert said == capsys.readouterr().err
    assert any(line.split() == ["candidate", "–", "–"] for line in _judging.timings_text(shown).splitlines())


def test_fewer_timings_than_planned_are_an_error(made: Planned) -> None:
    """Five timings where the plan fixes 36: nobody may choose the number afterwards."""
    few, whole = timed_plan(made, 5), timed_plan(made)
    body = made.timings(few, (made.narrow, made.wide)).body
    with support.connector(made.url)() as conn:
        records.add(conn, "timings", body, about=About(whole.plan_sha256), at=LATER)
    latency = by_gate(made.judge(whole))["latency"]
    assert ("error", "missing") == (latency["verdict"], latency["reason"])
    assert f"5 questions have a value, the plan counts on {made.count}" == latency["said"]


def test_timings_of_another_table_are_not_used(made: Planned) -> None:
    """What was timed on a table that one of the locks no longer has says nothing: no data."""
    stored = timed_plan(made, 5)
    made.timings(stored, (made.narrow, made.wide))
    with support.connector(made.url)() as conn:
        found = records.latest(conn, "timings", About(plan_sha256=stored.plan_sha256))
        assert found is not None
        older = found.body | {"tables": found.body["tables"] | {made.wide.config_hash: "0" * 64}}
        records.add(conn, "timings", older, about=About(stored.plan_sha256), at=LATER)
    record = made.judge(stored)
    assert (None, "no_data") == (record.body["timings"], by_gate(record)["latency"]["verdict"])


def test_edited_timings_are_not_believed(made: Planned) -> None:
    """A record that is not what was stored stops the judgement."""
    stored = timed_plan(made, 5)
    number = made.timings(stored, (made.narrow, made.wide)).record_id
    made.tamper("records", "UPDATE bakeoff.records SET body = jsonb_set(body, '{candidate_ms,0}', '1')")
    refused(made, stored, IntegrityError, rf"record {number} \(timings\) in the database is not what was stored")


def test_timings_ask_for_an_evaluated_baseline_and_whole_tables(made: Planned) -> None:
    """The questions are those of its run; a table that was changed is not timed."""
    other = support.make_lock(made.url, support.parts(retrieval={"filter": {"context": 2}}), name="other")
    support.run_ingest(made.url, other, made.corpus)
    unknown = made.plan((other, made.narrow), accept_known_scores=True)
    with pytest.raises(NotKnownError, match="the baseline other was not evaluated on questions yet"):
        made.timings(unknown, (other, made.narrow))
    edited_chunk(made)
    with pytest.raises(IntegrityError, match="is not what its ingest recorded"):
        made.timings(narrowing(made))
    assert 0 == made.count_of("records")
