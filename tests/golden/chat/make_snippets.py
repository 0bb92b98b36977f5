"""Writes snippets.jsonl: small templates and what Hugging Face's Jinja makes of them.

    pip install transformers jinja2
    python make_snippets.py > snippets.jsonl

Each row: template, variables (the further ones, beside `messages`), and rendered
or error (the exception's type: its words differ between Python versions).
"""

import datetime
import json

import transformers.utils.chat_template_utils as chat_template_utils


class FixedDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime(2026, 7, 26, 9, 5, 3)


chat_template_utils.datetime = FixedDatetime

MESSAGES = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]

VARIABLES = {
    "text": "  Grüße, Welt! 😀\n",
    "word": "hello world",
    "number": 7,
    "real": 2.5,
    "yes": True,
    "nothing": None,
    "items": [3, 1, 2],
    "words": ["b", "A", "c", "B"],
    "nested": {"a": {"b": [10, {"c": "deep"}]}, "items": "an item", "é": 1},
    "people": [
        {"name": "Bo", "age": 30, "tags": ["x"]},
        {"name": "al", "age": 25, "city": None},
        {"name": "Cy", "age": 30},
    ],
}

EXPRESSIONS = r"""
1 + 2 * 3 - 4 // 3 % 2
-7 // 2
-7 % 3
7 % -3
7.5 // 2
-7.5 % 2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
1 / 4
10 / 2
0.1 + 0.2
1e16
1.5e300 * 1e10
1e22
123456789012345678.0
0.0001
0.00001
-0.0
3.0
100000000000000000000.0
1_000
True + True
yes + 1
1 == 1.0
true == 1
'1' == 1
[1, 2] == [1, 2]
(1, 2) == [1, 2]
{'a': 1} == {'a': 1.0}
none == none
none is none
missing == none
missing == also_missing
1 < 2 < 3
1 < 3 < 2
'a' < 'b'
'Z' < 'a'
[1, 2] < [1, 3]
1 < 'a'
none < 1
1 != 2
'ell' in 'hello'
'x' in 'hello'
'' in 'hello'
1 in items
4 not in items
'a' in nested
'b' in nested
'a' in missing
1 in 5
none in [none]
1 in 'abc'
not true
not ''
not missing
true and 'x'
'' and 'x'
'' or 'y'
none or missing or 0
1 if true else 2
1 if false
(1 if false else 2) + 1
'a' if false else 'b' if false else 'c'
'a' ~ 1 ~ none ~ true ~ 2.0 ~ missing ~ [1]
'a' 'b' 'c'
'a' + 'b' * 3
3 * 'ab'
'ab' * 0
'ab' * -1
[1] * 3
[1] + [2]
[1] + (2,)
(1,) + (2,)
'a' + 1
1 + 'a'
1 + none
'a' + none
'a' + missing
missing + 'a'
{} + {}
[] + 'a'
1 - 'a'
-'a'
-true
1 / 0
1 // 0
1 % 0
1.0 / 0
[1, 'a', none, true, 2.5, {'k': 'v'}, ('x',), (), missing]
{'a': 1, 'b': [1, 2], 3: 'c', none: 1, true: 2}
{'a': 1, 'a': 2}
[[], {}, '', ()]
(1)
(1,)
1, 2
"it's"
["it's", 'say "x"', 'both \' and "']
['tab\t', 'nl\n', 'nul\x00', 'é', '\u200b', '😀', '\x7f', 'a\\b']
'\u00e9\x41\101\n\\n\q'
"\U0001F600"
'a\
b'
items[0]
items[-1]
items[5]
items[-5]
items['a']
items[1.0]
items[true]
items[missing]
items[1:]
items[:-1]
items[::-1]
items[::2]
items[2:0:-1]
items[-100:100]
items[100:]
items[5:1]
items[none:2]
items['a':]
items[::0]
(1, 2, 3)[1:]
word[0]
word[-1]
word[100]
word[-100]
word[1:4]
word[::-1]
word[-5:]
word[:-6:-1]
word[::3]
text[2:8]
text[-3]
text[-4:]
nested.a
nested.a.b[1].c
nested['a']['b'][0]
nested.a.b.0
nested.a.b.1.c
nested.missing
nested.missing.deeper
nested['missing']['deeper']
nested.items
nested.items is callable
nested['items']
nested['é']
none.x
none['x']
none.x.y
number.x
word.x
word.upper
words.append
words.append('x')
nested.update({'x': 1})
nested.pop('a')
missing.x
missing['x']
missing()
missing.x is defined
number()
'a'()
nested.get('a')
nested.get('zz')
nested.get('zz', 'fallback')
nested.keys() | list
nested.values() | list
'a b  c '.rstrip().split(none, 1)
missing | float
missing | abs
missing | round
nested.items() | list
nested.a.items() | first
word.strip()
text.strip()
text.lstrip()
text.rstrip()
'xxaxx'.strip('x')
'xyaxy'.lstrip('yx')
'xyaxy'.rstrip('yx')
'aéé'.rstrip('é')
'a\x1c'.strip()
'\u3000a\u00a0'.strip()
'a'.strip(none)
'a'.strip(1)
'a,b,,c'.split(',')
'a,b,,c'.split(',', 1)
'a,b'.split(',', 0)
'a b  c '.split()
'a b  c '.split(none, 1)
' '.split()
''.split()
''.split(',')
'a'.split('')
'aXXbXX'.split('XX')
'aaa'.split('aa')
'a\nb\r\nc\rd\x0be\u2028f'.splitlines()
'a\n\n'.splitlines()
'hello'.startswith('he')
'hello'.startswith(('x', 'h'))
'hello'.endswith('lo')
'hello'.endswith(('x', 'o'))
'hello'.endswith([])
'hello'.startswith('')
'hello'.removeprefix('he')
'hello'.removesuffix('lo')
'hello'.removesuffix('x')
'hello'.upper()
'HeLLo'.lower()
'hello wORLD it\'s'.title()
'hELLO'.capitalize()
'éa'.capitalize()
'a-b-c'.replace('-', '+')
'a-b-c'.replace('-', '+', 1)
'abc'.replace('', '-')
'aaa'.replace('aa', 'b')
'a'.replace('a')
', '.join(['a', 'b'])
', '.join([1])
''.join([])
'hello'.find('l')
'hello'.find('z')
'grüße'.find('e')
'hello'.count('l')
'aaa'.count('aa')
'abc'.count('')
'{} and {}'.format(1, 'two')
'{0} {1} {0}'.format('a', 'b')
'{x}'.format(x=3)
'{{}}'.format()
text | trim
'xxaxx' | trim('x')
5 | trim
missing | trim
none | trim
word | upper
'ABC' | lower
'hello wORLD (it) <b> a-b' | title
'hELLO wORLD' | capitalize
word | replace('l', 'L')
word | replace('l', 'L', 2)
12321 | replace(2, 'x')
[1] | replace('1', '2')
word | length
text | length
items | length
nested | count
missing | length
5 | length
none | length
items | first
items | last
[] | first
[] | last
'abc' | first
'abc' | last
nested | first
missing | first
items | join
items | join(', ')
items | join(1)
people | join(', ', attribute='name')
missing | join(',')
'abc' | join('-')
[1, [2], none] | join('|')
items | list
'aé😀' | list
nested | list
missing | list
5 | list
none | list
items | reverse | list
'abc' | reverse
items | sort
items | sort(reverse=true)
words | sort
words | sort(case_sensitive=true)
people | sort(attribute='age') | map(attribute='name') | list
[1, 'a'] | sort
words | unique | list
words | unique(case_sensitive=true) | list
[1, 1.0, true, 2] | unique | list
people | unique(attribute='age') | map(attribute='name') | list
nested.a | dictsort
{'b': 1, 'A': 2, 'c': 0} | dictsort
{'b': 1, 'A': 2, 'c': 0} | dictsort(true)
{'b': 1, 'A': 2, 'c': 0} | dictsort(by='value')
{'b': 1, 'A': 2, 'c': 0} | dictsort(reverse=true)
{'b': 1} | items | list
missing | items | list
5 | items | list
people | map(attribute='name') | list
people | map(attribute='city') | list
people | map(attribute='city', default='?') | list
people | map(attribute='tags.0') | list
words | map('upper') | list
words | map('replace', 'b', 'x') | list
none | map('upper') | list
words | map('nonesuch') | list
people | selectattr('city') | list
people | selectattr('city', 'defined') | map(attribute='name') | list
people | selectattr('age', 'equalto', 30) | map(attribute='name') | list
people | selectattr('age', '==', 30) | list | length
people | rejectattr('age', 'equalto', 30) | map(attribute='name') | list
people | rejectattr('age', 'gt', 26) | list | length
items | select('odd') | list
items | select('gt', 1) | list
items | reject('in', [1, 2]) | list
[0, 1, ''] | select | list
[0, 1, ''] | reject | list
none | select | list
items | select('nonesuch') | list
items | min
items | max
words | min
[] | max
people | max(attribute='age')
items | sum
people | sum(attribute='age')
[] | sum
items | sum(start=10)
missing | default('d')
none | default('d')
none | default('d', true)
'' | default('d', boolean=true)
'' | default('d')
missing | default
missing | d(1)
0 | default(5, true)
'42' | int
'4.7' | int
'x' | int
'x' | int(9)
' 7 ' | int
4.9 | int
-4.9 | int
true | int
none | int
missing | int
'1e3' | int
'4.5' | float
'x' | float
3 | float
'x' | float(1.5)
-3 | abs
-2.5 | abs
2.5 | round
3.5 | round
2.567 | round(2)
2.567 | round(1, 'floor')
2.511 | round(1, 'ceil')
7 | round
1 | string
1.0 | string
none | string
missing | string
[1, 'a'] | string
word | safe
'a\nb\n\nc' | indent
'a\nb\n\nc' | indent(2)
'a\nb\n\nc' | indent(2, true)
'a\nb\n\nc' | indent(2, first=true, blank=true)
'a\nb\n' | indent('> ')
'' | indent
'a' | attr('upper') is callable
nested | attr('a')
word | nonesuch
nested | tojson
people | tojson
text | tojson
'<b>&\'"\\/\u2028\x00\x1f\x7f' | tojson
[1, 2.0, none, true, 'é', [], {}, {'a': []}] | tojson
1e100 | tojson
missing | tojson
{1: 'a', none: 2, true: 3, 2.5: 4} | tojson
nested | tojson(indent=2)
nested | tojson(indent=0)
[] | tojson(indent=2)
[1, [2, {}]] | tojson(indent=4)
nested | tojson(indent='\t')
'é😀' | tojson(ensure_ascii=true)
{'b': 1, 'a': 2} | tojson(sort_keys=true)
{'b': [1, 2]} | tojson(separators=(',', ':'))
{'b': [1, 2]} | tojson(indent=2, separators=(', ', ' : '))
{'b': 1} | tojson(4)
number is defined
missing is defined
missing is not defined
missing is undefined
none is none
nothing is none
yes is true
yes is false
1 is true
yes is boolean
1 is boolean
1 is integer
true is integer
1.0 is float
1.0 is number
true is number
'1' is number
word is string
1 is string
nested is mapping
items is mapping
items is sequence
word is sequence
nested is sequence
5 is sequence
none is sequence
missing is sequence
items is iterable
nested is iterable
5 is iterable
none is iterable
missing is iterable
namespace is callable
word is callable
3 is odd
4 is even
4 is odd
9 is divisibleby 3
9 is divisibleby(2)
'abc' is lower
'ABC' is upper
'Abc' is upper
'1' is upper
3 is eq 3
3 is equalto(3)
3 is ne 4
3 is lt 4
3 is ge(4)
3 is in items
3 is not in items
'a' is in 'abc'
3 is sameas 3
1 is sameas true
3 is nonesuch
3 is not odd and true
not 3 is odd
1 is defined is true
range(3) | list
range(1, 4) | list
range(5, 0, -2) | list
range(0) | list
range(3)[1]
range(3) | length
range('a')
range(1.5)
range(1, 2, 0)
range(100001)
dict(a=1, b='x')
dict(a=1).a
namespace(a=1).a
namespace(a=1).b
namespace({'x': 2}).x
strftime_now('%d %b %Y')
strftime_now('%Y-%m-%dT%H:%M:%S %A %B %j')
strftime_now
raise_exception('No ' ~ word)
messages[0].role
messages | length
messages[-1]['content']
messages[::-1][0].content
loop
caller
1 +
(1
[1
'abc
1 ** ** 2
a b
1 if
{'a'}
{'a': }
foo(a=1, 2)
foo(*args)
1 is
1 |
items[
items[1:2:3:4]
a.
$
9223372036854775807
-9223372036854775807 - 1
9223372036854775807 - 1
(9223372036854775807 - 1) // -1
text | trim | length
not not true
- - 1
+1
'a' if yes
(items | first) ~ (items | last)
[x for x in items]
nested.a.b[1]['c'][0]
'%s' | string
""".strip("\n").split("\n")

TEMPLATES = [
    "plain",
    "",
    "\n",
    "a\n",
    "a\n\n",
    "a\r\nb\rc\r\n",
    "{{ 1 }}\n",
    "{{ 1 }}\nx",
    "{% if true %}\nx\n{% endif %}\ny",
    "  {% if true %}\n  x\n  {% endif %}\n  y",
    "a {% if true %} b {% endif %} c",
    "a {%- if true -%} b {%- endif -%} c",
    "a\n\n {%- if true %}\n\n b {% endif -%}\n\n c",
    "a {%+ if true %} b {%+ endif %} c",
    "  {%+ if true +%}\n x{% endif %}",
    " {{ 1 }} ",
    " {{- 1 -}} x",
    "a\n{{- 1 -}}\nb",
    "{# note #}x",
    "a {# note #} b",
    "a\n  {# note #}\nb",
    "a {#- note -#} b",
    "{# a {{ 1 }} {% if %} #}b",
    "{#\n\n#}\n\nb",
    "x {# open",
    "{##}{#-#}y",
    "{% raw %}{{ x }} {% if %}{% endraw %}",
    "{%- raw -%} {{ x }} {%- endraw -%} y",
    "  {% raw %}\n a\n  {% endraw %}\nb",
    "{% raw %}open",
    "{% if x %}open",
    "{{ 1 }",
    "{{ 1 ",
    "{% endif %}",
    "{% else %}",
    "{% nonesuch %}",
    "{% if true %}a{% elif true %}b{% else %}c{% endif %}",
    "{% if false %}a{% elif true %}b{% else %}c{% endif %}",
    "{% if false %}a{% elif false %}b{% else %}c{% endif %}",
    "{% if items and not nothing %}a{% endif %}",
    "{% for i in items %}{{ i }},{% endfor %}",
    "{% for i in [] %}x{% else %}empty{% endfor %}",
    "{% for i in missing %}x{% else %}empty{% endfor %}",
    "{% for i in nothing %}x{% endfor %}",
    "{% for i in 5 %}x{% endfor %}",
    "{% for c in 'aé😀' %}[{{ c }}]{% endfor %}",
    "{% for k in nested %}{{ k }} {% endfor %}",
    "{% for k, v in nested.a.items() %}{{ k }}={{ v }}{% endfor %}",
    "{% for k, v in nested | dictsort %}{{ k }} {% endfor %}",
    "{% for (a, b) in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}x{% endfor %}",
    "{% for a, b in [1] %}x{% endfor %}",
    "{% for x in 1, 2 %}{{ x }}{% endfor %}",
    "{% for x in (1, 2) if x > 1 %}{{ x }}{{ loop.length }}{% endfor %}",
    "{% for i in items if i > 1 %}{{ loop.index }}:{{ i }} {% else %}none{% endfor %}",
    "{% for i in items if i > 9 %}x{% else %}none{% endfor %}",
    "{% for i in items %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for i in items %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}",
    "{% for i in items %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for i in items %}{{ loop.nonesuch }}{% endfor %}",
    "{% for i in items %}{% set outer = loop %}{% for j in [1] %}{{ outer.index }}{{ loop.depth }}{% endfor %}{% endfor %}",
    "{% for i in items %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in items %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% else %}none{% endfor %}",
    "{% for i in [1,2] %}{% for j in [1,2,3] %}{% if j == 2 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% break %}",
    "{% set x = 1 %}{{ x }}",
    "{% set x, y = 1, 2 %}{{ y }}{{ x }}",
    "{% set x = 1, 2 %}{{ x }}",
    "{% set x, y = [1] %}",
    "{% set x = 1 %}{% for i in [1] %}{{ x }}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}",
    "{% for i in [1, 2] %}{% if y is defined %}again{% endif %}{% set y = 1 %}{% endfor %}",
    "{% if true %}{% set z = 1 %}{% endif %}{{ z }}",
    "{% for i in [1] %}{% endfor %}{{ i }}",
    "{% set ns = namespace(n=0) %}{% for i in items %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "{% set ns = namespace() %}{% set ns.x = 1 %}{{ ns.x }}{{ ns.y }}",
    "{% set ns = namespace() %}{{ ns.y.z }}",
    "{% set ns = namespace(a=1) %}{{ ns['a'] }}",
    "{% set nested.x = 1 %}",
    "{% set unset.x = 1 %}",
    "{% set x %}a{{ 1 }}b{% endset %}[{{ x }}]",
    "{% set x | upper | trim %} a{{ 1 }}b {% endset %}[{{ x }}]",
    "{% set x %}{% set y = 1 %}{% endset %}{{ y }}",
    "{% set ns = namespace() %}{% set ns.x %}block{% endset %}{{ ns.x }}",
    "{% set items = items[1:] %}{{ items }}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=4, a=5) }} {{ m() }}",
    "{% macro m(a, b=2) %}{% endmacro %}{{ m(1, 2, 3) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(c=1) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, a=1) }}",
    "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(1) }}",
    "{% macro m() %}{{ word }}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}",
    "{% macro m() %}{% set y = 1 %}{{ y }}{% endmacro %}{{ m() }}{{ y }}",
    "{% macro m() %}  {{ 1 }}\n{% endmacro %}[{{ m() | trim }}]",
    "{% macro m(n) %}{{ n }}{% if n > 0 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(5) }}",
    "{% macro m(xs) %}{% for x in xs %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}{% endmacro %}{{ m(items) }}",
    "{% macro m(message) %}{{ message.role }}{% endmacro %}{% for message in messages %}{{ m(message) }} {% endfor %}",
    "{% if true %}{% macro m() %}in if{% endmacro %}{% endif %}{{ m() }}",
    "{% filter upper %}a{{ word }}{% endfilter %}",
    "{% filter upper | replace('A', 'x') %}a{{ word }}{% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "{% generation %}said{% endgeneration %}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}\n{% endfor %}",
    "{{ raise_exception('Stop') }}",
    "{% if false %}{{ word | nonesuch }}{% endif %}fine",
    "{{ '}}' }}{{ '%}' }}{{ {'a': {'b': 1}} }}",
    "{{'a'}}{{\"b\"}}",
    "{{ 'multi\nline' }}",
    "{%set x=1%}{{x}}",
    "{%- set x = 1 -%}\n\n{{- x }}",
    "{{ ((((((((((1)))))))))) }}",
    "{{ [[[[[[[[[[1]]]]]]]]]] }}",
    "{% for m in messages -%}\n<|{{ m['role'] }}|>{{ '\\n' }}\n{%- endfor %}",
    "é{{ 'ü' }}😀",
    "{ { } } % {% if 1 %}#{% endif %}",
    "{{ messages }}",
    "{{ tools }}{{ documents }}{{ add_generation_prompt }}",
    "{{ bos_token }}{{ eos_token }}{{ pad_token }}",
]


def main():
    templates = ["{{ " + e + " }}" for e in EXPRESSIONS] + TEMPLATES
    for template in templates:
        row = {"template": template}
        try:
            compiled = chat_template_utils._compile_jinja_template(template)
            row["rendered"] = compiled.render(
                messages=MESSAGES, tools=None, documents=None, add_generation_prompt=True,
                bos_token="<s>", eos_token="</s>", **VARIABLES)
            if " at 0x" in row["rendered"]:  # an address in memory
                continue
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(row))
    print(json.dumps({"variables": VARIABLES, "messages": MESSAGES}))


if __name__ == "__main__":
    main()
