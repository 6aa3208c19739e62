"""A page in the installed Firefox, driven over WebDriver BiDi, which Firefox speaks by itself: no driver has to be installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from itertools import count

from websockets.sync.client import connect

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")


class Page:
    """One tab. What it complained about is in `complaints`."""

    def __init__(self, socket):
        self._socket, self._ids, self.complaints = socket, count(1), []
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        self._tab = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method, **parameters):
        """Sends a command and returns its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._socket.recv(timeout=30))
            if said.get("method") == "log.entryAdded" and said["params"]["level"] in ("error", "warn"):
                self.complaints.append(said["params"]["text"])
            if said.get("id") == number:
                assert said["type"] == "success", said
                return said["result"]

    def open(self, address):
        self.call("browsingContext.navigate", context=self._tab, url=address, wait="complete")

    def evaluate(self, code):
        """Returns the value of a JavaScript expression, awaited; it must be one that JSON can hold."""
        found = self.call(
            "script.evaluate",
            target={"context": self._tab},
            awaitPromise=True,
            expression=f"(async () => JSON.stringify({code}))()",
        )
        assert found["type"] == "success", found["exceptionDetails"]["text"]
        return json.loads(found["result"].get("value", "null"))

    def wait(self, condition, seconds=20):
        """Waits until a JavaScript expression is true."""
        until = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < until, f"not true within {seconds} s: {condition}"
            time.sleep(0.05)

    def resize(self, width, height):
        self.call("browsingContext.setViewport", context=self._tab, viewport={"width": width, "height": height})

    def click(self, selector):
        """Clicks into the middle of an element with a mouse."""
        box = self.evaluate(
            f"(() => {{ const at = document.querySelector({json.dumps(selector)}); at.scrollIntoView({{block: 'center'}});"
            " const box = at.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        moves = [{"type": "pointerMove", "x": round(box[0]), "y": round(box[1])}, {"type": "pointerDown", "button": 0}]
        self._act("pointer", [*moves, {"type": "pointerUp", "button": 0}])

    def press(self, key):
        self._act("key", [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}])

    def _act(self, kind, actions):
        self.call("input.performActions", context=self._tab, actions=[{"type": kind, "id": kind, "actions": actions}])


@contextmanager
def opened(profile, dark=False):
    """Starts Firefox without a window, with an empty profile; yields its page."""
    settings = {"layout.css.prefers-color-scheme.content-override": 0 if dark else 1, "remote.active-protocols": 1}
    profile.mkdir()
    (profile / "user.js").write_text("".join(f'user_pref("{name}", {value});\n' for name, value in settings.items()))
    command = [FIREFOX, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
    said = profile / "said.txt"
    with said.open("w") as stream:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream)
    try:
        with connect(f"{_address(said, process)}/session", max_size=None) as socket:
            yield Page(socket)
    finally:
        process.kill()
        process.wait()


def _address(said, process):
    """Returns the address at which Firefox listens, as soon as it has said it."""
    until = time.monotonic() + 60
    while (found := re.search(r"WebDriver BiDi listening on (\S+)\n", said.read_text())) is None:
        assert process.poll() is None and time.monotonic() < until, f"Firefox did not start: {said.read_text()}"
        time.sleep(0.05)
    return found.group(1)
