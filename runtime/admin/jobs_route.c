/* jobs_route.c: every job of the daemon, whoever made it, and those of `tenon batch run` over files and tables here. */
#include "admin/route.h"

#include "batch/job_log.h"
#include "batch/output.h"

#include <string.h>
#include <unistd.h>

enum { WORD_BYTES = BODY_TEXT_BYTES_MAX + 64 };

/* ---- what is told ---- */

/* The first of the job's errors. */
static json_t *message_of(const json_t *job)
{
    json_t *error = json_array_get(json_object_get(json_object_get(job, "errors"), "data"), 0);
    json_t *message = json_object_get(error, "message");
    return message ? json_incref(message) : json_null();
}

static json_t *first_time(const json_t *job)
{
    static const char *const names[] = {"completed_at", "failed_at", "expired_at", "cancelled_at"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_is_integer(json_object_get(job, names[i])))
            return json_incref(json_object_get(job, names[i]));
    return json_null();
}

/* job: moved. */
static json_t *tell(json_t *job)
{
    const json_t *task = json_object_get(job, "task"), *counts = json_object_get(job, "request_counts");
    json_t *told = json_pack(
        "{s:O, s:O, s:O, s:O, s:{s:O, s:O, s:O}, s:O, s:o, s:O?, s:O?, s:O?, s:O?, s:O?, s:o}", "id",
        json_object_get(job, "id"), "kind", json_object_get(task, "kind"), "service", json_object_get(task, "service"),
        "state", json_object_get(job, "status"), "counts", "rows", json_object_get(counts, "total"), "answered",
        json_object_get(counts, "completed"), "failed", json_object_get(counts, "failed"), "created",
        json_object_get(job, "created_at"), "ended", first_time(job), "created_by", json_object_get(job, "owner"),
        "input",
        json_object_get(task, "input") ? json_object_get(task, "input") : json_object_get(job, "input_file_id"),
        "output",
        json_object_get(task, "output") ? json_object_get(task, "output") : json_object_get(job, "output_file_id"),
        "error_file_id", json_object_get(job, "error_file_id"), "endpoint", json_object_get(job, "endpoint"), "message",
        message_of(job));

    json_decref(job);
    return told;
}

answer admin_list_jobs(request *request)
{
    json_t *all = jobs_list(request->admin->jobs), *told = json_array(), *job;
    bool whole = all && told;
    size_t i;

    json_array_foreach(all, i, job) whole = whole && json_array_append_new(told, tell(json_incref(job))) == 0;
    json_decref(all);
    return answer_json(200, whole ? json_pack("{s:o}", "jobs", told) : NULL);
}

answer admin_show_job(request *request)
{
    json_t *job = jobs_find(request->admin->jobs, request->part[0]);

    if (!job)
        return answer_error(404, NULL, "there is no job '%.64s'", request->part[0]);
    return answer_json(200, tell(job));
}

answer admin_cancel_job(request *request)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = jobs_cancel(request->admin->jobs, request->part[0], &err);
    return status == TN_OK ? admin_show_job(request) : answer_failure(status, NULL, &err);
}

answer admin_remove_job(request *request)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = jobs_remove(request->admin->jobs, request->part[0], &err);
    return status == TN_OK ? answer_nothing() : answer_failure(status, NULL, &err);
}

/* ---- making ---- */

typedef struct job_body {
    const char *service, *input, *output, *mode, *key, *prompt, *system;
    bool raw;
    json_t *params;
} job_body;

/* "/..." or "sqlite:/...": the client's folder is not the daemon's. */
static bool is_absolute(const char *place)
{
    return *(strncmp(place, "sqlite:", 7) == 0 ? place + 7 : place) == '/';
}

static bool check_places(const job_body *body, answer *ret_answer)
{
    const bool places = is_absolute(body->input) && is_absolute(body->output);
    const bool mode = !body->mode || strcmp(body->mode, "error") == 0 || strcmp(body->mode, "overwrite") == 0 ||
                      strcmp(body->mode, "resume") == 0;
    const bool starts = !body->mode || strcmp(body->mode, "error") == 0;
    batch_output output;
    bool exists = false;
    tn_error err = TN_ERROR_INIT;

    if (!places || !mode) {
        *ret_answer = !mode ? answer_error(400, "mode", "'mode' is error, overwrite or resume")
                            : answer_error(400, is_absolute(body->input) ? "output" : "input",
                                           "the path must be absolute, as the daemon sees it");
        return false;
    }
    tn_status status = output_parse(body->output, &output, &err);
    if (status == TN_OK && starts)
        status = output_exists(&output, &exists, &err);
    if (status != TN_OK)
        *ret_answer = answer_failure(status, "output", &err);
    else if (starts && (exists || access(output.job, F_OK) == 0))
        *ret_answer = answer_error(409, "output", "%.300s is there already; use another, or mode overwrite or resume",
                                   body->output);
    else if (job_log_writer_of(output.job) != 0)
        *ret_answer =
            answer_error(409, "output", "another batch is writing %.300s; wait for it, or cancel it", body->output);
    else
        return true;
    return false;
}

static bool read_body(const request *request, job_body *body, answer *ret_answer)
{
    const field fields[] = {{"service", FIELD_TEXT, &body->service, true}, {"input", FIELD_TEXT, &body->input, true},
                            {"output", FIELD_TEXT, &body->output, true},   {"mode", FIELD_TEXT, &body->mode, false},
                            {"key", FIELD_TEXT, &body->key, false},        {"prompt", FIELD_TEXT, &body->prompt, false},
                            {"system", FIELD_TEXT, &body->system, false},  {"raw", FIELD_BOOL, &body->raw, false},
                            {"params", FIELD_OBJECT, &body->params, false}};

    if (!request_fields(request, fields, sizeof fields / sizeof *fields, ret_answer))
        return false;
    if (body->service[0] == '-' || !body->service[0]) {
        *ret_answer = answer_error(400, "service", "'service' is no name of a service");
        return false;
    }
    return check_places(body, ret_answer);
}

/* "--name=value". */
static bool add_word(json_t *words, const char *name, const char *value)
{
    char word[WORD_BYTES];

    if (!value)
        return true;
    int bytes = snprintf(word, sizeof word, "--%s=%s", name, value);
    return bytes < (int)sizeof word && json_array_append_new(words, json_string(word)) == 0;
}

/* NULL: *ret_answer says why not. */
static json_t *make_words(const job_body *body, answer *ret_answer)
{
    json_t *words = json_array(), *value;
    const char *name;
    bool good = words && add_word(words, "key", body->key) && add_word(words, "prompt", body->prompt) &&
                add_word(words, "system", body->system) &&
                (!body->raw || json_array_append_new(words, json_string("--raw")) == 0) &&
                (json_object_get(body->params, "priority") || add_word(words, "param", "priority=100"));

    json_object_foreach(body->params, name, value)
    {
        char param[BODY_TEXT_BYTES_MAX + 32];
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        int bytes = text ? snprintf(param, sizeof param, "%s=%s", name, text) : -1;
        free(text);
        good = good && bytes >= 0 && bytes < (int)sizeof param && add_word(words, "param", param);
    }
    if (good && json_array_size(words) <= 64)
        return words;
    json_decref(words);
    *ret_answer = answer_error(400, "params", "'params' has more than 60 fields, or one that is too long");
    return NULL;
}

/* Of SQL's llm_submit: all of it is in the database. NULL: *ret_answer says why not. */
static json_t *make_sql_task(const request *request, answer *ret_answer)
{
    const char *service = NULL, *database = NULL, *query = NULL, *target = NULL, *options = "{}";
    const field fields[] = {{"service", FIELD_TEXT, &service, true},
                            {"database", FIELD_TEXT, &database, true},
                            {"query", FIELD_TEXT, &query, true},
                            {"target", FIELD_TEXT, &target, true},
                            {"options", FIELD_TEXT, &options, false}};
    const char *plugins = settings_string(request->admin->options.settings, "plugins", "path");
    char extension[PATH_MAX];

    if (!request_fields(request, fields, sizeof fields / sizeof *fields, ret_answer))
        return NULL;
    if (database[0] != '/') {
        *ret_answer = answer_error(400, "database", "the path must be absolute, as the daemon sees it");
        return NULL;
    }
    snprintf(extension, sizeof extension, "%s/tenon_sqlite", plugins);
    json_t *words = json_array();
    bool good = words && add_word(words, "service", service) && add_word(words, "query", query) &&
                add_word(words, "target", target) && add_word(words, "options", options) &&
                add_word(words, "extension", extension);
    if (good)
        return json_pack("{s:s, s:s, s:s, s:s, s:o}", "kind", "sql", "service", service, "input", database, "output",
                         target, "words", words);
    json_decref(words);
    *ret_answer = answer_error(400, NULL, "a text is too long");
    return NULL;
}

static json_t *make_command_task(const request *request, answer *ret_answer)
{
    job_body body = {0};

    if (!read_body(request, &body, ret_answer))
        return NULL;
    json_t *words = make_words(&body, ret_answer);
    return words ? json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "kind", "command", "service", body.service, "input",
                             body.input, "output", body.output, "mode", body.mode ? body.mode : "error", "words", words)
                 : NULL;
}

answer admin_add_job(request *request)
{
    jobs *jobs = request->admin->jobs;
    answer answer = {0};
    json_t *made;
    tn_error err = TN_ERROR_INIT;

    if (jobs_obstacle(jobs))
        return answer_error(503, NULL, "%s", jobs_obstacle(jobs));
    json_t *task = json_object_get(request->body, "database") ? make_sql_task(request, &answer)
                                                              : make_command_task(request, &answer);
    if (!task)
        return answer.code ? answer : answer_error(500, NULL, "out of memory for a job");
    jobs_sweep(jobs);
    json_t *job = json_pack("{s:s?, s:o}", "owner", request->caller, "task", task);
    tn_status status = jobs_create(jobs, job, &made, &err);
    if (status != TN_OK)
        return status == TN_E_MEMORY ? answer_error(429, NULL, "%s", err.msg) : answer_failure(status, NULL, &err);
    return answer_json(201, tell(made));
}
