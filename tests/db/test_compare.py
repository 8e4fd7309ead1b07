"""What may be compared, and what was recorded stays as it was: corpora, case results, reader errors."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from bakeoff.adapters import evaluations
from bakeoff.cli import _evaluating
from bakeoff.errors import DatabaseError, IntegrityError, StateError
from bakeoff.stages import compare
from tests import support
from tests.ready import Ready
from tests.ready import ready as ready_in
from tests.support import make_lock, parts, run_evaluate, run_ingest


@pytest.fixture(scope="module")
def ready(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    """One ingest and one evaluation for all tests that only read them."""
    with ready_in(server_url, template, tmp_path_factory.mktemp("compare")) as found:
        run_evaluate(found.url, found.lock, found.questions)
        yield found


def compared(ready: Ready, a: str, b: str) -> dict[str, Any]:
    """Compare two runs by what a person types; plain values."""
    with support.connector(ready.url)() as conn:
        return compare.run(conn, evaluations.find(conn, a), evaluations.find(conn, b), seed=7).to_json()


def execute(url: str, statement: LiteralString, **values: str) -> None:
    """Run one statement past the adapters."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET search_path = bakeoff, public")
        conn.execute(statement, values)


def tamper(url: str, statement: LiteralString, **values: str) -> None:
    """Run one statement with the triggers off, as only the owner of the tables can."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET search_path = bakeoff, public")
        conn.execute("SET session_replication_role = replica")
        conn.execute(statement, values)


def test_runs_on_other_corpora_are_not_compared(ready: Ready) -> None:
    """The same questions of a corpus of six documents instead of eight: refused, both named with their sizes."""
    part = support.write_jsonl(ready.folder / "part.jsonl", support.topics(8, 2000)[:6])
    which = make_lock(ready.url, parts(seed=2), name="part")
    run_ingest(ready.url, which, part)
    done = run_evaluate(ready.url, which, ready.questions)
    with pytest.raises(StateError, match=r"on corpus \(8 documents, .* on part \(6 documents, ") as caught:
        compared(ready, "whole", "part")
    assert 4 == caught.value.exit_code
    assert "ingest the same corpus under both locks" in str(caught.value.hint)
    stored = support.rows(ready.url, "SELECT DISTINCT corpus_sha256 FROM evaluations")
    assert 2 == len(stored)
    assert (done.artifact["corpus_sha256"],) in stored
    assert done.artifact["corpus_sha256"] == done.artifact["corpus"]["sha256"]
    assert 6 == done.artifact["corpus"]["documents"]
    same = compared(ready, "part", "part")
    assert done.artifact["corpus"] == same["baseline"]["corpus"] == same["candidate"]["corpus"]


def test_the_hint_names_the_newest_runs_that_match(ready: Ready, tmp_path: Path) -> None:
    """Lock names mean newest runs; where those were asked different files, runs that can be compared are named."""
    which = make_lock(ready.url, parts(seed=3), name="other")
    run_ingest(ready.url, which, ready.corpus)
    first = run_evaluate(ready.url, ready.lock, ready.questions)
    second = run_evaluate(ready.url, which, ready.questions)
    few = support.write_questions(tmp_path / "few.jsonl", support.quotes_of(support.topics(8, 2000)[:2]))
    newest = run_evaluate(ready.url, which, few)
    with pytest.raises(StateError, match="their differences would mean nothing") as caught:
        compared(ready, "whole", "other")
    assert str(caught.value.hint).endswith(f"bakeoff compare {first.run.run_id} {second.run.run_id}")
    assert newest.run.run_id not in str(caught.value.hint)
    assert ready.count == compared(ready, first.run.run_id, second.run.run_id)["questions"]


def test_changed_cases_are_neither_compared_nor_exported(ready: Ready) -> None:
    """One case that was turned into a success: the digest of the run no longer fits, and the run is named."""
    done = run_evaluate(ready.url, ready.lock, ready.questions, fresh=True)
    tamper(
        ready.url,
        "UPDATE evaluation_cases SET result = jsonb_set(result, '{answer_right}', '1') WHERE ordinal = "
        "(SELECT min(ordinal) FROM evaluation_cases WHERE result->>'answer_right' = '0' AND run_id = %(run)s) "
        "AND run_id = %(run)s",
        run=done.run.run_id,
    )
    with support.connector(ready.url)() as conn, pytest.raises(IntegrityError, match=f"cases of run {done.run.run_id}"):
        evaluations.cases_checked(conn, done.run)
    with pytest.raises(IntegrityError, match=f"cases of run {done.run.run_id} are not what"):
        compared(ready, done.run.run_id, done.run.run_id)
    tamper(ready.url, "DELETE FROM evaluation_cases WHERE run_id = %(run)s", run=done.run.run_id)
    tamper(ready.url, "DELETE FROM evaluations WHERE run_id = %(run)s", run=done.run.run_id)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE evaluations SET report = '{}' WHERE run_id = %(run)s",
        "UPDATE evaluations SET finished_at = NULL WHERE run_id = %(run)s",
        "DELETE FROM evaluations WHERE run_id = %(run)s",
        "UPDATE evaluation_cases SET result = '{}' WHERE run_id = %(run)s",
        "DELETE FROM evaluation_cases WHERE run_id = %(run)s",
        "INSERT INTO evaluation_cases VALUES (%(run)s, 'new', 999, '{}', '{}')",
        "TRUNCATE evaluation_cases",
        "TRUNCATE evaluations CASCADE",
    ],
)
def test_finished_evaluation_never_changes(ready: Ready, statement: LiteralString) -> None:
    """The database refuses to change or remove a finished run or a case of it, or to add one."""
    with support.connector(ready.url)() as conn:
        run = evaluations.latest(conn, ready.lock)
    with pytest.raises(psycopg.errors.RaiseException, match=r"is refused: "):
        execute(ready.url, statement, run=run.run_id)


class Stop(Exception):  # noqa: N818  # it stands for a kill
    """Ends an evaluation where the test wants it."""


def test_interrupted_evaluation_can_be_removed(ready: Ready) -> None:
    """Nothing was concluded from it: its row goes, and its cases with it."""

    def stop(_: str, done: int, __: int | None) -> None:
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        run_evaluate(ready.url, ready.lock, ready.questions, progress=stop, fresh=True)
    cases = "SELECT count(*) FROM evaluation_cases JOIN evaluations USING (run_id) WHERE finished_at IS NULL"
    assert [(3,)] == support.rows(ready.url, cases)
    execute(ready.url, "DELETE FROM evaluations WHERE finished_at IS NULL")
    orphans = "SELECT count(*) FROM evaluation_cases LEFT JOIN evaluations USING (run_id) WHERE finished_at IS NULL"
    assert [(0,)] == support.rows(ready.url, orphans)


def test_refusals_of_the_database_are_errors_of_ours(ready: Ready) -> None:
    """What a trigger says reaches the person in one line."""
    with support.connector(ready.url)() as conn:
        run = evaluations.latest(conn, ready.lock)
    with (
        pytest.raises((StateError, DatabaseError), match="a finished evaluation never changes"),
        support.connector(ready.url)() as conn,
    ):
        evaluations.finish(conn, run.run_id, at=run.started_at, report={})


@pytest.mark.parametrize("down_is_baseline", [True, False])
def test_reader_errors_are_shown_not_dropped(ready: Ready, *, down_is_baseline: bool) -> None:
    """A side whose reader never answered: its figures are there as not measured, the errors of both are counted."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    reader = {
        "kind": "openai",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "model": "m",
        "deadline_s": 2.0,
        "retries": 0,
    }
    which = make_lock(ready.url, parts(reader=reader), name="down")
    run_ingest(ready.url, which, ready.corpus)
    down = run_evaluate(ready.url, which, ready.questions).run.run_id
    up = run_evaluate(ready.url, ready.lock, ready.questions).run.run_id
    a, b = (down, up) if down_is_baseline else (up, down)
    found = compared(ready, a, b)
    errors = {"baseline": ready.count * down_is_baseline, "candidate": ready.count * (not down_is_baseline)}
    assert errors == found["errors"]
    text = _evaluating.comparison_text(found)
    assert f"reader errors: A {errors['baseline']}, B {errors['candidate']}" in text
    (line,) = [line for line in text.splitlines() if line.startswith(" answer F1")]
    assert "not measured" in line
    measured = found["candidate" if down_is_baseline else "baseline"]["aggregates"]["means"]["f1"]["mean"]
    assert (f"{measured:.3f}" in line, line.index("not measured") < line.index(f"{measured:.3f}")) == (
        True,
        down_is_baseline,
    )
    assert "nDCG" not in text


def test_without_reader_errors_nothing_is_said_of_them(ready: Ready) -> None:
    """The line is there where there is something to say."""
    assert "reader errors" not in _evaluating.comparison_text(compared(ready, "whole", "whole"))
