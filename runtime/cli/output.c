/* output.c: standard output as an answer that arrives whole or not at all: what could not be written is an error. */
#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static int first_error; /* errno of the first write that is known to have failed; 0: none */

/* A program that was started without one of its three streams would get the next file it opens as that stream's number.
 * The stand-in is open the wrong way round, so that its use fails as on a closed descriptor. */
static void occupy_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return;
}

void output_start(void)
{
    occupy_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* a reader that leaves and a file at its size limit are errors of write, not deaths */
    signal(SIGXFSZ, SIG_IGN);
}

bool output_flush(void)
{
    errno = 0;
    if (fflush(stdout) != 0 && !first_error)
        first_error = errno;
    return !ferror(stdout);
}

/* stdio keeps that a write failed but not why, and drops what it could not write: one byte more finds the reason. */
static void find_reason(void)
{
    if (!first_error && write(STDOUT_FILENO, "\n", 1) < 0)
        first_error = errno;
}

int output_finish(int code)
{
    if (!output_flush()) {
        find_reason();
    } else {
        errno = 0;
        if (fclose(stdout) == 0) /* some file systems tell only now */
            return code;
        first_error = errno;
    }
    if (first_error != EPIPE) /* a reader such as head has what it wanted */
        fprintf(stderr, "tenon: standard output: %s; the answer is not complete\n",
                first_error ? strerror(first_error) : "a write failed");
    return code ? code : EXIT_FAILURE;
}
