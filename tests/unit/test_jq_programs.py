"""jq programs of probes: what they may see, and what happens to those that misbehave."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff.adapters import jq_programs
from bakeoff.adapters.jq_programs import Program
from bakeoff.probe_findings import Measured, Unmeasured
from bakeoff.verdicts import Verdict


def run(*programs: str, document: Any = None, **limits: Any) -> list[Any]:
    """What programs give over one document."""
    given = {"run": {"cases": [1, 2, 3]} if document is None else document}
    return jq_programs.run([Program(text, "run") for text in programs], given, **limits)


def reason(result: Any) -> str:
    """Why a program is an error."""
    assert isinstance(result, Unmeasured)
    assert Verdict.ERROR == result.verdict
    return result.reason


def test_each_program_gives_its_value_in_order() -> None:
    """Definitions and comments of one program are no other's; documents are told apart by name."""
    programs = [
        Program("def n: .cases | length; n # how many", "run"),
        Program('try n catch "-"', "lock"),
        Program(".name", "lock"),
        Program('[.cases[] | select(. > 1) | "case \\(.)"]', "run"),
    ]
    programs[1] = Program('"no n here"', "lock")
    found = jq_programs.run(programs, {"run": {"cases": [1, 2, 3]}, "lock": {"name": "a"}})
    expected = [Measured(3), Measured("no n here"), Measured("a"), Measured(2, ("case 2", "case 3"))]
    assert expected == found
    assert [] == jq_programs.run([], {})


@pytest.mark.parametrize(
    "text", ["env", "env.PATH", "input", "[inputs]", "now", "halt", "halt_error(1)", "debug", "stderr"]
)
def test_what_is_outside_the_document_is_closed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor the clock nor other inputs; the programs behind it are asked all the same."""
    monkeypatch.setenv("SECRET", "hunter2")
    closed, behind = run(text, "1")
    assert "closed to probes" in reason(closed)
    assert Measured(1) == behind


def test_the_environment_can_not_be_got_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that runs the programs has none, so that a way around has nothing to find."""
    monkeypatch.setenv("SECRET", "hunter2")
    assert "$ENV is closed to probes" == jq_programs.problem("$ENV.SECRET")
    assert [Measured(0)] == run("[$ENV | keys[]]")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (".[", "syntax error, unexpected"),
        ("1) , (2", "syntax error, unexpected"),
        ("nothing_of_this_name", "nothing_of_this_name/0 is not defined, line 1"),
        (".a |\n nothing", "nothing/0 is not defined, line 2"),
        ('import "a" as a; 1', "unexpected import"),
        ('include "a"; 1', "unexpected include"),
        ("def f: 1;", "program not given"),
    ],
)
def test_a_broken_program_is_named_before_it_runs(text: str, says: str) -> None:
    """In jq's own words, one line, with the line of the probe; modules are no way to other files."""
    found = jq_programs.problem(text)
    assert found is not None
    assert says in found
    assert "\n" not in found


def test_a_sound_program_has_no_problem() -> None:
    """Fields may have the names of closed functions."""
    assert jq_programs.problem(".env, .input, {env: 1, now: .now} # a comment") is None
    assert [Measured(4)] == run(".input", document={"input": 4})


def test_a_program_that_hangs_is_stopped_alone() -> None:
    """The deadline ends it; those before and behind it have their values."""
    before, hung, behind = run("1", "[range(1e12)] | length", "2", deadline_s=1.0)
    assert (Measured(1), Measured(2)) == (before, behind)
    assert "not done after 1 s" == reason(hung)


def test_a_program_that_fills_the_memory_is_stopped_alone() -> None:
    """The process that runs it has a bound; the one behind it has its value."""
    full, behind = run('"x" * 400000000 | [., . + "y", . + "z"] | length', "2", memory_bytes=600_000_000)
    assert reason(full)
    assert Measured(2) == behind


def test_errors_are_said_whatever_is_thrown() -> None:
    """A text as it is, anything else as JSON."""
    assert ["jq: broken", 'jq: {"a":1}', "jq: null"] == [
        reason(r) for r in run('error("broken")', "error({a: 1})", "error(null)")
    ]


@pytest.mark.parametrize("text", ["nan", "[1, nan]", "{a: [nan]}", "1, nan", "infinite", "[-infinite]", "1e1000"])
def test_what_is_no_number_is_an_error(text: str) -> None:
    """NaN would be printed as null and taken for no data; wherever it is in the value, and the next one is asked."""
    found, behind = run(text, "1")
    assert "NaN or an infinite number" in reason(found)
    assert Measured(1) == behind


@pytest.mark.parametrize("text", ['"nan"', "null", "[nan | isnan | if . then 1 else 0 end]", "[]"])
def test_what_only_looks_like_it_is_none(text: str) -> None:
    """A word, null, a NaN that was handled."""
    assert "NaN" not in getattr(run(text)[0], "reason", "")
