"""What a report gathers from the database: judgements, several candidates, what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bakeoff.adapters import evaluations, records
from bakeoff.errors import IntegrityError, StateError
from bakeoff.stages import report
from bakeoff.verdicts import Verdict
from tests import support
from tests.db.test_compare import tamper
from tests.ready import Ready
from tests.ready import ready as ready_in
from tests.support import NOW, make_lock, parts, run_evaluate, run_ingest


@pytest.fixture(scope="module")
def ready(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    """The lock `whole` and two candidates, all evaluated on the same questions."""
    with ready_in(server_url, template, tmp_path_factory.mktemp("report")) as found:
        run_evaluate(found.url, found.lock, found.questions)
        for name, context in (("one", 1), ("two", 2)):
            which = make_lock(found.url, parts(retrieval={"filter": {"context": context}}), name=name)
            run_ingest(found.url, which, found.corpus)
            run_evaluate(found.url, which, found.questions)
        yield found


def reported(ready: Ready, *refs: str) -> dict[str, Any]:
    """The report of these runs."""
    with support.connector(ready.url)() as conn:
        return report.run(conn, [evaluations.find(conn, ref) for ref in refs], seed=7)


def test_every_candidate_is_compared_with_the_first(ready: Ready) -> None:
    """In the order given; histograms of all runs have the same bins."""
    found = reported(ready, "whole", "one", "two")
    assert ["whole", "one", "two"] == [run["lock"] for run in found["runs"]]
    assert ["one", "two"] == [item["lock"] for item in found["comparisons"]]
    for item, run in zip(found["comparisons"], found["runs"][1:], strict=True):
        assert run["run_id"] == item["run_id"]
        assert reported(ready, "whole", item["lock"])["comparisons"] == [item]
    for score, edges in found["score_edges"].items():
        for run in found["runs"]:
            for kind in ("gold", "other"):
                assert len(edges) - 1 == len(run["scores"][score][kind]["shares"])


def test_the_newest_judgement_of_the_pair_is_in_it(ready: Ready) -> None:
    """Of this run against this baseline: a newer one against another says nothing; a changed one is refused."""
    assert [None] == [item["judgement"] for item in reported(ready, "whole", "one")["comparisons"]]
    with support.connector(ready.url)() as conn:
        ids = {name: evaluations.find(conn, name).run_id for name in ("whole", "one", "two")}
        about = records.About(run_id=ids["one"])
        made = []
        for verdict, against in ((Verdict.PASS, "whole"), (Verdict.FAIL, "whole"), (Verdict.PASS, "two")):
            body: dict[str, Any] = {"verdict": verdict.value, "findings": [], "baseline": {"run_id": ids[against]}}
            made.append(records.add(conn, "judgement", body, about=about, at=NOW, verdict=verdict))
    last = str(made[1].record_id)
    one, two = reported(ready, "whole", "one", "two")["comparisons"]
    assert {**made[1].body, "at": NOW.isoformat()} == one["judgement"]
    assert two["judgement"] is None
    (other,) = reported(ready, "two", "one")["comparisons"]
    assert "pass" == other["judgement"]["verdict"]
    assert [None] == [item["judgement"] for item in reported(ready, "one", "whole")["comparisons"]]
    tamper(
        ready.url,
        "UPDATE records SET body = jsonb_set(body, '{verdict}', '\"pass\"') WHERE record_id = %(record)s",
        record=last,
    )
    with pytest.raises(IntegrityError, match=f"record {last} "):
        reported(ready, "whole", "one")
    for record in made:
        tamper(ready.url, "DELETE FROM records WHERE record_id = %(record)s", record=str(record.record_id))


class Stop(Exception):  # noqa: N818  # it stands for a kill
    """Ends an evaluation where the test wants it."""


def test_an_interrupted_run_is_refused(ready: Ready) -> None:
    """Alone, and as either side; the hint continues it."""

    def stop(_: str, done: int, __: int | None) -> None:
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        run_evaluate(ready.url, ready.lock, ready.questions, progress=stop, fresh=True)
    with support.connector(ready.url)() as conn:
        (half,) = (run.run_id for run in evaluations.listing(conn) if run.finished_at is None)
    for refs in ((half,), (half, "one"), ("one", half)):
        with pytest.raises(StateError, match=f"run {half} was interrupted") as caught:
            reported(ready, *refs)
        assert str(caught.value.hint).endswith("continues it")


def test_changed_cases_are_not_reported(ready: Ready) -> None:
    """Of a run alone too: a question turned into a success is no report."""
    run = run_evaluate(ready.url, ready.lock, ready.questions, fresh=True).run.run_id
    tamper(
        ready.url,
        "UPDATE evaluation_cases SET result = jsonb_set(result, '{answer_right}', '7') WHERE run_id = %(run)s",
        run=run,
    )
    for refs in ((run,), (run, "one"), ("one", run)):
        with pytest.raises(IntegrityError, match=f"cases of run {run} are not what"):
            reported(ready, *refs)
