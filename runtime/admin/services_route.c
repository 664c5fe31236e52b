/* services_route.c: wishes in, states out. A wish is made at once; ?wait=SECONDS waits for what becomes of it. */
#include "admin/route.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DRAIN_SECONDS_DEFAULT = 30, DRAIN_SECONDS_MAX = 86400, WAIT_SLICE_MS = 1000, KEY_BYTES_MAX = 200 };

/* ---- what comes in ---- */

typedef struct service_body {
    service_spec spec;
    json_t *settings; /* an object; NULL: not given */
    bool replace, dry_run;
    char *texts[SERVICE_SETS_MAX]; /* owned: "key=value" */
    const char *sets[SERVICE_SETS_MAX + 1];
} service_body;

/* Messages about a spec begin with what is wrong of it: "gpus: ...". */
static const char *param_of(const tn_error *err)
{
    static const struct {
        const char *begin, *param;
    } known[] = {{"name:", "name"},         {"model:", "model"},          {"there is no model", "model"},
                 {"pool:", "pool"},         {"there is no pool", "pool"}, {"gpus:", "gpus"},
                 {"min_instances:", "min"}, {"max_instances:", "max"},    {"autosuspend:", "autosuspend"},
                 {"settings:", "settings"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(err->msg, known[i].begin, strlen(known[i].begin)) == 0)
            return known[i].param;
    return NULL;
}

/* A model or pool that there is not makes the request wrong; the service itself is what may not be found. */
static answer fail(tn_status status, const tn_error *err)
{
    const char *param = param_of(err);

    return answer_failure(status == TN_E_NOT_FOUND && param ? TN_E_ARGUMENT : status, param, err);
}

/* {"max_model_len": 8192} to "max_model_len=8192". False: *ret_answer says what is wrong. */
static bool take_settings(service_body *body, answer *ret_answer)
{
    const char *key;
    json_t *value;
    char text[BODY_TEXT_BYTES_MAX], pair[BODY_TEXT_BYTES_MAX + KEY_BYTES_MAX + 2];
    uint32_t count = 0;

    json_object_foreach(body->settings, key, value)
    {
        if (count == SERVICE_SETS_MAX || strlen(key) > KEY_BYTES_MAX || !scalar_text(value, text, sizeof text)) {
            *ret_answer =
                answer_error(400, "settings", "settings: there are more than %d, or one is too long", SERVICE_SETS_MAX);
            return false;
        }
        snprintf(pair, sizeof pair, "%s=%s", key, text);
        body->texts[count] = strdup(pair);
        body->sets[count] = body->texts[count];
        if (!body->texts[count++]) {
            *ret_answer = answer_error(500, NULL, "out of memory for settings");
            return false;
        }
    }
    body->spec.sets = body->settings ? body->sets : NULL;
    return true;
}

static void body_finish(service_body *body)
{
    for (uint32_t i = 0; i < SERVICE_SETS_MAX; i++)
        free(body->texts[i]);
}

/* Of a new service, or of what is to change of one. */
static bool read_body(const request *request, bool fresh, service_body *body, answer *ret_answer)
{
    service_spec *spec = &body->spec;
    const field fields[] = {
        {"model", FIELD_TEXT, &spec->model, fresh},
        {"gpus", FIELD_COUNT, &spec->gpus, false},
        {"min", FIELD_COUNT, &spec->min_instances, false},
        {"max", FIELD_COUNT, &spec->max_instances, false},
        {"autosuspend", FIELD_COUNT, &spec->autosuspend_s, false},
        {"settings", FIELD_OBJECT, &body->settings, false},
        {"pool", FIELD_TEXT, &spec->pool, fresh},
        {"name", FIELD_TEXT, &spec->name, true},
        {"replace", FIELD_BOOL, &body->replace, false},
        {"dry_run", FIELD_BOOL, &body->dry_run, false},
    };
    uint32_t count = sizeof fields / sizeof *fields;

    return request_fields(request, fields, fresh ? count : count - 3, ret_answer) && take_settings(body, ret_answer);
}

/* ---- waiting ---- */

/* Until the state, FAILED, the time or the daemon's end, in slices, since nothing else ends a wait. At least one look.
 */
static tn_status wait_for(request *request, const char *name, service_state state, double seconds, json_t **ret_service,
                          tn_error *err)
{
    const uint64_t end = clock_ms() + (uint64_t)(seconds * 1000);

    for (;;) {
        uint64_t now = clock_ms(), left = end > now ? end - now : 0;
        *ret_service = NULL;
        tn_status status = services_wait(request->admin->options.services, name, state,
                                         (uint32_t)(left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS), ret_service, err);
        if (status != TN_E_AGAIN || left <= WAIT_SLICE_MS || atomic_load(&request->admin->stopping))
            return status;
        json_decref(*ret_service);
    }
}

/* What has become of a wish: done_code where it is done, has failed, or nobody waits; 202 where time is over. */
static answer answer_wish(request *request, const char *name, service_state state, uint32_t done_code)
{
    double seconds = 0;
    json_t *service = NULL;
    tn_error err = TN_ERROR_INIT;

    tn_status status = query_number(&request->query, "wait", REQUEST_WAIT_SECONDS_MAX, &seconds, &err);
    TN_ASSERT(status == TN_OK); /* checked before the wish was made */
    if (seconds > 0) {
        status = wait_for(request, name, state, seconds, &service, &err);
        if (status == TN_OK && !service) /* deleted */
            return answer_nothing();
        if (service)
            return answer_json(status == TN_E_AGAIN ? 202 : done_code, service);
    } else {
        status = services_show(request->admin->options.services, name, &service, &err);
    }
    if (status == TN_E_NOT_FOUND && state == SERVICE_DELETING)
        return answer_nothing();
    return status == TN_OK ? answer_json(done_code, service) : fail(status, &err);
}

/* Numbers of the query, before anything is done. */
static bool check_query(const request *request, uint32_t *ret_drain_s, answer *ret_answer)
{
    static const char *const names[] = {"wait", "drain"};
    double wait = 0, drain = DRAIN_SECONDS_DEFAULT;
    tn_error err = TN_ERROR_INIT;

    tn_status status = query_number(&request->query, "wait", REQUEST_WAIT_SECONDS_MAX, &wait, &err);
    if (status != TN_OK) {
        *ret_answer = answer_failure(status, names[0], &err);
        return false;
    }
    status = query_number(&request->query, "drain", DRAIN_SECONDS_MAX, &drain, &err);
    if (status != TN_OK) {
        *ret_answer = answer_failure(status, names[1], &err);
        return false;
    }
    *ret_drain_s = (uint32_t)drain;
    return true;
}

/* ---- looking ---- */

answer admin_list_pools(request *request)
{
    return answer_json(200, json_pack("{s:o}", "pools", services_pools(request->admin->options.services)));
}

answer admin_list_services(request *request)
{
    return answer_json(200, json_pack("{s:o}", "services", services_list(request->admin->options.services)));
}

answer admin_show_service(request *request)
{
    const char *text = query_value(&request->query, "state");
    service_state state = SERVICE_READY;
    answer answer;
    uint32_t drain;

    if (!check_query(request, &drain, &answer))
        return answer;
    if (text && !service_state_parse(text, &state))
        return answer_error(400, "state", "state: there is no state '%.40s'", text);
    return answer_wish(request, request->part[0], state, 200);
}

/* ---- wishing ---- */

/* {"error", "plan"}: what is missing, in numbers. */
static answer answer_misfit(const tn_error *err, json_t *plan)
{
    answer answer = answer_error(422, NULL, "%s", err->msg);

    if (plan)
        json_object_set_new(answer.json, "plan", plan);
    return answer;
}

static answer create(request *request, const service_body *body)
{
    json_t *plan = NULL;
    tn_error err = TN_ERROR_INIT;

    tn_status status =
        services_create(request->admin->options.services, &body->spec, body->replace, body->dry_run, &plan, &err);
    if (status == TN_E_MEMORY)
        return answer_misfit(&err, plan);
    if (status == TN_OK && body->dry_run)
        return answer_json(200, plan);
    json_decref(plan);
    return status == TN_OK ? answer_wish(request, body->spec.name, SERVICE_READY, 201) : fail(status, &err);
}

answer admin_add_service(request *request)
{
    service_body body = {.spec = SERVICE_SPEC_INIT};
    answer answer;
    uint32_t drain;

    if (check_query(request, &drain, &answer) && read_body(request, true, &body, &answer))
        answer = create(request, &body);
    body_finish(&body);
    return answer;
}

static answer change(request *request, const service_body *body)
{
    const char *name = request->part[0];
    json_t *plan = NULL;
    tn_error err = TN_ERROR_INIT;

    tn_status status = services_update(request->admin->options.services, name, &body->spec, &plan, &err);
    if (status == TN_E_MEMORY)
        return answer_misfit(&err, plan);
    json_decref(plan);
    return status == TN_OK ? answer_wish(request, name, SERVICE_READY, 200) : fail(status, &err);
}

answer admin_change_service(request *request)
{
    service_body body = {.spec = {.gpus = SERVICE_UNCHANGED,
                                  .min_instances = SERVICE_UNCHANGED,
                                  .max_instances = SERVICE_UNCHANGED,
                                  .autosuspend_s = SERVICE_UNCHANGED}};
    answer answer;
    uint32_t drain;

    if (check_query(request, &drain, &answer) && read_body(request, false, &body, &answer))
        answer = change(request, &body);
    body_finish(&body);
    return answer;
}

answer admin_scale_service(request *request)
{
    uint32_t min = SERVICE_UNCHANGED, max = SERVICE_UNCHANGED, drain;
    const field fields[] = {{"min", FIELD_COUNT, &min, false}, {"max", FIELD_COUNT, &max, false}};
    answer answer;
    tn_error err = TN_ERROR_INIT;

    if (!check_query(request, &drain, &answer) || !request_fields(request, fields, 2, &answer))
        return answer;
    if (min == SERVICE_UNCHANGED && max == SERVICE_UNCHANGED)
        return answer_error(400, "min", "give min, max or both");
    tn_status status = services_scale(request->admin->options.services, request->part[0], min, max, &err);
    return status == TN_OK ? answer_wish(request, request->part[0], SERVICE_READY, 200) : fail(status, &err);
}

/* No body is needed; an empty object may come. */
static answer do_verb(request *request, service_verb verb, service_state state)
{
    const char *name = request->part[0];
    answer answer;
    uint32_t drain_s;
    tn_error err = TN_ERROR_INIT;

    if (!check_query(request, &drain_s, &answer) || !request_fields(request, NULL, 0, &answer))
        return answer;
    tn_status status = services_do(request->admin->options.services, name, verb, drain_s, &err);
    return status == TN_OK ? answer_wish(request, name, state, 200) : fail(status, &err);
}

answer admin_suspend_service(request *request)
{
    return do_verb(request, SERVICE_SUSPEND, SERVICE_SUSPENDED);
}

answer admin_resume_service(request *request)
{
    return do_verb(request, SERVICE_RESUME, SERVICE_READY);
}

answer admin_remove_service(request *request)
{
    return do_verb(request, SERVICE_DELETE, SERVICE_DELETING);
}
