"""Aggregates from sealed rows are those of the cases themselves."""

from __future__ import annotations

import random
from typing import Any

import pytest

from bakeoff import cases, gold, tallies
from bakeoff.cases import MEANS

FIGURES = ("em", "f1", "faithfulness")


def rows(count: int, *, seed: int = 1) -> list[dict[str, Any]]:
    """Rows with everything in them, and with nothing."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        row: dict[str, Any] = dict.fromkeys(MEANS)
        row |= {name: rng.choice([0, 1, None]) for name in (*tallies.LEGS, *cases.YES_NO)}
        row |= {name: rng.choice([None, rng.random()]) for name in FIGURES}
        row |= {"answerable": rng.random() < 0.8, "abstained": rng.random() < 0.2, "tags": rng.sample("abc", 2)}
        row |= {"snapshot_size": rng.randrange(9), "context_size": rng.randrange(5), "context_tokens": number}
        row |= {"error": rng.choice([None, None, "down"]), "pairs_cut": rng.choice([None, 0, 3])}
        found.append(row)
    return found


def result(row: dict[str, Any]) -> dict[str, Any]:
    """The case that a row is of, as far as aggregates look at it."""
    return {
        **{name: row[name] for name in (*MEANS, "answerable", "tags", "pairs_cut")},
        "funnel": {step: row[name] for step, name in tallies.FUNNEL.items()},
        "lost_at": tallies.lost_at(row),
        "answer": {"error": row["error"], "abstained": row["abstained"]},
        "retrieval_snapshot": [None] * row["snapshot_size"],
        "retrieved_context": [None] * row["context_size"],
        "token_counts": {"context": row["context_tokens"]},
    }


@pytest.mark.parametrize("count", [0, 1, 40])
def test_as_of_the_cases(count: int) -> None:
    """The same figures to the last digit, under the same keys, but for latencies."""
    made = rows(count)
    expected = cases.aggregates([result(row) for row in made], [{"total": 1.0} for _ in made])
    for name in tallies.UNTOLD:
        del expected[name]
    assert expected == tallies.aggregates(made, MEANS)


@pytest.mark.parametrize("count", [1, 9, 10, 99, 100])
def test_timed(count: int) -> None:
    """How many timings there are, and whether their quantiles are ones to rely on, as an evaluation says it."""
    told = cases.latency([{"total": 1.5}] * count)["total"]
    assert tallies.timed(count) == tallies.counted(told)


def test_lost_at() -> None:
    """The first arrow with a 0, as the funnel says it."""
    assert tallies.ARROWS == gold.STAGES
    for row in rows(50):
        steps = {step: row[name] for step, name in tallies.FUNNEL.items()}
        assert gold.Funnel(level="span", **steps).lost_at == tallies.lost_at(row)
