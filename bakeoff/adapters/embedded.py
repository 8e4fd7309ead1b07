"""The embedded PostgreSQL: started when needed, left running, stopped on request or when idle.

Callers may rely on: one server a project folder; two commands at once are safe (a lock file orders start and stop); it
listens on a Unix socket only; a watcher process stops it after the idle time, so it is never orphaned.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bakeoff.adapters import queries
from bakeoff.errors import DatabaseError

DATABASE = "bakeoff"
_POLL_S = 30.0
_STOP_S = 60.0
_PID_LINES = 8
"""Lines of a pid file; the last one says whether the server is ready."""
_NO_PID = 2**22 + 1
"""No process has this id: Linux gives them up to 2**22, macOS up to 99,999."""


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
    return pid if _alive(pid) else None


def _alive(pid: int) -> bool:
    """Return whether *pid* is a PostgreSQL server: a pid file outlives a crash, and its number is given to others."""
    import psutil  # not for a server that answers: most commands only look for one

    try:
        process = psutil.Process(pid)
        return "postgres" in process.name() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _disown(home: Path) -> None:
    """Make the pid file of a server that crashed name no process, and remove its socket's.

    Else pgserver takes any process of that number for the server, and PostgreSQL one that nobody has waited for.

    The file's other lines stay, since PostgreSQL finds sessions of the crashed server by them and waits for their end.
    """
    path = _data(home) / "postmaster.pid"
    if path.exists():
        lines = path.read_text().splitlines()
        if len(lines) < _PID_LINES:  # it crashed before it had sessions
            path.unlink()
        else:
            path.write_text("\n".join([str(_NO_PID), *lines[1:]]) + "\n")
            (Path(lines[4].strip()) / f".s.PGSQL.{lines[3].strip()}.lock").unlink(missing_ok=True)


def _url(home: Path, database: str) -> str | None:
    """Return the URL of a server that is up, from its pid file, without loading the server's package."""
    try:
        lines = [line.strip() for line in (_data(home) / "postmaster.pid").read_text().splitlines()]
    except OSError:
        return None
    if len(lines) < _PID_LINES or lines[_PID_LINES - 1] != "ready" or not _answers(Path(lines[4]), lines[3]):
        return None
    return f"postgresql://postgres@/{database}?host={lines[4]}&port={lines[3]}"


def _answers(folder: Path, port: str) -> bool:
    """Return whether a server listens on its socket: a pid file outlives a crash."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(folder / f".s.PGSQL.{port}"))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _start(home: Path) -> None:
    pgserver = _pgserver()
    _disown(home)
    pgserver.PostgresServer._instances.pop(_data(home), None)  # noqa: SLF001  # it would believe that a stopped one runs
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
    pid = running(home)
    process = subprocess.Popen(  # noqa: S603  # this interpreter, this module, a path of ours
        [sys.executable, "-m", "bakeoff.adapters.embedded", str(home.resolve()), str(idle_minutes), str(pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    process.returncode = 0  # it outlives us on purpose: nobody waits for it, and Python need not warn about that


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
    """Shut *pid* down fast (SIGINT): sessions are rolled back and the data is whole."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    until = time.monotonic() + _STOP_S
    while _alive(pid):
        if time.monotonic() > until:
            raise DatabaseError(
                f"the embedded server (pid {pid}) did not stop in {_STOP_S:.0f} s", hint=f"see {_data(home)}/log"
            )
        time.sleep(0.02)


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


def watch(home: Path, idle_minutes: float, pid: int, *, poll_s: float = _POLL_S) -> None:
    """Stop the server *pid* of *home* once it was idle for so long, or its folder was removed; return when it is gone.

    A server that was started later has a watcher of its own.
    """
    while running(home) == pid:
        time.sleep(min(poll_s, idle_minutes * 60))
        # Busy, stopping, or the folder is being removed: look again at the next poll.
        with contextlib.suppress(psycopg.OperationalError, OSError, DatabaseError), _locked(home):
            if running(home) == pid and _idle(home, idle_minutes * 60):
                _stop_locked(home, pid)
    if not home.is_dir() and _alive(pid):
        os.kill(pid, signal.SIGKILL)  # its files are gone: nothing is left to shut down cleanly


if __name__ == "__main__":
    os.umask(0o077)
    watch(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
