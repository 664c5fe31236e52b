"""A PostgreSQL server of its own for a test: a cluster in a temporary folder, one Unix socket, an unprivileged user, the extension under
test in a copy of the installation (PostgreSQL finds its folders relative to the program). Skipped without PostgreSQL."""
import csv
import io
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time


def folders():
    """The folders of the installation that pg_config tells; exits with 77 if there is no server."""
    try:
        text = subprocess.run(["pg_config"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        print("no pg_config: skipped")
        sys.exit(77)
    told = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    if not os.path.exists(os.path.join(told["BINDIR"], "initdb")):
        print("PostgreSQL's server is not installed: skipped")
        sys.exit(77)
    return told["BINDIR"], told["PKGLIBDIR"], told["SHAREDIR"]


def mirror(source, target):
    """A folder of links to what is in source."""
    os.makedirs(target)
    for name in os.listdir(source):
        os.symlink(os.path.join(source, name), os.path.join(target, name))


def sanitized(libraries):
    """What a server needs for a module that AddressSanitizer is linked into: its runtime before all else. Sessions keep what they have
    until they end, so that leaks are none, and a crash is for the server to tell."""
    return {"LD_PRELOAD": " ".join(libraries), "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
            "ASAN_OPTIONS": "detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0"} if libraries else {}


class PostgresServer:
    def __init__(self, module, extension_files, settings=()):
        binaries, libraries, share = folders()
        self.folder = tempfile.mkdtemp(prefix="pg")
        os.chmod(self.folder, 0o755)
        self.user = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        self.psql = os.path.join(binaries, "psql")
        self.root = self.folder + "/root"
        self.preload = [self.copy_library(path) for path in os.environ.get("TENON_PRELOAD", "").split()]
        self.install(binaries, libraries, share, module, extension_files)
        self.data, self.sockets = self.folder + "/data", self.folder + "/run"
        for folder in (self.data, self.sockets):
            os.mkdir(folder, 0o700 if folder == self.data else 0o755)
            if os.getuid() == 0:
                shutil.chown(folder, self.user)
        self.run([os.path.join(binaries, "initdb"), "-D", self.data, "-U", "owner", "-A", "trust", "-E", "UTF8", "--locale=C",
                  "--no-sync"], stdout=subprocess.DEVNULL)
        options = {"listen_addresses": "", "unix_socket_directories": self.sockets, "fsync": "off", "shared_buffers": "16MB",
                   "max_connections": "20", **dict(settings)}
        command = [self.root + binaries + "/postgres", "-D", self.data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self.log = open(self.folder + "/log", "w+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, **self.as_user(sanitized(self.preload)))
        self.wait_ready()

    def copy_library(self, path):
        """Where the server's user can read it."""
        copy = os.path.join(self.folder, os.path.basename(path))
        shutil.copy(path, copy)
        os.chmod(copy, 0o755)
        return copy

    def as_user(self, more=()):
        plain = {"cwd": self.folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C", **dict(more)}}
        return {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": [], **plain} if os.getuid() == 0 else plain

    def run(self, command, **more):
        subprocess.run(command, check=True, **self.as_user(), **more)

    def install(self, binaries, libraries, share, module, extension_files):
        os.makedirs(self.root + binaries)
        shutil.copy(os.path.join(binaries, "postgres"), self.root + binaries)
        mirror(libraries, self.root + libraries)
        mirror(share, self.root + share)
        os.unlink(self.root + share + "/extension")
        mirror(share + "/extension", self.root + share + "/extension")
        for source, target in [(module, libraries), *((name, share + "/extension") for name in extension_files)]:
            path = os.path.join(self.root + target, os.path.basename(source))
            if os.path.lexists(path):
                os.unlink(path)
            shutil.copy(source, path)
            os.chmod(path, 0o755)

    def wait_ready(self, seconds=60):
        end = time.time() + seconds
        while time.time() < end:
            if self.process.poll() is not None:
                raise AssertionError("PostgreSQL stopped:\n" + self.read_log())
            if self.try_sql("SELECT 1", "postgres")[0] == 0:
                return
            time.sleep(0.1)
        raise AssertionError("PostgreSQL is not ready:\n" + self.read_log())

    def read_log(self):
        with open(self.folder + "/log") as log:
            return log.read()

    def command(self, database="postgres", user="owner"):
        return [self.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "--csv", "-t", "-P", "null=<null>", "-h", self.sockets, "-U", user,
                "-d", database]

    def try_sql(self, sql, database="postgres", user="owner"):
        """(exit code, rows, complaints)."""
        done = subprocess.run(self.command(database, user), input=sql, capture_output=True, text=True, timeout=300)
        rows = [tuple(None if v == "<null>" else v for v in row) for row in csv.reader(io.StringIO(done.stdout))]
        return done.returncode, rows, done.stderr

    def query(self, sql):
        """The rows of a script's statements."""
        code, rows, complaints = self.try_sql(sql)
        assert code == 0, complaints
        return rows

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGINT)  # ends sessions rather than wait for them
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if kind:
            print("PostgreSQL's log:\n" + self.read_log()[-3000:])
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
