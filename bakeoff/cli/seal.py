"""`seal` and `seals`: signed evidence of what became of a plan."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, database, emit, group, settings
from bakeoff.errors import UsageError


class Arm(StrEnum):
    """Whose case."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


app = group("List, show and write again what was sealed.")


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("seal", epilog="Example: bakeoff seal --plan latest")(seal)
    root.add_typer(app, name="seals")


def seal(
    *,
    plan: Annotated[
        str, typer.Option("--plan", metavar="PLAN", help="A plan, or the id of one of its rollouts: that one alone.")
    ] = "latest",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the seal there, too, and its rows beside it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Seal what became of a plan: locks, ingests, cases, judgement, rollout, live outcomes, who forced what. Signed.

    `latest` is the plan that was judged last; each of its rollouts that ended has a seal then. Exit code 4 where there
    is no key, or the rollout is still on its way.
    """
    from bakeoff.adapters import clock, files
    from bakeoff.cli import _sealing

    files.require_writable(out)
    with database() as conn:
        data = _sealing.seal(conn, settings(), plan, out=out, now=clock.now())
    emit(data, human=lambda: _sealing.made(data), as_json=as_json)


@app.command("list", epilog="Example: bakeoff seals list")
def list_seals(*, as_json: AsJson = False) -> None:
    """List every seal, oldest first; each one is what was signed, and names the one before."""
    from bakeoff.adapters import seals
    from bakeoff.cli import _sealing

    with database() as conn:
        rows = _sealing.rows(settings(), seals.listing(conn))
    emit({"seals": rows}, human=lambda: _sealing.listing(rows), as_json=as_json)


@app.command(epilog="Example: bakeoff seals show latest --case q001 --arm candidate --proof")
def show(
    ref: Annotated[
        str, typer.Argument(metavar="[SEAL]", help="A number, 4 and more digits of a digest, or `latest`.")
    ] = "latest",
    *,
    case: Annotated[str | None, typer.Option(metavar="ID", help="One question's sealed row, and no other.")] = None,
    arm: Annotated[Arm, typer.Option(help="Whose row.")] = Arm.CANDIDATE,
    proof: Annotated[
        bool, typer.Option("--proof", help="With --case: seal, row and inclusion proof, which `verify` takes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a seal says, or disclose one of its rows without the others."""
    from bakeoff.adapters import seals
    from bakeoff.cli import _sealing

    if proof and case is None:
        raise UsageError("--proof is of one case", hint="--case ID")
    with database() as conn:
        found = seals.find(conn, ref)
        if case is None:
            data = _sealing.shown(settings(), found)
        else:
            data = _sealing.disclosed(conn, found, arm.value, case, proof=proof)
    emit(data, human=lambda: _sealing.page(data) if case is None else _sealing.plain(data), as_json=as_json)


@app.command(epilog="Example: bakeoff seals export")
def export(
    *,
    new_head: Annotated[
        bool,
        typer.Option("--new-head", help="Sign a HEAD.json though there is none: you know which seal is the newest."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write every seal with its rows into the artifacts again, then the signed head.

    Exit code 4 where there is no head to begin with: whoever deletes seals deletes it, too.
    """
    from bakeoff.adapters import clock
    from bakeoff.cli import _sealing

    with database() as conn:
        data = _sealing.export(conn, settings(), new_head=new_head, now=clock.now())
    emit(data, human=lambda: _sealing.exported(data), as_json=as_json)
