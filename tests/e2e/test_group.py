#!/usr/bin/env python3
"""test_group.py PROGRAM file|tcp|mpirun: groups of real processes on one machine (group_member.c): they meet, exchange, wait for each
other, and learn in time when one of them is killed, aborts, or is not who it should be. Slurm and Open MPI are played by their variables,
and by the real mpirun, which is skipped where there is none."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

MEMBER, PART = sys.argv[1:]
SLOW = 4 if "TENON_SANITIZED" in os.environ else 1
NOT_FOUND, CANCELLED, DEVICE_LOST, ARGUMENT, MEMORY = -4, -6, -7, -1, -3
SECRET = "a secret of the tests"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Group:
    """A place to meet, and the processes that do."""

    def __init__(self, kind, world, join_timeout=20):
        self.kind, self.world = kind, world
        self.folder = tempfile.mkdtemp(prefix="tenon-group-")
        self.store = f"file:{self.folder}" if kind == "file" else f"tcp://127.0.0.1:{free_port()}"
        self.settings = [f"group.store={self.store}", f"group.join_timeout={join_timeout * SLOW}"]
        self.members = []

    def start(self, rank, *actions, world=None, secret=SECRET, settings=(), variables=None):
        place = [f"group.rank={rank}", f"group.world_size={world or self.world}"] if variables is None else []
        command = [MEMBER, *self.settings, *place, *settings, "--", *[str(a) for a in actions]]
        environment = {**os.environ, "TENON_GROUP_SECRET": secret, **(variables or {})}
        member = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  env=environment)
        self.members.append(member)
        return member

    def start_all(self, *actions):
        return [self.start(rank, *[str(a).replace("RANK", str(rank)) for a in actions]) for rank in range(self.world)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                member.kill()
            member.communicate()
        shutil.rmtree(self.folder)


def finish(member, seconds=60):
    out, _ = member.communicate(timeout=seconds * SLOW)
    return out


def must_succeed(members):
    outs = [finish(member) for member in members]
    for member, out in zip(members, outs):
        assert member.returncode == 0, out
    return outs


def must_fail(member, status, *words, seconds=60):
    out = finish(member, seconds)
    assert member.returncode == 1 and f"failed {status}: " in out and all(word in out for word in words), (words, out)
    return out


def read_until(member, text):
    out = ""
    while text not in out:
        line = member.stdout.readline()
        assert line, out
        out += line
    return out


# ---- what works ----

def test_exchange(kind, world):
    with Group(kind, world) as group:
        actions = ["put", "id/RANK", "value of RANK"]
        for rank in range(world):
            actions += ["get", f"id/{rank}", 20000]
        outs = must_succeed(group.start_all(*actions, "barrier", "end", 20000))
        for rank, out in enumerate(outs):
            assert f"joined tenon as {rank} of {world}, local {rank} of {world}, 1 hosts" in out, out
            assert all(f"id/{other} = value of {other}" in out for other in range(world)), out
        assert os.listdir(group.folder) == [], "the folder is not left clean"


def test_late_and_out_of_order(kind):
    with Group(kind, 3) as group:
        members = [group.start(2, "get", "k", 20000), group.start(1, "put", "k", "v")]
        time.sleep(0.5)
        members.append(group.start(0, "get", "k", 20000))
        outs = must_succeed(members)
        assert "k = v" in outs[0] and "k = v" in outs[2]


def test_many_threads(kind):
    with Group(kind, 3) as group:
        must_succeed(group.start_all("many", 8))


def test_values_of_all_sizes(kind):
    with Group(kind, 2) as group:
        members = [group.start(0, "put-big", "most", 1 << 20, "put-big", "none", 0, "put-big", "odd", 65537, "barrier", "b", 20000),
                   group.start(1, "get-big", "most", 20000, "get-big", "odd", 20000, "get", "none", 20000, "barrier", "b", 20000)]
        outs = must_succeed(members)
        assert f"most has {1 << 20} bytes, {1 << 20} good" in outs[1] and "odd has 65537 bytes, 65537 good" in outs[1]
        assert "none = \n" in outs[1]


def test_refused_calls(kind):
    with Group(kind, 1) as group:
        must_fail(group.start(0, "put-big", "k", (1 << 20) + 1), ARGUMENT, "more than 1048576 bytes")
        must_fail(group.start(0, "put", "tn/mine", "v"), ARGUMENT, "tn/ are the core's")
        must_fail(group.start(0, "put", "../k?", "v"), ARGUMENT, "a key has 1 to 128")
        must_fail(group.start(0, "put", "k", "v", "put", "k", "v"), ARGUMENT, "the key k has a value already")
        must_fail(group.start(0, "put", "k", "v" * 300, "get", "k", 0), MEMORY, "300 bytes")


def test_same_place_again(kind):
    """What an earlier group left, even one that was killed, is not seen by the next of the same name, whoever of it comes first."""
    with Group(kind, 2) as group:
        for first in (0, 1):
            members = [group.start(0, "put", "k", "old", "wait"), group.start(1, "get", "k", 20000, "wait")]
            read_until(members[0], "done put")
            read_until(members[1], "k = old")
            for member in members:
                member.kill()
                member.wait()
            actions = [["get", "k", 20000], ["sleep", 300, "put", "k", "new"]]
            members = [group.start(first, *actions[first])]
            time.sleep(0.5)
            members.append(group.start(1 - first, *actions[1 - first]))
            assert "k = new" in must_succeed(members)[first]


# ---- what goes wrong ----

def test_killed_member(kind, world):
    with Group(kind, world) as group:
        members = [group.start(rank, *(["wait"] if rank == 1 else ["get", "never", 4000 * SLOW])) for rank in range(world)]
        read_until(members[1], "joined")
        time.sleep(0.5)
        begin = time.time()
        members[1].kill()
        for rank in [rank for rank in range(world) if rank != 1]:
            if kind == "tcp":
                must_fail(members[rank], DEVICE_LOST, "rank 1 on", "is gone")
            else:
                must_fail(members[rank], NOT_FOUND, "no member of group tenon put never", "within 4000" if SLOW == 1 else "within")
        assert time.time() - begin < 15 * SLOW
        if kind == "tcp":
            assert time.time() - begin < 3.5 * SLOW, "the others were told by the timeout, not by the connection"


def test_killed_rank_0(kind):
    with Group(kind, 3) as group:
        members = [group.start(0, "wait"), group.start(1, "get", "never", 3000), group.start(2, "sleep", 1500, "put", "k", "v", "get", "n", 3000)]
        read_until(members[0], "joined")
        time.sleep(0.5)
        members[0].kill()
        for member in members[1:]:
            must_fail(member, DEVICE_LOST if kind == "tcp" else NOT_FOUND, "rank 0 of group tenon is gone" if kind == "tcp" else "no member")


def test_stopped_member_is_waited_for_in_time(kind):
    with Group(kind, 2) as group:
        members = [group.start(0, "get", "k", 1500), group.start(1, "wait", "put", "k", "v")]
        read_until(members[1], "joined")
        members[1].send_signal(signal.SIGSTOP)
        must_fail(members[0], NOT_FOUND, "1500 ms")


def test_abort(kind, world):
    with Group(kind, world) as group:
        members = [group.start(rank, *(["sleep", 700, "abort", "no more memory", "get", "k", 60000] if rank == world - 1
                                       else ["get", "never", 60000])) for rank in range(world)]
        begin = time.time()
        for member in members:
            must_fail(member, CANCELLED, f"rank {world - 1} on", "ended the group: no more memory")
        assert time.time() - begin < 20 * SLOW


def test_missing_member(kind):
    with Group(kind, 3, join_timeout=1.5) as group:
        members = [group.start(0), group.start(2, settings=["group.join_timeout=40"])]
        out = must_fail(members[0], NOT_FOUND, "join group tenon")
        assert "rank 1" in out, out
        must_fail(members[1], CANCELLED, "did not join group tenon", "rank 1", seconds=10)  # who has patience is told


def test_missing_rank_0(kind):
    with Group(kind, 2, join_timeout=1) as group:
        must_fail(group.start(1), NOT_FOUND, "rank 0")


def test_other_world_size(kind):
    with Group(kind, 2, join_timeout=5) as group:
        members = [group.start(0), group.start(1, world=3)]
        must_fail(members[1], ARGUMENT, "world size")
        out = finish(members[0])
        assert members[0].returncode == 1 and "world size" in out, out


def test_duplicate_rank(kind):
    with Group(kind, 3, join_timeout=4) as group:
        first, second = group.start(1), group.start(1)
        time.sleep(1)
        group.start(0, "sleep", 1500), group.start(2, "sleep", 1500)
        outs = [finish(member) for member in (first, second)]
        codes = [first.returncode, second.returncode]
        assert sorted(codes) == [0, 1], outs
        assert ("rank 1 of group tenon already" if kind == "tcp" else "another process joined group tenon as rank 1") in outs[codes.index(1)], outs


def test_wrong_secret():
    with Group("tcp", 2) as group:
        members = [group.start(0), group.start(1, secret="not the secret of the tests")]
        must_fail(members[1], ARGUMENT, "the secret differs")
        members.append(group.start(1))  # a stranger has not kept the right one out
        must_succeed([members[0], members[2]])
        must_fail(group.start(0, secret="short"), ARGUMENT, "fewer than 16 bytes")


def test_strangers_at_the_port():
    """Bytes that are no Tenon's, connections that say nothing, and a server that is no Tenon."""
    with Group("tcp", 2) as group:
        member = group.start(0, "get", "k", 20000)
        port = int(group.store.rsplit(":", 1)[1])
        sockets = []
        while len(sockets) < 80:
            with contextlib.suppress(ConnectionRefusedError):
                sockets.append(socket.create_connection(("127.0.0.1", port)))
                if len(sockets) % 2:
                    with contextlib.suppress(OSError):
                        sockets[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        for s in sockets:
            s.close()
        must_succeed([group.start(1, "put", "k", "v"), member])
    with Group("tcp", 2, join_timeout=2) as group, socket.create_server(("127.0.0.1", int(group.store.rsplit(":", 1)[1]))) as server:
        must_fail(group.start(0), -10, "cannot serve the group's store", "choose another")
        member = group.start(1)
        connection = server.accept()[0]
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        must_fail(member, -8, "the other side is no Tenon")
        connection.close()


def test_crowd_at_the_port():
    """Connections that say nothing and stay are more than the store holds; members come in all the same, however many at once."""
    with Group("tcp", 3) as group, contextlib.ExitStack() as stack:
        members = [group.start(0, "get", "k", 20000)]
        port = int(group.store.rsplit(":", 1)[1])
        sockets = []
        while len(sockets) < 100:
            with contextlib.suppress(ConnectionRefusedError):
                sockets.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
        members += [group.start(1, "put", "k", "v"), group.start(2, "get", "k", 20000)]
        must_succeed(members)


def test_cut_off_while_greeting():
    """Whoever is cut off before a word was said comes again."""
    with Group("tcp", 2) as group:
        address = ("127.0.0.1", int(group.store.rsplit(":", 1)[1]))
        with socket.create_server(address) as server:
            member = group.start(1, "put", "k", "v")
            server.accept()[0].close()
        must_succeed([group.start(0, "get", "k", 20000), member])


def test_folder_of_others():
    with Group("file", 1) as group:
        os.mkdir(os.path.join(group.folder, "tenon"))
        os.chmod(os.path.join(group.folder, "tenon"), 0o777)
        must_fail(group.start(0), ARGUMENT, "writable by no other")
        shutil.rmtree(group.folder)
        must_fail(group.start(0), -10, "create it on a file system that all machines share")
        os.mkdir(group.folder)


# ---- launchers ----

def slurm(rank, world, nodes="localhost"):
    return {"SLURM_PROCID": str(rank), "SLURM_NTASKS": str(world), "SLURM_LOCALID": str(rank), "SLURM_STEP_NODELIST": nodes,
            "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0"}


def test_slurm_variables():
    """The store's address, too, is Slurm's: the first node, and group.port."""
    with Group("tcp", 3) as group:
        group.settings = ["group.launcher=slurm", f"group.port={free_port()}"]
        outs = must_succeed([group.start(rank, "barrier", "b", 20000, variables=slurm(rank, 3)) for rank in range(3)])
        assert all(f"joined slurm-4711.0 as {rank} of 3, local {rank} of 3" in out for rank, out in enumerate(outs)), outs
        must_fail(group.start(0, variables=slurm(0, 3, "localhost,other")), ARGUMENT, "no other machine reaches", "group.store")
        must_fail(group.start(0, variables={**slurm(0, 3), "SLURM_NTASKS": "x"}), ARGUMENT, "SLURM_NTASKS")


def test_open_mpi_variables():
    with Group("file", 2) as group:
        group.settings += ["group.launcher=openmpi"]
        outs = must_succeed([group.start(rank, "barrier", "b", 20000, variables={
            "OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
            "PMIX_NAMESPACE": "1234"}) for rank in range(2)])
        assert all("joined mpi-1234 as" in out for out in outs), outs


def test_mpirun(kind):
    """The real one."""
    with Group(kind, 4) as group:
        command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "4", "-x", "TENON_GROUP_SECRET", MEMBER, *group.settings,
                   "group.launcher=openmpi", "--", "barrier", "b", "20000"]
        done = subprocess.run(command, env={**os.environ, "TENON_GROUP_SECRET": SECRET}, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert all(f"as {rank} of 4, local {rank} of 4" in done.stdout for rank in range(4)), done.stdout


def test_one_process_serves():
    """What the settings say about processes is not ignored by a program that runs in one."""
    command = [os.environ["TENON"], "run", os.environ["TENON_TEST_MODEL"], "x", "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
    two = ["--set", "group.rank=1", "--set", "group.world_size=2", "--set", "group.store=file:/tmp"]
    done = subprocess.run(command + two, capture_output=True, text=True)
    assert done.returncode == 1 and "[group] rank and world_size says that this is one of 2 processes" in done.stderr, done


def test_command():
    """`tenon group`, which a person runs to see whether the launcher and the settings fit."""
    with Group("tcp", 2) as group:
        commands = [[os.environ["TENON"], "group", *[word for setting in [*group.settings, f"group.rank={rank}", "group.world_size=2"]
                                                      for word in ("--set", setting)]] for rank in range(2)]
        environment = {**os.environ, "TENON_GROUP_SECRET": SECRET}
        members = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                    env=environment) for command in commands]
        outs = [member.communicate(timeout=60 * SLOW) for member in members]
        assert [member.returncode for member in members] == [0, 0], outs
        assert f"by [group] rank and world_size; they meet at {group.store}" in outs[1][1], outs
        assert outs[1][0].startswith("rank 1 of 2: 1 of 2 on its host, 1 hosts, group tenon"), outs
        assert f"    rank 1 on {socket.gethostname()}\n" in outs[0][0], outs
    done = subprocess.run([os.environ["TENON"], "group"], capture_output=True, text=True)
    assert done.returncode == 1 and "the settings name no group: set group.launcher" in done.stderr, done


def test_store(kind):
    for world in (1, 2, 4, 8):
        test_exchange(kind, world)
    test_late_and_out_of_order(kind)
    test_many_threads(kind)
    test_values_of_all_sizes(kind)
    test_refused_calls(kind)
    test_same_place_again(kind)
    for world in (2, 4, 8):
        test_killed_member(kind, world)
        test_abort(kind, world)
    test_killed_rank_0(kind)
    test_stopped_member_is_waited_for_in_time(kind)
    test_missing_member(kind)
    test_missing_rank_0(kind)
    test_other_world_size(kind)
    test_duplicate_rank(kind)


def main():
    if PART == "mpirun":
        if not shutil.which("mpirun"):
            print("no mpirun: skipped")
            sys.exit(77)
        test_mpirun("file")
        test_mpirun("tcp")
        return
    test_store(PART)
    if PART == "file":
        test_folder_of_others()
        test_open_mpi_variables()
        test_one_process_serves()
    else:
        test_wrong_secret()
        test_strangers_at_the_port()
        test_crowd_at_the_port()
        test_cut_off_while_greeting()
        test_slurm_variables()
        test_command()


main()
