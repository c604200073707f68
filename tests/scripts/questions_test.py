"""Every answer of docs/questions.md names tests, and all of them exist. Usage: questions_test.py
[COMMAND]; with the command, the faults that are named are those it knows."""

import json
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
COMMAND = sys.argv.pop() if len(sys.argv) > 1 else None


def answers():
    """{question: (answer, names of its tests)}."""
    found = {}
    for part in DOCUMENT.split("\n## ")[1:]:
        question, text = part.split("\n", 1)
        answer, _, tests = text.partition("\nTests: ")
        found[question] = (answer.strip(), re.findall(r"`([^`]+)`", tests))
    return found


class Questions(unittest.TestCase):
    def test_every_answer_names_tests_that_exist(self):
        self.assertGreaterEqual(len(answers()), 8)
        for question, (answer, tests) in answers().items():
            with self.subTest(question=question):
                self.assertTrue(question.endswith("?"))
                self.assertGreater(len(answer), 200)
                self.assertTrue(any("/" in name for name in tests))
                self.check_tests(tests)

    def check_tests(self, names):
        """A path, then the cases in it that are meant, or a replayed fault."""
        text = None
        for name in names:
            if name.startswith("cohort faults"):
                continue
            if "/" in name:
                self.assertTrue((ROOT / name).is_file(), name)
                text = (ROOT / name).read_text(encoding="utf-8")
            else:
                suite, case = name.split(".")
                self.assertIsNotNone(text, f"{name} follows no file")
                pattern = rf"TEST(_F|_P)?\(\s*{suite},\s*{case}\s*\)"
                self.assertRegex(text, pattern, f"{name} is not in the file before it")

    @unittest.skipUnless(COMMAND, "without the command")
    def test_named_faults_are_known(self):
        shown = subprocess.run(
            [COMMAND, "faults", "--list", "--json"], capture_output=True, text=True, timeout=30
        )
        known = {fault["name"] for fault in json.loads(shown.stdout)["faults"]}
        named = set(re.findall(r"`cohort faults --only ([\w-]+)`", DOCUMENT))
        self.assertTrue(named)
        self.assertLessEqual(named, known)

    def test_links_lead_somewhere(self):
        for path in re.findall(r"\]\(([^)#:]+)\)", DOCUMENT):
            self.assertTrue((ROOT / "docs" / path).is_file(), path)


if __name__ == "__main__":
    unittest.main()
