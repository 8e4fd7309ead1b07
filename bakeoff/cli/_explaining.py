"""What `explain` shows."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable
from typing import Any

from bakeoff import report
from bakeoff.cli._evaluating import NAMES
from bakeoff.explain import FUSION, KINDS, LEGS
from bakeoff.gold import STAGES

_MOST = 5
_LINES = 3
_WIDEST = 120
_SIDES = (("A", "baseline"), ("B", "candidate"))
_JUDGED = {1: "right", 0: "wrong", None: "not judged"}


def _width() -> int:
    return min(max(shutil.get_terminal_size((110, 24)).columns, 60), _WIDEST)


def _wrap(text: str, *, indent: int, lines: int | None = None) -> list[str]:
    """Return *text* on lines of the terminal's width; what is behind *lines* of them is cut off with a mark."""
    pad = " " * indent
    return textwrap.wrap(
        report.line(text),
        _width(),
        initial_indent=pad,
        subsequent_indent=pad,
        max_lines=lines,
        placeholder=" …",
        break_on_hyphens=False,
    )


def text(data: dict[str, Any]) -> str:
    """Return an explanation, or one explained case, as it is printed."""
    return "\n".join(_case(data) if data["kind"] == "explained_case" else _all(data))


def _runs(data: dict[str, Any]) -> list[str]:
    return [
        f"{sign} {data[side]['run_id']} ({data[side]['lock']}, {data[side]['CONFIG_HASH']})" for sign, side in _SIDES
    ]


def _warnings(data: dict[str, Any]) -> list[str]:
    return [line for text in data["warnings"] for line in _wrap(f"note: {text}", indent=0)]


def _legs(legs: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in legs.items())


def _all(data: dict[str, Any]) -> list[str]:
    rows = [
        (item["arrow"], item["lost"], item["gained"], _legs(item["legs"]["lost"]), _legs(item["legs"]["gained"]))
        for item in data["arrows"]
        if item["lost"] or item["gained"]
    ]
    lines = [*_wrap(data["conclusion"], indent=0), *_runs(data), *_warnings(data)]
    if rows:
        columns = ("arrow", "lost>", "gained>", "lost by leg", "gained by leg")
        shown = columns if any(row[3] or row[4] for row in rows) else columns[:3]
        narrow = (("lost by leg", None), ("gained by leg", None)) if shown is columns else ()
        title = "Where the funnel of a question differs first"
        notes = ["Lost: the baseline holds the gold there, the candidate not; it may be answered right all the same."]
        notes += [f"{FUSION}: a leg of the losing side found it, and fusion left it out"] * (shown is columns)
        drawn = report.table(title, shown, [row[: len(shown)] for row in rows], notes=notes, narrow=narrow)
        lines += ["", drawn.terminal(width=_width())]
    for kind in KINDS:  # what was lost comes first: that is what is looked for
        for arrow in STAGES:
            lines += _group(data["moved"], arrow, kind)
    lines += _unmeasured(data["unmeasured"])
    if data["moved"]:
        first, (a, b) = data["moved"][0]["question_id"], (data[side]["run_id"] for _, side in _SIDES)
        lines += ["", f"next: bakeoff explain {a} {b} --case {first}"]
    return lines


def _group(moved: Iterable[dict[str, Any]], arrow: str, kind: str) -> list[str]:
    found = [item for item in moved if (item["arrow"], item["kind"]) == (arrow, kind)]
    if not found:
        return []
    lines = ["", f"{kind} at '{arrow}' ({len(found)})"]
    for item in found[:_MOST]:
        legs = f" [{', '.join(item['legs'])}]" if item["legs"] else ""
        lines += _wrap(f"{item['question_id']}{legs}  {item['question']}", indent=2, lines=_LINES)
        lines += _gold_lines(item["gold"], indent=6, lines=1)
        for sign, side in _SIDES:
            lines += _wrap(f"{sign}: {_stood(item[side], arrow)}", indent=6, lines=2)
            lines += [line for chunk in _telling(item[side]) for line in _wrap(_place(chunk), indent=9, lines=2)]
    if len(found) > _MOST:
        lines.append(f"  … and {len(found) - _MOST} more: --json shows them all")
    return lines


def _telling(side: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the first chunk of a snapshot, and the best that holds gold where that is another one."""
    gold = [chunk for chunk in side["chunks"] if chunk["gold"]][:1]
    return [*side["chunks"][:1], *(chunk for chunk in gold if chunk["rank"] > 1)]


def _stood(side: dict[str, Any], arrow: str) -> str:
    if arrow not in {"used", "right"}:
        return str(side["stood"])
    return f"{side['stood']}; answer {_JUDGED[side['answer_right']]}: {_answer(side)}"


def _answer(side: dict[str, Any]) -> str:
    answer = side["answer"]
    if answer["error"]:
        return f"none ({answer['error']})"
    return "abstained" if answer["abstained"] or not answer["text"] else f'"{answer["text"]}"'


def _gold_lines(gold: dict[str, Any], *, indent: int, lines: int | None) -> list[str]:
    found = []
    for passage in gold["passages"]:
        for index, span in enumerate(passage if lines is None else passage[:1]):
            what = "(not in the corpus)" if span["text"] is None else f'"{span["text"]}"'
            word = "or:" if index else "gold:"
            found += _wrap(f"{word} {span['doc_id']} {span['start']}-{span['end']} {what}", indent=indent, lines=lines)
    if not found and gold["relevant"]:
        documents = ", ".join(doc_id for doc_id, grade in gold["relevant"].items() if grade > 0)
        found = _wrap(f"gold: any of the documents {documents}", indent=indent, lines=lines)
    return found


def _place(chunk: dict[str, Any]) -> str:
    """Return rank, place, scores and marks of a chunk."""
    legs = [
        f"{name} {report.number(chunk[f'{leg}_score'])} (#{chunk[f'{leg}_rank']})"
        for leg, name in zip(LEGS, ("dense", "BM25"), strict=True)
        if chunk[f"{leg}_rank"] is not None
    ]
    if chunk["rerank_score"] is not None:
        legs.append(f"rerank {report.number(chunk['rerank_score'])}")
    marks = ["read"] if chunk["read"] else []
    if chunk["gold"]:
        marks.append("GOLD" if chunk["gold"] == 1.0 else f"GOLD {chunk['gold']:.0%}")
    place = f"#{chunk['rank']} {chunk['doc_id']} {chunk['start']}-{chunk['end']}"
    shown = f" [{', '.join(marks)}]" if marks else ""
    return f"{place}{shown}  fused {report.number(chunk['score'], digits=4)}, {', '.join(legs)}"


def _unmeasured(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        return []
    lines = ["", f"not measured on one side ({len(found)})"]
    for item in found[:_MOST]:
        later = f"; {item['later']} further on" if item["later"] else ""
        said = f"{item['question_id']}  '{item['stage']}' has no value in the {item['side']}{later}: {item['question']}"
        lines += _wrap(said, indent=2, lines=2)
    if len(found) > _MOST:
        lines.append(f"  … and {len(found) - _MOST} more: --json shows them all")
    return lines


def _yes_no(value: int | None) -> str:
    return {1: "yes", 0: "NO", None: report.NOTHING}[value]


def _case(data: dict[str, Any]) -> list[str]:
    a, b = (data[side] for _, side in _SIDES)
    lines = _wrap(f"{data['question_id']}: {data['conclusion']}", indent=0)
    lines += [*_wrap(data["question"], indent=2), *_runs(data), *_warnings(data), ""]
    lines += _gold_lines(data["gold"], indent=0, lines=None)
    lines += _wrap("gold answers: " + (" | ".join(data["gold"]["answers"]) or report.NOTHING), indent=0)
    stages = ("in_corpus", "indexed", *LEGS, "snapshot", "context", "used", "right")
    named = {leg: f"  {leg} leg" for leg in LEGS}
    rows = [(named.get(name, name), _yes_no(a["funnel"][name]), _yes_no(b["funnel"][name])) for name in stages]
    lines += ["", report.table("Funnel", ("stage", "A", "B"), rows).terminal(width=_width())]
    figures = [
        (NAMES[name], a["figures"][name], b["figures"][name])
        for name in a["figures"]
        if a["figures"][name] is not None or b["figures"][name] is not None
    ]
    lines += [report.table("Figures", ("figure", "A>", "B>"), figures).terminal(width=_width())]
    for sign, side in _SIDES:
        lines += ["", *_side(sign, data[side])]
    return lines


def _side(sign: str, side: dict[str, Any]) -> list[str]:
    lines = _wrap(f"{sign}: {side['stood']}", indent=0)
    lines += _wrap(f"answer {_JUDGED[side['answer_right']]}: {_answer(side)}", indent=2)
    for used in side["answer"]["used"] or ():
        lines += _wrap(f'used: {used["doc_id"]} {used["start"]}-{used["end"]} "{used["text"]}"', indent=2, lines=3)
    lines.append(f"  snapshot of {side['snapshot_size']} chunks, {side['context_size']} read:")
    shown = [chunk for chunk in side["chunks"] if chunk["rank"] <= 2 * _MOST or chunk["gold"] or chunk["read"]]
    for chunk in shown:
        lines += _wrap(_place(chunk), indent=2)
        lines += _wrap(f'"{chunk["text"]}"', indent=6, lines=2)
    if len(shown) < len(side["chunks"]):
        lines.append(f"  … and {len(side['chunks']) - len(shown)} more: --json shows them all")
    return lines
