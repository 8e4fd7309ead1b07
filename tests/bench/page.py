"""Write artifacts/bench/README.md, the benchmark page, out of the results beside it.

Run: `python -m tests.bench.page`. Figures that were not measured are not on the page.
"""

from __future__ import annotations

import json
from typing import Any

from bakeoff import report
from tests.bench import common

EXPLAINED = (
    "The set's own questions and texts, windows of cl100k tokens, all-MiniLM-L6-v2 reading 256 word pieces, exact "
    "search over all five texts, 5 chunks a question, figures in % over characters; `published` is the TokenText row "
    "of the report for MiniLM. Bar: within 2 points of recall and 1 of precision. Precision and omega come out higher "
    "by up to half a point and two and a half points; our windows leave out the white space at their ends, which is "
    "part of it, the rest was not traced."
)


def load(name: str) -> dict[str, Any] | None:
    """Return a result, or None where it was not measured."""
    path = common.OUT / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def waiting(found: dict[str, Any]) -> report.Table:
    """Return the table of what a person waits for."""
    rows = [
        ("`bakeoff --help`", f"{found['help_s']:.3f} s", "≤ 0.25 s"),
        ("`bakeoff --help` : a bare Typer program", f"{found['ratio']:.2f}", "≤ 1.60"),
        ("the demo in a fresh folder, environment made", f"{found['demo_s']:.1f} s", "< 60 s"),
    ]
    return report.table("Waiting", ("what", "measured>", "bar>"), rows)


def ingest(found: dict[str, Any]) -> list[report.Table]:
    """Return the tables of an ingest: its bars, and a second one by stage."""
    known, new = found["known"], found["new"]
    rows = [
        ("ingest of new text : bare encode of the same texts", f"{new['ratio']:.3f}", "≤ 1.10"),
        ("store stage, every vector known, chunks a second", f"{known['store_chunks_per_s']:,.0f}", "≥ 10,000"),
        ("texts embedded again", known["embedded_again"], "0"),
        ("peak memory, 20,000 : 2,000 chunks (static embedder)", f"{found['memory']['ratio']:.2f}", "≤ 1.20"),
    ]
    stages = [(stage, f"{seconds:.2f}") for stage, seconds in sorted(known["seconds"].items())]
    title = f"A second ingest of {known['chunks']:,} chunks under another lock, all vectors known"
    return [
        report.table("Ingest", ("what", "measured>", "bar>"), rows),
        report.table(title, ("stage", "seconds>"), stages),
    ]


def searches(title: str, found: dict[str, Any]) -> report.Table:
    """Return the table of search times."""
    rows = [(row["what"], f"{row['p50_ms']:.1f}", f"{row['p95_ms']:.1f}") for row in found["rows"]]
    return report.table(title, ("what", "p50 ms>", "p95 ms>"), rows)


def scifact(found: dict[str, Any]) -> report.Table:
    """Return the table of SciFact beside published figures."""
    published = {"lexical": "0.679 ± 0.02", "dense": "0.645 ± 0.02", "hybrid": "above both"}
    rows = [
        (leg, f["ndcg_at_10"], f["recall_at_10"], f["reciprocal_rank"], published[leg.split(" ")[0]])
        for leg, f in found["legs"].items()
    ]
    return report.table("SciFact, 300 test claims", ("leg", "nDCG@10>", "R@10>", "MRR>", "bar>"), rows)


def chunking(found: dict[str, Any]) -> report.Table:
    """Return the table of chunk sizes."""
    rows = [
        (f"{row['size']}/{round(row['size'] * row['overlap'])}", row["corpus"], *(f"{v:.1f}" for v in row["figures"]))
        for row in found["rows"]
    ]
    columns = ("size/overlap", "corpus", "recall>", "precision>", "omega>", "IoU>")
    return report.table(f"Chunk sizes, {found['questions']} questions", columns, rows, notes=(EXPLAINED,))


def evaluation(found: dict[str, Any]) -> report.Table:
    """Return the table of what an evaluation costs beside the models."""
    rows = [
        ("metrics and statistics, questions a second", f"{found['metrics_and_statistics_cases_per_s']:,}", "≥ 2,000"),
        ("10,000-fold bootstrap of 1,000 pairs", f"{found['bootstrap_10000_of_1000_pairs_s']:.3f} s", "< 1 s"),
    ]
    return report.table("Evaluation beyond the models", ("what", "measured>", "bar>"), rows)


def models(found: dict[str, Any]) -> report.Table:
    """Return the table of embedders."""
    rows = [
        (row["backend"], f"{row['cpu_ms_per_text_128']:.2f}", f"{row['cpu_ms_per_text_450']:.2f}", row["load_s"])
        for row in found["rows"]
    ]
    return report.table(
        "Embedders, processor time", ("backend", "ms a text of 128>", "of 450 tokens>", "load s>"), rows
    )


def main() -> None:
    """Write the page."""
    tables: list[report.Table] = []
    for name, make in (("cli", waiting), ("metrics", evaluation), ("scifact", scifact), ("embedders", models)):
        if found := load(name):
            tables.append(make(found))
    if found := load("ingest"):
        tables += ingest(found)
    if found := load("retrieval"):
        size = f"{found['chunks']:,} chunks of {found['dimension']} dimensions"
        tables.append(searches(f"One search over {size} (bar: hybrid p95 ≤ {found['bar_ms']:.0f} ms)", found))
    if found := load("peers_retrieval"):
        tables.append(searches("The same rows and questions in other Postgres stores, in one run", found))
    if found := load("chunking"):
        tables.append(chunking(found))
    machine = (load("ingest") or {}).get("machine", {})
    head = (
        "# Benchmarks\n\n"
        f"{machine.get('cores')} cores of {machine.get('cpu')}, Python {machine.get('python')}. `make bench` measures "
        "again and writes this page. Ratios and bars are what counts: seconds are of this machine.\n\n"
    )
    (common.OUT / "README.md").write_text(head + "\n".join(table.markdown() for table in tables), encoding="utf-8")


if __name__ == "__main__":
    main()
