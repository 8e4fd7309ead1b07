"""What `bakeoff.outcomes` promises: a line is exactly as described, or refused with what is wrong and expected."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import outcomes
from bakeoff.errors import InputError
from bakeoff.outcomes import Outcome

BEGAN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
AT = "2026-01-05T10:00:00+00:00"


def parse(line: str) -> Outcome:
    """The outcome of a line of a rollout that began four hours ago."""
    return outcomes.parse(line, where="file:7", now=NOW, started_at=BEGAN)


def line(**keys: Any) -> str:
    """A line with these keys beside those that are needed; None leaves one out."""
    return json.dumps(
        {key: value for key, value in ({"arm": "baseline", "ok": True} | keys).items() if value is not None}
    )


def test_a_full_line() -> None:
    """Every key, as given; times are UTC."""
    text = line(arm="candidate", at="2026-01-05T11:00:00+01:00", unit="u1", latency_ms=12, quality=0, id="x")
    found = parse(text)
    at = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
    assert Outcome(at, 1, "u1", ok=True, latency_ms=12.0, quality=0.0, outcome_id="x") == found
    assert not found.derived


def test_a_bare_line() -> None:
    """Arm and ok are enough: it is now, nothing else is known, and unmeasured is not zero."""
    found = parse(line(ok=False))
    assert (NOW, 0, None, False, None, None, True) == (
        found.at, found.arm, found.unit, found.ok, found.latency_ms, found.quality, found.derived,
    )  # fmt: skip


def test_equal_lines_have_equal_ids() -> None:
    """The id of a line is its spelling's, but for blanks around it; pinned, since it is stored."""
    assert "~6bddb0e75fabc276b79060d2" == parse('{"arm": "baseline", "ok": true}').outcome_id
    assert parse(line(at=AT)).outcome_id == parse(line(at=AT) + "\r\n").outcome_id
    assert parse(line(at=AT)).outcome_id != parse(line(at=AT, unit="u")).outcome_id


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value, expected one JSON object"),
        ("{", "Expecting property name enclosed in double quotes, expected one JSON object"),
        (line() + line(), "Extra data, expected one JSON object"),
        ("[" * 100_000, "nested too deeply, expected one JSON object"),
        ("[]", "a JSON list, expected an object"),
        ("{}", "no arm and no ok, expected arm and ok on every line"),
        (line(ok=None), "no ok, expected arm and ok on every line"),
        (line(weather="rain"), 'unknown key "weather", expected one of arm, at, id, latency_ms, ok, quality, unit'),
        (line(arm="treatment"), 'arm is "treatment", expected "baseline" or "candidate"'),
        (line(arm=1), 'arm is 1, expected "baseline" or "candidate"'),
        (line(arm="x" * 100), f'arm is "{"x" * 59}…, expected'),
        (line(ok=1), "ok is 1, expected true or false"),
        (line(unit=""), 'unit is "", expected 1 to 200 printable characters'),
        (line(unit="a\x00b"), 'unit is "a\\u0000b", expected'),
        (line(unit="\ud800"), 'unit is "\\ud800", expected'),
        (line(unit=5), "unit is 5, expected"),
        (line(latency_ms=-1), "latency_ms is -1, expected a number from 0 to 1e+09"),
        (line(latency_ms=True), "latency_ms is true, expected a number"),
        (line(latency_ms="12"), 'latency_ms is "12", expected a number'),
        ('{"arm": "baseline", "ok": true, "latency_ms": NaN}', "NaN is no number, expected one JSON object"),
        ('{"arm": "baseline", "ok": true, "latency_ms": -Infinity}', "-Infinity is no number, expected one"),
        ('{"arm": "baseline", "ok": true, "latency_ms": 1e999}', "latency_ms is Infinity, expected a number"),
        (line(latency_ms=10**400), "latency_ms is 1000000000"),
        (line(quality=1.01), "quality is 1.01, expected a number from 0 to 1"),
        (line(at="yesterday"), 'at is "yesterday", expected an instant with its zone'),
        (line(at=12), "at is 12, expected an instant with its zone"),
        (line(at="0001-01-01T00:00:00+14:00"), 'at is "0001-01-01T00:00:00+14:00", expected an instant'),
        (line(at="2026-01-05T10:00:00"), 'at is "2026-01-05T10:00:00", without a zone, expected one'),
        (line(at="2026-01-05T12:00:06Z"), 'at is "2026-01-05T12:00:06Z", in the future, expected now or before'),
        (line(at="2026-01-05T07:59:59Z"), 'at is "2026-01-05T07:59:59Z", expected at least 2026-01-05T08:00:00Z'),
        (line()[:-1] + ', "ok": true}', 'the key "ok" stands there twice, expected one JSON object on the line'),
        (line(id="x"), "an id without at, expected both: an outcome is known by both"),
        (line(id="~x", at=AT), 'id is "~x", expected one that does not begin with ~'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    """With the place, in one line, and what was expected; a hint shows a line that would do."""
    with pytest.raises(InputError) as caught:
        parse(text)
    assert f"file:7: {said}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert "nothing was stored" in caught.value.hint


def test_what_is_too_small_to_be_stored_is_nothing() -> None:
    """Single precision ends near 1e-37; what it holds stays as it is."""
    tiny = parse(line(quality=1e-50, latency_ms=1e-46))
    assert (0.0, 0.0) == (tiny.quality, tiny.latency_ms)
    small = parse(line(quality=1e-30, latency_ms=1e-37))
    assert (1e-30, 1e-37) == (small.quality, small.latency_ms)


def test_a_clock_may_be_a_little_ahead() -> None:
    """Five seconds."""
    assert datetime(2026, 1, 5, 12, 0, 5, tzinfo=UTC) == parse(line(at="2026-01-05T12:00:05Z")).at


@given(st.text(max_size=60))
def test_any_text_is_an_outcome_or_refused(text: str) -> None:
    """Nothing else leaves the parser."""
    try:
        said = parse(text).outcome_id
    except InputError as error:
        said = str(error)
    assert said.startswith(("file:7: ", "~"))
