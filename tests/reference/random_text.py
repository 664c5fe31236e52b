"""Random strings of many kinds of pieces, for tokenizers to be compared on."""
WORDS = ("the quick brown fox jumps over a lazy dog Tokenizer inference runtime "
         "Hello WORLD iPhone snake_case camelCase don't it's we'll THEY'LL I'M "
         "you're O'Reilly's 'LL 'S 'tis rock'n'roll int main(void) return "
         "http://example.org/a?b=c&d=%20 a@b.co x==y !== -> => ::").split()
CONTRACTIONS = ["'s", "'S", "'t", "'T", "'re", "'RE", "'ve", "'Ve", "'m", "'M",
                "'ll", "'LL", "'lL", "'d", "'D", "\u2019s", "'", "''", "'x"]
SPACES = [" ", "  ", "   ", "     ", "\n", "\n\n", "\r\n", "\t", "\t\t", " \n",
          "\n ", "  \n\n  ", "\r", "\v", "\f", "\u00a0", "\u2003", "\u3000",
          "\u200b", "\ufeff", "\u2028", "\u0085", "\u1680", "\u180e"]
EMOJI = ["\U0001f600", "\U0001f44d\U0001f3fd", "\u2764\ufe0f",
         "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
         "\U0001f1e9\U0001f1ea", "\U0001f3f3\ufe0f\u200d\U0001f308", "\u263a",
         "1\ufe0f\u20e3", "\U0001fae0"]
LOOKALIKES = ["<|endoftext|", "|endoftext|>", "<|im_start|>", "<|im_end|>",
              "<|im_end |>", "<|endoftext|>", "< |im_start|>", "<|", "|>",
              "<|IM_END|>", "<|im_start|><|im_start|>", "<s>", "</s>", "[INST]",
              "<repo_name>", "<file_sep", "<|im_<|im_end|>"]
RANGES = [(0xc0, 0x17f), (0x370, 0x3ff), (0x400, 0x4ff), (0x5d0, 0x5ea),
          (0x620, 0x64a), (0x660, 0x669), (0x905, 0x939), (0xe01, 0xe2e),
          (0x10a0, 0x10c5), (0x1e00, 0x1eff), (0x2070, 0x2089), (0x2150, 0x218b),
          (0x2190, 0x21ff), (0x2460, 0x249b), (0x3041, 0x3096), (0x30a1, 0x30fa),
          (0xff10, 0xff5a), (0x10400, 0x1044f), (0x1d400, 0x1d454),
          (0x1d7ce, 0x1d7ff), (0x20000, 0x20100)]


def random_text(rng):
    """Return one random string of a mixture of many kinds of pieces."""
    def chars(lo, hi, n):
        return "".join(chr(rng.randint(lo, hi)) for _ in range(n))

    def piece():
        kind = rng.randrange(14)
        n = rng.randint(1, 6)
        if kind <= 2:
            return " ".join(rng.choice(WORDS) for _ in range(n))
        if kind == 3:
            return rng.choice(WORDS) + rng.choice(CONTRACTIONS)
        if kind == 4:
            return "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 3)))
        if kind == 5:
            return chars(0x30, 0x39, rng.randint(1, 12))
        if kind == 6:
            return chars(*rng.choice(RANGES), n)
        if kind == 7:
            return "".join(rng.choice(EMOJI) for _ in range(rng.randint(1, 3)))
        if kind == 8:  # letters and digits with combining marks
            return "".join(rng.choice("aeiounAEO1 ") + chars(0x300, 0x36f,
                           rng.randint(1, 2)) for _ in range(n))
        if kind == 9:
            return rng.choice([chars(0x4e00, 0x9fa5, n), chars(0xac00, 0xd7a3, n)])
        if kind == 10:
            return chars(0x00, 0x1f, rng.randint(1, 3)) + chars(0x7f, 0x9f, 1)
        if kind == 11:
            return rng.choice(LOOKALIKES)
        if kind == 12:
            return chars(0x20, 0x7e, 2 * n)
        c = 0xd800  # any code point but the surrogates
        while 0xd800 <= c <= 0xdfff:
            c = rng.randint(1, 0x10ffff)
        return chr(c)

    glue = rng.choice(["", "", " ", " ", "\n"])
    return glue.join(piece() for _ in range(rng.randint(1, 12)))


MARKS = ["<start_of_turn>", "<end_of_turn>", "<|user|>\n ", "<|end|> x", "  ", "   ", "\n\n", "\t\t", "\u2581",
         "\u2581\u2581", "<0x0A>", "<table>", "</s>", "\u3000", "\ufb01"]


def marked_text(rng):
    """Return a random string without NUL, often with what SentencePiece vocabularies treat specially."""
    text = random_text(rng)
    if rng.random() < 0.4:
        text += rng.choice(MARKS) * rng.randint(1, 3) + text[:20]
    return text.replace("\0", "")  # ends a text in llama.cpp
