"""The error tree: kinds, exit codes, one line."""

from __future__ import annotations

import pytest

from bakeoff import errors
from bakeoff.errors import BakeoffError, ConfigError, InputError

# What scripts rely on: class → (kind, exit code, base).
TABLE = {
    "BakeoffError": ("error", 5, "Exception"),
    "NoError": ("no", 1, "BakeoffError"),
    "UsageError": ("usage", 2, "BakeoffError"),
    "ConfigError": ("config", 2, "UsageError"),
    "InputError": ("input", 2, "UsageError"),
    "NotFoundError": ("not_found", 2, "UsageError"),
    "NotKnownError": ("not_known", 3, "BakeoffError"),
    "StateError": ("state", 4, "BakeoffError"),
    "ConflictError": ("conflict", 4, "StateError"),
    "IntegrityError": ("integrity", 4, "StateError"),
    "StoppedError": ("interrupted", 130, "BakeoffError"),
    "OutsideError": ("outside", 5, "BakeoffError"),
    "DatabaseError": ("database", 5, "OutsideError"),
    "ModelError": ("model", 5, "OutsideError"),
    "ReaderError": ("reader", 5, "OutsideError"),
}


def test_every_error_has_its_kind_and_exit_code() -> None:
    """The whole table, so that no class comes or changes unnoticed."""
    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, BakeoffError)]
    assert TABLE == {item.__name__: (item.kind, item.exit_code, item.__bases__[0].__name__) for item in classes}


def test_kinds_are_unique() -> None:
    """A kind names one class."""
    assert len(TABLE) == len({kind for kind, _, _ in TABLE.values()})


@pytest.mark.parametrize("name", sorted(TABLE))
def test_message_and_hint_are_kept(name: str) -> None:
    """`str` is the message alone; the hint is optional."""
    made = getattr(errors, name)("what is wrong", hint="what to do")
    assert ("what is wrong", "what to do") == (str(made), made.hint)
    assert None is getattr(errors, name)("what is wrong").hint


@pytest.mark.parametrize("made", [ConfigError, InputError])
def test_problems_are_kept_apart(made: type[ConfigError | InputError]) -> None:
    """Several problems stand beside the summary, one line each."""
    assert ("a: bad", "b: bad") == made("2 problems", problems=("a: bad", "b: bad")).problems
    assert () == made("1 problem").problems
