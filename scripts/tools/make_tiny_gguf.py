#!/usr/bin/env python3
"""Writes a tiny random Llama model as a GGUF file that the whole command can run.

The model has 8 heads, 4 KV heads, 2 layers and a vocabulary of 384 byte-level BPE tokens; its
sizes divide by 2, 4 and 8. Every weight is a half-precision number, so the file holds the same
model as F32 and as F16. The same arguments always write the same bytes. Needs Python 3 alone.
"""

import argparse
import collections
import math
import random
import pathlib
import re
import struct

LAYER_COUNT = 2
HEAD_COUNT = 8
KV_HEAD_COUNT = 4
HEAD_WIDTH = 8
HIDDEN_WIDTH = HEAD_COUNT * HEAD_WIDTH
MLP_WIDTH = 128
VOCABULARY_COUNT = 384
CONTEXT_TOKEN_COUNT = 1024
ROPE_BASE = 10000.0
RMS_EPSILON = 1e-5

CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<file_sep>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a tiny model with random weights<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# What the merges are learnt from.
CORPUS = """
The quick brown fox jumps over the lazy dog, and the dog does not mind. There is a river behind
the house; in the winter it freezes and the children of the village skate on it. When they come
back in the evening, their mother has made bread and soup for them. What they tell her is not
always what has happened, but she listens to the end. Then the lamp is put out, and the snow goes
on falling on the roof, on the road and on the river, as it has done for a thousand years.
for (int index = 0; index < count; ++index) { total += values[index]; } return total / count;
def mean(values): return sum(values) / len(values) if values else 0.0
A group of ranks reads the rows that each rank has written: this is an all-gather. A group that
adds the rows up, and gives each rank the sum, does an all-reduce. Neither may read too early.
"""

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TENSOR_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}
ALIGNMENT = 32


def byte_alphabet():
    """Returns the character that stands for each byte in a byte-level vocabulary."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in printable)
    letters = {byte: chr(byte) for byte in printable}
    letters.update({byte: chr(256 + index) for index, byte in enumerate(others)})
    return letters


def learn_merges(merge_count):
    """Returns merges and merged tokens: always the commonest pair, the smaller of two alike."""
    letters = byte_alphabet()
    words = collections.Counter()
    for word in re.findall(r" ?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", CORPUS):
        words[tuple(letters[byte] for byte in word.encode())] += 1
    merges = []
    while len(merges) < merge_count:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged_words = collections.Counter()
        for word, count in words.items():
            merged_words[merge_word(word, best)] += count
        words = merged_words
    return merges


def merge_word(word, pair):
    merged, index = [], 0
    while index < len(word):
        if word[index : index + 2] == pair:
            merged.append(pair[0] + pair[1])
            index += 2
        else:
            merged.append(word[index])
            index += 1
    return tuple(merged)


def make_vocabulary():
    """Returns tokens, token types and merges."""
    letters = byte_alphabet()
    byte_tokens = sorted(letters.values())
    merges = learn_merges(VOCABULARY_COUNT - len(CONTROL_TOKENS) - len(byte_tokens))
    tokens = CONTROL_TOKENS + byte_tokens + ["".join(pair) for pair in merges]
    assert len(tokens) == len(set(tokens)) == VOCABULARY_COUNT
    types = [3] * len(CONTROL_TOKENS) + [1] * (len(tokens) - len(CONTROL_TOKENS))
    return tokens, types, [" ".join(pair) for pair in merges]


def random_matrix(generator, row_count, column_count, deviation, mean=0.0):
    """Rows of half-precision numbers, evenly spread; only integers and one product decide them."""
    reach = deviation * math.sqrt(3)
    rows = []
    for _ in range(row_count):
        noise = ((generator.getrandbits(24) - 0x800000) / 0x800000 for _ in range(column_count))
        packed = struct.pack(f"<{column_count}e", *(mean + reach * value for value in noise))
        rows.append(list(struct.unpack(f"<{column_count}e", packed)))
    return rows


def make_tensors(seed, untied):
    """Returns {name: rows}, attn_q and attn_k half split.

    The deviations are such that attention is neither flat nor a single token, the layers outweigh
    the embedding (else the model repeats its input) and logits differ by about 3.
    """
    generator = random.Random(seed)
    kv_width = KV_HEAD_COUNT * HEAD_WIDTH
    inward = 1 / math.sqrt(HIDDEN_WIDTH)
    tensors = {}

    def add(name, row_count, column_count, deviation, mean=0.0):
        tensors[name] = random_matrix(generator, row_count, column_count, deviation, mean)

    add("token_embd.weight", VOCABULARY_COUNT, HIDDEN_WIDTH, 0.4)
    for layer in range(LAYER_COUNT):
        prefix = f"blk.{layer}."
        add(prefix + "attn_norm.weight", 1, HIDDEN_WIDTH, 0.2, 1.0)
        add(prefix + "attn_q.weight", HIDDEN_WIDTH, HIDDEN_WIDTH, 1.5 * inward)
        add(prefix + "attn_k.weight", kv_width, HIDDEN_WIDTH, 1.5 * inward)
        add(prefix + "attn_v.weight", kv_width, HIDDEN_WIDTH, 1.5 * inward)
        add(prefix + "attn_output.weight", HIDDEN_WIDTH, HIDDEN_WIDTH, 1.5 * inward)
        add(prefix + "ffn_norm.weight", 1, HIDDEN_WIDTH, 0.2, 1.0)
        add(prefix + "ffn_gate.weight", MLP_WIDTH, HIDDEN_WIDTH, inward)
        add(prefix + "ffn_up.weight", MLP_WIDTH, HIDDEN_WIDTH, inward)
        add(prefix + "ffn_down.weight", HIDDEN_WIDTH, MLP_WIDTH, 2 / math.sqrt(MLP_WIDTH))
    add("output_norm.weight", 1, HIDDEN_WIDTH, 0.2, 1.0)
    if untied:
        add("output.weight", VOCABULARY_COUNT, HIDDEN_WIDTH, 0.4)
    return tensors


def adjacent_pairs(rows):
    """Reorders the rows of each head so that those that rotate together are neighbours."""
    half = HEAD_WIDTH // 2
    ordered = []
    for begin in range(0, len(rows), HEAD_WIDTH):
        for pair in range(half):
            ordered += [rows[begin + pair], rows[begin + half + pair]]
    return ordered


def pack_string(text):
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def pack_metadata(name):
    """Returns the number of entries and their bytes."""
    tokens, types, merges = make_vocabulary()
    entries = []

    def add(key, kind, value):
        entries.append(pack_string(key) + struct.pack("<I", kind) + value)

    def add_text(key, text):
        add(key, STRING, pack_string(text))

    def add_number(key, number):
        add(key, U32, struct.pack("<I", number))

    def add_texts(key, texts):
        head = struct.pack("<IQ", STRING, len(texts))
        add(key, ARRAY, head + b"".join(pack_string(text) for text in texts))

    add_text("general.architecture", "llama")
    add_text("general.name", name)
    add_number("llama.block_count", LAYER_COUNT)
    add_number("llama.context_length", CONTEXT_TOKEN_COUNT)
    add_number("llama.embedding_length", HIDDEN_WIDTH)
    add_number("llama.feed_forward_length", MLP_WIDTH)
    add_number("llama.attention.head_count", HEAD_COUNT)
    add_number("llama.attention.head_count_kv", KV_HEAD_COUNT)
    add("llama.rope.freq_base", F32, struct.pack("<f", ROPE_BASE))
    add("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", RMS_EPSILON))
    add_number("llama.vocab_size", VOCABULARY_COUNT)
    add_number("llama.rope.dimension_count", HEAD_WIDTH)
    add("tokenizer.ggml.add_space_prefix", BOOL, b"\0")
    add("tokenizer.ggml.add_bos_token", BOOL, b"\0")
    add_text("tokenizer.ggml.model", "gpt2")
    add_text("tokenizer.ggml.pre", "smollm")
    add_texts("tokenizer.ggml.tokens", tokens)
    packed_types = struct.pack(f"<IQ{len(types)}i", I32, len(types), *types)
    add("tokenizer.ggml.token_type", ARRAY, packed_types)
    add_texts("tokenizer.ggml.merges", merges)
    add_number("tokenizer.ggml.bos_token_id", 1)
    add_number("tokenizer.ggml.eos_token_id", 2)
    add_number("tokenizer.ggml.unknown_token_id", 0)
    add_number("tokenizer.ggml.padding_token_id", 2)
    add_text("tokenizer.chat_template", CHAT_TEMPLATE)
    return len(entries), b"".join(entries)


def pack_q8_0(row):
    packed = b""
    for begin in range(0, len(row), 32):
        block = row[begin : begin + 32]
        scale = max(abs(value) for value in block) / 127
        quants = (round(value / scale) if scale else 0 for value in block)
        packed += struct.pack("<e32b", scale, *quants)
    return packed


def pack_rows(rows, kind):
    if kind == "q8_0":
        return b"".join(pack_q8_0(row) for row in rows)
    letter = "f" if kind == "f32" else "e"
    return b"".join(struct.pack(f"<{len(row)}{letter}", *row) for row in rows)


def pad(data):
    return data + bytes(-len(data) % ALIGNMENT)


def pack_model(arguments):
    tensors = make_tensors(arguments.seed, arguments.untied)
    infos, data = b"", b""
    for name, rows in tensors.items():
        if arguments.rope_layout == "adjacent-pairs" and re.search(r"attn_[qk]\.", name):
            rows = adjacent_pairs(rows)
        is_vector = len(rows) == 1
        kind = "f32" if is_vector else arguments.type
        extents = [len(rows[0])] if is_vector else [len(rows[0]), len(rows)]
        infos += pack_string(name) + struct.pack("<I", len(extents))
        infos += struct.pack(f"<{len(extents)}Q", *extents)
        infos += struct.pack("<IQ", TENSOR_TYPES[kind], len(data))
        data += pad(pack_rows(rows, kind))
    entry_count, entries = pack_metadata(f"tiny random model, {arguments.rope_layout}")
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), entry_count)
    return pad(head + entries + infos) + data


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path, help="file to write")
    # With this seed no greedy choice of the golden continuations is near a tie.
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--type", choices=TENSOR_TYPES, default="f16", help="of the matrices")
    parser.add_argument("--untied", action="store_true", help="write an output.weight of its own")
    parser.add_argument(
        "--rope-layout",
        choices=["adjacent-pairs", "half-split"],
        default="adjacent-pairs",
        help="order of attn_q and attn_k rows: that of GGUF files or that of Hugging Face",
    )
    parser.add_argument("--check", action="store_true", help="fail if the file would change")
    arguments = parser.parse_args()
    model = pack_model(arguments)
    if arguments.check:
        if arguments.output.read_bytes() != model:
            raise SystemExit(f"{arguments.output} is not what this script writes")
    else:
        arguments.output.write_bytes(model)


if __name__ == "__main__":
    main()
