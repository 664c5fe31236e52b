#!/usr/bin/env python3
r"""Chat templates and what jinja2 renders them to, set up as transformers does.

Settings: ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, the loop
controls extension, tojson without HTML escaping (ensure_ascii=False), the
functions raise_exception and strftime_now, and a {% generation %} block that
renders its body as it is.  Each rendering is compared with that of
transformers' own render function.

Each case: name, template, bos_token, eos_token, messages,
add_generation_prompt, and optionally "tools", "documents" and "extra" (an object
of further variables).  "tools" and "documents" are defined as none where a case has none.
It expects either "expected" (the text) or "expected_error": for an error
raised by raise_exception "kind" is "raise_exception" and "message" its text,
for all others "kind" is jinja2's or Python's class of error (only that there
is an error counts).  strftime_now takes the time in "now" at the file's top.

The template "smollm2" is read from the GGUF.  "llama3", "llama3.1", "mistral",
"chatml" and "chatml_tools" are written for this file: they produce these
models' prompt formats with the constructs that the published templates use,
but they are not copies of these.

Made with: jinja2 3.1.6, transformers 5.23.0, gguf 0.19.0.
Usage: chat_templates.py MODEL.gguf --out golden/chat_templates.json
"""
import argparse
import copy
import datetime
import json

import jinja2
import jinja2.ext
from gguf import GGUFReader
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers.utils import chat_template_utils

NOW = datetime.datetime(2025, 3, 9, 14, 5, 7)

LLAMA3 = (
    "{% set ns = namespace(first=true) %}{% for m in messages %}"
    "{% set text = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n'"
    " + m['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set text = bos_token + text %}{% endif %}"
    "{{ text }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")

LLAMA31 = r'''{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- set tools_with_user = tools_in_user_message | default(true) %}
{%- if date_string is not defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}

{#- A system message at the start is taken out; it goes into the header. #}
{%- set sys = "" %}
{%- set rest = messages %}
{%- if messages and messages[0]['role'] == 'system' %}
    {%- set sys = messages[0]['content'] | trim %}
    {%- set rest = messages[1:] %}
{%- endif %}

{%- macro describe(list) %}
    {%- for t in list %}
        {{- t | tojson(indent=4) }}
        {{- "\n\n" }}
    {%- endfor %}
{%- endmacro %}

{#- The header #}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if builtin_tools is defined or tools is not none %}
    {{- "Environment: ipython\n" }}
{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " ~ builtin_tools | reject('equalto', 'code_interpreter') | join(", ") ~ "\n\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\nToday Date: " + date_string + "\n\n" }}
{%- set how = 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.' %}
{%- if tools is not none and not tools_with_user %}
    {{- "You may call these functions. " + how + "\n\n" }}
    {{- describe(tools) }}
{%- endif %}
{{- sys }}
{{- "<|eot_id|>" }}

{#- The tools are put before the first user message. #}
{%- if tools is not none and tools_with_user %}
    {%- if rest | length == 0 %}
        {{- raise_exception("Cannot put tools in the first user message when there's no first user message!") }}
    {%- endif %}
    {%- set question = rest[0]['content'] | trim %}
    {%- set rest = rest[1:] %}
    {{- '<|start_header_id|>user<|end_header_id|>\n\n' }}
    {{- "Answer with a JSON function call where that helps. " + how + "\n\n" }}
    {{- describe(tools) }}
    {{- question + "<|eot_id|>" }}
{%- endif %}

{%- for m in rest %}
    {%- if m.role in ('ipython', 'tool') %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\n\n" }}
        {%- if m.content is mapping or (m.content is iterable and m.content is not string) %}
            {{- m.content | tojson }}
        {%- else %}
            {{- m.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- elif 'tool_calls' in m %}
        {%- if m.tool_calls | length != 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set call = m.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
        {%- if builtin_tools is defined and call.name in builtin_tools %}
            {{- "<|python_tag|>" + call.name + ".call(" }}
            {%- for key, value in call.arguments.items() %}
                {{- key + '="' + value + '"' }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- endif %}
            {%- endfor %}
            {{- ")<|eom_id|>" }}
        {%- else %}
            {{- '{"name": "' + call.name + '", "parameters": ' }}
            {{- call.arguments | tojson }}
            {{- "}<|eot_id|>" }}
        {%- endif %}
    {%- else %}
        {{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
'''

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>"
    "{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}")

CHATML_TOOLS = r'''{%- set ns = namespace(last_query=messages|length - 1, looking=true) %}
{%- for m in messages[::-1] %}
    {%- set i = (messages|length - 1) - loop.index0 %}
    {%- if ns.looking and m.role == "user" and not(m.content.startswith('<tool_response>') and m.content.endswith('</tool_response>')) %}
        {%- set ns.looking = false %}
        {%- set ns.last_query = i %}
    {%- endif %}
{%- endfor %}
{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\n\n' }}
    {%- endif %}
    {{- "# Tools\n\nFunction signatures:\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools><|im_end|>\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.content is string %}{% set content = m.content %}{% else %}{% set content = '' %}{% endif %}
    {%- if (m.role == "user") or (m.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + m.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- elif m.role == "assistant" %}
        {%- set thought = '' %}
        {%- if m.reasoning_content is string %}
            {%- set thought = m.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' }}
        {%- if loop.index0 > ns.last_query and (loop.last or thought) %}
            {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' }}
        {%- endif %}
        {{- content }}
        {%- for call in m.tool_calls or [] %}
            {%- if (loop.first and content) or (not loop.first) %}
                {{- '\n' }}
            {%- endif %}
            {%- if call.function %}{%- set call = call.function %}{%- endif %}
            {{- '<tool_call>\n{"name": "' ~ call.name ~ '", "arguments": ' }}
            {{- call.arguments if call.arguments is string else call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif m.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' + content + '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
'''

MISTRAL = r'''{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set turns = messages %}
{%- endif %}
{{- bos_token }}
{%- for m in turns %}
    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the optional system message, conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if m["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + m["content"] + " [/INST]" }}
        {%- else %}
            {{- "[INST] " + m["content"] + " [/INST]" }}
        {%- endif %}
    {%- elif m["role"] == "assistant" %}
        {{- " " + m["content"] + eos_token }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
'''


def msg(role, content, **more):
    return dict(role=role, content=content, **more)


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather at a <place> & \"time\" — now.",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "e.g. Zürich"},
        "days": {"type": "integer", "default": 1}}, "required": ["city"]}}}
CLOCK = {"type": "function", "function": {
    "name": "get_time", "description": "The time.",
    "parameters": {"type": "object", "properties": {}, "required": []}}}
CALL = {"type": "function", "id": "c1", "function": {
    "name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}}
USER = [msg("user", "Hello!")]
CONVERSATIONS = {
    "user": USER,
    "system": [msg("system", "You are terse."), msg("user", "Why is the sky blue?")],
    "turns": [msg("user", " Hi "), msg("assistant", "Hello, how are you?"),
              msg("user", "Fine.\nAnd you?"), msg("assistant", "Fine too.\n"),
              msg("user", "\n2 < 3 & 'x' \"y\" {{ no }} {% raw %}\n")],
    "unicode": [msg("system", "Réponds en français. 日本語も。"),
                msg("user", "Grüße 👩‍👩‍👧 \u00a0 \u2028 e\u0301 \u200d"),
                msg("assistant", "😀"), msg("user", "Ελλάδα")],
}
TOOL_TURNS = [msg("user", "Weather in Zürich?"),
              msg("assistant", "", tool_calls=[CALL]),
              msg("tool", "{\"temp\": 21.5}"), msg("assistant", "21.5 degrees."),
              msg("user", "Thanks")]
BOS, EOS = "<|begin_of_text|>", "<|eot_id|>"


def model_cases(smollm2):
    """Cases for the templates of real models' prompt formats."""
    out = []

    def add(name, template, messages, bos, eos, prompt=True, tools=None, **extra):
        c = dict(name=name, template=template, bos_token=bos, eos_token=eos,
                 messages=messages, add_generation_prompt=prompt)
        if tools is not None:
            c["tools"] = tools
        if extra:
            c["extra"] = extra
        out.append(c)

    for name, template, bos, eos in (
            ("smollm2", smollm2, "<|im_start|>", "<|im_end|>"),
            ("llama3", LLAMA3, BOS, EOS), ("llama3.1", LLAMA31, BOS, EOS),
            ("chatml", CHATML, "", "<|im_end|>"),
            ("chatml_tools", CHATML_TOOLS, "", "<|im_end|>"),
            ("mistral", MISTRAL, "<s>", "</s>")):
        for conv, messages in CONVERSATIONS.items():
            add(name + "/" + conv, template, messages, bos, eos)
        add(name + "/no_prompt", template, CONVERSATIONS["turns"][:4], bos, eos, False)
    tools = [WEATHER, CLOCK]
    l31 = lambda n, m, **k: add("llama3.1/" + n, LLAMA31, m, BOS, EOS, **k)
    l31("tools", CONVERSATIONS["system"], tools=tools)
    l31("tools_in_system", CONVERSATIONS["system"], tools=tools,
        tools_in_user_message=False)
    l31("tool_turns", TOOL_TURNS, tools=tools)
    l31("date", USER, date_string="01 Jan 2024")
    l31("tool_list_content", [msg("user", "x"), msg("tool", [1, {"é": None}]),
                              msg("ipython", "plain")])
    l31("builtin", [msg("user", "q"), msg("assistant", None, tool_calls=[
        {"function": {"name": "brave_search", "arguments": {"query": "a", "n": "b"}}}])],
        builtin_tools=["brave_search", "code_interpreter"])
    l31("tools_no_message", [msg("system", "s")], tools=tools)
    l31("two_calls", [msg("user", "x"), msg("assistant", "", tool_calls=[CALL, CALL])],
        tools=tools)
    q = lambda n, m, **k: add("chatml_tools/" + n, CHATML_TOOLS, m, "", "<|im_end|>", **k)
    q("tools", CONVERSATIONS["system"], tools=tools)
    q("tool_turns", TOOL_TURNS[:3] + [msg("tool", "second")], tools=[WEATHER])
    q("no_thinking", USER, enable_thinking=False)
    q("thinking", [msg("user", "a"), msg("assistant", "<think>\nhm\n</think>\n\nb"),
                   msg("user", "c"), msg("assistant", "<think>\nso\n</think>\n\nd")],
      prompt=False)
    q("reasoning", [msg("user", "a"), msg("assistant", "b", reasoning_content="r")],
      prompt=False)
    q("calls", [msg("user", "a"), msg("assistant", "t", tool_calls=[
        CALL, {"name": "f", "arguments": "{\"x\": 1}"}]), msg("user", "z")])
    add("mistral/bad_order", MISTRAL, [msg("user", "a"), msg("user", "b")], "<s>", "</s>")
    add("mistral/bad_role", MISTRAL, [msg("user", "a"), msg("tool", "b")], "<s>", "</s>")
    return out


THREE = [msg("system", "S"), msg("user", "U"), msg("assistant", "A")]
# (name, template) or (name, template, extra variables); messages are THREE.
SYNTHETIC = [
    ("for_else", "{% for x in [] %}x{% else %}none{% endfor %}|{% for x in [1] %}{{ x }}{% else %}none{% endfor %}"),
    ("for_filter_if", "{% for m in messages if m.role != 'system' %}{{ loop.index }}{{ m.role }}{% if not loop.last %},{% endif %}{% endfor %}"),
    ("for_filter_else", "{% for x in [1, 2] if x > 5 %}{{ x }}{% else %}no{% endfor %}"),
    ("loop_vars", "{% for x in 'abc' %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}"),
    ("loop_neighbours", "{% for x in [1, 2, 3] %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem if loop.nextitem is defined else '-' }};{% endfor %}"),
    ("loop_cycle", "{% for x in range(5) %}{{ loop.cycle('a', 'b', 'c') }}{% endfor %}"),
    ("loop_changed", "{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}"),
    ("loop_nested", "{% for a in [1, 2] %}{% set outer = loop %}{% for b in 'xy' %}{{ outer.index }}{{ loop.index }}{{ b }} {% endfor %}{% endfor %}"),
    ("loop_unpack", "{% for a, b in [(1, 2), [3, 4]] %}{{ a }}-{{ b }};{% endfor %}{% for k, v in {'x': 1, 'y': 'z'}.items() %}{{ k }}={{ v }};{% endfor %}"),
    ("loop_recursive", "{% for n in [[1, [2, [3]]], 4] recursive %}{% if n is iterable %}({{ loop(n) }}){% else %}{{ n }}{% endif %}{% endfor %}"),
    ("loop_dict", "{% for k in {'b': 1, 'a': 2} %}{{ k }}{% endfor %}{% for m in messages[0] %} {{ m }}{% endfor %}"),
    ("loop_scope", "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 9 %}{{ x }}{% endfor %}{{ x }}"),
    ("loop_else_scope", "{% for i in range(3) %}{% if i == 1 %}{% set y = i %}{% endif %}{{ y is defined }}{% endfor %}"),
    ("break_continue", "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}"),
    ("namespace", "{% set ns = namespace(n=0, s='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.s = ns.s ~ m.content %}{% endfor %}{{ ns.n }}{{ ns.s }}"),
    ("namespace_dict", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a + ns.b }}{{ ns.c is defined }}"),
    ("set_block", "{% set t %}A{{ messages | length }}\n B{% endset %}[{{ t }}]{% set u | upper %}abc{% endset %}{{ u }}"),
    ("set_tuple", "{% set a, b = 1, 'x' %}{{ a }}{{ b }}{% set c = (1,) %}{{ c }}"),
    ("if_elif", "{% for x in [0, 1, 2, ''] %}{% if x == 1 %}one{% elif x %}some{% else %}zero{% endif %} {% endfor %}"),
    ("macro", "{% macro f(a, b='B', c=none) %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, 2) }}{{ f(1, c=3) }}{{ f(b=1, a='z') }}"),
    ("macro_varargs", "{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 'x', k=3) }}"),
    ("macro_missing", "{% macro f(a, b) %}[{{ a }}{{ b }}]{{ b is defined }}{% endmacro %}{{ f(1) }}{{ f.name }}{{ f.arguments }}"),
    ("macro_scope", "{% set g = 'G' %}{% macro f() %}{{ g }}{{ messages[0].role }}{% endmacro %}{{ f() }}"),
    ("macro_recursive", "{% macro fact(n) %}{% if n > 0 %}{{ n }}{{ fact(n - 1) }}{% endif %}{% endmacro %}{{ fact(4) }}"),
    ("call_block", "{% macro box(t) %}<{{ t }}:{{ caller() }}>{% endmacro %}{% call box('T') %}in{{ 1 + 1 }}{% endcall %}"),
    ("call_args", "{% macro each(l) %}{% for x in l %}{{ caller(x, loop.index) }}{% endfor %}{% endmacro %}{% call(v, i) each(['a', 'b']) %}{{ i }}{{ v }};{% endcall %}"),
    ("filter_block", "{% filter upper | trim %}  a{{ 'b' }}  {% endfilter %}|"),
    ("with_block", "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}"),
    ("strings_case", "{{ 'hELLO wORLD' | upper }}{{ 'ÀÉ' | lower }}{{ 'hello wORLD-foo (bar)' | title }}{{ 'hELLO' | capitalize }}"),
    ("trim", "[{{ '  a b \\n' | trim }}][{{ 'xxaxx' | trim('x') }}][{{ '\\t\\u00a0z' | trim }}]"),
    ("default", "{{ nope | default('d') }}{{ '' | default('e') }}{{ '' | default('f', true) }}{{ none | default('g') }}{{ none | d('h', boolean=true) }}{{ nope.x | default('i') if nope is defined else 'j' }}"),
    ("join", "{{ [1, 'a', 2.5, none, true] | join(', ') }}|{{ 'abc' | join('-') }}|{{ messages | join('/', attribute='role') }}|{{ [] | join(',') }}"),
    ("length", "{{ 'aé😀' | length }}{{ [1, 2] | length }}{{ {'a': 1} | count }}{{ messages | length }}"),
    ("replace", "{{ 'aaaa' | replace('a', 'b') }}{{ 'aaaa' | replace('a', 'b', 2) }}{{ 'abc'.replace('b', '') }}"),
    ("first_last", "{{ [3, 4] | first }}{{ [3, 4] | last }}{{ 'xyz' | first }}{{ 'xyz' | last }}[{{ [] | first }}]"),
    ("list", "{{ 'ab' | list }}{{ {'k': 1} | list }}{{ (1, 2) | list }}{{ range(3) | list }}{{ range(5, 0, -2) | list }}"),
    ("map", "{{ messages | map(attribute='role') | join(',') }}|{{ ['a', 'b'] | map('upper') | list }}|{{ [{'x': 1}, {}] | map(attribute='x', default=0) | list }}|{{ ['1', '2'] | map('int') | sum }}"),
    ("map_args", "{{ ['a-b', 'c-d'] | map('replace', '-', '+') | join(' ') }}{{ [{'a': {'b': 7}}] | map(attribute='a.b') | first }}"),
    ("select", "{{ [0, 1, 2, 3] | select | list }}{{ [1, 2, 3] | select('odd') | list }}{{ [1, 2, 3] | reject('odd') | list }}{{ [1, 5] | select('>', 2) | list }}"),
    ("selectattr", "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join }}{{ messages | rejectattr('role', 'in', ['user', 'system']) | list | length }}{{ [{'a': 1}, {'b': 2}] | selectattr('a', 'defined') | list }}{{ [{'a': 0}, {'a': 2}] | selectattr('a') | list }}"),
    ("tojson", "{{ {'b': [1, 2.0, 1e100, true, none, 'é\\n\"<>&\\'\\u2028😀'], 'a': {}, 'c': []} | tojson }}"),
    ("tojson_indent", "{{ {'b': [1, {'x': []}], 'a': {}} | tojson(indent=2) }}{{ [1] | tojson(indent=4) }}{{ [] | tojson(indent=4) }}"),
    ("tojson_options", "{{ {'b': 1, 'a': 'é'} | tojson(sort_keys=true, separators=(',', ':')) }}{{ 'é' | tojson(ensure_ascii=true) }}{{ '\\u0001\\u007f\\t/\\\\' | tojson }}"),
    ("tojson_numbers", "{{ [0.1, 1e16, 1.5e-7, 123456789012345680000.0, -0.0, 100000, 12345678901234567890, 3.0] | tojson }}"),
    ("int_float", "{{ '12' | int }}{{ '3.9' | int }}{{ 'x' | int(7) }}{{ 2.9 | int }}{{ '2.5' | float }}{{ 'x' | float(1.5) }}{{ '0x1f' | int(base=16) }} {{ 7 | float }}"),
    ("string_filter", "{{ 1.0 | string }}{{ true | string }}{{ none | string }}{{ [1, 'a'] | string }}{{ {'a': 1.5} | string }}"),
    ("abs_round", "{{ -3 | abs }}{{ (-3.5) | abs }} {{ 2.567 | round }} {{ 2.567 | round(2) }} {{ 2.1 | round(0, 'ceil') }} {{ 2.9 | round(method='floor') }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 7 | round }}"),
    ("sort", "{{ [3, 1, 2] | sort }}{{ ['b', 'A', 'c'] | sort }}{{ ['b', 'A', 'c'] | sort(case_sensitive=true) }}{{ [1, 2] | sort(reverse=true) }}{{ messages | sort(attribute='content') | map(attribute='content') | join }}"),
    ("unique", "{{ [1, 2, 1, 3, 2] | unique | list }}{{ ['a', 'A', 'b'] | unique | list }}{{ messages | unique(attribute='role') | list | length }}"),
    ("items", "{% for k, v in {'a': 1, 'b': [2]} | items %}{{ k }}:{{ v }} {% endfor %}{{ {'x': 1}.items() | list }}{{ {'x': 1, 'y': 2}.keys() | list }}{{ {'x': 1}.values() | list }}"),
    ("dictsort", "{{ {'b': 1, 'A': 3, 'c': 2} | dictsort }}{{ {'b': 1, 'a': 2} | dictsort(by='value') }}{{ {'b': 1, 'a': 2} | dictsort(reverse=true) }}"),
    ("batch_slice", "{{ [1, 2, 3, 4, 5] | batch(2) | list }}{{ [1, 2, 3] | batch(2, 'x') | list }}{{ [1, 2, 3, 4, 5] | slice(2) | list }}"),
    ("indent", "[{{ 'a\\nb\\n\\nc' | indent }}][{{ 'a\\nb' | indent(2, true) }}][{{ 'a\\n\\nb' | indent(1, blank=true) }}][{{ 'a\\nb' | indent('> ') }}]"),
    ("escape_safe", "{{ '<a href=\"x\">&\\'</a>' | escape }}{{ '<b>' | safe }}{{ '<b>' | e }}{{ '<' | escape | safe }}{{ '<i>' }}"),
    ("reverse", "{{ 'abc' | reverse }}{{ [1, 2, 3] | reverse | list }}{{ messages[::-1] | map(attribute='role') | join(' ') }}"),
    ("sum_min_max", "{{ [1, 2, 3] | sum }}{{ [1.5, 2] | sum }}{{ [{'n': 1}, {'n': 4}] | sum(attribute='n') }}{{ [1] | sum(start=10) }}{{ [3, 1, 2] | min }}{{ [3, 1, 2] | max }}"),
    ("groupby", "{% for g, l in [{'k': 'b', 'v': 1}, {'k': 'a', 'v': 2}, {'k': 'b', 'v': 3}] | groupby('k') %}{{ g }}:{{ l | map(attribute='v') | join('+') }} {% endfor %}"),
    ("string_filters", "{{ 'a b  c' | wordcount }}{{ '%s-%d' | format('x', 3) }}{{ 'hello world foo' | truncate(9) }}{{ 'ab' | center(6) }}|{{ 'a b&c/ü' | urlencode }}{{ '<p>x</p>' | striptags }}{{ {'a': 1} | attr('nope') is defined }}"),
    ("tests_types", "{% for v in [none, true, 1, 1.5, 'a', [1], {'a': 1}, (1,)] %}{{ v is none }}{{ v is boolean }}{{ v is integer }}{{ v is float }}{{ v is number }}{{ v is string }}{{ v is sequence }}{{ v is iterable }}{{ v is mapping }}\n{% endfor %}"),
    ("tests_values", "{{ 3 is odd }}{{ 4 is even }}{{ 9 is divisibleby 3 }}{{ 1 is eq 1 }}{{ 1 is equalto(2) }}{{ 1 is ne 2 }}{{ 2 is gt 1 }}{{ 2 is le(1) }}{{ 'a' is in ['a'] }}{{ true is true }}{{ 1 is true }}{{ 0 is false }}{{ 'a' is lower }}{{ 'A' is upper }}{{ none is sameas none }}"),
    ("tests_defined", "{{ x is defined }}{{ x is undefined }}{{ messages is defined }}{{ messages[0].nope is defined }}{{ tools is none }}{{ tools is defined }}{{ loop is defined }}{{ raise_exception is callable }}{{ 'upper' is filter }}{{ 'odd' is test }}"),
    ("tests_not", "{{ 1 is not none }}{{ 'a' not in 'bcd' }}{{ not 1 is string }}{{ 1 is not string and 2 is not odd }}{{ 'x' is not defined }}"),
    ("string_methods", "{{ '  a '.strip() }}|{{ '  a '.lstrip() }}|{{ '  a '.rstrip() }}|{{ 'xxaxx'.strip('x') }}{{ 'a,b,c'.split(',') }}{{ ' a  b '.split() }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('c', 'x')) }}"),
    ("string_methods2", "{{ 'aB'.upper() }}{{ 'aB'.lower() }}{{ 'ab cd'.title() }}{{ 'ab'.capitalize() }}{{ 'aB'.swapcase() }}{{ '-'.join(['a', 'b']) }}{{ 'abcabc'.find('c') }}{{ 'abc'.find('z') }}{{ 'abab'.count('ab') }}{{ '12'.isdigit() }}{{ 'a1'.isalnum() }}{{ 'a'.isalpha() }}{{ '7'.zfill(3) }}{{ 'abc'.removeprefix('a').removesuffix('c') }}{{ 'a\\nb'.splitlines() }}{{ 'a=b=c'.partition('=') }}"),
    ("string_format", "{{ '{} {x!r} {0}'.format(1, x='y') if false else '{}-{}'.format('a', 2) }}{{ '%05.2f|%s|%3d' % (3.14159, 'z', 7) }}"),
    ("dict_methods", "{% set d = {'a': 1, 'b': none} %}{{ d.get('a') }}{{ d.get('z') }}{{ d.get('z', 'q') }}{{ d['a'] }}{{ d.a }}{{ 'b' in d }}{{ d.b is none }}{{ dict(x=1, y='2') }}{{ d.items() | length }}"),
    ("dict_shadow", "{% set d = {'items': 5, 'keys': 'k'} %}{{ d['items'] }}{{ d['keys'] }}{{ d.items is callable }}"),
    ("slices", "{% set l = [0, 1, 2, 3, 4] %}{{ l[1:3] }}{{ l[:2] }}{{ l[-2:] }}{{ l[::2] }}{{ l[::-1] }}{{ l[-1] }}{{ l[10:] }}{{ 'hällo'[1:3] }}{{ 'hällo'[-1] }}{{ 'hällo'[::-1] }}{{ l[:-1][-1] }}"),
    ("index_missing", "[{{ [1][5] }}][{{ {'a': 1}['z'] }}][{{ 'ab'[9] }}][{{ messages[0].zzz }}][{{ nope }}]"),
    ("inline_if", "{{ 'y' if 1 < 2 else 'n' }}{{ 'y' if false }}{{ 1 if 0 else 2 if 0 else 3 }}{{ ('a' if true else 'b') ~ 'c' }}"),
    ("concat", "{{ 'a' ~ 1 ~ 2.0 ~ none ~ true ~ [1] }}{{ 'a' + 'b' }}{{ [1] + [2] }}{{ 'ab' * 3 }}{{ [0] * 2 }}{{ (1, 2) + (3,) }}"),
    ("arithmetic", "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 7 / 2 }} {{ 6 / 3 }} {{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ -2 ** 2 }} {{ 2 ** -1 }} {{ 1.5 + 1 }} {{ 5.0 // 2 }} {{ 7.5 % 2 }} {{ +3 }} {{ 2 ** 3 ** 2 }}"),
    ("number_output", "{{ 1.0 }} {{ 0.1 + 0.2 }} {{ 1e20 }} {{ 1e16 }} {{ 1e15 }} {{ 1e-5 }} {{ 0.0001 }} {{ 123456.789 }} {{ 1_000 }} {{ 10 ** 20 }} {{ 1 / 3 }} {{ 0x1F }} {{ 0b11 }} {{ 2.50 }}"),
    ("comparisons", "{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 1 == 1.0 }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}{{ 1 != 2 }}{{ true == 1 }}{{ none == false }}{{ 'a' == 'a' == 'a' }}{{ {'a': 1} == {'a': 1.0} }}"),
    ("logic", "{{ 1 and 2 }}{{ 0 and 2 }}{{ 0 or 'x' }}{{ none or [] or 'z' }}{{ not 0 }}{{ not '' and 1 }}{{ true and not false }}{{ 1 or 1 / 0 }}"),
    ("literals", "{{ [1, 'two', 3.0, none, True, false, None] }}{{ (1, 'a') }}{{ () }}{{ {} }}{{ {'a': [1], 2: 'b'} }}{{ 'it\\'s' }}{{ [\"it's\", 'say \"hi\"', 'a\\\\b\\n\\té\\u00e9'] }}"),
    ("string_escapes", "{{ 'a\\nb\\t\\\\ \\'q\\' \\x41 \\u00e9' }}{{ \"d\\\"q\" }}{{ 'adjacent' 'strings' }}"),
    ("whitespace_control", "a  {%- if true -%}  b  {%- endif -%}  c {{- ' d ' -}} e {#- x -#} f"),
    ("trim_lstrip_blocks", "x\n  {% if true %}\n    y\n  {% endif %}\nz\n    {# comment #}\nw\n  {{ 1 }}\n  v\n"),
    ("keep_whitespace", "x\n  {%+ if true %}  y{% endif +%}\nz\n{% if true +%}\nq{% endif %}\n"),
    ("raw", "{% raw %}{{ not }} {% rendered %} {# x #}{% endraw %}|{%- raw -%}  {{ y }}  {%- endraw -%}  z"),
    ("comments", "a{# one {{ x }} {% if %} #}b{# multi\nline #}\nc{#- trimmed -#}  d"),
    ("trailing_newline", "{{ messages[0].content }}\n\n"),
    ("crlf", "a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc"),
    ("generation", "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}!{% endgeneration %}\n{% else %}{{ m.content }}{% endif %}{% endfor %}"),
    ("strftime", "{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%Y-%m-%d %H:%M:%S %A %B %j %y %%') }}"),
    ("raise", "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported: ' ~ messages[0].content) }}{% endif %}"),
    ("raise_not_reached", "{% if false %}{{ raise_exception('x') }}{% endif %}ok"),
    ("error_undefined_attr", "{{ nope.x }}"),
    ("error_undefined_call", "{{ nope() }}"),
    ("error_add_types", "{{ 'a' + 1 }}"),
    ("error_syntax", "{% if true %}x"),
    ("error_unknown_filter", "{{ 1 | nofilter }}"),
    ("error_unknown_tag", "{% nosuchtag %}"),
    ("error_divide", "{{ 1 // 0 }}"),
    ("error_private", "{{ ''.__class__.__mro__ }}"),
    ("error_mutate", "{% set l = [1] %}{{ l.append(2) }}"),
    ("error_iterate_none", "{% for x in none %}{% endfor %}"),
    ("undefined_iterates_empty", "{% for x in nope %}x{% else %}e{% endfor %}{{ nope | length }}{{ nope ~ 'z' }}{{ nope == nope }}{{ 'a' if nope else 'b' }}"),
    ("bool_output", "{{ true }}{{ false }}{{ none }}{{ 1 == 1 }}{{ True and None }}"),
    ("precedence", "{{ (1 + 2) ~ 3 }}{{ 'x' + 1 ~ 2 }}{{ 'a' ~ 'b' | upper }}{{ -1 | abs }}{{ 2 + -1 | abs }}{{ not 1 == 2 }}{{ 1 in [1] == true }}{{ 'a' ~ 'b' == 'ab' }}"),
    ("extra_variables", "{{ enable_thinking }}{{ opts.level + 1 }}{% if names %}{{ names[0] }}{% endif %}",
     {"enable_thinking": True, "opts": {"level": 2}, "names": ["ü"]}),
    ("content_parts", "{% for m in parts %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% elif p['type'] == 'image' %}<image>{% endif %}{% endfor %}{% endif %};{% endfor %}",
     {"parts": [msg("user", "a"), msg("user", [{"type": "image"}, {"type": "text", "text": "b"}])]}),
    ("safe_addition", "{{ '<a>' | safe + '<b>' }}{{ '<a>' + '<b>' | safe }}{{ '<' | safe + '&' + '\\n' + '>' | safe }}{{ ('<' | safe) * 2 + '<' }}{{ '<' | safe ~ '<' }}"),
    ("safe_tool", "{{ \"Use '\" | safe + tool['name'] + \"' to '\" | safe + tool['about'] + \"'\\n\" | safe + tool | tojson }}",
     {"tool": {"name": "f", "about": "a <b> & \"c\""}}),
    ("sort_equals", "{{ [none, none] | sort }}{{ [[1, none], [1, none]] | sort }}{{ [{'a': none}, {'a': none}] | sort(attribute='a') }}"),
    ("sort_unequals", "{{ [none, 1] | sort }}"),
    ("bos_eos", "{{ bos_token + messages[-1]['content'] + eos_token }}{{ add_generation_prompt }}{{ bos_token is defined and bos_token }}"),
]


class Generation(jinja2.ext.Extension):
    """{% generation %}...{% endgeneration %}: rendered as its body."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(
            self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


class Raised(Exception):
    """An error that the template asked for by raise_exception."""


def make_environment():
    def raise_exception(message):
        raise Raised(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent,
                          separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True,
        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def variables(case):
    v = {"messages": case["messages"], "tools": case.get("tools"),
         "documents": case.get("documents"), "bos_token": case["bos_token"],
         "eos_token": case["eos_token"],
         "add_generation_prompt": case["add_generation_prompt"]}
    v.update(case.get("extra", {}))
    return copy.deepcopy(v)


def render(env, case):
    """Return the case with what it expects added."""
    case = dict(case)
    try:
        case["expected"] = env.from_string(case["template"]).render(**variables(case))
    except Raised as e:
        case["expected_error"] = {"kind": "raise_exception", "message": str(e)}
    except Exception as e:  # whatever jinja2 or Python raises
        case["expected_error"] = {"kind": type(e).__name__, "message": str(e)}
    return case


def check(case):
    """Complain if transformers renders the case otherwise."""
    try:
        compiled = chat_template_utils._compile_jinja_template(case["template"])
        got = compiled.render(**variables(case))
    except Exception as e:
        got = e
    want = case.get("expected")
    if (want is None) != isinstance(got, Exception) or (want and want != got):
        print("%s: transformers gives %r, not %r" % (case["name"], got, want))


def main():
    from hf_model import versions  # needs torch, which importers of this file may lack

    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model", help="GGUF file to take the SmolLM2 template from")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    smollm2 = GGUFReader(args.model).fields["tokenizer.chat_template"].contents()
    cases = model_cases(smollm2)
    for name, template, *extra in SYNTHETIC:
        c = dict(name="synthetic/" + name, template=template, bos_token="<s>",
                 eos_token="</s>", messages=THREE, add_generation_prompt=True)
        if extra:
            c["extra"] = extra[0]
        cases.append(c)
    chat_template_utils.datetime = FixedTime
    env = make_environment()
    cases = [render(env, c) for c in cases]
    for c in cases:
        check(c)
    head = {"versions": versions("jinja2", "transformers", "gguf"),
            "now": NOW.isoformat()}
    with open(args.out, "w") as f:  # one case a line
        f.write(json.dumps(head)[:-1] + ', "cases": [\n')
        f.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases))
        f.write("\n]}\n")
    errors = [c for c in cases if "expected_error" in c]
    print("%d cases, %d of them errors" % (len(cases), len(errors)))
    for c in errors:
        print("  %s: %s: %s" % (c["name"], c["expected_error"]["kind"],
                                c["expected_error"]["message"]))


if __name__ == "__main__":
    main()
