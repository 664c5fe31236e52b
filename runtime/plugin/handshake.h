/* runtime/plugin/handshake.h: whether this core may use a plugin, decided from its static descriptor alone.
 *
 * Rules: tenon/plugin.h. The result is the core's own zero-extended copy, so that members younger than the plugin read
 * as absent and nothing tests struct_size afterwards.
 */
#ifndef PLUGIN_HANDSHAKE_H
#define PLUGIN_HANDSHAKE_H

#include "tenon/plugin.h"

#include <stdbool.h>

/* Oldest SDK minor whose plugins this core still understands. */
#define PLUGIN_ABI_OLDEST 1

enum { PLUGIN_PROVIDES_MAX = 64, PLUGIN_OPTIONS_MAX = 256 };

/* Interface ids this core knows, NULL-terminated: "tn.backend/0:<hash>"... */
extern const char *const plugin_known_ids[];

/* Checks magic, major, range of minors, prefix, option table and drafts, in this order. path is for messages. */
tn_status handshake_check(const char *path, const tn_plugin *theirs, tn_plugin *ret_descriptor, tn_error *err);
/* Whether the (checked) plugin lists this very id. */
bool handshake_provides(const tn_plugin *descriptor, const char *id);
/* "tn.backend/0:1234, acme.extra/1": for messages. Cut at cap. */
void handshake_describe_provides(const tn_plugin *descriptor, char *out, size_t cap);

#endif
