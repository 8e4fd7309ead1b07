"""Seal and verify a whole bakeoff with 1,000 questions and a simulated rollout, each as a process of its own.

Run it with `python -m tests.bench.bench_seal`. A seal is taken away between two runs of `bakeoff seal`, so that each
appends its own. Beside them: Python with what any program that checks a signature has to import. As an installed
program has its bytecode, each is run once before it is measured.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bakeoff.adapters import embedded, postgres
from tests import support
from tests.bench import common
from tests.cli.conftest import Project
from tests.planned import GATES

QUESTIONS = 1_000
DOCUMENTS = 80
EACH = 40
ROUNDS = 5
BAR_S = 1.0
BARE = "import cryptography.hazmat.primitives.asymmetric.ed25519, cryptography.hazmat.primitives.serialization, json"
ROLLOUT = {
    "strategy": "quick",
    "recheck_at_steps": False,
    "watch": {"quality": {"margin": 0.4, "base_rate": 0.6}},
    "steps": [{"percent": 25, "hours": 24}, {"percent": 100, "hours": 24}],
}
RUN = (
    *("run", "--baseline-config", "a.yaml", "--candidate-config", "b.yaml", "--questions", "questions.jsonl"),
    *("--gates", "gates.yaml", "--rollout", "rollout.yaml", "--corpus", "corpus.jsonl", "--clock", "simulated"),
)


def project(folder: Path) -> Project:
    """Make a bakeoff from nothing to its seal."""
    documents = support.topics(DOCUMENTS, 20_000)
    support.write_jsonl(folder / "corpus.jsonl", documents)
    asked = support.quotes_of(documents, each=EACH)[:QUESTIONS]
    if len(asked) < QUESTIONS:
        raise SystemExit(f"{len(asked)} questions, {QUESTIONS} are wanted")
    support.write_questions(
        folder / "questions.jsonl", [item | {"question": " ".join(item["question"].split()[::-1])} for item in asked]
    )
    env = support.environment(None, folder / "home", PYTHONPATH=str(common.ROOT))
    found = Project(folder, None, env)
    found.write("a.yaml", support.parts())
    found.write("b.yaml", support.parts(chunking={"size": 80}))
    found.write("gates.yaml", {"profile": "small", "resamples": 10_000, "gates": [*GATES]})
    found.write("rollout.yaml", ROLLOUT)
    done = support.bakeoff(*RUN, env=env, cwd=folder, timeout=600)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    return found


def unsealed(folder: Path) -> None:
    """Take the seal away, which nobody can do without the rights of the table's owner."""
    with postgres.open_url(embedded.ensure(folder / "home"), autocommit=True) as conn:
        conn.execute("SET search_path TO bakeoff")
        conn.execute("ALTER TABLE seals DISABLE TRIGGER USER")
        conn.execute("DELETE FROM seals")
        conn.execute("ALTER TABLE seals ENABLE TRIGGER USER")
    shutil.rmtree(folder / "home" / "artifacts" / "seals")


def run(found: Project, line: Sequence[str]) -> None:
    """Run a process that has to succeed."""
    done = subprocess.run(line, env=found.env, cwd=found.folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])


def median(found: Project, line: Sequence[str], *, fresh: bool = False) -> float:
    """Return the median seconds of a whole process, without the first, which may write bytecode."""
    seconds = []
    for _ in range(1 + ROUNDS):
        if fresh:
            unsealed(found.folder)
        seconds.append(common.timed(lambda: run(found, line)))
    return round(statistics.median(seconds[1:]), 3)


def measured(folder: Path) -> dict[str, Any]:
    """Measure everything."""
    result: dict[str, Any] = {"machine": common.machine(), "questions": QUESTIONS, "rounds": ROUNDS, "bar_s": BAR_S}
    found = project(folder)
    bakeoff = [str(Path(sys.executable).with_name("bakeoff"))]
    seal_s = median(found, [*bakeoff, "seal"], fresh=True)
    (path,) = (folder / "home" / "artifacts" / "seals").glob("*.seal.json")
    rows = path.with_name(path.name.replace(".seal.", ".rows."))
    return {
        **result,
        "seal_bytes": path.stat().st_size,
        "rows_bytes": rows.stat().st_size,
        "python_s": median(found, [sys.executable, "-c", "pass"]),
        "python_and_cryptography_s": median(found, [sys.executable, "-c", BARE]),
        "seal_s": seal_s,
        "verify_s": median(found, [*bakeoff, "verify", str(path)]),
        "verify_recompute_s": median(found, [*bakeoff, "verify", str(path), "--recompute"]),
    }


def main() -> None:
    """Measure, print, save."""
    folder = Path(tempfile.mkdtemp(prefix="bakeoff-bench-"))
    folder.chmod(0o755)
    try:
        result = measured(folder)
    finally:
        embedded.stop(folder / "home")
        shutil.rmtree(folder, ignore_errors=True)
    common.save("seal", result)
    rows = [(name.removesuffix("_s"), value) for name, value in result.items() if name.endswith("_s")]
    common.table(f"Seal and verify, {QUESTIONS} questions", ["what", "seconds>"], [list(row) for row in rows])


if __name__ == "__main__":
    main()
