"""A headless Chromium, driven over its DevTools protocol: pages from disk, seen as a reader would."""

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import websocket

from lthdepth.paper.build import CHROMIUM, QUIET

FLAGS = ["headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars", *QUIET]
KEYS = dict(ArrowLeft=37, ArrowUp=38, ArrowRight=39, Home=36, End=35, Tab=9, Enter=13, Escape=27)


def program():
    """Path of a Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


class Chromium:
    """One tab. `problems`: errors, exceptions, and requests that go beyond the disk, since the last page."""

    def __init__(self):
        self.folder, self.number = tempfile.mkdtemp(prefix="chromium-"), 0
        self.problems, self.session = [], None
        flags = [*FLAGS, "remote-debugging-port=0", f"user-data-dir={self.folder}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([program(), *(f"--{flag}" for flag in flags)], **quiet)
        port = Path(self.folder, "DevToolsActivePort")
        until(lambda: port.exists() and port.read_text(encoding="utf-8").count("\n"), "Chromium to start")
        number, address = port.read_text(encoding="utf-8").split()
        url = f"ws://127.0.0.1:{number}{address}"
        self.socket = websocket.create_connection(url, suppress_origin=True, timeout=120)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method, **arguments):
        """A command of the protocol; its result."""
        self.number += 1
        wanted, session = self.number, {"sessionId": self.session} if self.session else {}
        self.socket.send(json.dumps({"id": wanted, "method": method, "params": arguments} | session))
        while (message := json.loads(self.socket.recv())).get("id") != wanted:
            self._note(message.get("method"), message.get("params", {}))
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        return message["result"]

    def _note(self, method, said):
        url = said.get("request", {}).get("url", "file:")
        spoken = method == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert", "warning")
        logged = method == "Log.entryAdded" and said["entry"]["level"] == "error"
        if spoken or logged or method == "Runtime.exceptionThrown":
            self.problems.append(str(said))
        elif not url.startswith(("file:", "data:", "blob:", "about:")):
            self.problems.append(f"requests {url}")

    def open(self, path, width=1280, height=900, dark=False):
        """Show a page from disk in a window of that size, light or dark; a narrow one is a phone's."""
        self.problems, phone = [], width < 500
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        until(lambda: self.run("document.readyState") == "complete", f"{path} to load")
        decoded = "[...document.images].map(image => image.decode().catch(() => 0))"
        self.run(f"Promise.all({decoded}).then(() => new Promise(done => setTimeout(done, 50)))")

    def run(self, script):
        """The value of a piece of JavaScript; of a promise, what it comes to."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def place(self, selector, x=0.5, y=0.5):
        """Where in the window a point of an element is, scrolled into view: `(x, y)` pixels."""
        return self.run(f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: "center", behavior: "instant"}});
            const r = e.getBoundingClientRect();
            return [r.left + {x} * r.width, r.top + {y} * r.height]; }})()""")

    def mouse(self, *points, press=False):
        """Move the mouse through points; with `press` as a drag from the first to the last."""
        steps = [("mouseMoved", point) for point in points]
        if press:
            steps = [steps[0], ("mousePressed", points[0]), *steps[1:], ("mouseReleased", points[-1])]
        for i, (kind, (x, y)) in enumerate(steps):
            held = {"button": "left", "buttons": 1, "clickCount": 1} if press and i else {}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)
        self._painted()

    def tap(self, x, y):
        """Touch a place as a finger does, with all that follows from it, a click too."""
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self._painted()

    def key(self, name, times=1, shift=False):
        """Press a key, some times."""
        typed = {"key": name, "code": name, "windowsVirtualKeyCode": KEYS[name], "modifiers": 8 * shift}
        typed |= {"text": "\r"} if name == "Enter" else {}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", **typed)
            self.call("Input.dispatchKeyEvent", type="keyUp", **typed)
        self._painted()

    def _painted(self):
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")


def until(true, what, seconds=60):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.05)
