"""A Slurm cluster of one machine for a test: munged, slurmctld and slurmd of Debian's packages in a temporary folder, with a key, sockets,
ports and a configuration of their own; nothing of an installed cluster is touched or used. Runs as root or not, without systemd
and without control groups. Skipped where the packages are missing."""
import contextlib
import os
import pwd
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time

PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "srun", "sinfo"]
PATH = os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin"


def need_programs():
    missing = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    if missing:
        print(f"Slurm is not installed (slurm-wlm, munge): no {', '.join(missing)}: skipped")
        sys.exit(77)


def free_ports(count):
    """Free ports, all different, of those that the kernel gives to nobody who does not ask for one: what is free now is so a moment later."""
    found = []
    for port in random.sample(range(10000, 20000), 200):
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports from 10000 to 20000")


class SlurmCluster:
    """`environment`: what Slurm's programs need to reach it. `share`: a folder that "all nodes" see."""

    def __init__(self):
        need_programs()
        self.folder = tempfile.mkdtemp(prefix="slurm")
        os.chmod(self.folder, 0o755)
        self.share = os.path.join(self.folder, "share")
        for name in ("state", "spool", "share"):
            os.mkdir(os.path.join(self.folder, name), 0o755)
        self.conf = os.path.join(self.folder, "slurm.conf")
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": self.conf}
        self.processes = []
        self.logs = []
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self):
        key, sock = os.path.join(self.folder, "munge.key"), os.path.join(self.folder, "munge.socket")
        with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o400), "wb") as file:
            file.write(secrets.token_bytes(128))
        self.daemon("munged", "--foreground", "--force", "--num-threads=2", "--key-file=" + key, "--socket=" + sock,
                    *(f"--{name}-file={self.folder}/munge.{name}" for name in ("pid", "seed", "log")))
        self.wait(lambda: os.path.exists(sock), "munged")
        self.write_conf(sock)
        self.daemon("slurmctld", "-D", "-i", "-f", self.conf)
        self.daemon("slurmd", "-D", "-f", self.conf)
        self.wait(lambda: self.run("sinfo", "-h", "-o", "%t", check=False).strip() in ("idle", "mix"), "the node")

    def write_conf(self, munge_socket):
        host = socket.gethostname().split(".")[0]
        user = pwd.getpwuid(os.getuid()).pw_name
        control, node = free_ports(2)
        with open(self.conf, "w") as file:
            file.write(f"""ClusterName=tenon
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={munge_socket},cred_expire=5
CredType=cred/munge
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
SlurmctldLogFile={self.folder}/slurmctld.log
SlurmdLogFile={self.folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=10000,sched_interval=1,bf_interval=1
SchedulerType=sched/backfill
MinJobAge=300
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=65536 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")

    def daemon(self, *command):
        path = os.path.join(self.folder, command[0] + ".out")
        self.logs.append(path)
        with open(path, "w") as out:
            self.processes.append(subprocess.Popen([shutil.which(command[0], path=PATH), *command[1:]], stdin=subprocess.DEVNULL,
                                                   stdout=out, stderr=out, env=self.environment))

    def run(self, *command, check=True):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=self.environment)
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def jobs(self):
        """Ids of those that wait or run."""
        return self.run("squeue", "-h", "-o", "%i").split()

    def wait(self, condition, what, seconds=120):
        end = time.time() + seconds
        while not condition():
            dead = [p.args[0] for p in self.processes if p.poll() is not None]
            assert not dead and time.time() < end, f"{what} does not come up; ended: {dead}\n{self.read_logs()}"
            time.sleep(0.05)

    def read_logs(self):
        names = [*self.logs, *(os.path.join(self.folder, name) for name in ("slurmctld.log", "slurmd.log", "munge.log"))]
        text = ""
        for name in names:
            with contextlib.suppress(OSError), open(name, errors="replace") as file:
                text += f"-- {name}\n{file.read()[-3000:]}\n"
        return text

    def end_jobs(self, seconds=30):
        """Before the daemons end: nobody would end what runs then."""
        user = pwd.getpwuid(os.getuid()).pw_name
        self.run("scancel", "--user", user, "--signal=KILL", "--full", check=False)
        self.run("scancel", "--user", user, check=False)
        end = time.time() + seconds
        while self.jobs() and time.time() < end:
            time.sleep(0.1)

    def stop(self):
        if len(self.processes) > 2:
            with contextlib.suppress(Exception):
                self.end_jobs()
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            print(self.read_logs())
        self.stop()
