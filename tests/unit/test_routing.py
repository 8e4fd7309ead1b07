"""Which arm answers: the order of what decides, buckets that nest, and a reason for everything."""

from __future__ import annotations

import json
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff import routing
from bakeoff.routing import UNKNOWN, Arm, Decision, Policy, Reason, Seed

SALT = "r20260105-1.aaaaaaaaaaaa"
RUNNING = Policy("r20260105-1", 3, SALT, 1000, "b" * 16, "c" * 16)
TEXTS = st.text(max_size=30)
UNITS = TEXTS.filter(lambda text: bool(text.strip()))
HEADERS = st.none() | st.sampled_from(["1", "0", " 1 ", "yes", ""]) | TEXTS
WEIGHTS = st.integers(0, routing.BUCKETS)
POLICIES = st.builds(
    Policy,
    st.just("r20260105-1"),
    st.integers(1, 99),
    TEXTS,
    WEIGHTS,
    st.just("b" * 16),
    st.just("c" * 16),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.dictionaries(TEXTS, st.sampled_from(Arm), max_size=3),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "0", "1"]),
)


@pytest.mark.parametrize(
    ("salt", "unit", "expected"),
    [
        (SALT, "u1", 2728),
        (SALT, "u2", 3691),
        ("salt", "ünïcode", 2404),
        ("", "", 1657),
    ],
)
def test_buckets_are_pinned(salt: str, unit: str, expected: int) -> None:
    """The same unit under the same salt has the same bucket in every version, on every machine."""
    assert expected == routing.bucket(salt, unit)


def test_any_text_has_a_bucket() -> None:
    """An id that is no valid UTF-8 does not break a router."""
    assert 0 <= routing.bucket(SALT, "\ud800\x00") < routing.BUCKETS


@given(UNITS, WEIGHTS, WEIGHTS)
def test_nested_while_the_share_grows(unit: str, one: int, other: int) -> None:
    """Who has come to the candidate stays with it as long as the share does not shrink."""
    small, large = sorted((one, other))
    before = routing.decide(RUNNING._replace(weight_bp=small), client_id=unit)
    after = routing.decide(RUNNING._replace(weight_bp=large), client_id=unit)
    assert before.bucket == after.bucket
    assert not (before.arm is Arm.CANDIDATE and after.arm is Arm.BASELINE)


@given(UNITS, TEXTS, TEXTS)
def test_sticky(unit: str, one: str, other: str) -> None:
    """A client stays on its arm, whatever its requests are called."""
    assert routing.decide(RUNNING, client_id=unit, request_id=one) == routing.decide(
        RUNNING, client_id=unit, request_id=other
    )


def test_the_share_ends_below_its_weight() -> None:
    """Bucket 2,728 is the first one outside 27.28 %, and the last one inside 27.29 %."""
    for weight, arm in ((2728, Arm.BASELINE), (2729, Arm.CANDIDATE)):
        assert arm is routing.decide(RUNNING._replace(weight_bp=weight), client_id="u1").arm


@given(UNITS)
def test_nobody_and_everybody(unit: str) -> None:
    """0 % sends nobody, 100 % everybody who has a unit."""
    for weight, arm in ((0, Arm.BASELINE), (routing.BUCKETS, Arm.CANDIDATE)):
        found = routing.decide(RUNNING._replace(weight_bp=weight), client_id=unit)
        assert (arm, Reason.BUCKET, Seed.CLIENT_ID) == (found.arm, found.reason, found.seed)


@given(POLICIES, st.none() | TEXTS, st.none() | TEXTS, HEADERS)
def test_kill_switch_wins(policy: Policy, client_id: str | None, request_id: str | None, header: str | None) -> None:
    """Whatever else holds, a killed policy answers with the baseline, and runs nothing beside it."""
    found = routing.decide(policy._replace(killed=True), client_id=client_id, request_id=request_id, header=header)
    assert (Arm.BASELINE, Reason.KILLED, False) == (found.arm, found.reason, found.shadow)


@given(st.none() | POLICIES, st.none() | TEXTS, st.none() | TEXTS, HEADERS)
def test_every_decision_is_whole(
    policy: Policy | None, client_id: str | None, request_id: str | None, header: str | None
) -> None:
    """Every request gets an arm, a reason, plain JSON and a sentence; a bucket belongs to the reason BUCKET alone."""
    found = routing.decide(policy, client_id=client_id, request_id=request_id, header=header)
    assert (found.bucket is not None) == (found.reason is Reason.BUCKET)
    assert (found.seed is not Seed.NONE) == (found.reason in {Reason.BUCKET, Reason.FLAG})
    assert not (found.shadow and found.arm is Arm.CANDIDATE)
    assert found.header_ignored == (header is not None and header.strip() not in {"0", "1"})
    metadata = routing.as_metadata(found)
    assert metadata == json.loads(json.dumps(metadata))
    assert routing.explain(found).startswith(f"{found.arm.value}: ")


@given(POLICIES, st.none() | TEXTS, HEADERS)
def test_candidate_only_while_on_its_way(policy: Policy, client_id: str | None, header: str | None) -> None:
    """Neither a header nor a flag nor BAKEOFF_RAG brings a candidate back that was rolled back or is not confirmed."""
    for gone in (policy._replace(completed=False, halted=True), policy._replace(completed=False, stale=True)):
        assert Arm.BASELINE is routing.decide(gone, client_id=client_id, header=header).arm


@settings(max_examples=20)
@given(st.sampled_from([1, 1000, 5000, 9999]), st.text("abc", min_size=3, max_size=9))
def test_share_is_the_weight(weight: int, salt: str) -> None:
    """Of 4,000 units the candidate gets its share, within five standard deviations."""
    policy = RUNNING._replace(weight_bp=weight, salt=salt)
    got = sum(routing.decide(policy, client_id=f"user-{n}").arm is Arm.CANDIDATE for n in range(4000))
    share = weight / routing.BUCKETS
    assert abs(got - 4000 * share) <= 5 * sqrt(4000 * share * (1 - share)) + 1


def test_buckets_are_even() -> None:
    """Chi-square over 100 groups of buckets: no group gets more than its part (99.9 % point, 99 degrees)."""
    counts = [0] * 100
    for n in range(20_000):
        counts[routing.bucket(SALT, f"user-{n}") // 100] += 1
    assert sum((count - 200) ** 2 / 200 for count in counts) < 148.2


def test_salts_draw_anew() -> None:
    """Another rollout draws other units: of those inside the first 10 %, about a tenth are inside again."""
    other = RUNNING._replace(salt="r20260201-1.bbbbbbbbbbbb")
    units = [f"user-{n}" for n in range(10_000)]
    inside = [unit for unit in units if routing.decide(RUNNING, client_id=unit).arm is Arm.CANDIDATE]
    again = [unit for unit in inside if routing.decide(other, client_id=unit).arm is Arm.CANDIDATE]
    assert 0.05 < len(again) / len(inside) < 0.15


@pytest.mark.parametrize("blank", [None, "", " ", "\t\n", "\u2003"])
def test_blank_id_is_nobody(blank: str | None) -> None:
    """A blank client id is none: the request id is taken, and without one the baseline answers."""
    found = routing.decide(RUNNING, client_id=blank, request_id="q1")
    assert (Reason.BUCKET, Seed.REQUEST_ID) == (found.reason, found.seed)
    assert found == routing.decide(RUNNING, request_id="q1")
    for weight in (1000, routing.BUCKETS):
        nobody = routing.decide(RUNNING._replace(weight_bp=weight), client_id=blank, request_id=blank)
        assert (Arm.BASELINE, Reason.NO_UNIT, None, Seed.NONE) == (
            nobody.arm,
            nobody.reason,
            nobody.bucket,
            nobody.seed,
        )


FORCED = RUNNING._replace(forced={"u1": Arm.CANDIDATE, "q1": Arm.BASELINE}, environment="1", weight_bp=0)
LADDER = [
    (FORCED._replace(killed=True, completed=True), Arm.BASELINE, Reason.KILLED),
    (FORCED._replace(environment="0", completed=True), Arm.BASELINE, Reason.ENVIRONMENT),
    (FORCED._replace(completed=True, stale=True), Arm.CANDIDATE, Reason.COMPLETED),
    (FORCED._replace(halted=True, stale=True), Arm.BASELINE, Reason.HALTED),
    (FORCED._replace(stale=True), Arm.BASELINE, Reason.STALE),
    (FORCED, Arm.BASELINE, Reason.HEADER),
]


@pytest.mark.parametrize(("policy", "arm", "reason"), LADDER)
def test_order_above_the_header(policy: Policy, arm: Arm, reason: Reason) -> None:
    """Each rung wins over all below it."""
    found = routing.decide(policy, client_id="u1", header="0")
    assert (arm, reason) == (found.arm, found.reason)


def test_order_below_the_header() -> None:
    """Header, then BAKEOFF_RAG=1, then the forced unit, then the bucket."""
    header = routing.decide(RUNNING, client_id="u1", header=" 1 ")
    assert (Arm.CANDIDATE, Reason.HEADER, "c" * 16) == (header.arm, header.reason, header.config_hash)
    environment = routing.decide(FORCED, client_id="q1", header="true")
    assert (Arm.CANDIDATE, Reason.ENVIRONMENT, True) == (
        environment.arm,
        environment.reason,
        environment.header_ignored,
    )
    flagged = FORCED._replace(environment="")
    client = routing.decide(flagged, client_id="u1", request_id="q1")
    assert (Arm.CANDIDATE, Reason.FLAG, Seed.CLIENT_ID) == (client.arm, client.reason, client.seed)
    request = routing.decide(flagged._replace(weight_bp=routing.BUCKETS), client_id="u2", request_id="q1")
    assert (Arm.BASELINE, Reason.FLAG, Seed.REQUEST_ID) == (request.arm, request.reason, request.seed)
    assert Reason.BUCKET is routing.decide(flagged, client_id="u2").reason
    assert Reason.NO_UNIT is routing.decide(flagged).reason


def test_no_rollout() -> None:
    """Without a rollout what is in production answers, whatever is asked for."""
    found = routing.decide(None, client_id="u1", header="1")
    assert Decision(Arm.BASELINE, Reason.NO_ROLLOUT) == found
    assert Reason.STALE is routing.decide(UNKNOWN, client_id="u1", header="1").reason


def test_shadow_runs_beside_the_baseline() -> None:
    """While a rollout is on its way the candidate runs beside every answer of the baseline, unless it was put off."""
    outside = RUNNING._replace(weight_bp=0)
    assert routing.decide(outside, client_id="u1").shadow
    assert routing.decide(outside).shadow
    assert routing.decide(outside, header="0").shadow
    assert not routing.decide(outside._replace(shadow=False), client_id="u1").shadow
    for gone in ({"halted": True}, {"stale": True}, {"killed": True}, {"environment": "0"}):
        assert not routing.decide(outside._replace(**gone), client_id="u1").shadow


def test_metadata() -> None:
    """What goes into an answer and the log: arm, reason, lock, bucket, seed, percentage, rollout, version."""
    assert {
        "arm": "baseline",
        "reason": "bucket",
        "config_hash": "b" * 16,
        "bucket": 2728,
        "seed": "client_id",
        "percent": 10.0,
        "rollout": "r20260105-1",
        "version": 3,
        "shadow": True,
        "header_ignored": False,
    } == routing.as_metadata(routing.decide(RUNNING, client_id="u1"))
    nothing = routing.as_metadata(routing.decide(None))
    assert (None, None, None) == (nothing["rollout"], nothing["version"], nothing["config_hash"])


WHERE = "(r20260105-1, version 3, 10 % to the candidate)"


@pytest.mark.parametrize(
    ("policy", "header", "expected"),
    [
        (
            RUNNING,
            None,
            f"baseline: bucket 2,728 of 10,000, made of the client id, lies outside the candidate's share {WHERE}",
        ),
        (RUNNING, "1", f"candidate: the request's X-Bakeoff-Rag asks for it {WHERE}"),
        (RUNNING._replace(killed=True), "1", f"baseline: the kill switch is on {WHERE}"),
        (RUNNING._replace(environment="1"), None, f"candidate: BAKEOFF_RAG=1 in this process {WHERE}"),
        (RUNNING._replace(environment="0"), None, f"baseline: BAKEOFF_RAG=0 in this process {WHERE}"),
        (RUNNING._replace(forced={"u1": Arm.BASELINE}), None, f"baseline: the client id is forced to it {WHERE}"),
        (
            None,
            "on",
            "baseline: there is no rollout, production answers; the header said neither 1 nor 0 and was ignored",
        ),
    ],
)
def test_sentence(policy: Policy | None, header: str | None, expected: str) -> None:
    """One sentence says the arm, what decided, and where the rollout is."""
    assert expected == routing.explain(routing.decide(policy, client_id="u1", header=header))


def test_sentence_inside() -> None:
    """A unit inside the share is said as such, with where its id came from."""
    found = routing.decide(RUNNING._replace(weight_bp=5000), request_id="u1")
    expected = (
        "candidate: bucket 2,728 of 10,000, made of the request id, lies inside the candidate's share "
        "(r20260105-1, version 3, 50 % to the candidate)"
    )
    assert expected == routing.explain(found)
