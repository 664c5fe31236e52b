/* grammar_field.h: what the text of an answer may be: OpenAI's response_format and vLLM's structured_outputs. */
#ifndef HTTP_GRAMMAR_FIELD_H
#define HTTP_GRAMMAR_FIELD_H

#include "field.h"

/* As an engine takes it; all zero: any text. */
typedef struct answer_grammar {
    uint32_t kind;     /* TN_GRAMMAR_* */
    const char *field; /* that asked for it; static */
    char *text;        /* owned; NULL: none is needed */
} answer_grammar;

/* Into the answer_grammar at the rule's offset. */
field_reader grammar_field_response_format;
field_reader grammar_field_structured_outputs;
void answer_grammar_finish(answer_grammar *grammar);

#endif
