"""Judging real runs by a plan: what the findings rest on, and everything that is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import LiteralString

import pytest
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from bakeoff import rules
from bakeoff.adapters import clock, evaluations, locks, plans, queries, tables
from bakeoff.adapters.plans import Stored
from bakeoff.errors import IntegrityError, NotFoundError, NotKnownError, StateError
from tests import judged, support
from tests.planned import GATES, LATENCY, Planned, by_gate, edited_chunk, narrowing, refused, runs, widening


def test_a_candidate_that_reads_less_fails(made: Planned) -> None:
    """One chunk in place of eight loses gold behind the snapshot; the gate of that arrow fails, the others pass."""
    record = made.judge(narrowing(made))
    assert ("fail", "judgement", made.narrow.config_hash) == (record.verdict, record.kind, record.config_hash)
    found = by_gate(record)
    assert ["filter"] == [name for name, item in found.items() if item["verdict"] != "pass"]
    loss = found["filter"]
    assert loss["difference"] < -0.3
    assert (made.count, 3) == (loss["n"], len(loss["worst"]))
    assert all((1.0, 0.0) == (item["baseline"], item["candidate"]) for item in loss["worst"])
    assert loss["worst"] == sorted(loss["worst"], key=lambda item: item["question_id"])
    assert "reader_errors" == found["errors"]["metric"]
    assert 0 == found["errors"]["value"] == found["leakage"]["value"] == found["tokens"]["value"]
    assert 60 <= found["longest"]["value"] <= 70
    assert found["snapshot"]["value"] == found["snapshot"]["baseline"] > 1


def test_a_candidate_that_reads_more_passes(made: Planned) -> None:
    """The other way round nothing is lost."""
    record = made.judge(widening(made))
    assert ("pass", []) == (record.verdict, record.body["warnings"])


def test_a_judgement_names_everything_that_it_rests_on(made: Planned) -> None:
    """Plan, gates, questions, corpus, both locks with run, table and cases; once more it finds the same."""
    stored = narrowing(made)
    record = made.judge(stored)
    body, fixed = record.body, stored.plan
    assert (stored.plan_sha256, fixed.gates.digest, fixed.corpus_sha256, fixed.seed) == (
        body["plan_sha256"],
        body["gates_sha256"],
        body["corpus_sha256"],
        body["seed"],
    )
    assert {"name": "questions", "sha256": fixed.questions.sha256} == body["questions"]
    for side, which in (("baseline", made.wide), ("candidate", made.narrow)):
        assert (which.name, which.config_hash, which.chunk_version) == (
            body[side]["lock"],
            body[side]["CONFIG_HASH"],
            body[side]["CHUNK_VERSION"],
        )
        assert runs(made)[which.name] == body[side]["run_id"]
        assert support.digest_of(made.url, which) == body[side]["table_sha256"]
        assert 64 == len(body[side]["cases_sha256"])
    assert body == made.judge(stored).body
    assert 2 == made.count_of("records")


def test_the_same_lock_against_itself_is_no_comparison(made: Planned) -> None:
    """Every difference is exactly 0 and every gate passes, but nothing was compared: no data, which is said."""
    record = made.judge(made.plan((made.wide, made.wide), accept_known_scores=True))
    assert "no_data" == record.verdict
    assert ["two-locks"] == [item["gate"] for item in record.body["findings"] if item["verdict"] != "pass"]
    assert "baseline and candidate are one lock: nothing was compared" == by_gate(record)["two-locks"]["said"]
    assert "block" == by_gate(record)["two-locks"]["severity"]
    assert {0.0} == {item["difference"] for item in record.body["findings"] if item["difference"] is not None}
    assert "two-locks" not in by_gate(made.judge(narrowing(made)))


def test_runs_can_be_chosen(made: Planned) -> None:
    """A run's id in place of the newest; the run of another lock is named as what it is not."""
    stored, old = narrowing(made), runs(made)["narrow"]
    new = made.evaluate(made.narrow, fresh=True)
    assert new == made.judge(stored).run_id
    assert old == made.judge(stored, candidate_run=old).run_id
    said = f"run {new} is not what plan {stored.plan.short} fixed: baseline: the plan fixes {made.wide.config_hash}"
    refused(made, stored, StateError, said, baseline_run=new)
    refused(made, stored, NotFoundError, "no run and no lock 'nobody'", candidate_run="nobody")


def test_repeated_evaluations_are_counted(made: Planned) -> None:
    """Of each side those since the plan, and the one judged by: not a part, another share, or a stopped run."""
    stored = narrowing(made)
    assert {"baseline": 1, "candidate": 1} == made.judge(stored).body["runs_made"]
    made.evaluate(made.narrow, only=frozenset({"q001"}))
    made.evaluate(made.narrow, gold_share=0.9, fresh=True)
    interrupted(made)
    made.evaluate(made.narrow)
    made.evaluate(made.narrow, fresh=True)
    assert {"baseline": 1, "candidate": 3} == made.judge(stored).body["runs_made"]
    began = clock.now()
    while clock.now() == began:  # instants are whole seconds: a run of the plan's own second counts as one after it
        time.sleep(0.02)
    later = made.plan(seed=9, accept_known_scores=True, now=clock.now())
    assert {"baseline": 1, "candidate": 1} == made.judge(later).body["runs_made"]
    made.evaluate(made.narrow, fresh=True)
    made.evaluate(made.wide, fresh=True)
    made.evaluate(made.wide, fresh=True)
    assert {"baseline": 2, "candidate": 1} == made.judge(later).body["runs_made"]


def test_a_side_without_an_evaluation_is_not_known(made: Planned) -> None:
    """Which side, and the command that is missing."""
    other = support.make_lock(made.url, support.parts(retrieval={"filter": {"context": 2}}), name="other")
    support.run_ingest(made.url, other, made.corpus)
    stored = made.plan((made.wide, other))
    error = refused(made, stored, NotKnownError, r"candidate other \(.*\) has no finished evaluation")
    assert f"bakeoff evaluate --lock {other.config_hash} --questions FILE" == error.hint
    refused(made, made.plan((other, made.narrow), accept_known_scores=True), NotKnownError, "baseline other")


def test_another_gates_file_is_refused(made: Planned) -> None:
    """The plan's own is accepted, a wider margin is not."""
    stored = narrowing(made)
    assert "fail" == made.judge(stored, profile=judged.profile(*GATES)).verdict
    wider = judged.profile({**GATES[0], "margin": 0.9}, *GATES[1:])
    refused(
        made, stored, StateError, f"the gates file is not what plan {stored.plan.short} fixed: gates", profile=wider
    )


class Stop(Exception):  # noqa: N818  # it stands for a kill
    """Ends an evaluation where the test wants it."""


def stop(_: str, done: int, __: int | None) -> None:
    """Stop after five questions."""
    if done == 5:
        raise Stop


def other_questions(made: Planned) -> str:
    """A run on other questions."""
    lines = made.questions.read_text().splitlines()[:12]
    asked = made.folder / "fewer.jsonl"
    asked.write_text("\n".join(lines) + "\n")
    return support.run_evaluate(made.url, made.narrow, asked).run.run_id


def interrupted(made: Planned) -> str:
    """A run that was stopped."""
    with pytest.raises(Stop):
        made.evaluate(made.narrow, fresh=True, progress=stop)
    return runs(made)["narrow"]


RUNS: dict[str, tuple[Callable[[Planned], str], str]] = {
    "other questions": (other_questions, "questions: the plan fixes"),
    "share": (lambda made: made.evaluate(made.narrow, gold_share=0.9), "gold_share: the plan fixes 0.5, found 0.9"),
    "a part": (lambda made: made.evaluate(made.narrow, only=frozenset({"q001"})), "was asked a part of the questions"),
    "interrupted": (interrupted, "was interrupted"),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS)
def test_a_run_that_is_not_the_plans_is_refused(made: Planned, case: str) -> None:
    """On other questions, under another share, on a part, or unfinished: named, whoever asked for it."""
    stored, (make, said) = narrowing(made), RUNS[case]
    refused(made, stored, StateError, said, candidate_run=make(made))


def test_a_newer_run_that_does_not_fit_hides_none(made: Planned) -> None:
    """Without a choice the newest run that fits counts: not one of another share, of a part, or a stopped one."""
    stored, first = narrowing(made), runs(made)["narrow"]
    made.evaluate(made.narrow, only=frozenset({"q001"}))
    interrupted(made)
    made.evaluate(made.narrow, gold_share=0.9, fresh=True)
    other_questions(made)
    assert first == made.judge(stored).run_id


def without_runs(made: Planned) -> Stored:
    """A plan whose candidate was not evaluated yet."""
    other = support.make_lock(made.url, support.parts(retrieval={"filter": {"context": 2}}), name="other")
    support.run_ingest(made.url, other, made.corpus)
    return made.plan((made.wide, other))


def test_a_newest_run_that_does_not_fit_is_said_to_be_what_it_is(made: Planned) -> None:
    """Without any that fits: which run there is instead, and what it has otherwise."""
    stored = without_runs(made)
    other = replace(made, narrow=support.make_lock(made.url, support.parts(retrieval={"filter": {"context": 2}})))
    refused(made, stored, NotKnownError, r"plan's questions, set 'questions'$")
    run_id = other.evaluate(other.narrow, gold_share=0.9)
    said = rf"; its newest run {run_id} is of other gold_share: the plan fixes 0.5, found 0.9$"
    refused(made, stored, NotKnownError, said)
    run_id = other_questions(other)
    said = (
        rf"; its newest run {run_id} is of other questions: the plan fixes {stored.plan.questions.sha256[:16]}, found"
    )
    refused(made, stored, NotKnownError, said)


def test_a_run_that_began_before_its_plan_is_refused(made: Planned) -> None:
    """Somebody may have seen its scores; the plan that knows it says so, and the baseline's may be known."""
    stored = without_runs(made)
    with support.connector(made.url)() as conn:
        other = locks.find(conn, "other")
    run_id = made.evaluate(other)
    made.tamper("plans", "UPDATE bakeoff.plans SET created_at = now() + interval '1 hour'")
    with support.connector(made.url)() as conn:
        later = plans.find(conn, stored.plan_sha256)
    said = f"run {run_id} began before plan {stored.plan.short} was made: its scores may have been known"
    error = refused(made, later, StateError, said)
    assert str(error.hint).endswith("--questions FILE --fresh")
    refused(made, later, StateError, said, candidate_run=run_id)
    known = made.plan((made.wide, other), accept_known_scores=True, seed=8)
    assert (run_id,) == known.plan.known_scores
    made.tamper("plans", "UPDATE bakeoff.plans SET created_at = now() + interval '1 hour'")
    with support.connector(made.url)() as conn:
        assert run_id == made.judge(plans.find(conn, known.plan_sha256)).run_id


def missing_case(made: Planned) -> None:
    """Take one case away."""
    made.tamper(
        "evaluation_cases",
        "DELETE FROM bakeoff.evaluation_cases WHERE run_id = %s AND ordinal = 3",
        runs(made)["narrow"],
    )


def edited_case(made: Planned) -> None:
    """Make a miss a hit."""
    statement = (
        "UPDATE bakeoff.evaluation_cases SET result = jsonb_set(result, '{filter_hit_postfilter}', '1') "
        "WHERE run_id = %s AND result -> 'filter_hit_postfilter' = '0'"
    )
    made.tamper("evaluation_cases", statement, runs(made)["narrow"])


def case_without_a_figure(made: Planned) -> None:
    """Take a figure out of a case, so that it can't even be counted."""
    statement = (
        "UPDATE bakeoff.evaluation_cases SET result = result - 'filter_hit_postfilter' "
        "WHERE run_id = %s AND ordinal = 3"
    )
    made.tamper("evaluation_cases", statement, runs(made)["narrow"])


def edited_timing(made: Planned) -> None:
    """Make a question faster than it was."""
    statement = "UPDATE bakeoff.evaluation_cases SET timings = '{}' WHERE run_id = %s AND ordinal = 3"
    made.tamper("evaluation_cases", statement, runs(made)["narrow"])


def reingested(made: Planned) -> None:
    """Ingest fewer documents under the same lock."""
    smaller = support.write_jsonl(made.folder / "smaller.jsonl", support.topics(7, 2500))
    support.run_ingest(made.url, made.narrow, smaller, restart=True)


def relabelled(statement: LiteralString) -> Callable[[Planned], None]:
    """Say of the narrow lock's run that it was another."""
    return lambda made: made.tamper("evaluations", statement, runs(made)["narrow"])


OTHER_RUN = "run .* is not of what it was: lock, table, corpus, questions or settings differ"
DAMAGE: dict[str, tuple[Callable[[Planned], None], str]] = {
    "a missing case": (missing_case, "run .* has 35 cases for 36 questions$"),
    "an edited case": (edited_case, "the cases of run .* are not what its evaluation recorded"),
    "a case without a figure": (case_without_a_figure, "the cases of run .* are not what its evaluation recorded"),
    "an edited timing": (edited_timing, "the cases of run .* are not what its evaluation recorded"),
    "an edited chunk": (edited_chunk, "the chunk table .* is not what its ingest recorded"),
    "another name": (relabelled("UPDATE bakeoff.evaluations SET question_set = 'x' WHERE run_id = %s"), OTHER_RUN),
    "another setting": (
        relabelled("UPDATE bakeoff.evaluations SET settings = settings || '{\"workers\": 9}' WHERE run_id = %s"),
        OTHER_RUN,
    ),
    "another start": (
        relabelled("UPDATE bakeoff.evaluations SET started_at = started_at + interval '1 h' WHERE run_id = %s"),
        OTHER_RUN,
    ),
    "other figures": (
        relabelled(
            "UPDATE bakeoff.evaluations SET report = jsonb_set(report, '{aggregates,means,f1,mean}', '0.99') "
            "WHERE run_id = %s"
        ),
        "the figures of run .* are not what its evaluation recorded",
    ),
    "another digest of the figures": (
        relabelled(
            "UPDATE bakeoff.evaluations SET report = report - 'report_sha256' || '{\"cases_sha256\": \"00\"}' "
            "WHERE run_id = %s"
        ),
        OTHER_RUN,
    ),
    "another ingest": (reingested, "run .* was made on another chunk table of narrow"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_was_changed_since_is_not_judged(made: Planned, case: str) -> None:
    """A case, a chunk or a table that is no longer what was recorded: named, and nothing is stored."""
    stored, (damage, said) = narrowing(made), DAMAGE[case]
    damage(made)
    refused(made, stored, IntegrityError, said)


def test_a_run_that_an_earlier_version_recorded(made: Planned) -> None:
    """Its report digests the rows themselves: that is judged, and a case that was edited since is refused as ever."""
    stored, run_id = narrowing(made), runs(made)["narrow"]
    with support.connector(made.url)() as conn:
        before = conn.execute(queries.get("evaluations.rows_digest_of_old"), {"run_id": run_id}).fetchone()
        run = evaluations.find(conn, run_id)
    assert before is not None
    report = {name: run.report[name] for name in run.report if name != "report_sha256"} | {"rows_sha256": before[0]}
    report["identity_sha256"] = evaluations.identity(replace(run, report=report))
    made.tamper("evaluations", "UPDATE bakeoff.evaluations SET report = %s WHERE run_id = %s", Jsonb(report), run_id)
    assert made.judge(stored).verdict
    edited_case(made)
    refused(made, stored, IntegrityError, "the cases of run .* are not what its evaluation recorded")


def test_nobody_writes_the_digest_of_a_case(made: Planned) -> None:
    """The server makes it of the case, also for whoever may change everything."""
    with pytest.raises(errors.GeneratedAlways):
        made.tamper("evaluation_cases", "UPDATE bakeoff.evaluation_cases SET result_sha256 = 'x'")


def test_a_run_on_other_questions_is_not_relabelled(made: Planned) -> None:
    """A run on a third of the questions that was given the plan's digest: what it is of was digested too."""
    stored, run_id = narrowing(made), other_questions(made)
    statement = "UPDATE bakeoff.evaluations SET questions_sha256 = %s WHERE run_id = %s"
    made.tamper("evaluations", statement, stored.plan.questions.sha256, run_id)
    refused(made, stored, IntegrityError, f"run {run_id} is not of what it was")


def test_a_run_has_a_case_for_each_question_of_the_plan(made: Planned) -> None:
    """Even where all of its digests are right: a third of the cases is no evaluation of the plan's questions."""
    stored, run_id = narrowing(made), other_questions(made)
    statement = (  # the report of a version that kept neither digest
        "UPDATE bakeoff.evaluations SET questions_sha256 = %s, "
        "report = report - ARRAY['identity_sha256', 'rows_sha256', 'report_sha256'] WHERE run_id = %s"
    )
    made.tamper("evaluations", statement, stored.plan.questions.sha256, run_id)
    refused(made, stored, IntegrityError, rf"run {run_id} has 12 cases for the plan's {made.count} questions")


def test_a_silent_reader_owes_no_figure_of_its_words(made: Planned) -> None:
    """Faithfulness and precision of what was read are undefined where nothing was; every other figure is owed."""
    stored = narrowing(made)
    owed = rules.owed(stored.plan.questions.measurable, timed=stored.plan.timed)
    assert {"faithfulness", "text_precision"} == stored.plan.questions.measurable.keys() - owed.keys()
    assert made.count == owed["filter_hit_postfilter"]


def test_the_share_of_duplicates_is_that_of_the_tables(made: Planned) -> None:
    """Counted where it is, not believed from the ingest's report: no alias is left, so none is counted."""
    stored = narrowing(made)
    before = by_gate(made.judge(stored))["dedup"]
    with support.connector(made.url)() as conn:
        found = tables.facts(conn, made.narrow)
        assert (found.aliases / (found.chunks + found.aliases), found.dedup_share) == (
            before["value"],
            before["value"],
        )
        conn.execute('UPDATE ingests SET report = report || \'{"dedup_share": 0.9, "duplicates": 999}\'')
    assert before == by_gate(made.judge(stored))["dedup"]


def test_an_empty_table_has_no_longest_text(made: Planned) -> None:
    """No text is no figure, not one of 0 tokens; nor is there a share of duplicates."""
    with support.connector(made.url)() as conn:
        conn.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(f"{made.narrow.table_name}_aliases")))
        conn.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(made.narrow.table_name)))
        found = tables.facts(conn, made.narrow)
    assert (None, None, 0, 0) == (found.max_embedding_token_count, found.dedup_share, found.chunks, found.aliases)


def test_what_was_accepted_is_in_every_judgement(made: Planned) -> None:
    """Blind gates and known scores go with it."""
    profile = judged.profile(*GATES, LATENCY)
    stored = made.plan((made.narrow, made.wide), profile=profile, accept_blind=True, accept_known_scores=True)
    body = made.judge(stored).body
    assert (["latency"], [runs(made)["wide"]]) == (body["accepted_blind"], body["known_scores"])


def test_a_plan_that_was_edited_is_never_reached(made: Planned) -> None:
    """Nobody gets the plan to judge by."""
    narrowing(made)
    made.tamper("plans", "UPDATE bakeoff.plans SET body = jsonb_set(body, '{seed}', '8')")
    with support.connector(made.url)() as conn, pytest.raises(IntegrityError, match="is not the one that was stored"):
        plans.find(conn, "latest")
