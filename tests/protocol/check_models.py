#!/usr/bin/env python3
"""Has spin search every state of the protocol models, and every planted fault until it is found.

Usage: check_models.py [--thorough] [MODEL ...]
       check_models.py --trace MODEL [NAME[=VALUE] ...]

One line for each run: states, depth, processor seconds. Fails if a sound model has an error, if a
search was cut short for any reason, or if a planted fault is not found the way it should be.
--thorough adds searches of a minute. --trace prints the shortest run into the error that the given
definitions plant, e.g. --trace collective FAULT_HEADER_BEFORE_STAGING CALLS=2.
"""

import argparse
import pathlib
import re
import resource
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "src"
MEMORY_MIB = 1800
DEPTH_MAX = 20_000

# Searched whole.
SOUND = [
    ("collective", "CALLS=3"),
    ("collective", "CALLS=4 SHAPE=0"),
    ("collective", "CALLS=4 SHAPE=1"),
    ("collective", "CALLS=4 SHAPE=2"),
    ("collective", "CALLS=2 WITH_LIAR"),
    ("entries", "DEPTH=1 STEPS=3 GROUPS=2"),
    ("entries", "DEPTH=2 STEPS=3"),
    ("entries", "DEPTH=2 STEPS=4 GROUPS=2 ODDITIES=0"),
    ("all_reduce", "CALLS=5"),
    ("send_recv", "SENDS=3 ODDITIES=2"),
    ("send_recv", "SENDS=4 ODDITIES=0"),
    ("send_recv", "SENDS=6 STAGED_ALONE ODDITIES=3"),
    ("send_recv", "SENDS=3 STAGED_ALONE RELAYED STAGING_OF_EACH_PAIR"),
    ("commit", ""),
    ("commit", "DEADLINES"),
    ("commit", "DEATHS=1 UNREADY=0"),
    ("fault", "DEATHS=0"),
    ("fault", "DEATHS=1 FINDERS=2"),
    ("fault", "DEATHS=1 FINDERS=2 IMPATIENT"),
    ("wait", ""),
    ("gpu_scratch", "CALLS=6"),
    ("gpu_scratch", "CALLS=4 BLOCKS=1 KIND(call)=RAW"),
    ("gpu_scratch", "CALLS=4 BLOCKS=1 RANKS=3 KIND(call)=IDLE"),
]
THOROUGH = [
    ("collective", "CALLS=4"),
    ("collective", "CALLS=3 WITH_LIAR"),
    ("entries", "DEPTH=1 STEPS=3"),
    ("entries", "DEPTH=2 STEPS=4 ODDITIES=0"),
    ("send_recv", "SENDS=4"),
    ("send_recv", "SENDS=5 ODDITIES=0"),
    ("commit", "DEATHS=1 UNREADY=0 DEADLINES"),
    ("commit", "GENERATIONS=3 UNREADY=1"),
    ("fault", "DEATHS=2 FINDERS=1"),
    ("wait", "WORDS=3"),
    ("gpu_scratch", "CALLS=3 BLOCKS=1 RANKS=3"),
    ("gpu_scratch", "CALLS=3 KIND(call)=RAW"),
]
# Planted, and how each must be found: by an assertion that holds this text, or as a `hang`.
PLANTED = [
    ("collective", "CALLS=3 FAULT_RETURN_BEFORE_HEADERS", "assert"),
    ("collective", "CALLS=3 FAULT_HEADER_BEFORE_STAGING", "staging"),
    ("collective", "CALLS=3 FAULT_NEIGHBOUR_ONLY WITH_LIAR", "lie"),
    ("collective", "CALLS=3 FAULT_REFUSAL_KEEPS_SEQUENCE", "hang"),
    ("collective", "CALLS=3 FAULT_PLAIN_COMPARISON", "assert"),
    ("collective", "CALLS=3 PLACE_COUNT=1", "assert"),
    ("entries", "DEPTH=2 STEPS=3 FAULT_REUSE_BY_DEPTH", "entries[e]==step"),
    ("entries", "DEPTH=1 STEPS=3 FAULT_REUSE_BY_NEXT_HEADER", "entries[e]==step"),
    ("entries", "DEPTH=1 STEPS=3 FAULT_REUSE_BY_NEXT_GROUP", "entries[e]==step"),
    ("entries", "DEPTH=1 STEPS=3 FAULT_REFUSED_WITHOUT_DONE", "hang"),
    ("all_reduce", "FAULT_WITHOUT_SETTLING", "parts"),
    ("all_reduce", "FAULT_RESULT_BEFORE_REDUCING", "parts"),
    ("all_reduce", "FAULT_RESULT_BY_HEADER", "parts"),
    ("all_reduce", "FAULT_DONE_BEFORE_COPYING", "parts"),
    ("send_recv", "FAULT_SENT_WITHOUT_CREDIT", "sent"),
    ("send_recv", "FAULT_TAKEN_WITHOUT_CREDIT", "heap_entry"),
    ("send_recv", "FAULT_STAGED_WITHOUT_CREDIT", "staging"),
    ("send_recv", "FAULT_HEADER_BEFORE_STAGING", "staging"),
    ("send_recv", "FAULT_CREDIT_BEFORE_COPYING", "sent"),
    ("send_recv", "ODDITIES=2 STAGED_ALONE FAULT_REFUSALS_READ_AFTER_PUBLISHING", "refused"),
    ("send_recv", "FAULT_REFUSAL_READ_AFTER_CREDIT", "refused"),
    ("send_recv", "SENDS=3 STAGED_ALONE RELAYED", "hang"),
    ("commit", "DEADLINES FAULT_USED_BEFORE_DECIDED", "outcome_of"),
    ("commit", "FAULT_STORE_INSTEAD_OF_SWAP", "ready_ranks"),
    ("commit", "FAULT_WITHOUT_HISTORY", "outcome_of"),
    ("fault", "FINDERS=1 FAULT_POISON_BEFORE_COMPLETE", "claim_word"),
    ("fault", "FINDERS=2 FAULT_TAKES_OVER_FROM_THE_LIVING", "assert"),
    ("fault", "FINDERS=1 FAULT_FINDER_DOES_NOT_POISON", "found"),
    ("fault", "FINDERS=1 FAULT_WITHOUT_TAKING_OVER", "found"),
    ("wait", "FAULT_PUBLISHED_WITHOUT_BARRIER", "hang"),
    ("wait", "FAULT_LOOKS_BEFORE_SAYING", "hang"),
    ("wait", "FAULT_BELL_READ_AFTER_LOOKING", "hang"),
    ("wait", "FAULT_LEFT_WITHOUT_ANOTHER_LOOK", "left_early"),
    ("gpu_scratch", "BUFFERS=1", "first"),
    ("gpu_scratch", "FAULT_BEFORE_THE_DEPENDENCY", "first"),
    ("gpu_scratch", "FAULT_CLEARED_A_CALL_LATER", "first"),
    ("gpu_scratch", "BLOCKS=1 FAULT_FLAG_WITHOUT_FENCE KIND(call)=RAW", "second"),
    ("gpu_scratch", "RANKS=3 BLOCKS=1 KIND(call)=IDLE FAULT_HEADER_ONLY_WITH_DATA", "first"),
]
# What pan says when it has not looked at everything, whatever else it says.
CUT_SHORT = re.compile(
    r"max search depth too small|out of memory|memory bound|reached -DMEMLIM|hit the bound"
    r"|VECTORSZ|too many|interrupted|timed out|aborting|Search not completed",
    re.IGNORECASE,
)


def build(folder, model, definitions, options):
    """Preprocesses, translates and compiles a model; returns the verifier's path."""
    flags = ["-D" + word for word in definitions.split()]
    source = folder / "model.pml"
    command = ["cpp", "-P", "-undef", *flags, "-I", HERE, HERE / f"{model}.pml", source]
    subprocess.run(command, check=True)
    said = subprocess.run(["spin", "-a", source.name], cwd=folder, capture_output=True, text=True)
    if said.returncode or "rror" in said.stdout + said.stderr:
        raise SystemExit(f"{model}: spin refuses the model:\n{said.stdout}{said.stderr}")
    command = ["gcc", "-w", "-DNOFAIR", f"-DMEMLIM={MEMORY_MIB}", *options, "-o", "pan", "pan.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "pan"


def number(pattern, text):
    found = re.search(pattern, text)
    return int(found.group(1)) if found else None


def processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def verify(model, definitions, options):
    """Runs one search; returns what it says and its figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        pan = build(folder, model, definitions, options)
        before = processor_seconds()
        run = subprocess.run(
            [pan, f"-m{DEPTH_MAX}"], cwd=folder, capture_output=True, text=True, timeout=900
        )
        seconds = processor_seconds() - before
    said = run.stdout + run.stderr
    return said, {
        "errors": number(r"errors: (\d+)", said),
        "states": number(r"(\d+) states, stored", said),
        "depth": number(r"depth reached (\d+)", said),
        "seconds": seconds,
    }


def judge(said, figures, wanted):
    """What is wrong with a search; None if nothing is. `wanted` is None for a sound model."""
    if None in figures.values():
        return "the verifier did not finish"
    if wanted is None:
        if CUT_SHORT.search(said):
            return "the search was cut short: " + CUT_SHORT.search(said).group(0)
        for check in ("assertion violations\t+", "invalid end states\t+"):
            if check not in said:
                return "the verifier did not check " + check.split("\t")[0]
        return None if figures["errors"] == 0 else "it has an error"
    if figures["errors"] == 0:
        return "not found"
    assertion = re.search(r"assertion violated (.*) \(at depth", said)
    if wanted == "hang":
        return None if "invalid end state (at depth" in said else "found, but not as a hang"
    if not assertion or wanted != "assert" and wanted not in assertion.group(1):
        return f"found, but not by an assertion about '{wanted}'"
    return None


def check_names():
    """Every C++ function that a model names exists; yields those that do not."""
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted(SOURCES.rglob("*"))
        if path.suffix in (".cpp", ".hpp")
    )
    for model in sorted(HERE.glob("*.pml")):
        for owner, name in re.findall(r"\b([A-Z]\w+|\w+)::(~?\w+)", model.read_text("utf-8")):
            if not re.search(rf"\b{owner}\b", code) or not re.search(rf"{name}\b", code):
                yield f"{model.name}: the code has no {owner}::{name}"


def trace(model, definitions):
    """Prints the shortest run into an error."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        pan = build(folder, model, definitions, ["-O1", "-DBFS"])
        subprocess.run([pan, f"-m{DEPTH_MAX}"], cwd=folder, check=False, capture_output=True)
        if not (folder / "model.pml.trail").exists():
            raise SystemExit("no error found")
        subprocess.run(["spin", "-t", "-p", "-g", "model.pml"], cwd=folder, check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--thorough", action="store_true", help="add searches of a minute")
    parser.add_argument("--trace", action="store_true", help="print the shortest run into an error")
    parser.add_argument("words", nargs="*", metavar="MODEL", help="only these models")
    arguments = parser.parse_args()
    if arguments.trace:
        trace(arguments.words[0], " ".join(arguments.words[1:]))
        return 0
    findings = list(check_names())
    runs = [(model, words, None) for model, words in SOUND]
    if arguments.thorough:
        runs += [(model, words, None) for model, words in THOROUGH]
    for model, words, wanted in runs + PLANTED:
        if arguments.words and model not in arguments.words:
            continue
        # What is searched whole is worth optimising; a planted fault is found at once.
        said, figures = verify(model, words, ["-O2"] if wanted is None else ["-O0"])
        problem = judge(said, figures, wanted)
        verdict = problem or ("no error" if wanted is None else "found")
        print(
            f"{model:11} {words:62} {figures['states'] or 0:>9} states"
            f" {figures['depth'] or 0:>4} deep {figures['seconds']:5.1f} s  {verdict}",
            flush=True,
        )
        if problem:
            findings.append(f"{model} {words}: {problem}\n{said[:2000]}")
    print("\n".join(findings) or "every sound model holds, every planted fault is found")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
