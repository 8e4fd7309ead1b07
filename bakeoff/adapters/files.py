"""Files of a project: whole or not at all, in folders that are made when needed.

Callers may rely on: `write` replaces a file in one step, so a reader (or a kill) never sees half of it.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bakeoff.errors import InputError, OutsideError

_TRIED_BYTES = 65_536
"""Written to see whether there is room: more than a full disk may still hold of a small file."""


def write(path: Path, data: bytes) -> Path:
    """Write *data* to *path* atomically and return it. Raises OutsideError where the disk or the rights refuse."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(0o666 & ~umask)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutsideError(
            f"can't write {path}: {error.strerror}", hint="check the disk space and the rights"
        ) from error
    return path


def require_writable(*paths: Path | None) -> None:
    """Raise OutsideError where a file could not be written to one of *paths*, before the work that it is to hold.

    A few bytes are written beside each, or in the first folder above it that exists, and removed: nothing is left.
    """
    for path in paths:
        if path is not None:
            _try(path, path.parent, prefix=f".{path.name}.")


def require_folder(folder: Path) -> None:
    """Raise OutsideError where no file could be written into *folder*; it may be made later."""
    _try(folder, folder, prefix=".new.")


def _try(named: Path, folder: Path, *, prefix: str) -> None:
    try:
        if named is not folder and named.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        while not os.path.lexists(folder) and folder != folder.parent:
            folder = folder.parent
        with tempfile.NamedTemporaryFile(dir=folder, prefix=prefix) as file:
            file.write(bytes(_TRIED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutsideError(
            f"can't write {named}: {error.strerror}", hint="check the disk space and the rights; nothing was done yet"
        ) from error


def write_json(path: Path, value: Mapping[str, Any], *, rows: str | None = None) -> Path:
    """Write *value* as indented JSON with a final newline, atomically.

    The list under *rows* comes last, an item a line: a large one is then written ten times as fast, and line tools
    can read it.
    """
    head = {key: below for key, below in value.items() if key != rows}
    text = json.dumps(head, indent=2, ensure_ascii=False, allow_nan=False)
    if rows is not None:
        items = ",\n".join("    " + json.dumps(item, ensure_ascii=False, allow_nan=False) for item in value[rows])
        text = f"{text.removesuffix('}').rstrip()},\n  {json.dumps(rows)}: [\n{items}\n  ]\n}}"
    return write(path, (text + "\n").encode())


def read_text(path: Path, *, what: str) -> str:
    """Return the UTF-8 text of *path*. Raises InputError that names *what* was wanted."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"no such {what}: {path}", hint="check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start})", hint="save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}", hint="check the path and its rights") from error
