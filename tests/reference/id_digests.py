"""Hashes of tokenized strings, one for each PER of them: what a golden file keeps of a hundred thousand."""
import hashlib
import json

PER = 1000


class Digests:
    def __init__(self):
        self.done, self.hash, self.count = [], hashlib.sha256(), 0

    def add(self, text, ids, plain):
        """ids: special tokens recognised; plain: not."""
        self.hash.update(json.dumps([text, list(ids), list(plain)]).encode() + b"\n")
        self.count += 1
        if self.count % PER == 0:
            self.done.append(self.hash.hexdigest()[:16])
            self.hash = hashlib.sha256()
