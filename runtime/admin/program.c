/* program.c: posix_spawn, since fork would copy a process with threads; both pipes are read by poll until they end. */
#include "admin/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct programs {
    char path[PATH_MAX];
    pthread_mutex_t lock; /* guards what follows; an id is in running only while it cannot be another process's */
    bool stopping;
    pid_t running[PROGRAMS_MAX]; /* 0: none */
};

/* ---- what comes out ---- */

enum { TAIL_BYTES = 2048 };

typedef struct intake {
    int fds[2]; /* read ends of standard output and standard error */
    char *output;
    size_t bytes, capacity;
    char tail[TAIL_BYTES + 1]; /* the end of standard error */
    size_t tail_bytes;
    bool too_much;
    const program_watch *watch; /* NULL: nobody */
} intake;

static bool take_output(intake *in, const char *data, size_t bytes)
{
    if (bytes > PROGRAM_OUTPUT_BYTES_MAX - in->bytes) {
        in->too_much = true;
        return true;
    }
    if (in->bytes + bytes + 1 > in->capacity) {
        size_t capacity = (in->bytes + bytes + 1) * 2;
        char *grown = realloc(in->output, capacity);
        if (!grown)
            return false;
        in->output = grown;
        in->capacity = capacity;
    }
    memcpy(in->output + in->bytes, data, bytes);
    in->bytes += bytes;
    in->output[in->bytes] = '\0';
    return true;
}

static void take_error(intake *in, const char *data, size_t bytes)
{
    size_t kept = bytes < TAIL_BYTES ? bytes : TAIL_BYTES;
    size_t old = in->tail_bytes + kept <= TAIL_BYTES ? in->tail_bytes : TAIL_BYTES - kept;

    memmove(in->tail, in->tail + in->tail_bytes - old, old);
    memcpy(in->tail + old, data + bytes - kept, kept);
    in->tail_bytes = old + kept;
    in->tail[in->tail_bytes] = '\0';
}

/* The last line of standard error that is whole and says how far it is. */
static void tell_progress(const intake *in)
{
    const char *end = strrchr(in->tail, '\n');
    double percent;

    while (end && end > in->tail) {
        const char *line = end;
        while (line > in->tail && line[-1] != '\n')
            line--;
        if (sscanf(line, "%*[^:\n]: %lf %% of", &percent) == 1) {
            in->watch->progress(in->watch->ctx, percent / 100);
            return;
        }
        end = line > in->tail ? line - 1 : NULL;
    }
}

/* Reads what there is of one pipe; closes it at its end. False: out of memory. */
static bool read_one(intake *in, int which)
{
    char data[16384];
    ssize_t n = read(in->fds[which], data, sizeof data);

    if (n < 0 && errno == EINTR)
        return true;
    if (n <= 0) {
        close(in->fds[which]);
        in->fds[which] = -1;
        return true;
    }
    if (which == 1)
        take_error(in, data, (size_t)n);
    if (which == 1 && in->watch)
        tell_progress(in);
    return which == 1 || take_output(in, data, (size_t)n);
}

/* Until both have ended. */
static tn_status read_all_output(intake *in, tn_error *err)
{
    bool memory = true;

    while (in->fds[0] >= 0 || in->fds[1] >= 0) {
        struct pollfd polls[2] = {{in->fds[0], POLLIN, 0}, {in->fds[1], POLLIN, 0}};
        if (poll(polls, 2, -1) < 0 && errno != EINTR)
            return tn_fail(err, TN_E_IO, "poll: %s", strerror(errno));
        for (int i = 0; i < 2; i++)
            if (polls[i].revents)
                memory &= read_one(in, i);
    }
    if (!memory)
        return tn_fail(err, TN_E_MEMORY, "out of memory for what a program says");
    if (in->too_much)
        return tn_fail(err, TN_E_CORRUPT, "a program says more than %d bytes", PROGRAM_OUTPUT_BYTES_MAX);
    return take_output(in, "", 0) ? TN_OK : tn_fail(err, TN_E_MEMORY, "out of memory for what a program says");
}

/* Cut at `bytes`, which its terminator is part of. */
static void last_line(intake *in, char *ret_line, size_t bytes)
{
    static const char prefix[] = "tenon: ";

    while (in->tail_bytes && in->tail[in->tail_bytes - 1] == '\n')
        in->tail[--in->tail_bytes] = '\0';
    const char *line = strrchr(in->tail, '\n');
    line = line ? line + 1 : in->tail;
    if (strncmp(line, prefix, strlen(prefix)) == 0)
        line += strlen(prefix);
    size_t length = strnlen(line, bytes - 1);
    memcpy(ret_line, line, length);
    ret_line[length] = '\0';
}

static void close_intake(intake *in)
{
    for (int i = 0; i < 2; i++)
        if (in->fds[i] >= 0)
            close(in->fds[i]);
    free(in->output);
}

/* ---- the process ---- */

/* ends: the write ends of the pipes. Signals are as a shell leaves them, and terminals reach this process only. */
static int spawn(const programs *programs, char *const *argv, const int ends[2], pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!error)
        error = posix_spawn_file_actions_adddup2(&actions, ends[0], STDOUT_FILENO);
    if (!error)
        error = posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    if (!error)
        error = posix_spawn(ret_pid, programs->path, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static tn_status open_pipes(intake *in, int ret_ends[2], tn_error *err)
{
    int first[2], second[2];

    if (pipe2(first, O_CLOEXEC) != 0)
        return tn_fail(err, TN_E_IO, "pipe: %s", strerror(errno));
    if (pipe2(second, O_CLOEXEC) != 0) {
        close(first[0]);
        close(first[1]);
        return tn_fail(err, TN_E_IO, "pipe: %s", strerror(errno));
    }
    in->fds[0] = first[0];
    in->fds[1] = second[0];
    ret_ends[0] = first[1];
    ret_ends[1] = second[1];
    return TN_OK;
}

/* Starts it under the lock, so that stopping finds it or comes before it. */
static tn_status start(programs *programs, const char *const *words, intake *in, uint32_t *ret_slot, tn_error *err)
{
    char *argv[PROGRAM_WORDS_MAX + 2] = {"tenon"};
    int ends[2], error;
    pid_t pid = 0;

    for (uint32_t i = 0; words[i]; i++) {
        if (i == PROGRAM_WORDS_MAX)
            return tn_fail(err, TN_E_ARGUMENT, "more than %d words for a program", PROGRAM_WORDS_MAX);
        argv[i + 1] = (char *)words[i];
    }
    tn_status status = open_pipes(in, ends, err);
    if (status != TN_OK)
        return status;
    pthread_mutex_lock(&programs->lock);
    uint32_t slot = 0;
    while (slot < PROGRAMS_MAX && programs->running[slot])
        slot++;
    if (programs->stopping)
        status = tn_fail(err, TN_E_CANCELLED, "the daemon is ending");
    else if (slot == PROGRAMS_MAX)
        status = tn_fail(err, TN_E_AGAIN,
                         "%d programs run for requests already, the most there may be; try again later", PROGRAMS_MAX);
    else if ((error = spawn(programs, argv, ends, &pid)) != 0)
        status = error == E2BIG
                     ? tn_fail(err, TN_E_ARGUMENT, "the texts are more than a program can be given; make them shorter")
                     : tn_fail(err, TN_E_IO, "%.300s: %s", programs->path, strerror(error));
    if (status == TN_OK)
        programs->running[slot] = pid;
    pthread_mutex_unlock(&programs->lock);
    close(ends[0]);
    close(ends[1]);
    *ret_slot = slot;
    return status;
}

/* The process stays a zombie, and its id its own, until it has left the list. */
static int end(programs *programs, uint32_t slot)
{
    const pid_t pid = programs->running[slot];
    siginfo_t info;
    int status = 0;

    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&programs->lock);
    programs->running[slot] = 0;
    pthread_mutex_unlock(&programs->lock);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool is_stopping(programs *programs)
{
    pthread_mutex_lock(&programs->lock);
    bool stopping = programs->stopping;
    pthread_mutex_unlock(&programs->lock);
    return stopping;
}

tn_status programs_run(programs *programs, const char *const *words, const program_watch *watch,
                       program_result *ret_result, tn_error *err)
{
    intake in = {.fds = {-1, -1}, .watch = watch};
    uint32_t slot;

    tn_status status = start(programs, words, &in, &slot, err);
    if (status != TN_OK) {
        close_intake(&in);
        return status;
    }
    status = read_all_output(&in, err);
    int exit_code = end(programs, slot);
    if (status == TN_OK && exit_code < 0 && is_stopping(programs))
        status = tn_fail(err, TN_E_CANCELLED, "the daemon is ending");
    if (status == TN_OK) {
        *ret_result = (program_result){.exit_code = exit_code, .output = in.output, .bytes = in.bytes};
        last_line(&in, ret_result->message, sizeof ret_result->message);
        in.output = NULL;
    }
    close_intake(&in);
    return status;
}

void program_result_finish(program_result *result)
{
    free(result->output);
    result->output = NULL;
}

/* ---- all of them ---- */

tn_status programs_create(const char *path, programs **ret_programs, tn_error *err)
{
    programs *programs = calloc(1, sizeof *programs);

    if (!programs)
        return tn_fail(err, TN_E_MEMORY, "out of memory for programs");
    ssize_t bytes = path ? snprintf(programs->path, sizeof programs->path, "%s", path)
                         : readlink("/proc/self/exe", programs->path, sizeof programs->path - 1);
    if (bytes <= 0 || (size_t)bytes >= sizeof programs->path) {
        free(programs);
        return tn_fail(err, TN_E_IO, "the path of this program cannot be found out");
    }
    pthread_mutex_init(&programs->lock, NULL);
    *ret_programs = programs;
    return TN_OK;
}

const char *programs_path(const programs *programs)
{
    return programs->path;
}

void programs_stop(programs *programs)
{
    pthread_mutex_lock(&programs->lock);
    programs->stopping = true;
    for (uint32_t i = 0; i < PROGRAMS_MAX; i++)
        if (programs->running[i])
            kill(programs->running[i], SIGKILL);
    pthread_mutex_unlock(&programs->lock);
}

void programs_destroy(programs *programs)
{
    if (!programs)
        return;
    pthread_mutex_destroy(&programs->lock);
    free(programs);
}
