#!/usr/bin/env python3
"""Reports and the live page as a person sees them, in headless Chromium over its debugging pipe: every figure drawn, no error on the console, no
request to another host, keys and themes, and, where the Python package axe-playwright-python is there, axe-core's rules.

  python3 tests/page.py REPORT.html|http://127.0.0.1:PORT/... [--pictures DIR]

The names of a page's pictures end in its width and theme.  Of a live page a job must be running: its step must move.

Says "skipped: no chromium" and ends with 0 where there is none.  CI does not run it: deploy/packages.sh has no browser.
"""
import argparse
import base64
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

DEADLINE = 60.0  # seconds, for anything that is waited for
WIDTHS = (390, 1440)
THEMES = ("light", "dark")


class Browser:
    """One Chromium, spoken to in JSON with a zero byte behind each message, on its descriptors 3 and 4."""

    def __init__(self, program):
        self.profile = tempfile.TemporaryDirectory()
        to_read, self.to = os.pipe()
        self.answers, from_write = os.pipe()
        flags = ["--headless", "--remote-debugging-pipe", "--no-first-run", "--hide-scrollbars", "--disable-gpu",
                 f"--user-data-dir={self.profile.name}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # it refuses root otherwise
        # The shell gives the pipes the numbers that Chromium expects.
        line = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
        self.process = subprocess.Popen(["bash", "-c", line, program, *flags, "about:blank"], pass_fds=(to_read, from_write),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.number, self.left, self.events = 0, b"", []

    def receive(self):
        while b"\0" not in self.left:
            more = os.read(self.answers, 1 << 20)
            if not more:
                raise RuntimeError("chromium has gone")
            self.left += more
        message, self.left = self.left.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") != self.number:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.profile.cleanup()


class Page:
    """One page of a browser in a width and a theme."""

    def __init__(self, browser, address, width, theme):
        self.browser, browser.events = browser, []
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.began = time.monotonic()
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'", "the page")

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def evaluate(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", script))
        return answer["result"].get("value")

    def wait(self, condition, what):
        end = time.monotonic() + DEADLINE
        while not self.evaluate(condition):
            if time.monotonic() > end:
                raise AssertionError(f"not within {DEADLINE} s: {what}")

    def press(self, key):
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key if len(key) == 1 else "")
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def picture(self, path):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 12000), "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def requests(self):
        return [event["params"]["request"]["url"] for event in self.browser.events
                if event.get("method") == "Network.requestWillBeSent"]

    def complaints(self):
        """What the console says, and requests that leave this page."""
        found = []
        for event in self.browser.events:
            parameters = event.get("params", {})
            match event.get("method"):
                case "Runtime.exceptionThrown":
                    found.append(parameters["exceptionDetails"]["exception"].get("description", "exception"))
                case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                    found.append(f"console: {parameters['args']}")
                case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                    found.append(f"log: {parameters['entry']['text']}")
                case "Network.requestWillBeSent":
                    url = parameters["request"]["url"]
                    if not url.startswith(("file:", "data:", "blob:", "about:", "http://127.0.0.1:")):
                        found.append(f"request to {url}")
        return found


# Figures without a drawing: of lines and heat maps a canvas with something on it, of the others a table.
UNDRAWN = """(() => [...document.querySelectorAll('figure')].filter((figure) => {
  const canvas = figure.querySelector('.plot canvas');
  if (!figure.querySelector('.plot')) return !figure.querySelector('td');
  if (!canvas || canvas.width === 0) return true;
  const copy = new OffscreenCanvas(200, 100).getContext('2d', {willReadFrequently: true});
  copy.drawImage(canvas, 0, 0, 200, 100);
  return !copy.getImageData(0, 0, 200, 100).data.some((value) => value !== 0);
}).map(({id}) => id))()"""
SCROLL = """(async () => {
  for (let y = 0; y < document.body.scrollHeight; y += 600) {
    scrollTo(0, y);
    await new Promise(requestAnimationFrame);
  }
  scrollTo(0, 0);
})()"""
# The longest frame while one zooms in and out of the first line chart and scrolls, in milliseconds: the third longest of all.
FRAMES = """(async () => {
  const plot = document.querySelector('.uplot').closest('.plot'), times = [];
  const frame = () => new Promise(requestAnimationFrame);
  let last = await frame();
  for (let i = 0; i < 60; ++i) {
    plot.dispatchEvent(new KeyboardEvent('keydown', {key: i % 10 < 5 ? '+' : '-'}));
    scrollBy(0, i % 2 === 0 ? 40 : -40);
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return times.sort((a, b) => b - a)[2];
})()"""


def check_keys(page):
    """The first line chart answers to the keyboard; returns what is wrong."""
    page.evaluate("document.querySelector('.uplot').closest('.plot').focus()")
    read = "document.activeElement.parentElement.querySelector('output').textContent"
    page.press("ArrowRight")
    first = page.evaluate(read)
    page.press("ArrowRight")
    second = page.evaluate(read)
    if not any(letter.isdigit() for letter in first) or first == second:
        yield f"the arrow keys read {first!r}, then {second!r}"
    pressed = page.evaluate("""(() => {
      const button = document.querySelector('.keys button');
      button.click();
      const state = button.getAttribute('aria-pressed');
      button.click();
      return state;
    })()""")
    if pressed != "false":
        yield f"a line's button says {pressed} when it is off"
    data = page.evaluate("""(() => {
      const link = document.querySelector('figure .more a');
      link.addEventListener('click', (event) => event.preventDefault());
      link.click();
      return link.href;
    })()""")
    if not data.startswith("blob:"):
        yield f"the data link leads to {data!r}"


def check_timeline(page):
    """A pipeline's timeline reads its boxes to the keyboard, and has them all in its table."""
    figure = "document.querySelector('figure[id^=timeline-]')"
    if not page.evaluate(f"{figure} !== null"):
        return
    page.evaluate(f"{figure}.querySelector('.plot').focus()")
    for key, words in (("Home", ("Step ", "As planned")), ("End", ("Step ", "As planned")), ("PageDown", ("As planned", "Step "))):
        page.press(key)
        said = page.evaluate(f"{figure}.querySelector('output').textContent")
        if not said.startswith(words) or " ms" not in said:
            yield f"{key} in a timeline reads {said!r}"
    page.evaluate(f"{figure}.querySelector('details').open = true")
    page.wait(f"{figure}.querySelector('details tbody tr') !== null", "a timeline's table")
    page.evaluate(f"{figure}.querySelector('details').open = false")


def check_zoom(page):
    """The live page asks for more points of the stretch that one has zoomed into."""
    page.evaluate("""(() => {
      const plot = document.querySelector('.uplot').closest('.plot');
      plot.scrollIntoView();
      plot.dispatchEvent(new KeyboardEvent('keydown', {key: '+'}));
    })()""")
    end = time.monotonic() + DEADLINE
    while not any("%3A" in url for url in page.requests()):
        if time.monotonic() > end:
            yield "zooming asks for no points"
            return
        page.evaluate("new Promise((done) => setTimeout(done, 50))")


def axe_rules():
    found = importlib.util.find_spec("axe_playwright_python")
    return None if found is None else pathlib.Path(found.submodule_search_locations[0], "axe.min.js").read_text()


def check_axe(page, rules):
    page.evaluate(rules + "; 0")
    found = page.evaluate("""axe.run(document, {resultTypes: ['violations']}).then(({violations}) =>
      violations.map(({id, help, nodes}) => `axe ${id}: ${help}: ${nodes[0].html.slice(0, 120)}`))""")
    yield from found


def check_live(page):
    """What a job's row says changes by itself."""
    said = "document.querySelector('#jobs tr').textContent"
    before = page.evaluate(said)
    try:
        page.wait(f"{said} !== {json.dumps(before)}", "a step")
    except AssertionError:
        yield f"the first job's row stays at {before!r}"


def check(browser, name, pictures, rules):
    """All that is wrong with a page, in each width and theme."""
    live = name.startswith("http:")
    report = pathlib.Path("live" if live else name)
    for width in WIDTHS:
        for theme in THEMES:
            page = Page(browser, name if live else report.absolute().as_uri(), width, theme)
            page.wait("document.querySelectorAll('figure').length > 0", "figures")
            page.wait("document.querySelector('.uplot canvas') !== null", "the first chart")
            drawn = time.monotonic() - page.began
            page.evaluate(SCROLL)
            if live:  # numbers of a figure come once it is on the screen
                for figure in page.evaluate("[...document.querySelectorAll('figure')].map(({id}) => id)"):
                    page.evaluate(f"document.getElementById('{figure}').scrollIntoView()")
                    page.wait(f"!{UNDRAWN}.includes('{figure}')", f"{figure} drawn")
            page.wait(f"{UNDRAWN}.length === 0 || performance.now() > 20000", "drawings")
            where = f"{report.name} at {width} pixels, {theme}"
            problems = [f"not drawn: {name}" for name in page.evaluate(UNDRAWN)]
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                problems.append("wider than the screen")
            if pictures:
                page.picture(pictures / f"{report.absolute().parent.name}-{report.stem}-{width}-{theme}.png")
            problems += check_keys(page)
            problems += check_timeline(page)
            if live:
                problems += check_live(page)
                problems += check_zoom(page)
            if rules is not None:
                problems += check_axe(page, rules)
            slow = page.evaluate(FRAMES)
            problems += page.complaints()
            count = page.evaluate("document.querySelectorAll('figure').length")
            print(f"{where}: {count} figures, first chart after {drawn:.2f} s, slow frame {slow:.0f} ms")
            yield from (f"{where}: {problem}" for problem in problems)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+")
    parser.add_argument("--pictures", type=pathlib.Path)
    arguments = parser.parse_args()
    program = shutil.which("chromium")
    if program is None:
        print("skipped: no chromium")
        return 0
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    rules = axe_rules()
    if rules is None:
        print("skipped: axe-core's rules, no package axe-playwright-python")
    browser = Browser(program)
    try:
        problems = [problem for page in arguments.pages
                    for problem in check(browser, page, arguments.pictures, rules)]
    finally:
        browser.close()
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(arguments.pages)} pages, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
