"""Claims about the figures of both evaluations: what follows from the rows, and what is said in more than one place.

Callers may rely on: each function yields what differs, the truest name of it first; values of a wrong kind raise;
of latencies nothing but their number is looked at, of notes nothing, since nothing else that is sealed tells them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bakeoff import kinds, sealed, tallies
from bakeoff.difference import Difference
from bakeoff.sealed import ARMS, CASE_KEYS, Sealed, differ

_BROKEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def aggregates(seal: Sealed) -> Iterator[Difference]:
    """Yield where an aggregate is not that of the rows; a fact that the rows tell, too."""
    try:
        yield from _aggregates(seal)
    except _BROKEN:  # whoever has the key may have sealed anything; the place is sought where it is needed alone
        yield from kinds.rows(seal.rows or {})
        raise


def _aggregates(seal: Sealed) -> Iterator[Difference]:
    for arm in ARMS:
        cases, given = seal.cases(arm), seal.predicate["evaluations"][arm]["aggregates"]["aggregates"]
        path = f".predicate.evaluations.{arm}.aggregates.aggregates"
        names = tuple(given["means"])
        for number, row in enumerate(cases):
            yield from sealed.unlike(dict.fromkeys((*CASE_KEYS, *names)), row, f"rows:.{arm}[{number}]")
        told = {name: value for name, value in given.items() if name not in tallies.UNTOLD}
        yield from differ(tallies.aggregates(cases, names), told, path, close=True)
        timed = {step: tallies.counted(item) for step, item in given["latency_ms"].items()}
        yield from differ(dict.fromkeys(timed, tallies.timed(len(cases))), timed, f"{path}.latency_ms")
        yield from _facts(seal, arm, cases)


def _facts(seal: Sealed, arm: str, cases: list[dict[str, Any]]) -> Iterator[Difference]:
    """Yield where a fact that gates judge is not what rows and ingest say."""
    facts = (seal.rows or {})["facts"][arm]
    counts = seal.predicate["ingests"][arm]["report"]["counts"]
    sizes = [row["snapshot_size"] for row in cases]
    wanted = {
        "snapshot_size": sum(sizes) / len(sizes) if sizes else None,
        "reader_errors": sum(row["error"] is not None for row in cases) if sizes else None,
        "dedup_share": counts["duplicates"] / counts["chunks_read"] if counts["chunks_read"] else None,
    }
    yield from differ(wanted, {name: facts.get(name) for name in wanted}, f"rows:.facts.{arm}", close=True)


def copies(seal: Sealed) -> Iterator[Difference]:
    """Yield where an evaluation says something else of its questions, corpus or table than plan, lock and ingest."""
    for arm in ARMS:
        run, ingest = seal.predicate["evaluations"][arm], seal.predicate["ingests"][arm]
        lock, report, path = seal.predicate["locks"][arm]["body"], run["aggregates"], f".predicate.evaluations.{arm}"
        counts, gold = ingest["report"]["counts"], report["aggregates"]["funnel"]["in_corpus"]
        asked = {
            "name": run["question_set"],
            "sha256": run["questions_sha256"],
            "used": run["rows"]["count"],
            "with_gold": gold["yes"] + gold["no"],
            "not_in_corpus": gold["no"],
        }
        corpus = {"source": ingest["corpus"], "sha256": run["corpus_sha256"], "documents": counts["documents"]}
        wanted = {"reader": lock["config"]["reader"]["kind"], "lexical": ingest["lexical"]}
        yield from differ(asked, {name: report["questions"][name] for name in asked}, f"{path}.aggregates.questions")
        yield from differ(corpus, report["corpus"], f"{path}.aggregates.corpus")
        yield from differ(wanted, {name: report[name] for name in wanted}, f"{path}.aggregates")
        yield from differ(
            counts["chunks_read"] - counts["duplicates"],
            counts["chunks"],
            f".predicate.ingests.{arm}.report.counts.chunks",
        )
