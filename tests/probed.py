"""A healthy system to be probed: two locks, ingested and evaluated on questions that quote nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from bakeoff import asked as sealed_probes
from bakeoff import canonical, evidence, probes, withheld
from bakeoff.adapters import evaluations, locks, yaml_files
from bakeoff.config import Lock
from bakeoff.probes import ProbeFile
from bakeoff.stages import probe
from bakeoff.stages.probe import Probed
from tests import support

STANDARD = Path(__file__).resolve().parents[1] / "configs" / "probes.yaml"
CANDIDATE = support.parts(
    chunking={"size": 40, "jaccard_threshold": 0.6}, prefix={"policy": "A"}, index={"lexical": "lists"}
)


@dataclass(frozen=True)
class World:
    """A database with an ingested and evaluated baseline and candidate."""

    url: str
    baseline: Lock
    candidate: Lock
    run_id: str
    folder: Path
    """Where `corpus.jsonl` and `questions.jsonl` are."""

    @property
    def database(self) -> str:
        """The name of its database, to be cloned."""
        return str(conninfo_to_dict(self.url)["dbname"])


def questions(documents: Any) -> list[dict[str, Any]]:
    """Questions with the words of their gold quote in another order, so that none stands in a document."""
    asked = support.quotes_of(documents, each=2)
    return [{**item, "question": " ".join(reversed(item["question"].split()))} for item in asked]


@contextmanager
def world(server_url: str, template: str, folder: Path) -> Iterator[World]:
    """Ten documents and copies of two of them, under both locks."""
    originals = support.topics(10, 2500)
    copies = [support.document(f"{doc.doc_id}-copy", doc.text, doc.title) for doc in originals[:2]]
    corpus = support.write_jsonl(folder / "corpus.jsonl", [*originals, *copies])
    asked = support.write_questions(folder / "questions.jsonl", questions(originals))
    with support.database(server_url, template, f"{folder.name}_{template}"[:60]) as url:
        baseline = support.make_lock(url, support.parts(), name="baseline")
        candidate = support.make_lock(url, CANDIDATE, name="candidate")
        for lock in (baseline, candidate):
            support.run_ingest(url, lock, corpus)
        support.run_evaluate(url, baseline, asked)
        run_id = support.run_evaluate(url, candidate, asked).run.run_id
        yield World(url, baseline, candidate, run_id, folder)


def standard() -> ProbeFile:
    """The probes that come with the package."""
    return probes.parse(yaml_files.read(STANDARD, what="probes file"), source="configs/probes.yaml")


def of(*given: dict[str, Any]) -> ProbeFile:
    """A probes file of the test's own; what every probe needs is filled in."""
    base = {"about": "a test", "next": "look", "expect": {"empty": True}}
    return probes.parse({"probes": [base | item for item in given]}, source="probes.yaml")


def ask(url: str, lock: str, asked: ProbeFile, *, baseline: str | None = None, run: bool = True) -> Probed:
    """Probe a lock, by its name, with its newest run."""
    with support.connector(url)() as conn:
        which = locks.find(conn, lock)
        newest = evaluations.latest(conn, which) if run else None
        other = None if baseline is None else locks.find(conn, baseline)
        done = probe.run(conn, which, asked, source="probes.yaml", now=support.NOW, run=newest, baseline=other)
    follows(done)
    return done


def follows(done: Probed) -> None:
    """What was found follows from what was asked, as a seal has it: none that was left alone fails to verify."""
    told = evidence.from_decimals(evidence.as_decimals(withheld.without("probes", done.body, {})[0]))
    assert [] == list(sealed_probes.probes(told, ""))


def stored(url: str) -> int:
    """How many findings are in the database."""
    return int(support.rows(url, "SELECT count(*) FROM records")[0][0])


def change_cases(url: str, run_id: str, change: Callable[[dict[str, Any]], None], *, every: bool = False) -> None:
    """Change the first case of a finished run, or every one, and the digests with it."""
    with support.connector(url)() as conn, conn.transaction():
        for table in ("evaluations", "evaluation_cases"):
            conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER".encode())
        kept = evaluations.cases(conn, run_id)
        for case, _ in kept if every else kept[:1]:
            change(case)
            values = (Jsonb(case), run_id, case["question_id"])
            conn.execute("UPDATE evaluation_cases SET result = %s WHERE run_id = %s AND question_id = %s", values)
        run = evaluations.find(conn, run_id)
        report = {name: run.report[name] for name in run.report if name not in {"report_sha256", "identity_sha256"}}
        report["cases_sha256"] = canonical.digest([case for case, _ in kept])
        report["rows_sha256"] = evaluations.rows_digest(conn, run_id)
        told = Jsonb(evaluations.digested(run, report))
        conn.execute("UPDATE evaluations SET report = %s WHERE run_id = %s", (told, run_id))
