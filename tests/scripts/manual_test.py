"""The manual page renders without a warning and holds every flag. Usage: manual_test.py COMMAND"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

COMMAND = sys.argv.pop()


def run(*arguments):
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANPAGER": "cat"}
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=60, check=True, env=environment
    )


class Manual(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        page = pathlib.Path(cls.folder.name) / "cohort.1"
        page.write_text(run(COMMAND, "manual").stdout)
        cls.rendered = run("man", "--warnings=w", "--local-file", page)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_renders_without_a_warning(self):
        self.assertEqual(self.rendered.stderr, "")
        text = self.rendered.stdout
        self.assertIn("cohort - symmetric memory and collectives", text)
        for line in text.splitlines():
            self.assertLessEqual(len(line), 80, line)

    def test_holds_every_flag_and_example(self):
        # What the renderer breaks, at hyphens too, is put together again.
        text = re.sub(r"\s+", "", self.rendered.stdout)
        names = re.findall(r"^  (\w+) ", run(COMMAND).stdout, re.MULTILINE)
        self.assertGreater(len(names), 8)
        for name in names:
            shown = run(COMMAND, name, "--help").stdout
            for flag in re.findall(r"^  (--[\w-]+)", shown, re.MULTILINE):
                self.assertIn(flag, text)
            for example in re.findall(rf"^  (cohort {name}.*)$", shown, re.MULTILINE):
                self.assertIn(re.sub(r"\s+", "", example), text)


if __name__ == "__main__":
    unittest.main()
