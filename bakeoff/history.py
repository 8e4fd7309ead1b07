"""Claims about what happened: the verdict, the rollout's history, its clock, its live outcomes, what was forced.

Callers may rely on: each function yields what differs, the truest name of it first; values of a wrong kind raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any

from bakeoff import canary, sealed, verdicts
from bakeoff.difference import Difference
from bakeoff.rollout import Phase, State, event_of
from bakeoff.sealed import ARMS, ROLLBACK_CHECKS, Live, Sealed, differ
from bakeoff.strategy import Strategy
from bakeoff.verdicts import Severity, Verdict, overall, worst

SKEW = timedelta(minutes=5)
"""By how much the clocks of two machines may differ."""


def _phase(seal: Sealed) -> str | None:
    rollout = seal.predicate["rollout"]
    return None if rollout is None else str(rollout["state"]["phase"])


def _judgement(seal: Sealed) -> dict[str, Any]:
    return dict(seal.record("judgement")["body"])


def verdict(seal: Sealed) -> Iterator[Difference]:
    """Yield where a verdict is not what its findings, or the judgement and the rollout, come to."""
    path, body = ".predicate.records.judgement", _judgement(seal)
    found = overall((Severity(item["severity"]), Verdict(item["verdict"])) for item in body["findings"])
    yield from differ(found.value, body["verdict"], f"{path}.body.verdict")
    yield from differ(found.value, seal.record("judgement")["verdict"], f"{path}.verdict")
    for number, item in enumerate(body["findings"]):
        kind = item["gate"]
        if kind in ("probes", "parity") and item["verdict"] == Verdict.PASS:
            yield from differ(seal.record(kind)["verdict"], "pass", f"{path}.body.findings[{number}].verdict")
    for number, again in enumerate(seal.predicate["records"]["rechecks"]):
        told = [Verdict(item["verdict"]) for item in again["body"]["findings"]]
        if told:
            at = f".predicate.records.rechecks[{number}].verdict"
            yield from differ(worst(told).value, again["verdict"], at)
        yield from _rejudged(body["findings"], again["body"], f".predicate.records.rechecks[{number}].body")
    for number, checked in enumerate(seal.predicate["records"]["rollback_checks"]):
        made = [item["check"] for item in checked["body"]["findings"]]
        path = f".predicate.records.rollback_checks[{number}].body"
        yield from differ(list(ROLLBACK_CHECKS), made, f"{path}.findings")
        if checked["body"]["version"] not in (ended := [item["version"] for item in seal.events if _is_back(item)]):
            known = " or ".join(map(str, ended)) or "none: nothing was taken back"
            yield Difference(f"{path}.version", known, str(checked["body"]["version"]))
    judged, phase = found.value, _phase(seal)
    yield from differ(sealed.outcome(judged, phase), seal.predicate["outcome"], ".predicate.outcome")
    yield from differ(judged, seal.predicate["verdict"], ".predicate.verdict")


def _rejudged(began: list[dict[str, Any]], body: Mapping[str, Any], path: str) -> Iterator[Difference]:
    """Yield where a recheck is not what its own judgement comes to, beside the findings that the rollout *began* on."""
    inner = body.get("judgement")
    if inner is None:
        return
    found = [(item["gate"], Severity(item["severity"]), Verdict(item["verdict"])) for item in inner["findings"]]
    whole = overall((severity, verdict) for _, severity, verdict in found)
    yield from differ(whole.value, inner["verdict"], f"{path}.judgement.verdict")
    known = {item["gate"]: Verdict(item["verdict"]) for item in began}
    wanted = {
        f"recheck {gate}": verdicts.again(verdict, known.get(gate)).value
        for gate, severity, verdict in found
        if severity is Severity.BLOCK
    }
    yield from differ(wanted, {item["watched"]: item["verdict"] for item in body["findings"]}, f"{path}.findings")


def rollout(seal: Sealed) -> Iterator[Difference]:
    """Yield where the history does not replay to the sealed state."""
    given, path = seal.predicate["rollout"], ".predicate.rollout"
    if given is None:
        return
    fixed = seal.predicate["plan"]
    yield from differ(fixed["sha256"], given["plan_sha256"], f"{path}.plan_sha256")
    yield from differ(f"{given['rollout_id']}.{fixed['sha256'][:12]}", given["salt"], f"{path}.salt")
    yield from differ(len(given["events"]), given["version"], f"{path}.version")
    state: State | None = None
    strategy = Strategy.model_validate(fixed["body"]["rollout"])
    for number, item in enumerate(given["events"]):
        at = f"{path}.events[{number}]"
        yield from differ(number + 1, item["version"], f"{at}.version")
        event = event_of(item["body"]["event"])
        yield from differ(event.kind, item["event"], f"{at}.event")
        outcome = canary.step(strategy, state, event, datetime.fromisoformat(item["at"]))
        if not outcome.accepted:
            yield Difference(at, "an event that was possible", outcome.said)
        state = outcome.state
        yield from differ(state.body(), item["body"]["state"], f"{at}.body.state")
        yield from differ(outcome.reason.value, item["body"]["reason"], f"{at}.body.reason")  # words change over years
    yield from differ(None if state is None else state.body(), given["state"], f"{path}.state")


def _is_back(item: Mapping[str, Any]) -> bool:
    """Return whether an event left all traffic with the baseline."""
    return item["body"]["state"]["phase"] in (Phase.ROLLED_BACK, Phase.ABORTED)


def clock(seal: Sealed) -> Iterator[Difference]:
    """Yield where clocks differ, or something came before what it rests on."""
    given, records = seal.predicate["rollout"], seal.predicate["records"]
    judged = seal.record("judgement")["at"]
    simulated = seal.predicate["clock"] == "simulated"
    if seal.predicate["clock"] not in ("wall", "simulated"):
        yield Difference(".predicate.clock", "wall or simulated", str(seal.predicate["clock"]))
    order = [*_made(seal), (".predicate.sealed_at", judged, seal.predicate["sealed_at"])]
    if given is not None:
        yield from differ(given["clock"], seal.predicate["clock"], ".predicate.clock")
        for number, again in enumerate(records["rechecks"]):
            path = f".predicate.records.rechecks[{number}].body.simulated"
            yield from differ(simulated, again["body"]["simulated"], path)
        order += [(".predicate.rollout.events[0].at", judged, given["events"][0]["at"])]
        order += [
            (f".predicate.records.rechecks[{number}].at", given["events"][0]["at"], again["at"])
            for number, again in enumerate(records["rechecks"])
        ]
        if not simulated:
            order += [*_checked(seal), (".predicate.sealed_at", given["events"][-1]["at"], seal.predicate["sealed_at"])]
    for path, before, after in order:
        yield from _late(path, before, after)
    yield from _since(seal, judged, simulated=simulated)


def _checked(seal: Sealed) -> Iterator[tuple[str, str, str]]:
    """Yield (path, before, after) of what was measured and checked of a rollout with real traffic, until its seal."""
    back = [item["at"] for item in seal.events if _is_back(item)]
    for kind, since in (("rechecks", []), ("rollback_checks", back)):
        for number, record in enumerate(seal.predicate["records"][kind]):
            path = f".predicate.records.{kind}[{number}].at"
            yield from ((path, before, record["at"]) for before in since)
            yield path, record["at"], seal.predicate["sealed_at"]


def _since(seal: Sealed, judged: str, *, simulated: bool) -> Iterator[Difference]:
    """Yield where a state is not said to have held from when it was made, and of a wall clock written.

    None held later than the next, none from before the judgement or from after the seal. A rehearsal's held from its
    very instant. Others were written when they were decided on, but for looks and what was done at their instant: to
    measure anew takes its time, and that instant is of before. A rollback by a clock that went back has the instant of
    the event before it, and may have been written any time earlier.
    """
    events = seal.events
    instants = [datetime.fromisoformat(item["at"]) for item in events]
    told = [_judged_or(at, judged, events, number) for number, at in enumerate(instants)]
    least = list(accumulate(reversed(instants if simulated else told), min))[::-1]
    before, slow = datetime.min.replace(tzinfo=UTC), False
    sealed_at = datetime.fromisoformat(seal.predicate["sealed_at"])
    for number, (item, at) in enumerate(zip(events, instants, strict=True)):
        path, since = f".predicate.rollout.events[{number}].since", datetime.fromisoformat(item["since"])
        slow = item["event"] == "look" or (slow and at == instants[number - 1])
        first = least[number] if simulated else max(before, least[number] - SKEW)
        last = least[number] if simulated else (sealed_at if slow else at) + SKEW
        if since < first:
            yield Difference(path, f"{first.isoformat()} or later", item["since"])
        if since > last:
            yield Difference(path, f"{last.isoformat()} or before", item["since"])
        before = since


def _judged_or(at: datetime, judged: str, events: Sequence[Mapping[str, Any]], number: int) -> datetime:
    """Return the instant *at* of an event, or when it was *judged* for a rollback of just the instant before it."""
    raised = (
        number > 0
        and events[number]["event"] == "rollback"
        and at == datetime.fromisoformat(events[number - 1]["body"]["state"]["last_at"])
    )
    return datetime.fromisoformat(judged) if raised else at


def _made(seal: Sealed) -> Iterator[tuple[str, str, str]]:
    """Yield (path, before, after) of what a judgement rests on: locks, plan, ingests, evaluations, records."""
    said = seal.predicate
    judged, planned = seal.record("judgement")["at"], said["plan"]["created_at"]
    for arm in ARMS:
        lock, ingest, run = (said[name][arm] for name in ("locks", "ingests", "evaluations"))
        yield f".predicate.locks.{arm}.body.created_at", lock["body"]["created_at"], ingest["started_at"]
        yield ".predicate.plan.created_at", lock["body"]["created_at"], planned
        yield f".predicate.ingests.{arm}.finished_at", ingest["started_at"], ingest["finished_at"]
        yield f".predicate.ingests.{arm}.finished_at", ingest["finished_at"], run["started_at"]
        yield from _made_anew(seal, arm)
        yield f".predicate.evaluations.{arm}.finished_at", run["started_at"], run["finished_at"]
        yield f".predicate.evaluations.{arm}.finished_at", run["finished_at"], judged
    yield ".predicate.plan.created_at", planned, judged
    for kind in ("timings", "probes", "parity"):
        if (found := said["records"][kind]) is not None:
            yield f".predicate.records.{kind}.at", found["at"], judged


def _made_anew(seal: Sealed, arm: str) -> Iterator[tuple[str, str, str]]:
    """Yield (path, before, after) of the ingests that made an arm's table anew, one after the other."""
    found = seal.ingests(arm)
    for number, (one, then) in enumerate(pairwise(found)):
        path = f".predicate.ingests.{arm}.again[{number}]"
        yield f"{path}.started_at", one["finished_at"], then["started_at"]
        yield f"{path}.finished_at", then["started_at"], then["finished_at"]
    yield ".predicate.sealed_at", found[-1]["finished_at"], seal.predicate["sealed_at"]


def _late(path: str, before: str, after: str) -> Iterator[Difference]:
    """Yield that *after* was before *before*; *path* is where one of them stands."""
    if datetime.fromisoformat(after) < datetime.fromisoformat(before) - SKEW:
        yield Difference(path, f"{before} before {after}", "the other way round")


def live(seal: Sealed) -> Iterator[Difference]:
    """Yield where the figures of the live outcomes are not those of their rows."""
    given = seal.predicate["rollout"]
    if given is None:
        return
    path, told = ".predicate.rollout.outcomes.by_step", given["outcomes"]["by_step"]
    outcomes = seal.live()
    summed = sealed.by_step(outcomes, seal.events)
    yield from differ(summed, told, path, close=True)
    yield from _in_order(outcomes)


def _in_order(outcomes: Sequence[Live]) -> Iterator[Difference]:
    """Yield where outcomes are not in order of time, or their units not numbered as they appear, each in its bucket."""
    buckets: dict[int | None, int | None] = {None: None}
    before: datetime | None = None
    for number, one in enumerate(outcomes):
        at, path = datetime.fromisoformat(one.at), f"rows:.outcomes[{number}]"
        if before is not None and at < before:
            yield Difference(f"{path}[0]", f"{before.isoformat()} or later", one.at)
        if one.unit not in buckets:
            yield from differ(len(buckets) - 1, one.unit, f"{path}[7]")
            buckets[one.unit] = one.bucket
        if buckets[one.unit] != one.bucket:
            yield from differ(buckets[one.unit], one.bucket, f"{path}[3]")
        before = at
    yield from _arrived(outcomes)


def _arrived(outcomes: Sequence[Live]) -> Iterator[Difference]:
    """Yield where outcomes did not arrive one after the other: at places of their own, none of them left out.

    Those whose place is not known, of a version that did not write it down, were there before all others.
    """
    places = [(number, one.arrived) for number, one in enumerate(outcomes) if one.arrived is not None]
    free = set(range(len(outcomes) - len(places), len(outcomes)))
    for number, place in places:
        if place not in free:
            yield Difference(f"rows:.outcomes[{number}][8]", "a place of its own, none left out", str(place))
        free.discard(place)


def forced(seal: Sealed) -> Iterator[Difference]:
    """Yield where the list of what was forced is not what the history says."""
    found = sealed.forced(seal.record("judgement"), seal.events, seal.routing)
    yield from differ(found, seal.predicate["forced"], ".predicate.forced")
    for number, (before, item) in enumerate(pairwise(seal.routing), start=1):
        path = f".predicate.rollout.routing[{number}].at"
        yield from _late(path, before["at"], item["at"])
