"""Texts that a tokeniser may cut wrongly; used by make_tokenizer_golden.py."""

import random


def lines(block):
    """One text per line, in which these two marks stand for a line break and a tab."""
    return [line.replace("↵", "\n").replace("⇥", "\t") for line in block.split("\n") if line]


PROSE = lines("""\
The quick brown fox jumps over the lazy dog.
Symmetric memory: one offset, every rank.
I'm sure they'll say we've lost; he'd know it's Anna's, isn't it? You're right.
I'M SURE THEY'LL SAY WE'VE LOST; HE'D KNOW IT'S
'tis 'twas rock'n'roll o'clock 's 't 're 've 'm 'll 'd
don''t ''s 's's 'stop 'red 'dare it''s '
“It’s typographic”, she said — ‘really’…
Ça alors, où est le garçon naïf d'Éloïse ? L'été, c'est l'aube.
Größe, Straße, Übermut, Äpfel und Öl, weißes Maß
Zażółć gęślą jaźń. Příliš žluťoučký kůň. Árvíztűrő tükörfúrógép
İstanbul'da ılık ışık; ğ ş ç
Tiếng Việt có nhiều dấu thanh
Καλημέρα κόσμε, τι κάνεις; Ἀρχιμήδης ὁ Συρακούσιος
Съешь же ещё этих мягких французских булок, да выпей чаю
Україна має свій ґанок і їжака
שלום עולם, מה שלומך? בְּרֵאשִׁית בָּרָא
مرحبا بالعالم، كيف حالك؟ السَّلامُ عَلَيْكُم
نوشته‌های فارسی با نیم‌فاصله
नमस्ते दुनिया, आप कैसे हैं? क्षत्रिय ज्ञान
বাংলা ভাষা সুন্দর தமிழ் மொழி తెలుగు ಕನ್ನಡ മലയാളം
สวัสดีชาวโลก ภาษาไทยไม่มีช่องว่าง
ភាសាខ្មែរ ພາສາລາວ မြန်မာဘာသာ བོད་སྐད།
你好，世界！今天天气怎么样？我们去公园吧。
繁體中文與简体中文 混排 text 和 English
吾輩は猫である。名前はまだ無い。カタカナ、ひらがな、ﾊﾝｶｸ
안녕하세요 세계! 한국어 형태소 각각
አማርኛ ქართული Հայերեն ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ
𝕳𝖊𝖑𝖑𝖔 𝒲𝑜𝓇𝓁𝒹 ℝ ∀x∈ℕ: x²≥0 ⇒ ∑₀ⁿ
𐌰𐌱𐌲 𓀀𓂀 𒀀𒁀 𐐷𐑊 𠀀𠀁 𪚥 𰀀 𱍐
😀 😃😄 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇳🇪🇺 ❤️‍🔥 1️⃣ #️⃣ ☕️ ☕︎
e\u0301 vs \u00e9, n\u0303o, a\u0301\u0302\u0303\u0304, \u0301lone, \u1100\u1161\u11a8 vs \uac01
Zalgo: H\u0350\u0363e\u0316\u0327l\u0334\u0322l\u0335o\u0336
ﬁligature ﬀ ½ ¾ ⅷ Ⅻ ① ⑳ ㊿ 〡 一二三
0 1 12 123 1234 12345 3.14159 1,000,000 1e-9 0xDEADBEEF 2024-05-17T12:34:56Z
٠١٢٣ ०१२३ ০১২ ๐๑๒ ０１２ 𝟎𝟏𝟐 ¹²³ ₁₂ 𐒠𐒡 𑇚 Ⅳ2 x1y2z3
abc123def 12ab 7th 1st 100% $5.00 €20 ¥300 #42 no.7
 1  2   3⇥4↵5 a1 b 2c
https://example.org/path?q=1&lang=en#frag user@example.com ftp://a.b/c%20d
C:\\Users\\me\\file.txt /usr/local/bin ~/.config ../a/./b
foo_bar fooBar FooBar FOO_BAR foo-bar __init__ $HOME @decorator
for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }
def f(x, *args, **kw):↵    return {k: v for k, v in kw.items()}↵
    if (p != nullptr && p->next)↵⇥⇥return *p;↵
<div class="a">x &amp; y</div><!-- comment -->
SELECT * FROM t WHERE a >= 10 AND b IS NOT NULL;
{"key": [1, 2.5, null, true], "s": "\\u00e9\\n"}
\\begin{equation} E = mc^2 \\end{equation}
| a | b |↵|---|---|↵| 1 | 2 |↵
- item↵  - nested↵    - deep↵↵↵# Title↵↵```py↵x = 1↵```↵
!!! ??? ... --- === *** ~~~ ``` ''' \"\"\" ((( ]]] {{{ <<< >>>
!a !1 ! a ?b.c,d;e:f a!b a! b
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
hahahahahahahahahaha nanananananana abababababab
Donaudampfschifffahrtsgesellschaftskapitän pneumonoultramicroscopicsilicovolcanoconiosis
""")

SPECIALS = lines("""\
<|im_start|>user↵Hello<|im_end|>↵<|im_start|>assistant↵
<|endoftext|>
<|endoftext|><|endoftext|>
a<|im_end|>b
a <|im_end|> b
<|im_end|>  <|im_end|>↵<|im_end|>
<|im_end<|im_end|>|>
<|im_start|<|im_start
<|IM_START|> <| im_start |>
<repo_name>x<reponame>y<file_sep>z<filename>
<gh_stars>100<issue_start><issue_comment>it's<issue_closed>
<jupyter_start><jupyter_text><jupyter_code><jupyter_output><jupyter_script><empty_output>
1<|im_end|>2 <|im_end|>3
é<|im_end|>́ 世<|im_end|>界
<<|im_end|>> <<<|im_start|>
  <|im_start|>'s<|im_end|>'s
""")

SPACES = [
    " ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\v",
    "\f",
    "\u0085",
    "\u00a0",
    "\u1680",
    "\u2000",
    "\u2003",
    "\u2009",
    "\u200a",
    "\u2028",
    "\u2029",
    "\u202f",
    "\u205f",
    "\u3000",
]
# Look like spaces, or act on text, and are none.
NOT_SPACES = [
    "\u200b",
    "\u200c",
    "\u200d",
    "\u200e",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u180e",
    "\u034f",
]
# Assigned in recent versions of Unicode: where libraries differ.
RECENT = [
    "\u1c89",
    "\ua7da",
    "\U000105c0",
    "\U00010d40",
    "\U00011de0",
    "\U00011f50",
    "\U00016d70",
    "\U00016ff4",
    "\U0001ccf0",
    "\U0001e4f0",
    "\U0001fae8",
    "\U0001f6dc",
    "\U00031350",
    "\U0002ebf0",
    "\U00011f02",
]
EDGES = [
    "\u0000",
    "\u007f",
    "\u0080",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000",
    "\ufffd",
    "\uffff",
    "\U00010000",
    "\U000e0001",
    "\U000f0000",
    "\U0010ffff",
]


def space_cases():
    cases = []
    for space in SPACES + NOT_SPACES:
        cases += [
            space,
            f"a{space}b",
            f"{space}{space}x {space}y{space} z{space}",
            f"1{space}{space}2{space}",
        ]
    for count in (2, 3, 4, 7, 8, 15, 16, 17, 33):
        cases += [
            " " * count,
            " " * count + "x",
            "x" + "\n" * count,
            "\t" * count + "1",
            "." + " " * count,
        ]
    cases += [
        "a \n b",
        "a\n \nb",
        "a \r\n\r\n b",
        "\n\n  \n x",
        " \t \t.",
        "x \u00a0y",
        "x\u00a0 y",
        "x\u3000 1",
    ]
    return cases


def control_cases():
    cases = [chr(code) for code in range(1, 32) if chr(code) not in "\t\n\r\v\f"]
    # Bytes that a vocabulary may lack, with neighbours that could merge once they are gone.
    cases += [
        "th\x04e",
        "a\x06b\x13c",
        "\x04",
        " \x04 ",
        "i\x14n\x16g",
        "\U00041111",
        "\U00081234x",
        "x\x1d\x1dy",
    ]
    cases += ["a\x00b", "\x1b[31mred\x1b[0m", "bell\x07", "del\x7f", "\x85\x9f"]
    return cases


def random_cases(count, seed):
    chance = random.Random(seed)
    pools = [
        list("etaoin shrdlu"),
        list("abcXYZ019 _-.,'\"<>|\n\t"),
        list(" \n\t\r\u00a0\u3000x1."),
        list("'sStTrReEvVmMlLdD "),
        list("éüñçßøåЖщяאבגعربनमสวัน世界日本한국😀👍🏽\u200d\u0301"),
        ["<|im_start|>", "<|im_end|>", "<|", "|>", "<", "im_", " ", "\n", "a", "1"],
        SPACES + NOT_SPACES + ["a", "1", "."],
    ]
    cases = []
    for i in range(count):
        pool = pools[i % len(pools)]
        cases.append("".join(chance.choice(pool) for _ in range(chance.randint(1, 24))))
    for _ in range(count // 4):
        codes = [
            chance.choice(
                [
                    chance.randrange(0x20, 0x3000),
                    chance.randrange(0xE000, 0x30000),
                    chance.randrange(0x3000, 0xD800),
                ]
            )
            for _ in range(chance.randint(1, 8))
        ]
        cases.append("".join(map(chr, codes)))
    return cases


def corpus():
    """All texts, each once, in a fixed order."""
    texts = [""] + PROSE + SPECIALS
    texts += space_cases() + control_cases()
    for mark in RECENT + EDGES:
        texts += [mark, f"a{mark}{mark}b 1{mark} {mark}."]
    texts += random_cases(140, seed=7)
    texts.append(" ".join(PROSE[:8]))
    return list(dict.fromkeys(texts))
