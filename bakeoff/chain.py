"""Claims about a folder of seals: that they are one whole chain, from the first to the one that a signed head names.

Callers may rely on: a seal that is missing, changed or of another chain is named, and so is a tail that was cut off.
Who cuts the tail *and* puts an older head beside it is not found offline: keep the newest payload digest elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bakeoff import evidence, sealed
from bakeoff.claims import SHORT, Claim, Key, Report, claimed, refuted, signed_by_one
from bakeoff.difference import Difference
from bakeoff.dsse import Envelope
from bakeoff.sealed import differ


@dataclass(frozen=True, slots=True)
class Link:
    """A seal in its folder: the file's name, the digest of its bytes, what became of its claims."""

    name: str
    sha256: str
    report: Report


def check(links: Sequence[Link], head: Envelope | None, *, keys: Mapping[str, Key]) -> tuple[Claim, ...]:
    """Check that the seals *links*, in the order of their names, are one whole chain that ends where *head* says."""
    numbered = claimed("numbers", f"1 to {len(links)}, none missing", _numbers(links))
    tied = claimed("previous", "each seal names the one before it", _previous(links))
    if head is None:
        said = "there is no HEAD.json: a tail that was cut off could not be seen"
        return numbered, tied, refuted("head", Difference("HEAD.json", "a signed head", "nothing"), said)
    signed, _ = signed_by_one(head, keys)
    if not signed.holds:
        return numbered, tied, replace(signed, name="head", path=f"HEAD.json:{signed.path}")
    said = f"{len(links)} seals, the newest is the last; signed {signed.said}"
    return numbered, tied, claimed("head", said, _head(links, head))


def _numbers(links: Sequence[Link]) -> Iterator[Difference]:
    for number, link in enumerate(links, start=1):
        yield from differ(number, link.report.number, f"{link.name}:.predicate.number")
        expected = f"{number:06d}-{str(link.report.payload_sha256)[:SHORT]}.seal.json"
        if link.name != expected:
            yield Difference(link.name, expected, link.name)


def _previous(links: Sequence[Link]) -> Iterator[Difference]:
    before: str | None = None
    for link in links:
        yield from differ(before, link.report.previous, f"{link.name}:.predicate.previous")
        before = link.report.payload_sha256


def _head(links: Sequence[Link], head: Envelope) -> Iterator[Difference]:
    subjects, found = evidence.opened(head.payload, kind=evidence.HEAD)
    yield from sealed.unlike(sealed.HEAD, found, "HEAD.json:.predicate")
    yield from differ(len(links), found["count"], "HEAD.json:.predicate.count")
    newest = links[-1] if links else Link("", "", Report(()))
    yield from differ(newest.report.payload_sha256, found["sha256"], "HEAD.json:.predicate.sha256")
    yield from differ(newest.report.previous, found["previous"], "HEAD.json:.predicate.previous")
    wanted = [{"name": newest.name, "sha256": newest.sha256}]
    named = [{"name": item.name, "sha256": item.sha256} for item in subjects]
    yield from differ(wanted, named, "HEAD.json:.subject")
