/* test_progress.c: what is shown while a model loads slowly: plain lines into a file, a bar on a terminal. The clock
 * and the question whether standard error is a terminal, and how wide, are the test's (linked with --wrap).
 */
#include "cli/command.h"
#include "cmocka_test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { SHOWN_BYTES = 4096 };
static const uint64_t total = 8ull << 30;

static double clock_seconds;
static int terminal;
static unsigned short columns; /* 0: the terminal does not say */

int __wrap_clock_gettime(clockid_t id, struct timespec *ret_time);
int __wrap_isatty(int fd);
int __wrap_ioctl(int fd, unsigned long request, struct winsize *ret_size);

int __wrap_clock_gettime(clockid_t id, struct timespec *ret_time)
{
    (void)id;
    *ret_time = (struct timespec){.tv_sec = (time_t)clock_seconds};
    return 0;
}

int __wrap_isatty(int fd)
{
    assert_int_equal(fd, STDERR_FILENO);
    return terminal;
}

int __wrap_ioctl(int fd, unsigned long request, struct winsize *ret_size)
{
    assert_int_equal(fd, STDERR_FILENO);
    assert_int_equal(request, TIOCGWINSZ);
    *ret_size = (struct winsize){.ws_col = columns};
    return 0;
}

/* Loads `steps` equal parts, one each second, and returns what went to standard error: the caller frees. */
static char *shown_while_loading(uint64_t steps)
{
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    char *shown = calloc(1, SHOWN_BYTES);

    assert_true(file && saved >= 0 && shown);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    clock_seconds = 1000;
    weights_progress progress = progress_start("loading", NULL);
    for (uint64_t step = 1; step <= steps; step++) {
        clock_seconds++;
        progress.report(progress.ctx, total / steps * step, total);
    }
    progress_finish();
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    assert_true(fread(shown, 1, SHOWN_BYTES - 1, file) < SHOWN_BYTES - 1);
    fclose(file);
    return shown;
}

static void test_a_slow_load_into_a_file_prints_a_line_every_two_seconds(void **state)
{
    (void)state;
    terminal = 0;
    char *shown = shown_while_loading(8);
    assert_string_equal(shown, "loading: 25 % of 8.00 GiB\nloading: 50 % of 8.00 GiB\nloading: 75 % of 8.00 GiB\n"
                               "loading: 100 % of 8.00 GiB\n");
    free(shown);
}

static void test_a_quick_load_into_a_file_prints_nothing(void **state)
{
    (void)state;
    terminal = 0;
    char *shown = shown_while_loading(1);
    assert_string_equal(shown, "");
    free(shown);
}

static void test_a_terminal_sees_one_line_that_grows_and_is_wiped(void **state)
{
    (void)state;
    terminal = 1;
    char *shown = shown_while_loading(4);
    assert_null(strchr(shown, '\n'));
    assert_non_null(strstr(shown, "\rloading [############             "));
    assert_non_null(strstr(shown, "]  24 % of 8.00 GiB "));
    assert_non_null(strstr(shown, "] 100 % of 8.00 GiB "));
    assert_string_equal(shown + strlen(shown) - 4, "\r\033[K");
    free(shown);
}

static void test_a_bar_stays_within_the_line(void **state)
{
    (void)state;
    static const unsigned short widths[] = {0, 200, 80, 79, 60, 40, 39, 30, 12, 1};

    terminal = 1;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        columns = widths[i];
        char *shown = shown_while_loading(4), *at = shown;
        const size_t most = (columns ? columns : 80) - 1u;
        for (size_t bytes; *at; at += bytes) {
            at += *at == '\r';
            bytes = strcspn(at, "\r");
            assert_true(bytes <= most || strcmp(at, "\033[K") == 0);
        }
        assert_true((strstr(shown, "###") != NULL) ==
                    (most >= 39)); /* "loading [" and "] 100 % of 8.00 GiB " around 10 */
        assert_true((strstr(shown, "100 % of 8.00 GiB") != NULL) == (most >= 25));
        free(shown);
    }
    columns = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slow_load_into_a_file_prints_a_line_every_two_seconds),
        cmocka_unit_test(test_a_quick_load_into_a_file_prints_nothing),
        cmocka_unit_test(test_a_terminal_sees_one_line_that_grows_and_is_wiped),
        cmocka_unit_test(test_a_bar_stays_within_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
