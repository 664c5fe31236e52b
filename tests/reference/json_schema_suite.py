#!/usr/bin/env python3
"""Makes golden/json_schema_suite.json: schemas of the JSON-Schema-Test-Suite (draft 2020-12) with documents that obey
them and documents that do not.

  json_schema_suite.py SUITE/tests/draft2020-12 > golden/json_schema_suite.json

SUITE: https://github.com/json-schema-org/JSON-Schema-Test-Suite, MIT licence, Copyright (c) 2012 Julian Berman.

A grammar accepts one order of properties, that of the schema, and one spelling of characters and numbers. So documents
are written that way: names in the order in which the schema first has them, then the others, and 1.0 as 1. Of files
about keywords that grammars do not know only the schemas are kept, since those must be refused. Left out are format.json
(a format constrains here, there it does not) and what needs another document (refRemote, vocabulary).
"""
import json
import pathlib
import sys

LEFT_OUT = {"format", "refRemote", "vocabulary"}
KNOWN = {"additionalProperties", "allOf", "anyOf", "boolean_schema", "const", "default", "enum", "exclusiveMaximum",
         "exclusiveMinimum", "infinite-loop-detection", "items", "maxItems", "maxLength", "maximum", "minItems",
         "minLength", "minimum", "oneOf", "pattern", "prefixItems", "properties", "ref", "required", "type", "defs",
         "uniqueItems", "content", "propertyNames"}
DOCUMENT_BYTES_MAX = 400


def names_of(schema, names):
    """Property names in the order in which a schema has them."""
    if isinstance(schema, list):
        for item in schema:
            names_of(item, names)
    elif isinstance(schema, dict):
        for key in ("properties", "const"):
            if isinstance(schema.get(key), dict):
                names.extend(name for name in schema[key] if name not in names)
        for value in schema.values():
            names_of(value, names)
        for name in schema.get("required", []) if isinstance(schema.get("required"), list) else []:
            if name not in names:
                names.append(name)
    return names


def in_order(value, names):
    if isinstance(value, dict):
        known = [name for name in names if name in value]
        return {name: in_order(value[name], names) for name in known + [n for n in value if n not in names]}
    if isinstance(value, list):
        return [in_order(item, names) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def main():
    cases = []
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
        if path.stem in LEFT_OUT:
            continue
        for case in json.loads(path.read_text()):
            schema = case["schema"]
            if isinstance(schema, dict):
                schema = {key: value for key, value in schema.items() if key != "$schema"}
            entry = {"name": f"{path.stem}: {case['description']}", "schema": json.dumps(schema, ensure_ascii=False)}
            if path.stem in KNOWN:
                names = names_of(schema, [])
                for verdict in (True, False):
                    texts = [json.dumps(in_order(test["data"], names), ensure_ascii=False)
                             for test in case["tests"] if test["valid"] == verdict]
                    entry["valid" if verdict else "invalid"] = [t for t in texts if len(t) <= DOCUMENT_BYTES_MAX]
            cases.append(entry)
    print("[" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "]")


if __name__ == "__main__":
    main()
