/* progress.c: how far loading and the like have come. State is one such thing at a time, as a command has. */
#include "cli/command.h"

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BAR_STEPS = 50, BAR_LEAST = 10, LINE_SECONDS = 2, COLUMNS = 80 };

static struct {
    const char *label, *unit; /* unit NULL: bytes */
    bool terminal, shown;
    int step;         /* of the bar, last drawn */
    double next_line; /* seconds: when a plain line is due */
    void (*watch)(double share);
} progress;

void progress_watch(void (*watch)(double share))
{
    progress.watch = watch;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS;
}

/* Within one line, or what is drawn over it would begin in the next: where there is less room, a shorter bar or none.
 */
static void show_bar(int step, const char *total)
{
    char line[256], end[96];

    if (step <= progress.step)
        return;
    progress.step = step;
    progress.shown = true;
    const int columns = terminal_columns() - 1;
    int rest = snprintf(end, sizeof end, "%3d %% of %s ", step * 100 / BAR_STEPS, total);
    int bar = columns - rest - (int)strlen(progress.label) - (int)strlen(" [] ");
    bar = bar < BAR_STEPS ? bar : BAR_STEPS;
    int filled = step * bar / BAR_STEPS;
    if (bar >= BAR_LEAST)
        snprintf(line, sizeof line, "%s [%.*s%*s] %s", progress.label, filled,
                 "##################################################", bar - filled, "", end);
    else
        snprintf(line, sizeof line, "%s %s", progress.label, end);
    fprintf(stderr, "\r%.*s", columns, line);
}

static void show(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    char text[64];
    double share = total ? (double)done / (double)total : 1;

    if (progress.watch)
        progress.watch(share);
    if (progress.unit)
        snprintf(text, sizeof text, "%llu %s", (unsigned long long)total, progress.unit);
    else
        plan_format_bytes(total, text);
    if (progress.terminal) {
        show_bar((int)(share * BAR_STEPS), text);
    } else if (now() >= progress.next_line) {
        progress.next_line = now() + LINE_SECONDS;
        fprintf(stderr, "%s: %.0f %% of %s\n", progress.label, share * 100, text);
    }
}

weights_progress progress_start(const char *label, const char *unit)
{
    progress.label = label;
    progress.unit = unit;
    progress.terminal = isatty(STDERR_FILENO);
    progress.shown = false;
    progress.step = -1;
    progress.next_line = now() + LINE_SECONDS;
    return (weights_progress){.report = show};
}

void progress_finish(void)
{
    if (progress.shown)
        fprintf(stderr, "\r\033[K");
}
