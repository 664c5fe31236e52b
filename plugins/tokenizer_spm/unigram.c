/* unigram.c: one pass forward keeps the best path to each position, one pass back reads it off. Sums and ties as in
 * sentencepiece (EncodeOptimized) and in huggingface/tokenizers (encode_optimized): the earlier path wins.
 */
#include "unigram.h"

#include "base/utf8.h"

#include <string.h>

typedef struct unigram_node {
    double score;
    int32_t id;    /* of the piece that ends here */
    int32_t start; /* where it starts; -1: no path yet */
} unigram_node;

static int compare(const void *a, const void *b, void *ctx)
{
    size_t left_n, right_n;
    const char *left = vocabulary_text(ctx, *(const int32_t *)a, &left_n);
    const char *right = vocabulary_text(ctx, *(const int32_t *)b, &right_n);
    int order = memcmp(left, right, left_n < right_n ? left_n : right_n);
    return order ? order : left_n < right_n ? -1 : left_n > right_n;
}

tn_status unigram_init(unigram *model, const vocabulary *vocab, uint8_t unusable, tn_error *err)
{
    model->order = malloc(((size_t)vocab->count + 1) * sizeof *model->order);
    if (!model->order)
        return tn_fail(err, TN_E_MEMORY, "no memory for a vocabulary");
    for (uint32_t id = 0; id < vocab->count; id++) {
        size_t n;
        vocabulary_text(vocab, (int32_t)id, &n);
        if (n > 0 && !(vocab->flags[id] & unusable))
            model->order[model->count++] = (int32_t)id;
    }
    qsort_r(model->order, model->count, sizeof *model->order, compare, (void *)vocab);
    for (uint32_t i = 0, byte = 0; byte <= 256; byte++) {
        size_t n;
        while (i < model->count && (unsigned char)*vocabulary_text(vocab, model->order[i], &n) < byte)
            i++;
        model->first[byte] = byte == 256 ? model->count : i;
    }
    return TN_OK;
}

void unigram_finish(unigram *model)
{
    free(model->order);
    model->order = NULL;
    model->count = 0;
}

void unigram_scratch_finish(unigram_scratch *scratch)
{
    free(scratch->node);
    free(scratch->piece);
    *scratch = (unigram_scratch){0};
}

static tn_status reserve(unigram_scratch *scratch, size_t n, tn_error *err)
{
    if (scratch->capacity > n)
        return TN_OK;
    uint64_t capacity = n + n / 2 + 64;
    unigram_node *node = realloc(scratch->node, capacity * sizeof *node);
    if (node)
        scratch->node = node;
    unigram_piece *piece = realloc(scratch->piece, capacity * sizeof *piece);
    if (piece)
        scratch->piece = piece;
    if (!node || !piece)
        return tn_fail(err, TN_E_MEMORY, "no memory to tokenize a word of %zu bytes", n);
    scratch->capacity = capacity;
    return TN_OK;
}

/* First of order[low..high), which agree up to byte `depth`, whose byte there is >= (or >, if above) byte. */
static uint32_t bound(const unigram *model, const vocabulary *vocab, uint32_t low, uint32_t high, size_t depth,
                      unsigned char byte, bool above)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        size_t n;
        const char *text = vocabulary_text(vocab, model->order[middle], &n);
        int at = n > depth ? (unsigned char)text[depth] : -1;
        if (at < byte || (above && at == byte))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void offer(const unigram *model, unigram_node *node, double score, int32_t id, size_t start)
{
    score = model->single ? (float)score : score;
    if (node->start < 0 || score > node->score)
        *node = (unigram_node){score, id, (int32_t)start};
}

static double score_of(const unigram *model, const vocabulary *vocab, int32_t id, size_t n)
{
    if (!model->user_scores || !(vocab->flags[id] & TOKEN_LITERAL))
        return model->score[id];
    double score = model->user_byte_score * ((double)n - 1);
    return model->single ? (float)score : score;
}

/* Offers every piece that begins at text[start]. True if one of them is the single character of `width` bytes. */
static bool offer_pieces(const unigram *model, const vocabulary *vocab, unigram_node *node, const char *text,
                         size_t start, size_t n, size_t width)
{
    unsigned char byte = (unsigned char)text[start];
    uint32_t low = model->first[byte], high = model->first[byte + 1];
    bool whole = false;
    for (size_t depth = 1; low < high; depth++) {
        size_t piece_n;
        vocabulary_text(vocab, model->order[low], &piece_n);
        if (piece_n == depth) { /* the shortest of those that agree sorts first */
            int32_t id = model->order[low];
            offer(model, &node[start + depth], node[start].score + score_of(model, vocab, id, depth), id, start);
            whole |= depth == width;
        }
        if (start + depth == n)
            break;
        byte = (unsigned char)text[start + depth];
        low = bound(model, vocab, low, high, depth, byte, false);
        high = bound(model, vocab, low, high, depth, byte, true);
    }
    return whole;
}

tn_status unigram_cut(const unigram *model, const vocabulary *vocab, unigram_scratch *scratch, const char *text,
                      size_t n, const unigram_piece **ret_piece, uint64_t *ret_count, tn_error *err)
{
    TN_ASSERT(n < INT32_MAX);
    tn_status status = reserve(scratch, n, err);
    if (status != TN_OK)
        return status;
    unigram_node *node = scratch->node;
    for (size_t i = 0; i <= n; i++)
        node[i] = (unigram_node){0, -1, -1};
    for (size_t start = 0, width; start < n; start += width) {
        uint32_t codepoint;
        bool valid;
        width = utf8_decode(text + start, n - start, &codepoint, &valid);
        if (!offer_pieces(model, vocab, node, text, start, n, width)) {
            offer(model, &node[start + width], node[start].score + model->unknown_score, -1, start);
        }
    }
    uint64_t at = n; /* from the back of the array, which has room for one piece per byte */
    for (size_t end = n; end > 0; end = (size_t)node[end].start)
        scratch->piece[--at] =
            (unigram_piece){node[end].id, (uint32_t)node[end].start, (uint32_t)(end - (size_t)node[end].start)};
    *ret_piece = scratch->piece + at;
    *ret_count = n - at;
    return TN_OK;
}
