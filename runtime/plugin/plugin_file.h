/* runtime/plugin/plugin_file.h: from what an operator wrote to a file that may be loaded: path, trust, pin.
 *
 * Plugins are trusted code, so nobody but root and the user may be able to swap one: file and all parent folders belong
 * to root or the user and are writable by no one else. A sticky folder such as /tmp is fine as a parent, and so is
 * write permission for the group 0 or the user's private group (gid = uid), whose members are the same people.
 */
#ifndef PLUGIN_PLUGIN_FILE_H
#define PLUGIN_PLUGIN_FILE_H

#include "tenon/error.h"

#include <limits.h>
#include <sys/types.h>

typedef struct plugin_file {
    char path[PATH_MAX]; /* absolute, without symbolic links */
    dev_t device;
    ino_t inode;
} plugin_file;

/* spec: bare name or absolute path, then optionally " sha256=<64 hex digits>". folder: where bare names live.
 * Refusals are one sentence with path, finding, expectation and remedy. [any] */
tn_status plugin_file_find(const char *spec, const char *folder, plugin_file *ret_file, tn_error *err);

#endif
