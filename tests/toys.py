"""Small tokenizers with the habits of real ones, for tests that need to know every token."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Token = tuple[int, int, int]


@dataclass(slots=True)
class Toy:
    """Words at white space, cut into pieces of *width* code points.

    *drops*: characters that get no token. *leading*: a word's first token begins with the white space before it, as
    byte-level BPE has it. *bytewise*: one token for each byte, those of a character sharing its span. *blanks*: every
    character of white space is a token and a word.
    """

    width: int = 3
    drops: str = ""
    leading: bool = False
    bytewise: bool = False
    blanks: bool = False
    special_tokens: int = 2

    def _spans(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        for piece in re.finditer(f"[^{re.escape(self.drops)}]+" if self.drops else r".+", text[start:end], re.DOTALL):
            first, last = start + piece.start(), start + piece.end()
            step = 1 if self.bytewise else self.width
            for at in range(first, last, step):
                times = len(text[at].encode()) if self.bytewise else 1
                yield from [(at, min(at + step, last))] * times

    def offsets(self, text: str) -> list[Token]:
        """Return (start, end, word) of each token."""
        found: list[Token] = []
        for word, match in enumerate(re.finditer(r"\s|\S+" if self.blanks else r"\S+", text)):
            for index, (start, end) in enumerate(self._spans(text, match.start(), match.end())):
                early = self.leading and index == 0 and start == match.start() > 0
                found.append((start - early, end, word))
        return found

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text."""
        return [len(self.offsets(text)) for text in texts]


TOYS = (
    Toy(),
    Toy(width=1),
    Toy(width=9, leading=True),
    Toy(bytewise=True),
    Toy(width=2, drops="\u200bx"),
    Toy(width=4, blanks=True),
)
