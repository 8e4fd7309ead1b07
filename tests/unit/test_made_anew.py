"""Claims about tables that were made anew: with the same content they are one input, and each is one that is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from bakeoff import history, kinds, provenance, recorded
from bakeoff.difference import Difference
from bakeoff.sealed import Sealed
from tests.sealed import Sample
from tests.tampering import small

CANDIDATE = ".predicate.ingests.candidate"
PROBES = ".predicate.records.probes.body"


def later(at: str, seconds: int) -> str:
    """So much later."""
    return (datetime.fromisoformat(at) + timedelta(seconds=seconds)).isoformat()


def anew(sample: Sample) -> list[dict[str, Any]]:
    """Make the candidate's table anew, twice; the probes are of the second, parity of the first of these ingests."""
    judged = sample.predicate["ingests"]["candidate"]
    made, before = list[dict[str, Any]](), judged
    for number in (1, 2):
        times = {"started_at": later(before["finished_at"], 1), "finished_at": later(before["finished_at"], 2)}
        names = ("corpus", "corpus_sha256", "table_sha256", "lexical")
        before = {name: judged[name] for name in names} | {"ingest_id": f"anew-{number}"} | times
        made.append(before)
    judged["again"] = made
    records = sample.predicate["records"]
    records["probes"]["body"]["inputs"]["ingest_id"] = "anew-2"
    if records["parity"] is not None:
        records["parity"]["body"]["ingest_id"] = "anew-1"
    return made


def first(sample: Sample) -> Difference | None:
    """The first difference that a claim about ingests finds."""

    def found() -> Iterator[Difference]:
        yield from kinds.values(sample.predicate)
        for check in (provenance.inputs, recorded.demanded, history.clock):
            yield from check(Sealed(sample.predicate))

    return next(found(), None)


def test_healthy() -> None:
    """Without any, and with those that were made anew, nothing differs."""
    sample = small(story="judged")
    assert None is first(sample)
    anew(sample)
    assert None is first(sample)


EDITS: dict[str, tuple[Callable[[list[dict[str, Any]]], object], str]] = {
    "another table": (lambda made: made[0].update(table_sha256="0" * 64), f"{CANDIDATE}.again[0].table_sha256"),
    "another corpus": (lambda made: made[1].update(corpus_sha256="0" * 64), f"{CANDIDATE}.again[1].corpus_sha256"),
    "no digest": (lambda made: made[1].update(table_sha256=None), f"{CANDIDATE}.again[1].table_sha256"),
    "an unknown key": (lambda made: made[0].update(note="fine"), f"{CANDIDATE}.again[0].note"),
    "a missing key": (lambda made: made[0].pop("lexical"), f"{CANDIDATE}.again[0].lexical"),
    "one twice": (lambda made: made[1].update(ingest_id="anew-1"), f"{CANDIDATE}.again[1].ingest_id"),
    "the judged one": (lambda made: made[0].update(ingest_id="ingest-candidate"), f"{CANDIDATE}.again[0].ingest_id"),
    "nothing at all": (list.clear, f"{CANDIDATE}.again"),
    "another id": (lambda made: made[1].update(ingest_id="other"), f"{PROBES}.inputs.ingest_id"),
    "one left out": (list.pop, f"{PROBES}.inputs.ingest_id"),
    "the other way round": (list.reverse, f"{CANDIDATE}.again[1].started_at"),
    "ended before it began": (
        lambda made: made[1].update(started_at=later(made[1]["finished_at"], 3600)),
        f"{CANDIDATE}.again[1].finished_at",
    ),
    "made after the seal": (
        lambda made: made[1].update(finished_at="2100-01-01T00:00:00+00:00"),
        ".predicate.sealed_at",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_edited(name: str) -> None:
    """Whatever is edited of them is found where it stands."""
    change, path = EDITS[name]
    sample = small(story="judged")
    made = anew(sample)
    for number, item in enumerate(made):  # an hour apart, so that clocks don't explain another order
        item.update(
            started_at=later(item["started_at"], 3600 * number), finished_at=later(item["finished_at"], 3600 * number)
        )
    sample.predicate["sealed_at"] = later(sample.predicate["sealed_at"], 2 * 3600)
    assert None is first(sample)
    change(made)
    found = first(sample)
    assert found is not None
    assert path == found.path


@pytest.mark.parametrize("arm", ["baseline", "candidate"])
def test_another_ingest_than_the_run_names(arm: str) -> None:
    """Neither may another of the same content stand in its place: the run says which one it was made on."""
    sample = small(story="judged")
    anew(sample)
    sample.predicate["ingests"][arm]["ingest_id"] = "other"
    found = first(sample)
    assert found is not None
    assert f".predicate.evaluations.{arm}.identity_sha256" == found.path


@pytest.mark.parametrize("kind", ["probes", "parity"])
def test_a_record_that_names_another(kind: str) -> None:
    """Probes and parity that count are of an ingest that is known."""
    sample = small(story="completed")
    body = sample.predicate["records"][kind]["body"]
    (body["inputs"] if kind == "probes" else body)["ingest_id"] = "other"
    found = next(recorded.demanded(Sealed(sample.predicate)), None)
    assert found is not None
    where = "inputs.ingest_id" if kind == "probes" else "ingest_id"
    assert (f".predicate.records.{kind}.body.{where}", "other") == (found.path, found.found)
