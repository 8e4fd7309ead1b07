"""Promises of the OpenAI-compatible reader, against a service on this machine that misbehaves in every known way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bakeoff.adapters import llm
from bakeoff.adapters.llm import MAX_BODY_BYTES
from bakeoff.adapters.readers import Answer, OpenAIReader, open_reader
from bakeoff.config import OpenAIReaderConfig
from bakeoff.errors import ReaderError
from bakeoff.fusion import Hit

KEY = "sk-very-secret-0123456789"
Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Plays the next behaviour of the script; the last one is repeated."""

    protocol_version = "HTTP/1.1"
    server: Service

    def do_POST(self) -> None:
        """Keep the request, then misbehave."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        behaviour = self.server.enter(self, body)
        try:
            behaviour(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's own name
        """Keep quiet."""

    def say(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        """Send *body*; *length* lies about it."""
        self.send_response(status)
        for name, value in {"Content_Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


class Service(ThreadingHTTPServer):
    """A fake service on a free port of the loopback interface."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Behaviour] = [right()]
        self.requests: list[tuple[str, str | None, dict[str, object]]] = []
        self.released = threading.Event()
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: a caller that gave up closes its connection."""

    @property
    def base_url(self) -> str:
        """The address to give a reader."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def enter(self, handler: Handler, body: bytes) -> Behaviour:
        """Keep a request and choose what it gets."""
        with self.lock:
            self.requests.append((handler.path, handler.headers.get("Authorization"), json.loads(body)))
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]


def right(text: str = "42 [1].", **usage: object) -> Behaviour:
    """Answer as the interface asks."""
    return body({"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage})


def body(value: object) -> Behaviour:
    """Answer 200 with *value* as JSON."""
    return raw(json.dumps(value).encode())


def raw(data: bytes, status: int = 200, length: int | None = None, **headers: str) -> Behaviour:
    """Answer with *data* as it is."""
    return lambda handler: handler.say(data, status, length, **headers)


def hang(handler: Handler) -> None:
    """Say nothing until the test is over."""
    handler.server.released.wait(10)


def drip(handler: Handler) -> None:
    """Send a byte now and then, so that no read timeout is ever met."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        if handler.server.released.wait(0.05):
            return


def cut(handler: Handler) -> None:
    """Promise more than is sent and close."""
    handler.say(b'{"choices": [', length=500)
    handler.close_connection = True


def slam(handler: Handler) -> None:
    """Close without a word."""
    handler.close_connection = True


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Run a service that no proxy stands before, for a client that does not wait long between attempts."""
    monkeypatch.setattr(llm, "_FIRST_WAIT_S", 0.02)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


def config(url: str, **settings: object) -> OpenAIReaderConfig:
    """Return the configuration of a reader at *url*."""
    base = {"kind": "openai", "base_url": url, "model": "m", "deadline_s": 5.0, "api_key_env": "THE_KEY"}
    return OpenAIReaderConfig.model_validate({**base, **settings})


@pytest.fixture
def make(service: Service) -> Iterator[Callable[..., OpenAIReader]]:
    """Make readers of the service and close them in the end."""
    made: list[OpenAIReader] = []

    def build(**settings: object) -> OpenAIReader:
        reader = open_reader(config(service.base_url, **settings), environ={"THE_KEY": KEY}, seed=11)
        assert isinstance(reader, OpenAIReader)
        made.append(reader)
        return reader

    yield build
    service.released.set()
    for reader in made:
        reader.close()


def hit(number: int) -> Hit:
    """Return the chunk at place *number*."""
    text = f"Fact {number}."
    return Hit(f"c{number}", "fp", "doc", number * 10, number * 10 + 7, text, 3, number, 1.0, 1, 0.5, None, None)


CONTEXT = [hit(1), hit(2), hit(3)]


def ask(reader: OpenAIReader) -> Answer:
    """Ask the one question of these tests."""
    return reader.read("What is it?", CONTEXT)


def until_idle(reader: OpenAIReader) -> None:
    """Wait until no request is open; long before the service would end it."""
    until = time.monotonic() + 2.0
    while reader._client.running:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_right_answer_is_cited_and_counted(service: Service, make: Callable[..., OpenAIReader]) -> None:
    """Citations become whole chunks in order, numbers of no passage are ignored, the service's counts are kept."""
    service.script = [right("It is 42 [2, 1], see x[0] [2][9].", prompt_tokens=70, completion_tokens=9)]
    answer = ask(make())
    assert answer.text == "It is 42, see x[0]."
    assert [span.chunk_id for span in answer.used] == ["c2", "c1"]
    assert (answer.used[0].start, answer.used[0].end, answer.used[0].text) == (20, 27, "Fact 2.")
    assert (answer.input_tokens, answer.output_tokens) == (70, 9)
    assert (answer.abstained, answer.error) == (False, None)


def test_the_request_is_reproducible(service: Service, make: Callable[..., OpenAIReader]) -> None:
    """It carries temperature 0, the lock's seed, numbered passages and the key, at the right path."""
    ask(make(max_output_tokens=77))
    path, authorization, sent = service.requests[0]
    assert path == "/v1/chat/completions"
    assert authorization == f"Bearer {KEY}"
    assert (sent["temperature"], sent["seed"], sent["max_tokens"], sent["model"]) == (0, 11, 77, "m")
    messages = sent["messages"]
    assert isinstance(messages, list)
    assert "[1] Fact 1.\n\n[2] Fact 2.\n\n[3] Fact 3.\n\nQuestion: What is it?" in messages[1]["content"]


@pytest.mark.parametrize("text", ["NOT FOUND", " not found.", '"NOT FOUND" - the passages are about dogs [1].'])
def test_not_found_is_an_abstention(text: str, service: Service, make: Callable[..., OpenAIReader]) -> None:
    """The agreed words mean that nothing is answered, whatever stands around them."""
    service.script = [right(text)]
    assert ask(make()) == Answer(None, abstained=True)


def test_without_context_nobody_is_asked(service: Service, make: Callable[..., OpenAIReader]) -> None:
    """No passages: it abstains and sends nothing."""
    assert make().read("What?", []) == Answer(None, abstained=True)
    assert service.requests == []


RUBBISH = {
    "html": (raw(b"<html><b>Sign in</b></html>", Content_Type="text/html"), r"no JSON \(text/html\): '<html>"),
    "half json": (raw(b'{"choices": ['), "no JSON"),
    "not utf-8": (raw(b"\xff\xfe\x00"), "no JSON"),
    "deep json": (raw(b"[" * 200_000), "no JSON"),
    "a list": (body([1]), "expected an object, got list"),
    "no choices": (body({"choices": []}), "no choices"),
    "choices a text": (body({"choices": "x"}), "no choices"),
    "a choice a text": (body({"choices": ["x"]}), "has no message"),
    "null content": (body({"choices": [{"message": {"content": None}}]}), "content is null, expected text"),
    "a number": (body({"choices": [{"message": {"content": 5}}]}), "content is int, expected text"),
    "blank": (right("  \n"), "content is empty"),
    "giant": (raw(b" " * (MAX_BODY_BYTES + 1)), "more than 1,000,000 bytes"),
    "zipped": (raw(b"x", Content_Encoding="gzip"), "Content-Encoding gzip"),
    "moved": (raw(b"", 302, Location="http://127.0.0.1:9/"), "answered 302"),
    "bad key": (
        raw(json.dumps({"error": {"message": f"bad key {KEY}\nsorry"}}).encode(), 401),
        r"401: bad key \[key\]",
    ),
    "bad request": (raw(b'{"error": "no model m"}', 400), "answered 400: no model m"),
}


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish_is_an_error_in_words(name: str, service: Service, make: Callable[..., OpenAIReader]) -> None:
    """Every kind of rubbish becomes one clear line, at once, asked once, without the key."""
    behaviour, expected = RUBBISH[name]
    service.script = [behaviour]
    reader = make()
    with pytest.raises(ReaderError, match=expected) as caught:
        reader._client.complete(system="s", user="u")
    assert len(service.requests) == 1
    assert KEY not in str(caught.value) + repr(caught.value) + repr(reader) + repr(reader._client)
    assert "\n" not in str(caught.value)
    answer = ask(reader)
    assert (answer.text, answer.abstained, answer.error) == (None, False, str(caught.value))


def test_wrong_counts_are_not_counted(service: Service, make: Callable[..., OpenAIReader]) -> None:
    """A usage of wrong types is unknown, not zero, and no error."""
    service.script = [right("Yes.", prompt_tokens="many", completion_tokens=True)]
    answer = ask(make())
    assert (answer.text, answer.input_tokens, answer.output_tokens) == ("Yes.", None, None)


@pytest.mark.parametrize("failure", [raw(b"oops", 500), raw(b"", 503), cut, slam])
def test_a_failure_that_passes_is_tried_again(
    failure: Behaviour, service: Service, make: Callable[..., OpenAIReader]
) -> None:
    """A server error, a body cut off and a closed connection are followed by another attempt."""
    service.script = [failure, right("Yes.")]
    assert ask(make()).text == "Yes."
    assert len(service.requests) == 2


def test_retries_are_counted(service: Service, make: Callable[..., OpenAIReader]) -> None:
    """After the configured retries it ends, and says how often it tried."""
    service.script = [raw(b"", 500)]
    assert "answered 500 (2 attempts)" in (ask(make(retries=1)).error or "")
    assert len(service.requests) == 2


def test_retry_after_is_honoured(service: Service, make: Callable[..., OpenAIReader]) -> None:
    """A rate limit's own waiting time is kept."""
    service.script = [raw(b"", 429, Retry_After="1"), right("Yes.")]
    began = time.monotonic()
    assert ask(make()).text == "Yes."
    assert 1.0 <= time.monotonic() - began < 4.0


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_wait_beyond_the_deadline_ends_at_once(
    form: str, service: Service, make: Callable[..., OpenAIReader]
) -> None:
    """Nobody waits for an attempt that can't be made any more; seconds and dates are both understood."""
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    asked = in_an_hour if form == "date" else "60"
    service.script = [raw(b"", 429, Retry_After=asked)]
    began = time.monotonic()
    error = ask(make()).error or ""
    assert "answered 429 (1 attempt)" in error
    assert "beyond the deadline of 5 s" in error
    assert time.monotonic() - began < 3.0


@pytest.mark.parametrize("asked", ["soon", "-5", "1e9", ""])
def test_a_senseless_retry_after_is_ignored(asked: str, service: Service, make: Callable[..., OpenAIReader]) -> None:
    """A header that says nothing usable leaves the own waiting time."""
    service.script = [raw(b"", 429, Retry_After=asked), right("Yes.")]
    assert ask(make()).text == "Yes."


@pytest.mark.parametrize("behaviour", [hang, drip])
def test_the_deadline_holds(behaviour: Behaviour, service: Service, make: Callable[..., OpenAIReader]) -> None:
    """A silent and a dripping service cost the caller the deadline; the request left open is counted, and ends."""
    service.script = [behaviour]
    reader = make(deadline_s=0.5)
    began = time.monotonic()
    error = ask(reader).error or ""
    assert 0.4 < time.monotonic() - began < 2.0
    assert "within 0.5 s (attempt 1)" in error
    assert reader._client.abandoned == 1
    until_idle(reader)


def test_the_deadline_spans_all_attempts(service: Service, make: Callable[..., OpenAIReader]) -> None:
    """A failure first and silence then together cost one deadline, and the error tells of both."""
    service.script = [raw(b"", 500), hang]
    began = time.monotonic()
    error = ask(make(deadline_s=0.5)).error or ""
    assert time.monotonic() - began < 2.0
    assert "attempt 2; the one before: " in error
    assert "answered 500" in error


def test_no_more_than_allowed_are_in_flight(service: Service, make: Callable[..., OpenAIReader]) -> None:
    """Twelve callers share two places and all get their answers."""
    open_now: list[int] = []
    most = []

    def slow(handler: Handler) -> None:
        open_now.append(1)
        most.append(max(len(open_now), reader._client.running))
        time.sleep(0.05)
        open_now.pop()  # before the answer, since the next request may come as soon as it is read
        right("Yes.")(handler)

    service.script = [slow]
    reader = make(max_in_flight=2)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: ask(reader).text, range(12)))
    assert answers == ["Yes."] * 12
    assert max(most) == 2


def test_abandoned_requests_keep_their_places(service: Service, make: Callable[..., OpenAIReader]) -> None:
    """A place is free only when its request has ended: a hung service is never sent more than the cap."""
    running = []

    def watched(handler: Handler) -> None:
        running.append(reader._client.running)
        drip(handler)

    service.script = [watched]
    reader = make(max_in_flight=1, deadline_s=0.3)
    with ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        errors = [answer.error or "" for answer in pool.map(lambda _: ask(reader), range(4))]
        assert time.monotonic() - began < 2.0
    assert all("within 0.3 s" in error for error in errors)
    assert any("no free place" in error for error in errors)
    assert max(running) == 1


def test_the_place_comes_back_after_a_hang(service: Service, make: Callable[..., OpenAIReader]) -> None:
    """When the socket's own timeout has ended a hung request, the next caller is served."""
    service.script = [hang, right("Yes.")]
    reader = make(max_in_flight=1, deadline_s=2.0)
    assert ask(reader).error is not None
    until_idle(reader)
    assert ask(reader).text == "Yes."


def test_nobody_listening_is_an_error(service: Service, make: Callable[..., OpenAIReader]) -> None:
    """A refused connection names the address and the attempts."""
    service.server_close()
    assert "(1 attempt)" in (ask(make(retries=0)).error or "")


def test_no_key_sends_no_authorization(service: Service) -> None:
    """A local service without keys is not sent an empty one."""
    reader = open_reader(config(service.base_url), environ={})
    assert reader.read("What?", CONTEXT).text == "42."
    assert service.requests[0][1] is None
    assert "seed" not in service.requests[0][2]
    reader.close()
