"""Every command's way through, with and without --json, in the order in which a person takes it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from bakeoff.adapters import migrations
from tests import support
from tests.cli.conftest import Project, make

NAMES = [f"{item.version:04}_{item.name}" for item in migrations.known()]
NEWEST = migrations.known()[-1].version


@pytest.fixture(scope="module")
def fresh_done(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project of its own after the whole main job, for what other tests may not disturb."""
    folder = tmp_path_factory.mktemp("shown")
    with support.database(server_url, template, f"shown_{template}"[:60]) as url:
        yield worked(make(folder, url))


@pytest.fixture(scope="module")
def done(project: Project) -> Project:
    """The project after the whole main job."""
    return worked(project)


def worked(project: Project) -> Project:
    """Do the whole main job in *project*."""
    for name in ("a", "b"):
        for arguments in (
            ("lock-config", f"{name}.yaml"),
            ("shadow-ingest", "corpus.jsonl", "--lock", name),
            ("evaluate", "--lock", name, "--questions", "questions.jsonl"),
        ):
            said = project.run(*arguments)
            assert 0 == said.returncode, said.stderr
            assert said.stdout
    return project


def test_lock_config_twice_is_one_lock(done: Project) -> None:
    """The artifact carries the agreed names; the second call returns the first lock and can write its runbook."""
    found = done.json("lock-config", "b.yaml", "--generate-runbook")
    assert not found["created"]
    assert {"CHUNK_VERSION", "CONFIG_HASH", "EMBEDDER_NAME", "TOKENIZER_NAME", "TOKENIZER_HASH", "seed"} <= found.keys()
    stored = json.loads((done.folder / found["path"]).read_text())
    assert stored == {key: found[key] for key in stored}
    assert found["CONFIG_HASH"] in (done.folder / found["runbook"]).read_text()


def test_options_override_the_file(done: Project) -> None:
    """Options and --set win over the file, and decide the hash."""
    arguments = ["lock-config", "a.yaml", "--chunk-size", "70", "--overlap-ratio", "0.1", "--prefix-policy", "A"]
    found = done.json(*arguments, "--set", "retrieval.rrf_k=33", "--set", "reranker=null", "--name", "options")
    assert ("options", 70, 0.1, "A", 33) == (
        found["name"],
        found["config"]["chunking"]["size"],
        found["config"]["chunking"]["overlap_ratio"],
        found["config"]["prefix"]["policy"],
        found["config"]["retrieval"]["rrf_k"],
    )


def test_locks_list_show_diff(done: Project) -> None:
    """Rows carry the ids that other commands take."""
    rows = {row["name"]: row for row in done.json("locks", "list")["locks"]}
    assert ("done", "locked") == (rows["b"]["ingest"], rows["b"]["state"])
    shown = done.json("locks", "show", rows["b"]["config_hash"])
    assert shown == done.json("locks", "show", rows["b"]["chunk_version"])
    assert json.loads(done.run("locks", "show", "b").stdout) == shown
    changes = {item["key"] for item in done.json("locks", "diff", "a", "b")["differences"]}
    assert {"chunking.size", "chunking.overlap_ratio", "chunking.jaccard_threshold", "prefix.policy"} == changes
    assert "prefix.policy" in done.run("locks", "diff", "a", "b").stdout
    assert "same configuration" in done.run("locks", "diff", "a", "a").stdout


def test_activate_archive_log(done: Project) -> None:
    """Activation, its refusal the second time, archive and restore, and the log of all that."""
    assert "a" == done.json("locks", "activate", "a", "--reason", "first")["name"]
    assert "already active" in done.error("locks", "activate", "a", code=4)["message"]
    assert "active lock" in done.error("locks", "archive", "a", code=4)["message"]
    assert "archived" == done.json("locks", "archive", "b")["state"]
    assert "is archived" in done.error("locks", "activate", "b", code=4)["message"]
    assert "restored" == done.json("locks", "archive", "b", "--restore")["state"]
    events = done.json("locks", "log")["events"]
    assert [("activated", "a"), ("archived", "b"), ("restored", "b")] == [(e["event"], e["name"]) for e in events]
    assert "first" in done.run("locks", "log").stdout


def test_ingest_again_says_unchanged(done: Project) -> None:
    """The same corpus again does nothing and says so."""
    found = done.json("shadow-ingest", "corpus.jsonl", "--lock", "b")
    assert found["unchanged"]
    assert 64 == len(found["table_sha256"])
    assert "nothing to do" in done.run("shadow-ingest", "corpus.jsonl", "--lock", "b").stdout


def test_ask(done: Project) -> None:
    """An answer with its sources, snapshot and timings; `active` is the default lock."""
    found = done.json("ask", "what is an atom literal?", "--lock", "b")
    assert found["retrieved_context"]
    assert {"wait", "embed", "retrieve", "read", "total", "filter"} == found["latency_ms"].keys()
    done.run("locks", "activate", "a")
    said = done.run("ask", "what is an atom literal?")
    assert 0 == said.returncode, said.stderr
    assert "Context:" in said.stdout


def test_evaluate_writes_its_artifact(done: Project) -> None:
    """Stdout has the summary, the artifact every case; jq can read it."""
    found = done.json("evaluate", "--lock", "b", "--questions", "questions.jsonl", "--workers", "2")
    artifact = json.loads((done.folder / found["artifact"]).read_text())
    assert "case_results" not in found
    assert found["questions"]["used"] == len(artifact["case_results"])
    again = done.json("runs", "export", found["run_id"])
    assert artifact == json.loads((done.folder / again["artifact"]).read_text())


def test_compare_and_runs(done: Project) -> None:
    """Both runs side by side, and the list that names them."""
    found = done.json("compare", "a", "b")
    assert {"comparison"} == {found["kind"]}
    assert Path(done.folder / found["artifact"]).is_file()
    assert "McNemar" in done.run("compare", "a", "b").stdout
    runs = done.json("runs", "list")["runs"]
    assert {"finished"} == {run["state"] for run in runs}
    assert runs[0]["run_id"] in done.run("runs", "list").stdout


def test_doctor_is_content(done: Project) -> None:
    """After the main job nothing is wrong, and each lock's indexes are used."""
    found = done.json("doctor")
    assert found["healthy"]
    checks = {item["check"]: item["level"] for item in found["findings"]}
    assert {"ok"} == {checks[name] for name in ("database", "schema", "pgvector", "retrieval a", "retrieval b")}
    assert "nothing is wrong" in done.run("doctor").stdout


def test_config_show_and_version(done: Project) -> None:
    """Settings with their origin; the version."""
    shown = {item["name"]: item for item in done.json("config", "show")["settings"]}
    assert "environment" == shown["database_url"]["origin"]
    assert done.run("--version").stdout.startswith("bakeoff ")


def test_corpus_python(done: Project) -> None:
    """The demo corpus is written in the BEIR layout and can be ingested from there."""
    found = done.json("corpus", "python", "--out", "out")
    assert found["documents"] > 70
    assert (done.folder / "out" / "corpus.jsonl").is_file()
    assert "shadow-ingest --lock LOCK beir:out" in done.run("corpus", "python", "--out", "out").stdout


def test_broken_pipe_is_quiet(done: Project) -> None:
    """A reader that leaves early is no error to talk about."""
    for arguments in (["locks", "show", "a"], ["runs", "list"], ["--help"]):
        writing = subprocess.Popen(
            support.command(*arguments), env=done.env, cwd=done.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert writing.stdout is not None
        assert writing.stderr is not None
        writing.stdout.close()
        err = writing.stderr.read().decode()
        writing.stderr.close()
        writing.wait(30)
        assert "" == err, arguments


def test_db_commands(fresh: Project) -> None:
    """Schema forwards, back, and anew; what destroys asks for --yes; a server that is not ours is not stopped."""
    assert {"applied": [], "schema_version": NEWEST} == fresh.json("db", "init")
    assert f"schema version {NEWEST}: nothing to do" in fresh.run("db", "init").stdout
    assert not fresh.json("db", "up")["embedded"]
    status = fresh.json("db", "status")
    assert ([], NEWEST, True) == (status["pending_migrations"], status["schema_version"], status["running"])
    assert "not ours to stop" in fresh.error("db", "stop", code=4)["message"]
    for arguments in (["db", "down", "--to", "0"], ["db", "reset"]):
        assert "say --yes to do it" == fresh.error(*arguments, code=2)["hint"]
    assert NAMES[::-1] == fresh.json("db", "down", "--to", "0", "--yes")["taken_back"]
    assert "bakeoff db init" == fresh.error("locks", "list", code=4)["hint"]
    assert NAMES == fresh.json("db", "init")["applied"]
    assert {"reset": True} == fresh.json("db", "reset", "--yes")
    assert [] == fresh.json("locks", "list")["locks"]


def test_empty_listings_say_what_comes_next(fresh: Project) -> None:
    """Nothing there yet: the next command is named."""
    assert "bakeoff lock-config" in fresh.run("locks", "list").stdout
    assert "bakeoff evaluate" in fresh.run("runs", "list").stdout
    assert [] == fresh.json("locks", "log")["events"]


def test_embedded_server_from_nothing(tmp_path: Path) -> None:
    """Without a URL the first command starts a server and makes the schema; stop ends it; status starts nothing."""
    tmp_path.chmod(0o755)
    found = make(tmp_path, None)
    try:
        assert {"embedded": True, "running": False} == found.json("db", "status")
        assert not (tmp_path / "home").exists()
        assert {"stopped": False} == found.json("db", "stop")
        both = [
            subprocess.Popen(
                support.command("lock-config", f"{name}.yaml", "--json"),
                env=found.env,
                cwd=found.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in ("a", "b")
        ]
        said: list[tuple[str, str]] = [process.communicate(timeout=60) for process in both]
        assert [0, 0] == [process.returncode for process in both], said
        status: dict[str, Any] = found.json("db", "status")
        assert status["running"]
        assert status["pid"] > 1
        assert 2 == len(found.json("locks", "list")["locks"])
    finally:
        stopped = found.json("db", "stop")
    assert stopped["stopped"]
    assert not found.json("db", "status")["running"]


def test_default_model_end_to_end(fresh: Project) -> None:
    """The configuration as it is delivered: MiniLM by ONNX Runtime, from a folder of files to an answer, no torch."""
    documents = support.topics(3, 1200)
    for doc in documents:
        (fresh.folder / "docs").mkdir(exist_ok=True)
        (fresh.folder / "docs" / f"{doc.doc_id.replace('/', '-')}.md").write_text(doc.text)
    fresh.write("c.yaml", {"chunking": {"size": 100}})
    (fresh.folder / "sitecustomize.py").write_text(
        "import atexit, sys\n"
        "atexit.register(lambda: print('TORCH' if 'torch' in sys.modules else 'clean', file=sys.stderr))\n"
    )
    path = f"{fresh.folder}:{fresh.env['PYTHONPATH']}"
    for arguments in (
        ("lock-config", "c.yaml"),
        ("shadow-ingest", "docs", "--lock", "c"),
        ("ask", "what is an atom?", "--lock", "c"),
    ):
        said = fresh.run(*arguments, PYTHONPATH=path)
        assert 0 == said.returncode, said.stderr
        assert "clean" == said.stderr.strip().splitlines()[-1]
    assert "all-MiniLM-L6-v2" in fresh.json("locks", "list")["locks"][0]["embedder"]


def test_module_runs_as_the_script_does() -> None:
    """The installed script and the module are the same program."""
    script = subprocess.run(
        [Path(sys.executable).parent / "bakeoff", "--version"], capture_output=True, text=True, check=True
    )
    assert script.stdout.startswith("bakeoff ")


def test_a_reader_that_answers_nothing_is_exit_code_5(done: Project) -> None:
    """A service that is down: every case is stored with its error and its retrieval, and the command says no."""
    reader = {"kind": "openai", "base_url": "http://127.0.0.1:9", "model": "m", "retries": 0, "deadline_s": 2.0}
    done.write("dead.yaml", {**support.parts(), "reader": reader})
    for arguments in (("lock-config", "dead.yaml"), ("shadow-ingest", "corpus.jsonl", "--lock", "dead")):
        assert 0 == done.run(*arguments).returncode
    found = done.json("evaluate", "--lock", "dead", "--questions", "questions.jsonl", code=5)
    used = found["questions"]["used"]
    assert used == found["aggregates"]["errors"] > 0
    assert used == found["aggregates"]["means"]["f1"]["undefined"]
    assert found["aggregates"]["means"]["oracle_retrieval_hit_prefilter"]["n"] == used
    said = done.run("evaluate", "--lock", "dead", "--questions", "questions.jsonl")
    assert f"{used} of {used} answers failed, the first with: " in said.stderr


def test_caches_can_not_be_asked_for(done: Project) -> None:
    """The environment is read by the command, and refused as any wrong value is."""
    said = done.run("evaluate", "--lock", "a", "--questions", "questions.jsonl", EVAL_DISABLE_CACHE="0")
    assert (2, "") == (said.returncode, said.stdout)
    assert "EVAL_DISABLE_CACHE is '0': evaluations never use caches" in said.stderr


def test_notes_are_on_stderr_and_in_the_text(done: Project) -> None:
    """Questions of which more than half are lost: exit code 0, with a note in both places, and in compare."""
    lines = (done.folder / "questions.jsonl").read_text().splitlines()
    lost = [json.dumps({"id": f"x{n}", "question": "?", "gold": [{"doc": "no", "quote": "q"}]}) for n in range(3)]
    (done.folder / "few.jsonl").write_text("\n".join([*lines[:2], *lost]) + "\n")
    for name in ("a", "b"):
        said = done.run("evaluate", "--lock", name, "--questions", "few.jsonl")
        assert 0 == said.returncode
        for shown in (said.stderr, said.stdout):
            assert "of 5 questions with gold 3 are left out and 0 have theirs outside the corpus" in shown
        assert "right, of all" in said.stdout
    assert "note on A: of 5 questions with gold" in done.run("compare", "a", "b").stdout


VARIES = (
    (r"document_chunks_\d{8}_\d{6}_v(\d+)", r"document_chunks_DATE_TIME_v\1"),
    (r"\d{8}T\d{6}-[0-9a-f]{6,8}", "RUN"),
    (r"\d{4}-\d\d-\d\d-v", "DATE-v"),
    (r"\b[0-9a-f]{64}\b", "SHA256"),
    (r"\b[0-9a-f]{16}\b", "CONFIG_HASH"),
    (r"[+-]?\b\d\.\d{3,4}\b", "N.NNN"),  # figures differ with the text that this Python version brings
    (r"(?<= )[+−]\d+\b", "N"),
)
SHOWN = (("locks", "list"), ("locks", "diff", "a", "b"), ("compare", "a", "b"), ("runs", "list"))


@pytest.mark.parametrize("arguments", SHOWN, ids=lambda arguments: "-".join(arguments[:2]))
def test_what_a_person_sees(fresh_done: Project, arguments: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    """The text of a command is as it was agreed, apart from ids, dates and times."""
    said = fresh_done.run(*arguments, COLUMNS="110")
    assert 0 == said.returncode, said.stderr
    text = said.stdout.replace(str(fresh_done.folder), "FOLDER")
    for pattern, instead in VARIES:
        text = re.sub(pattern, instead, text)
    assert snapshot == text
