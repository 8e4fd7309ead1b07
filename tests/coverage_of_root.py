"""Say whether every root module of the package is covered whole: each line, each branch.

Run after `pytest --cov=bakeoff`; reads `.coverage`. Exits 0 where nothing is missing, 1 with the places where
something is, 2 where there is no coverage data to judge.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from coverage import Coverage
from coverage.exceptions import CoverageException

ROOT = Path(__file__).resolve().parents[1]


def places(found: dict[str, Any]) -> list[str]:
    """What one module's tests did not run, in words."""
    lines = [f"line {line}" for line in found["missing_lines"]]
    branches = [f"branch {start} → {'exit' if end < 0 else end}" for start, end in found["missing_branches"]]
    return [*lines, *branches]


def uncovered(measured: dict[str, Any], modules: list[str]) -> dict[str, list[str]]:
    """Which of *modules* are not covered whole, and where; a module that was not measured at all is one of them."""
    missing = {name: places(measured[name]) if name in measured else ["never imported"] for name in modules}
    return {name: where for name, where in missing.items() if where}


def measure(data: Path) -> dict[str, Any]:
    """Read the coverage data in *data* by file. Raises CoverageException where there is none, or none of branches."""
    if not data.is_file():
        raise CoverageException(f"there is no {data.name}")
    coverage = Coverage(data_file=str(data), config_file=str(ROOT / "pyproject.toml"))
    coverage.load()
    if not coverage.get_data().has_arcs():
        raise CoverageException(f"{data.name} has no branches in it")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        coverage.json_report(outfile=str(report))
        files: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))["files"]
    return {(ROOT / name).resolve().relative_to(ROOT).as_posix(): found for name, found in files.items()}


def main() -> int:
    """Judge the data of the last run; the return value is the exit code."""
    modules = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "bakeoff").glob("*.py"))]
    try:
        missing = uncovered(measure(ROOT / ".coverage"), modules)
    except CoverageException as error:
        sys.stderr.write(f"no coverage to judge: {error}\nrun: pytest --cov=bakeoff\n")
        return 2
    for name, where in missing.items():
        more = f" and {len(where) - 10} more" if len(where) > 10 else ""
        sys.stderr.write(f"{name} is not covered whole: {', '.join(where[:10])}{more}\n")
    total = len(modules)
    sys.stderr.write(f"{total - len(missing)} of {total} root modules are covered whole, lines and branches\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
