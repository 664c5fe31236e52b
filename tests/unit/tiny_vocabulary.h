/* tests/unit/tiny_vocabulary.h: a byte-level vocabulary small enough to reason about, as GGUF metadata or as JSON.
 *
 * Ids 0..255 are the bytes in order, then the tokens of `tiny_words`, built by `tiny_merges`, then three special tokens
 * (control) and one user-defined one. The merges prefer "ab" to "bc", and know "the" behind a space.
 */
#ifndef TESTS_TINY_VOCABULARY_H
#define TESTS_TINY_VOCABULARY_H

#include "byte_level.h"
#include "tenon/source.h"

#include <stdbool.h>
#include <string.h>

enum {
    TINY_AB = 256,
    TINY_BC,
    TINY_ABC,
    TINY_TH,
    TINY_THE,
    TINY_SPACE_THE,
    TINY_AA,
    TINY_AAAA,
    TINY_BOS,
    TINY_EOS,
    TINY_IM_END,
    TINY_USER,
    TINY_COUNT
};

enum { TINY_MERGES = 8, TINY_KEYS_MAX = 16 };

#define TINY_SPACE "\xC4\xA0" /* U+0120 */

static const char *const tiny_words[] = {"ab", "bc",   "abc", "th",   "the",        TINY_SPACE "the",
                                         "aa", "aaaa", "<s>", "</s>", "<|im_end|>", "[user]"};
static const char *const tiny_merges[TINY_MERGES] = {"a b", "b c",  "ab c", "t h", "th e", TINY_SPACE " the",
                                                     "a a", "aa aa"};

/* One key of the source. An array lies in strings (kind STRING) or numbers (kind INT). */
typedef struct tiny_key {
    const char *key;
    tn_meta meta;
    const char *const *strings;
    const int64_t *numbers;
} tiny_key;

typedef struct tiny_source {
    tn_source source;
    tiny_key keys[TINY_KEYS_MAX];
    char byte_text[256][3];
    const char *tokens[TINY_COUNT + 8];
    const char *merges[TINY_MERGES + 8];
    int64_t types[TINY_COUNT + 8];
} tiny_source;

static inline tiny_key *tiny_find(const tn_source *source, const char *key)
{
    tiny_source *tiny = source->ctx;
    for (int i = 0; i < TINY_KEYS_MAX && tiny->keys[i].key; i++) {
        if (strcmp(tiny->keys[i].key, key) == 0)
            return &tiny->keys[i];
    }
    return NULL;
}

static inline tn_status tiny_meta(const tn_source *source, const char *key, tn_meta *ret_meta)
{
    const tiny_key *found = tiny_find(source, key);
    if (!found)
        return TN_E_NOT_FOUND;
    *ret_meta = found->meta;
    return TN_OK;
}

static inline tn_status tiny_element(const tn_source *source, const char *key, uint64_t index, tn_meta *ret_meta)
{
    const tiny_key *found = tiny_find(source, key);
    if (!found || index >= found->meta.count)
        return TN_E_NOT_FOUND;
    *ret_meta = (tn_meta){.struct_size = sizeof *ret_meta, .kind = found->meta.element, .count = 1};
    if (found->strings) {
        ret_meta->string = found->strings[index];
        ret_meta->count = strlen(found->strings[index]);
    } else {
        ret_meta->i = found->numbers[index];
    }
    return TN_OK;
}

/* Sets or replaces a key; NULL: the key becomes absent. */
static inline tiny_key *tiny_set(tiny_source *tiny, const char *key, tn_meta meta)
{
    tiny_key *at = tiny_find(&tiny->source, key);
    for (int i = 0; !at; i++) {
        TN_ASSERT(i < TINY_KEYS_MAX);
        if (!tiny->keys[i].key)
            at = &tiny->keys[i];
    }
    meta.struct_size = sizeof meta;
    *at = (tiny_key){.key = key, .meta = meta};
    return at;
}

static inline void tiny_unset(tiny_source *tiny, const char *key)
{
    tiny_find(&tiny->source, key)->key = "";
}

static inline void tiny_set_text(tiny_source *tiny, const char *key, const char *text)
{
    tiny_set(tiny, key, (tn_meta){.kind = TN_META_STRING, .count = strlen(text), .string = text});
}

static inline void tiny_set_uint(tiny_source *tiny, const char *key, uint64_t value)
{
    tiny_set(tiny, key, (tn_meta){.kind = TN_META_UINT, .count = 1, .u = value});
}

static inline void tiny_set_bool(tiny_source *tiny, const char *key, bool value)
{
    tiny_set(tiny, key, (tn_meta){.kind = TN_META_BOOL, .count = 1, .u = value});
}

static inline void tiny_set_strings(tiny_source *tiny, const char *key, const char *const *strings, uint64_t count)
{
    tiny_set(tiny, key, (tn_meta){.kind = TN_META_ARRAY, .element = TN_META_STRING, .count = count})->strings = strings;
}

static inline void tiny_set_numbers(tiny_source *tiny, const char *key, const int64_t *numbers, uint64_t count)
{
    tiny_set(tiny, key, (tn_meta){.kind = TN_META_ARRAY, .element = TN_META_INT, .count = count})->numbers = numbers;
}

static inline void tiny_start(tiny_source *tiny, const char *container)
{
    memset(tiny, 0, sizeof *tiny);
    tiny->source = (tn_source){.struct_size = sizeof tiny->source,
                               .ctx = tiny,
                               .container = container,
                               .path = "tiny.file",
                               .meta = tiny_meta,
                               .meta_element = tiny_element};
    for (int byte = 0; byte < 256; byte++) {
        byte_level_char((uint8_t)byte, tiny->byte_text[byte]);
        tiny->tokens[byte] = tiny->byte_text[byte];
        tiny->types[byte] = 1;
    }
    for (int id = 256; id < TINY_COUNT; id++) {
        tiny->tokens[id] = tiny_words[id - 256];
        tiny->types[id] = id >= TINY_USER ? 4 : id >= TINY_BOS ? 3 : 1;
    }
    memcpy(tiny->merges, tiny_merges, sizeof tiny_merges);
}

/* A GGUF's metadata. */
static inline void tiny_gguf(tiny_source *tiny)
{
    tiny_start(tiny, "gguf");
    tiny_set_text(tiny, "tokenizer.ggml.model", "gpt2");
    tiny_set_text(tiny, "tokenizer.ggml.pre", "gpt-2");
    tiny_set_strings(tiny, "tokenizer.ggml.tokens", tiny->tokens, TINY_COUNT);
    tiny_set_strings(tiny, "tokenizer.ggml.merges", tiny->merges, TINY_MERGES);
    tiny_set_numbers(tiny, "tokenizer.ggml.token_type", tiny->types, TINY_COUNT);
    tiny_set_uint(tiny, "tokenizer.ggml.bos_token_id", TINY_BOS);
    tiny_set_uint(tiny, "tokenizer.ggml.eos_token_id", TINY_EOS);
}

#endif
