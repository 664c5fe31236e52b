"""A tenon server for tests: TENON (program) and TENON_PLUGINS come from meson, TENON_TEST_MODEL from the caller."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time


def model():
    path = os.environ.get("TENON_TEST_MODEL")
    if not path:
        print("TENON_TEST_MODEL is not set: skipped")
        sys.exit(77)
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """`tenon serve` on a free port; `port`, `process`, `base` (URL). Its standard error is kept for messages, or goes to `log`."""

    def __init__(self, *settings, model_path=None, wait=120, log=None):
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.folder = tempfile.TemporaryDirectory()
        self.log_path = os.path.join(self.folder.name, "log")
        chosen = [f"plugins.path={os.environ['TENON_PLUGINS']}", f"model.path={model_path or model()}",
                  "model.served_model_name=smollm2,alias", f"http_frontend.listen=127.0.0.1:{self.port}", *settings]
        command = [os.environ["TENON"], "serve"]
        for setting in chosen:
            command += ["--set", setting]
        with open(self.log_path, "w") as kept:
            self.process = subprocess.Popen(command, stderr=log or kept)
        self.wait_ready(wait, says_so=log is None)

    def wait_ready(self, seconds, says_so):
        """The first HTTP thread answers while others are still being started: the server's own word for it comes after the last."""
        end = time.time() + seconds
        while time.time() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the server stopped with {self.process.returncode}:\n{self.read_log()}")
            with contextlib.suppress(OSError):
                if self.request("GET", "/ready")[0] == 200 and (not says_so or "is ready after" in self.read_log()):
                    return
            time.sleep(0.05)
        raise AssertionError(f"not ready after {seconds} s:\n{self.read_log()}")

    def read_log(self):
        with open(self.log_path) as log:
            return log.read()

    def request(self, method, path, body=None, headers=None, timeout=120):
        """(status, headers, parsed JSON or text)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        data = json.dumps(body) if body is not None and not isinstance(body, (str, bytes)) else body
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        with contextlib.suppress(ValueError):
            return reply.status, dict(reply.getheaders()), json.loads(text)
        return reply.status, dict(reply.getheaders()), text

    def chat(self, content, **fields):
        status, _, body = self.request("POST", "/v1/chat/completions", {
            "model": "smollm2", "temperature": 0, "max_tokens": 16, "messages": [{"role": "user", "content": content}],
            **fields})
        assert status == 200, body
        return body

    def memory(self):
        """Bytes of RssAnon + RssShmem now."""
        with open(f"/proc/{self.process.pid}/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        return sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def free_pages(self):
        """KV pages that no request holds; those that keep a prefix for later are free too."""
        text = self.request("GET", "/metrics")[2]
        pages = int(re.search(r'tenon:cache_config_info{[^}]*num_gpu_blocks="(\d+)"', text)[1])
        return round(pages * (1 - self.metric("tenon:kv_cache_usage_perc")))

    def metric(self, name):
        """Sum over the series of one metric."""
        text = self.request("GET", "/metrics")[2]
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                  if line.startswith(name + "{") or line.startswith(name + " ")]
        assert values, f"{name} is not in /metrics"
        return sum(values)

    def stop(self, code=0, seconds=60):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(seconds) == code, f"exit code {self.process.returncode}:\n{self.read_log()}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if kind:
            print("server log:\n" + self.read_log()[-3000:])
        self.folder.cleanup()
