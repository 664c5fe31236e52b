#!/usr/bin/env python3
"""OpenAI's files and batches and the administrator's jobs of a daemon, over a real engine on the tiny model: what they answer, what they
refuse, who sees whose, and that no row is lost or asked twice when the daemon or its engine is killed at any moment."""
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

from daemon import Daemon
from registry_program import command, run
from server import Server

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../sdk/python"))
import tenon
from tenon import InputSpec, JobSpec, OutputSpec

KILLS = int(os.environ.get("TENON_TEST_KILLS", "30"))
SERVICE = {"name": "chat", "model": "tiny", "pool": "here", "settings": {"max_model_len": 128, "max_num_seqs": 4}}
ENDED = ("completed", "failed", "expired", "cancelled")
LIMITS = "[batch]\nmax_file_bytes = 20MiB\nmax_total_bytes = 40MiB\nwindow = 8\n"


def line(custom_id, model="chat", url="/v1/completions", method="POST", **body):
    body = {"model": model, "prompt": [1, 2, 3], "max_tokens": 2, "temperature": 0, **body}
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": body})


def form(content, purpose=b"batch", filename=b"rows.jsonl", boundary=b"cut", more=b""):
    return (b'--%s\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n%s\r\n' % (boundary, purpose) + more +
            b'--%s\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\nContent-Type: application/jsonl\r\n\r\n' %
            (boundary, filename) + content + b"\r\n--%s--\r\n" % boundary)


def send(daemon, body, content_type="multipart/form-data; boundary=cut", **how):
    headers = {"Content-Type": content_type, **how.pop("headers", {})}
    return daemon.request("POST", "/v1/files", body, headers, **how)


def upload(daemon, *lines, **how):
    status, file = send(daemon, form("\n".join(lines).encode() + b"\n"), **how)
    assert status == 200, file
    return file


def refused(reply, code, words, param=None):
    assert reply[0] == code and words in reply[1]["error"]["message"], reply
    if param:
        assert reply[1]["error"]["param"] == param, reply


def order(daemon, file, endpoint="/v1/completions", **fields):
    how = fields.pop("how", {})
    return daemon.request("POST", "/v1/batches", {"input_file_id": file["id"], "endpoint": endpoint, "completion_window": "24h", **fields}, **how)


def wait(daemon, batch, state=None, seconds=120, **how):
    end = time.time() + seconds
    while batch["status"] not in ENDED and batch["status"] != state:
        assert time.time() < end, (batch, daemon.read_log()[-2000:])
        time.sleep(0.02)
        status, batch = daemon.request("GET", "/v1/batches/" + batch["id"], **how)
        assert status == 200, batch
    assert state is None or batch["status"] == state, batch
    return batch


def content(daemon, file_id, **how):
    status, text = daemon.request("GET", f"/v1/files/{file_id}/content", **how)
    assert status == 200, text
    if isinstance(text, dict):
        return [text]
    return [json.loads(row) for row in text.splitlines()]


def wait_for_no_folder(daemon):
    """A job has ended a moment before its folder is gone."""
    end = time.time() + 30
    while folders := [entry.name for entry in os.scandir(daemon.folder + "/store/jobs") if entry.is_dir()]:
        assert time.time() < end, f"folders of jobs that have ended: {folders}"
        time.sleep(0.02)


# ---- what they answer ----

def check_files(daemon):
    rows = b"{}\r\n--cu\r\n-\r\r\n--cu t is none\n\r"
    ids = []
    for name, kept in ((b"a.jsonl", "a.jsonl"), (b"../../etc/x.jsonl", "x.jsonl"), ("é \\\"q\\\".jsonl".encode(), 'é "q".jsonl')):
        status, file = send(daemon, form(rows, filename=name))
        assert status == 200 and file["filename"] == kept and file["bytes"] == len(rows) and file["object"] == "file", file
        assert daemon.request("GET", "/v1/files/" + file["id"]) == (200, file)
        assert daemon.request("GET", f"/v1/files/{file['id']}/content")[1] == rows.decode()
        ids.append(file["id"])
    listed = daemon.request("GET", "/v1/files?order=asc&limit=2")[1]
    assert [f["id"] for f in listed["data"]] == ids[:2] and listed["has_more"] is True and "owner" not in listed["data"][0]
    listed = daemon.request("GET", f"/v1/files?order=asc&after={ids[1]}&purpose=batch")[1]
    assert [f["id"] for f in listed["data"]] == ids[2:] and listed["has_more"] is False
    assert daemon.request("GET", "/v1/files?purpose=batch_output")[1]["data"] == []
    expiring = b'--cut\r\nContent-Disposition: form-data; name="expires_after[anchor]"\r\n\r\ncreated_at\r\n' \
               b'--cut\r\nContent-Disposition: form-data; name="expires_after[seconds]"\r\n\r\n3600\r\n'
    status, file = send(daemon, form(rows, more=expiring))
    assert status == 200 and file["expires_at"] == file["created_at"] + 3600
    for file_id in ids + [file["id"]]:
        assert daemon.request("DELETE", "/v1/files/" + file_id) == (200, {"id": file_id, "object": "file", "deleted": True})
        refused(daemon.request("GET", "/v1/files/" + file_id), 404, "there is no file")
    for path in ("/v1/files?limit=0", "/v1/files?order=up", "/v1/files?after=file-x", "/v1/files?what=1", "/v1/batches?limit=101"):
        assert daemon.request("GET", path)[0] == 400, path
    assert daemon.request("PUT", "/v1/files", {})[0] == 405
    assert os.listdir(daemon.folder + "/store/files") == []


def check_batch(daemon):
    file = upload(daemon, *[line(f"r{i}", prompt=[1, 2, 3 + i % 40]) for i in range(100)], line("long", max_tokens=9999))
    status, batch = order(daemon, file, metadata={"who": "me"})
    assert status == 200 and batch["status"] == "validating" and batch["metadata"] == {"who": "me"}, batch
    assert batch["input_file_id"] == file["id"] and batch["expires_at"] == batch["created_at"] + 86400
    batch = wait(daemon, batch)
    assert batch["status"] == "completed" and batch["request_counts"] == {"total": 101, "completed": 100, "failed": 1}, batch
    rows = content(daemon, batch["output_file_id"])
    assert [row["custom_id"] for row in rows] == [f"r{i}" for i in range(100)]
    assert all(row["error"] is None and row["response"]["status_code"] == 200 and row["response"]["body"]["choices"] for row in rows)
    (bad,) = content(daemon, batch["error_file_id"])
    assert bad["custom_id"] == "long" and bad["error"] is None and bad["response"]["status_code"] == 400, bad
    assert bad["response"]["body"]["error"]["code"] == "context_length_exceeded", bad
    assert daemon.request("GET", "/v1/files?purpose=batch_output")[1]["data"][0]["bytes"] > 0
    assert daemon.request("GET", "/v1/batches?limit=1")[1]["data"] == [batch]
    refused(daemon.request("POST", f"/v1/batches/{batch['id']}/cancel", b""), 409, "completed")
    wait_for_no_folder(daemon)


def check_cancel(daemon):
    file = upload(daemon, *[line(f"r{i}", max_tokens=100) for i in range(3000)])
    batch = wait(daemon, order(daemon, file)[1], "in_progress")
    while batch["request_counts"]["completed"] == 0 and batch["status"] == "in_progress":
        batch = daemon.request("GET", "/v1/batches/" + batch["id"])[1]
    refused(daemon.request("DELETE", "/v1/files/" + file["id"]), 409, "cancel it first")
    status, told = daemon.request("POST", f"/v1/batches/{batch['id']}/cancel", b"")
    assert status == 200 and told["status"] == "cancelling" and told["cancelling_at"], told
    batch = wait(daemon, told)
    counts = batch["request_counts"]
    assert batch["status"] == "cancelled" and 0 < counts["completed"] < counts["total"] == 3000, batch
    rows = content(daemon, batch["output_file_id"])
    assert [row["custom_id"] for row in rows] == [f"r{i}" for i in range(counts["completed"])], "what was answered is kept"
    never = content(daemon, batch["error_file_id"])
    assert [row["custom_id"] for row in never] == [f"r{i}" for i in range(counts["completed"], 3000)], "and the others are told"
    assert all(row["response"] is None and row["error"]["code"] == "batch_cancelled" for row in never) and counts["failed"] == 0, counts


def check_wrong_batches(daemon):
    good = line("a")
    cases = [
        ([good, "{", line("a"), line("b", url="/v1/embeddings"), line("c", method="GET"), line("d", model="x" + "é" * 60), line("e", stream=True),
          json.dumps({"key": "f", "prompt": "x"}), line("g", url="/v1/chat/completions", messages=[])],
         ["invalid_json_line 2", "duplicate_custom_id 3", "invalid_url 4", "invalid_method 5", "mismatched_model 6", "invalid_request 7",
          "missing_required_parameter 8", "mismatched_url 9"]),
        ([""], ["empty_file None"]),
        ([good, '{"custom_id": "' + "x" * (17 << 20) + '"}', good], ["line_too_long 2"]),
        ([line("a", model="none")], ["model_not_found None"]),
    ]
    for lines, wanted in cases:
        file = upload(daemon, *lines)
        batch = wait(daemon, order(daemon, file)[1], "failed")
        assert [f"{e['code']} {e['line']}" for e in batch["errors"]["data"]] == wanted and batch["failed_at"], batch
        assert all("'xé" in e["message"] for e in batch["errors"]["data"] if e["code"] == "mismatched_model"), batch
        assert daemon.request("DELETE", "/v1/files/" + file["id"])[0] == 200
    file = upload(daemon, good)
    refused(order(daemon, file, "/v1/embeddings"), 400, "/v1/chat/completions", "endpoint")
    refused(order(daemon, file, completion_window="1h"), 400, "24h", "completion_window")
    refused(order(daemon, file, metadata={"a": 1}), 400, "metadata", "metadata")
    refused(order(daemon, {"id": "file-none"}), 404, "no file", "input_file_id")
    refused(order(daemon, {"id": "../jobs/x"}), 404, "no file", "input_file_id")
    refused(order(daemon, file, surprise=1), 400, "surprise", "surprise")
    refused(daemon.request("GET", "/v1/batches/batch_none"), 404, "there is no batch")
    assert daemon.request("DELETE", "/v1/files/" + file["id"])[0] == 200


# ---- hostile uploads ----

def raw(daemon, head, body=b"", half=False):
    """The first line of the answer to bytes as they are; half: the client leaves before the end."""
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        connection.settimeout(20)
        connection.sendall(b"POST /v1/files HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + body)
        return b"" if half else connection.recv(4096).partition(b"\r\n")[0]


def check_hostile(daemon):
    whole = form(b"{}\n")
    kind = b"Content-Type: multipart/form-data; boundary=cut\r\n"
    begun = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    wrong = [
        ("multipart/form-data", whole), ("multipart/form-data; boundary=", whole), ("multipart/form-data; boundary=" + "x" * 71, whole),
        ('multipart/form-data; boundary="a\tb"', whole), (None, whole[:-8]), (None, b""), (None, b"--cut--"), (None, whole.replace(b'"file"', b'"fil"')),
        (None, whole.replace(b"form-data; name", b"attachment; name")), (None, whole.replace(b'; filename="rows.jsonl"', b"")),
        (None, whole.replace(b"rows.jsonl", b"a\0b")), (None, whole.replace(b"rows.jsonl", b"a\x07b")), (None, whole.replace(b"rows.jsonl", b"\xff\xfe")),
        (None, whole.replace(b"rows.jsonl", b"x" * 256)), (None, b"--cut\r\n" + b"A: b\r\n" * 3000 + whole), (None, whole.replace(b"--cut\r\n", b"--cutx\r\n")),
        (None, form(b"x", purpose=b"fine-tune")), (None, form(b"x", purpose=b"b" * 100)), (None, whole.replace(b"--cut--", b"") + whole),
        (None, whole.replace(b"Content-Type: application/jsonl", b"Content-Transfer-Encoding: base64")), (None, begun + b"x\r\n--cut--"),
        (None, b"".join(b'--cut\r\nContent-Disposition: form-data; name="n%d"\r\n\r\n' % i for i in range(20)) + whole),
    ]
    for content_type, body in wrong:
        reply = send(daemon, body, content_type or "multipart/form-data; boundary=cut")
        assert reply[0] == 400 and reply[1]["error"]["message"], (content_type, body[:200], reply)
    assert b" 415 " in raw(daemon, b"Content-Type: application/json\r\nContent-Length: 5\r\n")
    assert b" 403 " in raw(daemon, kind + b"Origin: http://evil.example\r\nContent-Length: 5\r\n"), "a page may send forms unasked"
    assert send(daemon, form(b"x" * ((20 << 20) + 1)))[0] == 413
    assert b" 413 " in raw(daemon, kind + b"Content-Length: 3221225472\r\n"), "3 GB, before a byte of it"
    assert b" 413 " in raw(daemon, kind + b"Content-Length: 99999999999999999999\r\n")
    assert b" 400 " in raw(daemon, kind + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")
    for head, body in ((b"Content-Length: 1000\r\n", whole), (b"Transfer-Encoding: chunked\r\n", b"10\r\n--cut"), (b"Content-Length: 100000000\r\n", b"")):
        raw(daemon, kind + head, begun + b"x" * 100000 if not body else body, half=True)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (whole[i:i + 7] for i in range(0, len(whole), 7))) + b"0\r\n\r\n"
    assert b" 200 " in raw(daemon, kind + b"Transfer-Encoding: chunked\r\n", chunks), "of no told length, in small pieces"
    endless = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    assert b" 413 " in raw(daemon, kind + b"Transfer-Encoding: chunked\r\n", endless * 21 + b"0\r\n\r\n"), "what stands before the form is bounded, too"
    assert daemon.request("DELETE", "/v1/files/" + daemon.request("GET", "/v1/files")[1]["data"][0]["id"])[0] == 200
    files = [upload(daemon, "x" * (19 << 20))["id"] for _ in range(2)]
    refused(send(daemon, form(b"x" * (3 << 20))), 413, "max_total_bytes")
    for file_id in files:
        assert daemon.request("DELETE", "/v1/files/" + file_id)[0] == 200
    end = time.time() + 20
    while os.listdir(daemon.folder + "/store/files") and time.time() < end:
        time.sleep(0.02)
    assert os.listdir(daemon.folder + "/store/files") == [], "nothing is left of what was not whole"


# ---- who sees whose ----

def check_owners(folder):
    tokens = {name: run(command("token", "create", name, "--scope", scope, "--file", folder + "/tokens")).strip()
              for name, scope in (("ann", "batch"), ("bob", "batch"), ("joe", "infer"), ("root", "admin"))}

    def as_(name):
        return {"headers": {"Authorization": "Bearer " + tokens[name]}, "tcp": True}

    with Daemon(folder, LIMITS + f"[auth]\ntoken_file = {folder}/tokens\n") as daemon:
        assert daemon.admin("POST", "/services", SERVICE)[0] == 201
        file = upload(daemon, line("a"), **as_("ann"))
        batch = order(daemon, file, how=as_("ann"))[1]
        batch = wait(daemon, batch, "completed", **as_("ann"))
        for path in ("/v1/files/" + file["id"], f"/v1/files/{batch['output_file_id']}/content", "/v1/batches/" + batch["id"]):
            assert daemon.request("GET", path, **as_("ann"))[0] == 200 and daemon.request("GET", path, **as_("root"))[0] == 200, path
            assert daemon.request("GET", path, **as_("bob"))[0] == 404 and daemon.request("GET", path, **as_("joe"))[0] == 403, path
            assert daemon.request("GET", path, tcp=True)[0] == 401 and daemon.request("GET", path)[0] == 200, path
        assert daemon.request("GET", "/v1/files", **as_("bob"))[1]["data"] == [] and daemon.request("GET", "/v1/batches", **as_("bob"))[1]["data"] == []
        assert len(daemon.request("GET", "/v1/files", **as_("ann"))[1]["data"]) == 2
        refused(order(daemon, file, how=as_("bob")), 404, "no file")
        refused(daemon.request("GET", "/v1/files?after=" + file["id"], **as_("bob")), 400, "names no file", "after")
        assert daemon.request("DELETE", "/v1/files/" + file["id"], **as_("bob"))[0] == 404
        assert daemon.request("GET", "/admin/v1/jobs", **as_("ann"))[0] == 403
        assert daemon.admin("GET", "/jobs", **as_("root"))[1]["jobs"][0]["created_by"] == "ann"
        daemon.stop()


# ---- jobs over what lies on the daemon's machine ----

def wait_job(daemon, job, seconds=120):
    end = time.time() + seconds
    while job["state"] not in ENDED:
        assert time.time() < end, job
        time.sleep(0.02)
        job = daemon.admin("GET", "/jobs/" + job["id"])[1]
    return job


WRITER = "import fcntl, sys, time; log = open(sys.argv[1], 'a'); fcntl.lockf(log, fcntl.LOCK_EX); print('locked', flush=True); sys.stdin.read()"


def check_writer_is_left_alone(daemon, asked):
    """A `tenon batch run` of somebody else's at the same output is not taken for an orphan of the daemon's."""
    out = daemon.folder + "/theirs.jsonl"
    with subprocess.Popen([sys.executable, "-c", WRITER, out + ".job"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "locked\n"
        for mode in ("resume", "overwrite"):
            refused(daemon.admin("POST", "/jobs", {**asked, "output": out, "mode": mode}), 409, "another batch is writing", "output")
        assert writer.poll() is None
        writer.stdin.close()
        assert writer.wait() == 0


def check_jobs(daemon):
    database, out = daemon.folder + "/shop.db", daemon.folder + "/answers.csv"
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE product(id INTEGER PRIMARY KEY, name TEXT)")
        db.executemany("INSERT INTO product(name) VALUES (?)", [(f"thing {i}",) for i in range(20)])
    asked = {"service": "chat", "input": f"sqlite:{database}?SELECT id AS key, name AS prompt FROM product", "output": f"sqlite:{database}?answer",
             "params": {"max_tokens": 2, "temperature": 0}, "raw": True}
    status, job = daemon.admin("POST", "/jobs", asked)
    assert status == 201 and job["kind"] == "command" and job["state"] == "validating", job
    job = wait_job(daemon, job)
    assert job["state"] == "completed" and job["counts"] == {"rows": 20, "answered": 20, "failed": 0}, job
    with sqlite3.connect(database) as db:
        assert db.execute("SELECT count(*), count(DISTINCT key) FROM answer WHERE status = 'ok'").fetchone() == (20, 20)
    refused(daemon.admin("POST", "/jobs", asked), 409, "there already", "output")
    assert wait_job(daemon, daemon.admin("POST", "/jobs", {**asked, "mode": "overwrite"})[1])["state"] == "completed"
    assert wait_job(daemon, daemon.admin("POST", "/jobs", {**asked, "output": out})[1])["state"] == "completed" and os.path.exists(out)
    failed = wait_job(daemon, daemon.admin("POST", "/jobs", {**asked, "input": "/none.jsonl", "output": out + ".jsonl"})[1])
    assert failed["state"] == "failed" and "/none.jsonl" in failed["message"], failed
    missing = wait_job(daemon, daemon.admin("POST", "/jobs", {**asked, "service": "none", "output": out + ".jsonl"})[1])
    assert missing["state"] == "failed" and "there is no service 'none'" in missing["message"], missing
    assert daemon.admin("DELETE", "/jobs/" + missing["id"])[0] == 204
    for field, value in (("input", "rows.jsonl"), ("output", "out.jsonl"), ("mode", "again"), ("output", "/tmp/out.txt"), ("what", 1)):
        assert daemon.admin("POST", "/jobs", {**asked, field: value})[1]["error"]["param"] == field, field
    check_writer_is_left_alone(daemon, asked)
    listed = daemon.admin("GET", "/jobs")[1]["jobs"]
    assert listed[0]["id"] == failed["id"] and {"batch", "command"} == {job["kind"] for job in listed}
    assert daemon.admin("DELETE", "/jobs/" + failed["id"])[0] == 204 and daemon.admin("GET", "/jobs/" + failed["id"])[0] == 404
    assert daemon.admin("POST", f"/jobs/{job['id']}:cancel", b"")[0] == 409


# ---- clients ----

def check_python(daemon):
    registry = tenon.Registry("unix:" + daemon.socket)
    out = daemon.folder + "/python.jsonl"
    version = registry.get_model("tiny").version("v1")
    rows = [{"key": f"k{i}", "prompt": f"thing {i}"} for i in range(30)]
    job = version.run_batch(rows, service_name="chat", output_spec=OutputSpec(out), input_spec=InputSpec({"max_tokens": 2}))
    shown = job.wait(60)
    assert shown["status"] == "completed" and "30 of 30" in job.get_logs(), job.get_logs()
    with open(out) as file:
        assert [json.loads(row)["custom_id"] for row in file] == [row["key"] for row in rows]
    try:
        version.run_batch(rows, service_name="chat", output_spec=OutputSpec(out))
        raise AssertionError("the output is there already")
    except FileExistsError:
        pass
    job = version.run_batch(rows[:3], service_name="chat", output_spec=OutputSpec(out, mode="overwrite"),
                            input_spec=InputSpec({"max_tokens": 2}), job_spec=JobSpec(block=True))
    with open(out) as file:
        assert len(file.readlines()) == 3
    job = version.run_batch(({"key": i, "prompt": "x"} for i in range(3000)), service_name="chat", output_spec=OutputSpec(out, mode="overwrite"),
                            input_spec=InputSpec({"max_tokens": 100}))
    job.cancel()
    assert job.wait(120)["status"] == "cancelled"


def check_openai(daemon):
    try:
        import openai
    except ImportError:
        print("the openai package is not here: its client is left out")
        return
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{daemon.port}/v1", api_key="none", max_retries=0, timeout=60)
    file = client.files.create(file=("rows.jsonl", "\n".join(line(f"r{i}") for i in range(5)).encode()), purpose="batch")
    assert client.files.retrieve(file.id) == file and file.id in [f.id for f in client.files.list(purpose="batch")]
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="24h", metadata={"a": "b"})
    end = time.time() + 60
    while batch.status != "completed":
        assert time.time() < end and batch.status not in ENDED, batch
        batch = client.batches.retrieve(batch.id)
    assert batch.request_counts.completed == 5 and batch.errors is None and batch.error_file_id is None
    rows = [json.loads(row) for row in client.files.content(batch.output_file_id).text.splitlines()]
    assert [row["custom_id"] for row in rows] == [f"r{i}" for i in range(5)]
    assert batch.id in [b.id for b in client.batches.list(limit=2)]
    file = client.files.create(file=("more.jsonl", "\n".join(line(f"r{i}", max_tokens=100) for i in range(2000)).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="24h")
    batch = client.batches.cancel(batch.id)
    assert batch.status in ("cancelling", "cancelled"), batch
    while batch.status not in ENDED:
        assert time.time() < end + 60, batch
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "cancelled", batch
    assert client.files.delete(file.id).deleted
    try:
        client.files.retrieve(file.id)
        raise AssertionError("a deleted file")
    except openai.NotFoundError:
        pass


def check_commands(daemon):
    server = ["--server", "unix:" + daemon.socket]
    job = order(daemon, upload(daemon, *[line(f"r{i}", max_tokens=100) for i in range(3000)]))[1]["id"]
    assert run(command("batch", "list", *server)).splitlines()[0].startswith(job + "  ")
    assert json.loads(run(command("batch", "status", job, "--json", *server)))["id"] == job
    assert run(command("batch", "cancel", job, *server)).startswith(job + "  cancel")
    assert "there is no job" in run(command("batch", "status", "none", *server), 1)
    assert wait(daemon, daemon.request("GET", "/v1/batches/" + job)[1])["status"] == "cancelled"
    path = daemon.folder + "/lines.jsonl"
    with open(path, "w") as file:
        file.write(line("a") + "\n" + line("a") + "\n")
    found = subprocess.run(command("batch", "check", path, "--endpoint", "/v1/completions"), capture_output=True, text=True)
    assert found.returncode == 3 and json.loads(found.stdout)["errors"][0]["code"] == "duplicate_custom_id", found


SUBMIT = """import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.enable_load_extension(True)
db.load_extension(sys.argv[2])
db.execute("SELECT llm_server(?)", [sys.argv[3]]).fetchall()
print(db.execute("SELECT llm_submit_daemon('chat', 'SELECT id, name FROM product', 'told', ?)", [sys.argv[4]]).fetchone()[0])
"""


@contextlib.contextmanager
def paused(daemon):
    """No row is answered meanwhile."""
    engines = [instance["pid"] for instance in daemon.admin("GET", "/services/chat")[1]["instances"] if instance["pid"]]
    assert engines
    for engine in engines:
        os.kill(engine, signal.SIGSTOP)
    try:
        yield
    finally:
        for engine in engines:
            os.kill(engine, signal.SIGCONT)


def check_sql(folder, extension):
    """A job of SQL's goes on when its client has ended, and when the daemon is killed; the database says what is answered."""
    plugins = shutil.copytree(os.environ["TENON_PLUGINS"], folder + "/plugins", ignore=lambda _, names: [n for n in names if not n.endswith(".so")])
    shutil.copy(extension, plugins)
    path, options = folder + "/shop.db", '{"max_tokens": 24, "temperature": 0, "raw": true, "window": 4}'
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE product(id INTEGER PRIMARY KEY, name TEXT)")
        db.executemany("INSERT INTO product(name) VALUES (?)", [(f"thing {i}",) for i in range(400)])
    os.environ["TENON_PLUGINS"], kept = plugins, os.environ["TENON_PLUGINS"]
    with Daemon(folder, LIMITS) as daemon:
        os.environ["TENON_PLUGINS"] = kept
        assert daemon.admin("POST", "/services", SERVICE)[0] == 201
        client = [sys.executable, "-c", SUBMIT, path, extension, "unix:" + daemon.socket]
        assert "'window' must be" in run([*client, '{"window": 0}'], 1)
        assert run([*client, options]) == "1\n"
        job = daemon.admin("GET", "/jobs")[1]["jobs"][0]
        assert job["kind"] == "sql" and job["service"] == "chat" and job["input"] == path and job["output"] == "told", job
        told = "SELECT count(*), count(DISTINCT key), count(value) FROM told"
        end = time.time() + 60
        while sqlite3.connect(path).execute(told).fetchone()[0] == 0:
            assert time.time() < end, daemon.admin("GET", "/jobs")
            time.sleep(0.01)
        daemon.process.kill()
        daemon.process.wait()
        os.truncate(daemon.log_path, 0)
        daemon.start()
        assert daemon.admin("GET", "/jobs/" + job["id"])[1]["state"] in ("in_progress", "completed")
        job = wait_job(daemon, job)
        assert job["state"] == "completed" and job["counts"] == {"rows": 400, "answered": 400, "failed": 0}, job
        assert sqlite3.connect(path).execute(told).fetchone() == (400, 400, 400)
        assert sqlite3.connect(path).execute("SELECT state, rows_done FROM llm_jobs").fetchall() == [("done", 400)]
        with sqlite3.connect(path) as db:
            db.execute("DELETE FROM told")
        with paused(daemon):
            assert run([*client, options]) == "1\n"
            job = daemon.admin("GET", "/jobs")[1]["jobs"][0]
            assert daemon.admin("POST", f"/jobs/{job['id']}:cancel", b"")[0] == 200
        assert wait_job(daemon, job)["state"] == "cancelled"
        assert sqlite3.connect(path).execute("SELECT state, runner FROM llm_jobs").fetchall() == [("cancelled", None)], "and not running for ever"
        daemon.stop()


def check_serve():
    with Server() as server:
        for method, path in (("GET", "/v1/files"), ("GET", "/v1/batches/batch_x"), ("POST", "/v1/files")):
            status, _, body = server.request(method, path)
            assert status == 404 and "needs `tenon daemon`" in body["error"]["message"], (method, path, body)
        server.stop()


# ---- kills ----

def logged(daemon, batch):
    """Rows of a batch that have their answer, whoever runs it."""
    with contextlib.suppress(FileNotFoundError), open(f"{daemon.folder}/store/jobs/{batch['id']}/out.jsonl.job") as log:
        return sum('"row"' in text for text in log)
    return 0


def wait_for_an_answer(daemon, batch):
    """Of a row that was in flight all the time, if one was: whose connection is lost five times in a row is an error."""
    before, end = logged(daemon, batch), time.time() + 120
    while logged(daemon, batch) == before and daemon.request("GET", "/v1/batches/" + batch["id"])[1]["status"] not in ENDED:
        assert time.time() < end, f"no row is answered after {before}"
        time.sleep(0.02)


def check_kills(daemon):
    """Every row once, whatever is killed, and files and batches that were answered with 200 are there. Where a batch is done before
    enough has been killed, the same is asked for again."""
    picked, rows = random.Random(7), 1000
    file = upload(daemon, *[line(f"r{i}", prompt=[1 + i % 90, 2], max_tokens=24) for i in range(rows)])
    batches, known = [order(daemon, file)[1]], {file["id"]: file["bytes"]}
    for kill in range(KILLS):
        time.sleep(picked.random() * 0.25)
        if picked.random() < 0.4:
            known.update({f["id"]: f["bytes"] for f in [upload(daemon, "{}", "x" * picked.randrange(1 << 20))]})
        if daemon.request("GET", "/v1/batches/" + batches[-1]["id"])[1]["status"] in ENDED:
            batches.append(order(daemon, file)[1])
        if kill % 3 == 2:
            wait_for_an_answer(daemon, batches[-1])
        if kill % 3:
            daemon.process.kill()
            daemon.process.wait()
            os.truncate(daemon.log_path, 0)  # start looks there
            daemon.start()
        else:
            instances = daemon.admin("GET", "/services/chat")[1]["instances"]
            for instance in instances:
                if instance["pid"]:
                    with contextlib.suppress(ProcessLookupError):  # it was killed before, and is not missed yet
                        os.kill(instance["pid"], signal.SIGKILL)
    for batch in batches:
        batch = wait(daemon, batch, seconds=240)
        ids = [row["custom_id"] for name in ("output_file_id", "error_file_id") if batch[name] for row in content(daemon, batch[name])]
        assert batch["status"] == "completed" and sorted(ids) == sorted(f"r{i}" for i in range(rows)), (batch, len(ids), rows)
        assert batch["request_counts"]["failed"] == 0, content(daemon, batch["error_file_id"])[:2]
    listed = {f["id"]: f["bytes"] for f in daemon.request("GET", "/v1/files")[1]["data"]}
    assert known.items() <= listed.items(), known.items() - listed.items()
    assert not any(name.endswith(".partial") for name in os.listdir(daemon.folder + "/store/files"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, Daemon(scratch, LIMITS) as served:
        check_files(served)
        check_hostile(served)
        assert served.admin("POST", "/services", SERVICE)[0] == 201
        for check in (check_batch, check_cancel, check_wrong_batches, check_jobs, check_python, check_openai, check_commands, check_kills):
            begin = time.time()
            check(served)
            print(check.__name__, f"{time.time() - begin:.1f} s")
    with tempfile.TemporaryDirectory() as scratch:
        check_owners(scratch)
    if len(sys.argv) > 1 and not os.environ.get("TENON_SANITIZED") and hasattr(sqlite3.Connection, "enable_load_extension"):
        with tempfile.TemporaryDirectory() as scratch:
            check_sql(scratch, sys.argv[1])
    check_serve()
