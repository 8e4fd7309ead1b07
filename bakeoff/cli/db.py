"""`db`: the database, embedded or not."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bakeoff.cli._shared import AsJson, database, emit, group, settings

app = group("Make, start, stop and empty the database.")


@app.command(epilog="Example: bakeoff db init")
def init(*, as_json: AsJson = False) -> None:
    """Start the embedded server where it is used, and bring the schema up to date."""
    from bakeoff.adapters import migrations

    with database(migrated=False) as conn:
        done = migrations.up(conn)
        version = max(migrations.status(conn).applied)
    names = [f"{item.version:04d}_{item.name}" for item in done]
    said = ", ".join(names) if names else "nothing to do"
    emit(
        {"applied": names, "schema_version": version},
        human=lambda: f"schema version {version}: {said}",
        as_json=as_json,
    )


@app.command(epilog="Example: bakeoff db up")
def up(*, as_json: AsJson = False) -> None:
    """Start the embedded server and print its URL. With BAKEOFF_DATABASE_URL set: check that it answers."""
    from bakeoff.adapters import postgres

    found = settings()
    url = postgres.url_of(found)
    with database(migrated=False):
        pass
    shown = postgres.shown(url or "")
    emit({"url": shown, "embedded": found.values.database_url is None}, human=lambda: shown, as_json=as_json)


@app.command(epilog="Example: bakeoff db status --json")
def status(*, as_json: AsJson = False) -> None:
    """Say whether the database runs, what it can do, and which schema it has. Starts nothing."""
    from bakeoff.adapters import embedded, migrations, postgres

    found = settings()
    url = postgres.url_of(found, start=False)
    data: dict[str, Any] = {"embedded": found.values.database_url is None, "running": url is not None}
    if url is None:
        emit(data, human=lambda: "the embedded server does not run\nnext: bakeoff db up", as_json=as_json)
        return
    with postgres.connect(found, autocommit=True) as conn:
        able, schema = postgres.capabilities(conn), migrations.status(conn)
    data |= {
        "url": postgres.shown(url),
        "pid": embedded.running(found.values.home) if data["embedded"] else None,
        "postgresql": able.server_version,
        "pgvector": able.vector_installed or able.vector_available,
        "pg_textsearch": able.textsearch_installed or able.textsearch_available,
        "schema_version": max(schema.applied, default=0),
        "pending_migrations": list(schema.pending),
    }
    emit(data, human=lambda: "\n".join(f"{key:<19} {value}" for key, value in data.items()), as_json=as_json)


@app.command(epilog="Example: bakeoff db stop")
def stop(*, as_json: AsJson = False) -> None:
    """Stop the embedded server. Another server is never stopped."""
    from bakeoff.adapters import embedded
    from bakeoff.errors import StateError

    found = settings()
    if found.values.database_url is not None:
        raise StateError(
            "BAKEOFF_DATABASE_URL names a server that is not ours to stop", hint="stop it by its own means"
        )
    stopped = embedded.stop(found.values.home)
    emit({"stopped": stopped}, human=lambda: "stopped" if stopped else "it did not run", as_json=as_json)


@app.command(epilog="Example: bakeoff db down --to 0 --yes")
def down(
    *,
    to: Annotated[int, typer.Option(min=0, help="The schema version to go back to.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really: what those versions hold is lost.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take migrations back, newest first."""
    from bakeoff.adapters import migrations

    _confirm(yes=yes, what=f"go back to schema version {to}")
    with database(migrated=False) as conn:
        names = [f"{item.version:04d}_{item.name}" for item in migrations.down(conn, to=to)]
    emit({"taken_back": names}, human=lambda: ", ".join(names) or "nothing to do", as_json=as_json)


@app.command(epilog="Example: bakeoff db reset --yes")
def reset(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Really: every lock, ingest and evaluation is lost.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove everything of bakeoff from the database and make an empty schema."""
    from bakeoff.adapters import migrations

    _confirm(yes=yes, what="remove every lock, ingest and evaluation")
    with database(migrated=False) as conn:
        migrations.reset(conn)
    emit({"reset": True}, human=lambda: "the database is empty and ready", as_json=as_json)


def _confirm(*, yes: bool, what: str) -> None:
    from bakeoff.errors import UsageError

    if not yes:
        raise UsageError(f"this would {what}", hint="say --yes to do it")
