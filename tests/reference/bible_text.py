#!/usr/bin/env python3
"""Write a plain-text extract of the King James Bible (public domain in most places).

The text comes from Debian's packages bible-kjv and bible-kjv-text: the
program `bible -f` prints one verse a line as "Ge1:1 In the beginning ...".
The reference before the first space is cut off, so that the extract is one
verse a line from Genesis 1:1 on, ASCII, each line ending in a line feed.  The
extract is cut at the last line end within --bytes bytes.

Made with: bible-kjv 4.38 and bible-kjv-text 4.38 (Debian 12).
Usage: bible_text.py [--bytes 50000] --out golden/bible_50k.txt
"""
import argparse
import subprocess


def extract(limit):
    """Return the first verses, whole lines only, at most `limit` bytes."""
    raw = subprocess.run(["bible", "-f", "Gen1:1-Rev22:21"], check=True,
                         stdout=subprocess.PIPE).stdout
    out = b"".join(line.split(b" ", 1)[1] + b"\n"
                   for line in raw.splitlines() if b" " in line)
    if len(out) > limit:
        out = out[:out.rindex(b"\n", 0, limit) + 1]
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--bytes", type=int, default=50000)
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    with open(args.out, "wb") as f:
        f.write(extract(args.bytes))


if __name__ == "__main__":
    main()
