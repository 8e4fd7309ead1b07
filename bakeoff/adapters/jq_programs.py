"""jq programs of probes: compiled here, run in a process of their own that knows no environment and has a deadline.

Callers may rely on: `check` runs nothing; a program sees its document alone: it can't read the environment, the clock,
other inputs or modules; one that fails, hangs, fills the memory or gives NaN is an error of its own and stops no other;
a document is parsed once for all the programs that look at it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bakeoff.probe_findings import Result, Unmeasured, measured
from bakeoff.verdicts import Verdict

DEADLINE_S = 20.0
BYTES_A_SECOND = 2_000_000
"""What the deadline allows on top for reading the documents; a quiet machine reads ten times as much."""
MEMORY_BYTES = 4_000_000_000
_CLOSED = ("env", "input", "inputs", "now", "halt", "halt_error", "debug", "stderr", "input_filename", "modulemeta")
_PRELUDE = "".join(
    f'def {name}: error("{name.partition("(")[0]} is closed to probes"); '
    for name in (*_CLOSED, "halt_error(f)", "debug(f)", "input_line_number")
)
_NO_FIGURE = "it gave NaN or an infinite number, which is no figure"
"""Printed as JSON both would be taken for something else: null, which is no data, and the largest number there is."""
_CHILD = Path(__file__).with_name("jq_child.py")
_LINE = re.compile(r" at <top-level>, line (\d+)(, column \d+)?.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Program:
    """One jq program, and the name of the document it looks at."""

    text: str
    over: str


def problem(text: str) -> str | None:
    """Return why *text* is no program that a probe may have, in words, or None. It is compiled, not run."""
    if "$ENV" in text:
        return "$ENV is closed to probes"
    for whole in (f"{_PRELUDE}\n{text}", f"{_PRELUDE}(\n{text}\n)"):  # the first has the better message, if any
        try:
            _compiled(whole)
        except ValueError as error:
            return _said(str(error))
    return None


@cache
def _compiled(text: str) -> Any:
    import jq

    return jq.compile(text)


def _said(message: str) -> str:
    """Return jq's message in one line, with lines counted as in the probe."""
    plain = message.removeprefix("jq: error: ")
    line = _LINE.search(plain)
    if line is None:
        return plain.split("\n")[0]
    return f"{plain[: line.start()]}, line {max(int(line[1]) - 1, 1)}{line[2] or ''}"


def run(
    programs: Sequence[Program],
    documents: Mapping[str, Mapping[str, Any]],
    *,
    deadline_s: float = DEADLINE_S,
    memory_bytes: int = MEMORY_BYTES,
) -> list[Result]:
    """Return what each of *programs* gives, in their order; each has one value to give.

    *deadline_s*, and some more for large documents, is for all of them; where it passes, the one at work is the error,
    and the others begin again.
    """
    found: dict[int, Result] = {}
    texts = {name: json.dumps(document) for name, document in documents.items()}
    allowed_s = round(deadline_s + sum(map(len, texts.values())) / BYTES_A_SECOND, 1)
    while waiting := [place for place in range(len(programs)) if place not in found]:
        lines, ended = _child(programs, waiting, texts, allowed_s, memory_bytes)
        for line in lines:
            found[line["at"]] = _result(line)
        left = [place for place in _order(programs, waiting) if place not in found]
        if left:
            found[left[0]] = Unmeasured(Verdict.ERROR, ended)
    return [found[place] for place in range(len(programs))]


def _order(programs: Sequence[Program], places: Sequence[int]) -> list[int]:
    names = list(dict.fromkeys(programs[place].over for place in places))
    return sorted(places, key=lambda place: (names.index(programs[place].over), place))


def _child(
    programs: Sequence[Program], places: Sequence[int], texts: Mapping[str, str], deadline_s: float, memory: int
) -> tuple[list[dict[str, Any]], str]:
    """Run the programs at *places* in one process; return the lines it wrote, and why there are no more."""
    together = {
        name: _PRELUDE
        + ",\n".join(_guarded(place, programs[place]) for place in places if programs[place].over == name)
        for name in dict.fromkeys(programs[place].over for place in places)
    }
    asked = {"memory": memory, "documents": {name: texts[name] for name in together}, "programs": together}
    command = [sys.executable, "-P", str(_CHILD)]
    with subprocess.Popen(  # noqa: S603  # our own interpreter on our own file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            out, said = process.communicate(json.dumps(asked) + "\n", timeout=deadline_s)
            ended = f"jq gave up: {(said.strip().splitlines() or ['it ended before there was a value'])[-1]}"
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
            ended = f"not done after {deadline_s:g} s"
    whole = out.split("\n")[:-1]  # what a killed process wrote last may be half a line
    return [json.loads(line) for line in whole], ended


def _guarded(place: int, program: Program) -> str:
    """Return *program* so that it gives one object whatever happens in it: up to two values, or what went wrong."""
    said = 'if type == "string" then . else tojson end'
    figures = f'if any(..; type == "number" and (isnan or isinfinite)) then error("{_NO_FIGURE}") else . end'
    values = f"[limit(2; (\n{program.text}\n))] | {figures}"
    return f"(try {{at: {place}, values: ({values})}} catch {{at: {place}, error: ({said})}})"


def _result(line: Mapping[str, Any]) -> Result:
    if "error" in line:
        return Unmeasured(Verdict.ERROR, f"jq: {line['error']}")
    values = line["values"]
    if len(values) != 1:
        many = "several values" if values else "no value"
        return Unmeasured(Verdict.ERROR, f"it gave {many}; expected one (wrap the program in [ ])")
    return measured(values[0])
