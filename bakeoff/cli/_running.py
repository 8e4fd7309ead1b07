"""What `run` reads, tells while it goes, writes, and shows at its end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Any

from bakeoff import canonical, report
from bakeoff.adapters import clock, datasets, files, questions, rollouts, standard
from bakeoff.adapters import settings as adapter
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.records import Record
from bakeoff.adapters.settings import Settings
from bakeoff.cli import _judging, _locking, _planning, _probing, _rolling, _run_seal
from bakeoff.cli._shared import database, progress, say
from bakeoff.errors import BakeoffError, StoppedError, UsageError
from bakeoff.rollout import Phase
from bakeoff.stages import run as stage
from bakeoff.stages import run_order
from bakeoff.stages.evaluate import Evaluated
from bakeoff.stages.lock import Locked
from bakeoff.stages.parity import Checked
from bakeoff.stages.probe import Probed
from bakeoff.stages.run import Finished, Stage, Written
from bakeoff.stages.run_order import Given, Order, Source

_DEFAULTS: dict[str, Any] = {
    "baseline_config": Path("configs/baseline.yaml"),
    "candidate_config": Path("configs/candidate.yaml"),
    "gates": Path("configs/gates.yaml"),
    "rollout": Path("configs/rollouts/48h.yaml"),
    "probes": Path("configs/probes.yaml"),
}
_SIMULATED = "clock: simulated: the rollout's hours do not pass, and no user sees the candidate"
_NAMES = (
    *("baseline_config", "candidate_config", "corpus", "questions", "gates", "rollout", "probes"),
    *("monitor_hours", "traffic_per_hour", "timings", "clock", "accept_blind"),
)
Step = Callable[[str, int, int | None], None]


def asked(files: Sequence[Path | str | None], others: Sequence[Any]) -> dict[str, Any]:
    """Return what the command line gave by its name, in the order of `Given`; None where it gave nothing."""
    return dict(zip(_NAMES, (*files, *others), strict=True))


def order(found: Settings, asked: Mapping[str, Any], *, resume: bool, flags: Mapping[str, Any]) -> Order:
    """Return what is to be done: what was *asked*, or what the newest run was given.

    Raises UsageError where --resume comes with other options or no questions are named, ConfigError for broken files.
    """
    said = {name: value for name, value in asked.items() if value is not None}
    if resume:
        if said:
            names = ", ".join("--" + name.replace("_per_hour", "").replace("_", "-") for name in sorted(said))
            raise UsageError(f"--resume takes what the run was given, {names} came too",
                             hint="leave them out, or leave --resume out")  # fmt: skip
        with database() as conn:
            given, digests = run_order.remembered(conn)
        made = _order(found, given, flags)
        run_order.require_same(made, digests)
        return made
    if "questions" not in said:
        raise UsageError("no questions are named", hint="bakeoff run --questions FILE --corpus CORPUS, or --resume")
    whole = _DEFAULTS | said
    paths: dict[str, Any] = {
        name: str(value) if isinstance(value, Path | StrEnum) else value for name, value in whole.items()
    }
    return _order(found, Given(**({"corpus": None} | paths)), flags)


def _order(found: Settings, given: Given, flags: Mapping[str, Any]) -> Order:
    """Read the files of *given*."""
    sides = {name: _source(Path(getattr(given, f"{name}_config"))) for name in ("baseline", "candidate")}
    profile, strategy = standard.profile(Path(given.gates)), standard.rollout(Path(given.rollout))
    if given.monitor_hours is not None:
        strategy = strategy.stretched(given.monitor_hours)
    probes, _ = _probing.read(Path(given.probes))
    digests = {f"{name}_config": canonical.digest(side.config.model_dump(mode="json")) for name, side in sides.items()}
    digests |= {"gates": profile.digest, "rollout": canonical.digest(strategy.model_dump(mode="json"))}
    digests |= {"probes": probes.digest} | _sources(given, skip_ingest=flags["skip_ingest"])
    return Order(
        given=given,
        baseline=sides["baseline"],
        candidate=sides["candidate"],
        profile=profile,
        strategy=strategy,
        probes=probes,
        digests=digests,
        by=adapter.operator(found),
        workers=found.values.workers,
        cache_dir=found.values.home / "models",
        environ=os.environ,
        **flags,
    )


def _sources(given: Given, *, skip_ingest: bool) -> dict[str, str]:
    """Return the digests of questions and corpus. Raises InputError where they can't be used, before anything began."""
    questions.require(given.questions)
    found = {}
    if (path := Path(given.questions)).is_file():
        found["questions"] = hashlib.sha256(path.read_bytes()).hexdigest()
    if given.corpus is not None and not skip_ingest and (digest := datasets.digest(given.corpus)) is not None:
        found["corpus"] = digest
    return found


def _source(path: Path) -> Source:
    read = _locking.read(standard.located(path), {}, None)
    return Source(read.name, read.config, str(path))


def _artifact(made: Any) -> str:
    """Return where the artifact of what may be made before is, '' of anything else."""
    if isinstance(made, Locked):
        return f"locks/{made.lock.chunk_version}.json"
    return f"plans/{made.plan_sha256[:12]}.json" if isinstance(made, Stored) else ""


class Shown:
    """Tells on stderr how it goes, and writes what each stage makes into the artifacts."""

    def __init__(self, artifacts: Path, mode: str) -> None:
        self.artifacts = artifacts
        self.marks = {"clock": mode} if mode == "simulated" else {}
        self.within = ExitStack()
        self.step: Step = self._once
        self.said: set[str] = set()

    def begin(self, number: int, of: int, name: str) -> None:
        """Say which stage begins."""
        say(f"[{number:>2}/{of}] {name}")
        self.within, self.said = ExitStack(), set()
        self.step = self.within.enter_context(progress()) if sys.stderr.isatty() else self._once

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Show how far it is."""
        self.step(what, done, total)

    def _once(self, what: str, done: int, total: int | None) -> None:
        """Where nobody looks at a terminal: each part of a stage once."""
        if what not in self.said:
            self.said.add(what)
            say(f"        {what}" + (f": {total:,}" if total and done <= total else ""))

    def line(self, text: str) -> None:
        """Say what happened."""
        say(f"        {text}")

    def end(self, ended: Stage) -> None:
        """Say what came of it, and keep what was made."""
        self.within.close()
        done = ended.done
        verdict = "" if done.verdict is None else f"{done.verdict.value.upper()}: "
        how = "skipped: " if done.reused else f"{ended.seconds:.1f} s: "
        say(f"        {how}{verdict}{done.said}")
        self._keep(done.product, reused=done.reused)

    def _keep(self, made: Any, *, reused: bool) -> None:
        """Write the artifact of what a stage made, if it has one; that of an earlier run stays as it is."""
        if reused and (self.artifacts / _artifact(made)).is_file():
            return
        if isinstance(made, Locked):
            self._json(_artifact(made), made.lock.to_json())
        elif isinstance(made, Stored):
            _planning.write(self.artifacts, made, **self.marks)
        elif isinstance(made, Evaluated):
            self._json(f"evaluations/{made.run.run_id}.json", made.artifact, rows="case_results")
        elif isinstance(made, Probed):
            name = f"{made.lock.config_hash}-{made.at:%Y%m%dT%H%M%S}-{made.record_id}"
            self._json(f"probes/{name}.json", made.body)
        elif isinstance(made, Checked):
            name = f"{made.lock.config_hash}-{made.run_id or 'none'}-{made.record_id}"
            self._json(f"parity/{name}.json", made.body)
        elif isinstance(made, Record) and made.kind == "judgement":
            _judging.write(self.artifacts, made, **self.marks)
        elif isinstance(made, Written):
            path = files.write(self.artifacts / "runbooks" / f"{made.name}.md", made.text.encode())
            say(f"        written to: {path}")

    def _json(self, name: str, body: Mapping[str, Any], *, rows: str | None = None) -> None:
        files.write_json(self.artifacts / name, {**self.marks, **body}, rows=rows)


def run(found: Settings, wanted: Order) -> Finished:
    """Do what is left to do of *wanted*, and tell how it goes."""
    with database():  # made and migrated where it is new
        pass
    shown = Shown(found.values.artifacts, wanted.given.clock)
    files.require_folder(found.values.artifacts)
    if wanted.given.clock == "simulated":
        say(f"bakeoff: {_SIMULATED}")
    _run_seal.at_the_start(found, clock=wanted.given.clock, now=clock.now())
    here = _rolling.Site(found, wanted.by)
    try:
        return stage.run(here.connect, wanted, now=clock.now, teller=shown, around=here.around,
                         seal=_run_seal.at_the_end(found))  # fmt: skip
    except KeyboardInterrupt as error:
        raise _stopped(here) from error
    finally:
        shown.within.close()


def _stopped(here: _rolling.Site) -> StoppedError:
    """Return what a run that was stopped leaves behind, and how it goes on."""
    on_its_way = None
    with contextlib.suppress(BakeoffError), here.connect() as conn:  # the database may be what is gone
        on_its_way = rollouts.current(conn)
    if on_its_way is None or on_its_way.clock == "simulated":
        return StoppedError("stopped; what was done stays done", hint="bakeoff run --resume")
    share = f"{on_its_way.rollout_id} stays at {on_its_way.weight_bp / 100:g} %"
    paused = "" if on_its_way.phase == Phase.RUNNING else f", {on_its_way.phase}"
    return StoppedError(
        f"stopped; {share}{paused}, nobody looks now",
        hint="bakeoff run --resume, bakeoff canary watch, or bakeoff canary rollback --reason TEXT",
    )


def data(artifacts: Path, done: Finished) -> dict[str, Any]:
    """Write the run's artifact where anything was done, and return what `--json` prints."""
    body = {"kind": "run", **done.body()}
    path = artifacts / "runs" / f"{done.rollout_id or str(done.plan_sha256)[:12]}.json"
    if done.changed or not path.is_file():
        files.write_json(path, body)
    return {**body, "artifact": str(path)}


def text(data: Mapping[str, Any]) -> str:
    """Return the summary, one screen."""
    rows = [
        (
            number,
            item["stage"],
            item["verdict"] or "",
            f"{item['seconds']:.1f}",
            "reused" * item["reused"],
            item["said"],
        )
        for number, item in enumerate(data["stages"], start=1)
    ]
    notes = (_SIMULATED,) if data["clock"] == "simulated" else ()
    whole = sum(item["seconds"] for item in data["stages"])
    title = f"Run of plan {str(data['plan_sha256'])[:12]}, {whole:.1f} s"
    shown = report.table(title, (">", "stage", "verdict", "seconds>", "", "what"), rows, notes=notes)
    lines = [shown.terminal(), f"written to: {data['artifact']}"]
    lines.append(f"verdict: {data['verdict'].upper()}: {report.line(data['said'])}")
    return "\n".join([*lines, f"next: {data['next']}"])
