/* runtime/auth/token.h: bearer tokens as they are kept: a name, scopes, and the SHA-256 of 256 random bits.
 *
 * A slow, salted hash protects what people make up. Nobody tries 2^256 values, so here it would only cost each request
 * its time. One line a token: NAME SCOPES CREATED EXPIRES SHA256, times in UTC, "-" for never.
 */
#ifndef AUTH_TOKEN_H
#define AUTH_TOKEN_H

#include "auth/scope.h"
#include "registry/digest.h"

enum { TOKENS_MAX = 1024, TOKEN_RANDOM_BYTES = 32, TOKEN_TEXT_BYTES = 6 + 2 * TOKEN_RANDOM_BYTES + 1 };

typedef struct token {
    char name[TN_TOKEN_NAME_MAX + 1];
    uint32_t scopes;
    int64_t created, expires; /* seconds since 1970; expires 0: never */
    digest digest;
} token;

typedef struct token_list {
    token *at; /* owned */
    uint32_t count;
} token_list;

/* path begins messages, which name the line. A failure leaves ret_list untouched. [any] */
tn_status token_list_parse(const char *path, const char *text, size_t bytes, token_list *ret_list, tn_error *err);
void token_list_finish(token_list *list); /* a zeroed one is fine */
/* One line with its newline. Returns its length. */
enum { TOKEN_LINE_BYTES = 256 };
size_t token_format(const token *token, char line[TOKEN_LINE_BYTES]);

/* Adds a token of that name, scopes and end, and writes what its bearer presents to ret_text, once and never again.
 * TN_E_ARGUMENT: the name is taken or cannot be. [any] */
tn_status token_list_add(token_list *list, const char *name, uint32_t scopes, int64_t now, int64_t expires,
                         char ret_text[TOKEN_TEXT_BYTES], tn_error *err);
/* TN_E_NOT_FOUND. [any] */
tn_status token_list_remove(token_list *list, const char *name, tn_error *err);
/* What is presented; NULL: no such token, or it has expired. Looks at all of them. [any] */
const token *token_list_find(const token_list *list, const char *presented, size_t bytes, int64_t now);

/* "2027-01-31T12:00:00Z". text holds 32 bytes. Returns text. */
enum { TOKEN_TIME_BYTES = 32 };
char *token_time_format(int64_t time, char text[TOKEN_TIME_BYTES]);
/* That, or "2027-01-31" (its beginning, UTC), from 1970 on. False: neither. */
bool token_time_parse(const char *text, int64_t *ret_time);

#endif
