"""`bakeoff probes` as a person or a CI job runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import probed, support
from tests.cli.conftest import Project

OWN = {"about": "a probe of this project", "next": "bakeoff doctor"}


@pytest.fixture(scope="module")
def ready(project: Project) -> Project:
    """A project with an ingested lock and questions that quote nothing."""
    support.write_questions(project.folder / "asked.jsonl", probed.questions(support.topics(10, 2500)))
    project.json("lock-config", "a.yaml")
    project.json("shadow-ingest", "--lock", "a", "corpus.jsonl")
    return project


def write(project: Project, *given: dict[str, Any]) -> Path:
    """A probes file of the project's own."""
    probes = [OWN | {"name": f"own-{n}", "expect": {"empty": True}} | item for n, item in enumerate(given)]
    return project.write("probes.yaml", {"probes": probes})


def traces(project: Project) -> tuple[int, list[str]]:
    """What probing left: records, and artifacts."""
    assert project.url is not None
    return probed.stored(project.url), [name for name in project.files() if name.startswith("probes/")]


def test_before_an_evaluation_it_says_what_to_run(ready: Project) -> None:
    """Exit code 3: the table is looked at, the rest has no data, and the next command is named."""
    found = ready.json("probes", "--lock", "a", code=3)
    lacking = [item for item in found["findings"] if item["verdict"] == "no_data"]
    command = f"bakeoff evaluate --lock {found['lock']['CONFIG_HASH']} --questions FILE"
    assert ("no_data", None, {command}) == (found["verdict"], found["run_id"], {item["next"] for item in lacking})
    assert {"pass", "no_data"} == {item["verdict"] for item in found["findings"]}


def test_a_healthy_lock_passes(ready: Project) -> None:
    """Exit code 0; the newest run is taken; the artifact is what was printed, and names its inputs by digest."""
    run_id = ready.json("evaluate", "--lock", "a", "--questions", "asked.jsonl")["run_id"]
    found = ready.json("probes", "--lock", "a")
    path = Path(found.pop("artifact"))
    assert json.loads((ready.folder / path).read_text()) == found
    assert ("pass", run_id) == (found["verdict"], found["run_id"])
    assert {"pass"} == {item["verdict"] for item in found["findings"]}
    assert {"dedup-rate", "arms-differ"} == {item["name"] for item in found["not_asked"]}
    digests = [value for name, value in found["inputs"].items() if name.endswith("_sha256")]
    assert {64} == {len(digest) for digest in digests}
    said = ready.run("probes", "--lock", "a", "--run", run_id)
    assert 0 == said.returncode
    assert "passed: 34 of 34" in said.stdout
    made = sum(name.startswith("probes/") for name in ready.files())
    assert probed.stored(str(ready.url)) == made
    assert "not asked: dedup-rate (deduplication is off in this lock)" in said.stdout


def test_a_lock_against_itself_fails(ready: Project) -> None:
    """Exit code 1: a bakeoff of equals compares nothing."""
    found = ready.json("probes", "--lock", "a", "--baseline", "a", code=1)
    assert ["arms-differ"] == [item["name"] for item in found["findings"] if item["verdict"] == "fail"]


def test_a_failure_names_offenders_and_the_next_command(ready: Project) -> None:
    """Worst first: what blocks before what warns; three offenders, then how many more; passes are one line."""
    file = write(
        ready,
        {"kind": "jq", "program": '["a", "b", "c", "d"]', "severity": "warn"},
        {"kind": "jq", "program": "[]"},
        {"kind": "sql", "query": "SELECT count(*) FROM {table}", "expect": {"at_most": 1}},
    )
    done = ready.run("probes", "--lock", "a", "--probes", file)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert (1, "") == (done.returncode, done.stderr)
    blocks, warns = (next(n for n, line in enumerate(lines) if f"own-{name} " in line) for name in (2, 0))
    assert blocks < warns
    assert "own-0: a probe of this project" in lines
    assert ["a", "b", "c", "and 1 more in the artifact", "→ bakeoff doctor"] == lines[
        lines.index("own-0: a probe of this project") + 1 :
    ][:5]
    assert "passed: 1 of 3 (own-1)" in lines
    assert "verdict: fail" in lines


def test_a_probe_that_can_not_be_run_is_exit_code_5(ready: Project) -> None:
    """An error of its own; the environment is in nothing that comes out."""
    file = write(ready, {"kind": "jq", "program": "[env | tojson]"})
    done = ready.run("probes", "--lock", "a", "--probes", file, HIDDEN="hunter2")
    assert 5 == done.returncode
    assert "jq: env is closed to probes" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kind": "jq", "program": "[", "colour": 1}, "probe own-0: colour: unknown key"),
        ({"kind": "jq", "program": ".["}, "probe own-0: program: syntax error, unexpected"),
        ({"kind": "jq", "program": "$ENV.HOME"}, "probe own-0: program: $ENV is closed to probes"),
        ({"kind": "sql", "query": "SELECT FROM WHERE"}, 'probe own-0: syntax error at or near "WHERE"'),
        ({"kind": "sql", "query": "DROP TABLE records"}, "probe own-0: query: begins with DROP: a probe only reads"),
        (
            {"kind": "sql", "query": "WITH gone AS (DELETE FROM {table} RETURNING 1) SELECT 1 FROM gone"},
            "probe own-0 tries to write: WITH clause containing a data-modifying statement",
        ),
        ({"kind": "check", "check": {"name": "luck"}}, "probe own-0: check: name must be one of 'indexes_complete'"),
    ],
)
def test_a_broken_probes_file_is_refused_and_nothing_is_stored(
    ready: Project, given: dict[str, Any], says: str
) -> None:
    """Exit code 2, one line with file and probe, in words and as JSON; no record and no artifact."""
    before = traces(ready)
    found = ready.error(
        "probes", "--lock", "a", "--probes", write(ready, given), code=2, plain=given["kind"] == "check"
    )
    assert f"{ready.folder / 'probes.yaml'}: {says}" in found["message"]
    assert before == traces(ready)


def test_what_does_not_exist_is_named(ready: Project) -> None:
    """A file, a lock, a run; a run of another lock is refused in this state."""
    assert "no such probes file" in ready.error("probes", "--lock", "a", "--probes", "none.yaml", code=2)["message"]
    assert "no lock 'none'" in ready.error("probes", "--lock", "none", code=2)["message"]
    assert "no run and no lock" in ready.error("probes", "--lock", "a", "--run", "20200101T000000", code=2)["message"]
    ready.json("lock-config", "b.yaml")
    assert "was not ingested yet" in ready.error("probes", "--lock", "b", code=4)["message"]
    assert "is one of a" in ready.error("probes", "--lock", "b", "--run", "a", code=4)["message"]
    assert "has no finished evaluation" in ready.error("probes", "--lock", "b", "--run", "b", code=3)["message"]
