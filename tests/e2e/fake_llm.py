"""A scripted model server on a loopback port or a Unix socket: what it does is in the prompt, so that tests say it row by row.

A prompt that is a JSON object is an order, anything else is answered with "re: PROMPT":
  {"status": 503, "times": 2, "retry_after": 1, "error": {...}}   that status the first `times` times (default: always), then an answer
  {"body": "text"}        these bytes as the body of a 200        {"hang": true}      no answer until the client hangs up
  {"wait": 0.2}           an answer after so many seconds         {"cut": true}       half an answer, then the connection is closed ("times", too)
  {"gate": true}          an answer once `gate` is set           {"after": 40}       an answer once so many requests have come
`key` in an order tells it from others. What clients did is in `requests`, `bodies`, `in_flight_max`, `hang_ups`."""
import collections
import http.server
import json
import os
import select
import socket
import socketserver
import threading
import time


class TcpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        """Clients hang up on purpose."""


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        """Clients hang up on purpose."""


class Fake:
    def __init__(self, socket_path=None, models=("m",)):
        self.lock = threading.Lock()
        self.models, self.version, self.gate = list(models), 1, threading.Event()
        self.seen, self.bodies, self.keys = {}, collections.deque(maxlen=200), collections.deque(maxlen=200)
        self.requests = self.in_flight = self.in_flight_max = self.hang_ups = self.connections = 0
        self.busy = 0  # so many times /tokenize is refused with 503
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                with fake.lock:
                    fake.connections += 1

            def log_message(self, *_):
                pass

            def address_string(self):
                return "client"

            def do_GET(self):
                fake.send(self, 200, {"data": [{"id": name, "created": fake.version} for name in fake.models]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with fake.lock:
                    fake.requests += 1
                    fake.bodies.append((self.path, body))
                    fake.keys.append(self.headers.get("Authorization"))
                    fake.in_flight += 1
                    fake.in_flight_max = max(fake.in_flight_max, fake.in_flight)
                try:
                    fake.answer(self, body)
                finally:
                    with fake.lock:
                        fake.in_flight -= 1

        if socket_path:
            self.server, self.address = UnixServer(socket_path, Handler), "unix:" + socket_path
            os.chmod(socket_path, 0o777)
        else:
            self.server = TcpServer(("127.0.0.1", 0), Handler)
            self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def forget(self):
        with self.lock:
            self.seen, self.bodies, self.keys = {}, collections.deque(maxlen=200), collections.deque(maxlen=200)
            self.requests = self.in_flight_max = self.hang_ups = 0

    def send(self, handler, status, body, headers=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **(headers or {})}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(data)

    def say(self, handler, body, text):
        choice = {"index": 0, "finish_reason": "stop", "text": text} if "prompt" in body else \
                 {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        if body.get("allowed_token_ids"):
            choice["token_ids"] = [body["allowed_token_ids"][-1]]
        self.send(handler, 200, {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})

    def refuse(self, handler, status, message, param=None, code=None, headers=None):
        self.send(handler, status, {"error": {"message": message, "type": "x", "param": param, "code": code}}, headers)

    def answer(self, handler, body):
        if body.get("model") not in self.models:
            return self.refuse(handler, 404, f"the model '{body.get('model')}' does not exist", "model", "model_not_found")
        if handler.path == "/tokenize" and self.busy > 0:
            self.busy -= 1
            return self.refuse(handler, 503, "busy")
        if handler.path == "/tokenize":
            ids = list(body["prompt"].encode())
            return self.send(handler, 200, {"count": len(ids), "tokens": ids})
        if handler.path == "/v1/embeddings":
            return self.send(handler, 200, {"data": [{"embedding": [0.5, -1, len(body["input"])]}]})
        if "bad" in body:
            return self.refuse(handler, 400, "unknown field 'bad'", "bad")
        prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        order = {}
        if isinstance(prompt, str) and prompt.startswith('{"'):
            order = json.loads(prompt)
        return self.obey(handler, body, prompt, order)

    def obey(self, handler, body, prompt, order):
        with self.lock:
            count = self.seen[prompt] = self.seen.get(prompt, 0) + 1
        if "wait" in order:
            time.sleep(order["wait"])
        if "gate" in order:
            self.gate.wait(60)
        if "after" in order:
            self.wait_for_requests(order["after"])
        if "status" in order and count <= order.get("times", 1 << 30):
            error = order.get("error", {})
            headers = {"Retry-After": order["retry_after"]} if "retry_after" in order else {}
            return self.refuse(handler, order["status"], error.get("message", "said so"), error.get("param"), error.get("code"),
                               headers)
        if "body" in order:
            return self.send(handler, 200, order["body"].encode())
        if "cut" in order and count <= order.get("times", 1 << 30):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"choices\"")
            handler.close_connection = True
            return None
        if "hang" in order:
            return self.hang(handler)
        return self.say(handler, body, "re: " + prompt)

    def wait_for_requests(self, count, seconds=60):
        end = time.time() + seconds
        while self.requests < count and time.time() < end:
            time.sleep(0.01)

    def hang(self, handler):
        end = time.time() + 60
        while time.time() < end:
            ready, _, _ = select.select([handler.connection], [], [], 0.1)
            if ready and not handler.connection.recv(1, socket.MSG_PEEK):
                with self.lock:
                    self.hang_ups += 1
                break
        handler.close_connection = True

    def close(self):
        self.server.shutdown()
        self.server.server_close()
