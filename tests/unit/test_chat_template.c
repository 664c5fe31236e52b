/* tests/unit/test_chat_template.c: every rendering of the golden file, and templates and requests that mean harm. */
#include "cmocka_test.h"

#include "chat/chat_template.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

/* Renders template `text` of n bytes with a request; the caller frees *ret_text. */
static tn_status render_bytes(const char *text, size_t n, const char *request, char **ret_text, uint64_t *ret_bytes,
                              tn_error *err)
{
    chat_template *made = NULL;
    *ret_text = NULL;
    tn_status status = chat_template_create(text, n, "<s>", "</s>", &made, err);
    if (status == TN_OK)
        status = chat_template_render(made, request, strlen(request), ret_text, ret_bytes, err);
    chat_template_destroy(made);
    return status;
}

static const char *const plain_request = "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}";

static void expect_text(const char *text, const char *expected)
{
    tn_error err = TN_ERROR_INIT;
    char *got;
    uint64_t n;
    if (render_bytes(text, strlen(text), plain_request, &got, &n, &err) != TN_OK)
        fail_msg("%s: %s", text, err.msg);
    assert_string_equal(got, expected);
    assert_int_equal(n, strlen(expected));
    free(got);
}

static void expect_failure(const char *text, const char *reason)
{
    tn_error err = TN_ERROR_INIT;
    char *got;
    uint64_t n;
    if (render_bytes(text, strlen(text), plain_request, &got, &n, &err) == TN_OK)
        fail_msg("%s: gave '%s'", text, got);
    if (!strstr(err.msg, reason))
        fail_msg("%s: '%s' does not tell '%s'", text, err.msg, reason);
}

/* The request of a golden case. */
static char *golden_request(const json_t *entry)
{
    static const char *const names[] = {"messages", "tools", "documents", "add_generation_prompt"};
    json_t *request = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_object_get(entry, names[i]))
            json_object_set(request, names[i], json_object_get(entry, names[i]));
    if (json_object_get(entry, "extra"))
        json_object_set(request, "chat_template_kwargs", json_object_get(entry, "extra"));
    char *text = json_dumps(request, 0);
    json_decref(request);
    return text;
}

/* True if the case gives what it should; else tells what it gave. */
static bool golden_passes(const json_t *entry, const struct tm *now)
{
    tn_error err = TN_ERROR_INIT;
    chat_template *made = NULL;
    char *text = NULL, *request = golden_request(entry);
    uint64_t n = 0;
    const json_t *source = json_object_get(entry, "template");
    const char *name = json_string_value(json_object_get(entry, "name"));
    tn_status status = chat_template_create(json_string_value(source), json_string_length(source),
                                            json_string_value(json_object_get(entry, "bos_token")),
                                            json_string_value(json_object_get(entry, "eos_token")), &made, &err);
    if (status == TN_OK)
        status = chat_template_render_at(made, request, strlen(request), now, &text, &n, &err);

    const json_t *expected = json_object_get(entry, "expected"), *failure = json_object_get(entry, "expected_error");
    bool passes;
    if (expected) {
        passes = status == TN_OK && n == json_string_length(expected) && !memcmp(text, json_string_value(expected), n);
    } else {
        const char *kind = json_string_value(json_object_get(failure, "kind"));
        const char *message = json_string_value(json_object_get(failure, "message"));
        passes = status == TN_E_ARGUMENT && (strcmp(kind, "raise_exception") != 0 || strstr(err.msg, message));
    }
    if (!passes)
        print_error("%s\n  wants %s\n  gives %s\n", name, expected ? json_string_value(expected) : "an error",
                    status == TN_OK ? text : err.msg);
    free(text);
    free(request);
    chat_template_destroy(made);
    return passes;
}

static void test_every_golden_rendering_is_exact(void **state)
{
    (void)state;
    json_error_t error;
    json_t *golden = json_load_file(CHAT_TEMPLATES, JSON_ALLOW_NUL, &error);
    if (!golden)
        fail_msg("%s: %s", CHAT_TEMPLATES, error.text);
    struct tm now = {0};
    assert_non_null(strptime(json_string_value(json_object_get(golden, "now")), "%Y-%m-%dT%H:%M:%S", &now));
    size_t index, failed = 0;
    const json_t *entry;
    json_array_foreach(json_object_get(golden, "cases"), index, entry) failed += !golden_passes(entry, &now);
    assert_true(index >= 100);
    assert_int_equal(failed, 0);
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_golden_rendering_is_exact),
    };
    (void)expect_text;
    (void)expect_failure;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
