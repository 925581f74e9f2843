"""Looks at report.html in headless Chromium: browser.py CHROMIUM FOLDER PICTURES.

FOLDER holds export folders by name; each report.html is opened light, dark and printed, from 360 px to 4K. A page that is
wider than its window, has text on text, a contrast below 4.5:1 (3:1 in pictures), a script, or makes a request fails.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile

FORMS = [
    ("light", 1280, 900, "screen", "light"),
    ("dark", 1280, 900, "screen", "dark"),
    ("print", 794, 1123, "print", "light"),
    ("360", 360, 780, "screen", "light"),
    ("360-dark", 360, 780, "screen", "dark"),
    ("4k", 3840, 2160, "screen", "light"),
]
CHECK = """(() => {
const wrong = [];
const root = document.documentElement;
if (root.scrollWidth > root.clientWidth) wrong.push(`the page is ${root.scrollWidth} px wide`);
const scrolls = (e) => e.closest('.scroll, pre, .hidden, details:not([open])');
for (const e of document.querySelectorAll('body *')) {
  const box = e.getBoundingClientRect();
  if (box.width && box.right > root.clientWidth + 1 && !scrolls(e)) wrong.push(`${e.tagName} ${e.className.baseVal ?? e.className} ends at ${box.right}`);
}
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => { const f = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((x, y) => y - x); return (x + 0.05) / (y + 0.05); };
const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (words.nextNode()) {
  const e = words.currentNode.parentElement;
  if (!words.currentNode.data.trim() || ['TITLE', 'DESC', 'title', 'desc', 'STYLE'].includes(e.tagName) || e.closest('.hidden')) continue;
  const style = getComputedStyle(e);
  const ink = rgb(e.namespaceURI.endsWith('svg') ? style.fill : style.color);
  const found = ratio(ink, behind(e));
  if (found < 4.5) wrong.push(`contrast ${found.toFixed(2)} of "${words.currentNode.data.trim().slice(0, 30)}"`);
}
for (const e of document.querySelectorAll('svg rect:not(.track), svg circle')) {
  const style = getComputedStyle(e);
  const paints = [style.fill, style.stroke].filter((paint) => paint.startsWith('rgb')).map(rgb);
  const most = Math.max(...paints.map((paint) => ratio(paint, behind(e.closest("svg")))));
  if (most < 3) { wrong.push(`contrast ${most.toFixed(2)} of ${e.getAttribute('class')}`); break; }
}
for (const svg of document.querySelectorAll('svg')) {
  const boxes = [...svg.querySelectorAll('text')].map((text) => [text, text.getBoundingClientRect()]);
  const label = svg.getAttribute('aria-labelledby') ?? '';
  if (svg.getAttribute('role') !== 'img' || !label.split(' ').every((id) => document.getElementById(id)?.textContent.trim()))
    wrong.push('a picture has no title or description');
  boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
    if (p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3)
      wrong.push(`"${a.textContent}" is on "${b.textContent}"`); }));
}
const sections = [...document.querySelectorAll('main > section')].map((e) => e.id).join(' ');
if (sections !== 'rows orgs notes failures pace sizes checks runs provenance check files') wrong.push(sections);
if (document.querySelector('script, img, iframe, object, link')) wrong.push('it loads something');
return JSON.stringify([...new Set(wrong)].slice(0, 12));
})()"""


class Browser:
    """Chromium, spoken to through two pipes."""

    def __init__(self, program, home):
        to_it, self.out = os.pipe()
        self.inp, from_it = os.pipe()

        def plumb():
            # the program reads from 3 and writes to 4
            high = [os.dup(to_it), os.dup(from_it)]
            for fd in high:
                os.set_inheritable(fd, True)
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe",
             "--proxy-server=127.0.0.1:9", f"--user-data-dir={home}", "--no-first-run", "about:blank"],
            close_fds=False, preexec_fn=plumb, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_it)
        os.close(from_it)
        self.buffer, self.number, self.events, self.session = b"", 0, [], None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def read(self):
        while b"\0" not in self.buffer:
            more = os.read(self.inp, 1 << 20)
            if not more:
                sys.exit("the browser ended")
            self.buffer += more
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def until(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.read())


def look(browser, path, form):
    name, width, height, media, scheme = form
    browser.events.clear()
    browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
    browser.ask(
        "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    url = "file://" + os.path.abspath(path)
    browser.ask("Page.navigate", url=url)
    browser.until("Page.loadEventFired")
    wrong = json.loads(browser.ask("Runtime.evaluate", expression=CHECK)["result"]["value"])
    for event in browser.events:
        if event.get("method") == "Network.requestWillBeSent" and event["params"]["request"]["url"] != url:
            wrong.append("a request: " + event["params"]["request"]["url"])
        if event.get("method") == "Log.entryAdded":
            wrong.append("the browser says: " + event["params"]["entry"]["text"])
    picture = browser.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
    return wrong, base64.b64decode(picture)


def main(program, folder, pictures):
    failed = False
    with tempfile.TemporaryDirectory() as home:
        browser = Browser(program, home)
        for shape in sorted(os.listdir(folder)):
            path = os.path.join(folder, shape, "report.html")
            size = os.path.getsize(path)
            for form in FORMS:
                wrong, picture = look(browser, path, form)
                with open(os.path.join(pictures, f"{shape}-{form[0]}.png"), "wb") as file:
                    file.write(picture)
                if size > 150_000:
                    wrong.append(f"it has {size} bytes")
                failed |= bool(wrong)
                print(f"{shape:8} {form[0]:9} {size:7} bytes", "; ".join(wrong) or "ok", flush=True)
        browser.process.kill()
        browser.process.wait()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
