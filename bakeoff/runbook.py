"""The runbook of one rollout, with its real names and commands, filled in with what was done.

Callers may rely on: what is not known to be done is not ticked; what a rollback or an abort left out says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bakeoff import foresight, strategy
from bakeoff.config import Lock
from bakeoff.plan import Plan, StepSight
from bakeoff.strategy import LATENCIES, Row

_RESUMES = "\n   Interrupted? The same command continues. Rejected documents are listed with their reasons."


def _facts(lock: Lock, baseline: Lock | None) -> list[str]:
    config, model = lock.config, lock.embedder
    rows = [
        ("Candidate", f"{lock.name} `{lock.config_hash}` ({lock.chunk_version})"),
        (
            "Baseline",
            "none is active yet"
            if baseline is None
            else f"{baseline.name} `{baseline.config_hash}` ({baseline.chunk_version})",
        ),
        ("Chunk table", f"`{lock.table_name}`"),
        ("Chunks", f"{config.chunking.strategy}, {config.chunking.size} tokens, {config.chunking.overlap} shared"),
        (
            "Near-duplicates",
            "kept"
            if config.chunking.jaccard_threshold is None
            else f"gone from Jaccard {config.chunking.jaccard_threshold} on",
        ),
        ("Prefix policy", config.prefix.policy),
        ("Embedder", f"{model.name}, {model.backend} {model.precision}, reads {model.reads}"),
        ("Embedder fingerprint", f"`{lock.embedder.fingerprint[:16]}`"),
        ("Tokenizer hash", f"`{lock.embedder.tokenizer.sha256[:16]}`"),
        ("Reader", config.reader.kind),
        ("Seed", str(config.seed)),
    ]
    return ["| what | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]


def _before(lock: Lock, baseline: Lock | None) -> list[str]:
    lines = [
        "- [ ] The database answers and nothing is wrong with it: `bakeoff doctor`",
        f"- [ ] The lock is the one that was reviewed: `bakeoff locks show {lock.config_hash}`",
    ]
    if baseline is not None:
        command = f"bakeoff locks diff {baseline.config_hash} {lock.config_hash}"
        lines.append(f"- [ ] Its differences from production are the intended ones: `{command}`")
    return lines


def _during(lock: Lock, baseline: Lock | None) -> list[str]:
    candidate = lock.config_hash
    steps = [
        f"Ingest in the shadow of production: `bakeoff shadow-ingest --lock {candidate} CORPUS`{_RESUMES}",
        f"Ask it something: `bakeoff ask 'a question of your users' --lock {candidate}`",
    ]
    evaluate = f"Evaluate the candidate: `bakeoff evaluate --lock {candidate} --questions QUESTIONS`"
    checks = [
        f"Probe it: `bakeoff probes --lock {candidate}{f' --baseline {baseline.config_hash}' if baseline else ''}`",
        f"Check what fails a build: `bakeoff parity --lock {candidate}`",
    ]
    if baseline is None:
        steps += [evaluate, *checks]
    else:
        plan = f"bakeoff plan --baseline {baseline.config_hash} --candidate {candidate} --questions QUESTIONS"
        steps += [
            f"Fix the bar before the candidate has a score: `{plan}`",
            f"Evaluate the baseline: `bakeoff evaluate --lock {baseline.config_hash} --questions QUESTIONS`",
            evaluate,
            "Time both in turn: `bakeoff timings --plan latest`",
            *checks,
            "Judge, the exit code is the verdict: `bakeoff kpi-check --plan latest --promote-check`",
            f"See where questions were lost: `bakeoff explain {baseline.config_hash} {candidate}`",
        ]
    return [f"{number}. {step}" for number, step in enumerate(steps, start=1)]


def _decide(lock: Lock, baseline: Lock | None) -> list[str]:
    which = "that was lost" if baseline else "whose gold was not found"
    looked = f"Every question {which} was looked at; the reasons are acceptable."
    green = ["- [ ] The verdict is PASS (exit code 0)."] if baseline else []
    no = "nothing to undo, production was never touched"
    return [
        *green,
        f"- [ ] {looked}",
        f"- [ ] Yes: `bakeoff locks activate {lock.config_hash} --reason WHY`",
        f"- [ ] No: {no}; `bakeoff locks archive {lock.config_hash} --reason WHY`",
    ]


def _back(baseline: Lock | None) -> list[str]:
    if baseline is None:
        return ["- There is no earlier lock to go back to: this is the first one."]
    return [f"- Instantly, at any time: `bakeoff locks activate {baseline.config_hash} --reason WHY`"]


def _after(lock: Lock, baseline: Lock | None) -> list[str]:
    lines = ["- [ ] `bakeoff locks log` shows the activation; `bakeoff doctor` is green"]
    if baseline is not None:
        command = f"bakeoff locks archive {baseline.config_hash} --reason 'replaced by {lock.chunk_version}'"
        lines.append(f"- [ ] The old lock is archived: `{command}`")
    return lines


def render(lock: Lock, *, baseline: Lock | None) -> str:
    """Return the runbook of bringing *lock* beside *baseline* (the active lock, if any), as Markdown."""
    sections = (
        ("Before", _before(lock, baseline)),
        ("During", _during(lock, baseline)),
        ("Decide", _decide(lock, baseline)),
        ("Back", _back(baseline)),
        ("After", _after(lock, baseline)),
    )
    lines = [f"# Runbook: {lock.name} {lock.chunk_version}", "", *_facts(lock, baseline)]
    for title, body in sections:
        lines += ["", f"## {title}", "", *body]
    return "\n".join([*lines, ""])


# --- A plan's rollout, hour by hour -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Made:
    """Something that was done, when, and by what it is known."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Moved:
    """One event of a rollout: the step and phase that it led to, who asked for it ('' where time did), in words."""

    at: datetime
    event: str
    step: int
    phase: str
    by: str
    said: str


@dataclass(frozen=True, slots=True)
class Course:
    """A rollout of the plan, if one began, and what was done before it, by the names of `BEFORE`."""

    made: Mapping[str, Made] = field(default_factory=dict)
    rollout_id: str | None = None
    clock: str = "wall"
    moves: Sequence[Moved] = ()


_OPEN = ("running", "paused")


def _begun(course: Course, number: int) -> Moved | None:
    """Return what made step *number* begin, or None."""
    found = (
        move for move in course.moves
        if move.step >= number and move.phase in _OPEN and move.event in {"start", "advance", "promote"}
    )  # fmt: skip
    return next(found, None)


def _end(course: Course) -> Moved | None:
    """Return what ended the rollout for good, or None while it is under way."""
    last = course.moves[-1] if course.moves else None
    return None if last is None or last.phase in _OPEN else last


def _closed(course: Course, number: int) -> Moved | None:
    """Return what ended the rollout first within step *number*: a rollback may follow its completion."""
    return next((move for move in course.moves if move.step == number and move.phase not in _OPEN), None)


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _who(move: Moved) -> str:
    return f" by {move.by}" if move.by else ""


def _line(what: str, command: str, made: Made | None) -> str:
    shown = f": `{command}`" if command else ""
    return f"- [ ] {what}{shown}" if made is None else f"- [x] {what}, {_at(made.at)} ({made.what}){shown}"


def _prepared(fixed: Plan, course: Course) -> list[str]:
    base, cand, plan = fixed.baseline.config_hash, fixed.candidate.config_hash, fixed.short
    rows = (
        ("ingest baseline", "The baseline's table is made", f"bakeoff shadow-ingest --lock {base} CORPUS"),
        ("ingest candidate", "The candidate's table is made beside it", f"bakeoff shadow-ingest --lock {cand} CORPUS"),
        ("activate", "The baseline is in production", f"bakeoff locks activate {base}"),
        ("plan", "The bar is fixed", f"bakeoff plans show {plan}"),
        ("evaluate baseline", "The baseline is evaluated", f"bakeoff evaluate --lock {base} --questions QUESTIONS"),
        ("evaluate candidate", "The candidate is evaluated", f"bakeoff evaluate --lock {cand} --questions QUESTIONS"),
        ("timings", "Both were timed in turn", f"bakeoff timings --plan {plan}"),
        ("probes", "The probes pass", f"bakeoff probes --lock {cand} --baseline {base}"),
        ("parity", "A second ingest gives the same", f"bakeoff parity --lock {cand}"),
        ("judgement", "The verdict is PASS", f"bakeoff kpi-check --plan {plan} --promote-check"),
    )
    lines = [_line(what, command, course.made.get(name)) for name, what, command in rows]
    return [
        *lines,
        "- [ ] Who is awake in each step, and who may decide, is written down: ____________________",
        "- [ ] The way back was read, and everybody on duty can run it: the section Back below",
        "- [ ] The service reports its outcomes: `bakeoff observe`; and asks for its arm: `bakeoff route decide`",
    ]


def _margin(name: str, margin: float) -> str:
    size = f"{100 * margin:g}"
    return f"{size} {'%' if name in LATENCIES else 'point' if size == '1' else 'points'}"


def _sees(step: Sequence[StepSight]) -> str:
    """Return what a step can see of what is watched, in the words of the plan's own table."""
    if not any(item.baseline_outcomes for item in step):
        return f"Nothing is compared within this step: {foresight.NO_TRAFFIC}"
    losses = [f"{100 * item.detectable:.1f} points of {item.watched}" for item in step if item.detectable is not None]
    others = [
        f"of {item.watched}: {foresight.BY_SPREAD if item.watched in LATENCIES else foresight.NOTHING}"
        for item in step if item.detectable is None
    ]  # fmt: skip
    return "What this step can see of a loss: " + "; ".join([", ".join(losses)] * bool(losses) + others)


def _step(fixed: Plan, course: Course, row: Row) -> list[str]:
    """Return the checklist of one step, at its real hour where that is known."""
    began, end = _begun(course, row.number), _end(course)
    begins = None
    if course.moves:
        begins = began.at if began else course.moves[0].at + timedelta(hours=row.begins_hour)
    title = f"### Hour {row.begins_hour:g}{'' if begins is None else f', {_at(begins)}'}: {row.percent:g} % to the "
    title += f"candidate for {row.ends_hour - row.begins_hour:g} hours"
    if began is None and end is not None:
        return [title, "", f"Not reached: {end.phase.replace('_', ' ')} at {_at(end.at)}."]
    lines = [f"- [x] It began at {_at(began.at)}{_who(began)}: {began.said}" if began else "- [ ] It began"]
    if row.approval:
        yes = next((move for move in course.moves if move.event == "approve" and move.step == row.number - 1), None)
        told = None if yes is None else Made(yes.at, yes.said)
        lines.insert(0, _line("It was approved", "bakeoff canary approve --reason WHY", told))
    looks = [move for move in course.moves if move.event == "look" and move.step == row.number]
    lines.append(f"- {_sees([item for item in fixed.steps if item.step == row.number])}")
    lines.append(
        f"- [x] {len(looks)} looks, the last at {_at(looks[-1].at)}: {looks[-1].said}"
        if looks
        else "- [ ] An hour in, outcomes of both arms arrive: `bakeoff canary status`"
    )
    lines.append("- [ ] Users were asked, the support queue was read: ____________________")
    following = _begun(course, row.number + 1) or _closed(course, row.number)
    lines.append(
        f"- [x] It ended at {_at(following.at)}{_who(following)}: {following.said}"
        if following
        else f"- [ ] It ends at hour {row.ends_hour:g}, green: `bakeoff canary status`; early: `bakeoff canary promote`"
    )
    return [title, "", *lines]


def _way_back(course: Course) -> list[str]:
    which = course.rollout_id or "ROLLOUT"
    return [
        f"- At any time, in one second: `bakeoff canary rollback {which} --reason WHY`",
        f"- Without bakeoff, at any psql: `SELECT bakeoff.roll_back('{which}', 'WHY', 'WHO')`",
        "- Wait where you are: `bakeoff canary pause --reason WHY`, later `bakeoff canary resume`",
        "- More: runbooks/rollback.md",
    ]


def _ended(fixed: Plan, course: Course) -> list[str]:
    end, base, cand = _end(course), fixed.baseline.config_hash, fixed.candidate.config_hash
    if end is not None and end.phase != "completed":
        return [
            f"- [x] {end.phase.replace('_', ' ').capitalize()} at {_at(end.at)}{_who(end)}: {end.said}",
            f"- [ ] The baseline answers everything: `bakeoff locks show active` is {base}",
            f"- [ ] What was lost is known: `bakeoff explain {base} {cand}`",
            f"- [ ] It is decided what becomes of the candidate: `bakeoff locks archive {cand} --reason WHY`",
        ]
    archived = course.made.get("archived")
    done = None if end is None else Made(end.at, end.said)
    if done is not None and course.clock != "wall":
        return [
            _line("Rehearsed to the end; nothing in production changed", "bakeoff locks show active", done),
            f"- [ ] The real rollout is begun: `bakeoff canary start --plan {fixed.short} --reason WHY`",
        ]
    return [
        _line("Completed, the candidate is in production", "bakeoff locks show active", done),
        _line("The old lock is archived, its table stays", "bakeoff locks log", archived),
        "- [ ] Nothing is wrong: `bakeoff doctor`",
        "- [ ] When its table may go is decided: runbooks/archive.md",
    ]


def _header(fixed: Plan, course: Course) -> list[str]:
    end = _end(course)
    state = "not begun" if not course.moves else "under way" if end is None else end.phase.replace("_", " ")
    watched = ", ".join(f"{name} (margin {_margin(name, rule.margin)})" for name, rule in fixed.rollout.watch.items())
    rows = [
        ("Plan", f"`{fixed.short}`"),
        ("Candidate", f"{fixed.candidate.name} `{fixed.candidate.config_hash}` ({fixed.candidate.CHUNK_VERSION})"),
        ("Baseline", f"{fixed.baseline.name} `{fixed.baseline.config_hash}` ({fixed.baseline.CHUNK_VERSION})"),
        ("Questions", f"{fixed.questions.name}, {fixed.questions.used}"),
        ("Gates", fixed.gates.profile),
        ("Rollout", f"{fixed.rollout.strategy}, {fixed.rollout.hours:g} hours"),
        ("Watched", watched),
        ("Rollout id", f"`{course.rollout_id}`, {state}" if course.rollout_id else state),
    ]
    if course.moves:
        rows.append(("Clock", course.clock))
    return ["| what | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]


def _history(course: Course) -> list[str]:
    if not course.moves:
        return ["Nothing yet."]
    start = course.moves[0].at
    lines = ["| hour | at | event | by | what |", "| ---: | --- | --- | --- | --- |"]
    for move in course.moves:
        if move.event != "look" or move is course.moves[-1]:
            hour = (move.at - start).total_seconds() / 3600
            said = move.said.replace("|", "\\|")
            lines.append(f"| {hour:.1f} | {_at(move.at)} | {move.event} | {move.by} | {said} |")
    return lines


def of_plan(fixed: Plan, course: Course) -> str:
    """Return the runbook of the rollout of *fixed*, filled in with its *course*, as Markdown."""
    controller = "`bakeoff canary watch` in a supervisor's hands, or `bakeoff canary tick` every ten minutes from cron"
    begin = f"bakeoff canary start --plan {fixed.short} --reason WHY"
    first = None if not course.moves else Made(course.moves[0].at, f"{course.rollout_id}{_who(course.moves[0])}")
    steps = [line for row in strategy.timetable(fixed.rollout) for line in (*_step(fixed, course, row), "")]
    rehearsed = (
        "**Simulated clock: a rehearsal. No hour of this passed, no user saw it, nothing in production changed.**"
    )
    simulated = ["", rehearsed] if course.clock != "wall" else []
    sections = (
        ("Before", _prepared(fixed, course)),
        ("Start", [_line("Started", begin, first), f"- [ ] A controller runs: {controller}"]),
        ("During", steps[:-1]),
        ("Back", _way_back(course)),
        ("After", _ended(fixed, course)),
        ("What happened", _history(course)),
    )
    lines = [f"# Runbook: {fixed.candidate.name} over {fixed.rollout.hours:g} hours", *simulated, ""]
    lines += _header(fixed, course)
    for title, body in sections:
        lines += ["", f"## {title}", "", *body]
    return "\n".join([*lines, ""])
