"""`run`, `status` and `runbook` as a person has them: the whole story, stopped, resumed, skipped, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.cli.conftest import Project, make
from tests.planned import GATES

FILES = ("--baseline-config", "a.yaml", "--candidate-config", "b.yaml", "--questions", "questions.jsonl")
BAR = ("--gates", "gates.yaml", "--rollout", "rollout.yaml")
RUN = ("run", *FILES, *BAR, "--corpus", "corpus.jsonl", "--clock", "simulated")
ROLLOUT = {
    "strategy": "quick",
    "recheck_at_steps": False,
    "watch": {"quality": {"margin": 0.4, "base_rate": 0.6}},
    "steps": [{"percent": 25, "hours": 4}, {"percent": 100, "hours": 4}],
}
STAGES = [
    *("lock baseline", "lock candidate", "ingest baseline", "ingest candidate", "activate", "plan"),
    *("evaluate baseline", "evaluate candidate", "timings", "probes", "parity", "kpi-check"),
    *("canary start", "watch", "runbook", "seal"),
]
TOO_FEW = [{**GATES[0], "name": "many", "minimum": 500}]


def prepare(folder: Path, url: str | None) -> Project:
    """A small corpus, questions that quote nothing word for word, a candidate with larger chunks, gates, a rollout."""
    found = make(folder, url)
    asked = support.quotes_of(support.topics(10, 2500), each=4)
    support.write_questions(
        folder / "questions.jsonl", [item | {"question": " ".join(item["question"].split()[::-1])} for item in asked]
    )
    found.write("b.yaml", support.parts(chunking={"size": 80}))
    found.write("gates.yaml", {"profile": "small", "label": "Small gates.", "resamples": 1000, "gates": [*GATES]})
    found.write("rollout.yaml", ROLLOUT)
    return found


@pytest.fixture
def begun(database_url: str, tmp_path: Path) -> Project:
    """A project of the test's own."""
    return prepare(tmp_path, database_url)


@pytest.fixture(scope="module")
def story(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project for the tests that follow each other."""
    folder = tmp_path_factory.mktemp("story")
    with support.database(server_url, template, f"run_{folder.name}_{template}"[:60]) as url:
        yield prepare(folder, url)


def stages(found: dict[str, Any], *, reused: bool) -> list[str]:
    """The names of the stages that were, or were not, done before."""
    return [item["stage"] for item in found["stages"] if reused == item["reused"]]


def history(url: str) -> list[tuple[Any, ...]]:
    """What moved the rollout, without ids of runs and records."""
    return support.rows(url, "SELECT version, event, body ->> 'reason', body #>> '{{state,step}}' FROM rollout_events "
                             "ORDER BY version")  # fmt: skip


def test_the_whole_story(story: Project) -> None:
    """From two files to a rehearsed rollout; production as before, the checklist filled in, all marked."""
    done = story.run(*RUN)
    assert 0 == done.returncode, done.stderr
    for number, name in enumerate(STAGES, start=1):
        assert f"[{number:>2}/{len(STAGES)}] {name}\n" in done.stderr
    assert "no lock was in production: a (" in done.stderr
    assert "clock: simulated" in done.stderr
    assert "clock: simulated" in done.stdout
    assert "verdict: PASS: rehearsed: completed on the simulated clock; nothing in production changed\n" in done.stdout
    assert done.stdout.endswith("next: the same command with --clock wall\n")
    states = {item["name"]: item["state"] for item in story.json("locks", "list")["locks"]}
    assert {"a": "active", "b": "locked"} == states
    root = story.folder / "home" / "artifacts"
    made = [name for name in story.files() if name.endswith(".json")]
    assert {"locks", "plans", "evaluations", "probes", "parity", "judgements", "runs", "seals"} == {
        name.split("/")[0] for name in made
    }
    marked = [name for name in made if not name.startswith("seals/")]  # a seal says it in what is signed
    assert {"simulated"} == {json.loads((root / name).read_text())["clock"] for name in marked}
    (page,) = (root / "runbooks").glob("*.md")
    assert "**Simulated clock" in page.read_text()
    assert "- [x] Rehearsed to the end; nothing in production changed" in page.read_text()


def test_again_nothing_is_left_to_do(story: Project) -> None:
    """Everything is skipped with its reason, the verdict is the same, nothing is stored."""
    before = support.rows(str(story.url), "SELECT count(*) FROM records")
    found = story.json("run", "--resume")
    assert [name for name in STAGES if name != "runbook"] == stages(found, reused=True)
    assert ("pass", "simulated") == (found["verdict"], found["clock"])
    assert "done before" in found["stages"][2]["said"]
    assert before == support.rows(str(story.url), "SELECT count(*) FROM records")
    found = story.json(*RUN, "--skip-ingest", "--skip-eval")
    assert [name for name in STAGES if name != "runbook"] == stages(found, reused=True)


def test_status_after_it(story: Project) -> None:
    """The baseline is active, the rehearsal completed; the real rollout is to be begun; one screen."""
    found = story.json("status")
    assert ("a", "completed") == (found["active"]["lock"], found["rollout"]["phase"])
    following = f"it was rehearsed: bakeoff canary start --plan {found['plan']['plan']}, or the bakeoff run with "
    assert f"{following}--clock wall" == found["next"]
    said = story.run("status").stdout
    assert 24 >= len(said.splitlines())
    assert "completed, 100 % to the candidate, step 2 of 2, clock: simulated" in said
    assert "nothing is wrong that a quick look sees\nnext: it was rehearsed: " in said


def test_the_runbook_is_printed_and_written(story: Project) -> None:
    """The same text on stdout, in the file, and in the object; an unknown plan is refused."""
    said = story.run("runbook", "latest").stdout
    assert said.startswith("# Runbook: b over 8 hours\n")
    done = story.run("runbook", "latest", "--out", "tonight.md")
    assert (0, "") == (done.returncode, done.stdout)
    assert said == (story.folder / "tonight.md").read_text()
    assert said == story.json("runbook", "latest")["runbook"]
    assert "there is no plan" not in story.error("runbook", "ffffffff", code=2)["message"]


def test_a_changed_file_is_not_taken_up(story: Project) -> None:
    """The bar that was moved after the start is named; with the command's own options it is another run."""
    story.write("gates.yaml", {"profile": "small", "resamples": 1000, "gates": [*GATES][:1]})
    error = story.error("run", "--resume", code=4)
    assert "gates.yaml was changed since the run began" in error["message"]
    story.write("gates.yaml", {"profile": "small", "label": "Small gates.", "resamples": 1000, "gates": [*GATES]})
    assert "pass" == story.json("run", "--resume")["verdict"]


def test_a_second_run_against_what_was_replaced_is_refused(story: Project) -> None:
    """The baseline is not in production any more: exit code 4 before anything is measured."""
    story.json("locks", "activate", "b", "--reason", "by hand")
    story.write("c.yaml", support.parts(chunking={"size": 70}))
    error = story.error(*RUN, "--candidate-config", "c.yaml", code=4)
    assert "is in production, not the baseline a" in error["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run",), 2, "no questions are named"),
        (("run", "--resume"), 2, "there is no run to take up"),
        (("run", "--resume", "--corpus", "python"), 2, "--resume takes what the run was given, --corpus came too"),
        ((*RUN, "--force"), 2, "--force needs a reason"),
        ((*RUN, "--rollout", "none.yaml"), 2, "no such rollout file: none.yaml"),
        ((*RUN, "--monitor-hours", "inf"), 2, "the rollout would last inf hours"),
        ((*RUN, "--skip-ingest"), 4, "--skip-ingest, but a ("),
        (("run", *FILES, *BAR), 2, "a is not ingested, and no corpus is named"),
    ],
    ids=["bare", "nothing to resume", "both", "no reason", "no file", "for ever", "not ingested", "no corpus"],
)
def test_what_is_refused(begun: Project, arguments: tuple[str, ...], code: int, message: str) -> None:
    """One line that says what is wrong; no traffic moved."""
    assert message in begun.error(*arguments, code=code)["message"]
    assert [] == history(str(begun.url))


def test_an_inconclusive_run_stops_until_it_is_forced(begun: Project) -> None:
    """Exit code 3, no rollout; forced with a reason it goes on, and the reason is in the history; then it resumes."""
    begun.write("gates.yaml", {"profile": "small", "resamples": 1000, "gates": TOO_FEW})
    found = begun.json(*RUN, "--accept-blind", code=3)
    assert ("inconclusive", "kpi-check") == (found["verdict"], found["stages"][-2]["stage"])
    assert found["next"].startswith("bakeoff run --resume --force --reason TEXT")
    assert [] == history(str(begun.url))
    assert "bakeoff run --resume --force --reason TEXT" in begun.json("status")["next"]
    assert 3 == begun.run("run", "--resume").returncode
    judged = "SELECT count(*) FROM records WHERE kind = 'judgement'"
    assert [(1,)] == support.rows(str(begun.url), judged)  # it rests on the same, and is not made again
    found = begun.json("run", "--resume", "--force", "--reason", "two hundred questions are all we have")
    assert "pass" == found["verdict"]
    (why,) = support.rows(str(begun.url), "SELECT body #>> '{{event,why}}' FROM rollout_events WHERE event = 'start'")[
        0
    ]
    assert "two hundred questions are all we have" in why
    assert "pass" == begun.json("run", "--resume")["verdict"]


def test_a_failed_run_stops(begun: Project) -> None:
    """A candidate whose chunks are too long for the gate: exit code 1, the next command explains, nothing moved."""
    short = [item | {"at_most": 70} if item["name"] == "longest" else item for item in GATES]
    begun.write("gates.yaml", {"profile": "small", "resamples": 1000, "gates": short})
    found = begun.json(*RUN, code=1)
    assert ("fail", "kpi-check") == (found["verdict"], found["stages"][-2]["stage"])
    assert found["stages"][-2]["said"].endswith("not passed: longest")
    assert found["next"].startswith("bakeoff explain ")
    assert [] == history(str(begun.url))
    assert 1 == begun.run("run", "--resume", "--force", "--reason", "because").returncode


def _kill_at(project: Project, words: str) -> None:
    """Begin a run, and kill it as soon as it says *words*."""
    process = subprocess.Popen(
        support.command(*RUN), env=project.env, cwd=project.folder, stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stderr.close()
    assert -signal.SIGKILL == process.wait(30)


def test_killed_anywhere_it_ends_as_if_undisturbed(begun: Project, story: Project) -> None:
    """SIGKILL in the ingest, the evaluation, twice in the rollout; `--resume` alone goes on; the history is equal."""
    for words in ("[ 4/16]", "[ 8/16]", "[14/16]", "look: "):
        _kill_at(begun, words)
    found = begun.json("run", "--resume")
    assert "pass" == found["verdict"]
    assert {"lock baseline", "ingest baseline", "plan", "evaluate baseline", "canary start"} <= set(
        stages(found, reused=True)
    )
    assert history(str(story.url)) == history(str(begun.url))


def test_ctrl_c_says_how_to_go_on(begun: Project) -> None:
    """Exit code 130, and the command that takes it up."""
    process = subprocess.Popen(
        support.command(*RUN), env=begun.env, cwd=begun.folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    heard = ""
    for line in process.stderr:
        heard += line
        if "[ 7/16]" in line:
            process.send_signal(signal.SIGINT)
    process.stderr.close()
    assert 130 == process.wait(30)
    assert heard.endswith("bakeoff: stopped; what was done stays done\n  → bakeoff run --resume\n")


def test_a_rolled_back_rollout_is_not_begun_again(begun: Project) -> None:
    """By hand at psql in the middle: the run says so with exit code 1, again and again."""
    _kill_at(begun, "look: ")
    support.rows(str(begun.url), "SELECT bakeoff.roll_back(rollout_id, 'slow', 'ann') FROM rollouts")
    found = begun.json("run", "--resume", code=1)
    assert ("fail", f"bakeoff canary history {found['rollout_id']}") == (found["verdict"], found["next"])
    assert 1 == begun.run("run", "--resume").returncode
    assert "explain" in begun.json("status")["next"]
    assert "Not reached: rolled back at" in begun.run("runbook", "latest").stdout


def test_the_hours_are_stretched(begun: Project) -> None:
    """Eight hours become four, in the plan and in the rollout."""
    found = begun.json(*RUN, "--monitor-hours", "4")
    assert "completed after 4.0 hours" in found["stages"][-3]["said"]
    (plan,) = begun.json("plans", "list")["plans"]
    assert [2.0, 2.0] == [step["hours"] for step in begun.json("plans", "show", plan["plan"])["rollout"]["steps"]]
