/* status_file.c: see status_file.h. State is the one file of the one model that a program serves. A status that cannot
 * be written is left as it was, and that is said once: what it is about goes on. */
#include "cli/status_file.h"

#include "cli/command.h"
#include "file/whole_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *path;
    int percent; /* last written */
    bool warned;
} status_file;

static void warn(const char *why)
{
    tn_error err = TN_ERROR_INIT;

    if (status_file.warned)
        return;
    status_file.warned = true;
    tn_fail(&err, TN_E_IO, "--status %.400s; how far it is cannot be told", why);
    report(&err);
}

static void write_status(const char *stage, double progress, tn_status status, const char *message)
{
    if (!status_file.path)
        return;
    json_t *said = json_string(message);
    json_t *object = json_pack("{s:i, s:s, s:f, s:i, s:o}", "pid", (int)getpid(), "stage", stage, "progress", progress,
                               "status", (int)status, "message", said ? said : json_string("(not valid UTF-8)"));
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    tn_error why = TN_ERROR_INIT;
    if (text && whole_file_show(status_file.path, text, strlen(text), &why) != TN_OK)
        warn(why.msg);
    free(text);
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
