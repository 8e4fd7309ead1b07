"""Where questions were lost and gained between two runs, and what stood at their top.

Callers may rely on: a question that came equally far in both runs is not named; every other one is named once, at the
first arrow of the funnel where one side holds its gold and the other does not; where a side was not measured before
such an arrow, no arrow is claimed. "Lost" and "gained" are said of that arrow: a question that is lost at one may be
answered right all the same, and a figure may fall where no arrow differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bakeoff import plural
from bakeoff.errors import StateError
from bakeoff.gold import STAGES, Cover, Span, Stage

Case = Mapping[str, Any]
Kind = Literal["lost", "gained"]
Aliases = Mapping[str, Sequence[Span]]
Table = Literal["as evaluated", "changed", "gone"]
"""What became of a run's chunk table since: a table that was ingested again gives other near-duplicates and texts."""

KINDS: tuple[Kind, ...] = ("lost", "gained")
LEGS = ("dense", "lexical")
FUSION = "fusion"
"""A leg of the losing side still found the gold, but it is not in what was fused."""
TOGETHER = "both together"
"""The keeping side needed what both legs brought; neither held all of the gold on its own."""

_SHOWN_RANKS = 3


@dataclass(frozen=True, slots=True)
class Moved:
    """A question lost or gained, and the arrow where that happened."""

    question_id: str
    question: str
    kind: Kind
    arrow: Stage
    legs: tuple[str, ...]
    """At the arrow `snapshot`: the legs that lost (or won) it, `FUSION`, or `TOGETHER`; elsewhere empty."""


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A question of which one side was not measured before any difference was seen."""

    question_id: str
    question: str
    stage: Stage
    side: Literal["baseline", "candidate"]
    """The side without a value."""
    later: Kind | None
    """What a later stage, measured on both sides, says; None: nothing changed there."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every question that did not come equally far in both runs."""

    questions: int
    moved: tuple[Moved, ...]
    """Those lost first; of either kind by arrow, then in the order of the questions."""
    unmeasured: tuple[Unmeasured, ...]

    def count(self, kind: Kind, arrow: Stage | None = None) -> int:
        """Return how many were lost or gained, at one arrow or at all of them."""
        return sum(item.kind == kind and arrow in {None, item.arrow} for item in self.moved)

    def to_json(self) -> dict[str, Any]:
        """Return the counts by arrow as plain values, with the conclusion."""
        return {
            "questions": self.questions,
            "conclusion": conclusion(self),
            "lost": self.count("lost"),
            "gained": self.count("gained"),
            "arrows": [
                {
                    "arrow": stage,
                    "lost": self.count("lost", stage),
                    "gained": self.count("gained", stage),
                    "legs": {kind: self._legs(kind, stage) for kind in KINDS},
                }
                for stage in STAGES
            ],
        }

    def _legs(self, kind: Kind, arrow: Stage) -> dict[str, int]:
        found = Counter(leg for item in self.moved if (item.kind, item.arrow) == (kind, arrow) for leg in item.legs)
        return dict(sorted(found.items()))


def explain(baseline: Sequence[Case], candidate: Sequence[Case]) -> Explanation:
    """Compare how far each question came. Raises StateError where the two runs have other questions."""
    other = {case["question_id"]: case for case in candidate}
    if other.keys() != {case["question_id"] for case in baseline} or len(baseline) != len(candidate):
        raise StateError(
            f"the runs do not have the same questions ({len(baseline)} and {len(candidate)})",
            hint="evaluate both locks on the same question file",
        )
    found = [_differs(case, other[case["question_id"]]) for case in baseline]
    moved = [item for item in found if isinstance(item, Moved)]
    moved.sort(key=lambda item: (KINDS.index(item.kind), STAGES.index(item.arrow)))
    return Explanation(len(found), tuple(moved), tuple(item for item in found if isinstance(item, Unmeasured)))


def _differs(a: Case, b: Case) -> Moved | Unmeasured | None:
    """Return what changed between both sides of one question, or None."""
    left, right = a["funnel"], b["funnel"]
    for stage in STAGES:
        if left[stage] == right[stage]:
            continue
        if left[stage] is None or right[stage] is None:
            side: Literal["baseline", "candidate"] = "baseline" if left[stage] is None else "candidate"
            return Unmeasured(a["question_id"], a["question"], stage, side, _later(left, right))
        kind = _kind(left[stage], right[stage])
        keeps, loses = (left, right) if kind == "lost" else (right, left)
        return Moved(a["question_id"], a["question"], kind, stage, _legs(keeps, loses) if stage == "snapshot" else ())
    return None


def _kind(left: int, right: int) -> Kind:
    return "lost" if left > right else "gained"


def _later(left: Case, right: Case) -> Kind | None:
    both = ((left[stage], right[stage]) for stage in STAGES)
    return next((_kind(a, b) for a, b in both if a is not None and b is not None and a != b), None)


def _legs(keeps: Case, loses: Case) -> tuple[str, ...]:
    """Say which leg the difference is of: those that hold the gold on one side and not on the other."""
    found = [leg for leg in LEGS if keeps[leg] == 1 and loses[leg] == 0]
    if any(loses[leg] == 1 for leg in LEGS):
        found.append(FUSION)
    return tuple(found) or (TOGETHER,)


def conclusion(found: Explanation) -> str:
    """Return one line that names the arrow where most was lost, and where most was gained."""
    lost, gained = found.count("lost"), found.count("gained")
    asked = plural.counted(found.questions, "question")
    if lost or gained:
        come = plural.verb(lost, "comes", "come")
        text = f"{lost or 'none'} of {asked} {come} less far in the funnel, {gained or 'none'} further"
        where = [said for said in (_most(found, kind) for kind in KINDS) if said]
        text = "; ".join([text, *where])
    elif found.unmeasured:
        text = f"no change was measured in {asked}"
    else:
        text = f"nothing changed: {plural.every(found.questions, 'question')} came equally far in both runs"
    if not found.unmeasured:
        return text
    later = Counter(item.later for item in found.unmeasured)
    ends = ", ".join(f"{later[kind]} {kind} further on" for kind in KINDS if later[kind])
    return f"{text}; {len(found.unmeasured)} more not measured on one side" + (f" ({ends})" if ends else "")


def _most(found: Explanation, kind: Kind) -> str | None:
    total, noun = found.count(kind), {"lost": "losses", "gained": "gains"}[kind]
    counts = {stage: found.count(kind, stage) for stage in STAGES}
    top = max(counts.values())
    if not top:
        return None
    names = " and ".join(f"'{stage}'" for stage, count in counts.items() if count == top)
    if top == total:
        return f"all {noun} happen at {names}"
    each = " each" if " and " in names else ""
    return f"{noun} happen most at {names} ({top}{each} of {total})"


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a case's snapshot: its place, its scores, how much gold it holds, whether it was read."""

    chunk_id: str
    doc_id: str
    start: int
    end: int
    rank: int
    score: float
    dense_rank: int | None
    dense_score: float | None
    lexical_rank: int | None
    lexical_score: float | None
    rerank_score: float | None
    gold: float | None
    """The largest share of a gold span that it (or a near-duplicate it stands for) covers; None without gold."""
    read: bool


def gold_spans(case: Case) -> list[list[Span]]:
    """Return the alternatives of every gold passage of *case*."""
    return [[Span(**span) for span in passage] for passage in case["gold"]["passages"]]


def chunks(case: Case, aliases: Aliases) -> list[Chunk]:
    """Return the snapshot of *case* in its order, each chunk with its share of the gold."""
    spans = [span for passage in gold_spans(case) for span in passage]
    relevant = {doc_id for doc_id, grade in (case["gold"]["relevant"] or {}).items() if grade > 0}
    read = {hit["chunk_id"] for hit in case["retrieved_context"]}
    names = [name for name in Chunk.__dataclass_fields__ if name not in {"gold", "read"}]
    return [
        Chunk(
            **{name: hit[name] for name in names},
            gold=_share(spans, relevant, _stands_for(hit, aliases)),
            read=hit["chunk_id"] in read,
        )
        for hit in case["retrieval_snapshot"]
    ]


def _stands_for(hit: Mapping[str, Any], aliases: Aliases) -> list[Span]:
    return [Span(hit["doc_id"], hit["start"], hit["end"]), *aliases.get(hit["chunk_id"], ())]


def _share(spans: Sequence[Span], relevant: Iterable[str], pieces: Sequence[Span]) -> float | None:
    if spans:
        documents = {span.doc_id for span in spans}
        if not any(piece.doc_id in documents for piece in pieces):
            return 0.0
        cover = Cover(pieces)
        return max(cover.share(span) for span in spans)
    return float(any(piece.doc_id in relevant for piece in pieces)) if relevant else None


def standing(case: Case, found: Sequence[Chunk]) -> str:
    """Say in words how far the gold of *case* came; *found* are its `chunks`."""
    funnel, ranks = case["funnel"], [chunk.rank for chunk in found if chunk.gold]
    where = _ranks(ranks, len(found))
    if funnel["in_corpus"] == 0:
        return "its document is not in the corpus"
    if funnel["indexed"] == 0:
        return "no chunk of the index holds it"
    if funnel["snapshot"] == 0:
        legs = ", ".join(f"{leg} leg: {_WORDS[funnel[leg]]}" for leg in LEGS)
        part = f"only a part of it in the snapshot, {where}" if ranks else "not in the snapshot"
        return f"{part} ({legs})"
    if funnel["context"] == 0:
        part = "only a part of it" if any(chunk.gold and chunk.read for chunk in found) else "not"
        return f"{where}, {part} among the {len(case['retrieved_context'])} read"
    if funnel["context"] is None:
        return "no gold to be found"
    used = {0: "read and not used", 1: "read and used", None: "read"}[funnel["used"]]
    return f"{where}, {used}"


_WORDS = {0: "no", 1: "yes", None: "not judged"}


def _ranks(ranks: Sequence[int], size: int) -> str:
    if not ranks:
        return "by a near-duplicate"
    shown = ", ".join(map(str, ranks[:_SHOWN_RANKS])) + (", …" if len(ranks) > _SHOWN_RANKS else "")
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {shown} of {size}"


def said_of_table(name: str, run_id: str, table: Table) -> str | None:
    """Return what a reader must know of a run whose chunk table is not the one that it saw, or None."""
    if table == "as evaluated":
        return None
    what = {
        "changed": "was ingested again after the run: near-duplicates (and shares of gold) are today's",
        "gone": "is gone: near-duplicates that its chunks stood for are not known any more",
    }
    return f"the chunk table of {name} (run {run_id}) {what[table]}"
