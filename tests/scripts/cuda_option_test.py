"""What -DCOHORT_CUDA=AUTO and ON make of a machine on which something of CUDA is missing.
Usage: cuda_option_test.py CMAKE"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

CMAKE = sys.argv.pop(1)
PROJECT = pathlib.Path(__file__).resolve().parents[2]
TOOLKITS = ("/usr/local/cuda", "/opt/cuda")
SYSTEM = ("/usr/bin", "/bin")


def nvcc():
    path = os.pathsep.join([os.environ["PATH"], *(f"{toolkit}/bin" for toolkit in TOOLKITS)])
    return os.environ.get("CUDACXX") or shutil.which("nvcc", path=path)


def nvcc_folders():
    named = [*os.environ["PATH"].split(os.pathsep), *(f"{toolkit}/bin" for toolkit in TOOLKITS)]
    return [folder for folder in named if os.path.exists(os.path.join(folder, "nvcc"))]


def nccl_folders():
    """CMake names a folder as it was found, behind links or not."""
    toolkit = pathlib.Path(os.path.realpath(nvcc())).parents[1]
    roots = {toolkit, *map(pathlib.Path, (*TOOLKITS, "/usr/local", "/usr"))}
    folders = {root / "include" for root in roots} | set(toolkit.glob("targets/*/include"))
    folders = {folder for folder in folders if (folder / "nccl.h").exists()}
    return {str(folder) for folder in folders} | {os.path.realpath(folder) for folder in folders}


class CudaOption(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def configure(self, option, hidden=(), cuda_compiler=None):
        environment = {key: value for key, value in os.environ.items() if key != "CUDACXX"}
        if cuda_compiler:
            environment["CUDACXX"] = str(cuda_compiler)
        done = subprocess.run(
            [CMAKE, "-S", PROJECT, "-B", self.folder / "build", "-G", "Ninja"]
            + [f"-DCOHORT_{part}=OFF" for part in ("TESTS", "TOOLS", "EXAMPLES")]
            + [f"-DCOHORT_CUDA={option}", f"-DCMAKE_IGNORE_PATH={';'.join(hidden)}"]
            # oneDNN looks for it where nccl.h may be hidden.
            + ["-DOpenCL_INCLUDE_DIR=/usr/include"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        return done.returncode, " ".join(done.stdout.split())

    def check_both(self, why, what_to_do, **place):
        status, text = self.configure("AUTO", **place)
        self.assertEqual(status, 0, text)
        self.assertIn("-- GPU plugin: left out, " + why, text)
        self.assertNotIn("libcohort_cuda", (self.folder / "build" / "build.ninja").read_text())
        status, text = self.configure("ON", **place)
        self.assertNotEqual(status, 0, text)
        self.assertIn("COHORT_CUDA=ON, but " + why, text)
        self.assertIn(what_to_do, text)

    def fake_nvcc(self, version, said):
        script = self.folder / "nvcc"
        script.write_text(
            "#!/bin/sh\n"
            f'if [ "$1" = --version ]; then echo "Cuda compilation tools, release {version}"; '
            f"else echo '{said}' >&2; exit 1; fi\n"
        )
        script.chmod(0o755)
        return script

    def test_no_nvcc(self):
        folders = nvcc_folders()
        if set(folders) & set(SYSTEM):
            self.skipTest("nvcc lies among the system's programs")
        self.check_both("no nvcc is in PATH", "Install the CUDA toolkit, 12.8", hidden=folders)

    def test_an_nvcc_that_is_too_old(self):
        old = self.fake_nvcc("12.4, V12.4.131", "not to be asked for more")
        self.check_both(f"nvcc 12.4.131 at {old} is older than 12.8", "12.8", cuda_compiler=old)

    def test_an_nvcc_without_its_runtime(self):
        bare = self.fake_nvcc("13.0, V13.0.88", "/usr/bin/ld: cannot find -lcudart_static")
        self.check_both(
            f"nvcc at {bare} builds no program: /usr/bin/ld: cannot find -lcudart_static",
            "cudart development package",
            cuda_compiler=bare,
        )

    def test_no_nccl(self):
        if nvcc() is None:
            self.skipTest("no nvcc")
        place = {"hidden": sorted(nccl_folders()), "cuda_compiler": nvcc()}
        status, text = self.configure("AUTO", **place)
        self.assertEqual(status, 0, text)
        self.assertIn("-- GPU plugin: without NCCL, no nccl.h in", text)
        build = (self.folder / "build" / "build.ninja").read_text()
        self.assertIn("libcohort_cuda.so", build)
        self.assertNotIn("nccl_plugin.cpp", build)
        status, text = self.configure("ON", **place)
        self.assertNotEqual(status, 0, text)
        self.assertRegex(text, r"COHORT_CUDA=ON, but nccl\.h is not in .* Install NCCL 2\.28")


if __name__ == "__main__":
    unittest.main()
