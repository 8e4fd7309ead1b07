"""What `evaluate`, `compare` and `runs` show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bakeoff import report
from bakeoff.adapters import clock, postgres
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.settings import Settings
from bakeoff.cli._shared import progress, say
from bakeoff.config import Lock
from bakeoff.errors import ReaderError
from bakeoff.stages import evaluate
from bakeoff.stages.compare import Compared
from bakeoff.stages.evaluate import Evaluated
from bakeoff.summary import UNCORRECTED

NAMES = {
    "oracle_retrieval_hit_prefilter": "gold in the snapshot",
    "filter_hit_postfilter": "gold in the context",
    "reader_used_gold": "reader used gold",
    "answer_right": "answer right",
    "em": "answer exact match",
    "precision": "answer precision",
    "recall": "answer recall",
    "f1": "answer F1",
    "faithfulness": "answer's words in the context",
    "text_recall": "text recall (context)",
    "text_precision": "text precision (context)",
    "text_iou": "text IoU (context)",
    "ndcg_at_10": "nDCG@10 (documents)",
    "recall_at_10": "recall@10 (documents)",
    "reciprocal_rank": "MRR (documents)",
}
_MOST = 8
_SMALL = frozenset({"text_precision", "text_iou"})
"""Figures that are small by nature, shown with a digit more."""
_NOT_MEASURED = "not measured"


def run(found: Settings, lock: Lock, questions: str, options: evaluate.Options) -> Evaluated:
    """Evaluate, with its progress on stderr."""
    with progress() as step:
        return evaluate.run(
            lambda: postgres.connect(found, autocommit=True),
            lock,
            questions,
            progress=step,
            now=clock.now,
            options=options,
        )


def exit_code(done: Evaluated) -> int:
    """Say on stderr what to know of the figures; return 5 where the reader failed on every question, else 0."""
    failed, used = done.artifact["aggregates"]["errors"], done.artifact["questions"]["used"]
    for note in done.artifact["notes"]:
        say(report.line(f"bakeoff: {note}"))
    if failed:
        say(report.line(f"bakeoff: {failed} of {used} answers failed, the first with: {done.first_error}"))
    return ReaderError.exit_code if failed == used else 0


def summary(done: Evaluated, path: Path) -> dict[str, Any]:
    """Return a finished evaluation without its cases: those are in the artifact at *path*."""
    body = {key: value for key, value in done.artifact.items() if key not in {"case_results", "embedder"}}
    return {**body, "resumed": done.resumed, "artifact": str(path)}


def _funnel(aggregates: dict[str, Any]) -> report.Table:
    rows = [
        (
            "right, of all" if name == "right" else name.replace("_", " "),
            counts["yes"],
            counts["no"],
            counts["not_judged"],
        )
        for name, counts in aggregates["funnel"].items()
    ]
    return report.table(
        "Funnel: questions whose gold got so far; the last row counts right answers to all questions",
        ("stage", "yes>", "no>", "not judged>"),
        rows,
    )


def _latency(aggregates: dict[str, Any]) -> report.Table:
    rows = []
    for step, found in aggregates["latency_ms"].items():
        p95 = f"{found['p95']['value']:.1f}" + ("" if found["p95"]["reliable"] else " (too few)")
        rows.append((step, f"{found['p50']['value']:.1f}", p95))
    return report.table("Latency, ms", ("step", "p50>", "p95>"), rows)


def _digits(name: str) -> int:
    return 4 if name in _SMALL else 3


def _figure(name: str, value: float | None) -> str:
    return report.number(value, digits=_digits(name))


def _change(name: str, value: float | None) -> str:
    """Return a difference with its sign; one that is rounded to nothing is +0, never -0."""
    digits = _digits(name)
    return report.signed(None if value is None else round(value, digits) + 0.0, digits=digits)


def _about_questions(asked: dict[str, Any]) -> list[str]:
    """Return what of the question file was not asked, or can't be found, where there is any."""
    absent = asked["absent_documents"]
    said = (
        (asked["unjudged"], "questions of the file have no judgement and were not asked"),
        (asked["not_in_corpus"], "questions have gold that the corpus does not hold"),
        (len(absent), f"judged documents are not in the corpus, the first: {', '.join(absent[:3])}"),
    )
    return [report.line(f"{count} {what}") for count, what in said if count]


def text(data: dict[str, Any]) -> str:
    """Return what a person wants to know of an evaluation."""
    lock, asked, found = data["lock"], data["questions"], data["aggregates"]
    head = (
        f"{lock['name']} {lock['CHUNK_VERSION']} {lock['CONFIG_HASH']} on {asked['name']}: "
        f"{report.counted(asked['used'], 'question')} ({len(asked['left_out'])} left out), run {data['run_id']}"
    )
    means = [
        (NAMES[name], _figure(name, mean["mean"]), mean["n"], mean["undefined"])
        for name, mean in found["means"].items()
        if mean["n"]
    ]
    columns = ("figure", "mean>", "n>", "undefined>")
    blocks = [
        head,
        report.table("Means", columns, means).terminal(),
        _funnel(found).terminal(),
        _latency(found).terminal(),
        (
            f"reader errors {found['errors']}, abstained {found['abstained']}; "
            f"snapshot {found['snapshot_size']['least']}-{found['snapshot_size']['most']} chunks, "
            f"context {found['context_size']['least']}-{found['context_size']['most']}"
        ),
        *_about_questions(asked),
        *(report.line(f"left out: {item['question_id']}: {item['reason']}") for item in asked["left_out"][:_MOST]),
    ]
    if len(asked["left_out"]) > _MOST:
        blocks.append(f"… and {len(asked['left_out']) - _MOST} more: --json shows them all")
    blocks += [report.line(f"note: {note}") for note in data["notes"]]
    blocks.append(f"cases: {data['artifact']}\nnext: bakeoff compare RUN_A {data['run_id']}")
    return "\n".join(blocks)


def _difference(item: dict[str, Any], data: dict[str, Any]) -> tuple[Any, ...]:
    name, interval, counts = item["name"], item["interval"], item["counts"]
    if not interval["n"]:
        means = (data[side]["aggregates"]["means"][name]["mean"] for side in ("baseline", "candidate"))
        alone = (_NOT_MEASURED if mean is None else _figure(name, mean) for mean in means)
        return (NAMES[name], *alone, report.NOTHING, report.NOTHING, "", "", 0)
    low, high = (_change(name, interval[end]) for end in ("low", "high"))
    return (
        NAMES[name],
        _figure(name, item["baseline"]),
        _figure(name, item["candidate"]),
        _change(name, interval["difference"]),
        report.NOTHING if interval["low"] is None else f"{low} … {high}",
        report.number(item["p_value"], digits=4) if item["p_value"] is not None else "",
        f"+{counts['gained']} −{counts['lost']}",  # a minus sign, aligned with the plus
        interval["n"],
    )


def _measured(item: dict[str, Any], data: dict[str, Any]) -> bool:
    """Whether a side has the figure for any question."""
    return any(data[side]["aggregates"]["means"][item["name"]]["n"] for side in ("baseline", "candidate"))


def _moved(data: dict[str, Any], which: str, sign: str) -> list[str]:
    name = "filter_hit_postfilter"
    found = data[which][name]
    lines = [f"{sign} {report.counted(len(found), 'question')} {which} ({NAMES[name]})"]
    for item in found[:_MOST]:
        side = "baseline" if which == "gained" else "candidate"
        asked = report.line(f"{item['question_id']}: {item['question']}")
        lines.append(f"    {asked}  [{side}: not in the {item[f'{side}_lost_at']}]")
    if len(found) > _MOST:
        lines.append(f"    … and {len(found) - _MOST} more: --json shows them all")
    return lines


def comparison_text(data: dict[str, Any]) -> str:
    """Return the comparison as it is printed."""
    a, b = data["baseline"], data["candidate"]
    columns = (
        "figure",
        f"A {a['lock']}>",
        f"B {b['lock']}>",
        "B − A>",
        "95 % interval>",
        "McNemar p>",
        "gained/lost>",
        "n>",
    )
    shown = [_difference(item, data) for item in data["differences"] if _measured(item, data)]
    sides = (f"{side} {run['run_id']} ({run['CONFIG_HASH']})" for side, run in (("A", a), ("B", b)))
    title = f"{report.counted(data['questions'], 'question')}, paired: {', '.join(sides)}"
    notes = (
        f"Intervals: paired bootstrap, 10,000 resamples; {UNCORRECTED}.",
        "p: exact McNemar, Holm over the yes/no figures.",
        "Latencies of two separate runs are not compared here: they were not measured interleaved.",
    )
    lines = [report.table(title, columns, shown, notes=notes).terminal(), ""]
    errors = data["errors"]
    if any(errors.values()):
        lines.append(f"reader errors: A {errors['baseline']}, B {errors['candidate']}")
    lines += _moved(data, "gained", "+") + _moved(data, "lost", "−")
    for side, run in (("A", a), ("B", b)):
        lines += [report.line(f"note on {side}: {note}") for note in run["notes"]]
    if data["left_out"]:
        lines.append(f"left out of both runs: {report.counted(len(data['left_out']), 'question')}")
    return "\n".join(lines)


def compared(result: Compared, path: Path) -> dict[str, Any]:
    """Return a comparison as plain values, with the file it was written to."""
    return {**result.to_json(), "artifact": str(path)}


def run_row(run: Run) -> dict[str, Any]:
    """Return one run as a row that carries the ids other commands take."""
    means = run.report.get("aggregates", {}).get("means", {})
    return {
        "run_id": run.run_id,
        "lock": run.lock_name,
        "chunk_version": run.chunk_version,
        "config_hash": run.config_hash,
        "question_set": run.question_set,
        "state": "finished" if run.finished_at else "interrupted",
        "started_at": run.started_at.isoformat(),
        "oracle": means.get("oracle_retrieval_hit_prefilter", {}).get("mean"),
        "filter": means.get("filter_hit_postfilter", {}).get("mean"),
        "f1": means.get("f1", {}).get("mean"),
    }


def run_listing(rows: list[dict[str, Any]]) -> str:
    """Return the table of runs."""
    if not rows:
        return "no evaluations yet\nnext: bakeoff evaluate --lock LOCK --questions FILE"
    shown = ("run_id", "lock", "chunk_version", "question_set", "state", "oracle", "filter", "f1")
    heads = tuple(f"{name}>" if name in {"oracle", "filter", "f1"} else name for name in shown)
    return report.table("Evaluations, newest first", heads, [[row[key] for key in shown] for row in rows]).terminal()


def checked_files(rows: list[dict[str, Any]]) -> str:
    """Return the table of artifacts that were compared with the database, and what is wrong with any."""
    shown = [(row["file"], row["run_id"] or report.NOTHING, "yes" if row["same"] else "no") for row in rows]
    table = report.table("Artifacts and the database", ("file", "run_id", "same"), shown).terminal()
    wrong = [row["wrong"] for row in rows if not row["same"]]
    hint = ["next: bakeoff runs export RUN writes an artifact again"] if wrong else []
    return "\n".join([table, *wrong, *hint])
