"""`verify`: what a seal claims, checked without database and network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, emit, settings


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    example = "Example: bakeoff verify artifacts/seals/000001-5e2d1c0b9a87.seal.json --public-key demo.pub.pem"
    root.command("verify", epilog=example)(verify)


def verify(
    path: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A seal, or the proof of one row.", show_default=False)
    ] = None,
    *,
    public_key: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Public keys in PEM; without it those that this project knows."),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Derive findings, intervals and routing again from the sealed rows.")
    ] = False,
    chain: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Check all seals in the folder, and that none is missing.")
    ] = None,
    artifacts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Compare the artifacts in the folder with their sealed digests.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say of everything that a seal claims whether it holds. Needs no database and no network.

    Exit code 1 where something does not hold: the first thing that differs is named with its place.
    """
    from bakeoff.adapters import sealed_files
    from bakeoff.cli import _verifying
    from bakeoff.errors import NoError, UsageError

    if path is None and chain is None:
        raise UsageError("nothing to verify", hint="bakeoff verify FILE, or --chain DIR")
    home = None if public_key else settings().values.home
    keys = sealed_files.given_keys(public_key or ()) if home is None else sealed_files.known_keys(home)
    asked = sealed_files.Asked(keys, recompute, artifacts)
    seal = None if path is None else sealed_files.verify(path, asked)
    folder = None if chain is None else sealed_files.chain(chain, asked)
    data = _verifying.data(path, seal, chain, folder)
    emit(data, human=lambda: _verifying.text(data), as_json=as_json)
    raise typer.Exit(0 if data["verified"] else NoError.exit_code)
