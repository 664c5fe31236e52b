/* admin.c: the way of a call: route, query, body, idempotency key, answer. */
#include "admin/admin.h"

#include "admin/route.h"
#include "base/clock.h"
#include "base/hex.h"
#include "tenon/auth.h"

#include <stdlib.h>
#include <string.h>

/* ---- sending ---- */

static void send_text(const tn_admin_sink *sink, uint32_t code, const char *text)
{
    if (sink->head(sink->ctx, code, "application/json") == TN_OK && text &&
        sink->write(sink->ctx, text, strlen(text)) == TN_OK)
        sink->write(sink->ctx, "\n", 1);
}

/* *ret_text: owned; NULL: no content. */
static void dump(answer *answer, char **ret_text)
{
    static const char no_memory[] = "{\"error\": {\"message\": \"out of memory for an answer\", \"type\": "
                                    "\"server_error\", \"param\": null}}";
    *ret_text = NULL;
    if (answer->code == 204)
        return;
    *ret_text = json_dumps(answer->json, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (!*ret_text) {
        answer->code = 500;
        *ret_text = strdup(no_memory);
    }
}

/* ---- idempotency ---- */

static int64_t now_s(void)
{
    return (int64_t)(clock_ms() / 1000);
}

static digest digest_of_call(const tn_admin_call *call)
{
    const char *parts[] = {call->method, call->path, call->query ? call->query : ""};
    struct sha256_ctx context;
    uint8_t sum[SHA256_DIGEST_SIZE];
    digest digest;

    sha256_init(&context);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        sha256_update(&context, strlen(parts[i]) + 1, (const uint8_t *)parts[i]);
    if (call->body)
        sha256_update(&context, call->n_body, (const uint8_t *)call->body);
    sha256_digest(&context, sizeof sum, sum);
    hex_of(sum, sizeof sum, digest.hex);
    return digest;
}

/* A POST with a key: the answer of the first time, or the first time. */
static void answer_once(const route *route, request *request, const tn_admin_call *call)
{
    tn_admin *admin = request->admin;
    const digest identity = digest_of_call(call);
    const char *caller = request->caller ? request->caller : "";
    kept_answer kept;
    char *text;
    tn_error err = TN_ERROR_INIT;

    tn_status status = strlen(caller) <= TN_TOKEN_NAME_MAX ? TN_OK : tn_fail(&err, TN_E_ARGUMENT, "caller: too long");
    if (status == TN_OK)
        status = idempotency_begin(admin->keys, caller, call->idempotency_key, &identity, now_s(), &kept, &err);
    if (status == TN_OK && kept.code) {
        send_text(request->sink, kept.code, kept.text);
        free(kept.text);
        return;
    }
    answer answer;
    if (status == TN_OK) {
        answer = route->handle(request);
        dump(&answer, &text);
        idempotency_end(admin->keys, caller, call->idempotency_key, answer.code, text);
    } else {
        answer = status == TN_E_ARGUMENT ? answer_error(422, "Idempotency-Key", "%s", err.msg)
                 : status == TN_E_AGAIN  ? answer_error(429, NULL, "%s", err.msg)
                                         : answer_failure(status, NULL, &err);
        dump(&answer, &text);
    }
    send_text(request->sink, answer.code, text);
    free(text);
    answer_finish(&answer);
}

/* ---- calls ---- */

/* Everything before the route's own work. False: *ret_answer says what is wrong. */
static bool prepare(const tn_admin_call *call, bool batch, request *request, const route **ret_route,
                    answer *ret_answer)
{
    const char *param = NULL;
    tn_error err = TN_ERROR_INIT;

    if (!TN_HAS(call, tn_admin_call, idempotency_key) || !call->method || !call->path) {
        *ret_answer = answer_error(400, NULL, "tn.admin: the call lacks a member");
        return false;
    }
    if (atomic_load(&request->admin->stopping)) {
        *ret_answer = answer_error(503, NULL, "the daemon is ending");
        return false;
    }
    *ret_route = (batch ? route_find_batch : route_find)(call->method, call->path, request, ret_answer);
    if (!*ret_route)
        return false;
    tn_status status = query_parse(call->query, (*ret_route)->parameters, &request->query, &param, &err);
    if (status == TN_OK && call->n_body && !(*ret_route)->body)
        status = tn_fail(&err, TN_E_ARGUMENT, "no body goes with %s %s", call->method, call->path);
    if (status == TN_OK)
        status = body_parse(call->body, call->n_body, &request->body, &err);
    if (status != TN_OK)
        *ret_answer = answer_failure(status, param, &err);
    return status == TN_OK;
}

/* A front end of an older core says nothing of who asks: nobody whose files are to be told from others'. */
static void take_caller(const tn_admin_call *call, request *request)
{
    bool said = TN_HAS(call, tn_admin_call, read_ctx);

    request->call = call;
    request->caller = said ? call->caller : NULL;
    request->sees_all = !request->caller || (call->caller_scopes & TN_SCOPE_ADMIN);
}

static void answer_call(tn_admin *admin, bool batch, const tn_admin_call *call, const tn_admin_sink *sink)
{
    request request = {.admin = admin, .sink = sink};
    const route *route;
    answer answer = {0};
    char *text;

    if (!admin || !call || !sink || sink->struct_size < sizeof *sink)
        return; /* nobody can be answered */
    take_caller(call, &request);
    bool ready = prepare(call, batch, &request, &route, &answer);
    const bool upload = TN_HAS(call, tn_admin_call, read_ctx) && call->read; /* told by its bytes, which are not kept */
    if (ready && call->idempotency_key && strcmp(call->method, "POST") == 0 && !upload) {
        answer_once(route, &request, call);
    } else {
        if (ready)
            answer = route->handle(&request);
        if (answer.code) {
            dump(&answer, &text);
            send_text(sink, answer.code, text);
            free(text);
        }
        answer_finish(&answer);
    }
    json_decref(request.body);
}

static void admin_call(tn_admin *admin, const tn_admin_call *call, const tn_admin_sink *sink)
{
    answer_call(admin, false, call, sink);
}

static void call_batch(tn_admin *admin, const tn_admin_call *call, const tn_admin_sink *sink)
{
    answer_call(admin, true, call, sink);
}

static uint64_t upload_bytes_max(tn_admin *admin)
{
    return job_files_limits(jobs_files(admin->jobs))->file_bytes + UPLOAD_FORM_BYTES_MAX;
}

const tn_admin_table admin_table = {.struct_size = sizeof admin_table,
                                    .call = admin_call,
                                    .call_batch = call_batch,
                                    .upload_bytes_max = upload_bytes_max};

/* ---- life ---- */

/* One that has failed is there: whoever asks it is told why. */
static job_service look_at(void *ctx, const char *service)
{
    static const char *const coming[] = {"PENDING", "PLANNING", "LOADING", "RESUMING", "SUSPENDING", "SUSPENDED"};
    const tn_admin *admin = ctx;
    json_t *shown = NULL;
    tn_error err = TN_ERROR_INIT;
    job_service is = JOB_SERVICE_THERE;

    if (services_show(admin->options.services, service, &shown, &err) != TN_OK)
        return JOB_SERVICE_NONE;
    const char *state = json_string_value(json_object_get(shown, "state"));
    for (size_t i = 0; state && i < sizeof coming / sizeof *coming; i++)
        if (strcmp(state, coming[i]) == 0)
            is = JOB_SERVICE_COMING;
    if (state && strcmp(state, "SUSPENDED") == 0)
        services_do(admin->options.services, service, SERVICE_RESUME, 0,
                    &err); /* what cannot be is seen in its state */
    json_decref(shown);
    return is;
}

/* The door by which batches come in, "unix:/PATH" or, where nobody has to show a token, "http://HOST:PORT". */
static bool find_door(const settings *settings, char address[PATH_MAX + 8])
{
    const char *list = settings_plugin_value(settings, "http_frontend", "listen"), *first = NULL;
    const bool tokens =
        settings_string(settings, "auth", "token_file") || settings_plugin_value(settings, "http_frontend", "api_key");

    for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',') {
        at += strspn(at, " ");
        first = first ? first : at;
        if (strncmp(at, "unix:", 5) == 0) {
            snprintf(address, PATH_MAX + 8, "%.*s", (int)strcspn(at, ", "), at);
            return !settings_plugin_value(settings, "http_frontend", "api_key");
        }
    }
    if (first)
        snprintf(address, PATH_MAX + 8, "http://%.*s", (int)strcspn(first, ", "), first);
    else
        snprintf(address, PATH_MAX + 8, "http://127.0.0.1:8000");
    return !tokens;
}

static tn_status open_jobs(tn_admin *admin, tn_error *err)
{
    const settings *settings = admin->options.settings;
    char address[PATH_MAX + 8];
    const bool door = find_door(settings, address);
    const jobs_options options = {
        .folder = admin->options.store,
        .program = programs_path(admin->programs),
        .server = door ? address : NULL,
        .running_max = (uint32_t)settings_integer(settings, "batch", "max_running"),
        .window = (uint32_t)settings_integer(settings, "batch", "window"),
        .files = {.file_bytes = (uint64_t)settings_integer(settings, "batch", "max_file_bytes"),
                  .total_bytes = (uint64_t)settings_integer(settings, "batch", "max_total_bytes"),
                  .expiry_s = settings_integer(settings, "batch", "expiry")},
        .tell = admin->options.tell,
        .look = look_at,
        .ctx = admin};

    return jobs_open(&options, &admin->jobs, err);
}

tn_status admin_open(const admin_options *options, tn_admin **ret_admin, tn_error *err)
{
    tn_admin *admin = calloc(1, sizeof *admin);

    if (!admin)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the admin API");
    admin->options = *options;
    tn_status status = registry_root(settings_string(options->settings, "registry", "path"), admin->registry_root, err);
    if (status == TN_OK)
        status = programs_create(options->program, &admin->programs, err);
    if (status == TN_OK)
        status = idempotency_create(&admin->keys, err);
    if (status == TN_OK)
        status = open_jobs(admin, err);
    if (status == TN_OK)
        status = operations_create(&admin->operations, err);
    if (status != TN_OK) {
        admin_close(admin);
        return status;
    }
    *ret_admin = admin;
    return TN_OK;
}

void admin_start(tn_admin *admin)
{
    jobs_start(admin->jobs);
}

void admin_sweep(tn_admin *admin)
{
    jobs_sweep(admin->jobs);
}

void admin_stop(tn_admin *admin)
{
    atomic_store(&admin->stopping, true);
    jobs_stop(admin->jobs);
    idempotency_stop(admin->keys);
    operations_stop(admin->operations);
    programs_stop(admin->programs);
}

void admin_close(tn_admin *admin)
{
    if (!admin)
        return;
    operations_destroy(admin->operations); /* before what their work uses */
    idempotency_destroy(admin->keys);
    programs_destroy(admin->programs);
    jobs_close(admin->jobs);
    free(admin);
}
