"""Tests of scripts/check/abi.py: what counts as changed, and when something may go."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts" / "check"))
import abi  # noqa: E402

CHANGELOG = "# Changes\n\n## 0.3.0, not released\n\n### Added\n\n## 0.2.1\n\n## 0.2.0\n"


class Abi(unittest.TestCase):
    def test_a_list_is_read_as_it_was_written(self):
        text = abi.list_of("# Head\n", "libx.so.0.1", ["a()", "b(int)", "b(int)"])
        self.assertEqual(abi.parse(text), ("libx.so.0.1", ["a()", "b(int)", "b(int)"]))
        self.assertEqual(abi.parse(""), ("", []))

    def test_differences_count(self):
        self.assertEqual(abi.difference(["a", "b"], ["a", "b"]), [])
        self.assertEqual(abi.difference(["a"], ["a", "a", "c"]), ["a", "c"])
        self.assertEqual(abi.difference(["a", "c"], ["c"]), [])

    def test_what_is_released_keeps_its_symbols(self):
        self.assertTrue(abi.is_released("libcohort.so.0.2", CHANGELOG))
        self.assertFalse(abi.is_released("libcohort.so.0.3", CHANGELOG))
        self.assertFalse(abi.is_released("libcohort.so.0.1", CHANGELOG))

    def test_the_change_log_can_be_read(self):
        text = (abi.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        self.assertTrue(abi.RELEASE.search(text))


if __name__ == "__main__":
    unittest.main()
