"""A daemon that says what a test tells it to, on a unix socket or a port: for the commands that are its clients."""
import http.server
import json
import os
import socketserver
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        call = (self.command, self.path.removeprefix("/admin/v1"), json.loads(body) if body else None)
        self.server.calls.append(call)
        self.server.headers_seen.append(dict(self.headers))
        code, reply = self.server.script(*call)
        text = reply if isinstance(reply, bytes) else b"" if reply is None else json.dumps(reply).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Content-Type", "text/plain" if isinstance(reply, bytes) else "application/json")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer

    def address_string(self):
        return "client"

    def log_message(self, *_):
        pass


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class FakeDaemon:
    """`script(method, path, body)` gives (code, JSON, bytes or None); `calls` are those that came. `address` is for --server."""

    def __init__(self, script, path=None):
        self.path = path
        self.server = UnixServer(path, Handler) if path else TcpServer(("127.0.0.1", 0), Handler)
        self.address = "unix:" + path if path else f"http://127.0.0.1:{self.server.server_address[1]}"
        self.server.script, self.server.calls, self.server.headers_seen = script, [], []
        self.calls, self.headers = self.server.calls, self.server.headers_seen
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        if self.path:
            os.unlink(self.path)
