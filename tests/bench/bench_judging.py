"""How long judging takes on two stored runs of 1,000 questions; writes artifacts/bench/judging.json.

Run: `python -m tests.bench.bench_judging`. Bar: `kpi-check` below 1.5 s as a whole process, digests checked.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bakeoff.adapters import clock, plans, standard
from bakeoff.adapters.plans import Stored
from bakeoff.config import Lock
from bakeoff.stages import plan, timing
from tests import support
from tests.bench import common

QUESTIONS = 1000
ROUNDS = 7
JUDGED = {0, 1, 3}
"""Exit codes of `kpi-check` that are verdicts: passed, failed, not known."""
STATIC = {"embedder": {"backend": "static"}}
SIDES = {
    "baseline": {**STATIC, "chunking": {"size": 200}},
    "candidate": {**STATIC, "chunking": {"size": 400, "overlap_ratio": 0.1}},
}


def prepared(bench: common.Bench, folder: Path) -> Stored:
    """Plan, evaluate and time both sides on questions made of the corpus's own words."""
    documents = support.topics(79, 10**6)
    asked = support.quotes_of(documents, words=12, each=40)[:QUESTIONS]
    questions = str(support.write_questions(folder / "questions.jsonl", asked))
    corpus = str(support.write_jsonl(folder / "corpus.jsonl", documents))
    locks: dict[str, Lock] = {name: bench.lock(name, data) for name, data in SIDES.items()}
    for lock in locks.values():
        bench.ingest(lock, corpus)
    bar = standard.profile(Path("configs/gates.yaml")), standard.rollout(Path("configs/rollouts/48h.yaml"))
    with bench.connect() as conn:
        sides = plan.Sides(locks["baseline"], locks["candidate"])
        options = plan.Options(accept_blind=True)
        stored = plan.run(conn, sides, questions, bar, now=clock.now(), options=options)
    for lock in locks.values():
        bench.evaluate(lock, questions)
    timing.run(
        bench.connect,
        stored,
        (locks["baseline"], locks["candidate"]),
        progress=common.quiet,
        now=clock.now,
        options=timing.Options(cache_dir=common.MODELS),
    )
    with bench.connect() as conn:
        return plans.find(conn, stored.plan_sha256)


def main() -> None:
    """Measure, print, save."""
    result: dict[str, Any] = {"machine": common.machine()}
    with tempfile.TemporaryDirectory() as name, common.bench() as bench:
        stored = prepared(bench, Path(name))
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environ = {**kept, "BAKEOFF_DATABASE_URL": bench.url, "BAKEOFF_ARTIFACTS": f"{name}/artifacts"}
        command = [str(Path(sys.executable).with_name("bakeoff")), "kpi-check", "--plan", stored.plan_sha256]

        def once() -> int:
            return subprocess.run(command, cwd=name, env=environ, check=False, capture_output=True).returncode

        def bare() -> int:
            return subprocess.run([sys.executable, "-c", "import psycopg, pydantic"], check=True).returncode

        once()  # an installed program has its bytecode
        codes: list[int] = []
        spent = [common.timed(lambda: codes.append(once())) for _ in range(ROUNDS)]
        started = statistics.median(common.timed(bare) for _ in range(ROUNDS))
    broken = sorted(set(codes) - JUDGED)
    if broken:
        sys.exit(f"kpi-check ended with {', '.join(map(str, broken))}: it did not judge, so its time says nothing")
    result |= {"questions": stored.plan.questions.used, "kpi_check_s": statistics.median(spent), "exit_codes": codes}
    result |= {"bare_imports_s": started, "against_bare_imports": result["kpi_check_s"] / started}
    common.save("judging", result)
    rows = [[f"kpi-check, {result['questions']} questions, s", f"{result['kpi_check_s']:.2f}", "< 1.5"]]
    common.table("Judging", ["figure", "measured>", "bar>"], rows)


if __name__ == "__main__":
    main()
