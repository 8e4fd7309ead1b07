"""`explain` and `report` as commands: what they print, what they write, what they refuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import support
from tests.cli.conftest import Project, make

FEW = {"retrieval": {"filter": {"context": 1}}}


@pytest.fixture(scope="module")
def done(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with the lock `a`, and `few`, which reads one chunk instead of eight; both evaluated."""
    folder = tmp_path_factory.mktemp("report")
    with support.database(server_url, template, f"report_{template}"[:60]) as url:
        found = make(folder, url)
        found.write("few.yaml", support.parts(**FEW))
        for name in ("a", "few"):
            found.json("lock-config", f"{name}.yaml")
            found.json("shadow-ingest", "corpus.jsonl", "--lock", name)
            found.json("evaluate", "--lock", name, "--questions", "questions.jsonl")
        yield found


def test_explain_names_the_stage_that_loses(done: Project) -> None:
    """First of all, in words and as JSON; then a question of it whole."""
    found = done.json("explain", "a", "few")
    said = done.run("explain", "a", "few")
    assert (0, "") == (said.returncode, said.stderr)
    assert "all losses happen at 'context'" in found["conclusion"]
    assert " ".join(said.stdout.split()).startswith(found["conclusion"])
    assert ["context"] == [item["arrow"] for item in found["arrows"] if item["lost"]]
    name = found["moved"][0]["question_id"]
    assert f"--case {name}" in said.stdout
    one = done.json("explain", "a", "few", "--case", name)
    assert (name, "lost at 'context'") == (one["question_id"], one["conclusion"])
    assert done.run("explain", "a", "few", "--case", name).stdout.startswith(f"{name}: lost at 'context'\n")


def test_an_unknown_question_is_refused_with_close_names(done: Project) -> None:
    """Usage, in one line."""
    found = done.error("explain", "a", "few", "--case", "q0", code=2, plain=True)
    assert ("not_found", "no question 'q0' in these runs") == (found["kind"], found["message"])
    assert found["hint"].startswith("did you mean q0")


def test_report_prints_and_writes(done: Project) -> None:
    """Tables to the terminal, Markdown and a page to files; the same bytes each time; JSON names the files."""
    arguments = ("report", "a", "few", "--html", "out/r.html", "--markdown", "out/r.md")
    said = done.run(*arguments)
    assert (0, "") == (said.returncode, said.stderr)
    for word in ("few against a: ", "all losses happen at 'context'", "Runs", "95 % interval", "Funnel", "Latency, ms"):
        assert word in said.stdout
    page, markdown = done.folder / "out" / "r.html", done.folder / "out" / "r.md"
    first = page.read_bytes(), markdown.read_bytes()
    found = done.json(*arguments)
    assert first == (page.read_bytes(), markdown.read_bytes())
    assert {"html": "out/r.html", "markdown": "out/r.md"} == found["written"]
    assert first[0].startswith(b"<!DOCTYPE html>")
    assert len(first[0]) < 2_000_000
    assert b"\n| gold in the context |" in first[1]
    assert ["a", "few"] == [run["lock"] for run in found["runs"]]
    explained = done.json("explain", "a", "few")
    (comparison,) = found["comparisons"]
    assert (explained["conclusion"], explained["arrows"]) == (comparison["conclusion"], comparison["arrows"])
    compared = done.json("compare", "a", "few")
    assert compared["differences"] == comparison["differences"]


def test_report_of_one_run(done: Project) -> None:
    """No comparison, and no sentence about one."""
    found = done.json("report", "a", "--html", "alone.html")
    assert [] == found["comparisons"]
    said = done.run("report", "a").stdout
    assert "Means, with the number of questions" in said
    assert "lost" not in said


def test_scores_and_latencies_are_counted(done: Project) -> None:
    """Each chunk of each snapshot is in one histogram; each curve ends at 1, and at the largest timing."""
    (run,) = done.json("report", "a")["runs"]
    counts = run["scores"]["fused"]
    with support.connector(str(done.url))() as conn:
        row = conn.execute(
            "SELECT sum(jsonb_array_length(result -> 'retrieval_snapshot')), max((timings ->> 'total')::float) "
            "FROM bakeoff.evaluation_cases WHERE run_id = %s",
            (run["run_id"],),
        ).fetchone()
    assert row is not None
    assert row[0] == counts["gold"]["n"] + counts["other"]["n"]
    assert 0 < counts["gold"]["n"] < counts["other"]["n"]
    assert [pytest.approx(row[1]), 1.0] == run["latency"]["total"]["curve"][-1]


@pytest.mark.parametrize("option", ["--html", "--markdown"])
def test_a_place_that_cannot_be_written_to(done: Project, option: str) -> None:
    """Something outside refuses: said in one line, and no half of a file."""
    found = done.error("report", "a", option, "corpus.jsonl/r.out", code=5)
    assert "outside" == found["kind"]
    assert found["message"].startswith("can't write corpus.jsonl/r.out: ")


def test_a_page_that_can_not_be_written_is_seen_before_the_runs_are_looked_for(done: Project) -> None:
    """The work would be in vain."""
    found = done.error("report", "nobody", "--html", "corpus.jsonl/r.html", code=5)
    assert "can't write corpus.jsonl/r.html: Not a directory" == found["message"]


@pytest.mark.parametrize("width", ["80", "110"])
def test_no_heading_is_broken_within_a_word(done: Project, width: str) -> None:
    """Of the report and the explanation, and no line of a table is wider than the terminal."""
    for arguments in (("report", "a", "few"), ("explain", "a", "few")):
        lines = done.run(*arguments, COLUMNS=width).stdout.splitlines()
        rules = [n for n, line in enumerate(lines) if line.strip() and not line.strip("─ ")]
        assert rules
        heads = {word for n in rules for word in lines[n - 1].split()}
        assert not {"gained/l", "ost", "differe", "nce", "baselin", "candidat", "e"} & heads
        assert all(len(lines[n]) <= int(width) for n in rules)


def test_a_run_named_twice_is_refused(done: Project) -> None:
    """A report of a run against itself would be no news."""
    found = done.error("report", "a", "a", code=2)
    assert "a run is named twice" in found["message"]


def test_runs_that_do_not_match_are_refused(done: Project) -> None:
    """Other questions mean nothing, whichever of the runs it is."""
    documents = support.topics(10, 2500)
    support.write_questions(done.folder / "others.jsonl", support.quotes_of(documents[:4]))
    run = done.json("evaluate", "--lock", "few", "--questions", "others.jsonl")["run_id"]
    assert "their differences would mean nothing" in done.error("report", "a", run, code=4)["message"]
    done.json("evaluate", "--lock", "few", "--questions", "questions.jsonl", "--fresh")


def test_without_the_extra_it_says_what_to_install(done: Project) -> None:
    """Before any work; the tables need no extra."""
    (done.folder / "bare").mkdir()
    (done.folder / "bare" / "matplotlib.py").write_text("raise ImportError('none here', name='matplotlib')\n")
    path = f"{done.folder / 'bare'}:{done.env['PYTHONPATH']}"
    said = done.run("report", "no-such-run", "--html", "never.html", PYTHONPATH=path)
    assert (5, "") == (said.returncode, said.stdout)
    assert ["bakeoff: a page needs matplotlib, which is not installed", "  → pip install 'bakeoff[report]'"] == (
        said.stderr.splitlines()
    )
    assert not (done.folder / "never.html").exists()
    assert 0 == done.run("report", "a", PYTHONPATH=path).returncode
