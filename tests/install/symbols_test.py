"""What the shared library lets others see: the functions of the C headers, and of C++ only names of
namespace cohort that public headers could declare. Usage: symbols_test.py LIBRARY"""

import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).parents[2]
LIBRARY = sys.argv.pop()

# A private folder's namespace, e.g. cohort::host::Domain::join; classes are LikeThis.
PRIVATE = re.compile(r"cohort::[a-z]\w*::")
ALLOWED = re.compile(r"(typeinfo (name )?for |vtable for )?cohort::")


def exported():
    """Demangled names, without arguments."""
    output = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--demangle", LIBRARY],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [line.split(maxsplit=2)[2].split("(")[0] for line in output.splitlines()]


def declared():
    text = "".join(
        (ROOT / "include" / "cohort" / name).read_text()
        for name in ("cohort.h", "cohort_names.h", "cohort_norm.h")
    )
    return set(re.findall(r"^COHORT_API [^;(]*?(cohort_\w+)\(", text, re.MULTILINE))


class Symbols(unittest.TestCase):
    def test_the_c_functions_are_those_of_the_headers(self):
        functions = {name for name in exported() if name.startswith("cohort_")}
        self.assertEqual(functions, declared())
        self.assertGreater(len(functions), 40)

    def test_nothing_else_leaks(self):
        names = [name for name in exported() if not name.startswith("cohort_")]
        leaked = [name for name in names if not ALLOWED.match(name) or PRIVATE.match(name)]
        self.assertEqual(leaked, [])
        self.assertIn("cohort::commit", names)


if __name__ == "__main__":
    unittest.main()
