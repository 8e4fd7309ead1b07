"""The templates that pages are filled from, as they come with the package."""

from __future__ import annotations

from importlib import resources


def read(name: str) -> str:
    """Return the text of the file *name* in the package's `templates/`. Raises FileNotFoundError."""
    return (resources.files("bakeoff") / "templates" / name).read_text(encoding="utf-8")
