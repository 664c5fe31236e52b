/* fuzz_admin_call.c: the input is a call of tn.admin: "METHOD PATH?QUERY", a newline, the body; over services that are
 * not there, without a registry and without a program to run. Each has one answer, and what is no content is JSON or a
 * log.
 */
#include "admin/admin.h"

#include "../unit/fake_services.h"
#include "file/directory.h"

#include <string.h>

enum { WRITES_MAX = 8, ANSWER_BYTES = 1 << 17 };

typedef struct reply {
    uint32_t code, heads, writes;
    bool json;
    size_t bytes;
    char text[ANSWER_BYTES];
} reply;

static tn_status take_head(void *ctx, uint32_t code, const char *type)
{
    reply *r = ctx;
    r->heads++;
    r->code = code;
    r->json = strcmp(type, "application/json") == 0;
    return TN_OK;
}

/* A log has an end, since its reader leaves. */
static tn_status take_bytes(void *ctx, const void *bytes, uint64_t n)
{
    reply *r = ctx;
    TN_ASSERT(r->heads == 1 && n <= ANSWER_BYTES - r->bytes);
    memcpy(r->text + r->bytes, bytes, n);
    r->bytes += n;
    return ++r->writes < WRITES_MAX ? TN_OK : TN_E_CANCELLED;
}

static void check(const reply *r)
{
    json_error_t error;

    TN_ASSERT(r->heads == 1 && r->code >= 200 && r->code < 600);
    if (!r->json || r->code == 204)
        return;
    json_t *root = json_loadb(r->text, r->bytes, 0, &error);
    TN_ASSERT(root);
    if (r->code >= 400)
        TN_ASSERT(json_string_length(json_object_get(json_object_get(root, "error"), "message")) > 0);
    json_decref(root);
}

/* The words of the first line, which is terminated; NULL where there is none. */
static void call(services *fake, tn_admin *admin, char *line, const char *body, size_t n)
{
    static reply r;
    char *path = strchr(line, ' '), *query;
    const tn_admin_sink sink = {.struct_size = sizeof sink, .ctx = &r, .head = take_head, .write = take_bytes};

    if (!path)
        return;
    *path++ = '\0';
    query = strchr(path, '?');
    if (query)
        *query++ = '\0';
    r = (reply){0};
    fake->log_lines = 3;
    const tn_admin_call asked = {
        .struct_size = sizeof asked, .method = line, .path = path, .query = query, .body = body, .n_body = n};
    admin_table.call(admin, &asked, &sink);
    check(&r);
}

static char store[32];

static void remove_store(void)
{
    directory_remove(store, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static settings *settings;
    static const char *sets[] = {"registry.path=/nonexistent/registry", NULL};
    const uint8_t *newline = memchr(bytes, '\n', n);
    size_t head = newline ? (size_t)(newline - bytes) : n;
    services fake = {.count = 1, .at = {{.name = "chat"}}};
    tn_admin *admin;

    TN_ASSERT(settings || settings_read(NULL, sets, &settings, NULL) == TN_OK);
    if (!store[0])
        TN_ASSERT(mkdtemp(strcpy(store, "/tmp/tenon-fuzz-XXXXXX")) && atexit(remove_store) == 0);
    const admin_options options = {
        .settings = settings, .program = "/nonexistent/program", .services = &fake, .store = store};
    TN_ASSERT(admin_open(&options, &admin, NULL) == TN_OK);
    char *line = malloc(head + 1);
    TN_ASSERT(line);
    memcpy(line, bytes, head);
    line[head] = '\0';
    call(&fake, admin, line, newline ? (const char *)newline + 1 : NULL, newline ? n - head - 1 : 0);
    free(line);
    admin_close(admin);
    return 0;
}
