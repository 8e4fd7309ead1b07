"""What `route` takes and shows: instants, headers, the policy as rows and as a sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bakeoff import report, routing
from bakeoff.errors import InputError

if TYPE_CHECKING:
    from bakeoff.adapters.policies import Said
    from bakeoff.routing import Policy

GOES_ON = (
    "note: the step's hours went on: what is due begins, or completes, with the next turn, in a second; not wanted? "
    "bakeoff canary pause, or bakeoff canary rollback --reason TEXT"
)
"""What whoever takes the kill switch back has to know, where a rollout with real traffic runs."""


def instant(text: str) -> datetime:
    """Return the instant that *text* says, UTC where it names no zone. Raises InputError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"--at {text!r} is no time", hint="give ISO 8601, UTC where no zone is named: 2026-01-31T14:30:00"
        ) from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def header(text: str) -> str:
    """Return the value of the header *text*, `NAME=VALUE` or `NAME: VALUE`. Raises InputError unless it counts."""
    cut = "=" if "=" in text else ":"
    name, _, value = (part.strip() for part in text.partition(cut))
    hint = f"--header {routing.HEADER}=1 for the candidate, =0 for the baseline"
    if name.lower() != routing.HEADER.lower():
        raise InputError(f"--header {text!r}: the one that counts is {routing.HEADER}", hint=hint)
    if routing.asked_for(value) is None:
        raise InputError(f"--header {text!r}: expected 1 or 0, a router ignores anything else", hint=hint)
    return value


def reason(text: str) -> str:
    """Return why, on one line. Raises InputError where nothing is said."""
    if not (found := " ".join(text.split())):
        raise InputError("--reason is blank", hint="say why: it is kept in the log")
    return found


def row(word: Said) -> dict[str, Any]:
    """Return what somebody said as plain JSON."""
    at = word.at.astimezone(UTC).isoformat()
    return {
        "event": word.event,
        "unit": word.value or None,
        "arm": word.arm,
        "at": at,
        "by": word.by,
        "reason": word.reason,
    }


def policy(found: Policy | None) -> dict[str, Any] | None:
    """Return a policy as plain JSON, without its units."""
    if found is None:
        return None
    return {
        "rollout": found.rollout_id or None,
        "version": found.version or None,
        "phase": _phase(found),
        "percent": found.weight_bp / 100,
        "baseline": found.baseline or None,
        "candidate": found.candidate or None,
        "killed": found.killed,
        "shadow": found.shadow,
        "forced": len(found.forced),
        "stale": found.stale,
        "environment": found.environment or None,
    }


def _phase(found: Policy) -> str:
    if found.completed:
        return "completed"
    return "halted" if found.halted else "on its way"


def line(found: Policy | None) -> str:
    """Return a policy in one line."""
    if found is None:
        return "no rollout: what is in production answers"
    if not found.rollout_id:
        return "not known yet: what is in production answers"
    flags = (
        (found.killed, "KILLED"),
        (found.stale, "STALE"),
        (found.environment, f"BAKEOFF_RAG={found.environment}"),
        (not found.shadow, "no shadow"),
        (found.forced, f"{len(found.forced)} forced"),
    )
    said = "".join(f", {text}" for holds, text in flags if holds)
    share = f"{found.weight_bp / 100:g} % to the candidate {found.candidate}"
    return f"{found.rollout_id} version {found.version}: {_phase(found)}, {share}{said}"


def told(at: str, found: Policy | None) -> str:
    """Return a change in one line."""
    return f"{at} {line(found)}"


def shown(data: dict[str, Any], found: Policy | None) -> str:
    """Return the policy with everything that was said beside it."""
    words = [
        "  "
        + report.line(
            f"{word['event'].replace('_', ' ')}{' ' + word['unit'] if word['unit'] else ''}"
            f"{' to ' + word['arm'] if word['arm'] else ''}: {word['at']} by {word['by']}: {word['reason']}"
        )
        for word in data["said"]
    ]
    return "\n".join([line(found), *words])
