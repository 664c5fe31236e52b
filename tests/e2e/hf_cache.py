"""A model directory in the layout of Hugging Face's cache: models--ORG--NAME with refs, snapshots of links, and blobs by hash."""
import hashlib
import os

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 4096  # bytes from which on a hub keeps files outside Git, under their SHA-256


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def make_cache(folder, files, org="acme", name="tiny", commit=COMMIT, ref="main"):
    """files: {name: bytes}. Returns the entry's path."""
    entry = os.path.join(folder, f"models--{org}--{name}")
    for part in ("blobs", "refs", "snapshots/" + commit):
        os.makedirs(os.path.join(entry, part), exist_ok=True)
    with open(os.path.join(entry, "refs", ref), "w") as out:
        out.write(commit)
    for file, data in files.items():
        blob = hashlib.sha256(data).hexdigest() if len(data) >= LARGE else git_blob(data)
        with open(os.path.join(entry, "blobs", blob), "wb") as out:
            out.write(data)
        path = os.path.join(entry, "snapshots", commit, file)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(os.path.relpath(os.path.join(entry, "blobs", blob), os.path.dirname(path)), path)
    return entry


def read_directory(path):
    """{name: bytes} of the files of a model directory."""
    return {name: open(os.path.join(path, name), "rb").read() for name in sorted(os.listdir(path))}
