"""How types that headers declare lie in memory, read by libabigail's abidw."""

import os
import pathlib
import re
import subprocess
import tempfile
import xml.etree.ElementTree

# A library has to export something to be read.
ROOT_SYMBOL = '\nextern "C" __attribute__((visibility("default"))) void cohort_types() {}\n'
SHORTER = (
    (re.compile(r"std::(__cxx11::)?basic_string<char, .*?allocator<char> ?>"), "std::string"),
    (re.compile(r"std::basic_string_view<char, std::char_traits<char> ?>"), "std::string_view"),
    (re.compile(r", std::allocator<[^<>]*(<[^<>]*>)?[^<>]*>"), ""),
    (re.compile(r", std::(less|default_delete)<[^<>]*(<[^<>]*>)?[^<>]*>"), ""),
    (re.compile(r" +>"), ">"),
)


def types_of(folder, include_folders):
    """libabigail's document of all types that the headers of a folder bring in."""
    headers = sorted(path.name for path in folder.iterdir() if path.suffix in (".h", ".hpp"))
    with tempfile.TemporaryDirectory(prefix="cohort-layouts-") as work:
        source = pathlib.Path(work) / "all.cpp"
        lines = [f"#include <cohort/{name}>" for name in headers]
        source.write_text("\n".join(lines) + ROOT_SYMBOL, encoding="utf-8")
        library = source.with_suffix(".so")
        subprocess.run(
            [
                *(os.environ.get("CXX", "g++"), "-std=c++20", "-g", "-fPIC", "-shared"),
                *("-fvisibility=hidden", "-fno-eliminate-unused-debug-types"),
                *[f"-I{folder}" for folder in include_folders],
                *(source, "-o", library),
            ],
            check=True,
        )
        document = subprocess.run(
            ["abidw", "--load-all-types", library], check=True, capture_output=True, text=True
        ).stdout
    return xml.etree.ElementTree.fromstring(document)


class Types:
    """Names of types by their ids, spelt as in the source as far as the document tells."""

    def __init__(self, document):
        self.elements = {}
        self.scopes = {}
        self._collect(document, "")

    def _collect(self, element, scope):
        for child in element:
            inner = scope
            if child.tag in ("namespace-decl", "class-decl", "union-decl", "enum-decl"):
                inner = f"{scope}{child.get('name')}::"
            if child.get("id"):
                self.elements[child.get("id")] = child
                self.scopes[child.get("id")] = scope
            self._collect(child, inner)

    def name(self, identifier):
        element = self.elements[identifier]
        inner = element.get("type-id")
        if element.tag == "pointer-type-def":
            return self.name(inner) + "*"
        if element.tag == "reference-type-def":
            return self.name(inner) + ("&" if element.get("kind") == "lvalue" else "&&")
        if element.tag == "qualified-type-def":
            return ("const " if element.get("const") == "yes" else "") + self.name(inner)
        if element.tag == "array-type-def":
            lengths = "".join(f"[{part.get('length')}]" for part in element.iter("subrange"))
            return self.name(inner) + lengths
        if element.tag == "function-type":
            returned = element.find("return")
            parameters = element.iter("parameter")
            arguments = ", ".join(self.name(one.get("type-id")) for one in parameters)
            return f"{self.name(returned.get('type-id'))}({arguments})"
        name = self.scopes[identifier] + element.get("name")
        for pattern, shorter in SHORTER:
            name = pattern.sub(shorter, name)
        return name

    def public(self):
        """(full name, element) of each defined type of ours, in order."""
        for identifier, element in self.elements.items():
            full = self.scopes[identifier] + (element.get("name") or "")
            ours = full.startswith("cohort::") or full.startswith("cohort_")
            if ours and element.tag in ("class-decl", "enum-decl", "union-decl"):
                if "__anonymous" not in full and element.get("is-declaration-only") != "yes":
                    yield full, element


def bytes_of(element):
    return int(element.get("size-in-bits", "0")) // 8


def members_of(types, element):
    for base in element.findall("base-class"):
        offset = int(base.get("layout-offset-in-bits", "0")) // 8
        yield offset, f"base {types.name(base.get('type-id'))}"
    for member in element.findall("data-member"):
        variable = member.find("var-decl")
        if member.get("static") != "yes":
            offset = int(member.get("layout-offset-in-bits", "0")) // 8
            yield offset, f"{variable.get('name')}: {types.name(variable.get('type-id'))}"


def lines_of(types):
    """One line for each size, member, value and virtual function, so that a difference is whole."""
    lines = set()
    for full, element in types.public():
        if element.tag == "enum-decl":
            size = bytes_of(types.elements[element.find("underlying-type").get("type-id")])
            lines.add((full, -1, f"{full}: enum of {size} bytes"))
            for one in element.findall("enumerator"):
                value = int(one.get("value"))
                lines.add((full, value, f"{full} = {value}: {one.get('name')}"))
            continue
        lines.add((full, -1, f"{full}: {bytes_of(element)} bytes"))
        for offset, text in members_of(types, element):
            lines.add((full, offset, f"{full} + {offset}: {text}"))
        for one in element.findall("member-function"):
            place = one.get("vtable-offset")
            if place is not None:
                name = one.find("function-decl").get("name")
                lines.add((full, 10**6 + int(place), f"{full} virtual {place}: {name}"))
    return [line for _, _, line in sorted(lines)]


def of_headers(headers, folders):
    return lines_of(Types(types_of(headers, folders)))
