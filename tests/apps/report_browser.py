"""A report in headless Chromium, and what a person sees there: figures, names, contrasts."""

import base64
import json

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

CONTRAST = """
const parse = (text) => {
  const parts = text.match(/[0-9.]+/g).map(Number);
  return parts.length > 3 ? parts : [...parts, 1];
};
const light = (value) => {
  const share = value / 255;
  return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
};
const luminance = (c) => 0.2126 * light(c[0]) + 0.7152 * light(c[1]) + 0.0722 * light(c[2]);
const backOf = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour[3] === 1) return colour;
    if (colour[3] !== 0) return null;
  }
  return [255, 255, 255, 1];
};
const found = [];
let count = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  if (!text || ["SCRIPT", "STYLE", "NOSCRIPT", "TITLE"].includes(node.tagName)) continue;
  if (node.namespaceURI.endsWith("svg") && node.tagName === "title") continue;
  if (node.getClientRects().length === 0) continue;
  const style = getComputedStyle(node);
  const colour = parse(node.namespaceURI.endsWith("svg") ? style.fill : style.color);
  const back = backOf(node);
  const [a, b] = back ? [luminance(colour), luminance(back)] : [0, 0];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  ++count;
  if (!back || ratio < 4.5) found.push([text.slice(0, 40), node.tagName, ratio]);
}
return [count, found];
"""

NAMES = """
const named = (node) => {
  const by = node.getAttribute("aria-labelledby");
  const label = by ? document.getElementById(by) : null;
  return (label ? label.textContent : node.getAttribute("aria-label") || node.textContent).trim();
};
const found = [];
const wanted = "a, button, summary, th, table, nav, section, svg[role=img], [tabindex='0'], " +
  "[role=group], [role=region], [role=grid]";
for (const node of document.querySelectorAll(wanted)) {
  if (!named(node)) found.push(node.outerHTML.slice(0, 120));
}
for (const node of document.querySelectorAll("svg")) {
  if (!node.matches("[role=img], [aria-hidden=true]")) found.push(node.outerHTML.slice(0, 120));
}
const ids = [...document.querySelectorAll("[id]")].filter((node) => node.tagName !== "pattern")
  .map((node) => node.id);
for (const id of new Set(ids)) {
  if (ids.filter((other) => other === id).length > 1) found.push("id " + id + " twice");
}
const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((h) => Number(h.tagName[1]));
levels.forEach((level, i) => {
  if (i && level > levels[i - 1] + 2) found.push("heading " + level + " after " + levels[i - 1]);
});
if (!document.documentElement.lang) found.push("no language");
if (!document.querySelector("main")) found.push("no main");
return found;
"""


class Browser:
    """One browser for all pages; the window's width and the system's colours can be chosen."""

    def __init__(self, folder):
        options = Options()
        for flag in ("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage",
                     "disable-background-networking", "hide-scrollbars"):
            options.add_argument("--" + flag)
        options.add_argument(f"--user-data-dir={folder}/profile")
        options.binary_location = "/usr/bin/chromium"
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(120)
        self.driver.set_script_timeout(120)

    def close(self):
        self.driver.quit()

    def open(self, path, width, scheme):
        """Opens a page anew, at a width of `width` px in the system's colours `scheme`."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
        self.media("", scheme)
        self.driver.get(path.as_uri())

    def media(self, medium, scheme):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "media": medium, "features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def data(self):
        return json.loads(self.run(
            "return document.getElementById('report-data').textContent"))

    def table(self, name):
        """Rows of a table: of each cell the text, and the exact value where it is a figure."""
        return self.run("""
            const value = (cell) => cell.dataset.value === undefined ? null :
              Number(cell.dataset.value);
            return [...document.querySelectorAll("#" + arguments[0] + " tbody tr")].map((row) =>
              [...row.cells].map((cell) => [cell.textContent, value(cell)]));""", name)

    def complaints(self):
        """What the console holds, and what the page loaded beside itself."""
        logged = [entry["message"] for entry in self.driver.get_log("browser")]
        return logged + self.run(
            "return performance.getEntriesByType('resource').map((entry) => entry.name)")

    def scrolls_sideways(self):
        return self.run("return document.documentElement.scrollWidth > "
                        "document.documentElement.clientWidth")

    def contrast_faults(self):
        return self.run(CONTRAST)

    def name_faults(self):
        return self.run(NAMES)

    def screenshot(self, path, height=None):
        """Of the whole page, or of its first `height` px."""
        size = self.run("return [document.documentElement.clientWidth, "
                        "document.documentElement.scrollHeight]")
        picture = self.driver.execute_cdp_cmd("Page.captureScreenshot", {
            "captureBeyondViewport": True,
            "clip": {"x": 0, "y": 0, "width": size[0], "height": height or size[1], "scale": 1}})
        path.write_bytes(base64.b64decode(picture["data"]))
