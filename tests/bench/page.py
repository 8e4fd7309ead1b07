"""Write artifacts/bench/README.md, the benchmark page, out of the results beside it.

Run: `python -m tests.bench.page`. Figures that were not measured are not on the page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from bakeoff import report
from tests.bench import common

EXPLAINED = (
    "The set's own questions and texts, windows of cl100k tokens, all-MiniLM-L6-v2 reading 256 word pieces, exact "
    "search over all five texts, 5 chunks a question, figures in % over characters; 'published' is the TokenText row "
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
        ("bakeoff --help", f"{found['help_s']:.3f} s", "≤ 0.25 s"),
        ("bakeoff --help : a bare Typer program", f"{found['ratio']:.2f}", "≤ 1.60"),
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


def judging(found: dict[str, Any]) -> report.Table:
    """Return the table of what a judgement takes."""
    name = f"kpi-check of two runs of {found['questions']:,} questions, whole process"
    rows = [(name, f"{found['kpi_check_s']:.2f} s", "< 1.5 s")]
    if "against_bare_imports" in found:
        against = f"{found['against_bare_imports']:.2f}"
        rows.append(("kpi-check : a bare Python with its database and schema libraries", against, ""))
    return report.table("Judging", ("what", "measured>", "bar>"), rows)


def seals(found: dict[str, Any]) -> report.Table:
    """Return the table of what sealing and verifying take, and say which bars were missed."""
    bar = found["bar_s"]
    shown = (
        ("bakeoff seal", "seal_s", bar),
        ("bakeoff verify, with the rows", "verify_s", bar),
        ("bakeoff verify --recompute", "verify_recompute_s", None),
        ("Python with cryptography's imports, nothing done", "python_and_cryptography_s", None),
        ("a loop of three million steps: how fast the machine is", "loop_s", None),
    )
    rows = [
        (what, f"{found[name]:.2f} s", f"{_fastest(found, name):.2f} s", "" if limit is None else f"< {limit:g} s")
        for what, name, limit in shown
    ]
    missed = [what for what, name, limit in shown if limit is not None and found[name] >= limit]
    sizes = f"The seal has {found['seal_bytes'] / 1e6:.1f} MB, its rows {found['rows_bytes'] / 1e6:.1f} MB."
    notes = (sizes, *(f"{what}: missed." for what in missed))
    title = f"A seal of {found['questions']:,} questions and a simulated rollout, whole processes"
    return report.table(title, ("what", "median>", "fastest>", "bar>"), rows, notes=notes)


def _fastest(found: dict[str, Any], name: str) -> float:
    return float(found[f"{name.removesuffix('_s')}_fastest_s"])


def gates(found: dict[str, Any]) -> list[report.Table]:
    """Return the tables of how often gates are wrong."""
    share, power = f"≤ {found['alpha']:.0%}", f"{found['power']:.0%} ± 3"
    wrong = [
        (row["gate"], row["questions"], *(_rate(found, row, name, key) for name, key, _ in _WRONG))
        for row in found["gates"]
    ]
    shown = [
        (row["gate"], *(_points(row, name) for name in ("margin", "detectable_alone")),
         _rate(found, row, "fails_there_alone", "alone"), _points(row, "detectable_beside"),
         _rate(found, row, "fails_there_beside", "beside"))
        for row in found["gates"]
    ]  # fmt: skip
    nothing = f"Any of the {len(found['gates'])} fails for nothing, with Holm: {found['any_fails_for_nothing']:.1%}."
    more = (
        f"±: two deviations of what so many draws give by chance, in points. In brackets: of {found['more_draws']:,} "
        "further draws, where the first were borderline."
    )
    columns = ("gate", "margin>", "plan: alone>", f"fails ({power})>", "plan: beside all>", f"fails ({power}) >")
    return [
        report.table(
            f"Gates that are wrong, of {found['draws']:,} draws of the demo's pairs",
            ("gate", "questions>", f"fails without a difference ({share})>", f"passes at its margin ({share})>"),
            wrong,
            notes=(nothing, more, *_above(found)),
        ),
        report.table("What a plan calls detectable with these pairs' spread, and how often that fails", columns, shown),
    ]


_WRONG = (
    ("false_fail", "no", "fails without a difference"),
    ("pass_at_margin", "margin", "passes at its margin"),
)
"""Rates that must not be above the stated one: the first draws', the further ones', and what they are of."""


def _noise(rate: float, draws: int) -> float:
    """Return two standard deviations of a share of so many independent draws; of none or all of them three draws."""
    if rate in {0.0, 1.0}:
        return 3.0 / draws  # the rule of three: what 95 % of the time would have shown itself
    return 2.0 * math.sqrt(rate * (1.0 - rate) / draws)


def _rate(found: dict[str, Any], row: dict[str, Any], name: str, key: str) -> str:
    more = row["more_draws"].get(key)
    first = _with_noise(row[name], found["draws"])
    return first if more is None else f"{first} ({_with_noise(more, found['more_draws'])})"


def _with_noise(rate: float, draws: int) -> str:
    return f"{100 * rate:.2f} % ± {100 * _noise(rate, draws):.2f}"


def _above(found: dict[str, Any]) -> Iterator[str]:
    """Yield in words each rate that is above the stated one, and whether chance may have done it."""
    alpha = found["alpha"]
    for row in found["gates"]:
        for name, key, what in _WRONG:
            again = key in row["more_draws"]
            rate, draws = (row["more_draws"][key], found["more_draws"]) if again else (row[name], found["draws"])
            if rate > alpha:
                surely = rate - alpha > _noise(alpha, draws)
                judged = ": missed" if surely else f" by less than the noise of {draws:,} draws: neither met nor missed"
                yield f"{row['gate']} {what} in {100 * rate:.2f} %, above the stated {100 * alpha:g} %{judged}."


def _points(row: dict[str, Any], name: str) -> str:
    return f"{100 * row[name]:.1f} {'%' if row['metric'] == 'p95_latency_ms' else 'pt'}"


def routing(found: dict[str, Any]) -> list[report.Table]:
    """Return the tables of a routing decision, and of how soon another process sees a change."""
    rows = [
        (
            row["what"],
            f"{row['p50_us']:.2f}",
            f"{row['p99_us']:.2f}",
            "" if row["share"] is None else f"{row['share']:.1%}",
        )
        for row in found["rows"]
    ]
    title = f"A routing decision, {found['calls']:,} calls each, every call timed (bar: p50 ≤ 5 µs, p99 ≤ 10 µs)"
    changes = f"A change seen by a router in another process, {found['changes']} changes (bar: < 1,000 ms)"
    seen = [tuple(f"{found['seen_ms'][name]:.1f}" for name in ("median", "most"))]
    return [
        report.table(title, ("what", "p50 µs>", "p99 µs>", "candidate at 10 %>"), rows),
        report.table(changes, ("median ms>", "most ms>"), seen),
    ]


def models(found: dict[str, Any]) -> report.Table:
    """Return the table of embedders."""
    rows = [
        (row["backend"], f"{row['cpu_ms_per_text_128']:.2f}", f"{row['cpu_ms_per_text_450']:.2f}", row["load_s"])
        for row in found["rows"]
    ]
    return report.table(
        "Embedders, processor time", ("backend", "ms a text of 128>", "of 450 tokens>", "load s>"), rows
    )


def store(found: dict[str, Any]) -> report.Table:
    """Return the table of search times in our store."""
    size = f"{found['chunks']:,} chunks of {found['dimension']} dimensions"
    return searches(f"One search over {size} (bar: hybrid p95 ≤ {found['bar_ms']:.0f} ms)", found)


def peers(found: dict[str, Any]) -> report.Table:
    """Return the table of search times in other stores."""
    return searches("The same rows and questions in other Postgres stores, in one run", found)


ORDER: tuple[tuple[str, Callable[[dict[str, Any]], report.Table | list[report.Table]]], ...] = (
    *(("cli", waiting), ("metrics", evaluation), ("scifact", scifact), ("embedders", models), ("judging", judging)),
    *(("seal", seals), ("gates", gates), ("routing", routing), ("ingest", ingest), ("retrieval", store)),
    *(("peers_retrieval", peers), ("chunking", chunking)),
)
"""Results in the order of the page, and what makes tables of them."""


def main() -> None:
    """Write the page."""
    tables: list[report.Table] = []
    for name, make in ORDER:
        if found := load(name):
            made = make(found)
            tables += made if isinstance(made, list) else [made]
    machine = (load("ingest") or {}).get("machine", {})
    head = (
        "# Benchmarks\n\n"
        f"{machine.get('cores')} cores of {machine.get('cpu')}, Python {machine.get('python')}. `make bench` measures "
        "again and writes this page. Ratios and bars are what counts: seconds are of this machine.\n\n"
    )
    (common.OUT / "README.md").write_text(head + "\n".join(table.markdown() for table in tables), encoding="utf-8")


if __name__ == "__main__":
    main()
