/* runtime/chat/jinja_string_methods.c: Python's methods of str that templates call: splitting, searching, joining. */
#include "jinja_builtins.h"
#include "jinja_text.h"

#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

static jinja_value text_of(const jinja_string *string)
{
    return (jinja_value){.kind = JINJA_STRING, .as.string = string};
}

static jinja_value method_strip(jinja_state *state, jinja_call *call)
{
    return jinja_trim(state, call->self.as.string, jinja_argument_string(state, call, 0, NULL),
                      JINJA_TRIM_LEFT | JINJA_TRIM_RIGHT);
}

static jinja_value method_lstrip(jinja_state *state, jinja_call *call)
{
    return jinja_trim(state, call->self.as.string, jinja_argument_string(state, call, 0, NULL), JINJA_TRIM_LEFT);
}

static jinja_value method_rstrip(jinja_state *state, jinja_call *call)
{
    return jinja_trim(state, call->self.as.string, jinja_argument_string(state, call, 0, NULL), JINJA_TRIM_RIGHT);
}

static jinja_value method_upper(jinja_state *state, jinja_call *call)
{
    return jinja_recase(state, call->self.as.string, JINJA_UPPER);
}

static jinja_value method_lower(jinja_state *state, jinja_call *call)
{
    return jinja_recase(state, call->self.as.string, JINJA_LOWER);
}

static jinja_value method_title(jinja_state *state, jinja_call *call)
{
    return jinja_recase(state, call->self.as.string, JINJA_TITLE);
}

static jinja_value method_capitalize(jinja_state *state, jinja_call *call)
{
    return jinja_recase(state, call->self.as.string, JINJA_CAPITALIZE);
}

static jinja_value method_swapcase(jinja_state *state, jinja_call *call)
{
    return jinja_recase(state, call->self.as.string, JINJA_SWAP);
}

static void parts_reverse(jinja_builder *builder)
{
    for (uint64_t i = 0; i < builder->count / 2; i++) {
        jinja_value swapped = builder->items[i];
        builder->items[i] = builder->items[builder->count - 1 - i];
        builder->items[builder->count - 1 - i] = swapped;
    }
}

/* Splits at runs of white space; limit < 0: no limit. */
static void split_space(jinja_state *state, const jinja_string *string, jinja_int limit, jinja_builder *builder)
{
    uint64_t at = jinja_space_prefix(string->bytes, string->count);
    while (at < string->count) {
        if (limit >= 0 && (jinja_int)builder->count == limit) {
            jinja_builder_add(state, builder, jinja_string_part(state, string, at, string->count - at));
            return;
        }
        uint64_t end = at;
        while (end < string->count) {
            uint32_t codepoint;
            bool valid;
            uint64_t n = utf8_decode(string->bytes + end, string->count - end, &codepoint, &valid);
            if (jinja_is_space(codepoint))
                break;
            end += n;
        }
        jinja_builder_add(state, builder, jinja_string_part(state, string, at, end - at));
        at = end + jinja_space_prefix(string->bytes + end, string->count - end);
    }
}

/* The same from the end; the parts come in reverse. */
static void rsplit_space(jinja_state *state, const jinja_string *string, jinja_int limit, jinja_builder *builder)
{
    uint64_t end = jinja_space_trimmed(string->bytes, string->count);
    while (end > 0) {
        if (limit >= 0 && (jinja_int)builder->count == limit) {
            jinja_builder_add(state, builder, jinja_string_part(state, string, 0, end));
            return;
        }
        uint64_t at = end;
        while (at > 0 && jinja_space_trimmed(string->bytes, at) == at)
            do
                at--;
            while (at > 0 && ((unsigned char)string->bytes[at] & 0xC0u) == 0x80u);
        jinja_builder_add(state, builder, jinja_string_part(state, string, at, end - at));
        end = jinja_space_trimmed(string->bytes, at);
    }
}

static void split_text(jinja_state *state, const jinja_string *string, const jinja_string *separator, jinja_int limit,
                       jinja_builder *builder)
{
    uint64_t at = 0;
    for (;;) {
        uint64_t end = limit >= 0 && (jinja_int)builder->count == limit
                           ? UINT64_MAX
                           : jinja_string_find(state, string, separator, at);
        uint64_t stop = end == UINT64_MAX ? string->count : end;
        jinja_builder_add(state, builder, jinja_string_part(state, string, at, stop - at));
        if (end == UINT64_MAX)
            return;
        at = end + separator->count;
    }
}

/* The last place of needle that ends at or before `end`, or UINT64_MAX. */
static uint64_t find_last(jinja_state *state, const jinja_string *string, const jinja_string *needle, uint64_t end)
{
    if (needle->count > end)
        return UINT64_MAX;
    for (uint64_t at = end - needle->count;; at--) {
        jinja_work(state, needle->count / 64 + (at % 64 == 0));
        if (needle->count == 0 || memcmp(string->bytes + at, needle->bytes, needle->count) == 0)
            return at;
        if (at == 0)
            return UINT64_MAX;
    }
}

static void rsplit_text(jinja_state *state, const jinja_string *string, const jinja_string *separator, jinja_int limit,
                        jinja_builder *builder)
{
    uint64_t end = string->count;
    for (;;) {
        uint64_t at =
            limit >= 0 && (jinja_int)builder->count == limit ? UINT64_MAX : find_last(state, string, separator, end);
        uint64_t start = at == UINT64_MAX ? 0 : at + separator->count;
        jinja_builder_add(state, builder, jinja_string_part(state, string, start, end - start));
        if (at == UINT64_MAX)
            return;
        end = at;
    }
}

static jinja_value split(jinja_state *state, jinja_call *call, bool from_end)
{
    const jinja_string *string = call->self.as.string;
    const jinja_string *separator = jinja_argument_string(state, call, 0, NULL);
    jinja_int limit = jinja_argument_int(state, call, 1, -1);
    jinja_builder builder = {0};
    if (!separator)
        jinja_work(state, string->count / 4);
    if (separator && separator->count == 0)
        jinja_fail(state, "split: the separator is empty");
    if (!separator && from_end)
        rsplit_space(state, string, limit, &builder);
    else if (!separator)
        split_space(state, string, limit, &builder);
    else if (from_end)
        rsplit_text(state, string, separator, limit, &builder);
    else
        split_text(state, string, separator, limit, &builder);
    if (from_end)
        parts_reverse(&builder);
    return jinja_builder_take(state, &builder, JINJA_LIST);
}

static jinja_value method_split(jinja_state *state, jinja_call *call)
{
    return split(state, call, false);
}

static jinja_value method_rsplit(jinja_state *state, jinja_call *call)
{
    return split(state, call, true);
}

static jinja_value partition(jinja_state *state, jinja_call *call, bool from_end)
{
    const jinja_string *string = call->self.as.string;
    const jinja_string *separator = jinja_argument_string(state, call, 0, "");
    if (separator->count == 0)
        jinja_fail(state, "partition: the separator is empty");
    uint64_t at =
        from_end ? find_last(state, string, separator, string->count) : jinja_string_find(state, string, separator, 0);
    jinja_value *items = JINJA_ARRAY(state, jinja_value, 3);
    if (at == UINT64_MAX) {
        items[0] = items[1] = items[2] = jinja_text(state, "", 0);
        items[from_end ? 2 : 0] = call->self;
    } else {
        uint64_t after = at + separator->count;
        items[0] = jinja_string_part(state, string, 0, at);
        items[1] = text_of(separator);
        items[2] = jinja_string_part(state, string, after, string->count - after);
    }
    return jinja_list_of(state, JINJA_TUPLE, items, 3);
}

static jinja_value method_partition(jinja_state *state, jinja_call *call)
{
    return partition(state, call, false);
}

static jinja_value method_rpartition(jinja_state *state, jinja_call *call)
{
    return partition(state, call, true);
}

jinja_value jinja_string_lines(jinja_state *state, const jinja_string *string, bool keep_ends)
{
    jinja_builder builder = {0};
    jinja_work(state, string->count / 4);
    uint64_t start = 0;
    for (uint64_t i = 0; i < string->count;) {
        uint32_t c;
        bool valid;
        uint64_t n = utf8_decode(string->bytes + i, string->count - i, &c, &valid);
        uint64_t end = i;
        i += n;
        if (!((c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029))
            continue;
        if (c == '\r' && i < string->count && string->bytes[i] == '\n')
            i++;
        jinja_builder_add(state, &builder, jinja_string_part(state, string, start, (keep_ends ? i : end) - start));
        start = i;
    }
    if (start < string->count)
        jinja_builder_add(state, &builder, jinja_string_part(state, string, start, string->count - start));
    return jinja_builder_take(state, &builder, JINJA_LIST);
}

static jinja_value method_splitlines(jinja_state *state, jinja_call *call)
{
    return jinja_string_lines(state, call->self.as.string, jinja_argument_bool(state, call, 0, false));
}

static jinja_value method_join(jinja_state *state, jinja_call *call)
{
    const jinja_string *between = call->self.as.string;
    const jinja_list *list = jinja_iterate(state, call->bound[0]);
    jinja_buffer *buffer = jinja_buffer_open(state);
    for (uint64_t i = 0; i < list->count; i++) {
        jinja_value item = jinja_list_at(list, i);
        if (item.kind != JINJA_STRING)
            jinja_fail(state, "sequence item %llu: expected str instance, %s found", (unsigned long long)i,
                       jinja_type_name(item));
        if (i)
            jinja_buffer_add(state, buffer, between->bytes, between->count);
        jinja_buffer_add(state, buffer, item.as.string->bytes, item.as.string->count);
    }
    return jinja_text_take(state, buffer);
}

jinja_value jinja_string_replace(jinja_state *state, const jinja_string *string, const jinja_string *from,
                                 const jinja_string *to, jinja_int count)
{
    jinja_buffer *buffer = jinja_buffer_open(state);
    uint64_t at = 0, searched = 0; /* an empty `from` is found before every character and at the end */
    while (count != 0) {
        uint64_t found = jinja_string_find(state, string, from, searched);
        if (found == UINT64_MAX)
            break;
        jinja_buffer_add(state, buffer, string->bytes + at, found - at);
        jinja_buffer_add(state, buffer, to->bytes, to->count);
        jinja_work(state, 1);
        at = found + from->count;
        searched = at;
        if (from->count == 0) {
            searched++;
            while (searched < string->count && ((unsigned char)string->bytes[searched] & 0xC0u) == 0x80u)
                searched++;
        }
        if (count > 0)
            count--;
    }
    jinja_buffer_add(state, buffer, string->bytes + at, string->count - at);
    return jinja_text_take(state, buffer);
}

static jinja_value method_replace(jinja_state *state, jinja_call *call)
{
    return jinja_string_replace(state, call->self.as.string, jinja_argument_string(state, call, 0, ""),
                                jinja_argument_string(state, call, 1, ""), jinja_argument_int(state, call, 2, -1));
}

/* The part that the arguments start and end (of find, count, startswith) leave, and its place in characters. */
static const jinja_string *part_of(jinja_state *state, const jinja_call *call, uint64_t *ret_start)
{
    jinja_value start = call->bound[1].kind == JINJA_ABSENT ? jinja_none() : call->bound[1];
    jinja_value stop = call->bound[2].kind == JINJA_ABSENT ? jinja_none() : call->bound[2];
    jinja_value part = jinja_slice(state, call->self, start, stop, jinja_none());
    jinja_value tail = jinja_slice(state, call->self, start, jinja_none(), jinja_none());
    *ret_start = call->self.as.string->characters - tail.as.string->characters;
    return part.as.string;
}

static jinja_int found_at(jinja_state *state, jinja_call *call, bool last)
{
    uint64_t start;
    const jinja_string *part = part_of(state, call, &start);
    const jinja_string *needle = jinja_argument_string(state, call, 0, "");
    uint64_t byte = last ? find_last(state, part, needle, part->count) : jinja_string_find(state, part, needle, 0);
    if (byte == UINT64_MAX)
        return -1;
    return (jinja_int)(start + jinja_string_part(state, part, 0, byte).as.string->characters);
}

static jinja_value method_find(jinja_state *state, jinja_call *call)
{
    return jinja_integer(found_at(state, call, false));
}

static jinja_value method_rfind(jinja_state *state, jinja_call *call)
{
    return jinja_integer(found_at(state, call, true));
}

static jinja_value method_index(jinja_state *state, jinja_call *call)
{
    jinja_int at = found_at(state, call, false);
    if (at < 0)
        jinja_fail(state, "index: substring not found");
    return jinja_integer(at);
}

static jinja_value method_rindex(jinja_state *state, jinja_call *call)
{
    jinja_int at = found_at(state, call, true);
    if (at < 0)
        jinja_fail(state, "rindex: substring not found");
    return jinja_integer(at);
}

static jinja_value method_count(jinja_state *state, jinja_call *call)
{
    uint64_t start;
    const jinja_string *part = part_of(state, call, &start);
    const jinja_string *needle = jinja_argument_string(state, call, 0, "");
    if (needle->count == 0)
        return jinja_integer((jinja_int)part->characters + 1);
    jinja_int count = 0;
    for (uint64_t at = 0; (at = jinja_string_find(state, part, needle, at)) != UINT64_MAX; at += needle->count) {
        jinja_work(state, 1);
        count++;
    }
    return jinja_integer(count);
}

static bool affix_matches(jinja_state *state, const jinja_string *string, jinja_value affix, bool at_end)
{
    if (affix.kind == JINJA_TUPLE) {
        for (uint64_t i = 0; i < affix.as.list->count; i++) {
            jinja_work(state, 1);
            if (affix.as.list->items[i].kind == JINJA_STRING &&
                affix_matches(state, string, affix.as.list->items[i], at_end))
                return true;
        }
        return false;
    }
    jinja_require_defined(state, affix);
    if (affix.kind != JINJA_STRING)
        jinja_fail(state, "%s: the argument must be str or a tuple of str, not %s", at_end ? "endswith" : "startswith",
                   jinja_type_name(affix));
    uint64_t n = affix.as.string->count;
    if (n > string->count)
        return false;
    jinja_work(state, n / 64);
    return n == 0 || memcmp(string->bytes + (at_end ? string->count - n : 0), affix.as.string->bytes, n) == 0;
}

static jinja_value method_startswith(jinja_state *state, jinja_call *call)
{
    uint64_t start;
    return jinja_bool(affix_matches(state, part_of(state, call, &start), call->bound[0], false));
}

static jinja_value method_endswith(jinja_state *state, jinja_call *call)
{
    uint64_t start;
    return jinja_bool(affix_matches(state, part_of(state, call, &start), call->bound[0], true));
}

static jinja_value method_removeprefix(jinja_state *state, jinja_call *call)
{
    const jinja_string *string = call->self.as.string, *affix = jinja_argument_string(state, call, 0, "");
    if (!affix_matches(state, string, text_of(affix), false))
        return call->self;
    return jinja_string_part(state, string, affix->count, string->count - affix->count);
}

static jinja_value method_removesuffix(jinja_state *state, jinja_call *call)
{
    const jinja_string *string = call->self.as.string, *affix = jinja_argument_string(state, call, 0, "");
    if (!affix_matches(state, string, text_of(affix), true))
        return call->self;
    return jinja_string_part(state, string, 0, string->count - affix->count);
}

typedef enum character_class { CLASS_ALPHA, CLASS_DIGIT, CLASS_DECIMAL, CLASS_ALNUM, CLASS_SPACE } character_class;

static bool is_of_class(uint32_t codepoint, character_class class)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)codepoint);
    bool alpha = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    bool decimal = category == UTF8PROC_CATEGORY_ND;
    /* superscripts and circled digits are digits to Python, but no decimals */
    bool digit = decimal || codepoint == 0xB2 || codepoint == 0xB3 || codepoint == 0xB9 ||
                 (codepoint >= 0x2070 && codepoint <= 0x2089 && category == UTF8PROC_CATEGORY_NO);
    switch (class) {
    case CLASS_ALPHA:
        return alpha;
    case CLASS_DIGIT:
        return digit;
    case CLASS_DECIMAL:
        return decimal;
    case CLASS_ALNUM:
        return alpha || (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
    case CLASS_SPACE:
        return jinja_is_space(codepoint);
    }
    return false;
}

static jinja_value all_of_class(jinja_state *state, jinja_call *call, character_class class)
{
    const jinja_string *string = call->self.as.string;
    jinja_work(state, string->count / 4);
    for (uint64_t i = 0; i < string->count;) {
        uint32_t codepoint;
        bool valid;
        i += utf8_decode(string->bytes + i, string->count - i, &codepoint, &valid);
        if (!is_of_class(codepoint, class))
            return jinja_bool(false);
    }
    return jinja_bool(string->count > 0);
}

static jinja_value method_isalpha(jinja_state *state, jinja_call *call)
{
    return all_of_class(state, call, CLASS_ALPHA);
}

static jinja_value method_isdigit(jinja_state *state, jinja_call *call)
{
    return all_of_class(state, call, CLASS_DIGIT);
}

static jinja_value method_isdecimal(jinja_state *state, jinja_call *call)
{
    return all_of_class(state, call, CLASS_DECIMAL);
}

static jinja_value method_isalnum(jinja_state *state, jinja_call *call)
{
    return all_of_class(state, call, CLASS_ALNUM);
}

static jinja_value method_isspace(jinja_state *state, jinja_call *call)
{
    return all_of_class(state, call, CLASS_SPACE);
}

static jinja_value cased_by_test(jinja_state *state, jinja_call *call, const char *test)
{
    jinja_call inner = {.self = call->self};
    const jinja_string name = {test, strlen(test), strlen(test), false};
    return jinja_invoke(state, jinja_test_find(&name), &inner);
}

static jinja_value method_islower(jinja_state *state, jinja_call *call)
{
    return cased_by_test(state, call, "lower");
}

static jinja_value method_isupper(jinja_state *state, jinja_call *call)
{
    return cased_by_test(state, call, "upper");
}

/* ljust, rjust, zfill. left: the filling goes before the text. */
static jinja_value padded(jinja_state *state, jinja_call *call, const jinja_string *filling, bool left)
{
    const jinja_string *string = call->self.as.string;
    jinja_int width = jinja_argument_int(state, call, 0, 0);
    jinja_int missing = width - (jinja_int)string->characters;
    if (filling->characters != 1)
        jinja_fail(state, "the fill character must be exactly one character long");
    jinja_buffer *buffer = jinja_buffer_open(state);
    if (!left)
        jinja_buffer_add(state, buffer, string->bytes, string->count);
    for (; missing > 0; missing--) {
        jinja_work(state, 1);
        jinja_buffer_add(state, buffer, filling->bytes, filling->count);
    }
    if (left)
        jinja_buffer_add(state, buffer, string->bytes, string->count);
    return jinja_text_take(state, buffer);
}

static jinja_value method_ljust(jinja_state *state, jinja_call *call)
{
    return padded(state, call, jinja_argument_string(state, call, 1, " "), false);
}

static jinja_value method_rjust(jinja_state *state, jinja_call *call)
{
    return padded(state, call, jinja_argument_string(state, call, 1, " "), true);
}

static jinja_value method_zfill(jinja_state *state, jinja_call *call)
{
    const jinja_string *string = call->self.as.string;
    const jinja_string zero = {"0", 1, 1, false};
    bool is_signed = string->count && (string->bytes[0] == '-' || string->bytes[0] == '+');
    if (!is_signed)
        return padded(state, call, &zero, true);
    jinja_buffer *buffer = jinja_buffer_open(state);
    jinja_call rest = *call;
    rest.self = jinja_string_part(state, string, 1, string->count - 1);
    rest.bound[0] = jinja_integer(jinja_argument_int(state, call, 0, 0) - 1);
    jinja_buffer_add_char(state, buffer, string->bytes[0]);
    jinja_str_add(state, buffer, padded(state, &rest, &zero, true));
    return jinja_text_take(state, buffer);
}

static jinja_value method_center(jinja_state *state, jinja_call *call)
{
    const jinja_string name = {"center", 6, 6, false};
    jinja_call inner = *call;
    return jinja_invoke(state, jinja_filter_find(&name), &inner);
}

static jinja_value method_format(jinja_state *state, jinja_call *call)
{
    return jinja_format_braces(state, call->self.as.string, call);
}

static const jinja_function items_table[] = {
    {.name = "capitalize", .run = method_capitalize, .parameters = ""},
    {.name = "center", .run = method_center, .parameters = "width", .n_required = 1},
    {.name = "count", .run = method_count, .parameters = "sub start end", .n_required = 1},
    {.name = "endswith", .run = method_endswith, .parameters = "suffix start end", .n_required = 1},
    {.name = "find", .run = method_find, .parameters = "sub start end", .n_required = 1},
    {.name = "format", .run = method_format},
    {.name = "index", .run = method_index, .parameters = "sub start end", .n_required = 1},
    {.name = "isalnum", .run = method_isalnum, .parameters = ""},
    {.name = "isalpha", .run = method_isalpha, .parameters = ""},
    {.name = "isdecimal", .run = method_isdecimal, .parameters = ""},
    {.name = "isdigit", .run = method_isdigit, .parameters = ""},
    {.name = "islower", .run = method_islower, .parameters = ""},
    {.name = "isspace", .run = method_isspace, .parameters = ""},
    {.name = "isupper", .run = method_isupper, .parameters = ""},
    {.name = "join", .run = method_join, .parameters = "iterable", .n_required = 1},
    {.name = "ljust", .run = method_ljust, .parameters = "width fillchar", .n_required = 1},
    {.name = "lower", .run = method_lower, .parameters = ""},
    {.name = "lstrip", .run = method_lstrip, .parameters = "chars"},
    {.name = "partition", .run = method_partition, .parameters = "sep", .n_required = 1},
    {.name = "removeprefix", .run = method_removeprefix, .parameters = "prefix", .n_required = 1},
    {.name = "removesuffix", .run = method_removesuffix, .parameters = "suffix", .n_required = 1},
    {.name = "replace", .run = method_replace, .parameters = "old new count", .n_required = 2},
    {.name = "rfind", .run = method_rfind, .parameters = "sub start end", .n_required = 1},
    {.name = "rindex", .run = method_rindex, .parameters = "sub start end", .n_required = 1},
    {.name = "rjust", .run = method_rjust, .parameters = "width fillchar", .n_required = 1},
    {.name = "rpartition", .run = method_rpartition, .parameters = "sep", .n_required = 1},
    {.name = "rsplit", .run = method_rsplit, .parameters = "sep maxsplit"},
    {.name = "rstrip", .run = method_rstrip, .parameters = "chars"},
    {.name = "split", .run = method_split, .parameters = "sep maxsplit"},
    {.name = "splitlines", .run = method_splitlines, .parameters = "keepends"},
    {.name = "startswith", .run = method_startswith, .parameters = "prefix start end", .n_required = 1},
    {.name = "strip", .run = method_strip, .parameters = "chars"},
    {.name = "swapcase", .run = method_swapcase, .parameters = ""},
    {.name = "title", .run = method_title, .parameters = ""},
    {.name = "upper", .run = method_upper, .parameters = ""},
    {.name = "zfill", .run = method_zfill, .parameters = "width", .n_required = 1},
};
const jinja_functions jinja_string_methods = {items_table, sizeof items_table / sizeof *items_table};
