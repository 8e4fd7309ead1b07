"""Tables made anew with the same content are the same evidence: sealed, verified, and said to be so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from bakeoff.adapters import clock, datasets, evaluations, locks
from bakeoff.adapters.rollouts import Clock
from bakeoff.config import Lock
from bakeoff.errors import BakeoffError, IntegrityError, StateError
from bakeoff.rollout import Pause, Promote, Rollback
from bakeoff.stages import plan
from tests import judged, planned, rolled, support
from tests.db.test_seal import Site, refused
from tests.made_anew import abort, anew, check, first_of, ingests, parity, probe, start, verified
from tests.planned import GATES
from tests.rolled import Rolled


@pytest.fixture(scope="module")
def source(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, then evaluated, by the real clock; nothing is judged or in production yet."""
    with planned.planned(server_url, template, tmp_path_factory.mktemp("anew")) as made:
        bar = judged.profile(*GATES), rolled.parsed(recheck_at_steps=True)
        with support.connector(made.url)() as conn:
            sides, options = plan.Sides(made.narrow, made.wide), plan.Options(traffic_per_hour=rolled.TRAFFIC)
            stored = plan.run(conn, sides, str(made.questions), bar, now=clock.now(), options=options)
        made.evaluate(made.narrow)
        made.evaluate(made.wide)
        yield Rolled(made, stored.plan_sha256)


@pytest.fixture
def site(server_url: str, source: Rolled, tmp_path: Path) -> Iterator[Site]:
    """A copy to be moved."""
    with rolled.copy_of(server_url, source) as found:
        yield Site(found, tmp_path / "seals")


STEPS: dict[str, Callable[[Site], object]] = {
    "anew": lambda site: anew(site, site.of.made.wide),
    "baseline anew": lambda site: anew(site, site.of.made.narrow),
    "probes": probe,
    "parity": parity,
    "kpi-check": check,
}


@pytest.mark.parametrize(
    "order",
    [
        "anew, probes, parity, kpi-check",
        "probes, anew, parity, kpi-check",
        "parity, anew, probes, kpi-check",
        "probes, parity, anew, kpi-check",
        "probes, parity, kpi-check, anew",
        "probes, parity, kpi-check, anew, kpi-check",
        "probes, anew, parity, anew, kpi-check, anew",
        "anew, anew, probes, baseline anew, parity, kpi-check",
        "baseline anew, probes, parity, kpi-check, baseline anew",
        "anew, kpi-check",
    ],
)
def test_every_order_is_sealed_and_verifies(site: Site, order: str) -> None:
    """Equal content is the same input: what is made before, between and after passes, and can be verified."""
    steps = order.split(", ")
    before = {arm: first_of(site, getattr(site.of.made, arm)) for arm in ("narrow", "wide")}
    made: dict[str, list[str]] = {"anew": [], "baseline anew": []}
    for number, step in enumerate(steps):
        done = STEPS[step](site)
        if step in made and "kpi-check" in steps[number:]:
            made[step].append(str(done))
    first = site.seal()
    body = verified(site, first)
    assert ("pass" if "probes" in steps else "no_data") == body["verdict"]
    assert (before["wide"], made["anew"]) == ingests(body)
    assert (before["narrow"], made["baseline anew"]) == ingests(body, "baseline")
    anew(site, site.of.made.wide)
    assert (False, first.seal) == ((again := site.seal()).new, again.seal)


def test_made_anew_before_the_rollout(site: Site) -> None:
    """Judged, made anew, started: the seal has both tables' ingests, and nothing more after it ended."""
    probe(site)
    parity(site)
    check(site)
    first, then = first_of(site, site.of.made.wide), anew(site, site.of.made.wide)
    start(site)
    abort(site)
    anew(site, site.of.made.wide)
    made = site.seal()
    body = verified(site, made)
    assert ("aborted", "pass", []) == (body["outcome"], body["verdict"], [item["what"] for item in body["forced"]][1:])
    assert (first, [then]) == ingests(body)
    (again,) = body["ingests"]["candidate"]["again"]
    assert body["ingests"]["candidate"]["table_sha256"] == again["table_sha256"]
    assert body["ingests"]["candidate"]["finished_at"] <= again["started_at"] <= again["finished_at"]


def test_made_anew_from_another_path(site: Site) -> None:
    """The corpus lies elsewhere now: each ingest says what it read."""
    corpus = site.folder.parent / "moved.jsonl"
    shutil.copy(site.of.made.corpus, corpus)
    anew(site, site.of.made.wide, corpus)
    probe(site)
    parity(site)
    check(site)
    body = verified(site, site.seal())
    (again,) = body["ingests"]["candidate"]["again"]
    assert datasets.open_corpus(str(corpus)).name == again["corpus"] != body["ingests"]["candidate"]["corpus"]


def test_a_damaged_table_that_a_recheck_found(site: Site) -> None:
    """Rolled back for it; the table made anew as the refusal says, the rollback is sealed with what found it."""
    probe(site)
    parity(site)
    check(site)
    start(site, "simulated")
    table, first = site.of.made.wide.table_name, first_of(site, site.of.made.wide)
    support.rows(site.of.url, "UPDATE {table} SET text = text || '.' WHERE ordinal = 0 RETURNING 1", table=table)
    assert "rolled_back" == site.of.drive().rollout.phase
    error = refused(site, IntegrityError, "is not what its ingest recorded")
    assert f"bakeoff shadow-ingest --restart --lock {site.of.made.wide.config_hash} CORPUS" in str(error.hint)
    anew(site, site.of.made.wide)
    body = verified(site, site.seal())
    assert (("rolled_back", "pass"), (first, [])) == ((body["outcome"], body["verdict"]), ingests(body))
    assert "fail" == body["records"]["rechecks"][-1]["verdict"]
    assert "is not what its ingest recorded" in body["records"]["rechecks"][-1]["body"]["said"]
    check(site)
    assert not site.seal().new


@pytest.mark.parametrize("which", ["wall", "simulated"])
@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("arm", ["narrow", "wide"])
def test_a_table_of_an_open_rollout_is_not_made_anew(site: Site, which: Clock, *, paused: bool, arm: str) -> None:
    """Neither by --restart nor because it was lost; nothing is dropped, and after the end it can be made anew."""
    probe(site)
    parity(site)
    check(site)
    start(site, which)
    if paused:
        site.of.act(Pause(by="bob", why="wait"), clock.now())
    lock: Lock = getattr(site.of.made, arm)
    before = support.digest_of(site.of.url, lock), first_of(site, lock)
    side = "baseline" if arm == "narrow" else "candidate"
    phase = "paused" if paused else "running"
    told = rf"^{arm} \({lock.config_hash}\) is the {side} of r\d+-1, which is {phase}: its table is not made anew"
    with pytest.raises(StateError, match=told) as caught:
        anew(site, lock)
    assert "bakeoff canary abort" in str(caught.value.hint)
    assert "bakeoff canary rollback" in str(caught.value.hint)
    assert before == (support.digest_of(site.of.url, lock), first_of(site, lock))
    with psycopg.connect(site.of.url, autocommit=True) as conn:
        for name in (f"{lock.table_name}_aliases", lock.table_name):
            conn.execute(sql.SQL("DROP TABLE bakeoff.{} CASCADE").format(sql.Identifier(name)))
    with pytest.raises(StateError, match=told):
        support.run_ingest(site.of.url, lock, site.of.made.corpus)
    abort(site)
    assert support.run_ingest(site.of.url, lock, site.of.made.corpus).replaced


def test_made_anew_while_a_rollout_begins(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last check of the tables and the start: what would begin on a table in the making does not."""
    probe(site)
    parity(site)
    check(site)
    checked = evaluations.check
    monkeypatch.setattr(evaluations, "check", lambda *given: (checked(*given), anew(site, site.of.made.wide)))
    with pytest.raises(StateError, match="made anew while its rollout was about to begin") as caught:
        start(site)
    assert "bakeoff canary start" in str(caught.value.hint)
    assert [(0,)] == support.rows(site.of.url, "SELECT count(*) FROM rollouts")


def test_after_the_end_of_a_rollout_it_is_no_new_evidence(site: Site) -> None:
    """Sealed once: what is made anew after it ended changes nothing of it."""
    probe(site)
    parity(site)
    check(site)
    start(site, "simulated")
    abort(site)
    first = site.seal()
    verified(site, first)
    for _ in range(2):
        anew(site, site.of.made.wide)
        made = site.seal()
        assert (False, first.seal, 1) == (made.new, made.seal, site.count())
    probe(site)
    parity(site)
    check(site)
    assert not site.seal().new


def test_taken_back_after_the_baseline_was_made_anew(site: Site) -> None:
    """Completed, made anew meanwhile, rolled back: people came back to the new table, which the new seal says."""
    probe(site)
    parity(site)
    check(site)
    start(site)
    for _ in range(3):
        site.of.act(Promote(by="bob", why="go", force=True), clock.now())
    assert "completed" == site.of.found().phase
    with site.of.connect() as conn:
        locks.add_event(conn, site.of.made.narrow, "restored", at=clock.now(), reason="it may be needed")
    judged_on, then = first_of(site, site.of.made.narrow), anew(site, site.of.made.narrow)
    first = site.seal()
    assert (judged_on, []) == ingests(verified(site, first), "baseline")
    site.of.act(Rollback(by="bob", why="complaints"), clock.now())
    second = site.seal()
    body = verified(site, second)
    assert (True, "rolled_back") == (second.new, body["outcome"])
    assert (judged_on, [then]) == ingests(body, "baseline")


def test_an_ingest_that_nothing_is_known_of(site: Site) -> None:
    """Forgotten by an earlier version: not sealed, and what to do is said."""
    probe(site)
    parity(site)
    check(site)
    first = first_of(site, site.of.made.wide)
    anew(site, site.of.made.wide)
    site.of.made.tamper("ingests_forgotten", "DELETE FROM bakeoff.ingests_forgotten")
    error = refused(site, IntegrityError, f"nothing is known of ingest {first} of wide")
    for command in ("evaluate", "probes", "parity", "kpi-check"):
        assert command in str(error.hint)
    site.of.made.evaluate(site.of.made.wide, fresh=True)
    probe(site)
    parity(site)
    check(site)
    verified(site, site.seal())


def test_probes_of_an_ingest_that_nothing_is_known_of(site: Site) -> None:
    """The run's ingest is known, that of the probes is not: not sealed either."""
    anew(site, site.of.made.wide)
    probe(site)
    anew(site, site.of.made.wide)
    parity(site)
    check(site)
    site.of.made.tamper("ingests_forgotten", "DELETE FROM bakeoff.ingests_forgotten WHERE number = 2")
    refused(site, IntegrityError, r"nothing is known of ingest \S+ of wide \(\w+\), named by probes: ")


def test_another_table_is_refused(site: Site) -> None:
    """Made anew of other documents: that is another table, and what was judged is not sealed."""
    check(site)
    corpus = support.write_jsonl(site.folder.parent / "other.jsonl", support.topics(7, 2500))
    anew(site, site.of.made.wide, corpus)
    refused(site, IntegrityError, "was ingested anew since it was judged")
    anew(site, site.of.made.wide)
    body = verified(site, site.seal())
    assert [] == ingests(body)[1]


def test_the_same_table_of_another_corpus(site: Site) -> None:
    """Other titles, which the table does not hold: probes and parity of them are of other inputs, and are no data."""
    lines = [json.loads(line) for line in site.of.made.corpus.read_text().splitlines()]
    corpus = site.folder.parent / "titled.jsonl"
    corpus.write_text("".join(json.dumps(line | {"title": "Another"}) + "\n" for line in lines))
    before = support.digest_of(site.of.url, site.of.made.wide)
    anew(site, site.of.made.wide, corpus)
    assert before == support.digest_of(site.of.url, site.of.made.wide)
    probe(site)
    parity(site)
    found = {item["gate"]: item for item in check(site).body["findings"]}
    for kind in ("probes", "parity"):
        assert ("no_data", True) == (found[kind]["verdict"], "of another corpus" in found[kind]["said"])
    assert [] == ingests(verified(site, site.seal()))[1]


def test_parity_of_a_token_sample_is_none_after_a_restart_either(site: Site) -> None:
    """How many documents there are is asked of the ingest that is there."""
    anew(site, site.of.made.wide)
    parity(site, sample=1)
    found = {item["gate"]: item for item in check(site).body["findings"]}
    assert ("no_data", True) == (found["parity"]["verdict"], "fewer than 8" in found["parity"]["said"])


def test_an_interrupted_evaluation_is_not_continued_on_another_ingest(site: Site) -> None:
    """It would be of two ingests: another one is begun, and both are what they say they are."""

    class StoppedError(Exception):
        pass

    def stop(_: str, done: int, __: int | None) -> None:
        if done > 3:
            raise StoppedError

    made = site.of.made
    with pytest.raises(StoppedError):
        support.run_evaluate(made.url, made.wide, made.questions, progress=stop, fresh=True)
    then = anew(site, made.wide)
    done = support.run_evaluate(made.url, made.wide, made.questions)
    assert (then, False) == (done.run.ingest_id, done.resumed)
    probe(site)
    parity(site)
    assert "pass" == check(site).verdict
    assert (then, []) == ingests(verified(site, site.seal()))


@pytest.mark.parametrize("change", ["UPDATE {} SET corpus = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
def test_what_is_known_of_forgotten_ingests_stays(site: Site, change: str) -> None:
    """Its rows never change."""
    anew(site, site.of.made.wide)
    with psycopg.connect(site.of.url, autocommit=True) as conn:
        with pytest.raises(pg.RaiseException, match="its rows never change"):
            conn.execute(change.format("bakeoff.ingests_forgotten").encode())
        assert [(1,)] == conn.execute("SELECT count(*) FROM bakeoff.ingests_forgotten").fetchall()


def test_forgetting_is_whole_or_nothing(site: Site) -> None:
    """An ingest that is not forgotten after all leaves no trace among those that are, and keeps its table."""
    with psycopg.connect(site.of.url, autocommit=True) as conn:
        conn.execute(
            "CREATE TRIGGER stays BEFORE DELETE ON bakeoff.ingests FOR EACH ROW "
            "EXECUTE FUNCTION bakeoff.forbid_change()"
        )
    with pytest.raises(BakeoffError, match="its rows never change"):
        anew(site, site.of.made.wide)
    assert [(0,)] == support.rows(site.of.url, "SELECT count(*) FROM ingests_forgotten")
    assert support.digest_of(site.of.url, site.of.made.wide)
