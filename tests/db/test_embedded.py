"""The embedded server: one a folder, safe with two commands at once, never orphaned.

Each test has a folder of its own and ends with no process left (looked up by their ids).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from bakeoff.adapters import embedded
from bakeoff.errors import DatabaseError

ENSURE = """
import sys
from pathlib import Path
from bakeoff.adapters import embedded
print(embedded.ensure(Path(sys.argv[1]), idle_minutes=float(sys.argv[2])))
"""


def watchers(home: Path) -> list[psutil.Process]:
    """The processes that watch the server of *home*."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "bakeoff.adapters.embedded" in line and str(home.resolve()) in line:
            found.append(process)
    return found


def until(condition: Callable[[], bool], seconds: float = 15) -> bool:
    """Wait for *condition*; false where it did not come true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def stopped() -> Iterator[Path]:
    """A folder whose server ran once and was stopped: copying it is faster than making a new one."""
    folder = Path(tempfile.mkdtemp(prefix="bakeoff-embedded-"))
    folder.chmod(0o755)
    out, err = started_elsewhere(folder).communicate(timeout=60)
    assert out, err
    embedded.stop(folder)
    for process in watchers(folder):
        process.kill()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def home(stopped: Path) -> Iterator[Path]:
    """A folder that the server's own user can reach; server and watchers are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bakeoff-embedded-"))
    folder.chmod(0o755)
    subprocess.run(["cp", "-a", stopped / "postgres", folder], check=True)
    yield folder
    pid = embedded.running(folder)
    watching = watchers(folder)
    if folder.is_dir():
        embedded.stop(folder)
    for process in watching:
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)
    assert pid is None or embedded.running(folder) is None
    assert until(lambda: not alive(pid))


def alive(pid: int | None) -> bool:
    """Whether *pid* runs; a zombie does not."""
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def started_elsewhere(home: Path, idle_minutes: float = 30) -> subprocess.Popen[str]:
    """Begin `ensure` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", ENSURE, str(home), str(idle_minutes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ask(url: str) -> int:
    """Use the server."""
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT 42").fetchone()
    assert row is not None
    return int(row[0])


def test_second_call_finds_the_server(home: Path) -> None:
    """Twice is one server with one watcher, at one URL, on a socket alone; a stop ends it, a second stop finds none."""
    url = embedded.ensure(home)
    pid = embedded.running(home)
    assert pid is not None
    assert url == embedded.ensure(home)
    assert pid == embedded.running(home)
    assert 42 == ask(url)
    assert until(lambda: 1 == len(watchers(home)))
    assert [] == [
        item
        for item in psutil.Process(pid).net_connections()
        if item.status == psutil.CONN_LISTEN and item.family.name != "AF_UNIX"
    ]
    assert embedded.stop(home)
    assert embedded.running(home) is None
    assert not embedded.stop(home)
    assert not alive(pid)


def test_two_processes_at_once_start_one(home: Path) -> None:
    """Commands that start together agree on one server, and only one watcher runs."""
    both = [started_elsewhere(home) for _ in range(3)]
    said = [process.communicate(timeout=60) for process in both]
    assert [0, 0, 0] == [process.returncode for process in both], said
    assert 1 == len({out for out, _ in said})
    assert 42 == ask(said[0][0].strip())
    assert 1 == len(watchers(home))


def test_killed_server_is_started_again(home: Path) -> None:
    """A pid file that a SIGKILL left behind does not fool the next command; the data is whole."""
    url = embedded.ensure(home)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 42 AS x")
    pid = embedded.running(home)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: embedded.running(home) is None)
    again = embedded.ensure(home)
    with psycopg.connect(again) as conn:
        assert (42,) == conn.execute("SELECT x FROM kept").fetchone()
    assert pid != embedded.running(home)


def test_foreign_process_in_the_pid_file_is_not_ours(home: Path) -> None:
    """After a reboot the pid in the file may be anybody's: it is neither taken for the server nor stopped."""
    embedded.ensure(home)
    pid_file = home / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    embedded.stop(home)
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    shutil.chown(pid_file, (home / "postgres").owner())
    assert embedded.running(home) is None
    assert not embedded.stop(home)
    assert 42 == ask(embedded.ensure(home))


def test_watcher_stops_an_idle_server(home: Path) -> None:
    """Nobody connected for the idle time: the server ends, and its watcher with it."""
    process = started_elsewhere(home, idle_minutes=0.02)
    out, _ = process.communicate(timeout=60)
    assert out
    pid = embedded.running(home)
    assert pid is not None
    assert until(lambda: embedded.running(home) is None)
    assert until(lambda: not alive(pid) and not watchers(home))


def test_watcher_leaves_a_busy_server(home: Path) -> None:
    """A session that is open keeps the server, however long ago it was started."""
    out, _ = started_elsewhere(home, idle_minutes=0.01).communicate(timeout=60)
    with psycopg.connect(out.strip()) as conn:
        time.sleep(2.0)
        assert (1,) == conn.execute("SELECT 1").fetchone()
    assert until(lambda: embedded.running(home) is None)


def test_watcher_ends_a_server_whose_folder_is_gone(home: Path) -> None:
    """Removing the project folder leaves no orphans."""
    started_elsewhere(home, idle_minutes=0.02).communicate(timeout=60)
    conn = psycopg.connect(embedded.ensure(home))
    pid = embedded.running(home)
    assert alive(pid)
    shutil.rmtree(home)
    assert until(lambda: not alive(pid) and not watchers(home))
    conn.close()


def test_watcher_goes_with_its_server(home: Path) -> None:
    """A watcher is for the server it was started for: stop and start again does not gather them."""
    embedded.ensure(home)
    pid = embedded.running(home)
    assert pid is not None
    thread = threading.Thread(target=embedded.watch, args=(home, 30.0, pid + 1), kwargs={"poll_s": 0.1}, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert pid == embedded.running(home)


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A home below a file is refused in one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="can't make") as caught:
        embedded.ensure(tmp_path / "file" / "home")
    assert "BAKEOFF_HOME" in str(caught.value.hint)


def test_unreachable_folder_says_what_to_do(tmp_path: Path) -> None:
    """Where the server can't start, the error names the folder and the ways out."""
    home = tmp_path / "home"
    (home / "postgres").mkdir(parents=True)
    (home / "postgres" / "PG_VERSION").write_text("7\n")
    with pytest.raises(DatabaseError, match="did not start") as caught:
        embedded.ensure(home)
    assert "BAKEOFF_DATABASE_URL" in str(caught.value.hint)
    assert [] == watchers(home)
