/* tenon/auth.h: "tn.auth", a service of the core (tn_host.get_interface): who presents a token, and what it may do.
 *
 * For each request a front end asks for the scopes that let it in, then for those of the token that came with it: 401
 * for a token that is not one, 403 for one that lacks the scope. Without a token file nobody has to show a token, and a
 * front end keeps to its own rule. With one every door asks, except for callers over a unix socket that run as this
 * process's user or as root: they could read what it reads. Changes of the file count at once.
 */
#ifndef TENON_AUTH_H
#define TENON_AUTH_H

#include "tenon/plugin.h"

TN_BEGIN_DECLS

#define TN_AUTH_ID "tn.auth/1"

/* What a token is for: requests to a model, jobs over many rows, and everything below /admin. None includes another. */
enum { TN_SCOPE_INFER = 1, TN_SCOPE_BATCH = 2, TN_SCOPE_ADMIN = 4 };

enum { TN_TOKEN_NAME_MAX = 63 };

typedef struct tn_identity {
    uint32_t struct_size;
    uint32_t scopes; /* TN_SCOPE_*, or-ed */
    char name[64];   /* of the token, for logs; never the token */
} tn_identity;
TN_SEALED(tn_identity, name);

typedef struct tn_auth_table {
    uint32_t struct_size, flags;
    /* 1 if [auth] token_file is set, so that needed and identify are to be asked; else 0. [any] */
    uint32_t (*enabled)(const tn_host *host);
    /* The scopes, any of which lets a request in; 0: it needs no token. path: percent-decoded, without query. A route
     * that is not known needs TN_SCOPE_ADMIN. [any] */
    uint32_t (*needed)(const tn_host *host, const char *method, const char *path);
    /* token: what follows "Bearer ", n_token bytes. TN_E_NOT_FOUND: unknown, revoked or expired, which the message does
     * not tell apart; TN_E_IO, TN_E_CORRUPT: the file cannot be read, nobody gets in, and the message is for the log,
     * not for the caller. The time does not depend on how much of a token was right. Reads a changed file. [any] */
    tn_status (*identify)(const tn_host *host, const char *token, uint64_t n_token, tn_identity *ret_identity,
                          tn_error *err);
} tn_auth_table;
TN_SEALED(tn_auth_table, identify);

TN_END_DECLS
#endif
