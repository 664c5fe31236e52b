#!/usr/bin/env python3
"""`tenon registry pull` from a hub over TLS, with an authority of the test's own: trusted if registry.ca_file names it, and not otherwise;
wrong names, dates and redirects are refused, the token goes to the hub alone, and proxies are those of the environment. Skipped (77)
without openssl."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

from fake_hub import Hub
from hf_cache import COMMIT
from test_registry_pull import MODEL, Pull

EXPIRED = ["-days", "-1"]


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_key(path):
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
    return path


class Authority:
    def __init__(self, folder, name):
        self.folder, self.name, self.key, self.file = folder, name, make_key(f"{folder}/{name}.key"), f"{folder}/{name}.pem"
        openssl("req", "-x509", "-new", "-key", self.key, "-subj", "/CN=" + name, "-days", "2", "-out", self.file)

    def certify(self, host, *more):
        """(certificate, key) for a host's name."""
        place = f"{self.folder}/{self.name}-{host}{len(more)}"
        key, extensions = make_key(place + ".key"), place + ".ext"
        with open(extensions, "w") as out:
            out.write(f"subjectAltName=DNS:{host}\n")
        openssl("req", "-new", "-key", key, "-subj", "/CN=" + host, "-out", place + ".csr")
        openssl("x509", "-req", "-in", place + ".csr", "-CA", self.file, "-CAkey", self.key, "-CAcreateserial", "-extfile", extensions,
                "-out", place + ".pem", *(more or ["-days", "2"]))
        return place + ".pem", key


def trusting(pull, authority, *more, **how):
    return pull("--set", "registry.ca_file=" + authority.file, *more, **how)


def test_trust(folder, ours, others):
    with Hub(MODEL, token="hf_secret", tls=ours.certify("localhost")) as hub:
        pull = Pull(folder + "/trust", hub, token="hf_secret")
        for words in (pull(code=1), trusting(pull, others, code=1)):
            assert "not to be trusted" in words and "registry.ca_file" in words and not hub.requests, words
        assert "not to be trusted" in pull("--set", f"registry.ca_file={folder}/none.pem", code=1)
        trusting(pull, ours)
        pull.whole()
        assert hub.asked("cdn") and {r.token for r in hub.asked("hub")} == {"Bearer hf_secret"}
        assert {r.token for r in hub.asked("cdn")} == {None}, "the token goes to the hub alone"


def test_certificates(folder, ours, _):
    for host, more, words in (("elsewhere", [], "localhost"), ("localhost", EXPIRED, "expired")):
        with Hub(MODEL, token="hf_secret", tls=ours.certify(host, *more)) as hub:
            said = trusting(Pull(folder + "/" + words, hub, token="hf_secret"), ours, code=1)
            assert "not to be trusted" in said and not hub.requests, said


def test_redirects(folder, ours, _):
    with Hub(MODEL) as plain, Hub(MODEL, token="hf_secret", tls=ours.certify("localhost")) as hub:
        pull = Pull(folder + "/redirects", hub, token="hf_secret")
        file = f"/acme/tiny/resolve/{COMMIT}/config.json"
        hub.ways["config.json"] = [("to", plain.url + file)]
        assert "which is not https" in trusting(pull, ours, code=1) and not plain.requests
        hub.ways["config.json"] = [("to", f"{hub.cdn}/config.json")]  # another port is another origin
        trusting(pull, ours)
        assert {r.token for r in hub.asked("cdn", "config.json")} == {None} and pull.whole()


class Proxy:
    """Refuses all that it is asked, and keeps it."""

    def __init__(self):
        self.asked, self.door = [], socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.door.getsockname()[1]}"
        threading.Thread(target=self.refuse, daemon=True).start()

    def refuse(self):
        while True:
            connection, _ = self.door.accept()
            with connection:
                self.asked.append(connection.recv(65536).decode())
                connection.sendall(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n")


def test_proxies(folder, ours, _):
    proxy = Proxy()
    with Hub(MODEL, token="hf_secret", tls=ours.certify("localhost")) as hub:
        pull = Pull(folder + "/proxies", hub, token="hf_secret")
        for name in ("https_proxy", "all_proxy"):
            pull.environment = {**Pull(folder, hub, token="hf_secret").environment, name: proxy.url}
            trusting(pull, ours, "--retries", "0", code=1)
            assert proxy.asked[-1].startswith("CONNECT localhost:") and "hf_secret" not in proxy.asked[-1] and not hub.requests
        pull.environment["no_proxy"] = "localhost"
        trusting(pull, ours)
        assert pull.whole() and len(proxy.asked) == 2


def main():
    if not shutil.which("openssl"):
        print("openssl is not here: skipped")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        ours, others = Authority(folder, "ours"), Authority(folder, "others")
        for test in (test_trust, test_certificates, test_redirects, test_proxies):
            test(folder, ours, others)


main()
