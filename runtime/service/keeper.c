/* keeper.c: see keeper.h. One thread; signals come through a descriptor. */
#include "service/keeper.h"

#include "file/whole_file.h"
#include "service/engine_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct keeper {
    const char *program, *folder;
    char lock_path[PATH_MAX], ini_path[PATH_MAX], status_path[PATH_MAX], log_path[PATH_MAX];
    int lock, signals, output;
    pid_t engine;
    engine_log log;
} keeper;

uint64_t process_start_time(pid_t pid)
{
    char path[32], text[1024];
    unsigned long long start = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (bytes <= 0)
        return 0;
    text[bytes] = '\0';
    /* The name in parentheses may hold anything; after it there are numbers. */
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at && sscanf(at, " %llu", &start) == 1 ? (uint64_t)start : 0;
}

/* ---- the lock ---- */

/* Locked, and still the file that others find there. */
static tn_status take_lock(keeper *keeper, tn_error *err)
{
    struct stat locked, there;
    char text[64];
    keeper->lock = open(keeper->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (keeper->lock < 0)
        return tn_fail(err, TN_E_AGAIN, "%.400s: %s", keeper->lock_path, strerror(errno));
    if (flock(keeper->lock, LOCK_EX | LOCK_NB) != 0 || fstat(keeper->lock, &locked) != 0 ||
        stat(keeper->lock_path, &there) != 0 || locked.st_ino != there.st_ino)
        return tn_fail(err, TN_E_AGAIN, "%.400s: another process holds it", keeper->lock_path);
    int bytes = snprintf(text, sizeof text, "%d %" PRIu64 "\n", (int)getpid(), process_start_time(getpid()));
    if (ftruncate(keeper->lock, 0) != 0 || !write_all(keeper->lock, text, (uint64_t)bytes))
        return tn_fail(err, TN_E_IO, "%.400s: %s", keeper->lock_path, strerror(errno));
    return TN_OK;
}

/* ---- the engine ---- */

static void become_engine(const keeper *keeper, pid_t parent, int output, const sigset_t *none)
{
    char *const argv[] = {
        "tenon", "serve", "--config", (char *)keeper->ini_path, "--status", (char *)keeper->status_path, NULL};
    /* The keeper may be gone before the kernel is asked to tell. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(127);
    sigprocmask(SIG_SETMASK, none, NULL);
    if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
        _exit(127);
    execv(keeper->program, argv);
    dprintf(STDERR_FILENO, "tenon: %s cannot be started: %s\n", keeper->program, strerror(errno));
    _exit(127);
}

static tn_status start_engine(keeper *keeper, tn_error *err)
{
    int ends[2];
    sigset_t watched, none;
    pid_t parent = getpid();

    sigemptyset(&none);
    sigemptyset(&watched);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGHUP);
    sigaddset(&watched, SIGCHLD);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    keeper->signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (keeper->signals < 0 || pipe2(ends, O_CLOEXEC) != 0)
        return tn_fail(err, TN_E_IO, "an engine's output: %s", strerror(errno));
    keeper->output = ends[0];
    fcntl(keeper->output, F_SETFL, O_NONBLOCK);
    keeper->engine = fork();
    if (keeper->engine == 0)
        become_engine(keeper, parent, ends[1], &none);
    close(ends[1]);
    return keeper->engine > 0 ? TN_OK : tn_fail(err, TN_E_IO, "an engine cannot be started: %s", strerror(errno));
}

/* False: at its end. */
static bool read_output(keeper *keeper)
{
    char block[16384];
    ssize_t count;
    while ((count = read(keeper->output, block, sizeof block)) > 0)
        engine_log_write(&keeper->log, block, (size_t)count);
    return count < 0 && (errno == EAGAIN || errno == EINTR);
}

/* True: the engine has ended, and *ret_code is how. */
static bool read_signals(keeper *keeper, int *ret_code)
{
    struct signalfd_siginfo info;
    while (read(keeper->signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD)
            kill(keeper->engine, SIGTERM);
    return waitpid(keeper->engine, ret_code, WNOHANG) == keeper->engine;
}

static int watch_engine(keeper *keeper)
{
    bool open = true;
    int code = 0;
    for (;;) {
        struct pollfd polled[2] = {{keeper->signals, POLLIN, 0}, {open ? keeper->output : -1, POLLIN, 0}};
        poll(polled, 2, -1);
        if (open && polled[1].revents)
            open = read_output(keeper);
        if (polled[0].revents && read_signals(keeper, &code))
            break;
    }
    read_output(keeper);
    return WIFSIGNALED(code) ? -WTERMSIG(code) : WEXITSTATUS(code);
}

static tn_status write_exit(const keeper *keeper, int code, tn_error *err)
{
    char text[64];
    int bytes = snprintf(text, sizeof text, "{\"exit_code\": %d}\n", code);
    return whole_file_put(keeper->folder, "exit.json", text, (uint64_t)bytes, err);
}

static void keeper_finish(keeper *keeper)
{
    const int all[] = {keeper->output, keeper->signals, keeper->lock};
    for (int i = 0; i < 3; i++)
        if (all[i] >= 0)
            close(all[i]);
}

tn_status keeper_run(const char *program, const char *folder, uint64_t log_bytes_max, uint32_t log_files, tn_error *err)
{
    keeper keeper = {.program = program, .folder = folder, .lock = -1, .signals = -1, .output = -1};

    if (strlen(folder) + 16 > sizeof keeper.lock_path)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: the path is too long", folder);
    snprintf(keeper.lock_path, sizeof keeper.lock_path, "%s/lock", folder);
    snprintf(keeper.ini_path, sizeof keeper.ini_path, "%s/engine.ini", folder);
    snprintf(keeper.status_path, sizeof keeper.status_path, "%s/status.json", folder);
    snprintf(keeper.log_path, sizeof keeper.log_path, "%s/log", folder);
    tn_status status = take_lock(&keeper, err);
    if (status == TN_OK)
        status = start_engine(&keeper, err);
    if (status == TN_OK) {
        engine_log_open(&keeper.log, keeper.log_path, log_bytes_max, log_files);
        int code = watch_engine(&keeper);
        engine_log_close(&keeper.log);
        status = write_exit(&keeper, code, err);
    }
    keeper_finish(&keeper);
    return status;
}
