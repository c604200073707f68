#!/usr/bin/env python3
"""Writes docs/errors.md: every error code, its exit code, what it means and what to try.

    make_error_table.py            writes the file
    make_error_table.py --check    fails if the file differs from what would be written

Codes and meanings are those of include/cohort/error.hpp, exit codes those of src/base/error.cpp and
numbers those of include/cohort/cohort_names.h. Advice and examples stand below; a code without them
is an error, and so is an example of which the source named with it does not hold every piece.
"""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs/errors.md"

# Code: (what to try, an example, the source of its text, pieces of text that the source holds).
ADVICE = {
    "usage": (
        "Mend the flag, the file name or the call that the message names.",
        "cohort: error: --tp 4 is not divisible by --attn-dp 3",
        "src/topology/layout.cpp",
        [" is not divisible by "],
    ),
    "corrupt": (
        "Get the file again, or write it anew: the message names the field at fault, for a text "
        "its line. If ranks sent it, start all of them from one build.",
        "cohort: error: model file tiny.gguf: the data of tensor 'blk.1.ffn_up.weight' needs "
        "32768 bytes at offset 174336, the file has 100000; is it complete?",
        "src/model/gguf_parse.cpp",
        ["the data of tensor ", " needs ", " bytes at offset ", "; is it complete?"],
    ),
    "unsupported": (
        "Take what this build and machine can do, which the message names; `cohort check` tells "
        "what that is.",
        "cohort: error: model file mamba.gguf: general.architecture is 'mamba', only 'llama' can "
        "be run",
        "src/model/model_config.cpp",
        ["general.architecture is ", ", only 'llama' can be run"],
    ),
    "mismatch": (
        "Start all ranks from one build with the same flags and files. If calls differ, the "
        "message says who called what: let all ranks of a group make the same calls in the same "
        "order.",
        "cohort: error: rank 1 runs cohort 0.1.0 (protocol 3), this rank runs cohort 0.1.0 "
        "(protocol 4); start all ranks from the same build",
        "src/backend/host/hello.cpp",
        [" runs ", ", this rank runs ", "; start all ranks from the same build"],
    ),
    "out_of_memory": (
        "Plan less: shorter contexts, fewer sequences, a smaller pool. Or allow more: the message "
        "names the limit that was reached, and `cohort plan` says what is needed.",
        "cohort: error: rank 0 asks for 24 GiB of shared memory (48 GiB with the other ranks of "
        "this host that ask now), but the memory limit of the container leaves 16 GiB; plan "
        "smaller slots or fewer ranks per host",
        "src/backend/host/host_backend.cpp",
        [" asks for ", " of shared memory (", "; plan smaller slots or fewer ranks per host"],
    ),
    "timeout": (
        "Look at the rank that the message names: `cohort health` says what it does. Where "
        "slowness is expected, raise `--deadline`, or COHORT_DEADLINE_SCALE for all deadlines.",
        "cohort: error: rank 0 waited 10.0 s for rank 2 in all_reduce #17 of tp (ranks 0-3)",
        "src/backend/host/domain_wait.cpp",
        [" waited ", " for ", " in "],
    ),
    "peer_failed": (
        "Look for the first cause: the message names the rank that ended and how. Signal 9 without "
        "a sender is most often the system's, out of memory (`dmesg` says so).",
        "cohort: error: rank 2 died of signal 9 (Killed); rank 0 was waiting for it",
        "src/rendezvous/conclude.cpp",
        [" died of signal "],
    ),
    "strict_miss": (
        "Do what the reason asks for: take operands from the planned heap, plan a larger pool. Or "
        "leave out `--strict`, and the call takes the slower path.",
        "cohort: error: strict: rank 1's operand of all_reduce #4 of tp (ranks 0-3) lies outside "
        "the arena (operand_not_in_heap)",
        "src/collectives/host/host_executor.cpp",
        ["strict: rank ", "'s operand of ", " lies outside the arena (operand_not_in_heap): "],
    ),
    "system": (
        "Mend what the system's own words name: a full disk, a limit (`ulimit -a`), a permission. "
        "`cohort check` looks for the usual ones.",
        "cohort: error: --output paths.json cannot be written: No space left on device; what was "
        "there before is untouched",
        "apps/cohort/output_file.cpp",
        [" cannot be written: ", "; what was there before is untouched"],
    ),
    "cuda": (
        "Look up the CUDA error that the message quotes; `cohort check` tells whether driver, "
        "devices and the plugin fit together. After an error of a kernel the process must end: "
        "start the job again.",
        "cohort: error: counting GPUs: cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is "
        "detected",
        "src/session/gpus.cpp",
        ["counting GPUs"],
    ),
    "nccl": (
        "Run with NCCL_DEBUG=WARN to see NCCL's own reason. `PlanOptions::nccl` left off does "
        "without NCCL.",
        "cohort: error: rank 1: ncclCommInitRankConfig: unhandled system error",
        "src/backend/cuda/nccl/plugin/nccl_plugin.cpp",
        ["ncclCommInitRankConfig"],
    ),
}

HEAD = """\
# Errors

<!-- Written by scripts/tools/make_error_table.py from include/cohort/error.hpp and others. -->

What goes wrong is one `cohort::Error` with a code, a message for people, the rank that it is about,
if there is one, and the phase, e.g. `load`, `join` or `all_reduce`. The command prints the message
as one line on standard error:

    cohort: error: --tp 4 is not divisible by --attn-dp 3

With `--json` standard output carries one document instead,
`{"error": {"code": "usage", "message": "...", "rank": null, "phase": "layout"}}`. Programs in C get
the code's number from every function and the rest from `cohort_last_error`.

The command's exit code separates what is wrong with the input, 2, from what went wrong with good
input, 1. After Ctrl-C it is 130, after SIGTERM 143. Nothing that was refused leaves files or shared
memory behind or overwrites a file; `tests/e2e/bad_inputs_test.py` holds the command to that with a
table of bad inputs over all commands.

A file that a command writes is there whole or not at all, also if the command is ended meanwhile;
it keeps the permissions of the one it replaces, and a symbolic link stays one. A reader of standard
output that leaves early, as in `cohort faults | head -1`, is an error of code `system`: the command
ends at its next line, with a message and exit code 1.

| Code | Exit code | In C | Meaning |
| --- | --- | --- | --- |
"""


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def codes_and_meanings():
    body = re.search(r"enum class ErrorCode \{(.*?)\};", read("include/cohort/error.hpp"), re.S)
    return re.findall(r"^\s*(\w+),\s*///<\s*(.*)$", body.group(1), re.M)


def codes_of_bad_input():
    body = re.search(r"Error::exit_code.*?return 2;", read("src/base/error.cpp"), re.S)
    return set(re.findall(r"case ErrorCode::(\w+):", body.group(0)))


def numbers_in_c():
    return dict(re.findall(r"COHORT_ERROR_(\w+) = (\d+)", read("include/cohort/cohort_names.h")))


def check_example(code, source, pieces):
    # Literals that are broken over lines are one piece of text.
    text = re.sub(r'"\s*\n\s*"', "", read(source))
    for piece in pieces:
        if piece not in text:
            sys.exit(f"make_error_table: example of {code}: {source} says no '{piece}'")


def document():
    bad_input = codes_of_bad_input()
    numbers = numbers_in_c()
    codes = codes_and_meanings()
    unknown = set(ADVICE) ^ {code for code, _ in codes}
    if unknown:
        sys.exit(f"make_error_table: codes and advice differ: {', '.join(sorted(unknown))}")
    table = ""
    details = ""
    for code, meaning in codes:
        exit_code = 2 if code in bad_input else 1
        name = f"COHORT_ERROR_{code.upper()}"
        table += f"| [`{code}`](#{code}) | {exit_code} | `{name}` = {numbers[code.upper()]} "
        table += f"| {meaning} |\n"
        advice, example, source, pieces = ADVICE[code]
        check_example(code, source, pieces)
        details += f"\n## {code}\n\n{wrapped(advice)}\n\n```text\n{example}\n```\n"
    return HEAD + table + details


def wrapped(text, columns=100):
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + 1 + len(word) > columns:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    text = document()
    if not parser.parse_args().check:
        TARGET.write_text(text, encoding="utf-8")
        return
    if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        sys.exit("docs/errors.md is not current: run scripts/tools/make_error_table.py")


if __name__ == "__main__":
    main()
