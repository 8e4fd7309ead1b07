"""Every deliberate error: its kind, its exit code, its one line.

Callers may rely on: each class fixes `kind` (the machine-readable word in `--json`) and `exit_code` (the table below);
`str(error)` is one line that says what is wrong, where, what was expected; `hint` says what to do next.

Exit codes: 0 done or yes · 1 the answer is no · 2 usage · 3 not known (inconclusive, no data) · 4 refused in this
state · 5 something outside failed or is unavailable · 70 a bug, with its traceback · 130 interrupted.
"""

from __future__ import annotations

from typing import ClassVar


class BakeoffError(Exception):
    """A deliberate error; its subclasses fix kind and exit code."""

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 5

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep *message* (one line) and *hint* (the next command or change to make)."""
        super().__init__(message)
        self.hint = hint


class NoError(BakeoffError):
    """The answer is no: a check failed."""

    kind = "no"
    exit_code = 1


class UsageError(BakeoffError):
    """The command line, a file or a value in it is wrong."""

    kind = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """A configuration breaks its rules; every broken rule is listed in `problems`."""

    kind = "config"

    def __init__(self, message: str, *, hint: str | None = None, problems: tuple[str, ...] = ()) -> None:
        """Keep *problems*, one line each, beside the summary *message*."""
        super().__init__(message, hint=hint)
        self.problems = problems


class InputError(UsageError):
    """A corpus, question or artifact file can't be used as it is; several things wrong with it are in `problems`."""

    kind = "input"

    def __init__(self, message: str, *, hint: str | None = None, problems: tuple[str, ...] = ()) -> None:
        """Keep *problems*, one line each, beside the summary *message*."""
        super().__init__(message, hint=hint)
        self.problems = problems


class NotFoundError(UsageError):
    """What was named does not exist."""

    kind = "not_found"


class NotKnownError(BakeoffError):
    """There is no data to answer with."""

    kind = "not_known"
    exit_code = 3


class StateError(BakeoffError):
    """Refused in this state: already running, already active, not ingested yet."""

    kind = "state"
    exit_code = 4


class IntegrityError(StateError):
    """A digest is not the one that was recorded."""

    kind = "integrity"


class ConflictError(StateError):
    """Somebody else was faster: what was to be changed is no longer as it was read."""

    kind = "conflict"


class StoppedError(BakeoffError):
    """A person stopped it in the middle, and what it leaves behind is to be known."""

    kind = "interrupted"
    exit_code = 130


class OutsideError(BakeoffError):
    """Something outside failed: a database, a model, a service, a disk."""

    kind = "outside"
    exit_code = 5


class DatabaseError(OutsideError):
    """The database failed or is unavailable."""

    kind = "database"


class ModelError(OutsideError):
    """An embedder, tokenizer or reranker can't be loaded or gave rubbish."""

    kind = "model"


class ReaderError(OutsideError):
    """A reader's service failed, timed out or gave rubbish."""

    kind = "reader"
