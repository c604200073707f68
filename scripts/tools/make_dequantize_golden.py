#!/usr/bin/env python3
"""Writes tests/data/golden/dequantize.json: rows of every tensor type and their f32 bits.

The values are those of the `gguf` package. Needs: see requirements-golden.txt.
Run from the repository root.
"""

import json
import pathlib

import gguf
import numpy
from gguf.quants import dequantize

TARGET = pathlib.Path("tests/data/golden/dequantize.json")
ROW_COUNT = 3
# Where the half-precision scales of a block lie.
SCALE_OFFSETS = {"Q4_0": [0], "Q4_1": [0, 2], "Q8_0": [0], "Q6_K": [208]}
COLUMN_COUNTS = {"F32": 8, "F16": 32, "BF16": 32, "Q4_0": 96, "Q4_1": 96, "Q8_0": 96, "Q6_K": 512}


def random_rows(generator, name, column_count):
    """Rows of noise whose scales are finite numbers of either sign, some of them denormal."""
    block_elements, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    block_count = ROW_COUNT * column_count // block_elements
    if name in ("F32", "F16"):
        kind = numpy.float32 if name == "F32" else numpy.float16
        return generator.normal(0, 1, (ROW_COUNT, column_count)).astype(kind).view(numpy.uint8)
    if name == "BF16":
        wide = generator.normal(0, 1, (ROW_COUNT, column_count)).astype(numpy.float32)
        return (wide.view(numpy.uint32) >> 16).astype(numpy.uint16).view(numpy.uint8)
    blocks = generator.integers(0, 256, (block_count, block_bytes), dtype=numpy.uint8)
    for offset in SCALE_OFFSETS[name]:
        magnitudes = 10.0 ** generator.integers(-6, 2, block_count)
        scales = generator.normal(0, 1, block_count) * magnitudes
        packed = scales.astype(numpy.float16).view(numpy.uint8).reshape(block_count, 2)
        blocks[:, offset : offset + 2] = packed
    return blocks.reshape(ROW_COUNT, -1)


def main():
    generator = numpy.random.Generator(numpy.random.PCG64(7))
    cases = []
    for name, column_count in COLUMN_COUNTS.items():
        rows = random_rows(generator, name, column_count)
        kind = gguf.GGMLQuantizationType[name]
        source = rows.view({"F32": numpy.float32, "F16": numpy.float16}.get(name, numpy.uint8))
        values = dequantize(source, kind).astype(numpy.float32)
        assert values.shape == (ROW_COUNT, column_count)
        case = {"type": name, "number": int(kind), "rows": ROW_COUNT, "columns": column_count}
        bits = numpy.ascontiguousarray(values).view(numpy.uint32).ravel()
        cases.append({**case, "data": rows.tobytes().hex(), "f32_bits": bits.tolist()})
    lines = (json.dumps(case, separators=(",", ":")) for case in cases)
    TARGET.write_text('{"cases":[\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
    print(TARGET, TARGET.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
