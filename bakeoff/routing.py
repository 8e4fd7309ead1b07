"""Which arm answers a request, and why.

Callers may rely on: `decide` is pure, never raises whatever the request says, and costs microseconds; every way through
it has a reason; a unit's bucket depends on the rollout's salt and the unit alone, so a unit stays where it is, and who
has come to the candidate stays with it while the share grows; 0 % sends nobody, 100 % everybody who has a unit.

The order: kill switch (the database's, or BAKEOFF_RAG=0 in this process) > how the rollout ended > a policy that could
not be confirmed > the request's header > BAKEOFF_RAG=1 > forced units > buckets. So a header or a forced unit reaches
the candidate only while a rollout is on its way (running or paused). A header that says neither 1 nor 0 counts for
nothing, and the decision says so. The kill switch stops shadow runs, too; it also wins over a completed rollout, whose
baseline is archived: the lasting way back is a rollback.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NamedTuple

HEADER = "X-Bakeoff-Rag"
BUCKETS = 10_000
"""As fine as a share can be: 0.01 %."""
_DIGITS = 8
"""Bytes of the digest that make the bucket: 2**64 is no multiple of 10,000, which favours a bucket by 5e-16 at most."""
_PERCENT = 100.0
"""Basis points of a percent."""


class Arm(StrEnum):
    """Who answers."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


class Reason(StrEnum):
    """What decided."""

    NO_ROLLOUT = "no_rollout"
    """There is no candidate: what is in production answers."""
    KILLED = "killed"
    """The kill switch of the database."""
    ENVIRONMENT = "environment"
    """BAKEOFF_RAG of this process: the baseline for 0, its kill switch; the candidate for 1."""
    COMPLETED = "completed"
    """Everything goes to the candidate, which is in production."""
    HALTED = "halted"
    """The rollout was rolled back or aborted."""
    STALE = "stale"
    """The policy could not be confirmed for too long: the candidate may have been taken back since."""
    HEADER = "header"
    """The request asked for the arm."""
    FLAG = "flag"
    """The unit is forced to the arm."""
    BUCKET = "bucket"
    """The unit's bucket lies inside the candidate's share, or outside it: the arm says which."""
    NO_UNIT = "no_unit"
    """Neither a client id nor a request id: one constant instead would send all of them to one arm."""


class Seed(StrEnum):
    """Where the unit came from that decided. A request id is not sticky, and no user to be counted."""

    CLIENT_ID = "client_id"
    REQUEST_ID = "request_id"
    NONE = "none"


_NOBODY: Mapping[str, Arm] = MappingProxyType({})
# Looked up once: in Python 3.11 a member of an enum is found through a descriptor, a tenth of a whole decision each.
_BASELINE, _CANDIDATE, _BUCKET = Arm.BASELINE, Arm.CANDIDATE, Reason.BUCKET
_CLIENT_ID, _REQUEST_ID, _NO_SEED = Seed.CLIENT_ID, Seed.REQUEST_ID, Seed.NONE
_NO_SHADOW = frozenset({Reason.KILLED, Reason.ENVIRONMENT, Reason.HALTED, Reason.STALE})
_ASKED_FOR = {"1": Arm.CANDIDATE, "0": Arm.BASELINE}


class Policy(NamedTuple):
    """All that a decision needs to know beside the request."""

    rollout_id: str
    version: int
    salt: str
    weight_bp: int
    """The candidate's share of the units, in basis points."""
    baseline: str
    """CONFIG_HASH, as `candidate`."""
    candidate: str
    halted: bool = False
    """Rolled back or aborted."""
    completed: bool = False
    killed: bool = False
    forced: Mapping[str, Arm] = _NOBODY
    """Client ids or request ids whose arm is fixed."""
    shadow: bool = True
    """Whether the candidate is to be run beside the baseline's answers."""
    stale: bool = False
    environment: str = ""
    """BAKEOFF_RAG: `1`, `0`, or empty."""


UNKNOWN = Policy("", 0, "", 0, "", "", stale=True)
"""What a router knows that has not reached the database yet."""


class Decision(NamedTuple):
    """The arm, and what a trace needs to explain it later."""

    arm: Arm
    reason: Reason
    config_hash: str | None = None
    """The arm's lock; None: whatever is in production."""
    bucket: int | None = None
    """0 to 9,999; None where no bucket decided."""
    seed: Seed = Seed.NONE
    weight_bp: int = 0
    rollout_id: str = ""
    version: int = 0
    shadow: bool = False
    """Whether the candidate is to be run beside the answer, measured and never shown."""
    header_ignored: bool = False
    """Whether the header said neither 1 nor 0."""


def bucket(salt: str, unit: str) -> int:
    """Return the bucket of *unit*, 0 to 9,999, under a rollout's *salt*; the id counts as it is, blanks included."""
    text = f"{salt}|{unit}".encode("utf-8", "surrogatepass")
    return int.from_bytes(sha256(text).digest()[:_DIGITS], "big") % BUCKETS


def asked_for(header: str) -> Arm | None:
    """Return the arm that the header's value asks for, 1 or 0 with blanks around it, or None where it asks for none."""
    return _ASKED_FOR.get(header.strip())


def decide(
    policy: Policy | None, *, client_id: str | None = None, request_id: str | None = None, header: str | None = None
) -> Decision:
    """Return who answers a request under *policy* (None: there is no rollout); *header* is the value of `HEADER`."""
    wish, ignored = None, False
    if header is not None:
        wish = asked_for(header)
        ignored = wish is None
    if policy is None:
        return Decision(Arm.BASELINE, Reason.NO_ROLLOUT, header_ignored=ignored)
    if policy.killed or policy.completed or policy.halted or policy.stale or policy.environment:
        said = _said_beforehand(policy, wish)
        if said is not None:
            return _decision(policy, *said, ignored=ignored)
    if wish is not None:
        return _decision(policy, wish, Reason.HEADER, ignored=ignored)
    return _by_unit(policy, client_id, request_id, ignored=ignored)


def _said_beforehand(policy: Policy, wish: Arm | None) -> tuple[Arm, Reason] | None:
    """Return what is decided whoever asks, or None where nothing is."""
    if policy.killed:
        return Arm.BASELINE, Reason.KILLED
    if policy.environment == "0":
        return Arm.BASELINE, Reason.ENVIRONMENT
    # An ended rollout sends nobody to a lock on trial, so it needs no confirmation: what answers is in production.
    if policy.completed:
        return Arm.CANDIDATE, Reason.COMPLETED
    if policy.halted:
        return Arm.BASELINE, Reason.HALTED
    if policy.stale:
        return Arm.BASELINE, Reason.STALE
    return None if wish is not None else (Arm.CANDIDATE, Reason.ENVIRONMENT)


def _by_unit(policy: Policy, client_id: str | None, request_id: str | None, *, ignored: bool) -> Decision:
    if policy.forced:
        for unit, seed in ((client_id, _CLIENT_ID), (request_id, _REQUEST_ID)):
            if unit is not None and (forced := policy.forced.get(unit)) is not None:
                return _decision(policy, forced, Reason.FLAG, seed=seed, ignored=ignored)
    if client_id and not client_id.isspace():
        unit, seed = client_id, _CLIENT_ID
    elif request_id and not request_id.isspace():
        unit, seed = request_id, _REQUEST_ID
    else:
        return _decision(policy, _BASELINE, Reason.NO_UNIT, ignored=ignored)
    found = bucket(policy.salt, unit)
    arm = _CANDIDATE if found < policy.weight_bp else _BASELINE
    return _decision(policy, arm, _BUCKET, found, seed=seed, ignored=ignored)


def _decision(
    policy: Policy, arm: Arm, reason: Reason, found: int | None = None, *, seed: Seed = _NO_SEED, ignored: bool
) -> Decision:
    if arm is _CANDIDATE:
        lock, beside = policy.candidate, False
    else:
        lock, beside = policy.baseline, policy.shadow and reason not in _NO_SHADOW
    return Decision(
        arm, reason, lock or None, found, seed, policy.weight_bp, policy.rollout_id, policy.version, beside, ignored
    )


def as_metadata(decision: Decision) -> dict[str, Any]:
    """Return *decision* as plain JSON, for an answer's metadata and the log."""
    return {
        "arm": decision.arm.value,
        "reason": decision.reason.value,
        "config_hash": decision.config_hash,
        "bucket": decision.bucket,
        "seed": decision.seed.value,
        "percent": decision.weight_bp / _PERCENT,
        "rollout": decision.rollout_id or None,
        "version": decision.version or None,
        "shadow": decision.shadow,
        "header_ignored": decision.header_ignored,
    }


_SAID = {
    Reason.NO_ROLLOUT: "there is no rollout, production answers",
    Reason.KILLED: "the kill switch is on",
    Reason.COMPLETED: "the rollout is completed, the candidate is in production",
    Reason.HALTED: "the rollout was rolled back or aborted",
    Reason.STALE: "the policy could not be confirmed for too long",
    Reason.HEADER: f"the request's {HEADER} asks for it",
    Reason.FLAG: "the {seed} is forced to it",
    Reason.NO_UNIT: "the request has neither a client id nor a request id",
}


def explain(decision: Decision) -> str:
    """Return *decision* in one sentence: the arm, what decided, and where the rollout is."""
    seed = decision.seed.value.replace("_", " ")
    if decision.reason is Reason.BUCKET:
        side = "inside" if decision.arm is Arm.CANDIDATE else "outside"
        why = f"bucket {decision.bucket:,} of {BUCKETS:,}, made of the {seed}, lies {side} the candidate's share"
    elif decision.reason is Reason.ENVIRONMENT:
        why = f"BAKEOFF_RAG={int(decision.arm is Arm.CANDIDATE)} in this process"
    else:
        why = _SAID[decision.reason].format(seed=seed)
    where = (
        f" ({decision.rollout_id}, version {decision.version}, {decision.weight_bp / _PERCENT:g} % to the candidate)"
        if decision.rollout_id
        else ""
    )
    more = "; the header said neither 1 nor 0 and was ignored" if decision.header_ignored else ""
    return f"{decision.arm.value}: {why}{where}{more}"
