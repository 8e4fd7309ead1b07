"""How long a person waits; writes artifacts/bench/cli.json.

Run: `python -m tests.bench.bench_cli`. Bars: `bakeoff --help` at most 0.25 s and at most 1.6 times a bare Typer program
with as many commands, in turn, as whole processes; the demo, environment made, in less than 60 s in a fresh folder.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import common

ROUNDS = 15
BARE = """
import typer
app = typer.Typer()
@app.command()
def one(number: int) -> None:
    "One."
@app.command()
def two(number: int) -> None:
    "Two."
app()
"""


def seconds(command: list[str], folder: Path) -> float:
    """Return the wall seconds of *command* as a whole process."""
    return common.timed(lambda: subprocess.run(command, cwd=folder, check=True, capture_output=True))


def help_figures(folder: Path) -> dict[str, float]:
    """Return the medians of `bakeoff --help` and of a bare Typer program's, measured in turn."""
    bare = folder / "bare.py"
    bare.write_text(BARE, encoding="utf-8")
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(seconds([str(Path(sys.executable).with_name("bakeoff")), "--help"], folder))
        theirs.append(seconds([sys.executable, str(bare), "--help"], folder))
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "help_s": statistics.median(ours),
        "bare_s": statistics.median(theirs),
        "ratio": statistics.median(pairs),
    }


def demo_figures(folder: Path) -> dict[str, Any]:
    """Return the seconds of each command of the demo in a fresh folder, the model's graph not built yet."""
    shutil.copytree(common.ROOT / "configs", folder / "configs")
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = ["bash", "configs/demo/run.sh"]
    try:
        spent = common.timed(lambda: subprocess.run(script, cwd=folder, env=environ, check=True, capture_output=True))
    finally:
        subprocess.run([str(Path(sys.executable).with_name("bakeoff")), "db", "stop"], cwd=folder, check=False)
    return {"demo_s": spent}


def main() -> None:
    """Measure, print, save."""
    result: dict[str, Any] = {"machine": common.machine()}
    with tempfile.TemporaryDirectory(prefix="bakeoff-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root the server runs as a user of its own
        result |= help_figures(folder) | demo_figures(folder)
    common.save("cli", result)
    figures = [
        ["bakeoff --help, s", f"{result['help_s']:.3f}", "≤ 0.25"],
        ["bakeoff --help : bare Typer", f"{result['ratio']:.2f}", "≤ 1.60"],
        ["demo in a fresh folder, s", f"{result['demo_s']:.1f}", "< 60"],
    ]
    common.table("Waiting", ["figure", "measured>", "bar>"], figures)


if __name__ == "__main__":
    main()
