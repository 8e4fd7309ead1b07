"""What a seal says of rollouts: looks that can be taken again, who said what about routing, and that none drops out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from bakeoff import claims, routing
from bakeoff.adapters import live_outcomes, policies, rollouts
from bakeoff.adapters.rollouts import Rollout
from bakeoff.errors import IntegrityError, NotFoundError, StateError
from bakeoff.outcomes import Outcome
from bakeoff.rollout import Abort, Rollback
from bakeoff.routing import Arm
from bakeoff.stages.seal import Made
from tests import moved, rolled, support
from tests.db.test_seal import KEYS, Site, refused, said
from tests.rolled import BEGAN, Rolled

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def source(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, evaluated, judged."""
    with rolled.rolled(server_url, template, tmp_path_factory.mktemp("seal")) as found:
        yield rolled.with_strategy(
            found,
            watch={
                "errors": {"margin": 0.02, "base_rate": 0.98, "at_least": 0.5},
                "quality": {"margin": 0.1, "base_rate": 0.6},
                "latency_p50": {"margin": 0.5},
                "latency_p95": {"margin": 0.5},
            },
        )


@pytest.fixture
def site(server_url: str, source: Rolled, tmp_path: Path) -> Iterator[Site]:
    """A copy to be moved; moves are written at the instants that the tests give them."""
    with rolled.copy_of(server_url, source) as found:
        with found.connect() as conn:
            moved.recorded_as_told(conn)
        yield Site(found, tmp_path / "seals")


def checked(site: Site, made: Made) -> dict[str, claims.Claim]:
    """Every claim by its name, with all derived again; all hold."""
    report = claims.check(made.seal.envelope, site.rows(made), keys=KEYS, recompute=True)
    assert [] == [claim for claim in report.claims if claim.holds is False]
    return {claim.name: claim for claim in report.claims}


def arrive(site: Site, rows: Iterable[tuple[int, Outcome]]) -> None:
    """Store outcomes with their steps."""
    with site.of.connect() as conn:
        live_outcomes.add(conn, rollouts.find(conn).rollout_id, rows)


def outcomes(since: datetime, prefix: str, *, units: int, each: int = 1) -> list[Outcome]:
    """Outcomes of the first hour after *since*, in both arms, of units that come back; some of them name none."""
    found = []
    for number in range(units * each):
        who, at = number % units, since + timedelta(seconds=10 + 3590 * number / (units * each))
        arm = int(who % 3 == 0)
        unit = None if number % 13 == 5 and arm == 0 else f"{prefix}{who}"
        quality = None if number % 5 == 0 else (number * 37 % 101) / 101
        latency = None if number % 4 == 0 else 10.0 + number * 53 % 997 / 7
        found.append(Outcome(at, arm, unit, number % 40 != 7, latency, quality, f"{prefix}-{number}"))
    return found


def test_every_look_can_be_taken_again(site: Site) -> None:
    """From the sealed rows every figure of every look follows, also in steps that units come back in."""
    site.of.start()
    site.of.drive()
    made = site.seal()
    found = checked(site, made)
    assert (True, True) == (found["looks again"].holds, found["routing again"].holds)
    looks = [item["body"]["event"] for item in said(made)["rollout"]["events"] if item["event"] == "look"]
    assert len(looks) >= 6
    counts = [look["known"] for look in looks]
    assert counts == sorted(counts)
    assert len(site.rows(made)["outcomes"]) >= counts[-1] > 0


def test_outcomes_that_came_late(site: Site) -> None:
    """A look is taken again on what was there by then, however late other outcomes of the time before it came."""
    site.of.start()
    first = outcomes(BEGAN, "a", units=150, each=2)
    arrive(site, [(1, item) for item in first if int(item.outcome_id[2:]) % 3])
    site.of.tick(BEGAN + HOUR)
    arrive(site, [(1, item) for item in first if not int(item.outcome_id[2:]) % 3])
    arrive(site, [(1, item) for item in outcomes(BEGAN + HOUR, "a", units=150)])
    site.of.tick(BEGAN + 2 * HOUR)
    arrive(site, [(1, replace(item, outcome_id=f"late-{item.outcome_id}")) for item in first[:50]])
    arrive(site, [(2, item) for item in outcomes(BEGAN + 2 * HOUR, "a", units=150)])
    site.of.tick(BEGAN + 3 * HOUR)
    site.of.act(Abort(by="bob", why="enough"), BEGAN + 4 * HOUR)
    assert ["look: looked", "look: looked", "advance: promoted", "look: looked"] == site.of.told()[1:-1]
    made = site.seal()
    report = claims.check(made.seal.envelope, site.rows(made), keys=KEYS, recompute=True)
    by_name = {claim.name: claim for claim in report.claims}
    assert (True, True) == (by_name["live outcomes"].holds, by_name["looks again"].holds)
    looks = [item["body"]["event"] for item in said(made)["rollout"]["events"] if item["event"] == "look"]
    assert [200, 450, 650] == [look["known"] for look in looks]


def test_looks_that_do_not_say_what_they_knew(site: Site) -> None:
    """Nothing ties them to the outcomes: such a rollout is not sealed."""
    site.of.start()
    site.of.tick(BEGAN + HOUR)
    site.of.act(Abort(by="bob", why="enough"), BEGAN + HOUR)
    site.tamper("rollout_events", "SET body = body #- '{event,known}' #- '{event,taken_at}' WHERE event = 'look'")
    refused(site, IntegrityError, r"\.known: expected .*how many outcomes it rests on")


def test_outcomes_that_were_deleted(site: Site) -> None:
    """A look knew more than there is: nothing is sealed of it."""
    site.of.start()
    site.of.drive()
    with psycopg.connect(site.of.url, autocommit=True) as conn:
        conn.execute("DELETE FROM bakeoff.outcomes WHERE arm = 1 AND step = 2")
    refused(site, IntegrityError, r"of r\d+-1 \d+ outcomes are left, others than its looks counted: .*\.known: ")


def test_outcomes_that_were_deleted_while_others_came(site: Site) -> None:
    """As many are left as the looks knew, but not those: what `verify` would refuse is not sealed."""
    site.of.start()
    site.of.drive()
    with site.of.connect() as conn:
        ended = rollouts.find(conn).state.last_at
    arrive(site, [(2, one) for one in outcomes(ended, "later", units=40)])
    with psycopg.connect(site.of.url, autocommit=True) as conn:
        statement = "DELETE FROM bakeoff.outcomes WHERE outcome_id IN (SELECT outcome_id FROM bakeoff.outcomes "
        conn.execute(statement + "WHERE arm = 1 ORDER BY at LIMIT 20)")
    refused(site, IntegrityError, r"of r\d+-1 \d+ outcomes are left, others than its looks counted: ")


def test_outcomes_that_were_pruned_after_the_seal(site: Site) -> None:
    """They are in the seal: it is the answer, and nothing is sealed again."""
    site.of.start()
    site.of.drive()
    first = site.seal()
    with psycopg.connect(site.of.url, autocommit=True) as conn:
        conn.execute("DELETE FROM bakeoff.outcomes WHERE step = 1")
    for ref in ("latest", first.seal.rollout_id):
        again = site.seal(ref=ref)
        assert (False, first.seal.number) == (again.new, again.seal.number)


# --- Routing ----------------------------------------------------------------------------------------------------------


def on_the_wall(site: Site) -> Rollout:
    """A rollout that moves real traffic, from now on."""
    with site.of.connect() as conn:
        return site.of.start(clock="wall", now=rollouts.server_time(conn))


def test_who_killed_and_forced_routing(site: Site) -> None:
    """Kill, unkill, force and unforce are sealed with who and why, and what held before; a unit is no name."""
    with site.of.connect() as conn:
        policies.say(conn, "forced", by="ada", reason="our own tester", unit="tester-0", arm=Arm.CANDIDATE)
        policies.say(conn, "forced", by="ada", reason="gone by then", unit="tester-9", arm=Arm.CANDIDATE)
        policies.say(conn, "unforced", by="ada", reason="gone", unit="tester-9")
        conn.execute("ALTER TABLE route_events DISABLE TRIGGER USER")
        conn.execute("UPDATE route_events SET at = at - interval '1 day'")
    found = on_the_wall(site)
    with site.of.connect() as conn:
        policies.say(conn, "killed", by="bob", reason="PANIC")
        policies.say(conn, "unkilled", by="bob", reason="over")
        policies.say(conn, "forced", by="eve", reason="complained", unit="client-7", arm=Arm.BASELINE)
        policies.say(conn, "shadow_off", by="eve", reason="busy")
        now = rollouts.server_time(conn)
    at = [now + timedelta(milliseconds=number) for number in range(3)]
    arrive(site, [
        (1, Outcome(at[0], 0, "client-7", ok=True, latency_ms=1.0, quality=None, outcome_id="a")),
        (1, Outcome(at[1], 1, "by-a-header", ok=True, latency_ms=1.0, quality=None, outcome_id="b")),
        (1, Outcome(at[2], 0, None, ok=True, latency_ms=1.0, quality=None, outcome_id="c")),
    ])  # fmt: skip
    site.of.act(Abort(by="bob", why="enough"), now + timedelta(seconds=1))
    made = site.seal()
    body = said(made)
    wanted = [
        ("force to candidate", "ada", "our own tester"), ("start", "ada", body["forced"][1]["why"]),
        ("kill", "bob", "PANIC"), ("unkill", "bob", "over"), ("force to baseline", "eve", "complained"),
        ("abort", "bob", "enough"),
    ]  # fmt: skip
    assert wanted == [(item["what"], item["by"], item["why"]) for item in body["forced"]]
    events = [(item["event"], item["unit"], item["arm"]) for item in body["rollout"]["routing"]]
    assert [("forced", None, "candidate"), ("killed", None, None), ("unkilled", None, None), ("forced", 0, "baseline"),
            ("shadow_off", None, None)] == events  # fmt: skip
    assert routing.bucket(found.salt, "client-7") == body["rollout"]["routing"][3]["bucket"]
    text = made.seal.envelope.payload.decode() + (site.folder / f"{made.seal.stem}.rows.json").read_text()
    assert [] == [unit for unit in ("client-7", "tester-0", "by-a-header") if unit in text]
    claim = checked(site, made)["routing again"]
    assert None is claim.holds
    assert "of 3 arms" in claim.said
    assert "1 name no unit" in claim.said


def test_a_rehearsal_has_no_routing(site: Site) -> None:
    """What people say about routing is about real traffic."""
    site.of.start()
    with site.of.connect() as conn:
        policies.say(conn, "killed", by="bob", reason="PANIC")
    site.of.act(Abort(by="bob", why="enough"), BEGAN + HOUR)
    body = said(site.seal())
    assert ([], ["start", "abort"]) == (body["rollout"]["routing"], [item["what"] for item in body["forced"]])


# --- None drops out ---------------------------------------------------------------------------------------------------


def three(site: Site) -> list[str]:
    """Three rollouts of a plan that ended, the first of them with real traffic."""
    found = []
    for clock in ("wall", "simulated", "simulated"):
        made = on_the_wall(site) if clock == "wall" else site.of.start()
        found.append(made.rollout_id)
        site.of.act(Rollback(by="ann", why=f"enough of {made.rollout_id}"), made.started_at + SECOND)
    return found


def sealed(site: Site) -> list[str]:
    """Whose seals there are, in order."""
    return [row[0] for row in support.rows(site.of.url, "SELECT rollout_id FROM seals ORDER BY number")]


def test_every_rollout_that_ended_is_sealed(site: Site) -> None:
    """Oldest first, a seal each, in one call; a later one after what was sealed; then none is left."""
    ids = three(site)
    made = site.seal()
    assert ids == sealed(site)
    assert (True, ids[2], ids[:2]) == (made.new, made.seal.rollout_id, [item.rollout_id for item in made.before])
    for one in (*made.before, made.seal):
        assert f"enough of {one.rollout_id}" == said(Made(one, new=True))["forced"][-1]["why"]
        checked(site, Made(one, new=True))
    again = site.seal()
    assert (False, ()) == (again.new, again.before)


def test_one_rollout_by_its_id(site: Site) -> None:
    """That one alone, also while a later one is on its way; the others follow with the plan's seal."""
    ids = three(site)
    assert [ids[1]] == [site.seal(ref=ids[1]).seal.rollout_id]
    assert [ids[1]] == sealed(site)
    running = site.of.start()
    error = refused(site, StateError, f"{running.rollout_id} is running")
    assert f"bakeoff seal --plan {ids[2]}" in str(error.hint)
    refused(site, StateError, f"{running.rollout_id} is running", ref=running.rollout_id)
    refused(site, NotFoundError, "r20200101-1", ref="r20200101-1")
    site.of.act(Abort(by="bob", why="enough"), running.started_at + HOUR)
    made = site.seal()
    assert [ids[1], ids[0], ids[2], running.rollout_id] == sealed(site)
    assert [ids[0], ids[2]] == [item.rollout_id for item in made.before]


def test_a_history_whose_last_instant_has_not_come(site: Site) -> None:
    """A clock was ahead, or the own one is behind: what `verify` would refuse is not sealed before it has come."""
    made = on_the_wall(site)
    site.of.act(Abort(by="bob", why="enough"), made.started_at + SECOND)
    error = refused(site, StateError, "which has not come yet", now=made.started_at - HOUR)
    assert "after that instant" in str(error.hint)
    assert site.seal(now=made.started_at + HOUR).new


def test_an_earlier_one_whose_last_instant_has_not_come(site: Site) -> None:
    """It keeps nobody from the seal of the newest; it is named, and sealed when its time has come."""
    ids = three(site)
    with site.of.connect() as conn:
        first = rollouts.find(conn, ids[0])
    made = site.seal(now=first.started_at - HOUR)
    assert (ids[1:], 1) == (sealed(site), len(made.left))
    assert made.left[0].startswith(f"{ids[0]} has no seal yet: {ids[0]} last moved at ")
    later = site.seal(now=first.started_at + HOUR)
    assert ([*ids[1:], ids[0]], (), False) == (sealed(site), later.left, later.new)


def test_one_that_can_not_be_sealed_any_more(site: Site) -> None:
    """It is said so, and the newest is sealed all the same."""
    ids = three(site)
    site.tamper("rollout_events", f"SET body = jsonb_set(body, '{{state,step}}', '3') WHERE rollout_id = '{ids[0]}'")
    made = site.seal()
    assert ids[1:] == sealed(site)
    assert [f"{ids[0]} has no seal, and can't be sealed any more"] == [words.split(":")[0] for words in made.left]


def test_a_rollout_that_was_taken_back_after_its_seal(site: Site) -> None:
    """It is sealed again: what was sealed is not all that happened."""
    site.of.start()
    site.of.drive()
    first = site.seal()
    assert "completed" == first.seal.outcome
    with site.of.connect() as conn:
        found = rollouts.find(conn)
    site.of.act(Rollback(by="ann", why="afterwards"), found.state.last_at + HOUR)
    site.of.start()
    site.of.act(Abort(by="bob", why="enough"), BEGAN + HOUR)
    made = site.seal()
    assert [("rolled_back", found.rollout_id)] == [(item.outcome, item.rollout_id) for item in made.before]
    assert 3 == made.seal.number
