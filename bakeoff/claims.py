"""What a seal claims, each claim checked without database and network.

Callers may rely on: nothing of a payload is looked at before its signature holds; the first claim that fails is the
truest name of what is wrong, with its place, what was expected and what was found; what can't be checked is said to be
unchecked, never to hold; a seal that was made by `seal` and left alone holds.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bakeoff import (
    asked,
    canonical,
    dsse,
    evidence,
    figures,
    history,
    judgements,
    kinds,
    looks,
    provenance,
    recorded,
    sealed,
)
from bakeoff.difference import Difference
from bakeoff.dsse import Envelope
from bakeoff.errors import BakeoffError, InputError
from bakeoff.evidence import Subject
from bakeoff.sealed import Sealed, differ

_WRONG = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)
BROKEN = (*_WRONG, RecursionError, BakeoffError)
"""What values of a wrong kind raise: whoever has the key may have sealed anything."""
REHEARSED = "; simulated: a rehearsal, nothing in production changed"
_ENVELOPE = dict.fromkeys(("payload", "payloadType", "signatures"))
SHORT = 12
"""Digits of a digest that name it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key that is known, and whether it is still used."""

    public: Ed25519PublicKey
    name: str
    status: Literal["active", "retired", "unknown"] = "active"
    retired_at: datetime | None = None
    told_at: datetime | None = None
    """Until when it is known to be active; None: until now."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that a seal claims; *holds* is None where it was not checked, and *said* says why."""

    name: str
    holds: bool | None
    said: str
    path: str | None = None
    expected: str | None = None
    found: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What became of every claim of a seal, in order; the numbers are None as far as the seal can't be read."""

    claims: tuple[Claim, ...]
    number: int | None = None
    previous: str | None = None
    payload_sha256: str | None = None
    keyid: str | None = None

    @property
    def failed(self) -> Claim | None:
        """The first claim that does not hold."""
        return next((claim for claim in self.claims if claim.holds is False), None)


def read(data: bytes) -> tuple[Claim, Envelope | None]:
    """Return whether *data*, a seal's file, is the one way to write an envelope, and the envelope if there is one."""
    found: list[Envelope] = []

    def parsed() -> Iterator[Difference]:
        try:
            found.append(dsse.parse(data))
        except InputError as error:
            yield from _no_envelope(data, str(error))
        if canonical.encode(found[0].body()) + b"\n" != data:
            yield Difference(".", "canonical JSON and a newline", "the same envelope, written otherwise")

    claim = claimed("envelope", "as it was written", parsed())
    return claim, found[0] if found else None


def _no_envelope(data: bytes, said: str) -> Iterator[Difference]:
    """Yield why *data* is no envelope: the key that is missing or unknown, or what was *said* of it."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    has = f"an envelope has {', '.join(_ENVELOPE)}"
    if isinstance(body, dict):
        unlike = sealed.unlike(_ENVELOPE, body, "")
        yield from (Difference(one.path, f"{one.expected}: {has}", one.found) for one in unlike)
    yield Difference(".", has, said)


def check(
    envelope: Envelope,
    rows: Mapping[str, Any] | None,
    *,
    keys: Mapping[str, Key],
    recompute: bool = False,
    files: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """Check every claim of *envelope*; *rows* is the content of its rows file, figures as decimal strings.

    *keys* are by key id. *files* gives for each subject that lies there the digests that its file may have. With
    *recompute* verdicts, intervals and routing are derived again, which needs *rows*.
    """
    signed, key = signed_by_one(envelope, keys)
    found = Report((signed,), None, None, canonical.sha256_hex(envelope.payload), envelope.signatures[0].keyid)
    if not signed.holds:
        return found
    stated, opened = _statement(envelope)
    if opened is None:
        return replace(found, claims=(signed, stated))
    subjects, predicate = opened
    shaped = claimed("fields", "none missing, none unknown, every value of its kind", kinds.values(predicate))
    if not shaped.holds:
        return replace(found, claims=(signed, stated, shaped))
    first = (signed, stated, shaped, _in_time(predicate, key))
    rest = _content(subjects, predicate, rows, files or {}, recompute=recompute)
    return replace(found, claims=(*first, *rest), number=predicate["number"], previous=predicate["previous"])


def claimed(name: str, said: str, found: Iterator[Difference]) -> Claim:
    """Return the claim *name*: it holds, and says so, where nothing is *found* to differ."""
    try:
        first = next(found, None)
    except BROKEN as error:
        told = " ".join(str(error).split())
        said, path = f"can't be checked: {told}", _ABOUT.get(name, ".")
        return Claim(name, holds=False, said=said, path=path, expected="a value of its kind", found=told)
    if first is None:
        return Claim(name, holds=True, said=said)
    return refuted(name, first)


_ABOUT = {
    **dict.fromkeys(("rows", "aggregates"), "rows:."),
    **dict.fromkeys(("live outcomes", "routing again", "looks again"), "rows:.outcomes"),
    **{name: f".predicate.{name}" for name in ("locks", "plan", "records", "rollout", "forced", "clock")},
    "looks": ".predicate.rollout.events",
    "subjects": ".subject",
    **dict.fromkeys(("inputs", "copies"), ".predicate.evaluations"),
    **dict.fromkeys(("foresight", "foresight again"), ".predicate.plan.body"),
    **dict.fromkeys(("rests on", "demanded", "verdict", "findings again"), ".predicate.records.judgement"),
    "key in use": ".predicate.sealed_at",
}
"""Where a claim is at home, should a value break its arithmetic."""


def refuted(name: str, first: Difference, said: str = "") -> Claim:
    """Return the claim *name*, which does not hold."""
    return Claim(
        name, holds=False, said=said or str(first), path=first.path, expected=first.expected, found=first.found
    )


# --- Who signed what ------------------------------------------------------------------------------------------------


def signed_by_one(envelope: Envelope, keys: Mapping[str, Key]) -> tuple[Claim, Key | None]:
    """Return whether a known key signed, it alone, and which.

    Of several signatures whoever has no key could add one, and the file would be another.
    """
    if (count := len(envelope.signatures)) != 1:
        said = f"{count} signatures: a seal has one, of the key that it names"
        return _unsigned(".signatures", "one", str(count), said), None
    (item,) = envelope.signatures
    key, short = keys.get(item.keyid), item.keyid[:SHORT]
    if key is None:
        known = ", ".join(f"{key.name} ({keyid[:SHORT]})" for keyid, key in keys.items()) or "none"
        said = f"the key {short} is not known here: give its public half with --public-key FILE; known: {known}"
        return _unsigned(".signatures[0].keyid", known, item.keyid, said), None
    if dsse.signed_by(envelope, key.public):
        retired = ", a key that was retired since" if key.status == "retired" else ""
        return Claim("signature", holds=True, said=f"by {key.name} ({short}){retired}"), key
    by = next((name for name, other in keys.items() if dsse.signed_by(envelope, other.public)), None)
    if by is not None:
        return _unsigned(".signatures[0].keyid", by, item.keyid, f"made by {keys[by].name}"), None
    said = f"{key.name} ({short}) did not sign this: payload, type or signature were changed"
    return _unsigned(".signatures[0].sig", f"a signature of {key.name}", "another", said), None


def _unsigned(path: str, expected: str, found: str, said: str) -> Claim:
    return refuted("signature", Difference(path, expected, found), said)


Opened = tuple[tuple[Subject, ...], dict[str, Any]]


def _statement(envelope: Envelope) -> tuple[Claim, Opened | None]:
    """Return whether the payload is a statement as it has to be written, and what it says if it is."""
    found: list[Opened] = []

    def opened() -> Iterator[Difference]:
        yield from differ(dsse.IN_TOTO, envelope.payload_type, ".payloadType")
        body = json.loads(envelope.payload)
        yield from differ(evidence.STATEMENT, body["_type"], "._type")
        yield from differ(evidence.PREDICATE, body["predicateType"], ".predicateType")
        try:
            found.append(evidence.opened(envelope.payload))
        except InputError as error:
            yield from sealed.no_decimals(body["predicate"], ".predicate")
            yield Difference(".payload", "a statement in canonical JSON", str(error))

    claim = claimed("statement", "canonical JSON, an in-toto statement of a bakeoff", opened())
    return claim, found[0] if claim.holds else None


def _in_time(predicate: Mapping[str, Any], key: Key | None) -> Claim:
    """Return whether the key was in use when the seal was made."""

    def late() -> Iterator[Difference]:
        sealed_at = datetime.fromisoformat(predicate["sealed_at"])
        if key is not None and key.retired_at is not None and sealed_at > key.retired_at:
            before = f"before {key.retired_at.isoformat()}, when {key.name} was retired"
            yield Difference(".predicate.sealed_at", before, sealed_at.isoformat())

    claim = claimed("key in use", "when the seal was made", late())
    if not claim.holds or key is None or key.status == "retired":
        return claim
    ask = "whether it was retired is not known: bakeoff keys export, where the key is, says so"
    if key.status == "unknown":
        return Claim("key in use", holds=None, said=f"not checked: {ask}")
    if key.told_at is not None and datetime.fromisoformat(predicate["sealed_at"]) > key.told_at:
        said = f"not checked: {key.name} was exported at {key.told_at.isoformat()}, before the seal was made; {ask}"
        return Claim("key in use", holds=None, said=said)
    return claim


# --- What was sealed ------------------------------------------------------------------------------------------------

Check = Callable[[Sealed], Iterator[Difference]]


def _live(seal: Sealed) -> Iterator[Difference]:
    """Yield what is wrong with live outcomes; where a value broke the arithmetic, that value is named."""
    try:
        yield from history.live(seal)
    except BROKEN:
        yield from kinds.outcomes(seal.rows or {})
        raise


_COUNTED = "; not checked: what was left out, what ingests counted"
_TRIED = "; not checked: how often each was measured"
_WHOLE = "; not checked: digests of whole cases"
_ORDER = "; not checked: in which order they came"
FROM_PREDICATE: tuple[tuple[str, str, Check], ...] = (
    ("locks", "their hashes follow from their configurations", provenance.locks),
    ("plan", "its digest is its name, and it is about these locks", provenance.plan),
    ("inputs", "ingests and evaluations are of the plan's corpus and questions", provenance.inputs),
    ("foresight", "what the plan saw and accepted agrees with its gates and steps", provenance.foresight),
    ("copies", f"questions, corpus and table are one throughout{_COUNTED}", figures.copies),
    ("rests on", f"plan, runs, tables and records are those that were judged{_TRIED}", recorded.rests_on),
    ("demanded", "probes, parity, checks come to what they found in run and table", recorded.demanded),
)
FROM_ROWS: tuple[tuple[str, str, Check], ...] = (
    ("rows", f"counts and Merkle roots are those of the rows{_WHOLE}", provenance.rows),
    ("records", "every record has its digest", recorded.records),
    ("aggregates", "every figure follows from the rows; not checked: latencies, notes", figures.aggregates),
    ("live outcomes", f"every figure by step and arm follows from the rows{_ORDER}", _live),
)
_UNCHECKED: dict[str, Callable[[Sealed], str]] = {"rests on": judgements.left, "demanded": asked.left}
"""What of a claim can't be checked of a seal, in words that are added to its own."""


AFTER: tuple[tuple[str, str, Check], ...] = (
    ("verdict", "follows from the findings and the rollout", history.verdict),
    ("rollout", "its history replays to its state", history.rollout),
    ("clock", "one clock, and times in their order", history.clock),
    (
        "looks",
        "each watched what the plan says, and did what follows; not checked: that none is missing",
        looks.taken_right,
    ),
    ("forced", "exactly what the history says", history.forced),
)


def _content(
    subjects: tuple[Subject, ...],
    predicate: dict[str, Any],
    rows: Mapping[str, Any] | None,
    files: Mapping[str, Sequence[str]],
    *,
    recompute: bool,
) -> Iterator[Claim]:
    """Yield the claims about what was sealed."""
    seal, read = _with_rows(subjects, predicate, rows)
    for name, said, of in FROM_PREDICATE:
        unchecked = _UNCHECKED.get(name)
        yield claimed(name, said if unchecked is None else said + unchecked(seal), of(seal))
    if read is not None:
        yield read
    else:
        for name, said, of in FROM_ROWS:
            missing = "not checked: the rows file is not beside the seal"
            yield claimed(name, said, of(seal)) if rows is not None else Claim(name, holds=None, said=missing)
    for name, said, of in AFTER:
        more = REHEARSED if name == "clock" and predicate["clock"] == "simulated" else ""
        yield claimed(name, said + more, of(seal))
    yield claimed("subjects", "exactly what the statement is about", provenance.subjects(seal))
    yield _subjects(subjects, files)
    if recompute and read is None and rows is not None:
        from bakeoff import recompute as again  # with numpy and scipy, which nothing else here needs

        for name, said, of, left in again.CHECKS:
            yield _again(name, said, of, left, seal)


def _again(name: str, said: str, of: Check, left: Callable[[Sealed], str | None], seal: Sealed) -> Claim:
    """Return the claim *name*; it was not checked where all holds but what is *left*, which says so."""
    words: list[str] = []

    def checked() -> Iterator[Difference]:
        yield from of(seal)
        words.extend(filter(None, [left(seal)]))

    claim = claimed(name, said, checked())
    return replace(claim, holds=None, said=words[0]) if claim.holds and words else claim


def _with_rows(
    subjects: tuple[Subject, ...], predicate: dict[str, Any], rows: Mapping[str, Any] | None
) -> tuple[Sealed, Claim | None]:
    """Return the seal with its rows as numbers, or without them and the claim that they can't be read."""
    if rows is None:
        return Sealed(predicate, subjects), None

    numbers: dict[str, Any] = {}

    def read() -> Iterator[Difference]:
        yield from sealed.unlike(dict.fromkeys(sealed.ROWS), rows, "rows:")
        try:
            numbers.update(evidence.from_decimals(dict(rows)))
        except InputError as error:  # says what, but not where
            anyhow = Difference("rows:.", "figures as decimal strings", str(error))
            yield from (*sealed.no_decimals(dict(rows), "rows:"), anyhow)

    unread = claimed("rows", "", read())
    if not unread.holds:
        return Sealed(predicate, subjects), unread
    return Sealed(predicate, subjects, numbers, dict(rows)), None


def _subjects(subjects: Sequence[Subject], files: Mapping[str, Sequence[str]]) -> Claim:
    """Return whether the rows file is the one that was sealed, and artifacts that lie there hold what was digested."""
    for number, item in enumerate(subjects):
        if item.name in files and item.sha256 not in files[item.name]:
            found = ", ".join(files[item.name])
            why = f": {found}" if found.startswith("none: ") else ""
            said = f"{item.name} does not hold what was sealed{why}"
            return refuted("artifacts", Difference(f".subject[{number}].digest.sha256", item.sha256, found), said)
    names = [item.name for item in subjects if item.name != provenance.ROWS_FILE]
    absent = [name for name in names if name not in files]
    rows = "; the rows file is the one that was sealed" if provenance.ROWS_FILE in files else ""
    if len(absent) == len(names):
        return Claim("artifacts", holds=None, said=f"not checked: none was found (--artifacts DIR){rows}")
    rest = f"; not there, so not checked: {', '.join(absent)}" if absent else ""
    said = f"{len(names) - len(absent)} of {len(names)} hold the content that was sealed{rest}{rows}"
    return Claim("artifacts", holds=True, said=said)


# --- One row of many ------------------------------------------------------------------------------------------------


def prove(proof: Mapping[str, Any], envelope: Envelope, *, keys: Mapping[str, Key]) -> Report:
    """Check the seal of *envelope* and that the row in *proof* (`sealed.PROOF`) is one of those that it sealed."""
    report = check(envelope, None, keys=keys)
    if report.number is None:
        return report
    _, predicate = evidence.opened(envelope.payload)
    row = claimed("row", "one of the rows whose root was sealed", provenance.row(proof, predicate))
    left = [claim for claim in report.claims if claim.name not in {name for name, *_ in FROM_ROWS}]
    return replace(report, claims=(*left, row))
