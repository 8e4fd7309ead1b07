"""What the source promises about itself: sizes, named and used SQL, no error swallowed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bakeoff.adapters import queries

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = sorted((ROOT / "bakeoff").rglob("*.py"))
SOURCES = [*PACKAGE, *sorted((ROOT / "tests").rglob("*.py"))]
TOPICS = sorted(path for path in (ROOT / "sql").glob("*.sql") if path.name != "schema.sql")
LONGEST_FILE = 400
LONGEST_FUNCTION = 40
CATCHING_ALL = {  # with what makes each of them safe
    "bakeoff/cli/main.py": "the boundary: a bug keeps its traceback and its own exit code",
    "bakeoff/adapters/settings.py": "whatever the driver dislikes about a URL must not be shown",
    "bakeoff/adapters/tokenizer.py": "the engine raises bare Exception; raised again as ModelError",
}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_no_file_is_longer_than_400_lines() -> None:
    """A file that grows beyond it is two files."""
    lengths = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in [*SOURCES, *TOPICS]}
    assert {} == {name: length for name, length in lengths.items() if length > LONGEST_FILE}


def _functions() -> Iterator[tuple[str, int]]:
    """Every function of the package with its lines from `def` to its end, those of its docstring left out."""
    for path in PACKAGE:
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                told = ast.get_docstring(node, clean=False) is not None
                lines = (node.end_lineno or 0) - node.lineno + 1
                yield f"{_name(path)}:{node.name}", lines - told * ((first.end_lineno or 0) - first.lineno + 1)


def test_no_function_is_longer_than_40_lines() -> None:
    """From `def` to its end without its docstring, which may be as long as it needs."""
    assert [] == [(name, length) for name, length in _functions() if length > LONGEST_FUNCTION]


def _catches_all(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    raises = any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    return "Exception" in names or ("BaseException" in names and not raises)


def test_nothing_catches_every_error_but_where_it_says_why() -> None:
    """`except Exception` hides bugs; the few places that need it give their reason beside it."""
    found = set()
    for path in PACKAGE:
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ExceptHandler) and _catches_all(node):
                if not re.search(r"  # noqa: BLE001 +[#-] \S|  # \S", lines[node.lineno - 1]):
                    found.add(f"{_name(path)}:{node.lineno} without a reason")
                if "BaseException" not in lines[node.lineno - 1]:
                    found.add(_name(path))
    assert set() == found - set(CATCHING_ALL)


@cache
def _strings() -> list[re.Pattern[str]]:
    """Every string of the package as a pattern; what is filled in when it runs is any word."""
    patterns: set[str] = set()
    for path in PACKAGE:
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                patterns.add(re.escape(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [re.escape(str(p.value)) if isinstance(p, ast.Constant) else r"\w+" for p in node.values]
                if parts[0] != r"\w+":
                    patterns.add("".join(parts))
    return [re.compile(pattern) for pattern in sorted(patterns)]


@pytest.mark.parametrize("path", TOPICS, ids=lambda path: path.stem)
def test_every_query_is_named_described_and_used(path: Path) -> None:
    """A file of queries holds nothing else: a name, one line of description, one statement; and no query is dead."""
    text = path.read_text(encoding="utf-8")
    names = re.findall(r"^-- name: (.*)$", text, re.MULTILINE)
    found = queries.load(path.stem)
    assert names == list(found), "each name once, each followed by its description"
    assert text.lstrip().startswith("-- name: ")
    for query in found.values():
        assert re.fullmatch(r"[A-Z].*[.:].*", query.about), query.name
        assert query.text
        assert not re.search(r";\s*\n\s*[A-Z]", query.text), f"{query.name} is more than one statement"
    spoken = {
        name for name in names if any(p.fullmatch(f"{path.stem}.{name}") or p.fullmatch(name) for p in _strings())
    }
    assert [] == [name for name in names if name not in spoken]
