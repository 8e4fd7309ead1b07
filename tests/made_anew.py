"""Steps of a judged plan whose tables are made anew, and what is checked of its seals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bakeoff import claims
from bakeoff.adapters import clock, evaluations, locks, sealed_artifacts
from bakeoff.adapters.records import Record
from bakeoff.adapters.rollouts import Clock
from bakeoff.config import Lock
from bakeoff.rollout import Abort
from bakeoff.stages import evaluate, judge
from bakeoff.stages.seal import Made
from tests import parity_site, probed, support
from tests.db.test_seal import KEYS, Site, said

STANDARD = probed.standard()


def anew(site: Site, which: Lock, corpus: Path | None = None) -> str:
    """`shadow-ingest --restart`; the id of the new ingest."""
    return support.run_ingest(site.of.url, which, corpus or site.of.made.corpus, restart=True).ingest.ingest_id


def probe(site: Site) -> None:
    """`bakeoff probes` of the candidate."""
    probed.ask(site.of.url, "wide", STANDARD, baseline="narrow")


def parity(site: Site, **options: Any) -> None:
    """`bakeoff parity` of the candidate."""
    made = site.of.made
    parity_site.check(parity_site.Site(made.url, made.wide, made.folder, made.corpus, made.questions), **options)


def check(site: Site) -> Record:
    """`bakeoff kpi-check --promote-check`."""
    wanted = judge.Wanted(promote_check=True, probes_sha256=STANDARD.digest)
    with site.of.connect() as conn:
        return judge.run(conn, site.of.stored, wanted, connect=site.of.connect, now=clock.now())


def start(site: Site, which: Clock = "wall") -> None:
    """Into production with the baseline, and begin; nothing is forced."""
    with site.of.connect() as conn:
        locks.add_event(conn, site.of.made.narrow, "activated", at=support.NOW, reason="first")
    site.of.start(clock=which, now=clock.now(), force=False)


def abort(site: Site) -> None:
    """By hand."""
    site.of.act(Abort(by="bob", why="enough"), clock.now())


def artifacts(site: Site) -> Path:
    """The folder of artifacts, with that of both evaluations."""
    folder = site.folder.parent
    (folder / "evaluations").mkdir(exist_ok=True)
    with site.of.connect() as conn:
        for which in (site.of.made.narrow, site.of.made.wide):
            found = evaluations.latest(conn, which)
            body = evaluate.artifact(which, found, evaluations.cases(conn, found.run_id))
            (folder / "evaluations" / f"{found.run_id}.json").write_text(json.dumps(body))
    return folder


def verified(site: Site, made: Made) -> dict[str, Any]:
    """What a seal says; `bakeoff verify --recompute`, with the artifacts beside it, finds nothing that differs."""
    files = sealed_artifacts.digests(artifacts(site), made.seal.envelope)
    report = claims.check(made.seal.envelope, site.rows(made), keys=KEYS, recompute=True, files=files)
    assert [] == [claim for claim in report.claims if claim.holds is False]
    assert 2 == sum(name.startswith("evaluations/") for name in files)
    return said(made)


def ingests(body: dict[str, Any], arm: str = "candidate") -> tuple[str, list[str]]:
    """The ingest that was judged, and those after it, by their ids."""
    found = body["ingests"][arm]
    return found["ingest_id"], [item["ingest_id"] for item in found.get("again", [])]


def first_of(site: Site, which: Lock) -> str:
    """The ingest that a lock's run was made on."""
    with site.of.connect() as conn:
        return evaluations.latest(conn, which).ingest_id
