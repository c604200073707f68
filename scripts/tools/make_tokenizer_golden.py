#!/usr/bin/env python3
"""Writes tests/data/tokenizer/*.json: what the `tokenizers` library makes of a corpus of texts.

Two vocabularies: that of a real model file (model.json; the vocabulary itself is not stored), and
a small one trained here on the corpus (small.json; complete, so that its test needs no model).

Needs: pip install tokenizers==0.23.3 gguf==0.19.0
Run from the repository root: make_tokenizer_golden.py MODEL.gguf
"""

import json
import pathlib
import random
import sys

import gguf
import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from make_pretokenizer_tables import classify, code_points
from tokenizer_corpus import corpus

TARGET = pathlib.Path("tests/data/tokenizer")
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


def pre_tokenizer():
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )


def build(tokens, types, merges):
    """A tokenizer of the library with this vocabulary."""
    vocabulary = {token: index for index, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    of_kind = lambda wanted: [token for token, kind in zip(tokens, types) if kind == wanted]
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in of_kind(CONTROL)]
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in of_kind(USER_DEFINED)])
    assert tokenizer.get_vocab_size() == len(tokens), "an added token was not in the vocabulary"
    return tokenizer


def read_model(path):
    fields = gguf.GGUFReader(path).fields
    read = lambda key: fields["tokenizer.ggml." + key].contents()
    assert read("pre") == "smollm"
    return read("tokens"), read("token_type"), read("merges")


def train_small(texts):
    """A vocabulary of a few hundred tokens, two bytes short, with tokens that overlap."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=520, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [" ".join(pair) for pair in model["merges"]]
    control = ["<|im_start|>", "<|im_end|>", "<|im", "<s>", "<s><s>"]
    defined = ["DEFINED", "\u4e16\u4e16", "  \n"]
    # 0x04 and 0xF1 occur in UTF-8 text; no merge may need them.
    missing = {"\u0104", "\u00f1"}
    assert not any(letter in merge for letter in missing for merge in merges)
    plain = [t for t in sorted(model["vocab"], key=model["vocab"].get) if t not in missing]
    tokens = control + plain + defined
    types = [CONTROL] * len(control) + [NORMAL] * len(plain) + [USER_DEFINED] * len(defined)
    return tokens, types, merges


def encode_cases(tokenizer, texts):
    return [[text, tokenizer.encode(text, add_special_tokens=False).ids] for text in texts]


def decode_cases(tokenizer, count, seed):
    """Ids as a model might emit them, most of which do not form whole characters."""
    chance = random.Random(seed)
    # Tokens with bytes past ASCII: parts of characters.
    is_part = lambda token: any(c > "\u00a0" and c != "\u0120" for c in token)
    parts = sorted(index for token, index in tokenizer.get_vocab().items() if is_part(token))
    count_all = tokenizer.get_vocab_size()
    cases = []
    for _ in range(count):
        ids = [
            chance.choice(parts) if chance.random() < 0.7 else chance.randrange(count_all)
            for _ in range(chance.randint(1, 10))
        ]
        cases.append([ids, tokenizer.decode(ids, skip_special_tokens=False)])
    return cases


def class_checksum():
    """FNV-1a over the class of every code point but the surrogates: l, d, s or o."""
    letters, spaces, digits = (set(codes) for codes in classify())
    checksum = 0xCBF29CE484222325
    for code in code_points():
        kind = (
            "l" if code in letters else "d" if code in digits else "s" if code in spaces else "o"
        )
        checksum = ((checksum ^ ord(kind)) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{checksum:016x}"


def write(path, fields):
    """JSON with one list element per line, so that a change shows as one."""
    compact = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    parts = []
    for key, value in fields.items():
        nested = isinstance(value, list) and value and isinstance(value[0], list)
        text = "[\n" + ",\n".join(map(compact, value)) + "\n]" if nested else compact(value)
        parts.append(f"{compact(key)}:{text}")
    path.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")
    print(path, path.stat().st_size, "bytes")


def main():
    texts = corpus()
    TARGET.mkdir(parents=True, exist_ok=True)

    tokens, types, merges = read_model(sys.argv[1])
    tokenizer = build(tokens, types, merges)
    made_by = f"tokenizers {tokenizers.__version__}"
    write(
        TARGET / "model.json",
        {
            "made_by": made_by,
            "token_count": len(tokens),
            "encode": encode_cases(tokenizer, texts),
            "decode": decode_cases(tokenizer, 80, seed=1),
        },
    )

    tokens, types, merges = train_small(texts)
    tokenizer = build(tokens, types, merges)
    extra = [
        "<s><s><s>",
        "<|im_start",
        "<|im|>",
        "xDEFINEDx DEFINED",
        "世世世",
        "a  \n\n",
        "<|im_end|><s>",
    ]
    write(
        TARGET / "small.json",
        {
            "made_by": made_by,
            "class_checksum": class_checksum(),
            "tokens": tokens,
            "types": types,
            "merges": merges,
            "encode": encode_cases(tokenizer, extra + texts[::4]),
            "decode": decode_cases(tokenizer, 60, seed=2),
        },
    )


if __name__ == "__main__":
    main()
