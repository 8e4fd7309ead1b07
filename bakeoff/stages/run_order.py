"""What a run of everything was given, and how it is remembered so that it can be taken up again.

Callers may rely on: what was given is stored before the first stage begins; a file that was changed since is named, and
nothing goes on in its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from bakeoff.adapters import records
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.records import About
from bakeoff.config import PipelineConfig
from bakeoff.errors import NotFoundError, StateError
from bakeoff.probes import ProbeFile
from bakeoff.rules import Profile
from bakeoff.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Given:
    """What the person said, files by their paths."""

    baseline_config: str
    candidate_config: str
    corpus: str | None
    """None: what the locks were ingested from already."""
    questions: str
    gates: str
    rollout: str
    probes: str
    clock: Literal["wall", "simulated"] = "wall"
    monitor_hours: float | None = None
    """Over how many hours the rollout's steps are stretched; None: its own."""
    traffic_per_hour: float = 200.0
    timings: int = 1000
    """Questions that both locks are timed on, at most."""
    accept_blind: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A configuration that was read, the name its lock gets, and the file."""

    name: str
    config: PipelineConfig
    path: str


@dataclass(frozen=True, slots=True)
class Order:
    """All that a run needs to know, files read and checked."""

    given: Given
    baseline: Source
    candidate: Source
    profile: Profile
    strategy: Strategy
    probes: ProbeFile
    digests: Mapping[str, str]
    """SHA-256 of what was read, by the name in *given*."""
    skip_ingest: bool = False
    skip_eval: bool = False
    force: bool = False
    why: str = ""
    """Why an inconclusive judgement is to be gone past."""
    by: str = ""
    workers: int = 1
    cache_dir: Path = Path(".bakeoff/models")
    environ: Mapping[str, str] = field(default_factory=dict)


def remembered(conn: Connection) -> tuple[Given, dict[str, str]]:
    """Return what the newest run was given, and the digests of its files. Raises NotFoundError where there is none."""
    found = records.latest(conn, "run", About())
    if found is None:
        raise NotFoundError(
            "there is no run to take up", hint="bakeoff run --corpus CORPUS --questions FILE begins one"
        )
    return Given(**found.body["given"]), dict(found.body["files"])


def require_same(order: Order, digests: Mapping[str, str]) -> None:
    """Raise StateError, naming the file, where one was changed since a run began with *digests*."""
    for name, digest in digests.items():
        if name == "corpus" and order.skip_ingest:
            continue
        if order.digests.get(name) != digest:
            raise StateError(
                f"{getattr(order.given, name)} was changed since the run began: "
                f"it had {digest[:12]}…, has {order.digests.get(name, 'nothing')[:12]}…",
                hint="put it back, or begin again with the new one: the command without --resume, with its options",
            )


def remember(conn: Connection, order: Order, *, at: datetime) -> None:
    """Store what *order* was given, unless the newest run was given the same."""
    body = _body(order)
    found = records.latest(conn, "run", About())
    if found is None or any(found.body[name] != body[name] for name in body):
        records.add(conn, "run", body, about=About(), at=at)


def _body(order: Order) -> dict[str, Any]:
    given = asdict(order.given)
    return {"kind": "run", "clock": order.given.clock, "given": given, "files": dict(order.digests)}


def finished(order: Order, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a run that came to its end with *found*."""
    return {**_body(order), **found}
