/* test_added_tokens.c: leftmost-longest matching of tokens in text, and what surrounds them. */
#include "base/tokenizer/added_tokens.h"
#include "cmocka_test.h"

#include <string.h>

static added_token token(const char *text, int32_t id)
{
    return (added_token){.text = (char *)text, .n = (uint32_t)strlen(text), .id = id};
}

/* Pieces joined by '|'; tokens as #id. */
static const char *scan_all(const added_token *tokens, size_t count, const char *text, bool parse_special)
{
    static char joined[512];
    added_tokens added = {0};
    added_scan scan;
    const added_token *found;
    const char *piece;
    size_t n, used = 0;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(added_tokens_add(&added, &tokens[i], NULL), TN_OK);
    added_tokens_seal(&added);
    added_scan_start(&scan, &added, text, strlen(text), parse_special);
    joined[0] = '\0';
    while (added_scan_next(&scan, &found, &piece, &n)) {
        used += (size_t)snprintf(joined + used, sizeof joined - used, "%s", used ? "|" : "");
        if (found)
            used += (size_t)snprintf(joined + used, sizeof joined - used, "#%d", found->id);
        else
            used += (size_t)snprintf(joined + used, sizeof joined - used, "%.*s", (int)n, piece);
    }
    added_tokens_finish(&added);
    return joined;
}

static void test_the_leftmost_and_then_the_longest_wins(void **state)
{
    (void)state;
    const added_token tokens[] = {token("ab", 1), token("abcd", 2), token("bcdef", 3), token("<|", 4)};
    assert_string_equal(scan_all(tokens, 4, "xabcdefab<|", false), "x|#2|ef|#1|#4");
    assert_string_equal(scan_all(tokens, 4, "abc", false), "#1|c");
    assert_string_equal(scan_all(tokens, 4, "", false), "");
    assert_string_equal(scan_all(tokens, 0, "abc", false), "abc");
}

static void test_special_tokens_are_text_unless_asked_for(void **state)
{
    (void)state;
    added_token tokens[] = {token("<|im_end|>", 1), token("[user]", 2)};
    tokens[0].special = true;
    assert_string_equal(scan_all(tokens, 2, "a<|im_end|>b[user]", true), "a|#1|b|#2");
    assert_string_equal(scan_all(tokens, 2, "a<|im_end|>b[user]", false), "a<|im_end|>b|#2");
}

/* As in tokenizers: matching is done once, and what is refused afterwards stays text. */
static void test_a_refused_token_hides_the_ones_within_it(void **state)
{
    (void)state;
    added_token tokens[] = {token("<|x|>", 1), token("|>", 2)};
    tokens[0].special = true;
    assert_string_equal(scan_all(tokens, 2, "<|x|>|>", false), "<|x|>|#2");
}

static void test_single_words_do_not_match_inside_words(void **state)
{
    (void)state;
    added_token tokens[] = {token("fox", 1)};
    tokens[0].single_word = true;
    assert_string_equal(scan_all(tokens, 1, "fox foxes _fox fox.", false), "#1| foxes _fox |#1|.");
    assert_string_equal(scan_all(tokens, 1,
                                 "\xC3\xA9"
                                 "fox fox\xCC\x81",
                                 false),
                        "\xC3\xA9"
                        "fox fox\xCC\x81");
    /* Circled letters are letters, U+1F18A is none. */
    assert_string_equal(scan_all(tokens, 1, "fox\xE2\x92\xB6 fox\xF0\x9F\x86\x8A", false),
                        "fox\xE2\x92\xB6 |#1|\xF0\x9F\x86\x8A");
}

static void test_tokens_swallow_the_spaces_they_are_told_to(void **state)
{
    (void)state;
    added_token tokens[] = {token("<l>", 1), token("<r>", 2)};
    tokens[0].lstrip = tokens[1].rstrip = true;
    assert_string_equal(scan_all(tokens, 2, "a \xE3\x80\x80<l> b", false), "a|#1| b");
    assert_string_equal(scan_all(tokens, 2, "a <r> \n b", false), "a |#2|b");
    assert_string_equal(scan_all(tokens, 2, "<r>  <l>", false), "#2|#1");
    assert_string_equal(scan_all(tokens, 2, "  <l>", false), "#1");
}

/* What tokenizers 0.23.3 makes of these. */
static void test_a_token_may_begin_in_swallowed_spaces(void **state)
{
    (void)state;
    added_token tokens[] = {token("<r>", 1), token("\n*", 2), token("\n", 3)};
    tokens[0].rstrip = true;
    assert_string_equal(scan_all(tokens, 2, "<r> \n*x", false), "#1|#2|x");
    assert_string_equal(scan_all(tokens, 3, "<r> \n x", false), "#1|#3| x");
    tokens[2].rstrip = true;
    assert_string_equal(scan_all(tokens, 3, "<r>\n\nx", false), "#1|#3|#3|x");
    tokens[2].lstrip = true;
    assert_string_equal(scan_all(tokens, 3, "<r> \n x", false), "#1|x");
    assert_string_equal(scan_all(tokens, 3, "<r> \n ", false), "#1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_leftmost_and_then_the_longest_wins),
        cmocka_unit_test(test_special_tokens_are_text_unless_asked_for),
        cmocka_unit_test(test_a_refused_token_hides_the_ones_within_it),
        cmocka_unit_test(test_single_words_do_not_match_inside_words),
        cmocka_unit_test(test_tokens_swallow_the_spaces_they_are_told_to),
        cmocka_unit_test(test_a_token_may_begin_in_swallowed_spaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
