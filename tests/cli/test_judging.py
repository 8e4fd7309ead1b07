"""`plan`, `plans`, `timings` and `kpi-check` as commands: what a build sees, from the plan to the exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from junitparser import Failure, JUnitXml

from tests import support
from tests.cli.conftest import Project, make
from tests.planned import GATES, LATENCY

PLAN = ("plan", "--baseline", "a", "--candidate", "few", "--questions", "questions.jsonl")
FILES = ("--gates", "gates.yaml", "--rollout", "rollout.yaml")
BACK = ("plan", "--baseline", "few", "--candidate", "a", "--questions", "questions.jsonl", *FILES)
ROLLOUT = {
    "strategy": "quick",
    "watch": {"quality": {"margin": 0.05, "base_rate": 0.8}},
    "steps": [{"percent": 25, "hours": 4}, {"percent": 100, "hours": 4}],
}


@pytest.fixture(scope="module")
def done(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with the lock `a`, and `few`, which reads one chunk instead of eight; ingested, for tests in order."""
    folder = tmp_path_factory.mktemp("judging")
    with support.database(server_url, template, f"judging_{template}"[:60]) as url:
        found = make(folder, url)
        asked = support.quotes_of(support.topics(10, 2500), each=4)
        short = [item | {"question": " ".join(item["question"].split()[:2])} for item in asked]
        support.write_questions(folder / "questions.jsonl", short)
        found.write("few.yaml", support.parts(retrieval={"filter": {"context": 1}}))
        found.write("gates.yaml", {"profile": "small", "label": "Small gates.", "resamples": 1000, "gates": [*GATES]})
        found.write("rollout.yaml", ROLLOUT)
        for name in ("a", "few"):
            found.json("lock-config", f"{name}.yaml")
            found.json("shadow-ingest", "corpus.jsonl", "--lock", name)
        yield found


def plan_of(project: Project) -> dict[str, Any]:
    """The first plan."""
    found: dict[str, Any] = project.json("plans", "list")["plans"][-1]
    return found


def test_without_a_plan_there_is_nothing_to_judge(done: Project) -> None:
    """Usage, with the command that makes one; an empty list says the same."""
    error = done.error("kpi-check", code=2, plain=True)
    assert "there is no plan yet" == error["message"]
    assert "bakeoff plan --baseline LOCK --candidate LOCK --questions FILE makes one" == error["hint"]
    assert {"plans": []} == done.json("plans", "list")
    said = done.run("plans", "list").stdout
    assert "no plans yet\nnext: bakeoff plan --baseline LOCK --candidate LOCK --questions FILE\n" == said


def test_a_broken_gates_file_is_refused_whole(done: Project) -> None:
    """Every problem in one answer, each with its gate; for `plan` and for `kpi-check`, and nothing is stored."""
    broken = [{**GATES[0], "metric": "bleu"}, {**GATES[1], "at_least": 2}, GATES[2], GATES[2]]
    done.write("broken.yaml", {"profile": "small", "colour": 1, "gates": broken})
    error = done.error(*PLAN, "--gates", "broken.yaml", code=2, plain=True)
    assert "broken.yaml is no gates file that can be used" == error["message"]
    starts = (
        "gate filter: metric: unknown metric 'bleu'",
        "gate oracle: at_least is 2.0",
        "colour: ",
        "gate leakage stands",
    )
    assert len(starts) == len(error["problems"])
    for start, problem in zip(starts, error["problems"], strict=True):
        assert problem.startswith(start)
    assert error == done.error("kpi-check", "--gates", "broken.yaml", code=2)
    done.write("listed.yaml", [1, 2])
    assert "expected keys and values" in done.error(*PLAN, "--gates", "listed.yaml", code=2)["message"]
    assert "no such gates file: none.yaml" in done.error(*PLAN, "--gates", "none.yaml", code=2)["message"]
    done.write("back.yaml", {**ROLLOUT, "steps": [{"percent": 100, "hours": 1}, {"percent": 50, "hours": 1}]})
    error = done.error(*PLAN, "--rollout", "back.yaml", code=2)
    assert ["shares only grow" in problem for problem in error["problems"]] == [True]
    assert [] == done.json("plans", "list")["plans"]


def test_a_blind_plan_is_refused(done: Project) -> None:
    """Production's gates can't be seen by a few dozen questions: exit code 4, and what to do."""
    error = done.error(*PLAN, code=4)
    assert "6 gates can't see what they ask for: oracle-no-loss sees " in error["message"]
    assert "--accept-blind" in error["hint"]
    assert [] == done.files() or not [name for name in done.files() if name.startswith("plans/")]


def test_a_plan_is_printed_and_written(done: Project) -> None:
    """What it fixes and what it will see, for people and as one object; the artifact holds the same; twice is once."""
    found = done.json(*PLAN, *FILES)
    body = json.loads((done.folder / found["artifact"]).read_text())
    assert f"{found['plan']}.json" == Path(found["artifact"]).name
    assert {key: found[key] for key in body} == body
    assert [item["name"] for item in GATES] == [item["gate"] for item in found["sight"]]
    assert [(1, 600, 200), (2, 0, 800)] == [
        (item["step"], item["baseline_outcomes"], item["candidate_outcomes"]) for item in found["steps"]
    ]
    said = done.run(*PLAN, *FILES)
    assert 0 == said.returncode
    assert said.stderr.endswith("is equal: nothing new is stored\n")
    assert said.stdout.startswith(f"plan {found['plan']}: few ")
    for words in (
        "note: Small gates.",
        "What the gates will see (small)",
        "the baseline gets no traffic",
        "time-table: 25 % from hour 0, 100 % from hour 4, done at hour 8",
        f"kpi-check --plan {found['plan']}\n",
    ):
        assert words in said.stdout
    assert found == done.json(*PLAN, *FILES)
    assert [found["plan"]] == [item["plan"] for item in done.json("plans", "list")["plans"]]


def test_plans_are_listed_and_shown(done: Project) -> None:
    """By their ids, newest first; one that is not there is refused."""
    short = plan_of(done)["plan"]
    assert short in done.run("plans", "list").stdout
    shown = done.json("plans", "show", short[:8])
    assert shown == done.json("plans", "show")
    assert (short, None) == (shown["plan"], shown["artifact"])
    assert done.run("plans", "show").stdout.startswith(f"plan {short}: few ")
    assert "no plan 'ffff0000'" == done.error("plans", "show", "ffff0000", code=2)["message"]


def test_before_the_evaluation_it_is_not_known(done: Project) -> None:
    """Exit code 3 and the command that is missing; timings need the baseline's run too."""
    error = done.error("kpi-check", code=3, plain=True)
    assert "baseline a (" in error["message"]
    assert error["hint"].startswith("bakeoff evaluate --lock ")
    assert "was not evaluated" in done.error("timings", code=3)["message"]


@pytest.fixture(scope="module")
def failed(done: Project) -> Project:
    """Both locks evaluated after the plan."""
    for name in ("a", "few"):
        done.json("evaluate", "--lock", name, "--questions", "questions.jsonl")
    return done


def test_a_failed_gate_fails_the_build(failed: Project) -> None:
    """Exit code 1; the table names the gate, its worst questions and the next command; the artifact is written."""
    found = failed.json("kpi-check", code=1)
    assert ("fail", ["filter"]) == (
        found["verdict"],
        [item["gate"] for item in found["findings"] if item["verdict"] == "fail"],
    )
    stored = json.loads((failed.folder / found["artifact"]).read_text())
    assert (found["record"], found["findings"]) == (stored["record"], stored["findings"])
    said = failed.run("kpi-check")
    assert (1, "") == (said.returncode, said.stderr)
    lines = said.stdout.splitlines()
    assert lines[0].startswith("few (run ")
    assert "note: Small gates." == lines[1]
    assert "verdict: FAIL" == lines[-2]
    runs = " ".join(found[side]["run_id"] for side in ("baseline", "candidate"))
    assert f"next: bakeoff explain {runs} shows where questions were lost" == lines[-1]
    for worst in found["findings"][0]["worst"]:
        assert f"    {worst['question_id']}: {worst['question']}  [1.000 → 0.000]" in lines


def test_a_run_is_named_by_its_artifact_too(failed: Project) -> None:
    """A file that is what the database holds stands for its run; one that is not there is refused."""
    found = failed.json("kpi-check", code=1)
    runs = {side: found[side]["run_id"] for side in ("baseline", "candidate")}
    paths = {side: next(name for name in failed.files() if name.endswith(f"{run}.json")) for side, run in runs.items()}
    folder = failed.folder / "home" / "artifacts"
    named = [text for side in runs for text in (f"--{side}-run", str(folder / paths[side]))]
    again = failed.json("kpi-check", *named, code=1)
    assert runs == {side: again[side]["run_id"] for side in runs}
    wrong = failed.error("kpi-check", "--candidate-run", "none.json", code=2)
    assert "no such artifact" in wrong["message"]


def test_every_format_agrees_with_the_exit_code(failed: Project) -> None:
    """JSON, JUnit, GitHub's annotations and Markdown, to stdout or to a file."""
    by_option = failed.run("kpi-check", "--format", "json")
    assert 1 == by_option.returncode
    assert "fail" == support.one_object(by_option.stdout)["verdict"]
    done = failed.run("kpi-check", "--format", "junit", "--out", "out/kpi.xml")
    assert (1, "", "verdict: FAIL, written to out/kpi.xml\n") == (done.returncode, done.stdout, done.stderr)
    (suite,) = JUnitXml.fromstring((failed.folder / "out/kpi.xml").read_bytes())
    results = {case.name: case.result for case in suite}
    assert len(GATES) == len(results)
    wrong = [name for name, result in results.items() if any(isinstance(item, Failure) for item in result)]
    assert 1 == len(wrong)
    assert "filter" in str(wrong[0])
    github = failed.run("kpi-check", "--format", "github")
    assert (1, True) == (github.returncode, github.stdout.startswith("::error"))
    markdown = failed.run("kpi-check", "--format", "markdown")
    assert 1 == markdown.returncode
    assert "| filter |" in markdown.stdout
    unknown = failed.run("kpi-check", "--format", "papyrus")
    assert (2, "") == (unknown.returncode, unknown.stdout)


def test_json_is_one_object_in_every_outcome(failed: Project) -> None:
    """With a file too, which holds the form that was asked for; and in errors, however JSON was asked for."""
    printed = failed.json("kpi-check", "--out", "out/kpi.json", code=1)
    written = json.loads((failed.folder / "out/kpi.json").read_text())
    assert {**written, "out": "out/kpi.json"} == printed
    failed.json("kpi-check", "--format", "junit", "--out", "out/again.xml", code=1)
    assert (failed.folder / "out/again.xml").read_text().startswith("<?xml")
    by_format = failed.run("kpi-check", "--format", "json", "--out", "out/b.json")
    assert 1 == by_format.returncode
    assert "out/b.json" == support.one_object(by_format.stdout)["out"]
    for asked in (("--format", "json"), ("--format=json",)):
        wrong = failed.run("kpi-check", "--plan", "ffff0000", *asked)
        assert (2, "") == (wrong.returncode, wrong.stderr)
        assert "no plan 'ffff0000'" == support.one_object(wrong.stdout)["error"]["message"]


def judgements(project: Project) -> list[tuple[Any, ...]]:
    """How many records are stored."""
    return support.rows(str(project.url), "SELECT count(*) FROM records")


@pytest.mark.parametrize("what", [("kpi-check",), ("probes", "--lock", "a"), ("parity", "--lock", "a")])
def test_artifacts_that_can_not_be_written_stop_the_work_before_it_begins(
    failed: Project, what: tuple[str, ...]
) -> None:
    """One line, and no record of a judgement, of probes, of parity without its artifact."""
    before = judgements(failed)
    said = failed.run(*what, BAKEOFF_ARTIFACTS=str(failed.folder / "corpus.jsonl"))
    assert (5, "") == (said.returncode, said.stdout)
    assert f"bakeoff: can't write {failed.folder / 'corpus.jsonl'}" in said.stderr
    assert "nothing was done yet" in said.stderr
    assert before == judgements(failed)


def test_an_out_file_that_can_not_be_written_stops_the_work_before_it_begins(failed: Project) -> None:
    """No judgement is stored, no artifact written."""
    before = judgements(failed), failed.files()
    found = failed.error("kpi-check", "--out", "corpus.jsonl/x.xml", code=5, plain=True)
    assert "can't write corpus.jsonl/x.xml: Not a directory" == found["message"]
    assert before == (judgements(failed), failed.files())


def test_scores_that_are_known_are_no_ground_for_a_plan(failed: Project) -> None:
    """Exit code 4 without the flag; with it the plan and every judgement say so, and the better lock passes with 0."""
    assert "are known since run" in failed.error(*BACK, code=4)["message"]
    plan = failed.json(*BACK, "--accept-known-scores")
    assert 1 == len(plan["known_scores"])
    latest = failed.run("kpi-check")
    assert (0, f"plan {plan['plan']} (newest of 2)\n") == (latest.returncode, latest.stderr)
    first = plan_of(failed)["plan"]
    again = failed.run(*PLAN, *FILES)
    assert f"plan {first}, made at " in again.stderr
    assert again.stderr.endswith(f"is equal: nothing new is stored; `latest` is {plan['plan']}, which was made later\n")
    passed = failed.run("kpi-check", "--plan", plan["plan"])
    assert (0, "") == (passed.returncode, passed.stderr)
    assert f"planned after these runs were known: {plan['known_scores'][0]}" in passed.stdout
    assert passed.stdout.splitlines()[-2:] == [
        "verdict: PASS",
        f"next: bakeoff kpi-check --plan {plan['plan']} --promote-check asks for passing probes and parity too",
    ]


def test_a_promotion_without_probes_is_not_known(failed: Project) -> None:
    """Exit code 3: nothing failed, and what was not run is named."""
    found = failed.json("kpi-check", "--promote-check", code=3)
    assert "no_data" == found["verdict"]
    assert ["probes", "parity"] == [item["gate"] for item in found["findings"] if item["verdict"] == "no_data"]
    assert "verdict: NO_DATA" in failed.run("kpi-check", "--promote-check").stdout


def test_a_promotion_asks_for_the_probes_of_a_file(failed: Project) -> None:
    """The standard file unless --probes names another; one that is not there is refused, before anything is judged."""
    probes = {"about": "a test", "next": "look", "expect": {"empty": True}, "kind": "sql"}
    failed.write("own.yaml", {"probes": [{**probes, "name": "own", "query": "SELECT 1 WHERE false"}]})
    plan = next(item for item in failed.json("plans", "list")["plans"] if item["candidate"] == "a")["plan"]
    failed.json("probes", "--lock", "a", "--baseline", "few", "--probes", "own.yaml")
    asked = ("kpi-check", "--plan", plan, "--promote-check")
    by_gate = {item["gate"]: item for item in failed.json(*asked, code=3)["findings"]}
    assert "they were made with another probes file" in by_gate["probes"]["said"]
    by_gate = {item["gate"]: item for item in failed.json(*asked, "--probes", "own.yaml", code=3)["findings"]}
    assert ("pass", "no_data") == (by_gate["probes"]["verdict"], by_gate["parity"]["verdict"])
    failed.json("parity", "--lock", "a")
    found = failed.json(*asked, "--probes", "own.yaml")
    assert "pass" == found["verdict"]
    assert {"record", "sha256"} == found["probes"].keys() == found["parity"].keys()
    assert "no such probes file: none.yaml" in failed.error(*asked, "--probes", "none.yaml", code=2)["message"]


@pytest.mark.parametrize(
    "wrong", [("--traffic", "1e10"), ("--traffic", "0"), ("--seed", str(2**53)), ("--seed", "-1"), ("--timings", "0")]
)
def test_what_no_plan_can_hold_is_refused(done: Project, wrong: tuple[str, str]) -> None:
    """A number out of range: usage, with the option's name."""
    assert wrong[0] in done.error(*PLAN, *FILES, *wrong, code=2)["message"]


def test_another_bar_is_refused(failed: Project) -> None:
    """Exit code 4 where the gates file or a run is not the plan's; the plan's own file is accepted."""
    first = plan_of(failed)["plan"]
    failed.write("wider.yaml", {"profile": "small", "gates": [{**GATES[0], "margin": 0.9}, *GATES[1:]]})
    error = failed.error("kpi-check", "--plan", first, "--gates", "wider.yaml", code=4, plain=True)
    assert f"the gates file is not what plan {first} fixed: gates: the plan fixes" in error["message"]
    assert 1 == failed.run("kpi-check", "--plan", first, "--gates", "gates.yaml").returncode
    error = failed.error("kpi-check", "--plan", first, "--candidate-run", "a", code=4)
    assert "candidate: the plan fixes" in error["message"]


def test_time_is_judged_by_interleaved_timings(failed: Project) -> None:
    """Without them no data and the command; with them percentiles of both arms, and the gate looks at them."""
    failed.write("timed.yaml", {"profile": "timed", "gates": [*GATES, LATENCY]})
    arguments = [item if item != "gates.yaml" else "timed.yaml" for item in BACK]
    planned = (*arguments, "--accept-known-scores", "--accept-blind", "--timings")
    plan = failed.json(*planned, "6")
    assert 6 == plan["timed"]
    assert ["latency"] == plan["accepted_blind"]
    said = failed.run("kpi-check")
    assert 3 == said.returncode
    assert f"    next: bakeoff timings --plan {plan['plan']} times both locks in turn" in said.stdout.splitlines()
    timed = failed.json("timings")
    assert (plan["plan"], 6) == (timed["plan"], timed["questions"])
    assert all(0 < timed[side]["p50_ms"] <= timed[side]["p95_ms"] for side in ("baseline", "candidate"))
    assert "No such option: --questions" in failed.error("timings", "--questions", "6", code=2)["message"]
    fewer = failed.json(*planned, "3")
    printed = failed.run("timings", "--plan", fewer["plan"])
    assert 0 == printed.returncode
    assert "3 questions asked of both locks in turn, ms" in printed.stdout
    found = failed.json("kpi-check", "--plan", fewer["plan"], code=3)
    (latency,) = [item for item in found["findings"] if item["gate"] == "latency"]
    assert ("inconclusive", 3, 97) == (latency["verdict"], latency["n"], latency["further_questions"])
    assert "at least 97 more questions are needed to judge at all" in failed.run("kpi-check").stdout


def test_an_edited_plan_is_refused(failed: Project) -> None:
    """Exit code 4, with its name, by every command that would use it."""
    import psycopg

    assert failed.url is not None
    first = plan_of(failed)["plan"]
    with psycopg.connect(failed.url, autocommit=True) as conn:
        conn.execute("ALTER TABLE bakeoff.plans DISABLE TRIGGER USER")
        conn.execute("UPDATE bakeoff.plans SET body = body - 'label' || '{\"seed\": 8}'")
    for arguments in (("kpi-check", "--plan", first), ("plans", "show", first), ("timings", "--plan", first)):
        error = failed.error(*arguments, code=4)
        assert ("integrity", True) == (error["kind"], f"plan {first}" in error["message"])
