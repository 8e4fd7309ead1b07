"""What a shadow ingest costs beside its model; writes artifacts/bench/ingest.json.

Run: `python -m tests.bench.bench_ingest [quick]`. Bars: the ingest of new text (read to COPY; index build, VACUUM and
checks apart) takes at most 1.10 times the bare encoding of the same texts by the same model, measured in turn; with
known vectors the store stage (look-up, join, insert) moves at least 10,000 chunks/s and embeds nothing; the peak memory
of an ingest of 20,000 chunks is at most 1.2 times that of 2,000.
"""

from __future__ import annotations

import hashlib
import json
import random
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bakeoff.adapters import datasets, embedders, tables
from bakeoff.chunking import Document, Tokenizer
from bakeoff.config import EmbedderConfig, EmbedderIdentity
from bakeoff.sentences import sentences
from tests.bench import common

ROUNDS = 3
APART = ("index", "vacuum", "check")
PLAIN: dict[str, Any] = {"chunking": {"size": 200}}
STATIC: dict[str, Any] = {
    "chunking": {"size": 200, "jaccard_threshold": 0.8},
    "embedder": {"backend": "static", "model": "wordllama"},
}
MANY = 20_000


class Remembered:
    """Real tokenizer and identity, vectors out of the text's digest: fills the cache without hours of a model."""

    def __init__(self, model: embedders.Embedder) -> None:
        """Stand in for *model*."""
        self.identity: EmbedderIdentity = model.identity
        self.tokenizer: Tokenizer = model.tokenizer
        self.encoded = 0

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a unit vector for each text."""
        self.encoded += len(texts)
        seeds = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in texts]
        made = [
            np.random.default_rng(seed).standard_normal(self.identity.dimension, dtype=np.float32) for seed in seeds
        ]
        vectors = np.stack(made)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    encode_queries = encode_passages

    def close(self) -> None:
        """Do nothing."""


def many_chunks(count: int, size: int) -> datasets.Corpus:
    """Return a corpus of about *count* chunks of *size* tokens: shuffled sentences of the standard library."""
    texts = [item.text for item in datasets.open_corpus("python-full") if isinstance(item, Document)]
    parts = [text[start:end] for text in texts for start, end in sentences(text) if end - start > 30]
    per_document, letters = 20, 3.6
    documents = -(-count // per_document)

    def read() -> Iterator[Document | datasets.Rejected]:
        chance = random.Random(7)
        for number in range(documents):
            body: list[str] = []
            while sum(map(len, body)) < per_document * size * letters:
                body.append(chance.choice(parts))
            yield Document(f"d{number:06}", f"Document {number}", "\n".join(body), "made")

    return datasets.Corpus("made", "made", "made", documents, read)


def ratio() -> dict[str, Any]:
    """Ingest new text and encode the same texts bare, in turn; return the seconds and their ratio."""
    embedder = embedders.open_embedder(EmbedderConfig(), cache_dir=common.MODELS)
    embedder.encode_passages(["warm up"] * 4)
    texts = texts_of(embedder)
    rows = []
    for _ in range(ROUNDS):
        with common.bench() as bench:
            seconds = bench.ingest(bench.lock("plain", PLAIN), "python", embedder).ingest.report["seconds"]
        work = sum(value for stage, value in seconds.items() if stage not in APART)
        bare = common.timed(lambda: embedder.encode_passages(texts))
        rows.append({"ingest_s": work, "bare_encode_s": bare, "ratio": work / bare, "seconds": seconds})
    return {"rounds": rows, "texts": len(texts), "ratio": statistics.median(row["ratio"] for row in rows)}


def texts_of(model: embedders.Embedder) -> list[str]:
    """Return the texts that an ingest of the reference embeds: found by one without a model."""
    seen: list[str] = []

    class Listing(Remembered):
        def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
            seen.extend(texts)
            return super().encode_passages(texts)

    with common.bench() as bench:
        bench.ingest(bench.lock("plain", PLAIN), "python", Listing(model))
    return seen


def known() -> dict[str, Any]:
    """Ingest a corpus a second time under another lock: every vector is known. Return seconds and rates by stage."""
    with common.bench() as bench:
        model = Remembered(embedders.open_embedder(EmbedderConfig(), cache_dir=common.MODELS))
        corpus = many_chunks(MANY, 200)
        dedup = {"size": 200, "jaccard_threshold": 0.8}
        bench.ingest(bench.lock("first", {"chunking": dedup}), corpus, model)
        before = model.encoded
        second = bench.lock("second", {"chunking": dedup, "retrieval": {"rrf_k": 50}})
        report = bench.ingest(second, corpus, model).ingest.report
        with bench.connect() as conn:
            stored = tables.Tables(second).number(conn, "count_rows")
    seconds = report["seconds"]
    spent = seconds["look_up"] + seconds["store"]
    return {
        "chunks": stored,
        "embedded_again": model.encoded - before,
        "seconds": seconds,
        "store_chunks_per_s": stored / spent,
    }


def peak(chunks: int) -> None:
    """Ingest so many chunks with the static embedder and print the peak memory of this process in bytes."""
    with common.bench() as bench:
        lock = bench.lock(
            "static",
            {
                "chunking": {"size": 200, "jaccard_threshold": 0.8},
                "embedder": {"backend": "static", "model": "wordllama"},
            },
        )
        report = bench.ingest(lock, many_chunks(chunks, 200)).ingest.report
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"peak_bytes": used, "chunks": report["counts"]["chunks"]}))


def memory() -> dict[str, Any]:
    """Return the peak memory of an ingest of 2,000 and of 20,000 chunks, each in a process of its own."""
    found = {}
    for chunks in (MANY // 10, MANY):
        command = [sys.executable, "-m", "tests.bench.bench_ingest", "peak", str(chunks)]
        out = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, check=True, text=True).stdout
        found[str(chunks)] = json.loads(out.splitlines()[-1])
    small, large = (found[str(chunks)]["peak_bytes"] for chunks in (MANY // 10, MANY))
    return {"runs": found, "ratio": large / small}


def main() -> None:
    """Measure, print, save."""
    if sys.argv[1:2] == ["peak"]:
        peak(int(sys.argv[2]))
        return
    result: dict[str, Any] = {"machine": common.machine()}
    result["known"] = known()
    rows = [[stage, f"{value:.3f}"] for stage, value in sorted(result["known"]["seconds"].items())]
    common.table(f"Second ingest, {result['known']['chunks']:,} chunks, all vectors known", ["stage", "seconds>"], rows)
    result["memory"] = memory()
    common.save("ingest", result)
    result["new"] = ratio()
    common.save("ingest", result)
    sizes = " and ".join(f"{run['peak_bytes'] / 1e6:.0f} MB" for run in result["memory"]["runs"].values())
    figures = [
        ["store stage, chunks/s", f"{result['known']['store_chunks_per_s']:,.0f}", "≥ 10,000"],
        ["texts embedded again", result["known"]["embedded_again"], "0"],
        ["peak memory, 20,000 : 2,000 chunks", f"{result['memory']['ratio']:.2f} ({sizes})", "≤ 1.20"],
        ["ingest : bare encode", f"{result['new']['ratio']:.3f}", "≤ 1.10"],
    ]
    common.table("Ingest", ["figure", "measured>", "bar>"], figures)


if __name__ == "__main__":
    main()
