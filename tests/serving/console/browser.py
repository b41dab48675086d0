"""A headless Chromium driven by the DevTools protocol: as much of it as the tests of a page need.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
KEYS = {"Enter": (13, "\r"), "ArrowRight": (39, ""), "ArrowDown": (40, ""), "Escape": (27, "")}


class Page:
    """One tab."""

    def __init__(self, socket):
        self._socket = socket
        self._numbers = itertools.count(1)
        self.complaints = []
        """What the page logged as an error, exceptions and refusals of the policy among it."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            said = json.loads(self._socket.recv(timeout=30))
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]
            self._note(said)

    def _note(self, said):
        params = said.get("params", {})
        if said.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"])
        if said.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])

    def js(self, expression):
        """What an expression gives, awaited; an error of it is an error here."""
        reply = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def until(self, expression, timeout_s=20):
        """Wait until an expression is true, and return it."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.js(expression)):
            assert time.monotonic() < deadline, f"never true: {expression}\n{self.complaints}"
            time.sleep(0.05)
        return value

    def size(self, width, height):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def open(self, address):
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def press(self, key):
        code, text = KEYS[key] if key in KEYS else (ord(key.upper()), key)
        down = {"key": key, "windowsVirtualKeyCode": code} | ({"text": text} if text else {})
        self.call("Input.dispatchKeyEvent", type="keyDown", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def drop(self, file, *, x, y):
        """Drag a file from the desktop over the page, and let it go there."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def screenshot(self, path, *, full=True):
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=full)
        Path(path).write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def opened(profile):
    """A tab of a fresh Chromium whose profile lies in a folder; skips where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if found := re.search(r"ws://([^/]+)/", line):
                break
        else:
            pytest.fail("Chromium does not say where it listens")
        with connect(_tab(found[1]), max_size=2**26) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _tab(host):
    import httpx2

    tabs = httpx2.get(f"http://{host}/json", trust_env=False).json()
    return next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
