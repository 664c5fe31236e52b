/* test_multipart.c: forms cut at every byte, and forms that are none. What else is wrong: tests/e2e/test_jobs.py. */
#include "jobs/multipart.h"

#include "cmocka_test.h"

#include <string.h>

static tn_error err = TN_ERROR_INIT;
static char told[512]; /* "name/filename:content;" of each part */

static tn_status begin(void *ctx, const multipart_part *part, tn_error *fault)
{
    (void)ctx;
    (void)fault;
    size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%s/%s:", part->name, part->has_filename ? part->filename : "-");
    return TN_OK;
}

static tn_status content(void *ctx, const char *bytes, size_t n, tn_error *fault)
{
    (void)ctx;
    (void)fault;
    size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%.*s", (int)n, bytes);
    return TN_OK;
}

static tn_status end(void *ctx, tn_error *fault)
{
    (void)ctx;
    (void)fault;
    strcat(told, ";");
    return TN_OK;
}

static tn_status parse(const char *type, const char *body, size_t cut)
{
    const multipart_sink sink = {NULL, begin, content, end};
    static multipart form;
    const size_t n = strlen(body);

    told[0] = '\0';
    tn_status status = multipart_init(&form, type, &sink, &err);
    if (status == TN_OK)
        status = multipart_feed(&form, body, cut, &err);
    if (status == TN_OK)
        status = multipart_feed(&form, body + cut, n - cut, &err);
    return status == TN_OK ? multipart_end(&form, &err) : status;
}

#define TYPE       "multipart/form-data; boundary=cut"
#define PART(name) "--cut\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"

static void test_parts_are_the_same_wherever_the_body_is_cut(void **state)
{
    static const char body[] = "before\r\n" PART(
        "purpose") "batch\r\n--cut \t\r\nX: y\r\nContent-Disposition: form-data; "
                   "name=file; filename=\"../a \\\"b\\\".jsonl\"\r\n\r\n\r\n\r\r\n--cu\r\n--\r\n--cut--\r\nafter";
    (void)state;
    for (size_t cut = 0; cut <= sizeof body - 1; cut++) {
        assert_int_equal(parse(TYPE, body, cut), TN_OK);
        assert_string_equal(told, "purpose/-:batch;file/a \"b\".jsonl:\r\n\r\r\n--cu\r\n--;");
    }
}

static void test_empty_parts_and_forms_without_any_are_forms(void **state)
{
    (void)state;
    assert_int_equal(parse(TYPE, PART("a") "\r\n--cut--", 3), TN_OK);
    assert_string_equal(told, "a/-:;");
    assert_int_equal(parse("Multipart/Form-Data; x=\"a;b\" ; Boundary=\"cut\"", "--cut--", 0), TN_OK);
    assert_string_equal(told, "");
}

static void test_a_form_that_is_cut_off_is_refused_at_every_length(void **state)
{
    static const char body[] = PART("a") "x\r\n--cut--";
    char part[sizeof body];
    (void)state;
    for (size_t n = 0; n < sizeof body - 1; n++) {
        memcpy(part, body, n);
        part[n] = '\0';
        assert_int_equal(parse(TYPE, part, n / 2), TN_E_ARGUMENT);
    }
}

static void test_types_without_a_boundary_are_refused(void **state)
{
    static const char *const types[] = {NULL,
                                        "",
                                        "application/json; boundary=cut",
                                        "multipart/form-data",
                                        "multipart/form-data; boundary=",
                                        "multipart/form-data; boundary=\"cut",
                                        "multipart/form-data; boundary=\"cut \"",
                                        "multipart/form-data; boundary=cut; boundary=cut",
                                        "multipart/form-data; boundary=c@t",
                                        "multipart/form-data; boundary"};
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        assert_int_equal(parse(types[i], "--cut--", 0), TN_E_ARGUMENT);
}

static void test_heads_that_say_nothing_good_are_refused(void **state)
{
    static const char *const bodies[] = {
        "--cut\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: form-data\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: file; name=a\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: form-data; name=a; filename=\"\x01\"\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--cut--"};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        assert_int_equal(parse(TYPE, bodies[i], 0), TN_E_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_are_the_same_wherever_the_body_is_cut),
        cmocka_unit_test(test_empty_parts_and_forms_without_any_are_forms),
        cmocka_unit_test(test_a_form_that_is_cut_off_is_refused_at_every_length),
        cmocka_unit_test(test_types_without_a_boundary_are_refused),
        cmocka_unit_test(test_heads_that_say_nothing_good_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
