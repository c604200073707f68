#!/usr/bin/env python3
"""Checks that every link and path of the tracked Markdown files leads somewhere in the project.

Usage: links.py [ROOT]. A link names a tracked file or folder, relative to its page, or an anchor of
a heading, or both. `Code` that begins with a folder of the project names a file, with or without
its ending, or a folder. Prints one line for each that does not; other sites are left alone.
"""

import pathlib
import posixpath
import re
import subprocess
import sys

FENCE = re.compile(r"^\s*(```|~~~)")
CODE_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
INLINE_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*$")
PATH_SPAN = re.compile(
    r"`((?:apps|benchmarks|cmake|docs|examples|include|python|scripts|src|tests|\.ci)/[\w./-]*)`"
)
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def prose_lines(text):
    """Yields (number, line) of everything that is not in a fenced block."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        mark = FENCE.match(line)
        if mark and fence in (None, mark.group(1)):
            fence = mark.group(1) if fence is None else None
        elif fence is None:
            yield number, line


def anchors_of(text):
    """The anchors that a page's headings get: lower case, blanks as dashes, marks left out."""
    anchors, counts = set(), {}
    for _, line in prose_lines(text):
        heading = HEADING.match(line)
        if not heading:
            continue
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1)).replace("`", "")
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        seen = counts.get(anchor, 0)
        counts[anchor] = seen + 1
        anchors.add(f"{anchor}-{seen}" if seen else anchor)
    return anchors


def links_of(text):
    """Yields (number, target) of every link outside of code."""
    for number, line in prose_lines(text):
        line = CODE_SPAN.sub("", line)
        for target in INLINE_LINK.findall(line) + REFERENCE.findall(line):
            yield number, target


def known_of(paths):
    """The paths and their folders."""
    known = set(paths)
    for path in paths:
        while path := posixpath.dirname(path):
            known.add(path)
    return known


def path_findings_of(pages, paths):
    """One line for each path in code that is none of `paths`: those of the change log may be of
    the past."""
    known = known_of(paths) | {posixpath.splitext(path)[0] for path in paths}
    for page, text in pages.items():
        for number, line in prose_lines(text) if page != "CHANGELOG.md" else ():
            for path in PATH_SPAN.findall(line):
                if path.rstrip("/") not in known:
                    yield f"{page}:{number}: `{path}`: there is no such file or folder"


def findings_of(pages, paths):
    """One line for each link of `pages` ({path: text}) that leads to none of `paths`."""
    known = known_of(paths)
    for page, text in pages.items():
        for number, target in links_of(text):
            if SCHEME.match(target) or target.startswith("//"):
                continue
            file, _, anchor = target.partition("#")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(page), file))
            path = path if file else page
            if path not in known:
                yield f"{page}:{number}: {target}: there is no {path}"
            elif anchor and path in pages and anchor not in anchors_of(pages[path]):
                yield f"{page}:{number}: {target}: {path} has no such heading"


def main(arguments):
    root = pathlib.Path(arguments[1] if len(arguments) > 1 else ".")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    paths = [path for path in listed if path and (root / path).exists()]
    pages = {
        path: (root / path).read_text(encoding="utf-8") for path in paths if path.endswith(".md")
    }
    findings = [*findings_of(pages, paths), *path_findings_of(pages, paths)]
    for finding in findings:
        print(finding)
    print(f"links: {len(pages)} pages, {len(findings)} findings")
    return 1 if findings or not pages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
