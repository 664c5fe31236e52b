/* runtime/settings/section.h: which sections the core has, and which keys are theirs, as options.c says.
 *
 * A row's section "pool NAME" is about every section that is called pool and something. [any] thread.
 */
#ifndef SETTINGS_SECTION_H
#define SETTINGS_SECTION_H

#include "settings/settings.h"

/* Whether options.c has this section: no plugin may have such an id. */
bool section_is_core(const char *section);
/* Whether the section may have the row's key: its own, or one of [model] and [engine] that a service has too. */
bool section_takes(const char *section, const settings_option *row);
/* The row of a section's key, of its own before one that it borrows; NULL: it has none. */
const settings_option *section_find_option(const char *section, const char *key);

/* A kind that is known and has names comes with one that can be typed anywhere; "pool a" is such, "engine" needs none.
 * Sections that may be a plugin's pass. place: where it stands, for the message. */
tn_status section_check_name(const char *section, const char *place, tn_error *err);

#endif
