"""Chunk sizes and overlaps on the chunking evaluation set, beside published rows; writes artifacts/bench/chunking.json.

Run: `python -m tests.bench.bench_chunking [DIR]`. Computed as the report "Evaluating Chunking Strategies for Retrieval"
(Chroma, July 2024) does: windows of cl100k tokens, all texts in one collection, all-MiniLM-L6-v2 reading the first 256
word pieces, exact search, 5 chunks a question; recall, precision and IoU over characters, overlapping chunks counted
twice, means and deviations over the questions. Bar: within 2 points of recall and 1 of precision.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bpe_openai import get_encoding
from numpy.typing import NDArray

from bakeoff import chunking, gold
from bakeoff.adapters import datasets, embedders, questions
from bakeoff.chunking import Document
from bakeoff.config import ChunkingConfig, EmbedderConfig
from bakeoff.gold import Question, Span
from tests.bench import common

RETRIEVED = 5
SIZES = (200, 250, 400, 800)
OVERLAPS = (0.0, 0.5)
PUBLISHED = {  # token windows (TokenText) with all-MiniLM-L6-v2: recall, precision, precision-omega, IoU in %
    (200, 0.0): (76.6, 4.1, 19.1, 4.1),
    (250, 0.0): (77.1, 3.3, 16.4, 3.3),
    (250, 0.5): (82.4, 3.6, 11.4, 3.5),
}


class Cl100k:
    """OpenAI's cl100k tokens, cut anywhere: every token is a word of its own."""

    special_tokens = 0

    def __init__(self) -> None:
        """Load the vocabulary."""
        self._encoding = get_encoding("cl100k_base")

    def offsets(self, text: str) -> Sequence[tuple[int, int, int]]:
        """Return (start, end, word) of each token in code points; a token inside a character begins with it."""
        to_bytes = chunking.byte_offsets(text)
        sizes = [len(piece) for piece in self._encoding.decode_tokens_bytes(self._encoding.encode_ordinary(text))]
        ends = np.cumsum(sizes)
        starts = np.searchsorted(to_bytes, ends - sizes, side="right") - 1
        stops = np.searchsorted(to_bytes, ends, side="left")
        return [(int(start), int(stop), word) for word, (start, stop) in enumerate(zip(starts, stops, strict=True))]

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text."""
        return [len(self._encoding.encode_ordinary(text)) for text in texts]


@dataclass(frozen=True, slots=True)
class Texts:
    """The documents as questions are resolved in."""

    by_id: dict[str, Document]

    def get(self, doc_id: str) -> str | None:
        """Return one text."""
        found = self.by_id.get(doc_id)
        return None if found is None else found.text

    def items(self) -> Any:
        """Return all texts."""
        return ((doc_id, document.text) for doc_id, document in self.by_id.items())


def first_tokens(embedder: embedders.Embedder, text: str) -> str:
    """Return what a model that reads 256 word pieces sees of *text*."""
    room = embedder.identity.max_tokens - embedder.tokenizer.special_tokens
    offsets = embedder.tokenizer.offsets(text)
    return text if len(offsets) <= room else text[: offsets[room - 1][1]]


def embed(embedder: embedders.Embedder, texts: list[str]) -> NDArray[np.float32]:
    """Return the vectors of the first 256 word pieces of each text."""
    return embedder.encode_passages([first_tokens(embedder, text) for text in texts])


def in_characters(documents: dict[str, Document]) -> dict[str, NDArray[np.int64]]:
    """Return for each document the byte position of each character."""
    return {doc_id: chunking.byte_offsets(document.text) for doc_id, document in documents.items()}


def counted(span: Span, positions: dict[str, NDArray[np.int64]]) -> Span:
    """Return *span* counted in characters."""
    start, end = np.searchsorted(positions[span.doc_id], (span.start, span.end))
    return Span(span.doc_id, int(start), int(end))


def measure(
    asked: Sequence[Question], pieces: list[Span], vectors: NDArray[np.float32], queries: NDArray[np.float32],
    positions: dict[str, NDArray[np.int64]],
) -> dict[str, list[tuple[float, float, float, float]]]:  # fmt: skip
    """Return recall, precision, precision-omega and IoU of every question, by corpus."""
    chars = [counted(piece, positions) for piece in pieces]
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for question, query in zip(asked, queries, strict=True):
        best = np.argsort(-(vectors @ query), kind="stable")[:RETRIEVED]
        wanted = [counted(passage.alternatives[0], positions) for passage in question.passages]
        overlap = gold.overlap(wanted, [chars[index] for index in best])
        omega = gold.precision_omega(wanted, chars)
        row = tuple(100 * (value or 0.0) for value in (overlap.recall, overlap.precision, omega, overlap.iou))
        found.setdefault(wanted[0].doc_id, []).append((row[0], row[1], row[2], row[3]))
    return found


def averages(rows: list[tuple[float, float, float, float]]) -> list[float]:
    """Return the mean of each column."""
    return [round(statistics.fmean(column), 2) for column in zip(*rows, strict=True)]


def main() -> None:
    """Measure, print, save."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else common.DATA / "chroma_chunking"
    if not folder.is_dir():
        print(f"{folder} is not there: nothing was measured")
        return
    documents = {item.doc_id: item for item in datasets.open_corpus(f"beir:{folder}") if isinstance(item, Document)}
    asked = questions.load_questions(f"beir:{folder}", Texts(documents)).questions
    embedder = embedders.open_embedder(EmbedderConfig(), cache_dir=common.MODELS)
    queries = embed(embedder, [question.text for question in asked])
    tokenizer, positions = Cl100k(), in_characters(documents)
    result: dict[str, Any] = {"machine": common.machine(), "questions": len(asked), "rows": []}
    shown = []
    for size in SIZES:
        for ratio in OVERLAPS:
            config = ChunkingConfig(size=size, overlap_ratio=ratio)
            cut = [(doc, piece) for doc in documents.values() for piece in chunking.chunk(doc.text, tokenizer, config)]
            pieces = [Span(doc.doc_id, piece.start, piece.end) for doc, piece in cut]
            by_corpus = measure(asked, pieces, embed(embedder, [piece.text for _, piece in cut]), queries, positions)
            rows = {"all": averages([row for rows in by_corpus.values() for row in rows])}
            rows |= {name: averages(found) for name, found in sorted(by_corpus.items())}
            published, label = PUBLISHED.get((size, ratio)), f"{size}/{round(size * ratio)}"
            for name, row in rows.items():
                result["rows"].append(
                    {"size": size, "overlap": ratio, "corpus": name, "chunks": len(cut), "figures": row}
                )
                shown.append([label, name, *(f"{value:.1f}" for value in row), ""])
            if published:
                off = ", ".join(f"{mine - theirs:+.1f}" for mine, theirs in zip(rows["all"], published, strict=True))
                shown.append([label, "published (all)", *(f"{value:.1f}" for value in published), off])
                result["rows"].append({"size": size, "overlap": ratio, "corpus": "published", "figures": published})
            common.save("chunking", result)
    columns = ["size/overlap", "corpus", "recall>", "precision>", "omega>", "IoU>", "off>"]
    common.table(f"{len(asked)} questions, {RETRIEVED} chunks each, all-MiniLM-L6-v2, %", columns, shown)


if __name__ == "__main__":
    main()
