"""A judgement → what CI systems read: JUnit XML, GitHub's workflow commands, Markdown for a job's summary.

Callers may rely on: all three agree with the exit code (a failure, an error or an `::error` is there if and only if the
verdict is not pass); what a gate that decides nothing found is shown and fails nothing; any text that a question
can hold leaves a well-formed document, and no text can forge a command or a tag.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET  # to write with; nothing is parsed

from bakeoff import gate_words, report, summary
from bakeoff.errors import InputError
from bakeoff.verdicts import EXIT_OF, Severity, Verdict, overall

Judgement = Mapping[str, Any]
"""The body of a judgement as plain JSON: profile, label, verdict, both sides, and the findings."""
_Item = Mapping[str, Any]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LEVEL = {Severity.BLOCK: "error", Severity.WARN: "warning", Severity.DRY_RUN: "notice"}
_TITLE = "bakeoff kpi-check"
_MEANS = {
    Verdict.PASS: "every gate that blocks is passed",
    Verdict.INCONCLUSIVE: "not known: more questions would decide it",
    Verdict.NO_DATA: "not known: something was not measured",
    Verdict.ERROR: "a measurement is broken",
    Verdict.FAIL: "a gate that blocks failed",
}


# --- What all three are made of -------------------------------------------------------------------------------------


def _verdict(judgement: Judgement) -> Verdict:
    """Return the verdict. Raises InputError where it is not that of the findings: the exit code would say otherwise."""
    said = Verdict(judgement["verdict"])
    found = overall((Severity(item["severity"]), Verdict(item["verdict"])) for item in judgement["findings"])
    if said is not found:
        raise InputError(
            f"the judgement says {said.value}, its findings say {found.value}",
            hint=f"judge again: bakeoff kpi-check --plan {str(judgement.get('plan_sha256'))[:12]}",
        )
    return said


def _blocks(item: _Item) -> bool:
    return bool(item["severity"] == Severity.BLOCK.value)


def _passes(item: _Item) -> bool:
    return bool(item["verdict"] == Verdict.PASS.value)


def _suspicious(item: _Item) -> bool:
    return _passes(item) and item["reason"] == "suspicious"


def _sides(judgement: Judgement) -> str:
    named = (judgement[side] for side in ("candidate", "baseline"))
    return " against ".join(f"{side['lock']} {side['CONFIG_HASH']} (run {side['run_id']})" for side in named)


def _notes(judgement: Judgement) -> list[str]:
    """Return what limits the whole judgement: that it is simulated, its label, what was accepted, what was repeated."""
    simulated = ["simulated: no such system was measured"] if judgement.get("simulated") else []
    said = (judgement.get("label"), *gate_words.accepted(judgement), *gate_words.repeated(judgement))
    return simulated + [report.line(str(text)) for text in said if text]


def _summary(judgement: Judgement, verdict: Verdict) -> str:
    open_: dict[str, list[str]] = {}
    for item in judgement["findings"]:
        if _blocks(item) and not _passes(item):
            open_.setdefault(item["verdict"], []).append(item["gate"])
    listed = [f"{found.value}: {', '.join(open_[found])}" for found in reversed(Verdict) if found in open_]
    gates = f" ({'; '.join(listed)})" if listed else ""
    return f"{verdict.value}: {_MEANS[verdict]}{gates}; {_sides(judgement)}; exit code {EXIT_OF[verdict]}"


def _details(item: _Item) -> list[str]:
    """Return all that is known of one gate, a line each, its worst questions last."""
    before, after = (summary.gate_figure(item["metric"], item.get(side)) for side in ("baseline", "value"))
    interval = summary.gate_interval(item)
    change = f"difference {summary.gate_change(item)} (interval {interval}), n {report.cell(gate_words.count(item))}"
    lines = [f"asked for: {item['threshold']}", f"baseline {before}, candidate {after}, {change}"]
    lines += [text for text in (gate_words.sight_said(item), gate_words.further(item)) if text]
    return list(map(report.line, [*lines, *(f"worst: {text}" for text in _worst(item))]))


def _worst(item: _Item) -> list[str]:
    shown = ((worst, item["metric"]) for worst in item.get("worst", ()))
    return [
        f"{worst['question_id']}: {worst['question']} "
        f"({summary.gate_figure(metric, worst['baseline'])} → {summary.gate_figure(metric, worst['candidate'])})"
        for worst, metric in shown
    ]


# --- JUnit ----------------------------------------------------------------------------------------------------------


def junit(judgement: Judgement) -> str:
    """Return *judgement* as JUnit XML: one suite, a test case a gate.

    A gate that blocks and did not pass is a failure (fail; inconclusive, under that type) or an error (error, no data);
    one that decides nothing and did not pass is skipped, with what it found. Raises InputError where the verdict is not
    that of the findings.
    """
    verdict = _verdict(judgement)
    cases = [_case(item, judgement["profile"]) for item in judgement["findings"]]
    if verdict is not Verdict.PASS and not any(_blocks(item) for item in judgement["findings"]):
        cases.append(_undecided(judgement, verdict))
    name = f"{_TITLE} ({judgement['profile']})"
    counts = {"tests": str(len(cases))} | {
        f"{tag}s" if tag != "skipped" else tag: str(sum(case.find(tag) is not None for case in cases))
        for tag in ("failure", "error", "skipped")
    }
    root = ET.Element("testsuites", {"name": _TITLE, **counts, "time": "0"})
    suite = ET.SubElement(root, "testsuite", {"name": _xml(name), **counts, "time": "0"})
    suite.append(_properties(judgement))
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = _xml("\n".join([_summary(judgement, verdict), *_notes(judgement)]))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """Return *text* with control characters shown as escapes, and what else XML 1.0 can't hold as U+FFFD."""
    return _NOT_XML.sub("\ufffd", report.printable(text.replace("\r\n", "\n")))


def _properties(judgement: Judgement) -> ET.Element:
    known = {
        "verdict": judgement["verdict"],
        "profile": judgement["profile"],
        "label": judgement.get("label"),
        "plan_sha256": judgement.get("plan_sha256"),
        "simulated": "true" if judgement.get("simulated") else None,
        **{name: ", ".join(judgement.get(name) or ()) for name in ("accepted_blind", "known_scores")},
    }
    for side in ("baseline", "candidate"):
        known |= {f"{side}.{name}": judgement[side][name] for name in ("lock", "CONFIG_HASH", "run_id")}
    found = ET.Element("properties")
    for name, value in known.items():
        if value:
            ET.SubElement(found, "property", {"name": name, "value": _xml(str(value))})
    return found


def _case(item: _Item, profile: str) -> ET.Element:
    case = ET.Element("testcase", {"classname": _xml(f"kpi.{profile}"), "name": _xml(item["gate"]), "time": "0"})
    said = _xml(report.line(f"{item['verdict']}: {item['said']}"))
    details = _xml("\n".join([said, *_details(item)]))
    if not _passes(item) and _blocks(item):
        tag = "failure" if item["verdict"] in {Verdict.FAIL.value, Verdict.INCONCLUSIVE.value} else "error"
        ET.SubElement(case, tag, {"type": item["verdict"], "message": said}).text = details
        return case
    if not _passes(item):
        ET.SubElement(case, "skipped", {"message": _xml(f"{item['severity']}: {said}")})
    ET.SubElement(case, "system-out").text = details
    return case


def _undecided(judgement: Judgement, verdict: Verdict) -> ET.Element:
    """Return the case that fails where no gate blocks: nothing was asked, which is no pass."""
    case = ET.Element("testcase", {"classname": _xml(f"kpi.{judgement['profile']}"), "name": "verdict", "time": "0"})
    ET.SubElement(case, "error", {"type": verdict.value, "message": "no gate blocks: nothing was decided"})
    return case


# --- GitHub ---------------------------------------------------------------------------------------------------------


def github(judgement: Judgement, *, gates_file: str | None = None) -> str:
    """Return *judgement* as workflow commands, the verdict first: GitHub shows the first ten of a step.

    A gate that did not pass is an `::error` where it blocks, a `::warning` where it warns, a `::notice` in a dry run;
    *gates_file* is the file that they are shown at. Raises InputError where the verdict is not that of the findings.
    """
    verdict = _verdict(judgement)
    message = ". ".join(said.rstrip(".") for said in (_summary(judgement, verdict), *_notes(judgement)))
    level = "notice" if verdict is Verdict.PASS else "error"
    lines = [_command(level, _TITLE, message, gates_file)]
    for severity in Severity:
        for item in judgement["findings"]:
            if item["severity"] == severity.value and (not _passes(item) or _suspicious(item)):
                said = "\n".join([report.line(f"{item['verdict']}: {item['said']}"), *_details(item)])
                level = "warning" if _suspicious(item) else _LEVEL[severity]
                lines.append(_command(level, f"{_TITLE}: {item['gate']}", said, gates_file))
    return "\n".join(lines) + "\n"


def _command(level: str, title: str, message: str, file: str | None) -> str:
    properties = ({"file": file} if file else {}) | {"title": title}
    named = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {named}::{_message(message)}"


def _message(text: str) -> str:
    """Return *text* as the message of a command, which ends with its line."""
    return _xml(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Return *text* as the value of a command's property, which ends with a comma or a colon too."""
    return _message(text).replace(":", "%3A").replace(",", "%2C")


# --- Markdown -------------------------------------------------------------------------------------------------------


def markdown(judgement: Judgement) -> str:
    """Return *judgement* as Markdown: the verdict, every gate in a table, the details of those that did not pass.

    Raises InputError where the verdict is not that of the findings.
    """
    verdict = _verdict(judgement)
    columns = ("gate", "verdict", "counts", "baseline>", "candidate>", "difference>", "interval", "asked for", "n>")
    rows = [_row(item) for item in judgement["findings"]]
    head = [f"## {_TITLE}: {verdict.value}", report.markdown_text(_summary(judgement, verdict))]
    quoted = [f"> {report.markdown_text(note)}" for note in _notes(judgement)]
    note = f"Of a level the interval is that of the value itself; {summary.UNCORRECTED}."
    table = report.table(f"KPI gates ({judgement['profile']})", columns, rows, notes=(note,)).markdown()
    details = [_section(item) for item in judgement["findings"] if not _passes(item) or _suspicious(item)]
    return "\n\n".join([*head, *quoted, table.rstrip("\n"), *details]) + "\n"


def _row(item: _Item) -> Sequence[Any]:
    metric = item["metric"]
    return (
        item["gate"],
        item["verdict"] + (" (suspicious)" if _suspicious(item) else ""),
        item["severity"],
        summary.gate_figure(metric, item.get("baseline")),
        summary.gate_figure(metric, item.get("value")),
        summary.gate_change(item),
        summary.gate_interval(item),
        item["threshold"],
        gate_words.count(item),
    )


def _section(item: _Item) -> str:
    lines = [f"### {item['gate']}: {item['verdict']}", "", report.markdown_text(item["said"]), ""]
    return "\n".join([*lines, *(f"- {report.markdown_text(line)}" for line in _details(item))])
