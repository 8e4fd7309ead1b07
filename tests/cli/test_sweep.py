"""`bakeoff sweep` as a person runs it: its answer, its exit codes, killed and run again, bad input."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import support
from tests.cli.conftest import Project, make

BASE = support.parts(retrieval={"lexical_weight": 0.0, "filter": {"context": 1}})
BETTER: dict[str, Any] = {
    "name": "context",
    "base": "base.yaml",
    "corpus": "corpus.jsonl",
    "list": [{"retrieval.filter.context": 10}, {"index.hnsw_m": 8}, {"index.hnsw_m": 24}],
    "finalists": 2,
    "holdout": 0.6,
}
COMMAND = ("sweep", "sweep.yaml", "--questions", "many.jsonl")


def prepared(project: Project) -> Project:
    """A project with a sweep file, its base, and questions enough."""
    asked = support.quotes_of(support.topics(10, 2500), each=6)
    support.write_questions(project.folder / "many.jsonl", asked)
    project.write("base.yaml", {"name": "ignored", **BASE})
    project.write("sweep.yaml", BETTER)
    return project


@pytest.fixture(scope="module")
def swept(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project after its sweep."""
    folder = tmp_path_factory.mktemp("swept")
    with support.database(server_url, template, f"swept_{template}"[:60]) as url:
        project = prepared(make(folder, url))
        assert 0 == project.run(*COMMAND).returncode
        yield project


@pytest.fixture(scope="module")
def said(swept: Project) -> dict[str, Any]:
    """What the sweep says as JSON."""
    return swept.json(*COMMAND)


def test_a_winner_is_proposed_with_the_next_command(swept: Project, said: dict[str, Any]) -> None:
    """Rungs, finalists, winner and what to do next on stdout; what goes on, once each, on stderr."""
    done = swept.run(*COMMAND)
    assert 0 == done.returncode, done.stderr
    lines, data = done.stdout.splitlines(), said
    assert lines[0].startswith(
        f"context: 3 configurations against context-{data['baseline'][:6]} ({data['baseline']}) by "
    )
    assert [line for line in lines if line.startswith("3 candidates on ") and line.endswith(", 2 go on")]
    assert f"winner: context-{data['winner'][:6]} ({data['winner']}): retrieval.filter.context=10" in lines
    next_command = f"next: bakeoff plan --baseline {data['baseline']} --candidate {data['winner']} --questions FILE"
    assert next_command in lines
    assert "2 finalists; 3 configurations were tried in all." in done.stdout
    assert "--drop-losers removes" in done.stdout
    assert ["tables: 4", f"answers: {data['questions']['used'] * 3 + len(data['questions']['narrowing'])}"] == [
        line for line in done.stderr.splitlines() if line.startswith(("tables", "answers"))
    ]


def test_the_artifact_is_what_is_printed(swept: Project, said: dict[str, Any]) -> None:
    """One file for each sweep, the JSON of stdout without its own place."""
    stored = json.loads((swept.folder / said["artifact"]).read_text(encoding="utf-8"))
    assert {**stored, "artifact": said["artifact"]} == said
    assert "sweeps" in said["artifact"]
    assert said["artifact"].endswith(f"-context-{said['record']}.json")
    assert swept.url is not None
    assert (said["record"], "sweep") in support.rows(swept.url, "SELECT record_id, kind FROM records")


def test_losers_tables_are_dropped(swept: Project, said: dict[str, Any]) -> None:
    """The one that narrowing dropped; what the sweep found is found without it."""
    done = swept.run(*COMMAND, "--drop-losers")
    assert (0, True) == (done.returncode, "the tables of 1 dropped candidate are removed" in done.stdout)
    assert f"({said['winner']}): retrieval.filter.context=10" in done.stdout


def test_no_winner_is_exit_code_3(swept: Project) -> None:
    """Nothing to narrow, nothing better: said so."""
    swept.write("equals.yaml", {**BETTER, "list": [{"index.hnsw_m": 8}, {"index.hnsw_m": 24}]})
    done = swept.run("sweep", "equals.yaml", *COMMAND[2:])
    assert 3 == done.returncode, done.stderr
    assert "nothing to narrow: every configuration is a finalist" in done.stdout
    assert "each interval stands alone, not" in " ".join(done.stdout.split())
    assert "no winner: none is shown to be better by 0 or more at alpha 0.05" in done.stdout


def test_a_difference_that_is_not_shown_says_how_many_questions_would(swept: Project) -> None:
    """A small gain with a strict alpha: the number of holdout questions at which it would be seen."""
    swept.write("strict.yaml", {**BETTER, "list": [{"retrieval.filter.context": 2}], "alpha": 0.0001})
    done = swept.run("sweep", "strict.yaml", *COMMAND[2:])
    assert 3 == done.returncode, done.stdout + done.stderr
    assert "holdout questions would show the best of them, if it is as good as it looks; there were" in done.stdout


WRONG: list[tuple[Any, str, list[str]]] = [
    ("grid: [\n", "x.yaml:2:1: ", []),
    ("", "x.yaml: expected keys and values", []),
    ({"grid": {}}, "x.yaml is no sweep that can be run", ["grid is empty: there is nothing to try"]),
    ({**BETTER, "metric": "speed", "et": 3}, "x.yaml is no sweep that can be run", ["metric: unknown", "et: unknown"]),
    ({**BETTER, "base": "none.yaml"}, "no such configuration: none.yaml", []),
    ({**BETTER, "base": "list.yaml"}, "list.yaml: expected keys and values", []),
    ({**BETTER, "list": [{"seat": 1}, {"seed": -1}]}, "2 problems in the configurations of x.yaml", ["seat", "seed"]),
    ({**BETTER, "first_rung": 100}, "fewer than the 100 of the first rung", []),
    ({**BETTER, "corpus": None}, "x.yaml names no corpus", []),
]


@pytest.fixture(scope="module")
def empty(project: Project) -> Project:
    """A project in which nothing was done yet."""
    project.write("list.yaml", "- 1\n")
    return prepared(project)


@pytest.mark.parametrize(("content", "message", "problems"), WRONG)
def test_bad_input(empty: Project, content: Any, message: str, problems: list[str]) -> None:
    """Exit code 2, one line, and the problems below it; no lock, no file."""
    empty.write("x.yaml", content)
    found = empty.error("sweep", "x.yaml", *COMMAND[2:], code=2)
    assert message in found["message"]
    assert len(problems) == len(found["problems"])
    assert all(any(part in said for said in found["problems"]) for part in problems), found["problems"]
    assert empty.url is not None
    assert ([], []) == (empty.files(), support.rows(empty.url, "SELECT config_hash FROM locks"))


def begin(project: Project) -> subprocess.Popen[str]:
    """Start the sweep."""
    return subprocess.Popen(
        support.command(*COMMAND),
        env=project.env,
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("blow", "code", "cases"), [(signal.SIGKILL, -9, 60), (signal.SIGINT, 130, 20)])
def test_stopped_in_the_middle_the_same_command_continues(
    fresh: Project, said: dict[str, Any], blow: signal.Signals, code: int, cases: int
) -> None:
    """Killed or interrupted while questions are answered; then the very result of an undisturbed sweep."""
    project = prepared(fresh)
    assert project.url is not None
    process = begin(project)
    while process.poll() is None:
        if support.rows(project.url, "SELECT count(*) FROM evaluation_cases")[0][0] >= cases:
            break
        time.sleep(0.005)
    process.send_signal(blow)
    _, err = process.communicate(timeout=60)
    assert code == process.returncode, err
    after = project.json(*COMMAND)
    for part in ("winner", "rungs", "finalists", "questions", "tried", "verdict"):
        assert said[part] == after[part]
    assert [(0,)] == support.rows(project.url, "SELECT count(*) FROM evaluations WHERE finished_at IS NULL")
