#!/usr/bin/env python3
"""Writes what Hugging Face `transformers` makes of a GGUF file: logits, and greedy continuations.

The library's Llama decoder runs in float32 on the file's own dequantised weights, so a difference
is one of arithmetic, not of weights. Written are PREFIX_logits.json (for every position of a few
prompts the 8 highest logits and those of 24 fixed ids) and PREFIX_greedy.json (64 tokens after each
prompt; the end-of-text token is a token like any other). Needs: see requirements-golden.txt.
"""

import argparse
import hashlib
import json
import pathlib
import re

import gguf
import numpy
import torch
import transformers
from gguf.quants import dequantize

from golden_prompts import GREEDY_PROMPTS, LOGIT_PROMPTS, long_text
from make_tokenizer_golden import build, read_model

TOP_COUNT = 8
FIXED_COUNT = 24
GREEDY_TOKEN_COUNT = 64
# Greedy choices closer than this could turn on rounding; a prompt that meets one is refused.
MARGIN_MIN = 5e-3

HF_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hf_name(name):
    block = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if block:
        return f"model.layers.{block[1]}.{HF_NAMES[block[2]]}.weight"
    outer = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    return outer[name.removesuffix(".weight")] + ".weight"


def half_split(weight, head_count):
    """Undoes the file's order of rows, in which those that rotate together are neighbours."""
    row_count, column_count = weight.shape
    pairs = weight.reshape(head_count, row_count // head_count // 2, 2, column_count)
    return pairs.swapaxes(1, 2).reshape(row_count, column_count)


def load_model(path):
    reader = gguf.GGUFReader(path)

    def value(key):
        return reader.fields["llama." + key].contents()

    heads = {"q": value("attention.head_count"), "k": value("attention.head_count_kv")}
    state = {}
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        projection = re.search(r"attn_([qk])\.weight", tensor.name)
        if projection:
            weight = half_split(weight, heads[projection[1]])
        state[hf_name(tensor.name)] = torch.from_numpy(numpy.array(weight))
    tied = "lm_head.weight" not in state
    if tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    config = transformers.LlamaConfig(
        vocab_size=state["lm_head.weight"].shape[0],
        hidden_size=value("embedding_length"),
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"),
        num_attention_heads=heads["q"],
        num_key_value_heads=heads["k"],
        max_position_embeddings=value("context_length"),
        rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
        rope_theta=value("rope.freq_base"),
        tie_word_embeddings=tied,
        attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all("rotary" in name for name in missing), (missing, unexpected)
    return model.eval()


def rounded(values):
    return [round(float(value), 5) for value in values]


def record_logits(model, name, text, ids, fixed_ids):
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    top = torch.topk(logits, TOP_COUNT)
    margins = top.values[:, 0] - top.values[:, 1]
    print(f"{name}: {len(ids)} tokens, {int((margins < 4e-3).sum())} margins below 4e-3")
    return {
        "name": name,
        "text": text,
        "ids": ids,
        "top_ids": top.indices.tolist(),
        "top_logits": [rounded(row) for row in top.values],
        "fixed_logits": [rounded(row) for row in logits[:, fixed_ids]],
    }


def record_greedy(model, name, text, ids):
    continuation, margins = [], []
    cache, step = None, torch.tensor([ids])
    with torch.no_grad():
        while len(continuation) < GREEDY_TOKEN_COUNT:
            output = model(step, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            top = torch.topk(output.logits[0, -1], 2)
            continuation.append(int(top.indices[0]))
            margins.append(float(top.values[0] - top.values[1]))
            step = torch.tensor([[continuation[-1]]])
    print(f"{name}: {len(ids)} tokens, smallest margin {min(margins):.4f}")
    return {
        "name": name,
        "text": text,
        "ids": ids,
        "continuation": continuation,
        "margin_min": round(min(margins), 5),
    }


def write(path, head, records):
    """JSON with one record per line."""
    compact = [json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in records]
    opening = json.dumps(head, separators=(",", ":"))[:-1]
    path.write_text(opening + ',"prompts":[\n' + ",\n".join(compact) + "\n]}\n", encoding="utf-8")
    print(path, path.stat().st_size, "bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path, help="GGUF file")
    parser.add_argument("prefix", help="path and first part of the name of the files to write")
    parser.add_argument(
        "--long-sentences",
        type=int,
        default=77,
        help="length of the long prompt; the default makes 1,509 tokens of SmolLM2",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.model)
    tokenizer = build(*read_model(arguments.model))

    def encode(text):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert len(ids) + GREEDY_TOKEN_COUNT <= model.config.max_position_embeddings, len(ids)
        return ids

    head = {
        "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "model_sha256": hashlib.sha256(arguments.model.read_bytes()).hexdigest(),
    }
    vocabulary_count = model.config.vocab_size
    fixed_ids = [index * vocabulary_count // FIXED_COUNT for index in range(FIXED_COUNT)]
    logits = [
        record_logits(model, name, text, encode(text), fixed_ids)
        for name, text in LOGIT_PROMPTS.items()
    ]
    prompts = {**GREEDY_PROMPTS, "long": long_text(arguments.long_sentences)}
    greedy = [record_greedy(model, name, text, encode(text)) for name, text in prompts.items()]
    close = [record["name"] for record in greedy if record["margin_min"] < MARGIN_MIN]
    if close:
        raise SystemExit(f"too close to a tie, reword: {', '.join(close)}")
    write(pathlib.Path(arguments.prefix + "_logits.json"), {**head, "fixed_ids": fixed_ids}, logits)
    write(pathlib.Path(arguments.prefix + "_greedy.json"), head, greedy)


if __name__ == "__main__":
    main()
