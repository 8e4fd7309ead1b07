"""`bakeoff parity` as a build sees it: exit codes, one JSON object, the artifact, what a person reads."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.cli.conftest import Project


@pytest.fixture(scope="module", autouse=True)
def ingested(project: Project) -> str:
    """The lock that is checked; its CONFIG_HASH."""
    locked = project.json("lock-config", "a.yaml", "--name", "a")
    project.json("shadow-ingest", "corpus.jsonl", "--lock", "a")
    return str(locked["CONFIG_HASH"])


def test_without_an_evaluation_it_is_not_known(project: Project, ingested: str) -> None:
    """Exit code 3, the checks that could be made were made, and the artifact says that there was no run."""
    found = project.json("parity", "--lock", "a", code=3)
    assert "no_data" == found["verdict"]
    assert 4 == sum(item["verdict"] == "no_data" for item in found["findings"])
    name = Path(found["artifact"]).name
    assert name.startswith(f"{ingested}-none-")
    again = project.json("parity", "--lock", "a", code=3)
    assert [f"parity/{Path(item['artifact']).name}" for item in (found, again)] == [
        name for name in project.files() if name.startswith("parity/")
    ]
    assert f"bakeoff evaluate --lock {ingested} --questions FILE" == found["findings"][0]["next"]


def test_a_healthy_lock_passes(project: Project, ingested: str) -> None:
    """Exit code 0; the artifact is what was printed; the table names every check."""
    run_id = project.json("evaluate", "--lock", "a", "--questions", "questions.jsonl")["run_id"]
    found = project.json("parity", "--lock", "a", "--corpus", "corpus.jsonl")
    assert ("pass", run_id) == (found["verdict"], found["run_id"])
    path = Path(found.pop("artifact"))
    assert path.name.startswith(f"{ingested}-{run_id}-")
    assert found == json.loads((project.folder / path).read_text())
    said = project.run("parity", "--lock", "a", "--sample", "3")
    assert 0 == said.returncode, said.stderr
    assert said.stdout.startswith(f"Parity of a {ingested}, run {run_id}\n")
    for item in found["findings"]:
        assert (item["check"] in said.stdout) == (item["check"] != "corpus")
    assert "parity: pass\nwritten to: " in said.stdout


def test_wrong_input_is_refused(project: Project) -> None:
    """An unknown lock, run and corpus, and a sample of nothing: one line each, before anything is checked."""
    assert "no lock 'nobody'" in project.error("parity", "--lock", "nobody", code=2)["message"]
    assert "no run and no lock" in project.error("parity", "--lock", "a", "--run", "20200101T0", code=2)["message"]
    assert "no such corpus" in project.error("parity", "--lock", "a", "--corpus", "absent", code=2)["message"]
    assert "sample" in project.error("parity", "--lock", "a", "--sample", "0", code=2)["message"]


def test_a_fault_fails_the_build(project: Project, ingested: str) -> None:
    """Exit code 1; the check, what is wrong and what to do are in the output."""
    assert project.url is not None
    table = project.json("locks", "show", "a")["table_name"]
    with psycopg.connect(project.url, autocommit=True) as conn:
        query = sql.SQL("UPDATE bakeoff.{} SET chunk_id = repeat('b', 40) WHERE ordinal = 0")
        conn.execute(query.format(sql.Identifier(table)))
    found = project.json("parity", "--lock", "a", code=1)
    wrong = [item for item in found["findings"] if item["verdict"] == "fail"]
    assert ["table-unchanged", "chunk-ids", "second-ingest"] == [item["check"] for item in wrong]
    said = project.run("parity", "--lock", "a")
    assert 1 == said.returncode
    assert "fail: chunk-ids: 1 of " in said.stdout
    assert "  - " in said.stdout
    assert f"  → bakeoff shadow-ingest --restart --lock {ingested} " in said.stdout
    assert said.stdout.splitlines()[-2] == "parity: fail"
