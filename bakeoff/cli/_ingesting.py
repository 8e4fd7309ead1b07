"""What `shadow-ingest` shows."""

from __future__ import annotations

from typing import Any

from bakeoff import report
from bakeoff.adapters import ingests
from bakeoff.adapters.postgres import Connection
from bakeoff.stages.ingest import Ingested

_STAGES = {
    "read": "read documents",
    "tokenise": "tokenise, cut, count",
    "copy_staging": "COPY documents and chunks",
    "dedup": "3-gram sets, near-duplicates",
    "look_up": "look up known vectors",
    "embed": "embed",
    "copy_vectors": "COPY new vectors",
    "store": "store chunks (join, insert)",
    "index": "build indexes",
    "vacuum": "VACUUM ANALYZE",
    "check": "query plan, table digest",
}
_MOST_REJECTS = 10


def to_json(conn: Connection, done: Ingested) -> dict[str, Any]:
    """Return a finished ingest as plain values."""
    found = done.ingest
    counts = found.report["counts"]
    read = counts.get("chunks_read", 0)
    return {
        "ingest_id": found.ingest_id,
        "lock": {
            "name": done.lock.name,
            "CHUNK_VERSION": done.lock.chunk_version,
            "CONFIG_HASH": done.lock.config_hash,
        },
        "table": done.lock.table_name,
        "corpus": found.corpus,
        "corpus_sha256": found.corpus_sha256,
        "table_sha256": found.table_sha256,
        "lexical": found.lexical,
        "unchanged": done.unchanged,
        "resumed": done.resumed,
        "repaired": done.repaired,
        "replaced": done.replaced,
        "dedup_rate": counts.get("duplicates", 0) / read if read else None,
        **found.report,
        "rejected": [
            {"source": source, "doc_id": doc_id, "reason": reason}
            for source, doc_id, reason in ingests.rejects(conn, found.ingest_id)
        ],
    }


def text(data: dict[str, Any]) -> str:
    """Return what a person wants to know of an ingest."""
    lock, counts, seconds = data["lock"], data["counts"], data["seconds"]
    if data["unchanged"]:
        said = "nothing to do: this corpus is already ingested"
    elif data["repaired"]:
        said = "indexes built anew; the rows are as they were"
    elif data["replaced"]:
        said = "finished; its table was lost, so everything was made anew"
    else:
        said = "continued and finished" if data["resumed"] else "finished"
    lines = [
        f"{lock['name']} {lock['CHUNK_VERSION']} {lock['CONFIG_HASH']}: {said}",
        f"  table      {data['table']}",
        f"  documents  {counts['documents']:,} ({counts['rejected']:,} rejected)",
        f"  chunks     {counts['chunks']:,} of {counts['chunks_read']:,}",
        f"  duplicates {counts['duplicates']:,} ({data['dedup_rate']:.1%})",
        f"  vectors    {counts.get('embedded', 0):,} embedded, {counts.get('reused', 0):,} known",
        f"  indexes    {data['lexical']} and vector, both used by the query plan",
        f"  digest     {data['table_sha256']}",
    ]
    if not data["unchanged"]:
        rows = [(name, seconds[key]) for key, name in _STAGES.items() if key in seconds]
        rows.append(("all", sum(seconds.values())))
        lines.append(report.table("Seconds by stage", ("stage", "seconds>"), rows).terminal())
    lines += [f"  rejected: {item['source']}: {item['reason']}" for item in data["rejected"][:_MOST_REJECTS]]
    if len(data["rejected"]) > _MOST_REJECTS:
        lines.append(f"  … and {len(data['rejected']) - _MOST_REJECTS} more: --json shows them all")
    lines.append(f"next: bakeoff evaluate --lock {lock['CONFIG_HASH']} --questions FILE")
    return "\n".join(lines)
