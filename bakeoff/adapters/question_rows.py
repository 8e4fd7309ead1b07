"""What question files of every form share: the result's types, and reading rows with all their problems at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from bakeoff import canonical, gold, report
from bakeoff.adapters import loaders
from bakeoff.errors import InputError, UsageError

GoldLevel = Literal["span", "document", "mixed", "none"]

MAX_LINE_BYTES = 16 * 1024 * 1024
SHOWN_PROBLEMS = 20


class DocumentSource(Protocol):
    """The stored texts that gold is resolved against."""

    def get(self, doc_id: str) -> str | None:
        """Return the text of a document, or None where the corpus has none of that id."""

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield (doc_id, text) of every document once, in any order."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A question that can't be asked of this corpus, and why."""

    question_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions with their gold resolved to bytes of the stored texts."""

    name: str
    digest: str
    """SHA-256 over the content as it was given, so that it does not depend on the corpus."""
    questions: tuple[gold.Question, ...]
    left_out: tuple[LeftOut, ...]
    gold_level: GoldLevel
    """What the gold of the questions is; mixed: some have spans, some documents only."""
    unjudged: int = 0
    """Questions of the file that nobody judged in this split; they are not asked."""
    absent_documents: tuple[str, ...] = ()
    """Judged documents that the corpus does not hold; they stay in the gold, as what can't be found."""


def gold_level(questions: tuple[gold.Question, ...]) -> GoldLevel:
    """Return what the gold of *questions* is; those that can't be answered are not looked at."""
    levels = {gold.level(question) for question in questions if question.answerable} - {"none"}
    if len(levels) > 1:
        return "mixed"
    return levels.pop() if levels else "none"


@dataclass(slots=True)
class Problems:
    """Collects what is wrong with a file, so that all of it can be said at once."""

    path: Path
    found: list[str] = field(default_factory=list)

    def add(self, line: int, what: str) -> None:
        """Note *what* is wrong in *line*."""
        self.found.append(f"{self.path}:{line}: {report.line(what)}")

    def stop(self, *, hint: str) -> None:
        """Raise InputError with the first 20 problems where there are any."""
        if not self.found:
            return
        count = len(self.found)
        if count == 1:
            raise InputError(self.found[0], hint=hint)
        more = f", the first {SHOWN_PROBLEMS} are shown" if count > SHOWN_PROBLEMS else ""
        shown = tuple(self.found[:SHOWN_PROBLEMS])
        raise InputError(f"{count} problems in {self.path}{more}", hint=hint, problems=shown)


def rows(problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON lines file; broken lines are noted in *problems* and left out."""
    with loaders.opened(problems.path) as file:
        for number, line in loaders.lines(file, MAX_LINE_BYTES):
            if line is None:
                problems.add(number, f"the line has more than {MAX_LINE_BYTES:,} bytes")
                continue
            if not line.strip():
                continue
            value = loaders.parse_object(line)
            if isinstance(value, str):
                problems.add(number, value)
                continue
            try:
                canonical.encode(value)
            except (UsageError, RecursionError) as error:
                problems.add(number, f"holds what has no digest: {error}")
                continue
            yield number, value


def text_problem(value: object, name: str) -> str | None:
    """Return what is wrong with a text that must be visible, or None."""
    if not isinstance(value, str):
        return f"{name} is {loaders.type_name(value)}, expected text"
    if not value.strip():
        return f"{name} is empty"
    return f"{name} holds a NUL character" if "\x00" in value else None


def id_problem(value: object, name: str) -> str | None:
    """Return what is wrong with an id, or None: it is printed and typed, so a control character is as bad as none."""
    problem = text_problem(value, name)
    if problem is None and any(sign in "\t\n" or report.printable(sign) != sign for sign in str(value)):
        return f"{name} holds a control character"
    return problem


def texts_problem(value: object, name: str) -> str | None:
    """Return what is wrong with a list of visible texts, or None."""
    if not isinstance(value, list):
        return f"{name} is {loaders.type_name(value)}, expected a list"
    return next((said for one in value if (said := text_problem(one, f"an entry of {name}"))), None)
