"""Explain where questions were lost and gained between two stored evaluations."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bakeoff import explain
from bakeoff.adapters import chunks, ingests, locks, staging, tables
from bakeoff.adapters.evaluations import Case, Run
from bakeoff.adapters.postgres import Connection
from bakeoff.cases import MEANS
from bakeoff.errors import NotFoundError
from bakeoff.explain import Aliases, Chunk, Table
from bakeoff.gold import Span
from bakeoff.stages import compare

HEAD = 10
"""Chunks of a snapshot that are shown of each question, beside those that hold gold or were read."""

_LONGEST = 1_000
"""Characters of one text that are shown; gold spans of whole documents exist."""

Texts = Mapping[Span, str | None]


@dataclass(frozen=True, slots=True)
class Explained:
    """Two runs, what moved between them, and the evidence of each question by its id."""

    baseline: Run
    candidate: Run
    result: explain.Explanation
    evidence: dict[str, dict[str, Any]]
    tables: tuple[Table, Table]
    """What became of both chunk tables since."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        moved = [{**asdict(item), **self.evidence[item.question_id]} for item in self.result.moved]
        return {
            "kind": "explanation",
            "baseline": _side(self.baseline, self.tables[0]),
            "candidate": _side(self.candidate, self.tables[1]),
            "warnings": warnings((self.baseline, self.candidate), self.tables),
            **self.result.to_json(),
            "moved": moved,
            "unmeasured": [asdict(item) for item in self.result.unmeasured],
        }


def warnings(runs: Sequence[Run], found: Sequence[Table]) -> list[str]:
    """Return what is said of runs whose chunk table is not the one that they saw."""
    said = (explain.said_of_table(run.lock_name, run.run_id, state) for run, state in zip(runs, found, strict=True))
    return [text for text in said if text is not None]


def table_of(conn: Connection, run: Run) -> Table:
    """Return what became of the chunk table that *run* saw."""
    lock = locks.find(conn, run.config_hash)
    known = ingests.of_lock(conn, lock)
    if known is None or not chunks.exists(conn, lock):
        return "gone"
    return "as evaluated" if known.table_sha256 == run.table_sha256 else "changed"


def _side(run: Run, table: Table) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "lock": run.lock_name,
        "CHUNK_VERSION": run.chunk_version,
        "CONFIG_HASH": run.config_hash,
        "table": table,
    }


def run(conn: Connection, baseline: Run, candidate: Run) -> Explained:
    """Explain what moved between two finished runs. Raises what `compare.run` raises."""
    left, right = compare.matched(conn, baseline, candidate)
    return of_cases(conn, (baseline, [case for case, _ in left]), (candidate, [case for case, _ in right]))


def of_cases(conn: Connection, left: tuple[Run, list[Case]], right: tuple[Run, list[Case]]) -> Explained:
    """Explain what moved between the cases of two runs that were matched before."""
    result = explain.explain(left[1], right[1])
    names = {item.question_id for item in result.moved}
    evidence = _evidence(conn, left, right, names, head=HEAD)
    return Explained(left[0], right[0], result, evidence, (table_of(conn, left[0]), table_of(conn, right[0])))


def one(conn: Connection, baseline: Run, candidate: Run, question_id: str) -> dict[str, Any]:
    """Return one question whole: both sides' funnels, snapshots, answers and figures, and the gold.

    Raises what `run` raises, and NotFoundError where the runs have no such question.
    """
    left, right = compare.matched(conn, baseline, candidate)
    sides = ((baseline, _only(left, question_id)), (candidate, _only(right, question_id)))
    result = explain.explain(sides[0][1], sides[1][1])
    case, tables = sides[0][1][0], (table_of(conn, baseline), table_of(conn, candidate))
    found = _evidence(conn, *sides, {question_id}, head=None)[question_id]
    return {
        "kind": "explained_case",
        "question_id": question_id,
        "question": case["question"],
        "tags": case["tags"],
        "conclusion": _said(result),
        "warnings": warnings((baseline, candidate), tables),
        "moved": [asdict(item) for item in result.moved],
        "unmeasured": [asdict(item) for item in result.unmeasured],
        "gold": found["gold"],
        "baseline": {**_side(baseline, tables[0]), **found["baseline"]},
        "candidate": {**_side(candidate, tables[1]), **found["candidate"]},
    }


def _said(result: explain.Explanation) -> str:
    if result.moved:
        (item,) = result.moved
        legs = f" ({', '.join(item.legs)})" if item.legs else ""
        return f"{item.kind} at '{item.arrow}'{legs}"
    if result.unmeasured:
        (item_,) = result.unmeasured
        return f"'{item_.stage}' was not measured in the {item_.side}"
    return "the question came equally far in both runs"


def _only(found: Sequence[compare.Timed], question_id: str) -> list[Case]:
    by_id = {case["question_id"]: case for case, _ in found}
    if question_id not in by_id:
        near = difflib.get_close_matches(question_id, by_id, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"the first of {len(by_id)} is {min(by_id)}"
        raise NotFoundError(f"no question {question_id!r} in these runs", hint=hint)
    return [by_id[question_id]]


def aliases(conn: Connection, run: Run, cases: Iterable[Case]) -> Aliases:
    """Return the near-duplicates that the snapshots' chunks stand for; of a table that was dropped: none."""
    lock = locks.find(conn, run.config_hash)
    ids = {hit["chunk_id"] for case in cases for hit in case["retrieval_snapshot"]}
    return staging.aliases_of(conn, tables.Tables(lock), ids) if ids and chunks.exists(conn, lock) else {}


def _evidence(
    conn: Connection,
    left: tuple[Run, list[Case]],
    right: tuple[Run, list[Case]],
    names: set[str],
    *,
    head: int | None,
) -> dict[str, dict[str, Any]]:
    """Return the evidence of the questions *names*: of each snapshot the first *head* chunks and those that count."""
    sides: dict[str, dict[str, tuple[Case, list[Chunk]]]] = {}
    for which, (run_, cases) in (("baseline", left), ("candidate", right)):
        wanted = [case for case in cases if case["question_id"] in names]
        known = aliases(conn, run_, wanted)
        sides[which] = {case["question_id"]: (case, explain.chunks(case, known)) for case in wanted}
    every = [pair for found in sides.values() for pair in found.values()]
    spans = {Span(chunk.doc_id, chunk.start, chunk.end) for _, found in every for chunk in _top(found, head)}
    spans |= {span for case, _ in every for passage in explain.gold_spans(case) for span in passage}
    texts = _texts(_documents(conn, (left[0], right[0])), spans)
    return {
        name: {
            "gold": _gold(sides["baseline"][name][0], texts),
            **{which: _of_side(*found[name], texts, head) for which, found in sides.items()},
        }
        for name in sorted(names)
    }


def _documents(conn: Connection, runs: Sequence[Run]) -> ingests.StoredDocuments:
    """Return the documents that *runs*, which are of one corpus, have read: of any ingest that still has them."""
    for run_ in runs:
        known = ingests.of_lock(conn, locks.find(conn, run_.config_hash))
        if known is not None and known.corpus_sha256 == run_.corpus_sha256:
            return ingests.StoredDocuments(conn, known.ingest_id)
    return ingests.StoredDocuments(conn, runs[0].ingest_id)


def _top(found: Sequence[Chunk], head: int | None) -> list[Chunk]:
    return [chunk for chunk in found if head is None or chunk.rank <= head or chunk.gold or chunk.read]


def _texts(documents: ingests.StoredDocuments, spans: Iterable[Span]) -> dict[Span, str | None]:
    """Return the text of each span, one document in memory at a time; None: the corpus has no such document."""
    by_document: dict[str, list[Span]] = {}
    for span in spans:
        by_document.setdefault(span.doc_id, []).append(span)
    found: dict[Span, str | None] = {}
    for doc_id, wanted in by_document.items():
        text = documents.get(doc_id)
        body = None if text is None else text.encode()
        for span in wanted:
            # A gold span may have been given in bytes by hand, and begin inside a character.
            found[span] = None if body is None else _short(body[span.start : span.end].decode(errors="replace"))
    return found


def _short(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= _LONGEST else folded[: _LONGEST - 1] + "…"


def _gold(case: Case, texts: Texts) -> dict[str, Any]:
    passages = [[{**asdict(span), "text": texts[span]} for span in passage] for passage in explain.gold_spans(case)]
    return {**case["gold"], "passages": passages}


def _of_side(case: Case, found: Sequence[Chunk], texts: Texts, head: int | None) -> dict[str, Any]:
    return {
        "funnel": case["funnel"],
        "lost_at": case["lost_at"],
        "stood": explain.standing(case, found),
        "answer": case["answer"],
        "answer_right": case["answer_right"],
        "figures": {name: case[name] for name in MEANS},
        "snapshot_size": len(found),
        "context_size": len(case["retrieved_context"]),
        "chunks": [
            {**asdict(chunk), "text": texts[Span(chunk.doc_id, chunk.start, chunk.end)]} for chunk in _top(found, head)
        ],
    }
