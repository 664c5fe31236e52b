#!/usr/bin/env python3
"""Compares the reading of tokenizer.json with Hugging Face's tokenizers, one kind of component at a time.

Each variant is SmolLM2's tokenizer.json (golden/smollm2_tokenizer.json.gz) with another pre-tokenizer, normalizer or set of
added tokens; some have all that golden/tokenizer_headers.json took from the files of published models. Random strings are
tokenized by tokenizers and handed to tokenizer_bpe_differential, which opens the variant as part of a checkpoint directory.

Made with: tokenizers 0.23.3.
Usage: tokenizer_variants.py [-n 1000] [--only NAME] build/tests/reference/tokenizer_bpe_differential
"""
import argparse
import copy
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

import tokenizer_reference as reference
from random_text import random_text

HERE = os.path.dirname(os.path.abspath(__file__))
with open(HERE + "/golden/tokenizer_headers.json", encoding="utf-8") as headers:
    HEADERS = json.load(headers)
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
            r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]
BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
TAILS = [" fox", "fox ", "foxes", "the <|im_end|> fox", "e\u0301", "\ufb01\u0301", "don 't", " the", "1234567"]


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def byte_level(regex=False, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def steps(*parts):
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(parts)}}


def flags(**values):
    """All added tokens with these flags."""
    return lambda tokens, vocab: [token.update(values) for token in tokens]


def every_second_is_user_defined(tokens, _vocab):
    for token in tokens[1::2]:
        token["special"] = False


def more_words(tokens, vocab):
    new = len(vocab)
    for content, extra in [("fox", {"single_word": True}), ("quick", {}), ("the", {"lstrip": True}), ("  ", {}),
                           ("\u00e9", {"normalized": True}), ("\u0301", {"normalized": True}),
                           ("don", {"rstrip": True, "single_word": True}), ("\ufb01", {"normalized": True})]:
        token = {"id": vocab.get(content, new), "content": content, "single_word": False, "lstrip": False,
                 "rstrip": False, "normalized": False, "special": False, **extra}
        new += content not in vocab
        tokens.append(token)


def header(name):
    """Adds the tokens of a published model, behind the vocabulary."""
    def change(tokens, vocab):
        present, new = {token["content"] for token in tokens}, len(vocab)
        for token in HEADERS[name]["added_tokens"]:
            if token["content"] in present or token["content"] in vocab:
                continue
            tokens.append({"id": new, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                           "special": False, **token})
            new += 1
    return change


def whole_headers():
    """Name -> changes, of models whose tokenizer.json was found. A frame would need the ids of its own vocabulary."""
    return {name: {**{key: found[key] for key in ("normalizer", "pre_tokenizer", "decoder", "model")}, "added": header(name)}
            for name, found in HEADERS.items() if "model" in found}


def variants():
    """Name -> changes: members to replace, "model" to update, "added" a function on the added tokens."""
    v = {
        "byte_level": {"pre_tokenizer": byte_level(True)},
        "prefix_space": {"pre_tokenizer": byte_level(True, True)},
        "smollm": steps({"type": "Digits", "individual_digits": True}, byte_level(True)),
        "digits": steps({"type": "Digits", "individual_digits": False}, byte_level(True)),
        "falcon": steps({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(True),
                        {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]")),
        "llama3": {**steps(split(reference.CL100K % "{1,3}"), byte_level()), "model": {"ignore_merges": True}},
        "qwen2": {**steps(split(reference.CL100K % ""), byte_level()), "normalizer": {"type": "NFC"}},
        "gpt-4o": steps(split(CASED, "Removed", True), byte_level()),
        "deepseek-v3": steps(*[split(p) for p in DEEPSEEK], byte_level()),
        # By model, from memory: no copy of its tokenizer.json was found.
        "deepseek-r1-qwen": {**steps(split(reference.CL100K % ""), byte_level()), "normalizer": {
            "type": "Sequence", "normalizers": []}},
        "phi-4": {**steps(split(reference.CL100K % "{1,3}"), byte_level()), "added": header("phi-4")},
        "phi-4-mini": {**steps(split(CASED), byte_level()), "added": header("phi-4-mini")},
        "granite-3": steps({"type": "Digits", "individual_digits": True}, byte_level(True)),
        "gpt-oss": {**steps(split(CASED), byte_level()), "model": {"ignore_merges": False}, "added": header("gpt-oss")},
        "qwen3": {**steps(split(reference.CL100K % ""), byte_level()), "normalizer": {"type": "NFC"},
                  "added": header("qwen3")},
        "llama3.2": {**steps(split(reference.CL100K % "{1,3}"), byte_level()), "model": {"ignore_merges": True},
                     "added": header("llama3.2")},
        "deepseek-r1-llama": {**steps(split(reference.CL100K % "{1,3}"), byte_level()), "model": {"ignore_merges": True},
                              "added": header("deepseek-r1-llama")},
        "qwen3.5": {**steps(split(reference.CL100K.replace(r"\p{L}+", r"[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]") % ""), byte_level()), "normalizer": {"type": "NFC"}},
        "whitespace": steps({"type": "Whitespace"}, byte_level()),
        "whitespace_split": steps({"type": "WhitespaceSplit"}, byte_level()),
        "anchors": steps(split(r"^\s+|\s+$"), byte_level()),
        "word_chars": steps(split(r"\w+|\d"), byte_level()),
        "boundaries": steps(split(r"\d{1,3}(?=(?:\d{3})*\b)"), byte_level(True)),
        "zero_length": steps(split(r"(?=(\d{3})+(?!\d))|(?=[A-Z])"), byte_level(True)),
        "scripts": steps(split(r"[\p{Han}]+|\p{Hiragana}+|\p{Katakana}|\h+|[^\S\n]+"), byte_level(True)),
        "two_forms": {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "NFD"}]}},
        "lstrip": {"added": flags(lstrip=True)},
        "rstrip": {"added": flags(rstrip=True)},
        "both_strip": {"added": flags(lstrip=True, rstrip=True)},
        "user_defined": {"added": every_second_is_user_defined},
        "words": {"added": more_words},
        "words_nfkc": {"added": more_words, "normalizer": {"type": "NFKC"}},
    }
    v.update(whole_headers())
    for behavior in BEHAVIORS:
        v["string_" + behavior] = steps(split(" ", behavior, False, "String"), byte_level())
        v["punctuation_" + behavior] = steps({"type": "Punctuation", "behavior": behavior}, byte_level())
        for invert in (False, True):
            v["split_%s_%s" % (behavior, invert)] = steps(split(r"\s|[aeiou]+", behavior, invert), byte_level())
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        v[form] = {"normalizer": {"type": form}}
    return v


def apply(base, changes):
    spec = copy.deepcopy(base)
    for key, value in changes.items():
        if key == "model":
            spec["model"].update(value)
        elif key == "added":
            value(spec["added_tokens"], spec["model"]["vocab"])
        else:
            spec[key] = value
    return spec


def samples(spec, seed, n):
    """JSON lines of n random strings with what tokenizers makes of them."""
    ref, rng = reference.Reference(spec), random.Random(seed)
    vocab = spec["model"]["vocab"]
    missing = {b for b, c in enumerate(reference.byte_chars()) if c not in vocab}
    lines = []
    for _ in range(n):
        text = random_text(rng)
        if rng.random() < 0.2:
            text += rng.choice(spec["added_tokens"])["content"] + rng.choice(["", " ", "\n", "x"])
        if rng.random() < 0.3:
            text += rng.choice(TAILS) * 2 + text[:20]
        text = "".join(c for c in text if not missing.intersection(c.encode()))
        lines.append(json.dumps({"text": text, "ids": ref.encode(text, True), "ids_plain": ref.encode(text, False)}))
    return "\n".join(lines)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("program", help="tokenizer_bpe_differential")
    ap.add_argument("-n", type=int, default=1000, help="strings per variant")
    ap.add_argument("--only", help="one variant")
    args = ap.parse_args()
    with gzip.open(HERE + "/golden/smollm2_tokenizer.json.gz") as f:
        base = json.load(f)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("config.json", "model.safetensors"):
            shutil.copy("%s/golden/llama_tiny/%s" % (HERE, name), folder)
        for name, changes in variants().items():
            if args.only not in (None, name):
                continue
            spec = apply(base, changes)
            with open(folder + "/tokenizer.json", "w") as f:
                json.dump(spec, f, ensure_ascii=False)
            done = subprocess.run([args.program, "--lossy", folder], input=samples(spec, name, args.n),
                                  capture_output=True, text=True)
            failed += done.returncode != 0
            print(name, (done.stdout + done.stderr).strip() if done.returncode else "ok", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
