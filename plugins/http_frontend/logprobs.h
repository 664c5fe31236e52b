/* logprobs.h: log-probs of tokens in the two shapes of OpenAI's API, and vLLM's prompt_logprobs.
 *
 * Both shapes are collected as finished JSON fragments, so that the whole answer is a join of them and a chunk of a
 * stream is what has come since the last one. Under front->lock, for the scratch in the model.
 */
#ifndef HTTP_LOGPROBS_H
#define HTTP_LOGPROBS_H

#include "json_writer.h"
#include "model.h"

/* Comma-joined fragments. Chat uses `tokens` only, for its list of objects. */
typedef struct logprob_columns {
    byte_buffer tokens, values, tops, offsets;
    uint64_t chars; /* code points before the next token, over the whole text */
} logprob_columns;

/* What the tokenizer says about one token, as the event tells it. */
typedef struct logprob_entry {
    int32_t token;
    bool first;     /* first token of a text: a tokenizer may drop its leading blank */
    bool hidden;    /* not part of the text: takes no room in text_offset */
    bool has_value; /* false: the first token of a prompt, which has no log-prob */
    float value;
    uint32_t top_count;
    const int32_t *top_id;
    const float *top_value;
} logprob_entry;

/* The bytes of a token, special ones spelt out unless skip_special. Ids outside the vocabulary give none. */
void token_append(const http_model *model, int32_t token, bool first, bool skip_special, byte_buffer *out);

void logprobs_add_chat(logprob_columns *columns, http_model *model, bool as_ids, const logprob_entry *entry);
void logprobs_add_completion(logprob_columns *columns, http_model *model, bool as_ids, const logprob_entry *entry);
/* {"content": [...]} and {"tokens": [...], "token_logprobs", "top_logprobs", "text_offset"}. before: columns that come
 * first (an echoed prompt's), NULL: none. */
void logprobs_write_chat(const logprob_columns *columns, byte_buffer *out);
void logprobs_write_completion(const logprob_columns *before, const logprob_columns *columns, byte_buffer *out);
/* One element of vLLM's prompt_logprobs: null or {"ID": {"logprob", "rank", "decoded_token"}, ...}. The rank of a token
 * that is not among the alternatives is unknown: null. */
void logprobs_add_prompt(byte_buffer *list, http_model *model, const logprob_entry *entry);

void logprobs_clear(logprob_columns *columns); /* keeps chars */
void logprobs_finish(logprob_columns *columns);

#endif
