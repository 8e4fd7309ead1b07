"""A rollout as data: its phases, what can happen to it, its state, and what follows outside.

Callers may rely on: events and states survive the way through JSON unchanged; what is no event or state is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from bakeoff.errors import IntegrityError
from bakeoff.verdicts import Verdict


class Phase(StrEnum):
    """Where a rollout is."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"


OPEN = frozenset({Phase.RUNNING, Phase.PAUSED})
"""Phases in which traffic is still on its way."""


class Action(StrEnum):
    """What a look asks for. ERROR: it could not be taken, and is neither a pass nor a fail."""

    GO = "go"
    HOLD = "hold"
    ROLL_BACK = "rollback"
    ERROR = "error"


ACTION_OF: Mapping[Verdict, Action] = {
    Verdict.PASS: Action.GO,
    Verdict.INCONCLUSIVE: Action.HOLD,
    Verdict.NO_DATA: Action.HOLD,
    Verdict.ERROR: Action.ERROR,
    Verdict.FAIL: Action.ROLL_BACK,
}
"""What a rollout does about a verdict."""


class Reason(StrEnum):
    """Why an event did, or did not do, what it is for."""

    STARTED = "started"
    LOOKED = "looked"
    BREACH = "breach"
    UNMEASURED = "unmeasured"
    TOOK_TOO_LONG = "took_too_long"
    PROMOTED = "promoted"
    FORCED = "forced"
    COMPLETED = "completed"
    APPROVED = "approved"
    BY_HAND = "by_hand"
    ENDED = "ended"
    PAUSED = "paused"
    NOT_PAUSED = "not_paused"
    ALREADY_PAUSED = "already_paused"
    NOT_DUE = "not_due"
    NOT_LOOKED = "not_looked"
    NOT_GREEN = "not_green"
    TOO_FEW = "too_few"
    NOT_APPROVED = "not_approved"
    NOT_NOW = "not_now"
    NO_SUCH_SHARE = "no_such_share"
    SKIPS_STEPS = "skips_steps"
    NOTHING_TO_APPROVE = "nothing_to_approve"
    CLOCK_WENT_BACK = "clock_went_back"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Start:
    """Begin with the first step's share."""

    by: str
    why: str = ""
    judgement: int | None = None
    """The record of the judgement that it begins on; None in histories that did not say, and in what is only played."""
    kind: Literal["start"] = "start"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the live outcomes, and at the KPIs measured anew, said."""

    action: Action
    verdict: Verdict
    candidate_outcomes: int
    """The candidate's outcomes within the running step."""
    said: str
    findings: tuple[Mapping[str, Any], ...] = ()
    rechecked: bool = False
    """Whether the offline KPIs were measured anew for this look."""
    known: int | None = None
    """Outcomes of the whole rollout that it rests on, of `taken_at` and before; None where it could not be taken."""
    taken_at: datetime | None = None
    """Its own instant; what it leads to may be of a later one, since to measure anew takes its time."""
    rules: int = 2
    """By which rules it was taken: a history is replayed by its own."""
    kind: Literal["look"] = "look"


@dataclass(frozen=True, slots=True)
class Advance:
    """The next step, if it is due: what time alone asks for."""

    kind: Literal["advance"] = "advance"


@dataclass(frozen=True, slots=True)
class Promote:
    """The next step, or the one with the share *to*, asked for by a person."""

    by: str
    to: float | None = None
    force: bool = False
    why: str = ""
    kind: Literal["promote"] = "promote"


@dataclass(frozen=True, slots=True)
class Approve:
    """Let the next step begin, when it is due."""

    by: str
    why: str = ""
    kind: Literal["approve"] = "approve"


@dataclass(frozen=True, slots=True)
class Pause:
    """Stay at the share that is reached; the step's hours stop."""

    by: str
    why: str = ""
    kind: Literal["pause"] = "pause"


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on after a pause."""

    by: str
    why: str = ""
    kind: Literal["resume"] = "resume"


@dataclass(frozen=True, slots=True)
class Rollback:
    """All traffic back to the baseline: the candidate is not to be trusted."""

    by: str
    why: str
    kind: Literal["rollback"] = "rollback"


@dataclass(frozen=True, slots=True)
class Abort:
    """All traffic back to the baseline, and nothing said against the candidate."""

    by: str
    why: str
    kind: Literal["abort"] = "abort"


Event = Start | Look | Advance | Promote | Approve | Pause | Resume | Rollback | Abort


class Effect(StrEnum):
    """What follows outside the state: the first three within the move's transaction, the others after its commit."""

    ACTIVATE_CANDIDATE = "activate_candidate"
    ARCHIVE_BASELINE = "archive_baseline"
    REACTIVATE_BASELINE = "reactivate_baseline"
    TELL = "tell"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of a rollout; instants are aware, to the second."""

    phase: Phase
    step: int
    """From 1."""
    weight_bp: int
    """The candidate's share of the units, in basis points."""
    started_at: datetime
    step_began_at: datetime
    """When the running step's hours began to count; a pause moves it on."""
    last_at: datetime
    looked_at: datetime | None = None
    """When it was last looked, whatever came of it."""
    rechecked_at: datetime | None = None
    action: Action | None = None
    """What the last look within this step asked for; None: there was none."""
    candidate_outcomes: int = 0
    """Of the candidate, within this step, at the last look."""
    unmeasured: int = 0
    """Looks in a row that could not be taken."""
    approved: int | None = None
    """The step that may begin as far as people are asked."""
    paused_at: datetime | None = None
    ended_at: datetime | None = None

    def body(self) -> dict[str, Any]:
        """Return the state as plain JSON."""
        return {name: _plain(getattr(self, name)) for name in _OF_STATE}


_OF_STATE = tuple(item.name for item in fields(State))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an event: the state that follows, or the one before where it was not *accepted*."""

    state: State
    accepted: bool
    reason: Reason
    said: str
    effects: tuple[Effect, ...] = ()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, StrEnum) else value


def body_of(event: Event) -> dict[str, Any]:
    """Return *event* as plain JSON."""
    found = {name: _plain(value) for name, value in asdict(event).items()}
    return {**found, "findings": list(found["findings"])} if isinstance(event, Look) else found


_KINDS: dict[str, type[Any]] = {
    "start": Start,
    "look": Look,
    "advance": Advance,
    "promote": Promote,
    "approve": Approve,
    "pause": Pause,
    "resume": Resume,
    "rollback": Rollback,
    "abort": Abort,
}


FIRST_RULES = 1
"""Those of looks that name none: a last step that had its hours was taken for completing, whatever else it lacked."""


def event_of(body: Mapping[str, Any]) -> Event:
    """Return the event that `body_of` made *body* of. Raises IntegrityError where it is none."""
    given = dict(body)
    try:
        if given.get("kind") == "look":
            given |= {
                "rules": given.get("rules", FIRST_RULES),
                "action": Action(given["action"]),
                "verdict": Verdict(given["verdict"]),
                "findings": tuple(given["findings"]),
                "taken_at": None if given.get("taken_at") is None else datetime.fromisoformat(given["taken_at"]),
            }
        made: Event = _KINDS[given["kind"]](**given)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"no event of a rollout: {error}", hint="its history was changed") from error
    return made


_TIMES = ("started_at", "step_began_at", "last_at", "looked_at", "rechecked_at", "paused_at", "ended_at")


def state_of(body: Mapping[str, Any]) -> State:
    """Return the state that `State.body` made *body* of. Raises IntegrityError where it is none."""
    given = dict(body)
    try:
        given |= {name: None if given[name] is None else datetime.fromisoformat(given[name]) for name in _TIMES}
        given |= {
            "phase": Phase(given["phase"]),
            "action": None if given["action"] is None else Action(given["action"]),
        }
        return State(**given)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"no state of a rollout: {error}", hint="its row was changed") from error
