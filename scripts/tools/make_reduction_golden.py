#!/usr/bin/env python3
"""Writes tests/collectives/golden/reductions.txt: inputs of reductions and their exact results.

    make_reduction_golden.py            writes the file
    make_reduction_golden.py --check    fails if the file differs from what would be written

Nothing here uses the machine's floating point: numbers are fractions, rounded by the rule in
`encode`. Sums run in operand order in f32 and are rounded once more only for bf16 and f16.

The file, line by line (`#` begins a comment, numbers are hexadecimal bit patterns):
    case <dtype> <operands> <elements>
    operand <pattern of each element>      once for each operand
    sum|min|max <pattern of each element>
"""

import argparse
import pathlib
import random
import sys
from fractions import Fraction

TARGET = pathlib.Path(__file__).resolve().parents[2] / "tests/collectives/golden/reductions.txt"
OPERANDS_MAX = 8
DTYPES = ("f32", "bf16", "i32", "i64", "f16", "u8")
RANDOM_COLUMNS = {"f32": 14, "bf16": 18, "i32": 6, "i64": 4, "f16": 18, "u8": 10}

INTEGER_BITS = {"i32": 32, "i64": 64, "u8": 8}
SIGNED = {"i32": True, "i64": True, "u8": False}


class Format:
    """A binary floating-point format: its patterns and its rounding."""

    def __init__(self, exponent_bits, fraction_bits):
        self.exponent_bits = exponent_bits
        self.fraction_bits = fraction_bits
        self.bits = 1 + exponent_bits + fraction_bits
        self.bias = (1 << (exponent_bits - 1)) - 1
        self.exponent_min = 1 - self.bias
        self.sign_bit = 1 << (self.bits - 1)
        self.infinity = ((1 << exponent_bits) - 1) << fraction_bits
        self.nan = self.infinity | 1 << (fraction_bits - 1)

    def is_nan(self, pattern):
        return pattern & (self.sign_bit - 1) > self.infinity

    def is_infinite(self, pattern):
        return pattern & (self.sign_bit - 1) == self.infinity

    def decode(self, pattern):
        """The value of a finite pattern."""
        exponent = (pattern & (self.sign_bit - 1)) >> self.fraction_bits
        fraction = pattern & ((1 << self.fraction_bits) - 1)
        if exponent > 0:
            fraction |= 1 << self.fraction_bits
        step = Fraction(2) ** (
            max(exponent - self.bias, self.exponent_min) - self.fraction_bits)
        return fraction * step * (-1 if pattern & self.sign_bit else 1)

    def encode(self, value, negative_zero=False):
        """The pattern nearest to a fraction; ties go to the even one."""
        if value == 0:
            return self.sign_bit if negative_zero else 0
        sign = self.sign_bit if value < 0 else 0
        value = abs(value)
        exponent = self.exponent_min
        while Fraction(2) ** (exponent + 1) <= value:
            exponent += 1
        steps = value / Fraction(2) ** (exponent - self.fraction_bits)
        whole = steps.numerator // steps.denominator
        beyond = steps - whole
        if beyond > Fraction(1, 2) or (beyond == Fraction(1, 2) and whole % 2 == 1):
            whole += 1
        # A denormal has no leading one, and a carry steps the exponent: both come out by adding.
        pattern = whole + ((exponent - self.exponent_min) << self.fraction_bits)
        return sign | min(pattern, self.infinity)


F32 = Format(8, 23)
FORMATS = {"f32": F32, "bf16": Format(8, 7), "f16": Format(5, 10)}


def add_f32(left, right):
    if F32.is_nan(left) or F32.is_nan(right):
        return F32.nan
    if F32.is_infinite(left) or F32.is_infinite(right):
        if F32.is_infinite(left) and F32.is_infinite(right) and left != right:
            return F32.nan
        return left if F32.is_infinite(left) else right
    both_negative = bool(left & right & F32.sign_bit)
    return F32.encode(F32.decode(left) + F32.decode(right), negative_zero=both_negative)


def sum_f32(column):
    total = F32.nan if F32.is_nan(column[0]) else column[0]
    for operand in column[1:]:
        total = add_f32(total, operand)
    return total


def convert(pattern, source, target):
    """The same number in another format, rounded where it must be."""
    if source.is_nan(pattern):
        return target.nan
    sign = target.sign_bit if pattern & source.sign_bit else 0
    if source.is_infinite(pattern):
        return sign | target.infinity
    return target.encode(source.decode(pattern), negative_zero=bool(sign))


def sum_narrow(form, column):
    return convert(sum_f32([convert(operand, form, F32) for operand in column]), F32, form)


def extreme_float(form, column, pick):
    if any(form.is_nan(operand) for operand in column):
        return form.nan

    def order(pattern):
        magnitude = pattern & (form.sign_bit - 1)
        return -magnitude - 1 if pattern & form.sign_bit else magnitude

    return pick(column, key=order)


def signed(pattern, bits):
    return pattern - (1 << bits) if pattern >> (bits - 1) else pattern


def reduce_column(dtype, op, column):
    if dtype in INTEGER_BITS:
        bits = INTEGER_BITS[dtype]
        if op == "sum":
            return sum(column) % (1 << bits)
        order = (lambda pattern: signed(pattern, bits)) if SIGNED[dtype] else None
        return (min if op == "min" else max)(column, key=order)
    form = FORMATS[dtype]
    if op == "sum":
        return sum_f32(column) if form is F32 else sum_narrow(form, column)
    return extreme_float(form, column, min if op == "min" else max)


# Columns worth having whatever the random ones are: each is one element's operands.
F32_COLUMNS = [
    # A single operand: only NaN changes.
    (0x3F800000,), (0x80000000,), (0x00000001,), (0x807FFFFF,), (0xFF800000,), (0x7F800001,),
    (0xFFC12345,), (0x7FFFFFFF,), (0xFFFFFFFF,),
    # Zeros of both signs.
    (0x80000000, 0x80000000), (0x80000000, 0x00000000), (0x00000000, 0x80000000),
    (0x3F800000, 0xBF800000),
    # Denormals: kept, added, carried into normals and back.
    (0x00000001, 0x00000001), (0x007FFFFF, 0x00000001), (0x00800000, 0x80000001),
    (0x00000003, 0x80000005), (0x3F800000, 0x00000001), (0x00800001, 0x80800000),
    # Ties: half a step above an even and an odd fraction; one bit to either side of a tie.
    (0x3F800000, 0x33800000), (0x3F800001, 0x33800000), (0x3F800000, 0x33800001),
    (0x3F800001, 0x337FFFFF), (0xBF800001, 0xB3800000),
    # Overflow: just reached, just missed, and not undone by a later operand.
    (0x7F7FFFFF, 0x73000000), (0x7F7FFFFF, 0x72FFFFFF), (0xFF7FFFFF, 0xFF7FFFFF),
    (0x7F7FFFFF, 0x7F7FFFFF, 0xFF7FFFFF),
    # Infinities and NaN.
    (0x7F800000, 0xFF800000), (0x7F800000, 0x7F800000), (0xFF800000, 0x7F7FFFFF),
    (0x7F800000, 0xFFC00000), (0x7F800001, 0x3F800000), (0x3F800000, 0xFFFFFFFF),
    (0xFF800000, 0x7F800000, 0x3F800000), (0x7FC00000, 0xFF800001, 0x7FFFFFFF),
    (0xFF800000, 0x7FBFFFFF, 0x7F800000),
    # Order matters: 2^24 + 1 + 1, 1 + 1 + 2^24, and what cancels early or late.
    (0x4B800000, 0x3F800000, 0x3F800000), (0x3F800000, 0x3F800000, 0x4B800000),
    (0x4B800000, 0x3F800000, 0xCB800000), (0x4B800000, 0xCB800000, 0x3F800000),
    (0x3F800000, 0x33800000, 0x33800000, 0x33800000),
    (0x33800000, 0x33800000, 0x33800000, 0x3F800000),
    (0x4B800000, 0x3F800000, 0x3F800000, 0x3F800000, 0x3F800000, 0xCB800000),
    (0x00000001, 0x7F7FFFFF, 0xFF7FFFFF, 0x00000001, 0x80000003),
    # Min and max among neighbours of both signs.
    (0xBF800000, 0xBF800001, 0xBF7FFFFF), (0x3F800000, 0x3F800001, 0x3F7FFFFF),
    (0x80000001, 0x80000000, 0x00000000, 0x00000001),
]
BF16_COLUMNS = [
    (0x3F80,), (0x8000,), (0x0001,), (0x807F,), (0xFF80,), (0x7F81,), (0xFFC1,), (0x7FFF,),
    (0xFFFF,),
    (0x8000, 0x8000), (0x8000, 0x0000), (0x0000, 0x8000), (0x3F80, 0xBF80),
    (0x0001, 0x0001), (0x007F, 0x0001), (0x0080, 0x8001), (0x0003, 0x8005), (0x0081, 0x8080),
    (0x3F80, 0x0001),
    # Ties after an even and an odd fraction, of both signs; one f32 bit to either side of a tie.
    (0x3F80, 0x3B80), (0x3F81, 0x3B80), (0xBF80, 0xBB80), (0xBF81, 0xBB80),
    (0x3F80, 0x3B80, 0x3400), (0x3F81, 0x3B80, 0xB400), (0x3F80, 0x3B80, 0xB400),
    # What f32 cannot hold is rounded there first: 1 + 2^-8 + 2^-24 ties twice, and ends at 1.
    (0x3F80, 0x3B80, 0x3380), (0x3F81, 0x3B80, 0x3380),
    # Rounding each partial sum to bf16 would lose these.
    (0x3F80, 0x3B80, 0x3B80), (0x3F80, 0x3B00, 0x3B00, 0x3B00, 0x3B00),
    (0x3F80, 0x3C00, 0x3B80, 0xBC00), (0x4380, 0x3F80, 0x3F80, 0x3F80, 0x3F80, 0x3F80),
    # Overflow: f32 still holds the sum but bf16 does not; just missed; in f32 itself.
    (0x7F7F, 0x7B00), (0x7F7F, 0x7AFF), (0xFF7F, 0xFB00), (0x7F7F, 0x7F7F),
    (0x7F7F, 0x7F7F, 0xFF7F), (0x7F7F, 0x7B00, 0xFB00),
    (0x7F80, 0xFF80), (0x7F80, 0x7F80), (0xFF80, 0x7F7F), (0x7F80, 0xFFC0), (0x7F81, 0x3F80),
    (0x3F80, 0xFFFF), (0xFF80, 0x7F80, 0x3F80), (0x7FC0, 0xFF81, 0x7FFF),
    (0xFF80, 0x7FBF, 0x7F80),
    # Order matters in f32 too.
    (0x4B80, 0x3F80, 0x3F80, 0xCB80), (0x3F80, 0x3F80, 0x4B80, 0xCB80),
    (0x4B80, 0xCB80, 0x3F80), (0x0001, 0x7F7F, 0xFF7F, 0x0001, 0x8003),
    (0xBF80, 0xBF81, 0xBF7F), (0x3F80, 0x3F81, 0x3F7F), (0x8001, 0x8000, 0x0000, 0x0001),
]
F16_COLUMNS = [
    (0x3C00,), (0x8000,), (0x0001,), (0x83FF,), (0xFC00,), (0x7C01,), (0xFE01,), (0x7FFF,),
    (0xFFFF,), (0x0400,), (0x7BFF,),
    (0x8000, 0x8000), (0x8000, 0x0000), (0x0000, 0x8000), (0x3C00, 0xBC00),
    # Denormals are kept, carried into normals and back; f32 holds all of them as normals.
    (0x0001, 0x0001), (0x03FF, 0x0001), (0x0400, 0x8001), (0x0003, 0x8005), (0x0401, 0x8400),
    (0x3C00, 0x0001), (0x0001, 0x8001), (0x83FF, 0x8001), (0x03FF, 0x03FF),
    # Ties after an even and an odd fraction, of both signs; one f32 bit to either side of a tie.
    (0x3C00, 0x1000), (0x3C01, 0x1000), (0xBC00, 0x9000), (0xBC01, 0x9000),
    (0x3C00, 0x1000, 0x0002), (0x3C01, 0x1000, 0x8002), (0x3C00, 0x1000, 0x8002),
    (0x3C01, 0x1000, 0x0002),
    # What f32 cannot hold is lost there first: 2^14 + 8 + 2^-24 becomes a tie, and ends at 2^14.
    (0x7400, 0x4800, 0x0001), (0x7401, 0x4800, 0x8001), (0x7BFF, 0x4C00, 0x8001),
    # Rounding each partial sum to f16 would lose these.
    (0x3C00, 0x1000, 0x1000), (0x3C00, 0x0C00, 0x0C00, 0x0C00, 0x0C00),
    (0x6800, 0x3C00, 0x3C00, 0x3C00, 0x3C00, 0x3C00), (0x3C00, 0x1400, 0x1000, 0x9400),
    # Overflow: f32 still holds the sum but f16 does not; just missed; undone by a later operand.
    (0x7BFF, 0x4C00), (0x7BFF, 0x4BFF), (0xFBFF, 0xCC00), (0x7BFF, 0x7BFF),
    (0x7BFF, 0x7BFF, 0xFBFF), (0x7BFF, 0x4C00, 0xCC00), (0x7BFF, 0x7BFF, 0x7BFF, 0x7BFF),
    (0x7C00, 0xFC00), (0x7C00, 0x7C00), (0xFC00, 0x7BFF), (0x7C00, 0xFE00), (0x7C01, 0x3C00),
    (0x3C00, 0xFFFF), (0xFC00, 0x7C00, 0x3C00), (0x7E00, 0xFC01, 0x7FFF),
    (0xFC00, 0x7DFF, 0x7C00),
    # Order matters in f32 too.
    (0x7BFF, 0x0001, 0xFBFF), (0x0001, 0x7BFF, 0xFBFF), (0x7BFF, 0xFBFF, 0x0001),
    (0x0001, 0x7BFF, 0xFBFF, 0x0001, 0x8003),
    (0xBC00, 0xBC01, 0xBBFF), (0x3C00, 0x3C01, 0x3BFF), (0x8001, 0x8000, 0x0000, 0x0001),
]
# `max` and `min` are those of a signed type of that width: these serve all integers.
INTEGER_COLUMNS = [
    ("max",), ("min",), ("-1",), ("max", "1"), ("min", "-1"), ("min", "min"), ("max", "max"),
    ("-1", "1"), ("max", "min"), ("0", "-1"), ("max", "1", "-1"), ("min", "max", "1", "max"),
    ("max", "max", "max", "max", "max"),
]


def integer_pattern(word, bits):
    value = {"max": (1 << (bits - 1)) - 1, "min": -(1 << (bits - 1))}.get(word)
    return (int(word) if value is None else value) % (1 << bits)


def fixed_columns(dtype):
    if dtype in INTEGER_BITS:
        bits = INTEGER_BITS[dtype]
        return [tuple(integer_pattern(word, bits) for word in column) for column in INTEGER_COLUMNS]
    return {"f32": F32_COLUMNS, "bf16": BF16_COLUMNS, "f16": F16_COLUMNS}[dtype]


def random_pattern(dtype, source):
    if dtype in INTEGER_BITS:
        return source.getrandbits(INTEGER_BITS[dtype])
    form = FORMATS[dtype]
    kind = source.randrange(16)
    if kind == 0:
        return source.getrandbits(form.bits)
    # Exponents lie close enough together that every sum has something to round, or all at the
    # bottom, where denormals meet the smallest normals.
    exponent = source.randrange(3) if kind < 4 else form.bias + source.randrange(-6, 7)
    sign = form.sign_bit if source.randrange(2) else 0
    return sign | exponent << form.fraction_bits | source.getrandbits(form.fraction_bits)


def make_columns(dtype, operand_count):
    """Every fixed column of this length, some shorter ones repeated cyclically, and random ones."""
    fixed = fixed_columns(dtype)
    source = random.Random(f"{dtype} {operand_count}")
    columns = [column for column in fixed if len(column) == operand_count]
    shorter = [column for column in fixed if 1 < len(column) < operand_count]
    for column in source.sample(shorter, min(len(shorter), RANDOM_COLUMNS[dtype])):
        columns.append(tuple(column[index % len(column)] for index in range(operand_count)))
    for _ in range(RANDOM_COLUMNS[dtype]):
        columns.append(tuple(random_pattern(dtype, source) for _ in range(operand_count)))
    return columns


def make_text():
    lines = ["# Made by scripts/tools/make_reduction_golden.py, which says how to read it."]
    for dtype in DTYPES:
        digits = (INTEGER_BITS.get(dtype) or FORMATS[dtype].bits) // 4
        for operand_count in range(1, OPERANDS_MAX + 1):
            columns = make_columns(dtype, operand_count)
            lines.append(f"case {dtype} {operand_count} {len(columns)}")
            rows = [("operand", row) for row in zip(*columns)]
            for op in ("sum", "min", "max"):
                rows.append((op, [reduce_column(dtype, op, column) for column in columns]))
            for name, row in rows:
                lines.append(" ".join([name] + [f"{pattern:0{digits}x}" for pattern in row]))
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the file, write nothing")
    arguments = parser.parse_args()
    text = make_text()
    if not arguments.check:
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_text(text, encoding="ascii")
        return 0
    if TARGET.read_text(encoding="ascii") != text:
        print(f"{TARGET} is not what this script writes; run it without --check", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
