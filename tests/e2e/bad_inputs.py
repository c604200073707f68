"""The table of bad inputs over all commands: what is given, and what must come of it.

A row's message is one line that holds all of its fragments. Rows with exit code 2 are wrong or
broken input, rows with 1 are what the system refuses.
"""

import dataclasses
import json
import pathlib
import resource
import struct

DATA = pathlib.Path(__file__).parents[1] / "data"
TINY = (DATA / "tiny" / "tiny.gguf").read_bytes()

# In the place of standard output: a pipe that nobody reads any more.
GONE = object()

# In the place of a file's content: a named pipe, and a device without room. That is a node of the
# test's own, so that replacing it does no harm, or /dev/full where none can be made.
PIPE = object()
FULL = object()

# Enough of a flag, a name or a file to be absurd; within what a command line may hold.
LONG = 100_000


@dataclasses.dataclass
class Row:
    """One bad input: `words` behind the command's name, in a folder with `files`."""

    name: str
    words: list
    fragments: list
    exit_code: int = 2
    files: dict = dataclasses.field(default_factory=dict)  # name: content, PIPE or FULL
    environment: dict = dataclasses.field(default_factory=dict)
    stdin: bytes = b""
    stdout: object = ""  # a device in place of standard output, or GONE
    limits: tuple = ()  # (resource, value) for the command
    full_folder: bool = False  # the folder `full` is a file system without room
    json: bool = True  # also with --json


def words(text):
    return text.split()


def generate(name, flags, *fragments, **more):
    """`generate` of a sound model and prompt but for what `flags` say."""
    return Row(
        f"generate: {name}",
        ["generate", "--model", "tiny.gguf", "--prompt", "Water", *words(flags)],
        fragments,
        files={"tiny.gguf": TINY, **more.pop("files", {})},
        **more,
    )


def model(name, content, *fragments, flags="--prompt Water"):
    return Row(
        f"model: {name}",
        ["generate", "--model", "bad.gguf", *words(flags)],
        ["model file bad.gguf: ", *fragments],
        files={"bad.gguf": content},
    )


def prompts(name, content, *fragments, **more):
    return Row(
        f"prompts: {name}",
        ["generate", "--model", "tiny.gguf", "--prompts", "p.jsonl"],
        fragments,
        files={"tiny.gguf": TINY, "p.jsonl": content},
        **more,
    )


def path_table(name, content, *fragments):
    return Row(
        f"path table: {name}",
        ["plan", "--model", "tiny.gguf", "--tp", "2", "--path-table", "t.json"],
        ["--path-table t.json", *fragments],
        files={"tiny.gguf": TINY, "t.json": content},
    )


def health(name, content, *fragments):
    return Row(f"health: {name}", ["health", "h.json"], fragments, files={"h.json": content})


def plain(command, name, flags, *fragments, **more):
    return Row(f"{command}: {name}", [*words(command), *words(flags)], fragments, **more)


def patched(*changes):
    """The tiny model with bytes changed: (text to find, bytes behind its end, new bytes)."""
    content = bytearray(TINY)
    for anchor, behind, new in changes:
        place = content.index(anchor) + len(anchor) + behind
        content[place : place + len(new)] = new
    return bytes(content)


def u32(number):
    return struct.pack("<I", number)


def u64(number):
    return struct.pack("<Q", number)


def cut_models():
    """Files that end too early, in each part of the format."""
    first_key = 4 + 4 + 8 + 8
    places = {
        "in the magic number": 3,
        "in the version": 6,
        "in the counts": 18,
        "in the length of a key": first_key + 3,
        "in a key": first_key + 12,
        "in the vocabulary": TINY.index(b"tokenizer.ggml.tokens") + 500,
        "in a tensor's name": TINY.index(b"blk.1.ffn_up.weight") + 4,
        "in a tensor's shape": TINY.index(b"blk.1.ffn_up.weight") + 19 + 9,
        "in a tensor's data": len(TINY) // 2,
        "before the last byte": len(TINY) - 1,
    }
    return [model(f"cut {place}", TINY[:size], "is it complete?") for place, size in places.items()]


def flipped_models():
    """Single fields overwritten. Behind a key stand its type and its value."""
    up = b"blk.1.ffn_up.weight"
    q = b"blk.0.attn_q.weight"
    return [
        model("empty", b"", "is empty"),
        model("no GGUF", b"PK\3\4" + TINY[4:], "does not begin with 'GGUF'"),
        model("version 1", TINY[:4] + u32(1) + TINY[8:], "version 1"),
        model("big endian", TINY[:4] + b"\0\0\0\3" + TINY[8:], "big-endian"),
        model("tensor count", TINY[:8] + u64(1 << 60) + TINY[16:], "the tensor count"),
        model("metadata count", TINY[:16] + b"\xff" * 8 + TINY[24:], "the metadata count"),
        model("length of a key", TINY[:24] + b"\xff" * 8 + TINY[32:], "needs", "bytes"),
        model("kind of a value", patched((b"llama.block_count", 0, u32(77))), "llama.block_count"),
        model("another architecture", patched((b"general.architecture", 12, b"mamba")), "mamba"),
        model("no layers", patched((b"llama.block_count", 4, u32(0))), "llama.block_count"),
        model("more layers", patched((b"llama.block_count", 4, u32(3))), "blk.2."),
        model("fewer layers", patched((b"llama.block_count", 4, u32(1))), "blk.1."),
        model("no heads", patched((b"head_count", 4, u32(0))), "llama.attention.head_count"),
        model("missing size", patched((b"llama.block_coun", 0, b"x")), "llama.block_count"),
        model("missing weights", patched((b"blk.1.ffn_u", 0, b"q")), "blk.1.ffn_up.weight"),
        model("dimensions", patched((up, 0, u32(9))), "blk.1.ffn_up.weight", "9 dimensions"),
        model("extent", patched((up, 4, u64(1 << 62))), "blk.1.ffn_up.weight"),
        model("type of a tensor", patched((q, 20, u32(99))), "blk.0.attn_q.weight"),
        model("offset of a tensor", patched((q, 24, u64(1 << 63))), "blk.0.attn_q.weight"),
        model("unaligned tensor", patched((q, 24, u64(7))), "blk.0.attn_q.weight", "alignment"),
        model("kind of tokeniser", patched((b"tokenizer.ggml.model", 12, b"bert")), "bert"),
        model("type of a token", patched((b"tokenizer.ggml.token_type", 16, u32(99))), "type 99"),
    ]


def broken_template():
    content = patched((b"{% for message in messages %}", -29, b"{% bad message in messages %}"))
    row = model("template", content, flags="--prompt Water --chat")
    row.fragments = ["template", "line 1", "'bad'"]
    return row


def models():
    sound = {"tiny.gguf": TINY}
    return [
        plain("generate", "no model", "--prompt Water", "--model"),
        plain("generate", "missing model", "--model no.gguf --prompt a", "no.gguf", "No such file"),
        plain("generate", "a folder as model", "--model . --prompt a", "not a regular file"),
        plain("plan", "a pipe as model", "--model pipe", "pipe", "not a regular file",
              files={"pipe": PIPE}),
        plain("plan", "a device as model", "--model /dev/zero", "/dev/zero", "not a regular file"),
        plain("plan", "a long name", "--model " + "x" * 5000, "File name too long"),
        plain("plan", "does not fit", "--model tiny.gguf --tp 3", "--tp 3", files=sound),
        *cut_models(),
        *flipped_models(),
        broken_template(),
    ]


def layouts():
    return [
        generate("tp", "--tp 3", "head_count", "--tp 3"),
        generate("attn_dp", "--tp 4 --attn-dp 3", "--tp 4", "--attn-dp 3"),
        generate("ranks and tp", "--ranks 3 --tp 2", "--ranks 3", "--tp 2"),
        generate("experts", "--tp 4 --ep 2", "--ep"),
        plain("groups", "attn_dp", "--tp 6 --attn-dp 4", "--tp 6", "--attn-dp 4"),
        plain("groups", "hosts", "--tp 4 --ranks-per-host 3", "--ranks-per-host 3"),
        plain("groups", "too many", "--tp 2048 --pp 1024", "ranks", "at most"),
        plain("groups", "none", "--tp 0", "--tp", "0"),
        plain("groups", "negative", "--tp -1", "--tp", "-1"),
        plain("groups", "a fraction", "--tp 2.5", "--tp", "2.5"),
        plain("groups", "beyond 64 bits", "--tp 99999999999999999999", "--tp"),
        plain("groups", "over-long", "--tp " + "9" * LONG, "--tp"),
        plain("groups", "no value", "--tp", "--tp"),
        plain("groups", "servers", "--dp-size 2", "--enable-dp-attention"),
        plain("groups", "misspelt", "--attn-pd 2", "--attn-pd", "--attn-dp"),
        plain("groups", "a stray word", "--tp 2 four", "'four'"),
    ]


def values():
    return [
        generate("no tokens", "--max-tokens 0", "--max-tokens"),
        generate("a word for a number", "--max-tokens many", "--max-tokens", "many"),
        generate("context", "--context 1000000", "--context 1000000"),
        generate("temperature", "--temperature -1", "--temperature"),
        generate("no temperature", "--temperature nan", "--temperature"),
        generate("top-p", "--temperature 1 --top-p 2", "--top-p"),
        generate("seed", "--seed -1", "--seed", "'-1'"),
        generate("seed beyond 64 bits", "--seed 99999999999999999999", "--seed", "whole number"),
        generate("twice the same flag", "--seed 1 --seed 2", "--seed", "one value"),
        generate("deadline", "--deadline nan", "--deadline"),
        generate("type", "--dtype f16", "--dtype", "bf16"),
        generate("pool", "--pool 12parsecs", "--pool 12parsecs"),
        generate("endless pool", "--pool 99999999999999999999GiB", "--pool"),
        generate("path", "--path warp", "--path", "warp"),
        plain("check", "ranks", "--ranks 0", "--ranks 0"),
        plain("check", "arena", "--arena 5parsecs", "--arena", "5parsecs"),
        plain("check", "deadline", "--deadline 0", "--deadline"),
        plain("bench", "operation", "--ops sing", "--ops", "'sing'"),
        plain("bench", "ranks", "--ranks 1", "--ranks", "'1'"),
        plain("bench", "size", "--bytes 0", "--bytes", "'0'"),
        plain("bench", "sizes", "--bytes 8..4", "--bytes", "8..4"),
        plain("bench", "type", "--dtype f64", "--dtype", "'f64'"),
        plain("bench", "rounds", "--rounds 0", "--rounds"),
        plain("bench", "seconds", "--seconds 0", "--seconds"),
        plain("bench", "peer", "--peers smoke", "--peers", "'smoke'"),
        plain("bench", "another build", "--against no-such-build", "--against", "no-such-build"),
        plain("bench layer", "hidden", "--hidden 0", "--hidden"),
        plain("bench layer", "stages", "--tp 2 --pp 2", "--pp"),
        plain("tune", "ranks", "--ranks 1", "--ranks 1"),
        plain("tune", "device", "--device tpu", "--device", "'tpu'"),
        plain("faults", "name", "--only earthquake", "--only earthquake"),
        plain("faults", "ranks", "--ranks 5", "--ranks 5"),
        plain("health", "age", "h.json --stale 0", "--stale"),
        plain("run", "no ranks", "-n 0 -- true", "0 ranks", json=False),
        plain("run", "too many", "-n 5000 -- true", "5000 ranks", json=False),
        plain("run", "no program", "-n 2", "program"),
        plain("run", "grace", "-n 2 --grace -1 -- true", "--grace", json=False),
        plain("conjure", "unknown command", "", "unknown command 'conjure'"),
        plain("genrate", "misspelt command", "", "did you mean 'generate'?"),
    ]


def texts():
    wrong = '"Water"\n{"text": "Water"}\n'
    return [
        generate("both kinds of prompts", "--prompts p.jsonl", "--prompt", "--prompts"),
        generate("a prompt that is too long", "--context 1", "prompt 1", "--context 1"),
        prompts("torn", '{"prompt": ', "p.jsonl line 1", "JSON"),
        prompts("wrong key", wrong, "p.jsonl line 2", '"prompt"'),
        prompts("wrong type", '{"prompt": 3}\n', "p.jsonl line 1"),
        prompts("blank", "\n \n", "holds no prompt"),
        prompts("empty string", '""\n', "prompt 1 is empty"),
        prompts("nested without end", "[" * LONG, "p.jsonl line 1"),
        prompts("not UTF-8", b'"\xff"\n', "p.jsonl line 1"),
        plain("generate", "no file of prompts", "--model tiny.gguf --prompts no.jsonl", "no.jsonl",
              "No such file", files={"tiny.gguf": TINY}),
        plain("generate", "a folder of prompts", "--model tiny.gguf --prompts .", "Is a directory",
              files={"tiny.gguf": TINY}),
        plain("generate", "prompts from a pipe", "--model tiny.gguf --prompts pipe",
              "no regular file", files={"tiny.gguf": TINY, "pipe": PIPE}),
        plain("generate", "endless prompts", "--model tiny.gguf --prompts /dev/zero",
              "no regular file", files={"tiny.gguf": TINY}),
        plain("generate", "nothing on standard input", "--model tiny.gguf", "no prompt",
              files={"tiny.gguf": TINY}),
        plain("generate", "standard input is not UTF-8", "--model tiny.gguf", "prompt 1", "0xFF",
              stdin=b"\xff\n", files={"tiny.gguf": TINY}),
    ]  # fmt: skip


def tables():
    paths = [{"path": "host_inline", "bytes_max": 256}, {"path": "host_direct"}]
    row = {"op": "all_reduce", "ranks": 2, "crowded": False, "paths": paths}
    machine = {"cpu": "an abacus", "cpus": 1, "numa_nodes": 1}
    good = {"schema": 1, "version": "0.0.1", "machine": machine, "rows": [row]}

    def with_row(**changes):
        return json.dumps({**good, "rows": [{**row, **changes}]})

    return [
        plain("plan", "no table", "--model tiny.gguf --path-table no.json", "no.json",
              "No such file", files={"tiny.gguf": TINY}),
        plain("plan", "a table from a pipe", "--model tiny.gguf --path-table pipe",
              "no regular file", files={"tiny.gguf": TINY, "pipe": PIPE}),
        path_table("no JSON", "paths: all", "no JSON document"),
        path_table("torn", json.dumps(good)[:60], "no JSON document"),
        path_table("schema", json.dumps({**good, "schema": 9}), "'schema'"),
        path_table("no rows", json.dumps({**good, "rows": None}), "'rows'"),
        path_table("unknown key", json.dumps({**good, "row": 1}), "'row' is unknown"),
        path_table("unknown operation", with_row(op="sing"), "rows[0].op", "'sing'"),
        path_table("wrong type", with_row(ranks="two"), "rows[0].ranks"),
        path_table("no end", with_row(paths=paths[:1]), "the last path"),
        path_table("another machine", json.dumps(good), "an abacus", "--any-machine"),
        path_table("too long", b" " * (5 << 20), "longer than"),
        generate("a path and a table", "--path host_direct --path-table t.json", "--path-table"),
    ]  # fmt: skip


def health_files():
    whole = {"schema": 1, "taken_at_s": 1.0, "stall_limit_s": 1.0, "generation": 1, "fault": None}
    return [
        plain("health", "missing", "no.json", "no.json", "No such file"),
        plain("health", "a folder", ".", "Is a directory"),
        plain("health", "a pipe that nobody writes to", "pipe", "pipe", "nothing comes from it",
              files={"pipe": PIPE}, environment={"COHORT_DEADLINE_SCALE": "0.02"}),
        health("no JSON", "all is well", "h.json", "not JSON"),
        health("schema", '{"schema": 7}', "h.json", "schema 7"),
        health("missing field", json.dumps(whole), "h.json", "ranks"),
        health("wrong type", json.dumps({**whole, "generation": "one"}), "h.json", "generation"),
        health("empty", "", "h.json"),
    ]


def environments():
    def rank(rank="0", world="1", socket="99"):
        named = {"RANK": rank, "WORLD_SIZE": world, "BOOTSTRAP_FD": socket}
        return {f"COHORT_{name}": value for name, value in named.items() if value is not None}

    return [
        generate("half an environment", "", "COHORT_RANK", "COHORT_BOOTSTRAP_FD",
                 environment=rank(world=None, socket=None)),
        generate("rank beyond the world", "", "COHORT_RANK=3", "COHORT_WORLD_SIZE=2",
                 environment=rank("3", "2")),
        generate("a rank that is no number", "", "COHORT_RANK='first'", environment=rank("first")),
        generate("an empty world", "", "COHORT_WORLD_SIZE=0", environment=rank(world="0")),
        generate("no socket", "", "COHORT_BOOTSTRAP_FD=99", environment=rank()),
        generate("deadline scale", "", "COHORT_DEADLINE_SCALE='fast'",
                 environment={"COHORT_DEADLINE_SCALE": "fast"}),
        plain("check", "deadline scale", "--ranks 2", "COHORT_DEADLINE_SCALE='0'",
              environment={"COHORT_DEADLINE_SCALE": "0"}),
    ]  # fmt: skip


def settings():
    """Flags from variables, from a file and from torchrun."""

    def config(name, content, *fragments, flags="--config job.toml"):
        return plain("groups", name, flags, *fragments, files={"job.toml": content})

    def torchrun(**changes):
        named = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost",
                 "MASTER_PORT": "29400"}
        return {"environment": {**named, **changes}}

    return [
        plain("groups", "a variable that is no number", "", "COHORT_TP", "four",
              environment={"COHORT_TP": "four"}),
        plain("groups", "a variable that is neither true nor false", "--tp 2", "COHORT_JSON",
              environment={"COHORT_JSON": "perhaps"}, json=False),
        config("no file", "", "no.toml", "No such file", flags="--config no.toml"),
        plain("groups", "configuration from a pipe that nobody writes to", "--config pipe",
              "--config pipe", "nothing comes from it", files={"pipe": PIPE},
              environment={"COHORT_DEADLINE_SCALE": "0.02"}),
        config("a file that is no TOML", "tp = [1, 2\n", "job.toml:"),
        config("an unknown key", "[groups]\nattn-dq = 2\n", "job.toml:2", "attn-dp"),
        config("an unknown table", "[group]\ntp = 2\n", "job.toml:1", "groups"),
        config("a key twice", "tp = 1\ntp = 2\n", "job.toml:2"),
        config("a value of the wrong type", "tp = 1979-05-27\n", "job.toml:1"),
        config("a value that no flag has", "tp = 'four'\n", "--tp", "job.toml:1"),
        config("sizes that do not divide", "tp = 4\nattn-dp = 3\n", "job.toml"),
        generate("torchrun's rank beyond the world", "", "RANK=2", "WORLD_SIZE=2",
                 **torchrun(RANK="2", LOCAL_RANK="2")),
        generate("torchrun's ranks on two hosts", "", "LOCAL_RANK=0", "RANK=1",
                 **torchrun(RANK="1")),
        generate("another layout than torchrun's", "--tp 4", "WORLD_SIZE=2", **torchrun()),
        generate("a port of torchrun that is none", "", "MASTER_PORT=70000",
                 **torchrun(MASTER_PORT="70000")),
        plain("bench", "started by torchrun", "", "torchrun", **torchrun()),
        plain("groups", "a pasted command of nobody", "--from ls", "--from"),
        Row("groups: a pasted command of too many ranks",
            ["groups", "--from", "sglang serve --tp 65536 --pp-size 65536 --nnodes 2"],
            ["--from", "--pp-size 65536", "more than 65536 ranks"]),
        Row("groups: a pasted command that is cut short",
            ["groups", "--from", "vllm serve --port $(cat port"], ["--from", "not closed"]),
        plain("groups", "no file of the variable", "", "COHORT_CONFIG=no.toml", "No such file",
              environment={"COHORT_CONFIG": "no.toml"}),
    ]  # fmt: skip


# One call each, so that what comes after the measurement comes soon.
QUICK_BENCH = "--quick --peers none --ops barrier --bytes 8 --ranks 2 --rounds 1 --seconds 0.01"


def outputs():
    old = {"old.json": "what was there before"}
    tiny = {"tiny.gguf": TINY}
    return [
        plain("tune", "no such folder", "-o no/paths.json", "no/paths.json", "No such file"),
        plain("tune", "a folder", "-o .", "Is a directory"),
        plain("tune", "a file as folder", "-o old.json/x", "Not a directory", files=old),
        plain("tune", "a long name", "-o " + "x" * 300, "File name too long"),
        plain("tune", "refused before it writes", "-o old.json --ranks 1", "--ranks 1", files=old),
        plain("bench", "no such folder", "--plot no/p.svg", "no/p.svg", "No such file"),
        plain("bench", "a folder", "--plot .", "Is a directory"),
        plain("bench", "refused before it writes", "--plot old.json --ops sing", "'sing'",
              files=old),
        plain("bench", "no room in a device", f"{QUICK_BENCH} --plot device", "device",
              "No space left", exit_code=1, files={"device": FULL}),
        plain("bench", "no room on a disk", f"{QUICK_BENCH} --plot full/p.svg", "full/p.svg",
              "No space left", "untouched", exit_code=1, full_folder=True),
        plain("bench", "no room on standard output", QUICK_BENCH, "standard output", exit_code=1,
              stdout="/dev/full", json=False),
        plain("groups", "no room on standard output", "--tp 2", "standard output", exit_code=1,
              stdout="/dev/full"),
        plain("plan", "no room on standard output", "--model tiny.gguf", "standard output",
              exit_code=1, stdout="/dev/full", files=tiny),
        generate("no room on standard output", "--tp 2 --max-tokens 2", "standard output",
                 exit_code=1, stdout="/dev/full", json=False),
        *[
            plain(command, "a reader that leaves", flags, "standard output", "Broken pipe",
                  exit_code=1, stdout=GONE, json=command != "generate", files=tiny)
            for command, flags in [
                ("groups", "--tp 2"),
                ("plan", "--model tiny.gguf"),
                ("generate", "--model tiny.gguf --prompt Water --tp 2 --max-tokens 2"),
                ("faults", "--only dead-rank"),
                ("bench", QUICK_BENCH),
            ]
        ],
        *[
            Row(f"{command}: an empty {flag}", [command, *words(flags), flag, ""],
                [f"{flag} is empty"], files=tiny)
            for command, flags, flag in [
                ("generate", "--model tiny.gguf --prompt Water", "--report"),
                ("generate", "--model tiny.gguf --prompt Water", "--trace"),
                ("generate", "--model tiny.gguf --prompt Water", "--health-file"),
                ("bench", "", "--report"),
                ("bench", "", "--plot"),
                ("faults", "", "--report"),
                ("tune", "", "--output"),
                ("groups", "", "--config"),
            ]
        ],
        Row("faults: an empty report in a file", ["faults", "--config", "job.toml"],
            ["--report is empty", "job.toml:1"], files={"job.toml": "report = ''\n"}),
        generate("one file for report and trace", "--report old.json --trace ./old.json",
                 "--report old.json and --trace ./old.json", files=old),
        generate("one file for trace and health", "--trace new --health-file new",
                 "--health-file new and --trace new"),
        generate("its model as trace", "--trace tiny.gguf", "--model tiny.gguf and --trace"),
        plain("bench", "one file by two names", "--report old.json --plot ./old.json",
              "--report old.json and --plot ./old.json", files=old),
        plain("tune", "its configuration as table", "--config old.toml -o old.toml",
              "--output old.toml and --config old.toml", files={"old.toml": ""}),
        generate("report in no folder", "--report no/r.html", "no/r.html", "No such file"),
        generate("a folder as report", "--report .", "--report .", "Is a directory"),
        generate("trace in no folder", "--trace no/t.json", "no/t.json", "No such file"),
        generate("a folder as trace", "--trace .", "--trace .", "Is a directory"),
        generate("no room for a trace", "--max-tokens 2 --quiet --trace full/t.json",
                 "full/t.json", "No space left", exit_code=1, full_folder=True),
        plain("bench", "report in no folder", "--report no/r.html", "no/r.html", "No such file"),
        plain("bench", "no room for a report", f"{QUICK_BENCH} --report full/r.html",
              "full/r.html", "No space left", exit_code=1, full_folder=True),
        plain("faults", "report in no folder", "--report no/r.html", "no/r.html", "No such file"),
        generate("health file in no folder", "--health-file no/h.json", "no/h.json"),
        generate("a device as health file", "--health-file device", "device", "no regular file",
                 files={"device": FULL}),
        generate("a pipe as health file", "--health-file pipe", "pipe", "no regular file",
                 files={"pipe": PIPE}),
        plain("run", "a folder as health file", "-n 2 --health-file . -- true", "--health-file .",
              json=False),
    ]  # fmt: skip


def systems():
    script = {"script": "no program"}
    return [
        plain("run", "no such program", "-n 2 -- ./no-such", "./no-such", "No such file",
              json=False),
        plain("run", "not executable", "-n 2 -- ./script", "./script", "Permission denied",
              files=script, json=False),
        plain("run", "a rank that fails", "-n 2 -- false", "exit code 1", exit_code=1, json=False),
        Row("run: a rank that dies", ["run", "-n", "2", "--", "sh", "-c", "kill -9 $$"],
            ["died of signal 9"], exit_code=1, json=False),
        Row("run: a rank without a reader", ["run", "-n", "1", "--", "sh", "-c", "kill -13 $$"],
            ["died of signal 13"], exit_code=1, json=False),
        generate("too few open files", "--tp 4", "open files", exit_code=1, json=False,
                 limits=((resource.RLIMIT_NOFILE, 12),)),
    ]  # fmt: skip


def table():
    return [
        *models(), *layouts(), *values(), *texts(), *tables(), *health_files(), *environments(),
        *settings(), *outputs(), *systems(),
    ]  # fmt: skip
