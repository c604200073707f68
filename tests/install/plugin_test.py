"""The GPU plugin as it is shipped: one symbol, no library of a GPU that it needs to be loaded, a
component of its own, found by the installed command.
Usage: plugin_test.py PLUGIN CMAKE BUILD_FOLDER LIBRARY_FOLDER"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

PLUGIN, CMAKE, BUILD, LIBRARIES = sys.argv[1:5]
del sys.argv[1:5]
SYMBOLS = {"cohort_cuda_plugin", "cohort_nccl_plugin"}
FILE_NAME = "libcohort_cuda.so"


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


class Plugin(unittest.TestCase):
    def test_only_entries_leave_it(self):
        output = run("nm", "--dynamic", "--defined-only", PLUGIN)
        names = {line.split()[2] for line in output.splitlines()}
        self.assertIn("cohort_cuda_plugin", names)
        self.assertLessEqual(names, SYMBOLS)

    def test_it_needs_no_library_of_a_gpu(self):
        dynamic = run("objdump", "-p", PLUGIN)
        needed = re.findall(r"NEEDED\s+(\S+)", dynamic)
        self.assertIn("libc.so.6", needed)
        foreign = [name for name in needed if re.search(r"cuda|nccl|nvidia|cohort", name)]
        self.assertEqual(foreign, [])
        self.assertRegex(dynamic, r"RUNPATH\s+\$ORIGIN\n")

    def test_it_is_a_component_that_the_installed_command_finds(self):
        with tempfile.TemporaryDirectory() as prefix:
            root = pathlib.Path(prefix).resolve()
            install = (CMAKE, "--install", BUILD, "--prefix", str(root), "--component")
            run(*install, "cuda")
            files = [path for path in root.rglob("*.so*") if path.is_file()]
            self.assertEqual(files, [root / LIBRARIES / FILE_NAME])
            others = {path.name for path in root.rglob("*") if path.is_file()} - {FILE_NAME}
            self.assertEqual(others, {"copyright"})
            run(*install, "command")
            self.assertIn(str(files[0]), self.files_loaded_by(root / "bin" / "cohort"))
            files[0].unlink()
            self.assertNotIn(FILE_NAME + "\n", self.files_loaded_by(root / "bin" / "cohort"))

    def test_an_installed_program_loads_it_by_itself(self):
        with tempfile.TemporaryDirectory() as prefix:
            root = pathlib.Path(prefix).resolve()
            run(CMAKE, "--install", BUILD, "--prefix", str(root), "--component", "cuda")
            script = (
                "import ctypes, sys\n"
                "plugin = ctypes.CDLL(sys.argv[1])\n"
                "plugin.cohort_cuda_plugin.restype = ctypes.c_void_p\n"
                "assert plugin.cohort_cuda_plugin(0) is None\n"
            )
            run(sys.executable, "-c", script, str(root / LIBRARIES / FILE_NAME))

    def files_loaded_by(self, command):
        """What the dynamic linker says of its work: a line for each file that it initialises."""
        environment = {**os.environ, "LD_DEBUG": "files"}
        environment.pop("COHORT_CUDA_PLUGIN", None)
        done = subprocess.run(
            [command, "check", "--ranks", "1", "--json"],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
        self.assertIn("gpus", [row["name"] for row in json.loads(done.stdout)["rows"]])
        return "".join(line for line in done.stderr.splitlines(True) if "calling init" in line)


if __name__ == "__main__":
    unittest.main()
