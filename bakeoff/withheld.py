"""What a seal does not say aloud: texts and ids of questions stay with the rows, and what was found names rows instead.

Callers may rely on: `without` and `whole` are each other's inverse, so that the digest of what was recorded can be
checked by whoever has the rows; what is left says which rows, how many lines, and every figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bakeoff.errors import InputError

Asked = Sequence[tuple[str, str]]
"""(id, text) of every question, in the order of the baseline's rows."""
Body = dict[str, Any]

_LINES = {"probes": "offenders", "parity": "examples"}
"""Where findings of these records have lines of text that may quote anything."""


def without(kind: str, body: Mapping[str, Any], places: Mapping[str, int]) -> tuple[Body, list[str]]:
    """Return the *body* of a record of *kind* as it is sealed, and the lines that stay with the rows.

    *places* has the row of each question's id. Raises InputError where the record names another question.
    """
    if kind in _LINES:
        name = _LINES[kind]
        left = [{**item, name: len(item[name])} for item in body["findings"]]
        return {**body, "findings": left}, [line for item in body["findings"] for line in item[name]]
    return _mapped(kind, body, lambda item: _by_row(item, places), lambda ids: [_row(one, places) for one in ids]), []


def whole(kind: str, body: Mapping[str, Any], asked: Asked, lines: Sequence[str]) -> Body:
    """Return a sealed *body* as it was recorded, of the questions *asked* and the *lines* that `without` left out.

    Raises InputError where a row is not there or the lines are more or fewer than those that were left out.
    """
    if kind in _LINES:
        return {**body, "findings": _with_lines(body["findings"], _LINES[kind], list(lines))}
    return _mapped(
        kind, body, lambda item: _by_id(item, asked), lambda rows: [_question(row, asked)[0] for row in rows]
    )


def finding(found: Mapping[str, Any], places: Mapping[str, int]) -> Body:
    """Return what a gate *found* as it is sealed in a judgement. Raises as `without` does."""
    return _with_worst(found, lambda item: _by_row(item, places))


def questions(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an evaluation's *report* says of its questions, with counts for those that are named."""
    named = ("absent_documents", "left_out")
    return {**report, **{name: len(report[name]) for name in named if name in report}}


def _mapped(
    kind: str,
    body: Mapping[str, Any],
    worst: Callable[[Mapping[str, Any]], Body],
    timed: Callable[[Sequence[Any]], list[Any]],
) -> Body:
    """Return *body* with the questions that it names put otherwise."""
    if kind == "timings":
        return {**body, "questions": timed(body["questions"])}
    if kind == "judgement":
        return {**body, "findings": [_with_worst(item, worst) for item in body["findings"]]}
    if kind == "recheck" and "judgement" in body:
        return {**body, "judgement": _mapped("judgement", body["judgement"], worst, timed)}
    return dict(body)


def _with_worst(finding: Mapping[str, Any], worst: Callable[[Mapping[str, Any]], Body]) -> Body:
    return {**finding, "worst": [worst(item) for item in finding["worst"]]}


def _by_row(item: Mapping[str, Any], places: Mapping[str, int]) -> Body:
    figures = {name: value for name, value in item.items() if name not in {"question_id", "question"}}
    return {"row": _row(item["question_id"], places), **figures}


def _by_id(item: Mapping[str, Any], asked: Asked) -> Body:
    question_id, question = _question(item["row"], asked)
    figures = {name: value for name, value in item.items() if name != "row"}
    return {"question_id": question_id, "question": question, **figures}


def _row(question_id: str, places: Mapping[str, int]) -> int:
    if question_id not in places:
        raise InputError(f"question {question_id!r} is not one of those that were judged")
    return places[question_id]


def _question(row: Any, asked: Asked) -> tuple[str, str]:
    if type(row) is not int or not 0 <= row < len(asked):
        raise InputError(f"row {row!r} is none of {len(asked)}")
    return asked[row]


def _with_lines(findings: Sequence[Mapping[str, Any]], name: str, lines: list[str]) -> list[Body]:
    counts = [int(item[name]) for item in findings]
    if any(count < 0 for count in counts) or sum(counts) != len(lines):
        raise InputError(f"{name}: {sum(counts)} lines are named, {len(lines)} are there")
    ends = [sum(counts[: number + 1]) for number in range(len(counts))]
    return [{**item, name: lines[end - count : end]} for item, count, end in zip(findings, counts, ends, strict=True)]
