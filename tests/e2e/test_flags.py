#!/usr/bin/env python3
"""Every flag of every command does what its --help says: each is used here and its effect looked at. The list of flags is --help's own,
so a new one without a case fails. Over the tiny model, a scripted daemon, a scripted server of answers and a scripted hub; other tests go
deeper into each command.

    test_flags.py RULER.so LLAMA_DIRECTORY SQLITE_EXTENSION.so"""
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import urllib.request

from fake_daemon import FakeDaemon
from fake_hub import Hub
from fake_llm import Fake
from flag_record import PLUGINS, Record
from hf_cache import make_cache
from in_family_directory import tokenizer
from server import free_port, model
from test_quantize_memory import write_model

RULER, LLAMA, EXTENSION = sys.argv[1:4]
CARD = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128256, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "torch_dtype": "bfloat16", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "max_position_embeddings": 8192}
record = Record()
tenon = record.run


def loaded(*arguments, **how):
    """A command that needs the plugins of the build."""
    return tenon(*arguments, plugins=True, **how)


def write(path, text):
    with open(path, "w") as out:
        out.write(text if isinstance(text, str) else json.dumps(text))
    return path


def until(condition, what, seconds=60):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, what
        time.sleep(0.01)


def read(path):
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


# ---- what all have ----

# Arguments with which a command gets as far as its settings.
ARGUMENTS = {"run": ["m", "p"], "pool": ["list"], "token": ["list"], "quantize": ["a", "b", "--method", "int8"], "keep": ["FOLDER"],
             "registry log": ["n", "p"], "registry show": ["n"], "registry alias": ["unset", "n", "a"], "registry default": ["n@v"],
             "registry copy": ["n", "m"], "registry rm": ["n"], "registry export": ["n", "b.tar"], "registry import": ["b.tar"],
             "registry pull": ["o/n"], "service create": ["n", "--model", "m", "--pool", "p"], "service list": [],
             "service scale": ["n", "--min", "1"], "batch run": ["m", "--in", "i.csv", "--out", "o.csv"], "batch list": [], "registry list": [],
             "registry gc": [], "registry verify": [], "serve": [], "daemon": [], "group": [], "plugins": [], "doctor": [], "up": ["/dev/null"]}


def common(folder):
    """--help everywhere; a mistake in --config or --set is told with its place and the nearest right word, whatever the command."""
    bad = write(folder + "/bad.ini", "[engine]\nmax_num_sqes = 1\n")
    for words, flags in record.commands.items():
        text = tenon(*words, "--help")
        assert text.startswith("usage: tenon " + " ".join(words)) and "this text" in text
        arguments = [*words, *ARGUMENTS.get(" ".join(words), ["x"])]
        if "--config" in flags:
            told = tenon(*arguments, "--config", bad, code=1)
            assert f"{bad}:2" in told and "max_num_seqs" in told, told
        if flags.get("--set", "").startswith("SECTION"):
            told = tenon(*arguments, "--set", "engine.max_num_sqes=1", code=1)
            assert "--set" in told and "max_num_seqs" in told, told


# ---- one model ----

def one_answer():
    def ask(*flags, **how):
        return loaded("run", model(), "Hello", *flags, **how)
    wild = ["--max-tokens", "12", "--temperature", "5", "--seed", "3"]
    greedy = ask("--max-tokens", "12")
    assert greedy == ask("--max-tokens", "12") != ask("--max-tokens", "3"), greedy
    assert ask(*wild) == ask(*wild) != greedy and ask(*wild[:-1], "4") != ask(*wild)
    assert ask(*wild, "--top-k", "1") == greedy == ask(*wild, "--top-p", "1e-6")

    def prompt_tokens(*flags):
        told = record.start("run", model(), "Hello", "--max-tokens", "1", "--verbose", *flags, stdout=-1, stderr=-1, text=True)
        return int(re.search(r"prompt (\d+) tokens", told.communicate(timeout=60)[1])[1])
    plain = prompt_tokens()
    assert prompt_tokens("--raw") < plain < prompt_tokens("--system", "Be brief."), plain


def texts(folder):
    begins = {**tokenizer(), "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "!", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                                                "pair": [], "special_tokens": {"!": {"id": "!", "ids": [0], "tokens": ["!"]}}}}
    shutil.copytree(LLAMA, folder + "/begins")
    write(folder + "/begins/tokenizer.json", begins)
    plain, special = (json.loads(loaded("tokenize", folder + "/begins", *flags, stdin="ab")) for flags in ([], ["--special"]))
    assert special == [0, *plain], (plain, special)
    special = next(t for t in ("<|im_end|>", "</s>", "<eos>", "<|endoftext|>") if len(parsed(t)) == 1)
    assert len(json.loads(loaded("tokenize", model(), stdin=special))) > 1
    assert [len(line) > 0 for line in map(json.loads, loaded("tokenize", model(), "--lines", stdin='"a"\n"b"\n').splitlines())] == [True, True]
    ids = json.dumps(parsed(special))
    assert loaded("detokenize", model(), stdin=ids) == special and loaded("detokenize", model(), "--skip-special", stdin=ids) == ""
    assert json.loads(loaded("inspect", model(), "--json"))["tensors"]
    rows = json.loads(loaded("logits", model(), "--ids", "--top", "3", stdin="[5, 6, 7]"))["positions"]
    assert [len(row["top"]) for row in rows] == [3, 3, 3] and [row["token"] for row in rows] == [5, 6, 7], rows
    text = write(folder + "/text", "a text of some words, " * 20)
    few, many = (json.loads(loaded("perplexity", model(), text, "--window", n)) for n in ("8", "64"))
    assert (few["window"], many["window"]) == (8, 64) and few["scored"] == few["tokens"] // 8 * 7 and few["perplexity"] != many["perplexity"], (few, many)
    assert "engine.max_num_seqs" in loaded("plugins", "--options") and "engine.max_num_seqs" not in loaded("plugins")


def parsed(text):
    return json.loads(loaded("tokenize", model(), "--parse-special", stdin=text))


def quantized(folder):
    source, text = folder + "/source", write(folder + "/calibration", "WORDS THAT THE MODEL WILL SEE THE LIKE OF")
    shutil.copytree(LLAMA, source)
    write(source + "/tokenizer.json", tokenizer())

    def made(name, *flags):
        loaded("quantize", source, f"{folder}/{name}", *flags)
        config = json.loads(read(f"{folder}/{name}/config.json"))["quantization_config"]
        return config, len([file for file in os.listdir(f"{folder}/{name}") if file.endswith(".safetensors")])
    assert "num_bits\": 8" in json.dumps(made("bits", "--bits", "8")[0])
    assert "group_size\": 16" in json.dumps(made("int4", "--method", "int4", "--group-size", "16")[0])
    assert made("awq", "--calibration", text, "--samples", "2", "--sequence-length", "8")[0]["quant_method"] == "awq"
    assert "3000 samples of 200 need" in loaded("quantize", source, folder + "/more", "--calibration", text, "--samples", "3000",
                                                "--sequence-length", "200", code=1)
    source = folder + "/larger"
    write_model(source, 2)
    assert made("whole", "--method", "int8")[1] == 1 < made("parts", "--method", "int8", "--shard-size", "1")[1]


# ---- plans and pools ----

def plans(folder):
    write(folder + "/config.json", CARD)
    pool = ["--pool", "p", "--load-format", "dummy", "--set", "pool p.device=A100-40GB", "--set", "pool p.count=4", "--set", f"pool p.backend={RULER}",
            "--set", "pool p.rate_per_hour=5", "--set", "price dear.input=2", "--set", "price dear.output=8"]

    def plan(*flags):
        return json.loads(loaded("plan", folder, "--json", *pool, *flags))
    base = plan()
    assert base["pool"]["name"] == "p" and base["tensor_parallel_size"] == 1 and "model.safetensors" in loaded("plan", folder, code=1)
    assert plan("--max-model-len", "2K")["max_model_len"] == 2048
    many = plan("--concurrency", "3")
    assert many["max_num_seqs"] == 3, many
    assert plan("--kv-dtype", "float32")["kv_token_bytes"] == 2 * base["kv_token_bytes"]
    assert plan("--quant", "awq")["bytes"]["weights"] < base["bytes"]["weights"] / 2
    assert plan("--strategy", "tp")["tensor_parallel_size"] == 2 and plan("--tp", "4")["tensor_parallel_size"] == 4
    assert abs(plan("--util", "0.5")["budget"] / base["device_total"] - 0.5) < 1e-6

    def roi(*flags, price=("--price-in", "0.15", "--price-out", "0.60")):
        return plan("--roi", "--throughput", "1000", *price, *flags)["roi"]
    volumes = ["--in", "300", "--out", "100"]
    assert roi()["tokens_per_second"] == 1000 and roi(*volumes)["volume"] == 400 and roi(*volumes, "--cached", "50")["volume"] == 450
    assert roi(*volumes, "--peak", "1500")["replicas"] > roi(*volumes)["replicas"]
    assert roi(price=("--price", "dear"))["price"] > roi()["price"] == roi(price=("--price-in", "0.15", "--price-out", "0.6"))["price"]
    assert roi(*volumes, "--cached", "50", "--price-cached", "0.01")["price"] < roi(*volumes, "--cached", "50", "--price-cached", "0.1")["price"]
    roi("--svg", folder + "/picture.svg")
    assert read(folder + "/picture.svg").startswith("<svg")
    assert json.loads(tenon("pool", "devices", "--json"))[0]["name"] == "A10G"


# ---- the registry ----

def registry(folder):
    files = {name: open(os.path.join(LLAMA, name), "rb").read() for name in os.listdir(LLAMA)}
    at = ["--set", f"registry.path={folder}/registry"]

    def ask(*arguments, **how):
        return loaded("registry", *arguments, *at, **how)

    def show(name):
        return json.loads(ask("show", name, "--json"))

    def notes(name, version):
        shown = show(f"{name}@{version}")
        assert (shown["version"], shown["task"], shown["comment"], shown["tags"], shown["metrics"]) == (
            version, "chat", "why", {"k": "v"}, {"m": 2.5}), shown
        assert show(f"{name}:new")["version"] == version
    noted = ["--alias", "new", "--task", "chat", "--comment", "why", "--tag", "k=v", "--metric", "m=2.5", "--version", "w1", "--json"]
    entry = make_cache(folder + "/cache", {**files, "README.md": b"r", "LICENSE": b"l"}, ref="branch")
    added = json.loads(ask("log", "tiny", entry, "--revision", "branch", "--include", "*.json", "--include", "*.safetensors", "--include", "L*",
                           "--exclude", "LICENSE", *noted))
    assert added["version"] == "w1" and {f["name"] for f in show("tiny")["manifest"]["files"]} == set(files)
    notes("tiny", "w1")
    json.loads(ask("copy", "tiny", "second", *noted))
    notes("second", "w1")
    ask("export", "tiny", folder + "/tiny.tar")
    json.loads(ask("import", folder + "/tiny.tar", "--name", "third", *noted))
    notes("third", "w1")
    assert len(json.loads(ask("list", "--json"))["models"]) == 3
    assert json.loads(ask("verify", "--deep", "--json"))["damaged"] == 0
    ask("rm", "tiny")
    before = os.listdir(folder + "/registry/blobs/sha256")
    ask("rm", "second"), ask("rm", "third")
    assert json.loads(ask("gc", "--dry-run", "--json"))["blobs"] and os.listdir(folder + "/registry/blobs/sha256") == before
    ask("gc")
    assert not os.listdir(folder + "/registry/blobs/sha256")
    pulled(folder, ask, files, noted, notes, show)


def pulled(folder, ask, files, noted, notes, show):
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k != "HF_TOKEN"}
    with Hub({**files, "README.md": b"r", "LICENSE": b"l"}, token="hf_x") as hub:
        token = write(folder + "/token", "hf_x\n")
        flags = ["--endpoint", hub.url, "--token-file", token, "--include", "*.json", "--include", "*.safetensors", "--include", "L*",
                 "--exclude", "LICENSE", "--name", "fourth", "--parallel", "1", *noted]
        ask("pull", "acme/tiny", *flags, env=environment)
        notes("fourth", "w1")
        assert {f["name"] for f in show("fourth")["manifest"]["files"]} == set(files)
        told = ask("pull", "acme/tiny", *flags, "--name", "fifth", "--revision", "none", code=1, env=environment)
        assert "404" in told, told
        hub.ways["config.json"] = [("status", 503)] * 9
        before = len(hub.asked("hub", "config.json"))
        ask("rm", "fourth"), ask("gc")
        ask("pull", "acme/tiny", *flags, "--retries", "0", code=1, env=environment)
        assert len(hub.asked("hub", "config.json")) == before + 1


# ---- a daemon, scripted ----

def service(state="READY", **fields):
    return {"name": "chat", "state": state, "message": "", "progress": None, "restart_count": 0, "exit_code": None, "model": "m", "digest": None,
            "pool": "a", "gpus": 1, "min": 0, "max": 1, "autosuspend": 1800, "settings": [], "needed_bytes": 1, "had_bytes": None, "running": 0,
            "waiting": 0, "last_log": [], "instances": [], **fields}


def asked(arguments, script=lambda *_: (200, service())):
    """(standard output, the calls that came); --server and --token of every command on the way."""
    with FakeDaemon(script) as daemon:
        out = tenon(*arguments, "--server", daemon.address, "--token", "tenon_t")
        assert all(seen["Authorization"] == "Bearer tenon_t" for seen in daemon.headers) and daemon.calls
        return out, list(daemon.calls)


def services():
    spec = ["--model", "m", "--pool", "a", "--gpus", "2", "--set", "k=v", "--min", "1", "--max", "3", "--autosuspend", "60"]
    body = {"model": "m", "pool": "a", "gpus": 2, "min": 1, "max": 3, "autosuspend": 60, "settings": {"k": "v"}}
    out, calls = asked(["service", "create", "chat", *spec, "--no-wait", "--json", "--replace"])
    assert json.loads(out)["state"] == "READY" and calls == [("POST", "/services", {"name": "chat", **body, "replace": True})], calls
    out, calls = asked(["service", "create", "chat", *spec, "--dry-run"], lambda *_: (200, {"fits": True, "strategy": "one device", "needed_bytes": 1}))
    assert "it fits" in out and calls[0][2]["dry_run"] is True
    out, calls = asked(["service", "update", "chat", *spec, "--no-wait", "--json"])
    assert json.loads(out)["name"] == "chat" and calls == [("PATCH", "/services/chat", body)], calls
    for words, call in [(["suspend", "chat", "--drain", "5"], ("POST", "/services/chat:suspend?drain=5", None)),
                        (["resume", "chat"], ("POST", "/services/chat:resume", None)),
                        (["delete", "chat", "--drain", "5"], ("DELETE", "/services/chat?drain=5", None)),
                        (["scale", "chat", "--min", "1", "--max", "2"], ("POST", "/services/chat:scale", {"min": 1, "max": 2}))]:
        out, calls = asked(["service", *words, "--no-wait", "--json"])
        assert json.loads(out)["name"] == "chat" and calls == [call], calls
    out, calls = asked(["service", "status", "chat", "--json", "--wait", "READY", "--timeout", "5"])
    assert json.loads(out)["state"] == "READY" and "state=READY" in calls[0][1], calls
    assert json.loads(asked(["service", "list", "--json"], lambda *_: (200, {"services": []}))[0]) == {"services": []}
    for flags, part in [(["--instance", "chat-1"], "instance=chat-1"), (["--since", "2h"], "since="), (["-f"], "follow=")]:
        out, calls = asked(["service", "logs", "chat", *flags], lambda *_: (200, b"line\n"))
        assert out == "line\n" and part in calls[0][1], calls
    held = {"pools": []}
    assert json.loads(asked(["pool", "list", "--json"], lambda *_: (200, held))[0]) == held


# Whoever asks it sees no object at all.
KUBECTL = """#!/bin/sh
echo "$@" >> {asked}
echo '{{"items": []}}'
"""


def clusters(folder):
    asked = folder + "/asked"
    os.chmod(write(folder + "/kubectl", KUBECTL.format(asked=asked)), 0o755)
    environment = {**os.environ, "PATH": folder + ":" + os.environ["PATH"]}
    target = ["--target", "kubernetes", "--target-set", "namespace=nine"]
    for words in [["list"], ["status", "chat"], ["logs", "chat"], ["suspend", "chat"], ["resume", "chat"], ["scale", "chat", "--min", "2"], ["update", "chat", "--min", "2"],
                  ["delete", "chat"]]:
        write(asked, "")
        tenon("service", *words, *target, code=None, env=environment)
        assert "nine" in read(asked), words
    ini = write(folder + "/pool.ini", f"[plugins]\npath = {os.environ['TENON_PLUGINS']}\n[pool ram]\ndevice = ram\nmemory = 4GiB\nhost_memory = true\n"
                "backend = cpu\n")
    write(asked, "")
    create = ["service", "create", "chat", "--model", model(), "--pool", "ram", "--config", ini, *target, "--target-set", "volume=pvc:models"]
    shown = tenon(*create, "--dry-run", env=environment)
    tenon(*create, "--output", folder + "/out", env=environment)
    rendered = read(folder + "/out/kubernetes.yaml")
    assert "namespace: nine" in rendered and rendered in shown and not read(asked)


def up(folder):
    ini = write(folder + "/up.ini", "[service chat]\nmodel = m\npool = a\n")

    def script(method, *_):
        return (404, {"error": {"message": "none"}}) if method == "GET" else (201, service("PENDING"))
    out, calls = asked(["up", ini, "--set", "service chat.max=4", "--no-wait", "--json"], script)
    assert json.loads(out)[0]["change"] == "created" and [c[2] for c in calls if c[2]][0]["max"] == 4, calls


def tokens(folder):
    at = ["--file", folder + "/tokens"]
    made = json.loads(tenon("token", "create", "ci", "--scope", "infer,batch", "--expires", "90d", "--json", *at))
    listed = json.loads(tenon("token", "list", "--json", *at))
    assert made["scopes"] == "infer,batch" and [t["name"] for t in listed] == ["ci"]
    created, expires = (listed[0][name] for name in ("created", "expires"))
    assert expires and expires != created, listed


# ---- batches ----

def batches(folder):
    fake = Fake()
    key, rows = write(folder + "/key", "secret\n"), write(folder + "/in.csv", "id,question\na,one\nb,two\nc,three\n")
    out, failing = folder + "/out.jsonl", write(folder + "/bad.jsonl", {"key": "x", "prompt": json.dumps({"status": 400, "times": 2})})
    busy = write(folder + "/busy.jsonl", {"key": "y", "prompt": json.dumps({"status": 503, "times": 1})})
    run = ["batch", "run", "m", "--out", out, "--server", fake.address]
    told = tenon(*run, "--in", rows, "--key", "id", "--prompt", "question", "--system", "Be brief.", "--max-tokens", "5", "--param", "seed=7",
                 "--token", "t1", "--window", "1", "--json")
    assert [json.loads(line)["ok"] for line in told.splitlines() if line.startswith("{")][-1] == 3, told
    path, body = fake.bodies[0]
    assert body["messages"][0]["content"] == "Be brief." and (body["max_tokens"], body["seed"]) == (5, 7) and fake.keys[0] == "Bearer t1"
    assert path == "/v1/chat/completions" and fake.in_flight_max == 1 and [json.loads(line)["key"] for line in open(out)] == ["a", "b", "c"]
    assert "overwrite" in tenon(*run, "--in", rows, code=1)
    fake.forget()
    tenon(*run, "--in", rows, "--key", "id", "--prompt", "question", "--raw", "--mode", "overwrite", "--token-file", key)
    assert fake.bodies[0][0] == "/v1/completions" and fake.keys[0] == "Bearer secret"
    assert "said so" in tenon(*run, "--in", busy, "--mode", "overwrite", "--retries", "0", code=1)
    fake.forget()
    tenon(*run, "--in", busy, "--mode", "overwrite", "--retries", "1")
    tenon(*run, "--in", failing, "--mode", "overwrite", code=3)
    assert "said so" in tenon("batch", "errors", out) and json.loads(tenon("batch", "status", out, "--json"))["error"] == 1
    assert json.loads(tenon("batch", "list", folder, "--json"))["error"] == 1
    retry = ["batch", "retry-failed", out, "--server", fake.address, "--window", "1", "--retries", "0"]
    tenon(*retry, "--token", "t2", code=3)
    assert fake.keys[-1] == "Bearer t2"
    tenon(*retry, "--token-file", key, "--timeout", "60")
    assert fake.keys[-1] == "Bearer secret" and json.loads(tenon("batch", "status", out, "--json"))["error"] == 0
    halves = [folder + "/answers", folder + "/errors"]
    tenon("batch", "export", out, "--answers", halves[0], "--errors", halves[1])
    assert json.loads(read(halves[0])) and read(halves[1]) == ""
    asks = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"model": "m", "prompt": "x"}}
    assert json.loads(tenon("batch", "check", write(folder + "/asks.jsonl", asks), "--endpoint", "/v1/completions"))["rows"] == 1
    for flag in ("--expired", "--cancelled"):  # of a batch that asked nothing
        told = tenon("batch", "export", folder + "/none.jsonl", "--answers", halves[0], "--errors", halves[1], flag, folder + "/asks.jsonl")
        assert json.loads(told)["unasked"] == 1 and json.loads(read(halves[1]))["error"]["code"] == "batch_" + flag[2:]
    slow = write(folder + "/slow.jsonl", {"key": "s", "prompt": json.dumps({"hang": True})})
    tenon(*run, "--in", slow, "--mode", "overwrite", "--timeout", "1", "--retries", "0", code=3)
    fake.close()


def database_job(folder):
    fake, database = Fake(), folder + "/shop.db"
    shop = sqlite3.connect(database)
    shop.execute("CREATE TABLE product(id, name)"), shop.execute("INSERT INTO product VALUES (1, 'chair'), (2, 'stool')"), shop.commit()
    told = tenon("batch", "sql", database, "--service", "m", "--query", "SELECT id, name FROM product", "--target", "said", "--options",
                 '{"max_tokens": 3}', "--extension", EXTENSION, "--server", fake.address, "--json")
    counts = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert counts[-1]["ok"] == 2 and fake.bodies[0][1]["max_tokens"] == 3
    assert shop.execute("SELECT count(*) FROM said WHERE value IS NOT NULL").fetchone() == (2,)
    shop.execute("UPDATE llm_jobs SET state = 'running'"), shop.commit()
    tenon("batch", "sql", database, "--target", "said", "--end", "cancelled", "--message", "enough")
    assert shop.execute("SELECT state, message FROM llm_jobs").fetchone() == ("cancelled", "enough")
    fake.close()


def batches_of_a_daemon():
    job = {"id": "job-1", "state": "running", "service": "m", "counts": {"rows": 3, "ok": 1, "null": 0, "error": 0}}
    for words, answer in [(["list", "--json"], {"jobs": [job]}), (["status", "job-1", "--json"], job), (["cancel", "job-1"], job)]:
        _, calls = asked(["batch", *words], lambda *_: (200, answer))
        assert "/jobs" in calls[0][1], calls


# ---- programs that stay ----

def serving(folder):
    port, status = free_port(), folder + "/status"
    server = record.start("serve", "--model", model(), "--listen", f"127.0.0.1:{port}", "--max-model-len", "64", "--status", status, "--address",
                          folder + "/address", stderr=-1, text=True)
    until(lambda: '"ready"' in read(status).lower() or server.poll() is not None, "not ready", 20)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=30) as reply:
        assert json.load(reply)["data"][0]["max_model_len"] == 64
    assert read(folder + "/address").strip() == f"http://127.0.0.1:{port}"
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0, server.stderr.read()


def staying(folder):
    socket = folder + "/d.sock"
    pools = write(folder + "/pools.ini", "[pool here]\n")  # of which no key has to be given
    daemon = record.start("daemon", "--listen", "unix:" + socket, "--store", folder + "/store", "--stop-engines", "--config", pools,
                          stderr=-1, text=True)
    until(lambda: os.path.exists(socket) or daemon.poll() is not None, "no socket")
    tenon("service", "create", "t", "--model", model(), "--pool", "here", "--min", "1", "--server", "unix:" + socket)
    pid = json.loads(tenon("service", "status", "t", "--json", "--server", "unix:" + socket))["instances"][0]["pid"]
    assert os.path.exists(f"/proc/{pid}") and os.listdir(folder + "/store/instances")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == 0, daemon.stderr.read()
    assert not os.path.exists(f"/proc/{pid}"), "the engine is left"


def keeping(folder):
    write(folder + "/engine.ini", "[nothing]\n")
    for _ in range(3):
        write(folder + "/log", "2026-11-28T10:41:31.123Z an old line\n" * 200)
        tenon("keep", folder, "--log-bytes-max", "4096", "--log-files", "2", code=None)
    assert sorted(name for name in os.listdir(folder) if name.startswith("log")) == ["log", "log.1"]
    assert "tenon: " in read(folder + "/log") and os.path.getsize(folder + "/log") < 4096 < os.path.getsize(folder + "/log.1")


def main():
    cases = [common, one_answer, texts, quantized, plans, registry, services, clusters, up, tokens, batches, database_job,
             batches_of_a_daemon, serving, staying, keeping]
    for case in cases:
        begin = time.time()
        with tempfile.TemporaryDirectory() as folder:
            case(*([folder] if case.__code__.co_argcount else []))
        print(f"{case.__name__}: {time.time() - begin:.1f} s", flush=True)
    print(f"{sum(len(flags) for flags in record.commands.values())} flags of {len(record.commands)} commands")
    assert not record.unused(), "no case in test_flags.py uses " + ", ".join(record.unused())


try:
    main()
finally:
    record.finish()
