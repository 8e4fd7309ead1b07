"""Projects in the situations that runbooks are about, each a copy of one that was judged."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from psycopg import sql

from bakeoff import canary
from bakeoff.adapters import clock, embedded, embedders, keys, migrations, plans, postgres, rollouts, standard
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.settings import Settings, Values
from bakeoff.cli import _planning, _running
from bakeoff.rollout import Action, Advance, Event, Look, Rollback, Start
from bakeoff.stages import plan, run, seal
from bakeoff.stages.run_steps import Going
from bakeoff.verdicts import Verdict
from tests import support
from tests.planned import GATES

GREEN = Look(Action.GO, Verdict.PASS, 1000, "all green", rechecked=True)
STEPS = [{"percent": 10, "hours": 16}, {"percent": 50, "hours": 16}, {"percent": 100, "hours": 16}]
ROLLOUT = {"strategy": "48h", "watch": {"quality": {"margin": 0.4, "base_rate": 0.6}}, "steps": STEPS}
SMALL = {"profile": "small", "resamples": 1000}
OUTCOMES = (
    '{"arm": "baseline", "ok": true, "unit": "u1", "latency_ms": 120, "quality": 1}\n'
    '{"arm": "candidate", "ok": true, "unit": "u2", "latency_ms": 110, "quality": 1}\n'
)
BROKEN = {"probes": [{"name": "broken", "kind": "jq", "over": "lock", "program": ".["}]}


@dataclass(frozen=True)
class Judged:
    """A folder with the files that runbooks name, and a database in which the candidate was judged."""

    folder: Path
    database: str
    url: str
    going: Going

    @property
    def names(self) -> dict[str, str]:
        """What the words of a runbook stand for here."""
        sides = self.going.sides
        return {
            "PLAN": self.going.plan.plan.short,
            "BASELINE": sides["baseline"].config_hash,
            "CANDIDATE": sides["candidate"].config_hash,
            "CORPUS": "corpus.jsonl",
        }


def _files(folder: Path) -> dict[str, Any]:
    """Write what runbooks name, and return what a run is given."""
    documents = support.topics(10, 2500)
    support.write_jsonl(folder / "corpus.jsonl", documents)
    for name, each in (("QUESTIONS", 4), ("MORE", 5)):
        asked = support.quotes_of(documents, each=each)
        other = [item | {"question": " ".join(item["question"].split()[::-1])} for item in asked]
        support.write_questions(folder / f"{name}.jsonl", other)
    written: Mapping[str, Any] = {
        "a": support.parts(),
        "b": support.parts(chunking={"size": 80}),
        "GATES": {**SMALL, "gates": [*GATES]},
        "WIDER": {**SMALL, "gates": [{**GATES[0], "margin": 0.5}]},
        "FEW": {**SMALL, "gates": [{**GATES[0], "minimum": 500}]},
        "ROLLOUT": ROLLOUT,
        "APPROVAL": {**ROLLOUT, "steps": [STEPS[0], {**STEPS[1], "approval": True}, STEPS[2]]},
        "BROKEN": BROKEN,
    }
    for name, value in written.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(value))
    (folder / "outcomes.jsonl").write_text(OUTCOMES)
    given = {"baseline_config": "a", "candidate_config": "b", "gates": "GATES", "rollout": "ROLLOUT"}
    paths: dict[str, Any] = {name: folder / f"{file}.yaml" for name, file in given.items()}
    return paths | {"questions": str(folder / "QUESTIONS.jsonl"), "corpus": str(folder / "corpus.jsonl")}


@contextmanager
def judged(server_url: str, template: str, folder: Path) -> Iterator[Judged]:
    """Everything that comes before a rollout, done; the verdict is pass."""
    asked = _files(folder)
    name = f"judged_{uuid.uuid4().hex[:10]}"
    with support.database(server_url, template, name) as url:
        settings = Settings(Values(database_url=url, home=folder / "home"), {})
        flags = {"skip_ingest": False, "skip_eval": False, "force": False, "why": ""}
        order = _running.order(settings, asked, resume=False, flags=flags)
        going = Going(support.connector(url), order, clock.now, lambda *_: None)
        with embedders.shared():
            done = [work(going) for _, work in run.before()]
        assert Verdict.PASS == done[-1].verdict, done[-1].said
        yield Judged(folder, name, url, going)


def _began(conn: Connection, on: Judged, *, ago: float = 0.0) -> rollouts.Rollout:
    at = rollouts.server_time(conn) - timedelta(hours=ago)
    return rollouts.start(conn, on.going.plan, Start("ann", "kpi-check passed"), clock="wall", at=at)


def _rolling(conn: Connection, on: Judged) -> None:
    """It began a moment ago."""
    _began(conn, on)


def _unwatched(conn: Connection, on: Judged) -> None:
    """Nobody looked for five hours."""
    _began(conn, on, ago=5)


def _completed(conn: Connection, on: Judged) -> None:
    """The candidate is in production since an hour."""
    found = _began(conn, on, ago=49)
    for hour in (16, 32, 48):
        for event in (GREEN, Advance()):
            found = _send(conn, found, event, hour)


def _send(conn: Connection, found: rollouts.Rollout, event: Event, hour: float) -> rollouts.Rollout:
    at = found.started_at + timedelta(hours=hour)
    outcome = canary.step(plans.find(conn, found.plan_sha256).plan.rollout, found.state, event, at)
    assert outcome.accepted, outcome.said
    return rollouts.move(conn, found, event, outcome, at=at)


def _rolled_back(conn: Connection, on: Judged) -> None:
    """By hand, after three hours."""
    found = _began(conn, on, ago=4)
    rollouts.roll_back(conn, found.rollout_id, Rollback("ann", "slow"), at=found.started_at + timedelta(hours=3))


def _breached(conn: Connection, on: Judged) -> None:
    """By a look, after an hour."""
    found = _began(conn, on, ago=2)
    _send(conn, found, Look(Action.ROLL_BACK, Verdict.FAIL, 900, "quality lost"), 1)


def _planned(conn: Connection, on: Judged, gates: str, rollout: str) -> plans.Stored:
    """Another plan of the same evaluations, the newest one."""
    sides = plan.Sides(on.going.sides["baseline"], on.going.sides["candidate"])
    bar = standard.profile(on.folder / f"{gates}.yaml"), standard.rollout(on.folder / f"{rollout}.yaml")
    options = plan.Options(accept_blind=True, accept_known_scores=True)
    return plan.run(conn, sides, on.going.order.given.questions, bar, now=clock.now(), options=options)


def _inconclusive(conn: Connection, on: Judged) -> None:
    """The newest plan asks for more questions than there are."""
    _planned(conn, on, "FEW", "ROLLOUT")


def _approval(conn: Connection, on: Judged) -> None:
    """The next step waits for a person."""
    stored = _planned(conn, on, "GATES", "APPROVAL")
    rollouts.start(conn, stored, Start("ann"), clock="wall", at=rollouts.server_time(conn))


def _leaking(conn: Connection, on: Judged) -> None:
    """Somebody changed a chunk of the candidate."""
    table = sql.Identifier(on.going.sides["candidate"].table_name)
    conn.execute(sql.SQL("UPDATE {} SET text = text || ' no' WHERE ordinal = 0").format(table))


SITUATIONS: Mapping[str, Callable[[Connection, Judged], None]] = {
    "judged": lambda _conn, _on: None,
    "rolling": _rolling,
    "unwatched": _unwatched,
    "completed": _completed,
    "rolled back": _rolled_back,
    "breached": _breached,
    "inconclusive": _inconclusive,
    "approval": _approval,
    "leaking": _leaking,
    "sealed": lambda _conn, _on: None,
}
SEALED = "sealed"
"""The situation in which what was judged is sealed into a folder, and the public key lies beside it."""
STOPPED = "stopped"
"""The situation with an embedded server of its own, which does not run."""


def _sealed(url: str, folder: Path) -> dict[str, str]:
    """Seal as `ops` into the folder `seals`, beside the plan's artifact; return the names of files and of one case."""
    ring, connect = keys.Ring(folder / ".bakeoff"), support.connector(url)
    ring.new("ops", now=clock.now())
    (folder / "ops.pub.pem").write_bytes(keys.pem_of(ring.public(ring.find("ops"))))
    with connect() as conn:
        made = seal.run(conn, ring.signer, folder=folder / "seals", connect=connect, now=clock.now())
        _planning.write(folder / "artifacts", plans.find(conn, "latest"))
    files = {"SEAL": f"seals/{made.seal.stem}.seal.json", "ROWS": f"seals/{made.seal.stem}.rows.json"}
    rows = json.loads((folder / files["ROWS"]).read_bytes())
    return files | {"CASE": rows["candidate"][0]["question_id"]}


@contextmanager
def situation(
    server_url: str, on: Judged, name: str, folder: Path
) -> Iterator[tuple[str | None, Path, dict[str, str]]]:
    """Yield a database in the situation *name* (None: the embedded one), a folder, and what a runbook's words mean."""
    if name == STOPPED:
        home = Path(tempfile.mkdtemp(prefix="bakeoff-test-"))
        home.chmod(0o755)  # as root the server runs as a user of its own
        try:
            with postgres.connect(Settings(Values(home=home / ".bakeoff"), {})) as conn:
                migrations.up(conn)
            embedded.stop(home / ".bakeoff")
            yield None, home, {}
        finally:
            embedded.stop(home / ".bakeoff")
            shutil.rmtree(home, ignore_errors=True)
        return
    shutil.copytree(on.folder, folder, dirs_exist_ok=True)
    with support.database(server_url, on.database, f"situation_{uuid.uuid4().hex[:10]}") as url:
        with support.connector(url)() as conn:
            SITUATIONS[name](conn, on)
            found = rollouts.listing(conn)
        names = on.names | ({"ROLLOUT": found[0].rollout_id} if found else {})
        names |= _sealed(url, folder) if name == SEALED else {}
        yield url, folder, names
