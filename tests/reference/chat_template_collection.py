#!/usr/bin/env python3
"""Renders a folder of chat templates (*.jinja) with jinja2 as transformers does, and demands the same bytes of Tenon.

A good collection is llama.cpp's models/templates; templates are not ours to keep here, so this is run by hand. Each
template meets every conversation below, with and without tools; where jinja2 raises an error, so must Tenon.

Made with: jinja2 3.1.6, transformers 5.24.0.
Usage: chat_template_collection.py FOLDER build/tests/unit/test_chat_template
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

from chat_templates import CALL, CLOCK, CONVERSATIONS, NOW, TOOL_TURNS, WEATHER, make_environment, msg, render

THOUGHT = [msg("system", "Think."), msg("user", "1+1?"), msg("assistant", "2", reasoning_content="one and one"),
           msg("user", "2+2?"), msg("assistant", "<think>\ntwo and two\n</think>\n\n4", thinking="hm"),
           msg("user", "3+3?")]
PARTS = [msg("user", [{"type": "text", "text": "Look: "}, {"type": "image"}, {"type": "text", "text": "what is it?"}]),
         msg("assistant", [{"type": "text", "text": "A fox."}]), msg("user", "Sure?")]
TWO_CALLS = [msg("user", "Weather and time?"),
             msg("assistant", None, tool_calls=[
                 CALL, {"type": "function", "id": "c2345678z", "function": {"name": "get_time", "arguments": {}}}]),
             msg("tool", "21 degrees", tool_call_id="c1", name="get_weather"),
             msg("tool", "14:05", tool_call_id="c2345678z", name="get_time"), msg("assistant", "21 degrees, 14:05."),
             msg("user", "Thanks")]
TEXT_CALL = [msg("user", "Weather?"), msg("assistant", "Let me see.", tool_calls=[
    {"type": "function", "id": "abcdefghi", "function": {"name": "get_weather", "arguments": "{\"city\": \"Rome\"}"}}]),
    msg("tool", {"temp": 21.5, "wind": [1, 2]}, tool_call_id="abcdefghi")]
NESTED = [{"type": "function", "function": {
    "name": "book", "description": "Books a <table>.", "parameters": {"type": "object", "properties": {
        "when": {"type": "object", "properties": {"day": {"type": "string", "enum": ["Mon", "Tue"]},
                                                  "hours": {"type": "array", "items": {"type": "integer"}}}},
        "who": {"type": ["string", "null"], "default": None, "nullable": True},
        "any": {"anyOf": [{"type": "integer"}, {"type": "number"}]}}, "required": ["when"]},
    "return": {"type": "string"}}}]


def nine(messages):
    """Mistral wants ids of nine letters."""
    return json.loads(json.dumps(messages).replace('"c1"', '"c12345678"'))


def situations():
    """Name -> (messages, further variables)."""
    tools = [WEATHER, CLOCK]
    s = {name: (messages, {}) for name, messages in CONVERSATIONS.items()}
    s.update({
        "thought": (THOUGHT, {}), "thought_off": (THOUGHT, {"enable_thinking": False}),
        "thought_on": (THOUGHT, {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}),
        "parts": (PARTS, {}), "tools": (CONVERSATIONS["system"], {"tools": tools}),
        "tool_turns": (nine(TOOL_TURNS), {"tools": tools}), "two_calls": (nine(TWO_CALLS), {"tools": tools}),
        "text_call": (TEXT_CALL, {"tools": tools}), "calls_alone": (nine(TWO_CALLS), {}),
        "nested": (CONVERSATIONS["user"], {"tools": NESTED + tools}),
        "documents": (CONVERSATIONS["user"], {"documents": [{"title": "T", "text": "x < y", "doc_id": 1}]}),
        "continued": (CONVERSATIONS["turns"][:2], {}), "developer": ([msg("developer", "D"), msg("user", "U")], {}),
        "firefunction": (CONVERSATIONS["system"], {"functions": json.dumps(tools), "datetime": "now"}),
        "dated": (CONVERSATIONS["user"], {"date_string": "01 Jan 2024", "custom_instructions": "Be kind.",
                                          "xml_tools": [json.dumps(t) for t in tools]}),
    })
    return s


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("folder")
    ap.add_argument("program", help="test_chat_template")
    args = ap.parse_args()
    if not glob.glob(os.path.join(args.folder, "*.jinja")):
        print("%s holds no *.jinja: skipped" % args.folder)
        sys.exit(77)
    env, done = make_environment(), []
    for path in sorted(glob.glob(os.path.join(args.folder, "*.jinja"))):
        with open(path, encoding="utf-8") as f:
            template = f.read()
        for name, (messages, more) in situations().items():
            for prompt in (True, False):
                case = dict(name="%s/%s%s" % (os.path.basename(path), name, "" if prompt else "/closed"),
                            template=template, bos_token="<s>", eos_token="</s>", messages=messages,
                            add_generation_prompt=prompt)
                extra = dict(more)
                for key in ("tools", "documents"):
                    if key in extra:
                        case[key] = extra.pop(key)
                if extra:
                    case["extra"] = extra
                done.append(render(env, case))
    errors = sum("expected_error" in case for case in done)
    print("%d cases, %d of them errors" % (len(done), errors))
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"now": NOW.isoformat(), "cases": done}, f, ensure_ascii=False)
        f.flush()
        sys.exit(subprocess.run([args.program, f.name]).returncode)


if __name__ == "__main__":
    main()
