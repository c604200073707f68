"""For mkdocs: links that leave docs/ name files of the project, of which the site has no pages.
There they become the text of the link with the file's name behind it.

Links are still checked where they are written, by scripts/check/links.py.
"""

import posixpath
import re

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)[^)\s]+)\)")


def leaves(page, target):
    """Whether a link of a page, both relative to docs/, leads out of it."""
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(page), target.partition("#")[0]))
    return joined.startswith("../"), joined.removeprefix("../")


def without_outer_links(page, text):
    def replace(match):
        words, target = match.groups()
        outside, path = leaves(page, target)
        if not outside:
            return match.group(0)
        named = words.strip("`") in path
        return words if named else f"{words} (`{path}`)"

    return LINK.sub(replace, text)


def on_page_markdown(markdown, page, **_):
    return without_outer_links(page.file.src_path, markdown)
