"""What a browser makes of the page of `stagger report`: curves and the timeline, in light and dark, without a network.

    browser.py --stagger target/release/stagger
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

from chromium import Browser

TRAIN = "train --epochs 2 --batch-size 128 --calibration-batches 0 --stages 2 --schedule dsp"
LAST = 157  # of 10,000 images in batches of 128, twice


def run(stagger, arguments, folder):
    done = subprocess.run([stagger, *arguments.split()], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Timeline:
    """The timeline of a page."""

    def __init__(self, page):
        self.page = page
        page.evaluate("document.querySelector('.timeline .part').scrollIntoView({block: 'center'})")
        self.box = page.evaluate("(({x, y, width, height}) => ({x, y, width, height}))(document.querySelector('.timeline svg[role=img]').getBoundingClientRect())")

    def shown(self):
        """First and last time that is shown, in microseconds."""
        return self.page.evaluate("['from', 'to'].map(end => Number(document.querySelector('.timeline').dataset[end]))")

    def length(self):
        first, last = self.shown()
        return last - first

    def said(self):
        return self.page.evaluate("document.querySelector('.timeline output').textContent")

    def press(self, action):
        self.page.evaluate(f"document.querySelector('.timeline [data-do={action}]').click()")

    def place(self, across, down):
        return self.box["x"] + across * self.box["width"], self.box["y"] + down * self.box["height"]


def check_zoom(page):
    """Buttons, keys, the wheel and dragging change what is shown, and what is said of it."""
    timeline = Timeline(page)
    end = page.evaluate("JSON.parse(document.querySelector('.timeline script').textContent).end")
    first, last = timeline.shown()
    assert first == 0 and 0 < last < end, (first, last, end)
    timeline.press("all")
    assert timeline.shown() == [0, end], timeline.shown()
    assert f"batches 0 to {LAST}" in timeline.said(), timeline.said()
    for action, key, factor in ("in", "+", 0.5), ("out", "-", 2):
        for do in (lambda: timeline.press(action)), (lambda: page.key(key)):
            timeline.press("all")
            timeline.press("in")
            page.evaluate("document.querySelector('.timeline .part').focus()")
            before = timeline.length()
            do()
            assert abs(timeline.length() / before - factor) < 1e-6, (action, before, timeline.length())
    page.key("Home")
    assert timeline.shown() == [first, last]
    page.key("ArrowRight")
    later = timeline.shown()
    assert later[0] > first and abs(timeline.length() - (last - first)) < 1e-3, later
    page.key("ArrowLeft")
    assert timeline.shown() == [first, last]
    page.key("End")
    assert timeline.shown()[1] == end
    assert str(LAST) in timeline.said(), timeline.said()
    # The place under the pointer stays.
    page.key("Home")
    x, y = timeline.place(0.5, 0.2)
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100)
    zoomed = timeline.shown()
    assert first < zoomed[0] and zoomed[1] < last, zoomed
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=100)
    assert all(abs(one - other) < 5 for one, other in zip(timeline.shown(), [first, last])), timeline.shown()
    # What is dragged to the left was later.
    page.drag(x, y, x - 200)
    assert timeline.shown()[0] > first, timeline.shown()
    page.key("Home")
    # Without the focus the wheel scrolls the page.
    page.evaluate("document.activeElement.blur()")
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100)
    assert timeline.shown() == [first, last]


def check_words(page):
    """Bars have words under the pointer, buttons and pictures have names."""
    timeline = Timeline(page)
    bar = "document.querySelector('.timeline g rect.backward').getBoundingClientRect()"
    x, y = page.evaluate(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({bar})")
    page.mouse("mouseMoved", x, y)
    said = page.evaluate("document.querySelector('.timeline .under').textContent")
    assert said.startswith("stage 0: backward, batch 0, at ") and " ms, staleness " in said, said
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    names = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    buttons = [name for role, name in names if role == "button"]
    assert buttons == ["zoom in", "zoom out", "earlier", "later", "first batches", "everything"], buttons
    pictures = [name for role, name in names if role in ("image", "img") and name.startswith("What each of 2 stages did")]
    assert len(pictures) == 1, names
    assert timeline.said() in pictures[0], (timeline.said(), pictures)


def brightness(page, selector, property):
    value = page.evaluate(f"getComputedStyle(document.querySelector({json.dumps(selector)})).{property}")
    red, green, blue = (int(part) for part in value.removeprefix("rgb(").removesuffix(")").split(","))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def check_page(browser, path, scheme, width):
    page = browser.open(path, scheme, width)
    assert page.evaluate("document.querySelectorAll('figure > svg[role=img]').length") >= 7
    assert page.evaluate("document.querySelectorAll('figure polyline').length") >= 4
    assert page.evaluate("document.querySelectorAll('.timeline g rect').length") > 40
    ground, text = brightness(page, "body", "backgroundColor"), brightness(page, "body", "color")
    assert (ground > text + 150) if scheme == "light" else (text > ground + 150), (scheme, ground, text)
    idle = brightness(page, ".timeline rect.idle", "fill")
    assert (idle > 200) if scheme == "light" else (idle < 80), (scheme, idle)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "it is wider than its window"
    check_zoom(page)
    check_words(page)
    assert page.requests() == [page.url], page.requests()
    assert page.faults() == [], page.faults()
    # The page lets nothing else run, and nothing be asked for.
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.foreign = 1'}))")
    page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    assert page.evaluate("window.foreign") is None
    refused = " ".join(page.faults())
    assert "script-src" in refused and "img-src" in refused, refused
    loaded = [url for url in page.requests() if url != page.url]
    assert all(url.startswith("http://127.0.0.1:9/") for url in loaded), loaded


def check_without_scripts(browser, path):
    page = browser.open(path, scripts=False)
    root = page.call("DOM.getDocument", depth=0)["root"]["nodeId"]

    def count(selector):
        return len(page.call("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"])

    assert count(".timeline svg[role=img] rect.forward") >= 5
    assert count(".timeline svg[role=img] text.on") >= 10
    assert count(".timeline .controls[hidden]") == 1 and count(".timeline .part.live") == 0


def check_the_check(browser, path, folder):
    """A page whose script is not the one that it names is noticed."""
    broken = pathlib.Path(folder, "broken.html")
    broken.write_text(path.read_text().replace('"use strict";', '"use strict" ;'))
    page = browser.open(broken)
    assert any("script-src" in fault for fault in page.faults()), page.faults()
    assert page.evaluate("document.querySelectorAll('.timeline .part.live').length") == 0


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--stagger", type=pathlib.Path, required=True)
    arguments.add_argument("--browser", default="chromium")
    given = arguments.parse_args()
    stagger = given.stagger.resolve()
    with tempfile.TemporaryDirectory() as folder:
        run(stagger, f"{TRAIN} --trace trace.json --output run", folder)
        path = pathlib.Path(folder, run(stagger, "report run --trace trace.json", folder).strip())
        with Browser(given.browser) as browser:
            for scheme, width in ("light", 1240), ("dark", 1240), ("light", 420), ("dark", 420):
                check_page(browser, path, scheme, width)
                print(f"{scheme}, {width} pixels: curves, a timeline that zooms, no error, no request")
            check_without_scripts(browser, path)
            check_the_check(browser, path, folder)
            print("without scripts: the first batches; with another script than its own: refused")


if __name__ == "__main__":
    main()
