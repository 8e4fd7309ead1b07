"""The runbook: its facts are the lock's, its commands exist."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.main import get_command

from bakeoff import config, runbook
from bakeoff.cli import main
from bakeoff.config import EmbedderIdentity, Lock, TokenizerIdentity

IDENTITY = EmbedderIdentity(
    name="toy",
    backend="static",
    precision="fp32",
    weights_sha256="ab" * 32,
    dimension=8,
    max_tokens=64,
    positions=128,
    tokenizer=TokenizerIdentity(name="t", sha256="cd" * 32),
)


def lock(name: str, version: int, **chunking: object) -> Lock:
    """A lock of a configuration that differs in its chunks."""
    cfg = config.parse({"chunking": chunking}, source="x")
    made = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return Lock(
        name=name,
        chunk_version=f"2026-01-02-v{version}",
        config_hash=config.config_hash(cfg, IDENTITY, None),
        table_name=config.table_name(made, version),
        created_at=made,
        config=cfg,
        embedder=IDENTITY,
    )


BASELINE, CANDIDATE = lock("baseline", 1), lock("candidate", 2, size=50, overlap_ratio=0.1, jaccard_threshold=0.8)
BOTH = pytest.mark.parametrize("baseline", [None, BASELINE])


def test_the_facts_are_those_of_the_lock() -> None:
    """Real names, hashes and tables, so that nobody has to look them up."""
    text = runbook.render(CANDIDATE, baseline=BASELINE)
    assert text.startswith("# Runbook: candidate 2026-01-02-v2\n\n| what | value |\n| --- | --- |\n")
    for row in (
        f"| Candidate | candidate `{CANDIDATE.config_hash}` (2026-01-02-v2) |",
        f"| Baseline | baseline `{BASELINE.config_hash}` (2026-01-02-v1) |",
        "| Chunk table | `document_chunks_20260102_030405_v2` |",
        "| Chunks | windows, 50 tokens, 5 shared |",
        "| Near-duplicates | gone from Jaccard 0.8 on |",
        f"| Embedder fingerprint | `{IDENTITY.fingerprint[:16]}` |",
        f"| Tokenizer hash | `{'cd' * 8}` |",
        "| Reader | extractive |",
        "| Seed | 7 |",
    ):
        assert row in text.splitlines()


def test_without_an_active_lock_it_says_so() -> None:
    """The first lock has no baseline, and its own duplicates may be kept."""
    rows = runbook.render(BASELINE, baseline=None).splitlines()
    assert "| Baseline | none is active yet |" in rows
    assert "| Near-duplicates | kept |" in rows


@BOTH
def test_every_command_in_it_exists(baseline: Lock | None) -> None:
    """Each line in code style is understood by the command line: commands, options, number of arguments."""
    text = runbook.render(CANDIDATE, baseline=baseline)
    lines = re.findall(r"`bakeoff ([^`]+)`", text)
    assert len(lines) >= 9
    root = get_command(main.app)
    for line in lines:
        command: Any = root
        words = shlex.split(line)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        with command.make_context(line, words) as made:
            assert made.params


@BOTH
def test_it_comes_in_the_order_of_work(baseline: Lock | None) -> None:
    """Before, during, decide, back, after; and it is the same text each time."""
    text = runbook.render(CANDIDATE, baseline=baseline)
    assert ["Before", "During", "Decide", "Back", "After"] == re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert text == runbook.render(CANDIDATE, baseline=baseline)
    assert text.endswith("\n")
