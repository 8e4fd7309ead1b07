"""How judgements and timings are shown and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bakeoff import gate_words, metrics, report, summary
from bakeoff.adapters import files
from bakeoff.adapters.records import Record
from bakeoff.cli._shared import emit, say
from bakeoff.errors import ReaderError
from bakeoff.rules import FACTS, LATENCY

_ORDER = {"fail": 0, "error": 1, "no_data": 2, "inconclusive": 3, "pass": 4}
_DECIDES_NOTHING = "*"
_DIGITS = 12
_TWO_LOCKS = "two-locks"
_ARMS = ("baseline", "candidate")
_NARROW = (("baseline>", "base>"), ("candidate>", "cand>"), ("sees>", None), ("n>", None))
_CHANGE = "Change: signed, in points; of a latency percent; of a level the interval of the value itself"
_ONE_LOCK = "next: bakeoff lock-config FILE locks a candidate that differs; then make a plan of it"
_PROMOTE = "next: the candidate may be promoted; bakeoff locks activate {hash} records it"
_NEXT = {
    "pass": "next: bakeoff kpi-check --plan {plan} --promote-check asks for passing probes and parity too",
    "fail": "next: bakeoff explain {baseline} {candidate} shows where questions were lost",
    "inconclusive": "next: add questions, or widen a margin, in a new plan",
    "no_data": "next: run what the findings name",
    "error": "next: mend the measurement that the findings name, and evaluate again",
}


def write(artifacts: Path, record: Record, **marks: str) -> Path:
    """Write the judgement's artifact, with *marks* of how it was made, and return its path."""
    name = f"{str(record.plan_sha256)[:12]}-{record.record_id}.json"
    body = {"record": record.record_id, "sha256": record.sha256, "at": record.at.isoformat(), **marks, **record.body}
    return files.write_json(artifacts / "judgements" / name, body)


def data(record: Record, path: Path) -> dict[str, Any]:
    """Return a judgement as `--json` prints it."""
    return {"record": record.record_id, "at": record.at.isoformat(), **record.body, "artifact": str(path)}


def _change(item: dict[str, Any]) -> str:
    """Return the difference with its interval in points (percent of a latency); of a level its own interval."""
    low, high, level = item["low"], item["high"], item["rule"] == "level"
    scale, digits, sign = (1, 3, "") if level else (100, 1, "+")
    span = "" if low is None or high is None else f"[{scale * low:{sign}.{digits}f}, {scale * high:{sign}.{digits}f}]"
    if item["difference"] is None or level:
        return span
    if item["rule"] == "stable":
        return f"{item['difference']:+g}"
    return f"{scale * item['difference']:+.1f} {span}".rstrip()


def _row(item: dict[str, Any]) -> tuple[Any, ...]:
    verdict = item["verdict"] + ("" if item["severity"] == "block" else _DECIDES_NOTHING)
    whole = item["metric"] in FACTS
    seen = "" if item["detectable"] is None or whole else f"{100 * item['detectable']:.1f}"
    if seen and gate_words.sees_nothing(item["metric"], item["detectable"]):
        seen = "nothing"
    asked = "" if whole else gate_words.count(item)
    figures = (summary.gate_figure(item["metric"], item[name]) for name in ("baseline", "value"))
    return item["gate"], verdict, *figures, _change(item), item["threshold"], seen, asked


def text(data: dict[str, Any]) -> str:
    """Return what a person wants to know of a judgement, the worst first."""
    found = sorted(data["findings"], key=lambda item: _ORDER[item["verdict"]])
    columns = ("gate", "verdict", "baseline>", "candidate>", "change, pt>", "asked for", "sees>", "n>")
    sides = " against ".join(f"{data[side]['lock']} (run {data[side]['run_id']})" for side in ("candidate", "baseline"))
    lines = [f"{sides}, plan {data['plan_sha256'][:12]}"]
    if data["label"]:
        lines.append(report.line(f"note: {data['label']}"))
    quiet = sorted({item["severity"] for item in found} - {"block"})
    notes = [f"{_CHANGE}; {summary.UNCORRECTED}. Losses are decided by p-values that are (Holm, over the gates)."]
    notes += [f"{_DECIDES_NOTHING} {' and '.join(quiet)}: shown, decides nothing"] if quiet else []
    title = f"KPI gates ({data['profile']}); intervals of {1 - 2 * data['alpha']:.0%}, so each end is one-sided"
    lines.append(report.table(title, columns, map(_row, found), notes=notes, narrow=_NARROW).terminal())
    for item in found:
        if item["verdict"] != "pass" or item["reason"] == "suspicious":
            lines += _about(item, data["plan_sha256"][:_DIGITS], timed=bool(data["timings"]))
    lines += [*gate_words.repeated(data), *gate_words.accepted(data)]
    return "\n".join([*lines, f"written to: {data['artifact']}", f"verdict: {data['verdict'].upper()}", _next(data)])


def _next(data: dict[str, Any]) -> str:
    """Return the command that comes next, about this very plan."""
    promoted = data["verdict"] == "pass" and data["promote_check"]
    if data["verdict"] == "no_data" and any(item["gate"] == _TWO_LOCKS for item in data["findings"]):
        return _ONE_LOCK
    named = {side: data[side]["run_id"] for side in ("baseline", "candidate")}
    named |= {"hash": data["candidate"]["CONFIG_HASH"], "plan": data["plan_sha256"][:_DIGITS]}
    return (_PROMOTE if promoted else _NEXT[data["verdict"]]).format(**named)


def _about(item: dict[str, Any], plan: str, *, timed: bool) -> list[str]:
    """Return what is known of a gate that did not pass; texts from outside stay within their line.

    *timed*: there are timings, so that taking them is no advice.
    """
    lines = [report.line(f"{item['verdict']}: {item['gate']}: {item['said']}")]
    lines += [f"    {more}" for more in (gate_words.further(item),) if more]
    for worst in item["worst"]:
        figures = " → ".join(summary.gate_figure(item["metric"], worst[side]) for side in ("baseline", "candidate"))
        asked = report.line(f"{worst['question_id']}: {worst['question']}")
        lines.append(f"    {asked}  [{figures}]")
    if item["metric"] == LATENCY and item["verdict"] == "no_data" and not timed:
        lines.append(f"    next: bakeoff timings --plan {plan} times both locks in turn")
    return lines


def show(data: dict[str, Any], *, form: str, out: Path | None, as_json: bool) -> None:
    """Print the judgement in one of its forms, or write it to *out*; where JSON is asked for stdout has one object."""
    from bakeoff import ci

    forms: dict[str, Callable[[], str]] = {
        "table": lambda: text(data),
        "json": lambda: json.dumps(data, ensure_ascii=False, allow_nan=False),
        "junit": lambda: ci.junit(data),
        "github": lambda: ci.github(data),
        "markdown": lambda: ci.markdown(data),
    }
    objects = as_json or form == "json"
    if out is not None:
        # --json alone is a form too: the file then holds the object that is printed.
        made = forms["json" if as_json and form == "table" else form]
        files.write(out, (made().rstrip("\n") + "\n").encode())
        say("; ".join((f"verdict: {data['verdict'].upper()}, written to {out}", *gate_words.accepted(data))))
    if out is None or objects:
        emit(data if out is None else {**data, "out": str(out)}, human=forms[form], as_json=objects)


def _answered(timed: list[float | None]) -> list[float]:
    """Return the times of the answers that did not fail."""
    return [value for value in timed if value is not None]


def timings(record: Record, *, of: int = 1, first_error: str | None = None) -> dict[str, Any]:
    """Return timings as `--json` prints them: percentiles of both arms, and *of* how many of the plan they are."""
    body = record.body
    about = {"record": record.record_id, "plan": body["plan_sha256"][:_DIGITS], "of": of}
    arms = {side: _percentiles(body[f"{side}_ms"]) for side in _ARMS}
    return {**about, "questions": len(body["questions"]), **arms, "first_error": first_error}


def _percentiles(timed: list[float | None]) -> dict[str, Any]:
    answered = _answered(timed)
    p50, p95 = (metrics.percentile(answered, q) for q in (50, 95))
    known = {"p50_ms": p50.value, "p95_ms": p95.value, "p95_reliable": p95.reliable}
    return known | {"failed": len(timed) - len(answered)}


def timings_exit_code(data: dict[str, Any]) -> int:
    """Say on stderr how many answers failed; return 5 where a lock's reader failed on every question, else 0."""
    failed = {side: data[side]["failed"] for side in _ARMS}
    if any(failed.values()):
        counts = ", ".join(f"{side} {count}" for side, count in failed.items())
        asked = report.counted(data["questions"], "question")
        say(report.line(f"bakeoff: answers failed ({counts}, of {asked}), the first with: {data['first_error']}"))
    return ReaderError.exit_code if data["questions"] in failed.values() else 0


def _ms(value: float | None, *, few: bool = False) -> str:
    return report.NOTHING if value is None else f"{value:.1f}" + " (too few)" * few


def timings_text(data: dict[str, Any]) -> str:
    """Return timings as they are printed."""
    rows = [
        (side, _ms(data[side]["p50_ms"]), _ms(data[side]["p95_ms"], few=not data[side]["p95_reliable"]))
        for side in _ARMS
    ]
    title = f"{report.counted(data['questions'], 'question')} asked of both locks in turn, ms"
    lines = [report.table(title, ("lock", "p50>", "p95>"), rows).terminal()]
    if data["of"] > 1:
        lines.append(f"timings of this plan: {data['of']}; kpi-check judges by the newest, record {data['record']}")
    return "\n".join([*lines, f"next: bakeoff kpi-check --plan {data['plan']}"])
