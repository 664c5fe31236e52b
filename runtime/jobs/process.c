/* process.c: see process.h. */
#include "jobs/process.h"

#include "service/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MAX = 256 };

typedef struct line_reader {
    char *text; /* owned, [PROCESS_LINE_BYTES_MAX] */
    size_t bytes;
    bool overlong; /* what comes up to the line's end is dropped: it is none of ours */
} line_reader;

static void take(line_reader *reader, const char *data, size_t n, const process_watch *watch)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] != '\n') {
            reader->overlong |= reader->bytes + 1 >= PROCESS_LINE_BYTES_MAX;
            if (!reader->overlong)
                reader->text[reader->bytes++] = data[i];
            continue;
        }
        reader->text[reader->bytes] = '\0';
        if (!reader->overlong)
            watch->line(watch->ctx, reader->text);
        *reader = (line_reader){.text = reader->text};
    }
}

/* Until its standard output ends. */
static void follow(int fd, pid_t pid, line_reader *reader, const process_watch *watch)
{
    struct pollfd polled = {fd, POLLIN, 0};
    char data[4096];

    for (;;) {
        int number = watch->signal(watch->ctx);
        if (number)
            kill(pid, number); /* it is ours until it is waited for */
        if (poll(&polled, 1, PROCESS_LOOK_MS) <= 0)
            continue;
        ssize_t n = read(fd, data, sizeof data);
        if (n == 0 || (n < 0 && errno != EINTR))
            return;
        if (n > 0)
            take(reader, data, (size_t)n, watch);
    }
}

static int wait_for(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static tn_status start(const char *program, const char *const *words, int errors, int out, pid_t *ret_pid,
                       tn_error *err)
{
    char *argv[WORDS_MAX + 2] = {"tenon"};
    child_environment environment;
    uint32_t count = 0;

    for (; words[count]; count++) {
        TN_ASSERT(count < WORDS_MAX);
        argv[count + 1] = (char *)words[count];
    }
    tn_status status = child_environment_make(NULL, &environment, err);
    if (status == TN_OK) {
        status = child_start(program, argv, &environment, out, errors, ret_pid, err);
        child_environment_finish(&environment);
    }
    return status;
}

tn_status process_run(const char *program, const char *const *words, int errors, const process_watch *watch,
                      int *ret_code, tn_error *err)
{
    line_reader reader = {.text = malloc(PROCESS_LINE_BYTES_MAX)};
    int ends[2];
    pid_t pid;

    if (!reader.text)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a program's lines");
    if (pipe2(ends, O_CLOEXEC) != 0) {
        free(reader.text);
        return tn_fail(err, TN_E_IO, "pipe: %s", strerror(errno));
    }
    tn_status status = start(program, words, errors, ends[1], &pid, err);
    close(ends[1]);
    if (status == TN_OK) {
        follow(ends[0], pid, &reader, watch);
        *ret_code = wait_for(pid);
    }
    close(ends[0]);
    free(reader.text);
    return status;
}
