"""The documentation inside CPython → documents; nothing is downloaded and nothing of it is part of this package.

Callers may rely on: `topics` yields the language reference's topics as `ref/<topic>` in the order of their names;
`modules` yields one document `lib/<module>` for each documented module of the standard library, in the order of their
names, read from its source: no module is imported, so nothing runs. Modules written in C have no source and are not in.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path

from bakeoff.adapters.loaders import Rejected, checked
from bakeoff.chunking import Document

# Tests, demonstrations, and programs that happen to live in the library's folder.
_LEFT_OUT = frozenset({
    *("antigravity", "ensurepip", "idlelib", "lib2to3", "msilib", "pydoc_data", "test", "tests", "this", "turtledemo"),
    *("__main__", "__phello__", "distutils"),
})  # fmt: skip


def topics() -> Iterator[Document | Rejected]:
    """Yield the topics of the language reference; the title is the topic's first heading."""
    from pydoc_data.topics import topics as texts

    for name in sorted(texts):
        text = texts[name]
        title = next((line.strip() for line in text.splitlines() if line.strip()), name)
        yield checked(Document(f"ref/{name}", title, text, f"pydoc_data.topics:{name}"))


def count_topics() -> int:
    """Return the number of topics."""
    from pydoc_data.topics import topics as texts

    return len(texts)


def modules() -> Iterator[Document | Rejected]:
    """Yield the docstrings of the public modules of the standard library; a module without any is no document."""
    for name, path in sources():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in the library's own source
            try:
                with tokenize.open(path) as file:
                    tree = ast.parse(file.read())
            except (OSError, SyntaxError, ValueError, RecursionError) as error:
                yield Rejected(str(path), f"lib/{name}", f"the source can't be read: {type(error).__name__}")
                continue
        text = "\n\n".join(_parts(tree, name))
        if text:
            yield checked(Document(f"lib/{name}", _title(tree, name), text, str(path)))


def sources() -> list[tuple[str, Path]]:
    """Return (module, path) of each public module of the standard library that has source, by module."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found: list[tuple[str, Path]] = []
    for name in sys.stdlib_module_names:
        if _is_public(name):
            _find(root, name, name, found)
    return sorted(found)


def _is_public(name: str) -> bool:
    return not name.startswith("_") and name not in _LEFT_OUT


def _find(folder: Path, name: str, module: str, found: list[tuple[str, Path]]) -> None:
    package = folder / name
    if (package / "__init__.py").is_file():
        found.append((module, package / "__init__.py"))
        if module == "encodings":
            return  # its modules are tables of characters
        for child in package.iterdir():
            if _is_public(child.stem) and (child.suffix == ".py" or child.is_dir()):
                _find(package, child.stem, f"{module}.{child.stem}", found)
    elif (folder / f"{name}.py").is_file():
        found.append((module, folder / f"{name}.py"))


def _title(tree: ast.Module, name: str) -> str:
    """Return the module's name with the first line of its docstring."""
    said = (ast.get_docstring(tree) or "").strip().partition("\n")[0].rstrip(".")
    return f"{name} - {said}" if said and not said.lower().startswith(name.lower()) else said or name


def _parts(tree: ast.Module, name: str) -> Iterator[str]:
    """Yield headings with their docstrings: the module, then its public functions, classes and their methods."""
    said = ast.get_docstring(tree)
    if said:
        yield f"{name}\n\n{said.strip()}"
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and _is_public(node.name):
            yield from _class_parts(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(node.name):
            yield from _part(node, node.name)


def _class_parts(node: ast.ClassDef) -> Iterator[str]:
    said = ast.get_docstring(node)
    if said:
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        yield f"class {node.name}({bases})\n\n{said.strip()}" if bases else f"class {node.name}\n\n{said.strip()}"
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(child.name):
            yield from _part(child, f"{node.name}.{child.name}")


def _part(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[str]:
    said = ast.get_docstring(node)
    if said:
        yield f"{name}({ast.unparse(node.args)})\n\n{said.strip()}"
