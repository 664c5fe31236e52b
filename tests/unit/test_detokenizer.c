/* test_detokenizer.c: any cut of the bytes into tokens gives the same text and the same stop as the bytes at once. */
#include "cmocka_test.h"

#include "base/utf8.h"
#include "engine/detokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 4096 };

typedef struct outcome {
    char text[TEXT_MAX];
    size_t bytes;
    uint32_t stop; /* index, or DETOKENIZER_NO_STOP */
} outcome;

static stop_string stop_of(const char *text)
{
    return (stop_string){.text = text, .bytes = (uint32_t)strlen(text)};
}

/* Feeds bytes in pieces of the lengths that `cut` yields. */
static outcome feed(const char *bytes, size_t n, unsigned cut, const stop_string *stop, uint32_t stop_count, bool keep)
{
    char held[TEXT_MAX], shown[TEXT_MAX];
    detokenizer text = {.held = held};
    outcome out = {.stop = DETOKENIZER_NO_STOP};
    bool done = false;

    for (size_t at = 0; at < n && !done;) {
        cut = cut * 1103515245 + 12345;
        size_t length = 1 + (cut >> 16) % 5;
        if (length > n - at)
            length = n - at;
        out.stop = detokenizer_push(&text, bytes + at, (uint32_t)length, stop, stop_count, stop_count > 0, keep);
        done = out.stop != DETOKENIZER_NO_STOP;
        uint32_t ready = detokenizer_take(&text, shown);
        assert_true(utf8_is_valid(shown, ready));
        memcpy(out.text + out.bytes, shown, ready);
        out.bytes += ready;
        assert_int_equal(text.shown_bytes, out.bytes);
        at += length;
    }
    detokenizer_end(&text);
    uint32_t ready = detokenizer_take(&text, shown);
    memcpy(out.text + out.bytes, shown, ready + 1);
    out.bytes += ready;
    return out;
}

/* The definition: replace what is ill-formed, find the match that ends first (the longest of those), cut. */
static outcome plainly(const char *bytes, size_t n, const stop_string *stop, uint32_t stop_count, bool keep)
{
    outcome out = {.stop = DETOKENIZER_NO_STOP};
    for (size_t at = 0; at < n;) {
        uint32_t codepoint;
        bool valid;
        at += utf8_decode(bytes + at, n - at, &codepoint, &valid);
        out.bytes += utf8_encode(codepoint, out.text + out.bytes);
    }
    out.text[out.bytes] = 0;
    for (size_t end = 1; end <= out.bytes && out.stop == DETOKENIZER_NO_STOP; end++) {
        for (uint32_t i = 0; i < stop_count; i++)
            if (stop[i].bytes <= end && memcmp(out.text + end - stop[i].bytes, stop[i].text, stop[i].bytes) == 0 &&
                (out.stop == DETOKENIZER_NO_STOP || stop[i].bytes > stop[out.stop].bytes))
                out.stop = i;
        if (out.stop != DETOKENIZER_NO_STOP) {
            out.bytes = keep ? end : end - stop[out.stop].bytes;
            out.text[out.bytes] = 0;
        }
    }
    return out;
}

static void test_token_borders_do_not_matter(void **state)
{
    static const char *const parts[] = {"a",    "ab",   "abc",  "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                                        "\xC3", "\xFF", "\x80", "st",       "op",           "\n\n",
                                        "END",  " "};
    const stop_string stops[] = {stop_of("stop"),    stop_of("abab"), stop_of("\xE2\x82\xAC\xE2\x82\xAC"),
                                 stop_of("\n\nEND"), stop_of("op"),   stop_of("aba")};
    unsigned dice = 1;
    (void)state;
    for (uint32_t round = 0; round < 20000; round++) {
        char bytes[256];
        size_t n = 0;
        while (n < 40) {
            dice = dice * 1103515245 + 12345;
            const char *part = parts[(dice >> 16) % (sizeof parts / sizeof parts[0])];
            memcpy(bytes + n, part, strlen(part));
            n += strlen(part);
        }
        uint32_t first = round % 5, count = round % 7 < 2 ? 0 : 1 + round % (6 - first);
        bool keep = round % 3 == 0;
        outcome expected = plainly(bytes, n, stops + first, count, keep);
        outcome got = feed(bytes, n, dice, stops + first, count, keep);
        assert_int_equal(got.stop, expected.stop);
        assert_int_equal(got.bytes, expected.bytes);
        assert_memory_equal(got.text, expected.text, got.bytes);
    }
}

static void test_only_a_possible_beginning_is_held_back(void **state)
{
    char held[256], shown[256];
    detokenizer text = {.held = held};
    const stop_string stop = stop_of("<end>");
    (void)state;
    assert_int_equal(detokenizer_push(&text, "abc<e", 5, &stop, 1, true, false), DETOKENIZER_NO_STOP);
    assert_int_equal(detokenizer_take(&text, shown), 3);
    assert_int_equal(detokenizer_push(&text, "x", 1, &stop, 1, true, false), DETOKENIZER_NO_STOP);
    assert_int_equal(detokenizer_take(&text, shown), 3);
    assert_string_equal(shown, "<ex");
}

static void test_without_matching_nothing_is_held_back(void **state)
{
    char held[256], shown[256];
    detokenizer text = {.held = held};
    const stop_string stop = stop_of("abc");
    (void)state;
    assert_int_equal(detokenizer_push(&text, "xabc", 4, &stop, 1, false, false), DETOKENIZER_NO_STOP);
    assert_int_equal(detokenizer_take(&text, shown), 4);
    /* What was shown before matching began is no part of a match. */
    assert_int_equal(detokenizer_push(&text, "ab", 2, &stop, 1, false, false), DETOKENIZER_NO_STOP);
    detokenizer_take(&text, shown);
    assert_int_equal(detokenizer_push(&text, "c", 1, &stop, 1, true, false), DETOKENIZER_NO_STOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_borders_do_not_matter),
        cmocka_unit_test(test_only_a_possible_beginning_is_held_back),
        cmocka_unit_test(test_without_matching_nothing_is_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
