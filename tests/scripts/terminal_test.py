"""What the command shows on a terminal and what it leaves out elsewhere. Usage:
terminal_test.py COMMAND"""

import json
import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).parents[2]
MODEL = str(ROOT / "tests/data/tiny/tiny.gguf")
COMMAND = sys.argv.pop()
RED = "\x1b[31m"
ERASE = "\r\x1b[K"


def environment(**variables):
    # COHORT_MODEL, by which tests find a model, is also the variable of --model.
    unwanted = ("NO_COLOR", "COHORT_MODEL")
    plain = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**plain, "TERM": "xterm", "COHORT_LOG": "error", **variables}


class Screen:
    """One end of a pseudoterminal; the other is what a program writes to or reads from."""

    def __init__(self):
        self.master, self.program_end = pty.openpty()
        self.text = ""

    def read_on(self):
        """All until the program's end is closed."""
        while True:
            try:
                ready, _, _ = select.select([self.master], [], [], 60)
                data = os.read(self.master, 65536) if ready else b""
            except OSError:
                data = b""
            if not data:
                break
            self.text += data.decode(errors="replace")

    def close(self):
        os.close(self.master)


def on_terminal(arguments, stream="stderr", typed=None, **variables):
    """Runs the command with one stream on a terminal, the others on pipes."""
    screen = Screen()
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    streams[stream] = screen.program_end
    everything = {"env": environment(**variables), **streams}
    with subprocess.Popen([COMMAND, *arguments], **everything) as process:
        if stream == "stdin":
            os.write(screen.master, typed)
        else:
            os.close(screen.program_end)
        reader = threading.Thread(target=screen.read_on)
        if stream != "stdin":
            reader.start()
        output, errors = process.communicate(timeout=120)
        if stream != "stdin":
            reader.join()
    if stream == "stdin":
        os.close(screen.program_end)
    screen.close()
    return process.returncode, (output or b"").decode(), (errors or b"").decode(), screen.text


def left_on_screen(text):
    """What is still to be read once every erased line is gone."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        lines.append(line.rpartition(ERASE)[2])
    return "\n".join(lines)


class Terminal(unittest.TestCase):
    generate = ["generate", "--model", MODEL, "--tp", "2", "--prompt", "Hello", "--max-tokens", "8"]

    def test_progress_is_shown_and_gone_at_the_end(self):
        code, output, _, screen = on_terminal([*self.generate, "--json"])
        self.assertEqual(code, 0)
        json.loads(output)
        self.assertIn(ERASE + "loading the model  ", screen)
        self.assertRegex(screen, r"loading the model  \d+ %  \d+ of \d+ tensors")
        self.assertRegex(screen, r"generating  \d+ %  \d+ of 8 tokens")
        self.assertEqual(left_on_screen(screen), "")

    def test_bench_shows_points(self):
        arguments = ["bench", "--quick", "--peers", "none", "--ops", "barrier,all_reduce"]
        code, output, _, screen = on_terminal(arguments)
        self.assertEqual(code, 0)
        self.assertIn("barrier", output)
        self.assertRegex(screen, r"bench  \d+ %  \d+ of \d+ points")
        self.assertEqual(left_on_screen(screen), "")

    def test_nothing_is_shown_where_nobody_watches(self):
        plain = subprocess.run(
            [COMMAND, *self.generate], env=environment(), capture_output=True, timeout=120
        )
        self.assertEqual((plain.returncode, plain.stderr), (0, b""))
        for more in ({"TERM": "dumb"}, {"TERM": ""}):
            code, _, _, screen = on_terminal(self.generate, **more)
            self.assertEqual((code, screen), (0, ""))

    def test_quiet_leaves_the_text_alone(self):
        code, output, _, screen = on_terminal([*self.generate, "--quiet"])
        self.assertEqual((code, screen), (0, ""))
        self.assertNotIn("all_gather", output)
        self.assertTrue(output.strip())

    def test_verbose_says_every_step_anywhere(self):
        variables = environment()
        del variables["COHORT_LOG"]
        result = subprocess.run(
            [COMMAND, *self.generate, "-v"],
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr, r"loading the model: \d+ tensors in \d+\.\d\d s\n")
        self.assertIn("cohort: rank 1: info: loading the model\n", result.stderr)
        self.assertNotIn("\x1b", result.stderr)

    def test_quiet_and_verbose_contradict_each_other(self):
        code, _, errors, _ = on_terminal([*self.generate, "-q", "-v"], stream="stdout")
        self.assertEqual(code, 2)
        self.assertIn("--quiet", errors)

    def test_errors_are_red_unless_colours_are_not_wanted(self):
        arguments = ["generate", "--modle", "x"]
        plain = "cohort: error: unknown flag '--modle' for 'cohort generate'"
        code, _, _, screen = on_terminal(arguments)
        self.assertEqual(code, 2)
        self.assertIn(RED + "cohort: error:\x1b[0m unknown flag", screen)
        _, _, _, screen = on_terminal(arguments, NO_COLOR="1")
        self.assertIn(plain, screen)
        self.assertNotIn("\x1b[3", screen)
        _, _, _, screen = on_terminal(arguments, TERM="dumb")
        self.assertTrue(screen.startswith(plain), screen)
        _, _, errors, _ = on_terminal(arguments, stream="stdout")
        self.assertTrue(errors.startswith(plain), errors)

    def test_check_colours_its_verdicts(self):
        arguments = ["check", "--ranks", "1"]
        _, _, _, screen = on_terminal(arguments, stream="stdout")
        self.assertRegex(screen, "\x1b\\[3[123]m(ok|warning|problem) +\x1b\\[0m")
        _, _, _, screen = on_terminal(arguments, stream="stdout", NO_COLOR="yes")
        self.assertNotIn("\x1b", screen)
        for line in screen.replace("\r", "").split("\n"):
            self.assertLessEqual(len(line), 80, line)

    def test_a_prompt_can_be_typed(self):
        arguments = ["generate", "--model", MODEL, "--max-tokens", "4"]
        code, output, errors, _ = on_terminal(arguments, stream="stdin", typed=b"Hello\n\x04")
        self.assertEqual((code, errors), (0, "Type a prompt, end it with Enter and Ctrl-D:\n"))
        self.assertIn("1 rank: ", output)

    def test_a_trace_holds_the_calls_of_all_ranks(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "trace.json"
            code, output, _, _ = on_terminal([*self.generate, "--json", "--trace", str(path)])
            self.assertEqual(code, 0)
            trace = json.loads(path.read_text())
            self.assertEqual(os.listdir(folder), ["trace.json"])
        calls = [event for event in trace["traceEvents"] if event["ph"] == "X"]
        for rank in (0, 1):
            rows = json.loads(output)["communication"]
            told = sum(row["calls"] for row in rows if rank in row["ranks"])
            shown = [call for call in calls if call["pid"] == rank + 1]
            self.assertEqual(len(shown), told)
            self.assertEqual(shown, sorted(shown, key=lambda call: call["ts"]))
        told = sum(row["bytes"] for row in json.loads(output)["communication"])
        self.assertEqual(sum(call["args"]["bytes"] for call in calls), told)

    def test_a_trace_that_cannot_be_written_is_refused_at_once(self):
        code, output, errors, _ = on_terminal(
            [*self.generate, "--trace", "/no/such/folder/trace.json"], stream="stdin", typed=b""
        )
        self.assertEqual((code, output), (2, ""))
        self.assertRegex(errors, "error: --trace /no/such/folder/trace.json cannot be written")


class Newcomer(unittest.TestCase):
    """The three commands that are tried first."""

    def run_command(self, *arguments):
        result = subprocess.run(
            [COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
        )
        for line in (result.stdout + result.stderr).splitlines():
            self.assertLessEqual(len(line), 80, line)
        return result

    def test_the_bare_command(self):
        shown = self.run_command()
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertLess(len(shown.stdout.splitlines()), 40)
        for line in re.findall(r"^  (cohort .*)$", shown.stdout, re.MULTILINE)[:2]:
            tried = self.run_command(*line.split()[1:])
            self.assertIn(tried.returncode, (0, 1), line)
            self.assertTrue(tried.stdout)

    def test_help(self):
        shown = self.run_command("--help")
        self.assertEqual(shown.returncode, 0)
        for part in ("Usage: cohort", "Try next:", "cohort completion bash", "NO_COLOR"):
            self.assertIn(part, shown.stdout)

    def test_a_command_without_what_it_needs(self):
        for command, needed in (("generate", "--model FILE"), ("plan", "--model FILE"),
                                ("run", "-n,--ranks N"), ("health", "file FILE")):
            shown = self.run_command(command)
            self.assertEqual((shown.returncode, shown.stdout), (2, ""))
            self.assertTrue(shown.stderr.startswith("cohort: error: "))
            self.assertIn(f"\ncohort {command} needs at least:\n  {needed}\n", shown.stderr)
            self.assertIn("\nExamples:\n  # ", shown.stderr)
            self.assertIn(f"\n'cohort {command} --help' explains every flag.\n", shown.stderr)
        # Who has said more gets one line.
        self.assertEqual(len(self.run_command("generate", "--tp", "2").stderr.splitlines()), 1)


if __name__ == "__main__":
    unittest.main()
