"""A run on the simulated clock is a rehearsal: it changes nothing in production, and stands in for no real rollout."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.cli.conftest import Project
from tests.cli.test_run import ROLLOUT, RUN, prepare, stages

WALL = (*RUN[:-1], "wall")


@pytest.fixture(scope="module")
def story(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project for the tests, which follow each other."""
    folder = tmp_path_factory.mktemp("rehearsal")
    with support.database(server_url, template, f"rehearsal_{folder.name}_{template}"[:60]) as url:
        yield prepare(folder, url)


def stopped_at(project: Project, words: str, *arguments: str) -> tuple[dict[str, Any], str]:
    """Begin a run with real traffic, press Ctrl-C as soon as it says *words*; the error and all that stderr heard."""
    process = subprocess.Popen(
        support.command(*arguments, "--json"), env=project.env, cwd=project.folder, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stdout is not None
    heard = ""
    for line in process.stderr:
        heard += line
        if words in line:
            process.send_signal(signal.SIGINT)
    printed = process.stdout.read()
    process.stderr.close()
    process.stdout.close()
    assert 130 == process.wait(30), heard
    error: dict[str, Any] = support.one_object(printed)["error"]
    return error, heard


def clocks(project: Project) -> list[tuple[str, str]]:
    """Clock and phase of every rollout, oldest first."""
    return support.rows(str(project.url), "SELECT clock, phase FROM rollouts ORDER BY started_at, rollout_id")


def test_what_can_not_be_read_is_not_remembered(story: Project) -> None:
    """A corpus or questions that are not there: said before the first stage, and --resume knows nothing of it."""
    error = story.error(*RUN, "--corpus", "none.jsonl", code=2)
    assert error["message"].startswith("no such corpus: none.jsonl")
    error = story.error(*RUN, "--questions", "none.jsonl", code=2)
    assert "none.jsonl" in error["message"]
    assert "there is no run to take up" in story.error("run", "--resume", code=2)["message"]


def test_a_rehearsal_ends_and_changes_nothing(story: Project) -> None:
    """Exit code 0, and the words say that nothing in production changed and which command is next."""
    done = story.run(*RUN)
    assert 0 == done.returncode, done.stderr
    said = "rehearsed: completed on the simulated clock; nothing in production changed"
    assert f"verdict: PASS: {said}\nnext: the same command with --clock wall\n" in done.stdout
    states = {item["name"]: item["state"] for item in story.json("locks", "list")["locks"]}
    assert ("active", "archived") != (states["b"], states["a"])
    assert ("a", "the same command with --clock wall") == (
        story.json("status")["active"]["lock"], story.json("run", "--resume")["next"]
    )  # fmt: skip


def test_status_after_a_rehearsal(story: Project) -> None:
    """What is next is the real rollout of the plan that was judged; nothing is told to be done already."""
    found = story.json("status")
    assert ("completed", "simulated") == (found["rollout"]["phase"], found["rollout"]["clock"])
    assert f"bakeoff canary start --plan {found['plan']['plan']}" in found["next"]
    assert "--clock wall" in found["next"]
    assert "nothing in production changed" in story.run("runbook", "latest").stdout


def test_running_again_with_nothing_to_do_leaves_the_artifact(story: Project) -> None:
    """The account of the run that did something is not written over by one that did nothing."""
    (path,) = (story.folder / "home" / "artifacts" / "runs").glob("*.json")
    before = path.read_bytes()
    found = story.json("run", "--resume")
    assert str(path) == found["artifact"]
    assert before == path.read_bytes()


def test_a_changed_corpus_is_not_taken_up(story: Project) -> None:
    """Other documents under the same name: named, with what to do; put back it goes on."""
    path = story.folder / "corpus.jsonl"
    before = path.read_bytes()
    path.write_bytes(before + json.dumps({"id": "more", "text": "One more."}).encode() + b"\n")
    assert "corpus.jsonl was changed since the run began" in story.error("run", "--resume", code=4)["message"]
    path.write_bytes(before)
    assert "pass" == story.json("run", "--resume")["verdict"]


def test_a_rehearsal_does_not_stand_in_for_the_rollout(story: Project) -> None:
    """The same command on the wall clock begins a rollout of its own; Ctrl-C says where traffic stays and what now."""
    error, heard = stopped_at(story, "[14/16] watch", *WALL)
    assert [("simulated", "completed"), ("wall", "running")] == clocks(story)
    assert "stays at 25 %, nobody looks now" in error["message"]
    assert "bakeoff run --resume, bakeoff canary watch, or bakeoff canary rollback --reason TEXT" == error["hint"]
    assert error["message"].startswith("stopped; r")
    assert "stopped" not in heard
    assert "run the same command again" not in heard
    assert "clock: simulated" not in heard


def test_status_says_that_no_controller_is_at_work(story: Project) -> None:
    """Nobody holds the rollout; while somebody does, it says so."""
    assert story.json("status")["rollout"]["controller"] is False
    name = story.json("status")["rollout"]["rollout_id"]
    with support.connector(str(story.url))() as conn:
        conn.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"watch {name}",))
        assert story.json("status")["rollout"]["controller"] is True
    assert "no controller is at work" in story.run("status").stdout


def test_no_rehearsal_while_real_traffic_moves(story: Project) -> None:
    """Refused before anything is written or remembered: artifacts and records stay what they were."""
    root = story.folder / "home" / "artifacts"
    before = {name: (root / name).read_bytes() for name in story.files()}
    known = support.rows(str(story.url), "SELECT count(*) FROM records")
    error = story.error(*RUN, code=4)
    assert "is on its way with real traffic, and --clock simulated was asked for" in error["message"]
    assert before == {name: (root / name).read_bytes() for name in story.files()}
    assert known == support.rows(str(story.url), "SELECT count(*) FROM records")
    error, _ = stopped_at(story, "[14/16] watch", "run", "--resume")
    assert "stays at 25 %" in error["message"]


def test_after_a_rollback_the_rollout_is_what_the_run_speaks_of(story: Project) -> None:
    """Not the rehearsal that completed: exit code 1."""
    story.json("canary", "rollback", "--reason", "slow")
    found = story.json("run", "--resume", code=1)
    assert ("fail", "wall") == (found["verdict"], found["clock"])
    assert {"canary start", "watch"} <= set(stages(found, reused=True))


def test_a_rehearsal_that_waits_for_an_approval(database_url: str, tmp_path: Path) -> None:
    """Run and status name the command that it waits for; given, the run goes on to the end."""
    project = prepare(tmp_path, database_url)
    steps = [{"percent": 25, "hours": 4}, {"percent": 100, "hours": 4, "approval": True}]
    project.write("rollout.yaml", {**ROLLOUT, "steps": steps})
    found = project.json(*RUN, code=3)
    assert "bakeoff canary approve --reason TEXT, then bakeoff run --resume" == found["next"]
    assert "bakeoff canary approve --reason TEXT" == project.json("status")["next"]
    project.json("canary", "approve", "--reason", "support has nothing")
    assert "pass" == project.json("run", "--resume")["verdict"]
