/* test_admin.c: every route of tn.admin, over services that are not there (fake_services.h), a registry in a folder of
 * the test's, and programs that are shell scripts.
 */
#include "admin/admin.h"
#include "admin/answer.h"
#include "admin/idempotency.h"

#include "cmocka_test.h"
#include "fake_services.h"
#include "file/directory.h"
#include "registry/registry.h"
#include "scratch_directory.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

/* ---- a daemon of one test ---- */

static services fake;
static scratch_directory folder;
static char root[128], program[128], note[128];
static settings *held;
static tn_admin *admin;

static void write_program(const char *script)
{
    char text[2048];
    /* What it was called with, one word a line. */
    int bytes =
        snprintf(text, sizeof text, "#!/bin/sh\nfor word in \"$@\"; do echo \"$word\"; done > %s\n%s\n", note, script);
    scratch_write(&folder, "program", text, (size_t)bytes);
    assert_int_equal(chmod(program, 0755), 0);
}

static bool was_called_with(const char *line)
{
    char text[4096] = "\n", wanted[1024];
    FILE *file = fopen(note, "r");
    assert_non_null(file);
    fread(text + 1, 1, sizeof text - 2, file);
    fclose(file);
    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    return strstr(text, wanted) != NULL;
}

static void open_admin(const char *set)
{
    static char path[160];
    const char *sets[] = {path, set, NULL};

    snprintf(path, sizeof path, "registry.path=%s", root);
    assert_int_equal(settings_read(NULL, sets, &held, NULL), TN_OK);
    const admin_options options = {
        .settings = held, .ini = "/etc/x.ini", .program = program, .services = &fake, .store = folder.path};
    assert_int_equal(admin_open(&options, &admin, NULL), TN_OK);
}

static int set_up(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    folder = scratch_create();
    snprintf(root, sizeof root, "%s/registry", folder.path);
    snprintf(program, sizeof program, "%s/program", folder.path);
    snprintf(note, sizeof note, "%s/note", folder.path);
    open_admin(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    admin_close(admin);
    settings_destroy(held);
    directory_remove(root, NULL);
    scratch_destroy(&folder);
    return 0;
}

/* ---- calls ---- */

typedef struct reply {
    uint32_t code, heads, writes_left;
    char type[64], text[16384];
    size_t bytes;
    json_t *json; /* NULL: none */
} reply;

static tn_status take_head(void *ctx, uint32_t code, const char *type)
{
    reply *r = ctx;
    r->code = code;
    snprintf(r->type, sizeof r->type, "%s", type);
    __atomic_fetch_add(&r->heads, 1, __ATOMIC_RELEASE); /* seen by a test that waits for the first answer */
    return TN_OK;
}

static tn_status take_bytes(void *ctx, const void *bytes, uint64_t n)
{
    reply *r = ctx;
    assert_int_equal(r->heads, 1);
    assert_true(r->bytes + n < sizeof r->text);
    memcpy(r->text + r->bytes, bytes, n);
    r->bytes += n;
    if (r->writes_left == 0)
        return TN_OK;
    return --r->writes_left ? TN_OK : TN_E_CANCELLED;
}

static void call_as(reply *r, const char *caller, const char *method, const char *path, const char *query,
                    const char *body, const char *key)
{
    const tn_admin_sink sink = {.struct_size = sizeof sink, .ctx = r, .head = take_head, .write = take_bytes};
    const tn_admin_call call = {.struct_size = sizeof call,
                                .method = method,
                                .path = path,
                                .query = query,
                                .body = body,
                                .n_body = body ? strlen(body) : 0,
                                .idempotency_key = key,
                                .caller = caller};
    admin_table.call(admin, &call, &sink);
    assert_int_equal(r->heads, 1);
    r->json = strcmp(r->type, "application/json") == 0 && r->bytes ? json_loadb(r->text, r->bytes, 0, NULL) : NULL;
}

static void call_into(reply *r, const char *method, const char *path, const char *query, const char *body,
                      const char *key)
{
    call_as(r, NULL, method, path, query, body, key);
}

/* The answer's code; r: NULL where only that counts. */
static uint32_t call(const char *method, const char *path, const char *query, const char *body, reply *ret_reply)
{
    static reply own;
    reply *r = ret_reply ? ret_reply : &own;

    memset(r, 0, sizeof *r);
    call_into(r, method, path, query, body, NULL);
    if (!ret_reply)
        json_decref(r->json);
    return r->code;
}

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text ? text : "";
}

/* A refusal: code, param ("-": null) and a part of the message. */
static void refused(const char *method, const char *path, const char *query, const char *body, uint32_t code,
                    const char *param, const char *words)
{
    static reply r;

    call(method, path, query, body, &r);
    const json_t *error = json_object_get(r.json, "error");
    const json_t *named = json_object_get(error, "param");
    if (r.code != code || !strstr(text_of(error, "message"), words) || !*text_of(error, "type") ||
        strcmp(json_is_null(named)        ? "-"
               : json_string_value(named) ? json_string_value(named)
                                          : "?",
               param) != 0)
        fail_msg("%s %s %s: %u, not %u %s %s: %s", method, path, body ? body : "", r.code, code, param, words, r.text);
    json_decref(r.json);
}

#define CHAT  "{\"name\": \"chat\", \"model\": \"m\", \"pool\": \"a\"}"
#define OTHER "{\"name\": \"other\", \"model\": \"m\", \"pool\": \"a\"}"

/* ---- services ---- */

static void test_services_are_created_shown_and_listed(void **state)
{
    (void)state;
    reply r;

    assert_int_equal(call("GET", "/services", NULL, NULL, &r), 200);
    assert_int_equal(json_array_size(json_object_get(r.json, "services")), 0);
    json_decref(r.json);
    assert_int_equal(call("POST", "/services", NULL, CHAT, &r), 201);
    assert_string_equal(text_of(r.json, "state"), "LOADING");
    json_decref(r.json);
    assert_int_equal(fake.at[0].max, 1);
    assert_int_equal(fake.at[0].autosuspend, 1800);
    assert_int_equal(fake.waits, 0);
    assert_int_equal(call("GET", "/services/chat", NULL, NULL, &r), 200);
    assert_string_equal(text_of(r.json, "model"), "m");
    json_decref(r.json);
    assert_int_equal(call("GET", "/services/", NULL, NULL, &r), 200);
    assert_int_equal(json_array_size(json_object_get(r.json, "services")), 1);
    json_decref(r.json);
    assert_int_equal(call("GET", "/pools", NULL, NULL, NULL), 200);
    refused("GET", "/services/talk", NULL, NULL, 404, "-", "no service talk");
    refused("POST", "/services", NULL, CHAT, 409, "name", "already");
    assert_int_equal(call("POST", "/services", NULL,
                          "{\"name\": \"chat\", \"model\": \"n\", \"pool\": \"a\", \"replace\": true}", NULL),
                     201);
    assert_string_equal(fake.at[0].model, "n");
}

static void test_settings_are_spelt_as_flags(void **state)
{
    (void)state;
    assert_int_equal(call("POST", "/services", NULL,
                          "{\"name\": \"c\", \"model\": \"m\", \"pool\": \"a\", \"gpus\": 2, \"min\": 1, \"max\": 3,"
                          "\"autosuspend\": 0, \"settings\": {\"max_model_len\": 8192, \"gpu_memory_utilization\": 0.9,"
                          "\"enable_prefix_caching\": false, \"model.dtype\": \"bfloat16\"}}",
                          NULL),
                     201);
    assert_string_equal(fake.at[0].settings, "max_model_len=8192 gpu_memory_utilization=0.9 "
                                             "enable_prefix_caching=false model.dtype=bfloat16 ");
    assert_int_equal(fake.at[0].gpus, 2);
    assert_int_equal(fake.at[0].min, 1);
    assert_int_equal(fake.at[0].max, 3);
    assert_int_equal(fake.at[0].autosuspend, 0);
    assert_int_equal(
        call("PATCH", "/services/c", NULL, "{\"settings\": {\"max_model_len\": \"4k\"}, \"max\": 2}", NULL), 200);
    assert_string_equal(fake.at[0].settings, "max_model_len=4k ");
    assert_int_equal(fake.at[0].max, 2);
    assert_int_equal(fake.at[0].gpus, 2);
    assert_string_equal(fake.at[0].model, "m");
}

static void test_misfits_come_with_the_plan(void **state)
{
    (void)state;
    reply r;

    fake.misfit = true;
    refused("POST", "/services", NULL, CHAT, 422, "-", "200 bytes are needed");
    fake.misfit = true;
    assert_int_equal(call("POST", "/services", NULL, CHAT, &r), 422);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(r.json, "plan"), "needed_bytes")), 200);
    json_decref(r.json);
    assert_int_equal(fake.count, 0);
    assert_int_equal(
        call("POST", "/services", NULL, "{\"name\": \"c\", \"model\": \"m\", \"pool\": \"a\", \"dry_run\": true}", &r),
        200);
    assert_true(json_is_true(json_object_get(r.json, "fits")));
    json_decref(r.json);
    assert_int_equal(fake.count, 0);
    assert_int_equal(call("POST", "/services", NULL, CHAT, NULL), 201);
    fake.misfit = true;
    assert_int_equal(call("PATCH", "/services/chat", NULL, "{\"gpus\": 4}", NULL), 422);
}

static void test_waiting_tells_what_has_become(void **state)
{
    (void)state;
    reply r;

    assert_int_equal(call("POST", "/services", "wait=30", CHAT, &r), 201);
    assert_string_equal(text_of(r.json, "state"), "READY");
    json_decref(r.json);
    fake.reached = SERVICE_FAILED;
    assert_int_equal(call("POST", "/services/chat:resume", "wait=30", NULL, &r), 200);
    assert_string_equal(text_of(r.json, "state"), "FAILED");
    json_decref(r.json);
    fake.never = true;
    fake.at[0].state = SERVICE_LOADING;
    fake.waits = 0;
    assert_int_equal(call("GET", "/services/chat", "wait=1.2&state=READY", NULL, &r), 202);
    assert_string_equal(text_of(r.json, "state"), "LOADING");
    json_decref(r.json);
    assert_int_equal(fake.waits, 2);
    refused("GET", "/services/chat", "wait=1&state=WELL", NULL, 400, "state", "no state 'WELL'");
    refused("GET", "/services/chat", "wait=-1", NULL, 400, "wait", "0 to 3600");
    refused("GET", "/services/chat", "wait=1e9", NULL, 400, "wait", "0 to 3600");
    refused("GET", "/services/chat", "wate=1", NULL, 400, "wate", "did you mean 'wait'");
}

static void test_verbs(void **state)
{
    (void)state;
    reply r;

    call("POST", "/services", NULL, CHAT, NULL);
    assert_int_equal(call("POST", "/services/chat:suspend", "drain=7", "{}", &r), 200);
    assert_string_equal(text_of(r.json, "state"), "SUSPENDING");
    json_decref(r.json);
    assert_int_equal(fake.at[0].drain_s, 7);
    assert_int_equal(call("POST", "/services/chat:suspend", "wait=1", NULL, &r), 200);
    assert_string_equal(text_of(r.json, "state"), "SUSPENDED");
    json_decref(r.json);
    assert_int_equal(fake.at[0].drain_s, 30);
    assert_int_equal(call("POST", "/services/chat:resume", NULL, NULL, NULL), 200);
    assert_int_equal(call("POST", "/services/chat:scale", NULL, "{\"max\": 4}", NULL), 200);
    assert_int_equal(fake.at[0].max, 4);
    assert_int_equal(fake.at[0].min, 0);
    refused("POST", "/services/chat:scale", NULL, NULL, 400, "min", "give min, max or both");
    refused("POST", "/services/chat:suspend", NULL, "{\"now\": true}", 400, "now", "no field 'now'");
    refused("POST", "/services/talk:resume", NULL, NULL, 404, "-", "no service talk");
    refused("POST", "/services/chat:explode", NULL, NULL, 405, "-", "takes GET, PATCH, DELETE, not POST");
    assert_int_equal(call("DELETE", "/services/chat", NULL, NULL, &r), 200);
    assert_string_equal(text_of(r.json, "state"), "DELETING");
    json_decref(r.json);
    assert_int_equal(call("DELETE", "/services/chat", "wait=5", NULL, &r), 204);
    assert_int_equal(r.bytes, 0);
    refused("DELETE", "/services/chat", NULL, NULL, 404, "-", "no service");
}

static void test_logs_are_sent_as_they_come(void **state)
{
    (void)state;
    reply r;

    call("POST", "/services", NULL, CHAT, NULL);
    fake.log_lines = 2;
    assert_int_equal(call("GET", "/services/chat/logs", "since=1000000000.5&instance=x1", NULL, &r), 200);
    assert_string_equal(r.type, "text/plain; charset=utf-8");
    assert_string_equal(r.text, "2001-09-09T01:46:40.500Z x1 line 0\n2001-09-09T01:46:40.501Z x1 line 1\n");
    fake.log_lines = 0;
    assert_int_equal(call("GET", "/services/chat/logs", NULL, NULL, &r), 200);
    assert_int_equal(r.bytes, 0);
    memset(&r, 0, sizeof r);
    r.writes_left = 5; /* then the reader has left */
    call_into(&r, "GET", "/services/chat/logs", "follow=1", NULL, NULL);
    assert_int_equal(fake.ticks, 5);
    refused("GET", "/services/talk/logs", "follow=1", NULL, 404, "-", "no service");
    refused("GET", "/services/chat/logs", "since=yesterday", NULL, 400, "since", "number");
    refused("GET", "/services/chat/logs", "follow=maybe", NULL, 400, "follow", "1 or 0");
    refused("GET", "/services/chat/logs", "follow=1&follow=1", NULL, 400, "follow", "twice");
    refused("GET", "/services/chat/logs", "instance=%0", NULL, 400, "instance", "percent");
}

static void test_bad_bodies_name_the_field(void **state)
{
    (void)state;
    static char deep[64];

    refused("POST", "/services", NULL, NULL, 400, "model", "missing");
    refused("POST", "/services", NULL, "{", 400, "-", "not JSON");
    refused("POST", "/services", NULL, "[]", 400, "-", "object");
    refused("POST", "/services", NULL, "{\"name\": \"a\", \"name\": \"b\"}", 400, "-", "duplicate");
    refused("POST", "/services", NULL, "{\"nmae\": \"a\"}", 400, "nmae", "did you mean 'name'");
    refused("POST", "/services", NULL, "{\"name\": 3}", 400, "name", "text");
    refused("POST", "/services", NULL, "{\"name\": \"\"}", 400, "name", "text");
    refused("POST", "/services", NULL, "{\"gpus\": -1}", 400, "gpus", "integer");
    refused("POST", "/services", NULL, "{\"gpus\": 4294967295}", 400, "gpus", "integer");
    refused("POST", "/services", NULL, "{\"gpus\": 1.5}", 400, "gpus", "integer");
    refused("POST", "/services", NULL, "{\"replace\": 1}", 400, "replace", "true or false");
    refused("POST", "/services", NULL, "{\"settings\": {\"a\": []}}", 400, "settings", "object of");
    refused("POST", "/services", NULL, "{\"name\": \"a\", \"model\": null, \"pool\": \"a\"}", 400, "model", "missing");
    refused("POST", "/services", NULL, "{\"name\": \"a\", \"model\": \"m\", \"pool\": \"nowhere\"}", 400, "pool",
            "no pool \"nowhere\"");
    refused("POST", "/services", NULL, "{\"name\": \"a\", \"model\": \"m\", \"pool\": \"a\", \"min\": 2}", 400, "min",
            "more than");
    refused("PATCH", "/services/a", NULL, "{\"name\": \"b\"}", 400, "name", "no field");
    refused("GET", "/services", NULL, "{}", 400, "-", "no body");
    memset(deep, '[', sizeof deep - 1);
    refused("POST", "/services", NULL, deep, 400, "-", "nested");
    assert_int_equal(fake.creates, 2);
}

static void test_many_settings_are_refused(void **state)
{
    (void)state;
    static char body[8192];
    size_t used =
        (size_t)snprintf(body, sizeof body, "{\"name\": \"c\", \"model\": \"m\", \"pool\": \"a\", \"settings\": {");
    for (int i = 0; i <= SERVICE_SETS_MAX; i++)
        used += (size_t)snprintf(body + used, sizeof body - used, "%s\"k%d\": 1", i ? "," : "", i);
    snprintf(body + used, sizeof body - used, "}}");
    refused("POST", "/services", NULL, body, 400, "settings", "more than 64");
}

static void test_paths_and_methods(void **state)
{
    (void)state;
    refused("GET", "/", NULL, NULL, 404, "-", "there is no");
    refused("GET", "", NULL, NULL, 404, "-", "there is no");
    refused("GET", "/servicesx", NULL, NULL, 404, "-", "there is no");
    refused("GET", "/services/a/b", NULL, NULL, 404, "-", "there is no");
    refused("GET", "/services//logs", NULL, NULL, 404, "-", "there is no");
    refused("PUT", "/services", NULL, NULL, 405, "-", "takes GET, POST, not PUT");
    refused("GET", "/plan", NULL, NULL, 405, "-", "takes POST");
    refused("GET", "/works", NULL, NULL, 404, "-", "there is no");
}

static void test_words_are_told_whatever_they_quote(void **state)
{
    (void)state;
    answer answer = answer_error(400, "x\xFF", "%.2s and %s", "\xC3\xA9\xC3\xA9", "\xE2\x82");
    const json_t *error = json_object_get(answer.json, "error");
    assert_string_equal(json_string_value(json_object_get(error, "message")), "\xC3\xA9 and ??");
    assert_true(json_is_null(json_object_get(error, "param")));
    answer_finish(&answer);
    answer = answer_error(400, NULL, "%.3s", "\xC3\xA9\xC3\xA9");
    error = json_object_get(answer.json, "error");
    assert_string_equal(json_string_value(json_object_get(error, "message")), "\xC3\xA9?");
    answer_finish(&answer);
}

static void test_a_full_disk_is_told(void **state)
{
    static const int full[] = {ENOSPC, EDQUOT, EIO};
    (void)state;

    for (size_t i = 0; i < sizeof full / sizeof *full; i++) {
        tn_error err = TN_ERROR_INIT;
        err.native_code = full[i];
        answer answer = answer_failure(tn_fail(&err, TN_E_IO, "a file"), NULL, &err);
        assert_int_equal(answer.code, full[i] == EIO ? 500 : 507);
        answer_finish(&answer);
    }
}

/* ---- idempotency ---- */

static void test_key_gets_the_same_answer(void **state)
{
    (void)state;
    reply first = {0}, second = {0}, third = {0};

    call_into(&first, "POST", "/services", NULL, CHAT, "k1");
    call_into(&second, "POST", "/services", NULL, CHAT, "k1");
    assert_int_equal(first.code, 201);
    assert_int_equal(second.code, 201);
    assert_string_equal(first.text, second.text);
    assert_int_equal(fake.creates, 1);
    call_into(&third, "POST", "/services", NULL, OTHER, "k1");
    assert_int_equal(third.code, 422);
    assert_string_equal(text_of(json_object_get(third.json, "error"), "param"), "Idempotency-Key");
    assert_int_equal(fake.creates, 1);
    json_decref(first.json);
    json_decref(second.json);
    json_decref(third.json);
    memset(&first, 0, sizeof first);
    call_into(&first, "POST", "/services", NULL, CHAT, "not a key");
    assert_int_equal(first.code, 422);
    json_decref(first.json);
}

static void test_key_is_its_callers_own(void **state)
{
    (void)state;
    static const char *const callers[] = {"ann", NULL, "ann"};
    reply r;

    for (int i = 0; i < 3; i++) {
        memset(&r, 0, sizeof r);
        call_as(&r, callers[i], "POST", "/services", NULL, callers[i] ? CHAT : OTHER, "shared");
        assert_int_equal(r.code, 201);
        assert_string_equal(text_of(r.json, "name"), callers[i] ? "chat" : "other");
        json_decref(r.json);
    }
    assert_int_equal(fake.creates, 2);
}

static void test_keys_are_forgotten_in_time(void **state)
{
    (void)state;
    idempotency *table;
    kept_answer kept;
    char key[16];
    const digest one = digest_of_bytes("1", 1), two = digest_of_bytes("2", 1);

    assert_int_equal(idempotency_create(&table, NULL), TN_OK);
    assert_int_equal(idempotency_begin(table, "ann", "a", &one, 100, &kept, NULL), TN_OK);
    assert_int_equal(kept.code, 0);
    idempotency_end(table, "ann", "a", 200, "text");
    assert_int_equal(idempotency_begin(table, "ann", "a", &one, 100 + IDEMPOTENCY_SECONDS - 1, &kept, NULL), TN_OK);
    assert_int_equal(kept.code, 200);
    assert_string_equal(kept.text, "text");
    free(kept.text);
    assert_int_equal(idempotency_begin(table, "ann", "a", &two, 100, &kept, NULL), TN_E_ARGUMENT);
    assert_int_equal(idempotency_begin(table, "ann", "a", &two, 100 + IDEMPOTENCY_SECONDS, &kept, NULL), TN_OK);
    assert_int_equal(kept.code, 0);
    idempotency_end(table, "ann", "a", 503, "gone"); /* not kept */
    assert_int_equal(idempotency_begin(table, "ann", "a", &one, 5000, &kept, NULL), TN_OK);
    assert_int_equal(kept.code, 0);
    idempotency_end(table, "ann", "a", 204, NULL);
    for (int i = 0; i < IDEMPOTENCY_KEYS_MAX; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(idempotency_begin(table, "ann", key, &one, 5001, &kept, NULL), TN_OK);
    }
    assert_int_equal(idempotency_begin(table, "ann", "more", &one, 5001, &kept, NULL), TN_E_AGAIN);
    idempotency_end(table, "ann", "k7", 200, "x");
    assert_int_equal(idempotency_begin(table, "ann", "more", &one, 5001, &kept, NULL), TN_OK);
    assert_int_equal(idempotency_begin(table, "ann", "k7", &one, 5001, &kept, NULL), TN_E_AGAIN);
    idempotency_destroy(table);
}

static void *ask_again(void *ctx)
{
    reply *r = ctx;
    call_into(r, "POST", "/services", NULL, CHAT, "slow");
    return NULL;
}

static void test_second_asker_waits_for_the_first(void **state)
{
    (void)state;
    enum { ASKERS = 4 };
    static reply replies[ASKERS];
    pthread_t threads[ASKERS];

    memset(replies, 0, sizeof replies);
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_again, &replies[i]), 0);
    for (int i = 0; i < ASKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(replies[i].code, 201);
        json_decref(replies[i].json);
    }
    assert_int_equal(fake.creates, 1);
}

/* ---- models ---- */

static void log_model(const char *version)
{
    registry *registry;
    registered added;
    const registration registration = {.model = "tiny", .version = version};
    const file_choice all = {0};

    assert_int_equal(registry_open(root, true, &registry, NULL), TN_OK);
    assert_int_equal(
        registry_log(registry, GOLDEN_DIR "/tiny_mixed.gguf", NULL, &all, &registration, NULL, &added, NULL), TN_OK);
    registry_close(registry);
}

static void test_models_are_listed_and_changed(void **state)
{
    (void)state;
    reply r;

    assert_int_equal(call("GET", "/models", NULL, NULL, &r), 200);
    assert_int_equal(json_array_size(json_object_get(r.json, "models")), 0);
    json_decref(r.json);
    refused("GET", "/models/tiny", NULL, NULL, 404, "-", "registry");
    log_model("v1");
    log_model("v2");
    assert_int_equal(call("GET", "/models/tiny", NULL, NULL, &r), 200);
    assert_int_equal(json_array_size(json_object_get(r.json, "versions")), 2);
    json_decref(r.json);
    assert_int_equal(call("GET", "/models/tiny/versions/v1", NULL, NULL, &r), 200);
    assert_true(json_is_object(json_object_get(r.json, "manifest")));
    json_decref(r.json);
    assert_int_equal(call("PUT", "/models/tiny/aliases/prod", NULL, "{\"version\": \"v1\"}", &r), 200);
    assert_string_equal(json_string_value(json_array_get(json_object_get(r.json, "aliases"), 0)), "prod");
    json_decref(r.json);
    assert_int_equal(call("PUT", "/models/tiny/default", NULL, "{\"version\": \"v1\"}", NULL), 200);
    assert_int_equal(call("GET", "/models/tiny", NULL, NULL, &r), 200);
    assert_string_equal(text_of(r.json, "default"), "v1");
    json_decref(r.json);
    assert_int_equal(call("DELETE", "/models/tiny/aliases/prod", NULL, NULL, NULL), 204);
    refused("DELETE", "/models/tiny/aliases/prod", NULL, NULL, 404, "-", "prod");
    refused("PUT", "/models/tiny/aliases/prod", NULL, "{\"version\": \"v9\"}", 404, "-", "v9");
    refused("PUT", "/models/tiny/aliases/prod", NULL, NULL, 400, "version", "missing");
    refused("GET", "/models/none", NULL, NULL, 404, "-", "none");
    refused("GET", "/models/a:b/versions/v1", NULL, NULL, 400, "-", "model name");
    assert_int_equal(call("DELETE", "/models/tiny/versions/v2", NULL, NULL, NULL), 204);
    refused("DELETE", "/models/tiny/versions/v2", NULL, NULL, 404, "-", "v2");
}

static void test_used_versions_stay(void **state)
{
    (void)state;
    registry *registry;
    registered found;

    log_model("v1");
    assert_int_equal(registry_open(root, false, &registry, NULL), TN_OK);
    assert_int_equal(registry_find(registry, "tiny@v1", &found, NULL), TN_OK);
    assert_int_equal(registry_lease(registry, "service chat", &found.digest, NULL), TN_OK);
    registry_close(registry);
    refused("DELETE", "/models/tiny/versions/v1", NULL, NULL, 409, "-", "in use by service chat");
}

static void test_adding_runs_a_program(void **state)
{
    (void)state;
    reply r;
    char body[512];

    log_model("v1"); /* what the script below says that it has added */
    write_program("echo '{\"version\": \"v1\"}'");
    snprintf(body, sizeof body,
             "{\"name\": \"tiny\", \"path\": \"%s\", \"alias\": \"prod\", \"tags\": {\"team\": \"a b\"}, \"metrics\": "
             "{\"acc\": 0.5}, \"include\": [\"*.gguf\"], \"comment\": \"--json\"}",
             folder.path);
    assert_int_equal(call("POST", "/models", NULL, body, &r), 201);
    assert_string_equal(text_of(r.json, "version"), "v1");
    json_decref(r.json);
    assert_true(was_called_with("--tag=team=a b"));
    assert_true(was_called_with("--metric=acc=0.5"));
    assert_true(was_called_with("--include=*.gguf"));
    assert_true(was_called_with("--alias=prod"));
    assert_true(was_called_with("--comment=--json"));
    assert_true(was_called_with("--config=/etc/x.ini"));
    snprintf(body, sizeof body, "--\ntiny\n%s", folder.path);
    assert_true(was_called_with(body));
    write_program("echo 'loading 3 %' >&2; echo 'tenon: no model in there' >&2; exit 1");
    refused("POST", "/models", NULL, "{\"name\": \"tiny\", \"path\": \"/tmp\"}", 422, "path", "no model in there");
    refused("POST", "/models", NULL, "{\"name\": \"tiny\", \"path\": \"/tmp\", \"version\": \"v1\"}", 409, "version",
            "tiny@v1");
    refused("POST", "/models", NULL, "{\"name\": \"tiny\", \"path\": \"tmp\"}", 400, "path", "absolute");
    refused("POST", "/models", NULL, "{\"name\": \"tiny\", \"path\": \"/no/such\"}", 400, "path", "No such file");
    refused("POST", "/models", NULL, "{\"name\": \"ti/ny\", \"path\": \"/tmp\"}", 400, "name", "name: it");
    refused("POST", "/models", NULL, "{\"name\": \"tiny\"}", 400, "path", "give either");
    refused("POST", "/models", NULL, "{\"name\": \"tiny\", \"pull\": \"a/b\"}", 403, "pull", "allow_pull");
}

/* Asked again until it says so. */
static void expect_operation(const char *path, const char *query, const char *state, double progress)
{
    reply r;
    const char *seen = "";
    double share = -1;

    for (int i = 0; i < 3000 && (strcmp(seen, state) != 0 || share != progress); i++) {
        assert_int_equal(call("GET", path, query, NULL, &r), 200);
        seen = strcmp(text_of(r.json, "state"), state) == 0 ? state : "";
        share = json_number_value(json_object_get(r.json, "progress"));
        json_decref(r.json);
        usleep(10000);
    }
    assert_string_equal(seen, state);
    assert_true(share == progress);
}

static void test_adding_goes_on_without_who_asked(void **state)
{
    (void)state;
    reply r;
    char script[300], path[80];

    log_model("v1");
    snprintf(
        script, sizeof script,
        "echo 'logging: 42 %% of 3.1 GiB' >&2; while [ ! -e %s/go ]; do sleep 0.01; done; echo '{\"version\": \"v1\"}'",
        folder.path);
    write_program(script);
    refused("POST", "/models", "wait=0", "{\"name\": \"tiny\", \"path\": \"tmp\"}", 400, "path", "absolute");
    refused("POST", "/models", "wait=x", "{\"name\": \"tiny\", \"path\": \"/tmp\"}", 400, "wait", "a number");
    assert_int_equal(call("POST", "/models", "wait=0", "{\"name\": \"tiny\", \"path\": \"/tmp\"}", &r), 202);
    snprintf(path, sizeof path, "/operations/%s", text_of(r.json, "id"));
    assert_string_equal(text_of(r.json, "state"), "running");
    assert_string_equal(text_of(r.json, "kind"), "POST /models");
    json_decref(r.json);
    expect_operation(path, NULL, "running", 0.42);
    assert_int_equal(call("POST", "/models", "wait=0.01", "{\"name\": \"tiny\", \"path\": \"/tmp\"}", NULL), 202);
    scratch_write(&folder, "go", "", 0);
    expect_operation(path, "wait=60", "done", 1);
    assert_int_equal(call("GET", path, NULL, NULL, &r), 200);
    assert_int_equal(json_integer_value(json_object_get(r.json, "code")), 201);
    assert_string_equal(text_of(json_object_get(r.json, "result"), "version"), "v1");
    assert_true(json_is_null(json_object_get(r.json, "error")));
    json_decref(r.json);
    assert_int_equal(call("POST", "/models", "wait=60", "{\"name\": \"tiny\", \"path\": \"/tmp\"}", &r), 201);
    assert_string_equal(text_of(r.json, "version"), "v1");
    json_decref(r.json);
    assert_int_equal(call("GET", "/operations", NULL, NULL, &r), 200);
    assert_int_equal(json_array_size(json_object_get(r.json, "operations")), 3);
    json_decref(r.json);
    write_program("echo 'tenon: no model in there' >&2; exit 1");
    refused("POST", "/models", "wait=60", "{\"name\": \"tiny\", \"path\": \"/tmp\"}", 422, "path", "no model in there");
    refused("GET", "/operations/0123", NULL, NULL, 404, "-", "there is no operation 0123");
}

static void test_operations_are_bounded_and_end(void **state)
{
    (void)state;
    static const char body[] = "{\"name\": \"tiny\", \"path\": \"/tmp\"}";

    write_program("exec sleep 60");
    for (int i = 0; i < 4; i++)
        assert_int_equal(call("POST", "/models", "wait=0", body, NULL), 202);
    refused("POST", "/models", "wait=0", body, 429, "-", "4 operations run already");
    admin_stop(admin); /* tear_down waits for them */
}

static void test_pull_only_where_it_is_allowed(void **state)
{
    (void)state;

    tear_down(NULL);
    set_up(NULL);
    admin_close(admin);
    settings_destroy(held);
    open_admin("registry.allow_pull=true");
    log_model("v1");
    write_program("echo '{\"version\": \"v1\"}'");
    assert_int_equal(
        call("POST", "/models", NULL, "{\"name\": \"tiny\", \"pull\": \"org/x\", \"revision\": \"r\"}", NULL), 201);
    assert_true(was_called_with("registry\npull"));
    assert_true(was_called_with("--name=tiny"));
    assert_true(was_called_with("--revision=r"));
    assert_true(was_called_with("--\norg/x"));
}

/* A word of 200 KiB is more than Linux gives to a program: that is the client's doing. */
static void test_too_much_for_a_program_is_refused(void **state)
{
    (void)state;
    enum { WORD = 200 << 10 };
    char *body = malloc(WORD + 100);
    int bytes = sprintf(body, "{\"name\": \"tiny\", \"path\": \"/tmp\", \"include\": [\"");

    assert_non_null(body);
    write_program("exit 0");
    memset(body + bytes, 'x', WORD);
    strcpy(body + bytes + WORD, "\"]}");
    refused("POST", "/models", NULL, body, 400, "-", "make them shorter");
    free(body);
}

static void test_verifying_reports(void **state)
{
    (void)state;
    reply r;

    log_model("v1");
    write_program("echo '{\"damaged\": 1}'; exit 4");
    assert_int_equal(call("POST", "/models/tiny/versions/v1/verify", NULL, "{\"deep\": true}", &r), 200);
    assert_int_equal(json_integer_value(json_object_get(r.json, "damaged")), 1);
    json_decref(r.json);
    assert_true(was_called_with("--deep"));
    assert_true(was_called_with("--\ntiny@v1"));
    write_program("echo 'tenon: disk' >&2; exit 1");
    refused("POST", "/models/tiny/versions/v1/verify", NULL, NULL, 500, "-", "1: disk");
    refused("POST", "/models/tiny/versions/v7/verify", NULL, NULL, 404, "-", "v7");
}

/* ---- plan ---- */

static void test_plans_are_asked_by_the_same_flags(void **state)
{
    (void)state;
    reply r;

    write_program("echo '{\"fits\": false}'; echo 'tenon: too large' >&2; exit 3");
    assert_int_equal(call("POST", "/plan", NULL,
                          "{\"model\": \"m:prod\", \"pool\": \"a\", \"max_model_len\": 8192, \"util\": 0.9, \"roi\": "
                          "true, \"price_in\": 0.15}",
                          &r),
                     200);
    assert_true(json_is_false(json_object_get(r.json, "fits")));
    json_decref(r.json);
    assert_true(was_called_with("--pool=a"));
    assert_true(was_called_with("--max-model-len=8192"));
    assert_true(was_called_with("--util=0.9"));
    assert_true(was_called_with("--roi"));
    assert_true(was_called_with("--price-in=0.15"));
    assert_true(was_called_with("--\nregistry:m:prod"));
    call("POST", "/plan", NULL, "{\"model\": \"/a/b\"}", NULL);
    assert_true(was_called_with("--\n/a/b"));
    write_program("echo 'tenon: there is no pool a' >&2; exit 1");
    refused("POST", "/plan", NULL, "{\"model\": \"m\", \"pool\": \"a\"}", 422, "-", "there is no pool a");
    write_program("kill -11 $$");
    refused("POST", "/plan", NULL, "{\"model\": \"m\"}", 422, "model", "signal 11");
    refused("POST", "/plan", NULL, "{\"model\": \"m\", \"svg\": \"/etc/x\"}", 400, "svg", "no field");
    refused("POST", "/plan", NULL, "{\"model\": \"m\", \"tp\": []}", 400, "tp", "number or a text");
}

static void *plan_slowly(void *ctx)
{
    reply *r = ctx;
    call_into(r, "POST", "/plan", NULL, "{\"model\": \"m\"}", NULL);
    return NULL;
}

static uint32_t count_answered(reply *replies, int count)
{
    uint32_t answered = 0;
    for (int i = 0; i < count; i++)
        answered += __atomic_load_n(&replies[i].heads, __ATOMIC_ACQUIRE);
    return answered;
}

static void test_stopping_ends_programs_and_calls(void **state)
{
    (void)state;
    enum { SLOW = 5 }; /* one more than may run */
    static reply replies[SLOW];
    pthread_t threads[SLOW];
    const struct timespec moment = {0, 20000000};
    int cancelled = 0, refused_now = 0;

    write_program("exec sleep 600");
    memset(replies, 0, sizeof replies);
    for (int i = 0; i < SLOW; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, plan_slowly, &replies[i]), 0);
    for (int i = 0; i < 3000 && count_answered(replies, SLOW) == 0; i++) /* the one too many is refused at once */
        nanosleep(&moment, NULL);
    assert_int_equal(call("GET", "/services", NULL, NULL, NULL), 200); /* long work keeps nobody waiting */
    admin_stop(admin);
    for (int i = 0; i < SLOW; i++) {
        pthread_join(threads[i], NULL);
        cancelled += replies[i].code == 503;
        refused_now += replies[i].code == 429;
        json_decref(replies[i].json);
    }
    assert_int_equal(cancelled, SLOW - 1);
    assert_int_equal(refused_now, 1);
    refused("GET", "/services", NULL, NULL, 503, "-", "ending");
}

#define ROUTE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROUTE_TEST(test_services_are_created_shown_and_listed),
        ROUTE_TEST(test_settings_are_spelt_as_flags),
        ROUTE_TEST(test_misfits_come_with_the_plan),
        ROUTE_TEST(test_waiting_tells_what_has_become),
        ROUTE_TEST(test_verbs),
        ROUTE_TEST(test_logs_are_sent_as_they_come),
        ROUTE_TEST(test_bad_bodies_name_the_field),
        ROUTE_TEST(test_many_settings_are_refused),
        ROUTE_TEST(test_paths_and_methods),
        cmocka_unit_test(test_words_are_told_whatever_they_quote),
        cmocka_unit_test(test_a_full_disk_is_told),
        ROUTE_TEST(test_key_gets_the_same_answer),
        ROUTE_TEST(test_key_is_its_callers_own),
        cmocka_unit_test(test_keys_are_forgotten_in_time),
        ROUTE_TEST(test_second_asker_waits_for_the_first),
        ROUTE_TEST(test_models_are_listed_and_changed),
        ROUTE_TEST(test_used_versions_stay),
        ROUTE_TEST(test_adding_runs_a_program),
        ROUTE_TEST(test_adding_goes_on_without_who_asked),
        ROUTE_TEST(test_operations_are_bounded_and_end),
        ROUTE_TEST(test_pull_only_where_it_is_allowed),
        ROUTE_TEST(test_too_much_for_a_program_is_refused),
        ROUTE_TEST(test_verifying_reports),
        ROUTE_TEST(test_plans_are_asked_by_the_same_flags),
        ROUTE_TEST(test_stopping_ends_programs_and_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
