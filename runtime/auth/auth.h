/* runtime/auth/auth.h: the token file of this process, and tn.auth over it. */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "settings/settings.h"
#include "tenon/auth.h"

/* From now on tokens are those of [auth] token_file, which is read now, to find out whether it can be, and again
 * whenever it has changed. Unset: no tokens are asked for. Before the front ends start. [ctl] */
tn_status auth_open(const settings *settings, tn_error *err);
/* No tokens are asked for any more. After the front ends have stopped. [ctl] */
void auth_close(void);

extern const tn_auth_table auth_table;

#endif
