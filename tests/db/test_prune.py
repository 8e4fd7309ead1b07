"""Old outcomes in a real database: which days go, which stay for which rollout, and that all is done or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from bakeoff.adapters import live_outcomes
from bakeoff.errors import DatabaseError
from bakeoff.outcomes import Outcome
from bakeoff.rollout import Abort, Rollback
from bakeoff.stages import prune
from bakeoff.stages.prune import Kept, Pruned, Why
from tests import rolled, support
from tests.db.test_seal import Site
from tests.rolled import BEGAN, Rolled

HOUR = timedelta(hours=1)
EVER = date(2030, 1, 1)
DAY = BEGAN.date()


@pytest.fixture(scope="module")
def source(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, evaluated, judged."""
    with rolled.rolled(server_url, template, tmp_path_factory.mktemp("prune")) as found:
        yield found


@pytest.fixture
def site(server_url: str, source: Rolled, tmp_path: Path) -> Iterator[Site]:
    """A copy to be moved."""
    with rolled.copy_of(server_url, source) as found:
        yield Site(found, tmp_path / "seals")


def pruned(site: Site, before: date = EVER, *, unsealed: bool = False) -> Pruned:
    """What became of the days before one."""
    with site.of.connect() as conn:
        return prune.run(conn, before=before, unsealed=unsealed)


def arrive(site: Site, rollout_id: str, *instants: datetime, prefix: str = "x") -> None:
    """Store an outcome of each instant."""
    with site.of.connect() as conn:
        rows = [
            (1, Outcome(at, 0, f"u{n}", ok=True, latency_ms=1.0, quality=None, outcome_id=f"{prefix}{n}"))
            for n, at in enumerate(instants)
        ]
        live_outcomes.add(conn, rollout_id, rows)


def left(site: Site) -> list[tuple[str, date]]:
    """Whose outcomes there are, by day."""
    found = support.rows(site.of.url, "SELECT DISTINCT rollout_id, at FROM outcomes ORDER BY at, rollout_id")
    return list(dict.fromkeys((rollout_id, at.astimezone(UTC).date()) for rollout_id, at in found))


def test_nothing_is_there(site: Site) -> None:
    """Nothing is dropped, nothing is kept."""
    assert Pruned((), ()) == pruned(site)
    assert Pruned((), ()) == pruned(site, unsealed=True)


def test_days_of_a_rollout_on_its_way(site: Site) -> None:
    """They stay from its start on, whatever is asked for; those before go."""
    found = site.of.start()
    arrive(site, found.rollout_id, *(BEGAN + timedelta(days=n) for n in (-1, 0, 1)))
    days = (DAY, DAY + timedelta(days=1))
    wanted = Pruned((DAY - timedelta(days=1),), days, (Kept(found.rollout_id, Why.ON_ITS_WAY, days),))
    assert wanted == pruned(site, unsealed=True)
    assert Pruned((), days, wanted.by) == pruned(site)
    assert [(found.rollout_id, day) for day in days] == left(site)


def test_days_of_one_that_ended_stay_until_it_is_sealed(site: Site) -> None:
    """Whole days before a date; then the seal has them, and they go."""
    found = site.of.start()
    arrive(site, found.rollout_id, *(BEGAN + timedelta(days=n) for n in range(3)))
    days = tuple(DAY + timedelta(days=n) for n in range(3))
    site.of.act(Abort(by="ada", why="enough"), BEGAN + 72 * HOUR)
    assert Pruned((), days, (Kept(found.rollout_id, Why.UNSEALED, days),)) == pruned(site)
    assert Pruned((), days[:2], (Kept(found.rollout_id, Why.UNSEALED, days[:2]),)) == pruned(site, days[2])
    site.seal()
    assert Pruned(days[:2], ()) == pruned(site, days[2])
    assert [(found.rollout_id, days[2])] == left(site)


def test_what_no_seal_has_goes_where_it_is_asked_for(site: Site) -> None:
    """It is said whose outcomes those were; the rollout on its way keeps its days."""
    first = site.of.start()
    arrive(site, first.rollout_id, BEGAN, BEGAN + 24 * HOUR)
    site.of.act(Abort(by="ada", why="enough"), BEGAN + 30 * HOUR)
    second = site.of.start(now=BEGAN + 31 * HOUR)
    arrive(site, second.rollout_id, BEGAN + 32 * HOUR)
    later = (DAY + timedelta(days=1),)
    found = pruned(site, unsealed=True)
    keeps = Kept(second.rollout_id, Why.ON_ITS_WAY, later)
    assert Pruned((DAY,), later, (keeps,), (Kept(first.rollout_id, Why.UNSEALED, (DAY,)),)) == found
    assert [(first.rollout_id, later[0]), (second.rollout_id, later[0])] == left(site)


def test_a_seal_of_an_earlier_version_is_not_enough(site: Site) -> None:
    """A rollout that was taken back after its seal keeps what it has until it is sealed again."""
    found = site.of.start()
    site.of.drive()
    site.seal()
    site.of.act(Rollback(by="ann", why="afterwards"), site.of.found().state.last_at + HOUR)
    assert (Kept(found.rollout_id, Why.UNSEALED, (DAY,)),) == pruned(site).by
    site.seal()
    assert Pruned((DAY,), ()) == pruned(site)
    assert [] == left(site)


def test_what_came_after_the_seal(site: Site) -> None:
    """Its day stays, and no other, until it is sealed, too; the same outcomes sent again are nothing new."""
    found = site.of.start()
    both = (BEGAN + HOUR, BEGAN + 25 * HOUR)
    arrive(site, found.rollout_id, *both)
    site.of.act(Abort(by="ada", why="enough"), BEGAN + 48 * HOUR)
    site.seal()
    days = (DAY, DAY + timedelta(days=1))
    arrive(site, found.rollout_id, BEGAN + 26 * HOUR, prefix="late")
    assert Pruned(days[:1], days[1:], (Kept(found.rollout_id, Why.LATER, days[1:]),)) == pruned(site)
    assert site.seal().new
    assert Pruned(days[1:], ()) == pruned(site)
    arrive(site, found.rollout_id, *both)
    assert Pruned(days, ()) == pruned(site)


def test_all_of_it_or_nothing(site: Site) -> None:
    """Where one day can't be dropped none is."""
    found = site.of.start()
    arrive(site, found.rollout_id, BEGAN, BEGAN + 24 * HOUR)
    site.of.act(Abort(by="ada", why="enough"), BEGAN + 30 * HOUR)
    before = left(site)
    with psycopg.connect(site.of.url, autocommit=True) as conn:
        conn.execute("CREATE VIEW public.leans AS SELECT at FROM bakeoff.outcomes_20260303")
    with pytest.raises(DatabaseError, match="other objects depend on it"):
        pruned(site, unsealed=True)
    assert before == left(site)
