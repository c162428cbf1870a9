"""A page in a headless Chromium, driven over a pipe by the DevTools protocol: what it asks for, what fails, and what it looks like.

    chromium.py PAGE.html --picture PAGE.png --scheme dark --width 1240 --until 'figure.timeline'
"""

import argparse
import base64
import fcntl
import json
import os
import pathlib
import selectors
import shutil
import subprocess
import tempfile
import time

SECONDS = 60
FLAGS = "--headless --disable-gpu --no-first-run --no-default-browser-check --disable-background-networking --disable-component-update"
FLAGS += " --disable-extensions --disable-sync --hide-scrollbars --remote-debugging-pipe"


def beyond_the_first(end):
    """The same end under a number that Chromium's own two, 3 and 4, cannot replace."""
    moved = fcntl.fcntl(end, fcntl.F_DUPFD, 10)
    os.close(end)
    return moved


class Browser:
    """A process of Chromium whose names of hosts lead nowhere."""

    def __init__(self, binary="chromium"):
        found = shutil.which(binary)
        assert found, f"there is no {binary}; Debian: apt-get install chromium"
        self.folder = tempfile.TemporaryDirectory()
        (self.read_end, its_write_end), (its_read_end, self.write_end) = os.pipe(), os.pipe()
        its_read_end, its_write_end = beyond_the_first(its_read_end), beyond_the_first(its_write_end)
        flags = [*FLAGS.split(), f"--user-data-dir={self.folder.name}", "--host-resolver-rules=MAP * ~NOTFOUND"]
        # A container's root has no other way.
        flags += ["--no-sandbox"] if os.geteuid() == 0 else []
        ends = f"exec 3<&{its_read_end} 4>&{its_write_end}; exec \"$@\""
        self.process = subprocess.Popen(
            ["bash", "-c", ends, "chromium", found, *flags, "about:blank"],
            pass_fds=[its_read_end, its_write_end],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(its_read_end)
        os.close(its_write_end)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.read_end, selectors.EVENT_READ)
        self.rest, self.messages, self.number = b"", [], 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        for end in self.read_end, self.write_end:
            os.close(end)
        # It may still write there.
        shutil.rmtree(self.folder.name, ignore_errors=True)

    def receive(self, until):
        """The next message; `None` when that time is over."""
        while b"\0" not in self.rest:
            if not self.selector.select(max(0, until - time.monotonic())):
                return None
            read = os.read(self.read_end, 1 << 20)
            assert read, "Chromium has ended"
            self.rest += read
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while answer := self.receive(until):
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.messages.append(answer)
        raise AssertionError(f"Chromium does not answer {method}")

    def open(self, path, *how, **more):
        return Page(self, path, *how, **more)


class Page:
    """A page of a file, in light or dark."""

    def __init__(self, browser, path, scheme="light", width=1240, height=1000, scripts=True):
        self.browser = browser
        self.url = pathlib.Path(path).resolve().as_uri()
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log", "Network", "Accessibility":
            self.call(f"{domain}.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.bringToFront")
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=self.url)
        until = time.monotonic() + SECONDS
        while not self.events("Page.loadEventFired"):
            message = browser.receive(until)
            assert message, f"{path} does not load"
            browser.messages.append(message)

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def events(self, *methods):
        """What was told so far."""
        told = self.browser.messages
        return [message["params"] for message in told if message.get("sessionId") == self.session and message.get("method") in methods]

    def evaluate(self, expression):
        """The value of an expression of JavaScript, after the next picture that the browser draws."""
        drawn = f"new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done({expression}))))"
        result = self.call("Runtime.evaluate", expression=drawn, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, (expression, result)
        return result["result"].get("value")

    def requests(self):
        """Addresses that it has asked for, but for pictures within it."""
        urls = [event["request"]["url"] for event in self.events("Network.requestWillBeSent")]
        return [url for url in urls if not url.startswith("data:")]

    def faults(self):
        """Errors of scripts, and what the browser has refused or warned of."""
        thrown = [event["exceptionDetails"]["text"] for event in self.events("Runtime.exceptionThrown")]
        logged = [event["entry"]["text"] for event in self.events("Log.entryAdded")]
        return thrown + logged + [str(event["args"]) for event in self.events("Runtime.consoleAPICalled")]

    def key(self, key):
        for kind in "keyDown", "keyUp":
            text = {"text": key} if kind == "keyDown" and len(key) == 1 else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **text)

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, x, y, to_x, steps=4):
        self.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
        for step in range(1, steps + 1):
            self.mouse("mouseMoved", x + (to_x - x) * step / steps, y, button="left", buttons=1)
        self.mouse("mouseReleased", to_x, y, button="left", clickCount=1)

    def picture(self, path, height=None):
        """Writes the page as PNG, down to this height."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        png = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(png))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("page", type=pathlib.Path)
    arguments.add_argument("--picture", type=pathlib.Path, required=True)
    arguments.add_argument("--scheme", choices=["light", "dark"], default="light")
    arguments.add_argument("--width", type=int, default=1240)
    arguments.add_argument("--until", help="what the picture ends with, as a selector of CSS")
    given = arguments.parse_args()
    with Browser() as browser:
        page = browser.open(given.page, given.scheme, given.width)
        height = None
        if given.until:
            height = page.evaluate(f"document.querySelector({json.dumps(given.until)}).getBoundingClientRect().bottom + scrollY + 24")
        page.picture(given.picture, height)


if __name__ == "__main__":
    main()
