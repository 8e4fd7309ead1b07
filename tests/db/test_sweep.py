"""Sweeps of real ingests: the better configuration is found, equals are not told apart, nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bakeoff import sweep as sweeps
from bakeoff.adapters import clock, evaluations, locks, records
from bakeoff.config import Lock
from bakeoff.errors import BakeoffError, ConfigError, InputError, NotFoundError, NotKnownError, StateError, UsageError
from bakeoff.stages import compare, lock, sweep
from bakeoff.stages.prepare import Options, Order
from bakeoff.stages.sweep import Swept
from bakeoff.verdicts import Verdict
from tests import support

CONTEXT = "retrieval.filter.context"
BASE = support.parts(retrieval={"lexical_weight": 0.0, "filter": {"context": 1}})
ONE_BETTER: list[dict[str, Any]] = [{CONTEXT: 8}, {"index.hnsw_m": 8}, {"index.hnsw_m": 24}, {"retrieval.rrf_k": 61}]
EQUALS: list[dict[str, Any]] = [{"index.hnsw_m": m} for m in (8, 12, 20, 24)]
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Ground:
    """A corpus and its questions."""

    corpus: Path
    questions: Path
    count: int


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Fourteen topics, questions made of their words, and two that nothing answers."""
    folder = tmp_path_factory.mktemp("sweep")
    documents = support.topics(14, 3000)
    asked = support.quotes_of(documents, each=6)
    asked += [{"id": f"none{n}", "question": "who won?", "gold": [], "tags": ["unanswerable"]} for n in range(2)]
    corpus = support.write_jsonl(folder / "corpus.jsonl", documents)
    return Ground(corpus, support.write_questions(folder / "questions.jsonl", asked), len(asked))


def order(ground: Ground, configurations: list[dict[str, Any]] | None = None, **keys: Any) -> Order:
    """A sweep of *configurations* with two finalists and half of the questions as holdout."""
    outside = {name: keys.pop(name) for name in ("base", "baseline", "questions", "corpus") if name in keys}
    given: dict[str, Any] = {"list": configurations or ONE_BETTER, "finalists": 2, "holdout": 0.5, **keys}
    base = {"base": BASE, "questions": str(ground.questions), "corpus": str(ground.corpus), **outside}
    return Order(sweeps.parse(given, source="s.yaml"), "s.yaml", **base)


def run(url: str, wanted: Order, *, progress: Progress = lambda *_: None, **options: Any) -> Swept:
    """Run a sweep."""
    chosen = Options(cache_dir=support.CACHE, **options)
    return sweep.run(support.connector(url), wanted, progress=progress, now=clock.now, options=chosen)


def bare(found: Swept) -> dict[str, Any]:
    """What may not differ between two runs of one sweep: all but when it was and what the runs are called."""
    body: dict[str, Any] = json.loads(json.dumps(found.body, allow_nan=False))
    for arm in body["arms"]:
        arm["runs"] = len(arm["runs"])
        del arm["table_bytes"]
    return body


@dataclass(frozen=True)
class Done:
    """A finished sweep and its database."""

    url: str
    found: Swept


@pytest.fixture(scope="module")
def done(server_url: str, template: str, ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """An undisturbed sweep of four, one of which reads eight chunks instead of one."""
    del tmp_path_factory
    with support.database(server_url, template, f"sweep_{template}") as url:
        yield Done(url, run(url, order(ground)))


def arm(found: Swept, changes: str) -> dict[str, Any]:
    """The arm with these changes."""
    return next(item for item in found.body["arms"] if changes == item["changes"])


def test_the_better_configuration_is_proposed(done: Done, ground: Ground) -> None:
    """It reads eight chunks, the baseline one; the other three are no better, and two of them did not get far."""
    body = done.found.body
    better = arm(done.found, f"{CONTEXT}=8")
    assert (better["config_hash"], Verdict.PASS, 4) == (body["winner"], done.found.verdict, body["tried"])
    assert ["better", "not shown to be better"] == [item["standing"] for item in body["finalists"]]
    assert [(ground.count // 2, 4, 2)] == [(rung["questions"], rung["arms"], rung["keep"]) for rung in body["rungs"]]
    assert ground.count == len(body["questions"]["narrowing"]) + len(body["questions"]["holdout"])
    first = arm(done.found, "the base as it is")
    assert (first["config_hash"], True) == (body["baseline"], first["baseline"])
    assert body["finalists"][0]["p_adjusted"] <= 0.05 < body["finalists"][1]["p_adjusted"]


def test_equal_texts_are_embedded_once(done: Done) -> None:
    """All five arms cut the corpus alike: the first one embeds it, the others know every text."""
    texts = [item["texts"] for item in done.found.body["arms"]]
    assert 1 == sum(item["embedded"] > 0 for item in texts)
    assert 4 * done.found.body["texts"]["embedded"] == done.found.body["texts"]["reused"]


def test_narrowing_never_asks_a_question_of_the_holdout(done: Done) -> None:
    """What was dropped has answered the questions for narrowing, and none of the others; finalists both."""
    narrowing, holdout = (set(done.found.body["questions"][part]) for part in ("narrowing", "holdout"))
    with support.connector(done.url)() as conn:
        for item in done.found.body["arms"]:
            asked = [evaluations.case_ids(conn, run_id) for run_id in item["runs"]]
            assert [narrowing] if item["dropped_in_rung"] else [narrowing, holdout] == asked
    assert not narrowing & holdout


def test_a_sweep_is_recorded_with_its_verdict(done: Done) -> None:
    """The newest record about the winner is this sweep, whole."""
    with support.connector(done.url)() as conn:
        found = records.latest(conn, "sweep", records.About(config_hash=done.found.body["winner"]))
    assert found is not None
    assert ("pass", done.found.record) == (found.verdict, found)
    assert {**found.body, "tables_dropped": []} == done.found.body


def test_the_same_sweep_again_does_nothing_twice(done: Done, ground: Ground) -> None:
    """The same answer from the same runs: no lock, no embedding, no answer is made again; its list in any order."""
    before = support.rows(done.url, "SELECT count(*), max(run_id) FROM evaluations")
    seen: list[str] = []
    again = run(done.url, order(ground, ONE_BETTER[::-1]), progress=lambda stage, *_: seen.append(stage))
    unordered = {"sweep_sha256": None}  # the file is another one
    assert {**done.found.body, **unordered} == {**again.body, **unordered}
    assert before == support.rows(done.url, "SELECT count(*), max(run_id) FROM evaluations")
    assert "embed" not in seen


def test_a_part_is_never_taken_for_the_whole(done: Done, ground: Ground) -> None:
    """A lock that was only swept has no evaluation to compare, report or judge; a whole run does not match a part."""
    better, first = done.found.body["winner"], arm(done.found, "the base as it is")
    with support.connector(done.url)() as conn:
        with pytest.raises(NotKnownError, match="has no finished evaluation"):
            evaluations.find(conn, better)
        both = [evaluations.find(conn, run_id) for run_id in first["runs"]]
        which = locks.find(conn, first["config_hash"])
    sizes = [len(done.found.body["questions"][part]) for part in ("narrowing", "holdout")]
    assert [f"questions [{size} of {ground.count}]" for size in sizes] == [item.question_set for item in both]
    whole = support.run_evaluate(done.url, which, ground.questions).run
    with support.connector(done.url)() as conn:
        assert whole == evaluations.find(conn, which.config_hash)
        for a, b in ((whole, both[0]), (both[0], both[1])):
            with pytest.raises(StateError, match="their differences would mean nothing"):
                compare.run(conn, a, b, seed=7)
        assert evaluations.matching_pair(conn, both[0], evaluations.find(conn, first["runs"][1])) is None
    assert {"subset"} == both[0].settings.keys() - whole.settings.keys()


def test_equal_configurations_have_no_winner(new_database: Callable[..., str], ground: Ground) -> None:
    """Four that differ in how a tiny index is built: every difference is 0, and no winner is the answer."""
    found = run(new_database(), order(ground, EQUALS))
    assert (Verdict.INCONCLUSIVE, None) == (found.verdict, found.body["winner"])
    assert {0.0} == {score["difference"] for rung in found.body["rungs"] for score in rung["scores"]}
    kept = [score["config_hash"] for score in found.body["rungs"][0]["scores"] if score["kept"]]
    assert sorted(item["config_hash"] for item in found.body["arms"] if not item["baseline"])[:2] == kept


class Stop(Exception):  # noqa: N818  # no error of the program: a stand-in for the process's end
    """Raised where a process would have been killed."""


def stopping(after: int) -> Progress:
    """Progress that ends the process with its so manieth word."""
    left = [after]

    def step(stage: str, done: int, total: int | None) -> None:
        del stage, done, total
        left[0] -= 1
        if left[0] < 0:
            raise Stop

    return step


def test_interrupted_anywhere_it_continues_to_the_same_result(
    new_database: Callable[..., str], ground: Ground, done: Done
) -> None:
    """Stopped five times on its way, in ingests and in the middle of runs; the rest continues, nothing is lost."""
    url = new_database()
    for after in (2, 4, 30, 60, 90):
        with pytest.raises(Stop):
            run(url, order(ground), progress=stopping(after))
    assert bare(done.found) == bare(run(url, order(ground)))
    unfinished = support.rows(url, "SELECT count(*) FROM evaluations WHERE finished_at IS NULL")
    assert [(0,)] == unfinished


def test_the_active_lock_is_the_baseline_and_its_table_is_left_alone(
    new_database: Callable[..., str], ground: Ground
) -> None:
    """No base in the file: its own configuration is changed; an equal one is the baseline, not a candidate."""
    url = new_database()
    which: Lock = support.make_lock(url, BASE, name="production")
    support.run_ingest(url, which, ground.corpus)
    with support.connector(url)() as conn:
        lock.activate(conn, which, now=support.NOW, reason="")
    before = support.digest_of(url, which)
    found = run(url, order(ground, [*ONE_BETTER, {CONTEXT: 1}], base=None), drop_losers=True)
    assert (4, which.config_hash) == (found.body["tried"], found.body["baseline"])
    assert arm(found, f"{CONTEXT}=8")["config_hash"] == found.body["winner"]
    assert before == support.digest_of(url, which)
    named = run(url, order(ground, base=None, baseline="production"))
    assert found.body["winner"] == named.body["winner"]


def test_losers_tables_are_dropped_where_that_is_asked(new_database: Callable[..., str], ground: Ground) -> None:
    """Those that the sweep made, not one that was there before it; the sweep can be run again all the same."""
    url = new_database()
    mine = support.make_lock(url, support.parts(**{**BASE, "index": {"hnsw_m": 8}}), name="mine")
    support.run_ingest(url, mine, ground.corpus)
    found = run(url, order(ground), drop_losers=True)
    losers = {item["config_hash"] for item in found.body["arms"] if item["dropped_in_rung"] is not None}
    assert 2 == len(losers)
    assert losers - {mine.config_hash} == set(found.body["tables_dropped"])
    ingested = {row[0] for row in support.rows(url, "SELECT config_hash FROM ingests")}
    assert {item["config_hash"] for item in found.body["arms"]} - set(found.body["tables_dropped"]) == ingested
    assert all(item["table_bytes"] > 0 for item in found.body["arms"])
    again = run(url, order(ground))
    assert [found.body["winner"], 0] == [again.body["winner"], len(again.body["tables_dropped"])]


REFUSED: list[tuple[dict[str, Any], type[BakeoffError], str, list[str]]] = [
    ({"configurations": [{"chunking.sise": 5}]}, ConfigError, "1 problem in the configurations of s.yaml", ["sise"]),
    (
        {"configurations": [{"chunking.size": 300}, {"chunking.size": 400}, {"seed": 9}, {"index.language": "welsh"}]},
        ConfigError,
        "3 problems in the configurations of s.yaml",
        ["[chunking.size=300]: a window of 300 tokens", "[chunking.size=400]: a window of 400", "language 'welsh'"],
    ),
    (
        {"configurations": [{"seed": 9}], "base": {"embedder": {"backend": "static", "model": "none-such"}}},
        ConfigError,
        "2 problems in the configurations of s.yaml",
        ["[seed=9]: the static backend has no model none-such", "[the base as it is]: the static backend has no model"],
    ),
    ({"configurations": [{CONTEXT: 1}]}, ConfigError, "s.yaml: every configuration is the baseline's", []),
    ({"base": None}, ConfigError, "s.yaml names no base, and no lock is active", []),
    ({"corpus": None}, UsageError, "s.yaml names no corpus", []),
    ({"baseline": "nobody"}, NotFoundError, "no lock 'nobody'", []),
    ({"first_rung": 60}, InputError, " questions for narrowing, fewer than the 60 of the first rung", []),
    ({"holdout": 0.05}, InputError, " questions are the holdout: no result of fewer than 6 could show", []),
    (
        {"metric": "ndcg_at_10"},
        InputError,
        "0 of 35 questions of the holdout have the gold that ndcg_at_10 needs: no result of fewer than 6 could show",
        [],
    ),
    ({"corpus": "nowhere"}, InputError, "no such corpus: nowhere", []),
    ({"questions": "none.jsonl"}, InputError, "no such file: none.jsonl", []),
]


@pytest.mark.parametrize(("keys", "error", "message", "problems"), REFUSED)
def test_bad_input_is_refused_before_anything_is_stored(
    database_url: str,
    ground: Ground,
    keys: dict[str, Any],
    error: type[BakeoffError],
    message: str,
    problems: list[str],
) -> None:
    """One line each, all broken configurations at once; no lock, no ingest, no run."""
    tight = support.parts(embedder={**support.STATIC, "max_tokens": 256}, retrieval={"filter": {"context": 1}})
    with pytest.raises(error) as caught:
        run(database_url, order(ground, **{"base": tight, **keys}))
    assert message in str(caught.value)
    assert 2 == caught.value.exit_code
    said = getattr(caught.value, "problems", ())
    assert len(problems) == len(said), said
    assert all(any(part in line for line in said) for part in problems), said
    assert [] == support.rows(database_url, "SELECT config_hash FROM locks UNION ALL SELECT run_id FROM evaluations")


def test_questions_of_another_corpus_are_refused(database_url: str, ground: Ground, tmp_path: Path) -> None:
    """None of them can be resolved."""
    other = support.write_jsonl(tmp_path / "other.jsonl", support.topics(20, 3000)[16:])
    only = support.quotes_of(support.topics(14, 3000), each=1)
    asked = support.write_questions(tmp_path / "asked.jsonl", only)
    with pytest.raises(InputError, match=r"^asked has no question that other could answer \(14 left out\)$"):
        run(database_url, order(ground, corpus=str(other), questions=str(asked)))


def test_an_archived_lock_is_a_problem_of_its_configuration(database_url: str, ground: Ground) -> None:
    """It could not be ingested; said with the others, before anything is stored."""
    which = support.make_lock(database_url, {**BASE, "index": {"hnsw_m": 8}}, name="old")
    with support.connector(database_url)() as conn:
        lock.archive(conn, which, now=support.NOW, reason="")
    with pytest.raises(ConfigError) as caught:
        run(database_url, order(ground))
    assert (f"s.yaml [index.hnsw_m=8]: its lock {which.config_hash} is archived",) == caught.value.problems


def test_a_corpus_that_changes_meanwhile_stops_the_sweep(database_url: str, ground: Ground, tmp_path: Path) -> None:
    """The second arm would read other documents than the baseline: scores would not be of the same ground."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_bytes(ground.corpus.read_bytes())

    def change(stage: str, done: int, total: int | None) -> None:
        del total
        if (stage, done) == ("tables", 1):
            more = {"id": "new", "title": "", "text": "Nobody has asked about this yet."}
            corpus.write_bytes(ground.corpus.read_bytes() + json.dumps(more).encode() + b"\n")

    with pytest.raises(StateError, match="has read other documents than the baseline"):
        run(database_url, order(ground, corpus=str(corpus)), progress=change)


def test_a_rung_continues_where_the_one_before_it_stopped(new_database: Callable[..., str], ground: Ground) -> None:
    """Two rungs: nobody answers a question twice, and the progress ends at exactly what was planned."""
    seen: list[tuple[int, int | None]] = []

    def note(stage: str, done: int, total: int | None) -> None:
        if stage == "answers":
            seen.append((done, total))

    wanted = order(ground, [{"seed": n} for n in range(11, 15)], finalists=1, holdout=0.3, first_rung=12)
    url = new_database()
    found = run(url, wanted, progress=note)
    assert [(12, 4, 2), (24, 2, 1)] == [(rung["questions"], rung["arms"], rung["keep"]) for rung in found.body["rungs"]]
    answers = support.rows(url, "SELECT count(*) FROM evaluation_cases JOIN evaluations USING (run_id)")[0][0]
    twice = "SELECT config_hash FROM evaluation_cases JOIN evaluations USING (run_id) GROUP BY config_hash, question_id"
    assert answers == len(support.rows(url, twice))
    assert (answers, answers) == seen[-1]
    assert seen == sorted(seen)


def test_questions_that_are_not_there_are_not_asked(done: Done, ground: Ground) -> None:
    """A part names questions of the set that the corpus can be asked, and at least one; nothing is begun else."""
    with support.connector(done.url)() as conn:
        which = locks.find(conn, done.found.body["baseline"])
    before = support.rows(done.url, "SELECT count(*) FROM evaluations")
    with pytest.raises(InputError, match=r"^questions has no usable question q999$"):
        support.run_evaluate(done.url, which, ground.questions, only=frozenset({"q000", "q999"}))
    with pytest.raises(InputError, match=r"^no question of questions is wanted$"):
        support.run_evaluate(done.url, which, ground.questions, only=frozenset())
    assert before == support.rows(done.url, "SELECT count(*) FROM evaluations")


def test_a_part_counts_its_own_questions_only(done: Done, ground: Ground) -> None:
    """Two questions, one without an answer in the corpus: the report is of these two, in the order of the file."""
    with support.connector(done.url)() as conn:
        which = locks.find(conn, done.found.body["baseline"])
    found = support.run_evaluate(done.url, which, ground.questions, only=frozenset({"none0", "q003"})).artifact
    assert (2, 1, 0) == tuple(found["questions"][key] for key in ("used", "with_gold", "not_in_corpus"))
    assert ["q003", "none0"] == [case["question_id"] for case in found["case_results"]]
    assert found["settings"]["subset"].keys() == {"of", "questions", "ids_sha256"}
