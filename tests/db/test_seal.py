"""Seals of real plans: what they say, that they hold, that they are chained, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg import errors as pg

from bakeoff import canonical, chain, claims, dsse, evidence, merkle, routing
from bakeoff.adapters import clock, seals
from bakeoff.adapters.keys import Signer
from bakeoff.errors import BakeoffError, IntegrityError, NotFoundError, NotKnownError, StateError
from bakeoff.rollout import Abort, Promote, Rollback
from bakeoff.stages import judge, seal, seal_check
from bakeoff.stages.seal import Made
from tests import planned, rolled, support
from tests.rolled import BEGAN, Rolled

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = Signer("test", dsse.key_id(KEY.public_key()), KEY)
KEYS = {SIGNER.keyid: claims.Key(KEY.public_key(), "test")}
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Site:
    """A judged plan of the test's own, and a folder for its seals."""

    of: Rolled
    folder: Path

    def seal(self, *, signer: Callable[[], Signer] = lambda: SIGNER, **given: Any) -> Made:
        """Seal what became of the plan, a day from now: some rollouts of the tests move in hours to come."""
        now = clock.now() + timedelta(days=1)
        options: dict[str, Any] = {"folder": self.folder, "now": now, "connect": self.of.connect} | given
        with self.of.connect() as conn:
            return seal.run(conn, signer, **options)

    def export(self, **given: Any) -> list[seals.Stored]:
        """Write all of it again."""
        with self.of.connect() as conn:
            return seal.export(conn, lambda: SIGNER, self.folder, **given)

    def rows(self, made: Made) -> dict[str, Any]:
        """The rows of a seal, from its file."""
        path = self.folder / f"{made.seal.stem}.rows.json"
        return dict(json.loads(path.read_bytes()))

    def count(self) -> int:
        """How many seals there are."""
        return int(support.rows(self.of.url, "SELECT count(*) FROM seals")[0][0])

    def tamper(self, table: str, change: str) -> None:
        """Change what may not be changed."""
        statement = change if change.startswith("DELETE") else f"UPDATE bakeoff.{table} {change}"
        self.of.made.tamper(table, statement)


@pytest.fixture(scope="module")
def source(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, evaluated, judged."""
    with rolled.rolled(server_url, template, tmp_path_factory.mktemp("seal")) as found:
        yield found


@pytest.fixture
def site(server_url: str, source: Rolled, tmp_path: Path) -> Iterator[Site]:
    """A copy to be moved."""
    with rolled.copy_of(server_url, source) as found:
        yield Site(found, tmp_path / "seals")


def said(made: Made) -> dict[str, Any]:
    """The predicate of a seal, figures as numbers."""
    return evidence.opened(made.seal.envelope.payload)[1]


def held(site: Site, made: Made) -> claims.Report:
    """Every claim that was checked holds."""
    report = claims.check(made.seal.envelope, site.rows(made), keys=KEYS)
    assert [] == [claim for claim in report.claims if claim.holds is False]
    return report


def refused(site: Site, kind: type[BakeoffError], message: str, **given: Any) -> BakeoffError:
    """The error: one line, a hint, and nothing was stored or written."""
    before, files = site.count(), sorted(site.folder.rglob("*"))
    with pytest.raises(kind, match=message) as caught:
        site.seal(**given)
    assert kind is type(caught.value)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert (before, files) == (site.count(), sorted(site.folder.rglob("*")))
    return caught.value


def test_stopped_at_the_gate(site: Site) -> None:
    """A plan that did not pass is sealed as it stands, without a rollout; all of it verifies."""
    made = site.seal()
    assert made.new
    report = held(site, made)
    assert (1, None, SIGNER.keyid) == (report.number, report.previous, report.keyid)
    body = said(made)
    assert ("stopped", "no_data", None) == (body["outcome"], body["verdict"], body["rollout"])
    assert ("wall", [], [], []) == (
        body["clock"],
        body["forced"],
        body["accepted"]["blind"],
        site.rows(made)["outcomes"],
    )
    assert [site.of.made.count] * 2 == [body["evaluations"][arm]["rows"]["count"] for arm in ("baseline", "candidate")]
    assert body["environment"]["postgres"]
    assert body["environment"]["packages"]["numpy"]


def test_the_rows_are_canonical_and_theirs_the_roots(site: Site) -> None:
    """The file is canonical JSON, its digest is a subject, the roots are those of its rows; figures are text."""
    made = site.seal()
    data = (site.folder / f"{made.seal.stem}.rows.json").read_bytes()
    rows = json.loads(data)
    assert canonical.encode(rows) + b"\n" == data
    subjects, body = evidence.opened(made.seal.envelope.payload)
    assert {"rows.json": canonical.sha256_hex(data)}.items() <= {item.name: item.sha256 for item in subjects}.items()
    for arm in ("baseline", "candidate"):
        leaves = [canonical.encode(row) for row in rows[arm]]
        assert body["evaluations"][arm]["rows"] == {"count": len(leaves), "root": merkle.root(leaves).hex()}
    assert not any(
        isinstance(value, float) for arm in ("baseline", "candidate") for row in rows[arm] for value in row.values()
    )


def test_subjects_name_what_is_sealed(site: Site) -> None:
    """Plan, locks, runs, records and rows, each with the digest that the database has."""
    made = site.seal()
    kinds = {
        item.name.rsplit(".", 1)[-1]: item.name.split("/")[0] for item in evidence.opened(made.seal.envelope.payload)[0]
    }
    assert {"plan": "plans", "lock": "locks", "cases": "evaluations", "record": "records", "json": "rows.json"} == kinds


def test_a_completed_rollout(site: Site) -> None:
    """The whole history and what the change did to both arms, step by step; who forced it and why; no client's id."""
    site.of.start(why="two dozen questions are all we have")
    site.of.drive()
    made = site.seal()
    held(site, made)
    body = said(made)
    assert ("completed", "simulated") == (body["outcome"], body["clock"])
    assert len(site.of.history()) == len(body["rollout"]["events"])
    steps = body["rollout"]["outcomes"]["by_step"]
    assert {(1, "baseline", 80.0), (1, "candidate", 20.0), (2, "candidate", 50.0)} <= {
        (item["step"], item["arm"], item["share_percent"]) for item in steps
    }
    counted = [(item["step"], ("baseline", "candidate").index(item["arm"]), item["n"], item["n"] - item["errors"])
               for item in steps]  # fmt: skip
    assert [(step, arm, n, good) for step, arm, n, good, *_ in
            [(row[0], row[1], row[2], row[4]) for row in site.of.outcomes()]] == counted  # fmt: skip
    (by_force,) = body["forced"]
    assert ("start", "ada") == (by_force["what"], by_force["by"])
    assert "two dozen questions are all we have" in by_force["why"]
    units = [row[0] for row in support.rows(site.of.url, "SELECT DISTINCT unit FROM outcomes WHERE unit IS NOT NULL")]
    assert units
    text = (site.folder / f"{made.seal.stem}.rows.json").read_text() + made.seal.envelope.payload.decode()
    assert [] == [unit for unit in units if f'"{unit}"' in text]
    buckets = {row[3] for row in site.rows(made)["outcomes"]} - {None}
    assert {routing.bucket(body["rollout"]["salt"], unit) for unit in units} == buckets


def test_a_rolled_back_rollout(site: Site) -> None:
    """Who took it back and why, sealed; then, as nothing else happens, once."""
    site.of.start()
    site.of.tick(BEGAN + HOUR)
    site.of.act(Rollback(by="ann", why="it is slow"), BEGAN + HOUR)
    made = site.seal()
    held(site, made)
    body = said(made)
    assert "rolled_back" == body["outcome"] == made.seal.outcome
    assert ("rollback", "ann", "it is slow") == tuple(body["forced"][-1][name] for name in ("what", "by", "why"))
    again = site.seal(now=clock.now() + HOUR)
    assert (False, made.seal) == (again.new, again.seal)
    assert 1 == site.count()


def test_what_happens_later_is_sealed_after_it(site: Site) -> None:
    """Stopped, then forced and aborted: two seals, the second names the first; the chain and its head hold."""
    first = site.seal()
    site.of.start()
    site.of.act(Promote(by="bob", force=True, why="in a hurry"), BEGAN + HOUR)
    site.of.act(Abort(by="bob", why="never mind"), BEGAN + 2 * HOUR)
    second = site.seal()
    assert (2, first.seal.payload_sha256) == (second.seal.number, second.seal.previous)
    assert ["start", "promote", "abort"] == [item["what"] for item in said(second)["forced"]]
    links = [
        chain.Link(f"{made.seal.stem}.seal.json", canonical.sha256_hex(made.seal.file), held(site, made))
        for made in (first, second)
    ]
    head = dsse.parse((site.folder / "HEAD.json").read_bytes())
    assert {True} == {claim.holds for claim in chain.check(links, head, keys=KEYS)}
    for made in (first, second):
        assert made.seal.envelope == dsse.parse((site.folder / f"{made.seal.stem}.seal.json").read_bytes())


def test_a_rollout_on_its_way_is_refused(site: Site) -> None:
    """What it comes to is not known yet; the way out is said."""
    site.of.start()
    assert "bakeoff canary" in str(refused(site, StateError, "is running: what it comes to").hint)


def test_nothing_was_judged(new_database: Any, tmp_path: Path) -> None:
    """There is nothing to seal."""
    connect = support.connector(new_database())
    with connect() as conn, pytest.raises(NotKnownError, match="no plan was judged yet"):
        seal.run(conn, lambda: SIGNER, folder=tmp_path, connect=connect, now=support.NOW)
    assert [] == list(tmp_path.iterdir())


def test_no_key(site: Site) -> None:
    """Without a key nothing is read, stored or written."""

    def none() -> Signer:
        raise StateError("there is no key to sign with", hint="bakeoff keys new NAME")

    with site.of.connect() as conn, pytest.raises(StateError, match="no key"):
        seal.run(conn, none, folder=site.folder, connect=site.of.connect, now=support.NOW)
    assert (0, False) == (site.count(), site.folder.exists())


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("locks", """SET body = jsonb_set(body, '{name}', '"x"')""", "lock .* is not the one"),
        ("plans", "SET body = jsonb_set(body, '{seed}', '5')", "plan .* is not the one"),
        ("evaluation_cases", """SET result = result || '{"f1": 9}' WHERE ordinal = 3""", "the cases of run"),
        ("evaluations", "SET corpus_sha256 = 'x'", "run .* is not of what it was"),
        ("records", "SET verdict = 'pass' WHERE kind = 'judgement'", r"record \d+ \(judgement\)"),
        ("ingests", "SET table_sha256 = repeat('a', 64)", "was ingested anew since it was judged"),
    ],
    ids=["lock", "plan", "case", "run", "record", "ingest"],
)
def test_a_changed_row_is_named(site: Site, table: str, change: str, message: str) -> None:
    """One changed row of what is sealed: the seal is refused, and says which."""
    site.tamper(table, change)
    refused(site, IntegrityError, message)


def test_what_would_not_verify_is_not_sealed(site: Site) -> None:
    """Everything is what it was recorded as, but judged before it was measured: claim and place are said."""
    with site.of.connect() as conn:
        wanted = judge.Wanted(promote_check=True)
        judge.run(conn, site.of.stored, wanted, connect=site.of.connect, now=support.NOW - HOUR)
    path = r"\.predicate\.evaluations\.baseline\.finished_at"
    error = refused(
        site, IntegrityError, rf"^this would not verify: clock: {path}: expected 2026-.* found the other way"
    )
    assert "bakeoff kpi-check --promote-check" in str(error.hint)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("evaluations", "candidate", "identity_sha256"), "a" * 64, r"inputs: .*candidate\.identity_sha256: expected"),
        (("ingests", "baseline", "ingest_id"), "20200101T000000-0", r"inputs: .*baseline\.identity_sha256: expected"),
        (("plan", "created_at"), "2030-01-01T00:00:00+00:00", r"inputs: .*candidate\.started_at: expected after"),
        (
            ("records", "judgement", "verdict"),
            "pass",
            r'rests on: .*judgement\.verdict: expected "no_data", found "pass"',
        ),
        (("outcome",), "judged", r'verdict: \.predicate\.outcome: expected "stopped", found "judged"'),
        (("records", "judgement", "sha256"), "a" * 64, r"subjects: \.subject"),
        (("sealed_at",), None, r"fields: \.predicate\.sealed_at: "),
    ],
    ids=["run", "ingest", "plan", "judged", "outcome", "record", "sealed_at"],
)
def test_each_claim_is_made_before_it_is_signed(site: Site, place: Any, value: Any, message: str) -> None:
    """What `verify` would refuse of a predicate is refused, by the name of the claim; what was sealed is not."""
    subjects, body = evidence.opened(site.seal().seal.envelope.payload)
    seal_check.require(subjects, body)
    at = body
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = value
    with pytest.raises(IntegrityError, match=f"^this would not verify: {message}"):
        seal_check.require(subjects, body)


def test_a_claim_that_breaks_is_one_that_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that no claim can do with is no crash."""

    def broken(_: Any) -> Any:
        raise KeyError("gates")

    subjects, body = evidence.opened(site.seal().seal.envelope.payload)
    monkeypatch.setattr(claims, "AFTER", (("odd", "", broken),))
    with pytest.raises(IntegrityError, match=r"^this would not verify: odd: can't be checked: 'gates'$"):
        seal_check.require(subjects, body)


def test_a_changed_chunk_is_named(site: Site) -> None:
    """A text that was retrieved was edited after the judgement."""
    planned.edited_chunk(site.of.made)
    refused(site, IntegrityError, f"the chunk table {site.of.made.narrow.table_name} is not what")


def test_a_changed_history_is_named(site: Site) -> None:
    """An event that was edited, and a state that no history makes."""
    site.of.start()
    site.of.act(Abort(by="bob", why="never mind"), BEGAN + HOUR)
    site.tamper("rollout_events", "SET body = jsonb_set(body, '{state,step}', '3') WHERE version = 2")
    refused(site, IntegrityError, r"version 2 \(abort\) does not follow")


def test_the_table_keeps_its_order(site: Site) -> None:
    """No number is left out, none comes twice, none names another seal; nothing changes or goes."""
    made = site.seal().seal
    later = replace(made, number=2, payload_sha256="a" * 64, previous=made.payload_sha256)
    wrong = {
        "gap": (replace(later, number=3), pg.ForeignKeyViolation),
        "twice": (replace(made, payload_sha256="a" * 64), pg.UniqueViolation),
        "another one before": (replace(later, previous="b" * 64), pg.ForeignKeyViolation),
        "none before": (replace(later, previous=None), pg.CheckViolation),
    }
    with psycopg.connect(site.of.url, autocommit=True, options="-c search_path=bakeoff,public") as conn:
        for item, kind in wrong.values():
            with pytest.raises(kind):
                seals.insert(conn, item, b"{}")
        for statement in ("UPDATE seals SET outcome = 'judged'", "DELETE FROM seals", "TRUNCATE seals"):
            with pytest.raises(pg.RaiseException, match="its rows never change"):
                conn.execute(statement.encode())
    assert 1 == site.count()


def test_a_crash_between_row_and_files_is_mended(site: Site) -> None:
    """Files that are missing are written by the next seal, and by an export, byte for byte."""
    made = site.seal()
    whole = {path.name: path.read_bytes() for path in site.folder.iterdir()}
    for path in site.folder.glob("0*"):
        path.unlink()
    assert not site.seal().new
    assert whole == {path.name: path.read_bytes() for path in site.folder.iterdir()}
    (site.folder / f"{made.seal.stem}.seal.json").write_bytes(b"half")
    assert [made.seal] == site.export()
    assert whole == {path.name: path.read_bytes() for path in site.folder.iterdir()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("outcome = 'aborted'", "outcome is aborted, and stopped was signed"),
        ("verdict = 'fail'", "verdict is fail, and no_data was signed"),
        ("keyid = repeat('a', 64)", "keyid is aaaa"),
        ("sealed_at = sealed_at - interval '1 day'", "sealed_at is "),
    ],
    ids=lambda value: value.split(" ")[0],
)
def test_a_column_that_nobody_signed_is_named(site: Site, change: str, said: str) -> None:
    """What a list shows is what was signed, column by column."""
    site.seal()
    site.tamper("seals", f"SET {change}")
    with site.of.connect() as conn, pytest.raises(IntegrityError, match=f"not what was signed: {said}"):
        seals.listing(conn)


def test_a_changed_seal_is_named(site: Site) -> None:
    """Its payload, or its rows."""
    made = site.seal()
    site.tamper("seals", "SET rows = rows || 'x'::bytea")
    with site.of.connect() as conn:
        with pytest.raises(IntegrityError, match="seal 1 in the database is not what was signed: its rows"):
            seals.rows_file(conn, made.seal)
        with pytest.raises(NotFoundError, match="no seal '7'"):
            seals.find(conn, "7")
        assert made.seal == seals.find(conn, "1") == seals.find(conn, made.seal.payload_sha256[:6])
    site.tamper("seals", """SET envelope = jsonb_set(envelope, '{payload}', '"e30="')""")
    refused(site, IntegrityError, "seal 1 in the database is not what was signed")


def test_records_of_the_judgement_that_began_it(site: Site) -> None:
    """A judgement after the rollout changes nothing of what it began on."""
    site.of.start(now=datetime.fromisoformat("2026-03-02T08:00:00+00:00"))
    site.of.act(Abort(by="bob", why="never mind"), BEGAN + HOUR)
    first = said(site.seal())["records"]["judgement"]
    with site.of.connect() as conn:
        conn.execute(
            "INSERT INTO records (kind, plan_sha256, config_hash, run_id, at, verdict, body, sha256) SELECT kind, "
            "plan_sha256, config_hash, run_id, now(), verdict, body, sha256 FROM records WHERE kind = 'judgement'"
        )
    again = site.seal()
    assert (False, first) == (again.new, said(again)["records"]["judgement"])
