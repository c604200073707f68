"""The examples of every command's help do what they say: they are run by a shell in a folder of
their own, with a tiny model under the name that they use. Usage: examples_test.py COMMAND"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = sys.argv.pop()

# Runs the command; a probe waits until there is something to probe.
WRAPPER = """#!/bin/bash
if [[ $1 == health && $2 != -* ]]; then
  for ((i = 0; i < 100; ++i)); do [ -s "$2" ] && break; sleep 0.1; done
fi
exec "$REAL_COHORT" "$@"
"""

# A program whose ranks are cohort's: one more way to run the model.
PROGRAM = """#!/bin/bash
exec cohort generate --model SmolLM2.gguf --tp "$COHORT_WORLD_SIZE" --prompt Hello --max-tokens 4
"""

# Starts ranks as torchrun does, of which only the variables matter here.
TORCHRUN = """#!/bin/bash
[[ $1 == --nproc-per-node && $3 == --no-python ]] || exit 2
count=$2
shift 3
for ((rank = 0; rank < count; ++rank)); do
  RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=$count LOCAL_WORLD_SIZE=$count \\
    MASTER_ADDR=127.0.0.1 MASTER_PORT=29400 TORCHELASTIC_RUN_ID=$$ "$@" < /dev/null &
  ranks+=($!)
done
for rank in "${ranks[@]}"; do wait "$rank" || exit 1; done
"""


def help_of(*path):
    result = subprocess.run(
        [COMMAND, *path, "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    return result.stdout


def commands(*path):
    listed = help_of(*path).partition("\nSubcommands:\n")[2].split("\n\n")[0]
    found = []
    for name in re.findall(r"^  (\w+) ", listed, re.MULTILINE):
        found += [(*path, name), *commands(*path, name)]
    return found


def examples(path):
    """The blocks below "Examples:", each without its comment."""
    text = help_of(*path).partition("\nExamples:\n")[2]
    blocks = []
    for block in text.strip("\n").split("\n\n"):
        lines = [line[2:] for line in block.splitlines()]
        blocks.append("\n".join(line for line in lines if not line.startswith("#")))
    return blocks


class Examples(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        shutil.copy(ROOT / "tests/data/tiny/tiny.gguf", self.folder / "SmolLM2.gguf")
        lines = [json.dumps({"prompt": "Hello"}), json.dumps("a prompt")]
        (self.folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")
        (self.folder / ".config/fish/completions").mkdir(parents=True)
        programs = {"bin/cohort": WRAPPER, "bin/torchrun": TORCHRUN, "my_program": PROGRAM}
        for name, text in programs.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)

    def run_block(self, block):
        environment = {
            **os.environ,
            "REAL_COHORT": COMMAND,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "COHORT_LOG": "error",
        }
        return subprocess.run(
            ["bash", "--norc", "-c", f"set -e\n{block}\nwait"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def test_every_command_has_two_and_they_run(self):
        paths = commands()
        self.assertGreater(len(paths), 9)
        for path in paths:
            blocks = examples(path)
            self.assertGreaterEqual(len(blocks), 2, path)
            for block in blocks:
                with self.subTest(command=" ".join(path), example=block):
                    self.check(path, block)

    def check(self, path, block):
        result = self.run_block(block)
        said = result.stdout[-2000:] + result.stderr
        wanted = [0]
        # Whether ranks fit is a finding about the machine that the test runs on.
        if "cohort check" in block:
            wanted.append(1)
        # Without GPUs the command ends, and says that it could not.
        if "--device cuda" in block:
            wanted += [1, 2]
        self.assertIn(result.returncode, wanted, said)
        if "--device cuda" in block and result.returncode != 0:
            self.assertIn("error", said)
            return
        name = re.search(r"(?:-o|--plot|--report|--trace|>) (\S+)$", block, re.MULTILINE)
        if name is not None:
            written = self.folder / name[1].replace("~/", "")
            self.assertGreater(written.stat().st_size, 100)
            if written.suffix == ".json":
                json.loads(written.read_text())
            if written.suffix == ".svg":
                xml.dom.minidom.parse(str(written))
        elif "--json" in block:
            json.loads(result.stdout.splitlines()[-1])


if __name__ == "__main__":
    unittest.main()
