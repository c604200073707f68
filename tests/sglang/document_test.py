"""docs/sglang.md says where each thing is and which test looks at it: all of that exists, and every
transition that the tests know is a row."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "sglang.md").read_text(encoding="utf-8")
TESTS = (ROOT / "tests" / "sglang" / "transitions_test.cpp").read_text(encoding="utf-8")


def rows():
    """Cells of every table with the columns SGLang, here, file, test."""
    found = []
    columns = 0
    for line in DOCUMENT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if cells[-2:] == ["file", "test"]:
            columns = len(cells)
        elif not cells:
            columns = 0
        elif columns and not set(cells[0]) <= set("-: "):
            assert len(cells) == columns, line
            found.append(cells)
    return found


class Document(unittest.TestCase):
    def test_files_and_tests_exist(self):
        self.assertGreater(len(rows()), 25)
        for *_, files, tests in rows():
            with self.subTest(files=files, tests=tests):
                if files.startswith("later"):
                    self.assertEqual(tests, "")
                    continue
                paths = re.findall(r"`([^`]+)`", files)
                self.assertTrue(paths)
                for path in paths:
                    self.assertTrue((ROOT / path).is_file(), path)
                names = re.findall(r"`([^`]+)`", tests)
                self.assertTrue(names)
                self.check_tests(names)

    def check_tests(self, names):
        """A path, then the cases in it that are meant: `tests/x_test.cpp` `Suite.Case`."""
        text = None
        for name in names:
            if "/" in name:
                self.assertTrue((ROOT / name).is_file(), name)
                text = (ROOT / name).read_text(encoding="utf-8")
            else:
                suite, case = name.split(".")
                self.assertIsNotNone(text, f"{name} follows no file")
                pattern = rf"TEST(_F|_P)?\(\s*{suite},\s*{case}\s*\)"
                self.assertRegex(text, pattern, f"{name} is not in the file before it")

    def test_names_that_are_said_to_be_here_exist(self):
        headers = "".join(
            path.read_text(encoding="utf-8")
            for path in (ROOT / "include" / "cohort").iterdir()
            if path.suffix in (".hpp", ".h")
        )
        for _, here, files, _ in rows():
            if files.startswith("later"):
                continue
            for name in re.findall(r"`(?:\w+::)*(\w+)(?:\([^`]*\))?`", here):
                self.assertRegex(headers, rf"\b{name}\b", f"{name} is in no public header")

    def test_every_departure_is_told(self):
        told = re.sub(r"\s+", " ", DOCUMENT)
        for why in re.findall(r"\"([^\"]+)\"},\n", TESTS[TESTS.index("departures() {") :]):
            self.assertIn(why, told)


if __name__ == "__main__":
    unittest.main()
