"""The questions of the demo, on the text that this Python brings along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bakeoff.adapters.datasets import Document, open_corpus
from bakeoff.adapters.questions import load_questions

DEMO = Path(__file__).parents[2] / "configs" / "demo" / "questions.jsonl"


class Texts:
    """A corpus at hand."""

    def __init__(self, spec: str) -> None:
        self._texts = {item.doc_id: item.text for item in open_corpus(spec) if isinstance(item, Document)}

    def get(self, doc_id: str) -> str | None:
        """Return one text."""
        return self._texts.get(doc_id)

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield every text."""
        yield from self._texts.items()


def test_the_demo_questions_find_their_quotes() -> None:
    """In the language reference of this Python, nearly all quotes are found, each in its own place."""
    found = load_questions(str(DEMO), Texts("python"))
    assert len(found.questions) >= 150
    assert len(found.left_out) <= 0.1 * len(found.questions), found.left_out
    assert any(len(question.passages) == 2 for question in found.questions)
    assert any(not question.answerable for question in found.questions)
