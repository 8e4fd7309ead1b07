"""The policy of a running process, kept up to date: told by the database, polled beside it, believed for so long.

Callers may rely on: `policy` costs two reads and one look at a clock, takes no lock and never waits; a change is there
as soon as the database tells of it; a policy that was not confirmed for `max_age_s` says so by itself, even where the
thread hangs; a lost database is looked for until `close`, at most every `_LONGEST_WAIT_S`.
"""

from __future__ import annotations

import threading
from time import monotonic
from types import TracebackType
from typing import NamedTuple, Self

import psycopg

from bakeoff.adapters import policies, postgres, queries
from bakeoff.adapters.postgres import Connection
from bakeoff.errors import BakeoffError, ConfigError
from bakeoff.routing import UNKNOWN, Policy

_SLICE_S = 0.2
"""How long the thread listens before it asks whether it is to end."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_CONNECT_TIMEOUT_S = 5


class _Seen(NamedTuple):
    """What was read, what it becomes when it is too old, and from when on it is (monotonic seconds)."""

    policy: Policy | None
    aged: Policy
    until: float


class Watcher:
    """Keeps the policy of the database at *url* while its `with` block runs; *environment* is BAKEOFF_RAG.

    Entering waits for the first read, or for its failure: then the policy is `routing.UNKNOWN` until one succeeds.
    """

    def __init__(self, url: str, *, environment: str = "", max_age_s: float = 30.0, poll_s: float = 5.0) -> None:
        if not 0 < poll_s < max_age_s:
            raise ConfigError(f"poll_s is {poll_s:g}, expected above 0 and below max_age_s ({max_age_s:g})")
        self._url = url
        self._environment = environment
        self._max_age_s, self._poll_s = max_age_s, poll_s
        self._seen = _Seen(None, UNKNOWN._replace(environment=environment), -1.0)
        self._ending, self._tried = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="bakeoff-routing", daemon=True)
        self.last_error: str = ""
        """Why the database could not be asked the last time; empty while it can."""
        self.connections = 0
        """How often it has connected."""

    @property
    def policy(self) -> Policy | None:
        """What routes now, for `routing.decide`."""
        seen = self._seen
        return seen.policy if monotonic() < seen.until else seen.aged

    def __enter__(self) -> Self:
        self._thread.start()
        self._tried.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the thread and its connection; the policy ages from here on."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        wait_s = _FIRST_WAIT_S
        while not self._ending.is_set():
            confirmed = self._seen.until
            try:
                self._follow()
            except (BakeoffError, psycopg.Error) as error:
                self.last_error = str(error).strip().split("\n")[0]
            finally:
                self._tried.set()
            wait_s = _FIRST_WAIT_S if self._seen.until > confirmed else min(2 * wait_s, _LONGEST_WAIT_S)
            self._ending.wait(wait_s)

    def _follow(self) -> None:
        """Read the policy and listen, until the end or until the database is lost."""
        with postgres.open_url(
            self._url, connect_timeout_s=_CONNECT_TIMEOUT_S, autocommit=True, **postgres.LIVELINESS
        ) as conn:
            self.connections += 1
            conn.execute(queries.get("routing.listen"))  # before the first read: nothing falls between the two
            while not self._ending.is_set():
                self._read(conn)
                again = monotonic() + self._poll_s
                while not self._ending.is_set() and monotonic() < again:
                    if list(conn.notifies(timeout=_SLICE_S, stop_after=1)):
                        break

    def _read(self, conn: Connection) -> None:
        asked = monotonic()  # before the question: the answer is as old as that
        policy = policies.current(conn, environment=self._environment)
        aged = UNKNOWN._replace(environment=self._environment) if policy is None else policy._replace(stale=True)
        self._seen = _Seen(policy, aged, asked + self._max_age_s)
        self.last_error = ""
        self._tried.set()
