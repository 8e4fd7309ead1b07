"""What the benchmarks share: the machine, a database of their own, results on disk, ratios in one run."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff import config
from bakeoff.adapters import clock, datasets, embedded, embedders, evaluations, migrations, postgres
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.stages import evaluate, ingest
from bakeoff.stages import lock as locking

ROOT = Path(__file__).parents[2]
OUT = ROOT / "artifacts" / "bench"
DATA = ROOT.parent / "shared" / "data"
MODELS = ROOT / ".bakeoff" / "models"


def machine() -> dict[str, Any]:
    """Return what a figure depends on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    load = os.getloadavg()[0]
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(), "load_before": round(load, 2)}


def save(name: str, result: dict[str, Any]) -> None:
    """Write *result* to artifacts/bench/<name>.json."""
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table."""
    from bakeoff import report

    print(report.table(title, columns, rows).terminal(width=120))
    print()


def quiet(stage: str, done: int, total: int | None) -> None:
    """Show no progress."""
    del stage, done, total


@dataclass(frozen=True, slots=True)
class Bench:
    """A database for one benchmark, and the stages as the commands call them."""

    url: str

    def connect(self) -> AbstractContextManager[Connection]:
        """Open one more connection (autocommit)."""
        return postgres.open_url(self.url, autocommit=True)

    def lock(self, name: str, data: dict[str, Any]) -> Lock:
        """Lock a configuration."""
        with self.connect() as conn:
            found = config.parse(data, source=name)
            return locking.run(conn, found, name=name, source=name, now=clock.now(), cache_dir=MODELS).lock

    def ingest(
        self, lock: Lock, corpus: str | datasets.Corpus, embedder: embedders.Embedder | None = None
    ) -> ingest.Ingested:
        """Ingest *corpus* under *lock*."""
        documents = datasets.open_corpus(corpus) if isinstance(corpus, str) else corpus
        return ingest.run(
            self.connect,
            lock,
            documents,
            embedder or embedders.open_embedder(lock.config.embedder, cache_dir=MODELS),
            progress=quiet,
            now=clock.now,
            options=ingest.Options(),
        )

    def evaluate(self, lock: Lock, questions: str) -> evaluate.Evaluated:
        """Evaluate *lock* on *questions*."""
        options = evaluate.Options(cache_dir=MODELS)
        return evaluate.run(self.connect, lock, questions, progress=quiet, now=clock.now, options=options)

    def cases(self, run_id: str) -> list[evaluations.Case]:
        """Return the case results of a run."""
        with self.connect() as conn:
            return [case for case, _ in evaluations.cases(conn, run_id)]


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """Start an embedded server in a folder of its own; stop it and remove the folder at the end."""
    home = Path(tempfile.mkdtemp(prefix="bakeoff-bench-"))
    home.chmod(0o755)
    try:
        found = Bench(embedded.ensure(home))
        with found.connect() as conn:
            migrations.up(conn)
        yield found
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that *work* took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
