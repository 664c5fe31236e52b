/* test_splitter.c: the behaviors of a Split, and the translation from Oniguruma's syntax. The expected pieces are those
 * of Hugging Face's tokenizers 0.23 (pre_tokenizers.Split).
 */
#include "cmocka_test.h"
#include "splitter.h"

#include <string.h>

/* Pieces of text joined by '|'. */
static const char *pieces(const char *pattern, bool literal, split_behavior behavior, bool inverted, const char *text)
{
    static char joined[512];
    splitter how;
    tn_error err = TN_ERROR_INIT;
    if (splitter_init(&how, pattern, strlen(pattern), literal, behavior, inverted, &err) != TN_OK)
        fail_msg("%s", err.msg);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    split pass;
    size_t used = 0, n;
    const char *piece;
    split_start(&pass, &how, match, text, strlen(text));
    joined[0] = '\0';
    while (assert_int_equal(split_next(&pass, &piece, &n, &err), TN_OK), n > 0)
        used += (size_t)snprintf(joined + used, sizeof joined - used, "%s%.*s", used ? "|" : "", (int)n, piece);
    pcre2_match_data_free(match);
    splitter_finish(&how);
    return joined;
}

#define REGEX(pattern, text) pieces(pattern, false, SPLIT_ISOLATED, false, text)

static void test_behaviors_join_as_in_tokenizers(void **state)
{
    (void)state;
    const char *text = "the-final--countdown";
    assert_string_equal(pieces("-", true, SPLIT_ISOLATED, false, text), "the|-|final|-|-|countdown");
    assert_string_equal(pieces("-", true, SPLIT_REMOVED, false, text), "the|final|countdown");
    assert_string_equal(pieces("-", true, SPLIT_MERGED_WITH_PREVIOUS, false, text), "the-|final-|-|countdown");
    assert_string_equal(pieces("-", true, SPLIT_MERGED_WITH_NEXT, false, text), "the|-final|-|-countdown");
    assert_string_equal(pieces("-", true, SPLIT_CONTIGUOUS, false, text), "the|-|final|--|countdown");
    assert_string_equal(pieces("\\w+", false, SPLIT_REMOVED, true, text), "the|final|countdown");
}

/* Inverted, gaps can touch. */
static void test_inversion_swaps_matches_and_gaps(void **state)
{
    (void)state;
    assert_string_equal(pieces("a", true, SPLIT_MERGED_WITH_NEXT, true, "xaaxa"), "xa|a|xa");
    assert_string_equal(pieces("a", true, SPLIT_MERGED_WITH_PREVIOUS, true, "xaaxa"), "x|a|ax|a");
    assert_string_equal(pieces("a", true, SPLIT_CONTIGUOUS, true, "xaaxa"), "x|aa|x|a");
    assert_string_equal(pieces("a", true, SPLIT_REMOVED, true, "xaaxa"), "a|a|a");
}

static void test_a_match_at_either_end_loses_nothing(void **state)
{
    (void)state;
    assert_string_equal(pieces("-", true, SPLIT_MERGED_WITH_NEXT, false, "-a-"), "-a|-");
    assert_string_equal(pieces("-", true, SPLIT_MERGED_WITH_PREVIOUS, false, "-a-"), "-|a-");
    assert_string_equal(pieces("-", true, SPLIT_ISOLATED, false, "-"), "-");
    assert_string_equal(pieces("-", true, SPLIT_REMOVED, false, "--"), "");
}

static void test_a_zero_length_match_cuts(void **state)
{
    (void)state;
    assert_string_equal(REGEX("(?=(\\d{3})+(?!\\d))", "1234567"), "1|234|567");
    assert_string_equal(REGEX("(?=[A-Z])", "camelCaseText"), "camel|Case|Text");
}

static void test_spaces_are_those_of_unicode(void **state)
{
    (void)state;
    assert_string_equal(REGEX("\\s", "a\xC2\xA0"
                                     "b\xE3\x80\x80"
                                     "c\xC2\x85"),
                        "a|\xC2\xA0|b|\xE3\x80\x80|c|\xC2\x85");
    assert_string_equal(REGEX("\\s", "a\xE1\xA0\x8E"
                                     "b\x1C"
                                     "c"),
                        "a\xE1\xA0\x8E"
                        "b\x1C"
                        "c"); /* U+180E is none */
    assert_string_equal(REGEX("[^\\s]+", "a\xE1\xA0\x8E b"), "a\xE1\xA0\x8E| |b");
    assert_string_equal(REGEX("[^\\S\\n]+", "a \t\n b"), "a| \t|\n| |b");
}

static void test_letters_include_those_newer_than_the_library(void **state)
{
    (void)state;
    /* U+31350 (Unicode 15.0), U+2EBF0 (15.1), U+1C89 (16.0); U+1E4F0 is a digit (15.0). */
    assert_string_equal(REGEX("\\p{L}+", "a\xF0\xB1\x8D\x90\xF0\xAE\xAF\xB0\xE1\xB2\x89-"),
                        "a\xF0\xB1\x8D\x90\xF0\xAE\xAF\xB0\xE1\xB2\x89|-");
    assert_string_equal(REGEX("[^\\p{L}]+", "a\xF0\xB1\x8D\x90-"), "a\xF0\xB1\x8D\x90|-");
    assert_string_equal(REGEX("\\p{N}|\\P{L}+", "a\xF0\x9E\x93\xB0-"), "a|\xF0\x9E\x93\xB0|-");
    assert_string_equal(REGEX("\\p{Lu}", "x\xE1\xB2\x89"), "x|\xE1\xB2\x89");
}

static void test_the_syntax_is_ruby(void **state)
{
    (void)state;
    assert_string_equal(REGEX("^a|b$", "ab\nab"), "a|b|\n|a|b");      /* anchors hold at every line */
    assert_string_equal(REGEX("(?m:b.c)", "ab\ncd"), "a|b\nc|d");     /* (?m) lets . match a newline */
    assert_string_equal(REGEX("\\h+", "xyzBEEFxyz"), "xyz|BEEF|xyz"); /* hexadecimal digits */
    assert_string_equal(REGEX("\\v", "a\vb\nc"), "a|\v|b\nc");
    assert_string_equal(REGEX("\\u00e9", "caf\xC3\xA9"), "caf|\xC3\xA9");
    assert_string_equal(REGEX("(?i:'S|'LL)", "it's we'll"), "it|'s| we|'ll");
    assert_string_equal(REGEX("\\p{Han}+", "\xE4\xB8\x80\xE3\x80\x81"),
                        "\xE4\xB8\x80|\xE3\x80\x81"); /* U+3001 has no script */
    assert_string_equal(REGEX("[]a]+", "x]a"), "x|]a");
    assert_string_equal(REGEX("[[:digit:]]+", "a12"), "a|12");
    assert_string_equal(REGEX("\\d{1,3}(?=(?:\\d{3})*\\b)", "1234567"), "1|234|567");
}

static tn_status refusal(const char *pattern, tn_error *err)
{
    splitter how;
    *err = (tn_error)TN_ERROR_INIT;
    tn_status status = splitter_init(&how, pattern, strlen(pattern), false, SPLIT_ISOLATED, false, err);
    splitter_finish(&how);
    return status;
}

static void test_what_pcre2_cannot_say_is_refused_with_its_place(void **state)
{
    (void)state;
    tn_error err;
    static const char *const unsupported[] = {"[a-z&&[^b]]", "[a[bc]]", "\\p{N}{1,3}+", "\\pL", "[\\W]",
                                              "a\\",         "\\p{}",   "\\u12",        "\\M-a"};
    for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++) {
        assert_int_equal(refusal(unsupported[i], &err), TN_E_UNSUPPORTED);
        assert_non_null(strstr(err.msg, " at byte "));
    }
    static const char *const broken[] = {"(", "[a", "a{2,1}", "(?<=a+)", "*", "\\p{Nonsense}", "\\x{110000}"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        assert_int_equal(refusal(broken[i], &err), TN_E_CORRUPT);
        assert_non_null(strstr(err.msg, "does not compile"));
    }
}

static void test_a_regex_that_explodes_is_stopped(void **state)
{
    (void)state;
    splitter how;
    split pass;
    const char *piece;
    size_t n;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(splitter_init(&how, "(?:a|a|aa)+[bc]", 15, false, SPLIT_ISOLATED, false, NULL), TN_OK);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    split_start(&pass, &how, match, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 58);
    assert_int_equal(split_next(&pass, &piece, &n, &err), TN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "gave up"));
    pcre2_match_data_free(match);
    splitter_finish(&how);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_behaviors_join_as_in_tokenizers),
        cmocka_unit_test(test_inversion_swaps_matches_and_gaps),
        cmocka_unit_test(test_a_match_at_either_end_loses_nothing),
        cmocka_unit_test(test_a_zero_length_match_cuts),
        cmocka_unit_test(test_spaces_are_those_of_unicode),
        cmocka_unit_test(test_letters_include_those_newer_than_the_library),
        cmocka_unit_test(test_the_syntax_is_ruby),
        cmocka_unit_test(test_what_pcre2_cannot_say_is_refused_with_its_place),
        cmocka_unit_test(test_a_regex_that_explodes_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
