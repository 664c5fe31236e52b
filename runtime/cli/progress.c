/* progress.c: how far loading has come. State is one loading at a time, as a command has. */
#include "cli/command.h"

#include <unistd.h>

static struct {
    const char *label;
    bool terminal, shown;
    int step; /* last tenth (lines) or fiftieth (bar) printed */
} progress;

static void show(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    int steps = progress.terminal ? 50 : 10;
    int step = total ? (int)((double)done / (double)total * steps) : steps;
    if (step <= progress.step)
        return;
    progress.step = step;
    progress.shown = true;
    char bytes[16];
    plan_format_bytes(total, bytes);
    if (progress.terminal)
        fprintf(stderr, "\r%s [%.*s%*s] %3d %% of %s ", progress.label, step,
                "##################################################", steps - step, "", step * 100 / steps, bytes);
    else if (step == steps)
        fprintf(stderr, "%s: done, %s\n", progress.label, bytes);
    else
        fprintf(stderr, "%s: %d %% of %s\n", progress.label, step * 10, bytes);
}

weights_progress progress_start(const char *label)
{
    progress.label = label;
    progress.terminal = isatty(STDERR_FILENO);
    progress.shown = false;
    progress.step = progress.terminal ? -1 : 0;
    return (weights_progress){.report = show};
}

void progress_finish(void)
{
    if (progress.terminal && progress.shown)
        fprintf(stderr, "\r\033[K");
}
