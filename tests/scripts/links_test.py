"""Tests of scripts/check/links.py: each kind of link, one that leads somewhere and one that does
not."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts" / "check"))
import links  # noqa: E402

PATHS = ["README.md", "docs/guide.md", "docs/other.md", "src/base/hash.hpp"]


def findings(text, page="docs/guide.md", other="# Other page\n"):
    pages = {"docs/other.md": other, page: text}
    return list(links.findings_of(pages, PATHS))


class Links(unittest.TestCase):
    def test_files_and_folders_relative_to_the_page(self):
        for target in ("other.md", "../README.md", "../src/base", "./other.md", "../src/base/"):
            self.assertEqual(findings(f"see [it]({target})"), [], target)
        self.assertEqual(
            findings("\n[it](missing.md)"),
            ["docs/guide.md:2: missing.md: there is no docs/missing.md"],
        )
        self.assertEqual(len(findings("[it](other.md)", page="README.md")), 1)
        self.assertEqual(len(findings("[it](../../outside.md)")), 1)

    def test_every_link_of_a_line(self):
        self.assertEqual(len(findings("[a](x.md) [b](other.md) [c](y.md)")), 2)
        self.assertEqual(findings('[a](other.md "Title") and ![picture](<other.md>)'), [])
        self.assertEqual(len(findings("[a]: nothing.md")), 1)
        self.assertEqual(findings("[a]: other.md"), [])

    def test_anchors(self):
        other = "# The `hash` of a *call*, and more\n## Twice\n## Twice\n## [Link](guide.md) here\n"
        good = ["the-hash-of-a-call-and-more", "twice", "twice-1", "link-here"]
        for anchor in good:
            self.assertEqual(findings(f"[x](other.md#{anchor})", other=other), [], anchor)
        self.assertEqual(
            findings("[x](other.md#twice-2)", other=other),
            ["docs/guide.md:1: other.md#twice-2: docs/other.md has no such heading"],
        )
        self.assertEqual(findings("# Here\n[x](#here)"), [])
        self.assertEqual(len(findings("# Here\n[x](#there)")), 1)
        self.assertEqual(findings("[x](../src/base/hash.hpp#L10)"), [])

    def test_what_is_no_link_of_ours(self):
        for text in (
            "[x](https://example.org/nothing)",
            "[x](mailto:someone@example.org)",
            "`[x](missing.md)` and ``a `[y](missing.md)` b``",
            "```\n[x](missing.md)\n# no heading\n```",
            "~~~\n```\n[x](missing.md)\n~~~",
        ):
            self.assertEqual(findings(text), [], text)
        self.assertEqual(len(findings("```\n# Here\n```\n[x](#here)")), 1)

    def test_paths_in_code(self):
        def found(text, page="docs/guide.md"):
            return list(links.path_findings_of({page: text}, PATHS))

        for text in (
            "`src/base/hash.hpp` `src/base/hash` `src/base` `src/base/` `docs/guide.md`",
            "`base/hash.cpp`, `src/<folder>/x.cpp`, `build/ci` and `tests/x y` are no paths",
            "src/nothing\n```\n`src/nothing`\n```",
        ):
            self.assertEqual(found(text), [], text)
        self.assertEqual(
            found("a\n`src/base` `src/hash.hpp`"),
            ["docs/guide.md:2: `src/hash.hpp`: there is no such file or folder"],
        )
        self.assertEqual(len(found("`scripts/x` `include/cohort/x.hpp`")), 2)
        self.assertEqual(found("`src/gone.cpp`", page="CHANGELOG.md"), [])

    def test_every_page_of_the_project(self):
        self.assertEqual(links.main(["links.py", str(pathlib.Path(__file__).parents[2])]), 0)


if __name__ == "__main__":
    unittest.main()
