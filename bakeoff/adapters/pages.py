"""HTML pages → text.

Callers may rely on: scripts, styles, navigation and comments are left out; a heading is one line that starts with as
many `#` as its level, a list item one that starts with `- `; a table row is one line with ` | ` between its cells;
preformatted text keeps its lines; other white space is one space, and a blank line stands between blocks.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bakeoff.errors import ConfigError

if TYPE_CHECKING:
    import bs4

_DROPPED = ["script", "style", "nav", "template", "noscript", "title", "svg", "iframe", "object", "button", "select"]
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_BLOCKS = frozenset({
    *("address", "article", "aside", "blockquote", "body", "details", "div", "dl", "dd", "dt", "fieldset"),
    *("figcaption", "figure", "footer", "form", "header", "hr", "html", "main", "ol", "p", "section", "summary"),
    *("table", "tbody", "thead", "tfoot", "ul", "caption"),
})  # fmt: skip


def html_text(markup: str) -> tuple[str, str]:
    """Return (title, text) of a page; the title is the page's own, else its first heading, else empty.

    Raises ConfigError where Beautiful Soup is not installed, ValueError where it can make nothing of *markup*.
    """
    try:
        import bs4
    except ImportError as error:
        raise ConfigError("HTML files need Beautiful Soup", hint="install the extra: bakeoff[html]") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a page looks like a path or like XML is no concern here
        try:
            page = bs4.BeautifulSoup(markup, "html.parser")
        except (bs4.exceptions.ParserRejectedMarkup, RecursionError) as error:
            raise ValueError("not HTML that can be parsed") from error
    named = page.find("title")
    title = "" if named is None else named.get_text()
    for element in page.find_all(_DROPPED):
        element.decompose()
    if not title.strip():
        heading = page.find(["h1", "h2", "h3"])
        title = "" if heading is None else heading.get_text(" ")
    return " ".join(title.split()), _joined(_pieces(page))


def _joined(pieces: Iterator[tuple[str, bool]]) -> str:
    """Join (piece, preformatted), with no blanks around line ends and at most one blank line."""
    parts: list[str] = []
    fresh = True  # at the start of a line
    for piece, preformatted in pieces:
        text = piece if preformatted or not fresh else piece.lstrip(" ")
        if fresh and len(text) > 1 and text[0] == "\n" != text[1]:
            text = text[1:]  # a row or an item begins a line, and this is one
        if text.startswith("\n") and parts:
            parts[-1] = parts[-1].rstrip(" ")
        if text:
            parts.append(text)
            fresh = text.endswith("\n")
    return re.sub(r"\n{3,}", "\n\n", "".join(parts)).strip()


def _pieces(root: bs4.Tag) -> Iterator[tuple[str, bool]]:
    """Yield (piece, preformatted) in reading order. With a stack of its own: pages nest deeper than Python recurses."""
    from bs4.element import CData, NavigableString, PageElement, Tag

    stack: list[PageElement | str] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Tag):
            ready = _ready(node)
            if ready is not None:
                yield ready
                continue
            before, after = _around(node)
            yield before, False
            stack.append(after)
            stack.extend(reversed(node.contents))
        elif type(node) is str:
            yield node, False
        elif type(node) in {NavigableString, CData}:  # their other subclasses are comments and declarations
            yield re.sub(r"\s+", " ", str(node)), False


def _ready(node: bs4.Tag) -> tuple[str, bool] | None:
    """Return the whole of a node that is written in one piece: preformatted text, a heading, a table row, a break."""
    if node.name == "pre":
        return "\n\n" + node.get_text().strip("\n") + "\n\n", True
    if node.name in _HEADINGS:
        text = " ".join(node.get_text(" ").split())
        return f"\n\n{_HEADINGS[node.name]}{text}\n\n" if text else "", False
    if node.name == "tr" and node.find("table") is None:
        cells = node.find_all(["td", "th"], recursive=False)
        return "\n" + " | ".join(" ".join(cell.get_text(" ").split()) for cell in cells) + "\n", False
    return ("\n", False) if node.name == "br" else None


def _around(node: bs4.Tag) -> tuple[str, str]:
    """Return what stands before and after the content of *node*."""
    if node.name == "li":
        return "\n- ", "\n"
    return ("\n\n", "\n\n") if node.name in _BLOCKS else ("", "")
