#!/usr/bin/env python3
"""Answers that obey a schema, from a model whose weights are random: at temperature 1 every one of them must.

What an answer is checked with here is written for each schema by hand, so that it shares nothing with the compiler; where
python3 has jsonschema, that has its say as well."""
import concurrent.futures
import json
import re

from server import Server

try:
    import jsonschema
except ImportError:
    jsonschema = None

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HI = [{"role": "user", "content": "Describe a product."}]

PRODUCT = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["fruit", "tool", None]},
        "price": {"type": "number", "minimum": 0, "exclusiveMaximum": 1000},
        "count": {"type": "integer", "minimum": -3, "maximum": 12},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-\\d{3}$"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 6}, "minItems": 1, "maxItems": 3},
        "since": {"type": "string", "format": "date"},
        "maker": {"anyOf": [{"$ref": "#/$defs/maker"}, {"type": "null"}]},
    },
    "required": ["kind", "price", "count", "code", "tags", "since", "maker"],
    "additionalProperties": False,
    "$defs": {"maker": {"type": "object", "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 5}, "owner": {
        "anyOf": [{"$ref": "#/$defs/maker"}, {"type": "null"}]}}, "required": ["name"], "additionalProperties": False}},
}
# Ends soon whatever is drawn: no free text.
SMALL = {"type": "object", "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer", "minimum": 0, "maximum": 99}},
         "required": ["ok"], "additionalProperties": False}


def check_maker(maker):
    if maker is None:
        return
    assert set(maker) <= {"name", "owner"} and 1 <= len(maker["name"]) <= 5, maker
    check_maker(maker.get("owner"))


def check_product(text):
    value = json.loads(text)
    assert list(value) == PRODUCT["required"], text
    assert value["kind"] in ("fruit", "tool", None) and 0 <= value["price"] < 1000, text
    assert type(value["count"]) is int and -3 <= value["count"] <= 12, text
    assert re.fullmatch(r"[A-Z]{2}-[0-9]{3}", value["code"]), text
    assert 1 <= len(value["tags"]) <= 3 and all(len(tag) <= 6 for tag in value["tags"]), text
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", value["since"]), text
    check_maker(value["maker"])
    if jsonschema:
        jsonschema.validate(value, PRODUCT)


def check_small(text):
    value = json.loads(text)
    assert list(value) in (["ok"], ["ok", "n"]) and type(value["ok"]) is bool and 0 <= value.get("n", 0) <= 99, text


def schema(of, strict=True):
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": strict, "schema": of}}


def ask(server, path, **fields):
    body = {"temperature": 1.0, "max_tokens": 400, **fields}
    body.update({"messages": HI} if path == CHAT else {"prompt": "Describe a product:"})
    return server.request("POST", path, body)


def texts(reply):
    status, _, body = reply
    assert status == 200, body
    return [(c["message"]["content"] if "message" in c else c["text"], c["finish_reason"]) for c in body["choices"]]


def whole(reply, check):
    for text, finish in texts(reply):
        assert finish == "stop", (finish, text)
        check(text)


def obeys(server):
    for seed in range(12):
        whole(ask(server, CHAT, seed=seed, temperature=1.5, response_format=schema(PRODUCT)), check_product)
    whole(ask(server, CHAT, seed=1, temperature=0, response_format=schema(SMALL)), check_small)
    whole(ask(server, TEXT, seed=2, structured_outputs={"json": PRODUCT}), check_product)
    whole(ask(server, TEXT, seed=2, structured_outputs={"json": json.dumps(SMALL)}, n=3), check_small)
    whole(ask(server, CHAT, seed=3, structured_outputs={"choice": ["red", "green", "gr\u00fcn"]}, n=4),
          lambda text: texts and text in ("red", "green", "gr\u00fcn") or 1 / 0)
    whole(ask(server, TEXT, seed=4, structured_outputs={"regex": "a{2,4}(\u00e9|[0-9]+x)"}),
          lambda text: re.fullmatch("a{2,4}(\u00e9|[0-9]+x)", text) or 1 / 0)
    # An object of anything may be long: cut or whole.
    for text, finish in texts(ask(server, CHAT, seed=5, response_format={"type": "json_object"}, n=4, max_tokens=200)):
        assert text.lstrip().startswith("{") and finish in ("stop", "length")
        assert finish == "length" or isinstance(json.loads(text), dict)
    # The end of a document is the end, whatever else is asked for; a limit cuts it.
    whole(ask(server, CHAT, seed=6, response_format=schema(SMALL), min_tokens=100, ignore_eos=True), check_small)
    (text, finish), = texts(ask(server, CHAT, seed=6, response_format=schema(PRODUCT), max_tokens=5))
    assert finish == "length" and text, text
    # Beside other rules for tokens: penalties, biases, stop strings, allowed tokens.
    whole(ask(server, CHAT, seed=7, response_format=schema(SMALL), frequency_penalty=1, repetition_penalty=1.2,
              logit_bias={"48": 5}, logprobs=True, top_logprobs=3), check_small)
    (text, finish), = texts(ask(server, CHAT, seed=8, response_format=schema(SMALL), stop=["\"ok\""]))
    assert finish == "stop" and "ok" not in text, text
    tokens = server.request("POST", "/tokenize", {"prompt": '{"ok": true}', "add_special_tokens": False})[2]["tokens"]
    (text, finish), = texts(ask(server, CHAT, seed=9, response_format=schema(SMALL), allowed_token_ids=tokens))
    assert json.loads(text) == {"ok": True}, text


def streams(server):
    status, _, body = ask(server, CHAT, seed=4, response_format=schema(PRODUCT), stream=True)
    assert status == 200
    chunks = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    check_product("".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]))


def refuses(server):
    def refused(message, path=CHAT, **fields):
        for stream in (False, True):
            status, _, body = ask(server, path, stream=stream, **fields)
            assert status == 400 and message in body["error"]["message"], body
            assert body["error"]["param"] in fields, body

    refused("#/properties/a/not: this keyword is not supported", response_format=schema({"properties": {"a": {"not": {}}}}))
    refused("unknown keyword", response_format=schema({"requird": ["a"]}))
    refused("allows no text", response_format=schema({"allOf": [{"type": "string"}, {"type": "null"}]}))
    refused("too large", response_format=schema({"type": "string", "maxLength": 10 ** 6}))
    refused("needs json_schema.schema", response_format={"type": "json_schema"})
    refused("'grammar' that is not supported", TEXT, structured_outputs={"grammar": "root ::= a"})
    refused("look-around", TEXT, structured_outputs={"regex": "(?=a)b"})
    refused("at most 65536", TEXT, structured_outputs={"regex": "a" * 70000})
    status, _, body = ask(server, CHAT, response_format={"type": "json_object"}, structured_outputs={"choice": ["a"]})
    assert status == 400 and "contradict" in body["error"]["message"], body


def neighbours(server):
    """Unconstrained requests say the same beside constrained ones as alone."""
    def plain(seed):
        return texts(ask(server, TEXT, seed=seed, max_tokens=40, ignore_eos=True))

    alone = [plain(seed) for seed in range(4)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        beside = [pool.submit(ask, server, CHAT, seed=s, response_format=schema(PRODUCT), n=2) for s in range(8)]
        together = [pool.submit(plain, seed) for seed in range(4)]
        assert [future.result() for future in together] == alone
        for future in beside:
            whole(future.result(), check_product)
    again = [texts(ask(server, CHAT, seed=s, response_format=schema(PRODUCT), n=2)) for s in range(8)]
    assert again == [texts(future.result()) for future in beside], "an answer depends on its neighbours"


def preempted(alone):
    """With too few pages for all, sequences lose theirs and are computed anew: their documents go on where they were."""
    with Server("model.max_model_len=192", "engine.kv_cache_memory_bytes=400k", "engine.enable_prefix_caching=false") as server:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda s: texts(ask(server, CHAT, seed=s, max_tokens=120, response_format=schema(PRODUCT))), range(8)))
        assert answers == alone, "a preempted answer differs"
        assert server.metric("tenon:num_preemptions_total") > 0, "nothing was preempted"
        server.stop()


def openai_package(server):
    try:
        import openai
        import pydantic
    except ImportError:
        return print("python3 has no openai: its part is left out")

    class Small(pydantic.BaseModel):
        ok: bool
        colour: pydantic.constr(max_length=4) | None

    client = openai.OpenAI(base_url=f"{server.base}/v1", api_key="none")
    answer = client.chat.completions.parse(model="smollm2", messages=HI, response_format=Small, seed=3, max_tokens=200)
    assert isinstance(answer.choices[0].message.parsed, Small), answer


def main():
    with Server() as server:
        obeys(server)
        streams(server)
        refuses(server)
        neighbours(server)
        openai_package(server)
        alone = [texts(ask(server, CHAT, seed=s, max_tokens=120, response_format=schema(PRODUCT))) for s in range(8)]
        server.stop()
    preempted(alone)


if __name__ == "__main__":
    main()
