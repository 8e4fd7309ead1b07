"""Outcomes from outside: a polite kill, a full disk behind stdout, a reader that is down."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import support
from tests.cli.conftest import Project


def test_sigterm_is_an_interruption_with_its_object(fresh: Project) -> None:
    """What a CI system sends when it cancels: exit code 130, one JSON object, and the same command goes on."""
    assert 0 == fresh.run("lock-config", "a.yaml").returncode
    arguments = ("shadow-ingest", "python-full", "--lock", "a", "--json")
    pipe = subprocess.PIPE
    command = support.command(*arguments)
    process = subprocess.Popen(command, cwd=fresh.folder, env=fresh.env, stdout=pipe, stderr=pipe, text=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and fresh.json("locks", "list")["locks"][0]["ingest"] is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert 130 == process.returncode, out + err
    assert "interrupted" == support.one_object(out)["error"]["kind"]
    assert 0 == fresh.run("shadow-ingest", "python-full", "--lock", "a").returncode


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_full_disk_behind_stdout_is_one_line(fresh: Project, more: tuple[str, ...]) -> None:
    """Exit code 5 and a line on stderr, no traceback, no bug report."""
    with Path("/dev/full").open("w") as full:
        command = support.command("locks", "list", *more)
        done = subprocess.run(
            command, cwd=fresh.folder, env=fresh.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert 5 == done.returncode, done.stderr
    assert "bakeoff: the system refuses: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_ask_says_no_where_the_reader_is_down(fresh: Project) -> None:
    """The chunks are shown all the same, and the exit code says that there is no answer."""
    reader = {"kind": "openai", "base_url": "http://127.0.0.1:9", "model": "m", "retries": 0, "deadline_s": 2.0}
    fresh.write("down.yaml", {**support.parts(), "reader": reader})
    for arguments in (("lock-config", "down.yaml"), ("shadow-ingest", "corpus.jsonl", "--lock", "down")):
        assert 0 == fresh.run(*arguments).returncode
    found = fresh.json("ask", "what is an attribute?", "--lock", "down", code=5)
    assert found["answer"]["text"] is None
    assert found["answer"]["error"]
    assert found["retrieved_context"]
