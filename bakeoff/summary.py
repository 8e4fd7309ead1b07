"""A report's values → tables, and the whole report as Markdown.

Callers may rely on: None is shown as `–`, never as zero; every run and every comparison of the report is in its tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bakeoff import gate_words, report
from bakeoff.report import NOTHING, Table
from bakeoff.rules import FACTS, LATENCY

SMALL = frozenset({"text_precision", "text_iou"})
"""Figures that are small by nature, shown with a digit more."""

FUNNEL = ("in_corpus", "indexed", "dense", "lexical", "snapshot", "context", "used", "right")
_COMPARED = ("difference>", "95 % interval>", "McNemar p>", "rose/fell>", "n>")
_GATES = (
    *("gate", "verdict", "severity", "baseline>", "value>"),
    *("difference>", "interval>", "asked for", "n>", "detectable>"),
)
_BRIEF = ("gate", "verdict", "baseline>", "value>", "difference>", "interval>", "n>")
UNCORRECTED = "each interval stands alone, not corrected for how many there are"
"""What must stand beside intervals where p-values are corrected."""
_LOST = (
    "A question is counted at the first arrow where the runs differ; lost: the baseline holds its gold there, the "
    "candidate does not. It may be answered right all the same, and a figure may fall without any arrow."
)
_LEGS = {"dense": "dense leg", "lexical": "lexical leg"}
_DIGEST = 12
_WORST = 3
_MINUTES = len("2026-01-02T03:04")

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


def interval(low: float | None, high: float | None, *, digits: int) -> str:
    """Return the interval of a difference, its ends signed."""
    if low is None or high is None:
        return NOTHING
    return f"[{change(low, digits=digits)}, {change(high, digits=digits)}]"


# --- What a gate found ----------------------------------------------------------------------------------------------


def gate_figure(metric: str, value: float | None) -> str:
    """Return what a gate saw of one arm: ms of a latency, a whole number where a fact is one, decimals of the rest."""
    if value is None:
        return NOTHING
    if metric == LATENCY:
        return f"{value:.1f} ms"
    return f"{value:.0f}" if metric in FACTS and float(value).is_integer() else report.number(value)


def gate_change(item: Data) -> str:
    """Return the difference that a gate saw, signed: percent of a latency, the number of a fact; of a level none."""
    difference, metric = item.get("difference"), item.get("metric")
    if difference is None:
        return NOTHING
    if metric == LATENCY:
        return f"{change(100 * difference, digits=1)} %"
    return f"{difference:+g}" if metric in FACTS else change(difference, digits=4)  # a gate may fail by a thousandth


def gate_interval(item: Data) -> str:
    """Return the interval of a gate: of a level it is that of the figure itself, else that of the signed difference."""
    low, high, metric = item.get("low"), item.get("high"), str(item.get("metric"))
    if low is None or high is None or metric in FACTS:  # a fact is exact
        return NOTHING
    if item.get("rule") == "level":
        return NOTHING if metric == LATENCY else f"[{report.number(low)}, {report.number(high)}]"
    if metric == LATENCY:
        return f"{interval(100 * low, 100 * high, digits=1)} %"
    return interval(low, high, digits=4)


# --- Tables ---------------------------------------------------------------------------------------------------------


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
            interval(item["interval"]["low"], item["interval"]["high"], digits=_digits(item["name"])),
            report.number(item["p_value"], digits=4) if item["p_value"] is not None else "",
            f"+{item['counts']['gained']} −{item['counts']['lost']}",
            item["interval"]["n"],
        )
        for item in measured(comparison)
    ]
    columns = ("figure", f"{names[0]}>", f"{names[index + 1]}>", *_COMPARED)
    letters = ((f"{names[0]}>", f"{sign(0)}>"), (f"{names[index + 1]}>", f"{sign(index + 1)}>"))
    narrow = (*letters, ("difference>", "change>"), ("McNemar p>", "p>"), ("n>", None))
    absent = [labels[item["name"]] for item in comparison["differences"] if not item["interval"]["n"]]
    notes = [
        "Paired by question. Rose/fell: questions whose figure did.",
        f"Intervals: bootstrap, 10,000 resamples; {UNCORRECTED}. p: exact McNemar, Holm over the yes/no figures.",
    ]
    if absent:
        notes.append(f"Not measured on both sides: {', '.join(absent)}.")
    return report.table(f"{names[index + 1]} against {names[0]}", columns, rows, notes=notes, narrow=narrow)


def gates(data: Data, index: int, *, brief: bool = False) -> Table | None:
    """Return what the gates found of candidate *index*, *brief* for a narrow terminal; None where it was not judged."""
    judged = data["comparisons"][index]["judgement"]
    if judged is None:
        return None
    head = f"Gates: {judged.get('verdict', NOTHING)}"
    found = judged.get("findings", ())
    if brief:
        narrow = (("difference>", "change>"), ("baseline>", "base>"), ("n>", None))
        return report.table(head, _BRIEF, map(_brief, found), notes=_gate_notes(judged), narrow=narrow)
    rows = [
        (
            item.get("gate"),
            item.get("verdict"),
            item.get("severity"),
            *(gate_figure(str(item.get("metric")), item.get(side)) for side in ("baseline", "value")),
            gate_change(item),
            gate_interval(item),
            item.get("threshold"),
            gate_words.count(item),
            gate_words.sight(item),
        )
        for item in found
    ]
    return report.table(head, _GATES, rows, notes=_gate_notes(judged))


def _brief(item: Data) -> tuple[Any, ...]:
    severity = item.get("severity", "block")
    verdict = f"{item.get('verdict')}" + ("" if severity == "block" else f" ({severity})")
    figures = (gate_figure(str(item.get("metric")), item.get(side)) for side in ("baseline", "value"))
    return item.get("gate"), verdict, *figures, gate_change(item), gate_interval(item), gate_words.count(item)


def _gate_notes(judged: Data) -> list[str]:
    has_intervals = any(item.get("low") is not None for item in judged.get("findings", ()))
    notes = [f"Of a level the interval is that of the value itself; {UNCORRECTED}."] * has_intervals
    notes += [f"{said[0].upper()}{said[1:]}." for said in gate_words.repeated(judged)]
    for item in judged.get("findings", ()):
        if item.get("verdict") == "pass":
            continue
        said = item.get("said") or item.get("reason") or NOTHING
        more = gate_words.further(item)
        worst = ", ".join(str(each.get("question_id")) for each in list(item.get("worst") or ())[:_WORST])
        notes.append(
            f"{item.get('gate')}: {said}" + (f"; {more}" if more else "") + (f"; worst: {worst}" if worst else "")
        )
    return [*notes, *(f"Warning: {text}" for text in judged.get("warnings", ()))]


def verdicts(data: Data) -> list[str]:
    """Return, for each candidate, the verdict of its newest judgement, or that there is none: what is read first."""
    names = heads(data)
    return [_verdict(names[index + 1], found) for index, found in enumerate(data["comparisons"])]


def _verdict(name: str, comparison: Data) -> str:
    judged = comparison["judgement"]
    if judged is None:
        return f"{name}: not judged against this baseline"
    open_ = [
        f"{item.get('gate')} {item.get('verdict')}"
        for item in judged.get("findings", ())
        if item.get("verdict") != "pass" and item.get("severity", "block") == "block"
    ]
    plan, at = str(judged.get("plan_sha256") or "")[:_DIGEST], str(judged.get("at") or "")[:_MINUTES].replace("T", " ")
    about = [f"plan {plan}"] * bool(plan) + [f"judged {at}"] * bool(at)
    said = f"{name}: {str(judged.get('verdict', NOTHING)).upper()}" + (f" ({', '.join(about)})" if about else "")
    return said + (f": {', '.join(open_)}" if open_ else "")


def badges(data: Data) -> list[str]:
    """Return what a reader must know before any figure: profiles, labels, what was accepted, tables that changed."""
    found: list[str] = []
    for comparison in data["comparisons"]:
        judged = comparison["judgement"] or {}
        profile, clock = judged.get("profile"), judged.get("clock")
        said = (f"profile: {profile}" if profile else None, judged.get("label"), f"clock: {clock}" if clock else None)
        found += [text for text in (*said, *gate_words.accepted(judged)) if text]
    return list(dict.fromkeys([*found, *data["warnings"]]))


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
    absent = len(found["unmeasured"])
    notes = [f"{report.counted(absent, 'question')} not measured on one side, counted in no row."] if absent else []
    return report.table(title_, ("arrow", "lost>", "gained>"), rows, notes=(*notes, _LOST))


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
    text = report.markdown_text
    blocks = [f"# {text(title(data))}", *(f"**{text(said)}**" for said in verdicts(data))]
    blocks += [f"> {text(badge)}" for badge in badges(data)]
    blocks += [f"{text(item['lock'])}: {text(item['conclusion'])}" for item in data["comparisons"]]
    blocks += [table.markdown().rstrip("\n") for table in tables(data, labels)]
    if any(comparison["moved"] for comparison in data["comparisons"]):
        blocks.append(moved(data).markdown().rstrip("\n"))
    blocks += [f"Note on {text(note)}" for note in notes(data)]
    return "\n\n".join(blocks) + "\n"


def title(data: Data) -> str:
    """Return the report's title."""
    first, *others = data["runs"]
    against = f"{' and '.join(run['lock'] for run in others)} against " if others else ""
    asked = first["questions"]
    return f"{against}{first['lock']}: {report.counted(asked['used'], 'question')}, set '{asked['name']}'"
