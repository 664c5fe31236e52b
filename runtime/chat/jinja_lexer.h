/* runtime/chat/jinja_lexer.h: a template's text cut into tokens, white space control already applied.
 *
 * Settings are those of Hugging Face: trim_blocks, lstrip_blocks, no trailing newline kept.
 */
#ifndef CHAT_JINJA_LEXER_H
#define CHAT_JINJA_LEXER_H

#include "jinja_value.h"

typedef enum jinja_token_kind {
    JINJA_TOKEN_END,
    JINJA_TOKEN_DATA, /* value: text outside of tags */
    JINJA_TOKEN_PRINT_BEGIN,
    JINJA_TOKEN_PRINT_END,
    JINJA_TOKEN_BLOCK_BEGIN,
    JINJA_TOKEN_BLOCK_END,
    JINJA_TOKEN_NAME,     /* value: string */
    JINJA_TOKEN_CONSTANT, /* value: string, int or float */
    JINJA_TOKEN_OPERATOR, /* bytes: one or two characters */
} jinja_token_kind;

typedef struct jinja_token {
    jinja_token_kind kind;
    uint32_t line;
    char operator_text[3];
    jinja_value value;
} jinja_token;

typedef struct jinja_tokens {
    jinja_token *items; /* the last one is END */
    uint64_t count, capacity;
} jinja_tokens;

/* text: valid UTF-8. Fails on unbalanced brackets, unknown characters, unclosed strings and comments. */
void jinja_lex(jinja_state *state, const char *text, uint64_t count, jinja_tokens *ret_tokens);

#endif
