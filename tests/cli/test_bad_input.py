"""What bad input gets: one line that says what, where, what was expected and what to do; nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.cli.conftest import Project, make


@pytest.fixture(scope="module")
def ingested(project: Project) -> Project:
    """A project with one ingested lock."""
    for arguments in (("lock-config", "a.yaml"), ("shadow-ingest", "corpus.jsonl", "--lock", "a")):
        assert 0 == project.run(*arguments).returncode
    return project


CONFIGS: list[tuple[Any, str, list[str]]] = [
    ({"chunkng": {"size": 5}}, "1 problem in x.yaml", ["x.yaml: chunkng: unknown key"]),
    (
        {"chunking": {"size": 4, "overlap_ratio": 1.0}, "index": {"hnsw_m": 40}, "seed": "x"},
        "4 problems in x.yaml",
        ["chunking.size", "chunking.overlap_ratio", "hnsw_ef_construction is 64, below twice hnsw_m (40)", "seed"],
    ),
    ({"prefix": {"policy": "A", "template": "{author}: "}}, "1 problem in x.yaml", ["unknown fields: author"]),
    ({"prefix": {"policy": "C"}}, "1 problem in x.yaml", ["prefix.policy"]),
    ({"reader": {"kind": "openai"}}, "2 problems in x.yaml", ["base_url", "model"]),
    ("- a\n- b\n", "x.yaml: expected keys and values", []),
    ("", "x.yaml: expected keys and values", []),
    ("chunking: [\n", "x.yaml:2:1: ", []),
    ("chunking: 5\n", "1 problem in x.yaml", ["chunking"]),
    ("1: 2\n", "1 problem in x.yaml", ["x.yaml: 1: Keys should be strings"]),
]


@pytest.mark.parametrize(("content", "message", "problems"), CONFIGS)
def test_wrong_configuration(ingested: Project, content: Any, message: str, problems: list[str]) -> None:
    """Every broken rule at once, each with its key; no lock, no file."""
    ingested.write("x.yaml", content)
    before = (ingested.files(), len(ingested.json("locks", "list")["locks"]))
    found = ingested.error("lock-config", "x.yaml", code=2, plain=len(problems) > 2)
    assert message in found["message"]
    assert len(problems) == len(found["problems"])
    for problem in problems:
        assert any(problem in said for said in found["problems"]), found["problems"]
    assert before == (ingested.files(), len(ingested.json("locks", "list")["locks"]))


USAGE: list[tuple[list[str], int, str, str]] = [
    (["nonsense"], 2, "usage", "nonsense"),
    (["locks", "list", "--nonsense"], 2, "usage", "--nonsense"),
    (["lock-config"], 2, "usage", "CONFIG"),
    (["evaluate", "--lock", "a"], 2, "usage", "--questions"),
    (["evaluate", "--lock", "a", "--questions", "questions.jsonl", "--workers", "4"], 2, "usage", "workers"),
    (["lock-config", "none.yaml"], 2, "input", "no such configuration: none.yaml"),
    (["lock-config", "."], 2, "input", "can't read ."),
    (["lock-config", "a.yaml", "--set", "chunking"], 2, "usage", "expected key=value"),
    (["lock-config", "a.yaml", "--set", "seed=["], 2, "usage", "--set"),
    (["lock-config", "a.yaml", "--set", "chunking.size.x=1"], 2, "config", "size is not a section"),
    (["lock-config", "a.yaml", "--set", "retrieval.typo=1"], 2, "config", "1 problem in a.yaml"),
    (["lock-config", "a.yaml", "--max-tokens", "50", "--chunk-size", "60"], 2, "config", "reads 50"),
    (["lock-config", "a.yaml", "--name", "active"], 2, "config", "it means the lock in production"),
    (["lock-config", "a.yaml", "--set", "index.language=klingon"], 2, "config", "which this server does not have"),
    (["lock-config", "a.yaml", "--backend", "nonsense"], 2, "config", "1 problem"),
    (["lock-config", "a.yaml", "--model", "nonsense"], 5, "model", "no model nonsense"),
    (["shadow-ingest", "corpus.jsonl", "--lock", "nothing"], 2, "not_found", "no lock 'nothing'"),
    (["shadow-ingest", "no/such", "--lock", "a"], 2, "input", "no such corpus: no/such"),
    (["shadow-ingest", "a.yaml", "--lock", "a"], 2, "input", "is a file that is no corpus"),
    (["shadow-ingest", "questions.jsonl", "--lock", "a"], 2, "input", "no usable document"),
    (["evaluate", "--lock", "a", "--questions", "none.jsonl"], 2, "input", "none.jsonl"),
    (["evaluate", "--lock", "a", "--questions", "corpus.jsonl"], 2, "input", "corpus.jsonl"),
    (["evaluate", "--lock", "a", "--questions", "."], 2, "input", "is a folder"),
    (["ask", "  "], 2, "usage", "the question is empty"),
    (["ask", "what?"], 2, "not_found", "no lock is active"),
    (["compare", "a", "nothing"], 3, "not_known", "no finished evaluation"),
    (["compare", "nothing", "a"], 2, "not_found", "no run and no lock 'nothing'"),
    (["runs", "export", "nothing"], 2, "not_found", "no run and no lock 'nothing'"),
]


@pytest.mark.parametrize(("arguments", "code", "kind", "message"), USAGE)
def test_wrong_use(ingested: Project, arguments: list[str], code: int, kind: str, message: str) -> None:
    """Each wrong use has its exit code, its kind and its words; nothing is written."""
    before = ingested.files()
    found = ingested.error(*arguments, code=code)
    assert kind == found["kind"]
    assert message in found["message"]
    assert found["hint"]
    assert before == ingested.files()


@pytest.mark.parametrize(
    "arguments", [["locks", "list", "--nonsense"], ["lock-config", "none.yaml"], ["compare", "x", "y"]]
)
def test_error_in_words_is_the_error_in_json(ingested: Project, arguments: list[str]) -> None:
    """Without --json the same message, problems and hint go to stderr, and stdout stays empty."""
    ingested.error(*arguments, code=2, plain=True)


def test_changed_corpus_is_refused(ingested: Project) -> None:
    """A lock's table is not mixed with another corpus."""
    support.write_jsonl(ingested.folder / "other.jsonl", support.topics(3))
    found = ingested.error("shadow-ingest", "other.jsonl", "--lock", "a", code=4)
    assert "differs from it" in found["message"]
    assert "--restart" in found["hint"]


def test_strict_names_the_first_bad_document(fresh: Project) -> None:
    """Quarantined and counted by default; under --strict an error, with nothing left."""
    lines = (fresh.folder / "corpus.jsonl").read_text().splitlines()
    (fresh.folder / "corpus.jsonl").write_text("\n".join([*lines[:3], '{"id": "x"}', lines[0], "{broken"]) + "\n")
    assert 0 == fresh.run("lock-config", "a.yaml").returncode
    found = fresh.error("shadow-ingest", "corpus.jsonl", "--lock", "a", "--strict", code=2)
    assert "corpus.jsonl:4: there is no text" == found["message"]
    assert [None] == [row["ingest"] for row in fresh.json("locks", "list")["locks"]]
    done = fresh.json("shadow-ingest", "corpus.jsonl", "--lock", "a")
    reasons = [item["reason"] for item in done["rejected"]]
    assert 3 == done["counts"]["rejected"] == len(reasons)
    assert any("already that of corpus.jsonl:1" in reason for reason in reasons)
    assert any("broken JSON" in reason for reason in reasons)


PASSWORD = "hunter2%2Fsecret"  # noqa: S105  # what no message may hold
WRONG_URLS = [
    f"postgresql://me:{PASSWORD}@127.0.0.1:1/rag",
    f"postgresql://me:{PASSWORD}@no-such-host.invalid/rag",
    f"postgres:/me:{PASSWORD}@db/rag",
    f"host=127.0.0.1 port=1 user=me password={PASSWORD}",
    "postgresql://me:hunter2/secret@db/rag",
    "postgresql://me:hunter2@secret@db/rag",
    "hunter2",
]


@pytest.mark.parametrize("url", WRONG_URLS)
def test_no_database_is_one_line_without_the_password(tmp_path: Path, url: str) -> None:
    """A server that can't be reached: exit code 5, what to check, and never the password."""
    project = make(tmp_path, url)
    found = project.error("locks", "list", code=5)
    assert "database" == found["kind"]
    assert "can't connect to" in found["message"]
    assert "BAKEOFF_DATABASE_URL" in found["hint"]
    doctor = project.run("doctor")
    assert 1 == doctor.returncode, doctor.stderr
    for said in (json.dumps(found), doctor.stdout + doctor.stderr):
        assert "hunter2" not in said
        assert "secret" not in said.replace("webhook_secret", "")  # the name of a setting


def test_wrong_settings_are_named_all_at_once(tmp_path: Path) -> None:
    """Every command refuses wrong settings with the source of each."""
    project = make(tmp_path, None)
    project.write("bakeoff.yaml", "workrs: 2\n")
    for command in (["locks", "list"], ["doctor"], ["config", "show"]):
        done = project.run(*command, "--json", BAKEOFF_WORKERS="9")
        assert 2 == done.returncode
        problems = support.one_object(done.stdout)["error"]["problems"]
        assert ["bakeoff.yaml: workrs", "environment: workers"] == sorted(p.rsplit(": ", 1)[0] for p in problems)


def test_artifacts_that_cannot_be_written(ingested: Project) -> None:
    """A place that takes no files is named, with exit code 5; stdout stays one object."""
    blocked = ingested.folder / "file"
    blocked.write_text("")
    done = ingested.run("lock-config", "b.yaml", "--json", BAKEOFF_ARTIFACTS=str(blocked / "x"))
    assert 5 == done.returncode
    assert "can't write" in support.one_object(done.stdout)["error"]["message"]


def test_tampered_lock_stops_every_use(fresh: Project) -> None:
    """A lock that was edited behind the trigger is refused wherever it is used, and listed as damaged."""
    import psycopg

    assert 0 == fresh.run("lock-config", "a.yaml").returncode
    assert fresh.url is not None
    with psycopg.connect(fresh.url) as conn:
        conn.execute("ALTER TABLE bakeoff.locks DISABLE TRIGGER locks_never_change")
        conn.execute("UPDATE bakeoff.locks SET body = jsonb_set(body, '{config,seed}', '99')")
    assert ["damaged"] == [row["state"] for row in fresh.json("locks", "list")["locks"]]
    for arguments in (["locks", "show", "a"], ["shadow-ingest", "corpus.jsonl", "--lock", "a"]):
        assert "integrity" == fresh.error(*arguments, code=4)["kind"]


def test_bug_keeps_its_traceback(fresh: Project) -> None:
    """What nobody foresaw is exit code 70: the traceback on stderr, and still one object on stdout."""
    (fresh.folder / "sitecustomize.py").write_text(
        "import bakeoff.adapters.locks as locks\n"
        "def broken(conn):\n    raise RuntimeError('foreseen by nobody')\n"
        "locks.everything = broken\n"
    )
    done = fresh.run("locks", "list", "--json", PYTHONPATH=f"{fresh.folder}:{fresh.env['PYTHONPATH']}")
    assert 70 == done.returncode
    assert "foreseen by nobody" in json.loads(done.stdout)["error"]["message"]
    assert "Traceback" in done.stderr
