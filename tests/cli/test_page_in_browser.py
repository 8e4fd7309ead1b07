"""The page in a real browser: the filter works, nothing is asked of any network, nothing is complained about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bakeoff import page
from bakeoff.adapters import templates
from bakeoff.cli._evaluating import NAMES
from tests import browser
from tests.browser import Browser
from tests.reported import EVIL, report

ROWS = "[...document.querySelectorAll('#moved tbody tr')].filter(row => row.offsetParent !== null)"
PROGRAM = browser.installed()

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no browser on PATH: install chromium (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser, once for all tests of this file."""
    with browser.browser(str(PROGRAM), tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three runs in which every text from outside is an attempt to run a script."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    files = page.Files(*(templates.read(f"report.{end}") for end in ("html.j2", "css", "js")))
    path.write_text(page.page(report(2, said=EVIL), NAMES, files), encoding="utf-8")
    return path


def shown(opened: Browser) -> list[str]:
    """The ids of the questions whose rows can be seen."""
    return list(opened.run(f"{ROWS}.map(row => row.querySelector('.id').textContent)"))


def test_the_filter_shows_what_is_asked_for(opened: Browser, written: Path) -> None:
    """By change, by arrow, by text; the count is said; the button brings all back."""
    opened.look(width=1280, dark=False)
    opened.open(written)
    assert ["q1", "q2", "q1", "q2"] == shown(opened)
    assert "4 of 4 shown" == opened.run("document.querySelector('output').value")
    opened.choose("select[name=kind]", "l")
    assert ["q1", "q1"] == shown(opened)
    assert "2 of 4 shown" == opened.run("document.querySelector('output').value")
    opened.choose("select[name=arrow]", "s")
    assert [] == shown(opened)
    opened.click("#filter button")
    assert ["q1", "q2", "q1", "q2"] == shown(opened)
    opened.click("input[type=search]")
    opened.type("WHAT IS Q2")
    assert ["q2", "q2"] == shown(opened)
    opened.click("#filter button")
    opened.choose("select[name=arrow]", "c")
    assert ["q1", "q1"] == shown(opened)


def test_nothing_is_asked_and_nothing_complained_about(opened: Browser, written: Path) -> None:
    """The file itself is the one request; no error, no message, no dialogue; no text became an element."""
    opened.look(width=1280, dark=False)
    before = len(opened.requests)
    opened.open(written)
    opened.run("document.querySelectorAll('details').forEach(item => { item.open = true })")
    assert [written.as_uri()] == opened.requests[before:]
    assert [] == opened.complaints
    assert [0, 1] == opened.run("['img', 'script'].map(name => document.querySelectorAll(name).length)")
    assert opened.run(f"document.body.textContent.includes({EVIL!r})")


def test_without_script_every_row_is_there(opened: Browser, written: Path) -> None:
    """Only the filter is missing."""
    opened.look(width=1280, dark=False, script=False)
    opened.open(written)
    assert ["q1", "q2", "q1", "q2"] == shown(opened)
    assert opened.run("document.querySelector('#filter').offsetParent === null")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_never_wider_than_the_window(opened: Browser, written: Path, width: int) -> None:
    """Wide tables scroll in themselves, on a telephone too."""
    opened.look(width=width, dark=False)
    opened.open(written)
    assert width >= opened.run("document.documentElement.scrollWidth")


@pytest.mark.parametrize("width", [360, 1280])
def test_what_happened_to_a_question_is_one_word(opened: Browser, written: Path, width: int) -> None:
    """However long its question is: `lost` and `context` are never broken over lines."""
    opened.look(width=width, dark=False)
    opened.open(written)
    lines = "[...document.querySelectorAll('.kind')].map(item => item.getClientRects().length)"
    assert [1, 1, 1, 1] == opened.run(lines)


def test_the_page_follows_a_dark_scheme(opened: Browser, written: Path) -> None:
    """Paper and words change places, in the plots too."""
    light: list[str] = []
    dark: list[str] = []
    for scheme, found in ((False, light), (True, dark)):
        opened.look(width=1280, dark=scheme)
        opened.open(written)
        for what, name in (("body", "backgroundColor"), ("body", "color"), ("svg text", "fill")):
            found.append(opened.run(f"getComputedStyle(document.querySelector('{what}')).{name}"))
    assert ("rgb(255, 255, 255)", "rgb(20, 23, 26)") == (light[0], dark[0])
    assert light[1] == light[2] != dark[1] == dark[2]
