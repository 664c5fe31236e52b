/* runtime/cli/address_file.h: where `tenon serve` answers, for programs that look for it: a file with its addresses,
 * "http://HOST:PORT", a line each, that is there as long as it is ready.
 */
#ifndef CLI_ADDRESS_FILE_H
#define CLI_ADDRESS_FILE_H

#include "instance/doors.h"

/* path NULL: nothing is written. An address that stands for all of the machine's is told with the machine's name. */
tn_status address_file_write(const char *path, const doors *doors, tn_error *err);
/* NULL is fine. */
void address_file_remove(const char *path);

#endif
