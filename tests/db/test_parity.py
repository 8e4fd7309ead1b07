"""Parity: a healthy system passes, and every fault of a run or a table is caught and named by its check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, LiteralString

import pytest

from bakeoff.adapters import ingests, records
from bakeoff.chunking import Document
from bakeoff.errors import NotFoundError, StateError
from bakeoff.stages import answer, parity_checks, read
from bakeoff.verdicts import Severity, Verdict
from tests import parity_site, support
from tests.parity_site import DEDUP, DOCUMENTS, EVERY, WORDS, Site, build, check, examples, failed, tamper
from tests.support import make_lock, parts, run_evaluate, run_ingest


def test_a_healthy_system_passes_every_check(site: Site) -> None:
    """Nothing is wrong, each check says what it looked at, and near-duplicates did go on the way."""
    done = check(site)
    assert {} == failed(done)
    assert Verdict.PASS is done.verdict
    assert EVERY == [item.check.value for item in done.findings]
    assert {Severity.BLOCK} == {item.severity for item in done.findings}
    assert 23 == done.body["sample"]["documents"]
    assert 8 == done.body["sample"]["embedded"]
    gone = support.rows(site.url, "SELECT count(*) FROM {aliases}", aliases=f"{site.lock.table_name}_aliases")
    assert 2 <= gone[0][0]
    assert done.body["sample"]["chunks"] == done.body["sample"]["table_chunks"] + gone[0][0]


def test_the_result_is_recorded_with_the_digests_of_what_was_looked_at(site: Site) -> None:
    """The newest record is this result: plain JSON, about this lock and run, with table and case digests."""
    done = check(site)
    with support.connector(site.url)() as conn:
        about = records.About(config_hash=site.lock.config_hash, run_id=done.run_id)
        stored = records.latest(conn, "parity", about)
        ingest = ingests.finished(conn, site.lock)
    assert stored is not None
    assert done.body == stored.body == json.loads(json.dumps(done.body))
    assert ("pass", support.NOW) == (stored.verdict, stored.at)
    assert ingest.table_sha256 == done.body["table_sha256"]
    recorded = support.rows(site.url, "SELECT report ->> 'cases_sha256' FROM evaluations")
    assert [(done.body["cases_sha256"],)] == recorded


@pytest.mark.parametrize(
    "given",
    [
        {"index": {"storage": "halfvec"}},
        {"chunking": {"size": 40, "overlap_ratio": 0.25, "strategy": "structure", "jaccard_threshold": 0.5}},
        {"chunking": {"size": 30}, "prefix": {"policy": "A", "template": "{title} ({doc_id}): "}},
    ],
    ids=["halfvec", "structure", "prefix"],
)
def test_other_locks_pass_too(database_url: str, tmp_path: Path, given: dict[str, Any]) -> None:
    """Half-precision vectors, structure-aware windows with dedup, another prefix."""
    assert {} == failed(check(build(database_url, tmp_path, given)))


def test_a_second_whole_ingest_elsewhere_is_identical(site: Site, new_database: Callable[..., str]) -> None:
    """Another database, the same lock, the same corpus in another order: the same ids, texts, order and vectors."""
    url = new_database()
    which = make_lock(url, parts(**DEDUP), name="test")
    assert site.lock == which
    backwards = support.write_jsonl(site.folder / "backwards.jsonl", DOCUMENTS[::-1])
    run_ingest(url, which, backwards)
    assert support.digest_of(site.url, site.lock) == support.digest_of(url, which)
    held: LiteralString = "SELECT chunk_id, ordinal, span_start, text, prefix FROM {table} ORDER BY ordinal"
    assert support.rows(site.url, held, table=site.lock.table_name) == support.rows(url, held, table=which.table_name)


def test_the_sample_is_the_same_every_time(site: Site) -> None:
    """A part of the documents, chosen by the lock's seed, wherever it is asked."""
    chosen: list[list[str]] = []
    original = read.cutter

    def spy(work: read.Work) -> Callable[[Document], Any]:
        cut = original(work)
        asked: list[str] = []
        chosen.append(asked)

        def one(document: Document) -> Any:
            asked.append(document.doc_id)
            return cut(document)

        return one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "cutter", spy)
        for _ in range(2):
            assert {} == failed(check(site, sample=7))
    assert chosen[0] == chosen[1]
    assert 7 == len(set(chosen[0])) == len(chosen[0])


# --- Faults of the run ----------------------------------------------------------------------------------------------


def test_without_a_run_its_checks_have_no_data(database_url: str, tmp_path: Path) -> None:
    """Nothing unmeasured passes: the checks that need a run say so, with the command; the others are made."""
    corpus = support.write_jsonl(tmp_path / "corpus.jsonl", DOCUMENTS)
    which = make_lock(database_url, parts(**DEDUP))
    run_ingest(database_url, which, corpus)
    done = check(Site(database_url, which, tmp_path, corpus, corpus))
    assert Verdict.NO_DATA is done.verdict
    assert EVERY[:4] == list(failed(done))
    assert {Verdict.NO_DATA, Verdict.PASS} == {item.verdict for item in done.findings}
    assert f"bakeoff evaluate --lock {which.config_hash} --questions FILE" == done.findings[0].next
    assert done.run_id is None
    assert done.body["cases_sha256"] is None


def test_another_eval_path_is_found(broken: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that did not go through the pipeline itself: named, with the path that its cases say."""
    monkeypatch.setattr(answer, "EVAL_PATH", "notebook")
    done = run_evaluate(broken.url, broken.lock, broken.questions, fresh=True)
    monkeypatch.undo()
    found = check(broken, run=done.run.run_id)
    assert {"eval-path": "6 of 6 cases did not go through bakeoff"} == failed(found)
    assert "q0: notebook" in examples(found, "eval-path")
    assert Verdict.FAIL is found.verdict


def test_small_snapshots_are_found(database_url: str, tmp_path: Path) -> None:
    """A lock that keeps twelve of its chunks: below twenty, with the number and the setting."""
    site = build(database_url, tmp_path, {**DEDUP, "retrieval": {"snapshot": 12}})
    done = check(site)
    assert ["snapshot-size"] == list(failed(done))
    assert "6 of 6 snapshots are too small, the smallest holds 12 chunks; expected at least 20" in failed(done).values()
    assert "the lock keeps 12 (retrieval.snapshot)" in done.findings[1].next


def test_a_small_table_is_its_own_limit(database_url: str, tmp_path: Path) -> None:
    """A table of eight chunks can't give twenty: all of them are enough, and that is said."""
    documents = [support.document(f"d{n}", " ".join(WORDS[n * 10 :][:20]), f"T{n}") for n in range(8)]
    corpus = support.write_jsonl(tmp_path / "corpus.jsonl", documents)
    gold = [{"doc": "d1", "quote": " ".join(WORDS[12:18])}]
    asked = [{"id": f"q{n}", "question": "word12 word13 word14", "gold": gold} for n in range(2)]
    questions = support.write_questions(tmp_path / "questions.jsonl", asked)
    which = make_lock(database_url, parts())
    run_ingest(database_url, which, corpus)
    run_evaluate(database_url, which, questions)
    done = check(Site(database_url, which, tmp_path, corpus, questions))
    assert {} == failed(done)
    assert (
        "the smallest snapshot holds 8 chunks (at least 8, all that the table holds, not 20)" == done.findings[1].said
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            "UPDATE evaluation_cases SET result = result - 'oracle_retrieval_hit_prefilter' WHERE question_id = 'q2'",
            "q2: there is no oracle_retrieval_hit_prefilter",
        ),
        (
            """UPDATE evaluation_cases SET result = jsonb_set(result, '{{oracle_retrieval_hit_prefilter}}', 'null')
               WHERE question_id = 'q2'""",
            "q2: null, though it has gold",
        ),
    ],
    ids=["absent", "null"],
)
def test_a_missing_oracle_figure_is_found(broken: Site, change: LiteralString, named: str) -> None:
    """One case without the key, or with null though its question has gold; the digest of the cases shows it too."""
    tamper(broken, change)
    done = check(broken)
    assert ["oracle-metrics", "run-unchanged"] == list(failed(done))
    assert [named] == examples(done, "oracle-metrics")


def test_oracle_figures_that_are_all_null_are_found(broken: Site) -> None:
    """No question has gold, so that there is no figure at all: missing, not fine."""
    nothing: LiteralString = """UPDATE evaluation_cases SET result = jsonb_set(jsonb_set(result,
        '{{oracle_retrieval_hit_prefilter}}', 'null'), '{{gold,level}}', '"none"')"""
    tamper(broken, nothing)
    done = check(broken)
    assert ["oracle-metrics", "run-unchanged"] == list(failed(done))
    assert ["q0: null; no question has gold"] == examples(done, "oracle-metrics")


def test_changed_cases_are_found(broken: Site) -> None:
    """One answer was turned into a right one."""
    tamper(broken, "UPDATE evaluation_cases SET result = jsonb_set(result, '{{f1}}', '0.125') WHERE ordinal = 0")
    assert ["run-unchanged"] == list(failed(check(broken)))


def test_a_run_on_another_table_is_found(broken: Site) -> None:
    """The lock was ingested anew from other documents since the run."""
    fewer = support.write_jsonl(broken.folder / "fewer.jsonl", DOCUMENTS[:-1])
    run_ingest(broken.url, broken.lock, fewer, restart=True)
    done = check(broken)
    assert ["run-unchanged"] == list(failed(done))
    assert examples(done, "run-unchanged")[0].startswith("answered from a table with digest ")


def test_a_run_of_another_lock_is_refused(broken: Site) -> None:
    """The question makes no sense: refused with both locks named, and an unknown run is not found."""
    other = make_lock(broken.url, parts(seed=99), name="other")
    run_ingest(broken.url, other, broken.corpus)
    run_id = run_evaluate(broken.url, other, broken.questions).run.run_id
    before = support.rows(broken.url, "SELECT count(*) FROM records")
    with pytest.raises(StateError, match=r"is of other \(\w{16}\), not of test"):
        check(broken, run=run_id)
    with pytest.raises(NotFoundError):
        check(broken, run="20200101T000000-ffffff")
    assert before == support.rows(broken.url, "SELECT count(*) FROM records")


def test_an_interrupted_run_is_no_data(broken: Site) -> None:
    """Half a run says nothing."""

    class Stop(Exception):  # noqa: N818  # it stands for a kill
        """Ends the evaluation."""

    def stop(stage: str, done: int, total: int | None) -> None:
        del total
        if stage == "evaluate" and done == 2:
            raise Stop

    with pytest.raises(Stop):
        run_evaluate(broken.url, broken.lock, broken.questions, progress=stop, fresh=True)
    ((run_id,),) = support.rows(broken.url, "SELECT run_id FROM evaluations WHERE finished_at IS NULL")
    done = check(broken, run=run_id)
    assert EVERY[:4] == list(failed(done))
    assert {f"run {run_id} was interrupted"} == set(failed(done).values())
    assert Verdict.NO_DATA is done.verdict


# --- Faults of the table --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE {table} SET embedding_token_count = 5000 WHERE {one}", ["token-limit", "second-ingest"]),
        ("UPDATE {table} SET lexical_text = prefix || text WHERE {one}", ["lexical-prefix", "second-ingest"]),
        ("UPDATE {table} SET lexical_text = 'Other.' WHERE {one}", ["lexical-prefix", "second-ingest"]),
        ("UPDATE {table} SET chunk_id = repeat('a', 40) WHERE {one}", ["chunk-ids", "second-ingest"]),
        ("UPDATE {table} SET fp = repeat('a', 16) WHERE {one}", ["chunk-ids", "second-ingest"]),
        ("UPDATE {table} SET text = text || '.' WHERE {one}", ["chunk-ids", "second-ingest"]),
        ("UPDATE {table} SET prefix = 'Document: ' WHERE {one}", ["second-ingest"]),
        ("UPDATE {table} SET token_count = token_count - 1 WHERE {one}", ["second-ingest"]),
        ("UPDATE {table} SET embedding_token_count = embedding_token_count - 1 WHERE {one}", ["second-ingest"]),
        ("UPDATE {table} SET ordinal = 1000 WHERE {one}", ["second-ingest"]),
        ("UPDATE {table} SET ordinal = ordinal + 5000 WHERE doc_id = 'text/03'", ["second-ingest"]),
        ("DELETE FROM {table} WHERE {one}", ["second-ingest"]),
        ("DELETE FROM {aliases} WHERE doc_id = 'twin/c'", ["second-ingest"]),
        ("UPDATE {aliases} SET span_end = span_end - 1 WHERE doc_id = 'twin/c'", ["second-ingest"]),
        ("UPDATE {aliases} SET chunk_id = (SELECT min(chunk_id) FROM {table})", ["second-ingest"]),
        ("INSERT INTO {aliases} SELECT min(chunk_id), 'text/03', 1, 2 FROM {table}", ["second-ingest"]),
        (
            """INSERT INTO {aliases} SELECT min(chunk_id), 'text/03', min(span_start), min(span_end) FROM {table}
               WHERE doc_id = 'text/03' AND {one}""",
            ["second-ingest"],
        ),
        (
            """UPDATE {table} SET ordinal = ordinal + 5000
               WHERE ordinal >= (SELECT max(ordinal) FROM {table} WHERE doc_id = 'text/03')""",
            ["second-ingest"],
        ),
    ],
    ids=[
        *(
            "long",
            "leak",
            "lexical",
            "id",
            "fingerprint",
            "text",
            "prefix",
            "tokens",
            "embedding-tokens",
            "order",
            "documents",
        ),
        *("lost", "alias-lost", "alias-moved", "alias-of-another", "alias-of-nothing", "alias-of-a-kept-one", "gap"),
    ],
)
def test_a_changed_row_is_found(broken: Site, change: LiteralString, named: list[str]) -> None:
    """One row that is not as the lock makes it fails the checks that stand for it, beside the digest of the table."""
    tamper(broken, change)
    done = check(broken)
    assert sorted([*named, "table-unchanged"]) == sorted(failed(done))
    assert Verdict.FAIL is done.verdict


def test_a_leak_is_told_from_another_text(broken: Site) -> None:
    """Two changed lexical texts, one of which begins with the prefix: both are counted, the leak is named as one."""
    tamper(broken, "UPDATE {table} SET lexical_text = prefix || text WHERE ordinal = 0")
    tamper(broken, "UPDATE {table} SET lexical_text = 'Other.' WHERE ordinal = 1")
    done = check(broken)
    assert failed(done)["lexical-prefix"].startswith("2 of ")
    assert failed(done)["lexical-prefix"].endswith(", 1 of them carries the prefix")
    assert ["begins with the prefix", "other text"] == [
        line.partition(": ")[2] for line in examples(done, "lexical-prefix")
    ]


def test_a_lost_prefix_column_does_not_hide_a_leak(broken: Site) -> None:
    """The prefix was cleared in its own column: the lock's template still tells the leak."""
    tamper(broken, "UPDATE {table} SET lexical_text = prefix || text, prefix = ''")
    assert ", 0 of them" not in failed(check(broken))["lexical-prefix"]


def test_a_text_may_begin_like_the_prefix(database_url: str, tmp_path: Path) -> None:
    """A document whose own words are `Document: …` leaks nothing."""
    text = "Document: " + " ".join(WORDS[200:240])
    documents = [*DOCUMENTS, support.document("own", text, "Own")]
    site = build(database_url, tmp_path)
    corpus = support.write_jsonl(tmp_path / "own.jsonl", documents)
    run_ingest(database_url, site.lock, corpus, restart=True)
    run_evaluate(database_url, site.lock, site.questions)
    assert {} == failed(check(site))


def test_policy_b_asks_for_the_prefix(database_url: str, tmp_path: Path) -> None:
    """A lock that puts the prefix into both texts gets what it asks for; a lexical text without it is found."""
    site = build(database_url, tmp_path, {**DEDUP, "prefix": {"policy": "B"}})
    assert {} == failed(check(site))
    tamper(site, "UPDATE {table} SET lexical_text = text WHERE ordinal = 0")
    found = failed(check(site))["lexical-prefix"]
    assert "lexical texts is not their chunk's own span behind the prefix (prefix policy B), 0 of them carry" in found


def test_an_empty_table_is_no_pass(broken: Site) -> None:
    """Every row is gone: what can't be measured has no data, what can be is wrong."""
    tamper(broken, "DELETE FROM {aliases}")
    tamper(broken, "DELETE FROM {table}")
    done = check(broken)
    verdicts = {item.check.value: item.verdict for item in done.findings}
    assert Verdict.NO_DATA is verdicts["token-limit"]
    assert (Verdict.FAIL, Verdict.FAIL) == (verdicts["table-unchanged"], verdicts["second-ingest"])
    assert Verdict.NO_DATA is verdicts["second-embedding"]
    assert Verdict.FAIL is done.verdict


def test_a_run_without_cases_is_no_data(broken: Site) -> None:
    """All cases are gone from a finished run."""
    tamper(broken, "DELETE FROM evaluation_cases")
    done = check(broken)
    assert EVERY[:4] == list(failed(done))
    assert Verdict.NO_DATA is done.verdict


def test_texts_above_what_is_allowed_are_found(database_url: str, tmp_path: Path) -> None:
    """The embedder reads any length, yet 1024 tokens are the most: a lock of longer windows fails, with the figure."""
    long = support.document("long", " ".join(WORDS * 2), "Long")
    corpus = support.write_jsonl(tmp_path / "corpus.jsonl", [*DOCUMENTS, long])
    which = make_lock(database_url, parts(chunking={"size": 1500}))
    run_ingest(database_url, which, corpus)
    run_evaluate(database_url, which, support.write_questions(tmp_path / "questions.jsonl", parity_site.asked()))
    done = check(Site(database_url, which, tmp_path, corpus, corpus))
    assert ["token-limit"] == list(failed(done))
    assert "have more than 1024 tokens (the most that is allowed), the longest 1500" in failed(done)["token-limit"]
    assert ["long"] == sorted({line.partition(" of ")[2].partition(":")[0] for line in examples(done, "token-limit")})


def test_an_embedder_that_reads_less_sets_the_limit(database_url: str, tmp_path: Path) -> None:
    """A lock of an embedder that reads 70 tokens: its own limit counts, not 1024."""
    site = build(database_url, tmp_path, {"embedder": {**support.STATIC, "max_tokens": 70}})
    done = check(site, model=support.embedder(max_tokens=70))
    assert {} == failed(done)
    (said,) = [item.said for item in done.findings if item.check is parity_checks.Check.TOKEN_LIMIT]
    assert "at most 70 (what " in said
    tamper(site, "UPDATE {table} SET embedding_token_count = 71 WHERE ordinal = 0")
    assert "1 embedded text has more than 70 tokens" in failed(check(site))["token-limit"]
