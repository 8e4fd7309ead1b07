"""Claims: what holds, what is said of a retired key, of missing rows and files, of values of a wrong kind."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from bakeoff import canonical, chain, claims, dsse, evidence, history, provenance, sealed
from bakeoff.chain import Link
from bakeoff.claims import Claim, Report
from bakeoff.sealed import Sealed
from tests import sealed as samples
from tests.sealed import Sample, private, ring
from tests.sealed_files import name_of
from tests.sealed_parts import iso
from tests.tampering import small


def by_name(report: Report) -> dict[str, Claim]:
    """Every claim of a report."""
    return {claim.name: claim for claim in report.claims}


def failed(sample: Sample, **options: Any) -> tuple[str, str | None]:
    """Name and place of what does not hold."""
    found = sample.check(**options).failed
    assert found is not None
    return found.name, found.path


def redigested(sample: Sample, kind: str) -> Sample:
    """With the digest of a record as it is now, and of what names it."""
    found = sample.predicate["records"][kind]
    samples.redigest(found)
    judgement = sample.predicate["records"]["judgement"]
    if kind != "judgement":
        judgement["body"][kind]["sha256"] = found["sha256"]
        samples.redigest(judgement)
    for again in sample.predicate["records"]["rechecks"]:
        again["body"]["began_on"]["sha256"] = judgement["sha256"]
        samples.redigest(again)
    return sample


def test_report() -> None:
    """A report names the seal, its key and its place in the chain."""
    sample = small(number=3, previous="b" * 64)
    report = sample.check()
    sha256 = canonical.sha256_hex(sample.payload())
    keyid = dsse.key_id(private().public_key())
    assert (3, "b" * 64, sha256, keyid) == (report.number, report.previous, report.payload_sha256, report.keyid)
    assert report.failed is None


def test_retired_key_says_so() -> None:
    """A seal of a key that was retired later holds."""
    sample = small()
    report = claims.check(sample.envelope(), sample.written, keys=ring(private(), status="retired"))
    assert None is report.failed
    assert "by key-1 (34750f98bd59), a key that was retired since" == by_name(report)["signature"].said


def test_a_key_of_which_less_is_known() -> None:
    """A bare public key does not say whether it was retired; an exported one says it up to when it was exported."""
    sample = small()
    known: dict[datetime | None, bool | None] = {None: True, at(601): True, at(600): True, at(599): None}
    for told_at, holds in known.items():
        keys = ring(private(), told_at=told_at)
        assert holds is by_name(claims.check(sample.envelope(), None, keys=keys))["key in use"].holds
    found = by_name(claims.check(sample.envelope(), None, keys=ring(private(), status="unknown")))["key in use"]
    assert (None, True) == (found.holds, found.said.startswith("not checked: whether it was retired is not known"))


def at(minutes: float) -> datetime:
    """So many minutes after a sample begins; it is sealed after 600."""
    return datetime.fromisoformat(iso(minutes))


def test_a_head_of_a_retired_key() -> None:
    """It holds, and says so."""
    sample = small()
    link = Link(name_of(sample), canonical.sha256_hex(sample.file()), sample.check())
    said = {"count": 1, "sha256": link.report.payload_sha256, "previous": None}
    subject = evidence.Subject(link.name, link.sha256)
    head = dsse.sign(evidence.statement([subject], said, kind=evidence.HEAD), private())
    found = chain.check([link], head, keys=ring(private(), status="retired"))[-1]
    assert (True, "head") == (found.holds, found.name)
    assert "signed by key-1 (34750f98bd59), a key that was retired since" in found.said


def test_no_key_is_known() -> None:
    """What to do is said."""
    found = claims.check(small().envelope(), None, keys={}).failed
    assert found is not None
    assert ".signatures[0].keyid" == found.path
    assert "--public-key FILE; known: none" in found.said


def test_second_signature() -> None:
    """Nobody can add one without the key: a seal has one signature, wherever the other stands."""
    sample = small()
    (own,) = sample.envelope().signatures
    (other,) = dsse.sign(sample.payload(), private(9)).signatures
    for both in ((other, own), (own, other), (own, own)):
        found = claims.check(dsse.Envelope(dsse.IN_TOTO, sample.payload(), both), None, keys=sample.keys)
        assert [("signature", ".signatures", "one", "2")] == [
            (claim.name, claim.path, claim.expected, claim.found) for claim in found.claims
        ]
    assert own.keyid == sample.check().keyid


def test_without_rows() -> None:
    """What rests on them is not checked, and is not said to hold; nor is anything computed again."""
    sample = small()
    found = by_name(claims.check(sample.envelope(), None, keys=sample.keys, recompute=True))
    assert [None, None, None, None] == [found[n].holds for n in ("rows", "aggregates", "live outcomes", "artifacts")]
    assert "not checked: the rows file is not beside the seal" == found["rows"].said
    assert "findings again" not in found


def test_artifacts() -> None:
    """Some lie there, and are right; one is not. The rows file is none of them, and is compared all the same."""
    sample = small()
    name, sha256 = f"plans/{sample.predicate['plan']['sha256'][:12]}.plan", sample.predicate["plan"]["sha256"]
    found = by_name(sample.check(files={name: [sha256]}))["artifacts"]
    assert found.holds
    assert "1 of 10 hold the content that was sealed; not there, so not checked: evaluations/" in found.said
    rows = {"rows.json": [canonical.sha256_hex(sample.rows_file)]}
    every = rows | {item: [digest] for item, digest in samples.subjects(sample.predicate).items()}
    found = by_name(sample.check(files=every))["artifacts"]
    rows_too = "the rows file is the one that was sealed"
    assert (True, f"10 of 10 hold the content that was sealed; {rows_too}") == (found.holds, found.said)
    found = by_name(sample.check(files=rows))["artifacts"]
    assert (None, f"not checked: none was found (--artifacts DIR); {rows_too}") == (
        found.holds,
        found.said,
    )
    found = by_name(sample.check(files={name: ["0" * 64]}))["artifacts"]
    assert (False, sha256, "0" * 64) == (found.holds, found.expected, found.found)


def test_values_of_a_wrong_kind() -> None:
    """They are said to be unreadable, whatever they are."""
    sample = small()
    sample.predicate["rollout"]["events"][0]["at"] = "yesterday"
    assert ("fields", ".predicate.rollout.events[0].at") == failed(sample)
    sample = small()
    sample.predicate["records"]["judgement"] = None
    assert ("fields", ".predicate.records.judgement") == failed(sample)
    sample = small()
    sample.predicate["sealed_at"] = 3
    assert ("fields", ".predicate.sealed_at") == failed(sample)


SHAPES: dict[str, tuple[Any, str, str]] = {
    "an object is a list": ([], ".predicate.plan", "an object"),
    "an object is null": (None, ".predicate.plan", "an object"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    """What has to be an object is one."""
    value, path, expected = SHAPES[name]
    sample = small()
    sample.predicate["plan"] = value
    (first, *_) = sealed.unlike(sealed.PREDICATE, sample.predicate, ".predicate")
    assert (path, expected) == (first.path, first.expected)


def test_a_missing_object() -> None:
    """It is named, and nothing below it."""
    sample = small()
    del sample.predicate["plan"]
    found = list(sealed.unlike(sealed.PREDICATE, sample.predicate, ".predicate"))
    assert [".predicate.plan"] == [item.path for item in found]


def test_a_question_of_one_arm_alone() -> None:
    """Both arms were asked the same questions."""
    sample = small()
    sample.rows["candidate"][3] = sample.rows["candidate"][3] | {"question_id": "another"}
    sample.resign()
    assert ("rows", "rows:.candidate[3].question_id") == failed(sample)


def test_shapes_of_lists() -> None:
    """What has to be a list is one; what may be null may be."""
    sample = small()
    sample.predicate.update(forced={}, rollout=None)
    (first,) = sealed.unlike(sealed.PREDICATE, sample.predicate, ".predicate")
    assert (".predicate.forced", "a list") == (first.path, first.expected)


def test_statements_that_are_none() -> None:
    """Signed, and no statement."""
    for payload in (b"\xff", b"[]", b"{}", b"[" * 100_000):
        envelope = dsse.sign(payload, private())
        found = claims.check(envelope, None, keys=ring(private())).failed
        assert found is not None
        assert "statement" == found.name


# --- What rests on what ---------------------------------------------------------------------------------------------


def test_other_models() -> None:
    """The environment names the models of the locks."""
    sample = small()
    sample.predicate["environment"]["models"]["candidate"] = {}
    assert ("locks", ".predicate.environment.models.candidate.backend") == failed(sample)


def test_accepted() -> None:
    """What was accepted blind is the plan's."""
    sample = small()
    sample.predicate["accepted"]["blind"] = []
    assert ("plan", ".predicate.accepted.blind[0]") == failed(sample)


def test_scores_that_were_known() -> None:
    """A candidate that was evaluated before the plan was made has to be accepted in it."""
    sample = small()
    run = sample.predicate["evaluations"]["candidate"]
    run["started_at"] = iso(5)
    run["identity_sha256"] = run["rows_sha256"] = None  # as a run of an older version, which has neither
    assert ("inputs", ".predicate.evaluations.candidate.started_at") == failed(sample)


def test_identity() -> None:
    """A run is of the settings that it was recorded of."""
    sample = small()
    sample.predicate["evaluations"]["baseline"]["settings"]["workers"] = 2
    assert ("inputs", ".predicate.evaluations.baseline.identity_sha256") == failed(sample)


def test_timings_of_other_tables() -> None:
    """The timings were taken on the tables that were judged."""
    sample = small()
    sample.predicate["records"]["timings"]["body"]["questions_sha256"] = "0" * 64
    redigested(sample, "timings")
    assert ("rests on", ".predicate.records.timings.body.questions_sha256") == failed(sample)


def test_judged_without_timings() -> None:
    """A judgement may rest on none: latency was not judged then."""
    sample = small()
    sample.predicate["records"]["timings"] = None
    sample.predicate["records"]["judgement"]["body"]["timings"] = None
    redigested(sample, "judgement")
    found = by_name(sample.check(recompute=True))
    assert {"rests on": True, "findings again": False} == {
        name: found[name].holds for name in ("rests on", "findings again")
    }
    assert f"{samples_path('findings[5].verdict')}" == found["findings again"].path


def samples_path(below: str) -> str:
    """A place in the judgement."""
    return f".predicate.records.judgement.body.{below}"


@pytest.mark.parametrize("change", ["verdict", "finding"])
def test_a_recheck_is_what_its_own_judgement_comes_to(change: str) -> None:
    """Its verdict follows from its findings, and what the look kept of them are those findings."""
    sample = small()
    again = sample.predicate["records"]["rechecks"][0]
    inner = again["body"]["judgement"]
    inner["verdict"] = "fail"
    if change == "finding":
        inner["findings"][0]["verdict"] = "fail"
    samples.redigest(again)
    claim, place = {"verdict": ("verdict", "judgement.verdict"), "finding": ("rests on", "findings[0].verdict")}[change]
    assert (claim, f".predicate.records.rechecks[0].body.{place}") == failed(sample)


def test_outcomes_without_a_rollout() -> None:
    """Where there was no rollout there are no live outcomes."""
    sample = small(story="judged")
    sample.rows["outcomes"] = small().rows["outcomes"]
    assert ("rows", "rows:.outcomes[0]") == failed(sample)


def test_rows_without_a_question() -> None:
    """No row at all is no reason to break."""
    rows: dict[str, Any] = {"baseline": [], "candidate": [], "outcomes": []}
    empty = {"count": 0, "root": provenance.root([])}
    predicate = {"evaluations": {arm: {"rows": empty} for arm in sealed.ARMS}, "rollout": None}
    assert [] == [*provenance.rows(Sealed(predicate, (), rows, rows))]


def test_seal_without_rows_has_none() -> None:
    """Nothing is made up where the rows are not there."""
    seal = Sealed({"rollout": None})
    assert ([], [], []) == (seal.cases("baseline"), seal.live(), seal.events)


# --- History --------------------------------------------------------------------------------------------------------


def test_an_event_that_could_not_happen() -> None:
    """An advance before its time."""
    sample = small()
    events = sample.predicate["rollout"]["events"]
    events[1]["body"]["event"], events[1]["event"] = {"kind": "advance"}, "advance"
    assert ("rollout", ".predicate.rollout.events[1]") == failed(sample)


def test_a_rollout_without_a_history() -> None:
    """It leads nowhere."""
    sample = small()
    sample.predicate["rollout"].update(events=[], version=0)
    sample.predicate["forced"] = []
    found = by_name(sample.check())
    assert (False, ".predicate.rollout.state") == (found["rollout"].holds, found["rollout"].path)


def test_clocks() -> None:
    """There are two."""
    sample = small(story="judged")
    sample.predicate["clock"] = "sundial"
    assert ("clock", ".predicate.clock") == failed(sample)


def test_units() -> None:
    """People are no fewer than their buckets."""
    sample = small()
    sample.predicate["rollout"]["outcomes"]["by_step"][0]["units"] = 0
    assert ("live outcomes", ".predicate.rollout.outcomes.by_step[0].units") == failed(sample)


@pytest.mark.parametrize(
    ("judged", "phase", "outcome"),
    [
        ("pass", None, "judged"),
        ("fail", None, "stopped"),
        ("pass", "running", "open"),
        ("pass", "aborted", "aborted"),
        ("inconclusive", "completed", "completed"),
    ],
)
def test_outcome(judged: str, phase: str | None, outcome: str) -> None:
    """What a bakeoff came to."""
    assert outcome == sealed.outcome(judged, phase)


def test_no_rollout_has_no_history() -> None:
    """Nothing differs where nothing was."""
    seal = Sealed({"rollout": None})
    assert [] == [*history.rollout(seal), *history.live(seal)]


# --- Chains ---------------------------------------------------------------------------------------------------------


def test_an_empty_chain() -> None:
    """A head that counts seals where there are none."""
    sample = small()
    sha256 = canonical.sha256_hex(sample.payload())
    said = {"count": 1, "sha256": sha256, "previous": None}
    subject = evidence.Subject(name_of(sample), sha256)
    head = dsse.sign(evidence.statement([subject], said, kind=evidence.HEAD), private())
    found = {claim.name: claim for claim in chain.check([], head, keys=sample.keys)}
    assert (False, "HEAD.json:.predicate.count") == (found["head"].holds, found["head"].path)


def test_a_link_that_can_not_be_read() -> None:
    """It has no number."""
    found = chain.check([Link("x.seal.json", "", Report(()))], None, keys={})
    assert "x.seal.json:.predicate.number" == found[0].path


def test_read() -> None:
    """An envelope reads back; what is none is said."""
    sample = small()
    claim, envelope = claims.read(sample.file())
    assert (True, sample.envelope()) == (claim.holds, envelope)
    has = "an envelope has payload, payloadType, signatures"
    for body, path, expected in (
        ({}, ".payload", f"a value: {has}"),
        ({"payload": "", "payloadType": "text/json"}, ".signatures", f"a value: {has}"),
        ({**sample.envelope().body(), "more": 1}, ".more", f"nothing: {has}"),
        ({**sample.envelope().body(), "signatures": []}, ".", has),
        ([], ".", has),
    ):
        claim, envelope = claims.read(json.dumps(body).encode())
        assert (False, None, path, expected) == (claim.holds, envelope, claim.path, claim.expected)
    assert "no DSSE envelope" in str(claim.found)
    assert "not JSON" in str(claims.read(b"\xff")[0].found)
