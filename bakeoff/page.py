"""A report's values → one self-contained HTML page.

Callers may rely on: the page needs no network, and no script to be read; whatever comes from a corpus, a question or a
lock is escaped; equal values give equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bakeoff import plots, report, summary
from bakeoff.gold import STAGES
from bakeoff.summary import Data, Labels


@dataclass(frozen=True, slots=True)
class Files:
    """The template of the page, its style sheet and its script, as text."""

    template: str
    style: str
    script: str


def page(data: Data, labels: Labels, files: Files) -> str:
    """Return the report as an HTML page. Raises OutsideError where the parts that draw it are not installed."""
    plots.require()
    import jinja2
    from markupsafe import Markup

    digest = base64.b64encode(hashlib.sha256(files.script.encode()).digest()).decode()
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: report.printable(value) if type(value) is str else value,  # Markup is our own
    )
    return environment.from_string(files.template).render(
        title=summary.title(data),
        data=data,
        heads=summary.heads(data),
        verdicts=summary.verdicts(data),
        badges=summary.badges(data),
        notes=summary.notes(data),
        tables={
            "runs": summary.runs(data),
            "means": None if data["comparisons"] else summary.means(data, labels),
            "funnel": summary.funnel(data),
            "latency": summary.latency(data),
        },
        comparisons=[_drawn(data, index, labels) for index in range(len(data["comparisons"]))],
        funnel_plot=Markup(_funnel_plot(data)),  # noqa: S704  # drawn by `plots`, which escapes what it is given
        score_plots=[(name, about, Markup(svg)) for name, about, svg in _score_plots(data)],  # noqa: S704  # as above
        latency_plots=[(name, Markup(svg)) for name, svg in _latency_plots(data)],  # noqa: S704  # as above
        stages=STAGES,
        style=Markup(files.style),  # noqa: S704  # our own file
        script=Markup(files.script),  # noqa: S704  # our own file
        policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'",
    )


def _drawn(data: Data, index: int, labels: Labels) -> dict[str, Any]:
    from markupsafe import Markup

    found = summary.measured(data["comparisons"][index])
    bars = [
        plots.Bar(labels[item["name"]], *(item["interval"][name] for name in ("difference", "low", "high")))
        for item in found
    ]
    about = "Differences with their 95 % intervals; the table above has the figures"
    drawn = plots.intervals(f"kpi{index}", about, bars, label="difference, candidate − baseline", arm=index + 1)
    return {
        "name": f"{summary.sign(index + 1)} {data['comparisons'][index]['lock']}",
        "table": summary.differences(data, index, labels),
        "gates": summary.gates(data, index),
        "arrows": summary.arrows(data, index),
        "plot": Markup(drawn),  # noqa: S704  # drawn by `plots`
        **{name: data["comparisons"][index][name] for name in ("conclusion", "unmeasured", "moved")},
    }


def _funnel_plot(data: Data) -> str:
    arms = []
    for run in data["runs"]:
        counts = [run["aggregates"]["funnel"][name] for name in summary.FUNNEL]
        judged = [item["yes"] + item["no"] for item in counts]
        arms.append([item["yes"] / n if n else None for item, n in zip(counts, judged, strict=True)])
    about = "Share of judged questions whose gold came to each stage, by run; the table below has the figures"
    return plots.bars(
        "funnel", about, [summary.stage(name) for name in summary.FUNNEL], arms, label="share of judged questions"
    )


def _score_plots(data: Data) -> Iterator[tuple[str, str, str]]:
    """Yield (heading, counts in words, plot) of each score that any run has."""
    for score, at in data["score_edges"].items():
        series: list[plots.Series] = []
        said = []
        for index, run in enumerate(data["runs"]):
            found = run["scores"][score]
            said.append(f"{summary.sign(index)}: {found['gold']['n']:,} with gold, {found['other']['n']:,} without")
            series += [
                plots.Series(index, plots.steps(found[kind]["shares"], at), dashed=kind == "other")
                for kind in ("gold", "other")
                if found[kind]["shares"] is not None
            ]
        if series:
            about = f"Distribution of the {score} scores: chunks with gold (solid) and others (dashed), by run"
            drawn = plots.lines(f"score-{score}", about, series, labels=(f"{score} score", "share of chunks"))
            yield score, "; ".join(said), drawn


def _latency_plots(data: Data) -> Iterator[tuple[str, str]]:
    for step in summary.steps(data):
        series = [
            plots.Series(index, [(max(ms, 0.001), share) for ms, share in run["latency"][step]["curve"]])
            for index, run in enumerate(data["runs"])
            if step in run["latency"]
        ]
        about = f"Share of questions whose step {step} took at most so many ms, by run"
        yield step, plots.lines(f"latency-{step}", about, series, labels=("ms", "share"), log=True, cap=True)
