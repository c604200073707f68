"""Small programs in the language of chat templates; used by make_template_golden.py."""

import random

EXPRESSIONS = """\
'a' + 'b' + "c"
'a' 'b' "c"
1 + 2 + -4
-0
true
false
none
True
None
missing
missing.x
missing['x']
missing == other
missing == none
missing == ''
missing + 'a'
'a' + missing
'a' + none
'a' + 1
1 + 'a'
1 + true
true + true
1 == true
0 == false
1 == '1'
'a' == 'a'
'a' != 'b'
none == none
none == false
messages == messages
messages[0] == messages[0]
messages[0] == messages[1]
messages[0] != messages
messages[0].role
messages[0]['content']
messages[-1].role
messages[3]
messages[-3].role
messages[-4]
messages[3].role
messages['0']
messages[true].role
messages.role
messages[0].missing
messages[0].missing.deeper
messages[0][0]
messages[0].role[0]
messages[0].role[-1]
messages[0].role[9]
messages[0].role['x']
messages[none]
add_generation_prompt
bos_token
eos_token
bos_token is defined
eos_token is defined
eos_token is not defined
missing is defined
messages[9] is defined
messages[0].missing is defined
missing.x is defined
none is none
missing is none
0 is none
'' is not none
tools is none
not true
not not 1
not ''
not missing is defined
not 'a' == 'a'
true and false
1 and 'x'
0 and missing.x
'' or 'x'
1 or missing.x
'' or 0 or none
1 and 2 and 3
false or true and false
(false or true) and false
not false and false
not (false and false)
'a' in 'cat'
'' in ''
'x' not in 'cat'
'role' in messages[0]
'user' in messages[0]
1 in messages[0]
missing in messages[0]
messages in messages[0]
messages[0] in messages
'a' in messages
1 in messages
1 in 'a'
'a' in 1
'a' in none
'a' in missing
missing in messages
missing in 'a'
not 'a' in 'b'
'a' + 'b' in 'cab'
'a' == 'b' or 'a' in 'a'
' x ' | trim
' a ' + ' b ' | trim
(' a ' + ' b ') | trim
'\\u00a0x\\u3000' | trim
'x\\x1c' | trim
1 | trim
none | trim
missing | trim
true|trim|trim
'a"b\\\\c\\n' | tojson
'\\x00\\x1f\\x7f\\u2028\\u00e9/<>&' | tojson
1 | tojson
true | tojson
none | tojson
missing | tojson
messages | tojson
messages[1] | tojson
'x' | tojson | tojson
('x' | tojson)[0]
('abc')[1]
'abc'[1]
'\\u4e16\\u754c'[1]
'it\\'s "q"'
"it's \\"q\\""
'tab\\tnl\\ncr\\rbs\\\\'
'\\x41\\u0042'
'}}' + '{{' + '%}'
((((1))))
messages[0]["role"] + messages[1]["role"]
(messages)[1].role
'a' is defined
'a' | trim is defined
"""

PROGRAMS = """\
a
 b 
x\\n
x\\n\\n
\\n
\\r\\n a \\r b\\r\\n
{{ 'a\\r\\nb' }}
a{# comment #}b
a {#- comment -#} b
 {# comment #} \\n x
{#-#}
{# {{ }} {% #}x
a\\n  {# c #}\\n  b
a\\n  {% if true %}\\n  b\\n  {% endif %}\\n  c
a\\n  {%- if true %}\\n  b\\n  {%- endif %}\\n  c
a\\n  {% if true -%}\\n  b\\n  {% endif -%}\\n  c
a\\n  {%+ if true %}\\n  b\\n  {%+ endif %}\\n  c
a\\n  {% if true +%}\\n  b\\n  {% endif +%}\\n  c
  {% if true %}  x  {% endif %}  y
x  {% if true %}\\n{% endif %}\\n\\ny
\\t{% if true %}x{% endif %}\\n\\t{% if true %}y{% endif %}
a\\n \\u00a0{% if true %}b{% endif %}
 {{ 1 }} \\n {{ 2 }}\\n
 {{- 1 -}} \\n {{- 2 -}}\\n
{{ 1 }}\\n  {% if true %}x{% endif %}
{{ 1 }}  {% if true %}x{% endif %}
{% if true %}\\n  {% if true %}\\nx{% endif %}{% endif %}
{% if true %}{% endif %}\\n\\n  {% if true %}x{% endif %}
{{+1}}
{{-1}}
{% set x = 1 %}{{ x }}{% set x = x + 1 %}{{ x }}
{% set x = 1 %}{% for m in messages %}{{ x }}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}
{% for m in messages %}{{ x }}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}
{% for m in messages %}{% if loop.first %}{% set x = m.role %}{% endif %}{{ x }}{% endfor %}
{% if true %}{% set x = 5 %}{% endif %}{{ x }}
{% if false %}{% set x = 5 %}{% endif %}{{ x }}
{% set m = 'out' %}{% for m in messages %}{{ m.role }}{% endfor %}{{ m }}
{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }};{% endfor %}
{% for m in messages %}{% for n in messages %}{{ loop.index }}{% endfor %}{{loop.last}}{% endfor %}
{% for m in messages %}{% for n in messages %}{% if m == n %}={% endif %}{% endfor %},{% endfor %}
{% for m in missing %}x{% endfor %}y
{% for m in none %}x{% endfor %}
{% for m in missing.x %}x{% endfor %}
{% set ms = messages %}{% for m in ms %}{{ m.role[0] }}{% endfor %}
{% for messages in messages %}{{ messages.role }} {% endfor %}{{ messages[0].role }}
{% if messages %}y{% else %}n{% endif %}
{% if missing %}y{% else %}n{% endif %}
{% if 0 %}a{% elif '' %}b{% elif none %}c{% else %}d{% endif %}
{% if 0 %}a{% elif 1 %}b{% elif 1 %}c{% else %}d{% endif %}
{% if 0 %}a{% elif 0 %}b{% endif %}.
{% if missing.x %}a{% endif %}
{% if false %}{{ missing.x }}{% endif %}ok
{% if true %}{% if false %}a{% else %}b{% endif %}{% else %}c{% endif %}
{%if true%}a{%endif%}
{%-if true-%} a {%-endif-%} b
{{'a'}}{{"b"}}{{1}}
{{ 'a' }}}
{ { % } # } {
{{ '{{' }} }} %} #}
{% set a = 'x' + 'y' %}{% set b = a + a %}{{ b + b }}
{% set a = messages[0] %}{{ a.role }}{{ a['role'] }}
{% set set = 1 %}{{ set }}{% set for = 2 %}{{ for }}
{{ 'ünï' + '世' }}世
{% set true = 1 %}
{% for m in messages %}{{ m.content | trim }}|{% endfor %}
"""


def snippets():
    """Each program once. In PROGRAMS \\n, \\r, \\t and \\u00a0 stand for those characters."""
    programs = ["{{ " + line + " }}" for line in EXPRESSIONS.split("\n") if line]
    programs += ['{{ "multi\nline" }}', '{{ "multi\r\nline" }}']
    programs += [line_breaks(line) for line in PROGRAMS.split("\n")]
    return list(dict.fromkeys(programs))


def line_breaks(line):
    for name, character in (("n", "\n"), ("r", "\r"), ("t", "\t"), ("u00a0", "\u00a0")):
        line = line.replace("\\" + name, character)
    return line


def random_snippets(count, seed):
    """Tags with every kind of white space around and every sign."""
    chance = random.Random(seed)
    spaces = [
        "",
        "",
        " ",
        "  ",
        "\n",
        "\n\n",
        " \n",
        "\n ",
        "\n  \n  ",
        "\t",
        "x",
        "\r\n",
        " \u00a0",
    ]
    space = lambda: chance.choice(spaces)
    begin = lambda: chance.choice(["", "", "-", "+"])
    tag = lambda body: "{%" + begin() + " " + body + " " + begin() + "%}"

    def piece(depth):
        kind = chance.randrange(5)
        if kind == 0:
            return "{{" + chance.choice(["", "-"]) + " 'v' " + chance.choice(["", "-"]) + "}}"
        if kind == 1:
            return "{#" + begin() + " c " + begin() + "#}"
        if kind == 2 or depth == 0:
            return tag("set y = 1")
        if kind == 3:
            return tag("if true") + pieces(depth - 1) + tag("endif")
        return tag("for m in messages") + pieces(depth - 1) + tag("endfor")

    def pieces(depth):
        return space() + "".join(piece(depth) + space() for _ in range(chance.randint(1, 3)))

    return [pieces(2) for _ in range(count)]
