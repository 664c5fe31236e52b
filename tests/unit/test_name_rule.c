/* test_name_rule.c: names become paths and rows, so what may not be one is refused here. */
#include "registry/name_rule.h"

#include "cmocka_test.h"

#include <string.h>

static void test_names(void **state)
{
    static const char *const good[] = {"a", "0", "Llama-3.1_8B", "v1", "x.y-z"};
    static const char *const bad[] = {"", ".", "..", ".a", "-a", "_a", "a/b", "a b", "a:b", "a@b", "a\n", "\xc3\xa9"};
    char longest[NAME_BYTES_MAX + 2];
    tn_error err = TN_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(name_check("it", good[i], &err), TN_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(name_check("it", bad[i], &err), TN_E_ARGUMENT);
    memset(longest, 'a', sizeof longest);
    longest[NAME_BYTES_MAX + 1] = '\0';
    assert_int_equal(name_check("it", longest, &err), TN_E_ARGUMENT);
    longest[NAME_BYTES_MAX] = '\0';
    assert_int_equal(name_check("it", longest, &err), TN_OK);
}

static void test_file_names(void **state)
{
    static const char *const good[] = {"a", "config.json", "a/b/c", "a b%", "..a", "a..", "\xc3\xa9", "bin", "a.bin/x"};
    static const char *const bad[] = {"",     "/",    "/a",     "a/",   "a//b",  ".",     "..",        "./a", "a/.",
                                      "../a", "a/..", "a/../b", "a\\b", "a\x01", "a\x7f", "a\xc2\x9b", "\xff"};
    static const char *const pickles[] = {"a.bin", "x/y.PT", "a.pth", "a.pkl", "a.Pickle", "a.ckpt"};
    tn_error err = TN_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(file_name_check("here", good[i], &err), TN_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(file_name_check("here", bad[i], &err), TN_E_CORRUPT);
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++)
        assert_int_equal(file_name_check("here", pickles[i], &err), TN_E_UNSUPPORTED);
}

static void test_long_and_deep_file_names(void **state)
{
    char name[FILE_NAME_BYTES_MAX + 2];
    tn_error err = TN_ERROR_INIT;

    (void)state;
    memset(name, 'a', sizeof name);
    name[255] = '\0';
    assert_int_equal(file_name_check("here", name, &err), TN_OK);
    name[255] = 'a';
    name[256] = '\0';
    assert_int_equal(file_name_check("here", name, &err), TN_E_CORRUPT);
    for (int depth = 0; depth <= FILE_DEPTH_MAX + 1; depth++)
        memcpy(name + 2 * depth, "a/", 2);
    name[2 * FILE_DEPTH_MAX + 1] = '\0';
    assert_int_equal(file_name_check("here", name, &err), TN_OK);
    name[2 * FILE_DEPTH_MAX + 1] = '/';
    name[2 * FILE_DEPTH_MAX + 3] = '\0';
    assert_int_equal(file_name_check("here", name, &err), TN_E_CORRUPT);
}

static void test_hidden_names(void **state)
{
    (void)state;
    assert_true(is_hidden_name(".gitattributes") && is_hidden_name("a/.cache/b") && is_hidden_name("..a"));
    assert_false(is_hidden_name("a.b/c") || is_hidden_name("../a") || is_hidden_name("./a") || is_hidden_name("/etc"));
}

static void test_references(void **state)
{
    static const char digest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char *const bad[] = {"",      "@v",          "a@",  "a:",     "a@b@c",
                                      "a:b:c", "a@sha256:12", "a/b", "a@../x", "a@sha256:"};
    model_reference r;
    char text[128];
    tn_error err = TN_ERROR_INIT;

    (void)state;
    assert_int_equal(model_reference_parse("m", &r, &err), TN_OK);
    assert_true(!strcmp(r.model, "m") && !r.version[0] && !r.alias[0] && !r.digest[0]);
    assert_int_equal(model_reference_parse("m@v1", &r, &err), TN_OK);
    assert_true(!strcmp(r.version, "v1") && !r.alias[0] && !r.digest[0]);
    assert_int_equal(model_reference_parse("m:prod", &r, &err), TN_OK);
    assert_true(!strcmp(r.alias, "prod") && !r.version[0] && !r.digest[0]);
    snprintf(text, sizeof text, "m@sha256:%s", digest);
    assert_int_equal(model_reference_parse(text, &r, &err), TN_OK);
    assert_true(!strcmp(r.digest, digest) && !r.version[0] && !r.alias[0]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(model_reference_parse(bad[i], &r, &err), TN_E_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_file_names),
        cmocka_unit_test(test_long_and_deep_file_names),
        cmocka_unit_test(test_hidden_names),
        cmocka_unit_test(test_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
