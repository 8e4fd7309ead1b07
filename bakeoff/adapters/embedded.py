"""The embedded PostgreSQL: started when needed, left running, stopped on request or when idle.

Callers may rely on: one server a project folder; two commands at once are safe (a lock file orders start and stop); it
listens on a Unix socket only; a watcher process stops it after the idle time, so it is never orphaned.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from bakeoff.adapters import queries
from bakeoff.errors import DatabaseError

DATABASE = "bakeoff"
_POLL_S = 30.0


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    with (home / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _data(home: Path) -> Path:
    return home.resolve() / "postgres"


def _pgserver() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="platformdirs")  # no XDG_RUNTIME_DIR: it uses a folder of its own
            import pgserver
    except ImportError as error:
        raise DatabaseError(
            "no database: BAKEOFF_DATABASE_URL is not set and the embedded server is not installed",
            hint="pip install 'bakeoff[embedded]' (x86-64 Linux, macOS), or set BAKEOFF_DATABASE_URL",
        ) from error
    return pgserver


def running(home: Path) -> int | None:
    """Return the server's process id, or None where it does not run."""
    try:
        pid = int((_data(home) / "postmaster.pid").read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if psutil.pid_exists(pid) and "postgres" in psutil.Process(pid).name() else None


def _url(home: Path, database: str) -> str | None:
    """Return the URL of a server that is up, from its pid file, without loading the server's package."""
    if running(home) is None:
        return None
    lines = (_data(home) / "postmaster.pid").read_text().splitlines()
    ready = len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004  # line 8 of the file format
    return f"postgresql://postgres@/{database}?host={lines[4]}&port={lines[3]}" if ready else None


def _start(home: Path) -> None:
    pgserver = _pgserver()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="platformdirs")
            server = pgserver.get_server(_data(home), cleanup_mode=None)
    except (OSError, subprocess.SubprocessError, AssertionError, KeyError) as error:
        log = _data(home) / "log"
        raise DatabaseError(
            f"the embedded server did not start in {_data(home)}: {error}",
            hint=f"see {log}; as root the folder must be reachable for other users; or set BAKEOFF_DATABASE_URL",
        ) from error
    with psycopg.connect(server.get_uri(), autocommit=True) as conn:
        found = conn.execute(queries.get("server.database_exists"), {"name": DATABASE}).fetchone()
        if found is None:
            conn.execute(queries.get("server.create_database").format(database=sql.Identifier(DATABASE)))


def _watch_in_background(home: Path, idle_minutes: float) -> None:
    subprocess.Popen(  # noqa: S603  # this interpreter, this module, a path of ours
        [sys.executable, "-m", "bakeoff.adapters.embedded", str(home.resolve()), str(idle_minutes)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


def ensure(home: Path, *, idle_minutes: float = 30.0, database: str = DATABASE) -> str:
    """Start the server of *home* where it does not run, and return the URL of its database.

    Raises DatabaseError with what to do where it can't be started.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / ".gitignore").write_text("*\n")
    except OSError as error:
        raise DatabaseError(
            f"can't make {home}: {error.strerror}", hint="check the rights, or set BAKEOFF_HOME"
        ) from error
    with _locked(home):
        (home / "last_used").touch()
        if _url(home, database) is None:
            _start(home)
            _watch_in_background(home, idle_minutes)
        url = _url(home, database)
    if url is None:
        raise DatabaseError(
            f"the embedded server in {_data(home)} is not ready", hint="bakeoff db stop, then try again"
        )
    return url


def _stop_locked(home: Path, pid: int) -> None:
    process = psutil.Process(pid)
    process.send_signal(2)  # SIGINT: PostgreSQL's fast shutdown, sessions are rolled back and the data is whole
    try:
        process.wait(60)
    except psutil.TimeoutExpired as error:
        raise DatabaseError(
            f"the embedded server (pid {pid}) did not stop in 60 s", hint=f"see {_data(home)}/log"
        ) from error


def stop(home: Path) -> bool:
    """Stop the server of *home*; return False where it did not run."""
    if not home.is_dir():
        return False
    with _locked(home):
        pid = running(home)
        if pid is None:
            return False
        _stop_locked(home, pid)
        return True


def _idle(home: Path, idle_s: float) -> bool:
    if time.time() - (home / "last_used").stat().st_mtime < idle_s:
        return False
    url = _url(home, "postgres")
    if url is None:
        return False
    with psycopg.connect(url, connect_timeout=10) as conn:
        return conn.execute(queries.get("server.other_clients")).fetchone() == (0,)


def watch(home: Path, idle_minutes: float, *, poll_s: float = _POLL_S) -> None:
    """Stop the server of *home* once it was idle for so long, or its folder was removed; return when it is gone."""
    first = running(home)
    while running(home) is not None:
        time.sleep(min(poll_s, idle_minutes * 60))
        if not home.is_dir():
            break
        with _locked(home):
            pid = running(home)
            with contextlib.suppress(psycopg.OperationalError):  # busy or stopping: look again at the next poll
                if pid is not None and _idle(home, idle_minutes * 60):
                    _stop_locked(home, pid)
    if first is not None and not home.is_dir() and psutil.pid_exists(first):
        psutil.Process(first).kill()  # its files are gone: nothing is left to shut down cleanly


if __name__ == "__main__":
    os.umask(0o077)
    watch(Path(sys.argv[1]), float(sys.argv[2]))
