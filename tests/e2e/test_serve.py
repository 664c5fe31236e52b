#!/usr/bin/env python3
"""A server in bad weather: port in use, model deleted or cut short while serving, a log that cannot be written, clients that vanish,
slow clients, a step loop that hangs, SIGTERM under load and while loading. Any model will do."""
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from server import Server, model


def stream_body(max_tokens, **fields):
    return json.dumps({"model": "smollm2", "stream": True, "temperature": 0, "max_tokens": max_tokens, "ignore_eos": True,
                       "messages": [{"role": "user", "content": "Count upwards from one."}], **fields})


def open_stream(server, max_tokens):
    """A raw connection with a streaming request sent and its first bytes read."""
    s = socket.create_connection(("127.0.0.1", server.port))
    body = stream_body(max_tokens)
    s.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
              f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
    assert s.recv(200).startswith(b"HTTP/1.1 200")
    return s


def wait_for(what, condition, seconds=30):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def test_port_in_use(server):
    done = subprocess.run([os.environ["TENON"], "serve", "--set", "plugins.path=" + os.environ["TENON_PLUGINS"], "--set",
                           "model.path=" + model(), "--set", f"http_frontend.listen=127.0.0.1:{server.port}"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and str(server.port) in done.stderr and "in use" in done.stderr, done.stderr


def test_a_short_request_cannot_ask_for_gigabytes(server):
    """Every choice repeats the prompts' scores: 100 kB here ask for 2.5 GB."""
    asked = {"prompt": [[1] * 3000] * 10, "echo": True, "logprobs": 20, "max_tokens": 0, "n": 128}
    status, _, body = server.request("POST", "/v1/completions", asked)
    error = body["error"]
    assert status == 400 and error["param"] == "n" and "MiB of the prompts' text, ids and scores, and 256 is the most" in error["message"], body


def vanish(server, clients):
    streams = [open_stream(server, 3900) for _ in range(clients)]
    wait_for("requests run", lambda: server.metric("tenon:num_requests_running") >= clients)
    busy = server.free_pages()
    for s in streams:
        s.close()
    wait_for("vanished clients are cancelled", lambda: server.metric("tenon:num_requests_running") == 0)
    return busy


def test_vanishing_clients_free_their_pages(server):
    """A leak would add 24 descriptors; an HTTP thread may see a peer's close only at its next event, hence the 4."""
    pages = server.free_pages()
    vanish(server, 6)
    before = server.descriptors()
    for _ in range(4):
        assert vanish(server, 6) <= pages - 6
        assert server.free_pages() == pages
    wait_for("descriptors are closed", lambda: server.descriptors() <= before + 4)


def test_slow_clients_do_not_hurt(server):
    """Connections that send a byte now and then; a healthy client is answered all the while."""
    slow = []
    for _ in range(1000):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\n")
        slow.append(s)
    begin = time.time()
    assert server.chat("Hello")["choices"][0]["message"]["content"]
    for s in slow[::10]:
        try:
            s.sendall(b"X")
        except OSError:
            pass  # the server may have closed it: that is its right
    assert server.chat("Hello again")["choices"]
    print(f"answered beside 1,000 slow connections in {time.time() - begin:.1f} s")
    for s in slow:
        s.close()


def test_a_reader_that_stops_reading_blocks_nobody(server):
    stuck = [open_stream(server, 3000) for _ in range(4)]
    assert server.chat("Are you there?")["choices"]
    for s in stuck:
        s.close()


def test_sigterm_lets_running_requests_finish():
    with Server() as server:
        s = open_stream(server, 60)
        server.process.send_signal(signal.SIGTERM)
        received = b""
        while chunk := s.recv(65536):
            received += chunk
            if b"[DONE]" in received:
                break
        assert b"[DONE]" in received, received[-300:]
        s.close()
        assert server.process.wait(60) == 0


def test_sigterm_ends_a_load():
    """It is blocked from the start here, so that it is there before the load."""
    done = subprocess.Popen([os.environ["TENON"], "serve", "--set", "plugins.path=" + os.environ["TENON_PLUGINS"], "--set",
                             "model.path=" + model(), "--set", "http_frontend.listen=127.0.0.1:0"], stderr=subprocess.PIPE, text=True,
                            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}))
    done.terminate()
    _, told = done.communicate(timeout=120)
    assert done.returncode == 0 and "tenon: Terminated before the model was loaded\n" in told and "is ready" not in told, told


def test_a_model_that_goes_while_serving_keeps_serving():
    """Deleted, or cut short in place as a careless copy over it does: weights and vocabulary are in memory by then."""
    question = "What is the capital of France?"
    for harm in (os.unlink, lambda path: os.truncate(path, 0)):
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copy(model(), os.path.join(folder, "model.gguf"))
            with Server(model_path=copy) as server:
                before = server.chat(question, max_tokens=24)["choices"][0]["message"]
                harm(copy)
                assert server.chat(question, max_tokens=24)["choices"][0]["message"] == before
                server.chat("Something else, so that all of the vocabulary's parts are used: \u00e9\u4e16 123")
                server.stop()


def test_a_log_that_cannot_be_written_stops_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "w") as full:
        for log in (full, writer):
            with Server(log=log) as server:
                assert server.chat("Hello")["choices"]
                server.stop()
    os.close(writer)


def step_loop(server):
    """The step loop's thread: the one that works while a request runs, known by its name."""
    tasks = f"/proc/{server.process.pid}/task"
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/comm") as name:
            if name.read().strip() == "tenon-engine":
                return int(task)
    raise AssertionError("no thread is called tenon-engine")


@contextlib.contextmanager
def held(thread):
    """Stops one thread of another process, as a debugger does. Raises PermissionError where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    seize, interrupt, detach = 0x4206, 0x4207, 17
    if libc.ptrace(seize, thread, None, None) or libc.ptrace(interrupt, thread, None, None):
        raise PermissionError(os.strerror(ctypes.get_errno()))
    os.waitpid(thread, 0x40000000)  # __WALL: threads too
    yield
    libc.ptrace(detach, thread, None, None)


def test_readiness_is_the_loops_own(server):
    """The HTTP threads answer all the while: /health says alive, /ready follows the heartbeat of the step loop."""
    assert server.request("GET", "/health")[0] == 200
    assert server.request("GET", "/ready")[0] == 200
    try:
        with held(step_loop(server)):
            wait_for("a loop that hangs is not ready", lambda: server.request("GET", "/ready")[0] == 503)
            assert server.request("GET", "/health")[0] == 200
    except PermissionError as error:
        print(f"readiness of a hung loop: not shown, no right to stop a thread ({error})")
    wait_for("a loop that goes on is ready", lambda: server.request("GET", "/ready")[0] == 200)
    assert server.chat("Hello")["choices"]


def test_idle_costs_no_cpu(server):
    def ticks():
        with open(f"/proc/{server.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    time.sleep(1)
    before = ticks()
    time.sleep(3)
    used = (ticks() - before) / os.sysconf("SC_CLK_TCK")
    print(f"idle: {used:.3f} s of CPU in 3 s")
    assert used <= 0.06


def main():
    model()
    with Server("engine.max_num_seqs=16") as server:
        pages = server.free_pages()
        test_readiness_is_the_loops_own(server)
        test_port_in_use(server)
        test_a_short_request_cannot_ask_for_gigabytes(server)
        test_idle_costs_no_cpu(server)
        test_vanishing_clients_free_their_pages(server)
        test_a_reader_that_stops_reading_blocks_nobody(server)
        test_slow_clients_do_not_hurt(server)
        wait_for("everything is over", lambda: server.metric("tenon:num_requests_running") == 0)
        assert server.free_pages() == pages
        server.stop()
    test_sigterm_lets_running_requests_finish()
    test_sigterm_ends_a_load()
    test_a_model_that_goes_while_serving_keeps_serving()
    test_a_log_that_cannot_be_written_stops_nothing()


main()
