/* sdk/check/report.c: see report.h. */
#include "check/report.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static const char *volatile running = "loading";

static void on_crash(int signal_number)
{
    static const char before[] = "FAIL  ", after[] = ": the plugin crashed here\n";
    const char *name = running;
    ssize_t ignored = write(STDOUT_FILENO, before, sizeof before - 1);
    ignored = write(STDOUT_FILENO, name, strlen(name));
    ignored = write(STDOUT_FILENO, after, sizeof after - 1);
    (void)ignored;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

void report_catch_crashes(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    setvbuf(stdout, NULL, _IOLBF, 0); /* nothing said so far may be lost with the process */
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], on_crash);
}

void report_begin(const char *check)
{
    running = check;
}

static void say(const char *verdict, const char *format, va_list args)
{
    printf("%s  %s: ", verdict, running);
    vprintf(format, args);
    putchar('\n');
    running = "between checks";
}

void report_pass(report *report, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report->passed++;
    say("ok  ", format, args);
    va_end(args);
}

void report_fail(report *report, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report->failed++;
    say("FAIL", format, args);
    va_end(args);
}

void report_skip(report *report, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report->skipped++;
    say("skip", format, args);
    va_end(args);
}

const char *report_reason(tn_status status, const tn_error *err)
{
    return *err->msg ? err->msg : tn_status_text(status);
}
