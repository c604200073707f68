"""What Doxygen says of the comments in the public headers: nothing of what they say may be wrong,
and whatever is not plain from its name has a comment. Usage: header_comments_test.py"""

import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]
WARNING = re.compile(r"^(.*?):(\d+): (?:warning|error): (.*)$", re.MULTILINE)
UNDOCUMENTED = re.compile(r"^Member (.*) \((\w+(?: \w+)?)\) of (\w+) (\S+) is not documented\.$")
# Their names and types say what they are, in a struct or an enumeration that has a comment.
PLAIN = ("variable", "friend", "enumvalue", "typedef", "enumeration")


def warnings_of(settings):
    """(path, line, text) of each warning with these settings on top of the project's."""
    with tempfile.TemporaryDirectory(prefix="cohort-comments-") as folder:
        config = (ROOT / "Doxyfile").read_text(encoding="utf-8")
        done = subprocess.run(
            ["doxygen", "-"],
            input=f"{config}\nOUTPUT_DIRECTORY = {folder}\nWARN_AS_ERROR = NO\n{settings}\n",
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
    return [(path, int(line), text) for path, line, text in WARNING.findall(done.stderr)]


def shares_a_comment(path, line):
    """A declaration right below another one belongs to its comment."""
    above = pathlib.Path(path).read_text(encoding="utf-8").splitlines()[line - 2]
    return above.rstrip().endswith((";", "}"))


def is_plain(path, line, text):
    member = UNDOCUMENTED.match(text)
    if not member:
        return False
    name, kind, _, owner = member.groups()
    if kind in PLAIN:
        return True
    own = owner.rpartition("::")[2]
    special = name.startswith((own + "(", "operator"))
    return kind == "function" and (
        special or re.search(r"\) const\b", name) is not None or shares_a_comment(path, line)
    )


class HeaderComments(unittest.TestCase):
    def test_nothing_that_they_say_is_wrong(self):
        self.assertEqual(warnings_of("GENERATE_HTML = NO\nGENERATE_XML = YES"), [])

    def test_what_is_not_plain_has_a_comment(self):
        found = warnings_of("EXTRACT_ALL = NO\nGENERATE_HTML = NO\nGENERATE_XML = YES")
        self.assertGreater(len(found), 50, "Doxygen should name the plain members")
        self.assertEqual([warning for warning in found if not is_plain(*warning)], [])


if __name__ == "__main__":
    unittest.main()
