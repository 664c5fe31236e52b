"""A hub in the manner of Hugging Face's, on loopback ports: the API's answer with sizes and hashes, files under /resolve/, large ones
by a redirect to a second server, the "CDN", which has another origin. Ranges are honoured. Each file can be made to fail in a
list of ways, one per request."""
import contextlib
import gzip
import http.server
import json
import hashlib
import re
import ssl
import threading
import urllib.parse

from hf_cache import COMMIT, LARGE, git_blob


class Request:
    def __init__(self, server, handler):
        self.server, self.path = server, handler.path
        self.range = handler.headers.get("Range")
        self.token = handler.headers.get("Authorization")
        self.encoding = handler.headers.get("Accept-Encoding")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients are killed here, and connections cut: neither is worth a word."""


class Hub:
    """files: {name: bytes}. `ways`: {name: [way, ...]}, where a way is one of
       ("cut", n): n bytes, then the connection is closed      ("status", code[, headers])     ("whole",): ranges are ignored
       ("shift", n): a range that begins n bytes later          ("long", n): n bytes too many   ("bytes", data): other contents
       ("hang", n): n bytes, then nothing until release is set  ("to", url): a redirect
       ("again", n): the first n bytes, whatever range is asked for, then the connection is closed
       ("gzip",): compressed, though that is not asked for   ("terse", n): as "cut", with no blanks after its headers' colons
    tls: (certificate, key) files of the hub and its CDN, which are then at https://localhost.
    answer: a function that may change the API's answer (a dict, or bytes to be sent as they are)."""

    def __init__(self, files, token=None, tls=None):
        self.tls = tls
        self.files, self.token = dict(files), token
        self.ways, self.requests, self.answer = {}, [], lambda answer: answer
        self.api_ways, self.release = [], threading.Event()
        self.gate = None  # a threading.Barrier that requests for large files meet at
        self.lock = threading.Lock()
        self.servers = [self.start("hub"), self.start("cdn")]
        self.url, self.cdn = (("https://localhost" if tls else "http://127.0.0.1") + f":{s.server_address[1]}" for s in self.servers)

    def start(self, name):
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                with hub.lock:
                    hub.requests.append(Request(name, self))
                with contextlib.suppress(ConnectionError, BrokenPipeError):
                    hub.handle(name, self)

        server = Server(("127.0.0.1", 0), Handler)
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def close(self):
        self.release.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def next_way(self, name):
        with self.lock:
            ways = self.ways.get(name)
            return ways.pop(0) if ways else ("good",)

    def asked(self, server, name=""):
        with self.lock:
            return [r for r in self.requests if r.server == server and name in urllib.parse.unquote(r.path)]

    # ---- answers ----

    def reply(self, handler, status, body=b"", headers=(), cut=None):
        handler.send_response(status)
        for key, value in dict(headers).items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:cut])
        handler.close_connection = cut is not None and cut < len(body)

    def handle(self, server, handler):
        path = urllib.parse.urlsplit(handler.path)
        if server == "cdn":
            return self.send_file(handler, urllib.parse.unquote(path.path[1:]))
        if self.token and handler.headers.get("Authorization") != f"Bearer {self.token}":
            return self.reply(handler, 401, b"no")
        if match := re.fullmatch(r"/api/models/acme/tiny/revision/([^/]+)", path.path):
            known = urllib.parse.unquote(match[1]) in ("main", "refs/pr/1", COMMIT) and path.query == "blobs=true"
            way = self.api_ways.pop(0) if self.api_ways else ("good",)
            if way[0] == "status":
                return self.reply(handler, way[1], b"later", way[2] if len(way) > 2 else ())
            body = self.answer(self.describe())
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            return self.reply(handler, 200 if known else 404, body, cut=way[1] if way[0] == "cut" else len(body))
        if match := re.fullmatch(r"/acme/tiny/resolve/" + COMMIT + "/(.+)", path.path):
            return self.resolve(handler, urllib.parse.unquote(match[1]))
        return self.reply(handler, 404, b"nothing here")

    def describe(self):
        siblings = []
        for name, data in self.files.items():
            entry = {"rfilename": name, "size": len(data), "blobId": git_blob(data)}
            if len(data) >= LARGE:
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append(entry)
        return {"id": "acme/tiny", "sha": COMMIT, "siblings": siblings, "private": False}

    def resolve(self, handler, name):
        if name not in self.files:
            return self.reply(handler, 404, b"no such file")
        if len(self.files[name]) < LARGE:
            return self.send_file(handler, name)
        return self.reply(handler, 302, b"<a>", {"Location": f"{self.cdn}/{urllib.parse.quote(name)}?signature=1"})

    def send_file(self, handler, name):
        data, way = self.files[name], self.next_way(name)
        if self.gate and len(data) >= LARGE:
            self.gate.wait(30)
        if way[0] == "status":
            return self.reply(handler, way[1], b"later", way[2] if len(way) > 2 else ())
        if way[0] == "to":
            return self.reply(handler, 302, b"", {"Location": way[1]})
        if way[0] == "bytes":
            data = way[1]
        if way[0] == "gzip":
            return self.reply(handler, 200, gzip.compress(data), {"Content-Encoding": "gzip"})
        first = 0
        if (match := re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")) and way[0] not in ("whole", "again"):
            first = int(match[1])
        if first >= len(data) and first:
            return self.reply(handler, 416)
        first += way[1] if way[0] == "shift" else 0
        body = data[first:] + (b"x" * way[1] if way[0] == "long" else b"")
        handler.send_response(206 if first else 200)
        if first and way[0] == "terse":
            handler._headers_buffer.append(b"Content-Range:bytes %d-%d/%d\r\n" % (first, len(data) - 1, len(data)))
        elif first:
            handler.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if way[0] in ("cut", "again", "hang", "terse"):
            handler.wfile.write(body[:way[1]])
            handler.wfile.flush()
            if way[0] == "hang":
                self.release.wait(60)
            handler.close_connection = True
            handler.connection.close()
            return None
        handler.wfile.write(body)
        return None
