"""The Debian packages, built from this build folder: what is in them, what they depend on, and the
project of docs/index.md, which knows nothing else, built against them by CMake and by pkg-config
and run on 3 ranks. Usage: deb_test.py CMAKE CPACK BUILD_FOLDER VERSION GENERATOR"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

CMAKE, CPACK, BUILD, VERSION, GENERATOR = sys.argv[1:6]
del sys.argv[1:6]
PROJECT = pathlib.Path(__file__).parent / "three_ranks"
PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "index.md").read_text(encoding="utf-8")
LIBRARY = "libcohort" + VERSION.rpartition(".")[0]
CUDA = "libcohort-cuda"
NAMES = {LIBRARY, "libcohort-dev", "libcohort-torch", "cohort"}


def run(*command, **options):
    environment = {**os.environ, "LC_ALL": "C", **options.pop("env", {})}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def field(package, name):
    return run("dpkg-deb", "-f", package, name).strip()


def depends(package):
    """Names of the packages that it depends on."""
    return {entry.split()[0] for entry in field(package, "Depends").split(", ") if entry}


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="cohort-deb-")
        cls.addClassCleanup(folder.cleanup)
        cls.work = pathlib.Path(folder.name).resolve()
        run(CPACK, "--config", f"{BUILD}/CPackConfig.cmake", "-G", "DEB", "-B", cls.work / "debs")
        cls.packages = {field(deb, "Package"): deb for deb in cls.work.glob("debs/*.deb")}
        cls.root = cls.work / "root"
        for deb in cls.packages.values():
            run("dpkg-deb", "-x", deb, cls.root)
        cls.libraries = next(cls.root.glob("usr/lib/**/libcohort.so")).parent

    def contents(self, name):
        """{path: mode and owner} of the files in a package."""
        listing = run("dpkg-deb", "-c", self.packages[name]).splitlines()
        rows = [line.split(maxsplit=5) for line in listing]
        return {row[5].split(" -> ")[0]: row[:2] for row in rows if not row[0].startswith("d")}

    def test_one_package_for_each_component(self):
        self.assertEqual(set(self.packages) - {CUDA}, NAMES)
        self.assertEqual(CUDA in self.packages, os.path.exists(f"{BUILD}/libcohort_cuda.so"))
        summaries = set()
        for name, deb in self.packages.items():
            self.assertEqual(field(deb, "Version"), VERSION)
            self.assertEqual(deb.name, f"{name}_{VERSION}_{field(deb, 'Architecture')}.deb")
            summary, _, text = field(deb, "Description").partition("\n")
            self.assertTrue(0 < len(summary) <= 80 and text, name)
            summaries.add(summary)
        self.assertEqual(len(summaries), len(self.packages))

    def test_each_file_is_in_its_package(self):
        self.assertIn("./usr/bin/cohort", self.contents("cohort"))
        development = self.contents("libcohort-dev")
        for name in "libcohort.so cohortConfig.cmake cohort.pc cohort.hpp cohort.h".split():
            self.assertEqual(len([path for path in development if path.endswith("/" + name)]), 1)
        runtime = self.contents(LIBRARY)
        self.assertEqual(
            {pathlib.PurePath(path).name for path in runtime if "/lib/" in path},
            {f"libcohort.so.{VERSION}", "libcohort.so." + VERSION.rpartition(".")[0]},
        )
        for name in self.packages:
            files = self.contents(name)
            self.assertIn(f"./usr/share/doc/{name}/copyright", files)
            for path, (mode, owner) in files.items():
                self.assertTrue(path.startswith("./usr/"), path)
                self.assertEqual(owner, "root/root", path)
                self.assertRegex(mode, r"^(l|-rw.r-.r-.$)", path)

    def test_dependencies_cover_what_the_files_link(self):
        """Looked up file by file in dpkg's own books, not where CPack asked."""
        for name, deb in self.packages.items():
            own = self.work / f"one-{name}"
            run("dpkg-deb", "-x", deb, own)
            needed = set()
            for path in own.rglob("*"):
                if path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF":
                    needed |= set(re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", path)))
            for soname in needed:
                owners = self.owners_of(soname)
                self.assertTrue(owners & depends(deb), f"{name}: {soname} of {owners}")
        self.assertIn("libc6", depends(self.packages[LIBRARY]))
        self.assertIn("libstdc++6", depends(self.packages["cohort"]))
        self.assertIn(f"{LIBRARY} (= {VERSION})", field(self.packages["libcohort-dev"], "Depends"))
        self.assertIn(LIBRARY, depends(self.packages["libcohort-torch"]))

    def owners_of(self, soname):
        if soname.startswith("libcohort.so"):
            return {LIBRARY}
        lines = run("dpkg", "-S", f"*/{soname}").splitlines()
        return {line.split(":")[0] for line in lines}

    def build_and_run(self, root, name):
        """In a clean folder; the ranks are started by the packaged command."""
        build = self.work / f"build-{name}"
        run(
            CMAKE,
            *("-S", PROJECT, "-B", build, "-G", GENERATOR, f"-DCMAKE_PREFIX_PATH={root}/usr"),
            *("-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF"),
        )
        run(CMAKE, "--build", build)
        self.check_output(root, build / "first")

    def check_output(self, root, program, **environment):
        output = run(
            *(root / "usr/bin/cohort", "run", "-n", "3", "--", program),
            env=environment,
        )
        self.assertIn("$ cohort run -n 3 -- ./first\n" + output + "```", PAGE)
        self.assertTrue(output.startswith("3: host_inline, ok"), output)

    def test_the_project_is_that_of_the_page_and_has_30_lines(self):
        lines = 0
        for path, language in (("main.cpp", "cpp"), ("CMakeLists.txt", "cmake")):
            text = (PROJECT / path).read_text(encoding="utf-8")
            self.assertIn(f"```{language}\n{text}```", PAGE)
            lines += len(text.splitlines())
        self.assertLessEqual(lines, 30)

    def test_a_project_builds_against_unpacked_packages(self):
        self.build_and_run(self.root, "unpacked")

    def test_pkg_config_tells_how_to_build(self):
        environment = {"PKG_CONFIG_LIBDIR": f"{self.libraries}/pkgconfig"}
        version = run("pkg-config", "--modversion", "cohort", env=environment)
        self.assertEqual(version.strip(), VERSION)
        flags = run("pkg-config", "--cflags", "--libs", "cohort", env=environment).split()
        program = self.work / "by_pkg_config"
        run("g++", "-std=c++20", PROJECT / "main.cpp", "-o", program, *flags)
        self.check_output(self.root, program, LD_LIBRARY_PATH=str(self.libraries))

    @unittest.skipUnless(os.geteuid() == 0, "dpkg installs as root only")
    def test_dpkg_installs_and_removes_them(self):
        """Into a folder, with what this machine's books say of what they depend on."""
        root = self.work / "installed"
        books = root / "var/lib/dpkg"
        (books / "updates").mkdir(parents=True)
        (books / "info").mkdir()
        needed = set().union(*(depends(self.packages[name]) for name in NAMES))
        known = pathlib.Path("/var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n")
        stanzas = [text for text in known if text.partition("\n")[0][len("Package: ") :] in needed]
        (books / "status").write_text("\n\n".join(stanzas) + "\n\n", encoding="utf-8")
        # Scripts run outside of the folder: all they do is ldconfig.
        dpkg = ["dpkg", f"--instdir={root}", f"--admindir={books}", "--log=/dev/null"]
        dpkg.append("--force-script-chrootless")
        debs = [self.packages[name] for name in NAMES]
        with self.assertRaisesRegex(AssertionError, LIBRARY + r".* is not installed"):
            run(*dpkg, "-i", self.packages["libcohort-dev"])
        run(*dpkg, "-i", *debs)
        self.build_and_run(root, "installed")
        run(*dpkg, "-P", *NAMES)
        self.assertEqual(list((root / "usr").rglob("*")), [])


if __name__ == "__main__":
    unittest.main()
