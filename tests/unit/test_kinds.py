"""Values of a wrong kind: each is named with its place, what was expected, what was found."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff import figures, kinds
from bakeoff.difference import Difference
from bakeoff.kinds import COUNT, DIGEST, FIGURE, INSTANT, OBJECT, TEXT, TRUTH, VERDICT, Kind
from bakeoff.sealed import Sealed
from tests.tampering import small

MAYBE = COUNT.or_null()
HELD: dict[Kind, list[Any]] = {
    COUNT: [0, 7],
    FIGURE: [0, -1, 0.5],
    TRUTH: [True, False],
    TEXT: ["", "a"],
    INSTANT: ["2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05Z"],
    DIGEST: ["0" * 64],
    VERDICT: ["pass", "no_data"],
    OBJECT: [{}],
    MAYBE: [0, None],
}
NOT_HELD: dict[Kind, list[Any]] = {
    COUNT: [-1, 1.0, True, "1", None, []],
    FIGURE: [True, "0.5", None, {}],
    TRUTH: [0, 1, "true", None],
    TEXT: [1, None, ["a"]],
    INSTANT: ["yesterday", "2026-01-02T03:04:05", 3, None, {}],
    DIGEST: ["0" * 63, "G" * 64, 0, None],
    VERDICT: ["passed", "", None, 1, []],
    OBJECT: [[], "", None],
    MAYBE: [False, "null"],
}


@pytest.mark.parametrize("kind", HELD, ids=lambda kind: kind.name)
def test_kinds(kind: Kind) -> None:
    """Each knows its own; a truth value is no number, text that reads like one is none either."""
    assert [] == [value for value in HELD[kind] if not kind.holds(value)]
    assert [] == [value for value in NOT_HELD[kind] if kind.holds(value)]


CHANGES: dict[str, tuple[Any, str, str]] = {
    "locks.candidate.body.config.index.vector": ("ivf", "Input should be", '"ivf"'),
    "locks.baseline.body.config.chunking.size": ("many", "Input should be", '"many"'),
    "locks.baseline.body": ([], "Input should be an object", "[]"),
    "plan.created_at": ("yesterday", "an instant with its zone", '"yesterday"'),
    "plan.body.rollout.steps.0.hours": ("long", "Input should be", '"long"'),
    "plan.body.rollout.look_every_hours": (0.0, "Input should be", "0"),
    "plan.body.seed": (True, "a count", "true"),
    "plan.body.sight.0.blind": (None, "true or false", "null"),
    "records.judgement.body.findings.0.severity": ("deadly", "one of block, warn, dry-run", '"deadly"'),
    "records.judgement.body.findings.0.verdict": (1, "one of pass, ", "1"),
    "records.judgement.body.findings": ({}, "a list", "{}"),
    "records.judgement": (None, "an object", "null"),
    "records.probes.body.findings.1.offenders": (["a"], "a count", '["a"]'),
    "records.rechecks.0.at": (3, "an instant with its zone", "3"),
    "rollout.events.1.body.event.action": ("jump", "one of go, hold, rollback, error", '"jump"'),
    "rollout.events.1.body.event.rules": (True, "a count", "true"),
    "rollout.events.1.body.event.known": ("7", "a count or null", '"7"'),
    "rollout.events.1.since": (None, "an instant with its zone", "null"),
    "rollout.events.0.at": ("2026-01-02", "an instant with its zone", '"2026-01-02"'),
    "rollout.state.phase": ("flying", "one of running, ", '"flying"'),
    "evaluations.baseline.rows.count": ("24", "a count", '"24"'),
    "evaluations.candidate.aggregates.aggregates.means.f1.mean": ("high", "a figure or null", '"high"'),
    "ingests.candidate.report.counts.chunks": (9.5, "a count", "9.5"),
    "number": (None, "a count", "null"),
    "sealed_at": (3, "an instant with its zone", "3"),
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """A predicate with another value at *path*."""
    predicate = small().predicate
    inner: Any = predicate
    *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in keys:
        inner = inner[key]
    inner[last] = value
    return predicate


@pytest.mark.parametrize("path", CHANGES)
def test_places(path: str) -> None:
    """The first thing that is said is where it stands, also below a lock and a strategy."""
    value, expected, shown = CHANGES[path]
    found = next(kinds.values(changed(path, value)))
    place = ".predicate." + ".".join(path.split("."))
    assert place == "".join(f".{part}" for part in found.path.replace("[", ".").replace("]", "").split(".")[1:])
    assert found.expected.startswith(expected)
    assert shown == found.found


def test_healthy() -> None:
    """Nothing is of a wrong kind where nothing was changed, whatever the story."""
    assert [] == [
        kinds_of for story in ("judged", "rolled_back") for kinds_of in kinds.values(small(story=story).predicate)
    ]


def test_a_lock_that_lacks_a_part() -> None:
    """It is named by what it lacks it in."""
    predicate = small(story="judged").predicate
    del predicate["locks"]["baseline"]["body"]["config"]["seed"]
    predicate["locks"]["baseline"]["body"]["config"]["index"]["odd key"] = 1
    found = [item.path for item in kinds.values(predicate)]
    assert ['.predicate.locks.baseline.body.config.index["odd key"]'] == found


def test_a_lock_without_a_name() -> None:
    """What is missing stands nowhere: the lock is named that lacks it."""
    predicate = small(story="judged").predicate
    del predicate["locks"]["baseline"]["body"]["name"]
    (found,) = kinds.values(predicate)
    assert (".predicate.locks.baseline.body", "Field required") == (found.path, found.expected)


def test_nothing_below_what_is_no_list() -> None:
    """It is named once."""
    assert [Difference(".a", "a list", "{}")] == list(kinds.unlike([COUNT], {}, ".a"))


def test_long_values_are_cut() -> None:
    """What was found stays a line."""
    found = next(kinds.unlike(COUNT, "x" * 100, ".a"))
    assert (".a", 60) == (found.path, len(found.found))


def test_rows() -> None:
    """A value of a row is looked at where it broke the arithmetic, and is named then."""
    sample = small(story="judged")
    sample.rows["candidate"][3]["f1"] = "good"
    found = next(figures.aggregates(Sealed(sample.predicate, (), sample.rows)))
    assert Difference("rows:.candidate[3].f1", "a figure or null", '"good"') == found
    assert [] == list(kinds.rows(small(story="judged").rows))


def test_what_is_broken_otherwise_is_raised() -> None:
    """Where no value of a row explains it, whoever asked is told."""
    sample = small(story="judged")
    sample.rows["facts"] = None
    with pytest.raises(TypeError):
        list(figures.aggregates(Sealed(sample.predicate, (), sample.rows)))
