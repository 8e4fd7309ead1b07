"""The runbook of one rollout, with its real names and commands."""

from __future__ import annotations

from bakeoff.config import Lock


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
        ("Embedder", f"{model.name}, {model.backend} {model.precision}, reads {model.max_tokens} tokens"),
        ("Embedder fingerprint", f"`{lock.embedder.fingerprint[:16]}`"),
        ("Tokenizer hash", f"`{lock.embedder.tokenizer.sha256[:16]}`"),
        ("Reader", config.reader.kind),
        ("Seed", str(config.seed)),
    ]
    return ["| what | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]


def _steps(lock: Lock, baseline: Lock | None) -> list[str]:
    candidate = lock.config_hash
    other = "BASELINE" if baseline is None else baseline.config_hash
    return [
        "## Before",
        "",
        "- [ ] The database answers and nothing is wrong with it: `bakeoff doctor`",
        f"- [ ] The lock is the one that was reviewed: `bakeoff locks show {candidate}`",
        f"- [ ] Its differences from production are the intended ones: `bakeoff locks diff {other} {candidate}`",
        "",
        "## During",
        "",
        f"1. Ingest in the shadow of production: `bakeoff shadow-ingest --lock {candidate} CORPUS`",
        "   Interrupted? The same command continues. Rejected documents are listed with their reasons.",
        f"2. Ask it something: `bakeoff ask 'a question of your users' --lock {candidate}`",
        f"3. Evaluate the baseline: `bakeoff evaluate --lock {other} --questions QUESTIONS`",
        f"4. Evaluate the candidate: `bakeoff evaluate --lock {candidate} --questions QUESTIONS`",
        f"5. Compare them: `bakeoff compare {other} {candidate}`",
        "",
        "## Decide",
        "",
        "- [ ] Every question that was lost was looked at; the reasons are acceptable.",
        f"- [ ] Yes: `bakeoff locks activate {candidate} --reason WHY`",
        f"- [ ] No: nothing to undo, production was never touched; `bakeoff locks archive {candidate} --reason WHY`",
        "",
        "## Back",
        "",
        f"- Instantly, at any time: `bakeoff locks activate {other} --reason WHY`",
        "",
        "## After",
        "",
        "- [ ] `bakeoff locks log` shows the activation; `bakeoff doctor` is green",
        f"- [ ] The old lock is archived: `bakeoff locks archive {other} --reason 'replaced by {lock.chunk_version}'`",
    ]


def render(lock: Lock, *, baseline: Lock | None) -> str:
    """Return the runbook of bringing *lock* beside *baseline* (the active lock, if any), as Markdown."""
    lines = [
        f"# Runbook: {lock.name} {lock.chunk_version}",
        "",
        *_facts(lock, baseline),
        "",
        *_steps(lock, baseline),
        "",
    ]
    return "\n".join(lines)
