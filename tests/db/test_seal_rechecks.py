"""Seals of rollouts whose KPIs were measured anew: whatever came of that, they verify when they are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from bakeoff import claims
from bakeoff.errors import ModelError
from bakeoff.rollout import Abort
from bakeoff.stages import evaluate
from bakeoff.stages.seal import Made
from tests import rolled, support
from tests.db.test_seal import KEYS, Site, said
from tests.rolled import BEGAN, Rolled

HOUR = timedelta(hours=1)
STEPS = [{"percent": 50, "hours": 2}, {"percent": 100, "hours": 1}]


@pytest.fixture(scope="module")
def source(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, evaluated, judged; the KPIs are measured anew before each step."""
    with rolled.rolled(server_url, template, tmp_path_factory.mktemp("rechecks")) as found:
        yield rolled.with_strategy(found, strategy="checked", steps=STEPS, recheck_at_steps=True)


@pytest.fixture
def site(server_url: str, source: Rolled, tmp_path: Path) -> Iterator[Site]:
    """A copy to be moved."""
    with rolled.copy_of(server_url, source) as found:
        yield Site(found, tmp_path / "seals")


def rechecks(site: Site, made: Made) -> list[dict[str, Any]]:
    """What was measured anew, of a seal that verifies with all derived again."""
    report = claims.check(made.seal.envelope, site.rows(made), keys=KEYS, recompute=True)
    assert [] == [claim for claim in report.claims if claim.holds is False]
    found: list[dict[str, Any]] = said(made)["records"]["rechecks"]
    return found


def test_measured_more_than_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One could not be taken, the others passed; meanwhile somebody judged and took timings."""
    inner, times = evaluate.run, []

    def sometimes(*given: Any, **options: Any) -> Any:
        times.append(1)
        if len(times) == 1:
            raise ModelError("the embedder is gone", hint="bring it back")
        return inner(*given, **options)

    site.of.start()
    monkeypatch.setattr(evaluate, "run", sometimes)
    site.of.made.judge(site.of.stored)
    assert "completed" == site.of.drive().rollout.phase
    found = rechecks(site, site.seal())
    assert ["error", "pass", "pass"] == [item["verdict"] for item in found]
    assert [False, True, True] == ["judgement" in item["body"] for item in found]


def test_a_baseline_that_was_changed_and_put_back(site: Site) -> None:
    """Nothing could be compared meanwhile: an error without findings; then it was ended by hand."""
    site.of.start()
    table, change = site.of.made.narrow.table_name, "UPDATE {table} SET text = %s WHERE ordinal = 0 RETURNING 1"
    ((text,),) = support.rows(site.of.url, "SELECT text FROM {table} WHERE ordinal = 0", table=table)
    with site.of.connect() as conn:
        statement = sql.SQL(change).format(table=sql.Identifier(table))
        conn.execute(statement, (text + ".",))
        site.of.tick(BEGAN + 2 * HOUR)
        conn.execute(statement, (text,))
    site.of.act(Abort(by="bob", why="enough"), BEGAN + 3 * HOUR)
    assert ["error"] == [item["verdict"] for item in rechecks(site, site.seal())]
