"""Moving a rollout: what a beginning asks for, what a tick does, what people may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from bakeoff import simulation
from bakeoff.adapters import live_outcomes, locks, records, rollouts
from bakeoff.adapters.records import About
from bakeoff.errors import (
    BakeoffError,
    ConflictError,
    DatabaseError,
    IntegrityError,
    NotKnownError,
    StateError,
    UsageError,
)
from bakeoff.rollout import Abort, Action, Approve, Event, Pause, Promote, Resume
from bakeoff.stages import advance, notices, recheck, verify, watch
from tests import rolled, support
from tests.rolled import BEGAN, OPTIONS, Rolled, copy_of, with_strategy


@pytest.fixture(scope="module")
def base(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, evaluated, judged."""
    with rolled.rolled(server_url, template, tmp_path_factory.mktemp("advance")) as found:
        yield found


@pytest.fixture
def site(server_url: str, base: Rolled) -> Iterator[Rolled]:
    """A database of the test's own."""
    with copy_of(server_url, base) as found:
        yield found


def hour(hours: float) -> datetime:
    """So many hours after the beginning."""
    return BEGAN + timedelta(hours=hours)


def refused(site: Rolled, kind: type[BakeoffError], said: str, work: Callable[[], object]) -> None:
    """*work* is refused in one line with a hint, and everything stays as it is."""
    tables = ("rollouts", "rollout_events", "rollout_notices", "lock_events")
    before = [site.made.count_of(table) for table in tables]
    with pytest.raises(kind, match=said) as caught:
        work()
    assert kind is type(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert before == [site.made.count_of(table) for table in tables]


# --- The beginning --------------------------------------------------------------------------------------------------


def test_a_rollout_begins_with_its_first_share(site: Rolled) -> None:
    """Who and why stand in the history, with the judgement that it begins on and what was forced past."""
    with site.connect() as conn:
        judged = recheck.judged(conn, site.stored).record_id
    found = site.start(why="nobody made probes")
    assert ("r20260302-1", "running", 2000, 1) == (found.rollout_id, found.phase, found.weight_bp, found.version)
    ((_, at, event, body),) = site.history()
    assert (BEGAN, "start") == (at, event)
    why = "forced, the judgement is no_data: nobody made probes"
    assert {"kind": "start", "by": "ada", "why": why, "judgement": judged} == body["event"]


def test_not_known_needs_force_and_a_reason(site: Rolled) -> None:
    """Nobody made probes: the judgement is no data, and half of a permission is none."""
    for given in ({"force": False}, {"why": ""}):
        refused(site, StateError, "was judged: no_data", lambda given=given: site.start(**given))  # type: ignore[misc]  # mypy can't infer it


def test_a_plan_that_was_not_judged_does_not_begin(site: Rolled) -> None:
    """Nor one whose newest judgement did not ask for probes and parity; force does not help."""
    other = Rolled(site.made, rolled.add_plan(site.made, rolled.parsed(strategy="other")).plan_sha256)
    refused(other, NotKnownError, "was not judged", other.start)
    site.made.judge(other.stored)
    refused(other, StateError, "did not ask for probes and parity", other.start)


def test_a_candidate_that_failed_does_not_begin(site: Rolled) -> None:
    """Whoever forces it."""
    with support.connector(site.url)() as conn:
        locks.add_event(conn, site.made.wide, "activated", at=support.NOW, reason="test")
    stored = site.made.plan((site.made.wide, site.made.narrow), accept_known_scores=True)
    assert "fail" == site.made.judge(stored, promote_check=True).verdict
    bad = Rolled(site.made, stored.plan_sha256)
    refused(bad, StateError, "was judged: fail", bad.start)


def test_one_rollout_at_a_time(site: Rolled) -> None:
    """A second one is refused while the first is on its way, and begins when it has ended."""
    site.start()
    refused(site, StateError, "r20260302-1 is on its way: one rollout at a time", site.start)
    site.act(Abort("ada", "off"), hour(1))
    assert "r20260302-2" == site.start().rollout_id


def test_an_archived_lock_does_not_begin(site: Rolled) -> None:
    """Named, with the way to take it back."""
    with site.connect() as conn:
        locks.add_event(conn, site.made.wide, "archived", at=support.NOW, reason="old")
    refused(site, StateError, "the plan's candidate wide .* was archived", site.start)


def test_the_baseline_has_to_be_in_production(site: Rolled) -> None:
    """What is there instead is named."""
    with site.connect() as conn:
        locks.add_event(conn, site.made.wide, "activated", at=support.NOW, reason="test")
    refused(site, StateError, "wide .* is in production, the plan's baseline is narrow", site.start)


@pytest.mark.parametrize("side", ["narrow", "wide"])
def test_a_changed_table_does_not_begin(site: Rolled, side: str) -> None:
    """One byte in either arm."""
    edit(site, side)
    refused(site, IntegrityError, "is not what its ingest recorded", site.start)


def test_it_begins_when_all_is_checked(site: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    """To check both tables takes its time; nobody gets the candidate before, so the first step begins after."""
    done, inner = list[str](), verify.table

    def table(*given: Any) -> None:
        done.append("table")
        inner(*given)

    monkeypatch.setattr(verify, "table", table)

    def now() -> datetime:
        done.append("now")
        return BEGAN

    with site.connect() as conn:
        advance.start(conn, site.stored, by="ada", why="a test", force=True, now=now)
    assert ["table", "table", "now"] == done


def edit(site: Rolled, side: str) -> None:
    """Change a chunk of one lock behind everybody's back."""
    table = getattr(site.made, side).table_name
    query = "UPDATE {table} SET text = text || '.' WHERE ordinal = 0 RETURNING ordinal"
    assert support.rows(site.url, query, table=table)


def test_edited_cases_do_not_begin(site: Rolled) -> None:
    """A judgement rests on its runs."""
    site.made.tamper("evaluation_cases", "UPDATE bakeoff.evaluation_cases SET result = result || '{\"f1\": 1}'")
    refused(site, IntegrityError, "are not what its evaluation recorded", site.start)


# --- The clock ------------------------------------------------------------------------------------------------------


def test_a_good_candidate_gets_through(site: Rolled) -> None:
    """Looked at each hour, moved when its hours are over; a rehearsal leaves production as it is."""
    site.start()
    done = site.drive()
    step = ["look: looked", "look: looked", "advance: promoted"]
    assert ["start: started", *step, *step, *step[:2], "advance: completed"] == site.told()
    assert (True, "completed", None) == (done.ended, done.rollout.phase, done.next_at)
    with site.connect() as conn:
        active = locks.active(conn)
        assert active is not None
        assert (site.made.narrow.config_hash, False) == (active[0].config_hash, locks.is_archived(conn, active[0]))
    site.check()


def test_a_harmed_candidate_is_rolled_back(site: Rolled) -> None:
    """By the look that shows the harm; what it found is in the history."""
    site.start()
    done = site.drive(fault=simulation.Fault("errors", 0.3, 1.0))
    assert "rolled_back" == done.rollout.phase
    assert ["start: started", "look: looked", "look: breach"] == site.told()
    assert "rollback" == site.history()[-1][3]["event"]["action"]
    (errors,) = (item for item in site.history()[-1][3]["event"]["findings"] if item["watched"] == "errors")
    assert ("fail", "rollback") == (errors["verdict"], errors["action"])
    site.check()


def test_nothing_happens_before_it_is_due(site: Rolled) -> None:
    """A tick too early says what holds the rollout, and when the next look is."""
    site.start()
    done = site.tick(hour(0.5))
    assert ((), hour(1)) == (done.events, done.next_at)
    assert "step 1 lasts until" in str(done.held)


def test_without_outcomes_it_is_held(site: Rolled) -> None:
    """Silence is no pass: looks find no data, and no share grows."""
    site.start()
    for hours in (1, 2, 3):
        done = site.tick(hour(hours))
    assert ["look"] == [item.event for item in done.events]
    assert "the last look says hold" == done.held
    assert (1, Action.HOLD) == (done.rollout.state.step, done.rollout.state.action)


def test_a_tick_of_the_past_changes_nothing(site: Rolled) -> None:
    """A clock that went back, or a controller that slept."""
    site.start()
    site.tick(hour(3))
    done = site.tick(hour(1))
    assert () == done.events
    assert "the clock went back" in str(done.held)


def test_steps_without_gates_are_caught_up_in_order(site: Rolled) -> None:
    """What became due while nothing ran; the gated step behind them gets its whole hours."""
    steps = [{"percent": share, "hours": 1, "gated": False} for share in (10, 20, 30)]
    other = with_strategy(site, strategy="open", steps=[*steps, {"percent": 100, "hours": 2}])
    other.start()
    done = other.tick(hour(10))
    assert ["look", "advance", "advance", "advance"] == [item.event for item in done.events]
    assert (4, hour(10)) == (done.rollout.state.step, done.rollout.state.step_began_at)
    other.check()


def test_figures_that_cannot_be_summed_up_are_no_verdict(site: Rolled) -> None:
    """A statement that the database refuses: remembered as an error, neither a pass nor a fail; later looks go on."""
    site.start()
    with psycopg.connect(site.url, autocommit=True) as conn:
        conn.execute("ALTER TABLE bakeoff.outcomes RENAME TO elsewhere")
    done = site.tick(hour(1))
    assert (Action.ERROR, 1) == (done.rollout.state.action, done.rollout.state.unmeasured)
    assert "the live outcomes could not be summed up" in done.events[0].said
    with psycopg.connect(site.url, autocommit=True) as conn:
        conn.execute("ALTER TABLE bakeoff.elsewhere RENAME TO outcomes")
    assert 0 == site.tick(hour(2)).rollout.state.unmeasured


def test_a_lost_database_is_no_look(site: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing can be remembered either: it is an error of the controller, and the history stays as it was."""
    site.start()

    def lost(*_: object, **__: object) -> None:
        raise pg.AdminShutdown("terminating connection due to administrator command")

    monkeypatch.setattr(live_outcomes, "seen", lost)
    refused(site, DatabaseError, "the database is unavailable", lambda: site.tick(hour(1)))


def test_an_overtaken_tick_reads_again(site: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody pauses while the tick looks: the tick's look is taken again, on what is there now."""
    site.start()
    inner, times = advance.look, []

    def slow(*given: object, **options: object) -> object:
        times.append(1)
        if len(times) == 1:
            site.act(Pause("ben", "lunch"), hour(1))
        return inner(*given, **options)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(advance, "look", slow)
    done = site.tick(hour(1))
    assert (2, "the rollout is paused") == (len(times), done.held)
    assert ["start: started", "pause: paused", "look: looked"] == site.told()


def test_a_tick_that_is_always_overtaken_gives_up(site: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not spin."""
    site.start()

    def never(*_: object, **__: object) -> None:
        raise ConflictError("moved", hint="again")

    monkeypatch.setattr(rollouts, "move", never)
    refused(site, ConflictError, "moved", lambda: site.tick(hour(1)))


def test_ticks_at_once_do_it_once(site: Rolled) -> None:
    """Eight controllers at the same instant: one look, one advance."""
    site.start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: site.tick(hour(1)), range(8)))
    assert ["start: started", "look: looked"] == site.told()


# --- What people ask for --------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[Event, str]] = {
    "too early": (Promote("ada"), "step 1 lasts until"),
    "a share that is no step": (Promote("ada", to=70), "no step ahead has 70 %: there are 50, 100"),
    "over a step": (Promote("ada", to=100), "100 % is step 3, the next one is 2"),
    "an approval that nobody asks for": (Approve("ada"), "no step ahead waits for an approval"),
    "a resume without a pause": (Resume("ada"), "the rollout is not paused"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_changes_nothing(site: Rolled, case: str) -> None:
    """One line that says what would be needed, and the history is as it was."""
    site.start()
    event, said = REFUSALS[case]
    refused(site, StateError, said, lambda: site.act(event, hour(0.5)))


def test_a_promotion_on_red_is_refused(site: Rolled) -> None:
    """Its hours are over, but the last look says hold; forced with a reason it goes on, and says so."""
    site.start()
    site.tick(hour(2))
    refused(site, StateError, "the last look says hold", lambda: site.act(Promote("ada"), hour(2)))
    refused(site, UsageError, "--force without a reason", lambda: site.act(Promote("ada", force=True), hour(2)))
    assert 5000 == site.act(Promote("ada", force=True, why="a test of the feed"), hour(2)).weight_bp
    assert "promote: forced" == site.told()[-1]


def test_a_second_promotion_is_refused(site: Rolled) -> None:
    """The step that was begun has its own hours."""
    site.start()
    site.act(Promote("ada", force=True, why="x"), hour(1))
    refused(site, StateError, "step 2 lasts until", lambda: site.act(Promote("ada"), hour(1)))


@pytest.mark.parametrize("event", [Promote("ada"), Pause("ada"), Abort("ada", "off")], ids=lambda event: event.kind)
def test_nothing_moves_after_a_rollback(site: Rolled, event: Event) -> None:
    """A rollback ends it; a second one finds nothing to do, and is no error."""
    site.start()
    with site.connect() as conn:
        assert advance.roll_back(conn, "latest", by="ada", why="wrong", now=hour(1))[1]
        assert not advance.roll_back(conn, "latest", by="ada", why="wrong", now=hour(1))[1]
    refused(site, StateError, "the rollout is rolled back", lambda: site.act(event, hour(2)))


def test_approvals_are_waited_for(site: Rolled) -> None:
    """A simulated rollout stops where a person is asked for, says so, and goes on when the person has spoken."""
    steps = [{"percent": 50, "hours": 1}, {"percent": 100, "hours": 1, "approval": True}]
    other = with_strategy(site, strategy="asked", steps=steps)
    other.start()
    done = other.drive()
    assert "step 2 (100 %) waits for an approval" == watch.stuck(other.stored, done)
    other.act(Approve("ada", "seen"), done.rollout.state.last_at)
    assert "completed" == other.drive().rollout.phase
    other.check()


def test_a_rollback_after_the_end_brings_the_baseline_back(site: Rolled) -> None:
    """The old lock is taken out of the archive and in production; every check of it passes, it answers, once."""
    site.start()
    site.drive()
    with site.connect() as conn:
        found, moved = advance.roll_back(conn, "latest", by="ada", why="wrong", now=hour(7))
        active = locks.active(conn)
    assert (True, "rolled_back") == (moved, found.phase)
    assert active is not None
    assert site.made.narrow.config_hash == active[0].config_hash
    (made,) = notices.settle(site.connect, None, clock=lambda: hour(7), options=OPTIONS).checks
    assert ["routing", "active-lock", "table", "answer"] == [item["check"] for item in made.body["findings"]]
    assert "pass" == made.verdict, made.body
    site.check()


def test_a_rollback_to_a_damaged_baseline_is_told(site: Rolled) -> None:
    """Traffic is back, and the check says that the table is not what it was."""
    site.start()
    edit(site, "narrow")
    with site.connect() as conn:
        advance.roll_back(conn, "latest", by="ada", why="wrong", now=hour(1))
    notices.settle(site.connect, None, clock=lambda: hour(1), options=OPTIONS)
    with site.connect() as conn:
        made = records.latest(conn, "rollback_check", About(config_hash=site.made.narrow.config_hash))
    assert made is not None
    assert "fail" == made.verdict
    assert {"table": "fail"} == {
        item["check"]: item["verdict"] for item in made.body["findings"] if item["verdict"] != "pass"
    }
