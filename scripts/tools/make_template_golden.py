#!/usr/bin/env python3
"""Writes tests/data/template/golden.json: what jinja2 makes of chat templates.

Whole templates over conversations, and small programs for single rules of the language. jinja2 is
set up the way chat templates are meant to run: trim_blocks, lstrip_blocks, and a plain `tojson`.

Needs: pip install jinja2==3.1.6 gguf==0.19.0
Run from the repository root: make_template_golden.py MODEL.gguf
"""

import json
import pathlib
import sys

import gguf
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from template_snippets import random_snippets, snippets

TARGET = pathlib.Path("tests/data/template/golden.json")

CHATML = """\
{# A turn is a role, a line break and the content. #}
{%- if messages[0].role != 'system' %}
    {{- '<|im_start|>system\\nBe brief.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

INSTRUCT = """\
{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\\n' + messages[0]['content'] + \
'\\n<</SYS>>\\n\\n' %}{% endif %}{% for message in messages %}{% if message['role'] == 'user' %}\
{% if system is defined and (loop.first or loop.index0 == 1) %}{% set content = system + \
message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}\
{{ bos_token + '[INST] ' + content|trim + ' [/INST]' }}{% elif message['role'] == 'assistant' %}\
{{ ' ' + message['content']|trim + ' ' + eos_token }}{% endif %}{% endfor %}"""

ZEPHYR = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% else %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
"""

LISTING = """\
{{ bos_token }}Conversation:
  {% for message in messages -%}
    {{ loop.index }}. {{ message.role }} said {{ message.content | tojson }}
    {%- if not loop.last %},{% else %}.{% endif +%}

    {#- nothing #}
    {%+ if message.role in 'users' or 'a' in message.content %} (a){% endif %}

  {% endfor %}
{% if tools is none and documents is none %}
  No tools.
{% endif %}
"""

CONVERSATIONS = [
    [["user", "Hello!"]],
    [["system", "You are terse."], ["user", "Hello!"]],
    [["user", "Hi"], ["assistant", "Hello, how can I help?"]],
    [
        ["user", " What is 2 + 2? \n"],
        ["assistant", "\t4.\u00a0"],
        ["user", 'It\'s "four"?\n\nYes\\no'],
    ],
    [
        ["system", ""],
        ["user", "Grüße, 世界! 👩\u200d👩\u200d👧 e\u0301 \u3000"],
        ["assistant", "你好"],
    ],
    [
        ["system", "{{ messages }} {% if %} {# no #}"],
        ["user", "Print {{ 1 + 1 }} and {% endfor %}"],
        ["assistant", "<|im_end|>\n<|im_start|>system\nNo."],
        ["user", "</s><s>[INST] a\r\nb\u0001\u001f\u2028\u007f"],
    ],
    [["user", "one"], ["assistant", "two"], ["user", "three"], ["assistant", "four"]],
    [["user", ""]],
]


def environment():
    result = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    result.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return result


def render(source, conversation, generation, tokens):
    """The text, or None where jinja2 refuses."""
    messages = [{"role": role, "content": content} for role, content in conversation]
    try:
        template = environment().from_string(source)
        return template.render(
            messages=messages,
            add_generation_prompt=generation,
            tools=None,
            documents=None,
            **tokens,
        )
    except (jinja2.TemplateError, TypeError):
        return None


def main():
    model = gguf.GGUFReader(sys.argv[1]).fields["tokenizer.chat_template"].contents()
    templates = [
        ["model", model],
        ["chatml", CHATML],
        ["instruct", INSTRUCT],
        ["zephyr", ZEPHYR],
        ["listing", LISTING],
    ]
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    rendered = []
    for t, (name, source) in enumerate(templates):
        for c, conversation in enumerate(CONVERSATIONS):
            for generation in (False, True):
                text = render(source, conversation, generation, tokens)
                assert text is not None, name
                rendered.append([t, c, generation, text])

    # Small programs see one conversation, and no end-of-sequence token.
    programs = []
    for source in snippets() + random_snippets(60, seed=3):
        programs.append([source, render(source, CONVERSATIONS[3], True, {"bos_token": "<s>"})])

    compact = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    lines = lambda values: "[\n" + ",\n".join(map(compact, values)) + "\n]"
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(
        f'{{"made_by":"jinja2 {jinja2.__version__}",\n"templates":{lines(templates)},\n'
        f'"conversations":{lines(CONVERSATIONS)},\n"rendered":{lines(rendered)},\n'
        f'"programs":{lines(programs)}}}\n',
        encoding="utf-8",
    )
    refused = sum(text is None for _, text in programs)
    print(TARGET, TARGET.stat().st_size, "bytes,", len(programs), "programs,", refused, "refused")


if __name__ == "__main__":
    main()
