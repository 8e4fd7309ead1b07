"""Ways to change a healthy seal: in its files, and, with the key that signed it, in what was signed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bakeoff import canonical, dsse
from bakeoff.claims import Key
from tests import sealed as samples
from tests.sealed import Sample, file_of, private, ring

SMALL = {"questions": 24, "outcomes": 300}
ROOTS = ".predicate.evaluations.baseline.rows.root"


@dataclass(frozen=True)
class Files:
    """What lies on the disk, and which keys are known."""

    seal: bytes
    rows: bytes
    keys: Mapping[str, Key] = field(default_factory=lambda: ring(private(1), private(2)))
    recompute: bool = False


def files_of(sample: Sample, **more: Any) -> Files:
    """The files of a sample, signed with its key."""
    return Files(sample.file(), sample.rows_file, **more)


def small(**options: Any) -> Sample:
    """A healthy sample."""
    return samples.made(**SMALL, **options)


def signed(change: Callable[[Sample], object], **options: Any) -> Files:
    """Change what was signed, and sign it again with the same key."""
    sample = small(**options)
    change(sample)
    return files_of(sample, recompute=True)


def restated(change: Callable[[dict[str, Any]], object]) -> Files:
    """Change the statement as it is written, and sign it again with the same key."""
    sample = small()
    body = json.loads(sample.payload())
    change(body)
    return Files(file_of(dsse.sign(canonical.encode(body), private())), sample.rows_file)


def _rewritten(change: Callable[[dict[str, Any]], object]) -> Files:
    """Change the rows file alone."""
    sample = small()
    body = json.loads(sample.rows_file)
    change(body)
    return Files(sample.file(), canonical.encode(body) + b"\n")


def _enveloped(change: Callable[[dict[str, Any]], object]) -> Files:
    """Change the envelope, and nothing that was signed."""
    sample = small()
    body = sample.envelope().body()
    change(body)
    return Files(canonical.encode(body) + b"\n", sample.rows_file)


# --- In the files ---------------------------------------------------------------------------------------------------


def row_reordered() -> Files:
    """Two rows of the rows file change places."""
    return _rewritten(lambda rows: rows["baseline"].insert(0, rows["baseline"].pop(1)))


def row_float_rewritten() -> Files:
    """A figure of a row gets a zero at its end: the same number, other bytes."""
    return _rewritten(lambda rows: rows["baseline"][3].update(f1=rows["baseline"][3]["f1"] + "0"))


def row_float_as_number() -> Files:
    """A figure of a row becomes a JSON number."""
    return _rewritten(lambda rows: rows["baseline"][3].update(f1=0.5))


def row_edited() -> Files:
    """A figure of a row is another one."""
    return _rewritten(lambda rows: rows["baseline"][3].update(f1="0.999"))


def fact_edited() -> Files:
    """A figure of the whole, which is in no tree."""
    return _rewritten(lambda rows: rows["facts"]["baseline"].update(leaked_prefixes=3))


def fact_of_the_ingest_edited() -> Files:
    """A figure of the whole that the ingest tells, too."""
    return _rewritten(lambda rows: rows["facts"]["baseline"].update(dedup_share="0.5"))


def line_edited() -> Files:
    """What a probe found, which stays with the rows."""
    return _rewritten(lambda rows: rows["lines"]["probes"].reverse())


def line_removed() -> Files:
    """Nothing was found, say the rows."""
    return _rewritten(lambda rows: rows["lines"].pop("probes"))


def tag_edited() -> Files:
    """A question is of another kind."""
    return _rewritten(lambda rows: rows["baseline"][3]["tags"].pop())


def arm_removed() -> Files:
    """All rows of an arm are gone from the rows file."""
    return _rewritten(lambda rows: rows.pop("candidate"))


def envelope_signature_of_another() -> Files:
    """The signature of another seal by the same key."""
    other = small(seed=8).envelope().body()["signatures"]
    return _enveloped(lambda body: body.update(signatures=other))


def envelope_payload_type() -> Files:
    """Another payload type."""
    return _enveloped(lambda body: body.update(payloadType="application/json"))


def envelope_key_claimed() -> Files:
    """The envelope names another known key than the one that signed it."""
    claimed = dsse.key_id(private(2).public_key())
    return _enveloped(lambda body: body["signatures"][0].update(keyid=claimed))


def envelope_base64() -> Files:
    """The payload in base64 without its padding, as in URLs: the same bytes."""
    sample = next(one for one in (small(number=1), small(number=10)) if len(one.payload()) % 3)
    text = base64.urlsafe_b64encode(sample.payload()).decode()
    return _enveloped(lambda body: body.update(payload=text.rstrip("=")))


def envelope_spaced() -> Files:
    """The same envelope, indented."""
    sample = small()
    return Files(json.dumps(sample.envelope().body(), indent=1).encode(), sample.rows_file)


def envelope_key_twice() -> Files:
    """A JSON key that comes twice."""
    sample = small()
    return Files(sample.file().replace(b'{"payload":', b'{"payload":"AAAA","payload":', 1), sample.rows_file)


def payload_edited() -> Files:
    """The payload says pass, and nobody signed that."""
    sample = small(story="stopped")
    payload = sample.payload().replace(b'"outcome":"stopped"', b'"outcome":"judged"')
    body = sample.envelope().body() | {"payload": base64.b64encode(payload).decode()}
    return Files(canonical.encode(body) + b"\n", sample.rows_file)


IN_FILES: dict[Callable[[], Files], tuple[str, str]] = {
    row_reordered: ("rows", ROOTS),
    row_float_rewritten: ("rows", "rows:.baseline[3].f1"),
    row_float_as_number: ("rows", "rows:.baseline[3].f1"),
    row_edited: ("rows", ROOTS),
    tag_edited: ("rows", ROOTS),
    fact_edited: ("artifacts", "rows.json"),
    fact_of_the_ingest_edited: ("aggregates", "rows:.facts.baseline.dedup_share"),
    line_edited: ("records", ".predicate.records.probes.sha256"),
    line_removed: ("records", ".predicate.records.probes.body"),
    arm_removed: ("rows", "rows:.candidate"),
    envelope_signature_of_another: ("signature", ".signatures[0].sig"),
    envelope_payload_type: ("signature", ".signatures[0].sig"),
    envelope_key_claimed: ("signature", ".signatures[0].keyid"),
    envelope_base64: ("envelope", "."),
    envelope_spaced: ("envelope", "."),
    envelope_key_twice: ("envelope", "."),
    payload_edited: ("signature", ".signatures[0].sig"),
}
"""Each way with the claim that names it, and the place."""
