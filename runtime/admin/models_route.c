/* models_route.c: the registry's resources. Each call opens the index for itself: a handle belongs to one thread, and
 * opening costs less than a millisecond.
 */
#include "admin/route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "NAME@VERSION" of the two parts of the path, or of the first and a version. False: *ret_answer says what is wrong. */
enum { REFERENCE_BYTES = 2 * REQUEST_PART_BYTES_MAX + 2 };
static bool make_reference(const char *model, const char *version, char reference[REFERENCE_BYTES], answer *ret_answer)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = name_check("the model name", model, &err);

    if (status == TN_OK && version && strlen(version) > REQUEST_PART_BYTES_MAX)
        status = tn_fail(&err, TN_E_ARGUMENT, "version: it is too long");
    if (status != TN_OK) {
        *ret_answer = answer_failure(status, NULL, &err);
        return false;
    }
    snprintf(reference, REFERENCE_BYTES, version ? "%s@%s" : "%s", model, version);
    return true;
}

/* ---- looking ---- */

answer admin_list_models(request *request)
{
    registry *registry;
    json_t *list = NULL;
    tn_error err = TN_ERROR_INIT;

    tn_status status = registry_open(request->admin->registry_root, false, &registry, &err);
    if (status == TN_E_NOT_FOUND) /* nothing has been logged yet */
        return answer_json(200, json_pack("{s:[]}", "models"));
    if (status != TN_OK)
        return answer_failure(status, NULL, &err);
    status = registry_list(registry, NULL, &list, &err);
    registry_close(registry);
    return status == TN_OK ? answer_json(200, list) : answer_failure(status, NULL, &err);
}

answer admin_show_model(request *request)
{
    registry *registry;
    answer answer;
    json_t *list = NULL;
    char reference[REFERENCE_BYTES];
    tn_error err = TN_ERROR_INIT;

    if (!make_reference(request->part[0], NULL, reference, &answer) ||
        !request_registry(request, false, &registry, &answer))
        return answer;
    tn_status status = registry_list(registry, reference, &list, &err);
    registry_close(registry);
    if (status != TN_OK)
        return answer_failure(status, NULL, &err);
    json_t *model = json_incref(json_array_get(json_object_get(list, "models"), 0));
    json_decref(list);
    return answer_json(200, model);
}

static answer show_version(registry *registry, uint32_t code, const char *reference)
{
    json_t *version = NULL;
    tn_error err = TN_ERROR_INIT;
    tn_status status = registry_show(registry, reference, &version, &err);

    return status == TN_OK ? answer_json(code, version) : answer_failure(status, NULL, &err);
}

answer admin_show_version(request *request)
{
    registry *registry;
    answer answer;
    char reference[REFERENCE_BYTES];

    if (!make_reference(request->part[0], request->part[1], reference, &answer) ||
        !request_registry(request, false, &registry, &answer))
        return answer;
    answer = show_version(registry, 200, reference);
    registry_close(registry);
    return answer;
}

/* ---- changing ---- */

answer admin_remove_version(request *request)
{
    registry *registry;
    answer answer;
    char reference[REFERENCE_BYTES];
    uint32_t removed = 0;
    tn_error err = TN_ERROR_INIT;

    if (!make_reference(request->part[0], request->part[1], reference, &answer) ||
        !request_registry(request, false, &registry, &answer))
        return answer;
    tn_status status = registry_remove(registry, reference, &removed, &err);
    registry_close(registry);
    return status == TN_OK ? answer_nothing() : answer_failure(status, NULL, &err);
}

/* The body's "version" of the path's model: what an alias or the default is to mean. */
static bool read_target(request *request, char reference[REFERENCE_BYTES], answer *ret_answer)
{
    const char *version = NULL;
    const field fields[] = {{"version", FIELD_TEXT, &version, true}};

    return request_fields(request, fields, 1, ret_answer) &&
           make_reference(request->part[0], version, reference, ret_answer);
}

answer admin_set_default(request *request)
{
    registry *registry;
    answer answer;
    char reference[REFERENCE_BYTES];
    tn_error err = TN_ERROR_INIT;

    if (!read_target(request, reference, &answer) || !request_registry(request, false, &registry, &answer))
        return answer;
    tn_status status = registry_set_default(registry, reference, &err);
    answer = status == TN_OK ? show_version(registry, 200, reference) : answer_failure(status, NULL, &err);
    registry_close(registry);
    return answer;
}

answer admin_set_alias(request *request)
{
    registry *registry;
    answer answer;
    char reference[REFERENCE_BYTES];
    tn_error err = TN_ERROR_INIT;

    if (!read_target(request, reference, &answer) || !request_registry(request, false, &registry, &answer))
        return answer;
    tn_status status = registry_set_alias(registry, reference, request->part[1], &err);
    answer = status == TN_OK ? show_version(registry, 200, reference) : answer_failure(status, NULL, &err);
    registry_close(registry);
    return answer;
}

answer admin_unset_alias(request *request)
{
    registry *registry;
    answer answer;
    char reference[REFERENCE_BYTES];
    tn_error err = TN_ERROR_INIT;

    if (!make_reference(request->part[0], NULL, reference, &answer) ||
        !request_registry(request, false, &registry, &answer))
        return answer;
    tn_status status = registry_unset_alias(registry, request->part[0], request->part[1], &err);
    registry_close(registry);
    return status == TN_OK ? answer_nothing() : answer_failure(status, NULL, &err);
}

/* ---- work of a program's ---- */

static answer answer_verified(const program_result *result)
{
    json_error_t error;
    json_t *report =
        result->exit_code == 0 || result->exit_code == 4 ? json_loadb(result->output, result->bytes, 0, &error) : NULL;
    if (report)
        return answer_json(200, report);
    return answer_error(500, NULL, "verifying has ended with %d: %s", result->exit_code, result->message);
}

answer admin_verify_version(request *request)
{
    registry *registry;
    answer answer;
    registered found;
    char reference[REFERENCE_BYTES];
    bool deep = false;
    const field fields[] = {{"deep", FIELD_BOOL, &deep, false}};
    program_result result;
    tn_error err = TN_ERROR_INIT;

    if (!request_fields(request, fields, 1, &answer) ||
        !make_reference(request->part[0], request->part[1], reference, &answer) ||
        !request_registry(request, false, &registry, &answer))
        return answer;
    tn_status status = registry_find(registry, reference, &found, &err);
    registry_close(registry);
    if (status != TN_OK)
        return answer_failure(status, NULL, &err);
    words words = {0};
    bool fits = words_add(&words, "registry") && words_add(&words, "verify") && words_add(&words, "--json") &&
                (!deep || words_add(&words, "--deep")) && words_add_settings(&words, request->admin) &&
                words_add(&words, "--") && words_add(&words, reference);
    if (!fits) {
        answer = answer_error(500, NULL, "out of memory for a program");
    } else if (request_run(request, &words, &result, &answer)) {
        answer = answer_verified(&result);
        program_result_finish(&result);
    }
    words_finish(&words);
    return answer;
}

/* ---- adding ---- */

typedef struct addition {
    const char *name, *path, *pull, *revision, *version, *alias, *task, *comment;
    json_t *tags, *metrics, *include, *exclude;
} addition;

static bool add_texts(words *words, const addition *a)
{
    const struct {
        const char *flag, *value;
    } flags[] = {{"version", a->version}, {"alias", a->alias},       {"task", a->task},
                 {"comment", a->comment}, {"revision", a->revision}, {"name", a->pull ? a->name : NULL}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (flags[i].value && !words_add_flag(words, flags[i].flag, flags[i].value))
            return false;
    return true;
}

/* --flag=KEY=VALUE of an object's members. */
static bool add_pairs(words *words, const char *flag, json_t *pairs)
{
    const char *key;
    json_t *value;
    char text[BODY_TEXT_BYTES_MAX], pair[2 * BODY_TEXT_BYTES_MAX];

    json_object_foreach(pairs, key, value)
    {
        if (!scalar_text(value, text, sizeof text) || strlen(key) >= BODY_TEXT_BYTES_MAX)
            return false;
        snprintf(pair, sizeof pair, "%s=%s", key, text);
        if (!words_add_flag(words, flag, pair))
            return false;
    }
    return true;
}

static bool add_patterns(words *words, const char *flag, const json_t *patterns)
{
    size_t i;
    json_t *pattern;

    json_array_foreach(patterns, i, pattern)
    {
        if (!words_add_flag(words, flag, json_string_value(pattern)))
            return false;
    }
    return true;
}

static bool add_words(words *words, const tn_admin *admin, const addition *a)
{
    return words_add(words, "registry") && words_add(words, a->pull ? "pull" : "log") && words_add(words, "--json") &&
           add_texts(words, a) && add_pairs(words, "tag", a->tags) && add_pairs(words, "metric", a->metrics) &&
           add_patterns(words, "include", a->include) && add_patterns(words, "exclude", a->exclude) &&
           words_add_settings(words, admin) && words_add(words, "--") &&
           (a->pull ? words_add(words, a->pull) : words_add(words, a->name) && words_add(words, a->path));
}

static bool is_taken(const request *request, const addition *a)
{
    registry *registry;
    registered found;
    char reference[REFERENCE_BYTES];
    answer ignored = {0};
    bool taken = false;

    if (!a->version || !make_reference(a->name, a->version, reference, &ignored)) {
        answer_finish(&ignored);
        return false;
    }
    if (registry_open(request->admin->registry_root, false, &registry, NULL) == TN_OK) {
        taken = registry_find(registry, reference, &found, NULL) == TN_OK;
        registry_close(registry);
    }
    return taken;
}

static bool may_pull(const request *request)
{
    return settings_bool(request->admin->options.settings, "registry", "allow_pull");
}

/* Before anything is run: what can be known to be wrong. True: *ret_answer says what. */
static bool refuse_addition(const request *request, const addition *a, answer *ret_answer)
{
    tn_error err = TN_ERROR_INIT;
    struct stat info;

    if (name_check("name: it", a->name, &err) != TN_OK)
        *ret_answer = answer_failure(TN_E_ARGUMENT, "name", &err);
    else if (!a->path == !a->pull)
        *ret_answer = answer_error(400, "path", "give either path, of what lies on this machine, or pull, of a hub's");
    else if (a->pull && !may_pull(request))
        *ret_answer = answer_error(403, "pull", "pull: this daemon fetches nothing; [registry] allow_pull lets it");
    else if (a->path && a->path[0] != '/')
        *ret_answer =
            answer_error(400, "path", "path: it must be absolute, as the daemon's folder is not the client's");
    else if (a->path && stat(a->path, &info) != 0)
        *ret_answer = answer_error(400, "path", "path: %.200s: %s", a->path, strerror(errno));
    else if (is_taken(request, a))
        *ret_answer = answer_error(409, "version", "version: there is %.128s@%.128s already", a->name, a->version);
    else
        return false;
    return true;
}

static answer answer_added(request *request, const addition *a, const program_result *result)
{
    registry *registry;
    answer answer;
    char reference[REFERENCE_BYTES];
    json_error_t error;

    if (result->exit_code != 0)
        return is_taken(request, a)
                   ? answer_error(409, "version", "version: there is %.128s@%.128s already", a->name, a->version)
                   : answer_error(422, a->pull ? "pull" : "path", "%s", result->message);
    json_t *added = json_loadb(result->output, result->bytes, 0, &error);
    const char *version = json_string_value(json_object_get(added, "version"));
    if (!version)
        answer = answer_error(500, NULL, "the program said what is no version");
    else if (make_reference(a->name, version, reference, &answer) &&
             request_registry(request, false, &registry, &answer)) {
        answer = show_version(registry, 201, reference);
        registry_close(registry);
    }
    json_decref(added);
    return answer;
}

/* check_only: code 0 if nothing that can be known before is wrong. */
static answer add_model(request *request, bool check_only)
{
    addition a = {0};
    const field fields[] = {
        {"name", FIELD_TEXT, &a.name, true},         {"path", FIELD_TEXT, &a.path, false},
        {"pull", FIELD_TEXT, &a.pull, false},        {"revision", FIELD_TEXT, &a.revision, false},
        {"version", FIELD_TEXT, &a.version, false},  {"alias", FIELD_TEXT, &a.alias, false},
        {"task", FIELD_TEXT, &a.task, false},        {"comment", FIELD_TEXT, &a.comment, false},
        {"tags", FIELD_OBJECT, &a.tags, false},      {"metrics", FIELD_OBJECT, &a.metrics, false},
        {"include", FIELD_TEXTS, &a.include, false}, {"exclude", FIELD_TEXTS, &a.exclude, false},
    };
    answer answer;
    words words = {0};
    program_result result;

    if (!request_fields(request, fields, sizeof fields / sizeof *fields, &answer) ||
        refuse_addition(request, &a, &answer))
        return answer;
    if (check_only)
        return (struct answer){0};
    if (!add_words(&words, request->admin, &a)) {
        words_finish(&words);
        return answer_error(400, NULL, "these are more, or longer, notes than a version may have");
    }
    if (request_run(request, &words, &result, &answer)) {
        answer = answer_added(request, &a, &result);
        program_result_finish(&result);
    }
    words_finish(&words);
    return answer;
}

static answer work_on_addition(void *ctx, operation *operation)
{
    request *request = ctx;
    request->operation = operation;
    return add_model(request, false);
}

static void drop_request(void *ctx)
{
    request *request = ctx;
    json_decref(request->body);
    free(request);
}

/* The same request, for a thread that outlives this one. */
static void add_model_later(const request *asked, answer *ret_answer)
{
    request *later = calloc(1, sizeof *later);
    if (later)
        *later = (request){.admin = asked->admin, .body = json_deep_copy(asked->body)};
    if (later && later->body) {
        operation_start(asked->admin->operations, "POST /models", work_on_addition, drop_request, later, ret_answer);
        return;
    }
    free(later);
    *ret_answer = answer_error(500, NULL, "out of memory for an operation");
}

/* The answer of an operation that has ended, as if it had been waited for from the start. */
static answer answer_of(json_t *operation)
{
    json_t *error = json_object_get(operation, "error"), *result = json_object_get(operation, "result");
    const uint32_t code = (uint32_t)json_integer_value(json_object_get(operation, "code"));
    answer told = code == 0               ? answer_json(202, json_incref(operation))
                  : json_is_object(error) ? answer_json(code, json_pack("{s:O}", "error", error))
                                          : answer_json(code, json_incref(result));
    json_decref(operation);
    return told;
}

/* Without ?wait it is done when it is answered; with it, an operation goes on where the time is over. */
answer admin_add_model(request *request)
{
    double wait_s = 0;
    answer answer;
    tn_error err = TN_ERROR_INIT;

    if (query_number(&request->query, "wait", REQUEST_WAIT_SECONDS_MAX, &wait_s, &err) != TN_OK)
        return answer_failure(TN_E_ARGUMENT, "wait", &err);
    if (!query_value(&request->query, "wait"))
        return add_model(request, false);
    answer = add_model(request, true);
    if (answer.code != 0)
        return answer;
    add_model_later(request, &answer);
    const char *id = json_string_value(json_object_get(answer.json, "id"));
    json_t *operation =
        id && wait_s > 0 ? operation_json(request->admin->operations, id, (uint32_t)(wait_s * 1000)) : NULL;
    if (!operation)
        return answer;
    answer_finish(&answer);
    return answer_of(operation);
}
