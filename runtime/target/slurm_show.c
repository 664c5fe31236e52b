/* slurm_show.c: see slurm_show.h. Slurm says whether a job is there; its status file how far the server is; the server
 * itself whether it is ready. What the files say is the job's word: it is cut, and shown as text only. */
#include "target/slurm_show.h"

#include "base/utf8.h"
#include "target/probe.h"
#include "target/slurm_place.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATUS_BYTES = 8192, ADDRESS_BYTES = 300, LAST_LINES = 20, TAIL_BYTES = 16384 };

/* What was cut within a character ends before it. */
static json_t *text_json(const char *text)
{
    json_t *string = json_stringn(text, utf8_whole_prefix(text, strlen(text)));
    return string ? string : json_string("(not valid UTF-8)");
}

static bool is_of(const slurm_job *job, const char *folder)
{
    return slurm_job_is_live(job) && slurm_place_is(job->folder, folder);
}

uint32_t slurm_show_count(const slurm_jobs *jobs, const char *folder, bool only_wanted)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < jobs->count; i++)
        count += is_of(&jobs->at[i], folder) && !(only_wanted && slurm_file_exists(folder, jobs->at[i].id, "stop"));
    return count;
}

/* ---- an instance ---- */

typedef struct view {
    const char *state; /* of the instance */
    char message[320], address[ADDRESS_BYTES];
    double progress; /* < 0: none */
} view;

/* The server's own word for how far it is. */
static void view_status(const char *folder, const slurm_job *job, view *v)
{
    char text[STATUS_BYTES];
    json_t *status = slurm_file_read(folder, job->id, "status", text, sizeof text) ? json_loads(text, 0, NULL) : NULL;
    const char *stage = json_string_value(json_object_get(status, "stage"));
    const char *message = json_string_value(json_object_get(status, "message"));

    snprintf(v->message, sizeof v->message, "%.40s%s%.240s", stage ? stage : "starting",
             message && *message ? ": " : "", message ? message : "");
    if (stage && strcmp(stage, "loading") == 0)
        v->progress = json_number_value(json_object_get(status, "progress"));
    if (stage && strcmp(stage, "draining") == 0)
        v->state = "DRAINING";
    json_decref(status);
}

static void view_running(const char *folder, const slurm_job *job, view *v)
{
    tn_error err = TN_ERROR_INIT;
    int code = 0;

    v->state = "LOADING";
    view_status(folder, job, v);
    if (!slurm_file_read(folder, job->id, "address", v->address, sizeof v->address))
        return;
    v->address[strcspn(v->address, "\r\n, ")] = '\0';
    tn_status status = probe_ready(v->address, &code, &err);
    if (status == TN_E_ARGUMENT)
        v->address[0] = '\0';
    if (status != TN_OK)
        snprintf(v->message, sizeof v->message, "%.300s", err.msg);
    else if (code != 0 && code != 200)
        snprintf(v->message, sizeof v->message, "/ready answers %d", code);
    else if (strcmp(v->state, "LOADING") == 0)
        v->state = "READY";
}

static view view_of(const char *folder, const slurm_job *job)
{
    view v = {.state = "STARTING", .progress = -1};

    if (strcmp(job->state, "RUNNING") == 0)
        view_running(folder, job, &v);
    else if (strcmp(job->state, "COMPLETING") == 0)
        v.state = "STOPPING";
    else
        snprintf(v.message, sizeof v.message, "Slurm: %s, %.90s", job->state, job->reason);
    if (slurm_file_exists(folder, job->id, "stop") && strcmp(v.state, "STOPPING") != 0)
        v.state = "DRAINING";
    return v;
}

static uint32_t count_failures(const char *folder, const slurm_job *job)
{
    char text[32];
    return slurm_file_read(folder, job->id, "failures", text, sizeof text) ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

static json_t *instance_json(const char *folder, const slurm_job *job, const view *v)
{
    char log[PATH_MAX + 64];
    json_t *object = json_object();

    snprintf(log, sizeof log, "%s/%s.log", folder, job->id);
    json_object_set_new(object, "id", json_string(job->id));
    json_object_set_new(object, "state", json_string(v->state));
    json_object_set_new(object, "started", job->started_ms ? json_integer((json_int_t)job->started_ms) : json_null());
    json_object_set_new(object, "restart_count", json_integer(count_failures(folder, job)));
    json_object_set_new(object, "address", v->address[0] ? text_json(v->address) : json_null());
    json_object_set_new(object, "node", job->host[0] ? text_json(job->host) : json_null());
    json_object_set_new(object, "log", text_json(log));
    json_object_set_new(object, "progress", v->progress >= 0 ? json_real(v->progress) : json_null());
    json_object_set_new(object, "message", text_json(v->message));
    return object;
}

/* ---- the log's end ---- */

static json_t *last_lines(const char *folder, const char *job)
{
    char path[PATH_MAX + 64], text[TAIL_BYTES + 1];
    json_t *lines = json_array();
    struct stat info;

    snprintf(path, sizeof path, "%s/%s.log", folder, job);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    bool is_file = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    off_t at = is_file && info.st_size > TAIL_BYTES ? info.st_size - TAIL_BYTES : 0;
    ssize_t bytes = is_file ? pread(fd, text, TAIL_BYTES, at) : 0;
    if (fd >= 0)
        close(fd);
    text[bytes > 0 ? bytes : 0] = '\0';
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) && rest;) {
        json_array_append_new(lines, text_json(line));
        if (json_array_size(lines) > LAST_LINES)
            json_array_remove(lines, 0);
    }
    return lines;
}

/* ---- the service ---- */

typedef struct counts {
    uint32_t live, ready, running, wanted;
    uint32_t lasting; /* of those that live: those without a mark */
} counts;

static bool is_set(const json_t *record, const char *key)
{
    return json_is_true(json_object_get(record, key));
}

static const char *state_of(const json_t *record, const counts *c)
{
    if (is_set(record, "deleting"))
        return "DELETING";
    if (is_set(record, "suspended"))
        return c->live ? "SUSPENDING" : "SUSPENDED";
    if (c->ready >= c->wanted)
        return "READY";
    if (c->ready)
        return "DEGRADED";
    if (c->lasting)
        return c->running ? "LOADING" : "PENDING";
    return "FAILED";
}

/* Why the newest of its jobs is no more, as far as anybody still knows. */
static void describe_end(const char *folder, const slurm_jobs *jobs, char *ret_text, size_t bytes)
{
    char words[160];

    if (slurm_files_find(folder, "failed", words, sizeof words)) {
        words[strcspn(words, "\n")] = '\0';
        snprintf(ret_text, bytes, "%s", words);
        return;
    }
    snprintf(ret_text, bytes, "Slurm knows its jobs no more");
    for (uint32_t i = 0; i < jobs->count; i++)
        if (slurm_place_is(jobs->at[i].folder, folder) && !slurm_job_is_live(&jobs->at[i]))
            snprintf(ret_text, bytes, "job %s has ended: %s", jobs->at[i].id, jobs->at[i].state);
}

static void set_message(json_t *service, const char *folder, const slurm_jobs *jobs, const counts *c, const char *first)
{
    const char *name = json_string_value(json_object_get(service, "name"));
    const char *state = json_string_value(json_object_get(service, "state"));
    char text[600], end[256];

    if (strcmp(state, "READY") == 0)
        snprintf(text, sizeof text, "%s is ready", name);
    else if (strcmp(state, "SUSPENDED") == 0)
        snprintf(text, sizeof text, "%s is suspended; `tenon service resume` submits it again", name);
    else if (strcmp(state, "SUSPENDING") == 0 || strcmp(state, "DELETING") == 0)
        snprintf(text, sizeof text, "%u jobs of %s are left", c->live, name);
    else if (c->lasting < c->wanted) {
        describe_end(folder, jobs, end, sizeof end);
        snprintf(text, sizeof text, "%u of %u jobs of %s are left: %s", c->lasting, c->wanted, name, end);
    } else
        snprintf(text, sizeof text, "%u of %u instances of %s are ready%s%s", c->ready, c->wanted, name,
                 *first ? ": " : "", first);
    json_object_set_new(service, "message", text_json(text));
}

json_t *slurm_show_service(const json_t *record, const char *folder, const slurm_jobs *jobs)
{
    json_t *service = json_deep_copy(record), *instances = json_array();
    counts c = {.wanted = (uint32_t)json_integer_value(json_object_get(record, "min"))};
    char first[320] = ""; /* what the first that is not ready says */
    double progress = -1;
    const char *last = NULL;

    for (uint32_t i = 0; i < jobs->count; i++) {
        const slurm_job *job = &jobs->at[i];
        last = slurm_place_is(job->folder, folder) ? job->id : last;
        if (!is_of(job, folder))
            continue;
        const view v = view_of(folder, job);
        const bool lasts = !slurm_file_exists(folder, job->id, "stop");
        c.live++;
        c.lasting += lasts;
        c.running += lasts && strcmp(job->state, "RUNNING") == 0;
        c.ready += strcmp(v.state, "READY") == 0;
        if (lasts && strcmp(v.state, "READY") != 0 && !*first)
            snprintf(first, sizeof first, "%s", v.message);
        progress = v.progress >= 0 ? v.progress : progress;
        json_array_append_new(instances, instance_json(folder, job, &v));
    }
    json_object_set_new(service, "state", json_string(state_of(record, &c)));
    json_object_set_new(service, "progress", progress >= 0 ? json_real(progress) : json_null());
    json_object_set_new(service, "instances", instances);
    if (last)
        json_object_set_new(service, "last_log", last_lines(folder, last));
    json_object_del(service, "suspended");
    json_object_del(service, "deleting");
    json_object_del(service, "before");
    set_message(service, folder, jobs, &c, first);
    return service;
}
