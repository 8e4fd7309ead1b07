"""Parity: a second ingest that differs from the first is caught, whatever it is that moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import sql

from bakeoff import chunking
from bakeoff.adapters import datasets
from bakeoff.adapters.embedders import Embedder
from bakeoff.chunking import Document
from bakeoff.errors import InputError, StateError
from bakeoff.stages import read
from bakeoff.verdicts import Verdict
from tests import support
from tests.parity_site import DOCUMENTS, EVERY, NEAR, Site, check, examples, failed, tamper
from tests.support import make_lock, parts, run_ingest


def test_a_chunk_that_should_have_gone_is_found(broken: Site) -> None:
    """A near-duplicate stands in the table with a right id: only a second ingest knows that it should not."""
    row: LiteralString = """INSERT INTO {table} SELECT %(id)s, 1000, 'twin/c', 0, %(end)s, token_count,
        embedding_token_count, ingest_run_id, %(fp)s, 'Document: Nearly the same' || chr(10), %(text)s, %(text)s,
        embedding FROM {table} WHERE ordinal = 0"""
    ((end,),) = support.rows(
        broken.url,
        "SELECT span_end FROM {aliases} WHERE doc_id = 'twin/c' AND span_start = 0",
        aliases=f"{broken.lock.table_name}_aliases",
    )
    text, lock = NEAR[:end], broken.lock
    made = chunking.chunk_id("twin/c", 0, end, chunk_version=lock.chunk_version, config_hash=lock.config_hash)
    tamper(broken, row, id=made, end=end, text=text, fp=chunking.fingerprint(text))
    done = check(broken)
    assert ["table-unchanged", "second-ingest"] == list(failed(done))
    (first,) = [line for line in examples(done, "second-ingest") if "is in the table" in line]
    assert first.startswith(f"twin/c 0-{end}: is in the table, but is a near-duplicate of text/00 0-")


class Turned:
    """An embedder with the right name and other vectors; or another tokenizer."""

    def __init__(self, inner: Embedder, *, tokenizer: Any = None, turned: bool = True) -> None:
        self.inner, self.identity, self._turned = inner, inner.identity, turned
        self.tokenizer = tokenizer or inner.tokenizer

    def encode_passages(self, texts: Any) -> NDArray[np.float32]:
        """The right vectors, one number of each with the other sign."""
        made = self.inner.encode_passages(texts).copy()
        if self._turned:
            made[:, 0] += 0.05
        return made

    def encode_queries(self, texts: Any) -> NDArray[np.float32]:
        """Not asked here."""
        return self.inner.encode_queries(texts)

    def close(self) -> None:
        """The inner one is shared."""


def test_other_vectors_are_found(site: Site) -> None:
    """The model says it is the lock's, but its vectors have moved."""
    done = check(site, model=Turned(support.embedder()))
    assert {"second-embedding": "8 vectors made again: 8 differences"} == failed(done)


class Splitting:
    """A tokenizer that finds a token more in every text: what an update of a library may do."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.special_tokens = inner, inner.special_tokens

    def offsets(self, text: str) -> Any:
        """The first token twice."""
        found = list(self.inner.offsets(text))
        return [found[0], *found]

    def counts(self, texts: Any) -> list[int]:
        """One more each."""
        return [1 + count for count in self.inner.counts(texts)]


def test_another_way_of_cutting_is_found(site: Site) -> None:
    """The same model cuts otherwise: every document differs, and nothing else is wrong."""
    model = support.embedder()
    done = check(site, model=Turned(model, tokenizer=Splitting(model.tokenizer), turned=False))
    assert "second-ingest" in failed(done)
    assert {"second-ingest", "second-embedding"} >= failed(done).keys()


def test_a_document_that_would_be_rejected_now_is_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time the window does not fit: the document and the reason are named."""
    original = read.cutter

    def refusing(work: read.Work) -> Callable[[Document], Any]:
        cut = original(work)

        def one(document: Document) -> Any:
            if document.doc_id == "text/04":
                raise InputError("a chunk with its prefix has 600 tokens")
            return cut(document)

        return one

    monkeypatch.setattr(read, "cutter", refusing)
    done = check(site)
    assert ["second-ingest"] == list(failed(done))
    assert "text/04: rejected the second time: a chunk with its prefix has 600 tokens" in examples(
        done, "second-ingest"
    )


def test_another_model_is_an_error(site: Site) -> None:
    """Without the lock's model nothing can be made again: an error, while the other checks are made."""
    other = Turned(support.embedder())
    other.identity = other.identity.model_copy(update={"weights_sha256": "f" * 64})
    done = check(site, model=other)
    assert ["chunk-ids", "second-ingest", "second-embedding"] == list(failed(done))
    assert Verdict.ERROR is done.verdict


def test_a_corpus_that_changed_is_named_document_by_document(site: Site, tmp_path: Path) -> None:
    """Read from its source again: what changed, went and came is named; what stayed is ingested again and fits."""
    same = check(site, corpus=datasets.open_corpus(str(site.corpus)))
    assert {} == failed(same)
    assert [*EVERY, "corpus"] == [item.check.value for item in same.findings]
    changed = Document("text/01", DOCUMENTS[1].title, DOCUMENTS[1].text + " and more", "test")
    now = [DOCUMENTS[0], changed, *DOCUMENTS[3:], support.document("text/99", "Nobody knew of this one before.")]
    done = check(site, corpus=datasets.open_corpus(str(support.write_jsonl(tmp_path / "now.jsonl", now))))
    assert ["corpus"] == list(failed(done))
    assert ["text/01: changed", "text/02: gone", "text/99: new"] == examples(done, "corpus")
    assert 21 == done.body["sample"]["documents"]
    with pytest.raises(InputError, match="no such corpus"):
        datasets.open_corpus(str(tmp_path / "absent.jsonl"))


def test_a_corpus_of_which_nothing_is_left_is_no_data_for_the_second_ingest(site: Site, tmp_path: Path) -> None:
    """Every sampled document is gone from the source: nothing can be compared, which is no pass."""
    other = support.write_jsonl(tmp_path / "other.jsonl", [support.document("x", "Something else altogether.")])
    done = check(site, corpus=datasets.open_corpus(str(other)))
    assert ["second-ingest", "second-embedding", "corpus"] == list(failed(done))
    verdicts = {item.check.value: item.verdict for item in done.findings}
    assert (Verdict.NO_DATA, Verdict.NO_DATA) == (verdicts["second-ingest"], verdicts["second-embedding"])


def test_a_lock_without_a_finished_ingest_is_refused(database_url: str, tmp_path: Path) -> None:
    """There is nothing to check yet, or no longer."""
    which = make_lock(database_url, parts())
    site = Site(database_url, which, tmp_path, tmp_path, tmp_path)
    with pytest.raises(StateError, match="was not ingested yet"):
        check(site)
    run_ingest(database_url, which, support.write_jsonl(tmp_path / "corpus.jsonl", DOCUMENTS))
    with support.connector(database_url)() as conn:
        conn.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(which.table_name)))
    with pytest.raises(StateError, match="does not exist"):
        check(site)
