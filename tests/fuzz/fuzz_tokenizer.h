/* tests/fuzz/fuzz_tokenizer.h: opens the tokenizer of a source and, if it opens, encodes and decodes with it. */
#ifndef TESTS_FUZZ_TOKENIZER_H
#define TESTS_FUZZ_TOKENIZER_H

#include "tenon/source.h"
#include "tokenizer.h"

#include <string.h>

static inline void fuzz_decode(const tn_tok *tok, const int32_t *ids, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        char bytes[64];
        uint64_t n = sizeof bytes;
        TN_ASSERT(ids[i] >= 0 && (uint32_t)ids[i] < tokenizer_vocab_size(tok));
        tn_status status = tokenizer_piece(tok, ids[i], 0, i == 0, bytes, &n, NULL);
        TN_ASSERT(status == TN_OK || (status == TN_E_MEMORY && n > sizeof bytes));
    }
}

static inline void fuzz_encode(const tn_tok *tok, uint32_t flags)
{
    static const char text[] =
        "Hello, w\xC3\xB6rld! it's 12345 <|im_end|><s> the\r\n\t  e\xCC\x81 \xF0\x9F\x98\x80 \xFF\x00 aaa";
    int32_t ids[1024];
    uint64_t count = 1024;
    tn_error err = TN_ERROR_INIT;
    tn_status status = tokenizer_encode(tok, text, sizeof text - 1, flags, ids, &count, &err);
    /* A regex of the file's own may give up, and a rewritten text may be long. */
    TN_ASSERT(status == TN_OK || (status == TN_E_UNSUPPORTED && err.msg[0] != '\0') ||
              (status == TN_E_MEMORY && count > 1024));
    if (status == TN_OK)
        fuzz_decode(tok, ids, count);
}

static inline void fuzz_tokenizer(const tn_source *source)
{
    tn_tok *tok = NULL;
    tn_error err = TN_ERROR_INIT;
    tn_status status = tokenizer_open(source, &tok, &err);
    TN_ASSERT((status == TN_OK) == (tok != NULL));
    TN_ASSERT((status == TN_OK) == (err.msg[0] == '\0'));
    if (tok) {
        fuzz_encode(tok, 0);
        fuzz_encode(tok, TN_ENCODE_ADD_SPECIAL | TN_ENCODE_PARSE_SPECIAL);
    }
    tokenizer_close(tok);
}

#endif
