"""`canary`: move traffic to the candidate of a plan, step by step, and back at once."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from bakeoff.cli._shared import AsJson, Reason, database, emit, group, say, settings
from bakeoff.cli.plan import PlanRef

if TYPE_CHECKING:
    from bakeoff.rollout import Event

RolloutRef = Annotated[
    str,
    typer.Argument(
        metavar="[ROLLOUT]", help="A rollout's id, the beginning of its plan's, or `latest`.", show_default=True
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Go on all the same; needs --reason, which is recorded.")]
Required = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]

app = group("Move traffic to a plan's candidate, step by step, and back at once.")


class Clock(StrEnum):
    """Which clock a rollout goes by."""

    WALL = "wall"
    SIMULATED = "simulated"


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.add_typer(app, name="canary")


@app.command(epilog="Example: bakeoff canary start --plan latest --reason 'kpi-check passed'")
def start(
    plan: PlanRef = "latest",
    *,
    force: Force = False,
    reason: Reason = "",
    clock: Annotated[
        Clock, typer.Option(help="simulated: on traffic drawn from what was recorded, in minutes.")
    ] = Clock.WALL,
    as_json: AsJson = False,
) -> None:
    """Begin the rollout of a plan that passed kpi-check --promote-check: the first step's share, at once.

    Exit code 4 where it is refused: another rollout is on its way, a lock was archived, the plan did not pass.
    """
    from bakeoff.adapters import rollouts
    from bakeoff.cli import _plans, _rolling, _rollouts
    from bakeoff.stages import advance

    _needs_reason(force=force, reason=reason)
    here = _rolling.site()
    with database() as conn:
        stored, now = _plans.found(conn, plan), partial(rollouts.server_time, conn)
        made = advance.start(conn, stored, by=here.by, why=reason, clock=clock.value, force=force, now=now)
        if (stopped := advance.killed(conn, made)) is not None:
            say(f"note: {stopped}: nobody gets the candidate, and no step begins, until bakeoff route unkill")
        _rolling.settle(here)
        data = _rollouts.status(conn, made.rollout_id, here.settings)
    emit(data, human=lambda: _rollouts.status_text(data), as_json=as_json)


@app.command(epilog="Example: bakeoff canary status --watch")
def status(
    ref: RolloutRef = "latest",
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew whenever it moves, until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where a rollout is, what holds it, what the last look found, and what to do next."""
    from bakeoff.cli import _rollouts
    from bakeoff.errors import UsageError

    if watch and as_json:
        raise UsageError("--watch shows many states, --json prints one object", hint="give one of them")
    with database() as conn:
        shown = _rollouts.changing if watch else _rollouts.once
        for data in shown(conn, ref, settings()):
            emit(data, human=lambda data=data: _rollouts.status_text(data), as_json=as_json)  # type: ignore[misc]  # mypy can't infer it


@app.command(epilog="Example: bakeoff canary promote --to 50 --force --reason 'the incident is over'")
def promote(
    ref: RolloutRef = "latest",
    *,
    to: Annotated[float | None, typer.Option(min=0.01, max=100, help="A later step's share, percent.")] = None,
    force: Force = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Begin the next step, if its hours are over and the last look is green.

    Exit code 4 where it is refused: too early, on red, not approved, after the end, or somebody was faster.
    """
    from bakeoff.rollout import Promote

    _needs_reason(force=force, reason=reason)
    _act(ref, lambda by: Promote(by, to, force, reason), as_json=as_json)


@app.command(epilog="Example: bakeoff canary approve --reason 'seen the answers'")
def approve(ref: RolloutRef = "latest", *, reason: Reason = "", as_json: AsJson = False) -> None:
    """Let the next step begin when it is due, where the strategy asks for a person."""
    from bakeoff.rollout import Approve

    _act(ref, lambda by: Approve(by, reason), as_json=as_json)


@app.command(epilog="Example: bakeoff canary pause --reason 'an incident elsewhere'")
def pause(ref: RolloutRef = "latest", *, reason: Reason = "", as_json: AsJson = False) -> None:
    """Stay at the share that is reached; the step's hours stop, and a breach still rolls back."""
    from bakeoff.rollout import Pause

    _act(ref, lambda by: Pause(by, reason), as_json=as_json)


@app.command(epilog="Example: bakeoff canary resume --reason 'the incident is over'")
def resume(ref: RolloutRef = "latest", *, reason: Reason = "", as_json: AsJson = False) -> None:
    """Go on after a pause; the step needs a new look."""
    from bakeoff.rollout import Resume

    _act(ref, lambda by: Resume(by, reason), as_json=as_json)


@app.command(epilog="Example: bakeoff canary rollback --reason 'wrong answers about prices'")
def rollback(ref: RolloutRef = "latest", *, reason: Reason = "by hand", as_json: AsJson = False) -> None:
    """Send all traffic back to the baseline at once, in any phase, and check that it is so.

    `latest` is the rollout that moves real traffic, or did last; a rehearsal is meant by its id alone.
    Exit code 0 where it is done, or was before; that of the check's verdict where the baseline is not what it was.
    """
    from bakeoff.cli import _rollback

    data, code = _rollback.run(ref, reason or "by hand")
    emit(data, human=lambda: _rollback.text(data), as_json=as_json)
    raise typer.Exit(code)


@app.command(epilog="Example: bakeoff canary abort --reason 'the release is off'")
def abort(ref: RolloutRef = "latest", *, reason: Required, as_json: AsJson = False) -> None:
    """End a rollout that is on its way: all traffic to the baseline, and nothing said against the candidate."""
    from bakeoff.rollout import Abort

    _act(ref, lambda by: Abort(by, reason), as_json=as_json)


@app.command(epilog="Example: bakeoff canary history --check")
def history(
    ref: RolloutRef = "latest",
    *,
    check: Annotated[bool, typer.Option("--check", help="Replay it: does it make the stored state?")] = False,
    as_json: AsJson = False,
) -> None:
    """Show everything that moved a rollout: when, to which share, by whom and why."""
    from bakeoff.cli import _rollouts

    with database() as conn:
        data = _rollouts.history(conn, ref, check=check)
    emit(data, human=lambda: _rollouts.history_text(data), as_json=as_json)


@app.command(epilog="Example: */10 * * * * bakeoff canary tick")
def tick(ref: RolloutRef = "latest", *, as_json: AsJson = False) -> None:
    """Look if a look is due, and go on if it is time: one turn of `watch`, for cron.

    Exit code 1 where this turn rolled back: on a breach, or after looks or hours in vain. Later turns find nothing due.
    """
    from bakeoff.cli import _rolling, _rollouts

    data, code = _rolling.tick(ref)
    emit(data, human=lambda: _rollouts.tick_text(data), as_json=as_json)
    raise typer.Exit(code)


@app.command(epilog="Example: bakeoff canary watch --clock simulated --fault quality:-0.10@3")
def watch(
    ref: RolloutRef = "latest",
    *,
    clock: Annotated[Clock, typer.Option(help="The clock that the rollout was started with.")] = Clock.WALL,
    fault: Annotated[
        str | None, typer.Option(metavar="WHAT:SIZE[@HOUR]", help="Simulated: what goes wrong with the candidate.")
    ] = None,
    pace: Annotated[float, typer.Option(min=0.0, max=60.0, help="Simulated: seconds between two turns.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Stay with a rollout until it ends: look when it is due, go on when it is time, roll back on a breach.

    Ctrl-C leaves it as it is; so does a kill: begin again, or let `tick` go on. A second one stands by.
    Exit code 0 completed, 1 rolled back or aborted, 3 a simulated rollout waits for a person.
    """
    from bakeoff.cli import _rolling, _rollouts

    data, code = _rolling.watched(ref, clock_name=clock.value, fault=fault, pace_s=pace)
    emit(data, human=lambda: _rollouts.status_text(data), as_json=as_json)
    raise typer.Exit(code)


def _needs_reason(*, force: bool, reason: str) -> None:
    from bakeoff.errors import UsageError

    if force and not reason.strip():
        raise UsageError("--force without a reason", hint="--reason TEXT; it is recorded")


def _act(ref: str, event: Callable[[str], Event], *, as_json: bool) -> None:
    from bakeoff.cli import _rolling, _rollouts

    data = _rolling.act(ref, event)
    emit(data, human=lambda: _rollouts.status_text(data), as_json=as_json)
