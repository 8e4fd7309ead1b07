"""A report's values → tables, and the whole report as Markdown.

Callers may rely on: None is shown as `–`, never as zero; every run and every comparison of the report is in its tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bakeoff import report
from bakeoff.report import NOTHING, Table

SMALL = frozenset({"text_precision", "text_iou"})
"""Figures that are small by nature, shown with a digit more."""

FUNNEL = ("in_corpus", "indexed", "dense", "lexical", "snapshot", "context", "used", "right")
_COMPARED = ("difference>", "95 % interval>", "McNemar p>", "gained/lost>", "n>")
_GATES = (
    *("gate", "verdict", "severity", "baseline>", "value>"),
    *("difference>", "interval>", "asked for", "n>", "detectable>"),
)
_LEGS = {"dense": "dense leg", "lexical": "lexical leg"}
_DIGEST = 12
_WORST = 3

Data = Mapping[str, Any]
Labels = Mapping[str, str]


def sign(index: int) -> str:
    """Return the letter of a run: A is the baseline."""
    return chr(ord("A") + index) if index < 26 else f"R{index}"  # noqa: PLR2004  # letters of the alphabet


def heads(data: Data) -> tuple[str, ...]:
    """Return the name of every run: its letter and its lock."""
    return tuple(f"{sign(index)} {run['lock']}" for index, run in enumerate(data["runs"]))


def runs(data: Data) -> Table:
    """Return what the runs are: locks, digests, questions, corpus."""
    rows: list[tuple[str, Sequence[Any]]] = [
        (name, [value(run) for run in data["runs"]])
        for name, value in (
            ("run", lambda run: run["run_id"]),
            ("CHUNK_VERSION", lambda run: run["chunk_version"]),
            ("CONFIG_HASH", lambda run: run["config_hash"]),
            ("questions", lambda run: f"{run['questions']['name']} ({run['questions']['used']})"),
            ("questions SHA-256", lambda run: _digest(run["questions_sha256"])),
            ("corpus", lambda run: f"{run['corpus']['source']} ({run['corpus']['documents']} documents)"),
            ("corpus SHA-256", lambda run: _digest(run["corpus_sha256"])),
            ("chunk table SHA-256", lambda run: _digest(run["table_sha256"])),
            ("cases SHA-256", lambda run: _digest(run["cases_sha256"])),
            ("reader", lambda run: run["reader"]),
            ("lexical index", lambda run: run["lexical"]),
            ("reader errors", lambda run: run["aggregates"]["errors"]),
            ("abstained", lambda run: run["aggregates"]["abstained"]),
            ("finished", lambda run: run["finished_at"]),
        )
    ]
    return report.table("Runs", ("", *heads(data)), [(name, *values) for name, values in rows])


def _digest(value: str | None) -> str:
    return f"{value[:_DIGEST]}…" if value else NOTHING


def figure(name: str, value: float | None) -> str:
    """Return a figure with its usual digits."""
    return report.number(value, digits=_digits(name))


def _digits(name: str) -> int:
    return 4 if name in SMALL else 3


def change(value: float | None, *, digits: int) -> str:
    """Return a difference with its sign; one that is rounded to nothing is +0, never -0."""
    return report.signed(None if value is None else round(value, digits) + 0.0, digits=digits)


def _interval(low: float | None, high: float | None, *, digits: int) -> str:
    if low is None or high is None:
        return NOTHING
    return f"{change(low, digits=digits)} … {change(high, digits=digits)}"


def means(data: Data, labels: Labels) -> Table:
    """Return the means of every run, each over the questions where it has them."""
    found = [run["aggregates"]["means"] for run in data["runs"]]
    rows = [
        (labels[name], *(_mean(name, each[name]) for each in found))
        for name in labels
        if any(each[name]["n"] for each in found)
    ]
    return report.table("Means, with the number of questions", ("figure", *(f"{head}>" for head in heads(data))), rows)


def _mean(name: str, found: Data) -> str:
    return f"{figure(name, found['mean'])} ({found['n']})" if found["n"] else NOTHING


def measured(comparison: Data) -> list[Data]:
    """Return the differences of figures that any question has on both sides."""
    return [item for item in comparison["differences"] if item["interval"]["n"]]


def differences(data: Data, index: int, labels: Labels) -> Table:
    """Return the figures of candidate *index* (from 0) beside the baseline's, paired, with their intervals."""
    comparison, names = data["comparisons"][index], heads(data)
    rows = [
        (
            labels[item["name"]],
            figure(item["name"], item["baseline"]),
            figure(item["name"], item["candidate"]),
            change(item["interval"]["difference"], digits=_digits(item["name"])),
            _interval(item["interval"]["low"], item["interval"]["high"], digits=_digits(item["name"])),
            report.number(item["p_value"], digits=4) if item["p_value"] is not None else "",
            f"+{item['counts']['gained']} −{item['counts']['lost']}",
            item["interval"]["n"],
        )
        for item in measured(comparison)
    ]
    columns = ("figure", f"{names[0]}>", f"{names[index + 1]}>", *_COMPARED)
    absent = [labels[item["name"]] for item in comparison["differences"] if not item["interval"]["n"]]
    notes = [
        "Paired by question. Intervals: bootstrap, 10,000 resamples. p: exact McNemar, Holm over the yes/no figures."
    ]
    if absent:
        notes.append(f"Not measured on both sides: {', '.join(absent)}.")
    return report.table(f"{names[index + 1]} against {names[0]}", columns, rows, notes=notes)


def gates(data: Data, index: int, *, brief: bool = False) -> Table | None:
    """Return what the gates found of candidate *index*, *brief* for a narrow terminal; None where it was not judged."""
    judged = data["comparisons"][index]["judgement"]
    if judged is None:
        return None
    head = f"Gates: {judged.get('verdict', NOTHING)}"
    if brief:
        short = [_brief(item) for item in judged.get("findings", ())]
        return report.table(
            head, ("gate", "verdict", "difference>", "interval>", "n>"), short, notes=_gate_notes(data, judged)
        )
    rows = [
        (
            item.get("gate"),
            item.get("verdict"),
            item.get("severity"),
            report.number(item.get("baseline")),
            report.number(item.get("value")),
            change(item.get("difference"), digits=4),  # a gate may fail by less than a thousandth
            _interval(item.get("low"), item.get("high"), digits=4),
            item.get("threshold"),
            item.get("n"),
            report.number(item.get("detectable")),
        )
        for item in judged.get("findings", ())
    ]
    return report.table(head, _GATES, rows, notes=_gate_notes(data, judged))


def _brief(item: Data) -> tuple[Any, ...]:
    severity = item.get("severity", "block")
    verdict = f"{item.get('verdict')}" + ("" if severity == "block" else f" ({severity})")
    interval = _interval(item.get("low"), item.get("high"), digits=4)
    return item.get("gate"), verdict, change(item.get("difference"), digits=4), interval, item.get("n")


def _gate_notes(data: Data, judged: Data) -> list[str]:
    notes = []
    against = (judged.get("baseline") or {}).get("run_id")
    if against not in {None, data["runs"][0]["run_id"]}:
        notes.append(f"Judged against another run than the baseline of this report: {against}.")
    for item in judged.get("findings", ()):
        if item.get("verdict") == "pass":
            continue
        said = item.get("said") or item.get("reason") or NOTHING
        more = item.get("further_questions")
        worst = ", ".join(str(each.get("question_id")) for each in list(item.get("worst") or ())[:_WORST])
        notes.append(
            f"{item.get('gate')}: {said}"
            + (f"; about {more} further questions would decide" if more else "")
            + (f"; worst: {worst}" if worst else "")
        )
    return [*notes, *(f"Warning: {text}" for text in judged.get("warnings", ()))]


def badges(data: Data) -> list[str]:
    """Return what a reader must know before any figure: profiles and labels of the judgements, each once."""
    found: list[str] = []
    for comparison in data["comparisons"]:
        judged = comparison["judgement"] or {}
        profile, clock = judged.get("profile"), judged.get("clock")
        said = (f"profile: {profile}" if profile else None, judged.get("label"), f"clock: {clock}" if clock else None)
        found += [text for text in said if text]
    return list(dict.fromkeys(found))


def funnel(data: Data) -> Table:
    """Return how many questions' gold came how far, in every run."""
    rows = [(stage(name), *(_counts(run["aggregates"]["funnel"][name]) for run in data["runs"])) for name in FUNNEL]
    notes = ("yes of judged; 'right' counts right answers to all questions, those without gold too.",)
    return report.table("Funnel", ("stage", *(f"{head}>" for head in heads(data))), rows, notes=notes)


def stage(name: str) -> str:
    """Return a stage of the funnel, or a leg, in words."""
    return _LEGS.get(name, name.replace("_", " "))


def _counts(found: Data) -> str:
    judged = found["yes"] + found["no"]
    return f"{found['yes']} of {judged} ({found['yes'] / judged:.1%})" if judged else NOTHING


def latency(data: Data) -> Table:
    """Return p50 and p95 by step, in ms."""
    rows = [(step, *(_percentiles(run["latency"].get(step)) for run in data["runs"])) for step in steps(data)]
    notes = ("Separate runs, not measured interleaved: a difference of two columns is no finding.",)
    columns = ("step", *(f"{head} p50 / p95>" for head in heads(data)))
    return report.table("Latency, ms", columns, rows, notes=notes if len(data["runs"]) > 1 else ())


def steps(data: Data) -> list[str]:
    """Return the steps that any run has timings of."""
    return sorted({step for run in data["runs"] for step in run["latency"]})


def _percentiles(found: Data | None) -> str:
    if found is None:
        return NOTHING
    few = "" if found["p95"]["reliable"] else " (too few)"
    return f"{_ms(found['p50']['value'])} / {_ms(found['p95']['value'])}{few}"


def _ms(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.3f}"


def arrows(data: Data, index: int) -> Table:
    """Return the arrows of the funnel where candidate *index* lost and gained questions."""
    found = data["comparisons"][index]
    rows = [(item["arrow"].replace("_", " "), item["lost"], item["gained"]) for item in found["arrows"]]
    names = heads(data)
    title_ = f"{names[index + 1]} against {names[0]}, by arrow"
    return report.table(title_, ("arrow", "lost>", "gained>"), rows)


def moved(data: Data) -> Table:
    """Return every question that was lost or gained, in every comparison."""
    rows = [
        (
            comparison["lock"],
            item["question_id"],
            item["question"],
            item["kind"],
            item["arrow"],
            ", ".join(item["legs"]),
        )
        for comparison in data["comparisons"]
        for item in comparison["moved"]
    ]
    return report.table("Questions lost and gained", ("candidate", "id", "question", "change", "arrow", "leg"), rows)


def tables(data: Data, labels: Labels, *, brief: bool = False) -> Iterator[Table]:
    """Yield the tables of a report in their order; the questions that moved are a table of their own, `moved`."""
    yield runs(data)
    for index in range(len(data["comparisons"])):
        judged = gates(data, index, brief=brief)
        if judged is not None:
            yield judged
        yield differences(data, index, labels)
        yield arrows(data, index)
    if not data["comparisons"]:
        yield means(data, labels)
    yield funnel(data)
    yield latency(data)


def notes(data: Data) -> list[str]:
    """Return what the evaluations noted of themselves."""
    return [f"{sign(index)}: {text}" for index, run in enumerate(data["runs"]) for text in run["notes"] or ()]


def markdown(data: Data, labels: Labels) -> str:
    """Return the whole report as Markdown."""
    blocks = [f"# {title(data)}", *(f"> {text}" for text in badges(data))]
    blocks += [f"{item['lock']}: {item['conclusion']}" for item in data["comparisons"]]
    blocks += [table.markdown().rstrip("\n") for table in tables(data, labels)]
    if any(comparison["moved"] for comparison in data["comparisons"]):
        blocks.append(moved(data).markdown().rstrip("\n"))
    blocks += [f"Note on {text}" for text in notes(data)]
    return "\n\n".join(blocks) + "\n"


def title(data: Data) -> str:
    """Return the report's title."""
    first, *others = data["runs"]
    against = f"{' and '.join(run['lock'] for run in others)} against " if others else ""
    asked = first["questions"]
    return f"{against}{first['lock']}: {asked['used']} questions, set '{asked['name']}'"
