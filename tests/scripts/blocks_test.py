"""The code blocks of all pages compile: C++ programs as they are, other C++ as the body of a
function of tests/scripts/fragments.hpp, C after tests/scripts/fragments.h, Python by its compiler.
Usage: blocks_test.py BUILD_FOLDER"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]
BUILD = sys.argv.pop()
PRELUDES = pathlib.Path(__file__).parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unused")


def pages():
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    return [path for path in tracked if path and (ROOT / path).is_file()]


def blocks_of(page):
    """Yields (language, number of the first line, text)."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        yield match.group(1), text.count("\n", 0, match.start()) + 2, match.group(2)


def located(page, line, text):
    return f'#line {line} "{page}"\n{text}'


def fragments_unit():
    """All C++ fragments, as functions of one translation unit, and their number."""
    parts, count = ['#include "fragments.hpp"\n'], 0
    for page in pages():
        for language, line, text in blocks_of(page):
            if language == "cpp" and "int main(" not in text:
                name = f"Fragment{count}"
                parts.append(f"struct {name} : Context {{ void run(); }};\n")
                parts.append(f"void {name}::run() {{\n{located(page, line, text)}}}\n")
                count += 1
    return "".join(parts), count


def compile_text(compiler, language, standard, text):
    with tempfile.NamedTemporaryFile("w", suffix="." + language, encoding="utf-8") as source:
        source.write(text)
        source.flush()
        return subprocess.run(
            [compiler, f"-std={standard}", "-fsyntax-only", *WARNINGS]
            + [f"-I{folder}" for folder in (f"{ROOT}/include", f"{BUILD}/include", PRELUDES)]
            + [source.name],
            capture_output=True,
            text=True,
        ).stderr


class Blocks(unittest.TestCase):
    def test_cpp_programs_compile(self):
        seen = 0
        for page in pages():
            for language, line, text in blocks_of(page):
                if language == "cpp" and "int main(" in text:
                    told = compile_text("g++", "cpp", "c++20", located(page, line, text))
                    self.assertEqual(told, "")
                    seen += 1
        self.assertGreaterEqual(seen, 2)

    def test_cpp_fragments_compile(self):
        text, count = fragments_unit()
        self.assertEqual(compile_text("g++", "cpp", "c++20", text), "")
        self.assertGreaterEqual(count, 8)

    def test_c_blocks_of_a_page_compile_together(self):
        seen = 0
        for page in pages():
            blocks = [located(page, row[1], row[2]) for row in blocks_of(page) if row[0] == "c"]
            text = '#include "fragments.h"\n' + "".join(blocks)
            self.assertEqual(compile_text("gcc", "c", "c11", text) if blocks else "", "")
            seen += len(blocks)
        self.assertGreaterEqual(seen, 2)

    def test_a_wrong_block_is_found_and_placed(self):
        wrong = 'struct At : Context { void run(); };\n'
        wrong += '#line 7 "x.md"\nvoid At::run() { world.x(); }\n'
        told = compile_text("g++", "cpp", "c++20", '#include "fragments.hpp"\n' + wrong)
        self.assertRegex(told, r"x\.md:7:.*has no member named")

    def test_python_compiles_and_names_what_there_is(self):
        module = (ROOT / "python" / "cohort_torch.py").read_text(encoding="utf-8")
        header = (ROOT / "include" / "cohort" / "cohort.h").read_text(encoding="utf-8")
        seen = 0
        for page in pages():
            for language, line, text in blocks_of(page):
                if language != "python":
                    continue
                compile("\n" * (line - 1) + text, page, "exec")
                source = module if "cohort_torch" in text else header
                for name in re.findall(r"\bcohort\.(\w+)", text):
                    self.assertRegex(source, rf"\b{name}\b", f"{page}: {name}")
                    seen += 1
        self.assertGreater(seen, 5)

    def test_languages_are_known(self):
        """A block of another spelling would be looked at by nobody."""
        for page in pages():
            for language, line, _ in blocks_of(page):
                known = ("cpp", "c", "python", "cmake", "toml", "text", "mermaid")
                self.assertIn(language, known, f"{page}:{line}")


if __name__ == "__main__":
    unittest.main()
