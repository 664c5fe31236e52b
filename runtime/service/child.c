/* child.c: see child.h. */
#include "service/child.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OUTPUT_BYTES_MAX = 1 << 20 };

/* ---- environment ---- */

static bool add(child_environment *environment, uint32_t *count, const char *name, const char *value)
{
    if (!value)
        return true;
    TN_ASSERT(*count < CHILD_ENVIRONMENT_MAX);
    if (asprintf(&environment->at[*count], "%s=%s", name, value) < 0) {
        environment->at[*count] = NULL;
        return false;
    }
    ++*count;
    return true;
}

tn_status child_environment_make(const char *devices, child_environment *ret_environment, tn_error *err)
{
    /* What programs, drivers and sanitizers cannot do without. */
    static const char *const kept[] = {"HOME",         "TZ",           "LD_LIBRARY_PATH", "ASAN_OPTIONS",
                                       "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"};
    child_environment environment = {{NULL}};
    uint32_t count = 0;
    const char *path = getenv("PATH");
    bool whole = add(&environment, &count, "PATH", path ? path : "/usr/bin:/bin") &&
                 add(&environment, &count, "LANG", "C.UTF-8");
    for (size_t i = 0; whole && i < sizeof kept / sizeof *kept; i++)
        whole = add(&environment, &count, kept[i], getenv(kept[i]));
    if (whole && devices && *devices)
        whole = add(&environment, &count, "CUDA_DEVICE_ORDER", "PCI_BUS_ID") &&
                add(&environment, &count, "CUDA_VISIBLE_DEVICES", devices);
    if (!whole) {
        child_environment_finish(&environment);
        return tn_fail(err, TN_E_MEMORY, "an environment");
    }
    *ret_environment = environment;
    return TN_OK;
}

void child_environment_finish(child_environment *environment)
{
    for (uint32_t i = 0; i < CHILD_ENVIRONMENT_MAX; i++)
        free(environment->at[i]);
    *environment = (child_environment){{NULL}};
}

/* ---- start ---- */

static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int bad = posix_spawnattr_setsigmask(attributes, &none);
    if (!bad)
        bad = posix_spawnattr_setsigdefault(attributes, &all);
    if (!bad)
        bad = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return bad;
}

static int set_descriptors(posix_spawn_file_actions_t *actions, int out, int error)
{
    int bad = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!bad)
        bad = posix_spawn_file_actions_adddup2(actions, out, STDOUT_FILENO);
    if (!bad)
        bad = posix_spawn_file_actions_adddup2(actions, error, STDERR_FILENO);
    if (!bad)
        bad = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
    return bad;
}

tn_status child_start(const char *program, char *const argv[], const child_environment *environment, int out, int error,
                      pid_t *ret_pid, tn_error *err)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    int bad = posix_spawnattr_init(&attributes);
    if (bad)
        return tn_fail(err, TN_E_MEMORY, "a process: %s", strerror(bad));
    bad = posix_spawn_file_actions_init(&actions);
    if (!bad) {
        bad = set_attributes(&attributes);
        if (!bad)
            bad = set_descriptors(&actions, out, error);
        if (!bad)
            bad = posix_spawnp(ret_pid, program, &actions, &attributes, argv, environment ? environment->at : environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    posix_spawnattr_destroy(&attributes);
    if (bad && err)
        err->native_code = bad;
    return bad ? tn_fail(err, TN_E_IO, "%.300s cannot be started: %s", program, strerror(bad)) : TN_OK;
}

/* ---- run ---- */

typedef struct output {
    int fd; /* -1: at its end */
    char *text;
    size_t bytes;
} output;

static void output_finish(output *output)
{
    if (output->fd >= 0)
        close(output->fd);
    free(output->text);
}

static void output_read(output *output)
{
    char rest[4096];
    size_t room = OUTPUT_BYTES_MAX - output->bytes;
    ssize_t count = room ? read(output->fd, output->text + output->bytes, room) : read(output->fd, rest, sizeof rest);
    if (count > 0 && room)
        output->bytes += (size_t)count;
    if (count == 0 || (count < 0 && errno != EINTR)) {
        close(output->fd);
        output->fd = -1;
    }
}

/* Until both ends are closed; false: it took too long. */
static bool collect(output outputs[2], uint64_t deadline)
{
    while (outputs[0].fd >= 0 || outputs[1].fd >= 0) {
        struct pollfd polled[2] = {{outputs[0].fd, POLLIN, 0}, {outputs[1].fd, POLLIN, 0}};
        uint64_t now = clock_ms();
        if (now >= deadline)
            return false;
        if (poll(polled, 2, (int)(deadline - now)) < 0 && errno != EINTR)
            return false;
        for (int i = 0; i < 2; i++)
            if (outputs[i].fd >= 0 && polled[i].revents)
                output_read(&outputs[i]);
    }
    return true;
}

static int wait_code(pid_t pid)
{
    int code;
    while (waitpid(pid, &code, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFSIGNALED(code) ? -WTERMSIG(code) : WEXITSTATUS(code);
}

static tn_status open_output(output *output, int *ret_end, tn_error *err)
{
    int ends[2];
    output->text = malloc(OUTPUT_BYTES_MAX + 1);
    if (!output->text || pipe2(ends, O_CLOEXEC) != 0)
        return tn_fail(err, output->text ? TN_E_IO : TN_E_MEMORY, "a pipe: %s", strerror(errno));
    output->fd = ends[0];
    *ret_end = ends[1];
    return TN_OK;
}

tn_status child_run(const char *program, char *const argv[], const child_environment *environment, uint32_t timeout_ms,
                    char **ret_out, char **ret_error, int *ret_code, tn_error *err)
{
    output outputs[2] = {{.fd = -1}, {.fd = -1}};
    int ends[2] = {-1, -1};
    pid_t pid;
    tn_status status = open_output(&outputs[0], &ends[0], err);
    if (status == TN_OK)
        status = open_output(&outputs[1], &ends[1], err);
    if (status == TN_OK)
        status = child_start(program, argv, environment, ends[0], ends[1], &pid, err);
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    if (status == TN_OK) {
        bool done = collect(outputs, clock_ms() + timeout_ms);
        if (!done)
            kill(pid, SIGKILL);
        *ret_code = wait_code(pid);
        if (!done)
            status = tn_fail(err, TN_E_AGAIN, "%s %s took longer than %u s", argv[0], argv[1], timeout_ms / 1000);
    }
    for (int i = 0; status == TN_OK && i < 2; i++) {
        outputs[i].text[outputs[i].bytes] = '\0';
        *(i ? ret_error : ret_out) = outputs[i].text;
        outputs[i].text = NULL;
    }
    for (int i = 0; i < 2; i++)
        output_finish(&outputs[i]);
    return status;
}
