"""Claims about the looks of a rollout: what each rests on, and what follows from what it found.

Callers may rely on: each function yields what differs, the truest name of it first; values of a wrong kind raise. That
the figures of a look follow from the outcomes is `relook`'s to say, which needs NumPy and SciPy.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import compress
from typing import Any

from bakeoff.difference import Difference
from bakeoff.rollout import ACTION_OF, Action
from bakeoff.sealed import ARMS, Live, Sealed, differ
from bakeoff.strategy import LATENCIES, Strategy
from bakeoff.verdicts import Verdict, worst

GUARDS = ("share_mismatch", "silence", "crossing")
LEFT_OUT = "without_unit"
"""What says that outcomes without a unit are not compared; it is there only where there are such."""
RULES = (2,)
"""Those that looks name (`rollout.Look`); versions that knew others named none, nor what a look rests on."""
_FLOOR = "_at_least"
"""What the name of a floor ends with."""
RECHECKED = "recheck "
"""What findings of the offline KPIs begin with."""
_WORST_FIRST = (Action.ROLL_BACK, Action.ERROR, Action.HOLD)


@dataclass(frozen=True, slots=True)
class Taken:
    """One look as it is sealed, and the step that it was taken in."""

    path: str
    at: datetime
    body: Mapping[str, Any]
    before: Mapping[str, Any]
    """The state that it was taken in."""

    @property
    def live(self) -> list[dict[str, Any]]:
        """What it found of the live outcomes."""
        return [item for item in self.body["findings"] if not item["watched"].startswith(RECHECKED)]

    @property
    def again(self) -> list[dict[str, Any]]:
        """What it found of the KPIs that were measured anew."""
        return [item for item in self.body["findings"] if item["watched"].startswith(RECHECKED)]

    @property
    def known(self) -> int | None:
        """How many outcomes it rests on; None where they could not be summed up."""
        known = self.body.get("known")
        return None if known is None else int(known)


def taken(seal: Sealed) -> list[Taken]:
    """Return every look of the rollout, in order."""
    found = []
    for number, item in enumerate(seal.events):
        event = item["body"]["event"]
        if event["kind"] == "look":
            before = seal.events[number - 1]["body"]["state"]
            path = f".predicate.rollout.events[{number}].body.event"
            found.append(Taken(path, datetime.fromisoformat(event.get("taken_at") or item["at"]), event, before))
    return found


def taken_right(seal: Sealed) -> Iterator[Difference]:
    """Yield where a look is not what the plan and its findings come to, or, where the rows are there, counts others."""
    yield from decided(seal)
    if seal.rows is not None:
        yield from counted(seal)


# --- What follows from what was found -----------------------------------------------------------------------------


def decided(seal: Sealed) -> Iterator[Difference]:
    """Yield where a look did not find what the plan watches, or its verdict or action is not what it found comes to."""
    if seal.predicate["rollout"] is None:
        return
    strategy = Strategy.model_validate(seal.predicate["plan"]["body"]["rollout"])
    margins = _margins(strategy)
    for look in taken(seal):
        yield from _ruled(look)
        yield from _watched(look, margins)
        yield from _followed(look, _recheck(seal, look))


def _margins(strategy: Strategy) -> dict[str, float | None]:
    """Return by name what a look watches, each with its margin."""
    found: dict[str, float | None] = dict.fromkeys(GUARDS)
    for name, rule in strategy.watch.items():
        found[name] = rule.margin
        if rule.at_least is not None:
            found[f"{name}{_FLOOR}"] = rule.at_least
    return found


def _watched(look: Taken, margins: Mapping[str, float | None]) -> Iterator[Difference]:
    """Yield where the look watched other things, or by other margins, than the plan says."""
    names = [item["watched"] for item in look.live if item["watched"] != LEFT_OUT]
    if look.known is None and not names:
        yield from differ("error", look.body["verdict"], f"{look.path}.verdict")  # it could not be taken
        return
    yield from _unknown(look)
    yield from differ(sorted(margins), sorted(names), f"{look.path}.findings")
    for number, item in enumerate(look.body["findings"]):
        at = f"{look.path}.findings[{number}]"
        if item["watched"] in margins:
            yield from differ(margins[item["watched"]], item["margin"], f"{at}.margin", close=True)
        yield from differ(ACTION_OF[Verdict(item["verdict"])].value, item["action"], f"{at}.action")


def _ruled(look: Taken) -> Iterator[Difference]:
    """Yield where a look was taken by rules that no version names, or names none though it says what it rests on."""
    rules = look.body.get("rules")
    if rules not in RULES and (rules is not None or "known" in look.body):
        found = "nothing" if rules is None else str(rules)
        yield Difference(f"{look.path}.rules", " or ".join(map(str, RULES)), found)


def _unknown(look: Taken) -> Iterator[Difference]:
    """Yield where a look that found something does not say what it rests on: then nothing ties it to the outcomes."""
    if look.known is None and look.live:
        yield Difference(f"{look.path}.known", "how many outcomes it rests on", "nothing")


def _recheck(seal: Sealed, look: Taken) -> Mapping[str, Any] | None:
    """Return the record of the KPIs that were measured anew for a look: of its instant, with its findings."""
    given = [item for item in seal.predicate["records"]["rechecks"] if datetime.fromisoformat(item["at"]) == look.at]
    same = [item for item in given if item["body"]["findings"] == look.again]
    return next(iter(same), None)


def _followed(look: Taken, again: Mapping[str, Any] | None) -> Iterator[Difference]:
    """Yield where verdict, action or mark of a look do not follow from its findings and the record *again*."""
    if look.again and again is None:
        yield Difference(f"{look.path}.findings", "those of a recheck at its instant", "others")
    verdicts = [Verdict(item["verdict"]) for item in look.live] or [Verdict.ERROR]
    if again is not None:
        verdicts.append(Verdict(again["verdict"]))
    yield from differ(worst(verdicts).value, look.body["verdict"], f"{look.path}.verdict")
    actions = {ACTION_OF[one] for one in verdicts}
    action = next((one for one in _WORST_FIRST if one in actions), Action.GO)
    yield from differ(action.value, look.body["action"], f"{look.path}.action")
    measured = again is not None and again["verdict"] == Verdict.PASS
    yield from differ(measured, look.body["rechecked"], f"{look.path}.rechecked")


# --- What it rests on ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """A look, and the outcomes that were there for it and for none before, by their places."""

    look: Taken
    fresh: tuple[int, ...]


def known(looks: Sequence[Taken], outcomes: Sequence[Live]) -> Iterator[Known | Difference]:
    """Yield for each look what became known to it, or where it rests on other outcomes than there are.

    A look knows the outcomes of its instant and before, as many as it says: those that were recorded first. *outcomes*
    are in order of time.
    """
    instants = [datetime.fromisoformat(item.at) for item in outcomes]
    waiting: list[int] = []
    passed = had = 0
    for look in looks:
        if look.known is None:
            continue
        until = bisect_right(instants, look.at)
        waiting += range(passed, until)
        passed = max(passed, until)
        wanted = look.known - had
        if not 0 <= wanted <= len(waiting):
            yield Difference(f"{look.path}.known", f"{had} to {had + len(waiting)}", str(look.known))
            return
        if wanted < len(waiting):
            waiting.sort(key=lambda number: _place(outcomes[number]))
            if outcomes[waiting[wanted]].arrived is None:
                yield Difference(
                    f"rows:.outcomes[{waiting[wanted]}][8]", "when it arrived, as others came late", "null"
                )
                return
        fresh, waiting, had = waiting[:wanted], waiting[wanted:], look.known
        yield Known(look, tuple(fresh))


def _place(outcome: Live) -> int:
    """Return when an outcome arrived; those that nothing says it of were there before the first look that says this."""
    return -1 if outcome.arrived is None else outcome.arrived


_KINDS = ("errors", "quality", "latency")
_Counts = Counter[tuple[str, int, int]]
"""How many values of a kind there are, by step and arm."""


def counted(seal: Sealed, outcomes: Sequence[Live] | None = None) -> Iterator[Difference]:
    """Yield where a look counts other outcomes than there were, by arm, in the step that it was taken in.

    *outcomes* are those of the seal's rows, or of what is about to be sealed.
    """
    for look in taken(seal):
        yield from _unknown(look)
    outcomes = seal.live() if outcomes is None else outcomes
    named, alone = _Counts(), _Counts()
    for item in known(taken(seal), outcomes):
        if isinstance(item, Difference):
            yield item
            continue
        for (step, arm, unit, *values), count in Counter(_kinds(outcomes[number]) for number in item.fresh).items():
            counts = named if unit else alone
            for kind in compress(_KINDS, values):
                counts[kind, step, ARMS.index(arm)] += count
        yield from _counts(item.look, named, alone)


def _kinds(one: Live) -> tuple[int, str, bool, bool, bool, bool]:
    """Return step and arm of an outcome, whether somebody is named, and which of `_KINDS` it has a value of."""
    return one.step, one.arm, one.unit is not None, True, one.quality is not None, one.latency_ms is not None


def _counts(look: Taken, named: _Counts, alone: _Counts) -> Iterator[Difference]:
    step, compared = look.before["step"], not any(item["watched"] == LEFT_OUT for item in look.live)

    def count(kind: str, arm: int) -> int:
        return named[kind, step, arm] + compared * alone[kind, step, arm]

    yield from differ(count("errors", 1), look.body["candidate_outcomes"], f"{look.path}.candidate_outcomes")
    for number, item in enumerate(look.body["findings"]):
        at, watched = f"{look.path}.findings[{number}]", item["watched"]
        kind = "latency" if watched in LATENCIES else watched.removesuffix(_FLOOR)
        if kind in ("errors", "quality", "latency"):
            yield from differ(count(kind, 1), item["n_candidate"], f"{at}.n_candidate")
            if not watched.endswith(_FLOOR):
                yield from differ(count(kind, 0), item["n_baseline"], f"{at}.n_baseline")
