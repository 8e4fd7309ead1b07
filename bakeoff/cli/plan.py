"""`plan` and `plans`: fix the bar before the score, and see what it will be able to see."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, database, emit, group, settings

PlanRef = Annotated[
    str, typer.Option("--plan", metavar="PLAN", help="A plan's id (its first digits), or `latest`.", show_default=True)
]

Timed = Annotated[int, typer.Option(min=1, help="Questions that both locks will be timed on, at most.")]
Expected = Annotated[float, typer.Option(min=0.001, max=1e9, help="Expected questions an hour, both arms together.")]

app = group("List and show plans.")


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("plan", epilog="Example: bakeoff plan --baseline baseline --candidate candidate --questions q.jsonl")(
        make
    )
    root.add_typer(app, name="plans")


def make(  # noqa: PLR0913  # one parameter is one option
    *,
    baseline: Annotated[str, typer.Option(metavar="LOCK", help="The lock in production.")] = "active",
    candidate: Annotated[str, typer.Option(metavar="LOCK", help="The lock that wants to replace it.")],
    questions: Annotated[str, typer.Option(metavar="FILE", help="A JSONL file, or beir:DIR.")],
    gates: Annotated[Path, typer.Option(metavar="FILE", help="The KPI gates.")] = Path("configs/gates.yaml"),
    rollout: Annotated[Path, typer.Option(metavar="FILE", help="How traffic will move.")] = Path(
        "configs/rollouts/48h.yaml"
    ),
    timings: Timed = 1000,
    traffic: Expected = 200.0,
    gold_share: Annotated[
        float, typer.Option("--gold-share", min=0.01, max=1.0, help="Covered share of a gold span that is a hit.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, max=2**53 - 1, help="Seed of every random choice from here on.")] = 7,
    accept_blind: Annotated[
        bool, typer.Option("--accept-blind", help="Plan though a gate can't see its own margin; recorded.")
    ] = False,
    accept_known_scores: Annotated[
        bool, typer.Option("--accept-known-scores", help="Plan though the candidate was evaluated already; recorded.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fix locks, questions, gates, rollout and seed before the candidate is scored, and say what they will see.

    Exit code 4 where a gate can't see its own margin, or where the candidate's scores are known already.
    """
    from bakeoff.adapters import clock, files, locks, standard
    from bakeoff.cli import _planning
    from bakeoff.stages import plan as stage

    artifacts = settings().values.artifacts
    files.require_folder(artifacts / "plans")
    bar = standard.profile(gates), standard.rollout(rollout)
    options = stage.Options(seed, traffic, timings, gold_share, accept_blind, accept_known_scores)
    with database() as conn:
        sides = stage.Sides(locks.find(conn, baseline), locks.find(conn, candidate))
        now = clock.now()
        stored = stage.run(conn, sides, questions, bar, now=now, options=options)
        if stored.created_at != now:
            _planning.again(conn, stored)
    path = _planning.write(artifacts, stored)
    data = _planning.data(stored, path)
    emit(data, human=lambda: _planning.text(data), as_json=as_json)


@app.command("list", epilog="Example: bakeoff plans list --json")
def list_plans(*, as_json: AsJson = False) -> None:
    """List every plan, newest first."""
    from bakeoff.adapters import plans
    from bakeoff.cli import _planning

    with database() as conn:
        rows = [_planning.row(stored) for stored in plans.listing(conn)]
    emit({"plans": rows}, human=lambda: _planning.listing(rows), as_json=as_json)


@app.command(epilog="Example: bakeoff plans show latest")
def show(
    ref: Annotated[str, typer.Argument(metavar="PLAN", help="A plan's id (its first digits), or `latest`.")] = "latest",
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a plan fixes and what it will be able to see."""
    from bakeoff.cli import _planning, _plans

    with database() as conn:
        stored = _plans.found(conn, ref)
    data = _planning.data(stored, None)
    emit(data, human=lambda: _planning.text(data), as_json=as_json)
