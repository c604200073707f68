#!/usr/bin/env python3
"""Compares what programs are built against with lists that are committed, so that a change of the
interface is seen by whoever reads the change: what the shared library exports with
cmake/exported_symbols.txt, and how the types of the public headers lie in memory with
cmake/public_layouts.txt.

Usage: abi.py [--write] LIBRARY INCLUDE_FOLDER... Prints what was added and removed. With --write
the lists are brought up to date, but nothing is taken from them that a released version of the same
soname had: programs built against that one would not run any more. CHANGELOG.md says what is
released.
"""

import pathlib
import re
import subprocess
import sys

import layouts

ROOT = pathlib.Path(__file__).parents[2]
RELEASE = re.compile(r"^## (\d+\.\d+)\.\d+(, not released)?$", re.MULTILINE)
MADE_BY = "Written by scripts/check/abi.py --write.\n"
SYMBOLS = ("cmake/exported_symbols.txt", "# What the library exports. " + MADE_BY)
LAYOUTS = (
    "cmake/public_layouts.txt",
    "# How the types of the public headers lie in memory. " + MADE_BY,
)


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


def list_of(head, soname, entries):
    return head + "\n".join([f"soname {soname}", *entries]) + "\n"


def compare(kind, soname, entries, write):
    """0 if the list is as it should be, or now is."""
    path, head = kind
    file = ROOT / path
    listed_soname, listed = parse(file.read_text(encoding="utf-8") if file.exists() else "")
    removed, added = difference(entries, listed), difference(listed, entries)
    for mark, names in (("-", removed), ("+", added)):
        for name in names:
            print(mark, name)
    if soname == listed_soname and not removed and not added:
        print(f"abi: {len(entries)} lines of {soname}, as in {path}")
        return 0
    if not write:
        print(f"abi: {soname} is not as in {path}; say so in CHANGELOG.md and write it anew:")
        print("  scripts/check/abi.py --write LIBRARY INCLUDE_FOLDER...")
        return 1
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if removed and soname == listed_soname and is_released(soname, changelog):
        print(f"abi: {soname} is released, so nothing of it may go: raise the minor version")
        return 1
    file.write_text(list_of(head, soname, entries), encoding="utf-8")
    print(f"abi: wrote {len(entries)} lines to {path}")
    return 0


def main(arguments):
    write = arguments[1:2] == ["--write"]
    library, *folders = arguments[1 + write :] or [None]
    if not folders:
        print(__doc__, file=sys.stderr)
        return 2
    headers = ROOT / "include" / "cohort"
    soname = soname_of(library)
    found = ((SYMBOLS, exported_by(library)), (LAYOUTS, layouts.of_headers(headers, folders)))
    return max([compare(kind, soname, entries, write) for kind, entries in found])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
