/* test_registry_faults.c: the registry while memory runs out, at every allocation of ours in turn: refused with a
 * message, or done; and afterwards whatever the index names is whole, and the rest is garbage that can be collected.
 * (SQLite allocates by itself, and tests that itself.)
 */
#include "fail_nth.h"
#include "unit/cmocka_test.h"
#include "unit/scratch_directory.h"

#include "file/directory.h"
#include "hub/hub_answer.h"
#include "registry/manifest.h"
#include "registry/registry.h"

/* jansson 2.14 writes past the text it keeps when an allocation fails while it reads a long string, so its own
 * allocations succeed here. */
void *__real_malloc(size_t size);

static void spare_jansson(void)
{
    json_set_alloc_funcs(__real_malloc, free);
}

static scratch_directory scratch;
static char root[128], bundle[128];

static tn_status log_model(tn_error *err)
{
    static const registry_pair tag = {.key = "a", .text = "b"};
    const registration named = {.model = "m", .tags = &tag, .tag_count = 1};
    const file_choice everything = {0};
    registry *opened = NULL;
    registered added;

    spare_jansson();
    tn_status status = registry_open(root, true, &opened, err);
    if (status == TN_OK)
        status = registry_log(opened, GOLDEN_DIR "/llama_tiny_sharded", NULL, &everything, &named, NULL, &added, err);
    registry_close(opened);
    return status;
}

static tn_status read_models(tn_error *err)
{
    registry *opened = NULL;
    json_t *list = NULL, *version = NULL, *report = NULL;

    spare_jansson();
    tn_status status = registry_open(root, false, &opened, err);
    if (status == TN_OK)
        status = registry_list(opened, NULL, &list, err);
    if (status == TN_OK)
        status = registry_show(opened, "m", &version, err);
    if (status == TN_OK)
        status = registry_verify(opened, NULL, true, NULL, &report, err);
    json_decref(list);
    json_decref(version);
    json_decref(report);
    registry_close(opened);
    return status;
}

static tn_status carry(tn_error *err)
{
    const registration as = {.version = "carried"};
    registry *opened = NULL;
    registered added;
    uint32_t removed;

    spare_jansson();
    unlink(bundle);
    tn_status status = registry_open(root, false, &opened, err);
    if (status == TN_OK)
        status = registry_export(opened, "m", bundle, NULL, err);
    if (status == TN_OK)
        status = registry_import(opened, bundle, &as, NULL, &added, err);
    if (status == TN_OK)
        status = registry_remove(opened, "m@carried", &removed, err);
    registry_close(opened);
    return status;
}

static void check_whole(void)
{
    tn_error err = TN_ERROR_INIT;
    registry *opened = NULL;
    registry_garbage garbage;
    json_t *report = NULL;

    assert_int_equal(registry_open(root, false, &opened, &err), TN_OK);
    assert_int_equal(registry_collect(opened, false, &garbage, &err), TN_OK);
    assert_int_equal(registry_verify(opened, NULL, true, NULL, &report, &err), TN_OK);
    assert_int_equal(json_integer_value(json_object_get(report, "damaged")), 0);
    assert_int_equal(json_array_size(json_object_get(report, "versions")), 1);
    json_decref(report);
    registry_close(opened);
}

static void test_registry_survives_every_failing_allocation(void **state)
{
    (void)state;
    scratch = scratch_create();
    snprintf(root, sizeof root, "%s/store", scratch.path);
    snprintf(bundle, sizeof bundle, "%s/m.tar", scratch.path);
    assert_true(fail_every_allocation(log_model, false) > 100);
    check_whole();
    assert_true(fail_every_allocation(read_models, false) > 20);
    assert_true(fail_every_allocation(carry, false) > 20);
    check_whole();
    assert_int_equal(directory_remove(scratch.path, NULL), TN_OK);
}

static tn_status parse_answer(tn_error *err)
{
    static const char text[] =
        "{\"sha\": \"0123456789abcdef0123456789abcdef01234567\", \"siblings\": [{\"rfilename\": \"a\", \"size\": 1,"
        "\"blobId\": \"0123456789abcdef0123456789abcdef01234567\"}]}";
    const file_choice everything = {0};
    hub_answer answer = {0};
    tn_status status = hub_answer_parse("hub", text, sizeof text - 1, &answer, err);
    if (status == TN_OK)
        status = hub_answer_choose(&answer, "hub", &everything, err);
    hub_answer_finish(&answer);
    return status;
}

static void test_hub_answer_survives_every_failing_allocation(void **state)
{
    (void)state;
    assert_true(fail_every_allocation(parse_answer, false) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registry_survives_every_failing_allocation),
        cmocka_unit_test(test_hub_answer_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
