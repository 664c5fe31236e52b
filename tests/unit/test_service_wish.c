/* test_service_wish.c: specs, wishes as files, files that are damaged, and the settings of an engine. */
#include "cmocka_test.h"

#include "scratch_directory.h"
#include "service/engine_settings.h"

#include <string.h>

static const char *const sets[] = {"max_model_len=8192", "engine.max_num_seqs=4", "cpu.threads=2", NULL};
static const service_spec good = {
    .name = "chat-1.b_c", .model = "llama3@v1", .pool = "a", .max_instances = 2, .autosuspend_s = 60, .sets = sets};

static void refuse(service_spec spec, const char *word)
{
    wish wish = {0};
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(wish_take(&wish, &spec, &err), TN_E_ARGUMENT);
    if (!strstr(err.msg, word))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, word);
    wish_finish(&wish);
}

static void test_refusals_name_the_field(void **state)
{
    (void)state;
    static const char *const names[] = {NULL, "", "A", "a b", ".a", "-a", "a/b", "ä", "a;b"};
    char longest[SERVICE_NAME_BYTES_MAX + 2];
    service_spec spec;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        spec = good;
        spec.name = names[i];
        refuse(spec, "name");
    }
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    spec = good, spec.name = longest, refuse(spec, "name");
    spec = good, spec.model = NULL, refuse(spec, "model");
    spec = good, spec.model = "", refuse(spec, "model");
    spec = good, spec.model = "a\nb", refuse(spec, "model");
    spec = good, spec.pool = NULL, refuse(spec, "pool");
    spec = good, spec.max_instances = 0, refuse(spec, "max_instances");
    spec = good, spec.max_instances = 65, refuse(spec, "max_instances");
    spec = good, spec.min_instances = 3, refuse(spec, "min_instances");
    spec = good, spec.gpus = 1025, refuse(spec, "gpus");
}

static void refuse_set(const char *text, const char *word)
{
    char *full = NULL;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(wish_setting(text, &full, &err), TN_E_ARGUMENT);
    if (!strstr(err.msg, word))
        fail_msg("%s: \"%s\" does not say \"%s\"", text, err.msg, word);
}

static void test_settings_of_a_service(void **state)
{
    (void)state;
    char *full;
    assert_int_equal(wish_setting("gpu_memory_utilization=0.5", &full, NULL), TN_OK);
    assert_string_equal(full, "engine.gpu_memory_utilization=0.5");
    free(full);
    assert_int_equal(wish_setting("model.dtype=bfloat16", &full, NULL), TN_OK);
    assert_string_equal(full, "model.dtype=bfloat16");
    free(full);
    refuse_set("max_model_lem=1", "max_model_len");
    refuse_set("max_model_len", "key=value");
    refuse_set("max_model_len=", "key=value");
    refuse_set("=1", "key=value");
    refuse_set("max_model_len=1\n[frontend]", "key=value");
    refuse_set("chat_template=/a ;b", "key=value");
    refuse_set("path=/etc/passwd", "path");
    refuse_set("model.path=/etc/passwd", "model.path");
    refuse_set("server.store=/", "server.store");
    refuse_set("frontend.plugins=x", "frontend.plugins");
    refuse_set("socket_frontend.path=/x", "socket_frontend.path");
    refuse_set("backend.plugin=/tmp/evil.so", "backend.plugin");
    refuse_set("plugins.path=/tmp", "plugins.path");
    refuse_set("pool a.memory=1", "pool a.memory");
    refuse_set(".x=1", "not a service's");
    refuse_set("cpu.threads:1\n[backend]\nplugin=evil", "key=value");
    refuse_set("cpu.threads:1 ;=2", "key=value");
    refuse_set("cpu.[x]=1", "key=value");
}

static wish make_wish(void)
{
    wish wish = {0};
    assert_int_equal(wish_take(&wish, &good, NULL), TN_OK);
    wish.path = strdup("/models/llama");
    wish.generation = 7;
    wish.suspended = true;
    wish.drain_s = 9;
    wish.created_ms = 1234567890123;
    memset(wish.digest.hex, 'a', DIGEST_HEX);
    wish.plan = (engine_plan){.device_bytes = 1ull << 40,
                              .kv_bytes = 1 << 20,
                              .total_bytes = 6,
                              .world = 2,
                              .pool_devices = 4,
                              .max_model_len = 8192,
                              .max_num_seqs = 4,
                              .max_num_batched_tokens = 512};
    wish.failure = (wish_failure){.failed = true, .has_exit_code = true, .exit_code = -9, .needed_bytes = 3};
    snprintf(wish.failure.message, sizeof wish.failure.message, "killed: \"quoted\"");
    return wish;
}

static void test_written_and_read(void **state)
{
    (void)state;
    scratch_directory folder = scratch_create();
    wish out = make_wish(), in;
    tn_error err = TN_ERROR_INIT;
    out.before = calloc(1, sizeof out);
    assert_int_equal(wish_copy(&out, out.before, &err), TN_OK);
    out.before->generation = 6;
    snprintf(out.before->model, 7, "llama2");
    assert_int_equal(wish_write(&out, folder.path, &err), TN_OK);
    if (wish_read(folder.path, "chat-1.b_c.json", &in, &err) != TN_OK)
        fail_msg("%s", err.msg);
    assert_string_equal(in.name, out.name);
    assert_string_equal(in.model, out.model);
    assert_string_equal(in.path, out.path);
    assert_string_equal(in.digest.hex, out.digest.hex);
    assert_non_null(in.before);
    assert_string_equal(in.before->model, "llama2");
    assert_int_equal(in.before->generation, 6);
    assert_null(in.before->before);
    for (int i = 0; i < 4; i++)
        if (out.sets[i] || in.sets[i])
            assert_string_equal(in.sets[i], out.sets[i]);
    assert_string_equal(in.sets[0], "model.max_model_len=8192");
    assert_memory_equal(&in.plan, &out.plan, sizeof in.plan);
    assert_int_equal(in.generation, 7);
    assert_int_equal(in.created_ms, out.created_ms);
    assert_true(in.suspended && !in.deleting && in.failure.failed && in.failure.has_exit_code);
    assert_int_equal(in.failure.exit_code, -9);
    assert_string_equal(in.failure.message, out.failure.message);
    assert_int_equal(wish_remove(&in, folder.path, NULL), TN_OK);
    wish_finish(&in);
    assert_int_equal(wish_read(folder.path, "chat-1.b_c.json", &in, &err), TN_E_CORRUPT);
    wish_finish(&out);
    scratch_destroy(&folder);
}

/* Every file that is cut short, or lacks a byte, is refused by name, or it is a wish all the same: nothing else
 * happens. */
static void test_damaged_files(void **state)
{
    (void)state;
    scratch_directory folder = scratch_create();
    wish out = make_wish();
    char path[128], text[8192];
    assert_int_equal(wish_write(&out, folder.path, NULL), TN_OK);
    snprintf(path, sizeof path, "%s/chat-1.b_c.json", folder.path);
    FILE *file = fopen(path, "rb");
    size_t bytes = fread(text, 1, sizeof text, file);
    fclose(file);
    for (size_t i = 0; i < bytes; i++) {
        for (int cut = 0; cut < 2; cut++) {
            tn_error err = TN_ERROR_INIT;
            wish in;
            char kept = text[i];
            text[i] = cut ? kept : '~';
            scratch_write(&folder, "chat-1.b_c.json", text, cut ? i : bytes);
            text[i] = kept;
            tn_status status = wish_read(folder.path, "chat-1.b_c.json", &in, &err);
            if (status == TN_OK)
                wish_finish(&in);
            else
                assert_true(strstr(err.msg, "chat-1.b_c.json"));
            assert_true(!cut || status != TN_OK || i >= bytes - 1);
        }
    }
    wish_finish(&out);
    scratch_destroy(&folder);
}

/* It would be one service twice. */
static void test_a_copy_under_another_name_is_refused(void **state)
{
    (void)state;
    scratch_directory folder = scratch_create();
    wish out = make_wish(), in;
    char from[128], to[128];
    static const char *const names[] = {"chat-1.b_c2.json", "chat-1.json", "copy.json"};
    assert_int_equal(wish_write(&out, folder.path, NULL), TN_OK);
    snprintf(from, sizeof from, "%s/chat-1.b_c.json", folder.path);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tn_error err = TN_ERROR_INIT;
        snprintf(to, sizeof to, "%s/%s", folder.path, names[i]);
        assert_int_equal(link(from, to), 0);
        assert_int_equal(wish_read(folder.path, names[i], &in, &err), TN_E_CORRUPT);
        assert_non_null(strstr(err.msg, "service chat-1.b_c, which is chat-1.b_c.json"));
        assert_non_null(strstr(err.msg, names[i]));
    }
    wish_finish(&out);
    scratch_destroy(&folder);
}

/* ---- engines' settings ---- */

static bool has(const engine_settings *list, const char *text)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (strcmp(list->at[i], text) == 0)
            return true;
    return false;
}

static bool has_key(const engine_settings *list, const char *key)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (strncmp(list->at[i], key, strlen(key)) == 0)
            return true;
    return false;
}

static void test_settings_of_an_engine(void **state)
{
    (void)state;
    static const char text[] =
        "[plugins]\npath = plug\n[server]\nstore = s\n[http_frontend]\nlisten = 1\n[cpu]\nthreads = 1\n"
        "isa = avx2\n[cuda_tp]\nx = 1\n[engine]\nmax_waiting = 5\nmax_num_seqs = 9\n"
        "[pool a]\nbackend = cpu\nmax_services = 2\n[model]\npath = m.gguf\ndtype = bfloat16\n";
    scratch_directory folder = scratch_create();
    char ini[128], expected[160];
    settings *base = NULL, *read = NULL;
    tn_error err = TN_ERROR_INIT;
    engine_settings list;
    wish wish = make_wish();
    pool pool;
    scratch_write(&folder, "t.ini", text, strlen(text));
    snprintf(ini, sizeof ini, "%s/t.ini", folder.path);
    if (settings_read(ini, NULL, &base, &err) != TN_OK || pool_find(base, "a", &pool, &err) != TN_OK)
        fail_msg("%s", err.msg);

    assert_int_equal(engine_settings_make(base, &wish, &pool, ENGINE_SERVE, "/run/e.sock", &list, NULL), TN_OK);
    snprintf(expected, sizeof expected, "plugins.path=%s/plug", folder.path);
    assert_true(has(&list, expected));
    assert_true(has(&list, "model.path=/models/llama") && has(&list, "model.served_model_name=chat-1.b_c"));
    assert_true(has(&list, "model.dtype=bfloat16") && has(&list, "engine.max_waiting=5"));
    assert_true(has(&list, "cpu.threads=2") && has(&list, "cpu.isa=avx2")); /* the service's own over the daemon's */
    assert_true(has(&list, "engine.max_num_seqs=4") && has(&list, "engine.kv_cache_memory_bytes=1048576"));
    assert_true(has(&list, "backend.tensor_parallel_size=2") && has(&list, "backend.plugin=cpu"));
    assert_true(has(&list, "frontend.plugins=socket_frontend") && has(&list, "socket_frontend.path=/run/e.sock"));
    assert_false(has_key(&list, "server.") || has_key(&list, "http_frontend.") || has_key(&list, "cuda_tp.") ||
                 has_key(&list, "pool a."));
    snprintf(expected, sizeof expected, "%s/engine.ini", folder.path);
    assert_int_equal(engine_settings_write(&list, expected, NULL), TN_OK);
    if (settings_read(expected, NULL, &read, &err) != TN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(settings_integer(read, "engine", "max_num_seqs"), 4);
    settings_destroy(read);
    engine_settings_finish(&list);

    assert_int_equal(engine_settings_make(base, &wish, &pool, ENGINE_PLAN, NULL, &list, NULL), TN_OK);
    assert_true(has(&list, "pool a.max_services=2") && !has_key(&list, "engine.kv_cache_memory_bytes"));
    engine_settings_finish(&list);
    assert_int_equal(engine_settings_make(base, &wish, &pool, ENGINE_ROUTE, NULL, &list, NULL), TN_OK);
    assert_false(has_key(&list, "cpu.") || has_key(&list, "socket_frontend."));
    engine_settings_finish(&list);
    wish_finish(&wish);
    settings_destroy(base);
    scratch_destroy(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals_name_the_field),
        cmocka_unit_test(test_settings_of_a_service),
        cmocka_unit_test(test_written_and_read),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_a_copy_under_another_name_is_refused),
        cmocka_unit_test(test_settings_of_an_engine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
