"""The filled-in checklist rests on what was there when the rollout began, whatever was done afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bakeoff.adapters import locks, records
from bakeoff.adapters.records import About
from bakeoff.stages import runbook
from bakeoff.verdicts import Verdict
from tests import rolled
from tests.rolled import BEGAN, Rolled


@pytest.fixture(scope="module")
def base(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, evaluated, judged without probes."""
    with rolled.rolled(server_url, template, tmp_path_factory.mktemp("made")) as found:
        yield found


def test_what_came_after_the_start_is_not_ticked_as_what_it_rests_on(base: Rolled) -> None:
    """A second activation, probes and a judgement of a day later: the activation and judgement of before count."""
    later = BEGAN + timedelta(days=1)
    lock = base.stored.plan.candidate.config_hash
    with base.connect() as conn:
        judged = records.latest(conn, "judgement", About(plan_sha256=base.plan_sha256))
        assert judged is not None
        timed = records.add(conn, "timings", {}, about=About(plan_sha256=base.plan_sha256), at=judged.at)
        rests = {**judged.body, "timings": {"record": timed.record_id, "sha256": timed.sha256}}
        about = About(base.plan_sha256, lock)
        mine = records.add(conn, "judgement", {**rests, "verdict": "pass"}, about=about, at=judged.at,
                           verdict=Verdict.PASS)  # fmt: skip
    found = base.start(clock="wall", force=False)
    with base.connect() as conn:
        for kind in ("probes", "parity"):
            records.add(conn, kind, {}, about=About(config_hash=lock), at=later, verdict=Verdict.PASS)
        records.add(conn, "timings", {}, about=About(plan_sha256=base.plan_sha256), at=later)
        records.add(conn, "judgement", {**rests, "verdict": "pass"}, about=about, at=later, verdict=Verdict.PASS)
        locks.add_event(conn, base.made.narrow, "activated", at=later, reason="rolled back")
        made = runbook.course(conn, base.stored, found).made
        assert "first" == made["activate"].what
        assert f"record {mine.record_id}" == made["judgement"].what
        assert f"record {timed.record_id}" == made["timings"].what
        assert not {"probes", "parity"} & made.keys()
        before = runbook.course(conn, base.stored, None).made
        assert "rolled back" == before["activate"].what
