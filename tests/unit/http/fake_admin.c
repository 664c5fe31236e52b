/* fake_admin.c: see fake_admin.h. */
#include "fake_admin.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

enum { BIG_BYTES = 3 << 20, FLOOD_BYTES = 64 << 10 };

static void answer(const tn_admin_sink *sink, uint32_t code, const char *text)
{
    if (sink->head(sink->ctx, code, "application/json") == TN_OK)
        sink->write(sink->ctx, text, strlen(text));
}

static void echo(const tn_admin_call *call, const tn_admin_sink *sink)
{
    json_t *said =
        json_pack("{s:s, s:s, s:s?, s:s%, s:s?}", "method", call->method, "path", call->path, "query", call->query,
                  "body", call->body ? call->body : "", (size_t)call->n_body, "key", call->idempotency_key);
    char *text = json_dumps(said, JSON_COMPACT);
    answer(sink, 200, text);
    free(text);
    json_decref(said);
}

static void big(const tn_admin_sink *sink)
{
    char *text = malloc(BIG_BYTES + 1);
    memset(text, 'x', BIG_BYTES);
    text[0] = text[BIG_BYTES - 1] = '"';
    text[BIG_BYTES] = '\0';
    answer(sink, 200, text);
    free(text);
}

static void logs(fake_admin *admin, const tn_admin_sink *sink)
{
    sink->head(sink->ctx, 200, "text/plain; charset=utf-8");
    while (sink->write(sink->ctx, "line\n", 5) == TN_OK)
        usleep(10000);
    atomic_fetch_add(&admin->left, 1);
}

static void flood(fake_admin *admin, const tn_admin_sink *sink)
{
    static const char bytes[FLOOD_BYTES];
    sink->head(sink->ctx, 200, "text/plain; charset=utf-8");
    while (sink->write(sink->ctx, bytes, sizeof bytes) == TN_OK)
        atomic_fetch_add(&admin->flooded, sizeof bytes);
    atomic_fetch_add(&admin->left, 1);
}

static void call(tn_admin *opaque, const tn_admin_call *call, const tn_admin_sink *sink)
{
    fake_admin *admin = (fake_admin *)(void *)opaque;
    atomic_fetch_add(&admin->calls, 1);
    atomic_fetch_add(&admin->running, 1);
    if (strcmp(call->path, "/big") == 0)
        big(sink);
    else if (strcmp(call->path, "/logs") == 0)
        logs(admin, sink);
    else if (strcmp(call->path, "/flood") == 0)
        flood(admin, sink);
    else if (strcmp(call->path, "/missing") == 0)
        answer(sink, 404, "{\"error\":{\"message\":\"none\",\"type\":\"not_found\",\"param\":null}}");
    else if (strcmp(call->path, "/silent") != 0)
        echo(call, sink);
    atomic_fetch_sub(&admin->running, 1);
}

/* Reads an upload, once admin->held says that it may. */
static void call_batch(tn_admin *opaque, const tn_admin_call *call, const tn_admin_sink *sink)
{
    fake_admin *admin = (fake_admin *)(void *)opaque;
    char bytes[4096], text[256];
    uint64_t n = 1, total = 0;
    tn_status status = TN_OK;

    atomic_fetch_add(&admin->running, 1);
    while (call->read && n > 0 && status == TN_OK) {
        while (atomic_load(&admin->held))
            usleep(1000);
        status = call->read(call->read_ctx, bytes, sizeof bytes, &n);
        total += n;
    }
    if (status != TN_OK)
        atomic_fetch_add(&admin->left, 1);
    snprintf(text, sizeof text, "{\"bytes\":%llu,\"path\":\"%s\",\"caller\":\"%s\",\"scopes\":%u,\"type\":\"%s\"}",
             (unsigned long long)total, call->path, call->caller ? call->caller : "", call->caller_scopes,
             call->content_type ? call->content_type : "");
    answer(sink, 200, text);
    atomic_fetch_sub(&admin->running, 1);
}

static uint64_t upload_bytes_max(tn_admin *opaque)
{
    (void)opaque;
    return 8 << 20;
}

const tn_admin_table fake_admin_table = {.struct_size = sizeof fake_admin_table,
                                         .call = call,
                                         .call_batch = call_batch,
                                         .upload_bytes_max = upload_bytes_max};
const tn_admin_table fake_old_admin_table = {.struct_size = offsetof(tn_admin_table, call_batch), .call = call};

/* ---- tn.auth ---- */

static uint32_t enabled(const tn_host *host)
{
    (void)host;
    return 1;
}

static uint32_t needed(const tn_host *host, const char *method, const char *path)
{
    (void)host, (void)method;
    if (strcmp(path, "/health") == 0)
        return 0;
    return strncmp(path, "/admin/v1", 9) == 0 ? TN_SCOPE_ADMIN : TN_SCOPE_INFER;
}

static tn_status identify(const tn_host *host, const char *token, uint64_t n, tn_identity *ret_identity, tn_error *err)
{
    static const struct {
        const char *token;
        uint32_t scopes;
    } all[] = {{"infer", TN_SCOPE_INFER},
               {"batch", TN_SCOPE_BATCH},
               {"admin", TN_SCOPE_ADMIN},
               {"both", TN_SCOPE_INFER | TN_SCOPE_ADMIN}};
    (void)host;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strlen(all[i].token) != n || memcmp(all[i].token, token, n) != 0)
            continue;
        ret_identity->scopes = all[i].scopes;
        snprintf(ret_identity->name, sizeof ret_identity->name, "%s", all[i].token);
        return TN_OK;
    }
    if (n == 6 && memcmp(token, "broken", 6) == 0)
        return tn_fail(err, TN_E_IO, "the token file cannot be read: secret path");
    return tn_fail(err, TN_E_NOT_FOUND, "no such token");
}

const tn_auth_table fake_auth_table = {
    .struct_size = sizeof fake_auth_table, .enabled = enabled, .needed = needed, .identify = identify};
