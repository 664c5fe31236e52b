/* tests/unit/test_chat_template.c: every rendering of the golden file, what Jinja does at the seams of its rules, and
 * requests that are not what they should be. Limits: test_jinja_state.c.
 */
#include "cmocka_test.h"

#include "chat/chat_template.h"

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

static const char *golden_path;

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
    json_t *golden = json_load_file(golden_path, JSON_ALLOW_NUL, &error);
    if (!golden)
        fail_msg("%s: %s", golden_path, error.text);
    struct tm now = {0};
    assert_non_null(strptime(json_string_value(json_object_get(golden, "now")), "%Y-%m-%dT%H:%M:%S", &now));
    size_t index, failed = 0;
    const json_t *entry;
    json_array_foreach(json_object_get(golden, "cases"), index, entry) failed += !golden_passes(entry, &now);
    assert_true(index >= 100);
    assert_int_equal(failed, 0);
    json_decref(golden);
}

static void test_names_end_with_their_scope(void **state)
{
    (void)state;
    expect_text("{% for i in [1] %}{% set x = 1 %}{% endfor %}{{ x is defined }}", "False");
    expect_text("{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y is defined }}", "1False");
    expect_text("{% macro f() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ f() }}", "2");
    expect_text("{% generation %}{% set x = 3 %}{{ x }}{% endgeneration %}{{ x is defined }}", "3False");
    expect_text("{% if true %}{% set x = 4 %}{% endif %}{{ x }}", "4");
}

static void test_break_leaves_the_loop_it_stands_in(void **state)
{
    (void)state;
    expect_text("{% for i in [1, 2] %}{% with %}{% break %}{% endwith %}{{ i }}{% endfor %}.", ".");
    expect_text("{% for i in [1, 2] %}{% for j in [] %}{% else %}{% break %}{% endfor %}{{ i }}{% endfor %}.", ".");
    expect_text("{% for i in [1] %}{% continue %}{% else %}else{% endfor %}", "else");
    expect_failure("{% break %}", "'break' outside of a loop");
    expect_failure("{% for i in [1] %}{% set x %}{% break %}{% endset %}{% endfor %}", "'break' outside of a loop");
    expect_failure("{% for i in [1] %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}", "outside of a loop");
}

static void test_loop_condition_sees_what_the_body_changed(void **state)
{
    (void)state;
    expect_text(
        "{% set ns = namespace(n=0) %}{% for i in [1, 2, 3] if ns.n < 2 %}{{ i }}{% set ns.n = i %}{% endfor %}", "12");
    expect_text("{% for i in range(6) if i is odd %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/3 2/3 3/3 ");
}

static void test_generators_are_used_up(void **state)
{
    (void)state;
    expect_text("{% set g = [1, 2] | select %}{{ g | list }}{{ g | list }}", "[1, 2][]");
    expect_failure("{{ ([1] | select) | length }}", "has no len()");
    expect_text("{{ 'yes' if [] | select else 'no' }}", "yes");
}

static void test_numbers_follow_python(void **state)
{
    (void)state;
    expect_text("{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // -2 }} {{ -7.5 % 2 }}", "-4 2 -2 -4.0 0.5");
    expect_text("{{ 5e-324 }} {{ 1e22 }} {{ 123456789012345680.0 }} {{ -0.0 }}",
                "5e-324 1e+22 1.2345678901234568e+17 -0.0");
    expect_text("{{ 2 ** 126 }}", "85070591730234615865843651857942052864");
    expect_text("{{ 170141183460469231731687303715884105727 % -2 }}", "-1"); /* the quotient times -2 has 128 bits */
    expect_failure("{{ 1 / 0 }}", "division by zero");
    expect_text("{{ 0.5 | round }} {{ 2.675 | round(2) }} {{ 1e22 | int }}", "0.0 2.67 10000000000000000000000");
}

static void test_errors_tell_the_line(void **state)
{
    (void)state;
    expect_failure("a\nb\n{{ messages.x.y }}", "line 3");
    expect_failure("a\n{% if x %}\n", "line 2: the template ends within 'if' of line 2");
    expect_failure("\n\n{{ raise_exception('no\xC3\xA9') }}", "line 3: no\xC3\xA9");
    expect_failure("{{ (none).x.y }}", "'None' has no attribute 'x'");
    expect_failure("{% include 'x' %}", "not available in chat templates");
}

static void test_python_internals_are_out_of_reach(void **state)
{
    (void)state;
    expect_failure("{{ ''.__class__.__mro__ }}", "unsafe");
    expect_failure("{{ ''['__class__'].x }}", "unsafe");
    expect_failure("{{ [].append(1) }}", "unsafe");
    expect_failure("{{ messages[0].update({}) }}", "unsafe");
    expect_failure("{{ '{0.__class__}'.format(1) }}", "no such element");
    expect_text("{{ ''.format.__globals__ }}{{ '' | attr('__class__') }}", "");
}

static void test_zero_bytes_are_characters(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    char *got;
    uint64_t n;
    static const char text[] = "a\0{{ 'b\0' ~ messages[0].content | length }}";
    assert_int_equal(
        render_bytes(text, sizeof text - 1, "{\"messages\": [{\"content\": \"x\\u0000y\"}]}", &got, &n, &err), TN_OK);
    assert_int_equal(n, 5);
    assert_memory_equal(got,
                        "a\0b\0"
                        "3",
                        6);
    free(got);
    assert_int_equal(render_bytes("{{ a\0b }}", 9, plain_request, &got, &n, &err), TN_E_ARGUMENT);
}

static void test_template_that_is_no_utf8_is_refused(void **state)
{
    (void)state;
    expect_failure("caf\xE9", "UTF-8");
    expect_failure("{{ '\\ud800' }}", "no Unicode character");
}

static void expect_request_failure(const char *request, const char *reason)
{
    tn_error err = TN_ERROR_INIT;
    char *got;
    uint64_t n;
    assert_int_equal(render_bytes("x", 1, request, &got, &n, &err), TN_E_ARGUMENT);
    assert_null(got);
    if (!strstr(err.msg, reason))
        fail_msg("%s: '%s' does not tell '%s'", request, err.msg, reason);
}

static void test_request_fields_are_checked(void **state)
{
    (void)state;
    expect_request_failure("{\"messages\": [", "line 1");
    expect_request_failure("[]", "object");
    expect_request_failure("{}", "'messages'");
    expect_request_failure("{\"messages\": [{}, 1]}", "'messages[1]'");
    expect_request_failure("{\"messages\": [], \"tools\": 1}", "'tools'");
    expect_request_failure("{\"messages\": [], \"add_generation_prompt\": 1}", "'add_generation_prompt'");
    expect_request_failure("{\"messages\": [], \"chat_template_kwargs\": []}", "'chat_template_kwargs'");
    expect_request_failure("{\"messages\": [], \"chat_template_kwargs\": {\"tools\": []}}", "'tools'");
}

enum { THREADS = 4, TURNS = 200 };

static void *render_often(void *argument)
{
    const chat_template *shared = argument;
    for (int i = 0; i < TURNS; i++) {
        char *text;
        uint64_t n;
        if (chat_template_render(shared, plain_request, strlen(plain_request), &text, &n, NULL) != TN_OK)
            return argument;
        bool right = strcmp(text, "userhi1.5[0, 1]user") == 0;
        free(text);
        if (!right)
            return argument;
    }
    return NULL;
}

static void test_one_template_serves_many_threads(void **state)
{
    (void)state;
    static const char text[] = "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t ~ m.role %}"
                               "{{ m.role ~ m.content ~ 1.5 }}{% endfor %}{{ range(2) | list }}{{ ns.t }}";
    chat_template *shared = NULL;
    pthread_t threads[THREADS];
    assert_int_equal(chat_template_create(text, sizeof text - 1, "", "", &shared, NULL), TN_OK);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, shared), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    chat_template_destroy(shared);
}

/* An argument names a golden file other than the one kept: see tests/reference/chat_template_collection.py. */
int main(int argc, char **argv)
{
    golden_path = argc > 1 ? argv[1] : CHAT_TEMPLATES;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_golden_rendering_is_exact),
        cmocka_unit_test(test_names_end_with_their_scope),
        cmocka_unit_test(test_break_leaves_the_loop_it_stands_in),
        cmocka_unit_test(test_loop_condition_sees_what_the_body_changed),
        cmocka_unit_test(test_generators_are_used_up),
        cmocka_unit_test(test_numbers_follow_python),
        cmocka_unit_test(test_errors_tell_the_line),
        cmocka_unit_test(test_python_internals_are_out_of_reach),
        cmocka_unit_test(test_zero_bytes_are_characters),
        cmocka_unit_test(test_template_that_is_no_utf8_is_refused),
        cmocka_unit_test(test_request_fields_are_checked),
        cmocka_unit_test(test_one_template_serves_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
