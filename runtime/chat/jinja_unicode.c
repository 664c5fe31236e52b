/* runtime/chat/jinja_unicode.c: Python's notions of white space, printable characters and letters' cases.
 *
 * Categories and simple case mappings come from utf8proc. Departures: of the mappings that change the length only the
 * sharp s is done, and a capital sigma always becomes the medial one.
 */
#include "jinja_text.h"

#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

bool jinja_is_space(uint32_t codepoint)
{
    if (codepoint < 0x80)
        return codepoint == ' ' || (codepoint >= 9 && codepoint <= 13) || (codepoint >= 28 && codepoint <= 31);
    return codepoint == 0x85 || codepoint == 0xA0 || codepoint == 0x1680 ||
           (codepoint >= 0x2000 && codepoint <= 0x200A) || codepoint == 0x2028 || codepoint == 0x2029 ||
           codepoint == 0x202F || codepoint == 0x205F || codepoint == 0x3000;
}

bool jinja_is_printable(uint32_t codepoint)
{
    if (codepoint < 0x7F)
        return codepoint >= ' ';
    switch (utf8proc_category((utf8proc_int32_t)codepoint)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

/* Bytes of the last character. */
static uint64_t last_bytes(const char *bytes, uint64_t count)
{
    uint64_t n = 1;
    while (n < count && ((unsigned char)bytes[count - n] & 0xC0u) == 0x80u)
        n++;
    return n;
}

uint64_t jinja_space_prefix(const char *bytes, uint64_t count)
{
    uint64_t at = 0;
    while (at < count) {
        uint32_t codepoint;
        bool valid;
        uint64_t n = utf8_decode(bytes + at, count - at, &codepoint, &valid);
        if (!jinja_is_space(codepoint))
            break;
        at += n;
    }
    return at;
}

uint64_t jinja_space_trimmed(const char *bytes, uint64_t count)
{
    while (count) {
        uint32_t codepoint;
        bool valid;
        uint64_t n = last_bytes(bytes, count);
        utf8_decode(bytes + count - n, n, &codepoint, &valid);
        if (!jinja_is_space(codepoint))
            break;
        count -= n;
    }
    return count;
}

/* True if the character bytes[0..n) is among `characters`. */
static bool is_among(jinja_state *state, const jinja_string *characters, const char *bytes, uint64_t n)
{
    jinja_work(state, 1 + characters->count / 64);
    return memmem(characters->bytes, characters->count, bytes, n) != NULL;
}

static uint64_t first_bytes(const char *bytes, uint64_t count)
{
    uint64_t n = 1;
    while (n < count && ((unsigned char)bytes[n] & 0xC0u) == 0x80u)
        n++;
    return n;
}

jinja_value jinja_trim(jinja_state *state, const jinja_string *string, const jinja_string *characters, int sides)
{
    uint64_t start = 0, end = string->count;
    if (!characters) {
        if (sides & JINJA_TRIM_RIGHT)
            end = jinja_space_trimmed(string->bytes, end);
        if (sides & JINJA_TRIM_LEFT)
            start = jinja_space_prefix(string->bytes, end);
        jinja_work(state, 1 + (start + string->count - end) / 4);
        return jinja_string_part(state, string, start, end - start);
    }
    while ((sides & JINJA_TRIM_RIGHT) && end > 0) {
        uint64_t n = last_bytes(string->bytes, end);
        if (!is_among(state, characters, string->bytes + end - n, n))
            break;
        end -= n;
    }
    while ((sides & JINJA_TRIM_LEFT) && start < end) {
        uint64_t n = first_bytes(string->bytes + start, end - start);
        if (!is_among(state, characters, string->bytes + start, n))
            break;
        start += n;
    }
    return jinja_string_part(state, string, start, end - start);
}

static bool is_cased(uint32_t codepoint)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)codepoint);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
}

static void recased_add(jinja_state *state, jinja_buffer *buffer, uint32_t codepoint, jinja_case to)
{
    utf8proc_int32_t c = (utf8proc_int32_t)codepoint;
    if (to == JINJA_SWAP)
        to = utf8proc_category(c) == UTF8PROC_CATEGORY_LU ? JINJA_LOWER : JINJA_UPPER;
    if (codepoint == 0xDF && to != JINJA_LOWER)
        jinja_buffer_add_text(state, buffer, to == JINJA_TITLE ? "Ss" : "SS");
    else
        jinja_buffer_add_codepoint(state, buffer,
                                   (uint32_t)(to == JINJA_UPPER   ? utf8proc_toupper(c)
                                              : to == JINJA_TITLE ? utf8proc_totitle(c)
                                                                  : utf8proc_tolower(c)));
}

jinja_value jinja_recase(jinja_state *state, const jinja_string *string, jinja_case to)
{
    jinja_buffer *buffer = jinja_buffer_open(state);
    bool in_word = false;
    jinja_work(state, string->count / 4);
    for (uint64_t i = 0; i < string->count;) {
        uint32_t codepoint;
        bool valid;
        uint64_t n = utf8_decode(string->bytes + i, string->count - i, &codepoint, &valid);
        jinja_case each = to;
        if (to == JINJA_TITLE)
            each = in_word ? JINJA_LOWER : JINJA_TITLE;
        else if (to == JINJA_CAPITALIZE)
            each = i ? JINJA_LOWER : JINJA_TITLE;
        in_word = is_cased(codepoint);
        recased_add(state, buffer, codepoint, each);
        i += n;
    }
    return jinja_text_take(state, buffer);
}
