"""What the README shows is true: the program is the example, the output the command's, links lead
somewhere. Usage: readme_test.py COMMAND"""

import pathlib
import re
import shlex
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = sys.argv.pop()


class Readme(unittest.TestCase):
    def test_the_program_is_the_example_that_is_built_and_run(self):
        programs = re.findall(r"```cpp\n(.*?)```", README, re.DOTALL)
        self.assertEqual(programs, [(ROOT / "examples" / "03_ranks_as_threads.cpp").read_text()])
        self.assertLessEqual(len(programs[0].splitlines()), 25)

    def test_shown_output_is_what_the_command_prints(self):
        shown = re.findall(r"```\n\$ cohort ([^\n]*)\n(.*?)```", README, re.DOTALL)
        self.assertTrue(shown)
        for arguments, output in shown:
            result = subprocess.run(
                [COMMAND, *shlex.split(arguments)], capture_output=True, text=True, timeout=30
            )
            self.assertEqual(result.stdout, output)

    def test_links_and_paths_exist(self):
        links = re.findall(r"\]\(([^)#:]+)\)", README)
        paths = re.findall(r"`((?:scripts|include|src|apps|tests|examples|docs)/[^`\s]*)`", README)
        self.assertTrue(links and paths)
        for path in links + paths:
            self.assertTrue((ROOT / path).exists(), path)


if __name__ == "__main__":
    unittest.main()
