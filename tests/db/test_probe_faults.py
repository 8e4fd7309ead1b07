"""One seeded fault for each standard probe: the probe that is meant for it fails and names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, LiteralString

import pytest
from psycopg import sql

from bakeoff.adapters import chunks
from bakeoff.verdicts import Verdict
from tests import probed, support
from tests.probed import World

Fault = Callable[[World, str], None]


@pytest.fixture(scope="module")
def world(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A healthy system; each fault gets a copy of its database."""
    with probed.world(server_url, template, tmp_path_factory.mktemp("faults")) as found:
        yield found


def _sql(*statements: LiteralString) -> Fault:
    """A fault made of statements on the candidate's tables."""

    def seed(world: World, url: str) -> None:
        name = chunks.names(world.candidate)
        names = {"t": name.table, "a": name.aliases, "l": name.lexemes, "dense": name.dense_index}
        names |= {"pkey": f"{name.table}_pkey", "fk": f"{name.aliases}_chunk_id_fkey"}
        filled = {key: sql.Identifier(value) for key, value in names.items()}
        with support.connector(url)() as conn:
            for statement in statements:
                conn.execute(sql.SQL(statement).format(**filled))

    return seed


def _row(statement: LiteralString) -> Fault:
    """A fault in one row of the chunk table."""
    return _sql(statement + ALONE)


def _case(change: Callable[[dict[str, Any]], None], *, every: bool = False) -> Fault:
    """A fault in the first case of the candidate's run, or in every case; its digests are made to fit."""
    return lambda world, url: probed.change_cases(url, world.run_id, change, every=every)


def _set(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda case: case.update(values)


def _snapshot(change: Callable[[list[Any]], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda case: case.update(retrieval_snapshot=change(case["retrieval_snapshot"]))


def _context(change: Callable[[list[Any]], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda case: case.update(retrieved_context=change(case["retrieved_context"]))


ALONE: LiteralString = (
    " WHERE chunk_id = (SELECT min(chunk_id) FROM {t} WHERE chunk_id NOT IN (SELECT chunk_id FROM {a}))"
)
"""One chunk without near-duplicates."""
TWIN: LiteralString = "CREATE TABLE twin AS SELECT * FROM {t} ORDER BY chunk_id LIMIT 1"
OF_RUN: LiteralString = "ALTER TABLE evaluations DISABLE TRIGGER USER; UPDATE evaluations SET "
BUILT_ON_NOTHING = _sql(
    "CREATE TABLE kept AS TABLE {t}",
    "CREATE TABLE kept_aliases AS TABLE {a}",
    "TRUNCATE {t}, {a}",
    "DROP INDEX {dense}",
    "SET client_min_messages = error",
    "CREATE INDEX {dense} ON {t} USING ivfflat (embedding vector_cosine_ops) WITH (lists = 300)",
    "INSERT INTO {t} SELECT * FROM kept ORDER BY ordinal",
    "INSERT INTO {a} SELECT * FROM kept_aliases",
)
HALF_OF_THE_LISTS = _sql(
    "UPDATE {l} SET ordinals = ARRAY(SELECT o FROM unnest(ordinals, weights) WITH ORDINALITY AS x (o, w, n)"
    " WHERE o % 2 = 0 ORDER BY n), weights = ARRAY(SELECT w FROM unnest(ordinals, weights) WITH ORDINALITY"
    " AS x (o, w, n) WHERE o % 2 = 0 ORDER BY n)",
)
SHORTER = _sql(
    "DROP INDEX {dense}",
    "ALTER TABLE {t} ALTER COLUMN embedding TYPE vector(8) USING subvector(embedding, 1, 8)::vector(8)",
)
LEAKED = _sql(
    "UPDATE document_texts SET body = body || ' ' || (SELECT result ->> 'question' FROM evaluation_cases LIMIT 1)"
    " WHERE text_sha256 = (SELECT min(text_sha256) FROM ingest_documents)"
)

FAULTS: list[tuple[str, str, Fault]] = [
    ("row-counts", "a lost chunk", _row("DELETE FROM {t}")),
    ("row-counts", "a lost document", _sql("DELETE FROM ingest_documents WHERE doc_id LIKE '%-copy'")),
    ("table-unchanged", "a changed count", _row("UPDATE {t} SET token_count = token_count + 1")),
    ("one-ingest", "a row from elsewhere", _row("UPDATE {t} SET ingest_run_id = 'other'")),
    (
        "documents-indexed",
        "a document without chunks",
        _sql(
            "CREATE TABLE gone AS SELECT max(doc_id) AS doc_id FROM {t}",
            "DELETE FROM {a} WHERE chunk_id IN (SELECT chunk_id FROM {t} JOIN gone USING (doc_id))",
            "DELETE FROM {t} WHERE doc_id IN (SELECT doc_id FROM gone)",
        ),
    ),
    ("chunk-ids", "another id", _row("UPDATE {t} SET chunk_id = repeat('0', 40)")),
    (
        "chunk-ids-once",
        "a row twice",
        _sql(
            "ALTER TABLE {t} DROP CONSTRAINT {pkey} CASCADE",
            TWIN,
            "UPDATE twin SET ordinal = 1000000",
            "INSERT INTO {t} SELECT * FROM twin",
        ),
    ),
    ("chunk-orphans", "an unknown document", _row("UPDATE {t} SET doc_id = 'nowhere'")),
    (
        "alias-orphans",
        "a lost survivor",
        _sql(
            "ALTER TABLE {a} DROP CONSTRAINT {fk}", "DELETE FROM {t} WHERE chunk_id = (SELECT min(chunk_id) FROM {a})"
        ),
    ),
    ("spans-cut-documents", "a moved span", _row("UPDATE {t} SET span_end = span_end - 1")),
    ("spans-cut-documents", "a changed text", _row("UPDATE {t} SET text = upper(text)")),
    ("fingerprints", "another fingerprint", _row("UPDATE {t} SET fp = repeat('0', 16)")),
    ("over-long-chunks", "1,025 tokens", _row("UPDATE {t} SET embedding_token_count = 1025")),
    ("prefix-leakage", "the prefix", _row("UPDATE {t} SET lexical_text = prefix || text")),
    ("prefix-leakage", "a word more", _row("UPDATE {t} SET lexical_text = text || ' more'")),
    ("prefix-pattern", "the prefix", _row("UPDATE {t} SET lexical_text = prefix || text")),
    ("dedup-rate", "no aliases", _sql("DELETE FROM {a}")),
    ("vector-dimension", "eight dimensions", SHORTER),
    (
        "vectors-not-zero",
        "zeros",
        _row("UPDATE {t} SET embedding = (embedding - embedding)"),
    ),
    ("vector-norms", "twice as long", _row("UPDATE {t} SET embedding = embedding + embedding")),
    (
        "vectors-of-the-embedder",
        "another text's vector",
        _row("UPDATE {t} SET embedding = (SELECT embedding FROM {t} ORDER BY ordinal DESC LIMIT 1)"),
    ),
    (
        "indexes-complete",
        "half-built",
        _sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{dense}'::regclass"),
    ),
    ("indexes-complete", "no lexical index", lambda world, url: support.lose_lexical(url, world.candidate)),
    (
        "index-use",
        "other operators",
        _sql("DROP INDEX {dense}", "CREATE INDEX {dense} ON {t} USING hnsw (embedding vector_l2_ops)"),
    ),
    ("ann-recall", "built on an empty table", BUILT_ON_NOTHING),
    ("lexical-recall", "half of the lists", HALF_OF_THE_LISTS),
    ("run-fingerprints", "another table", _sql(OF_RUN + "table_sha256 = repeat('0', 64)")),
    ("run-fingerprints", "another ingest", _sql(OF_RUN + "ingest_id = 'other'")),
    (
        "run-cases",
        "a changed case",
        _sql(
            "ALTER TABLE evaluation_cases DISABLE TRIGGER USER",
            "UPDATE evaluation_cases SET result = jsonb_set(result, ARRAY['f1'], '0.123')",
        ),
    ),
    (
        "run-cases",
        "a missing case",
        _sql(
            "ALTER TABLE evaluation_cases DISABLE TRIGGER USER",
            "DELETE FROM evaluation_cases WHERE ordinal = (SELECT max(ordinal) FROM evaluation_cases)",
        ),
    ),
    ("eval-path", "a stand-in", _case(_set(eval_path="stand-in"))),
    ("breadth", "ten chunks", _case(_snapshot(lambda hits: hits[:10]))),
    ("breadth", "too many", _case(_snapshot(lambda hits: hits * 2))),
    ("context-lengths", "nothing to read", _case(_context(lambda _: []))),
    ("oracle-present", "not measured", _case(_set(oracle_retrieval_hit_prefilter=None))),
    ("oracle-present", "no gold at all", _case(lambda case: case["gold"].update(level="none"), every=True)),
    ("oracle-hits", "never found", _case(_set(oracle_retrieval_hit_prefilter=0), every=True)),
    ("gold-in-corpus", "gold elsewhere", _case(lambda case: case["funnel"].update(in_corpus=0))),
    ("questions-not-leaked", "a question in a document", LEAKED),
    ("filter-leaks", "a strange chunk", _case(_context(lambda hits: [*hits[:-1], {**hits[0], "chunk_id": "f" * 40}]))),
    ("filter-leaks", "one chunk too many", _case(_context(lambda hits: [*hits, hits[0]]))),
    ("filter-returns", "one chunk too few", _case(_context(lambda hits: hits[:-1]))),
    (
        "scores-differ",
        "one similarity",
        _case(_snapshot(lambda hits: [{**hit, "dense_score": 0.5} for hit in hits]), every=True),
    ),
    ("reader-errors", "time-outs", _case(lambda case: case["answer"].update(error="timed out"), every=True)),
]
ALONE_FAILS = {  # faults that no other probe has a reason to notice
    *("one-ingest", "breadth", "eval-path", "oracle-present", "oracle-hits", "gold-in-corpus", "questions-not-leaked"),
    *("filter-leaks", "filter-returns", "scores-differ", "reader-errors", "lexical-recall", "run-cases"),
    *("run-fingerprints", "table-unchanged"),
}


@pytest.mark.parametrize(("name", "what", "fault"), FAULTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_is_caught_by_its_probe(world: World, server_url: str, name: str, what: str, fault: Fault) -> None:
    """The probe fails, says what it found and what to do; a fault of one kind fails one probe."""
    copy = f"fault_{name}_{what}".replace("-", "_").replace(" ", "_").replace(",", "")[:50]
    with support.database(server_url, world.database, copy) as url:
        fault(world, url)
        done = probed.ask(url, "candidate", probed.standard(), baseline="baseline")
    failed = {finding.name: finding for finding in done.findings if finding.verdict is not Verdict.PASS}
    assert name in failed, failed
    assert Verdict.FAIL == failed[name].verdict, failed[name]
    assert failed[name].next
    assert failed[name].offenders or name in {"dedup-rate", "oracle-hits"}
    if name in ALONE_FAILS:
        allowed = {Verdict.ERROR} if name == "run-cases" else set()  # what rests on changed cases can't be measured
        others = {other: f.reason for other, f in failed.items() if other != name and f.verdict not in allowed}
        assert {} == others


def test_every_standard_probe_has_a_fault() -> None:
    """No probe is shipped that was never seen to fail."""
    here = {name for name, _, _ in FAULTS} | {"arms-differ"}
    assert {probe.name for probe in probed.standard().probes} == here


def _arms(url: str, lock: str, baseline: str) -> tuple[Verdict, tuple[str, ...]]:
    done = probed.ask(url, lock, probed.standard(), baseline=baseline)
    found = {finding.name: finding for finding in done.findings}["arms-differ"]
    return found.verdict, found.offenders


def test_a_lock_against_itself_compares_nothing(world: World) -> None:
    """The probe of the two arms fails and says that both are one."""
    expected = (Verdict.FAIL, (f"both are {world.candidate.config_hash}",))
    assert expected == _arms(world.url, "candidate", "candidate")


def test_a_difference_on_paper_is_none(world: World, server_url: str) -> None:
    """An overlap that rounds to no token gives the same chunks and the same answers: both are said."""
    given = {**probed.CANDIDATE, "chunking": {"size": 40, "jaccard_threshold": 0.6, "overlap_ratio": 0.001}}
    with support.database(server_url, world.database, "fault_paper") as url:
        paper = support.make_lock(url, given, name="paper")
        support.run_ingest(url, paper, world.folder / "corpus.jsonl")
        support.run_evaluate(url, paper, world.folder / "questions.jsonl")
        verdict, offenders = _arms(url, "paper", "candidate")
    assert Verdict.FAIL == verdict
    assert ["chunking", "questions"] == [next(w for w in ("chunking", "questions") if w in o) for o in offenders]
