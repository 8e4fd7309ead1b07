"""The first thing in which two JSON values differ, with the place where it stands.

Callers may rely on: equal values have none, whatever the order of their keys; `true` is not 1; numbers are compared by
value; a list is compared item by item, in its order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SHOWN = 60
"""Characters of a value that are shown."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Nothing:
    """Stands where one of the values has nothing."""


_NOTHING = _Nothing()


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two values differ, as jq names the place (`.cases[3].f1`), and what stands there in either, cut short."""

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}"


def first(expected: Any, found: Any, *, ids: Sequence[str] = ()) -> Difference | None:
    """Return the first difference of *found* from *expected*, in the order of *expected*'s keys; None where equal.

    The keys *ids* are looked at before all others of an object, so that an item that is another one is named as such.
    """
    return _first(expected, found, "", ids)


def _first(expected: Any, found: Any, path: str, ids: Sequence[str]) -> Difference | None:
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = dict.fromkeys([*(key for key in ids if key in expected or key in found), *expected, *found])
        pairs = ((_below(path, key), expected.get(key, _NOTHING), found.get(key, _NOTHING)) for key in keys)
    elif isinstance(expected, list) and isinstance(found, list):
        longest = max(len(expected), len(found))
        pairs = ((f"{path}[{n}]", _at(expected, n), _at(found, n)) for n in range(longest))
    elif _same(expected, found):
        return None
    else:
        return Difference(path or ".", _shown(expected), _shown(found))
    return next((item for below, a, b in pairs if (item := _first(a, b, below, ids)) is not None), None)


def _same(expected: Any, found: Any) -> bool:
    """Compare what has nothing below it; Python's True equals 1, JSON's does not."""
    return isinstance(expected, bool) is isinstance(found, bool) and bool(expected == found)


def _at(items: list[Any], n: int) -> Any:
    return items[n] if n < len(items) else _NOTHING


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if _WORD.fullmatch(key) else f"{path or '.'}[{json.dumps(key, ensure_ascii=False)}]"


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
