"""The runbook of one rollout, with its real names and commands."""

from __future__ import annotations

from bakeoff.config import Lock

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
