/* runtime/auth/scope.h: what tokens are for, and which of that a route asks for. */
#ifndef AUTH_SCOPE_H
#define AUTH_SCOPE_H

#include "tenon/auth.h"

enum { SCOPES_TEXT_BYTES = 32 };

/* "infer,batch" to TN_SCOPE_*. TN_E_ARGUMENT: empty, or one that there is not. [any] */
tn_status scopes_parse(const char *text, uint32_t *ret_scopes, tn_error *err);
/* The opposite, in the order infer, batch, admin. Returns text. [any] */
char *scopes_format(uint32_t scopes, char text[SCOPES_TEXT_BYTES]);
/* tn_auth_table.needed. [any] */
uint32_t scopes_needed(const char *method, const char *path);

#endif
