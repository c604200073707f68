#!/usr/bin/env python3
"""Compares what the shared library exports with cmake/exported_symbols.txt, which is committed so
that a change of the interface is seen by whoever reads the change.

Usage: symbols.py [--write] LIBRARY. Prints what was added and removed. With --write the list is
brought up to date, but nothing is taken from it that a released version of the same soname had:
programs built against that one would not start any more. CHANGELOG.md says what is released.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
LIST = ROOT / "cmake" / "exported_symbols.txt"
RELEASE = re.compile(r"^## (\d+\.\d+)\.\d+(, not released)?$", re.MULTILINE)


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def soname_of(library):
    return re.search(r"SONAME\s+(\S+)", run("objdump", "-p", library)).group(1)


def exported_by(library):
    """Demangled, sorted; constructors come twice, as they do in the library."""
    lines = run("nm", "--dynamic", "--defined-only", "--demangle", library).splitlines()
    return sorted(line.split(maxsplit=2)[2] for line in lines)


def difference(before, after):
    """What is in the second list more often than in the first."""
    left = list(before)
    added = []
    for name in after:
        if name in left:
            left.remove(name)
        else:
            added.append(name)
    return added


def is_released(soname, changelog):
    """Whether a released version has this soname, which ends in its major and minor number."""
    released = {version for version, not_yet in RELEASE.findall(changelog) if not not_yet}
    return any(soname.endswith(".so." + version) for version in released)


def parse(text):
    """(soname, symbols) of a list."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return (lines[0].removeprefix("soname "), lines[1:]) if lines else ("", [])


def list_of(soname, symbols):
    head = "# What the library exports. Written by scripts/check/symbols.py --write LIBRARY.\n"
    return head + "\n".join([f"soname {soname}", *symbols]) + "\n"


def main(arguments):
    write = arguments[1:2] == ["--write"]
    if len(arguments) != 2 + write:
        print(__doc__, file=sys.stderr)
        return 2
    library = arguments[-1]
    soname, symbols = soname_of(library), exported_by(library)
    listed_soname, listed = parse(LIST.read_text(encoding="utf-8") if LIST.exists() else "")
    removed, added = difference(symbols, listed), difference(listed, symbols)
    for mark, names in (("-", removed), ("+", added)):
        for name in names:
            print(mark, name)
    if soname == listed_soname and not removed and not added:
        print(f"symbols: {len(symbols)} of {soname}, as listed")
        return 0
    if not write:
        print(f"symbols: {soname} is not as listed; say so in CHANGELOG.md and write it anew:")
        print("  scripts/check/symbols.py --write LIBRARY")
        return 1
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if removed and soname == listed_soname and is_released(soname, changelog):
        print(f"symbols: {soname} is released, so nothing of it may go: raise the minor version")
        return 1
    LIST.write_text(list_of(soname, symbols), encoding="utf-8")
    print(f"symbols: wrote {len(symbols)} of {soname}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
