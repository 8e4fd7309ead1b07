"""The report's tables, plots and page: whole without network or script, escaped, equal for equal values."""

from __future__ import annotations

import copy
import re
import sys
from html.parser import HTMLParser
from typing import Any

import pytest

from bakeoff import page, plots, summary
from bakeoff.adapters import templates
from bakeoff.cases import MEANS
from bakeoff.errors import OutsideError
from bakeoff.gold import STAGES
from bakeoff.report import markdown_text
from tests.reported import EVIL, report

FILES = page.Files(*(templates.read(f"report.{end}") for end in ("html.j2", "css", "js")))
LABELS = {name: f"the {name}" for name in MEANS}
VOID = {"meta", "link", "input", "br"}


class Reader(HTMLParser):
    """Reads a page strictly: what is open, ids, links, texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open *tag*."""
        found = dict(attrs)
        assert len(found) == len(attrs), f"an attribute stands twice in {tag}"
        self.tags.append((tag, found))
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.targets += [value or "" for key, value in attrs if key in {"src", "href", "action", "srcset", "data"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Of an SVG: opens and closes."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Close *tag*, which must be the one that is open."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Keep what is read."""
        self.text += data


def drawn(data: dict[str, Any]) -> str:
    """The page of *data*."""
    return page.page(data, LABELS, FILES)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots of nothing, for tests that look at the rest of the page."""
    monkeypatch.setattr(plots, "_svg", lambda *_, **__: "<svg></svg>")


def has(reader: Reader, tag: str, **attributes: str) -> list[dict[str, str | None]]:
    """The attributes of every *tag* that has these."""
    return [found for name, found in reader.tags if name == tag and attributes.items() <= found.items()]


@pytest.mark.parametrize("candidates", [0, 1, 2])
def test_the_page_is_whole(candidates: int) -> None:
    """Every tag is closed, no id stands twice, tables have captions, plots have names, each once."""
    found = Reader(drawn(report(candidates)))
    assert [] == found.open
    assert sorted(set(found.ids)) == sorted(found.ids)
    assert len(has(found, "table")) == len(has(found, "caption"))
    plots_ = has(found, "svg")
    assert len(plots_) == candidates + 1 + 3 + 2
    assert all(item["role"] == "img" and item["aria-label"] for item in plots_)
    assert len(plots_) == len(has(found, "figure")) == len(has(found, "figcaption"))
    assert ["en"] == [item["lang"] for item in has(found, "html")]
    labels = {item["aria-labelledby"] for item in has(found, "section")}
    assert labels <= set(found.ids)


def test_the_page_asks_for_nothing() -> None:
    """No address outside itself anywhere, and a policy that forbids to ask."""
    text = drawn(report(1))
    assert all(target.startswith(("#", "data:")) for target in Reader(text).targets)
    assert {"http://www.w3.org/2000/svg"} == set(re.findall(r"https?://[^\"' <]+", text))
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    (policy,) = has(Reader(text), "meta", **{"http-equiv": "Content-Security-Policy"})
    assert str(policy["content"]).startswith("default-src 'none'; ")


def test_what_comes_from_outside_is_escaped() -> None:
    """Markup in a question, an answer, a lock, a gold text, a note or a finding is shown, not obeyed."""
    text = drawn(report(1, said=EVIL))
    found = Reader(text)
    assert 1 == len(has(found, "script"))
    assert [] == has(found, "img")
    assert EVIL not in text
    assert found.text.count(EVIL) >= 10


def test_equal_values_give_equal_bytes() -> None:
    """No time, no random id; the order of a mapping's keys apart."""
    assert drawn(report(2)) == drawn(copy.deepcopy(report(2)))


@pytest.mark.usefixtures("quick")
def test_a_run_alone_has_no_comparison() -> None:
    """No filter, no gates, no differences; means instead."""
    data = report(0)
    found = Reader(drawn(data))
    assert [] == has(found, "form")
    assert "Means, with the number of questions" in found.text
    assert "difference" not in found.text
    titles = [table.title for table in summary.tables(data, LABELS)]
    assert ["Runs", "Means, with the number of questions", "Funnel", "Latency, ms"] == titles
    assert "lock0: 20 questions, set 'asked'" == summary.title(data)
    assert "lost" not in summary.markdown(data, LABELS)


@pytest.mark.usefixtures("quick")
def test_every_moved_question_has_its_row() -> None:
    """With what the filter looks at; the run is named where there are several."""
    one = Reader(drawn(report(1)))
    rows = [item for item in has(one, "tr") if "data-kind" in item]
    assert [("lost", "context"), ("gained", "snapshot")] == [(item["data-kind"], item["data-arrow"]) for item in rows]
    assert set(STAGES) <= {str(item["value"]) for item in has(one, "option") if "value" in item}
    (form,) = has(one, "form")
    assert "hidden" in form, "without its script there is nothing to filter with"
    two = Reader(drawn(report(2)))
    assert 4 == len([item for item in has(two, "tr") if "data-kind" in item])
    assert "C lock2" in two.text
    assert "not measured on one side" in one.text


@pytest.mark.usefixtures("quick")
def test_answers_of_every_sort() -> None:
    """Right, wrong, not judged, abstained, failed."""
    data = report(1)
    item = data["comparisons"][0]["moved"][0]
    for side, expected in (
        ({"answer_right": 1, "text": "yes"}, "right: “yes”"),
        ({"answer_right": 0, "text": "no"}, "wrong: “no”"),
        ({"answer_right": None, "text": "so"}, "not judged: “so”"),
        ({"abstained": True, "text": ""}, "abstained"),
        ({"error": "timed out"}, "no answer (timed out)"),
    ):
        item["candidate"] |= {"abstained": False, "error": None, **side}
        assert expected in " ".join(Reader(drawn(data)).text.split())
    item["gold"][0]["text"] = None
    assert "(not in the corpus)" in Reader(drawn(data)).text


def judged(**changed: Any) -> dict[str, Any]:
    """A report whose candidate was judged."""
    data = report(1)
    data["comparisons"][0]["judgement"] |= changed
    return data


@pytest.mark.usefixtures("quick")
def test_gates_are_shown_with_their_reasons() -> None:
    """What did not pass is said in words, with its worst questions and how many more would decide."""
    table = summary.gates(report(1), 0)
    assert table is not None
    assert "Gates: fail" == table.title
    assert ("oracle", "pass", "block", "0.500", "0.600", "+0.1000", "[+0.0200, +0.1800]", "at least 0", "20", "0.090") == table.rows[0]  # fmt: skip  # noqa: E501  # one row
    assert (
        f"Of a level the interval is that of the value itself; {summary.UNCORRECTED}.",
        "f1: lost 0.1; about 120 more questions would decide it; worst: q1, q2, q3",
        "Warning: a warning",
    ) == table.notes
    found = Reader(drawn(report(1)))
    assert ["verdict v-pass", "verdict v-fail"] == [
        str(item["class"]).strip() for item in has(found, "td") if "verdict" in str(item.get("class"))
    ]


def test_gates_are_brief_in_a_terminal() -> None:
    """Seven columns; what a gate counts is said where it does not block."""
    data = report(1)
    data["comparisons"][0]["judgement"]["findings"][1]["severity"] = "warn"
    table = next(item for item in summary.tables(data, LABELS, brief=True) if item.title.startswith("Gates"))
    figures = ("0.500", "0.600", "+0.1000", "[+0.0200, +0.1800]", "20")
    assert (
        ("oracle", "pass", *figures),
        ("f1", "fail (warn)", *figures),
    ) == table.rows
    assert table.notes == (summary.gates(data, 0) or table).notes


SEEN: list[tuple[dict[str, Any], tuple[str, str, str]]] = [
    ({"metric": "f1", "rule": "level", "value": 0.62, "low": 0.54, "high": 0.7}, ("0.620", "–", "[0.540, 0.700]")),
    (
        {"metric": "f1", "value": 0.6, "difference": -0.02, "low": -0.1, "high": 0.0},
        ("0.600", "-0.0200", "[-0.1000, +0.0000]"),
    ),
    (
        {"metric": "max_embedding_token_count", "rule": "level", "value": 201.0, "low": 201.0, "high": 201.0},
        ("201", "–", "–"),
    ),
    ({"metric": "dedup_share", "rule": "level", "value": 0.0454}, ("0.045", "–", "–")),
    ({"metric": "snapshot_size", "rule": "stable", "value": 40.0, "difference": 0.0}, ("40", "+0", "–")),
    (
        {"metric": "p95_latency_ms", "value": 4.26, "difference": 0.0212, "low": -0.1, "high": 0.2},
        ("4.3 ms", "+2.1 %", "[-10.0, +20.0] %"),
    ),
    ({"metric": "p95_latency_ms", "rule": "level", "value": 4.26, "low": 4.26, "high": 4.26}, ("4.3 ms", "–", "–")),
    ({}, ("–", "–", "–")),
]


@pytest.mark.parametrize(("item", "expected"), SEEN)
def test_a_gate_shows_levels_as_levels_and_differences_signed(item: dict[str, Any], expected: tuple[str, ...]) -> None:
    """A level's interval has no sign, counts no decimals, a latency's difference is in percent."""
    found = summary.gate_figure(str(item.get("metric")), item.get("value"))
    assert expected == (found, summary.gate_change(item), summary.gate_interval(item))


def test_the_verdict_is_read_first() -> None:
    """Of the newest judgement: before the conclusion in Markdown and on the page, with the gates that are open."""
    data = report(2)
    first, second = summary.verdicts(data)
    assert "B lock1: FAIL (plan dddddddddddd, judged 2026-01-02 03:04): f1 fail" == first
    assert "C lock2: not judged against this baseline" == second
    text = summary.markdown(data, LABELS)
    assert text.index("FAIL") < text.index("come less far")
    page_ = drawn(data)
    assert page_.index("FAIL") < page_.index("come less far")
    assert [] == summary.verdicts(report(0))
    bare = judged(plan_sha256=None, at=None, findings=[])
    assert ["B lock1: FAIL"] == summary.verdicts(bare)


def test_a_table_that_changed_is_said_before_any_figure() -> None:
    """In Markdown and on the page, beside the labels."""
    data = report(1) | {"warnings": ["the chunk table changed"]}
    assert "> the chunk table changed" in summary.markdown(data, LABELS)
    text = drawn(data)
    assert text.index("the chunk table changed") < text.index("<table")


def test_control_characters_are_shown_on_the_page() -> None:
    """Neither escape sequences nor a change of the reading order reach a browser."""
    text = drawn(report(1, said="\x1b[2J\u202eevil\x9b"))
    assert "\\x1b[2J\\u202eevil\\x9b" in text
    assert not {"\x1b", "\u202e", "\x9b"} & set(text)


@pytest.mark.usefixtures("quick")
def test_what_was_repeated_or_accepted_is_said() -> None:
    """Evaluations and timings beside the gates, for who repeats may choose; what was accepted on top."""
    data = judged(
        candidate={"run_id": "run-1"},
        runs_made={"baseline": 1, "candidate": 3},
        timings={"record": 7},
        timings_made=2,
        accepted_blind=["f1", "em"],
        known_scores=["run-0"],
    )
    table = summary.gates(data, 0)
    assert table is not None
    assert "Candidate evaluated 3 times for this plan, judged by run run-1." in table.notes
    assert "Latency by timings of record 7, newest of 2 of this plan." in table.notes
    expected = ["accepted blind: f1, em", "planned after these runs were known: run-0"]
    assert expected == summary.badges(data)[2:]
    page_, text = drawn(data), summary.markdown(data, LABELS)
    for said in expected:
        assert said in page_
        assert f"> {markdown_text(said)}" in text


@pytest.mark.usefixtures("quick")
def test_a_judgement_may_lack_what_a_later_version_writes() -> None:
    """An empty one, findings with a verdict alone: dashes, no error."""
    data = report(1)
    data["comparisons"][0]["judgement"] = {}
    empty = summary.gates(data, 0)
    assert empty is not None
    assert ("Gates: –", (), ()) == (empty.title, empty.rows, empty.notes)
    assert [] == summary.badges(data)
    data["comparisons"][0]["judgement"] = {"findings": [{"gate": "g", "verdict": "error"}, {"reason": "odd"}]}
    table = summary.gates(data, 0)
    assert table is not None
    assert ("g: –", "None: odd") == table.notes
    assert drawn(data)


@pytest.mark.usefixtures("quick")
def test_labels_stand_at_the_top() -> None:
    """A demo's wide margins and a simulated clock are said before any figure, each once."""
    data = judged(profile="demo", label="margins are wide", clock="simulated")
    assert ["profile: demo", "margins are wide", "clock: simulated"] == summary.badges(data)
    text = drawn(data)
    assert text.index("margins are wide") < text.index("<table")
    assert "> margins are wide" in summary.markdown(data, LABELS)


def test_nothing_unmeasured_is_shown_as_zero() -> None:
    """A figure of one side only, an interval of one pair, a stage that was not judged, a step without timings."""
    data = report(1)
    first, second, third = data["comparisons"][0]["differences"][:3]
    first["interval"] |= {"low": None, "high": None}
    second["interval"] |= {"n": 0, "difference": None}
    data["runs"][1]["aggregates"]["funnel"]["used"] = {"yes": 0, "no": 0, "not_judged": 20}
    del data["runs"][1]["latency"]["read"]
    data["runs"][0]["latency"]["read"]["p95"]["reliable"] = False
    table = summary.differences(data, 0, LABELS)
    rows = {row[0]: row for row in table.rows}
    assert "–" == rows[LABELS[first["name"]]][4]
    assert LABELS[second["name"]] not in rows
    assert f"Not measured on both sides: {LABELS[second['name']]}." in table.notes
    assert LABELS[third["name"]] in rows
    assert "–" == {row[0]: row for row in summary.funnel(data).rows}["used"][2]
    assert ("read", "1.0 / 2.0 (too few)", "–") == {row[0]: row for row in summary.latency(data).rows}["read"]
    assert drawn(data)


def test_scores_that_no_run_has_are_left_out() -> None:
    """A retrieval without a lexical leg has no plot of its scores."""
    data = report(0)
    data["score_edges"]["lexical"] = []
    data["runs"][0]["scores"]["lexical"] = {"gold": {"n": 0, "shares": None}, "other": {"n": 0, "shares": None}}
    assert 3 + 2 == len(has(Reader(drawn(data)), "svg"))


def test_markdown_holds_every_table() -> None:
    """Titles, the conclusion, moved questions, notes; a bar in a question is no column."""
    text = summary.markdown(report(2, said="a | b"), LABELS)
    for table in summary.tables(report(2, said="a | b"), LABELS):
        assert table.title.replace("|", "\\|") in text
    assert text.startswith("# ")
    assert "a \\| b" in text
    assert "Note on A: " in text
    none = report(1)
    none["comparisons"][0]["moved"] = []
    assert "Questions lost and gained" not in summary.markdown(none, LABELS)


@pytest.mark.parametrize(("index", "expected"), [(0, "A"), (25, "Z"), (26, "R26")])
def test_runs_have_letters(index: int, expected: str) -> None:
    """As long as there are letters."""
    assert expected == summary.sign(index)


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_what_is_missing_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(OutsideError, match=f"a page needs {missing}, which is not installed") as caught:
        drawn(report(0))
    assert "pip install 'bakeoff[report]'" == caught.value.hint


def test_arrows_say_what_they_do_not_count() -> None:
    """A question of which one side was not measured is in no row: zeros alone would be read as no change."""
    data = report(1)
    assert "2 questions not measured on one side, counted in no row." == summary.arrows(data, 0).notes[0]
    data["comparisons"][0]["unmeasured"] = data["comparisons"][0]["unmeasured"][:1]
    assert summary.arrows(data, 0).notes[0].startswith("1 question not")
    data["comparisons"][0]["unmeasured"] = []
    assert 1 == len(summary.arrows(data, 0).notes)
