"""Explanations of real runs: one stage broken on purpose is the stage that is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bakeoff.adapters import evaluations, locks
from bakeoff.cli import _explaining
from bakeoff.errors import NotFoundError, StateError
from bakeoff.explain import FUSION
from bakeoff.gold import STAGES
from bakeoff.stages import explain, ingest, report
from tests import support
from tests.ready import Ready
from tests.ready import ready as ready_in
from tests.support import make_lock, parts, run_evaluate, run_ingest

BROKEN = {
    "few-read": {"filter": {"context": 1}},
    "few-fused": {"snapshot": 2, "filter": {"context": 2}},
    "no-dense": {"dense_candidates": 1, "lexical_weight": 0.0},
    "no-lexical": {"lexical_candidates": 1, "dense_weight": 0.0},
}
"""What is broken in the retrieval of each lock, all else being that of `whole`."""


@pytest.fixture(scope="module")
def ready(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    """The lock `whole`, and one lock for each broken stage, on the same questions, all evaluated."""
    with ready_in(server_url, template, tmp_path_factory.mktemp("explain")) as found:
        run_evaluate(found.url, found.lock, found.questions)
        for name, retrieval in BROKEN.items():
            which = make_lock(found.url, parts(retrieval=retrieval), name=name)
            run_ingest(found.url, which, found.corpus)
            run_evaluate(found.url, which, found.questions)
        yield found


SIDES = ("baseline", "candidate")


def explained(ready: Ready, a: str, b: str) -> dict[str, Any]:
    """Explain two runs by what a person types; plain values."""
    with support.connector(ready.url)() as conn:
        return explain.run(conn, evaluations.find(conn, a), evaluations.find(conn, b)).to_json()


@pytest.mark.parametrize(
    ("name", "arrow"),
    [("few-read", "context"), ("few-fused", "snapshot"), ("no-dense", "snapshot"), ("no-lexical", "snapshot")],
)
def test_a_stage_broken_on_purpose_is_the_one_that_loses(ready: Ready, name: str, arrow: str) -> None:
    """All losses are at its arrow, and the first line names that arrow for them and no other."""
    found = explained(ready, "whole", name)
    losses = {item["arrow"]: item["lost"] for item in found["arrows"] if item["lost"]}
    assert [arrow] == list(losses)
    assert f"all losses happen at '{arrow}'" in found["conclusion"]
    text = _explaining.text(found)
    assert f"lost at '{arrow}' ({losses[arrow]})" in text
    assert [arrow] == [stage for stage in STAGES if f"lost at '{stage}'" in text]


@pytest.mark.parametrize(("name", "leg"), [("no-dense", "dense"), ("no-lexical", "lexical"), ("few-fused", FUSION)])
def test_a_loss_in_the_snapshot_names_its_leg(ready: Ready, name: str, leg: str) -> None:
    """One leg with a single candidate, the other switched off; or both whole, and fusion cut short."""
    found = explained(ready, "whole", name)
    lost = [item for item in found["moved"] if item["kind"] == "lost"]
    assert lost
    assert all(leg in item["legs"] for item in lost)


def test_the_other_way_round_is_gained(ready: Ready) -> None:
    """Mending the stage wins back exactly the questions that breaking it lost."""
    there, back = explained(ready, "whole", "few-read"), explained(ready, "few-read", "whole")
    lost = {item["question_id"] for item in there["moved"] if item["kind"] == "lost"}
    assert lost == {item["question_id"] for item in back["moved"] if item["kind"] == "gained"}
    assert {0} == {item["lost"] for item in back["arrows"] if item["arrow"] not in {"used", "right"}}


def test_a_run_against_itself_says_that_nothing_changed(ready: Ready) -> None:
    """In the first line."""
    found = explained(ready, "whole", "whole")
    assert [] == found["moved"]
    first = _explaining.text(found).splitlines()[0]
    assert f"nothing changed: all {ready.count} questions came equally far in both runs" == first


def test_evidence_is_what_the_corpus_holds(ready: Ready) -> None:
    """Gold and chunks come with their text; of the gold-covering chunks one is marked on the side that kept it."""
    texts = {document.doc_id: document.text.encode() for document in support.topics(8, 2000)}
    found = explained(ready, "whole", "few-read")
    for item in found["moved"]:
        for passage in item["gold"]["passages"]:
            for span in passage:
                body = texts[span["doc_id"]][span["start"] : span["end"]].decode()
                assert " ".join(body.split()) == span["text"]
        kept = item["baseline" if item["kind"] == "lost" else "candidate"]
        assert any(chunk["gold"] for chunk in kept["chunks"] if chunk["read"])
        for chunk in item["baseline"]["chunks"]:
            body = texts[chunk["doc_id"]][chunk["start"] : chunk["end"]].decode()
            assert " ".join(body.split()) == chunk["text"]
        assert [1] == [chunk["rank"] for chunk in item["candidate"]["chunks"] if chunk["read"]]


def one(ready: Ready, question_id: str) -> dict[str, Any]:
    """Explain one question of `whole` and `few-read`."""
    with support.connector(ready.url)() as conn:
        runs = evaluations.find(conn, "whole"), evaluations.find(conn, "few-read")
        return explain.one(conn, *runs, question_id)


def test_one_question_whole(ready: Ready) -> None:
    """Both snapshots entire, funnels, answers, figures, and what the comparison says of it."""
    lost = next(item for item in explained(ready, "whole", "few-read")["moved"] if item["kind"] == "lost")
    found = one(ready, lost["question_id"])
    assert "lost at 'context'" == found["conclusion"]
    for side in ("baseline", "candidate"):
        assert found[side]["snapshot_size"] == len(found[side]["chunks"])
        assert lost[side]["funnel"] == found[side]["funnel"]
    text = _explaining.text(found)
    assert text.startswith(f"{lost['question_id']}: lost at 'context'\n")
    for word in ("gold:", "Funnel", "Figures", "A: ", "B: ", "answer ", "GOLD", "read"):
        assert word in text
    moved = {item["question_id"] for item in explained(ready, "whole", "few-read")["moved"]}
    same = next(name for name in (f"q{n:03d}" for n in range(ready.count)) if name not in moved)
    assert "the question came equally far in both runs" == one(ready, same)["conclusion"]


@pytest.mark.parametrize(("typed", "hint"), [("q0001", "did you mean q"), ("zzz", "the first of 10 is q000")])
def test_an_unknown_question_gets_close_names(ready: Ready, typed: str, hint: str) -> None:
    """Names that look like it, or the first there is."""
    with pytest.raises(NotFoundError, match=f"no question '{typed}' in these runs") as caught:
        one(ready, typed)
    assert str(caught.value.hint).startswith(hint)


def test_runs_that_do_not_match_are_refused(ready: Ready) -> None:
    """Like a comparison: other questions mean nothing."""
    few = support.write_questions(ready.folder / "few.jsonl", support.quotes_of(support.topics(8, 2000)[:2]))
    run = run_evaluate(ready.url, ready.lock, few).run.run_id
    with pytest.raises(StateError, match="their differences would mean nothing"):
        explained(ready, run, "few-read")
    again = run_evaluate(ready.url, ready.lock, ready.questions, fresh=True)  # the newest run is a whole one again
    assert ready.count == again.artifact["questions"]["used"]


def test_a_table_that_was_dropped_loses_its_near_duplicates_only(ready: Ready) -> None:
    """The cases are kept with the run, so that an old bakeoff can still be explained."""
    which = make_lock(ready.url, parts(retrieval={"filter": {"context": 1}}, seed=9), name="dropped")
    run_ingest(ready.url, which, ready.corpus)
    run_evaluate(ready.url, which, ready.questions)
    before = explained(ready, "whole", "dropped")
    with support.connector(ready.url)() as conn:
        conn.execute(f'DROP TABLE "{locks.find(conn, "dropped").table_name}" CASCADE'.encode())
    after = explained(ready, "whole", "dropped")
    assert before["moved"] == after["moved"]
    assert (["as evaluated", "gone"], []) == ([after[side]["table"] for side in SIDES], before["warnings"])
    (said,) = after["warnings"]
    assert "the chunk table of dropped " in said
    assert " ".join(said.split()) in " ".join(_explaining.text(after).split())


def test_a_table_that_was_ingested_again_is_said(ready: Ready) -> None:
    """Other near-duplicates may stand in it: said in the overview, of one question, and in a report of both."""
    which = make_lock(ready.url, parts(retrieval={"filter": {"context": 1}}, seed=11), name="again")
    run_ingest(ready.url, which, ready.corpus)
    run_evaluate(ready.url, which, ready.questions)
    with support.connector(ready.url)() as conn:
        conn.execute(
            "UPDATE bakeoff.ingests SET table_sha256 = %s WHERE config_hash = %s", ("0" * 64, which.config_hash)
        )
        pair = evaluations.find(conn, "whole"), evaluations.find(conn, "again")
        found = explain.run(conn, *pair).to_json()
        single = explain.one(conn, *pair, "q000")
        reported = report.run(conn, pair, seed=7)
    for data in (found, single):
        assert ["as evaluated", "changed"] == [data[side]["table"] for side in SIDES]
        assert "note: the chunk table of again (run " in _explaining.text(data)
    assert ["as evaluated", "changed"] == [side["table"] for side in reported["runs"]]
    assert found["warnings"] == single["warnings"] == reported["warnings"]
    assert "was ingested again after the run" in found["warnings"][0]


def test_texts_are_shown_though_a_corpus_was_ingested_anew(ready: Ready) -> None:
    """Equal documents under another ingest; where no ingest has them any more, no text is made up."""
    which = make_lock(ready.url, parts(retrieval={"filter": {"context": 1}}, seed=12), name="anew")
    run_ingest(ready.url, which, ready.corpus)
    run_evaluate(ready.url, which, ready.questions)
    before = explained(ready, "anew", "whole")
    with support.connector(ready.url)() as conn:
        ingest.forget(conn, which)
    assert (before["moved"], "gone") == (
        (gone := explained(ready, "anew", "whole"))["moved"],
        gone["baseline"]["table"],
    )
    run_ingest(ready.url, which, ready.corpus)
    after = explained(ready, "anew", "whole")
    assert (before["moved"], "as evaluated") == (after["moved"], after["baseline"]["table"])
    assert all(chunk["text"] for item in after["moved"] for chunk in item["baseline"]["chunks"])
    assert all(chunk["text"] is None for item in alone(ready) for chunk in item["chunks"])


def alone(ready: Ready) -> list[dict[str, Any]]:
    """Both sides of a question of a run against itself, after its ingest is forgotten."""
    which = make_lock(ready.url, parts(seed=13), name="alone")
    run_ingest(ready.url, which, ready.corpus)
    run_evaluate(ready.url, which, ready.questions)
    with support.connector(ready.url)() as conn:
        ingest.forget(conn, which)
        run = evaluations.find(conn, "alone")
        found = explain.one(conn, run, run, "q000")
    return [found["baseline"], found["candidate"]]


@pytest.mark.parametrize("width", [80, 110])
def test_the_text_fits_the_terminal(ready: Ready, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is wider than the terminal, in the overview and of one question."""
    monkeypatch.setenv("COLUMNS", str(width))
    found = explained(ready, "whole", "few-read")
    for data in (found, one(ready, found["moved"][0]["question_id"])):
        assert [] == [line for line in _explaining.text(data).splitlines() if len(line) > width]
