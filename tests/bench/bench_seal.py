"""Seal and verify a whole bakeoff with 1,000 questions and a simulated rollout, each as a process of its own.

Run it with `python -m tests.bench.bench_seal`. A seal is taken away between two runs of `bakeoff seal`, so that each
appends its own. Beside them: Python with what any program that checks a signature has to import, and a loop that says
how fast the machine is just then. As an installed program has its bytecode, each is run once before it is measured.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
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
ROUNDS = 15
BAR_S = 1.0
BARE = "import cryptography.hazmat.primitives.asymmetric.ed25519, cryptography.hazmat.primitives.serialization, json"
LOOP = "n = 0\nfor i in range(3_000_000): n += i * i"
"""How fast the machine is just then."""
SEAL = "the newest seal"
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


def seconds(found: Project, lines: Mapping[str, Sequence[str]]) -> dict[str, list[float]]:
    """Return the seconds of whole processes by name, in turn, without the first turn, which may write bytecode.

    The machine's speed moves, so all of them are measured in every turn.
    """
    taken: dict[str, list[float]] = {name: [] for name in lines}
    for turn in range(1 + ROUNDS):
        for name, line in lines.items():
            if name == "seal":
                unsealed(found.folder)
            given = [str(path_of(found)) if part == SEAL else part for part in line]
            took = common.timed(partial(run, found, given))
            if turn:
                taken[name].append(took)
    return taken


def path_of(found: Project) -> Path:
    """Return the one seal that there is."""
    (path,) = (found.folder / "home" / "artifacts" / "seals").glob("*.seal.json")
    return path


def measured(folder: Path) -> dict[str, Any]:
    """Measure everything."""
    result: dict[str, Any] = {"machine": common.machine(), "questions": QUESTIONS, "rounds": ROUNDS, "bar_s": BAR_S}
    found = project(folder)
    bakeoff = str(Path(sys.executable).with_name("bakeoff"))
    taken = seconds(
        found,
        {
            "loop": [sys.executable, "-c", LOOP],
            "python": [sys.executable, "-c", "pass"],
            "python_and_cryptography": [sys.executable, "-c", BARE],
            "seal": [bakeoff, "seal"],
            "verify": [bakeoff, "verify", SEAL],
            "verify_recompute": [bakeoff, "verify", SEAL, "--recompute"],
        },
    )
    path = path_of(found)
    rows = path.with_name(path.name.replace(".seal.", ".rows."))
    sizes = {"seal_bytes": path.stat().st_size, "rows_bytes": rows.stat().st_size}
    medians = {f"{name}_s": round(statistics.median(each), 3) for name, each in taken.items()}
    fastest = {f"{name}_fastest_s": round(min(each), 3) for name, each in taken.items()}
    return {**result, **sizes, **medians, **fastest}


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
    names = [name.removesuffix("_fastest_s") for name in result if name.endswith("_fastest_s")]
    rows = [[name, result[f"{name}_s"], result[f"{name}_fastest_s"]] for name in names]
    common.table(f"Seal and verify, {QUESTIONS} questions", ["what", "median s>", "fastest s>"], rows)


if __name__ == "__main__":
    main()
