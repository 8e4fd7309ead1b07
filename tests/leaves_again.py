"""Ways to change single values that nothing but their kind seems to hold, for somebody who signs them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.looked_again import EVENTS, FIRST_LOOK, looks_of, summed_again
from tests.sealed import Sample, redigest
from tests.tampering import Files, signed

LONG_AGO, FAR_OFF = "2020-01-01T00:00:00+00:00", "2030-01-01T00:00:00+00:00"
REPORT = ".predicate.evaluations.candidate.aggregates"


def _since(sample: Sample, number: int, at: str) -> None:
    sample.predicate["rollout"]["events"][number]["since"] = at


def simulated_since_long_ago() -> Files:
    """A rehearsal routed before it began."""
    return signed(lambda sample: _since(sample, 0, LONG_AGO))


def simulated_since_far_off() -> Files:
    """A rehearsal goes on routing after its end."""
    return signed(lambda sample: _since(sample, -1, FAR_OFF))


def since_long_ago() -> Files:
    """A rollout routed before it began."""
    return signed(lambda sample: _since(sample, 0, LONG_AGO), clock="wall")


def since_far_off() -> Files:
    """A rollout goes on routing after its end."""
    return signed(lambda sample: _since(sample, -1, FAR_OFF), clock="wall")


def since_out_of_order() -> Files:
    """A state held later than the one after it."""

    def change(sample: Sample) -> None:
        events = sample.predicate["rollout"]["events"]
        events[1]["since"], events[2]["since"] = events[2]["since"], events[1]["since"]

    return signed(change, clock="wall")


def _ruled(rules: int | None) -> Callable[[Sample], None]:
    def change(sample: Sample) -> None:
        for look in looks_of(sample):
            del look["rules"]
            look.update({} if rules is None else {"rules": rules})

    return change


def rules_of_before() -> Files:
    """Looks by the rules of versions that named none."""
    return signed(_ruled(1))


def rules_to_come() -> Files:
    """Looks by rules that nobody knows."""
    return signed(_ruled(3))


def rules_left_out() -> Files:
    """Looks that say what they knew, but not by which rules."""
    return signed(_ruled(None))


def rollback_checked_in_part() -> Files:
    """Of what is checked after a rollback one thing is left."""

    def change(sample: Sample) -> None:
        (record,) = sample.predicate["records"]["rollback_checks"]
        del record["body"]["findings"][:-1]
        redigest(record)

    return signed(change, story="rolled_back")


def _rollback_checked(**change: Any) -> Callable[[Sample], None]:
    def changed(sample: Sample) -> None:
        (record,) = sample.predicate["records"]["rollback_checks"]
        record["body"] |= change.pop("body", {})
        record |= change
        redigest(record)

    return changed


def rollback_checked_of_the_candidate() -> Files:
    """What was checked after a rollback is said of the other lock."""

    def change(sample: Sample) -> None:
        hashed = sample.predicate["plan"]["body"]["candidate"]["CONFIG_HASH"]
        _rollback_checked(config_hash=hashed)(sample)

    return signed(change, story="rolled_back")


def rollback_checked_before_it() -> Files:
    """The check after a rollback was made when all went well."""
    return signed(_rollback_checked(body={"version": 1}), story="rolled_back")


def rollback_checked_long_ago() -> Files:
    """The check after a rollback was made years before."""
    return signed(_rollback_checked(at=LONG_AGO), story="rolled_back", clock="wall")


def rollback_checked_far_off() -> Files:
    """The check after a rollback was made after the seal."""
    return signed(_rollback_checked(at=FAR_OFF), story="rolled_back", clock="wall")


def _rechecked_too(at: str) -> Callable[[Sample], None]:
    def change(sample: Sample) -> None:
        given = sample.predicate["records"]["rechecks"]
        given.append({**given[0], "record_id": 99, "at": at})
        redigest(given[-1])

    return change


def rechecked_long_ago() -> Files:
    """A recheck that no look has, from before the rollout."""
    return signed(_rechecked_too(LONG_AGO))


def rechecked_far_off() -> Files:
    """A recheck that no look has, from after the seal."""
    return signed(_rechecked_too(FAR_OFF), clock="wall")


def _report(sample: Sample) -> dict[str, Any]:
    found: dict[str, Any] = sample.predicate["evaluations"]["candidate"]["aggregates"]
    return found


def gold_elsewhere() -> Files:
    """Questions are said to have their gold outside the corpus."""
    return signed(lambda sample: _report(sample)["questions"].update(not_in_corpus=99))


def gold_added() -> Files:
    """More questions are said to have gold."""
    return signed(lambda sample: _report(sample)["questions"].update(with_gold=99))


def timings_left_out() -> Files:
    """A quantile of fewer timings than there were answers."""
    return signed(lambda sample: _report(sample)["aggregates"]["latency_ms"]["total"]["p50"].update(n=7))


def unreliable_relied_on() -> Files:
    """A quantile of two dozen timings is said to be one to rely on."""
    return signed(lambda sample: _report(sample)["aggregates"]["latency_ms"]["total"]["p95"].update(reliable=True))


def identity_left_out() -> Files:
    """A run whose rows were digested is said to be of a version that kept no digest of what it is of."""

    def change(sample: Sample) -> None:
        run = sample.predicate["evaluations"]["candidate"]
        run["settings"]["workers"], run["identity_sha256"] = 2, None

    return signed(change)


def identity_and_rows_left_out() -> Files:
    """The same, and its rows' digest is gone as well, but not that of its report."""

    def change(sample: Sample) -> None:
        run = sample.predicate["evaluations"]["candidate"]
        run |= {"identity_sha256": None, "rows_sha256": None}
        _report(sample)["report_sha256"] = "0" * 64

    return signed(change)


def _arrived(sample: Sample, number: int, place: int | None) -> None:
    sample.rows["outcomes"][number][8] = place
    summed_again(sample)


def arrival_unknown() -> Files:
    """Of one outcome, not of the first that were there, it is not known when it arrived."""
    return signed(lambda sample: _arrived(sample, 9, None))


def arrived_nowhere() -> Files:
    """One outcome arrived later than all that there are."""
    return signed(lambda sample: _arrived(sample, -1, 1000))


LEAVES_AGAIN: dict[Callable[[], Files], tuple[str, str]] = {
    simulated_since_long_ago: ("clock", f"{EVENTS}[0].since"),
    simulated_since_far_off: ("clock", f"{EVENTS}[6].since"),
    since_long_ago: ("clock", f"{EVENTS}[0].since"),
    since_far_off: ("clock", f"{EVENTS}[6].since"),
    since_out_of_order: ("clock", f"{EVENTS}[2].since"),
    rules_of_before: ("looks", f"{FIRST_LOOK}.rules"),
    rules_to_come: ("looks", f"{FIRST_LOOK}.rules"),
    rules_left_out: ("looks", f"{FIRST_LOOK}.rules"),
    rollback_checked_of_the_candidate: ("rests on", ".predicate.records.rollback_checks[0].config_hash"),
    rollback_checked_before_it: ("verdict", ".predicate.records.rollback_checks[0].body.version"),
    rollback_checked_long_ago: ("clock", ".predicate.records.rollback_checks[0].at"),
    rollback_checked_far_off: ("clock", ".predicate.records.rollback_checks[0].at"),
    rechecked_long_ago: ("clock", ".predicate.records.rechecks[1].at"),
    rechecked_far_off: ("clock", ".predicate.records.rechecks[1].at"),
    rollback_checked_in_part: ("verdict", ".predicate.records.rollback_checks[0].body.findings[0]"),
    gold_elsewhere: ("copies", f"{REPORT}.questions.not_in_corpus"),
    gold_added: ("copies", f"{REPORT}.questions.with_gold"),
    timings_left_out: ("aggregates", f"{REPORT}.aggregates.latency_ms.total.p50.n"),
    unreliable_relied_on: ("aggregates", f"{REPORT}.aggregates.latency_ms.total.p95.reliable"),
    identity_left_out: ("inputs", ".predicate.evaluations.candidate.identity_sha256"),
    identity_and_rows_left_out: ("inputs", ".predicate.evaluations.candidate.identity_sha256"),
    arrival_unknown: ("live outcomes", "rows:.outcomes[0][8]"),
    arrived_nowhere: ("live outcomes", "rows:.outcomes[299][8]"),
}
"""Each way with the claim that names it, and the place."""
