"""A headless Chromium, driven over its DevTools protocol: pages from disk, seen and handled as a reader would."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import websocket

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A root's Chromium has no sandbox; the rest keeps it from asking the network for news of its own.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]
KEYS = {
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Home": 36,
    "End": 35,
    "Tab": 9,
    "Enter": 13,
}


def program():
    """Path of a Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Chromium:
    """One tab. `problems`: errors on the console, exceptions, and requests that go beyond the disk, since the last page."""

    def __init__(self):
        self.folder, self.number, self.events, self.problems = tempfile.mkdtemp(prefix="chromium-"), 0, [], []
        command = [program(), *FLAGS, f"--user-data-dir={self.folder}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = Path(self.folder, "DevToolsActivePort")
        until(
            lambda: port.exists() and len(port.read_text(encoding="utf-8").split()) == 2, "Chromium to start"
        )
        number, address = port.read_text(encoding="utf-8").split()
        self.socket = websocket.create_connection(
            f"ws://127.0.0.1:{number}{address}", suppress_origin=True, timeout=60
        )
        self.session = None
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
        wanted = self.number
        self.socket.send(
            json.dumps(
                {"id": wanted, "method": method, "params": arguments}
                | ({"sessionId": self.session} if self.session else {})
            )
        )
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == wanted:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._note(message)

    def _note(self, message):
        method, said = message.get("method"), message.get("params", {})
        self.events.append(method)
        if method == "Runtime.exceptionThrown":
            self.problems.append(
                said["exceptionDetails"].get("exception", {}).get("description", "exception")
            )
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert", "warning"):
            self.problems.append(" ".join(str(a.get("value", a.get("description"))) for a in said["args"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.problems.append(said["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not said["request"]["url"].startswith(
            ("file:", "data:", "blob:", "about:")
        ):
            self.problems.append(f"requests {said['request']['url']}")

    def open(self, path, width=1280, height=900, dark=False):
        """Show a page from disk in a window of that size, light or dark; a narrow one is a phone's."""
        self.problems, self.events, phone = [], [], width < 500
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        until(lambda: self.run("document.readyState") == "complete", f"{path} to load")
        self.run(
            "Promise.all([...document.images].map(image => image.decode().catch(() => 0))).then(() => 0)"
        )
        self.run("new Promise(done => setTimeout(done, 50))")  # what scripts do after the page has loaded

    def run(self, script):
        """The value of a piece of JavaScript; of a promise, what it comes to."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(
                result["exceptionDetails"].get("exception", {}).get("description", "exception")
            )
        return result["result"].get("value")

    def place(self, selector, x=0.5, y=0.5, index=0):
        """Where in the window a point of an element is, scrolled into view: `(x, y)` pixels."""
        script = f"""(() => {{ const e = document.querySelectorAll({json.dumps(selector)})[{index}];
            e.scrollIntoView({{block: "center", behavior: "instant"}});
            const r = e.getBoundingClientRect(); return [r.left + {x} * r.width, r.top + {y} * r.height]; }})()"""
        return self.run(script)

    def mouse(self, *points, press=False):
        """Move the mouse through points; with `press` as a drag from the first to the last."""
        for i, (x, y) in enumerate(points):
            held = {"button": "left", "buttons": 1} if press and i else {}
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **held)
            if press and i == 0:
                self.call(
                    "Input.dispatchMouseEvent",
                    type="mousePressed",
                    x=x,
                    y=y,
                    button="left",
                    buttons=1,
                    clickCount=1,
                )
        if press:
            self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)
        self._painted()

    def touch(self, *points):
        """Put a finger on the first point, draw it through the others, lift it."""
        for i, (x, y) in enumerate(points):
            self.call(
                "Input.dispatchTouchEvent",
                type="touchMove" if i else "touchStart",
                touchPoints=[{"x": x, "y": y}],
            )
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self._painted()

    def key(self, name, times=1, shift=False):
        """Press a key, some times."""
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                typed = {"text": "\r"} if name == "Enter" and kind == "keyDown" else {}
                self.call(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    **typed,
                    key=name,
                    code=name,
                    windowsVirtualKeyCode=KEYS[name],
                    modifiers=8 * shift,
                )
        self._painted()

    def _painted(self):
        self.run(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => 0)"
        )

    def screenshot(self, path):
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def pdf(self):
        """The page as printed on A4: bytes of a PDF."""
        printed = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        return base64.b64decode(printed["data"])


def until(true, what, seconds=60):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.05)
