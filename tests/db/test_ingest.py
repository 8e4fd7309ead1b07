"""Shadow ingest: what arrives in the table, what is refused, and what is left when it is."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, LiteralString

import pytest
from psycopg import sql

from bakeoff import chunking, config, dedup
from bakeoff.adapters import tables
from bakeoff.errors import InputError, StateError
from bakeoff.stages import ingest as stage
from bakeoff.stages import lock as lock_stage
from tests import support
from tests.support import (
    DEDUP,
    NOW,
    Counting,
    document,
    leftovers,
    make_lock,
    mixed_folder,
    parts,
    rows,
    run_ingest,
    topics,
    write_jsonl,
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve topics of the language reference, as JSON lines."""
    return write_jsonl(tmp_path / "corpus.jsonl", topics())


REASONS = {
    "a|b.txt": "the id holds '|', which separates the parts of a chunk id",
    "blank.txt": "there is no text",
    "empty.md": "there is no text",
    "latin.txt": "not UTF-8 (byte 4)",
    "nul.txt": "the text holds a NUL character (place 1), which Postgres can't store",
}


def test_bad_files_are_named_and_the_good_ones_arrive(database_url: str, tmp_path: Path) -> None:
    """A folder with bad files: each is named with its reason and counted; the rest is ingested whole."""
    folder, which = mixed_folder(tmp_path / "docs"), make_lock(database_url)
    done = run_ingest(database_url, which, folder)
    found = dict(rows(database_url, "SELECT doc_id, reason FROM ingest_rejects"))
    assert REASONS == found
    counts = done.ingest.report["counts"]
    assert (3, 5) == (counts["documents"], counts["rejected"])
    titles = {row[0]: row[1] for row in rows(database_url, "SELECT doc_id, title FROM ingest_documents")}
    assert {"guide.md": "The guide", "notes.txt": "notes", "sub/page.html": "Lamp"} == titles
    assert not done.unchanged
    assert not done.resumed


def test_strict_stops_and_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    """Under --strict the first bad document ends the ingest, by name, and nothing of it stays."""
    folder, which = mixed_folder(tmp_path / "docs"), make_lock(database_url)
    with pytest.raises(InputError, match=r"a\|b.txt: the id holds '\|'") as caught:
        run_ingest(database_url, which, folder, strict=True)
    assert 2 == caught.value.exit_code
    assert [] == leftovers(database_url)
    assert not run_ingest(database_url, which, folder).unchanged


def test_no_usable_document_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    """A corpus of bad documents alone is an error, and nothing stays."""
    path = tmp_path / "bad.jsonl"
    path.write_text('{"id": "a", "text": "  "}\nnot json\n')
    which = make_lock(database_url)
    with pytest.raises(
        InputError, match=r"no usable document: 2 rejected, the first is .*bad.jsonl:1: there is no text"
    ):
        run_ingest(database_url, which, path)
    assert [] == leftovers(database_url)


def test_second_run_does_nothing(database_url: str, corpus: Path) -> None:
    """The same corpus again: nothing is embedded or written, and the same ingest comes back."""
    which = make_lock(database_url)
    first = run_ingest(database_url, which, corpus)
    model = Counting(support.embedder())
    again = run_ingest(database_url, which, corpus, model=model)
    assert again.unchanged
    assert [] == model.texts
    assert first.ingest == again.ingest


@pytest.mark.parametrize("change", ["text", "title", "more", "less"])
def test_changed_corpus_is_refused(database_url: str, tmp_path: Path, change: str) -> None:
    """A finished table is never mixed with another corpus; --restart makes it anew from the new one."""
    documents = list(topics(5))
    path = write_jsonl(tmp_path / "c.jsonl", documents)
    which = make_lock(database_url)
    run_ingest(database_url, which, path)
    before = support.digest_of(database_url, which)
    last = documents[-1]
    changed = {
        "text": [*documents[:-1], document(last.doc_id, last.text + " more", last.title)],
        "title": [*documents[:-1], document(last.doc_id, last.text, "Another")],
        "more": [*documents, document("new", "a new document")],
        "less": documents[:-1],
    }[change]
    write_jsonl(path, changed)
    with pytest.raises(StateError, match="differs from it") as caught:
        run_ingest(database_url, which, path)
    assert "--restart" in str(caught.value.hint)
    assert before == support.digest_of(database_url, which)
    done = run_ingest(database_url, which, path, restart=True)
    assert len(changed) == done.ingest.report["counts"]["documents"]


def test_active_lock_is_not_restarted(database_url: str, corpus: Path) -> None:
    """The table in production is never rebuilt."""
    which = make_lock(database_url)
    run_ingest(database_url, which, corpus)
    with support.connector(database_url)() as conn:
        lock_stage.activate(conn, which, now=NOW, reason="")
    before = support.digest_of(database_url, which)
    with pytest.raises(StateError, match="is in production"):
        run_ingest(database_url, which, corpus, restart=True)
    assert before == support.digest_of(database_url, which)


def near_duplicates() -> list[chunking.Document]:
    """Topics, copies of them under other ids with some words changed, and exact copies."""
    rng, found = random.Random(7), list(topics(6, 1500))
    for doc in topics(6, 1500):
        words = doc.text.split(" ")
        for place in rng.sample(range(len(words)), max(len(words) // 60, 1)):
            words[place] = "changed"
        found.append(document(f"copy/{doc.doc_id}", " ".join(words), doc.title))
    found.append(document("exact", topics(1, 1500)[0].text, "Exact"))
    return found


def test_order_of_arrival_does_not_matter(new_database: Callable[..., str], tmp_path: Path) -> None:
    """The same documents in another order give the identical table, near-duplicates included."""
    documents = near_duplicates()
    shuffled = random.Random(3).sample(documents, len(documents))
    digests = set()
    for number, order in enumerate((documents, documents[::-1], shuffled)):
        url = new_database()
        which = make_lock(url, DEDUP)
        done = run_ingest(url, which, write_jsonl(tmp_path / f"{number}.jsonl", order))
        assert 10 < done.ingest.report["counts"]["duplicates"]
        digests.add((done.ingest.table_sha256, done.ingest.corpus_sha256))
    assert 1 == len(digests)


def brute_force(which: config.Lock, documents: list[chunking.Document]) -> tuple[set[Any], dict[Any, Any]]:
    """Survivors, and aliases by survivor, by comparing every chunk with every kept one before it."""
    threshold = which.config.chunking.jaccard_threshold
    assert threshold is not None
    pieces = [
        ((doc.doc_id.encode(), piece.start, piece.end), piece.text)
        for doc in documents
        for piece in chunking.chunk(doc.text, support.embedder().tokenizer, which.config.chunking)
    ]
    kept: list[tuple[Any, str, Any]] = []
    aliases: dict[Any, Any] = {}
    for key, text in sorted(pieces):
        grams = dedup.shingles(text)
        near = next((k for k, t, g in kept if t == text or dedup.jaccard(grams, g) >= threshold), None)
        if near is None:
            kept.append((key, text, grams))
        else:
            aliases[key] = near
    return {key for key, _, _ in kept}, aliases


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_survivors_equal_brute_force(
    database_url: str, tmp_path: Path, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Survivors and their aliases are those of comparing everything with everything, whatever the batch."""
    monkeypatch.setattr(stage, "_DEDUP_BATCH", 37)
    documents = near_duplicates()
    which = make_lock(database_url, parts(chunking={"size": 40, "jaccard_threshold": threshold}))
    run_ingest(database_url, which, write_jsonl(tmp_path / "c.jsonl", documents))
    table = which.table_name
    kept = rows(database_url, "SELECT doc_id, span_start, span_end FROM {table}", table=table)
    aliases = rows(
        database_url,
        "SELECT a.doc_id, a.span_start, a.span_end, c.doc_id, c.span_start, c.span_end "
        "FROM {aliases} a JOIN {table} c USING (chunk_id)",
        table=table,
        aliases=f"{table}_aliases",
    )
    survivors, expected = brute_force(which, documents)
    assert survivors == {(row[0].encode(), row[1], row[2]) for row in kept}
    assert expected == {(r[0].encode(), r[1], r[2]): (r[3].encode(), r[4], r[5]) for r in aliases}
    assert 10 < len(expected)


def test_equal_text_is_embedded_once(database_url: str, tmp_path: Path) -> None:
    """Within one corpus and over locks: a text is embedded once for an embedder; other retrieval settings embed 0."""
    documents = [*topics(6), document("again", topics(6)[0].text, topics(6)[0].title)]
    path = write_jsonl(tmp_path / "c.jsonl", documents)
    model = Counting(support.embedder())
    first = run_ingest(database_url, make_lock(database_url), path, model=model)
    assert len(model.texts) == len(set(model.texts))
    counts = first.ingest.report["counts"]
    assert len(model.texts) == counts["embedded"] < counts["chunks"]
    other = make_lock(database_url, parts(retrieval={"rrf_k": 20}), name="other")
    seen = len(model.texts)
    second = run_ingest(database_url, other, path, model=model)
    assert seen == len(model.texts)
    assert (0, seen) == (second.ingest.report["counts"].get("embedded", 0), second.ingest.report["counts"]["reused"])


def test_other_prefix_embeds_anew(database_url: str, corpus: Path) -> None:
    """What is embedded decides: a prefix makes other texts, and each of them is embedded."""
    model = Counting(support.embedder())
    run_ingest(database_url, make_lock(database_url), corpus, model=model)
    seen = len(model.texts)
    done = run_ingest(database_url, make_lock(database_url, parts(prefix={"policy": "A"})), corpus, model=model)
    assert done.ingest.report["counts"]["chunks"] == len(model.texts) - seen == len(set(model.texts[seen:]))
    assert all(text.startswith("Document: ") for text in model.texts[seen:])


@pytest.mark.parametrize("policy", ["none", "A", "B"])
def test_prefix_policies(database_url: str, corpus: Path, policy: str) -> None:
    """Text is always the span's bytes; the prefix stands in the embedded text (A, B) and the lexical text (B) alone."""
    which = make_lock(database_url, parts(prefix={"policy": policy}))
    model = Counting(support.embedder())
    run_ingest(database_url, which, corpus, model=model)
    found = rows(
        database_url,
        "SELECT c.text, c.prefix, c.lexical_text, d.title, c.token_count, c.embedding_token_count, c.fp, "
        "substring(convert_to(t.body, 'UTF8') FROM c.span_start + 1 FOR c.span_end - c.span_start), c.chunk_id, "
        "c.doc_id, c.span_start, c.span_end FROM {table} c JOIN ingest_documents d USING (doc_id) "
        "JOIN document_texts t USING (text_sha256)",
        table=which.table_name,
    )
    assert 20 < len(found)
    for text, prefix, lexical, title, tokens, embedded, fp, span, chunk_id, doc_id, start, end in found:
        assert text.encode() == bytes(span)
        assert ("" if policy == "none" else f"Document: {title}\n") == prefix
        assert (prefix + text if policy == "B" else text) == lexical
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == fp
        assert prefix + text in model.texts
        assert tokens <= which.config.chunking.size
        assert support.embedder().tokenizer.counts([prefix + text])[0] == embedded
        key = f"{doc_id}|{start}-{end}|{which.chunk_version}|{which.config_hash}"
        assert hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest() == chunk_id


def test_long_titles_are_shortened(database_url: str, tmp_path: Path) -> None:
    """Window and prefix never exceed what the embedder reads: long titles lose words, and that is counted."""
    embedder = {**support.STATIC, "max_tokens": 64}
    given = parts(embedder=embedder, chunking={"size": 48}, prefix={"policy": "A"})
    long = " ".join(f"word{number}" for number in range(80))
    documents = [document("long", topics(1)[0].text, long), document("short", topics(2)[1].text, "Short")]
    which = make_lock(database_url, given)
    done = run_ingest(database_url, which, write_jsonl(tmp_path / "c.jsonl", documents))
    assert (2, 0) == (done.ingest.report["counts"]["documents"], done.ingest.report["counts"]["rejected"])
    assert 1 == done.ingest.report["counts"]["titles_shortened"]
    found = rows(
        database_url,
        "SELECT doc_id, max(embedding_token_count), min(prefix) FROM {table} GROUP BY 1",
        table=which.table_name,
    )
    assert all(most <= 64 for _, most, _ in found)
    prefixes = {doc_id: prefix for doc_id, _, prefix in found}
    assert "Document: Short\n" == prefixes["short"]
    assert prefixes["long"].startswith("Document: word0 word1")
    assert len(prefixes["long"]) < len(long)


VARIANTS: dict[str, dict[str, Any]] = {
    "halfvec": {"storage": "halfvec"},
    "ivfflat": {"vector": "ivfflat", "ivfflat_lists": 3},
    "lists": {"lexical": "lists"},
    "halfvec-ivfflat-lists": {"storage": "halfvec", "vector": "ivfflat", "ivfflat_lists": 2, "lexical": "lists"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_index_variants(database_url: str, corpus: Path, variant: str) -> None:
    """Every storage and index that a lock can ask for is built and used by the plan."""
    which = make_lock(database_url, parts(index=VARIANTS[variant]))
    done = run_ingest(database_url, which, corpus)
    method = VARIANTS[variant].get("vector", "hnsw")
    found = rows(database_url, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'bakeoff'")
    assert any(f"USING {method}" in row[0] for row in found)
    assert "lists" == done.ingest.lexical or "lists" not in variant
    assert any(f"{which.table_name}_dense" in line for line in done.ingest.report["plan"])
    assert support.digest_of(database_url, which) == done.ingest.table_sha256


def test_helpers_are_gone_afterwards(database_url: str, corpus: Path) -> None:
    """A finished ingest leaves its table, its aliases and nothing that was only on the way."""
    which = make_lock(database_url, DEDUP)
    run_ingest(database_url, which, corpus)
    found = {
        name
        for (name,) in rows(
            database_url, "SELECT relname FROM pg_class WHERE relname LIKE 'document_chunks_%' AND relkind = 'r'"
        )
    }
    assert {which.table_name, f"{which.table_name}_aliases"} == found - {f"{which.table_name}_lexemes"}


def test_digests_are_of_the_data(database_url: str, corpus: Path) -> None:
    """The recorded digests are those of the data: the table as it stands, the documents as given."""
    which = make_lock(database_url)
    done = run_ingest(database_url, which, corpus)
    assert support.digest_of(database_url, which) == done.ingest.table_sha256
    joined = "".join(
        hashlib.sha256(part.encode()).hexdigest()
        for doc in sorted(topics(), key=lambda item: item.doc_id.encode())
        for part in (doc.doc_id, doc.title, doc.text)
    )
    assert hashlib.sha256(joined.encode()).hexdigest() == done.ingest.corpus_sha256
    changes: list[LiteralString] = [
        "text = text || ' '",
        "embedding = (SELECT embedding FROM {table} WHERE ordinal = 4)",
        "prefix = 'x'",
        "token_count = token_count + 1",
        "span_end = span_end + 1",
    ]
    for change in changes:
        with support.connector(database_url)() as conn, conn.transaction(force_rollback=True):
            table = sql.Identifier(which.table_name)
            value = sql.SQL(change).format(table=table)
            conn.execute(sql.SQL("UPDATE {table} SET {value} WHERE ordinal = 3").format(table=table, value=value))
            assert done.ingest.table_sha256 != tables.table_digest(conn, tables.Tables(which)), change
