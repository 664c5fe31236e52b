/* auth.h: who may ask for what: the tokens of tn.auth where the core has a token file, else API keys. */
#ifndef HTTP_AUTH_H
#define HTTP_AUTH_H

#include "api_error.h"
#include "front.h"

/* The first words of a request. local_user: it came over a Unix socket from a process of this user's or of root's. 401:
 * no token, or none that is known; 403: the token lacks the scope. *ret_caller: whose token let it in; without a name:
 * none was needed. */
tn_status auth_check(const tn_front *front, const char *method, const char *path, bool open, const char *authorization,
                     bool local_user, tn_identity *ret_caller, api_error *error);
/* Whether anybody has to show a token or a key. */
bool auth_asks(const tn_front *front);
/* authorization: the header's value, NULL if absent. True when it is "Bearer KEY" with one of the keys. The time
 * depends on the length of what the client sent and on the number of keys, not on how much of a key was right. */
bool auth_accepts(const char *authorization, char *const *keys, uint32_t key_count);

#endif
