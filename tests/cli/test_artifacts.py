"""Artifacts of evaluations instead of runs: an untouched file is its run; a cut, edited or foreign one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.cli.conftest import Project, make

Body = dict[str, Any]


@pytest.fixture(scope="module")
def done(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project in which both locks are evaluated; their artifacts are whole."""
    folder = tmp_path_factory.mktemp("artifacts")
    with support.database(server_url, template, f"artifacts_{template}"[:60]) as url:
        found = make(folder, url)
        for name in ("a", "b"):
            found.json("lock-config", f"{name}.yaml")
            found.json("shadow-ingest", "corpus.jsonl", "--lock", name)
            found.json("evaluate", "--lock", name, "--questions", "questions.jsonl")
        yield found


def runs(project: Project) -> dict[str, str]:
    """The id of each lock's run."""
    return {item["lock"]: item["run_id"] for item in project.json("runs", "list")["runs"]}


def artifact(project: Project, lock: str) -> Path:
    """Where `evaluate` wrote the artifact of a lock's run."""
    return project.folder / "home" / "artifacts" / "evaluations" / f"{runs(project)[lock]}.json"


def edited(project: Project, edit: Callable[[Body], object], lock: str = "a") -> Path:
    """The artifact of a lock's run after *edit*, in a file of its own."""
    body = json.loads(artifact(project, lock).read_text())
    edit(body)
    return project.write("edited.json", json.dumps(body))


def stored(project: Project) -> list[tuple[Any, ...]]:
    """How much the database holds of what commands may store."""
    assert project.url is not None
    return support.rows(project.url, "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM evaluations)")


def commands(file: Path) -> list[tuple[str | Path, ...]]:
    """Every command that takes a run, with *file* instead of the run of `a`."""
    return [
        ("probes", "--lock", "a", "--run", file),
        ("explain", file, "b"),
        ("explain", "b", file),
        ("report", "b", file),
        ("compare", file, "b"),
        ("compare", "b", file),
    ]


def test_an_untouched_artifact_is_its_run(done: Project) -> None:
    """Every command gives the same for the file as for the id; the file that `export` writes is the same again."""
    first, second = artifact(done, "a"), artifact(done, "b")
    a, b = runs(done)["a"], runs(done)["b"]
    assert done.json("explain", a, b) == done.json("explain", first, second)
    assert done.json("compare", a, b) == done.json("compare", first, b)
    assert done.json("report", a, b) == done.json("report", a, second)
    assert a == done.json("probes", "--lock", "a", "--run", first, code=1)["run_id"]
    before = first.read_text()
    done.json("runs", "export", "a")
    assert json.loads(before) == json.loads(first.read_text())
    expected = [
        {"file": str(path), "run_id": run, "same": True, "wrong": None} for path, run in ((first, a), (second, b))
    ]
    assert {"files": expected} == done.json("runs", "check", first, second)
    assert 0 == done.run("runs", "check", first, second).returncode


def raise_f1(body: Body) -> None:
    """Make one figure better by a little."""
    body["case_results"][3]["ndcg_at_10"] = 0.98765


EDITS: dict[str, tuple[Callable[[Body], object], str]] = {
    "a figure": (raise_f1, ".case_results[3].ndcg_at_10: expected "),
    "a mean": (
        lambda body: body["aggregates"]["means"]["f1"].update(mean=0.987),
        ".aggregates.means.f1.mean: expected ",
    ),
    "the last case removed": (lambda body: body["case_results"].pop(), ".case_results[14]: expected {"),
    "a case removed": (
        lambda body: body["case_results"].pop(2),
        '.case_results[2].question_id: expected "q002", found "q003"',
    ),
    "cases reordered": (lambda body: body["case_results"].reverse(), ".case_results[0].question_id: expected "),
    "a case added": (lambda body: body["case_results"].append({}), ".case_results[15]: expected nothing, found {}"),
    "true for 1": (
        lambda body: body["case_results"][0].update(oracle_retrieval_hit_prefilter=True),
        ".case_results[0].oracle_retrieval_hit_prefilter: expected 1, found true",
    ),
    "another lock": (lambda body: body["lock"].update(CONFIG_HASH="0" * 16), ".lock.CONFIG_HASH: expected "),
    "a part removed": (lambda body: body.pop("settings"), ".settings: expected {"),
    "a part added": (lambda body: body.update(verdict="pass"), '.verdict: expected nothing, found "pass"'),
    "another time": (lambda body: body.update(started_at="2020-01-01T00:00:00+00:00"), ".started_at: expected "),
    "no time": (lambda body: body.update(finished_at=None), ".finished_at: expected "),
}


def test_an_edited_artifact_is_not_the_databases(done: Project) -> None:
    """`runs check` answers no, and names the place and both values, whatever was edited; nothing is stored."""
    paths = [edited(done, edit).rename(done.folder / f"edited-{n}.json") for n, (edit, _) in enumerate(EDITS.values())]
    before, files = stored(done), done.files()
    found = done.json("runs", "check", *paths, code=1)["files"]
    run = runs(done)["a"]
    assert [(str(path), run, False) for path in paths] == [(row["file"], row["run_id"], row["same"]) for row in found]
    for path, (_, place), row in zip(paths, EDITS.values(), found, strict=True):
        said = f"{path} is not what the database holds of run {run}: first at {place}"
        assert said == row["wrong"][: len(said)]
    assert (before, files) == (stored(done), done.files())


def test_every_command_that_takes_a_run_refuses_an_edited_artifact(done: Project) -> None:
    """With exit code 4 and one line: none works on what the file says, or on the database's run in its stead."""
    path = edited(done, raise_f1)
    before, files, run = stored(done), done.files(), runs(done)["a"]
    errors = [done.error(*command, code=4) for command in commands(path)]
    assert [errors[0]] * len(errors) == errors
    assert "integrity" == errors[0]["kind"]
    said = f"{path} is not what the database holds of run {run}: first at .case_results[3].ndcg_at_10: expected "
    assert errors[0]["message"].startswith(said)
    assert f"bakeoff runs export {run} writes it again; or name the run by its id" == errors[0]["hint"]
    assert (before, files) == (stored(done), done.files())


def test_an_artifact_cut_short_is_refused(done: Project) -> None:
    """Wherever it was cut: the line and byte where it stops; nothing is stored."""
    data = artifact(done, "a").read_bytes().rstrip()
    paths = [done.folder / f"cut-{n}.json" for n in range(5)]
    for path, share in zip(paths, (0.001, 0.2, 0.5, 0.9, 0.9999), strict=True):
        path.write_bytes(data[: int(len(data) * share)])
    before, files = stored(done), done.files()
    found = done.json("runs", "check", *paths, code=1)["files"]
    for path, row in zip(paths, found, strict=True):
        line, byte = path.read_bytes().count(b"\n") + 1, path.stat().st_size
        said = f"{path} is cut short: its JSON stops at line {line}, byte {byte}"
        assert {"file": str(path), "run_id": None, "same": False, "wrong": said} == row
    assert (before, files) == (stored(done), done.files())


def test_every_command_that_takes_a_run_refuses_a_cut_artifact(done: Project) -> None:
    """As a usage error, with one line and how to write it again; nothing is stored."""
    path = done.write("cut.json", artifact(done, "a").read_text()[:5000])
    before, files = stored(done), done.files()
    errors = [done.error(*command, code=2) for command in commands(path)]
    assert [errors[0]] * len(errors) == errors
    assert "input" == errors[0]["kind"]
    assert errors[0]["message"].startswith(f"{path} is cut short: its JSON stops at line ")
    assert "bakeoff runs export RUN writes it again; bakeoff runs list names the runs" == errors[0]["hint"]
    assert (before, files) == (stored(done), done.files())


def test_what_is_no_artifact_is_refused(done: Project) -> None:
    """Not JSON, JSON of another kind, a folder, no file at all: usage, one line each."""
    other = next((done.folder / "home" / "artifacts").glob("locks/*.json"))
    cases = (
        (done.write("notes.json", "notes\n"), "is not JSON: expecting value at line 1, byte 0"),
        (
            done.write("list.json", "[]"),
            "is not the artifact of an evaluation: expected kind 'evaluation' with a run_id",
        ),
        (done.write("bare.json", '{"kind": "evaluation"}'), "is not the artifact of an evaluation: "),
        (other, "is not the artifact of an evaluation: "),
    )
    found = done.json("runs", "check", *(path for path, _ in cases), code=1)["files"]
    for (path, said), row in zip(cases, found, strict=True):
        assert row["wrong"].startswith(f"{path} {said}")
    assert found[0]["wrong"] == done.error("compare", cases[0][0], "b", code=2)["message"]
    for path, said in (
        (done.folder / "none.json", f"no such artifact: {done.folder}/none.json"),
        (done.folder, f"can't read {done.folder}: Is a directory"),
    ):
        assert said == done.error("compare", path, "b", code=2, plain=True)["message"]
        assert said == done.error("runs", "check", artifact(done, "a"), path, code=2)["message"]


def test_the_artifact_of_another_run_is_that_run_or_refused(done: Project) -> None:
    """A file speaks for the run that it names: renamed it is still its own; one of another database is not known."""
    renamed = done.write("renamed.json", artifact(done, "b").read_text())
    error = done.error("probes", "--lock", "a", "--run", renamed, code=4)
    assert f"run {runs(done)['b']} is one of b" in error["message"]
    path = edited(done, lambda body: body.update(run_id=runs(done)["b"]))
    error = done.error("compare", path, "b", code=4)
    assert f'holds of run {runs(done)["b"]}: first at .lock.name: expected "b", found "a"' in error["message"]
    path = edited(done, lambda body: body.update(run_id="20200101T000000-000000"))
    error = done.error("compare", path, "b", code=2, plain=True)
    assert f"{path} is of run '20200101T000000-000000', which is not in this database" == error["message"]
    (row,) = done.json("runs", "check", path, code=1)["files"]
    assert ("20200101T000000-000000", False, error["message"]) == (row["run_id"], row["same"], row["wrong"])


def test_a_time_with_another_offset_is_the_same(done: Project) -> None:
    """Times are moments: the offset is that of the session which wrote them."""
    path = edited(done, lambda body: body.update(started_at=body["started_at"].replace("+00:00", "Z")))
    assert [True] == [row["same"] for row in done.json("runs", "check", path)["files"]]


def test_several_artifacts_are_one_table(done: Project) -> None:
    """Each with its answer; what is wrong is said below, with the next command; one bad file makes the answer no."""
    cut = done.write("cut.json", artifact(done, "a").read_text()[:5000])
    said = done.run("runs", "check", artifact(done, "a"), cut)
    assert (1, "") == (said.returncode, said.stderr)
    assert f"{cut} is cut short: its JSON stops at " in said.stdout
    assert said.stdout.endswith("next: bakeoff runs export RUN writes an artifact again\n")
    assert 2 == len([line for line in said.stdout.splitlines() if line.endswith((" yes", " no"))])
