"""A client of OpenAI-compatible chat completions that keeps its deadline.

Callers may rely on: `complete` returns or raises ReaderError within the deadline, whatever the service does; at most
`max_in_flight` requests are open at any time, those that a caller gave up on included; a wait for a free place counts
against the deadline; the API key is in no error, log or repr.
"""

from __future__ import annotations

import json
import random
import re
import ssl
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Self

import httpx

from bakeoff.config import OpenAIReaderConfig
from bakeoff.errors import ConfigError, ReaderError

MAX_BODY_BYTES = 1_000_000
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 8.0
_SHOWN = 120  # characters of a service's own words in an error
_CONNECT_TIMEOUT_S = 10.0
_SLACK_S = 0.2
_TOO_MANY, _SERVER_ERROR = 429, 500


@dataclass(frozen=True, slots=True)
class Completion:
    """The reply and what the service says it counted; None: it did not say."""

    text: str
    input_tokens: int | None
    output_tokens: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take."""

    deadline_s: float
    max_in_flight: int
    retries: int
    max_output_tokens: int


class _Retryable(Exception):  # noqa: N818 - a signal between two methods, never seen outside
    """An attempt failed in a way that may pass; *after_s* is how long the service asked to wait."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class _Call:
    """One caller's request, shared with the thread that makes it."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.given_up = threading.Event()
        self.attempts = 0
        self.last = ""  # what went wrong in the latest attempt
        self.result: Future[Completion] = Future()

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()


class ChatClient:
    """Sends chats to one service. Safe to use from several threads; close it in the end."""

    def __init__(self, base_url: str, model: str, *, api_key: str | None, limits: Limits, seed: int | None) -> None:
        """Prepare for *base_url* (`/chat/completions` is added). Raises ConfigError where it can't be used."""
        self._url = _endpoint(base_url)
        self._model = model
        self._key = api_key
        self._limits = limits
        self._seed = seed
        self._places = threading.BoundedSemaphore(limits.max_in_flight)
        self._lock = threading.Lock()
        self._abandoned = 0
        self._running = 0
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        pool = httpx.Limits(max_connections=limits.max_in_flight)
        self._http = httpx.Client(headers=headers, limits=pool, follow_redirects=False, verify=_certificates())

    @classmethod
    def from_config(cls, cfg: OpenAIReaderConfig, *, environ: Mapping[str, str], seed: int | None) -> Self:
        """Return the client of *cfg*; without a key in *environ* none is sent, as local services want none."""
        key = environ.get(cfg.api_key_env, "").strip() or None
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise ConfigError(
                f"{cfg.api_key_env} holds characters that an HTTP header can't carry",
                hint="set it to the key alone: printable ASCII without spaces",
            )
        limits = Limits(cfg.deadline_s, cfg.max_in_flight, cfg.retries, cfg.max_output_tokens)
        return cls(cfg.base_url, cfg.model, api_key=key, limits=limits, seed=seed)

    def __repr__(self) -> str:
        return f"ChatClient({str(self._url)!r}, {self._model!r})"

    @property
    def abandoned(self) -> int:
        """How many calls ran into their deadline with a request still open, since the client was made."""
        with self._lock:
            return self._abandoned

    @property
    def running(self) -> int:
        """How many requests are open now, abandoned ones included; never above `max_in_flight`."""
        with self._lock:
            return self._running

    def close(self) -> None:
        """Close the connections; open requests end with an error."""
        self._http.close()

    def complete(self, *, system: str, user: str) -> Completion:
        """Return the reply to *user* under *system*. Raises ReaderError, at the latest when the deadline is reached."""
        call = _Call(time.monotonic() + self._limits.deadline_s)
        if not self._places.acquire(timeout=self._limits.deadline_s):
            raise ReaderError(
                f"no free place for a request to {self._url} within {self._limits.deadline_s:g} s: "
                f"{self._limits.max_in_flight} are in flight",
                hint="raise reader.deadline_s or reader.max_in_flight, or use fewer workers",
            )
        self._start(call, self._body(system, user))
        try:
            return call.result.result(timeout=max(0.0, call.left_s))
        except TimeoutError:
            with self._lock:
                self._abandoned += 1
            last = f"; the one before: {call.last}" if call.last else ""
            attempt = f"attempt {max(1, call.attempts)}{last}"
            raise ReaderError(
                f"no answer from {self._url} within {self._limits.deadline_s:g} s ({attempt})",
                hint="raise reader.deadline_s, or look at the service",
            ) from None
        finally:
            call.given_up.set()  # nobody waits any more, whatever the reason: no further attempt

    def _start(self, call: _Call, body: bytes) -> None:
        with self._lock:
            self._running += 1
        # A daemon of its own, since a pool's threads are joined at exit and a hung service would hold the process.
        thread = threading.Thread(target=self._work, args=(call, body), name="bakeoff-reader", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._finish()
            raise ReaderError("no thread can be started for a request", hint="use fewer workers") from error

    def _finish(self) -> None:
        with self._lock:
            self._running -= 1
        self._places.release()

    def _body(self, system: str, user: str) -> bytes:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "temperature": 0,
            "max_tokens": self._limits.max_output_tokens,
        }
        if self._seed is not None:
            body["seed"] = self._seed
        return json.dumps(body).encode()

    def _work(self, call: _Call, body: bytes) -> None:
        """Run in a thread: make the attempts, hand over the result, and only then give the place back."""
        try:
            completion = self._attempts(call, body)
        except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
            call.result.set_exception(error)
        else:
            call.result.set_result(completion)
        finally:
            self._finish()

    def _attempts(self, call: _Call, body: bytes) -> Completion:
        while True:
            call.attempts += 1
            try:
                return self._attempt(call, body)
            except _Retryable as error:
                call.last = str(error)
                tries = f"{call.attempts} attempt" + ("s" if call.attempts > 1 else "")
                if call.attempts > self._limits.retries:
                    raise ReaderError(f"{call.last} ({tries})", hint="look at the service, or try later") from error
                wait_s = _wait(call.attempts, error.after_s)
                if wait_s >= call.left_s:
                    raise ReaderError(
                        f"{call.last} ({tries}); the next one is due in {wait_s:.1f} s, "
                        f"beyond the deadline of {self._limits.deadline_s:g} s",
                        hint="raise reader.deadline_s, or send fewer requests",
                    ) from error
            if call.given_up.wait(wait_s):
                raise ReaderError("given up")

    def _attempt(self, call: _Call, body: bytes) -> Completion:
        left_s = max(0.001, call.left_s)
        # A little later than the caller's own deadline, so that it is always the caller who says what happened.
        timeout = httpx.Timeout(left_s + _SLACK_S, connect=min(left_s + _SLACK_S, _CONNECT_TIMEOUT_S))
        headers = {"Content-Type": "application/json"}
        try:
            with self._http.stream("POST", self._url, content=body, headers=headers, timeout=timeout) as response:
                raw = self._receive(call, response)
        except httpx.TransportError as error:
            raise _Retryable(f"{self._url}: {self._words(str(error)) or type(error).__name__}") from error
        if response.status_code == _TOO_MANY or response.status_code >= _SERVER_ERROR:
            message = f"{self._url} answered {response.status_code}{self._reason(raw)}"
            raise _Retryable(message, _retry_after(response.headers.get("Retry-After")))
        if response.status_code != httpx.codes.OK:
            refused = response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
            raise ReaderError(
                f"{self._url} answered {response.status_code}{self._reason(raw)}",
                hint="check the key in the variable that reader.api_key_env names"
                if refused
                else "check the reader's base_url and model",
            )
        return self._parse(raw, response.headers.get("Content-Type", "no content type"))

    def _receive(self, call: _Call, response: httpx.Response) -> bytes:
        """Return the body. A service that drips bytes never meets a read timeout, so the deadline is checked here."""
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            raise ReaderError(f"{self._url} answered with Content-Encoding {self._words(encoding)}, expected identity")
        parts = bytearray()
        for part in response.iter_raw():
            parts += part
            if len(parts) > MAX_BODY_BYTES:
                raise ReaderError(f"{self._url} answered with more than {MAX_BODY_BYTES:,} bytes")
            if call.given_up.is_set():
                raise ReaderError(f"{self._url} did not end its answer in time")
        return bytes(parts)

    def _words(self, text: str) -> str:
        """Return *text* from outside as one short line without the key."""
        line = "".join(char if char.isprintable() else " " for char in text[: 10 * _SHOWN])
        if self._key:
            line = line.replace(self._key, "[key]")
        line = " ".join(line.split())
        return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"

    def _reason(self, raw: bytes) -> str:
        """Return what the body of a refusal says, as `: words`, or nothing."""
        try:
            error = json.loads(raw)["error"]
            text = error["message"] if isinstance(error, dict) else error
        except (ValueError, TypeError, KeyError, RecursionError):
            return ""
        return f": {self._words(text)}" if isinstance(text, str) and text.strip() else ""

    def _parse(self, raw: bytes, content_type: str) -> Completion:
        """Return the reply in *raw*. Raises ReaderError that says what is not as it should be."""
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError) as error:
            begins = self._words(raw[:_SHOWN].decode("utf-8", "replace"))
            kind = self._words(content_type)
            raise ReaderError(f"{self._url} answered with no JSON ({kind}): {begins!r}") from error
        problem, text = _content(body)
        if problem:
            raise ReaderError(
                f"{self._url} answered with JSON that is no chat completion: {problem}",
                hint="check that base_url is an OpenAI-compatible service (it usually ends in /v1)",
            )
        usage = body.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        return Completion(text, _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens")))


@cache
def _certificates() -> ssl.SSLContext:
    """Return the trusted certificates; reading them takes a tenth of a second, so it is done once."""
    return httpx.create_ssl_context()


def _endpoint(base_url: str) -> httpx.URL:
    try:
        return httpx.URL(base_url.rstrip("/") + "/chat/completions")
    except httpx.InvalidURL as error:
        raise ConfigError(f"reader.base_url is no address: {error}", hint="e.g. http://localhost:8000/v1") from error


def _wait(attempt: int, after_s: float | None) -> float:
    """Return the seconds before the next attempt: what the service asked for, else doubling with jitter."""
    if after_s is not None:
        return after_s
    longest: float = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (attempt - 1))
    return random.uniform(longest / 2, longest)


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header (RFC 9110, 10.2.3) asks for; None where it says nothing usable."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _content(body: object) -> tuple[str, str]:
    """Return (problem, text) of a completion's body; one of them is empty."""
    if not isinstance(body, dict):
        return f"expected an object, got {type(body).__name__}", ""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        return "no choices", ""
    first = choices[0]
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        return "choices[0] has no message", ""
    text = message.get("content")
    if not isinstance(text, str):
        return f"the content is {'null' if text is None else type(text).__name__}, expected text", ""
    return ("", text) if text.strip() else ("the content is empty", "")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
