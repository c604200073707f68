"""Shells complete the command: bash really does, and offers every flag that help lists; fish does
too; zsh reads the script. Usage: completion_test.py COMMAND"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

COMMAND = sys.argv.pop()


def output_of(*arguments, **more):
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=60, check=True, **more
    ).stdout


def help_of(path):
    return output_of(COMMAND, *path, "--help")


def commands(path=()):
    """() and the path of every command below it."""
    found = [path]
    listed = help_of(path).partition("\nSubcommands:\n")[2].split("\n\n")[0]
    for name in re.findall(r"^  (\w+) ", listed, re.MULTILINE):
        found += commands((*path, name))
    return found


class Completion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.scripts = {}
        for shell in ("bash", "zsh", "fish"):
            cls.scripts[shell] = pathlib.Path(cls.folder.name) / shell
            cls.scripts[shell].write_text(output_of(COMMAND, "completion", shell))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def bash(self, *words, folder=None):
        """What bash offers for the last of the words."""
        program = (
            'source "$0"; complete -p cohort > /dev/null || exit 1\n'
            'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cohort\n'
            'for reply in "${COMPREPLY[@]}"; do printf "%s\\n" "$reply"; done'
        )
        result = subprocess.run(
            ["bash", "--norc", "-c", program, self.scripts["bash"], "cohort", *words],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=folder,
        )
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout.splitlines()

    def test_commands(self):
        offered = self.bash("")
        for name in ("generate", "groups", "bench", "completion", "--help", "--version"):
            self.assertIn(name, offered)
        self.assertNotIn("manual", offered)
        self.assertEqual(self.bash("gen"), ["generate"])
        self.assertEqual(self.bash("bench", "lay"), ["layer"])

    def test_every_flag_of_the_help_and_no_other(self):
        for path in commands():
            with self.subTest(path=path):
                lines = re.findall(r"^  (-\S+)", help_of(path), re.MULTILINE)
                listed = {name for line in lines for name in line.split(",")}
                offered = {word for word in self.bash(*path, "-") if word.startswith("-")}
                self.assertTrue(listed)
                self.assertEqual(offered, listed)

    def test_values(self):
        self.assertEqual(self.bash("generate", "--dtype", ""), ["f32", "bf16"])
        self.assertEqual(self.bash("generate", "--tp", "2", "--dtype", "b"), ["bf16"])
        self.assertEqual(self.bash("generate", "--dtype", "=", "b"), ["bf16"])
        self.assertEqual(self.bash("generate", "--dtype", "="), ["f32", "bf16"])
        self.assertEqual(self.bash("completion", "z"), ["zsh"])
        self.assertEqual(self.bash("generate", "--prompt", ""), [])

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "a model.gguf").touch()
            (pathlib.Path(folder) / "other").touch()
            self.assertEqual(
                self.bash("generate", "--model", "a", folder=folder), ["a model.gguf"]
            )
            self.assertEqual(self.bash("health", "oth", folder=folder), ["other"])
            self.assertEqual(self.bash("health", "--wat", folder=folder), ["--watch"])

    def test_the_program_behind_two_hyphens_is_not_ours(self):
        self.assertEqual(self.bash("run", "-n", "2", "--", "gen"), [])

    def test_fish(self):
        def fish(line):
            program = f"source {self.scripts['fish']}; complete --do-complete '{line}'"
            text = output_of("fish", "--no-config", "--command", program)
            return [offer.split("\t")[0] for offer in text.splitlines()]

        self.assertEqual(fish("cohort gen"), ["generate"])
        self.assertEqual(fish("cohort bench lay"), ["layer"])
        self.assertEqual(fish("cohort bench layer --hid"), ["--hidden"])
        self.assertEqual(sorted(fish("cohort generate --dtype ")), ["bf16", "f32"])
        self.assertNotIn("manual", fish("cohort "))

    def test_zsh_reads_it(self):
        program = "compdef() { print defined $*; }; source $0"
        text = output_of("zsh", "-f", "-c", program, self.scripts["zsh"])
        self.assertEqual(text, "defined _cohort cohort\n")


if __name__ == "__main__":
    unittest.main()
