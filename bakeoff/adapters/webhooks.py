"""Tell a receiver by POST what happened: signed, within a deadline, a few times.

Callers may rely on: `send` returns or raises OutsideError within the deadline, whatever the receiver does; the bytes
that are signed are those that are sent, behind their time; the secret is in no error and no repr.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OverdueError
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bakeoff import canonical
from bakeoff.adapters import settings
from bakeoff.adapters.settings import Settings
from bakeoff.errors import OutsideError

DEADLINE_S = 5.0
"""From the call to its end, all attempts together."""
ATTEMPTS = 20
"""Times that a message is sent again, by one command after the other, before it is left alone."""
_TRIES = 3
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 1.0
_TOO_MANY, _SERVER_ERROR, _GOOD = 429, 500, range(200, 300)


class RefusedError(OutsideError):
    """The receiver answered, and does not want this message: others may go through."""

    kind = "refused"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where messages go, and what they are signed with; None: unsigned."""

    url: str
    secret: str | None = field(default=None, repr=False)
    deadline_s: float = DEADLINE_S

    @property
    def shown(self) -> str:
        """The address without what may be secret in it."""
        return settings.address(self.url)


class _Again(Exception):  # noqa: N818  # a signal to the retries, never seen outside
    """This attempt failed in a way that may pass."""


def of(found: Settings) -> Receiver | None:
    """Return the receiver that is set, or None."""
    values = found.values
    if values.webhook_url is None:
        return None
    return Receiver(values.webhook_url, values.webhook_secret.get_secret_value() if values.webhook_secret else None)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the HMAC-SHA-256 of `timestamp.body`, as the header has it: neither part can be swapped."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def send(receiver: Receiver, message: dict[str, Any], *, key: str, at: datetime) -> None:
    """POST *message*, plain JSON, to *receiver*; *key* is the same whenever the same message is sent again.

    Raises OutsideError where it was not taken within the deadline, RefusedError where the receiver does not want it.
    """
    body, timestamp = canonical.encode(message), at.isoformat()
    headers = {"Content-Type": "application/json", "Idempotency-Key": key, "X-Bakeoff-Timestamp": timestamp}
    if receiver.secret:
        headers["X-Bakeoff-Signature"] = signature(receiver.secret, timestamp, body)
    result: Future[None] = Future()
    until = time.monotonic() + receiver.deadline_s
    # Each phase of a request has its own timeout, so that a receiver that dribbles could go on for ever: the caller
    # stops waiting, and the thread ends with its next timeout, or with the process.
    thread = threading.Thread(target=_deliver, args=(receiver, body, headers, until, result), daemon=True)
    thread.start()
    try:
        result.result(timeout=receiver.deadline_s)
    except OverdueError as error:
        raise OutsideError(
            f"webhook {receiver.shown} did not answer within {receiver.deadline_s:g} s",
            hint="it is tried again with the next tick",
        ) from error


def _deliver(receiver: Receiver, body: bytes, headers: dict[str, str], until: float, result: Future[None]) -> None:
    """Make the attempts, and put what came of them into *result*."""
    import stamina

    try:
        with _silent():
            retries = stamina.retry_context(
                on=_Again,
                attempts=_TRIES,
                timeout=receiver.deadline_s,
                wait_initial=_FIRST_WAIT_S,
                wait_max=_LONGEST_WAIT_S,
                wait_jitter=_FIRST_WAIT_S,
            )
            for attempt in retries:
                with attempt:
                    _post(receiver, body, headers, until)
    except _Again as error:
        result.set_exception(OutsideError(f"webhook {receiver.shown}: {error}", hint="it is tried again"))
    except BaseException as error:  # noqa: BLE001  # the caller raises it
        result.set_exception(error)
    else:
        result.set_result(None)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the retries from logging: stdout is data, and what failed is remembered with its notice."""
    from stamina import instrumentation

    before = instrumentation.get_on_retry_hooks()
    instrumentation.set_on_retry_hooks([])
    try:
        yield
    finally:
        instrumentation.set_on_retry_hooks(before)


def _post(receiver: Receiver, body: bytes, headers: dict[str, str], until: float) -> None:
    import httpx

    left = max(0.01, until - time.monotonic())
    try:
        with httpx.stream("POST", receiver.url, content=body, headers=headers, timeout=left) as response:
            status = response.status_code
    except httpx.TransportError as error:
        raise _Again(str(error) or type(error).__name__) from error
    except httpx.InvalidURL as error:
        raise RefusedError(f"webhook {receiver.shown}: {error}", hint="check BAKEOFF_WEBHOOK_URL") from error
    if status == _TOO_MANY or status >= _SERVER_ERROR:
        raise _Again(f"it answered {status}")
    if status not in _GOOD:
        raise RefusedError(
            f"webhook {receiver.shown} answered {status}", hint="check BAKEOFF_WEBHOOK_URL and what the receiver wants"
        )
