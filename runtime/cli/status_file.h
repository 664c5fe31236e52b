/* runtime/cli/status_file.h: how far `tenon serve` is, for a program that watches it: {"pid", "stage", "progress",
 * "status", "message"} in a file that is replaced as a whole. Stages: starting, planning, loading (progress: 0 to 1),
 * ready, draining, failed (status: a tn_status; message: why).
 */
#ifndef CLI_STATUS_FILE_H
#define CLI_STATUS_FILE_H

#include "tenon/error.h"

/* path: borrowed; NULL: nobody watches, and nothing is written. */
void status_file_start(const char *path);
void status_file_stage(const char *stage);
/* Of loading; written when it has grown by a hundredth. */
void status_file_progress(double share);
void status_file_fail(tn_status status, const char *message);

#endif
