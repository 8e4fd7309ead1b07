"""Probes files, what measured values come to, and the checks that need no database."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import checks, probe_findings, probes
from bakeoff.adapters import standard, yaml_files
from bakeoff.config import FilterConfig
from bakeoff.errors import ConfigError
from bakeoff.probe_findings import Measured, Unmeasured
from bakeoff.probes import Expectation, Probe
from bakeoff.stages import probe as stage
from bakeoff.verdicts import Severity, Verdict

ROOT = Path(__file__).resolve().parents[2]
BASE = {"name": "one", "about": "a test", "expect": {"empty": True}, "next": "look"}
JQ = {"kind": "jq", "program": "[]"}
SQL = {"kind": "sql", "query": "SELECT 1"}


def parse(*given: dict[str, Any]) -> probes.ProbeFile:
    """A probes file with what every probe needs."""
    return probes.parse({"probes": [BASE | item for item in given]}, source="probes.yaml")


def problems(*given: dict[str, Any]) -> list[str]:
    """What is wrong with some probes."""
    with pytest.raises(ConfigError) as refused:
        parse(*given)
    return list(refused.value.problems) or [str(refused.value).removeprefix("probes.yaml: ")]


def one(**expect: Any) -> Probe:
    """A probe with an expectation."""
    return parse(JQ | {"expect": expect}).probes[0]


def test_the_standard_file_is_sound() -> None:
    """It parses, every program compiles, and every probe says what to do next."""
    found = probes.parse(yaml_files.read(ROOT / "configs" / "probes.yaml", what="probes"), source="configs/probes.yaml")
    stage.compile_programs(found, source="configs/probes.yaml")
    assert 36 == len(found.probes)
    assert {"prefix-pattern", "dedup-rate"} == {item.name for item in found.probes if item.severity is Severity.WARN}
    assert {"arms-differ"} == {item.name for item in found.probes if item.needs_baseline}


def test_a_folders_own_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one the standard file holds, wherever the command is run; another name is never guessed."""
    monkeypatch.chdir(tmp_path)
    named = Path("configs/probes.yaml")
    assert ROOT / named == standard.located(named)
    assert Path("other/probes.yaml") == standard.located(Path("other/probes.yaml"))
    assert Path("configs/none.yaml") == standard.located(Path("configs/none.yaml"))
    named.parent.mkdir()
    named.write_text("probes: []")
    assert named == standard.located(named)


def test_the_digest_is_that_of_the_probes() -> None:
    """Comments, the order of keys and defaults that are written out change nothing; a bound does."""
    plain, spelled = parse(JQ), parse(dict(reversed(JQ.items())) | {"severity": "block", "over": "run"})
    assert plain.digest == spelled.digest
    assert plain.digest != parse(JQ | {"program": "[1]"}).digest


def test_what_a_probe_needs_is_known_from_its_text() -> None:
    """Programs over runs and queries that name a run need one; a baseline is needed where it is named."""
    found = parse(
        JQ | {"name": "a"},
        JQ | {"name": "b", "over": "lock"},
        SQL | {"name": "c"},
        SQL | {"name": "d", "query": "SELECT %(run_id)s"},
        SQL | {"name": "e", "query": "SELECT 1 FROM {baseline_table}"},
        SQL | {"name": "f", "query": "SELECT %(baseline_hash)s;"},
        {"name": "g", "kind": "check", "check": {"name": "filter_leaks"}},
        {"name": "h", "kind": "check", "check": {"name": "arms_differ"}},
    ).probes
    assert {"a", "d", "g"} == {item.name for item in found if item.needs_run}
    assert {"e", "f", "h"} == {item.name for item in found if item.needs_baseline}
    assert "SELECT %(baseline_hash)s" == getattr(found[5], "query", None)


def test_one_problem_is_one_line_with_file_and_probe() -> None:
    """Where only one thing is wrong, the message itself says it."""
    with pytest.raises(ConfigError, match=r"^probes\.yaml: probe one: colour: unknown key$"):
        parse(JQ | {"colour": "red"})


def test_every_problem_is_said_at_once() -> None:
    """Each with the name of its probe, or its number where it has none."""
    found = problems(
        JQ | {"colour": "red"},
        SQL | {"name": "two", "query": "DELETE FROM locks"},
        JQ | {"name": "Three"},
        {"name": "four", "kind": "shell"},
        {"name": "five", "kind": "check", "check": {"name": "ann_recall", "sample": 0}},
        {"name": "six", "kind": "check", "check": {"name": "nothing"}},
        JQ | {"name": None},
    )
    assert 7 == len(found)
    beginnings = ("probe one: colour", "probe two: query", "probe Three: name", "probe four: kind must be one of")
    for line, begins in zip(
        found,
        (*beginnings, "probe five: check: sample", "probe six: check: name must be one of", "probe number 7"),
        strict=True,
    ):
        assert line.startswith(begins), line


@pytest.mark.parametrize("data", [None, [], "probes"])
def test_a_file_without_keys_is_refused(data: Any) -> None:
    """It says which key it wants."""
    with pytest.raises(ConfigError, match="expected the key `probes`"):
        probes.parse(data, source="probes.yaml")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"probes": []}, "there is no probe in it"),
        ({"probes": "x"}, "probes: Input should be a valid tuple"),
        ({}, "probes: Field required"),
        ({"probes": [5]}, "probe number 1"),
    ],
)
def test_a_file_without_probes_is_refused(data: Any, says: str) -> None:
    """Nothing asked is no pass."""
    with pytest.raises(ConfigError, match=says):
        probes.parse(data, source="probes.yaml")


def test_a_name_stands_once() -> None:
    """Two probes of one name could not be told apart."""
    assert ["probe one stands twice"] == problems(JQ, SQL)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("UPDATE locks SET name = 'x'", "begins with UPDATE: a probe only reads"),
        ("-- SELECT\n drop table locks", "begins with DROP: a probe only reads"),
        ("/* SELECT */ COPY locks TO STDOUT", "begins with COPY"),
        ("-- nothing", "begins with nothing"),
        ("SELECT %(nobody)s", r"unknown parameter %\(nobody\)s; known are ingest_id"),
    ],
)
def test_a_query_begins_as_one_that_reads(query: str, says: str) -> None:
    """What can only write is refused before a database is asked."""
    with pytest.raises(ConfigError, match=says):
        parse(SQL | {"query": query})
    assert parse(SQL | {"query": "(SELECT 1) -- delete\n"}).probes


def test_what_to_do_next_names_what_is_known() -> None:
    """A place that nothing is filled into would be a command that can't be run."""
    assert ["probe one: next: unknown {table}; known are config_hash, lock, run_id, baseline"] == problems(
        JQ | {"next": "look at {table}"}
    )


@pytest.mark.parametrize(
    ("expect", "says"),
    [
        ({}, "give exactly one"),
        ({"at_least": 1, "equals": 2}, "give exactly one"),
        ({"at_least": 1, "above": 2}, "give exactly one"),
        ({"equals": None}, "an expectation has a value"),
        ({"equals": [3]}, "equals asks for one number, text, true or false: no list and no object could pass"),
        ({"equals": 2**53}, "equals is 9007199254740992: JSON holds integers below 2**53 only; compare text"),
        ({"equals": {"a": 1}}, "no list and no object could pass"),
        ({"between": [2, 1]}, "the lower end 2 is above the upper end 1"),
        ({"at_least": 2, "at_most": 1}, "nothing could pass"),
        ({"empty": False}, "Input should be True"),
        ({"between": [1]}, "Field required"),
    ],
)
def test_an_expectation_is_one_that_can_be_met(expect: dict[str, Any], says: str) -> None:
    """Exactly one, and not against itself."""
    assert any(says in line for line in problems(JQ | {"expect": expect}))


@pytest.mark.parametrize(
    ("expect", "words", "passing", "failing"),
    [
        ({"equals": 3}, "equal to 3", [3, 3.0], [4, "3", True]),
        ({"equals": True}, "equal to True", [True], [1, False]),
        ({"equals": "a"}, "equal to a", ["a"], ["b", 1]),
        ({"at_least": 3}, "at least 3", [3, 4], [2.99]),
        ({"at_most": 3}, "at most 3", [3, -1], [3.01]),
        ({"at_least": 1, "at_most": 2}, "at least 1 and at most 2", [1, 2], [0, 3]),
        ({"above": 0}, "above 0", [0.1], [0, -1]),
        ({"below": 1}, "below 1", [0.9], [1, 2]),
        ({"between": [30, 60]}, "between 30 and 60", [30, 60], [29, 61]),
        ({"empty": True}, "none", [0], [1]),
    ],
)
def test_a_value_is_held_against_its_expectation(
    expect: dict[str, Any], words: str, passing: list[Any], failing: list[Any]
) -> None:
    """Ends are included where the word says so; a truth value is no number."""
    probe = one(**expect)
    assert words == probe.expect.words
    for value, verdict in [(v, Verdict.PASS) for v in passing] + [(v, Verdict.FAIL) for v in failing]:
        found = probe_findings.judge(probe, Measured(value), names={})
        assert (verdict, value) == (found.verdict, found.value)
        assert found.reason.endswith(f"expected {words}")
        assert ("" if verdict is Verdict.PASS else "look") == found.next


@pytest.mark.parametrize("value", ["many", True, [1]])
def test_what_is_no_number_is_an_error_where_one_is_expected(value: Any) -> None:
    """Never a pass, and never a fail for want of a comparison."""
    found = probe_findings.judge(one(at_least=1), Measured(value), names={})
    assert Verdict.ERROR == found.verdict
    assert found.reason.endswith("expected a number at least 1")


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_between_is_at_least_and_at_most(low: float, high: float) -> None:
    """Both ways of saying it give one verdict."""
    low, high = sorted((max(min(low, 1e9), -1e9), max(min(high, 1e9), -1e9)))
    for value in (low, high, (low + high) / 2, low - 1, high + 1):
        both = one(at_least=low, at_most=high), one(between=[low, high])
        first, second = (probe_findings.judge(probe, Measured(value), names={}).verdict for probe in both)
        assert first == second


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, Measured(3)),
        (2**53 - 1, Measured(2**53 - 1)),
        (["a", {"id": "b", "n": 1}, ["c", 2]], Measured(3, ("a", "id b, n 1", "c 2"))),
        ([], Measured(0)),
        ({"value": 0.5, "offenders": ["a"]}, Measured(0.5, ("a",))),
        ({"value": 0.5}, Measured(0.5)),
    ],
)
def test_what_a_probe_gave_is_a_value_and_its_offenders(value: Any, expected: Measured) -> None:
    """A list counts its offenders; an object can give a figure beside them."""
    assert expected == probe_findings.measured(value)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (None, Verdict.NO_DATA),
        ({"value": None, "offenders": []}, Verdict.NO_DATA),
        (math.nan, Verdict.ERROR),
        (math.inf, Verdict.ERROR),
        (2**53, Verdict.ERROR),
        ({"value": -(2**60)}, Verdict.ERROR),
        ({"a": 1}, Verdict.ERROR),
        ({"value": {"a": 1}}, Verdict.ERROR),
    ],
)
def test_what_was_not_measured_never_passes(value: Any, verdict: Verdict) -> None:
    """Null is no data; what is no figure at all is an error."""
    result = probe_findings.measured(value)
    assert isinstance(result, Unmeasured)
    found = probe_findings.judge(one(equals=1), result, names={})
    assert (verdict, None) == (found.verdict, found.value)


def test_a_finding_fills_in_names_and_keeps_a_bounded_number_of_offenders() -> None:
    """Twenty of them; those of a probe that passed are no offenders; the JSON is plain."""
    probe = parse(JQ | {"next": "bakeoff probes --lock {config_hash} --run {run_id}"}).probes[0]
    found = probe_findings.judge(probe, Measured(30, tuple("abc" * 10), "cut off"), names={"config_hash": "ff"})
    assert (20, "bakeoff probes --lock ff --run {run_id}") == (len(found.offenders), found.next)
    assert "30 found, expected none; cut off" == found.reason
    assert {"a", "b", "c"} == set(found.to_json()["offenders"])
    lenient = probe_findings.judge(one(at_most=50), Measured(30, ("a",)), names={})
    assert (Verdict.PASS, ()) == (lenient.verdict, lenient.offenders)
    mended = probe_findings.judge(
        probe, Unmeasured(Verdict.NO_DATA, "none", "do {config_hash}"), names={"config_hash": "1"}
    )
    assert "do 1" == mended.next


def hit(number: int, **given: Any) -> dict[str, Any]:
    """One row of a snapshot."""
    row = {"chunk_id": f"c{number}", "fp": "f", "doc_id": f"d{number}", "start": 0, "end": 9, "token_count": 10}
    scores = {"score": 0.1, "dense_rank": number, "dense_score": 0.9, "lexical_rank": number, "lexical_score": 1.0}
    return row | {"rank": number} | scores | given


def case(snapshot: list[dict[str, Any]], context: list[dict[str, Any]]) -> dict[str, Any]:
    """One evaluated question."""
    return {"question_id": "q", "retrieval_snapshot": snapshot, "retrieved_context": context}


FAR = {"lexical_rank": None, "lexical_score": None, "dense_score": 0.1}


@pytest.mark.parametrize(
    ("rules", "context", "says"),
    [
        ({"context": 3}, [hit(1), hit(2)], None),
        ({"context": 3}, [], None),
        ({"context": 3}, [hit(1), hit(9)], "chunk c9 is not in the snapshot"),
        ({"context": 1}, [hit(1), hit(2)], "2 chunks, above filter.context (1)"),
        (
            {"max_per_document": 1},
            [hit(1, doc_id="d"), hit(2, doc_id="d")],
            "2 chunks of d, above filter.max_per_document (1)",
        ),
        ({"max_per_document": 2}, [hit(1, doc_id="d"), hit(2, doc_id="d")], None),
        ({"token_budget": 15}, [hit(1), hit(2)], "20 tokens, above filter.token_budget (15)"),
        ({"token_budget": 5}, [hit(1)], None),
        ({"min_similarity": 0.5}, [hit(1), hit(2, **FAR)], "chunk c2 at 0.100, below filter.min_similarity (0.5)"),
        ({"min_similarity": 0.5}, [hit(1, dense_score=0.1)], None),
        ({"min_similarity": 0.5}, [hit(1, **FAR | {"dense_score": None})], None),
    ],
)
def test_a_context_keeps_the_filters_rules(rules: dict[str, Any], context: list[Any], says: str | None) -> None:
    """Each rule by itself; the first chunk is read whatever its length, a lexical match whatever its distance."""
    snapshot = [hit(number) for number in range(1, 5)]
    assert says == checks.filter_leak(case(snapshot, context), FilterConfig(**{"context": 8, **rules}))


def test_a_context_is_as_long_as_the_filter_makes_it() -> None:
    """Fewer chunks than the filter gives is a shortfall; where the snapshot holds no more, it is none."""
    snapshot = [hit(number) for number in range(1, 5)]
    assert "1 chunks, where the filter gives 3" == checks.filter_shortfall(
        case(snapshot, snapshot[:1]), FilterConfig(context=3)
    )
    assert checks.filter_shortfall(case(snapshot, snapshot), FilterConfig(context=8)) is None
    assert checks.filter_shortfall(case([], []), FilterConfig()) is None


def test_a_question_is_found_where_it_stands_word_for_word() -> None:
    """Whatever case, line breaks and punctuation; other words, or too few of them, are no copy."""
    asked = {"q1": "How do I  catch an exception?", "q2": "What is a walrus operator good for?", "q3": "Why so?"}
    looked = checks.Verbatim(asked, words=5)
    assert ["q1"] == list(looked.found_in("FAQ. how do I\ncatch an Exception: with try."))
    assert [] == list(looked.found_in("How can I catch an exception? Why so? What is a walrus?"))
    assert ["q1", "q2"] == sorted(looked.found_in(" ".join(asked.values())))
    assert [] == list(checks.Verbatim({"q": "an exception"}, words=3).found_in("an exception"))


@given(
    st.lists(st.sampled_from(["alpha", "beta", "Gamma", "delta", "x"]), min_size=5, max_size=12), st.text(max_size=30)
)
def test_a_copied_question_is_always_found(words: list[str], before: str) -> None:
    """Wherever it stands, if white space is around it."""
    question = " ".join(words)
    assert ["q"] == list(checks.Verbatim({"q": question + "?"}, words=5).found_in(f"{before} {question.upper()} end"))


def test_expectations_are_values() -> None:
    """They can be compared and don't change."""
    assert Expectation(at_least=1) == Expectation(at_least=1.0)


@pytest.mark.parametrize("offenders", [5, "abc", {"a": 1}])
def test_offenders_that_are_no_list_are_an_error_of_the_probe(offenders: Any) -> None:
    """Letters of a word are no offenders; nothing given is none."""
    found = probe_findings.measured({"value": 1, "offenders": offenders})
    assert isinstance(found, Unmeasured)
    assert Verdict.ERROR is found.verdict
    assert Measured(1, ()) == probe_findings.measured({"value": 1, "offenders": None})
