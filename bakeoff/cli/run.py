"""`run`: everything in order, stopped and resumed anywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, emit, settings


class Clock(StrEnum):
    """What the rollout's hours are."""

    WALL = "wall"
    SIMULATED = "simulated"


BaselineConfig = Annotated[
    Path | None, typer.Option(metavar="FILE", help="What is in production. Default: configs/baseline.yaml.")
]
CandidateConfig = Annotated[
    Path | None, typer.Option(metavar="FILE", help="What wants to replace it. Default: configs/candidate.yaml.")
]
Corpus = Annotated[str | None, typer.Option(metavar="CORPUS", help="A folder, a .jsonl file, beir:DIR, or python.")]
Questions = Annotated[str | None, typer.Option(metavar="FILE", help="A JSONL file, or beir:DIR.")]
Gates = Annotated[Path | None, typer.Option(metavar="FILE", help="The KPI gates. Default: configs/gates.yaml.")]
Rollout = Annotated[
    Path | None, typer.Option(metavar="FILE", help="How traffic moves. Default: configs/rollouts/48h.yaml.")
]
Probes = Annotated[Path | None, typer.Option(metavar="FILE", help="The sanity probes. Default: configs/probes.yaml.")]
MonitorHours = Annotated[
    float | None, typer.Option(min=0.01, help="Stretch the rollout's steps over so many hours; usual: 48.")
]
Traffic = Annotated[
    float | None, typer.Option(min=0.001, max=1e9, help="Expected questions an hour, both arms. Default: 200.")
]
Timings = Annotated[
    int | None, typer.Option(min=1, help="Questions that both locks are timed on, at most. Default: 1000.")
]
Ticking = Annotated[
    Clock | None, typer.Option(help="simulated: a rehearsal, its hours pass at once on replayed cases. Default: wall.")
]
AcceptBlind = Annotated[
    bool, typer.Option("--accept-blind", help="Plan though a gate can't see its own margin; recorded.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Take up the newest run with what it was given; no other option needed.")
]
SkipIngest = Annotated[bool, typer.Option("--skip-ingest", help="Take both tables as they are.")]
SkipEval = Annotated[bool, typer.Option("--skip-eval", help="Take the evaluations that are there.")]
Force = Annotated[bool, typer.Option("--force", help="Go on after an inconclusive judgement; recorded.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is forced; kept.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    example = "Example: bakeoff run --corpus docs/ --questions questions.jsonl --monitor-hours 48"
    root.command("run", epilog=example)(run)


def run(  # noqa: PLR0913  # one parameter is one option
    *,
    baseline_config: BaselineConfig = None,
    candidate_config: CandidateConfig = None,
    corpus: Corpus = None,
    questions: Questions = None,
    gates: Gates = None,
    rollout: Rollout = None,
    probes: Probes = None,
    monitor_hours: MonitorHours = None,
    traffic: Traffic = None,
    timings: Timings = None,
    clock: Ticking = None,
    accept_blind: AcceptBlind = False,
    resume: Resume = False,
    skip_ingest: SkipIngest = False,
    skip_eval: SkipEval = False,
    force: Force = False,
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    """Do everything: lock, ingest, plan, evaluate, judge, move traffic step by step, archive. Stopped? Run it again.

    With --clock simulated it is a rehearsal, and nothing in production changes. The exit code is the verdict: 0 the
    candidate is in production, or was rehearsed to the end · 1 it is not good enough, or was rolled back · 3 not
    known (--force with a reason goes on) · 5 a measurement is broken · 4 refused in this state.
    """
    from bakeoff.cli import _running
    from bakeoff.verdicts import EXIT_OF

    found = settings()
    files = baseline_config, candidate_config, corpus, questions, gates, rollout, probes
    asked = _running.asked(files, (monitor_hours, traffic, timings, clock, accept_blind or None))
    flags = {"skip_ingest": skip_ingest, "skip_eval": skip_eval, "force": force, "why": reason}
    done = _running.run(found, _running.order(found, asked, resume=resume, flags=flags))
    data = _running.data(found.values.artifacts, done)
    emit(data, human=lambda: _running.text(data), as_json=as_json)
    raise typer.Exit(EXIT_OF[done.verdict])
