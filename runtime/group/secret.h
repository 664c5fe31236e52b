/* runtime/group/secret.h: what the members of a group know and strangers do not. */
#ifndef GROUP_SECRET_H
#define GROUP_SECRET_H

#include "group/identity.h"

enum { GROUP_SECRET_MIN = 16, GROUP_SECRET_MAX = 1024 };
#define GROUP_SECRET_VARIABLE "TENON_GROUP_SECRET"

typedef struct group_secret {
    uint8_t bytes[GROUP_SECRET_MAX + 1];
    size_t n;
} group_secret;

/* From the file that [group] secret_file names, else from the environment; blanks and line ends behind it do not count.
 * Refusals say how to make one. Clear with group_secret_clear. [ctl] */
tn_status group_secret_read(const settings *settings, group_variable variable, group_secret *ret_secret, tn_error *err);
void group_secret_clear(group_secret *secret);

#endif
