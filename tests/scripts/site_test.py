"""The site of docs/ builds without a warning, reference of the headers included, holds every page,
and asks no other host for anything. Usage: site_test.py"""

import html.parser
import pathlib
import posixpath
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]
OTHER_HOST = re.compile(r"^(https?:)?//")
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(html.parser.HTMLParser):
    """What a page loads by itself, and what it leads to."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.blocks, self.images = [], [], 0, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        target = values.get(LOADED.get(tag), None)
        if target is not None and values.get("rel") != "canonical":
            self.loads.append(target)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "img":
            self.images.append(values)


class Site(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="cohort-site-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name).resolve()
        cls.built = subprocess.run(
            [ROOT / "scripts" / "site", cls.folder], capture_output=True, text=True
        )
        cls.pages = {
            path.relative_to(cls.folder).as_posix(): Page(path.read_text(encoding="utf-8"))
            for path in cls.folder.rglob("*.html")
            if "api" not in path.relative_to(cls.folder).parts
        }

    def test_it_builds_without_a_warning(self):
        self.assertEqual(self.built.returncode, 0, self.built.stderr)
        self.assertNotRegex(self.built.stderr, r"(?i)warning|error")

    def test_every_page_of_docs_is_there(self):
        for path in (ROOT / "docs").rglob("*.md"):
            name = path.relative_to(ROOT / "docs").with_suffix("").as_posix()
            name = re.sub(r"(^|/)(README|index)$", r"\1", name).strip("/")
            if not name.endswith("0000-template"):
                self.assertIn(posixpath.join(name, "index.html").lstrip("/"), self.pages)

    def test_pages_load_nothing_from_elsewhere(self):
        for name, page in self.pages.items():
            self.assertEqual([load for load in page.loads if OTHER_HOST.match(load)], [], name)

    def test_links_lead_to_files(self):
        """Also those that are written as HTML, to the reference of the headers."""
        for name, page in self.pages.items():
            for link in page.links + page.loads:
                target = link.partition("#")[0].partition("?")[0]
                if not target or re.match(r"^[a-z]+:|^//|^/", target):
                    continue
                path = self.folder / posixpath.dirname(name) / target
                self.assertTrue((path / "index.html").exists() or path.is_file(), f"{name}: {link}")
        self.assertTrue(any("api/" in link for link in self.pages["reference/index.html"].links))

    def test_pictures_have_a_text(self):
        for name, page in self.pages.items():
            for image in page.images:
                self.assertTrue(image.get("alt"), f"{name}: {image}")


if __name__ == "__main__":
    unittest.main()
