/* added_tokens.c: most texts hold few of these tokens, so the loop that matters is the one that skips bytes no token
 * starts with.
 */
#include "base/tokenizer/added_tokens.h"

#include "base/tokenizer/white_space.h"
#include "base/utf8.h"

#include <string.h>

tn_status added_tokens_add(added_tokens *added, const added_token *token, tn_error *err)
{
    TN_ASSERT(token->n > 0 && token->n <= ADDED_TOKEN_BYTES_MAX);
    if (added->count == added->capacity) {
        uint32_t capacity = 2 * added->capacity + 16;
        added_token *grown = realloc(added->token, capacity * sizeof *grown);
        if (!grown)
            return tn_fail(err, TN_E_MEMORY, "no memory for %u added tokens", capacity);
        added->token = grown;
        added->capacity = capacity;
    }
    char *text = malloc(token->n);
    if (!text)
        return tn_fail(err, TN_E_MEMORY, "no memory for an added token");
    memcpy(text, token->text, token->n);
    added->token[added->count] = *token;
    added->token[added->count++].text = text;
    added->starts[(unsigned char)text[0]] = true;
    return TN_OK;
}

void added_tokens_make_special(added_tokens *added, int32_t id)
{
    for (uint32_t i = 0; i < added->count; i++)
        added->token[i].special |= added->token[i].id == id;
}

static int compare(const void *a, const void *b)
{
    const added_token *left = a, *right = b;
    int order = memcmp(left->text, right->text, left->n < right->n ? left->n : right->n);
    if (order != 0)
        return order;
    if (left->n != right->n)
        return left->n < right->n ? -1 : 1;
    return left->id < right->id ? -1 : 1;
}

void added_tokens_seal(added_tokens *added)
{
    if (added->count > 0)
        qsort(added->token, added->count, sizeof *added->token, compare);
}

void added_tokens_finish(added_tokens *added)
{
    for (uint32_t i = 0; i < added->count; i++)
        free(added->token[i].text);
    free(added->token);
    *added = (added_tokens){0};
}

void added_scan_start(added_scan *scan, const added_tokens *added, const char *text, size_t n, bool parse_special)
{
    *scan = (added_scan){.added = added, .text = text, .n = n, .parse_special = parse_special};
}

/* First of the tokens [low, high), which agree up to byte `depth`, whose byte there is >= (or >, if above) byte. A
 * token that ends at depth sorts first. */
static uint32_t bound(const added_tokens *added, uint32_t low, uint32_t high, uint32_t depth, unsigned char byte,
                      bool above)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const added_token *token = &added->token[middle];
        int at = token->n > depth ? (unsigned char)token->text[depth] : -1;
        if (at < byte || (above && at == byte))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const added_token *added_tokens_longest(const added_tokens *added, const char *text, size_t n)
{
    const added_token *best = NULL;
    uint32_t low = 0, high = added->count;
    for (uint32_t depth = 0; depth < n && low < high; depth++) {
        unsigned char byte = (unsigned char)text[depth];
        low = bound(added, low, high, depth, byte, false);
        high = bound(added, low, high, depth, byte, true);
        if (low < high && added->token[low].n == depth + 1)
            best = &added->token[low];
    }
    return best;
}

/* Circled and squared letters: symbols by category, letters by Unicode's Alphabetic. */
static bool is_enclosed_letter(uint32_t codepoint)
{
    return (codepoint >= 0x24B6 && codepoint <= 0x24E9) || (codepoint >= 0x1F130 && codepoint <= 0x1F149) ||
           (codepoint >= 0x1F150 && codepoint <= 0x1F169) || (codepoint >= 0x1F170 && codepoint <= 0x1F189);
}

/* \w of Unicode's UTS 18: letters, marks, decimal and letter numbers, connectors, joiners. */
static bool is_word_char(uint32_t codepoint)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)codepoint);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) || category == UTF8PROC_CATEGORY_PC ||
           codepoint == 0x200C || codepoint == 0x200D || is_enclosed_letter(codepoint);
}

/* Length and value of the character before `at`, at > 0, in valid UTF-8. */
static size_t char_before(const char *text, size_t at, uint32_t *ret_codepoint)
{
    size_t start = at - 1;
    bool valid;
    while (start > 0 && (text[start] & 0xC0) == 0x80)
        start--;
    utf8_decode(text + start, at - start, ret_codepoint, &valid);
    return at - start;
}

static bool is_single_word(const added_scan *scan, size_t start, size_t end)
{
    uint32_t codepoint;
    bool valid;
    if (start > 0 && (char_before(scan->text, start, &codepoint), is_word_char(codepoint)))
        return false;
    if (end < scan->n && (utf8_decode(scan->text + end, scan->n - end, &codepoint, &valid), is_word_char(codepoint)))
        return false;
    return true;
}

static size_t strip_left(const added_scan *scan, size_t start)
{
    uint32_t codepoint;
    while (start > scan->at) {
        size_t length = char_before(scan->text, start, &codepoint);
        if (!is_white_space(codepoint))
            break;
        start -= length;
    }
    return start > scan->at ? start : scan->at;
}

/* Walks no spaces twice: a token within those that the last one swallowed swallows the same. */
static size_t strip_right(added_scan *scan, size_t end)
{
    uint32_t codepoint;
    bool valid;
    if (end < scan->swallowed_end)
        return scan->swallowed_end;
    while (end < scan->n) {
        size_t length = utf8_decode(scan->text + end, scan->n - end, &codepoint, &valid);
        if (!is_white_space(codepoint))
            break;
        end += length;
    }
    scan->swallowed_end = end;
    return end;
}

/* Finds the next token to take: its extent with the spaces it swallows. As in tokenizers, a match that is refused hides
 * the text it covers from other tokens; swallowed spaces hide only a token that strips to the left and has nothing but
 * them. */
static const added_token *find(added_scan *scan, size_t *ret_start, size_t *ret_end)
{
    const added_tokens *added = scan->added;
    while (scan->searched < scan->n) {
        size_t start = scan->searched;
        while (start < scan->n && !added->starts[(unsigned char)scan->text[start]])
            start++;
        const added_token *token = added_tokens_longest(added, scan->text + start, scan->n - start);
        if (!token) {
            scan->searched = start + 1;
            continue;
        }
        size_t end = start + token->n;
        scan->searched = end;
        if ((token->special && !scan->parse_special) || (token->single_word && !is_single_word(scan, start, end)))
            continue;
        start = token->lstrip ? strip_left(scan, start) : start;
        end = token->rstrip ? strip_right(scan, end) : end;
        if (start >= end)
            continue;
        *ret_start = start;
        *ret_end = end;
        return token;
    }
    return NULL;
}

bool added_scan_next(added_scan *scan, const added_token **ret_token, const char **ret_piece, size_t *ret_n)
{
    size_t start = scan->n, end = scan->n;
    if (!scan->waiting) {
        scan->waiting = scan->added->count > 0 ? find(scan, &start, &end) : NULL;
        scan->waiting_end = end;
        if (start > scan->at) {
            *ret_token = NULL;
            *ret_piece = scan->text + scan->at;
            *ret_n = start - scan->at;
            scan->at = start;
            return true;
        }
        if (!scan->waiting)
            return false;
    }
    *ret_token = scan->waiting;
    *ret_piece = NULL;
    *ret_n = 0;
    scan->at = scan->waiting_end;
    scan->waiting = NULL;
    return true;
}
