"""Seals of rollouts whose outcomes were pruned: what was sealed once is in every later seal, and each verifies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bakeoff import claims, routing
from bakeoff.adapters import live_outcomes, policies, rollouts
from bakeoff.errors import IntegrityError
from bakeoff.outcomes import Outcome
from bakeoff.rollout import Abort, Rollback
from bakeoff.routing import Arm
from bakeoff.sealed import Live
from bakeoff.stages import prune
from bakeoff.stages.seal import Made
from tests import rolled
from tests.db.test_seal import KEYS, Site, refused, said
from tests.db.test_seal_rollouts import checked, outcomes
from tests.rolled import BEGAN, Rolled

HOUR = timedelta(hours=1)
EVER = date(2040, 1, 1)


@pytest.fixture(scope="module")
def source(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, evaluated, judged."""
    with rolled.rolled(server_url, template, tmp_path_factory.mktemp("pruned")) as found:
        yield found


@pytest.fixture
def site(server_url: str, source: Rolled, tmp_path: Path) -> Iterator[Site]:
    """A copy to be moved."""
    with rolled.copy_of(server_url, source) as found:
        yield Site(found, tmp_path / "seals")


def pruned(site: Site, before: date = EVER, **given: Any) -> prune.Pruned:
    """What became of the days before one."""
    with site.of.connect() as conn:
        return prune.run(conn, before=before, **given)


def arrive(site: Site, rollout_id: str, found: Iterable[Outcome], step: int = 1) -> None:
    """Store outcomes of a step."""
    with site.of.connect() as conn:
        live_outcomes.add(conn, rollout_id, [(step, one) for one in found])


def rows(site: Site, made: Made) -> list[Live]:
    """The sealed outcomes."""
    return [Live(*row) for row in site.rows(made)["outcomes"]]


def holds(site: Site, made: Made) -> None:
    """Every claim holds but for that about outcomes which nobody routed."""
    report = claims.check(made.seal.envelope, site.rows(made), keys=KEYS, recompute=True)
    failed = [claim for claim in report.claims if claim.holds is False]
    assert [] == [claim for claim in failed if claim.name != "routing again"]


def bare(found: list[Live]) -> list[Live]:
    """The same without the numbers of their units and their places of arrival."""
    return [one._replace(unit=None, arrived=None) for one in found]


def one(at: datetime, unit: str | None, name: str, arm: int = 0) -> Outcome:
    """An outcome."""
    return Outcome(at, arm, unit, ok=True, latency_ms=3.5, quality=None, outcome_id=name)


def test_taken_back_after_seal_and_prune(site: Site) -> None:
    """Completed, sealed, pruned, rolled back: the new seal has all outcomes as they were, and every look holds."""
    site.of.start()
    site.of.drive()
    first = site.seal()
    assert len(pruned(site).dropped) >= 1
    assert [] == site.of.outcomes()
    assert not site.seal().new
    site.of.act(Rollback(by="ann", why="afterwards"), site.of.found().state.last_at + HOUR)
    again = site.seal()
    assert (True, "rolled_back", ()) == (again.new, again.seal.outcome, again.notes)
    assert rows(site, first) == rows(site, again)
    assert said(first)["rollout"]["outcomes"] == said(again)["rollout"]["outcomes"]
    assert checked(site, again)["looks again"].holds
    assert not site.seal().new


def test_without_a_look(site: Site) -> None:
    """No look misses them, yet no later seal has fewer outcomes than the one before."""
    found = site.of.start()
    arrive(site, found.rollout_id, outcomes(BEGAN, "u", units=30))
    site.of.act(Abort(by="bob", why="enough"), BEGAN + 2 * HOUR)
    first = site.seal()
    pruned(site)
    later = one(BEGAN + HOUR, "new", "late")
    arrive(site, found.rollout_id, [later])
    again = site.seal()
    assert [True, True, 30, 31] == [first.new, again.new, len(rows(site, first)), len(rows(site, again))]
    holds(site, again)


def test_one_day_of_two(site: Site) -> None:
    """What is left is not counted twice, and units that are named by it keep their number, whoever came since."""
    found = site.of.start()
    days = [BEGAN + timedelta(days=n) for n in range(2)]
    arrive(site, found.rollout_id, outcomes(days[0], "a", units=60), 1)
    arrive(
        site,
        found.rollout_id,
        [replace(x, outcome_id=f"d2-{x.outcome_id}") for x in outcomes(days[1], "a", units=30)],
        2,
    )
    site.of.act(Abort(by="bob", why="enough"), BEGAN + 48 * HOUR)
    first = rows(site, site.seal())
    pruned(site, days[1].date())
    came = [one(days[0] + timedelta(minutes=n), name, f"late-{n}") for n, name in enumerate(("a6", "b0", None, "a6"))]
    arrive(site, found.rollout_id, came)
    made = site.seal()
    holds(site, made)
    again = rows(site, made)
    assert len(first) + 4 == len(again)
    late = sorted((x for x in again if x.arrived is not None and x.arrived >= len(first)), key=lambda x: x.arrived or 0)
    assert [x.at for x in late] == [x.at.astimezone(UTC).isoformat() for x in came]
    assert late[0].unit == late[3].unit != late[1].unit
    assert None is late[2].unit
    known = [x for x in again if x.bucket == routing.bucket(found.salt, "a6") and x not in late]
    assert {late[0].unit} == {x.unit for x in known}
    others = [x for x in again if x not in late]
    assert bare(first) == bare(others)
    assert [x.arrived for x in first] == [x.arrived for x in others]
    assert len({x.unit for x in first} - {None}) + 1 == len({x.unit for x in again} - {None})


def test_units_that_are_not_known_again(site: Site) -> None:
    """Their names are in no seal: they count as new, and that is said where they may have been there before."""
    found = site.of.start()
    arrive(site, found.rollout_id, [one(BEGAN + timedelta(minutes=n), f"a{n}", f"x{n}") for n in range(5)])
    site.of.act(Abort(by="bob", why="enough"), BEGAN + 2 * HOUR)
    site.seal()
    pruned(site)
    arrive(site, found.rollout_id, [one(BEGAN + HOUR, name, name) for name in ("a3", "brand new")])
    made = site.seal()
    holds(site, made)
    assert [7] == [item["units"] for item in said(made)["rollout"]["outcomes"]["by_step"]]
    pruned_names = "though outcomes of it may have been sealed before: their names were pruned"
    assert (f"1 unit of {found.rollout_id} counts as new, {pruned_names}",) == made.notes


def test_sent_again_after_prune(site: Site) -> None:
    """Whoever sends an old file again adds nothing: these outcomes are in the seal."""
    found = site.of.start()
    old = outcomes(BEGAN, "u", units=30, each=2)
    arrive(site, found.rollout_id, old)
    site.of.act(Abort(by="bob", why="enough"), BEGAN + 2 * HOUR)
    first = site.seal()
    pruned(site)
    arrive(site, found.rollout_id, old[10:40])
    again = site.seal()
    assert (False, first.seal.number) == (again.new, again.seal.number)
    arrive(site, found.rollout_id, [one(BEGAN + HOUR, "u3", "more")])
    made = site.seal()
    holds(site, made)
    units = [{x.unit for x in rows(site, item)} for item in (first, made)]
    assert (61, units[0]) == (len(rows(site, made)), units[1])


def test_who_was_forced_is_still_known(site: Site) -> None:
    """What people said of a unit that was sealed with a number tells that number after a prune, too."""
    with site.of.connect() as conn:
        found = site.of.start(clock="wall", now=rollouts.server_time(conn))
        policies.say(conn, "forced", by="eve", reason="complained", unit="client-7", arm=Arm.BASELINE)
        now = rollouts.server_time(conn)
    arrive(site, found.rollout_id, [one(now + timedelta(milliseconds=n + 1), name, f"x{n}") for n, name in
                                    enumerate(("other", "client-7", "client-8"))])  # fmt: skip
    site.of.act(Abort(by="bob", why="enough"), now + timedelta(seconds=1))
    first = site.seal()
    pruned(site)
    arrive(site, found.rollout_id, [one(now, "client-7", "late")])
    made = site.seal()
    assert [1, 0] == [said(item)["rollout"]["routing"][0]["unit"] for item in (first, made)]
    assert [0, 1, 0, 2] == [item.unit for item in rows(site, made)]
    assert () == made.notes
    checked(site, made)


def test_dropped_though_no_seal_has_them(site: Site) -> None:
    """It was asked for: a look knew them, so nothing can be sealed any more, and the error says what was done."""
    found = site.of.start()
    site.of.drive()
    assert [found.rollout_id] == [item.rollout_id for item in pruned(site, unsealed=True).lost]
    error = refused(site, IntegrityError, "0 outcomes are left, others than its looks counted")
    assert "outcomes were deleted or pruned (--unsealed) before they were sealed" in str(error.hint)


def test_a_changed_seal_gives_no_rows(site: Site) -> None:
    """What is taken from a seal is what was signed."""
    site.of.start()
    site.of.drive()
    site.seal()
    pruned(site)
    site.of.act(Rollback(by="ann", why="afterwards"), site.of.found().state.last_at + HOUR)
    site.tamper("seals", "SET rows = convert_to(replace(convert_from(rows, 'UTF8'), 'candidate', 'baseline'), 'UTF8')")
    refused(site, IntegrityError, "seal 1 in the database is not what was signed: its rows are others")


def test_deleted_after_the_seal(site: Site) -> None:
    """A part of one day, by hand: the seal has it all the same."""
    site.of.start()
    site.of.drive()
    first = site.seal()
    with psycopg.connect(site.of.url, autocommit=True) as conn:
        conn.execute("DELETE FROM bakeoff.outcomes WHERE step = 2")
    site.of.act(Rollback(by="ann", why="afterwards"), site.of.found().state.last_at + HOUR)
    made = site.seal()
    assert rows(site, first) == rows(site, made)
    checked(site, made)
