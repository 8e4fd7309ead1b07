"""Messages to a receiver: what they hold, how they are signed, and that no receiver holds anything up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bakeoff.adapters import plans, records, rollouts, webhooks
from bakeoff.adapters.records import About
from bakeoff.adapters.webhooks import Receiver, RefusedError
from bakeoff.errors import OutsideError
from bakeoff.rollout import Abort, Pause, Promote, Start
from bakeoff.stages import advance, notices, recheck
from bakeoff.stages.notices import Settled
from tests import moved, support

SECRET = "a secret of the tests"  # noqa: S105  # of nothing
OPTIONS = recheck.Options(cache_dir=support.CACHE)
AT = moved.after(1)


class Server(ThreadingHTTPServer):
    """A receiver that answers as it is told, and keeps what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.codes: list[int] = []
        """The next answers; 204 where there are none left."""
        self.hangs = threading.Event()
        self.dribbles = False
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Where it listens, with something secret in the path."""
        return f"http://127.0.0.1:{self.server_address[1]}/hook/token"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        if self.server.hangs.is_set():
            while self.server.hangs.is_set():
                time.sleep(0.02)
            return
        if self.server.dribbles:
            self._dribble()
            return
        self.send_response(self.server.codes.pop(0) if self.server.codes else 204)
        self.end_headers()

    def _dribble(self) -> None:
        """Answer a byte at a time, for ever."""
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while self.server.dribbles:
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.02)
        except OSError:  # the sender left, as it should
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A receiver on this machine."""
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.hangs.clear()
        made.dribbles = False
        made.shutdown()
        thread.join()
        made.server_close()


def send(receiver: Receiver) -> None:
    """Send one message."""
    webhooks.send(receiver, {"rollout": "r20260105-1", "said": "größer"}, key="r20260105-1:3", at=AT)


def test_a_message_is_signed(server: Server) -> None:
    """Canonical bytes, their HMAC-SHA-256 behind the time, a key that is the same when it is sent again."""
    send(Receiver(server.url, SECRET))
    ((headers, body),) = server.got
    assert '{"rollout":"r20260105-1","said":"größer"}'.encode() == body
    assert "r20260105-1:3" == headers["Idempotency-Key"]
    assert "application/json" == headers["Content-Type"]
    assert "2026-01-05T09:00:00+00:00" == headers["X-Bakeoff-Timestamp"]
    assert webhooks.signature(SECRET, "2026-01-05T09:00:00+00:00", body) == headers["X-Bakeoff-Signature"]


def test_the_signature_is_pinned() -> None:
    """Receivers compute it themselves: it never changes."""
    expected = "sha256=ebd24f91c981901ef852697133629e8d03e7cd8c1aae0c8441d1fa678a379fee"
    assert expected == webhooks.signature("secret", "2026-01-05T09:00:00+00:00", b'{"a":1}')


def test_without_a_secret_nothing_is_signed(server: Server) -> None:
    """And nothing pretends to be."""
    send(Receiver(server.url))
    assert "X-Bakeoff-Signature" not in server.got[0][0]


def test_a_busy_receiver_is_asked_again(server: Server) -> None:
    """An answer of 500 or 429 may pass: up to three attempts, of the same bytes, under the same key."""
    server.codes = [500, 429]
    send(Receiver(server.url, SECRET))
    assert 3 == len(server.got)
    assert 1 == len({body for _, body in server.got})
    assert 1 == len({headers["Idempotency-Key"] for headers, _ in server.got})


def test_a_receiver_that_stays_broken_is_given_up(server: Server) -> None:
    """After three attempts, with its last answer, and without what is secret in its address."""
    server.codes = [500, 502, 503, 500]
    with pytest.raises(OutsideError, match=r"webhook http://127\.0\.0\.1:\d+/\*\*\*: it answered 503") as caught:
        send(Receiver(server.url, SECRET))
    assert 3 == len(server.got)
    assert "token" not in str(caught.value)
    assert SECRET not in repr(Receiver(server.url, SECRET))


def test_what_a_receiver_does_not_want_is_not_sent_again(server: Server) -> None:
    """An answer of 400 does not pass."""
    server.codes = [400]
    with pytest.raises(RefusedError, match="answered 400"):
        send(Receiver(server.url))
    assert 1 == len(server.got)


@pytest.mark.parametrize("how", ["hangs", "dribbles"])
def test_a_receiver_that_never_ends_costs_its_deadline(server: Server, how: str) -> None:
    """One that says nothing, and one that says a byte at a time: the caller goes on."""
    if how == "hangs":
        server.hangs.set()
    server.dribbles = how == "dribbles"
    began = time.monotonic()
    with pytest.raises(OutsideError):
        send(Receiver(server.url, deadline_s=0.4))
    assert time.monotonic() - began < 10


def test_nobody_listens() -> None:
    """A refused connection is an error in words, within the deadline."""
    with pytest.raises(OutsideError, match="webhook http://127"):
        send(Receiver("http://127.0.0.1:9", deadline_s=3.0))


# --- Notices --------------------------------------------------------------------------------------------------------


class Site:
    """A rollout that has begun, and what settles its notices."""

    def __init__(self, url: str) -> None:
        self.connect = support.connector(url)
        sides = moved.sides(url)
        with self.connect() as conn:
            self.rollout_id = moved.started(conn, moved.planned(conn, sides)).rollout_id

    def settle(self, receiver: Receiver | None) -> Settled:
        """Tell what there is to tell."""
        return notices.settle(self.connect, receiver, clock=_later, options=OPTIONS)

    def notices(self) -> list[tuple[str, int, bool, int, str]]:
        """Kind, version, whether it was sent, attempts and last error of each."""
        with self.connect() as conn:
            found = rollouts.notices(conn, self.rollout_id)
        return [(one.kind, one.version, one.sent_at is not None, one.attempts, one.last_error) for one in found]

    def pause(self) -> None:
        """Move it."""
        with self.connect() as conn:
            advance.act(conn, self.rollout_id, Pause("ada", "lunch"), now=AT)


def _later() -> datetime:
    return moved.after(2)


@pytest.fixture
def site(database_url: str) -> Site:
    """A rollout that has begun."""
    return Site(database_url)


def test_every_move_is_told_in_order(site: Site, server: Server) -> None:
    """Who, what, to which share, of which locks; once."""
    site.pause()
    assert Settled(sent=2) == site.settle(Receiver(server.url, SECRET))
    first, second = (json.loads(body) for _, body in server.got)
    assert ("start", "running", 1000, 1) == tuple(first[name] for name in ("event", "phase", "weight_bp", "version"))
    assert ("pause", "paused", "paused by ada: lunch") == tuple(second[name] for name in ("event", "phase", "said"))
    assert (site.rollout_id, False, "candidate") == (
        second["rollout"],
        second["simulated"],
        second["candidate"]["name"],
    )
    assert [f"{site.rollout_id}:1", f"{site.rollout_id}:2"] == [headers["Idempotency-Key"] for headers, _ in server.got]
    assert Settled() == site.settle(Receiver(server.url, SECRET))
    assert 2 == len(server.got)


def test_what_was_not_taken_is_sent_later(site: Site, server: Server) -> None:
    """In order: while the receiver is broken the second waits behind the first; both arrive."""
    site.pause()
    server.codes = [500] * 3
    done = site.settle(Receiver(server.url))
    assert (0, True) == (done.sent, str(done.error).endswith("it answered 500"))
    assert [1, 0] == [attempts for *_, attempts, _ in site.notices()]
    assert 2 == site.settle(Receiver(server.url)).sent
    assert [("moved", 1, True, 2, ""), ("moved", 2, True, 1, "")] == site.notices()


def test_what_is_refused_does_not_block_the_others(site: Site, server: Server) -> None:
    """A message that the receiver does not want stays behind with its error."""
    site.pause()
    server.codes = [400]
    assert 1 == site.settle(Receiver(server.url)).sent
    (first, second) = site.notices()
    assert (False, 1, True) == (first[2], first[3], first[4].endswith("answered 400"))
    assert second[2]


def test_a_notice_is_left_alone_in_the_end(site: Site, server: Server) -> None:
    """After twenty attempts."""
    for _ in range(webhooks.ATTEMPTS):
        server.codes = [400]
        site.settle(Receiver(server.url))
    assert Settled() == site.settle(Receiver(server.url))
    assert webhooks.ATTEMPTS == len(server.got)


def test_without_a_receiver_nothing_is_ticked_off(site: Site) -> None:
    """Nothing was told to anybody, and nobody says so."""
    assert Settled() == site.settle(None)
    assert [("moved", 1, False, 0, "")] == site.notices()


def test_the_newest_rollout_is_told_first(site: Site, server: Server) -> None:
    """What is on its way comes before what is over, and a rehearsal last: a receiver that is slow gets what counts."""
    with site.connect() as conn:
        advance.act(conn, site.rollout_id, Abort("ada", "off"), now=AT)
        stored = plans.find(conn, plans.NEWEST)
        rehearsed = rollouts.start(conn, stored, Start("ada"), clock="simulated", at=moved.after(90)).rollout_id
        advance.act(conn, rehearsed, Abort("ada", "off"), now=moved.after(91))
        newest = moved.started(conn, stored, at=moved.after(2)).rollout_id
    site.settle(Receiver(server.url))
    told = [(each["rollout"], each["version"]) for each in (json.loads(body) for _, body in server.got)]
    assert [(newest, 1), (site.rollout_id, 1), (site.rollout_id, 2), (rehearsed, 1), (rehearsed, 2)] == told


def test_what_is_no_news_any_more_is_left_out(site: Site, server: Server) -> None:
    """A receiver that was set later hears nothing of what was written a day before, once said; what failed goes on."""
    site.pause()
    with site.connect() as conn:
        first, second = rollouts.notices(conn, site.rollout_id)
        rollouts.failed(conn, second, error="timed out")
        conn.execute("ALTER TABLE rollout_events DISABLE TRIGGER USER")
        conn.execute("UPDATE rollout_events SET recorded_at = recorded_at - interval '25 hours'")
    done = site.settle(Receiver(server.url))
    assert (1, 1, None) == (done.left, done.sent, done.error)
    assert [second.version] == [json.loads(body)["version"] for _, body in server.got]
    assert ("moved", first.version, False, 0, rollouts.TOO_OLD) == site.notices()[0]
    assert Settled() == site.settle(Receiver(server.url))


def test_a_step_that_is_held_is_told_once(site: Site, server: Server) -> None:
    """Far beyond its hours, and again in no other case; with what holds it, under a key of its own."""
    with site.connect() as conn:
        found = rollouts.find(conn, site.rollout_id)
        assert not notices.remember_held(conn, found, "the last look says hold", at=moved.after(18))
        assert not notices.remember_held(conn, found, None, at=moved.after(19))
        assert notices.remember_held(conn, found, "the last look says hold", at=moved.after(19))
        advance.act(conn, site.rollout_id, Promote("ada", force=True, why="test"), now=moved.after(20))
        later = rollouts.find(conn, site.rollout_id)
        assert not notices.remember_held(conn, found, "the last look says hold", at=moved.after(20))
        assert notices.remember_held(conn, later, "no look yet", at=moved.after(40))
        assert rollouts.last_error(conn) is None
    assert 4 == site.settle(Receiver(server.url)).sent
    bodies = {headers["Idempotency-Key"]: json.loads(body) for headers, body in server.got}
    held = bodies[f"{site.rollout_id}:1:held"]
    assert ("held", "running", 1) == tuple(held[name] for name in ("event", "phase", "step"))
    assert "step 1 is held 3.0 hours beyond its hours: the last look says hold" == held["said"]
    assert 2 == bodies[f"{site.rollout_id}:2:held"]["step"]


def test_a_rehearsal_waits_for_nobody(site: Site) -> None:
    """Held or not, nobody is told of a simulated step."""
    with site.connect() as conn:
        advance.act(conn, site.rollout_id, Abort("ada", "off"), now=AT)
        stored = plans.find(conn, plans.NEWEST)
        found = rollouts.start(conn, stored, Start("ada"), clock="simulated", at=moved.after(2))
        assert not notices.remember_held(conn, found, "the last look says hold", at=moved.after(99))


def test_the_last_error_is_there_for_all(site: Site, server: Server) -> None:
    """Also for a rollout whose own notices wait behind another's."""
    server.codes = [400]
    site.settle(Receiver(server.url))
    with site.connect() as conn:
        assert str(rollouts.last_error(conn)).endswith("answered 400")


def test_a_hanging_receiver_does_not_delay_a_rollback(site: Site, server: Server) -> None:
    """The rollback has committed, and a router in another session sees it, while the receiver is still waited for."""
    site.settle(Receiver(server.url))
    server.hangs.set()
    with site.connect() as conn:
        advance.roll_back(conn, site.rollout_id, by="ada", why="wrong", now=AT)
    settled: list[Settled] = []
    waiting = threading.Thread(target=lambda: settled.append(site.settle(Receiver(server.url, deadline_s=1.0))))
    waiting.start()
    _until(lambda: len(server.got) > 1)
    with site.connect() as conn:
        assert ("rolled_back", 0) == (rollouts.find(conn, site.rollout_id).phase, len(settled))
    waiting.join()
    assert "did not answer within 1 s" in str(settled[0].error) or "timed out" in str(settled[0].error)


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_rollback_is_checked_once(site: Site) -> None:
    """Its record says what is wrong: these locks were never ingested, so that nothing can be said to answer."""
    with site.connect() as conn:
        advance.roll_back(conn, site.rollout_id, by="ada", why="wrong", now=AT)
    (made,) = site.settle(None).checks
    found: dict[str, Any] = {item["check"]: item["verdict"] for item in made.body["findings"]}
    assert {"routing": "pass", "active-lock": "pass", "table": "error", "answer": "error"} == found
    assert "error" == made.verdict
    assert () == site.settle(None).checks
    with site.connect() as conn:
        stored = records.latest(conn, "rollback_check", About())
    assert stored is not None
    assert made.record_id == stored.record_id


@contextmanager
def locked_notices(site: Site) -> Iterator[None]:
    """Another controller that is sending."""
    with site.connect() as conn, conn.transaction():
        assert rollouts.unsent(conn, "moved", limit=webhooks.ATTEMPTS)
        yield


def test_of_two_controllers_one_sends(site: Site, server: Server) -> None:
    """What another one has in hand is left to it."""
    with locked_notices(site):
        assert Settled() == site.settle(Receiver(server.url))
    assert 1 == site.settle(Receiver(server.url)).sent
