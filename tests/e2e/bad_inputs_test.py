#!/usr/bin/env python3
"""Every bad input of the table in bad_inputs.py is one clear message, the right exit code, and
nothing left behind or overwritten. Usage: bad_inputs_test.py COMMAND [PART_OF_A_NAME]

With BAD_INPUTS_TABLE=FILE in the environment, what the command said is written there as Markdown.
"""

import contextlib
import json
import os
import pathlib
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import unittest
import uuid

import bad_inputs

COMMAND = pathlib.Path(sys.argv[1]).resolve()
ONLY = sys.argv[2] if len(sys.argv) > 2 else ""
MARK = "COHORT_TEST_MARK"
MESSAGE_BYTES_MAX = 2200
# Above what slow machines and sanitizers need; no bad input may hang.
SECONDS_MAX = 60
ROWS_MIN = 60


def contents(folder):
    """{name: content or kind} of all below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        is_file = path.is_file() and not path.is_symlink()
        found[str(path.relative_to(folder))] = path.read_bytes() if is_file else "no file"
    return found


def shared_memory():
    return {name for name in os.listdir("/dev/shm") if "cohort" in name}


def processes_with(mark):
    entry = f"{MARK}={mark}".encode()
    left = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry in (process / "environ").read_bytes().split(b"\0"):
                left.append(int(process.name))
    return left


def limits_setter(limits):
    def set_limits():
        for kind, value in limits:
            resource.setrlimit(kind, (value, value))

    return set_limits if limits else None


def make_full_device(path):
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
        with open(path, "wb"):
            return
    except OSError:
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/full")


def make_file(path, content):
    if content is bad_inputs.PIPE:
        os.mkfifo(path)
    elif content is bad_inputs.FULL:
        make_full_device(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@contextlib.contextmanager
def mounted_without_room(folder, wanted):
    """A file system of two pages, full. Yields False where this process may not mount one."""
    if not wanted:
        yield True
        return
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield False
        return
    try:
        with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class BadInputs(unittest.TestCase):
    said = []

    def run_command(self, row, words, folder):
        mark = uuid.uuid4().hex
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COHORT_")}
        temporary = folder.parent / "temporary"
        temporary.mkdir(exist_ok=True)
        environment |= {MARK: mark, "TMPDIR": str(temporary)} | row.environment
        with contextlib.ExitStack() as stack:
            stdout = subprocess.PIPE
            if row.stdout is bad_inputs.GONE:
                reader, stdout = os.pipe()
                os.close(reader)
                stack.callback(os.close, stdout)
            elif row.stdout:
                stdout = stack.enter_context(open(row.stdout, "wb"))
            finished = subprocess.run(
                [str(COMMAND), *words],
                cwd=folder,
                env=environment,
                input=row.stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                timeout=SECONDS_MAX,
                preexec_fn=limits_setter(row.limits),
                check=False,
            )
        left = processes_with(mark)
        for process in left:
            os.kill(process, signal.SIGKILL)
        self.assertEqual(left, [], "a process is left")
        self.assertEqual(list(temporary.iterdir()), [], "a temporary file is left")
        return finished

    def check_message(self, row, message):
        self.assertLessEqual(len(message.encode()), MESSAGE_BYTES_MAX)
        for fragment in row.fragments:
            self.assertIn(fragment, message)
        for internal in ("terminate", "std::", "unexpected:", "basic_string", "Assertion"):
            self.assertNotIn(internal, message)

    def check_text(self, row, folder):
        finished = self.run_command(row, row.words, folder)
        errors = finished.stderr.decode("utf-8", errors="replace")
        lines = [line for line in errors.splitlines() if "error:" in line]
        self.assertEqual(finished.returncode, row.exit_code, errors)
        self.assertEqual(len(lines), 1, errors)
        if row.exit_code == 2:
            self.assertEqual(errors, lines[0] + "\n")
            self.assertIn(finished.stdout, (None, b""))
        self.assertTrue(lines[0].startswith("cohort: error: "), lines[0])
        self.assertTrue(lines[0].isprintable(), lines[0])
        self.check_message(row, lines[0])
        self.said.append((row, lines[0].removeprefix("cohort: error: ")))

    def check_json(self, row, folder):
        finished = self.run_command(row, [*row.words, "--json"], folder)
        self.assertEqual(finished.returncode, row.exit_code)
        if row.stdout:
            self.assertIn(b"cohort: error: ", finished.stderr)
            return
        self.assertEqual(finished.stderr, b"")
        error = json.loads(finished.stdout)["error"]
        self.assertLessEqual({"code", "message", "rank", "phase"}, set(error))
        bad_input = error["code"] in ("usage", "corrupt", "unsupported")
        self.assertEqual(bad_input, row.exit_code == 2, error)
        self.check_message(row, error["message"])

    def check(self, row):
        with tempfile.TemporaryDirectory(prefix="cohort-bad-") as root:
            folder = pathlib.Path(root, "here")
            folder.mkdir()
            for name, content in row.files.items():
                make_file(folder / name, content)
            with mounted_without_room(folder / "full", row.full_folder) as is_possible:
                if not is_possible:
                    self.skipTest("this process may mount nothing")
                before = contents(folder)
                memory = shared_memory()
                self.check_text(row, folder)
                if row.json:
                    self.check_json(row, folder)
                self.assertEqual(contents(folder), before, "a file was left or changed")
                self.assertLessEqual(shared_memory(), memory, "shared memory is left")

    def test_table(self):
        rows = bad_inputs.table()
        self.assertGreaterEqual(len(rows), ROWS_MIN)
        for row in rows:
            if ONLY in row.name:
                with self.subTest(row=row.name):
                    self.check(row)

    @classmethod
    def tearDownClass(cls):
        print(f"{len(cls.said)} bad inputs, one message each")
        target = os.environ.get("BAD_INPUTS_TABLE")
        if target:
            lines = [
                f"| {row.name} | {row.exit_code} | {said.replace('|', '/')[:300]} |\n"
                for row, said in cls.said
            ]
            pathlib.Path(target).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
