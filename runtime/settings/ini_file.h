/* runtime/settings/ini_file.h: an .ini file as a series of (section, key, value, line) calls, through inih.
 *
 * The file is not trusted: it is at most 1 MiB, each line at most 4 KiB, and NUL, other control bytes, invalid UTF-8,
 * overlong section names and lines without '=' are errors that name the line. Indented lines are ordinary lines: inih's
 * multi-line values are off, since an indented key would silently become part of the value above it.
 */
#ifndef SETTINGS_INI_FILE_H
#define SETTINGS_INI_FILE_H

#include "tenon/error.h"

enum { INI_FILE_BYTES_MAX = 1 << 20, INI_FILE_LINE_MAX = 4096, INI_FILE_SECTION_MAX = 48 };

/* Strings live for the call. key and value are NULL when a section opens. A failure ends the reading and is returned.
 */
typedef tn_status (*ini_file_handler)(void *ctx, const char *section, const char *key, const char *value, uint32_t line,
                                      tn_error *err);

/* Reads the whole file, in order. Errors: TN_E_IO (cannot read), TN_E_ARGUMENT (its text), the handler's own. */
tn_status ini_file_read(const char *path, ini_file_handler handler, void *ctx, tn_error *err);
/* The same over bytes in memory; path only appears in messages. */
tn_status ini_file_parse(const char *path, const char *bytes, size_t n, ini_file_handler handler, void *ctx,
                         tn_error *err);

#endif
