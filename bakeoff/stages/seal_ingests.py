"""The ingests that a seal's evidence names: those of the judged runs, and those that made their tables anew since.

Callers may rely on: a table made anew with the very same content is the same evidence, and is said to be so; an
ingest that runs, probes or parity name and that nothing is known of, or that has other content, is named and refused.

What was made anew after the sealed rollout had ended, or after the judgement where there is none, answered nobody of it
and was not judged: it is left out, so that the same evidence is sealed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from bakeoff.adapters import ingests, rollouts
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.ingests import Ingest, Made
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.records import Record
from bakeoff.adapters.rollouts import Rollout
from bakeoff.config import Lock
from bakeoff.errors import IntegrityError
from bakeoff.stages import verify
from bakeoff.verdicts import Verdict

_AGAIN = ("ingest_id", "corpus", "corpus_sha256", "table_sha256", "lexical")
"""What is sealed of a table that was made anew, beside its times."""


def both(
    conn: Connection,
    sides: Mapping[str, Lock],
    runs: Mapping[str, Run],
    rested: Mapping[str, Record | None],
    found: Rollout | None,
) -> dict[str, Any]:
    """Return by arm the ingest that the judged run names, with those `again` that came after it with the same content.

    *rested* are the judgement, and the records that it rests on, by kind. Raises IntegrityError where a chunk table is
    not what was judged, or an ingest that is named is not known, or is of other content; StateError where a table is
    not there.
    """
    judged = rested["judgement"]
    if judged is None:
        raise TypeError("a seal is of a judgement")

    def in_time(made: Made) -> bool:
        """Return whether an ingest began before the rollout's last event was written, or before the judgement."""
        if found is None:
            return made.last_record is None or made.last_record < judged.record_id
        last = rollouts.history(conn, found.rollout_id)[-1].recorded_at
        return made.began_after is None or made.began_after <= last

    named = {"baseline": {}, "candidate": dict(_named(judged, rested))}
    return {
        arm: _ingest(conn, which, runs[arm], judged.body[arm]["table_sha256"], named[arm], in_time)
        for arm, which in sides.items()
    }


def _named(judged: Record, rested: Mapping[str, Record | None]) -> Iterator[tuple[str, str]]:
    """Yield (kind, ingest_id) of probes and parity that count in a judgement."""
    for kind in ("probes", "parity"):
        of_it = [item for item in judged.body["findings"] if (item["gate"], item["rule"]) == (kind, "recorded")]
        record = rested.get(kind)
        if record is not None and any(item["verdict"] != Verdict.NO_DATA for item in of_it):
            yield kind, (record.body["inputs"] if kind == "probes" else record.body)["ingest_id"]


def _ingest(
    conn: Connection,
    which: Lock,
    run: Run,
    table_sha256: str,
    named: Mapping[str, str],
    in_time: Callable[[Made], bool],
) -> dict[str, Any]:
    """Return what is sealed of the ingests of a lock."""
    there = ingests.finished(conn, which)
    if there.table_sha256 != table_sha256:
        raise IntegrityError(
            f"{which.name} ({which.config_hash}) was ingested anew since it was judged: expected table "
            f"{table_sha256[:16]}…, found {str(there.table_sha256)[:16]}…",
            hint="evaluate and judge again: bakeoff kpi-check --promote-check",
        )
    verify.table(conn, which, there)
    every = {made.ingest.ingest_id: made for made in ingests.every(conn, which)}
    for what, ingest_id in {f"run {run.run_id}": run.ingest_id, **named}.items():
        _require(which, what, ingest_id, every, run)
    ids, judged = list(every), every[run.ingest_id]
    later = [every[ingest_id] for ingest_id in ids[ids.index(run.ingest_id) + 1 :]]
    again = [
        made.ingest
        for made in later
        if made.content == judged.content and (made.ingest.ingest_id in named.values() or in_time(made))
    ]
    body = _said(judged.ingest, (*_AGAIN, "report"))
    return body | ({"again": [_said(item, _AGAIN) for item in again]} if again else {})


def _require(which: Lock, what: str, ingest_id: str, every: Mapping[str, Made], run: Run) -> None:
    """Raise IntegrityError where the ingest that *what* names is not known, or is of other content than that of *run*.

    Whether the run is what was recorded is checked with its cases.
    """
    made = every.get(ingest_id)
    if made is not None and made.content == every[run.ingest_id].content:
        return
    of_it = f"ingest {ingest_id} of {which.name} ({which.config_hash})"
    hashed = which.config_hash
    raise IntegrityError(
        f"nothing is known of {of_it}, named by {what}: an earlier version forgot it"
        if made is None
        else f"{of_it}, named by {what}, is of another corpus or table than run {run.run_id}",
        hint="evaluate, probe, check parity and judge again: "
        f"bakeoff evaluate --lock {hashed} --questions FILE --fresh; "
        f"bakeoff probes --lock {hashed} --baseline BASELINE; bakeoff parity --lock {hashed}; "
        "bakeoff kpi-check --promote-check",
    )


def _said(found: Ingest, names: tuple[str, ...]) -> dict[str, Any]:
    times = {name: _iso(getattr(found, name)) for name in ("started_at", "finished_at")}
    return {name: getattr(found, name) for name in names} | times


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()
