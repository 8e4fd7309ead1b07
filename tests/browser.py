"""A headless browser for tests, driven over its DevTools pipe: nothing is downloaded, nothing listens on a port."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--remote-debugging-pipe"),
)
_DEADLINE_S = 60.0


def installed() -> str | None:
    """Return the path of a browser, or None."""
    return next((found for found in map(shutil.which, NAMES) if found), None)


class Browser:
    """One page of a running browser, and what it reported: requests, errors, console messages."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._rest, self._last = write, read, b"", 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result; what is reported meanwhile is kept."""
        self._last += 1
        number = self._last
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == number:
                assert "error" not in found, f"{method}: {found['error']}"
                result: dict[str, Any] = found["result"]
                return result

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _DEADLINE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(deadline - time.monotonic(), 0.0))
            assert ready, "the browser says nothing"
            more = os.read(self._read, 1 << 16)
            assert more, "the browser is gone"
            self._rest += more
        line, self._rest = self._rest.split(b"\0", 1)
        found: dict[str, Any] = json.loads(line)
        self._heard(found.get("method"), found.get("params", {}))
        return found

    def _heard(self, method: str | None, said: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(said["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(said["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(said["entry"]["text"])

    def open(self, path: Path) -> None:
        """Open a file, and wait until it is there."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        while self.run("document.readyState") != "complete" or self.run("location.href") == "about:blank":
            time.sleep(0.02)

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression on the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def look(self, *, width: int, dark: bool, script: bool = True) -> None:
        """Show the page at *width* pixels, in a light or dark scheme, with or without its script."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)

    def click(self, selector: str) -> None:
        """Click on the middle of the element, with the mouse."""
        self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        box = self.run(f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector({selector!r}).getBoundingClientRect())")  # fmt: skip  # noqa: E501  # one expression
        at = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **at)
        self.run("new Promise(done => setTimeout(done, 20))")  # what the page does in answer

    def choose(self, selector: str, letter: str) -> None:
        """Choose the option that begins with *letter*, with the keyboard."""
        self.run(f"document.querySelector({selector!r}).focus()")
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=letter, text=letter if kind == "keyDown" else "")

    def type(self, text: str) -> None:
        """Type *text* into the element that has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> Path:
        """Write the whole page as a PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path


@contextmanager
def browser(program: str, folder: Path) -> Iterator[Browser]:
    """Start *program* with a new profile in *folder*; it ends with the block."""
    to_read, to_write = folder / "in", folder / "out"
    for pipe in (to_read, to_write):
        os.mkfifo(pipe)
    line = ["/bin/sh", "-c", 'exec "$@" 3<"$IN" 4>"$OUT"', "sh", program, *FLAGS, f"--user-data-dir={folder}/profile"]
    env = os.environ | {"IN": str(to_read), "OUT": str(to_write), "HOME": str(folder)}
    with subprocess.Popen(line, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        write, read = os.open(to_read, os.O_WRONLY), os.open(to_write, os.O_RDONLY)
        try:
            yield Browser(write, read)
        finally:
            os.close(write)  # a browser whose pipe is closed ends
            os.close(read)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
