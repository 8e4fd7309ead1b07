"""Ingest and evaluation, killed as processes: the same command again gives what an undisturbed run gives."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bakeoff.adapters import evaluations, ingests
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from tests import support
from tests.support import bakeoff, command, environment, make_lock, one_object, run_ingest

SETTINGS = support.parts(chunking={"size": 40, "overlap_ratio": 0.5, "jaccard_threshold": 0.7}, prefix={"policy": "A"})
BUSY = "runs right now"
DEAD_S = 15.0
"""How long the server may take to notice that a client is gone."""


@dataclass(frozen=True)
class Case:
    """A corpus, its questions, and what undisturbed runs of it give."""

    corpus: Path
    questions: Path
    table_sha256: str
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """One undisturbed ingest, in a process as the killed ones."""
    folder = tmp_path_factory.mktemp("kill")
    documents = support.topics(40, 6000)
    corpus = support.write_jsonl(folder / "corpus.jsonl", documents)
    questions = support.write_questions(folder / "questions.jsonl", support.quotes_of(documents, each=4))
    with support.database(server_url, template, f"undisturbed_{template}") as url:
        which = make_lock(url, SETTINGS)
        began = time.monotonic()
        done = bakeoff(*arguments(which, corpus), env=environment(url, folder / "home"), cwd=folder)
        seconds = time.monotonic() - began
        assert 0 == done.returncode, done.stderr
        yield Case(corpus, questions, one_object(done.stdout)["table_sha256"], seconds)


def arguments(which: Lock, corpus: Path) -> list[str]:
    """The command that is killed, and given again."""
    return ["shadow-ingest", str(corpus), "--lock", which.config_hash, "--json"]


def begin(line: list[str], url: str, folder: Path) -> subprocess.Popen[str]:
    """Start a command that will be killed."""
    return subprocess.Popen(
        command(*line),
        env=environment(url, folder / "home"),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL *process* and wait for its end."""
    process.kill()
    process.communicate(timeout=60)


def finish(line: list[str], url: str, folder: Path) -> dict[str, Any]:
    """Give the command again at once, as a person would, and return its answer."""
    done = bakeoff(*line, env=environment(url, folder / "home"), cwd=folder, timeout=120)
    assert 0 == done.returncode, done.stdout + done.stderr
    return one_object(done.stdout)


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> bool:
    """Poll until *condition* holds; false where the process ended before."""
    while process.poll() is None:
        if condition():
            return True
        time.sleep(0.001)
    return False


ORDER = ["read", "dedup", "embed", "store", "index", "done"]
TRIES = 8  # on a busy machine a process may end between the look and the blow: then it begins anew


def _stage(conn: Connection, which: Lock) -> str:
    found = ingests.of_lock(conn, which)
    return "read" if found is None else found.stage


def caught(line: list[str], url: str, folder: Path, which: Lock, first: str) -> subprocess.Popen[str]:
    """Start the ingest and return it while it is at stage *first* or a later one, but not done."""
    wanted = ORDER[ORDER.index(first) : -1]
    for attempt in range(TRIES):
        process = begin([*line, "--restart"] if attempt else line, url, folder)
        with support.connector(url)() as conn:  # kept open: a new one for each look would take longer than a stage
            if wait_for(process, lambda conn=conn: _stage(conn, which) in wanted):  # type: ignore[misc]  # mypy can't infer it
                return process
        process.communicate()
    raise AssertionError(f"never seen at {first}")


def struck(
    line: list[str], url: str, folder: Path, which: Lock, first: str, blow: Callable[[subprocess.Popen[str]], object]
) -> tuple[int, str, str]:
    """Start the ingest, deal the *blow* at stage *first* or later, and return code, stdout, stderr once it has hit."""
    for attempt in range(TRIES):
        process = caught([*line, "--restart"] if attempt else line, url, folder, which, first)
        blow(process)
        out, err = process.communicate(timeout=60)
        if process.returncode != 0:
            return process.returncode, out, err
    raise AssertionError("it always ended before")


@pytest.mark.parametrize("where", ["read", "dedup", "embed", "store", "index"])
def test_killed_in_each_stage(new_database: Callable[..., str], undisturbed: Case, tmp_path: Path, where: str) -> None:
    """SIGKILL as soon as a stage is seen in the database; the same command at once makes the identical table."""
    url = new_database()
    which = make_lock(url, SETTINGS)
    line = arguments(which, undisturbed.corpus)
    kill(caught(line, url, tmp_path, which, where))
    assert undisturbed.table_sha256 == finish(line, url, tmp_path)["table_sha256"]
    assert undisturbed.table_sha256 == support.digest_of(url, which)


def test_killed_at_random_points_again_and_again(
    new_database: Callable[..., str], undisturbed: Case, tmp_path: Path
) -> None:
    """Ten kills spread over the run, several of them on one ingest: still the identical table."""
    rng, kills, seconds = random.Random(11), 0, undisturbed.seconds
    while kills < 10:
        url = new_database()
        which = make_lock(url, SETTINGS)
        line = arguments(which, undisturbed.corpus)
        for _ in range(5):
            process = begin(line, url, tmp_path)
            time.sleep(rng.uniform(0.3, 1.0) * seconds)
            if process.poll() is None:
                kills += 1
            else:  # the machine is faster than when the undisturbed run was timed
                seconds *= 0.9
            kill(process)
        found = finish(line, url, tmp_path)
        assert undisturbed.table_sha256 == found["table_sha256"] == support.digest_of(url, which)


def test_interrupt_says_so_and_resumes(new_database: Callable[..., str], undisturbed: Case, tmp_path: Path) -> None:
    """Ctrl-C at any point: exit code 130, one object, and the same command goes on."""
    url = new_database()
    which = make_lock(url, SETTINGS)
    line = arguments(which, undisturbed.corpus)
    for seen in ("dedup", "embed"):
        code, out, err = struck(line, url, tmp_path, which, seen, lambda process: process.send_signal(signal.SIGINT))
        assert 130 == code, err
        assert "Traceback" not in err
        error = one_object(out)["error"]
        assert ("interrupted", 130) == (error["kind"], error["exit_code"])
    assert undisturbed.table_sha256 == finish(line, url, tmp_path)["table_sha256"]


def test_lost_server_is_one_line_and_resumes(
    new_database: Callable[..., str], undisturbed: Case, tmp_path: Path
) -> None:
    """A session that the server ends: exit code 5, a message without a traceback, and the same command goes on."""
    url = new_database()
    which = make_lock(url, SETTINGS)
    line = arguments(which, undisturbed.corpus)
    end_sessions = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'bakeoff' AND pid <> pg_backend_pid()"
    )
    code, out, err = struck(line, url, tmp_path, which, "embed", lambda _: support.rows(url, end_sessions))
    assert 5 == code, out + err
    error = one_object(out)["error"]
    assert ("database", 5) == (error["kind"], error["exit_code"])
    assert "same command again" in error["hint"]
    assert "\n" not in error["message"]
    assert "Traceback" not in err
    assert undisturbed.table_sha256 == finish(line, url, tmp_path)["table_sha256"]


def test_two_commands_into_one_table(new_database: Callable[..., str], undisturbed: Case, tmp_path: Path) -> None:
    """Two ingests of one lock at once: one does it, the other is refused with exit code 4 and touches nothing."""
    url = new_database()
    which = make_lock(url, SETTINGS)
    line = arguments(which, undisturbed.corpus)
    for attempt in range(TRIES):
        again = [*line, "--restart"] if attempt else line
        both = [begin(again, url, tmp_path), begin(again, url, tmp_path)]
        said = [process.communicate(timeout=120) for process in both]
        codes = [process.returncode for process in both]
        if codes != [0, 0]:  # else the second began when the first had ended
            break
    assert [0, 4] == sorted(codes), said
    assert BUSY in one_object(said[codes.index(4)][0])["error"]["message"]
    assert undisturbed.table_sha256 == support.digest_of(url, which)


def test_killed_evaluation_is_continued(new_database: Callable[..., str], undisturbed: Case, tmp_path: Path) -> None:
    """SIGKILL in the middle of an evaluation: the same command goes on with that run and gives the same cases."""
    url = new_database()
    which = make_lock(url, SETTINGS)
    run_ingest(url, which, undisturbed.corpus)
    line = ["evaluate", "--lock", "test", "--questions", str(undisturbed.questions), "--json"]
    whole = finish([*line, "--fresh"], url, tmp_path)
    total = whole["questions"]["used"]

    def half() -> bool:
        found = support.rows(
            url, "SELECT count(*) FROM evaluation_cases JOIN evaluations USING (run_id) WHERE finished_at IS NULL"
        )
        return 5 < int(found[0][0]) < int(total)

    unfinished: list[evaluations.Run] = []
    for _ in range(6):  # on a busy machine a run may end between the look and the kill
        process = begin([*line, "--fresh"], url, tmp_path)
        wait_for(process, half)
        kill(process)
        with support.connector(url)() as conn:
            unfinished = [item for item in evaluations.listing(conn) if item.finished_at is None]
            before = evaluations.cases(conn, unfinished[0].run_id) if unfinished else []
        if unfinished:
            break
    (run,) = unfinished
    assert 5 < len(before) < total
    again = finish(line, url, tmp_path)
    assert again["resumed"]
    assert (run.run_id, whole["cases_sha256"]) == (again["run_id"], again["cases_sha256"])
    with support.connector(url)() as conn:
        assert before == evaluations.cases(conn, run.run_id)[: len(before)]
    assert (tmp_path / "home" / "artifacts" / "evaluations" / f"{run.run_id}.json").samefile(again["artifact"])
