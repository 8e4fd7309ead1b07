"""`bakeoff simulate` as a person runs it: a table that says it is simulated, a plot, and one line for bad input."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from tests import support
from tests.cli.conftest import Project, make
from tests.planned import GATES

FAULT = ("--fault", "quality:-0.2")
COMMAND = ("simulate", "--replays", "5", *FAULT)


@pytest.fixture(scope="module")
def done(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a plan of two locks, in which nothing was evaluated yet; for tests in order."""
    folder = tmp_path_factory.mktemp("simulating")
    with support.database(server_url, template, f"simulating_{template}"[:60]) as url:
        found = make(folder, url)
        rule = {"margin": 0.02, "base_rate": 0.8}
        steps = [{"percent": percent, "hours": 4} for percent in (10, 50, 100)]
        found.write("rollout.yaml", {"strategy": "short", "watch": {"errors": rule, "quality": rule}, "steps": steps})
        found.write("few.yaml", support.parts(retrieval={"filter": {"context": 1}}))
        found.write("gates.yaml", {"profile": "small", "resamples": 1000, "gates": [*GATES]})
        for name in ("a", "few"):
            found.json("lock-config", f"{name}.yaml")
            found.json("shadow-ingest", "corpus.jsonl", "--lock", name)
        yield found


def test_without_a_plan(done: Project) -> None:
    """Usage, with the command that makes one."""
    error = done.error("simulate", code=2, plain=True)
    assert "there is no plan yet" == error["message"]


def test_without_evaluations(done: Project) -> None:
    """Not known: which side was not evaluated, and the command."""
    sides = ("--baseline", "a", "--candidate", "few", "--questions", "questions.jsonl")
    done.json("plan", *sides, "--gates", "gates.yaml", "--rollout", "rollout.yaml", "--accept-blind")
    error = done.error("simulate", code=3)
    assert "has no finished evaluation on the plan's questions" in error["message"]
    assert error["hint"].startswith("bakeoff evaluate --lock ")


def evaluated(project: Project) -> dict[str, Any]:
    """Both locks evaluated, and what a simulation then says."""
    for name in ("a", "few"):
        project.json("evaluate", "--lock", name, "--questions", "questions.jsonl")
    return project.json(*COMMAND)


def test_a_simulation(done: Project) -> None:
    """One object with every row, called simulated, and an artifact that says the same."""
    found = evaluated(done)
    assert found["simulated"] is True
    names = ["as good as the baseline", "as evaluated", "as good, with quality:-0.2"]
    assert names == [row["candidate"] for row in found["rows"]]
    assert all(row["simulated"] for row in found["rows"])
    assert 5 == found["rows"][2]["rolled_back"]
    (path,) = [name for name in done.files() if name.startswith("simulations/")]
    kept = json.loads((done.folder / "home" / "artifacts" / path).read_text())
    assert kept["simulated"] is True
    assert found["rows"] == kept["rows"]


def test_what_a_person_reads(done: Project) -> None:
    """SIMULATED, a row each, what the plan sees of a fault, and where recordings are not what it counts on."""
    said = done.run(*COMMAND, "--fault", "errors:+0.5@6")
    assert 0 == said.returncode, said.stderr
    text = " ".join(said.stdout.split())
    assert "SIMULATED: 5 rollouts a row (short, 12 h, 200 questions an hour of 2,000 people, seed 7)" in text
    assert "12.2 pt, step 2" in text
    assert "note: the plan counts on 80% quality, the baseline's cases have 67%" in text
    assert "100.0% [56.6%, 100.0%]" in text
    assert "written to: " in text
    assert "tuned to the" not in text
    assert "replays: 20" in said.stderr


def test_what_is_not_played_is_said(done: Project) -> None:
    """Other traffic meets the looks that the plan has; what a real rollout waits for, and this one does not."""
    said = done.run(*COMMAND, "--traffic", "300/h")
    text = " ".join(said.stdout.split())
    assert "looks: tuned to the 200 questions an hour of the plan" in text
    assert "left out: the KPIs are not measured anew" in text


@pytest.mark.parametrize("name", ["caught.png", "caught.html"])
def test_a_plot(done: Project, name: str) -> None:
    """A picture, or a page that stands alone, with a line for each row and the word simulated."""
    found = done.json(*COMMAND, "--plot", name)
    path = done.folder / name
    assert name == found["plot"]
    if name.endswith(".png"):
        data = path.read_bytes()
        assert b"\x89PNG\r\n\x1a\n" == data[:8]
        assert (1152, 648) == struct.unpack(">II", data[16:24])
    else:
        text = path.read_text()
        assert "Simulated: short" in text
        assert 3 == text.count("<li ")
        assert "<svg" in text
        assert "http" not in text.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (("--fault", "speed:-0.1"), 2, "fault 'speed:-0.1': expected quality, errors or latency, a size"),
        (("--fault", "quality:+0.1"), 2, "a fault of quality of size +0.1: expected a share that is lost"),
        (("--fault", "quality:-0.99"), 2, "fault quality:-0.99: the recorded quality is"),
        (("--traffic", "0/h"), 2, "traffic of 0 questions an hour: expected above 0"),
        (("--traffic", "many"), 2, "traffic 'many': expected questions an hour, as 200/h"),
        (("--replays", "0"), 2, "0 replays: expected 1 to 100000"),
        (("--at-hour", "3"), 2, "--at-hour 3, but there is no fault"),
        ((*FAULT, "--at-hour", "-1"), 2, "a fault from hour -1: expected 0 or more hours"),
        (("--monitor-hours", "0"), 2, "the rollout would last 0 hours"),
        (("--monitor-hours", "1e9"), 2, "the rollout would last 1e+09 hours"),
        (("--fault", "quality:-0.1@999"), 2, "fault quality:-0.1@999: the rollout is over after 12 hours"),
        ((*FAULT, "--at-hour", "2", "--monitor-hours", "2"), 2, "fault quality:-0.2@2: the rollout is over after 2 h"),
        (("--from-rollout", "latest"), 2, "there is no rollout yet"),
        (("--plot", "caught.pdf"), 2, "--plot caught.pdf: expected a name that ends with .png or .html"),
    ],
)
def test_bad_input(done: Project, given: tuple[str, ...], code: int, said: str) -> None:
    """One line that says what was expected; nothing is recorded or written."""
    before = done.files()
    error = done.error("simulate", *given, code=code)
    assert error["message"].startswith(said)
    assert before == done.files()


def test_an_hour_for_faults_that_name_none(done: Project) -> None:
    """--at-hour is for them; one that names its own keeps it."""
    found = done.json("simulate", "--replays", "1", *FAULT, "--fault", "errors:+0.5@2", "--at-hour", "6")
    assert [6.0, 2.0] == [row["harm"]["at_hour"] for row in found["rows"] if row["harm"]]
