"""`route`: which arm answers a request and why; the kill switch, forced units, shadow."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakeoff.cli._shared import AsJson, database, emit, group, say, settings

if TYPE_CHECKING:
    from bakeoff.adapters.policies import Event
    from bakeoff.adapters.watcher import Watcher
    from bakeoff.routing import Arm, Policy

_GLANCE_S = 0.02
"""How often `route watch` looks at its policy: often enough to measure with."""

app = group("Say which arm answers a request, and why; stop it, force it, watch it.")

Why = Annotated[str, typer.Option("--reason", help="Why; kept in the log.")]
Unit = Annotated[str, typer.Argument(metavar="UNIT", help="A client id, or a request id.")]


class Side(StrEnum):
    """The arms, as an option takes them."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.add_typer(app, name="route")


@app.command(epilog="Example: bakeoff route decide --client-id user-17 --header X-Bakeoff-Rag=1")
def decide(
    *,
    client_id: Annotated[str | None, typer.Option(metavar="ID", help="Who asks: stays on its arm.")] = None,
    request_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The request, where nobody knows who asks: not sticky.")
    ] = None,
    header: Annotated[
        str | None, typer.Option(metavar="NAME=VALUE", help="X-Bakeoff-Rag=1 or X-Bakeoff-Rag=0, as a request has it.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Decide as at that time (ISO 8601, UTC), from the history.")
    ] = None,
    rollout: Annotated[
        str | None,
        typer.Option(metavar="ROLLOUT", help="With --at: as this rollout's own clock had it, simulated too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which arm answers a request, and why. With --at no process's BAKEOFF_RAG counts, here it does.

    A simulated rollout routes nobody: it is asked with --rollout, at an instant of its own clock.
    """
    from bakeoff import routing
    from bakeoff.adapters import policies
    from bakeoff.cli import _routing
    from bakeoff.errors import UsageError

    if rollout is not None and at is None:
        raise UsageError("--rollout without --at", hint="--at TIME, an instant of that rollout")
    instant = None if at is None else _routing.instant(at)
    value = None if header is None else _routing.header(header)
    with database() as conn:
        if instant is not None and rollout is not None:
            policy: Policy | None = policies.at_of(conn, rollout, instant)
        elif instant is not None:
            policy = policies.at(conn, instant)
        else:
            policy = policies.current(conn, environment=settings().values.rag)
    made = routing.decide(policy, client_id=client_id, request_id=request_id, header=value)
    because = routing.explain(made)
    when = None if instant is None else instant.isoformat()
    emit(routing.as_metadata(made) | {"because": because, "at": when}, human=lambda: because, as_json=as_json)


@app.command(epilog="Example: bakeoff route kill --reason 'wrong answers about prices'")
def kill(*, reason: Why, as_json: AsJson = False) -> None:
    """Send every request to the baseline, at once and whatever else holds, until `route unkill`."""
    _say("killed", reason, as_json=as_json)


@app.command(epilog="Example: bakeoff route unkill --reason 'prices corrected'")
def unkill(*, reason: Why, as_json: AsJson = False) -> None:
    """Take the kill switch back: the rollout's share holds again."""
    _say("unkilled", reason, as_json=as_json)


@app.command(epilog="Example: bakeoff route force tester-1 --arm candidate --reason 'our own tester'")
def force(
    unit: Unit,
    *,
    arm: Annotated[Side, typer.Option(help="The arm that answers it.")],
    reason: Why,
    as_json: AsJson = False,
) -> None:
    """Fix the arm of UNIT while a rollout is on its way, until `route unforce`."""
    from bakeoff.routing import Arm

    _say("forced", reason, unit=unit, arm=Arm(arm.value), as_json=as_json)


@app.command(epilog="Example: bakeoff route unforce tester-1")
def unforce(unit: Unit, *, reason: Why = "not needed any more", as_json: AsJson = False) -> None:
    """Let UNIT's bucket decide again."""
    _say("unforced", reason, unit=unit, as_json=as_json)


@app.command(epilog="Example: bakeoff route shadow off --reason 'the model is busy'")
def shadow(
    switch: Annotated[Switch, typer.Argument(help="Whether the candidate runs beside the baseline's answers.")],
    *,
    reason: Why = "by hand",
    as_json: AsJson = False,
) -> None:
    """Run the candidate beside the baseline's answers (as it is where nothing was said), or don't."""
    _say("shadow_on" if switch is Switch.ON else "shadow_off", reason, as_json=as_json)


def _say(event: Event, reason: str, *, as_json: bool, unit: str = "", arm: Arm | None = None) -> None:
    from bakeoff.adapters import policies, rollouts
    from bakeoff.adapters import settings as adapter
    from bakeoff.cli import _routing

    why, found = _routing.reason(reason), settings()
    with database() as conn:
        changed = policies.say(conn, event, by=adapter.operator(found), reason=why, unit=unit, arm=arm)
        policy = policies.current(conn, environment=found.values.rag)
        on_its_way = rollouts.current(conn)
    runs = on_its_way is not None and (on_its_way.clock, on_its_way.phase) == ("wall", "running")
    if event == "unkilled" and changed and runs:
        say(_routing.GOES_ON)
    data = {"event": event, "unit": unit or None, "changed": changed, "policy": _routing.policy(policy)}
    said = event.replace("_", " ") + (f" {unit}" if unit else "") + ("" if changed else ": it was so already")
    emit(data, human=lambda: f"{said}\n{_routing.line(policy)}", as_json=as_json)


@app.command(epilog="Example: bakeoff route show")
def show(*, as_json: AsJson = False) -> None:
    """Show what routes now, and what people said about it beside the rollout."""
    from bakeoff.adapters import policies
    from bakeoff.cli import _routing

    with database() as conn:
        policy = policies.current(conn, environment=settings().values.rag)
        words = policies.said(conn)
    data = {"policy": _routing.policy(policy), "said": [_routing.row(word) for word in words]}
    emit(data, human=lambda: _routing.shown(data, policy), as_json=as_json)


@app.command(epilog="Example: bakeoff route watch --seconds 60")
def watch(
    *,
    seconds: Annotated[float | None, typer.Option(min=0.0, help="End after so long; else with Ctrl-C.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print one line for every change of what routes, as a router in this process sees it.

    With --json one object at the end, with all of them. Ctrl-C ends it as --seconds does: exit code 0.
    """
    from bakeoff.adapters import clock
    from bakeoff.adapters.watcher import Watcher
    from bakeoff.cli import _routing

    changes: list[dict[str, Any]] = []
    with Watcher(_url(), environment=settings().values.rag) as watcher, suppress(KeyboardInterrupt):
        for policy in _changes(watcher, seconds):
            at = clock.now().isoformat()
            changes.append({"at": at, "policy": _routing.policy(policy)})
            if not as_json:
                emit({}, human=partial(_routing.told, at, policy), as_json=False)
    if as_json:
        emit({"changes": changes}, human=str, as_json=True)


def _url() -> str:
    """Return where the database is, after a look that it can be used."""
    from bakeoff.adapters import postgres
    from bakeoff.errors import DatabaseError

    with database():
        url = postgres.url_of(settings())
    if url is None:
        raise DatabaseError("no database")
    return url


def _changes(watcher: Watcher, seconds: float | None) -> Iterator[Policy | None]:
    """Yield what routes, and again whenever it changes, for so many *seconds*, or for ever."""
    until = math.inf if seconds is None else time.monotonic() + seconds
    seen = watcher.policy
    yield seen
    while time.monotonic() < until:
        time.sleep(_GLANCE_S)
        if (found := watcher.policy) != seen:
            seen = found
            yield seen
