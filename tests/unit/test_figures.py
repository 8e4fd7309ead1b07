"""Figures of evaluations: each that follows from the rows, or stands in two places, is found where it was changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bakeoff import figures, tallies
from bakeoff.difference import Difference
from bakeoff.sealed import Sealed
from tests.sealed import Sample
from tests.tampering import small

HELD = ".predicate.evaluations.candidate.aggregates"


def opened(sample: Sample) -> Sealed:
    """The seal as claims see it."""
    return Sealed(sample.predicate, (), sample.rows, sample.written)


def first(found: Iterator[Difference]) -> Difference | None:
    """The first difference, or None."""
    return next(found, None)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Every figure below *value*, as its path and its keys."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield from ((below, [key, *keys]) for below, keys in leaves(item, f"{path}.{key}"))
        else:
            yield f"{path}.{key}", [key]


def aggregates(sample: Sample) -> dict[str, Any]:
    """The aggregates of the candidate."""
    found: dict[str, Any] = sample.predicate["evaluations"]["candidate"]["aggregates"]["aggregates"]
    return found


PATHS = [(path, keys) for path, keys in leaves(aggregates(small(story="judged"))) if keys[0] != "latency_ms"]


@pytest.mark.parametrize(("path", "keys"), PATHS, ids=[path for path, _ in PATHS])
def test_every_aggregate(path: str, keys: list[Any]) -> None:
    """Whichever is changed is found, by its path."""
    sample = small(story="judged")
    inner = aggregates(sample)
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = 0.123 if inner[keys[-1]] is None else inner[keys[-1]] + 1
    said = first(figures.aggregates(opened(sample)))
    assert said is not None
    assert f"{HELD}.aggregates{path}".replace(".2020", '["2020"]') == said.path


def test_healthy() -> None:
    """Nothing differs where nothing was changed; how long something took is not looked at."""
    sample = small(story="judged")
    aggregates(sample)["latency_ms"]["total"]["p50"]["value"] = 0.1
    assert [] == [*figures.aggregates(opened(sample)), *figures.copies(opened(sample))]


def test_an_aggregate_that_is_not_there() -> None:
    """Nothing can be left out, either."""
    sample = small(story="judged")
    del aggregates(sample)["abstained"]
    assert Difference(f"{HELD}.aggregates.abstained", "4", "nothing") == first(figures.aggregates(opened(sample)))


def test_rows_that_lack_something() -> None:
    """A row has every key, and no other."""
    sample = small(story="judged")
    del sample.rows["baseline"][2]["tags"]
    sample.rows["candidate"][1]["note"] = 1
    assert Difference("rows:.baseline[2].tags", "a value", "nothing") == first(figures.aggregates(opened(sample)))


@pytest.mark.parametrize(("name", "value"), [("snapshot_size", 3.0), ("reader_errors", 1), ("dedup_share", 0.2)])
def test_facts(name: str, value: float) -> None:
    """A fact that gates judge, against rows and ingest."""
    sample = small(story="judged")
    sample.rows["facts"]["candidate"][name] = value
    said = first(figures.aggregates(opened(sample)))
    assert said is not None
    assert f"rows:.facts.candidate.{name}" == said.path


def test_nothing_was_asked_or_ingested() -> None:
    """No row at all has no mean, an empty corpus no share, and neither is a reason to break."""
    sample = small(story="judged")
    for arm in ("baseline", "candidate"):
        sample.rows[arm] = []
        run = sample.predicate["evaluations"][arm]["aggregates"]["aggregates"]
        run.update(tallies.aggregates([], tuple(run["means"])), latency_ms={})
        counts = sample.predicate["ingests"][arm]["report"]["counts"]
        counts.update(dict.fromkeys(("chunks_read", "chunks", "duplicates"), 0))
        sample.rows["facts"][arm].update(snapshot_size=None, reader_errors=None, dedup_share=None)
    assert [] == [*figures.aggregates(opened(sample))]


COPIES: dict[str, tuple[tuple[str, ...], Any]] = {
    "questions.sha256": (("questions", "sha256"), "0"),
    "questions.used": (("questions", "used"), 3),
    "questions.name": (("questions", "name"), "others"),
    "questions.with_gold": (("questions", "with_gold"), 3),
    "questions.not_in_corpus": (("questions", "not_in_corpus"), 3),
    "corpus.sha256": (("corpus", "sha256"), "0"),
    "corpus.documents": (("corpus", "documents"), 3),
    "corpus.source": (("corpus", "source"), "elsewhere"),
    "reader": (("reader",), "none"),
    "lexical": (("lexical",), "none"),
}


@pytest.mark.parametrize("path", COPIES)
def test_copies(path: str) -> None:
    """What an evaluation says of its inputs is what plan, lock and ingest say."""
    keys, value = COPIES[path]
    sample = small(story="judged")
    inner = sample.predicate["evaluations"]["candidate"]["aggregates"]
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    said = first(figures.copies(opened(sample)))
    assert said is not None
    assert f"{HELD}.{path}" == said.path


def test_counts_of_an_ingest() -> None:
    """What survived is what was read without its near-duplicates."""
    sample = small(story="judged")
    sample.predicate["ingests"]["baseline"]["report"]["counts"]["chunks"] = 98
    path = ".predicate.ingests.baseline.report.counts.chunks"
    assert Difference(path, "99", "98") == first(figures.copies(opened(sample)))
