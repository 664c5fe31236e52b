#!/usr/bin/env python3
"""Compares tokenizer_spm with sentencepiece and with Hugging Face's tokenizers, one kind of model at a time.

Small SentencePiece models are trained on golden/bible_50k.txt and on letters of many scripts, each with other options;
tokenizer.json variants are made from their pieces, with the normalizers, pre-tokenizers and decoders that converted
models have. Random strings are tokenized by the reference and handed to tokenizer_spm_differential, which opens the
variant as part of a checkpoint directory. --golden writes some of them to golden/spm instead: NAME.model or NAME.json
and NAME.jsonl, in which "decoded" is what decoding "ids_plain" gives, where that has no unknown.

Two things are ours on purpose and kept out of the strings: the text of a special token is never that token unless asked
for, though sentencepiece's unigram and tokenizers' Unigram would find it as a piece.

Made with: sentencepiece 0.2.3, tokenizers 0.23.3.
Usage: spm_variants.py [-n 1000] [--only NAME] build/tests/reference/tokenizer_spm_differential
       spm_variants.py --golden golden/spm [-n 36]
"""
import argparse
import base64
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import Tokenizer

import random_text
import tokenizer_reference as reference

HERE = os.path.dirname(os.path.abspath(__file__))
SPACE = "\u2581"
CONTROL = ["[INST]", "[/INST]", "<|end|>"]
USER = ["<u>", SPACE * 2, SPACE * 4, "\n", "\n\n", "fox", "\u00e9t\u00e9"]
# A charsmap small enough to keep: letters alone and together, a ligature, a letter with a mark, spaces, one that goes.
RULES = "".join("%s\t%s\n" % (" ".join("%X" % ord(c) for c in a), " ".join("%X" % ord(c) for c in b)) for a, b in
                [("\uff21", "A"), ("\uff21\uff22", "Z"), ("\uff41", "a"), ("\ufb01", "fi"), ("e\u0301", "\u00e9"),
                 ("\u00a0", " "), ("\u3000", " "), ("\u200b", " "), ("\t", " "), ("\u00ad", ""), ("\u2460", "1"),
                 ("\uac00", "\u1100\u1161")])
EXTRA = USER + CONTROL + ["  ", "\u3000", "the fox", "e\u0301", "\ufb01", "\uff21", "\uff21\uff22", "Qfox",
                          "\u00ad", SPACE]


def corpus():
    rng = random.Random(5)
    with open(HERE + "/golden/bible_50k.txt", encoding="utf-8") as f:
        lines = [line.strip() for line in f if line.strip()]
    lines = lines[:300]
    for low, high in random_text.RANGES[:9] + [(0x3041, 0x3060), (0x4e00, 0x4e20)]:
        for _ in range(8):
            lines.append(" ".join("".join(chr(rng.randint(low, low + 9)) for _ in range(4)) for _ in range(4)))
    lines += [" ".join(random_text.WORDS)] * 4
    lines += ["".join(str(rng.randint(0, 9)) for _ in range(20)) for _ in range(20)]
    return lines


def train(vocab=330, **options):
    """A trained ModelProto, as bytes."""
    out = io.BytesIO()
    rules = options.pop("rules", None)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", delete=False) as f:
        f.write(rules or "")
    if rules:
        options["normalization_rule_tsv"] = f.name
    options = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
               "remove_extra_whitespaces": False, "control_symbols": CONTROL, "user_defined_symbols": USER,
               "character_coverage": 0.985, "minloglevel": 2, "hard_vocab_limit": False, **options}
    if rules:
        del options["normalization_rule_name"]
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus()), model_writer=out,
                                             vocab_size=vocab + (256 if options["byte_fallback"] else 0), **options)
    os.unlink(f.name)
    return out.getvalue()


def edit(model, change):
    """The model with a function applied to its ModelProto."""
    parsed = proto.ModelProto()
    parsed.ParseFromString(model)
    change(parsed)
    return parsed.SerializeToString()


def drop_letters(parsed):
    """Letters that are no piece, though longer pieces hold them."""
    kept = [p for p in parsed.pieces if p.piece not in ("e", "t", SPACE)]
    del parsed.pieces[:]
    parsed.pieces.extend(kept)


def equal_scores(parsed):
    for piece in parsed.pieces:
        if piece.type == 1:
            piece.score = round(piece.score / 40)


def some_unused(parsed):
    for piece in parsed.pieces[300::7]:
        if piece.type == 1 and len(piece.piece) > 1:
            piece.type = 5


def near_user_piece(parsed):
    """A piece that is almost as good as a user-defined one behind a letter."""
    for text, score in (("Q", -3.0), ("Qfox", -2.9)):
        piece = parsed.pieces.add()
        piece.piece, piece.score, piece.type = text, score, 1


class Pieces:
    """Encodes with sentencepiece; control symbols are recognised on request."""

    def __init__(self, model):
        self.proto = proto.ModelProto()
        self.proto.ParseFromString(model)
        self.sp = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.control = {p.piece: i for i, p in enumerate(self.proto.pieces) if p.type in (2, 3)}
        self.split = re.compile("(%s)" % "|".join(re.escape(c) for c in sorted(self.control, key=len, reverse=True)))

    def encode(self, text, parse_special):
        if not parse_special:
            return self.sp.encode(text)
        ids = []
        for part in self.split.split(text):
            ids += [self.control[part]] if part in self.control else self.sp.encode(part)
        return ids

    def decode(self, ids):
        return self.sp.decode(ids)


class Json(reference.Reference):
    def decode(self, ids):
        return self.plain.decode(ids, skip_special_tokens=False)


def merges_of(parsed):
    """Rules that build each piece, in the order of scores, as converters write them."""
    ids = {p.piece: i for i, p in enumerate(parsed.pieces) if p.type not in (2, 3, 6)}
    rules = []
    for text, i in ids.items():
        for at in range(1, len(text)):
            if text[:at] in ids and text[at:] in ids:
                rules.append((-parsed.pieces[i].score, ids[text[:at]], ids[text[at:]], [text[:at], text[at:]]))
    return [rule[3] for rule in sorted(rules)]


def added(parsed, **flags):
    return [{"id": i, "content": p.piece, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": p.type != 4, **flags} for i, p in enumerate(parsed.pieces) if p.type in (2, 3, 4)]


PREPEND = {"type": "Prepend", "prepend": SPACE}
ESCAPE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
PLAIN_DECODER = {"type": "Sequence", "decoders": DECODER["decoders"][:3]}


def meta(scheme, split):
    return {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": split}


def cut(behavior, text=" "):
    return {"type": "Split", "pattern": {"String": text}, "behavior": behavior, "invert": False}


def sequence(kind, *parts):
    return {"type": "Sequence", kind: list(parts)}


def bpe_json(model, normalizer, pre=None, decoder=DECODER, flags=None, **options):
    parsed = proto.ModelProto()
    parsed.ParseFromString(model)
    return {"version": "1.0", "added_tokens": added(parsed, **(flags or {})), "normalizer": normalizer,
            "pre_tokenizer": pre, "post_processor": None, "decoder": decoder,
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                      "vocab": {p.piece: i for i, p in enumerate(parsed.pieces)}, "merges": merges_of(parsed),
                      **options}}


def unigram_json(model, normalizer, pre, decoder=None, byte_fallback=False):
    parsed = proto.ModelProto()
    parsed.ParseFromString(model)
    return {"version": "1.0", "added_tokens": added(parsed), "normalizer": normalizer, "pre_tokenizer": pre,
            "post_processor": None, "decoder": decoder or meta("always", True),
            "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": byte_fallback,
                      "vocab": [[p.piece, p.score] for p in parsed.pieces]}}


def charsmap(model):
    parsed = proto.ModelProto()
    parsed.ParseFromString(model)
    return {"type": "Precompiled",
            "precompiled_charsmap": base64.b64encode(parsed.normalizer_spec.precompiled_charsmap).decode()}


def without_bytes(model):
    def change(parsed):
        kept = [p for p in parsed.pieces if p.type != 6]
        del parsed.pieces[:]
        parsed.pieces.extend(kept)
    return edit(model, change)


def variants():
    """Name -> tokenizer.model (bytes) or tokenizer.json (dict). Those of `large` are not kept as golden files."""
    bpe, uni = train(), train(model_type="unigram")
    plain = train(model_type="unigram", byte_fallback=False)
    rules = train(model_type="unigram", byte_fallback=False, rules=RULES, remove_extra_whitespaces=True)
    v = {
        "bpe": bpe,
        "bpe_no_prefix": train(add_dummy_prefix=False),
        "bpe_suffix": train(treat_whitespace_as_suffix=True),
        "bpe_unknown": train(byte_fallback=False),
        "bpe_rules": train(rules=RULES, remove_extra_whitespaces=True),
        "bpe_missing": edit(bpe, drop_letters),
        "bpe_ties": edit(bpe, equal_scores),
        "unigram": uni,
        "unigram_unknown": plain,
        "unigram_rules": rules,
        "unigram_suffix": train(model_type="unigram", treat_whitespace_as_suffix=True, remove_extra_whitespaces=True),
        "unigram_user": edit(uni, near_user_piece),
        "unigram_unused": edit(uni, some_unused),
        "json_llama": bpe_json(bpe, sequence("normalizers", PREPEND, ESCAPE)),
        "json_gemma": bpe_json(bpe, ESCAPE, cut("MergedWithPrevious"), PLAIN_DECODER),
        "json_first": bpe_json(bpe, None, meta("first", False)),
        "json_always": bpe_json(bpe, None, meta("always", True), ignore_merges=True),
        "json_never": bpe_json(bpe, None, meta("never", True), PLAIN_DECODER),
        "json_unknown": bpe_json(without_bytes(bpe), sequence("normalizers", PREPEND, ESCAPE), byte_fallback=False),
        "json_unknowns": bpe_json(without_bytes(bpe), ESCAPE, fuse_unk=False, decoder=PLAIN_DECODER),
        "json_strip": bpe_json(bpe, sequence("normalizers", PREPEND, ESCAPE), flags={"lstrip": True, "rstrip": True}),
        "json_normalized": bpe_json(bpe, sequence("normalizers", PREPEND, ESCAPE), flags={"normalized": True}),
        "json_words": bpe_json(bpe, {"type": "NFKC"}, sequence("pretokenizers", {"type": "WhitespaceSplit"},
                                                              meta("always", True))),
        "json_t5": unigram_json(rules, charsmap(rules), sequence("pretokenizers", {"type": "WhitespaceSplit"},
                                                                 meta("always", True))),
        "json_xlmr": unigram_json(rules, sequence(
            "normalizers", charsmap(rules), {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": SPACE}), meta("always", True)),
        "json_unigram_bytes": unigram_json(uni, None, meta("first", False), DECODER, True),
    }
    for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        v["json_" + behavior] = bpe_json(bpe, None, cut(behavior), PLAIN_DECODER)
    nfkc = train(model_type="unigram", normalization_rule_name="nmt_nfkc", remove_extra_whitespaces=True)
    large = {
        "bpe_nmt_nfkc": train(normalization_rule_name="nmt_nfkc", remove_extra_whitespaces=True),
        "bpe_nfkc_cf": train(normalization_rule_name="nfkc_cf"),
        "unigram_nmt_nfkc": nfkc,
        "json_nmt_nfkc": unigram_json(nfkc, charsmap(nfkc), meta("always", True), None, True),
    }
    return v, large


UNKNOWN = 0
GOLDEN = ["bpe", "bpe_unknown", "bpe_rules", "bpe_missing", "bpe_ties", "unigram_user", "unigram_rules", "json_llama",
          "json_gemma", "json_first", "json_t5", "json_unigram_bytes"]
SPECIAL = re.compile(r"</?s>|<unk>|<pad>|<0x..>")


# Letters whose graphemes Unicode has changed.
UNSETTLED = re.compile("[\u0e00-\u0fff\u1000-\u1cff\ua800-\uabff\ud7b0-\ud7ff\U00010a00-\U00011fff"
                       "\U0001f000-\U0010ffff]")


def sample_text(rng, by_grapheme):
    text = random_text.random_text(rng)
    if rng.random() < 0.4:
        text += rng.choice(EXTRA) * rng.randint(1, 3) + text[:20]
    text = SPECIAL.sub("", text)
    return UNSETTLED.sub("", text) if by_grapheme else text


def make(model):
    return Json(model) if isinstance(model, dict) else Pieces(model)


def samples(name, model, n, golden):
    ref, rng, lines = make(model), random.Random(name), []
    is_json = isinstance(model, dict)
    mapped = is_json and "Precompiled" in json.dumps(model)
    special = [t["content"] for t in model["added_tokens"] if t["special"]] if is_json else CONTROL
    for i in range(n):
        text = sample_text(rng, mapped)
        if golden:  # shorter, and every extra in turn
            text = text[:rng.randint(0, 30)] + EXTRA[i % len(EXTRA)] + EXTRA[(7 * i + 3) % len(EXTRA)]
        line = {"text": text, "ids": ref.encode(text, True)}
        # A Unigram of tokenizers takes the text of a special token for the piece.
        if not (is_json and model["model"]["type"] == "Unigram" and any(s in text for s in special)):
            line["ids_plain"] = ref.encode(text, False)
        if golden and UNKNOWN not in line.get("ids_plain", [UNKNOWN]):
            line["decoded"] = ref.decode(line["ids_plain"])
        lines.append(json.dumps(line, separators=(",", ":"), ensure_ascii=True))
    return "\n".join(lines) + "\n"


def save(path, model):
    if isinstance(model, dict):
        with open(path + ".json", "w", encoding="utf-8") as f:
            json.dump(model, f, ensure_ascii=False, separators=(",", ":"))
    else:
        with open(path + ".model", "wb") as f:
            f.write(model)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("program", nargs="?", help="tokenizer_spm_differential")
    ap.add_argument("-n", type=int, default=1000, help="strings per variant")
    ap.add_argument("--only", help="one variant")
    ap.add_argument("--golden", help="folder to write the small variants to")
    args = ap.parse_args()
    small, large = variants()
    if args.golden:
        for name in GOLDEN:
            model = small[name]
            save("%s/%s" % (args.golden, name), model)
            with open("%s/%s.jsonl" % (args.golden, name), "w") as f:
                f.write(samples(name, model, args.n, True))
        return
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("config.json", "model.safetensors"):
            shutil.copy("%s/golden/llama_tiny/%s" % (HERE, name), folder)
        for name, model in {**small, **large}.items():
            if args.only not in (None, name):
                continue
            save(folder + "/tokenizer", model)
            done = subprocess.run([args.program, "--lossy", folder], input=samples(name, model, args.n, False),
                                  capture_output=True, text=True)
            os.unlink(folder + "/tokenizer" + (".json" if isinstance(model, dict) else ".model"))
            failed += done.returncode != 0
            print(name, (done.stdout + done.stderr).strip() if done.returncode else "ok", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
