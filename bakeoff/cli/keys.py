"""`keys`: what seals are signed with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, emit, group, say, settings

KeyName = Annotated[str, typer.Argument(metavar="NAME", help="A key's name: a to z, 0 to 9, - and _.")]

app = group("Make, list and export the keys that seals are signed with.")


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.add_typer(app, name="keys")


@app.command(epilog="Example: bakeoff keys new release-2026")
def new(name: KeyName, *, as_json: AsJson = False) -> None:
    """Make the key that signs from now on; those before are retired: they sign no more, what they signed verifies.

    A key that came by BAKEOFF_SIGNING_KEY is retired, too: a run that is still given it can't seal.

    The private key is readable by its owner alone, encrypted where BAKEOFF_KEY_PASSPHRASE is set.
    """
    from bakeoff.adapters import clock
    from bakeoff.cli import _sealing

    found = settings()
    data = _sealing.new_key(found, name, now=clock.now())
    emit(data, human=lambda: _sealing.key_made(data), as_json=as_json)


@app.command("list", epilog="Example: bakeoff keys list --json")
def list_keys(*, as_json: AsJson = False) -> None:
    """List every key, oldest first: its id, whether it signs, when it was retired."""
    from bakeoff.cli import _sealing

    rows = _sealing.keys(settings())
    emit({"keys": rows}, human=lambda: _sealing.key_listing(rows), as_json=as_json)


@app.command(epilog="Example: bakeoff keys export release-2026 --out release-2026.pub.pem")
def export(
    name: KeyName,
    *,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the public half of a key as PEM: what others verify seals with.

    A line above it says whether the key is in use, or when it was retired.
    """
    from bakeoff.adapters import clock, files
    from bakeoff.cli import _sealing

    files.require_writable(out)
    data = _sealing.public_key(settings(), name, now=clock.now())
    if out is not None:
        files.write(out, data["pem"].encode())
        say(f"written to: {out}")
    if out is None or as_json:
        emit(data | {"out": None if out is None else str(out)}, human=lambda: data["pem"], as_json=as_json)
