"""Plans in the database: fixed before the scores, stored once, never changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import LiteralString

import pytest
from psycopg.types.json import Jsonb

from bakeoff import canonical
from bakeoff.adapters import plans, queries
from bakeoff.cli import _planning
from bakeoff.errors import BakeoffError, InputError, IntegrityError, NotFoundError, StateError
from tests import judged, support
from tests.planned import GATES, LATER, Planned, planned


@pytest.fixture(scope="module")
def base(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    """Both locks ingested, nothing evaluated."""
    with planned(server_url, template, tmp_path_factory.mktemp("plans")) as found:
        yield found


def test_a_plan_comes_back_as_it_was_made(made: Planned) -> None:
    """By `latest`, by its id, by the beginning of its id; the list has the newest first."""
    first = made.plan()
    second = made.plan(seed=8, now=LATER)
    assert made.count == first.plan.questions.used == first.plan.questions.measurable["filter_hit_postfilter"]
    assert (made.wide.config_hash, made.narrow.config_hash) == (
        first.plan.baseline.config_hash,
        first.plan.candidate.config_hash,
    )
    assert first.plan.digest == first.plan_sha256
    with support.connector(made.url)() as conn:
        assert second == plans.find(conn, "latest")
        for digits in (64, 12, 8):
            assert first == plans.find(conn, first.plan_sha256[:digits])
        assert [second, first] == plans.listing(conn)


def test_an_equal_plan_is_the_same_plan(made: Planned) -> None:
    """Asked for once more it is returned as it is, even after the scores are known: the bar was set before them."""
    first = made.plan()
    assert first == made.plan(now=LATER)
    made.evaluate(made.wide)
    made.evaluate(made.narrow)
    assert first == made.plan(now=LATER)
    assert 1 == made.count_of("plans")


def test_known_scores_are_refused(made: Planned) -> None:
    """A bar that is set after the candidate's scores is none; accepted all the same, the plan says which run it was."""
    before = made.evaluate(made.wide)
    made.plan((made.narrow, made.narrow))
    run_id = made.evaluate(made.narrow)
    with pytest.raises(StateError, match=f"the scores of narrow on these questions are known since run {run_id}"):
        made.plan()
    assert 1 == made.count_of("plans")
    found = made.plan(accept_known_scores=True)
    assert (run_id,) == found.plan.known_scores
    assert found == made.plan(accept_known_scores=True)
    other_way = made.plan((made.narrow, made.wide), accept_known_scores=True)
    assert (before,) == other_way.plan.known_scores


def test_scores_on_a_part_of_the_questions_are_known_scores(made: Planned) -> None:
    """What a sweep saw on a part of the questions is no longer unseen."""
    made.evaluate(made.narrow, only=frozenset({"q000", "q001"}))
    with pytest.raises(StateError, match="are known since run"):
        made.plan()
    assert 1 == len(made.plan(accept_known_scores=True).plan.known_scores)


class Stop(Exception):  # noqa: N818  # it stands for a signal
    """Ends an evaluation where the test wants it."""


@pytest.mark.parametrize("answered", [1, 5])
def test_scores_of_a_stopped_evaluation_are_known_scores(made: Planned, answered: int) -> None:
    """Whoever stopped it has seen the first cases, be it one; one that was stopped before any case shows nothing."""

    def stop(_: str, done: int, __: int | None) -> None:
        if done == answered:
            raise Stop

    with pytest.raises(Stop):
        made.evaluate(made.narrow, progress=stop)
    (run,) = support.rows(made.url, "SELECT run_id, finished_at FROM evaluations")
    assert None is run[1]
    with pytest.raises(StateError, match=f"are known since run {run[0]}"):
        made.plan()
    assert (run[0],) == made.plan(accept_known_scores=True).plan.known_scores
    made.tamper("evaluation_cases", "DELETE FROM bakeoff.evaluation_cases")
    assert () == made.plan(seed=8).plan.known_scores


def test_as_many_questions_are_timed_as_there_are(made: Planned) -> None:
    """At most: what is asked for beyond them is not planned."""
    assert (made.count, 5) == (made.plan(timed=1000).plan.timed, made.plan(timed=5).plan.timed)


BLIND = judged.profile(*GATES, {**GATES[0], "name": "sharp", "margin": 0.01})


def test_a_blind_gate_is_refused(made: Planned) -> None:
    """Its name, what it sees and what it would have to see; accepted all the same, the plan says so."""
    seen = rf"sharp sees \d+\.\d pt with {made.count} questions, its margin is 1\.0 pt"
    said = rf"^1 gate can't see what it asks for: {seen}$"
    with pytest.raises(StateError, match=said) as caught:
        made.plan(profile=BLIND)
    assert "--accept-blind" in str(caught.value.hint)
    assert 0 == made.count_of("plans")
    assert ("sharp",) == made.plan(profile=BLIND, accept_blind=True).plan.accepted_blind
    assert () == made.plan(accept_blind=True).plan.accepted_blind


def test_every_blind_gate_is_named_with_its_figures(made: Planned) -> None:
    """Not the first alone: what each sees, with how many questions, and what it would have to."""
    gates = (
        {**GATES[0], "name": "sharp", "margin": 0.01},
        {**GATES[0], "name": "thin", "margin": 0.9, "minimum": 500},
        {"name": "time", "rule": "no_worse", "metric": "p95_latency_ms", "margin": 0.1, "spread": 0.4},
        {"name": "quiet", "rule": "gain", "metric": "f1", "at_least": 0.1, "minimum": 500, "severity": "warn"},
    )
    with pytest.raises(StateError) as caught:
        made.plan(profile=judged.profile(*GATES[1:], *gates), timed=20)
    head, _, listed = str(caught.value).partition(": ")
    assert "3 gates can't see what they ask for" == head
    said = listed.split("; ")
    assert ["sharp", "thin", "time"] == [line.split()[0] for line in said]
    assert re.fullmatch(rf"sharp sees [\d.]+ pt with {made.count} questions, its margin is 1\.0 pt", said[0])
    assert re.fullmatch(rf"thin sees [\d.]+ pt with {made.count} questions, .* fewer than 500", said[1])
    assert re.fullmatch(r"time sees [\d.]+ % with 20 questions, its margin is 10\.0 %", said[2])
    found = made.plan(profile=judged.profile(*GATES[1:], *gates), timed=20, accept_blind=True)
    assert ("sharp", "thin", "time") == found.plan.accepted_blind


def test_too_few_questions_are_said_to_be_too_few(made: Planned) -> None:
    """A gate that sees its margin but has fewer questions than its minimum says that, not the margin."""
    profile = judged.profile({**GATES[0], "margin": 0.9, "minimum": 500}, *GATES[1:])
    with pytest.raises(StateError, match=f"with {made.count} questions, {made.count} questions, fewer than 500"):
        made.plan(profile=profile)


def test_a_blind_gate_that_only_warns_is_no_obstacle(made: Planned) -> None:
    """Only what blocks has to see."""
    quiet = judged.profile(*GATES, {**GATES[0], "name": "sharp", "margin": 0.01, "severity": "warn"})
    found = made.plan(profile=quiet)
    assert () == found.plan.accepted_blind
    assert [False, True] == [item.blind for item in found.plan.sight if item.metric == "filter_hit_postfilter"]


def test_questions_of_another_corpus_are_refused(made: Planned) -> None:
    """Where none can be used there is nothing to plan; nothing is stored."""
    rows = [{"id": "q", "question": "where?", "gold": [{"doc": "no/such", "quote": "anything at all"}]}]
    with pytest.raises(InputError, match=r"other has no usable question \(1 left out\)"):
        made.plan(questions=support.write_questions(made.folder / "other.jsonl", rows))
    assert 0 == made.count_of("plans")


def test_a_baseline_without_an_ingest_is_refused(made: Planned) -> None:
    """The questions' gold is looked up in its corpus."""
    fresh = support.make_lock(made.url, support.parts(seed=99), name="fresh")
    with pytest.raises(StateError, match="was not ingested yet"):
        made.plan((fresh, made.narrow))


def test_a_plan_that_is_not_there_is_named(made: Planned) -> None:
    """No plan at all, an unknown id, and something that is no id: each says what to do."""
    with support.connector(made.url)() as conn:
        with pytest.raises(NotFoundError, match="there is no plan yet") as caught:
            plans.find(conn, "latest")
        assert "bakeoff plan --baseline LOCK --candidate LOCK --questions FILE makes one" == caught.value.hint
        with pytest.raises(NotFoundError, match="no plan 'abcdef'"):
            plans.find(conn, "abcdef")
        for wrong in ("abc", "nonsense", "ABCDEF", "%", ""):
            with pytest.raises(NotFoundError, match="expected `latest` or 4 or more digits"):
                plans.find(conn, wrong)
        assert None is plans.by_digest(conn, "a" * 64)


def test_an_ambiguous_beginning_is_refused(made: Planned) -> None:
    """Two plans whose ids begin alike are both named."""
    with support.connector(made.url)() as conn:
        for last in "12":
            conn.execute(
                "INSERT INTO plans VALUES (%s, %s, %s, now(), '{}')",
                ("a" * 63 + last, made.wide.config_hash, made.narrow.config_hash),
            )
        with pytest.raises(StateError, match="'aaaaaa' begins 2 plans"):
            plans.find(conn, "aaaaaa")


def test_an_edited_plan_is_not_believed(made: Planned) -> None:
    """A margin that was widened afterwards: every way to the plan says so, and names it."""
    stored = made.plan()
    made.tamper("plans", "UPDATE bakeoff.plans SET body = jsonb_set(body, '{gates,alpha}', '0.2')")
    said = f"plan {stored.plan_sha256[:16]} in the database is not the one that was stored"
    with support.connector(made.url)() as conn:
        looks: tuple[Callable[[], object], ...] = (
            lambda: plans.find(conn, "latest"),
            lambda: plans.by_digest(conn, stored.plan_sha256),
            made.plan,
        )
        for look in looks:
            with pytest.raises(IntegrityError, match=said) as caught:
                look()
            assert "--seed N makes another plan" in str(caught.value.hint)


def test_a_plan_that_can_not_be_read_is_named(made: Planned) -> None:
    """Its digest is right, its body is another version's: what it is about, and the listing goes on."""
    good = made.plan()
    with support.connector(made.url)() as conn:
        body = good.plan.body() | {"traffic_per_hour": -1.0}
        digest = canonical.digest(body)
        values = {
            "plan_sha256": digest, "baseline": good.plan.baseline.config_hash,
            "candidate": good.plan.candidate.config_hash, "created_at": good.created_at, "body": Jsonb(body),
        }  # fmt: skip
        conn.execute(queries.get("plans.insert"), values)
        with pytest.raises(
            IntegrityError, match=r"was stored by another version, .*: traffic_per_hour: Input"
        ) as error:
            plans.find(conn, digest)
        assert "bakeoff plan" in str(error.value.hint)
        kinds = {type(item) for item in plans.listing(conn)}
    assert {plans.Stored, plans.Damaged} == kinds


def test_an_edited_plan_hides_no_other(made: Planned) -> None:
    """It is listed as damaged, with its id and when it was made; another seed makes a plan that can be used."""
    stored = made.plan()
    made.tamper("plans", "UPDATE bakeoff.plans SET body = '{}'")
    other = made.plan(seed=8, now=LATER)
    with support.connector(made.url)() as conn:
        first, second = plans.listing(conn)
        assert other == first == plans.find(conn, "latest")
        assert isinstance(second, plans.Damaged)
        assert (stored.plan_sha256, stored.created_at) == (second.plan_sha256, second.created_at)
    rows = [_planning.row(item) for item in (first, second)]
    assert rows[0].keys() == rows[1].keys()
    assert (stored.plan_sha256[:12], "damaged") == (rows[1]["plan"], rows[1]["state"])
    assert "damaged" in _planning.listing(rows)


@pytest.mark.parametrize("statement", ["UPDATE plans SET body = '{}'", "DELETE FROM plans", "TRUNCATE plans CASCADE"])
def test_the_database_refuses_changes_of_plans(made: Planned, statement: LiteralString) -> None:
    """A plan never changes, and never goes."""
    stored = made.plan()
    with pytest.raises(BakeoffError, match="plans"), support.connector(made.url)() as conn:
        conn.execute(statement)
    with support.connector(made.url)() as conn:
        assert [stored] == plans.listing(conn)


def test_only_plans_that_see_enough_are_offered() -> None:
    """What is worth seeing is explained; what does not see it is not offered, nor is nothing said."""
    one = {
        "step": 1,
        "watched": "quality",
        "worth": 0.1,
        "shown": 0.3,
        "instead": "10 % for 90 hours",
        "would_show": 0.1,
    }
    other = {**one, "instead": "every question in the shadow", "would_show": 0.11}
    (line,) = _planning._instead([one, other])
    assert line == (
        "step 1 sees no less than 30.0 pt of quality, 10.0 pt is worth seeing (twice the margin, 5 pt where it "
        "is none); instead 10 % for 90 hours: 10.0 pt"
    )
    (line,) = _planning._instead([other, {**other, "would_show": None}])
    assert line.endswith("; neither a longer step nor the shadow sees it: it takes more traffic, or a wider margin")
