"""Fixtures for tests that need a real PostgreSQL.

The server is, in this order: BAKEOFF_TEST_DATABASE_URL; a container where a Docker engine runs; the embedded one. Tests
never fake the database.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from bakeoff.adapters import embedded, migrations, postgres

os.environ["COLUMNS"] = "110"  # what tables look like does not depend on the terminal that runs the tests
settings.register_profile("house", deadline=None)  # a busy machine is no failed property
settings.load_profile("house")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background: what we start would ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)

IMAGE = "pgvector/pgvector:pg17"


def _docker_runs() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


def _hurried(url: str) -> str:
    """Let a server of ours not wait for the disk: its data is thrown away, so that only a power cut could hurt it.

    Processes that are killed lose nothing by it. To drop a database takes 20 ms instead of 500.
    """
    with psycopg.connect(url, autocommit=True) as conn:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            conn.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        conn.execute("SELECT pg_reload_conf()")
    return url


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """URL of a server on which databases can be made; whatever was started is stopped."""
    if given := os.environ.get("BAKEOFF_TEST_DATABASE_URL"):
        yield given
    elif _docker_runs():
        from testcontainers.postgres import PostgresContainer

        with PostgresContainer(IMAGE, driver=None) as container:
            yield _hurried(container.get_connection_url())
    else:
        home = Path(tempfile.mkdtemp(prefix="bakeoff-test-"))
        home.chmod(0o755)  # as root the server runs as a user of its own
        try:
            yield _hurried(embedded.ensure(home, idle_minutes=24 * 60, database="postgres"))  # longer than any run
        finally:
            embedded.stop(home)
            shutil.rmtree(home, ignore_errors=True)


def _url_of(server_url: str, database: str) -> str:
    return make_conninfo(server_url, dbname=database)


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """Name of a database with all migrations applied, to be cloned."""
    name = f"bakeoff_template_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with postgres.open_url(_url_of(server_url, name)) as conn:
        migrations.up(conn)
    return name


@pytest.fixture
def new_database(server_url: str, template: str) -> Iterator[Callable[..., str]]:
    """Makes databases: migrated ones, or empty ones; all are dropped at the end."""
    made: list[str] = []

    def make(*, empty: bool = False) -> str:
        name = f"bakeoff_test_{uuid.uuid4().hex[:10]}"
        source = sql.SQL("") if empty else sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with psycopg.connect(server_url, autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {}{}").format(sql.Identifier(name), source))
        made.append(name)
        return _url_of(server_url, name)

    yield make
    with psycopg.connect(server_url, autocommit=True) as conn:
        for name in made:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(new_database: Callable[..., str]) -> str:
    """URL of a migrated database of the test's own."""
    return new_database()


@pytest.fixture(scope="session")
def shared_url(server_url: str, template: str) -> Iterator[str]:
    """URL of one migrated database for tests that roll back what they do."""
    name = f"bakeoff_shared_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    yield _url_of(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def conn(shared_url: str) -> Iterator[postgres.Connection]:
    """A connection whose transaction is rolled back after the test."""
    connection = postgres.open_url(shared_url)
    try:
        yield connection
    finally:
        connection.rollback()
        connection.close()
