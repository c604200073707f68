"""The prompts of make_golden_logits.py."""

# Every position of these is compared, so they are short: 20 to 80 tokens each.
LOGIT_PROMPTS = {
    "plain": (
        "The lighthouse keeper climbed the stairs every evening at dusk, trimmed the wick and "
        "waited for the first ship. In forty years he had missed a single night, and nobody ever"
    ),
    "unicode": "Zürich, naïve café, Ελλάδα, Привет мир, 日本語の文章, مرحبا, ½ × π ≈ 1.57 — 🙂👍🏽!",
    "code": (
        "def gcd(a: int, b: int) -> int:\n    while b != 0:\n        a, b = b, a % b\n"
        "    return a\n\n\nassert gcd(12, 18) =="
    ),
    "numbers": "1999, 2000, 2001, 2002; 3 + 4 = 7, 12 * 12 = 144, 1024 / 4 = 256, 99 - 1 =",
    "chat": (
        "<|im_start|>system\nYou answer in one sentence.<|im_end|>\n<|im_start|>user\n"
        "Why is the sky blue?<|im_end|>\n<|im_start|>assistant\n"
    ),
}

_SUBJECTS = [
    "The baker", "A young fisherman", "The clock on the tower", "My neighbour's cat",
    "The old railway", "Every spring the river", "A letter from abroad", "The school teacher",
    "The wind from the north", "A travelling musician", "The miller's daughter", "The harbour",
]  # fmt: skip
_DEEDS = [
    "was known in the whole valley for its patience", "had seen better days, but did not complain",
    "came back each year when the first snow fell", "carried news that nobody wanted to hear",
    "kept a secret which only the oldest remembered", "never stopped before the work was done",
    "was late again, and the children laughed about it", "made people forget what they came for",
    "looked different in the light of the morning", "belonged to the town as much as the bridge",
    "could be heard from one end of the village to the other",
]  # fmt: skip
_ENDINGS = [
    "so the council wrote it down", "and in the end it rained", "as the mayor likes to say",
    "though no one could prove it", "which was reason enough to stay", "or so the story goes",
    "until the lamps were lit", "and that was that", "because the road was long",
    "while the soup grew cold", "just like the year before", "and the bell rang twice",
    "for reasons of its own",
]  # fmt: skip


def long_text(sentence_count):
    """A text that goes on without repeating a sentence, for prompts of many tokens."""
    sentences = []
    for index in range(sentence_count):
        subject = _SUBJECTS[index % len(_SUBJECTS)]
        deed = _DEEDS[index * 3 % len(_DEEDS)]
        ending = _ENDINGS[index * 5 % len(_ENDINGS)]
        sentences.append(f"{subject} {deed}, {ending}.")
    return " ".join(sentences)


# These, and one of long_text, are continued greedily. None may come near a tie: see MARGIN_MIN.
GREEDY_PROMPTS = {
    "short": "Once upon a time",
    "single": "Water",
    "paragraph": LOGIT_PROMPTS["plain"],
    "unicode": "La ville de Zürich est située au bord d'un lac. Η Ελλάδα είναι μια χώρα της",
    "code": (
        "#include <stdio.h>\n\n/* Prints the first n Fibonacci numbers. */\n"
        "void print_fibonacci(int n) {\n  int a = 0, b = 1;\n  for (int i = 0; i < n; i++) {\n"
    ),
    "chat": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "What is the capital of France, and what is it known for?<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "list": "Three reasons to learn a second language:\n1.",
}
