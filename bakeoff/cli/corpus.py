"""`corpus`: real text that every machine with Python has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, emit, group, progress

app = group("Write demo corpora to a folder.")


@app.callback()
def root() -> None:
    """Write demo corpora to a folder."""


@app.command(epilog="Example: bakeoff corpus python --full --out corpora/python")
def python(
    *,
    out: Annotated[Path, typer.Option(help="The folder to write corpus.jsonl to (BEIR layout).")] = Path(
        "corpora/python"
    ),
    full: Annotated[bool, typer.Option("--full", help="The standard library's docstrings too, about 2 MB.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write this Python's own language reference as a corpus."""
    from bakeoff.adapters import datasets

    corpus = datasets.open_corpus("python-full" if full else "python")
    with progress() as step:
        step("write", 0, corpus.size_hint)
        written = datasets.write_beir(corpus, out)
        step("write", written.documents, written.documents)
    data = {
        "path": str(written.path),
        "documents": written.documents,
        "rejected": [{"source": item.source, "reason": item.reason} for item in written.rejected],
    }
    text = f"{written.documents} documents → {written.path}\nnext: bakeoff shadow-ingest --lock LOCK beir:{out}"
    emit(data, human=lambda: text, as_json=as_json)
