"""Promises of corpora and questions on public data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakeoff.adapters.datasets import Document, open_corpus
from bakeoff.adapters.questions import load_questions

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not on this machine"),
]

# documents, judged questions, spans, unjudged questions, level; counted by hand from the files
SETS = {
    "chroma_chunking": (5, 472, 790, 0, "span"),
    "xquad_en_articles": (48, 1190, 1190, 0, "span"),
    "xquad_de_articles": (48, 1190, 1190, 0, "span"),
    "xquad_zh_articles": (48, 1190, 1190, 0, "span"),
    "scifact": (5183, 300, None, 809, "mixed"),
    "anthropic_docs": (232, 100, None, 0, "span"),
    "anthropic_docs_pages": (45, 100, 192, 0, "span"),
    "hotpotqa_100": (994, 100, 208, 0, "span"),
}


class Texts(dict[str, str]):
    """A corpus at hand."""

    def items(self) -> Iterator[tuple[str, str]]:  # type: ignore[override]  # a source is asked for no view
        """Yield every document."""
        yield from super().items()


def corpus(spec: str) -> Texts:
    """Return all texts of a corpus that has no bad documents."""
    texts = Texts()
    for item in open_corpus(spec):
        assert isinstance(item, Document)
        texts[item.doc_id] = item.text
    return texts


@pytest.mark.parametrize("name", SETS)
def test_every_judged_question_is_loaded(name: str) -> None:
    """All documents are usable, no judged question is left out, and every span cuts the same text in bytes."""
    documents, judged, spans, unjudged, level = SETS[name]
    texts = corpus(f"beir:{DATA / name}")
    assert len(texts) == documents
    found = load_questions(f"beir:{DATA / name}", texts)
    assert (len(found.questions), found.unjudged, found.left_out, found.absent_documents) == (judged, unjudged, (), ())
    assert found.gold_level == level
    with (DATA / name / "queries.jsonl").open(encoding="utf-8") as file:
        rows = {row["_id"]: row["metadata"]["answer_spans"] for row in map(json.loads, file)}
    count = 0
    for question in found.questions:
        given = list(dict.fromkeys((doc, texts[doc][start:end]) for doc, start, end in rows[question.question_id]))
        cut = [
            (span.doc_id, texts[span.doc_id].encode()[span.start : span.end].decode())
            for passage in question.passages
            for span in passage.alternatives
        ]
        assert given == list(dict.fromkeys(cut))
        count += len(cut)
    assert spans is None or count == spans


def test_scifact_labels_are_no_answers() -> None:
    """SUPPORT and CONTRADICT are classes; the articles' answers are answers."""
    science = load_questions(f"beir:{DATA / 'scifact'}", corpus(f"beir:{DATA / 'scifact'}"))
    assert {question.answers for question in science.questions} == {()}
    name = f"beir:{DATA / 'xquad_zh_articles'}"
    assert load_questions(name, corpus(name)).questions[0].answers == ("308",)
