"""A page in a headless Chromium, driven through the pipe of its own debugging protocol: no port, no driver program.

The protocol: https://chromedevtools.github.io/devtools-protocol/. On a pipe each message is JSON and ends with a NUL.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headless_browser import Browser

PATIENCE = 60.0
# Chromium reads from descriptor 3 and writes to 4, and only there. A shell cannot redirect those above 9.
_ON_PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Page:
    """One open page, and its problems: `errors` of script, console and policy, `requests` that it sent."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._rest = b""
        self._number = 0
        self._session: dict[str, str] = {}
        self._loaded = 0
        self.errors: list[str] = []
        self.requests: list[str] = []

    def attach(self) -> None:
        """Open an empty page and listen to it."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def open(self, path: Path) -> None:
        """Load a file and wait until it is whole."""
        before = self._loaded
        self.ask("Page.navigate", url=path.as_uri())
        end = time.monotonic() + PATIENCE
        while self._loaded == before:
            self._take(self._next(end))

    def ask(self, method: str, **parameters: object) -> Any:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while (answer := self._next(end)).get("id") != self._number:
            self._take(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def value(self, script: str) -> Any:
        """Return what an expression gives in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of what a selector finds, as a person would."""
        spot = self.value(
            f"(() => {{ const it = document.querySelector({json.dumps(selector)});"
            " it.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});"
            " const box = it.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=spot[0], y=spot[1], button="left", clickCount=1)

    def press(self, key: str, *commands: str) -> None:
        """Press and release a key of the keyboard; `commands` are those of an editor that it starts."""
        # A button takes Enter by the character that it types.
        text = {"text": "\r", "windowsVirtualKeyCode": 13} if key == "Enter" else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, commands=list(commands), **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def picture(self, *, whole: bool = False) -> bytes:
        """Return what is seen as PNG, or the whole page."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reading], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("Chromium does not answer")
            data = os.read(self._reading, 1 << 16)
            if not data:
                raise EOFError("Chromium has ended")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _take(self, event: dict[str, Any]) -> None:
        what, details = event.get("method"), event.get("params", {})
        if what == "Page.loadEventFired":
            self._loaded += 1
        elif what == "Runtime.exceptionThrown":
            thrown = details["exceptionDetails"]
            self.errors.append(str(thrown.get("exception", {}).get("description") or thrown["text"]))
        elif what == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert"):
            self.errors.append(f"console.{details['type']}: {[each.get('value') for each in details['args']]}")
        elif what == "Log.entryAdded":
            self.errors.append(f"{details['entry']['source']}: {details['entry']['text']}")
        elif what == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])


@contextlib.contextmanager
def opened(browser: Browser, folder: Path) -> Iterator[Page]:
    """Start a browser with a profile of its own in a folder, give an empty page, and end it."""
    inside, writing = os.pipe()
    reading, outside = os.pipe()
    given = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (inside, outside)]
    os.close(inside)
    os.close(outside)
    # Its sandbox refuses to run as root; it is shown pages of this project only.
    words = [str(browser.program), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    words += ["--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", "--disable-background-networking"]
    words += ["--disable-dev-shm-usage", "--force-color-profile=srgb"]
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _ON_PIPES, *map(str, given), *words],
            env={**os.environ, **browser.environment},
            pass_fds=given,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    for end in given:
        os.close(end)
    page = Page(reading, writing)
    try:
        page.attach()
        yield page
    finally:
        # It ends by itself when its pipe is closed.
        os.close(writing)
        os.close(reading)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
