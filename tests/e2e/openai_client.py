#!/usr/bin/env python3
"""Talks to a running server through the `openai` package and checks what comes back.

Usage: openai_client.py BASE_URL [--api-key KEY] [--shapes-only]
       openai_client.py --serve COMMAND...      starts the server itself; it prints its http:// address on a line of stdout

BASE_URL is the address without /v1. --shapes-only leaves out what only a real model and sampler can answer for. Exits 0 when
every check holds, 1 when one fails, 77 (skipped) without the package.
"""
import argparse
import re
import subprocess
import sys

try:
    import openai
except ImportError:
    sys.exit(77)

MESSAGES = [{"role": "user", "content": "Name three colours, please."}]
# The tiny model says anything, and one time in some hundred nothing.
SOMETHING = {"seed": 1, "extra_body": {"min_tokens": 4}}
checks = []


def check(function):
    checks.append(function)
    return function


def real(function):
    function.needs_model = True
    return check(function)


def expect(condition, words):
    if not condition:
        raise AssertionError(words)


def expect_error(kind, status, call, param=None):
    try:
        call()
    except kind as error:
        expect(error.status_code == status, f"status {error.status_code}, not {status}")
        expect(param is None or error.param == param, f"param {error.param!r}, not {param!r}")
        return
    raise AssertionError(f"no {kind.__name__}")


@check
def models_are_listed(client, model):
    names = [entry.id for entry in client.models.list()]
    expect(model in names, f"{model} is not in {names}")
    expect(client.models.retrieve(model).id == model, "retrieve gives another model")


@check
def a_chat_is_answered(client, model):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=8, **SOMETHING)
    choice = answer.choices[0]
    expect(choice.message.role == "assistant" and choice.message.content, "no content")
    expect(choice.finish_reason in ("stop", "length"), choice.finish_reason)
    expect(answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens, "usage")
    expect(answer.usage.completion_tokens <= 8, "more tokens than asked for")


@check
def a_stream_gives_role_text_finish_usage(client, model):
    stream = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=8, stream=True,
                                            stream_options={"include_usage": True}, **SOMETHING)
    chunks = list(stream)
    expect(chunks[0].choices[0].delta.role == "assistant", "no role first")
    expect(chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0, "no usage last")
    expect(chunks[-2].choices[0].finish_reason in ("stop", "length"), "no finish_reason")
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    expect(text, "no text")


@check
def three_choices_come_whole_and_streamed(client, model):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=6, n=3, seed=1)
    expect([choice.index for choice in answer.choices] == [0, 1, 2], "indices")
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=6, n=3, seed=1, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    expect(texts == [choice.message.content for choice in answer.choices], f"stream {texts} differs from whole")


@check
def chat_logprobs_have_alternatives(client, model):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=4, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    expect(len(content) == answer.usage.completion_tokens, "one entry per token")
    for entry in content:
        expect(entry.logprob <= 0 and len(entry.top_logprobs) == 3, "three alternatives")
        values = [top.logprob for top in entry.top_logprobs]
        expect(values == sorted(values, reverse=True), "alternatives are ordered")


@check
def completions_take_every_form_of_prompt(client, model):
    for prompt in ("Hello", ["Hello", "Good day"], [65, 66, 67], [[65, 66], [67]]):
        answer = client.completions.create(model=model, prompt=prompt, max_tokens=4)
        several = isinstance(prompt, list) and not isinstance(prompt[0], int)
        expect(len(answer.choices) == (len(prompt) if several else 1), f"choices for {prompt}")


@check
def echo_scores_the_prompt(client, model):
    answer = client.completions.create(model=model, prompt="Hello there", max_tokens=0, echo=True, logprobs=1)
    choice = answer.choices[0]
    expect(choice.text == "Hello there", f"echo gives {choice.text!r}")
    expect(choice.logprobs.token_logprobs[0] is None, "the first token has no log-prob")
    expect(all(value <= 0 for value in choice.logprobs.token_logprobs[1:]), "log-probs are not positive")
    expect(len(choice.logprobs.tokens) == answer.usage.prompt_tokens, "one entry per token of the prompt")


@check
def a_completion_streams(client, model):
    parts = list(client.completions.create(model=model, prompt="Hello", max_tokens=4, stream=True, **SOMETHING))
    expect("".join(part.choices[0].text for part in parts), "no text")
    expect(parts[-1].choices[0].finish_reason in ("stop", "length"), "no finish_reason")


@check
def errors_have_their_classes(client, model):
    def chat(**fields):
        arguments = {"model": model, "messages": MESSAGES, "max_tokens": 2, **fields}
        return lambda: client.chat.completions.create(**arguments)

    expect_error(openai.BadRequestError, 400, chat(temperature=-1), "temperature")
    expect_error(openai.BadRequestError, 400, chat(n=0), "n")
    expect_error(openai.BadRequestError, 400, chat(messages=[]), "messages")
    expect_error(openai.BadRequestError, 400, chat(extra_body={"temprature": 1}), "temprature")
    expect_error(openai.BadRequestError, 400, chat(tool_choice="required", tools=[]), "tool_choice")
    expect_error(openai.NotFoundError, 404, chat(model="no-such-model"), "model")
    expect_error(openai.NotFoundError, 404, lambda: client.models.retrieve("no-such-model"))
    expect_error(openai.BadRequestError, 400, lambda: client.completions.create(model=model, prompt="a" * 4_000_000))


@real
def greedy_answers_repeat(client, model):
    texts = {client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=24, temperature=0)
             .choices[0].message.content for _ in range(3)}
    expect(len(texts) == 1, f"greedy gave {texts}")


@real
def a_seed_repeats_and_choices_differ(client, model):
    def ask(seed):
        answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=24, n=3, seed=seed,
                                                temperature=1.5)
        return [choice.message.content for choice in answer.choices]

    expect(ask(7) == ask(7), "one seed, two answers")
    expect(len(set(ask(7))) > 1, "three equal choices at temperature 1.5")
    expect(ask(7) != ask(8), "two seeds, one answer")


@real
def the_drawn_seed_is_told_and_repeats(client, model):
    first = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=16).choices[0]
    seed = first.model_extra["seed"]
    again = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=16, seed=seed).choices[0]
    expect(first.message.content == again.message.content, f"seed {seed} gives another answer")


@real
def a_stop_string_is_cut(client, model):
    def ask(**fields):
        return client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=32, temperature=0, **fields)

    text = ask().choices[0].message.content
    stop = text[len(text) // 2:][:3]
    choice = ask(stop=stop).choices[0]
    expect(choice.finish_reason == "stop", choice.finish_reason)
    expect(choice.message.content == text[:text.index(stop)], "the text is not cut at the stop string")
    kept = ask(stop=stop, extra_body={"include_stop_str_in_output": True}).choices[0]
    expect(kept.message.content == text[:text.index(stop)] + stop, "the stop string is not kept")


@real
def a_bias_forces_a_token(client, model):
    answer = client.completions.create(model=model, prompt="Hello", max_tokens=3, logit_bias={"300": 100}, temperature=0,
                                       extra_body={"return_token_ids": True})
    expect(answer.choices[0].model_extra["token_ids"] == [300, 300, 300], "another token")


def run(base_url, api_key, shapes_only):
    client = openai.OpenAI(base_url=base_url + "/v1", api_key=api_key or "none", max_retries=0, timeout=120)
    model = client.models.list().data[0].id
    failures = 0
    for function in checks:
        if shapes_only and getattr(function, "needs_model", False):
            continue
        try:
            function(client, model)
            print("ok    ", function.__name__)
        except Exception as error:  # a failed check must not hide the others
            failures += 1
            print("FAILED", function.__name__, "-", error)
    if api_key:
        wrong = openai.OpenAI(base_url=base_url + "/v1", api_key=api_key + "x", max_retries=0)
        expect_error(openai.AuthenticationError, 401, lambda: wrong.models.list())
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("base_url", nargs="?")
    parser.add_argument("--api-key")
    parser.add_argument("--shapes-only", action="store_true")
    parser.add_argument("--serve", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not arguments.serve:
        return run(arguments.base_url.rstrip("/"), arguments.api_key, arguments.shapes_only)
    server = subprocess.Popen(arguments.serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        for line in server.stdout:
            address = re.search(r"https?://[^\s,]+", line)
            if address:
                return run(address.group().rstrip("/"), arguments.api_key, arguments.shapes_only)
        print("the server ended without an address")
        return 1
    finally:
        server.stdin.close()
        server.terminate()
        server.wait(timeout=60)


sys.exit(main())
