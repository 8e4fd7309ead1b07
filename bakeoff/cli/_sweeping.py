"""What `sweep` reads and shows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bakeoff import plural, report, summary
from bakeoff import sweep as sweeps
from bakeoff.adapters import clock, files, postgres, yaml_files
from bakeoff.adapters.settings import Settings
from bakeoff.cli._evaluating import NAMES
from bakeoff.cli._shared import progress
from bakeoff.errors import ConfigError
from bakeoff.stages import sweep
from bakeoff.stages.prepare import Options, Order
from bakeoff.stages.sweep import Swept

_ANOTHER = "FILE"
_PAIRS = "Pairs: questions where both it and the baseline have a value."


def order(path: Path, *, questions: str, corpus: str | None, baseline: str | None) -> Order:
    """Read the sweep file at *path*, and the base that it names, which stands beside it."""
    found = sweeps.parse(yaml_files.read(path, what="sweep file"), source=str(path))
    base: Any = found.base
    if isinstance(base, str):
        beside = path.parent / base
        base = yaml_files.read(beside, what="configuration")
        if not isinstance(base, dict):
            raise ConfigError(f"{beside}: expected keys and values", hint="configs/baseline.yaml shows them all")
    if base is not None:
        base = {key: value for key, value in base.items() if key != "name"}
    return Order(found, str(path), base, questions, corpus, baseline)


def run(found: Settings, wanted: Order, *, workers: int | None, drop_losers: bool) -> Swept:
    """Run the sweep, with its progress on stderr."""
    options = Options(
        workers=workers or found.values.workers,
        drop_losers=drop_losers,
        cache_dir=found.values.home / "models",
        environ=os.environ,
    )
    with progress() as step:
        return sweep.run(
            lambda: postgres.connect(found, autocommit=True), wanted, progress=step, now=clock.now, options=options
        )


def write(found: Settings, wanted: Order, done: Swept) -> dict[str, Any]:
    """Write the finished sweep as its artifact, and return it with the place."""
    record = done.record
    data = {"record": record.record_id, **done.body, "at": record.at.isoformat()}
    name = f"{record.at:%Y%m%dT%H%M%S}-{wanted.sweep.name}-{record.record_id}.json"  # two may end within a second
    return {**data, "artifact": str(files.write_json(found.values.artifacts / "sweeps" / name, data))}


def text(data: dict[str, Any]) -> str:
    """Return what a person wants to know of a sweep."""
    asked, arms = data["questions"], {arm["config_hash"]: arm for arm in data["arms"]}
    baseline = arms[data["baseline"]]
    head = (
        f"{data['name']}: {report.counted(data['tried'], 'configuration')} against {baseline['lock']} "
        f"({data['baseline']}) by {NAMES[data['metric']]}, on {report.counted(asked['used'], 'question')} of "
        f"{asked['name']}"
    )
    narrowing = [_rung(rung, arms) for rung in data["rungs"]] or [
        "nothing to narrow: every configuration is a finalist, every question is the holdout's",
        *(f"  {item['config_hash']}  {arms[item['config_hash']]['changes']}" for item in data["finalists"]),
    ]
    return "\n".join([head, *narrowing, _final(data), *_answer(data, arms), *_costs(data)])


def _rung(rung: dict[str, Any], arms: dict[str, Any]) -> str:
    rows = [
        (
            score["config_hash"],
            arms[score["config_hash"]]["changes"],
            score["mean"],
            report.signed(score["difference"]),
            score["pairs"],
            "goes on" if score["kept"] else "dropped",
        )
        for score in rung["scores"]
    ]
    go = plural.verb(rung["keep"], "goes", "go")
    asked = report.counted(rung["questions"], "question")
    title = f"{report.counted(rung['arms'], 'candidate')} on {asked}, {rung['keep']} {go} on"
    columns = ("CONFIG_HASH", "changes", "mean>", "− baseline>", "pairs>", "")
    narrow = (("− baseline>", "change>"), ("pairs>", None))
    return report.table(title, columns, rows, notes=(_PAIRS,), narrow=narrow).terminal()


def _final(data: dict[str, Any]) -> str:
    rows = [
        (
            item["config_hash"],
            item["baseline"],
            item["candidate"],
            report.signed(item["difference"]),
            summary.interval(item["low"], item["high"], digits=3),
            report.number(item["p_adjusted"], digits=4),
            item["n"],
            item["standing"],
        )
        for item in data["finalists"]
    ]
    columns = (
        "CONFIG_HASH",
        "baseline>",
        "candidate>",
        "difference>",
        f"{1 - 2 * data['alpha']:.0%} interval>",
        "p better>",
        "pairs>",
        "",
    )
    narrow = (("baseline>", "base>"), ("candidate>", "cand>"), ("difference>", "change>"), ("pairs>", None))
    title = f"Finalists on the {report.counted(len(data['questions']['holdout']), 'question')} of the holdout"
    tried = f"{report.counted(data['tried'], 'configuration')} {plural.verb(data['tried'], 'was', 'were')}"
    notes = (
        f"p: one-sided, Holm over {report.counted(len(rows), 'finalist')}; {tried} tried in all.",
        f"Narrowing never saw these questions. Intervals: {summary.UNCORRECTED}.",
        _PAIRS,
    )
    return report.table(title, columns, rows, notes=notes, narrow=narrow).terminal()


def _answer(data: dict[str, Any], arms: dict[str, Any]) -> list[str]:
    asked = len(data["questions"]["holdout"])
    if data["winner"] is None:
        said = [
            f"no winner: none is shown to be better by {data['minimum_effect']:g} or more at alpha {data['alpha']:g}"
        ]
        if data["verdict"] == "no_data":
            said = ["no winner: no finalist could be measured on every question"]
        if data["holdout_needed"]:
            said.append(
                f"about {report.counted(data['holdout_needed'], 'holdout question')} would show the best of them, if "
                f"it is as good as it looks; there {plural.verb(asked, 'was', 'were')} {asked}"
            )
        return said
    winner = arms[data["winner"]]
    return [
        f"winner: {winner['lock']} ({data['winner']}): {winner['changes']}",
        f"next: bakeoff plan --baseline {data['baseline']} --candidate {data['winner']} --questions {_ANOTHER}",
        f"  {_ANOTHER}: questions that this sweep has not asked, since the winner was chosen by its luck on these too",
    ]


def _costs(data: dict[str, Any]) -> list[str]:
    texts, dropped = data["texts"], set(data["tables_dropped"])
    lines = [f"texts: {texts['embedded']:,} embedded, {texts['reused']:,} known already"]
    losers = [arm for arm in data["arms"] if arm["dropped_in_rung"] is not None]
    left = sum(arm["table_bytes"] for arm in losers if arm["config_hash"] not in dropped)
    if dropped:
        lines.append(f"the tables of {report.counted(len(dropped), 'dropped candidate')} are removed")
    if left:
        lines.append(
            f"the tables of {report.counted(len(losers) - len(dropped), 'dropped candidate')} take "
            f"{report.size(left)}: --drop-losers removes those that the sweep made"
        )
    return [*lines, f"written to: {data['artifact']}"]
