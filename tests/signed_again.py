"""Ways to change what was sealed for somebody who has the key, and signs it again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from bakeoff import canonical, dsse, evidence
from tests.leaves_again import LEAVES_AGAIN
from tests.looked_again import FIRST_LOOK, LOOKS_AGAIN, summed_again
from tests.records_again import RECORDS_AGAIN
from tests.sealed import Sample, file_of, private, redigest, ring
from tests.tampering import ROOTS, Files, files_of, restated, signed, small

JUDGED = ".predicate.records.judgement"


def stranger() -> Files:
    """Signed again with a key that nobody knows."""
    sample = small()
    return Files(file_of(dsse.sign(sample.payload(), private(9))), sample.rows_file)


def retired_key() -> Files:
    """Signed with a key after it was retired."""
    at = datetime.fromisoformat("2026-01-02T04:00:00+00:00")
    return files_of(small(), keys=ring(private(), status="retired", retired_at=at))


def statement_type() -> Files:
    """Another kind of statement."""
    return restated(lambda body: body.update(_type="https://in-toto.io/Statement/v0.1"))


def predicate_type() -> Files:
    """Another kind of predicate."""
    return restated(lambda body: body.update(predicateType=evidence.HEAD))


def payload_type() -> Files:
    """Another payload type, signed."""
    sample = small()
    return Files(file_of(dsse.sign(sample.payload(), private(), payload_type="text/json")), sample.rows_file)


def payload_key_twice() -> Files:
    """A JSON key that comes twice in the payload."""
    sample = small()
    payload = sample.payload().replace(b'{"_type":', b'{"_type":"x","_type":', 1)
    return Files(file_of(dsse.sign(payload, private())), sample.rows_file)


def field_removed() -> Files:
    """A field is gone."""
    return signed(lambda sample: sample.predicate["environment"].pop("python"))


def field_added() -> Files:
    """A field that nobody knows."""
    return signed(lambda sample: sample.predicate["rollout"]["events"][1].update(note="fine"))


def _mean(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["predicate"]["evaluations"]["baseline"]["aggregates"]["aggregates"]["means"]["f1"]
    return found


def float_rewritten() -> Files:
    """A sealed figure gets a zero at its end."""
    return restated(lambda body: _mean(body).update(mean=_mean(body)["mean"] + "0"))


def float_as_number() -> Files:
    """A sealed figure becomes a JSON number."""
    return restated(lambda body: _mean(body).update(mean=0.5))


def mean_edited() -> Files:
    """A mean is another one."""
    return restated(lambda body: _mean(body).update(mean="0.9"))


def lock_edited() -> Files:
    """A lock has other chunks, and its body's digest says so."""

    def change(sample: Sample) -> None:
        lock = sample.predicate["locks"]["candidate"]
        lock["body"]["config"]["chunking"]["size"] = 123
        lock["sha256"] = canonical.digest(lock["body"])

    return signed(change)


def margin_edited() -> Files:
    """The plan allows a larger loss, and its digest says so."""

    def change(sample: Sample) -> None:
        plan = sample.predicate["plan"]
        plan["body"]["gates"]["gates"][0]["margin"] = plan["body"]["sight"][0]["margin"] = 0.4
        plan["sha256"] = canonical.digest(plan["body"])

    return signed(change)


def margin_edited_alone() -> Files:
    """The plan allows a larger loss under its old digest."""
    return signed(lambda sample: sample.predicate["plan"]["body"]["gates"]["gates"][0].update(margin=0.4))


def table_swapped() -> Files:
    """The ingest made another table than the one that was evaluated."""
    return signed(lambda sample: sample.predicate["ingests"]["candidate"].update(table_sha256="0" * 64))


def verdict_edited() -> Files:
    """The seal's own verdict."""
    return signed(lambda sample: sample.predicate.update(verdict="pass"), story="stopped")


def record_verdict_edited() -> Files:
    """The verdict of the judgement's record, whose digest stays."""
    return signed(lambda sample: sample.predicate["records"]["judgement"].update(verdict="pass"), story="stopped")


def judgement_edited() -> Files:
    """The judgement says pass everywhere but in its findings, with a digest of its own."""

    def change(sample: Sample) -> None:
        record = sample.predicate["records"]["judgement"]
        record["verdict"] = record["body"]["verdict"] = sample.predicate["verdict"] = "pass"
        sample.predicate["outcome"] = "judged"
        redigest(record)

    return signed(change, story="stopped")


def finding_edited() -> Files:
    """An interval of a finding, with a digest of its record's own."""

    def change(sample: Sample) -> None:
        record = sample.predicate["records"]["judgement"]
        record["body"]["findings"][1]["low"] = 0.0
        redigest(record)

    return signed(change, story="judged")


def timing_edited() -> Files:
    """A timing, with a digest of its record's own: the judgement names another one."""

    def change(sample: Sample) -> None:
        record = sample.predicate["records"]["timings"]
        record["body"]["candidate_ms"][0] = 1.0
        redigest(record)

    return signed(change)


def recheck_edited() -> Files:
    """A recheck failed, and its record says that it passed."""

    def change(sample: Sample) -> None:
        record = sample.predicate["records"]["rechecks"][0]
        record["body"]["findings"][0]["verdict"] = "fail"
        redigest(record)

    return signed(change)


def root_replaced() -> Files:
    """A root is another one."""
    return signed(lambda sample: sample.predicate["evaluations"]["baseline"]["rows"].update(root="0" * 64))


def row_duplicated() -> Files:
    """A bad row makes place for a good one that is there already."""

    def change(sample: Sample) -> None:
        sample.rows["baseline"][4] = sample.rows["baseline"][2]
        sample.resign()

    return signed(change)


def row_added() -> Files:
    """A good row comes twice."""

    def change(sample: Sample) -> None:
        sample.rows["baseline"].append(sample.rows["baseline"][2])
        sample.resign()

    return signed(change)


def question_swapped() -> Files:
    """The candidate was asked something else under the same id."""

    def change(sample: Sample) -> None:
        rows = sample.rows["candidate"]
        rows[3]["question"], rows[4]["question"] = rows[4]["question"], rows[3]["question"]
        sample.resign()

    return signed(change)


def event_removed() -> Files:
    """An event is gone from the history."""
    return signed(lambda sample: sample.predicate["rollout"]["events"].pop(1))


def event_removed_and_renumbered() -> Files:
    """An event is gone from the history, and the others close the gap."""

    def change(sample: Sample) -> None:
        rollout = sample.predicate["rollout"]
        del rollout["events"][3]
        for version, event in enumerate(rollout["events"], start=1):
            event["version"] = version
        rollout["version"] -= 1

    return signed(change)


def clock_renamed() -> Files:
    """A simulated rollout is sold as a real one."""
    return signed(lambda sample: sample.predicate.update(clock="wall"))


def history_moved() -> Files:
    """The whole rollout is said to have begun before it was judged."""

    def change(sample: Sample) -> None:
        sample.predicate["rollout"] = _earlier(sample.predicate["rollout"])
        sample.rows["outcomes"] = _earlier(sample.rows["outcomes"])
        sample.resign()

    return signed(change)


def _earlier(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _earlier(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_earlier(item) for item in value]
    if isinstance(value, str) and value.startswith("2026-"):
        return (datetime.fromisoformat(value) - timedelta(hours=9)).isoformat()
    return value


def forced_dropped() -> Files:
    """Who forced what is left out."""
    return signed(lambda sample: sample.predicate.update(forced=[]), story="forced")


def reason_edited() -> Files:
    """Why it was forced is put nicer."""
    return signed(lambda sample: sample.predicate["forced"][1].update(why="all agreed"), story="forced")


def arm_flipped() -> Files:
    """A bad outcome is counted for the other arm, in the rows and their root alone."""

    def change(sample: Sample) -> None:
        _flip(sample)
        sample.resign()

    return signed(change)


def arm_flipped_throughout() -> Files:
    """A bad outcome is counted for the other arm, and all figures with it."""

    def change(sample: Sample) -> None:
        _flip(sample)
        summed_again(sample)

    return signed(change)


def _flip(sample: Sample) -> None:
    row = sample.rows["outcomes"][5]
    row[2] = "baseline" if row[2] == "candidate" else "candidate"


def subject_added() -> Files:
    """The statement is about something that nobody sealed."""
    return signed(lambda sample: sample.extra.update({"plans/other.plan": "0" * 64}))


def kind_of_value() -> Files:
    """A value of another kind than anybody expects."""
    return signed(lambda sample: sample.predicate["evaluations"]["baseline"]["rows"].update(count=None))


SIGNED_AGAIN: dict[Callable[[], Files], tuple[str, str]] = {
    **LOOKS_AGAIN,
    **LEAVES_AGAIN,
    **RECORDS_AGAIN,
    stranger: ("signature", ".signatures[0].keyid"),
    retired_key: ("key in use", ".predicate.sealed_at"),
    statement_type: ("statement", "._type"),
    predicate_type: ("statement", ".predicateType"),
    payload_type: ("statement", ".payloadType"),
    payload_key_twice: ("statement", ".payload"),
    field_removed: ("fields", ".predicate.environment.python"),
    field_added: ("fields", ".predicate.rollout.events[1].note"),
    float_rewritten: ("statement", ".predicate.evaluations.baseline.aggregates.aggregates.means.f1.mean"),
    float_as_number: ("statement", ".predicate.evaluations.baseline.aggregates.aggregates.means.f1.mean"),
    mean_edited: ("aggregates", ".predicate.evaluations.baseline.aggregates.aggregates.means.f1.mean"),
    lock_edited: ("locks", ".predicate.locks.candidate.body.config_hash"),
    margin_edited: ("rests on", ".predicate.records.timings.plan_sha256"),
    margin_edited_alone: ("plan", ".predicate.plan.sha256"),
    table_swapped: ("inputs", ".predicate.evaluations.candidate.table_sha256"),
    verdict_edited: ("verdict", ".predicate.verdict"),
    record_verdict_edited: ("rests on", f"{JUDGED}.verdict"),
    judgement_edited: ("verdict", f"{JUDGED}.body.verdict"),
    finding_edited: ("findings again", f"{JUDGED}.body.findings[1].low"),
    timing_edited: ("rests on", f"{JUDGED}.body.timings.sha256"),
    recheck_edited: ("rests on", ".predicate.records.rechecks[0].body.findings[0].verdict"),
    root_replaced: ("rows", ROOTS),
    row_duplicated: ("rows", "rows:.baseline[4].question_id"),
    row_added: ("inputs", ".predicate.evaluations.baseline.rows.count"),
    question_swapped: ("rows", "rows:.candidate[3].question"),
    event_removed: ("rollout", ".predicate.rollout.version"),
    event_removed_and_renumbered: ("rollout", ".predicate.rollout.events[3].body.state.step"),
    clock_renamed: ("clock", ".predicate.clock"),
    history_moved: ("clock", ".predicate.rollout.events[0].at"),
    forced_dropped: ("forced", ".predicate.forced[0]"),
    reason_edited: ("forced", ".predicate.forced[1].why"),
    arm_flipped: ("live outcomes", ".predicate.rollout.outcomes.by_step[0].n"),
    arm_flipped_throughout: ("looks", f"{FIRST_LOOK}.candidate_outcomes"),
    subject_added: ("subjects", ".subject[11]"),
    kind_of_value: ("fields", ".predicate.evaluations.baseline.rows.count"),
}
"""Each way with the claim that names it, and the place."""
