#!/usr/bin/env python3
"""test_workers.py PLUGIN FAMILIES file|tcp|mpirun: one model served by several real processes of this machine. PLUGIN is cuda_tp over host
memory (tests/cuda), with a stand-in for NCCL between processes; answers must be those of one process with as many ranks, to the bit. Then
members that die, stop, never come, or run something else: everyone ends in time, with a sentence that says who and why."""
import concurrent.futures
import contextlib
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from in_family_directory import tokenizer
from server import Server, free_port

PLUGIN, FAMILIES, PART = sys.argv[1:]
SLOW = 4 if "TENON_SANITIZED" in os.environ else 1
SECRET = "a secret of the tests"
HOST = socket.gethostname()
PROMPT = [3, 14, 15, 9, 2, 6, 5, 35, 8, 9, 79]


class Group:
    """Processes that run `tenon serve` with the same settings; `place` says to each which one it is."""
    request = Server.request
    metric = Server.metric

    def __init__(self, kind, processes, ranks, *settings, model="llama", join_timeout=20):
        self.kind, self.processes, self.ranks = kind, processes, ranks
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="tenon-workers-")
        self.store = f"file:{self.folder}/store" if kind == "file" else f"tcp://127.0.0.1:{free_port()}"
        os.mkdir(f"{self.folder}/store")
        self.model = self.make_model(model)
        self.settings = [f"plugins.path={os.environ['TENON_PLUGINS']}", f"backend.plugin={PLUGIN}", f"model.path={self.model}",
                         "model.served_model_name=m", f"backend.tensor_parallel_size={ranks}", "engine.max_num_seqs=8",
                         "engine.max_num_batched_tokens=64", "engine.kv_cache_memory_bytes=4MiB",
                         f"http_frontend.listen=127.0.0.1:{self.port}", *settings]
        self.meeting = [f"group.join_timeout={join_timeout * SLOW}", f"group.store={self.store}"] if processes > 1 else []
        self.members = []

    def make_model(self, name):
        folder = tempfile.mkdtemp(prefix="model-", dir=self.folder)
        for file in ("config.json", "model.safetensors"):
            shutil.copy(os.path.join(FAMILIES, name, file), folder)
        with open(os.path.join(folder, "tokenizer.json"), "w") as out:
            json.dump(tokenizer(), out)
        return folder

    def log(self, rank):
        with open(f"{self.folder}/log.{rank}") as log:
            return log.read()

    def start(self, rank, *settings, variables=None, environment=()):
        place = [f"group.rank={rank}", f"group.world_size={self.processes}"] if self.processes > 1 and variables is None else []
        command = [os.environ["TENON"], "serve"]
        for setting in [*self.settings, *self.meeting, *place, *settings]:
            command += ["--set", setting]
        with open(f"{self.folder}/log.{rank}", "w") as log:
            member = subprocess.Popen(command, stderr=log, env={**os.environ, "TENON_GROUP_SECRET": SECRET, **(variables or {}), **dict(environment)})
        self.members.append(member)
        return member

    def start_all(self, **more):
        for rank in reversed(range(self.processes)):
            self.start(rank, **more)
        self.members.reverse()
        self.wait_ready()
        return self

    def wait_ready(self):
        end = time.time() + 60 * SLOW
        while "is ready after" not in self.log(0):
            assert time.time() < end and all(member.poll() is None for member in self.members), self.logs()
            time.sleep(0.05)

    def logs(self):
        return "\n".join(f"--- rank {rank} ---\n{self.log(rank)[-2000:]}" for rank in range(self.processes)
                         if os.path.exists(f"{self.folder}/log.{rank}"))

    def end(self, rank, code, *words, seconds=20):
        """The member ends with the code, and its last line has the words."""
        member = self.members[rank]
        try:
            member.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"rank {rank} does not end\n{self.logs()}") from None
        assert member.returncode == code, f"rank {rank}: {member.returncode}\n{self.logs()}"
        last = self.log(rank).strip().rsplit("\n", 1)[-1]
        assert all(word in last for word in words), f"rank {rank} says {last!r}, not {words}"

    def stop(self):
        self.members[0].send_signal(signal.SIGTERM)
        for rank in range(self.processes):
            self.end(rank, 0)

    def complete(self, **fields):
        return self.request("POST", "/v1/completions", {"model": "m", "prompt": PROMPT, "max_tokens": 12, "temperature": 0, **fields})

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                member.kill()
            member.wait()
        if kind:
            print(self.logs())
        shutil.rmtree(self.folder)


def check_clean(group):
    """Nothing is left of a group that has ended by itself."""
    assert os.listdir(f"{group.folder}/store") == [], os.listdir(f"{group.folder}/store")
    assert glob.glob("/dev/shm/tenon-test-*") == []
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", group.port), timeout=1):
        raise AssertionError("somebody still listens")


# ---- what works ----

REQUESTS = [
    {"logprobs": 5},
    {"prompt": [(7 * i) % 96 for i in range(150)], "logprobs": 3, "max_tokens": 20},
    {"temperature": 0.9, "seed": 4, "top_p": 0.8, "n": 3, "logprobs": 1},
    {"temperature": 1.2, "seed": 5, "top_k": 7, "min_p": 0.01, "repetition_penalty": 1.3, "presence_penalty": 0.4, "frequency_penalty": 0.2},
    {"logit_bias": {"5": -100, "9": 3.5}, "max_tokens": 30, "ignore_eos": True},
    {"prompt": PROMPT[:5], "echo": True, "logprobs": 2, "max_tokens": 3},
    {"prompt": [[1, 2, 3], [4, 5, 6, 7], PROMPT * 4], "max_tokens": 9},
]


def answers(group):
    """Alone, then all at once: batches of every kind."""
    def ask(fields):
        status, _, body = group.complete(**fields)
        assert status == 200, body
        return [(choice["text"], choice["logprobs"]) for choice in body["choices"]]
    alone = [ask(fields) for fields in REQUESTS]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        together = list(pool.map(ask, REQUESTS * 2))
    assert together == alone * 2
    return alone


def expected(ranks, model="llama"):
    with Group("tcp", 1, ranks, model=model).start_all() as group:
        found = answers(group)
        group.stop()
    return found


def test_answers(kind, processes, ranks, model="llama"):
    with Group(kind, processes, ranks, model=model).start_all() as group:
        assert answers(group) == expected(ranks, model), (kind, processes, ranks, model)
        group.stop()
        check_clean(group)


def test_least_pages(kind):
    """Whoever has room for least decides."""
    with Group(kind, 2, 4, "engine.max_num_seqs=2") as group:
        group.start(1, "engine.kv_cache_memory_bytes=1MiB")
        group.start(0, "engine.kv_cache_memory_bytes=3MiB")
        group.members.reverse()
        group.wait_ready()
        pages = int(group.request("GET", "/metrics")[2].split('num_gpu_blocks="', 1)[1].split('"', 1)[0])
        with Group(kind, 1, 4, "engine.max_num_seqs=2", "engine.kv_cache_memory_bytes=1MiB").start_all() as alone:
            fewest = int(alone.request("GET", "/metrics")[2].split('num_gpu_blocks="', 1)[1].split('"', 1)[0])
        assert pages == fewest, (pages, fewest)
        assert group.complete()[0] == 200
        group.stop()


# ---- the end ----

@contextlib.contextmanager
def long_request(group):
    """One that runs when the body of the block begins; its answer is in the list afterwards."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = []
        running = pool.submit(group.complete, max_tokens=400, ignore_eos=True)
        end = time.time() + 20 * SLOW
        while group.metric("tenon:num_requests_running") == 0:
            assert time.time() < end and not running.done(), running
        yield answer
        answer.append(running.result(timeout=60 * SLOW))


def test_stop(kind, rank):
    """SIGTERM, at rank 0 or at a worker: what runs is finished, and everyone leaves in order."""
    with Group(kind, 2, 4).start_all() as group:
        with long_request(group) as answer:
            group.members[rank].send_signal(signal.SIGTERM)
        status, _, body = answer[0]
        assert status == 200 and body["usage"]["completion_tokens"] == 400, body
        for member in range(2):
            group.end(member, 0)
        assert f"tenon: rank {rank} on {HOST} was told to stop (Terminated), finishing what runs" in group.log(0), group.log(0)
        check_clean(group)


def test_killed_worker(kind, busy):
    with Group(kind, 4, 4).start_all() as group:
        begin = time.time()
        if busy:
            with long_request(group) as answer:
                group.members[2].kill()
            assert answer[0][0] >= 500 and f"rank 2 on {HOST}" in json.dumps(answer[0][2]), answer
        else:
            group.members[2].kill()
        for rank in (0, 1, 3):
            group.end(rank, 1, f"rank 2 on {HOST}", "gone")
        assert time.time() - begin < 15 * SLOW
        group.members[2].wait()


def test_killed_rank_0(kind, busy):
    with Group(kind, 4, 4).start_all() as group:
        if busy:
            with contextlib.suppress(OSError), long_request(group):
                group.members[0].kill()
        else:
            group.members[0].kill()
        for rank in (1, 2, 3):
            group.end(rank, 1, "rank 0", "gone")


def test_stopped_then_killed(kind):
    """A worker that stands still keeps a step waiting; when it goes, the step ends."""
    with Group(kind, 2, 2).start_all() as group:
        with long_request(group) as answer:
            group.members[1].send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            assert group.request("GET", "/health")[0] in (200, 503)
            group.members[1].kill()
        assert answer[0][0] >= 500 and f"rank 1 on {HOST}" in json.dumps(answer[0][2]), answer
        group.end(0, 1, f"rank 1 on {HOST}", "gone")


def test_stop_while_loading(kind, rank):
    """There is nothing to finish yet: the group ends, even where a process does not get done with its part."""
    with Group(kind, 2, 4) as group:
        for member in range(2):
            group.start(member, environment={"TENON_TEST_HOLD": str(2 * (1 - rank))})  # the other one's device
        time.sleep(1)
        group.members[rank].send_signal(signal.SIGTERM)
        group.end(rank, 1, f"rank {rank} on {HOST} was told to stop (Terminated) before the model was loaded")


def test_failed_step(kind, rank):
    """A device fails within a step, at rank 0 or at a worker."""
    with Group(kind, 2, 4) as group:
        for member in range(2):  # far behind the copies of loading
            group.start(member, environment={"TENON_TEST_FAIL_COPY": f"{2 * rank}:300"} if member == rank else {})
        group.wait_ready()
        reason = f"rank {2 * rank}: device {2 * rank} is gone"
        status, _, body = group.complete(max_tokens=480, ignore_eos=True)
        assert status >= 500 and reason in json.dumps(body), body
        group.end(rank, 1, reason)
        group.end(1 - rank, 1, f"rank {rank} on {HOST} ended the group: {reason}")


def test_stopped_beside_one_that_stands_still(kind):
    """Rank 0 cannot finish what runs; it does not wait for ever."""
    with Group(kind, 2, 2, "engine.drain_timeout=1").start_all() as group:
        with contextlib.suppress(OSError), long_request(group):  # its client is left alone after drain_timeout
            group.members[1].send_signal(signal.SIGSTOP)
            group.members[0].send_signal(signal.SIGTERM)
        group.end(0, 1, "told to stop, rank 0 was not done 5 s after engine.drain_timeout = 1: some rank stands still")
        group.members[1].send_signal(signal.SIGCONT)
        group.end(1, 1, "rank 0")


def test_killed_while_draining(kind):
    with Group(kind, 2, 2).start_all() as group:
        with long_request(group) as answer:
            group.members[0].send_signal(signal.SIGTERM)
            time.sleep(0.05)
            group.members[1].kill()
        assert answer[0][0] >= 500, answer
        group.end(0, 1, f"rank 1 on {HOST}", "gone")


# ---- what does not fit ----

def test_other_model(kind):
    """The same shape, and one bit of the last of a weight's elements; and another setting."""
    with Group(kind, 2, 2) as group:
        other = group.make_model("llama")
        with open(f"{other}/model.safetensors", "r+b") as file:
            n_header = int.from_bytes(file.read(8), "little")
            tensors = [tensor for name, tensor in json.loads(file.read(n_header)).items() if name != "__metadata__"]
            last = 8 + n_header + max((tensor["data_offsets"] for tensor in tensors), key=lambda at: at[1] - at[0])[1] - 1
            file.seek(last)
            byte = file.read(1)[0]
            file.seek(last)
            file.write(bytes([byte ^ 1]))
        group.start(0), group.start(1, f"model.path={other}")
        group.end(0, 1, f"rank 1 on {HOST} does not run what rank 0 runs", "checkpoint: ")
        group.end(1, 1, f"rank 1 on {HOST} does not run what rank 0 runs", "checkpoint: ")
        check_clean(group)
    with Group(kind, 2, 2) as group:
        group.start(0), group.start(1, "model.max_model_len=128")
        for rank in range(2):
            group.end(rank, 1, '"model.max_model_len: 128"')


def test_missing_worker(kind):
    with Group(kind, 3, 4, join_timeout=2) as group:
        group.start(0), group.start(1)
        group.end(0, 1, "did not join group tenon", "rank 2")
        group.end(1, 1, "group tenon")


def test_failed_load(kind, rank):
    """A device fails while weights arrive, at rank 0 or at a worker; the other one is told."""
    with Group(kind, 2, 4) as group:
        for member in range(2):
            group.start(member, environment={"TENON_TEST_FAIL_COPY": f"{2 * rank}:3"} if member == rank else {})
        group.end(rank, 1, f"device {2 * rank} is gone")
        group.end(1 - rank, 1, f"rank {rank} on {HOST} ended the group: device {2 * rank} is gone")


def test_devices(kind):
    with Group(kind, 2, 3) as group:
        group.start(0), group.start(1)
        for rank in range(2):
            group.end(rank, 1, "tensor_parallel_size = 3", "all 2 processes", "set it to 2, 4 or another multiple of 2")
    with Group(kind, 2, 12) as group:  # there are 8
        group.start(0), group.start(1)
        for rank in range(2):
            group.end(rank, 1, "2 processes of the group on this machine need 6 devices each, but 8 are here")


# ---- launchers ----

def test_slurm():
    with Group("tcp", 4, 4) as group:
        port = free_port()
        group.meeting = ["group.launcher=slurm", f"group.port={port}"]
        for rank in range(4):
            group.start(rank, variables={"SLURM_PROCID": str(rank), "SLURM_NTASKS": "4", "SLURM_LOCALID": str(rank), "SLURM_JOB_ID": "4711",
                                         "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_ID": "0"})
        group.wait_ready()
        assert answers(group) == expected(4)
        group.stop()


SRUN = """#!/bin/sh
# As many processes on this machine as the real one starts on as many nodes.
nodes=${1#--nodes=}; [ "$2" = --ntasks-per-node=1 ] || exit 9; shift 2
trap 'kill $jobs; wait $jobs' TERM
export SLURM_NTASKS=$nodes SLURM_JOB_ID=7 SLURM_STEP_ID=1 SLURM_STEP_NODELIST=localhost
for rank in $(seq 0 $((nodes - 1))); do
    SLURM_PROCID=$rank SLURM_LOCALID=$rank "$@" 2> log.$rank & jobs="$jobs $!"
done
wait $jobs
"""


def test_planned_launch():
    """The command that `tenon plan` prints for several nodes is one that works."""
    with Group("tcp", 2, 4) as group:
        pool = ["pool=toy", "device=toy", "memory=4GiB", f"backend={PLUGIN}", "count=2", "nodes=2"]
        command = [os.environ["TENON"], "plan", group.model, "--pool", "toy", "--strategy", "nodes", "--json"]
        for setting in ["plugins.path=" + os.environ["TENON_PLUGINS"], *("pool toy." + key for key in pool[1:])]:
            command += ["--set", setting]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 * SLOW)
        assert done.returncode == 0, done.stderr
        launch = json.loads(done.stdout)["launch"]
        assert launch.startswith("srun --nodes=2 --ntasks-per-node=1 tenon serve FILE.ini --set group.launcher=slurm "), launch
        with open(f"{group.folder}/srun", "w") as srun:
            srun.write(SRUN)
        os.chmod(f"{group.folder}/srun", 0o755)
        os.symlink(os.environ["TENON"], f"{group.folder}/tenon")
        sections = {}
        for setting in [*group.settings, f"group.port={free_port()}"]:
            name, value = setting.split("=", 1)
            if not name.startswith("backend."):  # these are the launch line's
                sections.setdefault(name.split(".")[0], []).append(f"{name.split('.')[1]} = {value}")
        with open(f"{group.folder}/FILE.ini", "w") as ini:
            ini.write("\n".join(f"[{section}]\n" + "\n".join(lines) for section, lines in sections.items()) + "\n")
        job = subprocess.Popen(launch.split(), cwd=group.folder, env={**os.environ, "TENON_GROUP_SECRET": SECRET,
                                                                       "PATH": group.folder + ":" + os.environ["PATH"]})
        group.members.append(job)
        while not os.path.exists(f"{group.folder}/log.0"):
            time.sleep(0.05)
        group.wait_ready()
        assert answers(group) == expected(4)
        job.terminate()
        job.wait(30 * SLOW)
        check_clean(group)


def test_mpirun(kind):
    """The real one. Itself told to stop it would kill; one of its processes, told to stop, takes all with it in order."""
    with Group(kind, 2, 4) as group:
        settings = [word for setting in [*group.settings, *group.meeting, "group.launcher=openmpi"] for word in ("--set", setting)]
        with open(f"{group.folder}/log.0", "w") as log:
            job = subprocess.Popen(["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2", "-x", "TENON_GROUP_SECRET",
                                    os.environ["TENON"], "serve", *settings], stderr=log,
                                   env={**os.environ, "TENON_GROUP_SECRET": SECRET})
        group.members.append(job)
        group.wait_ready()
        assert answers(group) == expected(4)
        children = []
        for path in glob.glob(f"/proc/{job.pid}/task/*/children"):
            with open(path) as file:
                children += file.read().split()
        os.kill(int(children[-1]), signal.SIGTERM)
        assert job.wait(60 * SLOW) == 0, group.log(0)
        check_clean(group)


def main():
    if PART == "mpirun":
        if not shutil.which("mpirun"):
            print("no mpirun: skipped")
            sys.exit(77)
        test_mpirun("file")
        test_mpirun("tcp")
        return
    test_answers(PART, 2, 2)
    test_answers(PART, 2, 4)
    test_answers(PART, 4, 4)
    test_answers(PART, 2, 2, model="gemma3")
    test_least_pages(PART)
    for rank in (0, 1):
        test_stop(PART, rank)
    for busy in (False, True):
        test_killed_worker(PART, busy)
        test_killed_rank_0(PART, busy)
        test_failed_step(PART, int(busy))
        test_stop_while_loading(PART, int(busy))
    test_stopped_then_killed(PART)
    test_killed_while_draining(PART)
    test_stopped_beside_one_that_stands_still(PART)
    test_other_model(PART)
    test_missing_worker(PART)
    for rank in (0, 1):
        test_failed_load(PART, rank)
    test_devices(PART)
    if PART == "tcp":
        test_slurm()
        test_planned_launch()


main()
