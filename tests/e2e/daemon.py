"""A `tenon daemon` with a registry and a store of its own, on a unix socket and a port. TENON and TENON_PLUGINS come from meson."""
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time

from registry_program import TINY, command, run
from server import free_port


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    """`settings` are lines of an .ini, over a pool `here` of this machine and a registry that holds tiny@v1."""

    def __init__(self, folder, settings="", model=TINY):
        self.folder, self.port = folder, free_port()
        self.socket = os.path.join(folder, "daemon.sock")
        self.ini = os.path.join(folder, "daemon.ini")
        self.log_path = os.path.join(folder, "daemon.log")
        with open(self.ini, "w") as file:
            file.write(f"[server]\nstore = {folder}/store\n[registry]\npath = {folder}/registry\n"
                       f"[plugins]\npath = {os.environ['TENON_PLUGINS']}\n"
                       f"[http_frontend]\nlisten = unix:{self.socket}, 127.0.0.1:{self.port}\n[pool here]\nhost_memory = true\n" + settings)
        run(command("registry", "log", "tiny", model, "--config", self.ini))
        self.start()

    def start(self):
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen([os.environ["TENON"], "daemon", self.ini, "--stop-engines"], stderr=log)
        end = time.time() + 60
        while "the daemon is ready" not in self.read_log():
            assert self.process.poll() is None and time.time() < end, self.read_log()
            time.sleep(0.02)

    def read_log(self):
        with open(self.log_path) as log:
            return log.read()

    def request(self, method, path, body=None, headers=None, tcp=False, timeout=120):
        """(status, parsed JSON or text). `path` below /admin/v1 if it does not say otherwise."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout) if tcp else UnixConnection(self.socket, timeout)
        data = json.dumps(body) if body is not None and not isinstance(body, (str, bytes)) else body
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        with contextlib.suppress(ValueError):
            return reply.status, json.loads(text)
        return reply.status, text

    def admin(self, method, path, body=None, **how):
        return self.request(method, "/admin/v1" + path, body, **how)

    def tenon(self, *arguments, code=0):
        return run(command(*arguments, "--config", self.ini), code)

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.read_log()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if kind:
            print("daemon log:\n" + self.read_log()[-3000:])
