"""JSON files that somebody may have cut short or edited.

Callers may rely on: what is read is JSON as every reader takes it (no NaN, no key twice in one object); a file that
ends too early is told from one that is broken.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bakeoff.errors import InputError

_BEGUN = re.compile(r"\.|[eE][+-]?|-|\\?u?[0-9a-fA-F]{0,4}")
"""What may be left of a number or of an escape whose end is missing."""


def _one_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. Raises ValueError where a key stands twice: readers would not agree on its value."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")


def read(path: Path, *, what: str, hint: str = "correct it, or write it again") -> Any:
    """Return the JSON value in *path*, a *what*. Raises InputError, with the line and byte where it stops or breaks."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
        return json.loads(text, object_pairs_hook=_one_of_each, parse_constant=_no_number)
    except FileNotFoundError as error:
        raise InputError(f"no such {what}: {path}", hint="check the path") from error
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}", hint="check the path and its rights") from error
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # inside a character
            raise InputError(_cut(path, data), hint=hint) from error
        raise InputError(f"{path} is not UTF-8 (byte {error.start})", hint=hint) from error
    except json.JSONDecodeError as error:
        if _ends_inside(error):
            raise InputError(_cut(path, data), hint=hint) from error
        byte = len(text[: error.pos].encode())
        raise InputError(
            f"{path} is not JSON: {error.msg.lower()} at line {error.lineno}, byte {byte}", hint=hint
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} can't be used as JSON: {error}", hint=hint) from error


def _cut(path: Path, data: bytes) -> str:
    line = data.count(b"\n") + 1
    return f"{path} is cut short: its JSON stops at line {line}, byte {len(data)}" if data else f"{path} is empty"


def _ends_inside(error: json.JSONDecodeError) -> bool:
    """Return whether the text is fine as far as it goes: more of it might have been JSON."""
    rest = error.doc[error.pos :]
    if not rest.strip() or error.msg.startswith("Unterminated string"):
        return True
    begun = any(word.startswith(rest) for word in ("true", "false", "null", "NaN", "-Infinity"))
    return begun or _BEGUN.fullmatch(rest) is not None
