#!/usr/bin/env python3
"""`tenon service ... --target slurm` on a real cluster of one machine (slurm_cluster.py): a service's life, from files that are only
printed to a cluster without its jobs. Skipped where Slurm is not installed.

    test_target_slurm.py RULER.so BACKEND.so FAMILIES

RULER.so plans for devices that are not here; what it renders is compared with the golden files beside this one. BACKEND.so is cuda_tp over
host memory, FAMILIES the folder of tiny models for it.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from in_family_directory import tokenizer
from registry_program import TINY
from slurm_cluster import SlurmCluster

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden_slurm")
SMALL = ["--set", "max_num_seqs=4", "--set", "max_model_len=256", "--set", "kv_cache_memory_bytes=4MiB", "--set", "cpu.threads=2"]


class Program:
    """`tenon` with a settings file; without a cluster it is only to render."""

    def __init__(self, folder, settings, environment=None):
        self.ini = os.path.join(folder, "tenon.ini")
        self.environment = environment
        with open(self.ini, "w") as file:
            file.write(f"[plugins]\npath = {os.environ['TENON_PLUGINS']}\n[registry]\npath = {folder}/registry\n"
                       "[pool here]\nhost_memory = true\n" + settings)

    def __call__(self, *arguments, code=0):
        done = subprocess.run([os.environ["TENON"], *arguments, "--config", self.ini], capture_output=True, text=True, timeout=240,
                              env=self.environment)
        assert done.returncode == code, (arguments, done.returncode, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout if code == 0 else done.stderr

    def service(self, verb, *arguments, code=0):
        return self("service", verb, *arguments, "--target", "slurm", code=code)

    def status(self, name="chat"):
        return json.loads(self.service("status", name, "--json"))


# ---- what needs no cluster ----

def dry(program, *arguments, name="chat", model=TINY, code=0):
    return program.service("create", name, "--model", model, "--dry-run", *arguments, code=code)


def compare(name, text, replaced):
    """With what differs from machine to machine taken out. TENON_GOLDEN_WRITE=1 writes the file instead."""
    for what, instead in replaced.items():
        text = text.replace(what, instead)
    memory = int(re.search(r"--mem=(\d+)M", text)[1])
    assert 6144 < memory < 6400, memory  # drivers' share, and what the loader's threads of this machine hold
    text = text.replace(f"--mem={memory}M", "--mem=6NNNM")
    path = os.path.join(GOLDEN, name)
    if os.environ.get("TENON_GOLDEN_WRITE"):
        with open(path, "w") as file:
            file.write(text)
    with open(path) as file:
        assert file.read() == text, f"{path}:\n{text}"


def test_rendered(program, ruler):
    """Devices that are not here: of one node, and of two, which are a group with a secret that is not shown."""
    replaced = {os.environ["TENON"]: "TENON", os.environ["TENON_PLUGINS"]: "PLUGINS", TINY: "MODEL", ruler: "RULER",
                os.path.realpath(os.environ["TENON"]): "TENON"}
    model = ["--set", "max_model_len=256", "--set", "max_num_seqs=4"]
    settings = ["--target-set", "partition=gpu", "--target-set", "gres=gpu:a100", "--target-set", "time=2-00:00:00",
                "--target-set", "account=lab", "--target-set", "qos=high", "--target-set", "constraint=a100&ib"]
    compare("one_node", dry(program, "--pool", "four", "--gpus", "2", *model, *settings), replaced)
    text = dry(program, "--pool", "nodes", "--gpus", "4", *model, "--target-set", "cpus=48", "--target-set", "port=9000")
    compare("two_nodes", text, replaced)
    assert "secret, of mode 0600" in text and not re.search("[0-9a-f]{64}", text)


def test_output(program, folder):
    target = os.path.join(folder, "out")
    told = program.service("create", "chat", "--model", TINY, "--pool", "nodes", "--gpus", "4", "--set", "max_model_len=256", "--output",
                           target)
    assert told.split() == [os.path.join(target, name) for name in ("job.sbatch", "service.ini", "group.secret")], told
    assert os.stat(os.path.join(target, "group.secret")).st_mode & 0o777 == 0o600
    with open(os.path.join(target, "group.secret")) as file:
        secret = file.read()
    assert re.fullmatch("[0-9a-f]{64}\n", secret)
    for name in ("job.sbatch", "service.ini"):
        with open(os.path.join(target, name)) as file:
            assert secret.strip() not in file.read()
    assert subprocess.run(["bash", "-n", os.path.join(target, "job.sbatch")]).returncode == 0


def stand_ins(place, **programs):
    """A folder of programs in Slurm's place, with these bodies of shell."""
    os.mkdir(place)
    for name, body in programs.items():
        with open(os.path.join(place, name), "w") as file:
            file.write("#!/bin/sh\n" + body)
        os.chmod(os.path.join(place, name), 0o755)
    return place


def test_quoting(program, folder):
    """A program's path that a shell would obey is run as it is; no line of Slurm's takes what is not a word."""
    place = os.path.join(folder, "it's $(touch bad) `touch bad` \"; touch bad; é")
    os.mkdir(place)
    program_path = os.path.join(place, "tenon")
    with open(program_path, "w") as file:
        file.write("#!/bin/sh\necho \"ran $*\" >&2\n")
    os.chmod(program_path, 0o755)
    text = json.loads(dry(program, "--pool", "here", *SMALL, "--target-set", "program=" + program_path, "--json"))
    programs = stand_ins(os.path.join(folder, "bin"), srun="while case $1 in --*) ;; *) false ;; esac; do shift; done\nexec \"$@\"\n")
    done = subprocess.run(["bash", "-c", text["files"]["job.sbatch"]], capture_output=True, text=True, timeout=30, cwd=folder,
                          env={"PATH": programs + ":/usr/bin:/bin", "SLURM_JOB_ID": "7"})
    assert done.returncode == 0 and done.stderr == "ran serve service.ini --status 7.status --address 7.address\n", done
    assert "bad" not in os.listdir(folder)
    for key, value in [("partition", "a b"), ("account", "a;b"), ("qos", "$(id)"), ("gres", "gpu\n#SBATCH --uid=0"), ("time", "-1"),
                       ("reservation", "'x'"), ("constraint", "a#b")]:
        text = dry(program, "--pool", "here", "--target-set", f"{key}={value}", code=1)
        assert f"[target slurm] {key}" in text and len(text.strip().splitlines()) == 1, text
    assert "[target slurm] host" in dry(program, "--pool", "here", *SMALL, "--target-set", "host=" + "h" * 300, code=1)
    assert "--signal=B:USR1@65535\n" in dry(program, "--pool", "here", *SMALL, "--set", "engine.drain_timeout=65475")
    assert "drains at most 65475 s" in dry(program, "--pool", "here", *SMALL, "--set", "engine.drain_timeout=65476", code=1)


def test_drains(program, folder):
    """A signal to the script alone: the step is told to drain, and afterwards the job ends, or is put into the queue again. What is said
    again is not done twice."""
    text = json.loads(dry(program, "--pool", "here", *SMALL, "--json"))["files"]["job.sbatch"]
    programs = stand_ins(os.path.join(folder, "bin3"), srun="trap 'echo drained; exit 3' USR2\necho $$ >pid.partial\nmv pid.partial pid\n"
                         "while :; do /bin/sleep 0.05; done\n", scancel="echo \"$*\" >>told\n", scontrol="echo \"$*\"\n",
                         sleep="while kill -0 $(cat pid) 2>/dev/null; do /bin/sleep 0.05; done\n")
    for numbers, told in [([signal.SIGUSR1], "drained\nrequeue 7\n"), ([signal.SIGUSR2], "drained\n"),
                          ([signal.SIGUSR2, signal.SIGUSR1], "drained\nrequeue 7\n")]:
        place = tempfile.mkdtemp(dir=folder)

        def has(name, words=""):
            path = os.path.join(place, name)
            if not os.path.exists(path):
                return False
            with open(path) as file:
                return words in file.read()

        with open(os.path.join(place, "7.failures"), "w") as file:
            file.write("4\n")
        with open(os.path.join(place, "trace"), "w") as trace:
            job = subprocess.Popen(["bash", "-xc", text], stdout=subprocess.PIPE, stderr=trace, text=True, cwd=place,
                                   env={"PATH": programs + ":/usr/bin:/bin", "SLURM_JOB_ID": "7"})
        wait_for(lambda: has("pid"))
        for number in numbers:
            job.send_signal(number)
            wait_for(lambda: has("told") and has("trace", "asked=again" if number == signal.SIGUSR1 else "asked=stop"))
        with open(os.path.join(place, "pid")) as file:
            os.kill(int(file.read()), signal.SIGUSR2)
        assert job.communicate(timeout=60)[0] == told and job.returncode == 0
        assert has("7.failures") == (numbers == [signal.SIGUSR2])
        with open(os.path.join(place, "trace")) as file:
            assert file.read().count("telling=yes") == 1
        with open(os.path.join(place, "told")) as file:
            assert file.read() == "--quiet --signal=TERM 7\n"


def test_gives_up(program, folder):
    """The script on its own, with stand-ins for Slurm's programs: five failures in a row are enough, and being ready ends a row."""
    text = json.loads(dry(program, "--pool", "here", *SMALL, "--json"))["files"]["job.sbatch"]
    place = os.path.join(folder, "job")
    os.mkdir(place)
    programs = stand_ins(os.path.join(folder, "bin2"), srun="[ ! -e ready ] || touch 7.address\nexit 9\n", scontrol="echo \"$*\"\n")

    def run():
        return subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=30, cwd=place,
                              env={"PATH": programs + ":/usr/bin:/bin", "SLURM_JOB_ID": "7"})
    again = "job 7: exit code 9; it is put into the queue again\nrequeue 7\n"
    for _ in range(3):
        assert run().stdout == again
    open(os.path.join(place, "ready"), "w").close()
    assert run().stdout == again
    os.unlink(os.path.join(place, "ready"))
    for _ in range(3):
        assert run().stdout == again
    done = run()
    assert done.returncode == 1 and done.stdout == "" and done.stderr == "", done
    with open(os.path.join(place, "7.failed")) as file:
        assert file.read() == "exit code 9, 5 times in a row\n"
    open(os.path.join(place, "7.stop"), "w").close()
    done = run()
    assert done.returncode == 0 and done.stdout == "", done


def free_number():
    """Of a job whose port of the group is free."""
    for number in range(os.getpid() % 10000, 12000):  # below what the kernel gives to others
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", 20000 + number))
            return number
    raise AssertionError("no free port below 32000")


def test_two_nodes(folder, backend, families):
    """What is rendered for two nodes, run by a stand-in for srun on this one: the processes meet by the secret beside the script, rank 0
    alone says where it answers, and both end when the script is told so."""
    place, model = (os.path.join(folder, name) for name in ("group", "model"))
    os.mkdir(model)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(os.path.join(families, "llama", name), model)
    with open(os.path.join(model, "tokenizer.json"), "w") as file:
        json.dump(tokenizer(), file)
    program = Program(tempfile.mkdtemp(dir=folder), f"[pool two]\ndevice = X\nmemory = 4GiB\nnodes = 2\nbackend = {backend}\n")
    program.service("create", "chat", "--model", model, "--pool", "two", "--gpus", "2", "--set", "max_num_seqs=8", "--set",
                    "max_num_batched_tokens=64", "--set", "kv_cache_memory_bytes=4MiB", "--target-set", "host=127.0.0.1", "--output", place)
    programs = stand_ins(os.path.join(folder, "bin4"), srun="while case $1 in --*) ;; *) false ;; esac; do shift; done\n"
                         "export SLURM_NTASKS=2 SLURM_STEP_NODELIST=localhost SLURM_STEP_ID=0\n"
                         "SLURM_PROCID=1 SLURM_LOCALID=1 \"$@\" & echo $! >>pids\n"
                         "SLURM_PROCID=0 SLURM_LOCALID=0 \"$@\" & echo $! >>pids\nwait $!\n",
                         scancel="kill -TERM $(cat pids) 2>/dev/null\n")
    number = str(free_number())
    with open(os.path.join(place, "log"), "w+") as log:
        job = subprocess.Popen(["bash", "job.sbatch"], stdout=log, stderr=log, cwd=place,
                               env={"PATH": programs + ":/usr/bin:/bin", "SLURM_JOB_ID": number})
        try:
            address = os.path.join(place, number + ".address")
            wait_for(lambda: os.path.exists(address) or job.poll() is not None)
            log.seek(0)
            assert job.poll() is None, log.read()
            with open(address) as file:
                assert ask(file.read().strip(), ids=True)
            with open(os.path.join(place, number + ".status")) as file, open(os.path.join(place, "pids")) as pids:
                assert str(json.load(file)["pid"]) == pids.read().split()[1]
        finally:
            job.send_signal(signal.SIGUSR2)
            job.wait(120)
        log.seek(0)
        told = log.read()
        assert job.returncode == 0 and "rank 1 of 2 has loaded" in told and "rank 0 has ended the group" in told, told
        assert not os.path.exists(address)


def test_refusals(program, folder):
    for arguments, code, words in [
            (["--pool", "here", "--target-set", "partiton=x"], 1, 'did you mean "partition"'),
            (["--pool", "here", "--target-set", "cpus=many"], 1, "[target slurm] cpus"),
            (["--pool", "here", "--target-set", "cpus"], 1, "--target-set takes KEY=VALUE"),
            (["--pool", "here", "--autosuspend", "60"], 1, "--autosuspend"),
            (["--pool", "here", "--min", "3", "--max", "2"], 1, "min_instances"),
            (["--pool", "nowhere"], 1, "nowhere"),
            (["--pool", "here", "--set", "max_model_len=x"], 1, "settings: [model] max_model_len"),
            (["--pool", "here", "--set", "http_frontend.listen=0.0.0.0:1"], 1, "not a service's to set"),
            (["--pool", "small", "--set", "max_num_seqs=200"], 2, "each of these makes it fit"),
            (["--pool", "tiny"], 3, "does not fit pool tiny"),
    ]:
        text = dry(program, *arguments, code=code)
        assert words in text, (arguments, text)
    assert "name:" in dry(program, "--pool", "here", name="a/../b", code=1)
    assert "model:" in dry(program, "--pool", "here", model="relative/path", code=1)
    text = program("service", "create", "chat", "--model", TINY, "--pool", "here", "--target", "slrum", code=1)
    assert 'there is no "slrum"; known are' in text and "slurm" in text
    assert "name:" in program.service("status", "../chat", code=1) and "name:" in program.service("delete", "/", code=1)
    for arguments in (["list"], ["status", "chat"], ["logs", "chat"], ["delete", "chat"]):
        assert "goes with --target" in program("service", *arguments, "--target-set", "cpus=1", code=2)
    assert "goes with --target" in program("service", "create", "chat", "--model", TINY, "--pool", "here", "--output", folder, code=2)
    assert "there is no service" in program.service("delete", "nobody", code=1)
    assert "there is no service" in program.service("delete", "nobody", "--no-wait", code=1)
    keyed = Program(tempfile.mkdtemp(dir=folder), "[http_frontend]\napi_key = sesame\n")
    text = dry(keyed, "--pool", "here", code=1)
    assert "token_file" in text and "sesame" not in text, text
    wrong = Program(tempfile.mkdtemp(dir=folder), "[target slurm]\npartiton = x\n")
    assert "tenon.ini:8: [target slurm]" in dry(wrong, "--pool", "here", code=1)
    wrong = Program(tempfile.mkdtemp(dir=folder), "[target slrum]\npartition = x\n")
    assert "tenon.ini:7: there is no section [target slrum]" in dry(wrong, "--pool", "here", code=1)


def test_other_users(folder):
    """A script runs as who submits it: nothing is written to, or run from, a folder that other users can change."""
    place = os.path.join(folder, "shared")
    os.makedirs(os.path.join(place, "chat"))
    program = Program(tempfile.mkdtemp(dir=folder), f"[target slurm]\ndirectory = {place}\n", {"PATH": folder, "HOME": folder})
    create = ["create", "chat", "--model", TINY, "--pool", "here", *SMALL]

    def refused(words):
        assert words in program.service(*create, code=1)
        assert os.listdir(os.path.join(place, "chat")) == []

    os.chmod(os.path.join(place, "chat"), 0o777)
    refused("chat is a folder that other users can change: chmod go-w it")
    os.chmod(os.path.join(place, "chat"), 0o755)
    os.chmod(place, 0o777)
    refused("other users can put something in the place of what is in")
    os.chmod(place, 0o1777)
    if os.geteuid() == 0:
        os.chown(os.path.join(place, "chat"), 12345, 12345)
        refused("chat belongs to another user (12345)")
        assert program.service("list").count("\n") == 1 and "another user" in program.service("delete", "chat", "--no-wait", code=1)
        os.chown(os.path.join(place, "chat"), 0, 0)
    assert "sbatch is not on the PATH" in program.service(*create, code=1)


def test_many_logs(folder):
    """A service that was resumed hundreds of times shows the logs of its last jobs, and of any that is named."""
    place = os.path.join(folder, "old", "chat")
    os.makedirs(place)
    with open(os.path.join(place, "service.json"), "w") as file:
        json.dump({"name": "chat", "min": 1, "max": 1}, file)
    for number in range(1, 301):
        with open(os.path.join(place, f"{number}.log"), "w") as file:
            file.write(f"job {number}\n")
    program = Program(tempfile.mkdtemp(dir=folder), f"[target slurm]\ndirectory = {folder}/old\n")
    lines = program.service("logs", "chat").splitlines()
    assert len(lines) == 256 and lines[-1] == "300 | job 300", lines[-3:]
    assert program.service("logs", "chat", "--instance", "1") == "job 1\n"


def test_looks(folder):
    """What squeue says, and what comes of it: jobs that have ended meanwhile, those that others are to take the place of, and words of Slurm's."""
    place = os.path.join(folder, "looks", "chat")
    os.makedirs(place)

    def write(name, text):
        with open(os.path.join(place, name), "w") as file:
            file.write(text)

    def jobs(*lines):
        write("jobs", "".join(f"{line}|n1|N/A|None|{place}\n" for line in lines))

    path = stand_ins(os.path.join(folder, "bin5"), squeue=f"cat '{place}/jobs'\n[ ! -e '{place}/later' ] || mv '{place}/later' '{place}/jobs'\n",
                     scancel=f"echo \"$*\" >>'{place}/told'\ncat '{place}/words' >&2\nexit 1\n")
    program = Program(tempfile.mkdtemp(dir=folder), f"[target slurm]\ndirectory = {folder}/looks\n", {"PATH": path + ":/usr/bin:/bin", "HOME": folder})
    write("service.json", json.dumps({"name": "chat", "min": 1, "max": 1, "model": "m", "pool": "p"}))
    write("words", "")
    write("5.stop", "")
    write("6.failed", "exit code 3, 5 times in a row\n")
    jobs("5|RUNNING", "6|FAILED")
    status = program.status()
    assert status["state"] == "FAILED" and status["message"] == "0 of 1 jobs of chat are left: exit code 3, 5 times in a row", status
    assert [one["state"] for one in status["instances"]] == ["DRAINING"] and "told" not in os.listdir(place), "what was there before goes on"

    jobs("7|COMPLETING")
    assert "SUSPENDING" in program.service("suspend", "chat", "--no-wait") and "told" not in os.listdir(place)
    assert "7.stop" in os.listdir(place), "it does not come back"
    jobs("8|RUNNING")
    write("later", f"8|COMPLETING|n1|N/A|None|{place}\n")
    program.service("suspend", "chat", "--no-wait")
    with open(os.path.join(place, "told")) as file:
        assert file.read() == "--quiet --batch --signal=USR2 --state=RUNNING 8\n"
    jobs("9|RUNNING")
    write("words", "scancel: error: Kill job error on job id 9: Access denied\n")
    assert "Access denied" in program.service("suspend", "chat", "--no-wait", code=1)
    program.environment["PATH"] = folder
    assert "squeue is not on the PATH" in program.service("list", code=1), "not that there is no service"


def test_no_slurm(folder):
    program = Program(tempfile.mkdtemp(dir=folder), f"[target slurm]\ndirectory = {folder}/none\n", {"PATH": folder, "HOME": folder})
    text = program.service("create", "chat", "--model", TINY, "--pool", "here", *SMALL, code=1)
    assert "sbatch is not on the PATH" in text and "slurm-client" in text, text
    assert program.service("list").count("\n") == 1 and os.listdir(os.path.join(folder, "none")) == []


# ---- on a cluster ----

def ask(address, token=None, ids=False, model="chat"):
    body = json.dumps({"model": model, "prompt": [3, 14, 15] if ids else "hello", "max_tokens": 4, "temperature": 0}).encode()
    headers = {"Content-Type": "application/json", **({"Authorization": "Bearer " + token} if token else {})}
    with urllib.request.urlopen(urllib.request.Request(address + "/v1/completions", body, headers), timeout=30) as reply:
        return json.load(reply)["choices"][0]["text"]


def addresses(status):
    return [instance["address"] for instance in status["instances"] if instance["state"] == "READY"]


def pid_of(cluster, service, job):
    with open(os.path.join(cluster.share, "it's $HOME", service, job + ".status")) as file:
        return json.load(file)["pid"]


def wait_for(condition, seconds=120):
    end = time.time() + seconds
    while True:
        seen = condition()
        if seen:
            return seen
        assert time.time() < end
        time.sleep(0.2)


def test_life(cluster, program, folder):
    """A model of the registry, pinned; tokens from a file; two instances; one that dies; none; gone."""
    program("registry", "log", "tiny", TINY)
    token = json.loads(program("token", "create", "user", "--scope", "infer", "--file", f"{folder}/tokens", "--json"))["token"]
    told = program.service("create", "chat", "--model", "tiny", "--pool", "here", *SMALL, "--set", "engine.drain_timeout=5")
    assert told == "chat is READY on pool here, 1 of 1 instances ready\n", told
    status = program.status()
    instance = status["instances"][0]
    assert status["target"] == "slurm" and status["digest"] and status["path"].startswith(folder), status
    assert instance["node"] and re.fullmatch(r"http://[^:/]+:\d+", instance["address"]) and status["last_log"], instance
    answer = ask(instance["address"], token)
    assert answer
    try:
        ask(instance["address"])
        raise AssertionError("answered without a token")
    except urllib.error.HTTPError as error:
        assert error.code == 401
    place = os.path.join(cluster.share, "it's $HOME", "chat")
    for name in os.listdir(place):
        with open(os.path.join(place, name)) as file:
            assert token not in file.read(), name
    with open(os.path.join(place, instance["id"] + ".address")) as file:
        assert file.read() == instance["address"] + "\n"
    assert "is ready after" in program.service("logs", "chat") and "is ready after" in program.service(
        "logs", "chat", "--instance", instance["id"])
    assert "already" in program.service("create", "chat", "--model", "tiny", "--pool", "here", *SMALL, code=1)
    assert instance["address"] in program.service("status", "chat")
    elsewhere = json.loads(program.service("status", "chat", "--json", "--target-set", f"directory={cluster.share}//it's $HOME/"))
    assert [one["id"] for one in elsewhere["instances"]] == [instance["id"]], "the same folder, by another spelling"

    program.service("scale", "chat", "--min", "2", "--max", "2")
    assert len({ask(address, token) for address in addresses(program.status())}) == 1 and len(addresses(program.status())) == 2
    requeue(cluster, program, instance["id"])
    program.service("scale", "chat", "--min", "1", "--max", "1")
    wait_for(lambda: len(program.status()["instances"]) == 1)

    left = program.status()["instances"][0]["id"]
    open(os.path.join(place, left + ".stop"), "w").close()  # as if Slurm had not heard of it
    assert "SUSPENDED" in program.service("suspend", "chat") and cluster.jobs() == [] and program.status()["instances"] == []
    program.service("resume", "chat")
    assert ask(addresses(program.status())[0], token) == answer
    assert [one["name"] for one in json.loads(program.service("list", "--json"))["services"]] == ["chat"]
    assert program.service("delete", "chat") == "chat is gone\n"
    assert cluster.jobs() == [] and not os.path.exists(place)
    assert "there is no service" in program.service("status", "chat", code=1)


def requeue(cluster, program, job):
    """What is killed comes back, as the same job."""
    first = pid_of(cluster, "chat", job)
    os.kill(first, signal.SIGKILL)
    program.service("status", "chat", "--wait", "DEGRADED", "--timeout", "120")
    program.service("status", "chat", "--wait", "READY", "--timeout", "120")
    assert job in [one["id"] for one in program.status()["instances"]] and pid_of(cluster, "chat", job) != first
    assert "it is put into the queue again" in program.service("logs", "chat", "--instance", job)


def test_failures(cluster, program, folder):
    """What Slurm refuses is told in its words, and leaves nothing; what cannot start gives up."""
    text = program.service("create", "lost", "--model", TINY, "--pool", "here", *SMALL, "--target-set", "partition=nosuch", code=1)
    assert "sbatch: " in text and "nvalid partition" in text, text
    assert "lost" not in program.service("list") and not os.path.exists(os.path.join(cluster.share, "it's $HOME", "lost"))
    program.service("create", "ended", "--model", TINY, "--pool", "here", *SMALL)
    cluster.run("scancel", *cluster.jobs())
    text = program.service("status", "ended", "--wait", "SUSPENDED", "--timeout", "120", code=1)
    assert re.search(r"ended has failed: 0 of 1 jobs of ended are left: job \d+ has ended: CANCELLED", text), text
    program.service("resume", "ended")
    assert program.service("delete", "ended") == "ended is gone\n"
    waiting = program.service("create", "huge", "--model", TINY, "--pool", "here", *SMALL, "--target-set", "constraint=none", "--no-wait",
                              code=1)
    assert "nvalid feature" in waiting or "not available" in waiting, waiting


def contents(place):
    names = ("job.sbatch", "service.ini", "service.json")
    return [open(os.path.join(place, name)).read() for name in names if os.path.exists(os.path.join(place, name))]


def test_update(cluster, program, folder):
    """What is new runs before what was there ends; what is refused leaves what is there as it was; and the registry keeps what runs."""
    place = os.path.join(cluster.share, "it's $HOME", "next")
    with open(TINY, "rb") as one, open(os.path.join(folder, "padded.gguf"), "wb") as other:
        other.write(one.read() + bytes(64))
    for path in (TINY, os.path.join(folder, "padded.gguf")):
        program("registry", "log", "two", path)
    token = json.loads(program("token", "create", "next", "--scope", "infer", "--file", f"{folder}/tokens", "--json"))["token"]
    program.service("create", "next", "--model", "two@v1", "--pool", "here", *SMALL)
    first = program.status("next")

    refusing = stand_ins(os.path.join(folder, "bin"), sbatch=f"[ ! -e '{folder}/one' ] || {{ echo 'sbatch: error: enough' >&2; exit 1; }}\n"
                         f"touch '{folder}/one'\nexec {shutil.which('sbatch', path=cluster.environment['PATH'])} \"$@\"\n")
    limited = Program(tempfile.mkdtemp(dir=folder), "", {**program.environment, "PATH": refusing + ":" + cluster.environment["PATH"]})
    limited.ini, before = program.ini, contents(place)
    assert "sbatch: error: enough" in limited.service("update", "next", "--model", "two@v2", "--min", "2", "--max", "2", code=1)
    assert contents(place) == before and len(before) == 3
    wait_for(lambda: cluster.jobs() == [first["instances"][0]["id"]])
    program("registry", "rm", "two@v2")
    program("registry", "log", "two", os.path.join(folder, "padded.gguf"), "--version", "v2")

    late = os.path.join(stand_ins(os.path.join(folder, "late"), tenon=f"while [ ! -e '{folder}/go' ]; do sleep 0.05; done\n"
                                  f"exec {os.environ['TENON']} \"$@\"\n"), "tenon")
    program.service("update", "next", "--model", "two", "--no-wait", "--target-set", "program=" + late)
    assert program.status("next")["state"] in ("PENDING", "LOADING")
    open(os.path.join(folder, "go"), "w").close()
    old = first["instances"][0]
    new, = set(cluster.jobs()) - {old["id"]}
    wait_for(lambda: os.path.exists(os.path.join(place, new + ".address")))
    assert ask(old["address"], token, model="next") and old["id"] in cluster.jobs(), "nobody has looked yet"
    assert "two@v1 is in use by service next on slurm" in program("registry", "rm", "two@v1", code=1)
    status = json.loads(program.service("status", "next", "--json", "--wait", "READY"))
    assert status["state"] == "READY" and status["digest"] != first["digest"] and status["settings"] == first["settings"], status
    wait_for(lambda: cluster.jobs() == [new])
    program("registry", "rm", "two@v1")

    assert "READY" in program.service("update", "next", "--set", "max_num_seqs=2", "--set", "max_model_len=256", "--set", "cpu.threads=2")
    wait_for(lambda: len(cluster.jobs()) == 1)
    last = program.status("next")
    assert last["digest"] == status["digest"] and last["model"] == "two" and new not in cluster.jobs(), last
    assert "engine.max_num_seqs=2" in last["settings"] and ask(addresses(last)[0], token, model="next")
    assert program.service("delete", "next") == "next is gone\n"
    program("registry", "rm", "two@v2")


def test_up(cluster, program, folder):
    """The same from a file; a second time nothing is to do; what differs is changed."""
    file = Program(tempfile.mkdtemp(dir=folder),
                   f"[target slurm]\ndirectory = {cluster.share}/up\ncpus = 2\n[service b]\ntarget = slurm\n"
                   f"model = {TINY}\npool = here\nmax_num_seqs = 4\nmax_model_len = 256\nkv_cache_memory_bytes = 4MiB\n",
                   cluster.environment)
    up = [os.environ["TENON"], "up", file.ini]
    for settings, told in [([], "b: created\n"), ([], "b: unchanged\n"), (["--set", "service b.max=2"], "b: updated (max 1 -> 2)\n"),
                           (["--set", "service b.max=2", "--set", "service b.max_num_seqs=2"], "b: updated (settings ")]:
        done = subprocess.run(up + settings, capture_output=True, text=True, timeout=240, env=cluster.environment)
        assert done.returncode == 0 and done.stdout.startswith(told), done
    assert "engine.max_num_seqs=2" in file.status("b")["settings"]
    assert file.service("delete", "b") == "b is gone\n"


def main(ruler, backend, families):
    with tempfile.TemporaryDirectory() as folder:
        pools = "".join(f"[pool {name}]\ndevice = X\nmemory = {memory}\ncount = {count}\nnodes = {nodes}\nbackend = {ruler}\n"
                        for name, memory, count, nodes in [("four", "1GiB", 4, 1), ("nodes", "1GiB", 2, 2), ("small", "780MiB", 1, 1),
                                                           ("tiny", "1MiB", 1, 1)])
        offline = Program(folder, pools)
        test_rendered(offline, ruler)
        test_output(offline, folder)
        test_quoting(offline, folder)
        test_drains(offline, folder)
        test_gives_up(offline, folder)
        test_two_nodes(folder, backend, families)
        test_refusals(offline, folder)
        test_no_slurm(folder)
        test_other_users(folder)
        test_many_logs(folder)
        test_looks(folder)
    with tempfile.TemporaryDirectory() as folder, SlurmCluster() as cluster:
        program = Program(folder, f"[target slurm]\ndirectory = {cluster.share}/it's $HOME\n[auth]\ntoken_file = {folder}/tokens\n",
                          {**cluster.environment, "SBATCH_PARTITION": "nosuch", "SQUEUE_PARTITION": "nosuch", "SCANCEL_PARTITION": "nosuch"})
        test_life(cluster, program, folder)
        test_failures(cluster, program, folder)
        test_update(cluster, program, folder)
        test_up(cluster, program, folder)
    print("target_slurm: ok")


main(*map(os.path.abspath, sys.argv[1:]))
