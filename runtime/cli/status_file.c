/* status_file.c: see status_file.h. State is the one file of the one model that a program serves. A status that cannot
 * be written is left as it was: what it is about goes on. */
#include "cli/status_file.h"

#include <jansson.h>
#include <limits.h>
#include <unistd.h>

static struct {
    const char *path;
    int percent; /* last written */
} status_file;

static void write_status(const char *stage, double progress, tn_status status, const char *message)
{
    char partial[PATH_MAX];
    json_t *text = json_string(message);
    if (!status_file.path || snprintf(partial, sizeof partial, "%s.partial", status_file.path) >= PATH_MAX) {
        json_decref(text);
        return;
    }
    json_t *object = json_pack("{s:i, s:s, s:f, s:i, s:o}", "pid", (int)getpid(), "stage", stage, "progress", progress,
                               "status", (int)status, "message", text ? text : json_string("(not valid UTF-8)"));
    if (object && json_dump_file(object, partial, JSON_COMPACT) == 0)
        rename(partial, status_file.path);
    json_decref(object);
}

void status_file_start(const char *path)
{
    status_file.path = path;
    status_file_stage("starting");
}

void status_file_stage(const char *stage)
{
    status_file.percent = -1;
    write_status(stage, 0, TN_OK, "");
}

void status_file_progress(double share)
{
    int percent = (int)(share * 100);
    if (percent <= status_file.percent)
        return;
    status_file.percent = percent;
    write_status("loading", share, TN_OK, "");
}

void status_file_fail(tn_status status, const char *message)
{
    write_status("failed", 0, status, message);
}
