/* tests/unit/test_jinja_state.c: templates that want more time, memory or depth than they may have. Each must end soon,
 * with a sentence that says which limit it met.
 */
#include "cmocka_test.h"

#include "chat/chat_template.h"

#include <stdbool.h>
#include <string.h>

static const char *const request = "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}";

/* The message of the failure that text must end in. */
static const char *failure_of(const char *text)
{
    static tn_error err;
    chat_template *made = NULL;
    char *got = NULL;
    uint64_t n = 0;
    err = (tn_error)TN_ERROR_INIT;
    tn_status status = chat_template_create(text, strlen(text), "", "", &made, &err);
    if (status == TN_OK)
        status = chat_template_render(made, request, strlen(request), &got, &n, &err);
    chat_template_destroy(made);
    if (status != TN_E_ARGUMENT)
        fail_msg("%.200s: status %d", text, (int)status);
    return err.msg;
}

static void expect_limit(const char *text, const char *limit)
{
    const char *message = failure_of(text);
    if (!strstr(message, limit) || !strstr(message, "line 1"))
        fail_msg("%.200s: '%s' does not tell '%s'", text, message, limit);
}

/* before + count times middle + after */
static void expect_limit_of_many(const char *before, const char *middle, int count, const char *after,
                                 const char *limit)
{
    char *text = malloc(strlen(before) + strlen(middle) * (size_t)count + strlen(after) + 1);
    char *end = stpcpy(text, before);
    for (int i = 0; i < count; i++)
        end = stpcpy(end, middle);
    strcpy(end, after);
    expect_limit(text, limit);
    free(text);
}

static void test_endless_work_ends(void **state)
{
    (void)state;
    expect_limit("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "steps");
    expect_limit("{% set s = 'a' * 16000000 %}{% for i in range(99999) %}{{ s is lower }}{% endfor %}", "steps");
    expect_limit("{% set s = 'a' * 8000000 %}{{ s.rfind('a' * 4000000 ~ 'b') }}", "steps");
    expect_limit("{% set t = [0] * 1000000 %}{% for i in range(9999) %}{{ 1 in t }}{% endfor %}", "steps");
    expect_limit("{{ ('a' * 4000000).strip('b' * 4000000 ~ 'a') }}", "steps");
    expect_limit("{% set t = ('b',) * 1000000 %}{% for i in range(9999) %}{{ 'a'.endswith(t) }}{% endfor %}", "steps");
    expect_limit("{% set s = 'a' * 8000000 %}{% for i in range(9999) %}{{ s.startswith(s) }}{% endfor %}", "steps");
    expect_limit("{% set s = ' ' * 8000000 %}{% for i in range(9999) %}{{ s | int }}{% endfor %}", "steps");
}

static void test_growing_values_end(void **state)
{
    (void)state;
    expect_limit("{{ 'a' * 10 ** 12 }}", "a text of more than");
    expect_limit("{{ 'ab' * 10 ** 12 }}", "a text of more than");
    expect_limit("{{ [1] * 10 ** 12 }}", "repeated too often");
    expect_limit("{{ [1] * 10 ** 7 }}", "bytes of memory");
    expect_limit("{% set ns = namespace(s='a' * 30) %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
                 "a text of more than");
    expect_limit("{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}", "a text of more than");
    expect_limit("{{ ('a' * 1000000).replace('a', 'b' * 1000) }}", "a text of more than");
    expect_limit("{{ 'a' | center(10 ** 18) }}", "a text of more than");
    expect_limit("{{ 'a'.ljust(10 ** 18, 'x') }}", "a text of more than");
    expect_limit("{{ [1] | batch(10 ** 18, 'x') | list }}", "bytes of memory");
    expect_limit("{{ '%999999d' % 1 }}", "a format wider");
    expect_limit("{{ strftime_now('%99999999d') }}", "bytes");
}

static void test_large_numbers_end(void **state)
{
    (void)state;
    expect_limit("{{ 10 ** 100000000 }}", "127 bits");
    expect_limit("{{ 2 ** 127 }}", "127 bits");
    expect_limit("{{ -(2 ** 126) - 2 ** 126 }}", "127 bits");
    expect_limit("{{ 2 ** 126 * 2 }}", "127 bits");
    expect_limit("{{ ('9' * 400) | int }}", "127 bits");
    expect_limit("{{ 'a'.zfill(-(2 ** 126)) }}", "64 bits");
    expect_limit("{{ 2.0 ** 10000 }}", "out of range");
    expect_limit("{{ range(10 ** 9) }}", "range() of more than 100000 items");
    expect_limit("{{ range(0, 10 ** 18, 3) }}", "range() of more than");
}

static void test_deep_templates_end(void **state)
{
    (void)state;
    expect_limit_of_many("{{ ", "(", 100000, "", "brackets nested deeper");
    expect_limit_of_many("{{ ", "[", 100000, "", "brackets nested deeper");
    expect_limit_of_many("{{ ", "not ", 100000, "1 }}", "nested deeper");
    expect_limit_of_many("{{ ", "-", 100000, "1 }}", "nested deeper");
    expect_limit_of_many("{{ 1", " if 1 else 1", 100000, " }}", "nested deeper");
    expect_limit_of_many("{{ 1", " + 1", 100000, " }}", "nested deeper");
    expect_limit_of_many("{{ 1", " | trim", 100000, " }}", "nested deeper");
    expect_limit_of_many("{{ messages", ".a", 100000, " }}", "nested deeper");
    expect_limit_of_many("", "{% if 1 %}", 100000, "", "nested deeper");
    expect_limit_of_many("", "{% for a in b %}", 5000, "", "nested deeper");
}

static void test_deep_recursion_ends(void **state)
{
    (void)state;
    expect_limit("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested deeper");
    expect_limit("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nested deeper");
    expect_limit("{% macro f() %}{% call f() %}{% endcall %}{{ caller }}{% endmacro %}{{ f() }}", "nested deeper");
}

static void test_deep_values_end(void **state)
{
    (void)state;
    static const char nest[] = "{% set n = namespace(a=[], b=[]) %}{% for i in range(9999) %}{% set n.a = [n.a] %}"
                               "{% set n.b = [n.b] %}{% endfor %}";
    const char *const uses[] = {"{{ n.a }}", "{{ n.a | tojson }}", "{{ n.a == n.b }}", "{{ n.a < n.b }}"};
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        expect_limit_of_many(nest, uses[i], 1, "", "nested deeper");
    expect_limit("{% set n = namespace() %}{% set n.a = [n] %}{{ n }}", "nested deeper");
}

static void test_unclosed_tags_are_refused(void **state)
{
    (void)state;
    expect_limit("{{", "not closed with '}}'");
    expect_limit("{%", "not closed with '%}'");
    expect_limit("{{ 'abc", "not closed with '");
    expect_limit("{# abc", "not closed with '#}'");
    expect_limit("{% raw %} abc", "not closed with '{% endraw %}'");
    expect_limit("{% for x in", "not closed with '%}'");
    expect_limit("{% for x in y %}", "the template ends within 'for'");
    expect_limit("{{ 1 ) }}", "unexpected ')'");
    expect_limit("{{ (1] }}", "unexpected ']'");
    expect_limit("{{ '\\x4' }}", "escape");
}

/* Where a long template is fine, as real conversations are long too. */
static void test_long_conversations_pass(void **state)
{
    (void)state;
    enum { TURNS = 2000 };
    static const char text[] = "{% for m in messages %}{{ '<' ~ m.role ~ '>' + m.content.replace('\n', ' ') | trim }}"
                               "{% for p in m.content.split('\n') %}{{ p[0] }}{% endfor %}{% endfor %}";
    char *json = malloc(TURNS * 2200 + 100), *end = stpcpy(json, "{\"messages\": [");
    char line[] = "some words of text\\n";
    for (int i = 0; i < TURNS; i++) {
        end = stpcpy(end, i ? ",{\"role\": \"user\", \"content\": \"" : "{\"role\": \"user\", \"content\": \"");
        for (int j = 0; j < 100; j++)
            end = stpcpy(end, line);
        end = stpcpy(end, "\"}");
    }
    strcpy(end, "]}");
    chat_template *made = NULL;
    tn_error err = TN_ERROR_INIT;
    char *got = NULL;
    uint64_t n = 0;
    assert_int_equal(chat_template_create(text, sizeof text - 1, "", "", &made, &err), TN_OK);
    if (chat_template_render(made, json, strlen(json), &got, &n, &err) != TN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(n, TURNS * (6 + 1900 - 1 + 100));
    free(got);
    free(json);
    chat_template_destroy(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endless_work_ends),         cmocka_unit_test(test_growing_values_end),
        cmocka_unit_test(test_large_numbers_end),         cmocka_unit_test(test_deep_templates_end),
        cmocka_unit_test(test_deep_recursion_ends),       cmocka_unit_test(test_deep_values_end),
        cmocka_unit_test(test_unclosed_tags_are_refused), cmocka_unit_test(test_long_conversations_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
