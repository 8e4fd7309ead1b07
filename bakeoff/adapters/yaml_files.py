"""YAML files, read strictly; apart from `files`, since most commands read none and the library takes time to load.

Callers may rely on: a file that is broken, or says a key twice, is refused with its place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bakeoff.adapters import files
from bakeoff.errors import InputError


class _OneOfEach(yaml.SafeLoader):
    """YAML's safe loader, but a key that stands twice is an error: else the second one wins without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping. Raises ConstructorError, with the place, where a key repeats."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, str) else id(key_node))
        return super().construct_mapping(node, deep=deep)


def read(path: Path, *, what: str) -> Any:
    """Return the YAML value in *path*. Raises InputError with line and column where it is broken."""
    text = files.read_text(path, what=what)
    try:
        return yaml.load(text, Loader=_OneOfEach)  # noqa: S506  # a SafeLoader that is stricter
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "broken YAML"
        raise InputError(f"{path}{where}: {problem}", hint="correct the YAML at that place") from error
