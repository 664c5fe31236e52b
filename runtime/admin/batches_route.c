/* batches_route.c: OpenAI's batches over the daemon's jobs. A batch of another's is no batch. */
#include "admin/list.h"
#include "admin/route.h"

#include <string.h>

enum { LIST_DEFAULT = 20, LIST_MAX = 100, METADATA_MAX = 16, METADATA_KEY_MAX = 64, METADATA_VALUE_MAX = 512 };

/* Rows of batches come after those of people who wait; lower is first, and 0 is what requests have that say nothing. */
#define PRIORITY "--param=priority=100"

static bool is_batch(const json_t *job)
{
    const char *kind = json_string_value(json_object_get(json_object_get(job, "task"), "kind"));
    return kind && strcmp(kind, "batch") == 0;
}

/* job: moved. */
static json_t *openai_batch(json_t *job)
{
    json_object_del(job, "task");
    json_object_del(job, "owner");
    return job;
}

static json_t *find(const request *request, answer *ret_answer)
{
    json_t *job = jobs_find(request->admin->jobs, request->part[0]);

    if (job && is_batch(job) && request_sees(request, job))
        return openai_batch(job);
    json_decref(job);
    *ret_answer = answer_error(404, "id", "there is no batch '%.64s'", request->part[0]);
    return NULL;
}

answer admin_list_batches(request *request)
{
    const char *after = query_value(&request->query, "after");
    size_t limit = LIST_DEFAULT, i;
    json_t *job;
    answer answer;
    bool passed = !after, more = false;

    if (!list_limit(request, LIST_MAX, &limit, &answer))
        return answer;
    json_t *all = jobs_list(request->admin->jobs), *data = json_array();
    json_array_foreach(all, i, job)
    {
        if (!is_batch(job) || !request_sees(request, job))
            continue;
        more = passed && json_array_size(data) == limit;
        if (more)
            break;
        if (passed)
            json_array_append_new(data, openai_batch(json_incref(job)));
        passed = passed || strcmp(json_string_value(json_object_get(job, "id")), after) == 0;
    }
    json_decref(all);
    if (!passed) {
        json_decref(data);
        return answer_error(400, "after", "'after' names no batch");
    }
    return list_answer(data, more);
}

answer admin_show_batch(request *request)
{
    answer answer;
    json_t *job = find(request, &answer);
    return job ? answer_json(200, job) : answer;
}

/* ---- making ---- */

typedef struct batch_body {
    const char *input, *endpoint, *window;
    json_t *metadata;
} batch_body;

static bool check_metadata(json_t *metadata, answer *ret_answer)
{
    const char *name;
    json_t *value;
    bool good = json_object_size(metadata) <= METADATA_MAX;

    json_object_foreach(metadata, name, value) good = good && strlen(name) <= METADATA_KEY_MAX &&
                                                      json_is_string(value) &&
                                                      json_string_length(value) <= METADATA_VALUE_MAX;
    if (!good)
        *ret_answer =
            answer_error(400, "metadata", "'metadata' takes %d texts of up to %d bytes, with names of up to %d",
                         METADATA_MAX, METADATA_VALUE_MAX, METADATA_KEY_MAX);
    return good;
}

static bool check_input(const request *request, const char *id, answer *ret_answer)
{
    json_t *file = job_files_find(jobs_files(request->admin->jobs), id);
    const char *purpose = json_string_value(json_object_get(file, "purpose"));
    bool good = false;

    if (!file || !request_sees(request, file))
        *ret_answer = answer_error(404, "input_file_id", "there is no file '%.64s'", id);
    else if (strcmp(purpose, "batch") != 0)
        *ret_answer = answer_error(400, "input_file_id", "the file '%.64s' is for %.32s, not for batch", id, purpose);
    else
        good = true;
    json_decref(file);
    return good;
}

static bool read_body(const request *request, batch_body *body, answer *ret_answer)
{
    const field fields[] = {{"input_file_id", FIELD_TEXT, &body->input, true},
                            {"endpoint", FIELD_TEXT, &body->endpoint, true},
                            {"completion_window", FIELD_TEXT, &body->window, true},
                            {"metadata", FIELD_OBJECT, &body->metadata, false}};

    if (!request_fields(request, fields, sizeof fields / sizeof *fields, ret_answer))
        return false;
    if (strcmp(body->endpoint, "/v1/chat/completions") != 0 && strcmp(body->endpoint, "/v1/completions") != 0) {
        *ret_answer =
            answer_error(400, "endpoint", "'endpoint' must be \"/v1/chat/completions\" or \"/v1/completions\"");
        return false;
    }
    if (strcmp(body->window, "24h") != 0) {
        *ret_answer = answer_error(400, "completion_window", "'completion_window' must be \"24h\"");
        return false;
    }
    return check_metadata(body->metadata, ret_answer) && check_input(request, body->input, ret_answer);
}

answer admin_add_batch(request *request)
{
    jobs *jobs = request->admin->jobs;
    batch_body body = {0};
    answer answer;
    json_t *made;
    tn_error err = TN_ERROR_INIT;

    if (jobs_obstacle(jobs))
        return answer_error(503, NULL, "%s", jobs_obstacle(jobs));
    if (!read_body(request, &body, &answer))
        return answer;
    jobs_sweep(jobs);
    json_t *job = json_pack("{s:s, s:s, s:s, s:O?, s:s?, s:{s:s, s:s, s:[s]}}", "endpoint", body.endpoint,
                            "input_file_id", body.input, "completion_window", body.window, "metadata", body.metadata,
                            "owner", request->caller, "task", "kind", "batch", "service", "", "words", PRIORITY);
    tn_status status = jobs_create(jobs, job, &made, &err);
    if (status != TN_OK)
        return status == TN_E_MEMORY ? answer_error(429, NULL, "%s", err.msg) : answer_failure(status, NULL, &err);
    return answer_json(200, openai_batch(made));
}

answer admin_cancel_batch(request *request)
{
    answer answer;
    json_t *job = find(request, &answer);
    tn_error err = TN_ERROR_INIT;

    if (!job)
        return answer;
    json_decref(job);
    tn_status status = jobs_cancel(request->admin->jobs, request->part[0], &err);
    return status == TN_OK ? admin_show_batch(request) : answer_failure(status, "id", &err);
}
