#!/usr/bin/env python3
"""folder_readmes.py ROOT: every folder that holds source files has a README.

Files of data (golden files, fuzz corpora) are told about one level up, in the README of the folder they were made for.
"""
import os
import sys

TOPS = ["plugins", "runtime", "sdk", "share", "tests"]
DATA = ["tests/fuzz/corpus", "tests/reference/golden"]
TOLD_ABOVE = ["sdk/include/tenon", "sdk/python/tenon", "tests/unit/http", "tests/unit/gateway", "tests/fuzz/corpus"]


def without_readme(root):
    for top in TOPS:
        for folder, folders, files in os.walk(os.path.join(root, top)):
            folders[:] = [name for name in folders if name != "__pycache__"]
            path = os.path.relpath(folder, root)
            if path in DATA:
                folders.clear()
            if files and "README.md" not in files and path not in TOLD_ABOVE:
                yield path


if __name__ == "__main__":
    missing = list(without_readme(sys.argv[1]))
    for path in missing:
        print(f"{path}: no README.md: say what the folder is for, where to begin and what holds")
    sys.exit(bool(missing))
