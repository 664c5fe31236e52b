"""A headless Chromium, driven by the W3C's WebDriver protocol over chromedriver: JSON over HTTP, standard library only."""
import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
SECONDS = 60 # the longest wait for what must come
KEYS = {"tab": "\ue004", "enter": "\ue007", "escape": "\ue00c", "space": " ", "right": "\ue014"}


def found():
    """Whether there is a browser on this machine."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Refused(Exception):
    """What the protocol calls an error; its code comes first."""


class Browser:
    """One window, a profile of its own, and a log of what went wrong in it and what it asked for."""

    def __init__(self, width=1280, height=860):
        self.folder = tempfile.mkdtemp(prefix="tenon-browser-")
        self.words, self.session, self.connection = os.path.join(self.folder, "words"), "", None
        with open(self.words, "w") as words:
            self.process = subprocess.Popen(["chromedriver", "--port=0"], stdout=words, stderr=subprocess.STDOUT, start_new_session=True,
                                            env=dict(os.environ, HOME=self.folder, TMPDIR=self.folder))
        try:
            self.open(width, height)
        except BaseException:
            self.close()
            raise

    def open(self, width, height):
        self.connection = http.client.HTTPConnection("127.0.0.1", self.wait(self.own_port, "chromedriver"), timeout=2 * SECONDS)
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
                     "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
                     f"--user-data-dir={self.folder}/profile", f"--window-size={width},{height}"]
        capabilities = {"browserName": "chrome", "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": arguments},
                        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.session = "/session/" + self.send("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]

    def own_port(self):
        """The one that it has chosen and listens on, so that nobody else can take it meanwhile."""
        with open(self.words) as words:
            told = words.read()
        assert self.process.poll() is None, f"chromedriver has ended: {told}"
        started = re.search(r"successfully on port (\d+)", told)
        return int(started[1]) if started else None

    def send(self, method, path, body=None):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        self.connection.request(method, self.session + path, data, {"Content-Type": "application/json"})
        reply = self.connection.getresponse()
        value = json.loads(reply.read())["value"]
        if reply.status != 200:
            raise Refused(f"{value['error']}: {value['message'][:400]}")
        return value

    def wait(self, condition, what, seconds=SECONDS):
        """The first true value of `condition`, which may be refused until then: what it speaks of may be made anew meanwhile."""
        end, refused = time.monotonic() + seconds, ""
        while True:
            try:
                value = condition()
                if value:
                    return value
            except Refused as reason:
                refused = f": {reason}"
            assert time.monotonic() < end, f"there was no {what} within {seconds} s{refused}"
            time.sleep(0.02)

    def go(self, url):
        self.send("POST", "/url", {"url": url})

    def script(self, text, *arguments):
        return self.send("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def chrome(self, command, **parameters):
        """Of Chromium's own protocol, what WebDriver has no word for."""
        return self.send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def all(self, selector):
        return [value[ELEMENT] for value in self.send("POST", "/elements", {"using": "css selector", "value": selector})]

    def find(self, selector):
        return self.wait(lambda: self.all(selector), selector)[0]

    def labelled(self, tag, words):
        """The first of the elements `tag` with this text, or with this aria-label."""
        return self.wait(lambda: self.script(
            "return [...document.querySelectorAll(arguments[0])].find(e => (e.textContent.trim() === arguments[1]"
            " || e.getAttribute('aria-label') === arguments[1]) && e.checkVisibility())", tag, words), f"{tag} '{words}'")[ELEMENT]

    def click(self, element):
        self.script("arguments[0].scrollIntoView({block: 'center'})", {ELEMENT: element})
        self.send("POST", f"/element/{element}/click")

    def press(self, tag, words):
        self.wait(lambda: self.click(self.labelled(tag, words)) or True, f"press of {tag} '{words}'")

    def type(self, selector, text):
        """Instead of what the field holds."""
        element = self.find(selector)
        self.send("POST", f"/element/{element}/clear")
        self.send("POST", f"/element/{element}/value", {"text": text})

    def keys(self, *names):
        """Pressed one by one on whatever has the focus."""
        actions = [{"type": kind, "value": KEYS[name]} for name in names for kind in ("keyDown", "keyUp")]
        self.send("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def text(self, selector="main"):
        return self.script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def sees(self, words, selector="main", seconds=SECONDS):
        try:
            self.wait(lambda: words in self.text(selector), words, seconds)
        except AssertionError:
            raise AssertionError(f"'{words}' is not in: {self.text('body')[:3000]}") from None

    def name_of(self, element):
        """What a screen reader calls it."""
        return self.send("GET", f"/element/{element}/computedlabel")

    def picture(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.send("GET", "/screenshot")))

    def log(self, kind):
        """What came since the last call: of "browser", or of "performance"."""
        return self.send("POST", "/se/log", {"type": kind})

    def close(self):
        if self.session:
            with contextlib.suppress(Refused, OSError, http.client.HTTPException):
                self.send("DELETE", "")
        if self.connection:
            self.connection.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL) # a browser that hangs outlives its driver
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
