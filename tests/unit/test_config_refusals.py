"""What can't be taken out again, or be taken for something else, is refused before it is locked."""

from __future__ import annotations

import pytest

from bakeoff import config
from bakeoff.errors import ConfigError

OPENAI = {"kind": "openai", "base_url": "http://localhost:1", "model": "m"}


@pytest.mark.parametrize(
    "url",
    [
        "http://user:pw@host/v1",
        "https://key@host",
        "http://host/v1?key=secret",
        "http://host#x",
        "ftp://host",
        "http://",
    ],
)
def test_a_readers_address_holds_no_secret(url: str) -> None:
    """A lock never changes, so a password in it could never be taken out; the message does not repeat it."""
    with pytest.raises(ConfigError) as caught:
        config.parse({"reader": {**OPENAI, "base_url": url}}, source="x.yaml")
    (problem,) = caught.value.problems
    assert "x.yaml: reader.base_url: expected http(s)://host/path, without a name, a password or a query" == problem


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("candidate-2.b", None),
        ("beef", None),
        ("", "expected 1 to 63"),
        ("a|b", "expected 1 to 63"),
        ("two\nlines", "expected 1 to 63"),
        ("x" * 64, "expected 1 to 63"),
        ("active", "it means the lock in production"),
        ("2026-01-31-v1", "it looks like"),
        ("0123456789abcdef", "it looks like"),
        ("document_chunks_1", "it looks like"),
    ],
)
def test_a_locks_name_is_no_other_reference(name: str, problem: str | None) -> None:
    """A name that could be taken for a hash, a version, a table or the active lock is refused."""
    found = config.name_problem(name)
    assert (problem is None) == (found is None)
    assert problem is None or problem in str(found)
